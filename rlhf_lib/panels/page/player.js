const PACE = 350;  // ms from step to step
const still = matchMedia("(prefers-reduced-motion: reduce)");

function render({ model, el }) {
  const button = document.createElement("button"), caption = document.createElement("label");
  const range = document.createElement("input");
  button.type = "button";
  Object.assign(range, { type: "range", min: 0, step: 1 });
  caption.append("step", range);
  el.classList.add("rlhf-player");
  el.append(button, caption);

  // As a slider of the panel: one step at a time, the latest when the kernel has drawn the last.
  const me = Math.random();
  let sent = 0, answered = 0, latest = null, timer = 0;
  const send = () => {
    if (latest === null || answered < sent) return;
    model.send({ drag: latest, by: me, n: ++sent });
    latest = null;
    el.dataset.sent = sent;
  };
  model.on("msg:custom", message => {
    if (message.by !== me) return;
    answered = el.dataset.answered = message.n;
    send();
  });
  const last = () => model.get("count") - 1;
  const say = () => {
    range.setAttribute("aria-valuetext", `${range.value} of ${last()}`);
    button.textContent = timer ? "Pause" : "Play";
    button.title = still.matches ? "Go on by one step" : "Go through the steps of this run";
  };
  const go = step => { range.value = latest = step; say(); send(); };
  const pause = () => { clearInterval(timer); timer = 0; say(); };
  const step = () => (+range.value < last() ? go(+range.value + 1) : pause());
  button.addEventListener("click", () => {
    if (timer) return pause();
    if (+range.value >= last()) go(0);
    else if (still.matches) step();  // nothing that moves by itself
    if (still.matches) return;
    timer = setInterval(step, PACE);
    say();
  });
  range.addEventListener("input", () => { pause(); go(+range.value); });
  const show = () => {
    clearInterval(timer);
    timer = 0;
    latest = null;
    range.max = range.value = Math.max(last(), 0);
    button.disabled = range.disabled = last() < 1;
    say();
  };
  model.on("change:runs", show);
  show();
  return () => clearInterval(timer);
}
export default { render };

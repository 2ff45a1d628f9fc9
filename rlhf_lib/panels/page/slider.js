function render({ model, el }) {
  const stops = model.get("stops"), label = model.get("label");
  const nearest = v => stops.reduce(
    (best, s, i) => Math.abs(s - v) < Math.abs(stops[best] - v) ? i : best, 0);

  const caption = document.createElement("label");
  const range = document.createElement("input");
  const { field, note, read, show: showTyped } = numberField(v => {
    const zero = v === 0 && stops[0] === 0, inside = v >= model.get("low") && v <= stops.at(-1);
    const fits = (zero || inside) && (!model.get("whole") || Number.isInteger(v));
    return fits ? "" : model.get("allowed");
  });
  caption.append(label, range);
  Object.assign(range, { type: "range", min: 0, max: stops.length - 1, step: 1 });
  field.setAttribute("aria-valuemin", plainText(stops[0]));
  field.setAttribute("aria-valuemax", plainText(stops.at(-1)));
  field.setAttribute("aria-label", `${label}, exact value`);
  caption.title = range.title = field.title = model.get("hint");

  const show = v => {
    range.value = nearest(v);
    range.setAttribute("aria-valuetext", numberText(v));
    showTyped(v);
  };
  // What is set for good. `rest` counts such moments: a hand may come back to where it began.
  const commit = v => {
    model.set("value", v);
    model.set("rest", model.get("rest") + 1);
    model.save_changes();
    show(v);
  };

  // While a hand holds the handle, or a key, each value goes to the kernel if the panel is alive:
  // one at a time, and the next one, the latest, when the kernel has answered. So nothing queues.
  const me = Math.random();  // there may be another view of this slider
  let held = "", moved = false, sent = 0, answered = 0, latest = null;
  const send = () => {
    if (latest === null || answered < sent) return;
    model.send({ drag: latest, by: me, n: ++sent, rest: model.get("rest") });
    latest = null;
    el.dataset.sent = sent;  // for tests, as `answered`
  };
  const drag = v => {
    moved = true;
    show(v);
    if (model.get("alive")) { latest = v; send(); }
  };
  const rest = v => {
    held = "";
    moved = false;
    latest = null;
    commit(v);
  };
  model.on("msg:custom", message => {
    if (message.by !== me) return;
    answered = el.dataset.answered = message.n;
    send();
  });

  const at = () => stops[range.value];
  range.addEventListener("input", () => drag(at()));
  range.addEventListener("change", () => held === "key" || rest(at()));
  range.addEventListener("pointerdown", () => { held = "pointer"; });
  const letGo = by => { if (held === by) { held = ""; if (moved) rest(at()); } };
  // Later than a "change", which the browser leaves out where a hand comes back to where it began.
  for (const kind of ["pointerup", "pointercancel"])
    range.addEventListener(kind, () => setTimeout(letGo, 0, "pointer"));
  const typed = () => {
    const v = read(), now = model.get("value");
    if (v === null) return;
    if (+v.toPrecision(12) === +now.toPrecision(12) && !moved) show(now);  // what is shown already
    else rest(v);
  };
  // A key that is held down moves the handle again and again: its value is set when it is let go.
  const MOVES = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight",
                 "PageUp", "PageDown", "Home", "End"];
  range.addEventListener("keydown", event => { if (MOVES.includes(event.key)) held = "key"; });
  // Also when the hand goes from the field to the handle, which has moved by then.
  field.addEventListener("change", () => held || typed());
  field.addEventListener("keydown", event => {
    if (event.key === "Enter") return typed();
    if (event.key === "Escape") return show(model.get("value"));
    const move = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    held = "key";
    const next = nearest(moved ? at() : read() ?? model.get("value")) + move;
    drag(stops[Math.min(Math.max(next, 0), stops.length - 1)]);
  });
  for (const part of [range, field])
    for (const kind of ["keyup", "blur"]) part.addEventListener(kind, () => letGo("key"));
  model.on("change:value", () => held || show(model.get("value")));

  el.classList.add("rlhf-slider");
  el.append(caption, field, note);
  show(model.get("value"));
}
export default { render };

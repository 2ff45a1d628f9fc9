function render({ model, el }) {
  const bar = document.createElement("progress"), line = document.createElement("span");
  el.classList.add("rlhf-live", "rlhf-progress");
  bar.max = 1;
  bar.setAttribute("aria-label", "progress of the run");
  line.setAttribute("role", "status");
  const show = () => {
    line.setAttribute("aria-busy", model.get("busy"));
    line.textContent = model.get("text");
    line.classList.toggle("rlhf-error", model.get("error"));
    bar.hidden = model.get("fraction") < 0;
    // For tests: which run is meant, and with which settings.
    el.dataset.runs = model.get("runs");
    el.dataset.values = JSON.stringify(model.get("values"));
    bar.value = Math.max(model.get("fraction"), 0);
  };
  model.on("change", show);
  show();
  el.append(bar, line);
}
export default { render };

function render({ model, el }) {
  el.classList.add("rlhf-live", "rlhf-readout");
  el.setAttribute("role", "status");
  const show = () => {
    // A screen reader announces the sentence once the run has ended, not ten times a second.
    el.setAttribute("aria-busy", model.get("busy"));
    el.textContent = model.get("text");
  };
  model.on("change:text change:busy", show);
  show();
}
export default { render };

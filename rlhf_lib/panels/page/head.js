function render({ model, el }) {
  const title = document.createElement("div"), goal = document.createElement("div");
  const said = document.createElement("span");
  title.textContent = model.get("title");
  goal.textContent = model.get("goal");
  title.className = "rlhf-title";
  goal.className = "rlhf-goal";
  said.className = "rlhf-reached";
  said.setAttribute("role", "status");
  el.classList.add("rlhf-head");
  el.append(...[title, goal].filter(part => part.textContent));
  goal.append(said);
  const show = () => {
    said.textContent = model.get("reached") ? "✓ reached" : "";
    goal.classList.toggle("rlhf-done", model.get("reached"));
  };
  model.on("change:reached", show);
  show();

  const root = () => el.closest(".rlhf-panel");
  // JupyterLab would take the arrow keys and Enter from a slider or a button for itself, unless the
  // focused element says that it wants them.
  const keepKeys = event => {
    if (root()?.contains(event.target))
      event.target.setAttribute("data-lm-suppress-shortcuts", "true");
  };
  const observer = new ResizeObserver(() => {  // called once it is on the page
    root()?.setAttribute("role", "group");
    root()?.setAttribute("aria-label", model.get("title") || "panel");
  });
  observer.observe(el);
  document.addEventListener("focusin", keepKeys);
  return () => {
    observer.disconnect();
    document.removeEventListener("focusin", keepKeys);
  };
}
export default { render };

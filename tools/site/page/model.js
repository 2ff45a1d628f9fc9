// What a widget's module asks of its model, without a kernel: `tell(content)` gets what it sends.
class Model {
  constructor(state, tell = () => {}) {
    Object.assign(this, { state, tell, heard: [] });
    this.widget_manager = { get_model: async () => this };
  }
  get(name) { return this.state[name]; }
  set(name, value) {
    if (this.state[name] === value) return;
    this.state[name] = value;
    this.fire(`change:${name}`);
    this.fire("change");
  }
  on(names, call) { for (const name of names.split(" ")) this.heard.push([name, call]); }
  fire(what, content) { for (const [name, call] of this.heard) if (name === what) call(content); }
  save_changes() {}
  // Later, as a kernel would: a slider that is answered before it has sent sends once more.
  send(content) { queueMicrotask(() => this.tell(content)); }
}

// The widgets of ipywidgets that a panel has, as elements: `part` is a node of tables.py's tree,
// `models` gets the model of each by its id. A page has no runs that could be stopped or replayed.
const HIDDEN = ["Run", "Stop"];
function build(part, models, press) {
  const el = document.createElement("div");
  Object.assign(el.style, part.kind === "VBox" ? { display: "flex", flexDirection: "column" }
                                               : { display: "flex" });
  for (const [key, value] of Object.entries(part.style)) el.style.setProperty(key, value);
  el.classList.add(...part.classes);
  el.dataset.control = part.id;
  if (part.children) {
    el.append(...part.children.map(child => build(child, models, press)));
    return el;
  }
  const model = models[part.id] = new Model(part.state);
  const { description, tooltip } = part.state;
  const labelled = (...parts) => {
    const label = document.createElement("label");
    label.className = "rlhf-labelled";
    label.append(...parts);
    el.append(label);
  };
  if (part.kind === "Button" || part.kind === "ToggleButton") {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: description, title: tooltip ?? "" });
    button.addEventListener("click", () => press(description, el, button));
    el.classList.add("rlhf-button");
    el.hidden = HIDDEN.includes(description);
    if (el.hidden) el.style.display = "none";
    el.append(button);
  } else if (part.kind === "Dropdown") {
    const select = document.createElement("select");
    select.append(...part.state.options.map(option => new Option(option)));
    select.addEventListener("change", () => model.set("value", select.value));
    const show = () => { select.value = model.get("value"); };
    model.on("change:value", show);
    show();
    labelled(description, select);
  } else if (part.kind === "Checkbox") {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.addEventListener("change", () => model.set("value", box.checked));
    const show = () => { box.checked = model.get("value"); };
    model.on("change:value", show);
    show();
    labelled(box, description);
  } else if (part.kind === "Label") el.textContent = part.state.value;
  else if (MODULES[part.kind]) {
    el.style.display = "";
    models.started.push(() => MODULES[part.kind]({ model, el }));
  }
  return el;
}

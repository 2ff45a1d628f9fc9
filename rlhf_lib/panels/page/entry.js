let count = 0;
const make = (tag, props = {}, ...parts) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...parts);
  return node;
};
const draw = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};
const W = 460, H = 220, L = 52, R = 14, T = 12, B = 40;

// A plot to sketch in: by the pointer, or by keys (left and right move along, up and down change).
function board(model, send) {
  const axes = model.get("axes"), n = axes.points ?? 25;
  const [x0, x1] = axes.x_range, [y0, y1] = axes.y_range;
  const px = i => L + (W - L - R) * i / (n - 1);
  const py = y => T + (H - T - B) * (y1 - y) / (y1 - y0);
  const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: "application",
    tabindex: model.get("locked") ? -1 : 0, "aria-label": `Sketch of ${axes.y_title} over ` +
      `${axes.x_title}: arrow keys move along the curve and change it` });
  svg.append(draw("line", { class: "axis", x1: L, x2: W - R, y1: H - B, y2: H - B }),
             draw("line", { class: "axis", x1: L, x2: L, y1: T, y2: H - B }));
  const word = (x, y, text, anchor) => {
    const node = draw("text", { x, y, "text-anchor": anchor });
    node.textContent = text;
    svg.append(node);
  };
  word(L, H - B + 15, x0, "middle"); word(W - R, H - B + 15, x1, "end");
  word(L - 6, H - B, y0, "end"); word(L - 6, T + 8, y1, "end");
  word((L + W - R) / 2, H - 6, axes.x_title, "middle");
  const upright = draw("text", { transform: `translate(14 ${(T + H - B) / 2}) rotate(-90)`,
                                 "text-anchor": "middle" });
  upright.textContent = axes.y_title;
  svg.append(upright);
  const truth = draw("path", { class: "truth" }), mine = draw("path", { class: "mine" });
  const at = draw("line", { class: "at", y1: T, y2: H - B });
  svg.append(truth, mine, at);
  let ys = Array(n).fill(null), place = 0;
  const path = values => values.map((y, i) => y === null ? "" :
    `${i && values[i - 1] !== null ? "L" : "M"}${px(i).toFixed(1)},${py(y).toFixed(1)}`).join("");
  const show = () => {
    mine.setAttribute("d", path(ys));
    at.setAttribute("x1", px(place)); at.setAttribute("x2", px(place));
  };
  const put = (i, y) => {
    i = Math.max(0, Math.min(n - 1, i));
    const step = Math.sign(i - place) || 1, from = ys[place], span = Math.abs(i - place);
    y = Math.max(y0, Math.min(y1, y));
    for (let k = 1; k < span; k++)  // what a quick pointer has passed over
      ys[place + step * k] = from === null ? y : from + (y - from) * k / span;
    ys[i] = y; place = i; show();
  };
  const here = event => {
    const box = svg.getBoundingClientRect(), s = W / box.width;
    put(Math.round(((event.clientX - box.left) * s - L) / (W - L - R) * (n - 1)),
        y1 - ((event.clientY - box.top) * s - T) / (H - T - B) * (y1 - y0));
  };
  if (!model.get("locked")) {
    svg.addEventListener("pointerdown", event => {
      svg.setPointerCapture(event.pointerId);
      place = Math.max(0, Math.min(n - 1, Math.round(((event.clientX -
        svg.getBoundingClientRect().left) * W / svg.getBoundingClientRect().width - L) /
        (W - L - R) * (n - 1))));
      here(event);
    });
    svg.addEventListener("pointermove", event => event.buttons && here(event));
    svg.addEventListener("pointerup", () => send(ys));
    svg.addEventListener("keydown", event => {
      const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const up = { ArrowDown: -1, ArrowUp: 1 }[event.key];
      if (along === undefined && up === undefined) return;
      event.preventDefault();
      const level = ys[place] ?? (y0 + y1) / 2;
      put(place + (along ?? 0),
          along ? ys[place + along] ?? level : level + (up ?? 0) * (y1 - y0) / 20);
      send(ys);
    });
  }
  return { svg, set: values => { ys = [...values]; show(); },
           reveal: values => truth.setAttribute("d", path(values)) };
}

function render({ model, el }) {
  const kind = model.get("kind"), name = `rlhf-entry-${count++}`, locked = model.get("locked");
  el.classList.add("rlhf-entry");
  const kept = make("div", { className: "kept" });
  kept.setAttribute("role", "status");
  const send = value => { model.set("value", value); model.save_changes(); };
  const question = make("div",
    { className: "question", textContent: model.get("question"), id: name });
  const body = make("div");
  body.setAttribute("role", "group");
  body.setAttribute("aria-labelledby", name);
  let set = () => {}, reveal = () => {};
  if (kind === "curve") {
    const plot = board(model, send);
    set = value => Array.isArray(value) && plot.set(value);
    reveal = plot.reveal;
    body.append(plot.svg);
  } else if (!locked && kind === "choice") {
    const boxes = model.get("options").map(option => {
      const box = make("input", { type: "radio", name, value: option });
      box.addEventListener("change", () => send(option));
      body.append(make("label", {}, box, option));
      return box;
    });
    set = value => boxes.forEach(box => { box.checked = box.value === value; });
  } else if (!locked) {
    const wanted = v => Number.isNaN(v) ? "a number such as 0.3 or 1e-3" : "";
    const { field: box, note, read, show } = numberField(wanted);
    box.setAttribute("aria-labelledby", name);
    const typed = () => { const v = read(); if (v !== null) send(v); };
    box.addEventListener("change", typed);
    box.addEventListener("keydown", event => event.key === "Enter" && typed());
    body.append(make("label", {}, box, model.get("unit")), note);
    set = value => { if (value !== null) show(value); };
  }
  el.append(question, body);
  if (locked) {
    const mine = make("div"), said = make("div");
    said.setAttribute("role", "status");
    const button = make("button", { type: "button", textContent: "Show the result" });
    button.addEventListener("click", () => {
      said.textContent = model.get("said");
      reveal(model.get("truth"));
    });
    const show = () => { mine.textContent = model.get("mine"); };
    model.on("change:mine", show);
    show();
    el.append(mine, button, said);
  }
  const refresh = () => { set(model.get("value")); kept.textContent = model.get("status"); };
  model.on("change:value change:status", refresh);
  refresh();
  el.append(kept);
  const keepKeys = event => {
    if (el.contains(event.target)) event.target.setAttribute("data-lm-suppress-shortcuts", "true");
  };
  document.addEventListener("focusin", keepKeys);
  return () => document.removeEventListener("focusin", keepKeys);
}
export default { render };

// A panel in a page: what rlhf_lib/panels/panel.py does in a kernel, with a source of states in
// the place of its generator. `source.at(values)` gives {figures, text, reached},
// `source.snapped(values)` the values that it has.
class PagePanel {
  constructor(found, source, el) {
    this.source = source;
    this.controls = found.controls;
    this.starts = source.snapped(Object.fromEntries(this.controls.map(c => [c.name, c.start])));
    this.models = { started: [] };
    this.stopsOf(found.tree);
    const kinds = kind => partsOf(found.tree).filter(part => part.kind === kind);
    kinds("Label").forEach(part => { part.state.value = found.manner; });
    el.append(build(found.tree, this.models, (...pressed) => this.press(...pressed)));
    [this.head, this.text, this.progress] = ["Head", "LiveText", "Progress"].map(
      kind => this.models[kinds(kind)[0].id]);
    this.plots = found.plots.map(id => this.models[id]);
    this.ghosts = this.plots.map(() => new Ghosts());
    this.keep = found.keep;
    this.preview = found.preview;
    this.moved = new Set();
    Object.assign(this, { count: 0, gesture: false, shown: null, held: {} });
    this.values = { ...this.starts };
    for (const control of this.controls) this.listen(control);
    found.pairs.forEach((pair, i) => pair.length && this.listenToGrip(this.plots[i], pair));
    Object.assign(this.progress.state, { text: found.said, fraction: -1, error: false });
    this.draw(this.starts);
    this.models.started.forEach(start => start());
    this.fix(el);
  }

  // The page's sliders have the stops of the source.
  stopsOf(tree) {
    const parts = Object.fromEntries(partsOf(tree).map(part => [part.id, part]));
    for (const { id, name, stops } of this.controls) {
      const { state } = parts[id];
      state.value = this.starts[name];
      if (!stops) continue;
      if (state.stops) Object.assign(state, { stops, alive: true });
      else state.options = stops;
    }
  }

  // A control that can only be set in the notebook.
  fix(el) {
    this.controls.forEach(({ stops, id }) => {
      if (stops?.length !== 1) return;
      for (const input of el.querySelectorAll(`[data-control="${id}"] :is(input, select)`))
        Object.assign(input, { disabled: true, title: "To be moved in the notebook" });
    });
  }

  listen({ name, id }) {
    const model = this.models[id];
    model.tell = ({ drag, by, n }) => {
      this.follow({ [name]: drag });
      model.fire("msg:custom", { by, n });
    };
    // Where the hand comes back to where it began, only `rest` changes. Once for both, and later,
    // when the slider has shown what was typed: the page has the nearest of its stops.
    let due = false;
    model.on("change:value change:rest", () => {
      if (this.silent || due) return;
      due = true;
      queueMicrotask(() => { due = false; this.conclude(name, model); });
    });
  }

  conclude(name, model) {
    const asked = { ...this.values, [name]: model.get("value") };
    const values = this.source.snapped(asked);
    this.held = {};
    this.begin(values);
    this.values = values;
    this.quietly(() => model.set("value", values[name]));
    this.draw(values, true);
    this.gesture = false;
  }

  listenToGrip(plot, pair) {
    plot.state.grip = true;
    const placed = at => this.source.snapped({ ...this.values, ...Object.fromEntries(
      pair.map((name, i) => [name, at[i]])) });
    const show = values => this.quietly(() => {
      for (const { name, id } of this.controls)
        if (pair.includes(name)) this.models[id].set("value", values[name]);
    });
    plot.tell = ({ drag, by, n }) => {
      const values = placed(drag);
      this.follow(values);
      show(values);
      plot.fire("msg:custom", { by, n });
    };
    plot.on("change:rest", () => {
      const values = placed(plot.get("rest").slice(1));
      this.begin(values);
      this.values = values;
      this.held = {};
      show(values);
      this.draw(values, true);
      this.gesture = false;
    });
  }

  quietly(act) {
    this.silent = true;
    act();
    this.silent = false;
  }

  follow(held) {
    Object.assign(this.held, held);
    const values = this.source.snapped({ ...this.values, ...this.held });
    this.begin(values);
    this.gesture = true;
    this.draw(values);
  }

  // What is drawn becomes that of a former run.
  begin(values) {
    if (this.gesture) return;
    this.head.set("reached", false);
    const { values: former, figures } = this.shown;
    const differ = this.controls.filter(({ name }) => former[name] !== values[name]);
    if (!differ.length) return;
    this.count += 1;
    if (this.preview) this.ghosts.forEach(ghosts => ghosts.forget(this.preview));
    differ.forEach(({ name }) => this.moved.add(name));
    const label = this.controls.filter(({ name }) => this.moved.has(name))
      .map(({ name, label }) => described(label, former[name])).join(", ") || `run ${this.count}`;
    figures.forEach(({ traces }, i) => this.ghosts[i].add(label, traces, this.keep));
  }

  draw(values, rests = false) {
    const { figures, text, reached, under } = this.source.at(values, rests);
    under?.forEach(({ traces }, i) => this.ghosts[i].add(this.preview, traces, this.keep));
    figures.forEach(({ axes, traces }, i) => {
      const ghosts = this.ghosts[i].besides(traces), state = this.plots[i].state;
      const still = traces.filter(trace => trace.rlhf?.fixed);
      if (JSON.stringify(still) !== JSON.stringify(state.fixed)) state.fixed = still;
      Object.assign(state, { axes, ghosts, notes: endLabels([...traces, ...ghosts], axes) });
      this.plots[i].set("moving", traces.filter(trace => !trace.rlhf?.fixed));
    });
    this.text.state.busy = !rests;
    this.text.set("text", text);
    this.text.fire("change:busy");
    this.head.set("reached", rests && reached);
    this.shown = { values, figures };
  }

  press(name, el, button) {
    if (name === "Reset") {
      this.quietly(() => this.controls.forEach(
        control => this.models[control.id].set("value", this.starts[control.name])));
      this.values = { ...this.starts };
    }
    if (name === "Reset" || name === "Clear") {
      this.ghosts.forEach(ghosts => ghosts.forget());
      this.moved.clear();
      this.draw(this.values, true);
      if (name === "Reset") this.head.set("reached", false);
    } else {  // the plots behind a button
      const more = el.nextElementSibling, show = more.style.display === "none";
      more.style.display = show ? "flex" : "none";
      button.textContent = button.textContent.replace(/^\w+/, show ? "Hide" : "Show");
      button.setAttribute("aria-expanded", show);
    }
  }
}

const partsOf = part => [part, ...(part.children ?? []).flatMap(partsOf)];

// As Control.describe: "λ = 0.3", for the name of a kept curve.
function described(label, value) {
  if (typeof value === "boolean") return value ? label : `no ${label}`;
  if (typeof value === "string") return value;
  const last = label.split(/\s+/).at(-1);
  return `${[...last].length === 1 ? last : label} = ${short(value)}`;
}
// As Python's format(v, ".4g").
function short(v) {
  const [digits, power] = v.toExponential(3).split("e");
  if (v === 0 || (power >= -4 && power < 4)) return String(+v.toPrecision(4));
  return `${+digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

// The page calls this with the place of a panel, and shows its picture where it says false.
globalThis.rlhfAlive = place => {
  const { notebook, panel } = place.dataset;
  const packed = globalThis.rlhfPanels?.[notebook]?.[panel];
  if (!packed || !globalThis.DecompressionStream || !globalThis.Plotly) return false;
  globalThis.rlhfPlotly ??= Promise.resolve(globalThis.Plotly);
  const el = document.createElement("div");
  el.className = "panel-alive";
  place.append(el);
  unpacked64(packed).then(found => {
    place.rlhf = new PagePanel(found, SOURCES[found.source](found), el);
  }).catch(error => {
    el.remove();
    place.classList.remove("is-alive");
    throw error;
  });
  return true;
};

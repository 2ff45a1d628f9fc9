// `DARK`, the partner of each colour in the dark theme, is put before this by plot.py.
function load(code) {
  globalThis.rlhfPlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = reject;
    document.head.append(script);
  });
  return globalThis.rlhfPlotly;
}

// JupyterLab says on its body which theme it has; elsewhere the system does.
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => {
  const said = document.body.dataset.jpThemeLight ?? document.body.dataset.theme;
  return said === undefined ? system.matches : said === "false" || said === "dark";
};

// A copy, in the colours of the theme.
const PAIRS = new Map(Object.entries(DARK).map(([light, dark]) => [light.toLowerCase(), dark]));
const dress = (value, dark) => {
  if (typeof value === "string") {
    if (!dark) return value;
    const band = /^rgba\((\d+), (\d+), (\d+), ([\d.]+)\)$/.exec(value);
    if (!band) return PAIRS.get(value.toLowerCase()) ?? value;
    const hex = "#" + band.slice(1, 4).map(n => (+n).toString(16).padStart(2, "0")).join("");
    const pair = PAIRS.get(hex);
    return pair ? pair + Math.round(255 * band[4]).toString(16).padStart(2, "0") : value;
  }
  if (ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map(part => dress(part, dark));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([k, part]) => [k, dress(part, dark)]));
  return value;
};

// The mode bar would otherwise offer to upload the figure to plotly's cloud. It stands over the
// figure's right corner, where no text is, and only while the pointer is on the figure.
// No text is a formula, whatever `$` it holds.
const config = { displaylogo: false, showSendToCloud: false, displayModeBar: "hover",
                 modeBarButtons: [["toImage", "zoom2d", "resetScale2d"]], typesetMath: false };

// Long rows of numbers come as bytes.
const unpacked = traces => traces.map(trace => {
  const found = { ...trace };
  for (const axis of ["x", "y"])
    if (found[axis]?.f64) {
      const { buffer, byteOffset, byteLength } = found[axis].f64;
      found[axis] = new Float64Array(buffer.slice(byteOffset, byteOffset + byteLength));
    }
  return found;
});

// Everything of a trace but its places.
const look = trace => JSON.stringify({ ...trace, x: 0, y: 0 });

// Where nothing but the places of lines, points and names has changed, what plotly has drawn is
// moved. That takes a millisecond or two, and a redraw thirty, too many for a hand that moves;
// plotly draws it all anew when it has been quiet for a while. Returns whether that was possible.
const QUIET = 300;  // ms
const moved = (plot, drawn, now) => {
  if (!drawn || drawn.axes !== now.axes || drawn.dark !== now.dark || drawn.width !== now.width
      || drawn.traces.length !== now.traces.length || drawn.notes.length !== now.notes.length)
    return false;
  const { xaxis, yaxis, _size: size } = plot._fullLayout;
  const along = axis => v => v === null || Number.isNaN(v) ? NaN : axis.l2p(axis.d2l(v));
  const seen = axis => ["linear", "log"].includes(axis.type) && !axis.autorange;
  if (!seen(xaxis) || !seen(yaxis)) return false;
  const [px, py] = [along(xaxis), along(yaxis)];
  const changes = [];
  for (const [i, trace] of now.traces.entries()) {
    const before = plot.data[i];
    if (same(before.x, trace.x) && same(before.y, trace.y) && drawn.looks[i] === look(trace))
      continue;
    const node = plot.querySelector(`.trace${plot._fullData[i].uid}`);
    const change = drawn.looks[i] === look(trace) && place(node, trace, px, py, xaxis, yaxis);
    if (!change) return false;
    changes.push(() => { change(); Object.assign(before, { x: trace.x, y: trace.y }); });
  }
  const first = (now.axes.annotations ?? []).length;
  for (const [i, note] of now.notes.entries()) {
    const before = drawn.notes[i];
    const node = plot.querySelector(`.annotation[data-index="${first + i}"]`);
    if (!node || JSON.stringify({ ...before, y: 0 }) !== JSON.stringify({ ...note, y: 0 }))
      return false;
    changes.push(() => {
      node.style.transform = `translate(0, ${(before.y - note.y) * size.h}px)`;
    });
  }
  changes.forEach(change => change());
  return true;
};
const same = (a, b) => a === b || (a?.length === b?.length && !!a && a.every((v, i) =>
  v === b[i] || (Number.isNaN(v) && Number.isNaN(b[i]))));

// How to move one trace, or null where its nodes do not suffice.
const place = (node, trace, px, py, xaxis, yaxis) => {
  const mode = trace.mode ?? "", shape = trace.line?.shape ?? "linear";
  if ((trace.type ?? "scatter") !== "scatter" || !["linear", "hv", "hvh"].includes(shape))
    return null;
  const at = Array.from(trace.x, (x, i) => [px(x), py(trace.y[i])]);
  const there = at.map((p, i) => i).filter(i => !Number.isNaN(at[i][0] + at[i][1]));
  if (!node) return there.length ? null : () => {};
  const lines = [...node.querySelectorAll(".js-line")], fill = node.querySelector(".js-fill");
  const points = [...node.querySelectorAll(".points > .point")];
  const names = [...node.querySelectorAll(".textpoint")];
  const texts = there.filter(i => Array.isArray(trace.text) ? trace.text[i] : trace.text);
  if (mode.includes("lines") && there.length > 1 && !lines.length && !fill) return null;
  if (mode.includes("markers") && there.length && !points.length) return null;
  if (mode.includes("text") && there.length && texts.length !== names.length) return null;
  if (Array.isArray(trace.marker?.size) || Array.isArray(trace.marker?.symbol)) return null;
  const inside = ([x, y]) => x >= -1 && y >= -1 && x <= xaxis._length + 1 && y <= yaxis._length + 1;
  return () => {
    node.style.display = there.length ? "" : "none";
    const path = track(at, shape);
    if (mode.includes("lines"))
      lines.forEach((line, k) => k ? line.remove() : line.setAttribute("d", path || "M0,0"));
    fill?.setAttribute("d", path && `${path}Z`);
    if (mode.includes("markers")) {
      points.slice(there.length).forEach(point => point.remove());
      there.forEach((i, k) => {
        const point = points[k] ?? points[0].parentNode.appendChild(points[0].cloneNode());
        point.setAttribute("transform", `translate(${at[i]})`);
        point.style.display = inside(at[i]) ? "" : "none";
      });
    }
    if (mode.includes("text"))
      texts.forEach((i, k) => {
        names[k].style.display = inside(at[i]) ? "" : "none";
        names[k].querySelectorAll("text, tspan.line").forEach(part => {
          part.setAttribute("x", at[i][0]);
          part.setAttribute("y", at[i][1]);
        });
      });
  };
};
const track = (at, shape) => {
  let path = "", last = null;
  for (const p of at) {
    const [x, y] = p;
    if (Number.isNaN(x + y)) { last = null; continue; }
    if (!last) path += `M${x},${y}`;
    else if (shape === "hv") path += `H${x}V${y}`;
    else if (shape === "hvh") path += `H${(last[0] + x) / 2}V${y}H${x}`;
    else path += `L${x},${y}`;
    last = p;
  }
  return path;
};

function render({ model, el }) {
  const plot = document.createElement("div");
  plot.style.height = `${model.get("axes").height}px`;
  plot.setAttribute("role", "figure");
  plot.setAttribute("aria-label", model.get("label") || "figure");
  el.append(plot);

  let Plotly, asked = false, width = 0, drawn = null, quiet = 0;
  const traces = () => ["fixed", "ghosts", "moving"].flatMap(name => unpacked(model.get(name)));
  const draw = () => {
    asked = false;
    if (!Plotly || !plot.clientWidth) return;
    const now = { axes: model.get("axes"), traces: traces(), notes: model.get("notes"),
                  dark: isDark(), width: plot.clientWidth };
    clearTimeout(quiet);
    if (moved(plot, drawn, now)) quiet = setTimeout(whole, QUIET, now);
    else whole(now);
    lay();
  };
  const whole = now => {
    const { axes, dark } = now, notes = [...(axes.annotations ?? []), ...now.notes];
    [drawn, width] = [now, now.width];
    now.looks = now.traces.map(look);
    plot.style.height = `${axes.height}px`;
    Plotly.react(plot, dress(now.traces, dark), dress({ ...axes, annotations: notes }, dark),
                 config);
    lay();
    if (root) return;
    root = el.closest(".rlhf-panel") ?? el;
    const point = step => root.dispatchEvent(new CustomEvent("rlhf-step", { detail: step }));
    plot.on("plotly_hover", ({ points: [{ data, pointNumber }] }) =>
      point(data.meta?.steps || data.meta?.former ? pointNumber : null));
    plot.on("plotly_unhover", () => point(null));
    root.addEventListener("rlhf-step", light);
  };

  // Marks over the plot: the step that is pointed at in one of the panel's figures, and a grip
  // where the start can be dragged, for which the sliders serve those who use keys.
  let root = null, lit = null, hand = null;
  const marks = [], grip = document.createElement("div");
  grip.className = "rlhf-grip";
  grip.hidden = true;
  el.style.position = "relative";
  el.append(grip);
  const put = (node, x, y) => {
    const { xaxis, yaxis, _size: size } = plot._fullLayout;
    const [px, py] = [xaxis.l2p(xaxis.d2l(x)), yaxis.l2p(yaxis.d2l(y))];
    node.hidden = !(px >= 0 && py >= 0 && px <= xaxis._length && py <= yaxis._length);
    node.style.left = `${plot.offsetLeft + size.l + px}px`;
    node.style.top = `${plot.offsetTop + size.t + py}px`;
  };
  const light = ({ detail }) => { lit = detail; lay(); };
  const lay = () => {
    if (!Plotly || !plot._fullLayout) return;
    const found = lit === null ? [] : plot.data.filter(t => t.meta?.steps && lit < t.x.length);
    while (marks.length < found.length) {
      const mark = document.createElement("div");
      mark.className = "rlhf-lit";
      marks.push(el.appendChild(mark));
    }
    marks.forEach((mark, i) => {
      if (found[i]) put(mark, found[i].x[lit], found[i].y[lit]);
      else mark.hidden = true;
    });
    const start = model.get("grip") && plot.data.find(t => t.meta?.start && t.x.length);
    grip.hidden = !start;
    if (start && !hand) put(grip, start.x[0], start.y[0]);
  };

  // The grip sends its place as a slider does: the latest, when the last one has been drawn.
  const me = Math.random();
  let sent = 0, answered = 0, latest = null;
  const send = () => {
    if (latest === null || answered < sent) return;
    model.send({ drag: latest, by: me, n: ++sent, rest: model.get("rest")[0] });
    latest = null;
    el.dataset.sent = sent;  // for tests, as `answered`
  };
  model.on("msg:custom", message => {
    if (message.by !== me) return;
    answered = el.dataset.answered = message.n;
    send();
  });
  const under = event => {
    const box = plot.getBoundingClientRect();
    const { xaxis, yaxis, _size: size } = plot._fullLayout;
    const at = (axis, p) => Math.min(Math.max(axis.p2d(p), axis.range[0]), axis.range[1]);
    return [at(xaxis, event.clientX - box.left - size.l),
            at(yaxis, event.clientY - box.top - size.t)];
  };
  grip.addEventListener("pointerdown", event => {
    grip.setPointerCapture(event.pointerId);
    event.preventDefault();
    hand = true;
  });
  grip.addEventListener("pointermove", event => {
    if (!hand) return;
    hand = latest = under(event);
    put(grip, ...hand);
    send();
  });
  for (const kind of ["pointerup", "pointercancel"])
    grip.addEventListener(kind, () => {
      if (Array.isArray(hand)) {
        model.set("rest", [model.get("rest")[0] + 1, ...hand]);
        model.save_changes();
      }
      hand = latest = null;
    });
  // A page that is slower than the run skips states, it does not queue them.
  const ask = () => { if (!asked) { asked = true; requestAnimationFrame(draw); } };
  const fit = new ResizeObserver(() => {
    if (!Plotly || !plot.clientWidth || plot.clientWidth === width) return;
    if (!width) return ask();
    width = plot.clientWidth;
    Plotly.Plots.resize(plot);
  });
  fit.observe(plot);
  model.on("change:moving change:ghosts change:fixed change:axes change:notes", ask);
  const theme = new MutationObserver(ask);
  theme.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-theme"] });
  system.addEventListener("change", ask);

  const id = model.get("library").replace("IPY_MODEL_", "");
  model.widget_manager.get_model(id).then(library => load(library.get("code"))).then(
    loaded => { Plotly = loaded; ask(); picture(); },
    error => { plot.textContent = `plotly could not be loaded: ${error}`; });

  // Asked for a picture, it sends one of what is drawn, in the light theme: once it is quiet, for
  // a reader who drags is not to wait for it.
  let later = 0;
  const picture = () => {
    clearTimeout(later);
    if (model.get("wanted")) later = setTimeout(snap, 1500);
  };
  const snap = async () => {
    if (!Plotly) return;
    const axes = model.get("axes"), notes = [...(axes.annotations ?? []), ...model.get("notes")];
    const layout = { ...structuredClone(axes), annotations: notes, paper_bgcolor: "#ffffff" };
    const data = structuredClone(traces());
    const made = await Plotly.toImage({ data, layout },
      { format: "png", width: 560, height: axes.height, scale: 1 });
    model.set("picture", made);
    model.save_changes();
  };
  model.on("change:wanted", picture);

  return () => {
    clearTimeout(later);
    clearTimeout(quiet);
    root?.removeEventListener("rlhf-step", light);
    fit.disconnect();
    theme.disconnect();
    system.removeEventListener("change", ask);
    Plotly?.purge(plot);
    Plotly = undefined;
  };
}
export default { render };

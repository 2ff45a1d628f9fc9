// What former runs leave in a figure, as rlhf_lib/panels/ghosts.py has it.
class Ghosts {
  runs = [];
  add(label, traces, keep) {
    const left = traces.filter(trace => trace.rlhf?.ghost);
    if (!left.length || keep < 1) return;
    const used = keep > 1 ? this.runs.slice(-(keep - 1)).map(run => run[0].legendgroup) : [];
    const number = Math.max(GHOSTS.symbols.findIndex(symbol => !used.includes(symbol)), 0);
    const run = left.map((trace, i) => former(trace, label, GHOSTS.symbols[number], i === 0));
    const named = left.findLastIndex(trace => trace.rlhf.named);
    if (traces.some(trace => trace.rlhf?.named)) run[Math.max(named, 0)].rlhf = { named: true };
    else Object.assign(run[0], {
      mode: `${run[0].mode}+text`, text: [...Array(Math.max(run[0].x.length - 1, 0)).fill(""), label],
      textposition: GHOSTS.places[number % GHOSTS.places.length], textfont: { size: 11 },
    });
    this.runs = [...this.runs, run].slice(-keep);
    this.colour();
  }
  forget(label) {
    this.runs = this.runs.filter(run => label !== undefined && run[0].name !== label);
    this.colour();
  }
  // All but the runs that what is drawn lies on: their names would hide its own.
  besides(now) {
    const places = traces => JSON.stringify(traces.map(({ x, y }) => [x, y]));
    const here = places(now.filter(trace => trace.rlhf?.ghost));
    return this.runs.filter(run => places(run) !== here).flat();
  }
  colour() {
    const colours = runColours(this.runs.map(run => run[0].name));
    this.runs = this.runs.map((run, i) => run.map(trace => {
      const found = { ...trace }, color = colours[i];
      for (const name of ["marker", "textfont"]) found[name] = { ...trace[name], color };
      if (trace.line || trace.mode.includes("lines")) found.line = { ...trace.line, color };
      return found;
    }));
  }
}

function former(trace, name, symbol, first) {
  const look = trace.rlhf.ghost, { x = [], y = [] } = trace;
  const size = look.mode.includes("lines")
    ? [...Array(Math.max(x.length - 1, 0)).fill(0), 8] : 9;
  return { type: "scatter", ...look, name, legendgroup: symbol, showlegend: first, x, y,
           marker: { ...look.marker, symbol, size }, opacity: 0.85, meta: { former: true } };
}

// From pale to dark in the order of the value that each label ends with, or of the runs.
function runColours(labels) {
  const values = labels.map(label => label.split(" = ").length === 2
    ? Number(label.split(" = ")[1] || NaN) : NaN);
  const order = labels.map((_, i) => i);
  if (!values.some(Number.isNaN)) order.sort((a, b) => values[a] - values[b]);
  const last = Math.max(labels.length - 1, 1), most = GHOSTS.colours.length - 1;
  return labels.map((_, i) => GHOSTS.colours[Math.round(order.indexOf(i) * most / last)]);
}

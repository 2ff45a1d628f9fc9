// The names at the right ends of curves, as rlhf_lib/panels/labels.py places them.
const wrapped = (name, letters) => {
  const lines = [""], most = Math.min(letters, LABELS.wrap);
  for (const word of name.split(" ")) {
    const last = lines.at(-1);
    if (last && last.length + 1 + word.length > most) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`.trim();
  }
  return lines;
};
const scaled = (y, log) => typeof y !== "number" || !isFinite(y) || (log && y <= 0) ? null
  : log ? Math.log10(y) : y;

function endLabels(traces, axes) {
  const area = axes.height - axes.margin.t - axes.margin.b, log = axes.yaxis.type === "log";
  const letters = Math.trunc((axes.margin.r - 14) / LABELS.letter + 0.01);
  const ends = trace => Array.from(trace.y ?? [], y => scaled(y, log)).filter(y => y !== null);
  const spread = () => {
    const all = traces.flatMap(ends);
    if (!all.length) return [0, 1];
    const [least, most] = [Math.min(...all), Math.max(...all)], edge = 0.055 * (most - least);
    return [least - edge, most + edge];
  };
  const [low, high] = axes.yaxis.range ?? spread();
  const labels = [];
  for (const trace of traces) {
    const end = ends(trace).at(-1);
    if (!trace.rlhf?.named || !trace.name || end === undefined) continue;
    const share = Math.min(Math.max((end - low) / (high - low || 1), 0), 1);
    const color = trace.line?.color || trace.marker?.color || null;
    labels.push({ at: share * area, lines: wrapped(trace.name, letters), color });
  }
  labels.sort((a, b) => a.at - b.at);
  spreadOut(labels, area);
  return labels.map(({ at, lines, color }) => ({
    text: lines.join("<br>"), x: 1, xref: "paper", xanchor: "left", xshift: 6, y: at / area,
    yref: "paper", yanchor: "middle", showarrow: false, align: "left", font: { size: 12, color },
  }));
}

function spreadOut(labels, area) {
  for (let round = 0; round < 50; round++) {
    let moved = false;
    for (let i = 1; i < labels.length; i++) {
      const [one, other] = [labels[i - 1], labels[i]];
      const need = LABELS.line * (one.lines.length + other.lines.length) / 2;
      const gap = need - (other.at - one.at);
      if (gap > 0.5) { one.at -= gap / 2; other.at += gap / 2; moved = true; }
    }
    for (const label of labels) {
      const half = LABELS.line * label.lines.length / 2;
      label.at = Math.min(Math.max(label.at, half - LABELS.line / 2),
                          area - half + LABELS.line / 2);
    }
    if (!moved) return;
  }
}

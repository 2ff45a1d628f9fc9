// A table as tables.py has written it: the state of a panel at each combination of stops.
async function unpacked64(text) {
  const packed = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { ...head, bytes: bytes.subarray(4 + length) };
}

// The rows of a slot: whole numbers times the quantum, or powers of ten of that.
function rowsOf(bytes, [start, length, order, quantum, log]) {
  const rows = [], end = start + length;
  let at = start, former = [];
  const next = () => {
    let number = 0, place = 1, byte;
    do {
      byte = bytes[at++];
      number += (byte & 127) * place;
      place *= 128;
    } while (byte > 127);
    return number;
  };
  while (at < end) {
    const row = Array(next());
    let last = 0, slope = 0;
    for (let i = 0; i < row.length; i++) {
      const code = next() - 1;
      if (code < 0) { row[i] = null; continue; }
      const d = code % 2 ? -(code + 1) / 2 : code / 2;
      const above = order === 0 && former[i] != null;
      row[i] = d + (above ? former[i] : order === 2 ? last + slope : last);
      [slope, last] = [row[i] - last, row[i]];
    }
    rows.push(former = row);
  }
  const value = q => q === null ? null : log ? 10 ** (q * quantum) : +(q * quantum).toPrecision(9);
  return rows.map(row => row.map(value));
}

const nearest = (stops, v) => typeof v !== "number" ? Math.max(stops.indexOf(v), 0) : stops.reduce(
  (best, stop, i) => Math.abs(stop - v) < Math.abs(stops[best] - v) ? i : best, 0);

class Table {
  constructor(found) {
    this.found = found;
    this.slots = Object.fromEntries(Object.entries(found.slots).map(
      ([name, slot]) => [name, rowsOf(found.bytes, slot)]));
    this.looks = found.looks.map(JSON.parse);
    this.axes = found.axes.map(JSON.parse);
  }
  // What a reader gets who asks for these values.
  snapped(values) {
    return Object.fromEntries(this.found.controls.map(
      ({ name, stops }) => [name, stops[nearest(stops, values[name])]]));
  }
  at(values) {
    let place = 0;
    for (const { name, stops } of this.found.controls)
      place = place * stops.length + nearest(stops, values[name]);
    const [text, figures] = this.found.states[place];
    return {
      text: this.found.texts[text],
      reached: !!this.found.reached[place],
      figures: figures.map(([axes, ...traces], f) => ({
        axes: this.axes[axes],
        traces: traces.map(([look, x, y], t) => ({
          ...this.looks[look],
          ...(x >= 0 && { x: this.slots[`${f}.${t}.x`][x] }),
          ...(y >= 0 && { y: this.slots[`${f}.${t}.y`][y] }),
        })),
      })),
    };
  }
}

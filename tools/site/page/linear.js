// The linearized BERT of notebook 10: damped Gauss-Newton steps in sample space, from the Gram
// matrix of the margins, as rlhf_lib/linearized/problem.py and run.py state them, for one margin a
// sample and a penalty that pulls to the start.
const EPS = 2 ** -52;

// loss and slope of the logistic loss at a margin y, where t is the share of the first class.
const logistic = (y, t) => Math.max(y, 0) - t * y + Math.log1p(Math.exp(-Math.abs(y)));
const sigmoid = y => 1 / (1 + Math.exp(-y));
const dot = (a, b) => { let s = 0; for (let i = 0; i < b.length; i++) s += a[i] * b[i]; return s; };
const plus = (a, b, t) => Float64Array.from(a, (v, i) => v + t * b[i]);

// L with L L' = I + s_i K_ij s_j / c, in its lower triangle, row by row.
function cholesky(K, s, c) {
  const n = s.length, L = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = K[i], at = i * n;
    for (let j = 0; j <= i; j++) {
      const other = j * n;
      let v = s[i] * row[j] * s[j] / c + (i === j ? 1 : 0);
      for (let k = 0; k < j; k++) v -= L[at + k] * L[other + k];
      L[at + j] = i === j ? Math.sqrt(v) : v / L[other + j];
    }
  }
  return L;
}
function solved(L, x) {
  const n = x.length, y = Float64Array.from(x);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) y[i] -= L[i * n + k] * y[k];
    y[i] /= L[i * n + i];
  }
  for (let i = n - 1; i >= 0; i--) {
    y[i] /= L[i * n + i];
    for (let k = 0; k < i; k++) y[k] -= L[i * n + k] * y[i];
  }
  return y;
}

// `K`: rows of J J' of the training margins and then of the held-out ones, each over the training
// margins; `start`: all margins at theta_0; `targets`: of the n samples that are trained on.
class LinearProblem {
  constructor(K, start, samples, targets, held, lambda) {
    Object.assign(this, { n: targets.length, targets, held, lambda });
    // The rows of the samples that are trained on, and of those that are held out.
    this.K = [...K.slice(0, this.n), ...K.slice(samples)].map(row => row.subarray(0, this.n));
    this.start = [...start.slice(0, this.n), ...start.slice(samples)];
  }
  origin() { return this.point(new Float64Array(this.n)); }
  point(b) { return { b, u: Float64Array.from(this.K, row => dot(row, b)) }; }
  moved({ b, u }, d, t) { return { b: plus(b, d.b, t), u: plus(u, d.u, t) }; }
  mean(point, from, targets) {
    return targets.reduce((sum, t, i) =>
      sum + logistic(this.start[from + i] + point.u[from + i], t), 0) / targets.length;
  }
  accuracy(point, from, targets) {
    return targets.filter((t, i) =>
      (this.start[from + i] + point.u[from + i] >= 0) === t > 0.5).length / targets.length;
  }
  value(point) {
    return this.mean(point, 0, this.targets) + this.lambda / 2 * dot(point.u, point.b);
  }
  local({ b, u }) {
    const p = this.targets.map((t, i) => sigmoid(this.start[i] + u[i])), n = this.n;
    const g = Float64Array.from(p, (v, i) => (v - this.targets[i]) / n);
    const s = Float64Array.from(p, v => Math.sqrt(v * (1 - v) / n));
    const Kg = Float64Array.from(g, (_, i) => dot(this.K[i], g));
    const r = plus(g, b, this.lambda), Kr = plus(Kg, u, this.lambda);
    return { g, s, Kg, norm: Math.sqrt(Math.max(dot(Kr, r), 0)),
             task: Math.sqrt(Math.max(dot(Kg, g), 0)) };
  }
  // From (I + SKS / c) t = S (K g + lambda u) / c, r = g - S t: d = -(r + lambda b) / c.
  step({ b, u }, { g, s, Kg }, damping) {
    const c = this.lambda + damping;
    const t = solved(cholesky(this.K, s, c), s.map((v, i) => v * (Kg[i] + this.lambda * u[i]) / c));
    return this.point(g.map((v, i) => -(v - s[i] * t[i] + this.lambda * b[i]) / c));
  }
}

// Yields {point, rho} from `point` on; the last one is where it ended. `slack`: how many roundings
// of the objective a step may go up by, as near a minimum.
function* stepsOf(problem, point, damping, most, tol, slack = 0) {
  let value = problem.value(point), local = problem.local(point);
  const least = tol * local.task;
  yield { point, rho: null, norm: local.norm };
  for (let step = 0; step < most && local.norm > least; step++) {
    const d = problem.step(point, local, damping);
    const slope = dot(d.u, local.g) + problem.lambda * dot(d.u, point.b);
    const curved = local.s.reduce((sum, s, i) => sum + (s * d.u[i]) ** 2, 0)
      + problem.lambda * dot(d.u, d.b);
    const promised = -slope - curved / 2, allowed = value + slack * EPS * Math.abs(value);
    let length = 1, full = null, next, after;
    for (let k = 0; ; k++, length /= 2) {
      if (k > (slack ? 40 : 12)) { length = 0; next = point; after = value; break; }
      next = problem.moved(point, d, length);
      after = problem.value(next);
      full ??= after;
      if (slope < 0 && after <= allowed + 1e-4 * length * slope) break;
    }
    const actual = value - full, noise = 10 * EPS * Math.abs(value);
    const rho = Math.max(Math.abs(actual), Math.abs(promised)) < noise ? 1
      : Number.isFinite(actual) && promised > 0 ? actual / promised : -Infinity;
    if (length) [point, value, local] = [next, after, problem.local(next)];
    yield { point, rho, norm: local.norm };
    if (!length) return;
  }
}

// What the panel shows of it; `found` is what linear_table.py has written.
class Linear {
  constructor(found) {
    this.found = found;
    const { samples, start, quantum } = found.linear, rows = start.length;
    const view = new DataView(found.bytes.buffer, found.bytes.byteOffset);
    let at = 0;
    const number = () => { at += 2; return view.getInt16(at - 2, true) * quantum; };
    this.K = Array.from({ length: rows }, () => new Float64Array(samples));
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < Math.min(i + 1, samples); j++) {
        this.K[i][j] = number();
        if (i < samples) this.K[j][i] = this.K[i][j];
      }
    this.profiles = new Map();
  }
  problem(lambda, noise, sentences) {
    const { start, samples, labels, noises, held } = this.found.linear;
    const targets = [...labels[nearest(noises, noise)]].slice(0, sentences).map(v => 1 - v);
    return new LinearProblem(this.K, start, samples, targets, [...held].map(v => 1 - v), lambda);
  }
  scored(problem, step, { point, rho, norm }) {
    const { n, targets, held } = problem;
    return { step, rho, norm, train: problem.mean(point, 0, targets), val: problem.mean(point, n, held),
             accuracy: problem.accuracy(point, n, held) };
  }
  run({ lambda_reg, damping, steps, noise, sentences }) {
    const problem = this.problem(lambda_reg, noise, sentences);
    return [...stepsOf(problem, problem.origin(), damping, steps, 1e-8)].map(
      (found, step) => this.scored(problem, step, found));
  }
  // Where the steps would end for every lambda, from large to small.
  profile({ noise, sentences }) {
    const key = `${noise} ${sentences}`;
    if (!this.profiles.has(key)) {
      let b = null;
      this.profiles.set(key, this.found.linear.lambdas.map(lambda => {
        const problem = this.problem(lambda, noise, sentences);
        const point = b ? problem.point(b) : problem.origin();
        let last;
        for (last of stepsOf(problem, point, 0, 100, 1e-11, 4));
        b = last.point.b;
        return { lambda, ...this.scored(problem, 0, last) };
      }));
    }
    return this.profiles.get(key);
  }
  recorded({ lambda_reg, damping, noise, sentences, steps }) {
    const { runs, samples } = this.found.linear;
    const run = sentences === samples
      && runs.find(({ at }) => at.join() === [lambda_reg, damping, noise].join());
    return run ? run.records.slice(0, steps + 1).map(
      ([step, rho, train, val, accuracy]) => ({ step, rho, train, val, accuracy })) : null;
  }
  snapped(values) {
    const { noises } = this.found.linear;
    return { ...values, noise: noises[nearest(noises, values.noise)],
             steps: Math.round(values.steps), sentences: Math.round(values.sentences) };
  }
  at(values, rests) {
    const linear = this.run(values);
    if (rests || !this.shown) this.shown = this.profile(values);
    const wants = rests && values.run === this.found.linear.true;
    const record = wants ? this.recorded(values) : null;
    const figures = records => this.figures(records, values);
    return {
      figures: figures(record ?? linear), under: record && figures(linear),
      text: this.said(record ?? linear, record ? "true BERT, recorded" : "linearized")
        + (wants && !record ? ` ${this.found.linear.unrecorded}` : ""),
      reached: this.reached(values, linear),
    };
  }
  figures(records, { lambda_reg }) {
    const profile = this.shown, lowest = profile.at(-1).lambda;
    const least = records.reduce((best, r) => r.val < best.val ? r : best);
    const rhos = records.filter(r => Number.isFinite(r.rho ?? NaN));
    const of = (rows, x, y) => ({ x: rows.map(r => r[x]), y: rows.map(r => r[y]) });
    const places = [
      { "validation loss": of(records, "step", "val"), "training loss": of(records, "step", "train"),
        "least validation loss": { x: [least.step], y: [least.val] } },
      { "validation loss": of(profile, "lambda", "val"), "training loss": of(profile, "lambda", "train"),
        "this run": { x: records.map(() => Math.max(lambda_reg, lowest)),
                      y: records.map(r => r.val) } },
      { "ρ": of(rhos, "step", "rho") },
    ];
    return this.found.figures.map(({ axes, traces }, i) => ({
      axes, traces: traces.map(trace => ({ ...trace, ...places[i][trace.name] })) }));
  }
  said(records, which) {
    const last = records.at(-1), best = records.reduce((a, r) => r.val < a.val ? r : a);
    return `Step ${last.step} (${which}): training loss ${last.train.toFixed(3)}, validation loss `
      + `${last.val.toFixed(3)} (accuracy ${last.accuracy.toFixed(3)}), `
      + `${(last.val - best.val).toFixed(3)} above its least, at step ${best.step}.`
      + (last.rho === null ? "" : ` ρ = ${last.rho.toFixed(2)}.`);
  }
  // The goal of the notebook's check 10.hold, of the linearized run.
  reached({ lambda_reg, noise, sentences }, records) {
    const { samples } = this.found.linear, end = records.at(-1);
    const left = (records.at(-2)?.norm ?? Infinity) / records[0].norm;  // where the last step began
    const rise = end.val - Math.min(...records.map(r => r.val));
    return lambda_reg > 0 && noise === 0.2 && sentences === samples && end.val < 0.53
      && rise < 0.02 && left < 0.1 && (left < 0.001 || records.length > 24);
  }
}
const SOURCES = { table: found => new Table(found), linear: found => new Linear(found) };

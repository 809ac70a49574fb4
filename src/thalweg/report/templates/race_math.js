"use strict";
// Landscapes and optimizers, as in thalweg.landscapes and thalweg.optimizers (convention "thalweg"). No page is needed here.

const LANDSCAPES = {
  Quadratic({ condition, angle }) {
    const cos = Math.cos(angle), sin = Math.sin(angle);
    const turned = (x, y) => [cos * x + sin * y, cos * y - sin * x];
    return {
      value(x, y) { const [u, v] = turned(x, y); return 0.5 * (u * u + condition * (v * v)); },
      gradient(x, y) {
        const [u, v] = turned(x, y), steep = condition * v;
        return [cos * u - sin * steep, sin * u + cos * steep];
      },
      hessian() {
        return [cos * cos + condition * (sin * sin), (1 - condition) * sin * cos, sin * sin + condition * (cos * cos)];
      },
    };
  },
  Saddle() {
    return { value: (x, y) => x * x - y * y, gradient: (x, y) => [2 * x, -2 * y], hessian: () => [2, 0, -2] };
  },
  MonkeySaddle() {
    return {
      value: (x, y) => x * (x * x - 3 * (y * y)),
      gradient: (x, y) => [3 * (x * x - y * y), -6 * x * y],
      hessian: (x, y) => [6 * x, -6 * y, -6 * x],
    };
  },
  Rosenbrock({ a, b }) {
    return {
      value(x, y) { const off = y - x * x; return (a - x) * (a - x) + b * (off * off); },
      gradient(x, y) { const off = y - x * x; return [2 * (x - a) - 4 * b * x * off, 2 * b * off]; },
      hessian: (x, y) => [2 + 4 * b * (3 * (x * x) - y), -4 * b * x, 2 * b],
    };
  },
  Beale() {
    const residuals = (x, y) => [1.5 - x + x * y, 2.25 - x + x * (y * y), 2.625 - x + x * (y * y * y)];
    const byX = (y) => [y - 1, y * y - 1, y * y * y - 1];
    const byY = (x, y) => [x, 2 * x * y, 3 * x * (y * y)];
    const dot = (p, q) => p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
    return {
      value(x, y) { const r = residuals(x, y); return dot(r, r); },
      gradient(x, y) { const r = residuals(x, y); return [2 * dot(r, byX(y)), 2 * dot(r, byY(x, y))]; },
      hessian(x, y) {
        const r = residuals(x, y), p = byX(y), q = byY(x, y);
        const bent = r[0] + 2 * y * r[1] + 3 * (y * y) * r[2];
        return [2 * dot(p, p), 2 * (dot(p, q) + bent), 2 * (dot(q, q) + 2 * x * r[1] + 6 * x * y * r[2])];
      },
    };
  },
  Himmelblau() {
    return {
      value(x, y) { const p = x * x + y - 11, q = x + y * y - 7; return p * p + q * q; },
      gradient(x, y) {
        const p = x * x + y - 11, q = x + y * y - 7;
        return [4 * x * p + 2 * q, 2 * p + 4 * y * q];
      },
      hessian: (x, y) => [12 * (x * x) + 4 * y - 42, 4 * (x + y), 12 * (y * y) + 4 * x - 26],
    };
  },
  Rastrigin({ amplitude }) {
    const pit = (z) => Math.sin(Math.PI * z) ** 2, slope = 2 * Math.PI * amplitude, bend = 4 * Math.PI ** 2 * amplitude;
    return {
      value: (x, y) => x * x + y * y + 2 * amplitude * (pit(x) + pit(y)),
      gradient: (x, y) => [
        2 * x + slope * Math.sin(2 * Math.PI * x), 2 * y + slope * Math.sin(2 * Math.PI * y),
      ],
      hessian: (x, y) => [2 + bend * Math.cos(2 * Math.PI * x), 0, 2 + bend * Math.cos(2 * Math.PI * y)],
    };
  },
  Hill({ height, radius }) {
    const square = radius * radius, fall = (x, y) => 1 + (x * x + y * y) / square;
    return {
      value: (x, y) => height / fall(x, y),
      gradient(x, y) {
        const inward = (-2 * height) / square / fall(x, y) ** 2;
        return [inward * x, inward * y];
      },
      hessian(x, y) {
        const f = fall(x, y), inward = (-2 * height) / square / (f * f);
        const outward = (8 * height) / (square * square) / (f * f * f);
        return [inward + outward * (x * x), outward * x * y, inward + outward * (y * y)];
      },
    };
  },
};

// Each rule makes a function (gradient, hessian) -> update, which holds its state.
const RULES = {
  sgd: ({ rate }) => (g) => g.map((slope) => -rate * slope),
  momentum({ rate, momentum }) {
    let velocity = [0, 0];
    return (g) => {
      velocity = velocity.map((v, i) => momentum * v + g[i]);
      return velocity.map((v) => -rate * v);
    };
  },
  nesterov({ rate, momentum }) {
    let velocity = [0, 0];
    return (g) => {
      const before = velocity;
      velocity = before.map((v, i) => momentum * v - rate * g[i]);
      return velocity.map((v, i) => v + momentum * (v - before[i]));
    };
  },
  adagrad({ rate, epsilon }) {
    let total = [0, 0];
    return (g) => {
      total = total.map((s, i) => s + g[i] * g[i]);
      return total.map((s, i) => -(rate / (Math.sqrt(s) + epsilon)) * g[i]);
    };
  },
  rmsprop({ rate, decay, epsilon }) {
    let second = [0, 0];
    return (g) => {
      second = second.map((s, i) => s + (1 - decay) * (g[i] * g[i] - s));
      return second.map((s, i) => -rate * (g[i] / (Math.sqrt(s) + epsilon)));
    };
  },
  adam({ rate, beta1, beta2, epsilon }) {
    let first = [0, 0], second = [0, 0], count = 0;
    const correction = (beta) => -Math.expm1(count * Math.log1p(-(1 - beta)));
    return (g) => {
      count += 1;
      first = first.map((m, i) => m + (1 - beta1) * (g[i] - m));
      second = second.map((s, i) => s + (1 - beta2) * (g[i] * g[i] - s));
      const [one, two] = [correction(beta1), correction(beta2)];
      return first.map((m, i) => -(rate / (Math.sqrt(second[i] / two) + epsilon)) * (m / one));
    };
  },
  newton: ({ rate }) => (g, [xx, xy, yy]) => {
    const determinant = xx * yy - xy * xy;
    return [(-rate * (yy * g[0] - xy * g[1])) / determinant, (-rate * (xx * g[1] - xy * g[0])) / determinant];
  },
};

// Standard normal numbers from a seed (mulberry32, Box and Muller): the same for every racer, so the race is fair.
function normals(seed) {
  let state = seed >>> 0;
  const even = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(even())) * Math.cos(2 * Math.PI * even());
}

// Runs one racer. It has converged where the slope's norm is at most the tolerance (with noise nobody can tell), and
// diverged farther from the bounds' middle than the landscape's reach: thalweg.landscapes.race does the same.
function runRacer(spec, racer, start, { steps, noise = 0, tolerance = 1e-6 }) {
  const f = LANDSCAPES[spec.kind](spec.parameters), update = RULES[racer.kind](racer);
  const [[left, right], [bottom, top]] = spec.bounds, draw = normals(1);
  const middle = [(left + right) / 2, (bottom + top) / 2], { reach } = spec;
  let [x, y] = start;
  const track = { points: [[x, y]], values: [f.value(x, y)], status: "running", ended: steps };
  const end = (status, step) => Object.assign(track, { status, ended: step });
  const settled = (g) => noise === 0 && Math.hypot(g[0], g[1]) <= tolerance;
  let slope = f.gradient(x, y);
  if (settled(slope)) return end("converged", 0);
  for (let step = 1; step <= steps; step += 1) {
    const seen = noise > 0 ? slope.map((s) => s + noise * draw()) : slope;
    const [along, up] = update(seen, f.hessian(x, y));
    const next = [x + along, y + up], away = [next[0] - middle[0], next[1] - middle[1]];
    const value = f.value(...next), after = f.gradient(...next);
    if (!(Math.hypot(...away) <= reach && Number.isFinite(value) && after.every(Number.isFinite))) {
      const length = Math.hypot(along, up);
      if (Number.isFinite(length)) {
        // The way ends where the step crosses the reach.
        const unit = [along / length, up / length], off = [x - middle[0], y - middle[1]];
        const inward = off[0] * unit[0] + off[1] * unit[1], square = off[0] * off[0] + off[1] * off[1];
        const far = Math.min(length, Math.sqrt(inward * inward - square + reach * reach) - inward);
        const last = [x + far * unit[0], y + far * unit[1]];
        if (Number.isFinite(f.value(...last)) && f.gradient(...last).every(Number.isFinite)) {
          track.points.push(last);
          track.values.push(f.value(...last));
        }
      }
      return end("diverged", step);
    }
    [x, y] = next;
    slope = after;
    track.points.push(next);
    track.values.push(value);
    if (settled(slope)) return end("converged", step);
  }
  return track;
}

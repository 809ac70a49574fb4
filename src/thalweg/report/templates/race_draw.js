"use strict";
// Drawing: ground and contour lines on a canvas, everything else as SVG.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "8 4", "9 3 2 3", "2 3", "7 2 2 2 2 2", "14 5"];
const MARKS = [
  (r) => `M${-r} 0A${r} ${r} 0 1 1 ${r} 0A${r} ${r} 0 1 1 ${-r} 0Z`,
  (r) => `M${-r} ${-r}H${r}V${r}H${-r}Z`,
  (r) => `M0 ${-1.2 * r}L${1.15 * r} ${0.9 * r}H${-1.15 * r}Z`,
  (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0Z`,
  (r) => `M0 ${1.2 * r}L${1.15 * r} ${-0.9 * r}H${-1.15 * r}Z`,
  (r) => { const a = 0.45 * r, b = 1.25 * r; return `M${-a} ${-b}H${a}V${-a}H${b}V${a}H${a}V${b}H${-a}V${a}H${-b}V${-a}H${-a}Z`; },
];
const CROSS = "M-6 -3.5L-3.5 -6L0 -2.5L3.5 -6L6 -3.5L2.5 0L6 3.5L3.5 6L0 2.5L-3.5 6L-6 3.5L-2.5 0Z";
const STAR = "M0 -7L1.8 -2.2L6.7 -2.2L2.7 0.8L4.1 5.7L0 2.8L-4.1 5.7L-2.7 0.8L-6.7 -2.2L-1.8 -2.2Z";

// Line style and marker of the racer at a place: of racers with one colour no two agree.
const look = (place) => (place + Math.floor(place / 6)) % 6;

function svg(name, attributes = {}, parent = null, text = null) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

function ticks(low, high, most = 6) {
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((s) => s * power >= raw) * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push(i * step + 0);
  return found;
}

function shown(value) {
  if (value === null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(1).replace(".0e", "e") : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", "−");
}

// Levels rise evenly, or by a power where most values lie near the lowest: as in thalweg.plot.field.
function levelsOf(values) {
  const sorted = Float64Array.from(values).sort(), low = sorted[0], high = sorted[sorted.length - 1];
  const middle = Math.max((sorted[sorted.length >> 1] - low) / (high - low || 1), 1e-9);
  const power = Math.min(Math.max(Math.round(Math.log(middle) / Math.log(0.4)), 1), 8);
  return Array.from({ length: 13 }, (_, i) => low + (high - low) * ((i + 1) / 14) ** power);
}

// 10⁻³ as a chart's axis shows it.
function powerOfTen(exponent) {
  return `10${String(exponent).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]))}`;
}

function mix(low, high, share) {
  return [0, 1, 2].map((i) => Math.round(low[i] + share * (high[i] - low[i])));
}

function rgb(colour) {
  return [1, 3, 5].map((i) => parseInt(colour.trim().slice(i, i + 2), 16));
}

// The ground: bands of tint, one value a pixel, and contour lines over them.
function drawGround(canvas, valueAt, bounds, width, height, style) {
  const [[left, right], [bottom, top]] = bounds, density = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  const columns = Math.max(Math.round(width / 3), 2), rows = Math.max(Math.round(height / 3), 2);
  const at = (i, j) => valueAt(left + ((right - left) * i) / columns, top - ((top - bottom) * j) / rows);
  const grid = Array.from({ length: rows + 1 }, (_, j) => Float64Array.from({ length: columns + 1 }, (_, i) => at(i, j)));
  const levels = levelsOf(grid.flatMap((row) => Array.from(row)));
  const low = rgb(style.getPropertyValue("--ground-low")), high = rgb(style.getPropertyValue("--ground-high"));
  const tints = levels.map((_, i) => mix(low, high, i / levels.length)).concat([high]);
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  const across = columns / canvas.width, down = rows / canvas.height;
  for (let py = 0; py < canvas.height; py += 1) {
    const v = (py + 0.5) * down, j = Math.min(Math.floor(v), rows - 1), upper = grid[j], lower = grid[j + 1], t = v - j;
    for (let px = 0; px < canvas.width; px += 1) {
      const u = (px + 0.5) * across, i = Math.min(Math.floor(u), columns - 1), s = u - i;
      const value = (upper[i] * (1 - s) + upper[i + 1] * s) * (1 - t) + (lower[i] * (1 - s) + lower[i + 1] * s) * t;
      let band = 0;
      while (band < levels.length && value > levels[band]) band += 1;
      image.data.set(tints[band], 4 * (py * canvas.width + px));
      image.data[4 * (py * canvas.width + px) + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  context.strokeStyle = style.getPropertyValue("--contour");
  context.lineWidth = 0.8 * density;
  context.beginPath();
  for (const level of levels) marchSquares(context, grid, level, canvas.width / columns, canvas.height / rows);
  context.stroke();
}

function marchSquares(context, grid, level, wide, high) {
  for (let j = 0; j + 1 < grid.length; j += 1) {
    for (let i = 0; i + 1 < grid[0].length; i += 1) {
      const a = grid[j][i], b = grid[j][i + 1], c = grid[j + 1][i + 1], d = grid[j + 1][i], cuts = [];
      if (a > level !== b > level) cuts.push([i + (level - a) / (b - a), j]);
      if (b > level !== c > level) cuts.push([i + 1, j + (level - b) / (c - b)]);
      if (d > level !== c > level) cuts.push([i + (level - d) / (c - d), j + 1]);
      if (a > level !== d > level) cuts.push([i, j + (level - a) / (d - a)]);
      for (let k = 0; k + 1 < cuts.length; k += 2) {
        context.moveTo(cuts[k][0] * wide, cuts[k][1] * high);
        context.lineTo(cuts[k + 1][0] * wide, cuts[k + 1][1] * high);
      }
    }
  }
}

// The part of a way up to a step that is drawn: cut where it leaves the frame for good, as it may run out to 1e300.
function visible(points, bounds) {
  const [[left, right], [bottom, top]] = bounds;
  const inside = ([x, y]) => x >= left && x <= right && y >= bottom && y <= top;
  let last = points.length - 1;
  while (last > 0 && !inside(points[last])) last -= 1;
  if (last === points.length - 1) return { points, outside: false };
  const [x, y] = points[last], [dx, dy] = [points[last + 1][0] - x, points[last + 1][1] - y];
  const shares = [[dx, left - x, right - x], [dy, bottom - y, top - y]].map(([d, low, high]) =>
    d > 0 ? high / d : d < 0 ? low / d : Infinity);
  const share = Math.min(1, Math.max(0, Math.min(...shares)));
  return { points: [...points.slice(0, last + 1), [x + share * dx, y + share * dy]], outside: true };
}

function pathOf(points, toX, toY) {
  // Far detours between two visible points are kept within what SVG draws.
  const near = (pixel) => Math.min(Math.max(pixel, -1e5), 1e5).toFixed(2);
  return points.map(([x, y], i) => `${i ? "L" : "M"}${near(toX(x))} ${near(toY(y))}`).join("");
}

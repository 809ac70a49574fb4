"use strict";
// Map, table, curve and summary, drawn from the page's state.

const MARGIN = { left: 34, right: 10, top: 8, bottom: 34 };
const frame = { left: 0, top: 0, width: 0, height: 0 };
const toX = (x) => { const [[left, right]] = spec().view; return frame.left + ((x - left) / (right - left)) * frame.width; };
const toY = (y) => { const [, [bottom, top]] = spec().view; return frame.top + ((top - y) / (top - bottom)) * frame.height; };

let ground = "";
function layOut() {
  const map = byId("map"), width = map.clientWidth, [[left, right], [bottom, top]] = spec().view;
  Object.assign(frame, { left: MARGIN.left, top: MARGIN.top, width: Math.max(width - MARGIN.left - MARGIN.right, 50) });
  frame.height = frame.width * clamp((top - bottom) / (right - left), 0.6, 1.1);
  map.style.height = `${frame.height + MARGIN.top + MARGIN.bottom}px`;
  const wanted = [state.landscape, frame.width, document.documentElement.dataset.theme].join();
  if (wanted === ground) return;
  ground = wanted;
  const canvas = map.querySelector("canvas");
  Object.assign(canvas.style, {
    left: `${frame.left}px`, top: `${frame.top}px`, width: `${frame.width}px`, height: `${frame.height}px`,
  });
  drawGround(canvas, valueAt, spec().view, frame.width, frame.height, getComputedStyle(document.documentElement));
}

const overlay = svg("svg", {
  tabindex: 0, role: "application", "aria-roledescription": "contour map",
  "aria-label": "Start of the race on the landscape: arrow keys move it, with Shift in smaller steps",
});

function drawTracks() {
  const [[left, right], [bottom, top]] = spec().view;
  overlay.replaceChildren();
  const axes = svg("g", {}, overlay);
  for (const x of ticks(left, right)) {
    svg("text", { x: toX(x), y: frame.top + frame.height + 18, "text-anchor": "middle" }, axes, shown(x));
  }
  for (const y of ticks(bottom, top)) {
    svg("text", { x: frame.left - 6, y: toY(y) + 4, "text-anchor": "end" }, axes, shown(y));
  }
  svg("text", { x: frame.left + frame.width / 2, y: frame.top + frame.height + 32, "text-anchor": "middle" }, axes, "x");
  svg("text", { x: 2, y: frame.top + 8 }, axes, "y");
  const clip = svg("clipPath", { id: "frame" }, overlay);
  svg("rect", { x: frame.left, y: frame.top, width: frame.width, height: frame.height }, clip);
  const lines = svg("g", { "clip-path": "url(#frame)" }, overlay), marks = svg("g", {}, overlay);
  const words = [];
  for (const track of tracks) drawTrack(track, lines, marks, words);
  for (const [x, y] of spec().minima) {
    if (x < left || x > right || y < bottom || y > top) continue;
    svg("path", { d: STAR, transform: `translate(${toX(x)} ${toY(y)})`, fill: "var(--ink)", stroke: "var(--card)" }, marks);
  }
  const at = `translate(${toX(state.start[0])} ${toY(state.start[1])})`;
  const handle = svg("g", { transform: at, class: "handle", id: "handle" }, overlay);
  svg("circle", { r: 20, fill: "transparent" }, handle);
  svg("circle", { r: 6.5, fill: "var(--card)", stroke: "var(--ink)", "stroke-width": 2.2 }, handle);
  const now = Math.min(state.shown, lastStep());
  byId("step-text").textContent = `step ${now.toLocaleString("en")} of ${lastStep().toLocaleString("en")}`;
}

function drawTrack(track, lines, marks, words) {
  const count = Number.isFinite(state.shown) ? track.steps.filter((step) => step <= state.shown).length : track.points.length;
  const way = visible(track.points.slice(0, Math.max(count, 1)), spec().view);
  const paint = colour(track.place), style = look(track.place);
  svg("path", {
    d: pathOf(way.points, toX, toY), fill: "none", stroke: paint, "stroke-width": 2, "stroke-dasharray": DASHES[style],
    "stroke-linejoin": "round", class: "track", "data-name": track.name,
  }, lines);
  const [x, y] = way.points[way.points.length - 1], lost = track.status === "diverged" && count >= track.points.length;
  const at = `translate(${toX(x)} ${toY(y)})`;
  if (way.outside || lost) {
    svg("path", { d: CROSS, transform: at, fill: lost ? "var(--alarm)" : paint, stroke: "var(--card)" }, marks);
    // One word where several end side by side: they would hide each other, and the table has them all.
    const crowded = words.some(([p, q]) => Math.abs(toX(x) - p) < 150 && Math.abs(toY(y) - q) < 16);
    if (!lost || crowded) return;
    words.push([toX(x), toY(y)]);
    const [[left, right], [bottom, top]] = spec().view, across = x > (left + right) / 2 ? -1 : 1;
    const place = { x: toX(x) + 11 * across, y: toY(y) + (y > (bottom + top) / 2 ? 14 : -6), class: "halo" };
    const label = svg("text", { ...place, "text-anchor": across < 0 ? "end" : "start" }, marks, "diverged");
    label.style.fill = "var(--alarm)";
  } else {
    svg("path", { d: MARKS[style](5.5), transform: at, fill: paint, stroke: "var(--card)", "stroke-width": 1.2 }, marks);
  }
}

function connectMap() {
  byId("map").append(overlay);
  let dragging = false;
  const to = (event) => {
    const box = overlay.getBoundingClientRect(), [[left, right], [bottom, top]] = spec().view;
    const across = (event.clientX - box.left - frame.left) / frame.width, down = (event.clientY - box.top - frame.top) / frame.height;
    moveStart(left + across * (right - left), top - down * (top - bottom));
  };
  overlay.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    // A finger that is not on the start scrolls the page, or taps: see click.
    if (event.pointerType !== "mouse" && !event.target.closest(".handle")) return;
    dragging = true;
    overlay.setPointerCapture(event.pointerId);
    to(event);
  });
  overlay.addEventListener("pointermove", (event) => { if (dragging) to(event); });
  for (const name of ["pointerup", "pointercancel"]) overlay.addEventListener(name, () => { dragging = false; });
  overlay.addEventListener("click", to);
  overlay.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!ways || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const [[left, right], [bottom, top]] = spec().view, part = event.shiftKey ? 500 : 50;
    moveStart(state.start[0] + (ways[0] * (right - left)) / part, state.start[1] + (ways[1] * (top - bottom)) / part);
  });
}

// --- numbers ---

const endOf = (track) => ({ point: track.points[track.points.length - 1], value: track.values[track.values.length - 1] });
const above = (value) => (spec().lowest === null ? value : value - spec().lowest);
const quantity = () => (spec().lowest === null ? "f" : "f − min f");

function distance([x, y]) {
  const away = spec().minima.map((minimum) => Math.hypot(x - minimum[0], y - minimum[1]));
  return away.length ? Math.min(...away) : null;
}

function outcome(track) {
  const steps = `${track.ended.toLocaleString("en")} ${track.ended === 1 ? "step" : "steps"}`;
  if (track.status === "diverged") return `diverged in step ${track.ended.toLocaleString("en")}`;
  if (track.status === "stalled") return `stalled after ${steps}`;
  return track.status === "converged" ? `converged in ${steps}` : `${steps}, still moving`;
}

function best() {
  const ended = tracks.filter((track) => track.status !== "diverged");
  return ended.length ? ended.reduce((a, b) => (endOf(b).value < endOf(a).value ? b : a)) : null;
}

function fillTable() {
  byId("value-head").textContent = quantity();
  byId("curve-title").textContent = spec().lowest === null ? "f against steps" : "How far f lies above its minimum";
  const winner = best();
  const rows = tracks.map((track) => {
    const row = document.createElement("tr"), head = document.createElement("th"), { point, value } = endOf(track);
    head.scope = "row";
    const name = document.createElement("span");
    name.append(sample(track.place), track.name);
    head.append(name);
    row.append(head);
    const texts = [shown(above(value)), shown(distance(point)), outcome(track), shown(point[0]), shown(point[1])];
    texts.forEach((text, i) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      if (i === 2 && track.status === "diverged") cell.className = "diverged";
      if (i === 0 && track === winner) cell.className = "best";
      if (i > 2) cell.className = "wide";
      row.append(cell);
    });
    return row;
  });
  byId("results").tBodies[0].replaceChildren(...rows);
}

let telling = 0;
function announce() {
  clearTimeout(telling);
  const winner = best(), from = `From (${shown(state.start[0])}, ${shown(state.start[1])}) on ${spec().title}`;
  const lost = tracks.filter((track) => track.status === "diverged").map((track) => track.name);
  const parts = [];
  if (!tracks.length) parts.push("no racer is chosen.");
  if (winner) parts.push(`${winner.name} ends lowest, at ${quantity()} = ${shown(above(endOf(winner).value))}.`);
  if (lost.length) parts.push(`${lost.join(", ")} diverged.`);
  // Only once the hand rests: a screen reader would read every step of a drag.
  telling = setTimeout(() => { byId("summary").textContent = `${from}: ${parts.join(" ")}`; }, 400);
}

// --- the curve ---

function scaleOf(lines) {
  const firsts = lines.map((line) => line[0]).filter((value) => value > 0), first = Math.max(...firsts, 1e-300);
  if (spec().lowest !== null) {
    const floor = 1e-16 * first, all = lines.flat().filter(Number.isFinite).map((value) => Math.max(value, floor));
    const high = Math.log10(Math.min(2 * all.reduce((a, b) => Math.max(a, b), floor), 30 * first));
    const low = Math.log10(Math.max(0.5 * all.reduce((a, b) => Math.min(a, b), first), floor));
    const of = (value) => Math.log10(Math.max(value, floor));
    if (high - low < 1.5) { // too few powers of ten to read a value by
      const marks = ticks(10 ** low, 10 ** high, 5).filter((value) => value > 0).map(Math.log10);
      return { low, high, of, marks, name: (mark) => shown(10 ** mark) };
    }
    const every = Math.max(1, Math.ceil((high - low) / 6)), marks = [];
    for (let i = Math.ceil(low / every) * every; i <= high; i += every) marks.push(i);
    return { low, high, of, marks, name: powerOfTen };
  }
  const [[left, right], [bottom, top]] = spec().view, seen = [];
  for (let i = 0; i <= 40; i += 1) for (let j = 0; j <= 40; j += 1) seen.push(valueAt(left + ((right - left) * i) / 40, bottom + ((top - bottom) * j) / 40));
  const low = Math.min(...seen), high = Math.max(...seen);
  return { low, high, of: (value) => value, marks: ticks(low, high), name: shown };
}

function drawCurve() {
  const box = byId("curve"), width = Math.max(box.clientWidth, 120), height = Math.min(320, 0.7 * width);
  const area = { left: 58, right: width - 12, top: 28, bottom: height - 40 }, longest = lastStep();
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${quantity()} against steps; the ends are in the table above` });
  const lines = tracks.map((track) => track.values.map(above)), scale = scaleOf(lines);
  const x = (step) => area.left + (step / longest) * (area.right - area.left);
  const at = (level) => area.bottom - ((level - scale.low) / (scale.high - scale.low || 1)) * (area.bottom - area.top);
  for (const mark of scale.marks) {
    svg("path", { d: `M${area.left} ${at(mark)}H${area.right}`, stroke: "var(--line)" }, chart);
    svg("text", { x: area.left - 8, y: at(mark) + 4, "text-anchor": "end" }, chart, scale.name(mark));
  }
  for (const step of ticks(0, longest, width < 500 ? 4 : 8)) {
    if (step % 1 === 0) svg("text", { x: x(step), y: area.bottom + 18, "text-anchor": "middle" }, chart, step.toLocaleString("en"));
  }
  svg("text", { x: (area.left + area.right) / 2, y: height - 4, "text-anchor": "middle" }, chart, "steps");
  svg("text", { x: 0, y: 12 }, chart, quantity());
  const clip = svg("clipPath", { id: "area" }, chart);
  svg("rect", { x: area.left - 8, y: area.top - 8, width: area.right - area.left + 16, height: area.bottom - area.top + 16 }, clip);
  const inside = svg("g", { "clip-path": "url(#area)" }, chart);
  tracks.forEach((track, i) => {
    const style = look(track.place), way = track.steps.map((step, k) => [step, scale.of(lines[i][k])]);
    const { points } = visible(way, [[0, longest], [scale.low, scale.high]]), end = points[points.length - 1], lost = track.status === "diverged";
    svg("path", { d: pathOf(points, x, at), fill: "none", stroke: colour(track.place), "stroke-width": 2, "stroke-dasharray": DASHES[style], class: "curve" }, inside);
    svg("path", { d: lost ? CROSS : MARKS[style](5), transform: `translate(${x(end[0])} ${at(end[1])})`, fill: lost ? "var(--alarm)" : colour(track.place), stroke: "var(--card)" }, inside);
  });
  if (Number.isFinite(state.shown)) svg("path", { d: `M${x(state.shown)} ${area.top}V${area.bottom}`, stroke: "var(--soft)", "stroke-dasharray": "2 3" }, chart);
  box.replaceChildren(chart);
  byId("curve-note").textContent = spec().lowest === null
    ? "f by step, as far as the map's values go: no least value is known. Marks as on the map."
    : "f − min f by step, on a log scale. Marks as on the map.";
}

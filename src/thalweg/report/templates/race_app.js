"use strict";
// The page: its state, its controls, and what they show.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

const RATE = { key: "rate", label: "rate α", log: true, min: -5, max: 1, step: 0.01 };
const share = (key, label, max = 0.99, step = 0.01) => ({ key, label, log: false, min: 0, max, step });
const SLIDERS = {
  sgd: [RATE],
  momentum: [RATE, share("momentum", "momentum ρ")],
  nesterov: [RATE, share("momentum", "momentum ρ")],
  adagrad: [RATE],
  rmsprop: [RATE, share("decay", "decay d", 0.999, 0.001)],
  adam: [RATE, share("beta1", "momentum β₁"), share("beta2", "decay β₂", 0.999, 0.001)],
  newton: [RATE],
};

for (const id of ["live", "theme"]) byId(id).hidden = false; // they do nothing without this script

const own = data.landscapes.findIndex((one) => one.own);
const state = {
  mode: data.recorded ? "recorded" : "live",
  landscape: own < 0 ? 0 : own,
  start: data.start,
  steps: data.steps,
  noise: data.noise,
  shown: Infinity,
  racers: data.racers.map((racer) => ({ ...racer })),
  hidden: new Set(),
};
let tracks = [];

const spec = () => data.landscapes[state.landscape];
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const lastStep = () => Math.max(1, ...tracks.map((track) => track.ended));

function computed() {
  if (state.mode === "recorded") {
    return data.recorded.map((track, place) => ({ ...track, place })).filter((track) => !state.hidden.has(track.place));
  }
  const options = { steps: state.steps, noise: state.noise };
  return state.racers
    .map((racer, place) => racer.on && { ...runRacer(spec(), racer, state.start, options), name: racer.name, place })
    .filter(Boolean)
    .map((track) => ({ ...track, steps: track.points.map((_, i) => i) }));
}

function valueAt(x, y) {
  const one = spec();
  if (one.kind) return LANDSCAPES[one.kind](one.parameters).value(x, y);
  const { values } = one.grid, [[left, right], [bottom, top]] = one.view;
  const rows = values.length - 1, columns = values[0].length - 1;
  const u = clamp(((x - left) / (right - left)) * columns, 0, columns), v = clamp(((y - bottom) / (top - bottom)) * rows, 0, rows);
  const i = Math.min(Math.floor(u), columns - 1), j = Math.min(Math.floor(v), rows - 1), s = u - i, t = v - j;
  return (values[j][i] * (1 - s) + values[j][i + 1] * s) * (1 - t) + (values[j + 1][i] * (1 - s) + values[j + 1][i + 1] * s) * t;
}

function update() {
  tracks = computed();
  const slider = byId("step");
  slider.max = lastStep();
  slider.value = Math.min(state.shown, lastStep());
  drawTracks();
  fillTable();
  drawCurve();
  announce();
}

function settle() {
  byId("start-x").value = Number(state.start[0].toPrecision(6));
  byId("start-y").value = Number(state.start[1].toPrecision(6));
  byId("steps").value = state.steps;
  byId("noise").value = state.noise;
  byId("landscape").value = state.landscape;
  for (const mode of ["recorded", "live"]) byId(`mode-${mode}`).checked = state.mode === mode;
}

// --- what changes the race ---

function goLive() {
  if (state.mode === "live") return;
  state.mode = "live";
  if (!spec().kind) chooseLandscape(data.landscapes.findIndex((one) => one.kind));
  fillRacers();
}

function chooseLandscape(place) {
  state.landscape = place;
  const one = spec();
  state.start = one.own ? data.start : one.start;
  for (const [i, racer] of state.racers.entries()) {
    racer.rate = one.own && data.racers[i].given ? data.racers[i].rate : one.rates[racer.kind];
  }
}

function moveStart(x, y) {
  goLive();
  const [[left, right], [bottom, top]] = spec().view;
  state.start = [clamp(x, left, right), clamp(y, bottom, top)];
  state.shown = Infinity;
  settle();
  soon();
}

let waiting = 0;
function soon() {
  if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; update(); });
}

// --- the list of racers ---

function sample(place) {
  const box = svg("svg", { width: 40, height: 16, viewBox: "0 0 40 16", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" }), i = look(place);
  svg("path", { d: "M0 8H40", fill: "none", stroke: colour(place), "stroke-width": 2, "stroke-dasharray": DASHES[i] }, box);
  svg("path", { d: MARKS[i](4.5), transform: "translate(20 8)", fill: colour(place) }, box);
  return box;
}

function colour(place) {
  const palette = data.palette[document.documentElement.dataset.theme];
  return palette[place % palette.length];
}

function fillRacers() {
  const list = byId("racers");
  list.replaceChildren(...(state.mode === "recorded" ? data.recorded : state.racers).map(racerRow));
}

function racerRow(racer, place) {
  const row = document.createElement("fieldset"), label = document.createElement("label"), box = document.createElement("input");
  const name = document.createElement("span");
  row.className = "racer";
  label.className = "name";
  Object.assign(box, { type: "checkbox", checked: state.mode === "recorded" ? !state.hidden.has(place) : racer.on });
  name.textContent = racer.name;
  label.append(box, sample(place), name);
  row.append(label);
  const sliders = state.mode === "live" ? SLIDERS[racer.kind].map((slider) => sliderRow(racer, slider)) : [];
  for (const slider of sliders) slider.hidden = !racer.on;
  row.append(...sliders);
  box.addEventListener("change", () => {
    if (state.mode === "recorded") state.hidden[box.checked ? "delete" : "add"](place);
    else racer.on = box.checked;
    for (const slider of sliders) slider.hidden = !box.checked;
    soon();
  });
  return row;
}

function sliderRow(racer, { key, label, log, min, max, step }) {
  const row = document.createElement("label"), text = document.createElement("span");
  const input = document.createElement("input"), output = document.createElement("output");
  row.className = "slider";
  text.textContent = label;
  Object.assign(input, { type: "range", min, max, step });
  input.setAttribute("value", log ? Math.log10(racer[key]) : racer[key]);
  input.value = log ? Math.log10(racer[key]) : racer[key];
  input.setAttribute("aria-label", `${racer.name}: ${label}`);
  const tell = () => {
    output.textContent = shown(racer[key]);
    input.setAttribute("aria-valuetext", shown(racer[key]));
  };
  input.addEventListener("input", () => {
    // Two digits of a rate are what a slider can set; the number shown is then the number used.
    racer[key] = log ? Number((10 ** input.valueAsNumber).toPrecision(2)) : input.valueAsNumber;
    tell();
    soon();
  });
  tell();
  row.append(text, input, output);
  return row;
}

// --- controls ---

function number(id, apply, low, high) {
  byId(id).addEventListener("change", (event) => {
    const value = event.target.valueAsNumber;
    if (Number.isFinite(value)) {
      goLive();
      apply(clamp(value, low, high));
      state.shown = Infinity;
    }
    settle();
    soon();
  });
}

function connect() {
  const select = byId("landscape");
  data.landscapes.forEach((one, i) => select.append(new Option(one.title, i)));
  select.addEventListener("change", () => {
    const wanted = Number(select.value);
    if (!data.landscapes[wanted].kind) return setMode("recorded");
    goLive();
    chooseLandscape(wanted);
    fillRacers();
    refresh();
  });
  byId("modes").hidden = !data.recorded;
  for (const mode of ["recorded", "live"]) byId(`mode-${mode}`).addEventListener("change", () => setMode(mode));
  number("start-x", (x) => moveStart(x, state.start[1]), -Infinity, Infinity);
  number("start-y", (y) => moveStart(state.start[0], y), -Infinity, Infinity);
  number("steps", (steps) => { state.steps = Math.round(steps); }, 1, 5000);
  number("noise", (noise) => { state.noise = noise; }, 0, Infinity);
  byId("step").addEventListener("input", (event) => { pause(); show(event.target.valueAsNumber); });
  byId("play").addEventListener("click", () => (playing ? pause() : play()));
  byId("racers").addEventListener("submit", (event) => event.preventDefault());
  byId("theme").addEventListener("click", () => {
    theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    system.removeEventListener("change", follow);
  });
}

function setMode(mode) {
  if (mode === "live") goLive();
  else {
    Object.assign(state, { mode, landscape: own, start: data.start, steps: data.steps, noise: data.noise });
    fillRacers();
  }
  refresh();
}

const system = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => theme(system.matches ? "dark" : "light");
function theme(name) {
  document.documentElement.dataset.theme = name;
  const button = byId("theme");
  button.setAttribute("aria-pressed", String(name === "dark"));
  fillRacers();
  refresh();
}

function refresh() {
  state.shown = Infinity;
  settle();
  layOut();
  update();
}

// --- time ---

let playing = 0;
function play() {
  const from = state.shown >= lastStep() ? 0 : state.shown, began = performance.now(), whole = 5000;
  byId("play").textContent = "Pause";
  const frame = (now) => {
    const step = Math.round(from + ((now - began) / whole) * lastStep());
    if (step >= lastStep()) { pause(); show(lastStep()); return; }
    show(Math.max(step, 0));
    playing = requestAnimationFrame(frame);
  };
  playing = requestAnimationFrame(frame);
}

function pause() {
  cancelAnimationFrame(playing);
  playing = 0;
  byId("play").textContent = "Play";
}

function show(step) {
  state.shown = step >= lastStep() ? Infinity : step;
  byId("step").value = step;
  drawTracks();
  drawCurve();
}

if (spec().kind) chooseLandscape(state.landscape);
connect();
connectMap();
system.addEventListener("change", follow);
new ResizeObserver(() => { layOut(); drawTracks(); drawCurve(); }).observe(byId("map"));
follow();

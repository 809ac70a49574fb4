"use strict";
(() => {
  const all = (where, what) => Array.from(where.querySelectorAll(what));
  const tip = document.getElementById("tip");
  const said = document.getElementById("said"), most = 40; // rows of a table that are printed
  let pinned = null;

  // ---- theme
  const root = document.documentElement, theme = document.getElementById("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Show in ${dark() ? "light" : "dark"} colours`); };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();

  // ---- tables
  const number = text => { const n = parseFloat(text.trim().replace("−", "-").replace("∞", "Infinity")); return Number.isNaN(n) ? null : n; };
  const words = new Intl.Collator(undefined, {numeric: true});
  function sort(table, column, down) {
    const body = table.tBodies[0], rows = Array.from(body.rows);
    const keyed = rows.map((row, place) => { const text = row.cells[column].textContent.trim(); return {row, place, text, value: number(text)}; });
    const numeric = keyed.every(one => one.text === "" || one.value !== null);
    keyed.sort((a, b) => {
      if ((a.text === "") !== (b.text === "")) return a.text === "" ? 1 : -1; // empty cells last, either way
      const order = numeric ? (a.value ?? 0) - (b.value ?? 0) : words.compare(a.text, b.text);
      return (down ? -order : order) || a.place - b.place;
    });
    body.append(...keyed.map(one => one.row));
    cut(table);
    all(table, "th").forEach((th, i) => i === column ? th.setAttribute("aria-sort", down ? "descending" : "ascending") : th.removeAttribute("aria-sort"));
  }
  // On paper: the first of the rows that are shown. They are marked here, since only here it is known which.
  function cut(table) {
    const box = table.closest(".filtered"), rows = Array.from(table.tBodies[0].rows), shown = rows.filter(row => !row.hidden);
    if (!box) return;
    const line = box.querySelector(".cut");
    rows.forEach(row => row.classList.remove("beyond"));
    shown.slice(most).forEach(row => row.classList.add("beyond"));
    const some = shown.length < rows.length;
    line.hidden = !some && rows.length <= most;
    line.textContent = `Printed are the ${shown.length > most ? `first ${most} of ${shown.length}` : shown.length} rows${some ? ` that a filter leaves, of ${rows.length}` : ""}.`;
  }
  // "adam", "rate>0.01" and "validation accuracy >= 0.9" may stand side by side; all must hold. What is still being
  // written ("rate>") asks nothing yet.
  function accepts(text, headings) {
    let query = text.toLowerCase().replace(/\s*(<=|>=|<|>|=)\s*/g, "$1");
    for (const h of headings.filter(h => h.includes(" ")).sort((a, b) => b.length - a.length)) {
      for (const op of "<>=") query = query.replaceAll(h + op, h.replaceAll(" ", "_") + op);
    }
    let unknown = "";
    const tests = query.split(/\s+/).filter(Boolean).map(token => {
      const found = /^(.+?)(<=|>=|<|>|=)(.*)$/.exec(token);
      if (!found) return row => row.textContent.toLowerCase().includes(token);
      const name = found[1].replaceAll("_", " "), plain = headings.map(h => h.replaceAll("_", " "));
      const place = plain.includes(name) ? plain.indexOf(name) : plain.findIndex(h => h.includes(name));
      if (place < 0) { unknown = found[1]; return () => true; }
      if (!found[3]) return () => true;
      const limit = number(found[3]);
      return row => {
        const cell = row.cells[place].textContent.trim().toLowerCase(), value = number(cell);
        if (found[2] === "=") return limit !== null && value !== null ? value === limit : cell === found[3];
        if (value === null || limit === null) return false;
        return found[2] === "<" ? value < limit : found[2] === ">" ? value > limit : found[2] === "<=" ? value <= limit : value >= limit;
      };
    });
    return {test: row => tests.every(one => one(row)), unknown};
  }
  function filter(box) {
    const table = box.querySelector("table"), input = box.querySelector("input"), select = box.querySelector("select");
    const {test, unknown} = accepts(input.value, all(table, "th").map(th => th.textContent.trim().toLowerCase()));
    const rows = Array.from(table.tBodies[0].rows);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !(test(row) && (!select || !select.value || row.dataset.state === select.value));
      shown += row.hidden ? 0 : 1;
    }
    cut(table);
    const told = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    box.querySelector("output").textContent = unknown ? `${told}; there is no column “${unknown}”` : told;
  }

  // ---- one trial lit up in every picture and table
  function light(trial, on) {
    if (trial === null || trial === undefined) return;
    all(document, `[data-trial="${CSS.escape(trial)}"]`).forEach(one => {
      one.classList.toggle("lit", on);
      if (on && one.matches("path")) one.parentNode.append(one);
    });
    document.body.classList.toggle("dimmed", on || pinned !== null);
  }
  let lit = null;
  function point(trial) {
    if (trial === lit) return;
    if (lit !== null && lit !== pinned) light(lit, false);
    lit = trial ?? null;
    if (lit !== null) light(lit, true);
  }
  function mark(row, on) {
    row.classList.toggle("pinned", on);
    all(row, ".keep").forEach(one => one.setAttribute("aria-pressed", on));
  }
  function pin(trial) {
    const was = pinned;
    if (was !== null) { pinned = null; light(was, false); all(document, "tr.pinned").forEach(row => mark(row, false)); }
    if (trial !== was) { pinned = trial; light(trial, true); all(document, `tr[data-trial="${CSS.escape(trial)}"]`).forEach(row => mark(row, true)); }
  }

  // ---- what a mark says
  const places = new WeakMap();
  function marks(plot) {
    const box = plot.getBoundingClientRect(), known = places.get(plot);
    if (known && known.width === box.width) return known.list;
    const list = [];
    for (const mark of all(plot, "[data-tip]")) {
      if (mark.matches("path")) {
        const stretch = mark.ownerSVGElement, view = stretch.viewBox.baseVal, at = stretch.getBoundingClientRect();
        const points = [];
        for (const piece of mark.getAttribute("d").split("M").slice(1)) {
          const numbers = piece.match(/-?\d+/g).map(Number);
          // The third: whether a line leads there from the point before.
          for (let i = 0; i + 1 < numbers.length; i += 2) points.push([at.left - box.left + numbers[i] / view.width * at.width, at.top - box.top + numbers[i + 1] / view.height * at.height, i > 0]);
        }
        list.push({mark, points});
      } else {
        const at = mark.getBoundingClientRect();
        const filled = mark.matches("rect");
        list.push({mark, points: [[at.left + at.width / 2 - box.left, at.top + at.height / 2 - box.top]], filled: filled && [at.left - box.left, at.top - box.top, at.right - box.left, at.bottom - box.top]});
      }
    }
    places.set(plot, {width: box.width, list});
    return list;
  }
  function nearest(plot, x, y) {
    let best = null, least = 26 ** 2;
    for (const one of marks(plot)) {
      if (one.filled) { const [l, t, r, b] = one.filled; if (x >= l && x <= r && y >= t && y <= b) return {...one, at: one.points[0]}; continue; }
      for (let i = 0; i < one.points.length; i++) {
        const [px, py, led] = one.points[i];
        let far = (px - x) ** 2 + (py - y) ** 2, at = [px, py];
        if (led) { // to the piece of line, not its ends alone
          const [qx, qy] = one.points[i - 1], dx = px - qx, dy = py - qy, length = dx * dx + dy * dy;
          const t = length ? Math.max(0, Math.min(1, ((x - qx) * dx + (y - qy) * dy) / length)) : 0;
          const piece = (qx + t * dx - x) ** 2 + (qy + t * dy - y) ** 2;
          if (piece < far) { far = piece; at = [qx + t * dx, qy + t * dy]; }
        }
        if (far < least) { least = far; best = {...one, at}; }
      }
    }
    return best;
  }
  function show(plot, one) {
    if (!one) { tip.hidden = true; point(pinned); return; }
    const box = plot.getBoundingClientRect();
    tip.textContent = one.mark.dataset.tip;
    tip.hidden = false;
    const size = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(innerWidth - size.width - 4, box.left + one.at[0] + 12))}px`;
    const above = box.top + one.at[1] - size.height - 10;
    tip.style.top = `${above > 4 ? above : box.top + one.at[1] + 14}px`;
    point(one.mark.dataset.trial);
  }
  const order = new WeakMap();
  function step(plot, key) {
    const list = marks(plot).map(one => ({...one, at: one.points[one.points.length - 1]})).sort((a, b) => a.at[0] - b.at[0] || a.at[1] - b.at[1]);
    if (!list.length) return;
    const now = order.get(plot) ?? -1;
    const next = key === "Home" ? 0 : key === "End" ? list.length - 1 : key === "ArrowRight" || key === "ArrowUp" ? Math.min(list.length - 1, now + 1) : Math.max(0, now - 1);
    order.set(plot, next);
    show(plot, list[next]);
    said.textContent = tip.textContent; // for steps alone: a pointer's way is not to be read aloud
  }

  const labels = new WeakMap(); // what a copy button says when it has not just been pressed

  // ---- events, once for the page: what they act on may be replaced
  document.addEventListener("click", event => {
    const head = event.target.closest("th button"), row = event.target.closest("tbody tr[data-trial]"), copy = event.target.closest(".copy");
    const keep = event.target.closest(".keep");
    if (head) { const th = head.parentNode; sort(th.closest("table"), th.cellIndex, th.getAttribute("aria-sort") === "ascending"); }
    else if (row && (keep || !String(getSelection()))) pin(row.dataset.trial);
    else if (copy) {
      const text = copy.parentNode.querySelector("pre").textContent;
      if (!labels.has(copy)) labels.set(copy, {words: copy.innerHTML, timer: 0});
      const label = labels.get(copy);
      const done = ok => {
        copy.textContent = ok ? "Copied" : "Select and copy";
        clearTimeout(label.timer);
        label.timer = setTimeout(() => { copy.innerHTML = label.words; }, 1600);
      };
      navigator.clipboard ? navigator.clipboard.writeText(text).then(() => done(true), () => done(false)) : done(false);
    }
  });
  document.addEventListener("input", event => { const box = event.target.closest(".filtered"); if (box) filter(box); });
  document.addEventListener("pointermove", event => {
    const plot = event.target.closest && event.target.closest(".plot"), row = event.target.closest && event.target.closest("tbody tr[data-trial]");
    if (plot) { const box = plot.getBoundingClientRect(); show(plot, nearest(plot, event.clientX - box.left, event.clientY - box.top)); }
    else { tip.hidden = true; point(row ? row.dataset.trial : pinned); }
  }, {passive: true});
  document.addEventListener("pointerdown", event => {
    const plot = event.target.closest && event.target.closest(".plot");
    if (plot && event.pointerType !== "mouse") { const box = plot.getBoundingClientRect(); show(plot, nearest(plot, event.clientX - box.left, event.clientY - box.top)); }
  });
  document.addEventListener("scroll", () => { tip.hidden = true; }, {passive: true, capture: true});
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") { tip.hidden = true; said.textContent = ""; point(pinned); return; }
    if (!event.target.classList || !event.target.classList.contains("plot")) return;
    if (["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) { event.preventDefault(); step(event.target, event.key); }
  });
  document.addEventListener("focusin", event => { if (event.target.matches(".keep")) point(event.target.closest("tr").dataset.trial); });
  document.addEventListener("focusout", event => { if (event.target.matches(".plot,.keep")) { tip.hidden = true; said.textContent = ""; point(pinned); } });
  let opened = [];
  addEventListener("beforeprint", () => { opened = all(document, "details.fold:not([open])"); opened.forEach(one => { one.open = true; }); });
  addEventListener("afterprint", () => opened.forEach(one => { one.open = false; }));

  // ---- for a page that is kept fresh: what the reader has set, and set again over new contents
  // By the section that they stand in and their place in it: a section that appears must not shift what others keep.
  function keyed(what) {
    const out = new Map();
    for (const section of all(document, "section[id]")) all(section, what).forEach((one, i) => out.set(`${section.id} ${i}`, one));
    return out;
  }
  function state() {
    const tables = {}, open = {};
    keyed(".filtered").forEach((box, key) => {
      const th = box.querySelector("th[aria-sort]"), select = box.querySelector("select");
      tables[key] = {text: box.querySelector("input").value, status: select ? select.value : "", column: th ? th.textContent : "", down: th ? th.getAttribute("aria-sort") === "descending" : false};
    });
    keyed("details").forEach((one, key) => { open[key] = one.open; });
    return {tables, open, pinned};
  }
  function restore(kept) {
    keyed(".filtered").forEach((box, key) => {
      const was = kept.tables[key];
      if (!was) return;
      box.querySelector("input").value = was.text;
      const select = box.querySelector("select");
      if (select && Array.from(select.options).some(one => one.value === was.status)) select.value = was.status;
      const column = all(box, "th").findIndex(th => th.textContent === was.column);
      if (column >= 0) sort(box.querySelector("table"), column, was.down);
      filter(box);
    });
    keyed("details").forEach((one, key) => { if (key in kept.open) one.open = kept.open[key]; });
    pinned = null; lit = null;
    document.body.classList.remove("dimmed");
    if (kept.pinned !== null && document.querySelector(`tr[data-trial="${CSS.escape(kept.pinned)}"]`)) pin(kept.pinned);
  }
  window.thalwegReport = {state, restore, mount() { tip.hidden = true; }};
})();

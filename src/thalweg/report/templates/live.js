// A page that follows a running sweep: asks the server that it came from whether there is a newer one, and takes its
// contents over, keeping the place, the focus and what the reader has set.
(() => {
  const every = 1000, seldom = 15000, patience = 10000, tries = 3;
  const line = document.getElementById("live"), kept = window.thalwegReport;
  const inputs = "a,button,input,select,summary,[tabindex]";
  let version = Number(document.documentElement.dataset.version), server = null, saved = "";
  let failed = 0, timer = 0, looking = false, over = false;

  function say(text) { // only what is new: a screen reader speaks each change
    line.hidden = false;
    if (line.textContent !== text) line.textContent = text;
  }
  const time = seconds => new Date(1000 * seconds).toLocaleTimeString(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
  function sayWhen(now) { // in a line of its own, which is not spoken: it changes with every drawing
    const drawn = now && now.version === version ? now.as_of : null, line = document.getElementById("as-of");
    if (now && now.version !== version && !line.hidden) return; // what is shown is still of the time that stands there
    line.hidden = !drawn;
    if (!drawn) return;
    const far = now.next - drawn > 10 && now.next > Date.now() / 1000;
    line.textContent = `As of ${time(drawn)}${far ? `, next at ${time(now.next)} or later` : ""}.`;
  }

  // ---- not under the reader's hand
  let held = false, composing = false, touched = 0;
  const touch = event => { touched = event.timeStamp; };
  addEventListener("pointerdown", event => { held = true; touch(event); }, true);
  for (const name of ["pointerup", "pointercancel", "blur"]) addEventListener(name, () => { held = false; });
  addEventListener("keydown", touch, true);
  addEventListener("compositionstart", () => { composing = true; }, true);
  addEventListener("compositionend", () => { composing = false; }, true);
  function busy() {
    const chosen = getSelection(), main = document.querySelector("main");
    const reading = chosen && !chosen.isCollapsed && main.contains(chosen.anchorNode);
    const choosing = document.activeElement && document.activeElement.matches("main select") && performance.now() - touched < 5000;
    return held || composing || reading || choosing;
  }

  // ---- places that hold over a change of contents: a section, and which of its elements
  const within = (id, what) => Array.from((id && document.getElementById(id) || document.querySelector("main")).querySelectorAll(what));
  function place(one, what) {
    const section = one.closest("section"), id = section ? section.id : "";
    return {id, index: within(id, what).indexOf(one)};
  }
  const found = (where, what) => within(where.id, what)[where.index];

  function position() {
    const focus = document.activeElement, first = Array.from(document.querySelectorAll("main section")).find(one => one.getBoundingClientRect().bottom > 0);
    const typed = focus && focus.matches("main input");
    return {
      top: scrollY > 0 && first ? {id: first.id, at: first.getBoundingClientRect().top} : null,
      scrolled: within("", ".scroll").filter(one => one.scrollTop || one.scrollLeft).map(one => ({where: place(one, ".scroll"), top: one.scrollTop, left: one.scrollLeft})),
      focus: focus && focus.closest("main") ? {where: place(focus, inputs), tag: focus.tagName, from: typed ? focus.selectionStart : null, to: typed ? focus.selectionEnd : null} : null,
    };
  }
  function back(was) {
    for (const one of was.scrolled) { const box = found(one.where, ".scroll"); if (box) { box.scrollTop = one.top; box.scrollLeft = one.left; } }
    const top = was.top && document.getElementById(was.top.id);
    if (top) scrollBy({top: top.getBoundingClientRect().top - was.top.at, behavior: "instant"});
    const focus = was.focus && found(was.focus.where, inputs);
    if (focus && focus.tagName === was.focus.tag) {
      focus.focus({preventScroll: true});
      if (was.focus.from !== null) focus.setSelectionRange(was.focus.from, was.focus.to);
    }
  }

  class Gone extends Error {} // the server, or something else answers in its place: no fault of the page's
  async function ask(path, read) {
    try {
      const answer = await fetch(path, {cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(patience)});
      if (!answer.ok) throw new Error(answer.statusText);
      return await read(answer);
    } catch (error) { throw new Gone(path, {cause: error}); }
  }
  async function follow(now) {
    const page = new DOMParser().parseFromString(await ask("/", answer => answer.text()), "text/html");
    if (busy()) return;
    const set = kept.state(), was = position();
    document.querySelector("main").replaceWith(document.adoptNode(page.querySelector("main")));
    version = Number(page.documentElement.dataset.version || now.version); // a final page has no number
    document.title = page.title;
    kept.mount();
    kept.restore(set);
    back(was);
  }
  async function once() {
    const now = await ask("/version", answer => answer.json());
    if (server !== null && now.server !== server) version = -1; // another sweep's, which counts from 1 too
    server = now.server;
    saved = now.where;
    if (now.version !== version && !busy()) await follow(now);
    failed = 0;
    over = now.finished && now.version === version;
    sayWhen(over ? null : now);
    if (over) say(now.problem ? `The sweep has ended, but its report could not be drawn: ${now.problem}`
      : `The sweep has ended: this is its final report${saved ? `, saved as ${saved}` : ""}.`);
    else say(now.problem ? `Live, but the report could not be drawn: ${now.problem}` : "Live: this page follows the sweep.");
  }
  async function look() {
    if (looking || over) return;
    looking = true;
    clearTimeout(timer);
    let wait = every;
    try { await once(); } catch (error) {
      failed += 1;
      if (!(error instanceof Gone)) {
        console.error(error);
        say("Live, but a fault of this page keeps it from showing what is new: load it again.");
        wait = seldom;
      } else if (failed >= tries) {
        say(`The sweep has ended or was stopped; this is what was known last. ${saved ? `Its report is saved as ${saved}.` : "If it saved a report, that is report.html in its run folder."}`);
        wait = seldom;
      }
    }
    looking = false;
    if (!over) timer = setTimeout(look, wait);
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); }); // hidden, timers are slow
  look();
})();

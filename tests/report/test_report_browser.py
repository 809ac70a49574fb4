"""The report in a real browser: what a hand, a keyboard, a phone, a printer and a screen reader meet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import media, needs_browser, opened, requests, until, window

import thalweg as tw
from thalweg.report import report_page
from thalweg.report.block import Section, Table
from thalweg.report.page import Page, render

pytest.importorskip("selenium", reason="selenium is not installed: the page is not tried in a browser")

import itertools

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

pytestmark = [needs_browser, pytest.mark.slow]
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from opened(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def run() -> tw.Run:
    """A sweep on small images of three classes, one of them with a hostile name; some trials diverge."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    pixels = generator.integers(0, 90, (120, 6, 6, 1))
    pixels[labels == 1, :3] += 60
    pixels[labels == 2, :, 3:] += 60
    names = np.array(["ant", HOSTILE, "cat"])[labels]
    # A penalty of 1 makes large rates diverge: each step multiplies the weights by 1 − 2α.
    space = tw.Recipe(
        penalty=tw.penalties.L2(1.0), optimizer=tw.optimizers.SGD(tw.log_uniform(1e-3, 1e5)), batch_size=16, epochs=3
    )
    return tw.sweep(space, (pixels.astype(np.uint8), names), trials=12, seed=3)


@pytest.fixture(scope="module")
def address(run: tw.Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(report_page(run), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page freshly opened in a wide light window; afterwards the console must have stayed silent."""
    window(browser, 1280)
    media(browser, prefers_reduced_motion="reduce")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(address)
    yield browser
    assert browser.get_log("browser") == []


def column(page: Any, heading: str) -> list[str]:
    script = """const table = document.querySelector('#trials table');
    const place = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent.trim() === arguments[0]);
    return [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.cells[place].textContent.trim())"""
    return list(page.execute_script(script, heading))


def heading(page: Any, name: str) -> Any:
    return page.find_element("xpath", f"//section[@id='trials']//th/button[normalize-space()='{name}']")


def test_it_asks_for_nothing_but_itself(page: Any, address: str) -> None:
    page.find_element("id", "theme").click()
    asked = {url for url in requests(page) if not url.startswith("data:")}
    assert asked == {address}


def test_the_policy_refuses_a_request(browser: Any, address: str) -> None:
    browser.get(address)
    refused = browser.execute_async_script(
        """const done = arguments[arguments.length - 1];
        document.addEventListener('securitypolicyviolation', (e) => done(e.violatedDirective));
        fetch('https://example.invalid/').catch(() => {});"""
    )
    assert refused == "connect-src"


def test_a_hostile_class_name_is_text(page: Any) -> None:
    assert page.execute_script("return document.querySelectorAll('img[src=x], img[onerror]').length") == 0
    assert page.execute_script("return document.scripts.length") == 1
    assert HOSTILE in page.find_element("id", "confusion").get_attribute("textContent")


def test_headings_sort_the_trials(page: Any) -> None:
    before = column(page, "trial")
    heading(page, "trial").click()
    up = column(page, "trial")
    assert up == sorted(before, key=int)
    assert heading(page, "trial").find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    heading(page, "trial").send_keys(Keys.ENTER)
    assert column(page, "trial") == up[::-1]
    assert heading(page, "trial").find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    # Numbers by their value, 9e-05 below 0.001; cells without one last, either way.
    heading(page, "validation loss").click()
    losses = column(page, "validation loss")
    known = [float(text) for text in losses if text]
    assert known == sorted(known)
    assert "" not in losses[: len(known)]


def test_the_filter_takes_words_and_bounds(page: Any, run: tw.Run) -> None:
    field = page.find_element("css selector", "#trials input[type=search]")
    field.send_keys("diverged")
    diverged = run.statuses["diverged"]
    assert diverged > 0
    assert len(column(page, "trial")) == diverged
    assert page.find_element("css selector", "#trials output").text == f"{diverged} of {len(run.trials)} rows"
    field.clear()
    field.send_keys("learning_rate>0.01 completed")
    rates = [float(text) for text in column(page, "learning_rate")]
    wanted = [t for t in run.trials if t.status.name == "completed" and t.recipe.optimizer.learning_rate.base > 0.01]
    assert len(rates) == len(wanted) > 0
    assert min(rates) > 0.01
    field.clear()
    field.send_keys("validation accuracy >= 0.4 completed")
    accuracies = [float(text) for text in column(page, "validation accuracy")]
    wanted = [t for t in run.trials if t.status.name == "completed" and round(t.validation_accuracy, 4) >= 0.4]
    assert len(accuracies) == len(wanted) > 0
    field.clear()
    field.send_keys("nonsense>3")
    assert (
        page.find_element("css selector", "#trials output").text
        == f"{len(run.trials)} rows; there is no column “nonsense”"
    )
    field.clear()
    field.send_keys("rate >")  # still being written
    assert len(column(page, "trial")) == len(run.trials)
    field.clear()
    field.send_keys(Keys.SPACE, Keys.BACKSPACE)
    page.execute_script(
        """const select = document.querySelector('#trials select');
        select.value = 'diverged';
        select.dispatchEvent(new Event('input', {bubbles: true}))"""
    )
    assert len(column(page, "trial")) == diverged


def test_pointing_at_a_mark_tells_and_lights_the_trial_everywhere(page: Any) -> None:
    mark = page.find_element("css selector", "#sensitivity use.mark[data-tip][data-trial]")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
    ActionChains(page).move_to_element(mark).perform()
    tip = page.find_element("id", "tip")
    until(tip.is_displayed)
    lit = page.execute_script("return [...document.querySelectorAll('.lit')].map((e) => e.dataset.trial)")
    assert len(set(lit)) == 1
    assert len(lit) >= 3  # its row, and its marks in several pictures
    assert f"trial {lit[0]}" in tip.text
    ActionChains(page).move_to_element(page.find_element("css selector", "h1")).perform()
    until(lambda: not tip.is_displayed())


def test_a_row_keeps_its_trial_lit(page: Any) -> None:
    row = page.find_element("css selector", "#trials tbody tr:nth-child(2)")
    row.click()
    trial = row.get_attribute("data-trial")
    ActionChains(page).move_to_element(page.find_element("css selector", "h1")).perform()
    lit = "return [...document.querySelectorAll('.lit')].map((e) => e.dataset.trial)"
    assert set(page.execute_script(lit)) == {trial}
    row.click()
    ActionChains(page).move_to_element(page.find_element("css selector", "h1")).perform()
    assert page.execute_script(lit) == []


def test_arrow_keys_walk_through_a_picture(page: Any) -> None:
    plot = page.find_element("css selector", "#sensitivity .plot")
    page.execute_script("arguments[0].focus()", plot)
    plot.send_keys(Keys.ARROW_RIGHT)
    tip = page.find_element("id", "tip")
    first = until(lambda: tip.is_displayed() and tip.text)
    plot.send_keys(Keys.ARROW_RIGHT)
    assert until(lambda: tip.text != first and tip.text)
    # Read aloud is what a step comes to, not what a pointer passes.
    said = page.find_element("id", "said")
    assert said.get_attribute("role") == "status"
    assert tip.get_attribute("aria-hidden") == "true"
    assert said.get_attribute("textContent") == tip.text
    hint = page.find_element("id", plot.get_attribute("aria-describedby"))
    assert "arrow keys" in hint.get_attribute("textContent")
    plot.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()
    assert said.get_attribute("textContent") == ""
    script = """const use = document.querySelector('#sensitivity use.mark[data-tip]'), at = use.getBoundingClientRect();
    use.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: at.x + 3, clientY: at.y + 3}));
    return [document.getElementById('tip').hidden, document.getElementById('said').textContent]"""
    assert page.execute_script(script) == [False, ""]


def test_the_keyboard_keeps_a_trial_lit(page: Any) -> None:
    keep = page.find_element("css selector", "#trials tbody tr:nth-child(2) .keep")
    trial = keep.text
    lit = "return [...new Set([...document.querySelectorAll('.lit')].map((e) => e.dataset.trial))]"
    for key, pressed in ((Keys.ENTER, "true"), (Keys.SPACE, "false"), (Keys.ENTER, "true")):
        keep.send_keys(key)
        assert keep.get_attribute("aria-pressed") == pressed
    page.execute_script("document.activeElement.blur()")
    assert page.execute_script(lit) == [trial]
    keep.send_keys(Keys.ENTER)
    page.execute_script("document.activeElement.blur()")
    assert page.execute_script(lit) == []


def test_a_line_with_a_gap_is_not_there_in_the_gap(page: Any) -> None:
    script = """const plot = document.querySelector('#curves .plot'), svg = plot.querySelector('svg.stretch');
    for (const old of plot.querySelectorAll('[data-tip]')) old.remove();
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.dataset.tip = 'two pieces';
    const {width, height} = svg.viewBox.baseVal;
    path.setAttribute('d', arguments[0].replace(/[wW]/g, width).replaceAll('h', Math.round(height / 2)));
    svg.append(path);
    const at = svg.getBoundingClientRect();
    const middle = {clientX: at.x + at.width / 2, clientY: at.y + at.height / 2};
    plot.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, ...middle}));
    return !document.getElementById('tip').hidden"""
    assert page.execute_script(script, "M0 h w h")
    page.refresh()
    assert not page.execute_script(script, "M0 h 9 hMw h w h")


def test_infinity_sorts_as_a_number(page: Any) -> None:
    script = """const table = document.querySelector('#trials table'), rows = [...table.tBodies[0].rows].slice(0, 5);
    table.tBodies[0].replaceChildren(...rows);
    ['10', '∞', '9', '-∞', '−2'].forEach((text, i) => { rows[i].cells[3].textContent = text; });
    table.tHead.rows[0].cells[3].querySelector('button').click();
    return [...table.tBodies[0].rows].map((row) => row.cells[3].textContent)"""
    assert page.execute_script(script) == ["-∞", "−2", "9", "10", "∞"]


def test_a_copy_button_pressed_twice_gets_its_label_back(page: Any) -> None:
    button = page.find_element("css selector", ".copy")
    # The clipboard may be refused; either way the label changes, for 1.6 s, which are shortened here.
    page.execute_script("const later = setTimeout; window.setTimeout = (what, wait) => later(what, wait / 20)")
    label = button.get_attribute("innerHTML")
    press = """const button = arguments[0];
    button.click();
    return new Promise((done) => {
      const seen = new MutationObserver(() => { seen.disconnect(); button.click(); done(button.innerHTML); });
      seen.observe(button, {childList: true});
    })"""
    assert page.execute_script(press, button) in ("Copied", "Select and copy")
    until(lambda: button.get_attribute("innerHTML") == label)
    time.sleep(0.1)  # the second press's time is over too
    assert button.get_attribute("innerHTML") == label


def test_what_a_screen_reader_is_told(page: Any) -> None:
    levels = page.execute_script("return [...document.querySelectorAll('h1, h2, h3')].map((h) => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    pictures = page.find_elements("css selector", ".plot")
    assert len(pictures) >= 5
    labels = [picture.get_attribute("aria-label") for picture in pictures]
    assert all(len(label.split()) >= 4 for label in labels)
    assert all(img.get_attribute("alt") for img in page.find_elements("css selector", "img"))
    # Every figure has its numbers below it.
    bare = "return [...document.querySelectorAll('.picture')].filter((p) => !p.querySelector('table')).length"
    assert page.execute_script(bare) == 0
    nameless = """return [...document.querySelectorAll('button, input, select')].filter((b) =>
        !(b.textContent.trim() || b.labels?.length || b.getAttribute('aria-label'))).length"""
    assert page.execute_script(nameless) == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_phone_and_desk_in_light_and_dark(page: Any, address: str, width: int, theme: str) -> None:
    window(page, width)
    media(page, prefers_color_scheme=theme)
    page.get(address)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    page.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    paper = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[theme]
    # Letters on the page's paper: 4.5 to 1 (WCAG 2.2, 1.4.3).
    words, lines = page.execute_script(CONTRAST)
    assert words >= 4.5
    # Lines in colour and the borders of fields: 3 to 1 (1.4.11).
    assert lines >= 3
    page.find_element("id", "theme").click()
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") != paper


CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = (colour) => {
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => linear(v / 255));
  return .2126 * r + .7152 * g + .0722 * b;
};
const paper = light(getComputedStyle(document.body).backgroundColor);
const ratio = (colour) => {
  const l = light(colour);
  return (Math.max(l, paper) + .05) / (Math.min(l, paper) + .05);
};
const all = (what) => [...document.querySelectorAll(what)];
const words = all('p, dt, dd, li, td, th, summary, h1, h2, h3, a, .tone').map((e) => getComputedStyle(e).color);
const drawn = all('svg text:not(.in)').map((e) => getComputedStyle(e).fill);
const style = getComputedStyle(document.documentElement);
const lines = [0, 1, 2, 3, 4, 5].map((i) => style.getPropertyValue(`--s${i}`));
const fields = all('.controls input, .controls select').map((e) => getComputedStyle(e).borderTopColor);
return [[...words, ...drawn], [...lines, ...fields]].map((some) => Math.min(...new Set(some.map(ratio))));
"""


def test_it_prints_on_white_without_controls(page: Any) -> None:
    media(page, "print", prefers_color_scheme="dark")
    assert not page.find_element("css selector", "nav").is_displayed()
    assert not page.find_element("css selector", "#trials .controls").is_displayed()
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    size = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(size) > 10_000


def test_of_a_filtered_table_the_first_forty_rows_that_are_left_are_printed(page: Any) -> None:
    media(page, "print")
    # 100 rows of the first one's likeness, every second one with a word to filter by.
    script = """const box = document.querySelector('#trials .filtered'), body = box.querySelector('tbody');
    const first = body.rows[0];
    body.replaceChildren(...Array.from({length: 100}, (_, i) => {
      const row = first.cloneNode(true);
      row.cells[0].textContent = i % 2 ? `odd${i}` : 'even';
      return row;
    }));
    const field = box.querySelector('input');
    field.value = arguments[0];
    field.dispatchEvent(new Event('input', {bubbles: true}));
    const printed = [...body.rows].filter((row) => getComputedStyle(row).display !== 'none');
    return [printed.length, printed.at(-1).cells[0].textContent, box.querySelector('.cut').innerText]"""
    left = "rows that a filter leaves, of 100."
    assert page.execute_script(script, "odd") == [40, "odd79", f"Printed are the first 40 of 50 {left}"]
    assert page.execute_script(script, "odd9") == [6, "odd99", f"Printed are the 6 {left}"]
    assert page.execute_script(script, "") == [40, "odd39", "Printed are the first 40 of 100 rows."]


def test_where_no_script_counts_them_the_first_forty_rows_are_printed(browser: Any, tmp_path: Path) -> None:
    table = Table(("trial",), tuple((i,) for i in range(50)), sortable=True, marks=(*range(49), None), strong=45)
    text = render(Page("rows", "", (Section("trials", "Trials", (table,)),)))
    file = tmp_path / "rows.html"
    file.write_text(text[: text.index("<script>")], encoding="utf-8")
    media(browser, "print")
    browser.get(file.as_uri())
    rows = browser.find_elements("css selector", "tbody tr")
    assert [row.is_displayed() for row in rows] == [True] * 40 + [False] * 10
    assert browser.find_element("css selector", ".cut").text == "Printed are the first 40 of 50 rows."
    assert len(browser.find_elements("css selector", "tr.strong.beyond")) == 1
    assert len(browser.find_elements("css selector", ".keep")) == 49


def test_without_scripts_everything_is_there(run: tw.Run, tmp_path: Path, browser: Any) -> None:
    text = report_page(run)
    start, end = text.index("<script>"), text.index("</script>") + len("</script>")
    file = tmp_path / "still.html"
    file.write_text(text[:start] + text[end:], encoding="utf-8")
    browser.get(file.as_uri())
    assert len(browser.find_elements("css selector", "#trials tbody tr")) == len(run.trials)
    assert all(plot.size["height"] > 40 for plot in browser.find_elements("css selector", ".plot"))

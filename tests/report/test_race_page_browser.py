"""The page of a race in a real browser: what a hand, a keyboard and a screen reader meet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import media, needs_browser, opened, until, window
from test_race_page import CASES, RULES, STEPS, expected, record_of, spec_of

from thalweg.landscapes import Function, Quadratic, Rosenbrock
from thalweg.report import race_page

pytest.importorskip("selenium", reason="selenium is not installed: the page is not tried in a browser")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

pytestmark = [needs_browser, pytest.mark.slow]
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from opened(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(race_page(record_of(Rosenbrock(), ("calm", HOSTILE), steps=60, lost=True)), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page freshly opened in a wide light window; afterwards the console must have stayed silent."""
    window(browser, 1280, 900)
    media(browser)
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(address)
    yield browser
    assert browser.get_log("browser") == []


def table(page: Any) -> list[list[str]]:
    script = "return [...byId('results').tBodies[0].rows].map((row) => [...row.cells].map((c) => c.textContent))"
    return list(page.execute_script(script))


def ways(page: Any) -> list[str]:
    return list(page.execute_script("return [...document.querySelectorAll('.track')].map((p) => p.getAttribute('d'))"))


def start(page: Any) -> list[float]:
    return list(page.execute_script("return state.start"))


def go_live(page: Any) -> None:
    page.find_element("id", "mode-live").click()


def test_it_opens_with_the_recorded_race(page: Any) -> None:
    rows = table(page)
    assert [row[0] for row in rows] == ["calm", HOSTILE]
    assert rows[1][3] == "diverged in step 5"
    assert page.execute_script("return document.querySelectorAll('img').length") == 0
    summary = until(lambda: page.find_element("id", "summary").text)
    assert "calm ends lowest, at f − min f = " in summary
    assert f"{HOSTILE} diverged." in summary
    assert page.find_element("id", "summary").get_attribute("aria-live") == "polite"
    assert len(ways(page)) == 2
    assert page.execute_script("return document.querySelectorAll('.curve').length") == 2


def test_it_asks_for_nothing_but_itself(page: Any, address: str) -> None:
    go_live(page)
    page.find_element("id", "theme").click()
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert address in asked
    assert {url for url in asked if not url.startswith(("data:", "file:"))} == set()
    assert {url for url in asked if url.startswith("file:")} == {address}


def test_the_policy_refuses_a_request(browser: Any, address: str) -> None:
    browser.get(address)
    refused = browser.execute_async_script(
        """const done = arguments[arguments.length - 1];
        document.addEventListener('securitypolicyviolation', (e) => done(e.violatedDirective));
        fetch('https://example.invalid/').catch(() => {});"""
    )
    assert refused == "connect-src"


def test_a_slider_changes_the_way_and_the_table(page: Any) -> None:
    go_live(page)
    before, rows = ways(page), table(page)
    slider = page.find_element("css selector", "input[aria-label='SGD: rate α']")
    assert slider.get_attribute("aria-valuetext") == "0.001"
    slider.send_keys(*[Keys.ARROW_LEFT] * 10)
    until(lambda: ways(page) != before)
    # Ten steps of 0.01 on a log scale, to two digits: 10^-3.1.
    assert slider.get_attribute("aria-valuetext") == "7.9e−4"
    assert page.execute_script("return state.racers[0].rate") == 7.9e-4
    assert ways(page)[1:] == before[1:]
    assert table(page)[0][1] != rows[0][1]
    assert table(page)[1:] == rows[1:]


def test_momentum_and_a_checkbox(page: Any) -> None:
    go_live(page)
    before = ways(page)
    page.find_element("css selector", "input[aria-label='Momentum: momentum ρ']").send_keys(Keys.HOME)
    until(lambda: ways(page) != before)
    assert page.execute_script("return state.racers[1].momentum") == 0
    boxes = page.find_elements("css selector", ".racer input[type=checkbox]")
    boxes[0].click()
    until(lambda: len(ways(page)) == len(before) - 1)
    assert "SGD" not in [row[0] for row in table(page)]
    boxes[6].send_keys(Keys.SPACE)
    until(lambda: table(page)[-1][0] == "Newton, plain")


def test_the_keyboard_moves_the_start(page: Any) -> None:
    there = start(page)
    focus = page.find_element("css selector", "#map svg")
    page.execute_script("arguments[0].focus()", focus)
    keys = ActionChains(page)
    keys.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.ARROW_UP).perform()
    # A 50th of the map's 4 units a key, a 500th with Shift.
    np.testing.assert_allclose(start(page), [there[0] + 0.08, there[1] + 0.16], atol=1e-12)
    ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.ARROW_LEFT).key_up(Keys.SHIFT).perform()
    np.testing.assert_allclose(start(page)[0], there[0] + 0.072, atol=1e-12)
    until(lambda: page.execute_script("return state.mode") == "live")
    assert float(page.find_element("id", "start-x").get_attribute("value")) == pytest.approx(start(page)[0], rel=1e-5)
    until(lambda: page.find_element("id", "summary").text.startswith("From (−0.928, 0.16) on Rosenbrock"))


def test_the_whole_page_is_reached_by_tab(page: Any) -> None:
    go_live(page)
    seen = set()
    for _ in range(40):
        ActionChains(page).send_keys(Keys.TAB).perform()
        seen.add(page.execute_script("const e = document.activeElement; return e.id || e.ariaLabel || e.tagName"))
    assert {"theme", "landscape", "start-x", "steps", "noise", "play", "step", "SUMMARY"} <= seen
    assert any("arrow keys move it" in str(name) for name in seen)
    assert {"SGD: rate α", "Adam: decay β₂"} <= seen


def test_every_control_has_a_name(page: Any) -> None:
    go_live(page)
    for control in page.find_elements("css selector", "input, select, button, [role=application], [role=img]"):
        if control.is_displayed():
            assert control.accessible_name.strip(), control.get_attribute("outerHTML")


def test_the_mouse_drags_the_start(page: Any) -> None:
    handle = page.find_element("id", "handle")
    there = start(page)
    width = page.execute_script("return frame.width")
    drag = ActionChains(page).move_to_element(handle).click_and_hold()
    drag.move_by_offset(60, -30).move_by_offset(40, -20).release().perform()
    # One pixel, for the mouse stands on whole ones.
    expected_move = np.array([100, 50]) * 4 / width
    np.testing.assert_allclose(np.subtract(start(page), there), expected_move, atol=4 / width)
    assert page.execute_script("return state.mode") == "live"


def test_another_landscape_brings_its_own_start_and_rates(page: Any) -> None:
    page.find_element("css selector", "#landscape option:nth-child(3)").click()
    assert page.execute_script("return spec().kind") == "Saddle"
    assert start(page) == [-1.5, 1e-3]
    assert page.execute_script("return state.racers[0].rate") == 0.05
    until(lambda: "on Saddle" in page.find_element("id", "summary").text)
    assert page.find_element("id", "value-head").text == "f"
    assert [row[2] for row in table(page)] == ["–"] * 5  # it has no minimum to be distant from
    page.find_element("id", "mode-recorded").click()
    assert [row[0] for row in table(page)] == ["calm", HOSTILE]
    assert page.execute_script("return spec().kind") == "Rosenbrock"


def test_time_can_be_moved(page: Any) -> None:
    whole = ways(page)
    page.find_element("id", "step").send_keys(Keys.HOME)
    assert all(way.count("L") == 0 for way in ways(page))
    assert page.find_element("id", "step-text").text == "step 0 of 60"
    page.find_element("id", "step").send_keys(Keys.END)
    assert ways(page) == whole


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_phone_and_desk_in_light_and_dark(page: Any, address: str, width: int, theme: str) -> None:
    window(page, width, 850)
    media(page, prefers_color_scheme=theme)
    page.get(address)
    go_live(page)
    root = page.find_element("tag name", "html")
    assert root.get_attribute("data-theme") == theme
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(251, 251, 250)", "dark": "rgb(16, 19, 21)"}[theme]
    drawn = page.execute_script("return frame.width")
    assert drawn > (300 if width == 390 else 600)
    page.find_element("id", "theme").click()
    assert root.get_attribute("data-theme") != theme


def test_the_landscapes_field_and_the_start_are_not_cut(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    record = record_of(Quadratic(100.0))
    record.positions[..., 0, :] = (-0.123456, -2.34567)
    file.write_text(race_page(record), encoding="utf-8")
    for width in (390, 1280):
        window(browser, width, 900)
        browser.get(file.as_uri())
        room = browser.execute_script(
            """const pen = document.createElement('canvas').getContext('2d');
            return ['landscape', 'start-x', 'start-y'].map((id) => {
              const box = byId(id), style = getComputedStyle(box);
              pen.font = style.font;
              const text = box.tagName === 'SELECT' ? box.selectedOptions[0].text : box.value;
              return box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)
                - pen.measureText(text).width;
            });"""
        )
        # A select's arrow takes some 12 px of it; a number's arrows, which would take 16, are not shown.
        assert room[0] > 12
        assert min(room[1:]) > 0


def test_without_a_script_the_result_is_there(browser: Any, address: str) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(address)
        assert browser.find_element("id", "verdict").text.startswith("Rosenbrock, a = 1, b = 100: 2 racers")
        assert [cell.text for cell in browser.find_elements("css selector", "#recorded tbody th")] == ["calm", HOSTILE]
        assert not browser.find_element("id", "map").is_displayed()
        assert not browser.find_element("id", "theme").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_reduced_motion_is_honoured(page: Any, address: str) -> None:
    assert page.find_element("id", "play").is_displayed()
    media(page, prefers_reduced_motion="reduce")
    page.get(address)
    assert not page.find_element("id", "play").is_displayed()
    assert page.find_element("id", "step").is_displayed()


def test_the_browser_walks_as_the_optimizers_do(page: Any) -> None:
    for kind in ("nesterov", "adam"):
        place = list(RULES).index(kind)
        jobs = [
            [spec_of(f), {"kind": kind, "rate": rates[place], **RULES[kind][1]}, begin] for f, begin, rates in CASES
        ]
        tracks = page.execute_script(
            """const [jobs, options] = arguments;
            return jobs.map(([spec, racer, begin]) => runRacer(spec, racer, begin, options).points);""",
            jobs,
            {"steps": STEPS, "tolerance": 0},
        )
        for way, points in zip(expected(kind), tracks, strict=True):
            count = min(len(points), STEPS)  # one that diverges is cut at its last
            scale = max(np.abs(way[:count]).max(), 1)
            np.testing.assert_allclose(points[:count], way[:count], rtol=0, atol=1e-9 * scale)


def test_a_landscape_of_ones_own_shows_its_record(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "own.html"
    bowl = Function(lambda p: p[0] ** 2 + p[1] ** 2, name="bowl", bounds=((-2, 2), (-2, 2)))
    file.write_text(race_page(record_of(bowl, ("way",))), encoding="utf-8")
    window(browser, 1280, 900)
    browser.get_log("browser")
    browser.get(file.as_uri())
    assert [row[0] for row in table(browser)] == ["way"]
    # The grid's middle is the bowl's: its value is read between the lines, and they meet there.
    assert abs(browser.execute_script("return valueAt(0, 0)")) < 1e-9
    go_live(browser)  # it has no formula here, so the race goes on elsewhere
    assert browser.execute_script("return spec().kind") == "Quadratic"
    assert browser.get_log("browser") == []

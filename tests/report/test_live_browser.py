"""The live page in a real browser: it takes new contents over, and leaves what the reader does alone."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from browser import needs_browser, opened, requests, until, window
from live_cases import start
from report_cases import made_run

import thalweg as tw
from thalweg.report import page
from thalweg.report.block import Fold, Note, Section, Table
from thalweg.report.live import LiveReport
from thalweg.report.page import Page, render
from thalweg.training import METRICS

pytest.importorskip("selenium", reason="selenium is not installed: the page is not tried in a browser")
pytestmark = [needs_browser, pytest.mark.slow]
RUN = made_run(30, diverged=0, epochs=4)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    for driver in opened(tmp_path_factory.mktemp("profile")):
        window(driver, 1000, 700)
        yield driver


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that asks every 50 ms, 100 where nobody answers, and a report drawn as often: all else is as served."""
    asks = page.text_of("live.js").replace("every = 1000, seldom = 15000", "every = 50, seldom = 100")
    assert "seldom = 100" in asks
    whole = page.text_of
    monkeypatch.setattr(page, "text_of", lambda name: asks if name == "live.js" else whole(name))
    for name, seconds in (("_TICK", 0.02), ("_PAUSE", 0.02), ("_SHARE", 1.0), ("_LINGER", 0.0)):
        monkeypatch.setattr(f"thalweg.report.live.{name}", seconds)


def drawn(run: tw.Run, *, live: bool = True) -> str:
    """A small page of a run: how far each trial is, in a table to sort and to filter."""
    rows = tuple((t.number, t.status.name, t.kept_epoch) for t in run.trials)
    table = Table(("trial", "status", "epochs"), rows, "Trials.", sortable=True, states=tuple(r[1] for r in rows))
    grows = Note("; ".join(f"trial {n} is at {e}" for n, _, e in rows) * (1 + rows[0][2]))
    sections = (
        Section("first", "Where it stands", (grows, Fold("More", (Note(f"epoch {rows[0][2]}"),)))),
        Section("trials", "Trials", (table,)),
    )
    return render(Page("A sweep", f"{len(rows)} trials", sections), live=live)


def test_the_page_follows_the_sweep_and_keeps_what_the_reader_set(browser: Any) -> None:
    script: Any = browser.execute_script
    epochs = iter(range(1, 9))

    def epoch() -> None:
        number = next(epochs)
        row = dict.fromkeys(METRICS, 0.5)
        live.epoch(number, {n: row for n in range(len(RUN.trials)) if n != 3})

    def shows(text: str) -> Any:
        return until(lambda: text in script("return document.querySelector('main').textContent"))

    def says() -> str:
        return str(script("return document.getElementById('live').textContent"))

    with LiveReport(drawn) as live:
        requests(browser)
        address = live.address
        browser.get(address)
        assert "about to begin" in script("return document.title")
        until(lambda: says() == "Live: this page follows the sweep.")
        live.begin(start(dataclasses.replace(RUN, trials=tuple(
            dataclasses.replace(t, recipe=dataclasses.replace(t.recipe, epochs=8)) for t in RUN.trials
        ))))  # fmt: skip
        shows("trial 29 is at 0")
        assert script("return document.title") == "A sweep · Thalweg"

        # What a reader does: sorts, opens a fold, filters, has the cursor there, scrolls the page and the table.
        script("""
            const number = document.querySelector("#trials th button");
            number.click(); number.click();
            document.querySelector("#first details").open = true;
            const field = document.querySelector("#trials input");
            field.value = "training"; field.dispatchEvent(new Event("input", {bubbles: true}));
            field.focus(); field.setSelectionRange(2, 5);
            document.querySelector("#trials").scrollIntoView({behavior: "instant"});
            scrollBy({top: 40, behavior: "instant"});
            document.querySelector("#trials .scroll").scrollTop = 60;
            window.stays = true;""")
        where = "return document.querySelector('#trials').getBoundingClientRect().top"
        before = script(where)
        epoch()
        shows("epoch 1")
        assert script(where) == pytest.approx(before, abs=1)
        assert script("return scrollY") > 40
        assert script("return document.querySelector('#trials .scroll').scrollTop") == 60
        assert script("return document.querySelector('#first details').open")
        assert script("const f = document.activeElement; return [f.value, f.selectionStart, f.selectionEnd]") == [
            "training", 2, 5
        ]  # fmt: skip
        assert script("return document.querySelector('#trials tbody tr').cells[0].textContent") == "29"
        assert script("return document.querySelector('#trials output').textContent") == "30 rows"
        assert script("return window.stays")  # it was never loaded anew

        # Not while text is being selected.
        script("getSelection().selectAllChildren(document.querySelector('h1'))")
        epoch()
        polled = live._looked
        until(lambda: live._looked > polled + 0.3)
        assert "epoch 1" in script("return document.querySelector('#first details').textContent")
        script("getSelection().removeAllRanges()")
        shows("epoch 2")

        # Of when it is stands in a line that is not spoken.
        when = script("return document.getElementById('as-of').textContent")
        assert re.fullmatch(r"As of \d\d:\d\d:\d\d\.", when), when
        live._next = time.time() + 60
        until(lambda: "or later" in script("return document.getElementById('as-of').textContent"))

        # Back from another tab, where timers are slow (here: never), it asks at once.
        script("window.later = setTimeout; window.setTimeout = () => 0")
        time.sleep(0.2)
        polled = live._looked
        time.sleep(0.1)
        assert live._looked == polled
        back = "document.dispatchEvent(new Event('visibilitychange'))"
        script(back)
        until(lambda: live._looked > polled)
        script(f"window.setTimeout = later; {back}")

        final = drawn(RUN, live=False)
        live.finish(final, "runs/<b>x/report.html")
        until(lambda: says() == "The sweep has ended: this is its final report, saved as runs/<b>x/report.html.")
        assert "completed" in script("return document.querySelector('#trials tbody').textContent")
        assert script("return document.getElementById('as-of').hidden")
    assert browser.get_log("browser") == []
    assert {asked.removeprefix(address) for asked in requests(browser) if asked != "data:,"} == {"", "version"}


def test_a_server_that_is_gone_is_told_and_one_that_is_back_is_followed(browser: Any) -> None:
    def says(words: str) -> Any:
        return until(lambda: words in browser.execute_script("return document.getElementById('live').textContent"))

    def shows(words: str) -> Any:
        return until(lambda: words in browser.execute_script("return document.querySelector('main').textContent"))

    live = LiveReport(drawn)
    live.begin(start(RUN))
    browser.get(live.address)
    shows("trial 29 is at 0")
    port = int(live.address.rsplit(":")[-1].strip("/"))
    live.close()
    says("The sweep has ended or was stopped")
    says("report.html in its run folder")
    shows("trial 29 is at 0")
    assert {entry["source"] for entry in browser.get_log("browser")} == {"network"}  # no fault of the page's own

    with LiveReport(drawn, port=port) as again:
        again.begin(start(dataclasses.replace(RUN, trials=RUN.trials[:7])))
        says("Live: this page follows the sweep.")
        until(lambda: not browser.execute_script("return document.querySelector('main').textContent.includes('29')"))
        shows("trial 6 is at 0")

        # A fault of the page's own is told as such, on the console too, and what is new is there all the same.
        browser.execute_script("window.thalwegReport.restore = () => { throw new Error('of our own'); }")
        row = dict.fromkeys(METRICS, 0.5)
        again.epoch(1, dict.fromkeys(range(7), row))
        says("a fault of this page")
        shows("trial 6 is at 1")
        assert any("of our own" in entry["message"] for entry in browser.get_log("browser"))

"""The page around the sections: its content policy, every part that it can hold, and text that stays text."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from class_cases import HOSTILE as CLASSES
from class_cases import made_case
from report_cases import made_run
from test_path_section import made_path

import thalweg as tw
from thalweg.data import Split
from thalweg.findings import Finding
from thalweg.report import report_page
from thalweg.report.block import Code, Fold, Lacking, Note, Picture, Section, Table, Tile
from thalweg.report.build import build_report
from thalweg.report.filling import digest, figure
from thalweg.report.page import Page, render
from thalweg.report.sections.all import page_of
from thalweg.report.svg import Linear, Plot
from thalweg.training.status import Status

HOSTILE = "</script><img src=x onerror=alert(1)>\udc80\n\"'&"
VOID = {"meta", "img", "input", "link", "br", "hr"}
# What the templates and the drawing layer write; whatever else is in a page came out of a text.
TAGS = {
    "html", "head", "meta", "title", "style", "body", "a", "svg", "symbol", "defs", "path", "circle", "rect", "line",
    "use", "text", "g", "header", "p", "span", "div", "button", "main", "nav", "ul", "li", "h1", "h2", "h3",
    "section", "dl", "dt", "dd", "details", "summary", "table", "thead", "tbody", "tr", "th", "td", "label", "input",
    "select", "option", "output", "figure", "figcaption", "pre", "code", "strong", "footer", "script", "img",
}  # fmt: skip


class Reader(HTMLParser):
    """Reads a page: its tags with their attributes, its texts, and whether every tag is closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self.cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))
        if "td" in self.open:
            self.cells[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def check(page: str) -> Reader:
    """What every page keeps: its policy, its own tags, no address outside it, ids once, links that lead somewhere."""
    page.encode("utf-8")
    reader = Reader(page)
    assert {name for name, _ in reader.tags} <= TAGS
    for _, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href", "action", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    assert not re.findall(r"(?:@import|url\()\s*[\"']?(?!data:|#)", "".join(reader.text("style")))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pointed = [a["href"] or "" for tag in ("a", "use") for a in reader.all(tag)]
    assert {target.removeprefix("#") for target in pointed} <= set(ids)
    assert {a["aria-labelledby"] for a in reader.all("section")} <= set(ids)
    (policy,) = [a["content"] or "" for a in reader.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert len(reader.all("script")) == len(reader.all("style")) == 1
    for tag in ("script", "style"):
        (content,) = reader.text(tag)
        known = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{known}'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    return reader


PLOT = Plot(Linear(0, 1), Linear(0, 1), label=HOSTILE, x_title=HOSTILE)
TABLE = Table(
    (HOSTILE, "n"), ((HOSTILE, 0.123456), (None, 12345), (True, float("nan"))), caption=HOSTILE, sortable=True,
    marks=(3, None, 4), states=("completed", HOSTILE, HOSTILE), strong=1, total=7,
)  # fmt: skip
PARTS = (
    Picture(HOSTILE, PLOT.svg(), HOSTILE, dataclasses.replace(TABLE, sortable=False, caption=""), wide=True),
    Picture("plain", PLOT.svg(), "summary"),
    TABLE,
    *(Note(HOSTILE, tone, HOSTILE, (HOSTILE, HOSTILE)) for tone in ("plain", "good", "warning", "error")),  # type: ignore[arg-type]
    Note("only text"),
    (Tile(HOSTILE, HOSTILE, HOSTILE), Tile("name", "1")),
    Code(HOSTILE, HOSTILE, HOSTILE),
    Code(HOSTILE, HOSTILE, folded=True),
    Lacking(HOSTILE),
    Fold(HOSTILE, (Note(HOSTILE), Fold("inner", (Lacking(HOSTILE),)))),
)


def a_page(*parts: Any) -> Page:
    first = Section("first", HOSTILE, parts, lead=HOSTILE, short=HOSTILE)
    return Page(HOSTILE, HOSTILE, (first, Section("second", "Second", ())), HOSTILE)


@pytest.mark.parametrize("live", [False, True])
def test_every_part_is_shown_and_every_text_escaped(live: bool) -> None:
    reader = check(render(a_page(*PARTS), live=live))
    assert not reader.all("img")
    shown = HOSTILE.replace("\udc80", "\\udc80")
    for tag in ("h1", "h2", "h3", "th", "td", "summary", "dt", "dd", "code", "li", "p", "strong", "text", "option"):
        assert shown in reader.text(tag) or any(shown in text for text in reader.text(tag)), tag
    assert reader.all("figure") == [{"class": "picture wide"}, {"class": "picture"}]
    strong = reader.text("strong")
    assert [words for words in strong if words in ("Good", "Warning", "Error")] == ["Good", "Warning", "Error"]
    assert [a["class"] for a in reader.all("details")] == ["data", "code", "fold", "fold"]
    assert [a["class"] for a in reader.all("section") if "class" in a] == []
    assert [a["href"] for a in reader.all("a")] == ["#first", "#first", "#second"]
    assert [text for text in reader.text("p") if "of 7 shown" in text]


def test_a_tables_rows_carry_trials_states_and_the_strong_one() -> None:
    reader = check(render(a_page(TABLE)))
    rows = [a for a in reader.all("tr") if a]
    state = HOSTILE.replace("\udc80", "\\udc80")
    assert rows == [
        {"data-trial": "3", "data-state": "completed"},
        {"class": "strong", "data-state": state},
        {"data-trial": "4", "data-state": state},
    ]
    assert len(reader.all("option")) == 3  # all, and each state once
    assert reader.cells == [state, "0.1235", "", "12345", "yes", ""]


def test_figures_are_written_with_four_digits() -> None:
    values = (True, False, 12345, 0.123456, 1e-9, float("nan"), float("inf"), -float("inf"))
    assert [figure(value) for value in values] == ["yes", "no", "12345", "0.1235", "1e-09", "", "∞", "-∞"]


def test_only_a_live_page_may_ask_its_server() -> None:
    still, live = (check(render(a_page(), live=live)).all("meta")[1]["content"] or "" for live in (False, True))
    assert "connect-src" not in still
    assert "connect-src 'self';" in live
    assert digest("") == "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


# -- whole reports ----------------------------------------------------------------------------------------------------


def hostile_run(**more: Any) -> tw.Run:
    """A run in which every text that data, a user or an error can bring is hostile."""
    run = made_run(8, diverged=2, pruned=1, classes=CLASSES, **more)
    data = dataclasses.replace(
        run.data,
        name=HOSTILE,
        source=HOSTILE,
        fingerprint=HOSTILE,
        preprocessing=HOSTILE,
        skipped=((HOSTILE, HOSTILE),),
    )
    trials = tuple(
        dataclasses.replace(trial, status=dataclasses.replace(trial.status, reason=HOSTILE)) for trial in run.trials
    )
    found = Finding("SA01", HOSTILE, "found", "error", HOSTILE, HOSTILE, 1.0, 2.0, HOSTILE)
    passed = dataclasses.replace(found, verdict="passed")
    return dataclasses.replace(
        run, data=data, trials=trials, messages=(HOSTILE,), sanity=(found, passed), versions={HOSTILE: HOSTILE},
        settings={**run.settings, "data": HOSTILE, "label": HOSTILE}, seconds={HOSTILE: 1.0, "total": 2.0},
        model=None if run.model is None else dataclasses.replace(run.model, feature_names=(HOSTILE,) * 8),
    )  # fmt: skip


def test_hostile_text_in_a_sweep_comes_out_escaped() -> None:
    reader = check(report_page(hostile_run(optimizers=("adamw", "sgd")), folder=HOSTILE))
    assert not [a for a in reader.all("img") if not (a["src"] or "").startswith("data:image/")]
    shown = HOSTILE.replace("\udc80", "\\udc80")
    assert any(shown in text for text in reader.text("title"))
    assert any(shown in text for text in reader.text("td"))
    assert [text for text in reader.text("code") if "img src=x" in text]


def test_hostile_text_in_a_case_with_data_comes_out_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Finding("DA01", HOSTILE, "found", "warning", HOSTILE, HOSTILE, 1.0, 2.0, HOSTILE)
    monkeypatch.setattr("thalweg.report.build._findings", lambda _: (found,))  # of such a class, without computing it
    generator = np.random.default_rng(0)
    labels = (np.arange(300) % len(CLASSES)).astype(np.int32)
    features = generator.normal(size=(300, 6)).astype(np.float32) + np.eye(10, 6, dtype=np.float32)[labels]
    names = tuple(f"{HOSTILE}{i}" for i in range(6))
    data = tw.Dataset(HOSTILE, HOSTILE, Split(features, labels), CLASSES, feature_names=names)
    case = made_case(data, messages=(HOSTILE,), settings={**made_run(1, diverged=0).settings, "data": HOSTILE})
    report = build_report(case, curvature=False)
    assert report.faults == ()
    reader = check(render(page_of(report)))
    assert any("img src=x" in text for text in reader.text("td"))


def test_hostile_text_in_a_path_comes_out_escaped() -> None:
    path = made_path(messages=(HOSTILE,))
    usual = {
        "losses": ["softmax"], "class_weights": [None], "strengths": [s.strength for s in path.solutions],
        "example_weights": False, "data": HOSTILE, "label": HOSTILE, "selection": HOSTILE,
    }  # fmt: skip
    assert path.choice is not None
    path = dataclasses.replace(
        path, data=dataclasses.replace(path.data, name=HOSTILE, source=HOSTILE, classes=(HOSTILE, "b", "c")),
        settings={**path.settings, **usual}, versions={HOSTILE: HOSTILE},
        choice=dataclasses.replace(path.choice, caveats=(HOSTILE,), edges=(HOSTILE,)),
    )  # fmt: skip
    reader = check(report_page(path, folder=HOSTILE))
    assert any("img src=x" in text for text in reader.text("p"))


def test_sections_have_keys_of_their_own_and_the_page_its_order() -> None:
    page = page_of(build_report(made_run(8)))
    keys = [section.key for section in page.sections]
    assert len(keys) == len(set(keys))
    assert (keys[0], keys[-1]) == ("verdict", "repeat")
    assert {"trials", "sensitivity", "diagnoses", "curves", "hyperparameters", "rates"} & set(keys)
    assert all(re.fullmatch(r"[a-z][a-z-]*", key) for key in keys)


def test_a_page_of_a_running_sweep_leaves_out_what_only_a_finished_one_has() -> None:
    run = made_run(6, diverged=1)
    trials = tuple(dataclasses.replace(trial, status=Status.training(3, 10)) for trial in run.trials)
    run = dataclasses.replace(run, trials=trials, selection=None, model=None, test=None, edges=())
    report = build_report(run, live=True)
    assert report.faults == ()
    assert report.findings is report.confusion is report.curvature is None
    reader = check(render(page_of(report), live=True))
    assert reader.text("h2")[0].startswith("Training 6 trials, ")
    assert "diagnoses" not in [a["id"] for a in reader.all("section")]


def test_a_fault_is_told_on_the_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("</script><img src=x onerror=alert(1)>")

    monkeypatch.setattr("thalweg.report.build.curves_record", broken)
    report = build_report(made_run(4, diverged=0), curvature=False)
    (fault,) = report.faults
    assert fault.startswith("curves: RuntimeError")
    assert isinstance(report.curves, Lacking)
    reader = check(render(page_of(report)))
    assert "Parts of this report could not be made." in reader.text("strong")
    assert "a fault of ours" in capsys.readouterr().err

"""Reports of runs that no one wishes for: always a page, never a fault of ours, and what is lacking said in words."""

from __future__ import annotations

import dataclasses
import gc
import math
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from class_cases import made_case
from report_cases import made_run, with_trials
from test_page import Reader, check
from test_path_section import made_path

import thalweg as tw
from thalweg.data import Split
from thalweg.diagnostics import Case
from thalweg.errors import UsageError
from thalweg.recipe_files import flatten
from thalweg.report.block import Lacking, Table
from thalweg.report.build import Report, build_report
from thalweg.report.page import render
from thalweg.report.records import common
from thalweg.report.records.hyperparameters import HyperparametersRecord
from thalweg.report.sections.all import page_of, render_all
from thalweg.run import Run
from thalweg.training.status import Status

MOST = 5_000_000  # bytes of a page


def page(run: Run | Case) -> tuple[Report, Reader]:
    """Build a run's report and read its page, which must be whole."""
    report = build_report(run, curvature=False)
    assert report.faults == ()
    text = render(page_of(report))
    assert len(text.encode()) < MOST
    reader = check(text)
    assert "nan" not in {words.strip().lower() for words in reader.cells}
    for record in vars(report).values():
        if isinstance(record, Lacking):
            assert len(record.why.split()) > 3
            assert record.why in " ".join(reader.text("p"))
    return report, reader


def changed(run: Run, **histories: float) -> Run:
    """Return the run with these values at the end of every trial's curves."""

    def of(trial: Any) -> Any:
        history = {name: values.copy() for name, values in trial.history.items()}
        for name, value in histories.items():
            history[name][-1] = value
        return dataclasses.replace(trial, history=history)

    return dataclasses.replace(run, trials=tuple(of(trial) for trial in run.trials))


def unselected(run: Run) -> Run:
    return with_trials(run, run.trials)


def untrained(run: Run) -> Run:
    trials = [
        dataclasses.replace(
            trial, status=Status.interrupted(0, 10), kept_epoch=0, history={name: np.empty(0) for name in trial.history}
        )
        for trial in run.trials
    ]
    return dataclasses.replace(with_trials(run, trials), interrupted=True)


RUNS = {
    "no epoch": lambda: untrained(made_run(6, diverged=0)),
    "all diverged": lambda: made_run(6, diverged=6),
    "all diverged in the first step": lambda: changed(
        made_run(6, diverged=6, epochs=1), data_loss=math.nan, validation_accuracy=math.nan, weight_norm=math.inf
    ),
    "all interrupted": lambda: made_run(6, diverged=0, interrupted=6),
    "diverged and pruned": lambda: made_run(6, diverged=3, pruned=3),
    "one trial": lambda: made_run(1, diverged=0),
    "one trial, diverged": lambda: made_run(1, diverged=1),
    "one recipe": lambda: made_run(1, diverged=0, space=tw.Recipe(batch_size=32, epochs=3)),
    "two trials, one epoch": lambda: made_run(2, diverged=0, epochs=1),
    "no accuracy": lambda: unselected(changed(made_run(6, diverged=0), validation_accuracy=math.nan)),
    "infinite losses": lambda: changed(made_run(6, diverged=2), validation_loss=math.inf, data_loss=math.inf),
    "negative infinity": lambda: changed(made_run(6, diverged=2), validation_loss=-math.inf, update_ratio=-math.inf),
    "huge losses": lambda: changed(made_run(6, diverged=2), validation_loss=3e38, data_loss=1e-45),
    "no losses": lambda: changed(made_run(6, diverged=2), validation_loss=math.nan, data_loss=math.nan),
    "every trial alike": lambda: changed(made_run(6, diverged=0), validation_accuracy=0.5, validation_loss=1.0),
    "no rates": lambda: made_run(6, diverged=0, optimizers=("random",)),
    "300 classes": lambda: made_run(6, diverged=1, classes=[f"class {i}" for i in range(300)], examples=900),
    "one feature": lambda: made_run(6, diverged=1, features=1),
    "seeds": lambda: made_run(4, diverged=2, seeds=3, optimizers=("adamw", "sgd", "lion")),
}


@pytest.mark.parametrize("name", RUNS)
def test_every_run_has_a_page(name: str) -> None:
    run = RUNS[name]()
    report, reader = page(run)
    assert reader.text("h2")[0]
    # The data is not at hand: what would show examples says so, and says what to do.
    assert isinstance(report.confusion, Lacking)
    assert isinstance(report.mistakes, Lacking)
    counted = {trial.status.name for trial in run.trials}
    shown = " ".join([*reader.text("dd"), *reader.cells, *reader.text("h2")])
    assert all(status in shown for status in counted)


def test_a_run_without_a_trial_has_a_page() -> None:
    report, _ = page(with_trials(made_run(1, diverged=0), []))
    assert isinstance(report.trials, Lacking)


def cut(classes: int, features: int, test: np.ndarray | None, train: int = 120) -> tw.Dataset:
    generator = np.random.default_rng(0)

    def split(labels: np.ndarray) -> Split:
        drawn = generator.normal(size=(len(labels), features)) + 0.5 * labels[:, None] / classes
        return Split(drawn.astype(np.float32), labels.astype(np.int32))

    labels = np.arange(max(train, 2 * classes)) % classes
    names = tuple(f"class {i}" for i in range(classes))
    return tw.Dataset(
        "cut", "cut", split(labels), names, validation=split(labels[: max(30, classes)]),
        test=None if test is None else split(test),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("classes", "features", "test"),
    [(3, 4, np.full(20, 1)), (3, 1, np.arange(30) % 3), (300, 3, np.arange(300)), (2, 4, np.zeros(1))],
    ids=["one class in the test split", "one feature", "300 classes", "one test example"],
)
def test_every_case_has_a_page(classes: int, features: int, test: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    if len(test) != 20:  # the diagnoses have tests of their own, and compile for each shape
        monkeypatch.setattr("thalweg.report.build._findings", lambda _: ())
    report, reader = page(made_case(cut(classes, features, test)))
    assert not isinstance(report.confusion, Lacking)
    assert len(reader.text("h2")) >= 5


def test_a_thousand_trials_of_a_hundred_epochs_stay_small() -> None:
    run = made_run(1000, diverged=60, pruned=100, epochs=100, optimizers=("adamw", "sgd"))
    report, reader = page(run)
    assert report.trials is not None
    assert not isinstance(report.trials, Lacking)
    assert len(report.trials.rows) == 1000
    assert any("of 1000 rows" in text for text in reader.text("p"))


# -- what fails all the same -------------------------------------------------------------------------------------------


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("it broke")


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("build.verdict_record", "verdict"),
        ("build.repeat_record", "repeat"),
        ("sections.all.verdict_section", "verdict"),
        ("sections.all.trials_section", "trials"),
        ("sections.all._subtitle", ""),
    ],
)
def test_a_fault_anywhere_leaves_the_other_sections(place: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"thalweg.report.{place}", broken)
    page = page_of(build_report(made_run(4, diverged=0), curvature=False))
    reader = check(render_all(page))
    assert {"verdict", "trials", "curves", "repeat"} <= {a["id"] for a in reader.all("section")}
    told = " ".join(reader.text("p"))
    assert "RuntimeError: it broke" in told
    assert ("It could not be made" in told) == bool(key)


def test_a_section_that_cannot_be_written_leaves_the_others() -> None:
    page = page_of(build_report(made_run(4, diverged=0), curvature=False))
    odd = dataclasses.replace(page.sections[1], parts=(Table(("a",), 3),))  # type: ignore[arg-type]
    page = dataclasses.replace(page, sections=(page.sections[0], odd, *page.sections[2:]))
    reader = check(render_all(page))
    assert [a["id"] for a in reader.all("section")] == [one.key for one in page.sections]
    assert f"writing of {odd.key}: TypeError" in " ".join(reader.text("p"))


@pytest.mark.report
def test_a_report_that_fails_is_a_warning_after_the_run_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for made, error, told in (
        (made_run(2, diverged=0), UsageError("the disk is full"), "the disk is full; thalweg report"),
        (made_path(), RuntimeError("odd"), "RuntimeError: odd: a fault of ours"),
    ):
        monkeypatch.setattr("thalweg.report.write.report_page", Mock(side_effect=error))
        with pytest.warns(UserWarning, match=told) as warned:
            place = made.save(tmp_path / type(made).__name__)
        assert (place / "run.json").is_file()
        assert not (place / "report.html").exists()
        assert warned[0].filename == __file__


def test_each_recipe_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = made_run(12, diverged=1)
    counted = Mock(side_effect=flatten)
    monkeypatch.setattr("thalweg.report.records.common.flatten", counted)
    gc.collect()
    before = set(common._ROWS)
    report = build_report(run, curvature=False)
    assert isinstance(report.hyperparameters, HyperparametersRecord)
    assert counted.call_count == 12
    own = {id(trial) for trial in run.trials}
    assert own <= set(common._ROWS)
    del report, run
    gc.collect()
    assert not own & (set(common._ROWS) - before)

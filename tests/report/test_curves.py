"""The loss curves of a report: what the record holds, what the picture shows of it, and how large it may become."""

from __future__ import annotations

import dataclasses
import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from report_cases import made_run, with_trials

from thalweg.report.block import Lacking, Picture
from thalweg.report.records.curves import PANELS, CurvesRecord, curves_record
from thalweg.report.sections.curves import curves_section
from thalweg.run import Run, Trial
from thalweg.training.status import Status


@pytest.fixture(scope="module")
def run() -> Run:
    return made_run(16, diverged=3, pruned=2, epochs=12)


def with_history(trial: Trial, **columns: Any) -> Trial:
    return dataclasses.replace(trial, history={**trial.history, **{k: np.asarray(v) for k, v in columns.items()}})


def known(run: Run, top: int = 5) -> CurvesRecord:
    record = curves_record(run, top)
    assert isinstance(record, CurvesRecord)
    return record


def picture(record: CurvesRecord) -> Picture:
    (found,) = curves_section(record).parts
    assert isinstance(found, Picture)
    return found


def drawn(record: CurvesRecord) -> ElementTree.Element:
    """The drawing as a tree: it must be well-formed."""
    return ElementTree.fromstring(f"<div>{picture(record).drawing}</div>")


def test_the_selected_trial_stands_first_and_all_others_are_there(run: Run) -> None:
    record = known(run)
    assert run.best is not None
    assert [curve.place for curve in record.coloured] == [0, 1, 2, 3, 4]
    assert record.coloured[0].trial == record.selected == run.best.number
    order = [t.number for t in run.ranked() if t.number != run.best.number][:4]
    assert [curve.trial for curve in record.coloured[1:]] == order
    assert sorted(curve.trial for curve in record.curves) == list(range(16))
    for curve in record.curves:
        trial = run.trials[curve.trial]
        assert curve.kept_epoch == trial.kept_epoch
        if curve.left is None:
            for name in PANELS:
                np.testing.assert_array_equal(curve.values[name], trial.history[name])
    assert re.fullmatch(r"trial \d+: AdamW, rate [\d.e-]+, accuracy 0\.\d{3}", record.coloured[0].words)


def test_diverged_trials_end_at_their_last_finite_epoch_with_a_cross(run: Run) -> None:
    record = known(run)
    assert sorted(c.trial for c in record.diverged) == [t.number for t in run.trials if t.status.name == "diverged"]
    for curve in record.diverged:
        assert curve.left == 5  # of 6 trained, the last not finite
        for name in PANELS:
            assert np.isfinite(curve.values[name]).tolist() == [True] * 5 + [False]
        assert curve.place is None
    crosses = [use for use in drawn(record).iter("use") if use.get("href") == "#m-cross" and use.get("data-tip")]
    assert len(crosses) == 3 * len(PANELS)
    assert all("left the finite numbers after epoch 5" in use.get("data-tip", "") for use in crosses)
    assert "3 diverged" in record.summary


def test_a_line_runs_through_its_values(run: Run) -> None:
    record = known(run)
    curve, trial = record.coloured[0], run.trials[record.coloured[0].trial]
    lines = [p for p in drawn(record).iter("path") if p.get("data-trial") == str(curve.trial)]
    assert len(lines) == len(PANELS)
    one = record.ranges["data_loss"]
    assert one.log
    numbers = np.array(re.findall(r"-?\d+", lines[0].get("d", "")), float).reshape(-1, 2)
    # Straight in the epoch and in log(loss), whatever the margins are; coordinates are rounded to whole numbers.
    for got, want, most in (
        (numbers[:, 0], np.arange(1, 13), 1),
        (-numbers[:, 1], np.log(trial.history["data_loss"]), 1),
    ):
        slope, offset = np.polyfit(want, got, 1)
        assert slope > 0
        assert np.abs(slope * want + offset - got).max() <= most


def test_the_summary_says_where_the_selected_trial_ends(run: Run) -> None:
    best = run.best
    assert best is not None
    kept = dataclasses.replace(best, kept_epoch=7)
    changed = dataclasses.replace(run, trials=tuple(kept if t is best else t for t in run.trials))
    record = known(changed)
    training, validation = (float(best.history[name][6]) for name in ("data_loss", "validation_loss"))
    assert f"training loss {training:.3g} and validation loss {validation:.3g}" in record.summary
    assert f"validation {validation - training:.2g} above" in record.summary
    assert "after epoch 7 of 12" in record.summary
    rings = [use for use in drawn(record).iter("use") if use.get("href") == "#m-ring"]
    assert len(rings) == len(PANELS)
    assert all("epoch 7, whose weights are kept" in use.get("data-tip", "") for use in rings)
    rows = [row for row in record.table if row[0] == best.number]
    assert (best.number, 7, *(float(best.history[name][6]) for name in PANELS)) in rows
    table = picture(record).table
    assert table is not None
    assert table.strong is not None
    assert table.rows[table.strong][:2] == (best.number, 7)


def test_what_is_far_off_does_not_set_the_scale(run: Run) -> None:
    worst = [trial for trial in run.ranked() if trial.status.finished][-1]
    wild = with_history(worst, data_loss=np.full(len(worst.history["data_loss"]), 1e9))
    changed = dataclasses.replace(run, trials=tuple(wild if t is worst else t for t in run.trials))
    record = known(changed)
    one = record.ranges["data_loss"]
    best = max(run.trials[c.trial].history["data_loss"].max() for c in record.coloured)
    assert one.high == pytest.approx(max(best, 1.5 * math.log(3)))
    assert one.above == 1 + sum(bool(np.any(t.history["data_loss"] > one.high)) for t in run.trials)
    assert any(f"{one.above} curve" in note and "cut off" in note for note in record.notes)


@pytest.mark.parametrize("place", range(2))
def test_the_axis_goes_by_factors_where_values_span_more_than_five(run: Run, place: int) -> None:
    span = (4.9, 5.1)[place]
    columns = {"data_loss": np.geomspace(0.2 * span, 0.2, 12), "validation_loss": np.zeros(12)}
    trials = [with_history(t, **columns) for t in run.trials if t.status.finished]
    record = known(with_trials(run, trials))
    assert record.ranges["data_loss"].log is bool(place)
    assert record.ranges["validation_loss"].log is False


def test_a_thousand_trials_stay_small(run: Run) -> None:
    epochs = np.arange(1, 101)
    noise = np.random.default_rng(0).normal(size=(20, 100))
    template = next(t for t in run.trials if t.status.finished)
    trials = []
    for i in range(1000):
        loss = np.exp(-epochs / 30 + 0.1 * noise[i % 20]) + i / 1000
        columns = {"data_loss": loss, "validation_loss": loss + 0.1, "validation_accuracy": np.exp(-loss)}
        one = dataclasses.replace(with_history(template, **columns), kept_epoch=37 + i % 3)
        trials.append(one if i % 50 else dataclasses.replace(one, status=Status.diverged(5, 100)))
    record = known(with_trials(run, trials))
    assert len(record.curves) == 1000
    for curve in record.curves:
        assert {1, 100, curve.kept_epoch} <= set(curve.epochs.tolist())
        assert len(curve.epochs) <= (53 if curve.place is None else 100)
    assert any("Grey curves are drawn at up to 5" in note and "of 100 epochs" in note for note in record.notes)
    drawing = picture(record).drawing
    assert len(drawing.encode()) < 2e6
    assert len(record.table) <= 60
    assert drawing.count("data-trial") >= 3000


def test_runs_that_hold_little() -> None:
    one = known(made_run(1, diverged=0, epochs=1))
    assert len(one.coloured) == 1
    assert one.summary.startswith("1 trial: 1 completed.")
    assert drawn(one) is not None
    gone = made_run(4, diverged=4, epochs=8)
    record = known(gone)
    assert record.coloured == ()
    assert "none is in colour" in record.summary
    assert drawn(record) is not None
    empty = [
        dataclasses.replace(t, kept_epoch=0, history={k: v[:0] for k, v in t.history.items()}) for t in gone.trials
    ]
    lacking = curves_record(with_trials(gone, empty))
    assert isinstance(lacking, Lacking)
    assert curves_section(lacking).parts == (lacking,)
    half = known(with_trials(gone, [*empty[:2], *gone.trials[2:]]))
    assert any(note.startswith("2 trials have no epoch") for note in half.notes)
    all_nan = [with_history(t, **{k: np.full(4, math.nan) for k in PANELS}) for t in gone.trials]
    assert isinstance(curves_record(with_trials(gone, all_nan)), Lacking)


def test_no_epoch_of_a_trial_was_finite(run: Run) -> None:
    lost = next(t for t in run.trials if t.status.name == "diverged")
    never = with_history(lost, **{k: np.full(6, math.inf) for k in PANELS})
    record = known(dataclasses.replace(run, trials=tuple(never if t is lost else t for t in run.trials)))
    curve = next(c for c in record.curves if c.trial == lost.number)
    assert curve.left == 0
    crosses = [u for u in drawn(record).iter("use") if u.get("href") == "#m-cross" and u.get("data-trial")]
    mine = [u for u in crosses if u.get("data-trial") == str(lost.number)]
    assert len(mine) == len(PANELS)
    assert all("no epoch with a finite loss" in u.get("data-tip", "") for u in mine)


def test_without_a_validation_loss_its_panel_is_left_out(run: Run) -> None:
    trials = [with_history(t, validation_loss=np.full(len(t.history["data_loss"]), math.nan)) for t in run.trials]
    record = known(dataclasses.replace(run, trials=tuple(trials)))
    assert list(record.ranges) == ["data_loss", "validation_accuracy"]
    assert "There is no validation loss to draw." in record.notes
    assert picture(record).drawing.count('class="plot"') == 2


def test_those_that_lead_are_in_colour_before_any_has_ended(run: Run) -> None:
    going = [dataclasses.replace(t, status=Status.interrupted(6, 12)) for t in run.trials if t.status.finished]
    record = known(with_trials(run, going))
    assert len(record.coloured) == 5
    assert record.selected is None
    assert "lead so far" in record.summary


@pytest.mark.parametrize("top", [1, 3, 30])
def test_labels_at_the_ends_keep_apart(run: Run, top: int) -> None:
    found = drawn(known(run, top))
    panels = [svg for svg in found.iter("svg") if svg.get("class") == "area-box"]
    assert len(panels) == len(PANELS)
    for panel in panels:
        texts = [t for t in panel.iter("text") if (t.text or "").startswith("trial ")]
        assert len(texts) == min(top, 11)
        downs = sorted(float(t.get("y", "")) + float(t.get("dy", "")) for t in texts)
        assert all(b - a >= 11 for a, b in pairwise(downs))

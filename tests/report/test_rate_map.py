"""The map of two searched numbers: where each trial lies, what each cell holds, and what the picture says."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from report_cases import made_run, with_trials

import thalweg as tw
from thalweg.optimizers import SGD
from thalweg.penalties import L2
from thalweg.ranges import choice, integers, log_uniform, uniform
from thalweg.report.block import Lacking, Picture
from thalweg.report.page import Page, render
from thalweg.report.records.hyperparameters import hyperparameters_record
from thalweg.report.records.rate_map import RateMapRecord, rate_map_record
from thalweg.report.sections.rate_map import rate_map_section, shades
from thalweg.run import Run


def record_of(run: Run) -> RateMapRecord:
    record = rate_map_record(run)
    assert isinstance(record, RateMapRecord)
    return record


def picture_of(record: RateMapRecord) -> Picture:
    part = rate_map_section(record).parts[0]
    assert isinstance(part, Picture)
    return part


def space(**parts: object) -> tw.Recipe:
    return tw.Recipe(**{"optimizer": SGD(0.1), "batch_size": 16, "epochs": 2, **parts})  # type: ignore[arg-type]


def test_each_cell_holds_the_best_of_its_trials() -> None:
    run = made_run(64, diverged=9, pruned=6)
    record = record_of(run)
    assert record.x.name == "optimizer.learning_rate.then.peak"
    assert record.y.name == "optimizer.weight_decay"
    assert record.best.shape == (8, 8)
    assert record.x.edges is not None
    np.testing.assert_allclose(record.x.edges, 10 ** np.linspace(-4, 0, 9))
    expected: dict[tuple[int, int], list] = {}
    for trial in run.trials:
        optimizer = trial.recipe.optimizer
        place = [int(np.floor((np.log10(v) + 4) * 2)) for v in (optimizer.weight_decay, optimizer.learning_rate.base)]
        expected.setdefault((place[0], place[1]), []).append(trial)
    for cell in np.ndindex(8, 8):
        trials = expected.get(cell, [])
        done = [t.validation_accuracy for t in trials if t.status.finished]
        assert record.trials[cell] == len(trials)
        assert record.diverged[cell] == sum(t.status.name == "diverged" for t in trials)
        assert record.cut[cell] == sum(t.status.name == "pruned" for t in trials)
        np.testing.assert_equal(record.best[cell], max(done, default=np.nan))
        assert record.only_diverged[cell] == (bool(trials) and all(t.status.name == "diverged" for t in trials))
    assert run.best is not None
    assert record.winner is not None
    assert run.best in expected[record.winner]
    assert record.left_out == 0


@pytest.mark.parametrize(("trials", "side"), [(6, 3), (24, 5), (100, 8)])
def test_the_grid_grows_with_the_trials(trials: int, side: int) -> None:
    assert record_of(made_run(trials, diverged=0)).best.shape == (side, side)


def test_the_ends_of_a_range_lie_within() -> None:
    record = record_of(made_run(20, diverged=0))
    assert record.x.cell(np.array([1e-4, 1.0])).tolist() == [0, record.x.cells - 1]


def test_few_values_have_a_cell_each() -> None:
    run = made_run(9, diverged=0, space=space(optimizer=SGD(choice(0.1, 0.001, 0.01)), penalty=L2(choice(1e-3, 1.0))))
    record = record_of(with_trials(run, run.trials))
    assert record.x.values is not None
    assert record.x.values.tolist() == [0.001, 0.01, 0.1]
    assert (record.x.name, record.y.name) == ("optimizer.learning_rate.value", "penalty.strength")
    assert record.trials.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert record.x.ends(1) == (0.01,)
    table = picture_of(record).table
    assert table is not None
    assert len(table.columns) == len(table.rows[0]) == 5
    assert ">0.001</text>" in picture_of(record).drawing


def test_without_a_decay_the_two_most_telling_numbers_are_taken() -> None:
    many = space(optimizer=SGD(log_uniform(1e-3, 1.0)), epochs=integers(2, 5), clip=uniform(0.5, 2.0))
    run = made_run(40, diverged=3, space=many)
    record, ranked = record_of(run), hyperparameters_record(run)
    assert not isinstance(ranked, Lacking)
    assert {record.x.name, record.y.name} == {one.name for one in ranked.hyperparameters[:2]}
    assert record.x.name == "optimizer.learning_rate.value"
    assert rate_map_record(ranked) is not None


def test_trials_without_both_numbers_are_counted() -> None:
    run = made_run(60, diverged=4, optimizers=("adamw", "sgd"))
    record = record_of(run)
    assert record.left_out == sum(isinstance(trial.recipe.optimizer, SGD) for trial in run.trials) > 0
    assert record.trials.sum() + record.left_out == 60
    assert f"{record.left_out} trials have not both numbers" in picture_of(record).summary


@pytest.mark.parametrize(
    ("trials", "parts"),
    [(4, {}), (1, {}), (12, {"optimizer": SGD(log_uniform(1e-3, 1.0))}), (2, {"batch_size": choice(8, "full")})],
    ids=["few", "one", "one number", "words"],
)
def test_where_there_is_no_map_the_reason_is_said(trials: int, parts: dict) -> None:
    record = rate_map_record(made_run(trials, diverged=0, space=space(**parts) if parts else None))
    assert isinstance(record, Lacking)
    assert rate_map_section(record).parts == (record,)


def test_all_diverged() -> None:
    record = record_of(made_run(16, diverged=16))
    assert record.top is None
    picture = picture_of(record)
    assert "No trial finished" in picture.summary
    assert picture.drawing.count("#m-cross") == int((record.trials > 0).sum()) + 1


def test_the_picture_has_a_cell_for_each_that_was_tried_and_outlines_the_winners() -> None:
    record = record_of(made_run(64, diverged=9, pruned=20))
    drawing = picture_of(record).drawing
    assert drawing.count('class="cell') == int((record.trials > 0).sum())
    assert drawing.count('class="cell none"') == int(((record.trials > 0) & np.isnan(record.best)).sum())
    assert drawing.count('class="line ink d0 thick"') + drawing.count('class="line ink thick"') == 1
    dashes = np.isnan(record.best) & (record.trials > record.diverged)
    assert dashes.any()
    assert drawing.count(">–</text>") == dashes.sum()
    assert drawing.count("#m-cross") == record.only_diverged.sum() + 1
    texts = re.findall(r'<text class="in h\d"[^>]*>([\d.]+)<', drawing)
    np.testing.assert_allclose(
        sorted(map(float, texts)), sorted(100 * record.best[np.isfinite(record.best)]), atol=0.0501
    )


def test_shades_go_from_the_lowest_to_the_highest() -> None:
    best = np.array([[0.5, 0.9], [np.nan, 0.7]])
    assert shades(best).tolist() == [[0, 8], [-1, 4]]
    assert shades(np.array([[0.5, np.nan]])).tolist() == [[8, -1]]
    assert shades(np.array([[np.nan]])).tolist() == [[-1]]


def test_the_table_is_of_cells_the_best_first() -> None:
    record = record_of(made_run(64, diverged=9))
    table = picture_of(record).table
    assert table is not None
    accuracies = [row[4] for row in table.rows if row[4] is not None]
    assert accuracies == sorted(accuracies, reverse=True)  # type: ignore[type-var]
    assert sum(row[5] for row in table.rows) == 64  # type: ignore[misc]
    assert table.strong is not None
    (low, high, first, last, *_), (row, column) = table.rows[table.strong], record.winner or (-1, -1)
    assert (low, high) == record.x.ends(column)
    assert (first, last) == record.y.ends(row)


def test_hostile_names_are_text() -> None:
    record = record_of(made_run(16))
    named = dataclasses.replace(record.x, short="</script><img src=x>" * 9)
    page = render(Page("t", "s", (rate_map_section(dataclasses.replace(record, x=named)),)))
    assert "<img" not in page
    assert "&lt;img" in page


def test_rates_of_several_schedules_are_mapped_over_what_was_tried() -> None:
    record = record_of(made_run(60, diverged=4, optimizers=("adamw", "lion", "sgd")))
    assert record.x.name == "optimizer.learning_rate"
    assert record.trials.any(axis=0)[[0, -1]].all()

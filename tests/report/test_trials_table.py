"""The trial table: what was searched, seeds grouped, ranking, verdicts, and names that stay short and apart."""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_cases import SPACES, made_run, with_trials

import thalweg as tw
from thalweg.optimizers import SGD, Adam, AdamW
from thalweg.ranges import Choice, log_uniform
from thalweg.report.block import Lacking, Table
from thalweg.report.records import common
from thalweg.report.records.trials import TrialRow, TrialTable, trial_table
from thalweg.report.sections.trials import trials_section
from thalweg.run import Run, Trial
from thalweg.schedules import Constant, Cosine
from thalweg.training.status import Status


def known(run: Run) -> TrialTable:
    record = trial_table(run)
    assert isinstance(record, TrialTable)
    return record


def shown(run: Run) -> Table:
    (table,) = trials_section(known(run)).parts
    assert isinstance(table, Table)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert len(table.rows) == len(table.marks) == len(table.states)
    return table


def column(table: Table, name: str) -> list[object]:
    return [row[table.columns.index(name)] for row in table.rows]


def order_of(run: Run) -> list[int]:
    """The recipes of `Run.ranked`, each at its first seed, by their least number."""
    of = {number: min(group) for group in common.seeds_of(run) for number in group}
    return list(dict.fromkeys(of[trial.number] for trial in run.ranked()))


@pytest.mark.parametrize("more", [{}, {"seeds": 3}, {"pruned": 5}, {"optimizers": ("adamw", "sgd", "random")}])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_ranking_is_that_of_the_run(more: dict[str, object], seed: int) -> None:
    run = made_run(20, diverged=0, seed=seed, **more)  # type: ignore[arg-type]
    rows = {min(row.trials): row for row in known(run).rows}
    ranked = order_of(run)
    assert set(rows) == set(ranked)
    assert [row.accuracy for row in rows.values()] == pytest.approx([rows[i].accuracy for i in ranked])
    if run.settings["seeds"] == 1:  # of recipes with one mean the selection takes the least loss, as the table does
        assert list(rows) == ranked
    assert run.selection is not None
    assert run.selection.best in known(run).rows[0].trials


def test_diverged_trials_have_no_accuracy_and_stand_last() -> None:
    run = made_run(12, diverged=4, pruned=2)
    best = run.best
    assert best is not None
    # The last epoch of one that diverged may look the best of all; what was cut short is below what finished.
    high = np.full(5, 0.999)
    trials = [
        trial
        if trial.status.finished
        else dataclasses.replace(trial, history={**trial.history, "validation_accuracy": high})
        for trial in run.trials
    ]  # fmt: skip
    record = known(dataclasses.replace(run, trials=tuple(trials)))
    states = [row.status for row in record.rows]
    assert states == [*["completed"] * 6, "pruned", "pruned", *["diverged"] * 4]
    assert record.rows[0].trials == (best.number,)
    assert [math.isnan(row.accuracy) for row in record.rows] == [*[False] * 8, *[True] * 4]
    table = trials_section(record).parts[0]
    assert isinstance(table, Table)
    assert column(table, "rank") == [*range(1, 9), *[None] * 4]
    assert column(table, "validation accuracy")[-4:] == [None] * 4
    assert all("left the finite numbers" in str(why) for why in column(table, "why")[-4:])


def test_seeds_are_one_row_with_mean_and_spread() -> None:
    run = made_run(6, diverged=1, seeds=3)
    record = known(run)
    assert record.seeds == 3
    assert len(record.rows) == 6
    assert sorted(number for row in record.rows for number in row.trials) == list(range(18))
    for row in record.rows:
        done = [run.trials[i] for i in row.trials if run.trials[i].status.finished]
        accuracies = [trial.validation_accuracy for trial in done]
        assert row.accuracy == pytest.approx(statistics.mean(accuracies))
        assert row.spread == pytest.approx(statistics.stdev(accuracies))
        assert row.loss == pytest.approx(statistics.mean(trial.validation_loss for trial in done))
        assert row.training_loss == pytest.approx(statistics.mean(float(t.history["data_loss"][-1]) for t in done))
        assert run.trials[row.trials[0]].validation_accuracy == max(accuracies)
    (mixed,) = [row for row in record.rows if row.diverged]
    assert (mixed.status, mixed.diverged, len(mixed.trials)) == ("mixed", 1, 3)
    assert "left the finite numbers" in mixed.reason
    table = shown(run)
    assert sorted(str(words) for words in column(table, "seeds")) == [*["3"] * 5, "3 (1 diverged)"]
    assert "3 seeds each" in trials_section(record).lead
    assert "why" in table.columns


def test_the_selected_seed_names_its_row() -> None:
    """Of seeds with one accuracy the selection takes that of the least loss, and so does the table."""
    run = made_run(3, diverged=0, seeds=4)
    assert run.selection is not None
    even = [
        dataclasses.replace(trial, history={**trial.history, "validation_accuracy": np.full(10, 0.5),
                                            "validation_loss": np.full(10, 1.0 - 0.01 * trial.number)})
        for trial in run.trials
    ]  # fmt: skip
    assert {row.trials[0] for row in known(dataclasses.replace(run, trials=tuple(even))).rows} == {3, 7, 11}


def test_the_winner_and_what_ties_with_it_are_told() -> None:
    run = made_run(16, rule="one-standard-error", seed=2)
    assert run.selection is not None
    record = known(run)
    assert record.selected is not None
    assert record.rows[record.selected].trials == (run.selection.best,)
    told = {row.trials[0]: row.verdict for row in record.rows}
    assert {i for i, verdict in told.items() if verdict == "tied"} == set(run.selection.tied)
    assert {i for i, verdict in told.items() if verdict == "more accurate"} == set(run.selection.better)
    assert {row.trials[0]: row.p_value for row in record.rows if row.p_value is not None} == dict(
        run.selection.p_values
    )
    table = shown(run)
    assert table.strong == record.selected
    assert table.marks == tuple(row.trials[0] for row in record.rows)
    assert "McNemar" in trials_section(record).lead


def test_nothing_selected_is_no_verdict() -> None:
    run = made_run(5, diverged=5)
    record = known(run)
    assert record.selected is None
    assert {row.verdict for row in record.rows} == {""}
    table = shown(run)
    assert table.strong is None
    assert "p" not in table.columns
    assert "McNemar" not in trials_section(record).lead


def test_interrupted_trials_are_ranked_by_what_they_had() -> None:
    run = made_run(6, diverged=0, interrupted=6)
    rows = known(run).rows
    assert [min(row.trials) for row in rows] == order_of(run)
    assert all(math.isfinite(row.accuracy) for row in rows)
    assert not any(row.finished for row in rows)


def test_a_trial_without_an_epoch_has_a_row() -> None:
    run = made_run(4, diverged=0)
    empty = dataclasses.replace(
        run.trials[0], status=Status.interrupted(0, 10), history={name: np.empty(0) for name in run.trials[0].history},
        kept_epoch=0,
    )  # fmt: skip
    run = with_trials(run, [empty, *run.trials[1:]])
    last = known(run).rows[-1]
    assert last.trials == (0,)
    assert math.isnan(last.accuracy)
    assert math.isnan(last.training_loss)
    assert column(shown(run), "kept epoch")[-1] is None


def test_no_trial_is_lacking() -> None:
    run = dataclasses.replace(with_trials(made_run(1, diverged=0), []))
    record = trial_table(run)
    assert isinstance(record, Lacking)
    assert trials_section(record).parts == (record,)


def test_thousands_of_rows_are_cut_and_counted() -> None:
    run = made_run(1, diverged=0)
    row = known(run).rows[0]
    many = tuple(dataclasses.replace(row, trials=(i,), verdict="") for i in range(2500))
    (table,) = trials_section(TrialTable((), (), many, 1)).parts
    assert isinstance(table, Table)
    assert (len(table.rows), table.total, table.strong) == (2000, 2500, None)


def test_a_hyperparameter_called_as_a_column_keeps_its_own() -> None:
    row = TrialRow((0,), "completed", 0, True, 0.5, None, 1.0, 1.0, 3, "", None, "", (0.25,))
    (table,) = trials_section(TrialTable(("extra.p",), ("p",), (row,), 1)).parts
    assert isinstance(table, Table)
    assert column(table, "p") == ["0.25"]
    assert "why" not in table.columns


# -- what was searched, and its names ---------------------------------------------------------------------------------


def test_only_what_differs_was_searched() -> None:
    run = made_run(8)
    found = common.searched(run)
    assert set(found) == {"optimizer.learning_rate.then.peak", "optimizer.weight_decay"}
    rows = [common.flat(trial) for trial in run.trials]
    assert all(values == [row[name] for row in rows] for name, values in found.items())
    assert common.searched(made_run(1, diverged=0)) == {}
    assert common.searched(with_trials(run, [])) == {}
    assert common.searched(made_run(1, diverged=0, seeds=4)) == {}  # seeds are no hyperparameter


def test_what_comes_with_a_kind_was_not_searched() -> None:
    space = tw.Recipe(
        optimizer=Choice((Adam(log_uniform(1e-4, 1e-1)), SGD(log_uniform(1e-3, 1.0), momentum=0.9))),
        batch_size=32, epochs=4,
    )  # fmt: skip
    found = common.searched(made_run(24, space=space))
    assert "optimizer.kind" in found
    assert not [name for name in found if "beta" in name or "momentum" in name or "epsilon" in name]
    space = tw.Recipe(optimizer=Choice((SGD(0.1), SGD(0.1, momentum=0.9))), batch_size=32, epochs=4)
    (name,) = common.searched(made_run(2, diverged=0, space=space))
    assert name.startswith("optimizer.momentum")


def test_names_are_shortened_as_people_say_them() -> None:
    names = (
        "optimizer.learning_rate.then.peak", "optimizer.weight_decay", "penalty.strength", "loss.kind", "batch_size",
        "optimizer.momentum.value", "optimizer.learning_rate.warmup.steps",
    )  # fmt: skip
    assert tuple(common.short_names(names).values()) == (
        "learning_rate.peak", "weight_decay", "strength", "loss", "batch_size", "momentum", "warmup.steps",
    )  # fmt: skip
    assert tuple(common.short_names(["a.rate", "b.rate"]).values()) == ("a.rate", "b.rate")
    assert tuple(common.short_names(["a.then.rate", "a.rate"]).values()) == ("then.rate", "a.rate")
    assert common.short_names([]) == {}


part = st.sampled_from(["a", "b", "peak", "steps", "kind", "then", "value", "rate"])
dotted = st.lists(part, max_size=4).map(lambda parts: ".".join(["field", *parts]))


@given(st.lists(dotted, unique=True, max_size=8))
def test_short_names_are_never_empty_and_never_the_same(names: list[str]) -> None:
    short = common.short_names(names)
    assert list(short) == names
    assert all(short.values())
    assert len(set(short.values())) == len(names)


def with_optimizer(optimizer: object) -> Trial:
    trial = made_run(1, diverged=0).trials[0]
    return dataclasses.replace(trial, recipe=dataclasses.replace(trial.recipe, optimizer=optimizer))


def test_rates_and_optimizers_by_name() -> None:
    assert common.peak_rate(with_optimizer(AdamW(Cosine(0.3, unit="run"), weight_decay=0.1))) == pytest.approx(0.3)
    assert common.peak_rate(with_optimizer(SGD(Constant(0.2)))) == pytest.approx(0.2)
    assert common.peak_rate(with_optimizer(SPACES["random"])) is None
    assert common.optimizer_of(with_optimizer(SGD(0.1))) == "SGD"
    assert common.optimizer_of(with_optimizer(SGD(0.1, momentum=0.9))) == "SGD, momentum"
    assert common.optimizer_of(with_optimizer(SGD(0.1, momentum=0.9, nesterov=True))) == "SGD, Nesterov"
    found = common.optimizers_of(made_run(16, optimizers=("adamw", "sgd")))
    assert sum(len(trials) for trials in found.values()) == 16
    assert set(found) == {"AdamW", "SGD"}


def test_outcomes_and_accuracies_of_trials() -> None:
    run = made_run(8, diverged=2, pruned=2)
    for trial in run.trials:
        name = trial.status.name
        assert common.outcome_of(trial) == {"completed": "finished", "pruned": "cut short"}.get(name, "diverged")
        assert math.isnan(common.accuracy_of(trial)) == (name == "diverged")
        assert common.finished(trial) == (name == "completed")

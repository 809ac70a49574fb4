"""Accuracy against each searched hyperparameter: which ones count, what they account for, and that all is shown."""

from __future__ import annotations

import dataclasses
import functools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_cases import made_run, with_trials
from scipy import stats

import thalweg as tw
from thalweg.losses import Hinge, Softmax
from thalweg.optimizers import SGD, AdamW
from thalweg.ranges import choice, integers, log_uniform, uniform
from thalweg.report.block import Lacking, Note, Picture
from thalweg.report.page import Page, render
from thalweg.report.records.hyperparameters import Hyperparameter, HyperparametersRecord, hyperparameters_record
from thalweg.report.records.rank_shares import chance, explained_share, merits, spearman
from thalweg.report.sections.hyperparameters import hyperparameters_section, panel_count
from thalweg.run import Run
from thalweg.schedules import Cosine
from thalweg.training.status import Status

HOSTILE = "</script><img src=x onerror=alert(1)>" * 6
WIDE = tw.Recipe(
    loss=choice(Softmax(), Hinge()),
    batch_size=choice(16, "full", 64, 256),
    optimizer=choice(
        SGD(log_uniform(1e-3, 1.0), momentum=choice(None, 0.9)),
        AdamW(Cosine(log_uniform(1e-4, 1.0)), weight_decay=choice(0.0, 1e-3, 1e-1), beta1=uniform(0.5, 0.99)),
    ),
    epochs=integers(3, 9),
    clip=choice(None, 1.0),
)


@functools.cache
def forty() -> HyperparametersRecord:
    return record_of(made_run(40, diverged=0))


@functools.cache
def wide() -> Run:
    return made_run(60, diverged=6, pruned=5, space=WIDE)


def record_of(run: Run) -> HyperparametersRecord:
    record = hyperparameters_record(run)
    assert isinstance(record, HyperparametersRecord)
    return record


def by_name(record: HyperparametersRecord) -> dict[str, Hyperparameter]:
    return {one.name: one for one in record.hyperparameters}


def picture_of(record: HyperparametersRecord) -> Picture:
    part = hyperparameters_section(record).parts[0]
    assert isinstance(part, Picture)
    return part


# --- which count ---


def test_what_was_searched_is_found_and_what_follows_from_a_kind_is_not() -> None:
    found = by_name(record_of(wide()))
    assert set(found) == {
        "loss.kind", "batch_size", "optimizer", "optimizer.learning_rate", "optimizer.weight_decay", "optimizer.beta1",
        "epochs", "clip",
    }  # fmt: skip
    assert (found["optimizer.learning_rate"].log, found["optimizer.learning_rate"].searched) == (True, (1e-4, 1.0))
    assert (found["epochs"].log, found["epochs"].searched) == (False, (3.0, 9.0))
    assert (found["optimizer.beta1"].log, found["optimizer.beta1"].searched) == (False, (0.5, 0.99))
    assert [one.word for one in found["batch_size"].choices] == ["16", "64", "256", "full"]
    assert [one.word for one in found["clip"].choices] == ["1", "none"]
    assert {one.word for one in found["optimizer"].choices} == {"SGD", "SGD, momentum", "AdamW"}
    # A list with 0 in it cannot stand on a log axis, and on a linear one 0 and 0.001 would coincide.
    assert [one.word for one in found["optimizer.weight_decay"].choices] == ["0", "0.001", "0.1"]


def test_a_trial_without_the_hyperparameter_has_no_value() -> None:
    run = wide()
    one = by_name(record_of(run))["optimizer.beta1"]
    assert one.values is not None
    for trial, value in zip(run.trials, one.values, strict=True):
        optimizer = trial.recipe.optimizer
        assert value == optimizer.beta1 if isinstance(optimizer, AdamW) else math.isnan(value)


def test_the_summaries_of_the_choices_are_those_of_their_trials() -> None:
    run = wide()
    for choice_ in by_name(record_of(run))["loss.kind"].choices:
        own = [t for t in run.trials if type(t.recipe.loss).__name__.lower() == choice_.word]
        done = [t.validation_accuracy for t in own if t.status.finished]
        assert choice_.trials == len(own)
        assert choice_.diverged == sum(t.status.name == "diverged" for t in own)
        assert (choice_.best, choice_.median) == (max(done), float(np.median(done)))


def test_choices_that_go_together_are_named_together() -> None:
    space = tw.Recipe(
        loss=choice(Softmax(), Hinge()), clip=choice(None, 1.0), batch_size=16, epochs=2, optimizer=SGD(0.1)
    )
    run = made_run(4, diverged=0, space=space)
    paired = [t for t in run.trials if (t.recipe.clip is None) == isinstance(t.recipe.loss, Softmax)]
    (one,) = record_of(with_trials(run, [*paired, *paired])).hyperparameters
    assert {one.name, *one.also} == {"loss.kind", "clip"}
    notes = [part.text for part in hyperparameters_section(record_of(with_trials(run, paired))).parts[1:]]  # type: ignore[union-attr]
    assert any("nothing tells them apart" in text for text in notes)


def test_numbers_from_a_list_stand_on_the_axis_that_spreads_them() -> None:
    space = tw.Recipe(batch_size=choice(8, 16, 512), epochs=choice(2, 3, 4), optimizer=SGD(0.1))
    found = by_name(record_of(made_run(9, diverged=0, space=space)))
    assert (found["batch_size"].log, found["epochs"].log) == (True, False)
    assert found["batch_size"].searched is None


def test_one_recipe_has_nothing_to_compare() -> None:
    record = hyperparameters_record(made_run(1, diverged=0))
    assert isinstance(record, Lacking)
    assert hyperparameters_section(record).parts == (record,)
    seeds = tw.Recipe(optimizer=SGD(0.1), batch_size=16, epochs=2)
    assert isinstance(hyperparameters_record(made_run(1, seeds=5, diverged=0, space=seeds)), Lacking)


# --- what they account for ---


def test_the_order_is_that_of_what_they_account_for() -> None:
    record = record_of(wide())
    shares = [one.explained for one in record.hyperparameters]
    assert shares == sorted(shares, key=lambda share: -(share or 0.0))
    assert record.hyperparameters[0].name == "optimizer.learning_rate"  # what `made_run` makes the accuracy of
    assert (record.judged, record.pruned) == (60, 5)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=8, max_size=30))
@settings(max_examples=40)
def test_epsilon_squared_is_one_way_anova_of_the_ranks(pairs: list[tuple[int, int]]) -> None:
    groups, merit = [g for g, _ in pairs], np.array([m for _, m in pairs], float)
    share = explained_share(groups, merit)
    ranks = stats.rankdata(merit)
    split = [ranks[np.array(groups) == g] for g in sorted({*groups})]
    n, k = len(pairs), len(split)
    if k < 2 or k >= n or len({*merit.tolist()}) < 2:
        assert share is None
        return
    # Of F = MS_between / MS_within: ε² = 1 − MS_within / MS_total.
    within = sum(float(np.sum((one - one.mean()) ** 2)) for one in split) / (n - k)
    expected = 1 - within / float(np.var(ranks, ddof=1))
    assert share == pytest.approx(max(0.0, expected), abs=1e-12)
    assert 0 <= share <= 1


def test_a_share_is_near_0_by_lot_and_1_where_the_group_settles_the_rank() -> None:
    generator = np.random.default_rng(0)
    by_lot = [explained_share(generator.integers(0, 5, 40).tolist(), generator.random(40)) for _ in range(200)]
    assert np.mean([share or 0.0 for share in by_lot]) < 0.06  # of negative ones, set to 0, the mean is not 0
    assert explained_share([0] * 5 + [1] * 5, np.array([1.0] * 5 + [2.0] * 5)) == 1.0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=8, max_size=30))
@settings(max_examples=40)
def test_spearman_is_scipys(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(column, float) for column in zip(*pairs, strict=True))
    mine = spearman(first, second)
    if len({*first}) < 2 or len({*second}) < 2:
        assert mine is None
    else:
        assert mine == pytest.approx(float(stats.spearmanr(first, second).statistic), abs=1e-12)


def test_a_diverged_trial_ranks_last_and_one_cut_short_not_at_all() -> None:
    merit = merits(np.array([0.5, np.nan, 0.9, 0.1]), ("finished", "diverged", "cut short", "finished"))
    np.testing.assert_array_equal(merit, [0.5, -np.inf, np.nan, 0.1])
    # The three highest rates diverge: without them the accuracy would rise with the rate.
    accuracy = np.array([*np.linspace(0.1, 0.8, 8), np.nan, np.nan, np.nan])
    outcomes = ("finished",) * 8 + ("diverged",) * 3
    assert spearman(np.arange(11.0), merits(accuracy, outcomes)) == pytest.approx(
        float(stats.spearmanr(np.arange(11), [*range(1, 9), 0, 0, 0]).statistic)
    )


def test_pruned_trials_rank_below_those_that_outlived_them() -> None:
    outcomes = ("finished", "cut short", "cut short", "cut short", "diverged", "cut short")
    rungs = np.array([np.nan, 1, 2, 1, np.nan, np.nan])
    merit = merits(np.array([0.1, 0.9, 0.3, 0.8, np.nan, 0.7]), outcomes, rungs)
    assert np.argsort(merit).tolist() == [4, 3, 1, 2, 0, 5]  # NaN, the interrupted one, is last and has no rank
    assert np.isnan(merit[5])
    assert -1 >= merit[2] > merit[1]


def test_what_sank_the_pruned_counts() -> None:
    """High rates sink a trial; among the survivors alone accuracy would seem to rise with the rate."""
    run = made_run(24, diverged=0, space=tw.Recipe(optimizer=SGD(log_uniform(1e-3, 1.0)), batch_size=16, epochs=2))
    by_rate = sorted(run.trials, key=lambda t: t.recipe.optimizer.learning_rate.base)
    made = []
    for place, trial in enumerate(by_rate):
        accuracy = 0.5 + 0.01 * place if place < 12 else 0.4
        history = trial.history | {"validation_accuracy": np.full(2, accuracy)}
        status = Status.completed(2) if place < 12 else Status.pruned(1, 1, accuracy, 12, 24)
        made.append(dataclasses.replace(trial, status=status, history=history, kept_epoch=1))
    made[0] = dataclasses.replace(made[0], status=Status.interrupted(1, 2))
    record = record_of(with_trials(run, made))
    assert (record.judged, record.pruned) == (23, 12)
    (rate,) = record.hyperparameters
    assert rate.correlation is not None
    assert rate.correlation < -0.5
    section = hyperparameters_section(record)
    said = " ".join(part.text for part in section.parts if isinstance(part, Note))
    assert "Not ranked: 1 trials that were interrupted" in said
    assert "Shares hold among the others only" in said
    assert "Pruned: 12 trials" in said
    assert "12 pruned ones rank below those that outlived them" in picture_of(record).summary


# --- what chance does ---


def test_the_p_value_is_that_of_all_permutations() -> None:
    """Groups of 2 and 6 among 8: of the 28 pairs of ranks only the two at the ends lie as far from the middle."""
    merit = np.arange(8.0)
    assert chance([0] * 2 + [1] * 6, merit) == pytest.approx(2 / 28, abs=0.02)
    assert chance([0] * 2 + [1] * 6, np.ones(8)) == 1.0  # nothing but ties
    assert chance([0] * 20 + [1] * 20, np.arange(40.0)) == 1 / 1000


def test_by_lot_shares_are_large_and_p_values_even() -> None:
    """12 trials: many a share exceeds a tenth, and p lies below 0.05 in about one draw of twenty."""
    generator = np.random.default_rng(1)
    drawn = [(generator.permutation(12) // 4, generator.random(12)) for _ in range(300)]
    shares = np.array([explained_share(groups.tolist(), merit) for groups, merit in drawn], float)
    p_values = np.array([chance(groups.tolist(), merit) for groups, merit in drawn])
    assert np.mean(shares > 0.1) > 0.2
    assert 0.02 <= np.mean(p_values < 0.05) <= 0.09  # four standard errors about 0.05
    assert abs(np.mean(p_values) - 0.5) < 0.07
    assert np.corrcoef(shares[shares > 0], p_values[shares > 0])[0, 1] < -0.9


def test_seeds_of_a_recipe_are_no_independent_evidence() -> None:
    """Four recipes, ten alike seeds each: 2 of 2 groups apart happen in one of three draws of recipes."""
    groups, merit = np.repeat([0, 0, 1, 1], 10).tolist(), np.repeat([0.1, 0.2, 0.3, 0.4], 10)
    assert chance(groups, merit) == 1 / 1000
    assert chance(groups, merit, np.repeat(np.arange(4), 10).tolist()) == pytest.approx(1 / 3, abs=0.06)


def test_a_share_that_chance_reaches_is_said_to_be_no_more() -> None:
    record = record_of(wide())
    rate, *others = record.hyperparameters
    assert rate.told
    assert rate.chance == pytest.approx(0.001 * len(record.hyperparameters))  # Holm's adjustment of 1 / 1000
    lost = [one for one in others if not one.told]
    assert lost
    picture = picture_of(record)
    assert picture.drawing.count(": cannot be told from chance") == 2 * len(lost)  # seen, and said
    assert f"The shares of the other {len(lost)} cannot be told from chance." in picture.summary
    assert "is about 0 for" not in hyperparameters_section(record).lead
    assert "reach as much with a probability of 0.05 or more" in hyperparameters_section(record).lead
    none = dataclasses.replace(record, hyperparameters=tuple(lost))
    assert f"none of the {len(lost)} shares can be told from chance" in picture_of(none).summary
    one = dataclasses.replace(record, hyperparameters=tuple(lost[:1]))
    assert f"the share of {lost[0].short} cannot be told from chance" in picture_of(one).summary


def test_few_trials_tell_nothing() -> None:
    record = record_of(made_run(7, diverged=1))
    assert [(one.explained, one.correlation) for one in record.hyperparameters] == [(None, None)] * 2
    picture = picture_of(record)
    assert "too few trials to tell" in picture.summary
    assert picture.drawing.count("too few trials to tell") == 2 * 2  # seen, and said to those who do not see


def test_all_diverged() -> None:
    record = record_of(made_run(10, diverged=10))
    assert all(one.explained is None for one in record.hyperparameters)
    assert "nothing to tell apart" in picture_of(record).drawing


# --- what is shown ---


def test_every_panel_shows_each_of_its_trials() -> None:
    record = record_of(wide())
    panels = picture_of(record).drawing.split('<figure class="small">')[1:]
    assert len(panels) == len(record.hyperparameters)
    for panel, one in zip(panels, record.hyperparameters, strict=True):
        shown = sorted(int(n) for n in re.findall(r'data-trial="(\d+)"', panel))
        assert shown == record.trials[one.there].tolist()
        lost = int((one.there & (np.array(record.outcomes) == "diverged")).sum())
        assert panel.count('class="mark alarm"') == lost
        won = record.winner is not None and bool(one.there[record.winner])
        assert panel.count("#m-ring") == won


def test_the_table_has_a_row_a_number_and_a_row_a_choice() -> None:
    record = record_of(wide())
    table = picture_of(record).table
    assert table is not None
    assert len(table.rows) == sum(1 if one.values is not None else len(one.choices) for one in record.hyperparameters)
    for row in table.rows:
        assert row[2] is not None
        assert len(row) == len(table.columns)


def hostile(count: int, words: int = 40) -> HyperparametersRecord:
    """``count`` hyperparameters with ``words`` hostile choices of a trial each."""
    record = forty()
    named = tuple(f"{HOSTILE}{i % words}" for i in range(40))
    one = dataclasses.replace(record.hyperparameters[0], name=HOSTILE, short=HOSTILE, values=None, words=named)
    base = by_name(record_of(wide()))["loss.kind"].choices[0]
    choices = tuple(dataclasses.replace(base, word=word) for word in dict.fromkeys(named))
    return dataclasses.replace(record, hyperparameters=(dataclasses.replace(one, choices=choices),) * count)


def test_hostile_words_are_text_and_too_many_are_put_together() -> None:
    record = hostile(1)
    section = hyperparameters_section(record)
    page = render(Page("t", "s", (section,)))
    assert "<img" not in page
    words, places = record.hyperparameters[0].side_by_side(8)
    assert len(words) == 8
    assert words[-1] == "others"
    assert np.bincount(places).tolist() == [1] * 7 + [33]


def test_many_hyperparameters_are_cut_and_said() -> None:
    record = hostile(15, words=5)
    section = hyperparameters_section(record)
    assert picture_of(record).drawing.count('<figure class="small">') == 12
    table = picture_of(record).table
    assert table is not None
    assert (len(table.rows), table.total) == (60, 75)
    assert any(isinstance(part, Note) and "first 12 of 15" in part.text for part in section.parts)


def test_a_thousand_trials_get_fewer_panels() -> None:
    record = dataclasses.replace(hostile(15), trials=np.arange(1000))
    assert panel_count(record) == 6
    assert panel_count(hostile(15)) == 12

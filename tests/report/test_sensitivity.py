"""Sensitivity to the learning rate: what the record holds, and that the section shows it all."""

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

import thalweg as tw
from thalweg.optimizers import SGD, RandomSearch
from thalweg.ranges import choice, log_uniform
from thalweg.report.block import Lacking, Note, Picture
from thalweg.report.page import Page, render
from thalweg.report.records.sensitivity import OptimizerRates, SensitivityRecord, sensitivity_record
from thalweg.report.sections import sensitivity as sensitivity_module
from thalweg.report.sections.sensitivity import sensitivity_section
from thalweg.run import Run, Trial
from thalweg.saved_run import load_run
from thalweg.statistics import standard_error
from thalweg.training.status import Status

HOSTILE = "</script><img src=x onerror=alert(1)>"


@functools.cache
def single(examples: int = 100) -> Run:
    return made_run(trials=1, diverged=0, examples=examples)


@functools.cache
def plain(rate: float) -> tw.Recipe:
    return tw.Recipe(optimizer=SGD(rate), epochs=1)


def tried(pairs: list[tuple[float, float | None]], examples: int = 100) -> SensitivityRecord:
    """The record of trials at given rates with given accuracies; None for a diverged one."""
    trials = [trial_at(rate, accuracy) for rate, accuracy in pairs]
    run = single(examples)
    record = sensitivity_record(dataclasses.replace(with_trials(run, trials), space=trials[0].recipe))
    assert isinstance(record, SensitivityRecord)
    return record


def trial_at(rate: float, accuracy: float | None, loss: float = 0.5) -> Trial:
    value = 0.3 if accuracy is None else accuracy
    history = {"validation_accuracy": np.array([value]), "validation_loss": np.array([loss])}
    status = Status.diverged(3, 1) if accuracy is None else Status.completed(1)
    return Trial(0, plain(rate), status, history, 1, 0, {})


def only(record: SensitivityRecord | Lacking) -> OptimizerRates:
    assert isinstance(record, SensitivityRecord)
    (one,) = record.optimizers
    return one


def picture_of(record: SensitivityRecord | Lacking) -> Picture:
    part = sensitivity_section(record).parts[0]
    assert isinstance(part, Picture)
    return part


def test_every_trial_is_there_in_order_of_its_rate_with_what_became_of_it() -> None:
    run = made_run(30, diverged=4, pruned=5)
    one = only(sensitivity_record(run))
    assert sorted(one.trials.tolist()) == list(range(30))
    assert (np.diff(one.rates) >= 0).all()
    for number, rate, accuracy, outcome in zip(one.trials, one.rates, one.accuracy, one.outcomes, strict=True):
        trial = run.trials[number]
        assert rate == trial.recipe.optimizer.learning_rate.base
        assert outcome == {"completed": "finished", "diverged": "diverged", "pruned": "cut short"}[trial.status.name]
        assert math.isnan(accuracy) if outcome == "diverged" else accuracy == trial.validation_accuracy
    assert one.diverged == 4
    assert one.smallest_diverged == one.rates[-4]
    assert one.searched == (1e-4, 1.0)


def test_the_best_is_a_finished_trial_and_of_equals_the_one_of_lower_loss() -> None:
    run = single()
    trials = [trial_at(0.01, 0.9, 0.5), trial_at(0.1, 0.9, 0.4), trial_at(1.0, 0.95), trial_at(1e-3, 0.9, math.nan)]
    trials[2] = dataclasses.replace(trials[2], status=Status.interrupted(1, 2))
    one = only(sensitivity_record(dataclasses.replace(with_trials(run, trials), space=trials[0].recipe)))
    assert one.best is not None
    assert one.trials[one.best] == 1


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        # p = 0.9 on 100 examples: one standard error is 0.03, so from 0.87 on.
        ([(0.01, 0.87), (0.02, 0.9), (0.1, 0.88), (1.0, 0.86)], (0.01, 0.1)),
        ([(0.001, 0.9), (0.01, 0.8), (0.1, 0.9)], (0.001, 0.001)),  # what lies beyond a bad third does not count
        ([(0.001, 0.9), (0.01, None), (0.1, 0.89)], (0.001, 0.001)),  # nor beyond one that diverged
        # More than half of a third's trials must come within: not one of three, nor one of two, but two of three.
        ([(0.01, 0.9), (0.012, 0.5), (0.013, None), (0.03, 0.88)], (0.01, 0.01)),
        ([(0.01, 0.9), (0.03, 0.88), (0.04, 0.5)], (0.01, 0.01)),
        ([(0.01, 0.9), (0.03, 0.88), (0.035, 0.88), (0.04, None)], (0.01, 0.035)),
        ([(0.01, 0.5), (10.0, 1.0)], (10.0, 10.0)),
        ([(0.01, 0.995), (0.1, 1.0), (1.0, 0.98)], (0.01, 0.1)),  # all right is not known to the last example
    ],
)
def test_forgiving_rates(pairs: list[tuple[float, float | None]], expected: tuple[float, float]) -> None:
    one = only(tried(pairs))
    assert one.forgiving == expected
    assert one.decades == pytest.approx(math.log10(expected[1] / expected[0]))


def test_a_best_rate_that_stands_alone_is_said_to() -> None:
    summary = picture_of(tried([(0.001, 0.5), (0.01, 0.9), (0.1, 0.5)])).summary
    assert "in no range of rates around it do most trials come within one standard error, 0.031, of that" in summary
    assert "decades" not in summary


def test_how_many_of_the_trials_in_the_range_are_good_is_said() -> None:
    record = tried([(0.01, 0.9), (0.011, 0.88), (0.012, None), (0.03, 0.89), (0.1, 0.5)])
    assert (only(record).within, only(record).among) == (3, 4)
    picture = picture_of(record)
    assert "from 0.01 to 0.03 (0.5 decades) 3 of 4 trials come within one standard error" in picture.summary
    assert "0.01 to 0.03: 3 of 4 within 1 s.e." in picture.drawing
    assert "the others there do worse" in sensitivity_section(record).lead


@pytest.mark.parametrize(
    ("counts", "span", "named"),
    [((12, 12), 10.0, True), ((18, 12), 10.0, True), ((19, 12), 10.0, False), ((11, 11), 10.0, False),
     ((12, 12), 1.2, False)],
)  # fmt: skip
def test_the_most_forgiving_is_named_where_trials_are_as_many(counts: tuple, span: float, named: bool) -> None:
    one = only(tried([(0.01, 0.9), (0.03, 0.89)]))
    made = tuple(
        dataclasses.replace(one, name=name, outcomes=("finished",) * count, forgiving=(0.01, 0.01 * high))
        for name, count, high in zip(("wide", "narrow"), counts, (span, 1.0), strict=True)
    )
    # What is pruned tells nothing of a rate.
    made = (made[0], dataclasses.replace(made[1], outcomes=(*made[1].outcomes, *["cut short"] * 9)))
    summary = sensitivity_module._summary(SensitivityRecord(made, None, 100, {}))
    assert ("the most forgiving is wide" in summary) is named


def test_the_standard_error_is_that_of_the_validation_examples() -> None:
    assert only(tried([(0.1, 0.8), (1.0, 0.5)], examples=400)).error == standard_error(0.8, 400)


RATES = st.sampled_from([float(f"{10**e:.3g}") for e in np.linspace(-4, 1, 41)])


@settings(max_examples=50)
@given(st.lists(st.tuples(RATES, st.none() | st.integers(0, 50)), min_size=2, max_size=25))
def test_the_envelope_is_above_all_and_the_forgiving_rates_hold_the_best(pairs: list) -> None:
    if len({rate for rate, _ in pairs}) < 2:
        pairs = [*pairs, (2e3, None)]
    one = only(tried([(rate, None if right is None else right / 50) for rate, right in pairs], examples=50))
    thirds = np.floor(3 * np.log10(one.rates) + 1e-9)
    done = np.isfinite(one.accuracy)
    assert len(one.envelope) == len(set(thirds[done]))
    for place in one.envelope:
        assert one.accuracy[place] == one.accuracy[done & (thirds == thirds[place])].max()
    if done.any():
        assert one.best is not None
        assert one.forgiving is not None
        low, high = one.forgiving
        assert low <= one.rates[one.best] <= high
        assert one.accuracy[one.best] == np.nanmax(one.accuracy)
        within = one.rates[done & (one.accuracy >= one.accuracy[one.best] - one.error - 1e-12)]
        assert {low, high} <= set(within.tolist())
    else:
        assert (one.best, one.forgiving, len(one.envelope)) == (None, None, 0)


def test_each_optimizer_has_its_range_and_those_without_a_rate_are_counted() -> None:
    run = made_run(60, optimizers=("adamw", "sgd", "nesterov", "lion", "random"))
    record = sensitivity_record(run)
    assert isinstance(record, SensitivityRecord)
    ranges = {one.name: one.searched for one in record.optimizers}
    assert ranges == {
        "AdamW": (1e-4, 1.0), "SGD": (1e-3, 10.0), "SGD, Nesterov": (1e-4, 1.0), "Lion": (1e-5, 0.1),
    }  # fmt: skip
    without = sum(type(trial.recipe.optimizer) is RandomSearch for trial in run.trials)
    assert record.without == {"random_search": without}
    assert sum(len(one.rates) for one in record.optimizers) == 60 - without
    assert record.rates.min() == 1e-5
    assert record.rates.max() == 10.0


def test_a_list_of_rates_has_its_ends_and_its_edge_in_words() -> None:
    space = tw.Recipe(optimizer=SGD(choice(0.003, 0.03, 0.3)), batch_size=16, epochs=3)
    run = made_run(3, diverged=0, space=space, examples=1000)
    one = only(sensitivity_record(run))
    assert one.searched == (0.003, 0.3)
    run = made_run(3, diverged=0, space=dataclasses.replace(space, optimizer=SGD(choice(0.01, 0.1, 1.0))))
    section = sensitivity_section(sensitivity_record(run))
    (note,) = (part for part in section.parts if isinstance(part, Note))
    assert note.tone == "warning"
    assert note.text.startswith(run.edges[0].sentence())


@pytest.mark.parametrize("optimizer", [RandomSearch(), SGD(0.1)])
def test_without_two_rates_there_is_nothing_to_show(optimizer: object) -> None:
    space = tw.Recipe(optimizer=optimizer, batch_size=choice(4, 8), epochs=2)
    record = sensitivity_record(made_run(2, diverged=0, space=space))
    assert isinstance(record, Lacking)
    section = sensitivity_section(record)
    assert section.parts == (record,)
    assert section.key == "sensitivity"


def test_all_diverged() -> None:
    record = sensitivity_record(made_run(8, diverged=8))
    assert only(record).forgiving is None
    picture = picture_of(record)
    assert "None finished" in picture.summary
    assert picture.drawing.count("#m-cross") == 8 + 1  # and the legend's
    assert "#m-ring" not in picture.drawing


def test_the_section_shows_each_trial_and_rings_the_winner_once() -> None:
    run = made_run(40, diverged=5, pruned=6, optimizers=("adamw", "sgd"))
    picture = picture_of(sensitivity_record(run))
    assert sorted(int(n) for n in re.findall(r'data-trial="(\d+)"', picture.drawing)) == list(range(40))
    assert picture.drawing.count('class="mark alarm"') == 5 + 1
    assert picture.drawing.count('class="mark grey"') == 6 + 1
    assert picture.drawing.count("#m-ring") == 1 + 1
    assert picture.drawing.count('<figure class="small">') == 2
    assert picture.table is not None
    assert [row[0] for row in picture.table.rows] == re.findall(r"<figcaption>(.*?)</figcaption>", picture.drawing)
    assert sum(row[1] for row in picture.table.rows) == 40  # type: ignore[misc]
    assert "of which 5 diverged" in picture.summary


def test_panels_share_their_axes() -> None:
    drawing = picture_of(sensitivity_record(made_run(60, optimizers=("adamw", "sgd", "lion")))).drawing
    panels = drawing.split('<figure class="small">')[1:]
    for pattern in (r'class="tick (?:end|middle)"[^>]*>([^<]*)<', r'class="grid"[^>]*>'):
        assert len({tuple(re.findall(pattern, panel)) for panel in panels}) == 1


def test_a_hostile_name_is_text() -> None:
    one = dataclasses.replace(only(sensitivity_record(made_run())), name=HOSTILE, edge=f"{HOSTILE} lies at an edge")
    page = render(Page("t", "s", (sensitivity_section(SensitivityRecord((one,), 0, 200, {HOSTILE: 2})),)))
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 4


def test_many_optimizers_are_cut_and_said() -> None:
    one = only(sensitivity_record(made_run()))
    many = tuple(dataclasses.replace(one, name=f"optimizer {i}") for i in range(70))
    section = sensitivity_section(SensitivityRecord(many, None, 200, {}))
    picture = section.parts[0]
    assert isinstance(picture, Picture)
    assert picture.table is not None
    assert picture.drawing.count('<figure class="small">') == 12
    assert (len(picture.table.rows), picture.table.total) == (60, 70)
    assert any(isinstance(part, Note) and "first 12 of 70" in part.text for part in section.parts)


def test_a_thousand_trials_stay_small() -> None:
    run = made_run(20, diverged=3)
    trials = [run.trials[i % 20] for i in range(1000)]
    record = sensitivity_record(with_trials(run, trials))
    assert len(only(record).rates) == 1000
    assert len(picture_of(record).drawing) < 200_000


def test_a_saved_run_gives_the_same_record(tmp_path: object) -> None:
    run = made_run(12, space=tw.Recipe(optimizer=SGD(log_uniform(1e-3, 1.0)), batch_size=16, epochs=4), seeds=2)
    again = load_run(run.save(f"{tmp_path}/run"))
    assert isinstance(again, Run)
    first, second = only(sensitivity_record(run)), only(sensitivity_record(again))
    for name in ("rates", "accuracy", "trials", "envelope"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.best, first.forgiving, first.searched, first.edge) == (
        second.best, second.forgiving, second.searched, second.edge,
    )  # fmt: skip
    assert again.best is not None
    assert run.best is not None
    assert again.best.number == run.best.number

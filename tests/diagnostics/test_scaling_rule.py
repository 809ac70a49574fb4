"""The linear scaling rule by experiment: minima and slopes with known answers, trainings that are those of `fit`."""

from __future__ import annotations

import dataclasses
import math
import signal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy.stats import linregress, t

import thalweg as tw
from thalweg.diagnostics.scaling_fit import EDGE_HIGH, EDGE_LOW, INSIDE, LIMIT, Slope, fit_slope, lowest
from thalweg.diagnostics.scaling_records import ScalingRecord
from thalweg.diagnostics.scaling_rule import scaling_rule
from thalweg.optimizers import SGD
from thalweg.plot import scaling_figure

GRID = np.arange(-4.0, 5.0)
RECIPE = tw.Recipe(optimizer=SGD(tw.schedules.Cosine(0.1), 0.9), batch_size=32, epochs=2)


# --- the minimum of a curve ---


@given(st.floats(-3, 3), st.floats(0.01, 2))
def test_a_parabola_gives_its_vertex(vertex: float, curvature: float) -> None:
    found = lowest(GRID, np.exp(curvature * (GRID - vertex) ** 2))
    assert found is not None
    assert found.place == INSIDE
    assert found.log_rate == pytest.approx(vertex, abs=1e-9)  # float64 logarithms of numbers up to e^98


def test_uneven_rates_give_the_vertex_too() -> None:
    rates = np.array([-4.0, -1.5, 0.0, 0.4, 3.0])
    found = lowest(rates, np.exp((rates - 0.3) ** 2))
    assert found is not None
    assert found.log_rate == pytest.approx(0.3)


def test_ends_divergence_and_rates_not_tried_are_told() -> None:
    nan, inf = math.nan, math.inf
    cases: list[tuple[list[float], float, str]] = [
        ([3, 2, 1], 2, EDGE_HIGH),
        ([1, 2, 3], 0, EDGE_LOW),
        ([1, inf, inf], 0, EDGE_LOW),
        ([2, 1, inf], 1, LIMIT),
        ([nan, 1, 2], 1, EDGE_LOW),
        ([2, 1, nan], 1, EDGE_HIGH),
        ([1, 1, 1], 0, EDGE_LOW),
    ]
    for losses, place, name in cases:
        found = lowest(np.arange(3.0), np.array(losses, float))
        assert found is not None
        assert (found.log_rate, found.place) == (place, name), losses
    assert lowest(np.arange(3.0), np.array([inf, inf, nan])) is None
    assert lowest(np.arange(3.0), np.full(3, nan)) is None
    flat = lowest(np.arange(4.0), np.array([2.0, 1.0, 1.0, 1.0]))
    assert flat is not None
    assert 1 <= flat.log_rate <= 1.5


# --- the slope ---


def test_the_slope_is_that_of_least_squares() -> None:
    generator = np.random.default_rng(0)
    x = np.arange(5.0, 12)
    y = (0.8 * x + generator.normal(0, 0.4, size=7))[:, None]  # one seed: only the line's own misfit counts
    found, oracle = fit_slope(x, y), linregress(x, y[:, 0])
    assert found is not None
    assert found.exponent == pytest.approx(oracle.slope, rel=1e-10)
    half = t.ppf(0.975, 5) * oracle.stderr
    assert found.interval == pytest.approx((oracle.slope - half, oracle.slope + half), rel=1e-10)
    assert fit_slope(x[:2], y[:2]) is None


def test_three_points_on_a_line_by_chance_do_not_hide_the_seeds() -> None:
    x = np.arange(3.0)
    y = np.stack([0.5 * x, 1.5 * x], axis=1)  # the means lie on a line of slope 1, the seeds disagree
    found = fit_slope(x, y)
    assert found is not None
    assert found.exponent == pytest.approx(1)
    assert found.interval == pytest.approx((1 - t.ppf(0.975, 1) * 0.5, 1 + t.ppf(0.975, 1) * 0.5))


@pytest.mark.parametrize(
    ("interval", "linear", "root"),
    [
        ((0.9, 1.1), "held", "did not hold"),
        ((0.4, 0.6), "did not hold", "held"),
        ((0.6, 0.9), "undecided", "undecided"),
        ((0.0, 0.2), "did not hold", "did not hold"),
        ((1.3, 1.6), "did not hold", "did not hold"),
        ((-1.0, 3.0), "undecided", "undecided"),
    ],
)
def test_verdicts(interval: tuple[float, float], linear: str, root: str) -> None:
    slope = Slope(sum(interval) / 2, interval)
    assert (slope.verdict(1.0), slope.verdict(0.5)) == (linear, root)


# --- the record ---


def record_of(exponents: Any, noise: float = 0.05, **more: Any) -> ScalingRecord:
    """A record whose best log rates, batch by batch, are these + noise by seed."""
    best = np.asarray(exponents, float)
    batches, log_rates = 32 * 2 ** np.arange(len(best)), np.arange(-6.0, 12)
    offsets = best[:, None] + noise * np.random.default_rng(0).normal(size=(len(best), 3))
    losses = np.exp(0.1 * (log_rates[None, :, None] - offsets[:, None, :]) ** 2)
    return ScalingRecord(RECIPE, "made up", 4096, 2, "validation_loss", batches, log_rates, losses, (32, 0.1), **more)


def test_a_rule_that_holds_is_said_to() -> None:
    record = record_of([0, 1, 2, 3, 4, 5, 6])
    assert record.verdict() == "held"
    assert record.verdict("square root") == "did not hold"
    assert record.held_up_to() == 2048
    assert "the linear rule held" in str(record)
    for one, true in zip(record.best, range(7), strict=True):
        assert one.interval[0] < one.rate < one.interval[1]
        assert math.log2(one.rate) == pytest.approx(true, abs=0.15)  # 3 standard deviations of a mean of three
        assert one.inside


def test_a_rule_that_stops_holding_is_said_to_up_to_where() -> None:
    """log₂ of B/(1 + B/256): linear for small batches, constant for large ones."""
    batches = 32.0 * 2 ** np.arange(9)
    record = record_of(np.log2(batches / (1 + batches / 1024)) - 5, noise=0.01)
    assert record.verdict() != "held"
    upto = record.held_up_to()
    assert upto is not None
    assert 128 <= upto <= 1024
    assert f"(it held up to {upto})" in str(record)


def test_a_rule_that_failed_first_is_not_said_to_have_held_from_there() -> None:
    record = record_of([0, 0.5, 1, 2.5, 4, 5, 6, 7, 8, 8, 8], noise=0.01)
    assert record.verdict(count=3) == "did not hold"
    assert record.verdict(count=9) == "held"
    assert record.held_up_to() is None
    assert "linear rule did not hold (it held" not in str(record)


def test_adaptive_optimizers_square_root() -> None:
    record = record_of([0, 0.5, 1, 1.5, 2])
    assert (record.verdict(), record.verdict("square root")) == ("did not hold", "held")


def test_a_batch_at_the_end_of_the_rates_is_no_evidence() -> None:
    whole = record_of([0, 1, 2, 3, 4])
    cut = dataclasses.replace(whole, log_rates=whole.log_rates[:10], losses=whole.losses[:, :10])  # up to 2³
    assert [one.place for one in cut.best] == [INSIDE, INSIDE, INSIDE, EDGE_HIGH, EDGE_HIGH]
    assert cut.best[4].rate == pytest.approx(8)
    assert cut.slope() == whole.slope(3)
    wider = dataclasses.replace(whole, log_rates=whole.log_rates[:11], losses=whole.losses[:, :11])  # up to 2⁴
    assert wider.held_up_to() == 256  # and not 512, whose best rate is not known
    assert whole.slope(2) is None  # two batches make no line with an error
    FigureCanvasAgg(scaling_figure.scaling_rule(cut)).draw()


def test_divergence_is_counted_and_a_batch_of_it_alone_shown() -> None:
    record = record_of([0, 1, 2, 3])
    losses = record.losses.copy()
    losses[3] = math.inf
    losses[2, 10:] = math.inf
    found = dataclasses.replace(record, losses=losses)
    assert found.best[2].diverged == 24
    assert found.best[3].place == "every rate diverged"
    assert math.isnan(found.best[3].rate)
    assert "every rate diverged" in str(found)
    for dark in (False, True):
        FigureCanvasAgg(scaling_figure.scaling_rule(found, dark=dark)).draw()
    FigureCanvasAgg(scaling_figure.scaling_rule(dataclasses.replace(record, losses=losses * math.inf))).draw()


# --- the experiment ---


@pytest.fixture(scope="module")
def digits() -> ScalingRecord:
    return scaling_rule(RECIPE, "digits", batches=(64, 16, 4096), rates=(0.4, 0.05, 0.1), seeds=2)


def test_a_cell_is_the_training_of_its_recipe(digits: ScalingRecord) -> None:
    assert digits.losses.shape == (2, 3, 2)
    recipe = dataclasses.replace(RECIPE, optimizer=SGD(tw.schedules.Cosine(0.4), 0.9), batch_size=16, seed=1)
    run = tw.fit(recipe, "digits")
    # Side by side or alone, a matrix product may add in another order.
    assert digits.losses[0, 2, 1] == pytest.approx(run.trials[0].history["validation_loss"][-1], rel=1e-4)
    assert run.data.examples["train"] == digits.examples


def test_what_cannot_be_tried_is_left_out_with_a_note(digits: ScalingRecord) -> None:
    assert digits.batches.tolist() == [16, 64]
    np.testing.assert_allclose(digits.rates, [0.05, 0.1, 0.4])
    assert digits.messages == ("batch sizes above the 1,151 training examples were left out: 4096",)
    assert digits.own == (32, 0.1)
    assert "undecided: fewer than three" in str(digits)


def test_default_rates_surround_both_rules_and_grow() -> None:
    """With a recipe whose own rate is far too small the range grows until the best lies inside."""
    recipe = dataclasses.replace(RECIPE, optimizer=SGD(2e-5), epochs=1)
    record = scaling_rule(recipe, "digits", batches=(16, 64), seeds=1)
    steps = np.diff(record.log_rates)
    np.testing.assert_allclose(steps, 1, rtol=1e-9)
    assert record.log_rates[0] == pytest.approx(math.log2(2e-5) - 4)  # batch 16 is half of 32, and 3 steps
    assert record.log_rates[-1] == pytest.approx(math.log2(2e-5) + 4 + 4 * 3)  # four rounds of three
    assert record.best[0].place in (INSIDE, EDGE_HIGH)
    assert not np.isnan(record.losses[:, :9]).any()


def test_the_metric_may_be_the_training_loss() -> None:
    record = scaling_rule(
        RECIPE, "digits", batches=(16, 64), rates=(0.05, 0.1, 0.4), seeds=2, metric="data_loss", epochs=2
    )
    run = tw.fit(dataclasses.replace(RECIPE, batch_size=64), "digits")
    assert record.losses[1, 1, 0] == pytest.approx(run.trials[0].history["data_loss"][-1], rel=1e-4)


def test_an_interruption_hands_over_what_was_trained() -> None:
    def stop(snapshot: tw.training.Snapshot) -> None:
        if snapshot.work_done > 0.3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(tw.Interrupted) as caught:
        scaling_rule(RECIPE, "digits", batches=(16, 64), rates=(0.05, 0.1, 0.4), seeds=2, progress=stop)
    record = caught.value.run
    assert 0 < np.isfinite(record.losses).sum() < record.losses.size
    assert record.messages == ("interrupted: what is missing counts as not tried",)
    assert "interrupted" in str(record)
    FigureCanvasAgg(scaling_figure.scaling_rule(record)).draw()
    nothing = dataclasses.replace(record, losses=np.full_like(record.losses, math.nan))
    assert nothing.best[0].place == "not trained"
    FigureCanvasAgg(scaling_figure.scaling_rule(nothing)).draw()


def test_bad_input_is_named() -> None:
    def with_rate(rate: Any) -> tw.Recipe:
        return dataclasses.replace(RECIPE, optimizer=SGD(rate))

    cases: list[tuple[tw.Recipe, dict[str, Any], str]] = [
        (with_rate(tw.log_uniform(0.1, 1)), {}, "every number has one value"),
        (with_rate(tw.schedules.BatchScaled(0.1)), {}, "follows the linear rule already"),
        (with_rate(tw.schedules.Warmup(5, tw.schedules.BatchScaled(0.1, 64))), {}, "follows the linear rule already"),
        (with_rate(tw.schedules.Scaled(tw.schedules.BatchScaled(0.1), 2.0)), {}, "follows the linear rule already"),
        (with_rate(0.0), {}, "no learning rate above 0"),
        (RECIPE, {"batches": (16, 16)}, "each size once"),
        (RECIPE, {"batches": (16, 5000)}, "at least two sizes of at most 1151"),
        (RECIPE, {"batches": (0, 16)}, "batches is 0"),
        (RECIPE, {"rates": (0.1, 0.2)}, "at least three different rates"),
        (RECIPE, {"rates": (0.1, -0.2, 1)}, "rates is -0.2"),
        (RECIPE, {"seeds": 0}, "seeds is 0"),
        (RECIPE, {"epochs": 0}, "epochs is 0"),
        (RECIPE, {"metric": "accuracy"}, "metric is 'accuracy'"),
    ]
    for recipe, more, text in cases:
        with pytest.raises(tw.UsageError, match=text):
            scaling_rule(recipe, "digits", **more)
    with pytest.raises(tw.UsageError, match="record is a int"):
        scaling_figure.scaling_rule(3)  # type: ignore[arg-type]

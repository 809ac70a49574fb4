"""Derivatives along a line: the error bar holds, kinks at the point are seen and those beside it are not claimed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thalweg.gradients.line import Estimate, Line

DOUBLE, SINGLE = (float(np.finfo(dtype).eps) for dtype in (np.float64, np.float32))
phases = st.floats(-3, 3)
signs = st.sampled_from([-1.0, 1.0])
few = settings(max_examples=60)


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


def estimated(g: Callable[[float], float], eps: float = DOUBLE) -> Estimate:
    """Return the estimate from all steps of a function of t around t = 0."""
    with np.errstate(all="ignore"):
        line = Line(lambda t: np.array([g(t)], float), np.array([g(0.0)], float), eps)
        while line.refine():
            pass
        return line.estimate()


def holds(estimate: Estimate, derivative: float, within: float = np.inf, kinks: bool = False) -> None:
    """The bar covers the error, is no wider than ``within``, and no kink is claimed."""
    away = abs(float(estimate.value[0]) - derivative)
    assert away <= estimate.error[0], f"off by {away:.3g}, bar {estimate.error[0]:.3g}"
    assert estimate.error[0] <= within
    assert kinks or not estimate.kink[0]


@few
@given(st.lists(st.tuples(signs, powers(-3, 3)), min_size=1, max_size=9))
def test_polynomials(terms):
    coefficients = [sign * size for sign, size in terms]  # of 1, t, t², …
    slope = coefficients[1] if len(coefficients) > 1 else 0.0
    estimate = estimated(lambda t: float(np.polyval(coefficients[::-1], t)))
    holds(estimate, slope, within=1e-4 * max(map(abs, coefficients)))


@pytest.mark.parametrize("distance", [1e-2, 1e-3, 1e-4, 1e-5])
def test_the_flat_side_of_a_kink_beside_the_point(distance):
    """A ReLU a little left of 0: its slope is 0 there."""
    holds(estimated(lambda t: max(t - distance, 0.0)), 0.0, within=1e-2)


@few
@given(powers(0, 6), phases)
@example(1e6, 0.0)
@example(1e4, 6e-8)
def test_sines_of_any_rate(rate, phase):
    estimate = estimated(lambda t: math.sin(rate * t + phase))
    holds(estimate, rate * math.cos(phase), within=1e-4 * rate)


@few
@given(powers(0, 6), signs)
def test_exponentials_of_any_rate(rate, sign):
    with np.errstate(over="ignore"):
        estimate = estimated(lambda t: float(np.exp(sign * rate * t)))
    holds(estimate, sign * rate, within=1e-4 * rate)


@few
@given(powers(-7, -1), signs, st.floats(-2, 2))
@example(1e-7, 1.0, 0.0)
@example(1e-3, 1.0, 1.0)
def test_a_kink_beside_the_point_is_not_claimed(distance, side, slope):
    """Neither does it widen the bar to uselessness, nor shift the value to that of the other side."""
    estimate = estimated(lambda t: abs(t - side * distance) + slope * t)
    holds(estimate, slope - side, within=1e-2)


@few
@given(st.floats(-5, 5), st.floats(0.01, 10), st.floats(-2, 2))
def test_a_kink_at_the_point_is_found_with_both_slopes(slope, bend, curvature):
    estimate = estimated(lambda t: bend * abs(t) + slope * t + curvature * t * t)
    assert estimate.kink[0]
    tolerance = 1e-4 * (abs(slope) + bend)
    np.testing.assert_allclose(estimate.left[0], slope - bend, atol=tolerance)
    np.testing.assert_allclose(estimate.right[0], slope + bend, atol=tolerance)


@pytest.mark.parametrize("g", [lambda t: max(t, 0.0), lambda t: min(t, 0.0), lambda t: math.exp(abs(t))])
def test_kinks_of_other_shapes(g):
    assert estimated(g).kink[0]


@few
@given(st.floats(1.1, 3), st.floats(-2, 2))
def test_fractional_powers_are_smooth_enough_not_to_be_kinks(power, slope):
    """|t|^p with p > 1 has the slope 0 at 0, and its one-sided differences approach each other slowly."""
    estimate = estimated(lambda t: abs(t) ** power + slope * t)
    holds(estimate, slope, kinks=power < 1.3)
    if power >= 1.5:
        assert estimate.error[0] <= 1e-4


@few
@given(phases, signs, powers(-3, 12))
@example(1.0, 1.0, 1e12)
def test_offsets_widen_the_bar_and_no_more(phase, sign, offset):
    estimate = estimated(lambda t: math.sin(phase + t) + sign * offset)
    holds(estimate, math.cos(phase), within=1e-8 + 1e-11 * offset)


@few
@given(phases, powers(-150, 150))
@example(0.5, 1e-150)
@example(0.5, 1e150)
def test_values_of_any_size(phase, size):
    estimate = estimated(lambda t: size * math.sin(phase + t))
    holds(estimate, size * math.cos(phase), within=1e-9 * size)


@few
@given(phases)
def test_results_in_float32(phase):
    estimate = estimated(lambda t: float(np.float32(math.sin(phase + t))), SINGLE)
    holds(estimate, math.cos(phase), within=1e-3)


@few
@given(phases, st.sampled_from([np.float32, np.float16]), st.booleans())
@example(0.0, np.float32, False)
@example(2.0, np.float32, True)
def test_a_lower_precision_that_nobody_announced(phase, dtype, of_the_result):
    """The differences scatter by more than float64's rounding, so the bar grows; or f stands still, and is called flat.

    Where f is 0 its rounding shrinks with the steps, and leaves the precision of the slope itself: allowed on top.
    """

    def g(t: float) -> float:
        return float(dtype(np.sin(phase + t))) if of_the_result else float(np.sin(dtype(phase) + dtype(t)))

    slope = math.cos(phase if of_the_result else float(dtype(phase)))
    estimate = estimated(g)
    if estimate.flat[0]:
        assert 0.5 * abs(slope) <= estimate.size[0]
    else:
        away = abs(float(estimate.value[0]) - slope)
        assert away <= estimate.error[0] + np.finfo(dtype).eps * abs(slope)


def test_a_function_that_is_defined_on_one_side_alone():
    for g in (lambda t: math.sqrt(t) if t >= 0 else math.nan, lambda t: t if t <= 0 else math.inf):
        estimate = estimated(g)
        assert np.isinf(estimate.error[0])
        assert not estimate.kink[0]


@few
@given(powers(-8, -1), signs)
def test_the_edge_of_a_domain_beside_the_point(distance, side):
    """log is checked with the steps that stay inside, √ too."""
    log = estimated(lambda t: float(np.log(distance - side * t)))
    holds(log, -side / distance)
    if np.isfinite(log.error[0]):
        assert log.error[0] <= 1e-2 / distance


def test_larger_steps_are_taken_where_rounding_hides_all_smaller_ones():
    """A slope of 1e-9 beside 1 shows at steps above 1 alone."""
    estimate = estimated(lambda t: 1.0 + 1e-9 * t)
    holds(estimate, 1e-9, within=1e-13)


def test_constants_and_steps():
    estimate = estimated(lambda t: 3.0)
    holds(estimate, 0.0, within=1e-13)
    assert not estimate.flat[0]
    stairs = estimated(lambda t: math.floor(1e4 * t + 0.5) / 1e4)  # slope 1 from afar
    assert stairs.flat[0]
    np.testing.assert_allclose(stairs.size[0], 1, rtol=0.2)


def test_several_outputs_keep_their_own_bars():
    def along(t: float) -> np.ndarray:
        return np.array([math.sin(t), abs(t), 1e8 + t, math.nan])

    line = Line(along, along(0.0), DOUBLE)
    while line.refine():
        pass
    estimate = line.estimate()
    assert len(estimate) == 4
    assert estimate.kink.tolist() == [False, True, False, False]
    assert estimate.error[0] < 1e-9 < estimate.error[2] < 1e-3
    assert np.isinf(estimate.error[3])

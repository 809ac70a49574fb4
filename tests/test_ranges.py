"""Ranges: every coordinate lands inside, both ends are reached exactly, and what is empty is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from thalweg.errors import UsageError
from thalweg.ranges import Choice, Integers, LogUniform, Range, Uniform, choice, integers, log_uniform, uniform

unit = st.floats(0, 1)
positive = st.floats(1e-300, 1e300)
wholes = st.integers(-1000, 1000)
ranges = st.one_of(
    st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
    .filter(lambda e: e[0] < e[1])
    .map(lambda e: Uniform(*e)),
    st.tuples(positive, positive).filter(lambda e: e[0] < e[1]).map(lambda e: LogUniform(*e)),
    st.tuples(wholes, wholes).filter(lambda e: e[0] < e[1]).map(lambda e: Integers(*e)),
)


@given(ranges, unit)
def test_every_coordinate_lands_inside(place, u):
    assert place.low <= place.at(u) <= place.high


@given(ranges)
def test_both_ends_are_exact(place):
    assert (place.at(0.0), place.at(1.0)) == (place.low, place.high)


@given(ranges, unit, unit)
def test_values_rise_with_the_coordinate(place, u, v):
    low, high = place.at(min(u, v)), place.at(max(u, v))
    # Two products round apart, so two close coordinates may change order by a few units in the last place.
    size = max(abs(low), abs(high)) if isinstance(place, LogUniform) else max(abs(place.low), abs(place.high))
    assert low <= high + 1e-15 * size


@given(ranges, unit)
def test_coordinate_is_the_inverse(place, u):
    assume(not isinstance(place, Uniform) or math.isfinite(place.high - place.low))
    value = place.at(u)
    again = place.at(place.coordinate(value))
    if isinstance(place, Integers):
        assert again == value
    elif isinstance(place, LogUniform):
        # The coordinate carries the rounding of a logarithm of up to 691, about 1e-13.
        assert math.isclose(again, value, rel_tol=1e-11)
    else:
        assert math.isclose(again, value, rel_tol=1e-12, abs_tol=1e-15 * (abs(place.low) + abs(place.high)))


def test_scales():
    assert uniform(2, 4).at(0.25) == 2.5
    assert math.isclose(log_uniform(1e-4, 1e-2).at(0.5), 1e-3, rel_tol=1e-15)
    assert log_uniform(1e-300, 1e300).at(0.5) == pytest.approx(1.0)  # the quotient of its ends overflows
    # A tenth of the coordinates for each of ten numbers, both ends included.
    counts = np.bincount([integers(0, 9).at(u) for u in np.linspace(0, 1, 1000, endpoint=False)])
    np.testing.assert_array_equal(counts, np.full(10, 100))


def test_integers_are_integers():
    assert isinstance(integers(1, 3).at(0.5), int)
    assert isinstance(uniform(1, 3).at(1.0), float)


def test_choice_keeps_its_options():
    assert tuple(choice(32, "full")) == (32, "full")
    assert choice(1) == Choice((1,))


def test_numpy_ends_become_plain_numbers():
    place = log_uniform(np.float32(0.5), np.int64(2))
    assert (type(place.low), type(place.high)) == (float, int)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uniform(1.0, 1.0), r"uniform\(1\.0, 1\.0\) is empty; the first number must be below the second"),
        (lambda: log_uniform(1e-1, 1e-3), r"log_uniform\(0\.1, 0\.001\) is empty"),
        (lambda: log_uniform(0.0, 1.0), r"log_uniform\(0\.0, 1\.0\): both ends must be above 0"),
        (lambda: integers(1.5, 3), r"integers\(1\.5, 3\): both ends must be whole numbers"),
        (lambda: uniform(math.nan, 1.0), "uniform: low is nan; give a finite number"),
        (lambda: uniform(0.0, math.inf), "uniform: high is inf; give a finite number"),
        (lambda: uniform(0, 10**400), "uniform: high is 1000.*; give a finite number"),
        (lambda: uniform("0", 1), "uniform: low is '0'; give a number"),
        (lambda: integers(False, True), "integers: low is False; give a number"),
        (choice, r"choice\(\) is empty; give at least one value"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_range_itself_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Range(0, 1)

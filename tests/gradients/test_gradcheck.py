"""gradcheck: planted errors are found and named, and right gradients pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gradient_cases import smooth, spoiled
from hypothesis import example, given, settings
from hypothesis import strategies as st

import thalweg as tw

CHANGES = {
    "factor 2": lambda g: 2 * g,
    "factor 0.5": lambda g: g / 2,
    "off by 1e-4": lambda g: g * (1 + 1e-4),
    "sign": lambda g: -g,
    "zero": lambda g: 0.0,
    "offset": lambda g: g + 0.3,
    "huge": lambda g: 1e9,
}
# A line takes up to 31 evaluations, a step of the bisection up to 12, and 8 + 8 entries are compared beside it.
PER_UNIT = 20


def bound(size: int) -> float:
    """The evaluations allowed for one wrong entry: 64 + 2 log2 n, times a constant."""
    return PER_UNIT * (64 + 2 * math.log2(max(size, 2)))


def planted_error_is_named(size: int, seed: int, change: str, **options: object) -> tw.Verdict:
    f, gradient, x = smooth(size, seed)
    index = int(np.random.default_rng(seed).integers(size))
    verdict = tw.gradcheck(f, x, spoiled(gradient, index, CHANGES[change]), seed=seed, **options)
    assert verdict.status == "fail", verdict
    assert verdict.worst is not None
    assert verdict.worst.index == (index,), verdict
    assert verdict.worst.name == f"x[{index}]"
    right = float(gradient(x)[index])
    assert abs(verdict.worst.numeric - right) <= verdict.worst.error + 1e-12 * abs(right)
    np.testing.assert_allclose(verdict.worst.analytic, CHANGES[change](right), rtol=1e-12)
    assert len(verdict.wrong) == 1
    return verdict


@settings(max_examples=60)
@given(st.integers(1, 3000), st.integers(0, 10**6), st.sampled_from(list(CHANGES)))
@example(1, 0, "sign")
@example(100, 1, "off by 1e-4")
@example(101, 2, "off by 1e-4")
@example(3000, 3, "zero")
def test_one_wrong_entry_is_always_found_and_named(size, seed, change):
    verdict = planted_error_is_named(size, seed, change)
    assert verdict.evaluations <= max(bound(size), 40 * min(size, 100))


@settings(max_examples=15)
@given(st.integers(2, 100), st.integers(0, 10**6), st.sampled_from(list(CHANGES)))
def test_directions_find_the_same_in_small_points(size, seed, change):
    """``every=0`` leaves nothing to be checked one by one but what the bisection names."""
    planted_error_is_named(size, seed, change, every=0)


@settings(max_examples=60)
@given(st.integers(1, 3000), st.integers(0, 10**6))
@example(3000, 0)
def test_right_gradients_pass(size, seed):
    f, gradient, x = smooth(size, seed)
    verdict = tw.gradcheck(f, x, gradient, seed=seed)
    assert verdict.status == "pass", verdict
    assert verdict.worst is None
    assert verdict.wrong == ()


def test_one_of_100_000_entries_wrong_by_a_factor_of_2():
    """At one place; the corpus has others, and smaller points are tried at any place above."""
    size = 100_000
    verdict = planted_error_is_named(size, 0, "factor 2")
    assert verdict.evaluations <= bound(size)
    assert verdict.directions <= 24


@pytest.mark.parametrize("size", [5, 500])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_entry_that_is_not_finite_is_named_alone(size, bad):
    f, gradient, x = smooth(size, 0)
    verdict = tw.gradcheck(f, x, spoiled(gradient, 3, lambda g: bad))
    assert verdict.status == "fail"
    assert [entry.name for entry in verdict.wrong] == ["x[3]"]


@pytest.mark.parametrize("size", [5, 500])
@pytest.mark.parametrize(
    "bad",
    [
        math.nan,
        math.inf,
    ],
)
def test_a_gradient_that_is_not_finite_fails(size, bad):
    f, gradient, x = smooth(size, 0)
    verdict = tw.gradcheck(f, x, spoiled(gradient, 3, lambda g: bad))
    assert verdict.status == "fail"
    assert "the gradient is not finite" in str(verdict)


def test_entries_of_very_different_sizes():
    """One of the smallest entries is as well checked as the largest, 1e9 times its size."""
    sizes = np.repeat([1e6, 1.0, 1e-3], 100)
    x = np.random.default_rng(0).normal(size=300)

    def f(x):
        return np.sum(sizes * (2 * x + np.sin(x)))

    def gradient(x):
        return sizes * (2 + np.cos(x))

    assert tw.gradcheck(f, x, gradient).status == "pass"
    for index in (5, 150, 250):
        verdict = tw.gradcheck(f, x, spoiled(gradient, index, CHANGES["factor 2"]))
        assert verdict.status == "fail"
        assert verdict.worst.index == (index,)


@settings(max_examples=15)
@given(st.integers(101, 1000), st.integers(0, 1000))
def test_errors_that_cancel_along_one_direction_do_not_along_others(size, seed):
    """Two errors that cancel in the sum of all entries, which a checker with positive vectors sees."""
    f, gradient, x = smooth(size, seed)
    one, two = np.random.default_rng(seed).permutation(size)[:2]
    shift = np.zeros(size)
    shift[one], shift[two] = 1.0, -1.0
    verdict = tw.gradcheck(f, x, lambda x: gradient(x) + shift, seed=seed)
    assert verdict.status == "fail"
    assert verdict.worst.index[0] in (one, two)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_a_given_value_that_is_wrong_in_many_entries(seed):
    f, gradient, x = smooth(500, seed)
    noise = np.random.default_rng(seed).normal(size=500)
    verdict = tw.gradcheck(f, x, gradient(x) + 0.1 * noise)
    assert verdict.status == "fail"
    assert 1 <= len(verdict.wrong) <= 4
    assert "entries checked one by one are wrong" in str(verdict)


def test_many_errors_too_small_to_be_seen_one_by_one():
    """Each is within rtol + bars, and all together are not: said as such, with no entry accused."""
    f, gradient, x = smooth(2000, 0)
    verdict = tw.gradcheck(f, x, lambda x: gradient(x) * (1 + 3e-6), rtol=4e-6)
    assert verdict.status == "pass"
    verdict = tw.gradcheck(f, x, lambda x: gradient(x) * (1 + 3e-4))
    assert verdict.status == "fail"

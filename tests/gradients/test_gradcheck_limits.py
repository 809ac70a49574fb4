"""gradcheck where the answer is hidden: kinks, noise, offsets, edges. Nothing right is accused, and why is said."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from gradient_cases import spoiled
from hypothesis import given, settings
from hypothesis import strategies as st

import thalweg as tw


def test_a_kink_is_named_with_its_slopes():
    x = np.array([1.0, 0.0, -2.0])
    verdict = tw.gradcheck(lambda x: np.sum(np.abs(x)), x, np.sign)
    assert verdict.status == "inconclusive"
    assert verdict.worst.name == "x[1]"
    np.testing.assert_allclose(verdict.worst.sides, (-1, 1), atol=1e-4)
    assert "a kink: slope -1 on the left, 1 on the right" in str(verdict)


def test_a_claim_far_from_both_slopes_of_a_kink_is_wrong():
    x = np.array([1.0, 0.0, -2.0])
    verdict = tw.gradcheck(lambda x: np.sum(np.abs(x)), x, lambda x: np.where(x == 0, 50.0, np.sign(x)))
    assert verdict.status == "fail"
    assert verdict.worst.name == "x[1]"


def test_a_fast_sine_is_not_accused():
    verdict = tw.gradcheck(lambda x: np.sum(np.sin(1e4 * (x - 1) + 6e-8)), np.ones(1), np.array([1e4]))
    assert verdict.status == "pass"


@pytest.mark.parametrize("distance", [1e-3, 1e-4])
def test_half_a_slope_on_the_flat_side_of_a_kink_is_wrong(distance):
    verdict = tw.gradcheck(lambda x: np.sum(np.maximum(x - 1 - distance, 0)), np.ones(1), np.array([0.5]))
    assert verdict.status != "pass"


def test_a_kink_hides_no_other_error():
    x = np.array([1.0, 0.0, -2.0])
    verdict = tw.gradcheck(lambda x: np.sum(np.abs(x)), x, lambda x: [1, 1, 2] * np.sign(x))
    assert verdict.status == "fail"
    assert verdict.worst.name == "x[2]"


@pytest.mark.parametrize("wrong", [False, True])
def test_a_kink_among_many_entries(wrong):
    """It is found by bisection, named and left out; a wrong entry elsewhere is still found."""
    x = np.random.default_rng(0).normal(size=1000)
    x[123] = 0

    def f(x):
        return np.sum(np.abs(x) + np.sin(x))

    def gradient(x):
        return np.sign(x) + np.cos(x) + 1.0 * wrong * (np.arange(1000) == 456)

    verdict = tw.gradcheck(f, x, gradient)
    assert verdict.status == ("fail" if wrong else "inconclusive"), verdict
    assert verdict.worst.name == ("x[456]" if wrong else "x[123]")


@settings(max_examples=12)
@given(st.floats(-7, -1), st.integers(1, 200), st.integers(0, 1000))
def test_kinks_beside_the_point_do_not_disturb(exponent, size, seed):
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 2, size)
    near = x - 10.0**exponent * rng.choice([-1.0, 1.0], size)

    def f(x):
        return np.sum(np.abs(x - near) + np.sin(x))

    def gradient(x):
        return np.sign(x - near) + np.cos(x)

    assert tw.gradcheck(f, x, gradient, seed=seed).status != "fail"
    if size <= 100 and exponent > -6:
        assert tw.gradcheck(f, x, gradient, seed=seed).status == "pass"
        wrong = spoiled(gradient, size // 2, lambda g: g + 1)
        assert tw.gradcheck(f, x, wrong, seed=seed).status == "fail"


# --- what hides the answer


def noisy(size: float, seed: int):
    """A sum of sines with noise that depends on x alone, so that it is not random."""

    def f(x):
        return float(np.sum(np.sin(x))) + size * zlib.crc32(x.tobytes() + bytes([seed])) / 2**32

    return f, np.random.default_rng(seed).normal(size=3)


@pytest.mark.parametrize("size", [1e-9, 1e-6])
def test_small_noise_accuses_nobody(size):
    for seed in range(25):
        f, x = noisy(size, seed)
        assert tw.gradcheck(f, x, np.cos).status != "fail"
        assert tw.gradcheck(f, x, lambda x: 3 * np.cos(x)).status == "fail"


@pytest.mark.parametrize("size", [1e-3, 1e-2, 1e-1, 1.0])
def test_large_noise_accuses_nobody(size):
    for seed in range(40):
        f, x = noisy(size, seed)
        assert tw.gradcheck(f, x, np.cos).status != "fail"


def test_noise_is_said():
    f, x = noisy(1e-2, 0)
    verdict = tw.gradcheck(f, x, np.cos)
    assert verdict.status == "inconclusive"
    assert "rounding, noise or a jump of f hides errors" in str(verdict)


def test_a_huge_offset_hides_small_entries():
    verdict = tw.gradcheck(lambda x: 1e15 + np.sum(np.abs(x)), np.array([1.0, 2.0]), np.sign)
    assert verdict.status == "inconclusive"
    assert tw.gradcheck(lambda x: 1e15 + np.sum(np.abs(x)), np.array([1.0, 2.0]), lambda x: 1e3 * x).status == "fail"


def test_complex_steps_see_through_an_offset():
    """sin is analytic, so that its exact derivative is at hand where all differences round to nothing."""
    x = np.array([0.4, 1.0, 2.0])
    assert tw.gradcheck(lambda x: 1e10 + np.sum(np.sin(x)), x, np.cos).status == "pass"
    assert tw.gradcheck(lambda x: 1e10 + np.sum(np.sin(x)), x, lambda x: 1.01 * np.cos(x)).status != "pass"


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_gradient_of_zero_where_f_moves_in_steps(dtype):
    """The smallest steps see nothing move: neither is a gradient of 0 then right, nor the true one wrong."""
    x = np.array([0.3, 0.7, 1.1])

    def f(x):
        return float(np.sum(np.sin(x.astype(dtype))))

    assert tw.gradcheck(f, x, np.zeros_like).status != "pass"
    assert tw.gradcheck(f, x, np.cos).status != "fail"


def test_the_edge_of_a_domain():
    x = np.array([0.0, 1.0])
    verdict = tw.gradcheck(lambda x: np.sum(np.where(x >= 0, x, np.nan) ** 1.5), x, lambda x: 1.5 * np.sqrt(x))
    assert verdict.status == "inconclusive"
    assert "edge of its domain" in str(verdict)

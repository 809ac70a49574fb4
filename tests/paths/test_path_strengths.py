"""Which strengths a path takes: given ones, or from where the weights vanish down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from path_cases import COUNT, WIDTH, fitted, on_grid, uneven

import thalweg as tw
from thalweg.paths.strengths import grid, largest, read_strengths
from thalweg.solvers import Problem, decompose


@pytest.mark.parametrize("count", [45, "45", " 45 ", np.int64(45)])
def test_a_count_is_a_count(count: Any) -> None:
    assert read_strengths(count) == 45
    assert isinstance(read_strengths(count), int)


@pytest.mark.parametrize(
    ("given_as", "expected"),
    [
        (0.5, [0.5]),
        (np.float32(0.5), [0.5]),
        ("1e-3", [1e-3]),
        ("0.5", [0.5]),
        ([1e-3, 1.0, 1e-2], [1.0, 1e-2, 1e-3]),
        ((2, 1), [2.0, 1.0]),
        (np.array([1e-2, 1e-2, 1e-1]), [1e-1, 1e-2]),
        ("1e-4:1e2:4", [1e2, 1.0, 1e-2, 1e-4]),
        ("3:3:2", [3.0]),
        ((10.0**-i for i in range(3)), [1.0, 0.1, 0.01]),
    ],
)
def test_given_strengths_run_from_the_strongest_down_each_once(given_as: Any, expected: list[float]) -> None:
    np.testing.assert_allclose(read_strengths(given_as), expected, rtol=1e-12)


@given(st.lists(st.floats(min_value=1e-300, max_value=1e300), min_size=1, max_size=20))
def test_no_strength_is_changed_or_lost(values: list[float]) -> None:
    found = read_strengths(values)
    assert found.tolist() == sorted(set(values), reverse=True)


@pytest.mark.parametrize("penalty", ["l2", "l1", "elastic_net"])
def test_a_grid_is_even_in_the_logarithm(penalty: str) -> None:
    found = grid(5, 20.0, penalty)
    assert found[0] == 20.0
    assert found[-1] == pytest.approx(20.0 * (1e-8 if penalty == "l2" else 1e-3))
    np.testing.assert_allclose(np.diff(np.log(found)), np.log(found[-1] / found[0]) / 4)
    assert grid(1, 20.0, penalty).tolist() == [20.0]


def problem_of(X: np.ndarray, y: np.ndarray, weightings: np.ndarray | None = None) -> Problem:
    centred = (X - X.mean(axis=0, dtype=np.float64)).astype(np.float32)
    weightings = np.full((1, len(y)), 1 / len(y)) if weightings is None else weightings
    one = np.ones(1)
    return Problem(centred, y.astype(np.int32), 3, tw.losses.Softmax(), weightings, np.zeros(1, int), one, 0 * one)


def test_the_largest_strength_of_l1_is_the_largest_gradient_at_zero() -> None:
    """max over weightings and entries of |Σ ω (p − y) xᵀ|, p the classes' shares: the bias is at its best."""
    X, y = uneven()
    weightings = np.random.default_rng(0).uniform(size=(2, len(y)))
    weightings /= weightings.sum(axis=1, keepdims=True)
    problem = problem_of(X, y, weightings)
    expected = 0.0
    for omega in weightings:
        truth = np.eye(3)[y]
        gradient = (omega[:, None] * (omega @ truth - truth)).T @ problem.features.astype(np.float64)
        expected = max(expected, np.abs(gradient).max())
    assert largest(problem, None) == pytest.approx(expected, rel=1e-12)


def test_the_largest_strength_of_l2_shrinks_the_weights_to_a_hundredth() -> None:
    """Exactly so for a quadratic loss and uncorrelated features, and about so for labels that are hardly learnt."""
    X = on_grid(np.random.default_rng(0).normal(size=(COUNT, WIDTH)))
    path = fitted((X, np.arange(COUNT) % 3), strengths=3)
    strongest, _, weakest = path.solutions
    assert weakest.strength == pytest.approx(1e-8 * strongest.strength)
    ratio = np.linalg.norm(strongest.weights) / np.linalg.norm(weakest.weights)
    assert 0.005 < ratio < 0.02
    problem = problem_of(X, np.arange(COUNT) % 3)
    assert strongest.strength == pytest.approx(largest(problem, decompose(problem.features)), rel=1e-6)


@pytest.mark.parametrize("factor", [2.0**20, 2.0**-20])
def test_a_count_follows_the_features_scale(factor: float) -> None:
    """Features times s have weights divided by s, so the penalty of the same path is s² times as large."""
    X, y = uneven()
    plain, scaled = fitted((X, y), strengths=3), fitted((X * np.float32(factor), y), strengths=3)
    for one, other in zip(plain.solutions, scaled.solutions, strict=True):
        assert other.strength == pytest.approx(one.strength * factor**2, rel=1e-12)
        # A power of 2 is taken out exactly: the very same numbers.
        assert (other.value, other.bound, other.iterations) == (one.value, one.bound, one.iterations)
        np.testing.assert_array_equal(other.weights * factor, one.weights)
        np.testing.assert_array_equal(other.bias, one.bias)


def test_solutions_are_in_order_whatever_the_order_given() -> None:
    X, y = uneven()
    path = fitted((X, y), strengths=[1e-4, 1e-1, 1e-2])
    assert [s.strength for s in path.solutions] == [1e-1, 1e-2, 1e-4]
    assert [s.number for s in path.solutions] == [0, 1, 2]
    assert [s.penalty for s in path.solutions] == [tw.penalties.L2(s) for s in (1e-1, 1e-2, 1e-4)]
    norms = [np.linalg.norm(s.weights) for s in path.solutions]
    assert norms == sorted(norms)
    assert path.settings["strengths"] == [1e-1, 1e-2, 1e-4]

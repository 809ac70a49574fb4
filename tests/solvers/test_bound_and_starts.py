"""The value bounds the gap, whatever the weights; lists serve as starts."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

import thalweg as tw
from thalweg.solvers.certificate import certify
from thalweg.solvers.problem import Problem

X = np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32)
X -= X.mean(axis=0)
Y = (np.arange(48) % 3).astype(np.int32)


def problem(loss: Any, ridge: float, lasso: float) -> Problem:
    weightings = np.full((1, 48), 1 / 48)
    return Problem(X, Y, 3, loss, weightings, np.zeros(2, int), np.full(2, ridge), np.full(2, lasso))


@pytest.mark.parametrize(
    ("loss", "ridge", "lasso"),
    [(tw.losses.Softmax(), 1e-6, 0.0), (tw.losses.Hinge(), 1e-6, 0.0), (tw.losses.Softmax(), 0.0, 1e-6)],
)
def test_a_bound_is_at_most_the_value(loss: Any, ridge: float, lasso: float) -> None:
    """At 0 and at weights that mean nothing, where the dual point proves less than a minimum that is not negative."""
    weights = np.stack([np.zeros((3, 5)), 3 * np.random.default_rng(1).normal(size=(3, 5))])
    alpha = np.full((2, 3, 48), 0.5, np.float32) if isinstance(loss, tw.losses.Hinge) else None
    found = certify(problem(loss, ridge, lasso), weights, np.zeros((2, 3)), alpha)
    assert np.all(found.bound <= found.value)
    if ridge:
        assert found.bound[1] == found.value[1]  # nothing better is known there
    weights[1] = np.nan
    assert np.isnan(certify(problem(loss, ridge, lasso), weights, np.zeros((2, 3)), alpha).value[1])


def bowl(w: jax.Array) -> jax.Array:
    return jnp.sum((w - 1) ** 2)


def test_a_list_of_numbers_is_an_array() -> None:
    solver = tw.solvers.LBFGS()
    for start in ([3.0, -1.0], (3, -1), [[3.0], [-1.0]]):
        found = solver.solve(bowl, start)
        weights: NDArray[np.float64] = found.weights
        assert weights.shape == np.shape(start)
        assert weights.dtype == np.float64
        np.testing.assert_allclose(weights, 1, atol=1e-6)
    batch = solver.solve(bowl, [[3.0, -1.0], [0.5, 2.0]], batched=True)
    assert list(batch.status) == ["converged"] * 2


def test_a_list_of_arrays_is_a_tree() -> None:
    def apart(w: list[jax.Array]) -> jax.Array:
        return bowl(w[0]) + bowl(w[1])

    found = tw.solvers.LBFGS().solve(apart, [np.zeros(2), np.zeros(3)])
    assert [w.shape for w in found.weights] == [(2,), (3,)]


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(tw.UsageError, match=r"start is \[\[1.0\], \[1.0, 2.0\]\], lists of different lengths"):
        tw.solvers.LBFGS().solve(bowl, [[1.0], [1.0, 2.0]])

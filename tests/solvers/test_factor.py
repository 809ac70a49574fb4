"""The factor of changing parts of a matrix, and the Hessian it is used for, beside dense algebra."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from thalweg.solvers import sparse_curvature
from thalweg.solvers.factor import Factor
from thalweg.solvers.sparse_curvature import Curvature, System, solve


def positive(size, seed):
    """A symmetric matrix with eigenvalues between 1 and about 5: float32 solves it to 1e-6."""
    root = np.random.default_rng(seed).standard_normal((size, 2 * size)).astype(np.float32)
    return np.eye(size, dtype=np.float32) + root @ root.T / np.float32(2 * size)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 30), st.data())
def test_solves_whatever_part_it_is_aimed_at(seed, size, data):
    matrix = positive(size, seed)
    order = np.random.default_rng(seed).permutation(size)
    core = order[: data.draw(st.integers(0, size - 1))]
    factor = Factor(matrix, core)
    for _ in range(3):
        index = order[np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, unique=True)))]
        if not factor.aim(matrix, index):
            assert len(np.setdiff1d(core, index)) > 16
            continue
        right = np.random.default_rng(seed + 1).standard_normal(len(index)).astype(np.float32)
        exact = np.linalg.solve(matrix[np.ix_(index, index)].astype(float), right)
        # The damping is 1e-5 of the mean diagonal, at three places at most.
        np.testing.assert_allclose(factor.solve(right), exact, atol=2e-4 * np.abs(exact).max())


def test_a_matrix_that_grows_keeps_its_factor():
    matrix = positive(20, 0)
    factor = Factor(matrix[:8, :8], np.arange(5))
    assert factor.aim(matrix[:8, :8], np.arange(8))
    index = np.array([0, 2, 3, 4, 7, 15, 19, 11])
    assert factor.aim(matrix, index)
    right = np.ones(len(index), np.float32)
    np.testing.assert_allclose(
        factor.solve(right), np.linalg.solve(matrix[np.ix_(index, index)].astype(float), right), atol=2e-4
    )


def test_singular_matrices_are_damped_until_they_factor():
    matrix = np.ones((6, 6), np.float32)
    factor = Factor(matrix, np.arange(4))
    assert factor.aim(matrix, np.arange(6))
    assert np.all(np.isfinite(factor.solve(np.ones(6, np.float32))))


def problem(seed=0, examples=40, features=7, classes=3):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((examples, features)).astype(np.float32)
    weighting = rng.uniform(0.5, 1.5, examples) / examples
    weights = rng.standard_normal((classes, features + 1)).astype(np.float32)
    wide = np.concatenate([x, np.ones((examples, 1), np.float32)], axis=1)
    return wide, weighting, weights, softmax(weights @ wide.T, axis=0)


def dense(wide, weighting, weights, ridge):
    """The Hessian by autodiff in float64, as (C, F, C, F)."""
    with jax.enable_x64(True):
        x, omega = jnp.asarray(wide, jnp.float64), jnp.asarray(weighting)

        def loss(w):
            data = jnp.sum(omega * jax.nn.logsumexp(w @ x.T, axis=0))
            return data + ridge * jnp.sum(w[:, :-1] ** 2)

        return np.asarray(jax.hessian(loss)(jnp.asarray(weights, jnp.float64)))


@pytest.mark.parametrize(("most", "rows"), [(12_000, 8192), (1, 8192), (12_000, 7)])
def test_the_hessian_is_that_of_autodiff(most, rows, monkeypatch):
    monkeypatch.setattr(sparse_curvature, "_MOST", most)
    monkeypatch.setattr(sparse_curvature, "_ROWS", rows)
    wide, weighting, weights, p = problem()
    exact = dense(wide, weighting, weights, 0.3)
    system = System(wide, p, np.eye(3)[np.arange(40) % 3].T, weighting, np.array([0.3] * 7 + [0.0]))
    some = np.random.default_rng(5).standard_normal(weights.shape).astype(np.float32)
    np.testing.assert_allclose(system.times(some), np.einsum("cfkg,kg->cf", exact, some), atol=1e-5)

    curvature = Curvature(p, weighting, 0.3, 8)
    free = np.random.default_rng(6).random(weights.shape) < 0.6
    first = free & (np.arange(8) % 2 == 0)
    curvature.cover(wide[:, :-1], np.arange(8), first)  # in two parts, as when weights join
    curvature.cover(wide[:, :-1], np.arange(8), free)
    for part in curvature._parts:
        blocks = exact[part.classes[:, None], part.columns[:, None], part.classes[None, :], part.columns[None, :]]
        np.testing.assert_allclose(part.matrix, blocks, atol=1e-5)
    assert len(curvature._parts) == (1 if most > 1 else 3)


def test_newtons_system_is_solved_on_the_free_part():
    wide, weighting, weights, p = problem(1)
    free = np.random.default_rng(2).random(weights.shape) < 0.5
    free[:, -1] = False
    exact = dense(wide, weighting, weights, 0.05)[free][:, free]
    right = np.where(free, np.random.default_rng(3).standard_normal(free.shape), 0).astype(np.float32)
    # Probabilities of another point: the preconditioner may be out of date, the solution may not.
    curvature = Curvature(softmax(0.5 * weights @ wide.T, axis=0), weighting, 0.05, 8)
    curvature.cover(wide[:, :-1], np.arange(8), free)
    curvature.factor(np.arange(8), free, weights)
    system = System(wide, p, np.eye(3)[np.arange(40) % 3].T, weighting, np.array([0.05] * 7 + [0.0]))
    found, residual, rounds = solve(system, curvature, free, np.zeros_like(right), right, 1e-12)
    assert 1 < rounds < 40
    np.testing.assert_allclose(found[free], np.linalg.solve(exact, right[free]), rtol=1e-3, atol=1e-4)
    assert not found[~free].any()
    np.testing.assert_allclose(residual[free], 0, atol=1e-5)

"""Sparse softmax paths beside a float64 reference, scikit-learn's saga, and identities."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression

from thalweg.errors import UsageError
from thalweg.losses import Hinge, Softmax
from thalweg.penalties import L1, ElasticNet
from thalweg.solvers.problem import Problem
from thalweg.solvers.solution import CONVERGED, INTERRUPTED, ITERATION_LIMIT
from thalweg.solvers.sparse import solve_sparse
from thalweg.solvers.sparse_curvature import Curvature, System
from thalweg.solvers.sparse_newton import Columns, Member, Point, _cycle


def made(examples=150, features=24, classes=3, seed=0):
    """Labels that depend on 4 features of 24."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(examples, features)).astype(np.float32)
    x -= x.mean(axis=0)
    truth = np.zeros((classes, features))
    truth[:, 2:6] = 2 * rng.normal(size=(classes, 4))
    y = np.argmax(x @ truth.T + rng.gumbel(size=(examples, classes)), axis=1)
    return x, y.astype(np.int32)


def strongest(x, y, weighting=None):
    """Return the least lasso at which the weights are 0."""
    weighting = np.full(len(y), 1 / len(y)) if weighting is None else weighting
    own = np.eye(y.max() + 1)[y] * weighting[:, None]
    return np.abs((own.sum(axis=0) * weighting[:, None] - own).T @ x).max()


def posed(x, y, lasso, ridge=0.0, weightings=None, rows=None):
    lasso = np.atleast_1d(np.asarray(lasso, float))
    weightings = np.full((1, len(y)), 1 / len(y)) if weightings is None else weightings
    rows = np.zeros(len(lasso), int) if rows is None else np.asarray(rows)
    return Problem(x, y, int(y.max()) + 1, Softmax(), weightings, rows, np.broadcast_to(ridge, lasso.shape), lasso)


def objective(problem, member, weights, bias):
    x, y = problem.features.astype(float), problem.labels
    scores = x @ weights.astype(float).T + bias
    loss = logsumexp(scores, axis=1) - scores[np.arange(len(y)), y]
    ridge, lasso = problem.ridge[member], problem.lasso[member]
    return loss @ problem.weightings[problem.rows[member]] + (ridge * weights**2 + lasso * np.abs(weights)).sum()


def gradient(problem, member, weights, bias):
    x, y = problem.features.astype(float), problem.labels
    p = softmax(x @ weights.astype(float).T + bias, axis=1)
    return ((p - np.eye(problem.classes)[y]) * problem.weightings[problem.rows[member]][:, None]).T @ x


def reference(problem, member, steps=6000):
    """Minimise by restarted accelerated proximal gradient in float64: nothing shared with the solver."""
    x = problem.features.astype(float)
    omega = problem.weightings[problem.rows[member]]
    whole = np.hstack([x, np.ones((len(x), 1))])
    rate = 2 / np.linalg.eigvalsh((whole * omega[:, None]).T @ whole)[-1]  # Böhning: the Hessian is at most ½ Σ ω x xᵀ
    ridge, lasso = problem.ridge[member], problem.lasso[member]
    w = last = np.zeros((problem.classes, whole.shape[1]))
    t = 1.0
    for _ in range(steps):
        grown = (1 + np.sqrt(1 + 4 * t * t)) / 2
        at = w + (t - 1) / grown * (w - last)
        p = (softmax(whole @ at.T, axis=1) - np.eye(problem.classes)[problem.labels]) * omega[:, None]
        new = at - rate * (p.T @ whole)
        new[:, :-1] = np.sign(new[:, :-1]) * np.maximum(np.abs(new[:, :-1]) - rate * lasso, 0) / (1 + 2 * rate * ridge)
        t = 1.0 if np.vdot(at - new, new - w) > 0 else grown
        w, last = new, w
    return w[:, :-1], w[:, -1]


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_value_meets_a_float64_reference_within_the_gap(beta):
    x, y = made()
    lasso = strongest(x, y) * np.array([0.5, 0.1, 0.03])
    problem = posed(x, y, lasso, ridge=beta * lasso)
    found = solve_sparse(problem, tolerance=1e-6)
    assert found.statuses == (CONVERGED,) * 3
    for member in range(3):
        best = objective(problem, member, *reference(problem, member))
        value = objective(problem, member, found.weights[member], found.certificate.bias[member])
        # The reference is within 1e-9 of the minimum, and the gap bounds what is above it.
        assert -1e-9 <= (value - best) / value <= found.certificate.relative[member] + 1e-9 <= 1e-6 + 1e-9


def test_agrees_with_saga():
    x, y = made()
    lasso = 0.1 * strongest(x, y)
    found = solve_sparse(posed(x, y, lasso), tolerance=1e-6)
    saga = LogisticRegression(l1_ratio=1, solver="saga", C=1 / (lasso * len(y)), tol=1e-9, max_iter=20_000)
    saga.fit(x.astype(float), y)
    p = softmax(x @ saga.coef_.T + saga.intercept_, axis=1)
    mine = softmax(x @ found.weights[0].T + found.certificate.bias[0], axis=1)
    # A gap of 1e-6 leaves errors of its square root in what is predicted.
    np.testing.assert_allclose(mine, p, atol=3e-3)


@pytest.mark.parametrize(("beta", "penalty"), [(0.0, L1), (0.7, lambda strength: ElasticNet(strength, 0.7))])
def test_subdifferential_residual_is_small(beta, penalty):
    x, y = made(seed=1)
    lasso = 0.2 * strongest(x, y)
    problem = posed(x, y, lasso, ridge=beta * lasso)
    found = solve_sparse(problem, tolerance=1e-6)
    slope = gradient(problem, 0, found.weights[0], found.certificate.bias[0])
    residual = penalty(lasso).residual(jnp.asarray(found.weights[0]), jnp.asarray(slope, jnp.float32))
    assert np.max(residual) < 1e-3 * lasso


def test_zeros_are_exact_and_the_known_support_is_found():
    x, y = made(examples=1500)
    found = solve_sparse(posed(x, y, 0.15 * strongest(x, y)))
    used = np.any(found.weights[0] != 0, axis=0)
    np.testing.assert_array_equal(np.flatnonzero(used), [2, 3, 4, 5])


def test_nothing_but_the_bias_at_the_strongest():
    x, y = made()
    found = solve_sparse(posed(x, y, strongest(x, y) * np.array([1.001, 3.0])), tolerance=1e-9)
    assert not found.weights.any()
    odds = np.log(np.bincount(y) / len(y))
    np.testing.assert_allclose(
        found.certificate.bias - found.certificate.bias[:, :1], np.tile(odds - odds[0], (2, 1)), atol=1e-12
    )
    assert found.statuses == (CONVERGED,) * 2


def test_a_fold_is_the_problem_without_its_rows():
    x, y = made()
    lasso = 0.1 * strongest(x, y)
    kept = np.arange(len(y)) % 4 != 0
    fold = np.stack([kept / kept.sum(), np.full(len(y), 1 / len(y))])
    both = posed(x, y, [lasso, lasso], weightings=fold, rows=[0, 1])
    alone = posed(x[kept], y[kept], lasso)
    found = solve_sparse(both, tolerance=1e-6)
    dropped = solve_sparse(alone, tolerance=1e-6)
    values = [objective(alone, 0, f.weights[0], f.certificate.bias[0]) for f in (found, dropped)]
    np.testing.assert_allclose(*values, rtol=1.1e-6)
    assert found.statuses == (CONVERGED,) * 2


def test_a_weight_is_a_repetition():
    x, y = made(examples=90)
    times = 1 + np.arange(90) % 3
    lasso = 0.1 * strongest(x, y)
    weighted = posed(x, y, lasso, weightings=(times / times.sum())[None])
    repeated = posed(np.repeat(x, times, axis=0), np.repeat(y, times), lasso)
    a, b = solve_sparse(weighted, tolerance=1e-6), solve_sparse(repeated, tolerance=1e-6)
    values = [objective(repeated, 0, f.weights[0], f.certificate.bias[0]) for f in (a, b)]
    np.testing.assert_allclose(*values, rtol=1.1e-6)


def test_duplicate_and_constant_features_and_more_features_than_examples():
    x, y = made(examples=60, features=90)
    x[:, 1], x[:, 7] = x[:, 2], 0
    problem = posed(x, y, strongest(x, y) * np.array([0.3, 0.05]))
    found = solve_sparse(problem)
    assert found.statuses == (CONVERGED,) * 2
    assert np.isfinite(found.weights).all()
    assert not found.weights[:, :, 7].any()
    lean = dataclasses.replace(problem, features=np.delete(x, [1, 7], axis=1))
    best = objective(lean, 1, *reference(lean, 1))
    assert objective(problem, 1, found.weights[1], found.certificate.bias[1]) <= best * (1 + 1.1e-4)


def test_near_duplicates_and_columns_of_very_different_scale_are_solved():
    x, y = made(examples=200, features=40)
    x[:, 20:] = x[:, :20] + 1e-3 * x[:, 20:]
    x *= np.geomspace(1, 1e-3, 40, dtype=np.float32)
    found = solve_sparse(posed(x, y, strongest(x, y) * np.geomspace(0.5, 1e-4, 8)))
    assert found.statuses == (CONVERGED,) * 8


def test_separable_data_and_next_to_no_penalty():
    x, y = made(examples=40, features=60)
    problem = posed(x, y, [1e-8, 1e-10])
    found = solve_sparse(problem, tolerance=1e-4)
    assert found.statuses == (CONVERGED,) * 2


def test_a_start_far_away_is_as_good():
    x, y = made()
    problem = posed(x, y, 0.1 * strongest(x, y))
    far = 30 * np.random.default_rng(0).normal(size=(1, 3, 24))
    found = solve_sparse(problem, tolerance=1e-6, start=(far, np.full((1, 3), [5.0, -9.0, 2.0])))
    assert found.statuses == (CONVERGED,)


@pytest.mark.parametrize("most", [12_000, 1])
def test_one_class_at_a_time_finds_the_same(most, monkeypatch):
    monkeypatch.setattr("thalweg.solvers.sparse_curvature._MOST", most)
    x, y = made(seed=3)
    found = solve_sparse(posed(x, y, strongest(x, y) * np.array([0.3, 0.01])), tolerance=1e-7)
    assert found.statuses == (CONVERGED,) * 2


def test_an_error_within_a_thread_is_raised():
    x, y = made()

    def fail(done):
        raise RuntimeError("the watch failed")

    with pytest.raises(RuntimeError, match="the watch failed"):
        solve_sparse(posed(x, y, strongest(x, y) * np.array([0.5, 0.1])), watch=fail)


def test_many_members_are_counted():
    x, y = made()
    lasso = strongest(x, y) * np.geomspace(0.9, 0.05, 45)
    seen = []
    found = solve_sparse(posed(x, y, lasso), watch=seen.append)
    assert found.statuses == (CONVERGED,) * 45
    assert seen[-1] == 45
    assert seen == sorted(seen)
    assert np.all(found.certificate.relative <= 1e-4)


def test_a_weak_strength_alone_is_reached_by_way_of_stronger_ones():
    x, y = made(examples=60, features=90)
    problem = posed(x, y, strongest(x, y) * np.array([1e-3]))
    found = solve_sparse(problem, tolerance=1e-6)
    assert found.statuses == (CONVERGED,)
    best = objective(problem, 0, *reference(problem, 0, steps=40_000))
    assert objective(problem, 0, found.weights[0], found.certificate.bias[0]) <= best * (1 + 1.1e-6)


def test_what_is_found_does_not_hang_on_the_number_of_threads(monkeypatch):
    x, y = made()
    problem = posed(x, y, strongest(x, y) * np.geomspace(0.5, 0.01, 7))
    several = solve_sparse(problem)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    np.testing.assert_array_equal(solve_sparse(problem).weights, several.weights)


def test_stopping_keeps_what_is_done():
    x, y = made()
    problem = posed(x, y, strongest(x, y) * np.geomspace(0.5, 0.01, 9))
    found = solve_sparse(problem, watch=lambda done: done >= 3)
    # Two members are at work at a time: the fourth may be the third that is done, and the third be cut short.
    assert found.statuses[:2] == (CONVERGED,) * 2
    assert found.statuses.count(CONVERGED) >= 3
    assert found.statuses[-1] == INTERRUPTED
    done = np.array([status == CONVERGED for status in found.statuses])
    assert np.all(found.certificate.relative[done] <= 1e-4)


def test_a_careful_step_lowers_the_value_where_many_weights_cross():
    x, y = made(examples=40, features=60)
    x[:, 1::2] = x[:, ::2] + 0.05 * x[:, 1::2]  # pairs that nearly coincide: their weights cross together
    problem = posed(x, y, strongest(x, y) * 0.02)
    own = np.eye(3)[y].T
    member = Member(Columns(problem.features), own, problem.weightings[0], 0.0, float(problem.lasso[0]))
    weights = np.random.default_rng(0).normal(size=(3, 61)) * 0.3
    point = Point.at(member, weights)
    columns = np.arange(61)
    features, _ = member.features.take(columns)
    signs = np.sign(weights).astype(np.float32)
    signs[:, -1] = 0
    free = np.ones(weights.shape, bool)
    curvature = Curvature(point.probabilities, member.weighting, 0.0, 61)
    curvature.cover(x, columns, free)
    system = System(features, point.probabilities, own, member.weighting, np.zeros(61))
    target = -(point.gradient + member.lasso * signs).astype(np.float32)
    change = _cycle(system, curvature, columns, target, weights, signs, free, True)

    def model(d):
        return float(np.vdot(d, 0.5 * system.times(d.astype(np.float32)) - target))

    assert np.all((weights + change) * signs >= 0)
    assert np.count_nonzero((weights + change == 0) & (weights != 0)) > 5
    assert model(change) < 0


def test_a_start_at_the_optimum_takes_no_step():
    x, y = made()
    problem = posed(x, y, 0.1 * strongest(x, y))
    first = solve_sparse(problem, tolerance=1e-5)
    again = solve_sparse(problem, tolerance=2e-5, start=(first.weights, first.certificate.bias))
    assert again.iterations[0] == 0
    np.testing.assert_array_equal(again.weights, first.weights)


def test_the_limit_is_said():
    x, y = made()
    found = solve_sparse(posed(x, y, 0.01 * strongest(x, y)), tolerance=1e-8, iterations=3)
    assert found.statuses == (ITERATION_LIMIT,)
    assert found.iterations[0] == 3


def test_refuses_what_it_cannot_solve():
    x, y = made()
    problem = posed(x, y, 0.1)
    with pytest.raises(UsageError, match="Hinge"):
        solve_sparse(dataclasses.replace(problem, loss=Hinge()))
    with pytest.raises(UsageError, match="lasso > 0"):
        solve_sparse(posed(x, y, 0.0, ridge=1.0))
    with pytest.raises(UsageError, match="start"):
        solve_sparse(problem, start=(np.zeros((1, 3, 2)), np.zeros((1, 3))))

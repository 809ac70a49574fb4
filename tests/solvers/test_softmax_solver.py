"""Softmax with L2: optima against references, members side by side, precisions, ends."""

import jax
import numpy as np
import pytest
from references import problem, softmax_ridge

from thalweg.errors import UsageError
from thalweg.losses import Hinge
from thalweg.solvers import softmax as solver
from thalweg.solvers.problem import Problem
from thalweg.solvers.softmax_step import _line_search, _Quadratic
from thalweg.solvers.solution import CONVERGED, INTERRUPTED, ITERATION_LIMIT
from thalweg.solvers.solve import default_tolerance, solve
from thalweg.solvers.spectrum import KINDS, decompose
from thalweg.solvers.warm_starts import WarmStarts


def made(seed=0, count=60, width=8, classes=3, separable=False):
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = rng.standard_normal((count, width)) * np.linspace(2, 0.2, width)
    x[:, :classes] += (8 if separable else 1) * np.eye(classes)[y]
    return x - x.mean(axis=0), y


@pytest.mark.parametrize(("classes", "separable"), [(2, False), (3, False), (3, True), (7, False)])
def test_meets_a_float64_reference(classes, separable):
    x, y = made(classes=classes, separable=separable)
    one = problem(x, y, ridge=np.logspace(1, -7, 9))
    found = solve(one)
    assert set(found.statuses) == {CONVERGED}
    for member in range(len(one)):
        W, _, minimum = softmax_ridge(one, member)
        gap = found.certificate.value[member] - minimum
        # The reference's log-sum-exp is good to 1e-15 absolute.
        assert -1e-12 * minimum - 1e-15 <= gap <= found.certificate.bound[member] + 1e-12 * minimum + 1e-15
        assert found.certificate.relative[member] <= 1e-6
        # |W − W*|² ridge ≤ gap, by strong convexity
        assert one.ridge[member] * np.sum((found.weights[member] - W) ** 2) <= found.certificate.bound[member] + 1e-15


def test_a_tight_tolerance_is_reached_in_float64():
    x, y = made()
    found = solve(problem(x, y, ridge=[1e-1, 1e-3]), tolerance=1e-12)
    assert found.statuses == (CONVERGED,) * 2
    assert found.certificate.relative.max() <= 1e-12


def test_members_side_by_side_are_as_alone():
    """To the tolerance, not to the bit: starts and products' shapes differ."""
    x, y = made()
    one = problem(x, y, ridge=np.logspace(0, -5, 11))
    together = solve(one, tolerance=1e-10)
    for member in (0, 5, 10):
        alone = solve(one.take([member]), tolerance=1e-10)
        np.testing.assert_allclose(together.weights[member], alone.weights[0], atol=3e-4 * np.abs(alone.weights).max())
        np.testing.assert_allclose(together.certificate.value[member], alone.certificate.value[0], rtol=2e-10)


def test_a_fold_is_the_problem_without_its_rows():
    x, y = made(count=90)
    kept = np.arange(90) % 5 != 0
    weightings = np.stack([np.full(90, 1 / 90), kept / kept.sum()])
    both = problem(x, y, ridge=[1e-3, 1e-3], weightings=weightings, rows=[0, 1])
    found = solve(both, tolerance=1e-10)
    alone = solve(problem(x[kept], y[kept], ridge=[1e-3]), tolerance=1e-10)
    np.testing.assert_allclose(found.certificate.value[1], alone.certificate.value[0], rtol=1e-9)
    right = found.certificate.correct[1]
    scores = both.features @ found.weights[1].T + found.certificate.bias[1]
    np.testing.assert_array_equal(right, scores.argmax(axis=1) == y)


@pytest.mark.parametrize("kind", KINDS)
def test_every_spectrum_leads_to_the_optimum(kind):
    """More features than examples, and wide enough for the correction in the leading eigenvectors."""
    rng = np.random.default_rng(1)
    count, width = 40, 1100
    x = rng.standard_normal((count, 12)) @ rng.standard_normal((12, width)) + 0.3 * rng.standard_normal((count, width))
    x = (x - x.mean(axis=0)) / x.std()
    one = problem(x, np.arange(count) % 3, ridge=[1e-1, 1e-3])
    found = solve(one, spectrum=decompose(one.features, kind))
    assert found.statuses == (CONVERGED,) * 2
    # The same optimum through the examples' Gram matrix, in float64: features of 40 columns with the same products.
    values, vectors = np.linalg.eigh(one.features.astype(float) @ one.features.T.astype(float))
    small = problem(vectors * np.sqrt(np.maximum(values, 0)), one.labels, ridge=one.ridge)
    for member in range(2):
        _, _, minimum = softmax_ridge(small, member)
        # `small` is rounded to float32, which moves its minimum by about 1e-7 of itself.
        assert abs(found.certificate.value[member] / minimum - 1) <= 2e-6


def test_the_slots_are_refilled_and_members_counted(monkeypatch):
    monkeypatch.setattr(solver, "_ENTRIES", 1)
    monkeypatch.setattr(solver, "_ROWS", 9)
    x, y = made()
    one = problem(x, y, ridge=np.logspace(0, -4, 13))
    seen = []
    found = solve(one, watch=lambda done: seen.append(done) or False)
    assert found.statuses == (CONVERGED,) * 13
    assert len(seen) > 0
    assert seen == sorted(seen)
    assert seen[-1] == 13


def test_warm_starts_save_iterations(monkeypatch):
    x, y = made(count=200, width=30)
    one = problem(x, y, ridge=np.logspace(-1, -4, 17))
    monkeypatch.setattr(solver, "_ENTRIES", 1)
    monkeypatch.setattr(solver, "_ROWS", 12)
    warm = solve(one).iterations.sum()
    monkeypatch.setattr(solver, "_ROWS", 1000)
    assert warm < 0.8 * solve(one).iterations.sum()


def test_one_program_serves_all_members(monkeypatch, compiled):
    monkeypatch.setattr(solver, "_ENTRIES", 1)
    monkeypatch.setattr(solver, "_ROWS", 9)
    x, y = made(seed=3, count=57)
    solve(problem(x, y, ridge=np.logspace(0, -3, 10)), tolerance=1e-4)
    assert compiled.count("step") == 1  # float32 sufficed


def test_the_iteration_limit_is_a_status_and_the_bound_holds():
    x, y = made()
    one = problem(x, y, ridge=[1e-4])
    found = solve(one, iterations=2)
    assert found.statuses == (ITERATION_LIMIT,)
    _, _, minimum = softmax_ridge(one, 0)
    assert found.certificate.value[0] - found.certificate.bound[0] <= minimum * (1 + 1e-12)
    assert found.certificate.relative[0] > 1e-6


def test_stopping_leaves_what_was_found():
    x, y = made()
    one = problem(x, y, ridge=np.logspace(0, -8, 5))
    found = solve(one, watch=lambda done: True)
    assert INTERRUPTED in found.statuses
    assert np.isfinite(found.certificate.bound).all()


def test_duplicate_and_constant_features():
    x, y = made()
    one = problem(np.hstack([x, x[:, :2], np.zeros((len(x), 1))]), y, ridge=[1e-2])
    found = solve(one, tolerance=1e-10)
    assert found.statuses == (CONVERGED,)
    np.testing.assert_allclose(found.weights[0][:, :2], found.weights[0][:, 8:10], atol=1e-6)
    np.testing.assert_array_equal(found.weights[0][:, 10], 0)


def test_refuses_what_it_cannot_solve():
    x, y = made()
    with pytest.raises(UsageError, match="hinge with an L1"):
        solve(problem(x, y, loss=Hinge(), ridge=[0.0], lasso=[0.1]))
    with pytest.raises(UsageError, match="tolerance"):
        solve(problem(x, y, ridge=[0.1]), tolerance=0.0)
    with pytest.raises(UsageError, match="needs a penalty"):
        problem(x, y, ridge=[0.0])
    with pytest.raises(ValueError, match="leaves class 2 without an example"):
        problem(x, y, ridge=[0.1], weightings=[(y != 2) / np.sum(y != 2)])


def test_default_tolerances():
    x, y = made()
    assert default_tolerance(problem(x, y, ridge=[0.1])) == 1e-6
    assert default_tolerance(problem(x, y, ridge=[0.0], lasso=[0.1])) == 1e-4
    assert default_tolerance(problem(x, y, loss=Hinge(), ridge=[0.1])) == 1e-3


def test_a_problem_checks_its_arrays():
    x, y = made()
    good = problem(x, y, ridge=[0.1])
    for change in (
        {"features": good.features.astype(np.float64)},
        {"labels": good.labels + 1},
        {"weightings": good.weightings * 2},
        {"weightings": -good.weightings},
    ):
        arrays = {name: getattr(good, name) for name in Problem.__dataclass_fields__} | change
        with pytest.raises(ValueError, match=r"features|labels|weightings"):
            Problem(**arrays)


def one_round_of_float32(monkeypatch):
    monkeypatch.setattr("thalweg.solvers.spectrum.FLOAT64_WIDTH", 0)
    monkeypatch.setattr(solver, "_ROUNDS", ((np.float32, 0.7),))


def test_next_to_no_penalty_float32_leads_the_way(monkeypatch):
    """Rounding outside the span of all eigenvectors, times 1 / (2 ridge), would drown the step."""
    one_round_of_float32(monkeypatch)
    x, y = made(count=200, width=100)
    found = solve(problem(x, y, ridge=[1e-10]), iterations=40)
    assert found.certificate.value[0] < 1e-3


@pytest.mark.parametrize("length", [1e-4, 1.0, 1e3, 1e7])
def test_no_line_search_climbs(x64, length):
    """Convex along the direction: what is found lies below the start, however long the direction is."""
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(0, 4, (6, 3, 50)), np.arange(50, dtype=np.int32) % 3
    gradient = np.asarray(jax.nn.softmax(scores, axis=1)) - (labels == np.arange(3)[:, None])
    along = -length * gradient * rng.uniform(0.5, 2, (6, 1, 50))
    along[0] *= -1  # one that leads uphill
    omega, none = np.full((6, 50), 0.02), np.zeros(6)

    def value(s):
        return np.mean(jax.nn.logsumexp(s, axis=1) - np.take_along_axis(s, labels[None, None, :], axis=1)[:, 0], axis=1)

    start = np.sum(gradient * along, axis=(1, 2)) / 50
    a = np.asarray(_line_search(scores, along, labels, omega, start, _Quadratic(none, none)))
    assert a[0] == 0
    assert np.all(a[1:] > 0)
    assert np.all(value(scores + a[:, None, None] * along)[1:] < value(scores)[1:])


def test_a_start_worse_than_nothing_is_given_up(monkeypatch):
    x, y = made()
    one = problem(x, y, ridge=np.logspace(0, -3, 5))
    wild = np.full((3, 8), 1e4, np.float32) * np.eye(3, 8, dtype=np.float32)
    monkeypatch.setattr(WarmStarts, "start", lambda self, member: (wild, np.zeros(3)))
    monkeypatch.setattr(solver, "_ROUNDS", ((np.float32, 0.7),))
    assert np.all(solve(one, iterations=3).certificate.value < np.log(3))

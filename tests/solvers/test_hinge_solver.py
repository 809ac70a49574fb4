"""The hinge's solver against oracles that share nothing with it: libsvm, and the dual solved in float64 by SciPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.svm import SVC

from thalweg.losses import Hinge
from thalweg.solvers import hinge
from thalweg.solvers.hinge import solve_hinge
from thalweg.solvers.hinge_prox import hinge_dual_step
from thalweg.solvers.optima import Optima
from thalweg.solvers.problem import Problem
from thalweg.solvers.solution import CONVERGED, INTERRUPTED, ITERATION_LIMIT
from thalweg.solvers.spectrum import KINDS, decompose


def make(
    count: int = 60, width: int = 7, classes: int = 4, *, spread: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return centred features and labels; a large ``spread`` makes the classes separable."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)]).astype(np.int32)
    centres = spread * rng.standard_normal((classes, width))
    features = centres[labels] + rng.standard_normal((count, width)) * rng.uniform(0.3, 2, width)
    return (features - features.mean(axis=0)).astype(np.float32), labels


def problem_of(
    features: np.ndarray, labels: np.ndarray, ridge: np.ndarray | list[float], weightings: np.ndarray | None = None
) -> Problem:
    """Return the problem of every weighting at every ridge."""
    strengths = np.asarray(ridge, float)
    raw = np.ones((1, len(labels))) if weightings is None else weightings
    members = len(strengths) * len(raw)
    return Problem(
        features=features,
        labels=labels,
        classes=int(labels.max()) + 1,
        loss=Hinge(),
        weightings=raw / raw.sum(axis=1, keepdims=True),
        rows=np.repeat(np.arange(len(raw)), len(strengths)),
        ridge=np.tile(strengths, len(raw)),
        lasso=np.zeros(members),
    )


def solved(problem: Problem, kind: str = "full", tolerance: float = 1e-3) -> Optima:
    optima = solve_hinge(problem, decompose(problem.features, kind), tolerance=tolerance)
    assert optima.statuses == (CONVERGED,) * len(problem)
    assert np.all(optima.certificate.relative <= tolerance)
    return optima


def minimum(problem: Problem, member: int) -> float:
    """Return the minimum in float64, after checking that an interior-point method on the dual closed its gap.

    max cᵀa − aᵀQa/2 with 0 ≤ a ≤ 1 and Ea = 0, a being the multipliers of the pairs of an example and a wrong class.
    """
    x, ridge, classes = problem.features.astype(np.float64), problem.ridge[member], problem.classes
    omega = problem.weightings[problem.rows[member]]
    rows, wrong = np.nonzero((np.arange(classes) != problem.labels[:, None]) & (omega > 0)[:, None])
    c = omega[rows]
    E = (np.eye(classes)[:, wrong] - np.eye(classes)[:, problem.labels[rows]]) * c
    gram = x[rows] @ x[rows].T
    Q = (E.T @ E) * gram / (2 * ridge)
    E = E[1:]  # the flows sum to 0 by themselves
    a, low, high, nu = np.full(len(c), 0.5), c.copy(), c.copy(), np.zeros(classes - 1)
    for _ in range(200):
        mu = 0.1 * (a @ low + (1 - a) @ high) / (2 * len(c))
        right = c - Q @ a + mu / a - mu / (1 - a)
        system = np.block([[Q + np.diag(low / a + high / (1 - a)), E.T], [E, np.zeros((len(nu), len(nu)))]])
        solution = np.linalg.solve(system, np.r_[right, -E @ a])
        da, nu = solution[: len(a)], solution[len(a) :]
        dlow, dhigh = mu / a - low - low / a * da, mu / (1 - a) - high + high / (1 - a) * da
        ratios = [-part / change for part, change in ((a, da), (1 - a, -da), (low, dlow), (high, dhigh))]
        length = min(1.0, 0.99 * min(np.min(ratio[ratio > 0], initial=np.inf) for ratio in ratios))
        a, low, high = a + length * da, low + length * dlow, high + length * dhigh
        if mu * len(c) < 1e-12 * (c @ a - a @ Q @ a / 2):
            break
    dual = c @ a - a @ Q @ a / 2
    signed = np.zeros((len(x), classes))
    np.add.at(signed, (rows, wrong), a * c)
    np.add.at(signed, (rows, problem.labels[rows]), -a * c)
    value = objective(problem, member, -signed.T @ x / (2 * ridge), np.r_[0, -nu])
    assert np.max(np.abs(signed.sum(axis=0))) < 1e-12
    assert -1e-10 * value <= value - dual <= 1e-7 * value
    return float(dual)


def objective(problem: Problem, member: int, weights: np.ndarray, bias: np.ndarray) -> float:
    scores = problem.features.astype(np.float64) @ weights.T + bias
    own = np.eye(problem.classes)[problem.labels]
    excess = np.maximum(scores - np.sum(scores * own, axis=1, keepdims=True) + 1, 0) * (1 - own)
    return problem.weightings[problem.rows[member]] @ excess.sum(axis=1) + problem.ridge[member] * np.sum(weights**2)


def folds(count: int, number: int) -> np.ndarray:
    return np.stack([(np.arange(count) % number != fold).astype(float) for fold in range(number)])


CASES = {
    "overlapping classes": (make(), [1e-1, 1e-3]),
    "two classes": (make(classes=2), [1.0, 1e-2]),
    "separable, hardly penalised": (make(spread=6), [1e-4, 1e-6]),
    "more features than examples": (make(count=20, width=40), [1e-1, 1e-6]),
    "a huge penalty": (make(), [1e5, 1e2]),
    "a class of one example": (
        (make()[0], np.where((make()[1] == 3) & (np.arange(60) > 3), 0, make()[1]).astype(np.int32)),
        [1e-1, 1e-2],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_bound_holds_and_is_met(name: str) -> None:
    (features, labels), ridge = CASES[name]
    problem = problem_of(features, labels, ridge)
    optima = solved(problem)
    for member in range(len(problem)):
        best = minimum(problem, member)
        value = objective(problem, member, optima.weights[member], optima.certificate.bias[member])
        assert value == pytest.approx(optima.certificate.value[member], rel=1e-12)
        # The oracle's lower end is a dual value, rounded in float64.
        assert -1e-9 * value <= value - best <= optima.certificate.bound[member] + 1e-9 * value


@pytest.mark.parametrize("ridge", [1e-1, 1e-2])
def test_two_classes_are_libsvm(ridge: float) -> None:
    """With u = W_1 − W_0 and W_1 = −W_0, Σ W² = |u|²/2: the objective is libsvm's over C N at C = 1/(ridge N)."""
    features, labels = make(classes=2, seed=3)
    problem = problem_of(features, labels, [ridge])
    optima = solved(problem, tolerance=1e-5)
    peer = SVC(kernel="linear", C=1 / (ridge * len(labels)), tol=1e-9).fit(features.astype(np.float64), labels)
    u = peer.coef_[0]
    best = objective(problem, 0, np.stack([-u / 2, u / 2]), np.array([0, peer.intercept_[0]]))
    assert optima.certificate.value[0] == pytest.approx(best, rel=1e-5)  # the tolerance asked for
    # Strong convexity: ridge |W − W*|² ≤ value − minimum.
    difference = optima.weights[0, 1] - optima.weights[0, 0] - u
    assert ridge * np.sum(difference**2) / 2 <= optima.certificate.bound[0] + 1e-8 * best


@pytest.mark.parametrize("kind", KINDS)
def test_every_spectrum_serves(kind: str) -> None:
    features, labels = make()
    problem = problem_of(features, labels, [1e-1, 1e-2])
    reference = solved(problem, "full").certificate
    certificate = solved(problem, kind).certificate
    assert np.all(np.abs(certificate.value - reference.value) <= np.maximum(certificate.bound, reference.bound))


def test_a_low_rank_spectrum_bounds_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean variance of the other directions, which preconditioners take, would let the iteration diverge."""
    monkeypatch.setattr("thalweg.solvers.spectrum.RANK", 3)
    features, labels = make(count=90, width=20)
    features = features * np.r_[np.full(6, 5), np.full(14, 0.05)].astype(np.float32)
    solved(problem_of(features, labels, [1e-1, 1e-2]), "low-rank")


def test_a_fold_is_the_rows_it_keeps() -> None:
    features, labels = make()
    both = problem_of(features, labels, [1e-1, 1e-2], folds(60, 3))
    optima = solved(both)
    for member, row in enumerate(both.rows):
        kept = both.weightings[row] > 0
        alone = problem_of(features[kept], labels[kept], [both.ridge[member]])
        best = minimum(alone, 0)
        assert -1e-9 <= optima.certificate.value[member] - best <= optima.certificate.bound[member] + 1e-9 * best


def test_a_weight_of_three_is_three_copies() -> None:
    features, labels = make()
    times = np.where(np.arange(60) % 4 == 0, 3, 1)
    weighted = solved(problem_of(features, labels, [1e-2], times[None].astype(float))).certificate
    copied = problem_of(np.repeat(features, times, axis=0), np.repeat(labels, times), [1e-2])
    best = minimum(copied, 0)
    assert -1e-9 <= weighted.value[0] - best <= weighted.bound[0] + 1e-9 * best


def test_constant_and_duplicate_features_are_no_matter() -> None:
    features, labels = make()
    plain = solved(problem_of(features, labels, [1e-2])).certificate
    wider = np.concatenate([features, np.zeros((60, 2), np.float32)], axis=1)
    more = solved(problem_of(wider, labels, [1e-2])).certificate
    assert abs(plain.value[0] - more.value[0]) <= max(plain.bound[0], more.bound[0])
    # Two copies at twice the penalty each share the weight: the same minimum.
    twice = solved(problem_of(np.concatenate([features, features], axis=1), labels, [2e-2])).certificate
    assert abs(plain.value[0] - twice.value[0]) <= max(plain.bound[0], twice.bound[0])


def test_members_side_by_side_are_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slots for nine members: most start from another's point, and of another weighting."""
    monkeypatch.setattr(hinge, "_ROWS", 8)
    monkeypatch.setattr(hinge, "_ENTRIES", 0)
    features, labels = make()
    problem = problem_of(features, labels, [1.0, 1e-1, 1e-2], folds(60, 3))
    together = solved(problem).certificate
    for member in range(len(problem)):
        alone = solved(problem.take([member])).certificate
        assert abs(together.value[member] - alone.value[0]) <= max(together.bound[member], alone.bound[0])
        np.testing.assert_array_equal(together.correct[member].shape, (60,))


def test_the_watch_hears_and_stops() -> None:
    features, labels = make()
    problem = problem_of(features, labels, [1e5, 1e-4])
    spectrum = decompose(features, "full")
    heard: list[int] = []
    optima = solve_hinge(problem, spectrum, watch=lambda done: heard.append(done) or done == 1)  # type: ignore[func-returns-value]
    assert heard[-1] == 1
    assert optima.statuses == (CONVERGED, INTERRUPTED)
    best = minimum(problem, 1)
    assert optima.certificate.value[1] - best <= optima.certificate.bound[1]
    # What the second had reached is kept: far better than no weights at all.
    assert optima.iterations[1] > 0
    assert optima.weights[1].any()
    assert optima.certificate.value[1] < problem.classes - 1


def test_the_limit_is_kept_and_said() -> None:
    features, labels = make()
    problem = problem_of(features, labels, [1e-4])
    optima = solve_hinge(problem, decompose(features, "full"), iterations=3)
    assert optima.statuses == (ITERATION_LIMIT,)
    np.testing.assert_array_equal(optima.iterations, [3])
    assert optima.certificate.value[0] - minimum(problem, 0) <= optima.certificate.bound[0]


jitted = jax.jit(hinge_dual_step)


def dual_step(v: np.ndarray, label: int, kappa: float, rho: float) -> tuple[np.ndarray, float]:
    """Return a (C,) and z_y for one example, after a few calls that start from the last root, as the solver's do."""
    own = (np.arange(len(v)) == label)[None, :, None]
    root = jnp.zeros((1, 1), v.dtype)
    for _ in range(5):
        a, root = jitted(
            jnp.asarray(v[None, :, None]), jnp.asarray(own), jnp.full((1, 1), kappa, v.dtype),
            jnp.full(1, rho, v.dtype), root,
        )  # fmt: skip
        assert float(jnp.abs(jnp.sum(a))) <= 1e-12
        assert np.all((np.asarray(a) <= kappa) & ((np.asarray(a) >= 0) | own))  # feasible however rough the root
    return np.asarray(a)[0, :, 0], float(root[0, 0])


scores = st.sampled_from([2, 3, 9]).flatmap(lambda n: st.lists(st.floats(-4, 4, width=32), min_size=n, max_size=n))


@given(scores, st.integers(0, 8), st.floats(0, 8), st.floats(0.125, 8))
@settings(max_examples=100)
def test_the_proximal_map_is_feasible_and_optimal(v: list[float], label: int, kappa: float, rho: float) -> None:
    """a must be a subgradient at z = v − a/ρ: its bound where a wrong class exceeds the margin, 0 where it does not."""
    label %= len(v)
    with jax.enable_x64(True):
        a, _ = dual_step(np.array(v), label, kappa, rho)
    wrong = np.arange(len(v)) != label
    z = np.array(v) - a / rho
    excess = z - z[label] + 1
    assert np.all(a[wrong & (excess > 1e-9)] >= kappa - 1e-9)
    assert np.all(a[wrong & (excess < -1e-9)] <= 1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_the_proximal_map_is_the_minimiser(seed: int) -> None:
    """As a smooth problem with slack: min c Σ e + ½|z − v|² with e ≥ 0 and e ≥ 1 + z_j − z_y."""
    rng = np.random.default_rng(seed)
    v, kappa, rho = rng.standard_normal(5) * 2, 0.7, 1.3
    with jax.enable_x64(True):
        a, root = dual_step(v, 2, kappa, rho)
    wrong = np.arange(5) != 2
    z = v - a / rho
    assert root == pytest.approx(z[2], abs=1e-12)

    def value(p: np.ndarray) -> float:
        return float(kappa / rho * np.sum(p[5:]) + np.sum((p[:5] - v) ** 2) / 2)

    above = [lambda p: p[5:], lambda p: p[5:] - 1 - p[:5][wrong] + p[2]]
    constraints = [{"type": "ineq", "fun": part} for part in above]
    start = np.r_[v, np.full(4, 9.0)]
    found = minimize(value, start, method="SLSQP", constraints=constraints, options={"ftol": 1e-15, "maxiter": 500})
    np.testing.assert_allclose(z, found.x[:5], atol=1e-6)  # SLSQP's accuracy

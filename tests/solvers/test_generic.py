"""LBFGS, BFGS and Newton on functions with known optima, beside SciPy, and where things go wrong."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from thalweg.errors import UsageError
from thalweg.losses import Softmax
from thalweg.solvers.bfgs import BFGS
from thalweg.solvers.krylov import conjugate_gradients, least_eigenpair
from thalweg.solvers.lbfgs import LBFGS
from thalweg.solvers.newton import Newton
from thalweg.solvers.solution import CONVERGED, ITERATION_LIMIT, NO_OPTIMUM, NOT_FINITE, STALLED

TIGHT = 1e-8
FULL, PRODUCTS = Newton(TIGHT, hessian="full"), Newton(TIGHT, hessian="products")
ALL = [LBFGS(tolerance=TIGHT), BFGS(TIGHT), FULL, PRODUCTS]
NAMES = ["lbfgs", "bfgs", "full", "products"]
every = pytest.mark.parametrize("solver", ALL, ids=NAMES)
newtons = pytest.mark.parametrize("solver", [FULL, PRODUCTS], ids=NAMES[2:])


def rosenbrock(w):
    return jnp.sum(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2)


def beale(w):
    x, y = w
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def himmelblau(w):
    x, y = w
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def quadratic(w, root, optimum):
    return 0.5 * jnp.sum(jnp.square(root @ (w - optimum))) - 10


def saddle(w):
    return w[0] ** 2 - w[1] ** 2 + w[1] ** 4 / 4


def softmax(w, x, y, strength):
    scores = jnp.matmul(x, w["weights"].T) + w["bias"][None]
    return jnp.mean(Softmax()(scores, y)) + strength * jnp.sum(w["weights"] ** 2)


def ridge(w, x, strength):
    """Softplus of −margins, convex, with a strongly convex penalty on every weight."""
    return jnp.mean(jax.nn.softplus(-x @ w)) + strength * jnp.sum(w**2)


# Each case compiles a program, so not all solvers meet all functions.
@pytest.mark.parametrize(
    ("solver", "function", "start", "optima"),
    [(solver, rosenbrock, [-1.2, 1], [[1, 1]]) for solver in ALL]
    + [(solver, beale, [1, 1], [[3, 0.5]]) for solver in (BFGS(TIGHT), FULL)]
    + [(solver, himmelblau, [0, 0], [[3, 2]]) for solver in (LBFGS(tolerance=TIGHT), PRODUCTS)],
)
def test_reaches_the_known_minimum(solver, function, start, optima):
    solution = solver.solve(function, np.array(start, float))
    assert solution.status == CONVERGED
    assert solution.bound == np.inf  # nothing proves one
    # The tolerance bounds the distance, estimated, relative to weights of size 1 to 4.
    assert min(np.max(np.abs(solution.weights - optimum)) for optimum in optima) < 1e-6
    assert solution.weights.dtype == np.float64


@pytest.mark.slow
@pytest.mark.parametrize("solver", ALL[:2], ids=NAMES[:2])
def test_rosenbrock_in_many_dimensions_costs_no_more_than_scipy(solver):
    start = np.tile([-1.2, 1.0], 50)
    solution = solver.solve(rosenbrock, start)
    assert solution.status == CONVERGED
    np.testing.assert_allclose(solution.weights, 1, atol=1e-6)
    method = {"LBFGS": "L-BFGS-B", "BFGS": "BFGS"}[type(solver).__name__]
    peer = scipy.optimize.minimize(
        scipy.optimize.rosen,
        start,
        jac=scipy.optimize.rosen_der,
        method=method,
        options={"gtol": 1e-6, "maxiter": 5000},
    )
    assert solution.value <= max(peer.fun, 1e-13)
    assert solution.evaluations <= 1.1 * peer.nfev


def ill_conditioned(condition, size=30):
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(size, size)))
    root = np.sqrt(np.logspace(-np.log10(condition), 0, size))[:, None] * rotation.T
    return root, rng.normal(size=size)


@pytest.mark.slow
def test_newton_solves_a_quadratic_of_condition_1e6_in_one_step():
    root, optimum = ill_conditioned(1e6)
    solution = FULL.solve(quadratic, np.zeros(30), root, optimum)
    assert (solution.status, solution.iterations) == (CONVERGED, 1)
    np.testing.assert_allclose(solution.weights, optimum, atol=1e-8)  # κ roundings of 1e-16, and some
    products = PRODUCTS.solve(quadratic, np.zeros(30), root, optimum)
    assert products.status == CONVERGED
    np.testing.assert_allclose(products.weights, optimum, atol=1e-5)


def test_bfgs_costs_no_more_than_scipy_on_a_quadratic_of_condition_1e6():
    root, optimum = ill_conditioned(1e6)
    solution = BFGS(TIGHT).solve(quadratic, np.zeros(30), root, optimum)
    hessian = root.T @ root
    peer = scipy.optimize.minimize(
        lambda w: (0.5 * (w - optimum) @ hessian @ (w - optimum), hessian @ (w - optimum)),
        np.zeros(30),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-10},
    )
    assert solution.status == CONVERGED
    np.testing.assert_allclose(solution.weights, optimum, atol=1e-4)
    assert solution.evaluations <= 1.1 * peer.nfev


def test_newton_doubles_its_digits():
    # f'' is Lipschitz and the optimum is 0: |w'| ≤ c |w|², here even |w|³, as long as rounding is not met.
    def function(w):
        return jnp.sum(jnp.cosh(w) + w**3 / 6)

    sizes = []
    for steps in range(1, 6):
        solution = Newton(0.0, steps, "full").solve(function, np.array([0.5, -0.3, 0.8]))
        sizes.append(np.max(np.abs(solution.weights)))
    for before, after in itertools.pairwise(sizes):
        assert after <= 0.6 * before**2 + 1e-15
    assert sizes[-1] < 1e-12


@newtons
@pytest.mark.parametrize("start", [[0.0, 0.0], [1.0, 0.0]])
def test_newton_leaves_a_saddle(solver, start):
    solution = solver.solve(saddle, np.array(start))
    assert solution.status == CONVERGED
    np.testing.assert_allclose(solution.value, -1, atol=1e-14)
    np.testing.assert_allclose(np.abs(solution.weights), [0, np.sqrt(2)], atol=1e-7)


def test_quasi_newton_takes_a_zero_gradient_for_an_optimum():
    assert BFGS().solve(saddle, np.zeros(2)).iterations == 0


def unbounded_cubic(w):  # the monkey saddle
    return w[0] ** 3 - 3 * w[0] * w[1] ** 2


def line(w):
    return -w[0]


@every
@pytest.mark.parametrize("function", [line, unbounded_cubic])
def test_says_that_there_is_no_optimum(solver, function):
    assert solver.solve(function, np.array([0.1, 0.2])).status == NO_OPTIMUM


@pytest.mark.parametrize(
    ("solver", "dtype"), [(solver, np.float32) for solver in ALL] + [(LBFGS(tolerance=TIGHT), np.float64)]
)
def test_separable_data_have_no_optimum_without_a_penalty_and_one_with_the_least(solver, dtype):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 3)).astype(dtype)
    x *= np.sign(x @ np.array([1.0, -2, 0.5], dtype))[:, None]  # all margins are positive along that vector
    strengths = np.array([0, 1e-6, 1e-3], dtype)
    solution = solver.solve(ridge, np.zeros((3, 3), dtype), x, strengths, batched=True, in_axes=(None, 0))
    assert solution.status[0] == NO_OPTIMUM
    assert set(solution.status[1:]) <= {CONVERGED, STALLED if dtype == np.float32 else CONVERGED}


@every
def test_a_far_optimum_is_no_false_alarm(solver):
    def far(w):  # minimum at 1e8 in one coordinate, curvatures 1e-8 and 1e4
        return 5e-9 * (w[0] - 1e8) ** 2 + 5e3 * (w[1] - 1e-4) ** 2 + 1

    solution = solver.solve(far, np.array([1e-6, 1e-6]))
    assert solution.status == CONVERGED
    np.testing.assert_allclose(solution.weights, [1e8, 1e-4], rtol=1e-3)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x = np.concatenate([x / 16, np.ones((len(x), 1))], axis=1)[:600]
    return x, y[:600]


def flat_softmax(w, x, y, strength):
    return jnp.mean(Softmax()(jnp.matmul(x, w.T), y)) + strength * jnp.sum(w**2)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [LBFGS(tolerance=1e-12), PRODUCTS], ids=["lbfgs", "products"])
def test_softmax_regression_beside_scikit_learn(solver, digits):
    x, y = digits
    strength = 1e-3
    zeros = np.zeros((10, x.shape[1]))
    solution = solver.solve(flat_softmax, zeros, x, y, strength, strong_convexity=2 * strength)
    assert solution.status == CONVERGED
    peer = LogisticRegression(
        C=1 / (2 * strength * len(y)), tol=1e-10, max_iter=10000, fit_intercept=False, solver="newton-cg"
    ).fit(x, y)
    with jax.enable_x64(True):
        best = float(flat_softmax(jnp.asarray(peer.coef_), x, y, strength))
    assert abs(solution.value - best) <= 1e-8 * best
    assert solution.bound <= solver.tolerance * solution.value
    assert solution.value - best <= solution.bound + 1e-14


@pytest.mark.slow
def test_float32_reaches_a_relative_gap_of_1e_6(digits):
    x, y = digits
    strength = 1e-3
    single, x32 = np.zeros((10, x.shape[1]), np.float32), x.astype(np.float32)
    solution = LBFGS().solve(flat_softmax, single, x32, y, strength, strong_convexity=2 * strength)
    assert solution.status == CONVERGED
    assert solution.weights.dtype == np.float32
    exact = LBFGS(tolerance=1e-12).solve(flat_softmax, single.astype(float), x, y, strength, strong_convexity=2e-3)
    with jax.enable_x64(True):
        value = float(flat_softmax(jnp.asarray(solution.weights, jnp.float64), x, y, strength))
    assert 0 <= value - exact.value <= 1e-6 * exact.value


@pytest.mark.slow
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), strength=st.floats(1e-4, 1), steps=st.integers(1, 12))
def test_the_bound_is_never_below_the_true_gap(seed, strength, steps):
    x = np.random.default_rng(seed).normal(size=(20, 4)) * np.array([0.01, 1, 3, 10])
    start = np.random.default_rng(seed + 1).normal(size=4)
    unfinished = LBFGS(iterations=steps).solve(ridge, start, x, strength, strong_convexity=2 * strength)
    exact = FULL.solve(ridge, start, x, strength)
    gap = unfinished.value - exact.value
    assert gap <= unfinished.bound + 1e-15 * (1 + abs(exact.value))  # two roundings of the values
    assert unfinished.status in (CONVERGED, ITERATION_LIMIT)
    if unfinished.status == CONVERGED:
        assert unfinished.bound <= 1e-6 * unfinished.value


@pytest.mark.slow
@every
def test_a_batch_equals_its_members_and_holds_them_apart(solver):
    starts = np.array([[-1.2, 1], [0.5, 0.5], [1, 1], [3, -2], [np.nan, 0]])
    together = solver.solve(rosenbrock, starts, batched=True)
    assert list(together.status) == [CONVERGED] * 4 + [NOT_FINITE]
    assert together.iterations[2] == 0  # it started at the optimum
    np.testing.assert_array_equal(together.weights[4], starts[4])
    for member in (0, 3):
        alone = solver.solve(rosenbrock, starts[member])
        # Sums in another order may differ in the last digit, and a search magnifies that before it converges.
        np.testing.assert_allclose(together.weights[member], alone.weights, atol=1e-7)
        assert abs(together.iterations[member] - alone.iterations) <= 3
    # Whatever the others do, a member's numbers are the same bits.
    others = np.array([[-1.2, 1], [9, 9], [np.inf, 1], [3, -2], [-5, 4]])
    again = solver.solve(rosenbrock, others, batched=True)
    for member in (0, 3):
        np.testing.assert_array_equal(again.weights[member], together.weights[member])
        assert again.value[member] == together.value[member]
        assert again.iterations[member] == together.iterations[member]
        assert again.evaluations[member] == together.evaluations[member]


def test_trees_and_batched_arguments(digits):
    x, y = digits
    start = {"weights": np.zeros((2, 10, x.shape[1])), "bias": np.zeros((2, 10))}
    solver = LBFGS(tolerance=1e-7)
    solution = solver.solve(softmax, start, x, y, np.array([1e-2, 1e-1]), batched=True, in_axes=(None, None, 0))
    assert list(solution.status) == [CONVERGED] * 2
    assert solution.weights["weights"].shape == (2, 10, x.shape[1])
    peer = LogisticRegression(C=1 / (2e-1 * 600), tol=1e-10, max_iter=10000, solver="newton-cg").fit(x, y)
    # Estimated, not proven: the bias has no penalty. The scale of the weights here is 0.1.
    np.testing.assert_allclose(solution.weights["weights"][1], peer.coef_, atol=1e-5)


def wall(w):
    """Finite for w < 1 only, with the minimum outside."""
    return jnp.where(w[0] < 1, (w[0] - 2) ** 2, jnp.nan)


def test_not_finite_keeps_the_last_good_weights():
    solution = LBFGS().solve(wall, np.array([0.5]))
    assert solution.status == STALLED  # the trials went through finite points, none of them lower any more
    assert 0.5 <= solution.weights[0] < 1
    assert np.isfinite(solution.value)
    broken = BFGS().solve(lambda w: jnp.sum(w) / 0, np.array([1.0, 2.0]))
    assert broken.status == NOT_FINITE
    np.testing.assert_array_equal(broken.weights, [1.0, 2.0])


def test_iteration_limit():
    solution = LBFGS(iterations=5).solve(rosenbrock, np.array([-1.2, 1]))
    assert (solution.status, solution.iterations) == (ITERATION_LIMIT, 5)
    assert solution.value < 24.2


def test_a_second_call_does_not_compile(compiled):
    traces = []

    def counted(w, scale):
        traces.append(1)
        return jnp.sum(jnp.cosh(scale * w))

    BFGS(1e-6).solve(counted, np.ones(3), 1.0)
    before = len(traces)
    compiled.clear()
    BFGS(1e-9, iterations=50).solve(counted, np.zeros(3) + 2, 3.0)
    assert not compiled
    assert len(traces) <= before + 1  # the check of what the function returns


def test_conjugate_gradients_and_lanczos_beside_numpy(x64):
    rng = np.random.default_rng(3)
    rotation, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    active = jnp.ones((), bool)
    for values in (np.arange(1.0, 13), np.r_[-2.0, np.arange(1.0, 12)]):
        matrix = jnp.asarray(rotation * values @ rotation.T)
        pair = least_eigenpair(lambda v, m=matrix: m @ v, 12, jnp.dtype(jnp.float64))
        np.testing.assert_allclose(pair.value, values[0], rtol=1e-12)
        np.testing.assert_allclose(matrix @ pair.vector, values[0] * pair.vector, atol=1e-11)
        gradient = jnp.asarray(rng.normal(size=12))
        found = conjugate_gradients(lambda v, m=matrix: m @ v, gradient, jnp.asarray(1e-12), 24, active)
        assert bool(found.negative) == (values[0] < 0)
        assert jnp.vdot(found.vector, gradient) < 0
        if values[0] > 0:
            np.testing.assert_allclose(found.vector, -np.linalg.solve(matrix, gradient), rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LBFGS(memory=0), "memory is 0"),
        (lambda: LBFGS(memory=2.5), "memory is 2.5"),
        (lambda: BFGS(tolerance=-1.0), "tolerance is -1.0"),
        (lambda: BFGS(tolerance=float("nan")), "tolerance is nan"),
        (lambda: BFGS(iterations=0), "iterations is 0"),
        (lambda: Newton(iterations=[5]), "iterations is"),
        (lambda: Newton(hessian="half"), "hessian is 'half'"),
        (lambda: BFGS().solve(3, np.ones(2)), "function is 3"),
        (lambda: BFGS().solve(lambda w: w, np.ones(2)), r"float64\[2\]"),
        (lambda: BFGS().solve(jnp.argmax, np.ones(2)), "function returns int"),
        (lambda: BFGS().solve(lambda w: (w[0], w[1]), np.ones(2)), "a tuple"),
        (lambda: BFGS().solve(rosenbrock, np.ones((2, 2), int), batched=True), "start holds int64"),
        (lambda: BFGS().solve(rosenbrock, np.zeros(0)), "start holds no numbers"),
        (lambda: BFGS().solve(rosenbrock, [np.ones(2), np.ones(3)], batched=True), "leading axis"),
        (lambda: BFGS().solve(ridge, np.ones(2), np.ones((3, 2)), 1.0, in_axes=(None, 0)), "without a batch"),
        (lambda: BFGS().solve(ridge, np.ones((2, 2)), 1.0, batched=True, in_axes=(0, 0)), "tuple of 1"),
        (lambda: BFGS().solve(rosenbrock, np.ones(2), strong_convexity=0.0), "above 0"),
        (lambda: BFGS().solve(rosenbrock, np.ones(2), strong_convexity=[1.0, 2.0]), "strong_convexity is"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(UsageError, match=words):
        make()

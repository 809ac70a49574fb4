"""Penalties beside their definitions: the prox by brute force, the gradient by autodiff, the scale by scikit-learn."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from thalweg.errors import UsageError
from thalweg.losses import Softmax
from thalweg.penalties import (
    L1,
    L2,
    ElasticNet,
    NoPenalty,
    Penalty,
    penalty_gradient,
    penalty_prox,
    penalty_residual,
    penalty_value,
    weight_mask,
)
from thalweg.ranges import choice, log_uniform

ALL = [NoPenalty(), L2(0.3), L1(0.3), ElasticNet(0.3, 0.7), L2(0.0), L1(0.0), ElasticNet(2.0, 0.0)]
strengths = st.floats(0, 5, width=32)
penalties = st.one_of(
    st.just(NoPenalty()),
    st.builds(L2, strengths),
    st.builds(L1, strengths),
    st.builds(ElasticNet, strengths, strengths),
)
entries = st.floats(-4, 4, width=32) | st.just(0.0)
vectors = st.lists(entries, min_size=4, max_size=4).map(np.array)
steps = st.floats(1e-3, 10)


@pytest.mark.parametrize(
    ("penalty", "spread", "peaked"),
    [(L2(1.0), 0.25, 1.0), (L1(1.0), 1.0, 1.0), (ElasticNet(1.0, 2.0), 1.5, 3.0), (NoPenalty(), 0.0, 0.0)],
)
def test_specification_numbers(penalty, spread, peaked):
    assert penalty.value(jnp.full(4, 0.25)) == spread
    assert penalty.value(jnp.array([1.0, 0, 0, 0])) == peaked


def test_strength_multiplies():
    weights = jnp.array([[1.0, -2.0], [0.5, 0.0]])
    assert L2(0.5).value(weights) == 0.5 * 5.25
    assert L1(0.5).value(weights) == 0.5 * 3.5
    assert ElasticNet(0.5, 2.0).value(weights) == 0.5 * (2 * 5.25 + 3.5)


@given(penalties, vectors)
def test_gradient_is_that_of_the_value(penalty, weights):
    with jax.enable_x64(True):
        weights = jnp.asarray(weights)
        np.testing.assert_allclose(penalty.gradient(weights), jax.grad(penalty.value)(weights), rtol=1e-14)


@given(penalties, vectors)
def test_residual_vanishes_at_the_subgradient_and_measures_distance(penalty, weights):
    with jax.enable_x64(True):
        weights = jnp.asarray(weights)
        subgradient = penalty.gradient(weights)
        np.testing.assert_array_equal(penalty.residual(weights, -subgradient), np.zeros(4))
        # Off the kinks the subdifferential is one point, so the residual is a plain distance.
        moved = penalty.residual(weights, -subgradient + 0.25)
        smooth = (weights != 0) | penalty.smooth
        np.testing.assert_allclose(moved[smooth], 0.25, rtol=1e-12)


def test_residual_at_a_kink():
    gradients = jnp.array([0.1, -0.3, 0.5, -0.5])
    for penalty in (L1(0.3), ElasticNet(0.3, 9.0)):
        np.testing.assert_allclose(penalty.residual(jnp.zeros(4), gradients), [0, 0, 0.2, 0.2], atol=1e-7)


@given(penalties, vectors, steps)
def test_prox_meets_its_optimality_condition(penalty, weights, step):
    with jax.enable_x64(True):
        weights = jnp.asarray(weights)
        nearest = penalty.prox(weights, step)
        residual = penalty.residual(nearest, (nearest - weights) / step)  # (w − u)/step must lie in ∂P(u)
        # Rounding of w − u, and of P's slope (up to 2·5·5·4), each a few units in the last place.
        np.testing.assert_allclose(residual, 0, atol=4e-15 * (4 / step + 200))


@given(penalties, entries, steps)
def test_prox_is_the_minimum_by_brute_force(penalty, weight, step):
    with jax.enable_x64(True):
        candidates = np.append(np.linspace(-5, 5, 2001), 0.0)

        def objective(u: jax.Array) -> jax.Array:
            return 0.5 * (u - weight) ** 2 + step * jax.vmap(lambda one: penalty.value(one[None]))(u)

        nearest = penalty.prox(jnp.array([weight]), step)
        best = float(jnp.min(objective(jnp.asarray(candidates))))
        assert float(objective(nearest)[0]) <= best + 1e-13 * (1 + abs(best))


@given(penalties, vectors, vectors, steps)
def test_prox_is_firmly_non_expansive(penalty, one, other, step):
    with jax.enable_x64(True):
        apart = jnp.asarray(one - other)
        moved = penalty.prox(jnp.asarray(one), step) - penalty.prox(jnp.asarray(other), step)
        assert jnp.vdot(moved, moved) <= jnp.vdot(moved, apart) + 1e-13


@pytest.mark.parametrize("penalty", [L1(0.3), ElasticNet(0.3, 0.7)])
def test_prox_leaves_real_zeros(penalty):
    weights = jnp.array([0.29, -0.3, 0.31, -5.0])
    np.testing.assert_array_equal(penalty.prox(weights, 1.0) == 0, [True, True, False, False])


@pytest.mark.parametrize("penalty", ALL)
def test_prox_takes_a_step_per_entry(penalty):
    weights = jnp.array([[1.0, -2.0, 3.0], [0.1, 0.2, -0.3]])
    steps = jnp.array([[0.5, 1.0, 0.0], [2.0, 0.1, 0.2]])
    each = [[penalty.prox(weights[i, j], steps[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(penalty.prox(weights, steps), each, rtol=1e-6)
    np.testing.assert_array_equal(
        penalty.prox(weights, steps[0]), penalty.prox(weights, jnp.stack([steps[0], steps[0]]))
    )
    np.testing.assert_array_equal(penalty.prox(weights, 0.0), weights)


@pytest.mark.parametrize("penalty", [L1(1.0), ElasticNet(1.0, 0.4)])
def test_strength_max_is_the_smallest_that_gives_zero(penalty, x64):
    gradient = jnp.array([[0.2, -0.9], [0.5, 0.0]])
    largest = penalty.strength_max(gradient)
    assert largest == 0.9
    zero = jnp.zeros((2, 2))
    assert jnp.max(dataclasses.replace(penalty, strength=largest).residual(zero, gradient)) == 0
    assert jnp.max(dataclasses.replace(penalty, strength=largest * (1 - 1e-9)).residual(zero, gradient)) > 0


@pytest.mark.parametrize("penalty", [L2(1.0), NoPenalty()])
def test_no_strength_gives_zero_where_the_penalty_is_flat_at_zero(penalty):
    assert penalty.strength_max(jnp.array([0.0, 1e-30])) == jnp.inf
    assert penalty.strength_max(jnp.zeros(2)) == 0


@pytest.mark.parametrize("penalty", [L2(0.01), L1(0.01), ElasticNet(0.01, 0.5)])
def test_sums_of_many_small_entries_keep_their_digits(penalty):
    weights = np.random.default_rng(0).normal(0, 1e-2, (10, 30_000)).astype(np.float32)
    with jax.enable_x64(True):
        exact = penalty.value(jnp.asarray(weights, jnp.float64))
    # A running float32 sum of 300,000 terms would be off by about 1e-5.
    np.testing.assert_allclose(penalty.value(jnp.asarray(weights)), exact, rtol=1e-6)


@pytest.mark.parametrize("penalty", ALL)
def test_precision_is_that_of_the_weights(penalty):
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda number: jnp.asarray(number, jnp.float64), penalty)
        for dtype in (jnp.bfloat16, jnp.float32, jnp.float64):
            weights = jnp.ones(3, dtype)
            results = (
                wide.value(weights), wide.gradient(weights), wide.prox(weights, np.float64(0.5)),
                wide.residual(weights, weights), wide.strength_max(weights),
            )  # fmt: skip
            assert {result.dtype for result in results} == {jnp.dtype(dtype)}


class Layer(eqx.Module):
    weight: jax.Array
    bias: jax.Array


W = jnp.ones((2, 3))
B = jnp.ones(2)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (W, True),
        ((W, B), (True, True)),  # positions say nothing
        ({"weight": W, "bias": B}, {"weight": True, "bias": False}),
        (
            {"W1": W, "b1": B, "W2": W, "b_2": B, "b": B, "bias_3": B},
            {"W1": True, "b1": False, "W2": True, "b_2": False, "b": False, "bias_3": False},
        ),
        ({"norm": {"scale": B, "offset": B, "shift": B}}, {"norm": {"scale": False, "offset": False, "shift": False}}),
        ({"layers": [{"weight": W, "hidden_bias": B}]}, {"layers": [{"weight": True, "hidden_bias": False}]}),
        ({"bias": [B, B], "bulk": W, "basis": W}, {"bias": [False, False], "bulk": True, "basis": True}),
        ({"bias": {"weight": W}}, {"bias": {"weight": True}}),  # the last name decides
    ],
)
def test_weight_mask(params, expected):
    assert weight_mask(params) == expected


def test_weight_mask_of_attributes():
    mask = weight_mask({"first": Layer(W, B)})
    assert (mask["first"].weight, mask["first"].bias) == (True, False)


@pytest.mark.parametrize("penalty", ALL)
def test_trees_leave_biases_alone(penalty):
    params = {"weight": jnp.array([[0.1, -2.0]]), "bias": jnp.array([3.0]), "deep": {"W2": jnp.array([[1.0]]), "b2": B}}
    weights = jnp.array([0.1, -2.0, 1.0])
    np.testing.assert_allclose(penalty_value(penalty, params), penalty.value(weights), rtol=1e-6)
    gradient, moved = penalty_gradient(penalty, params), penalty_prox(penalty, params, 0.5)
    np.testing.assert_array_equal(gradient["weight"], penalty.gradient(params["weight"]))
    np.testing.assert_array_equal(moved["weight"], penalty.prox(params["weight"], 0.5))
    np.testing.assert_array_equal(moved["deep"]["W2"], penalty.prox(params["deep"]["W2"], 0.5))
    for before, slope, after in zip(
        (params["bias"], B),
        (gradient["bias"], gradient["deep"]["b2"]),
        (moved["bias"], moved["deep"]["b2"]),
        strict=True,
    ):
        np.testing.assert_array_equal(slope, 0 * before)
        np.testing.assert_array_equal(after, before)


def test_tree_steps():
    params = {"weight": jnp.array([[1.0, 1.0]]), "bias": jnp.array([3.0])}
    steps = {"weight": jnp.array([[0.5, 2.0]]), "bias": jnp.array([7.0])}
    np.testing.assert_array_equal(penalty_prox(L1(1.0), params, steps)["weight"], [[0.5, 0.0]])
    np.testing.assert_array_equal(penalty_prox(L1(1.0), params["weight"], 0.25), [[0.75, 0.75]])
    with pytest.raises(UsageError, match="step is a tree"):
        penalty_prox(L1(1.0), params, {"weight": 0.5})


def test_tree_residual_counts_the_bias_gradient():
    params = {"weight": jnp.zeros((1, 2)), "bias": jnp.array([3.0])}
    gradients = {"weight": jnp.array([[0.4, -0.9]]), "bias": jnp.array([0.0])}
    np.testing.assert_allclose(penalty_residual(L1(0.5), params, gradients), 0.4, rtol=1e-6)
    assert penalty_residual(L1(0.5), params, {"weight": jnp.zeros((1, 2)), "bias": jnp.array([-2.0])}) == 2


def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(n_class=3, return_X_y=True)
    X, y = X[:120, 20:40], y[:120]
    return (X - X.mean(axis=0)) / (X.std(axis=0) + 1), y


@pytest.mark.parametrize(
    ("solver", "ratio", "make"),
    [
        ("lbfgs", 0.0, L2.from_C),
        ("saga", 1.0, L1.from_C),
        ("saga", 0.3, lambda C, N: ElasticNet.from_C(C, 0.3, N)),
    ],
)
def test_scikit_learn_solutions_are_optimal_at_the_converted_strength(solver, ratio, make, x64):
    X, y = digits()
    C = 0.05
    peer = LogisticRegression(C=C, l1_ratio=ratio, solver=solver, tol=1e-10, max_iter=20_000, random_state=0).fit(X, y)
    params = {"weight": jnp.asarray(peer.coef_), "bias": jnp.asarray(peer.intercept_)}

    def data_loss(params):
        return jnp.mean(Softmax()(X @ params["weight"].T + params["bias"][None], jnp.asarray(y)))

    penalty, gradients = make(C, len(y)), jax.grad(data_loss)(params)
    # The solvers stop at about 1e-9; 1 % more strength is a residual of about 1e-3.
    assert penalty_residual(penalty, params, gradients) < 1e-7
    off = dataclasses.replace(penalty, strength=1.01 * penalty.strength)
    assert penalty_residual(off, params, gradients) > 1e-4


@given(st.floats(1e-6, 1e6), st.integers(1, 10**6), st.floats(0.01, 1.0))
def test_scikit_learn_scale_and_back(C, examples, ratio):
    assert math.isclose(L2.from_C(C, examples).to_C(examples), C, rel_tol=1e-14)
    assert math.isclose(L1.from_C(C, examples).to_C(examples), C, rel_tol=1e-14)
    back, back_ratio = ElasticNet.from_C(C, ratio, examples).to_C(examples)
    assert math.isclose(back, C, rel_tol=1e-13)
    assert math.isclose(back_ratio, ratio, rel_tol=1e-13)


def test_no_strength_is_an_infinite_C():
    assert L2(0.0).to_C(10) == L1(0).to_C(10) == math.inf
    assert ElasticNet(0.0, 1.0).to_C(10) == (math.inf, 1 / 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L2(-1.0), r"L2: strength is -1\.0; it must be finite and at least 0"),
        (lambda: L1(math.nan), "L1: strength is nan"),
        (lambda: L1("1"), "L1: strength is '1'; give a number"),
        (lambda: ElasticNet(1.0, -0.5), r"ElasticNet: beta is -0\.5"),
        (lambda: L2(choice(0.1, -0.1)), r"L2: strength is -0\.1"),
        (lambda: L2.from_C(0.0, 10), r"L2: C is 0\.0"),
        (lambda: L2.from_C(1.0, 0), "L2: examples is 0"),
        (lambda: L1.from_C(log_uniform(1e-3, 1), 10), "C is the range .*; convert its ends"),
        (lambda: ElasticNet.from_C(1.0, 0.0, 10), r"l1_ratio is 0\.0"),
        (lambda: L2(log_uniform(1e-3, 1)).to_C(10), "strength is the range"),
    ],
)
def test_bad_numbers_are_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_ranges_are_a_search_space():
    penalty = ElasticNet(log_uniform(1e-6, 1e-1), choice(0.0, 1.0))
    assert penalty.strength == log_uniform(1e-6, 1e-1)


def test_smoothness_and_names():
    assert [penalty.smooth for penalty in ALL[:4]] == [True, True, False, False]
    assert [penalty.kind for penalty in ALL[:4]] == ["none", "l2", "l1", "elastic_net"]
    assert all(isinstance(penalty, Penalty) for penalty in ALL)

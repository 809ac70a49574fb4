"""A certificate holds: what it reports is never less than the distance to the minimum, whatever the weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import hinge_ridge, objective, problem, softmax_ridge, softmax_sparse

from thalweg.losses import Hinge, Softmax
from thalweg.solvers.certificate import certify

EXAMPLES = settings(max_examples=60, deadline=None)


def draw_problem(seed, *, spread=0.0, separable=False, offset=0.0, count=24, width=4, classes=3, **penalty):
    """Random examples; ``spread`` is how many orders of magnitude the features' scales differ by."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    x = rng.standard_normal((count, width))
    if separable:
        x[:, :classes] += 6 * np.eye(classes)[y]
    x = (x + offset) * np.logspace(-spread / 2, spread / 2, width)
    weightings = rng.random((2, count)) + 0.1
    weightings[1, classes::3] = 0  # a fold
    weightings /= weightings.sum(axis=1, keepdims=True)
    return problem(x, y, weightings=weightings, **penalty)


def perturbed(rng, W, b, size):
    W32 = W + size * np.abs(W).max() * rng.standard_normal(W.shape)
    return W32[None], (b + size * rng.standard_normal(b.shape))[None]


@EXAMPLES
@given(
    seed=st.integers(0, 10**6),
    strength=st.floats(-9, 1),
    distance=st.floats(-12, 1),
    spread=st.sampled_from([0.0, 0.0, 3.0, 6.0]),
    separable=st.booleans(),
    offset=st.sampled_from([0.0, 0.0, 30.0]),
    row=st.integers(0, 1),
)
def test_softmax_with_l2_near_and_far_from_the_optimum(seed, strength, distance, spread, separable, offset, row):
    one = draw_problem(seed, spread=spread, separable=separable, offset=offset, ridge=[10.0**strength], rows=[row])
    W, b, minimum = softmax_ridge(one, 0)
    W, b = perturbed(np.random.default_rng(seed), W, b, 10.0**distance)
    found = certify(one, W, b)
    # The reference's log-sum-exp is good to 1e-15 absolute, which counts where separable data leave a loss near 0.
    assert found.value[0] - found.bound[0] <= minimum * (1 + 1e-12) + 1e-15
    np.testing.assert_allclose(found.value[0], objective(one, 0, W[0], found.bias[0]), rtol=1e-12, atol=1e-15)
    given = objective(one, 0, W[0], b[0])
    assert found.value[0] <= given * (1 + 1e-12) + 1e-15  # the bias is no worse than the one given


@EXAMPLES
@given(seed=st.integers(0, 10**6), strength=st.floats(-6, 0), separable=st.booleans())
def test_softmax_with_l2_is_tight_at_the_optimum(seed, strength, separable):
    """At the reference, good to 1e-13 of its value, the bound is no more than rounding allows."""
    one = draw_problem(seed, separable=separable, ridge=[10.0**strength], rows=[0])
    W, b, minimum = softmax_ridge(one, 0)
    found = certify(one, W[None], b[None])
    # |∇|² / (4 ridge), and a gradient of float64 numbers of order 10 has 1e-15 each
    assert found.bound[0] <= minimum * 1e-10 + 1e-28 / 10.0**strength


@EXAMPLES
@given(
    seed=st.integers(0, 10**6),
    share=st.floats(-3, 0.3),
    beta=st.sampled_from([0.0, 0.01, 0.5, 100.0]),
    distance=st.floats(-12, 0),
    separable=st.booleans(),
    row=st.integers(0, 1),
)
def test_softmax_with_l1_and_elastic_net(seed, share, beta, distance, separable, row):
    lasso = 10.0**share * 0.3
    one = draw_problem(seed, separable=separable, ridge=[beta * lasso], lasso=[lasso], rows=[row])
    W, b, minimum = softmax_sparse(one, 0, steps=3000)
    W, b = perturbed(np.random.default_rng(seed), W, b, 10.0**distance)
    found = certify(one, W, b)
    assert found.value[0] - found.bound[0] <= minimum * (1 + 1e-12)


def test_softmax_with_l1_is_tight_at_the_optimum():
    one = draw_problem(5, ridge=[0.0], lasso=[0.02], rows=[0])
    W, b, _ = softmax_sparse(one, 0)
    assert np.count_nonzero(W == 0) > 0
    assert certify(one, W[None], b[None]).relative[0] < 1e-9


@settings(max_examples=12, deadline=None)  # the reference takes a second
@given(
    seed=st.integers(0, 10**6),
    strength=st.floats(-3, 0),
    kind=st.sampled_from(["random", "zero", "one", "outside"]),
    distance=st.floats(-6, 0),
    row=st.integers(0, 1),
)
def test_the_hinge_with_any_multipliers(seed, strength, kind, distance, row):
    """Multipliers far from the best make the bound loose, never false: outside the box, or against the bias, too."""
    one = draw_problem(seed, count=8, width=2, loss=Hinge(), ridge=[10.0**strength], rows=[row])
    rng = np.random.default_rng(seed)
    W, b, minimum = hinge_ridge(one, 0)
    W, b = perturbed(rng, W, b, 10.0**distance)
    alpha = {
        "random": rng.random((1, 3, 8)),
        "zero": np.zeros((1, 3, 8)),
        "one": np.ones((1, 3, 8)),
        "outside": 3 * rng.standard_normal((1, 3, 8)),
    }[kind].astype(np.float32)
    found = certify(one, W, b, alpha)
    np.testing.assert_allclose(found.value[0], objective(one, 0, W[0], b[0]), rtol=1e-12)
    assert found.value[0] - found.bound[0] <= minimum * (1 + 1e-9)  # SLSQP's minimum is good to about 1e-9


def test_the_hinge_at_its_dual_optimum_has_no_gap():
    """Two classes, one feature, examples at ±1: W = ±w with 2w = 1 or the kink, and the multipliers are known."""
    one = problem([[1.0], [-1.0]], [0, 1], loss=Hinge(), ridge=[0.25])
    # P = max(0, 1 − 2w) + ½ w² over W = (w, −w): least at the kink w = ½, value ⅛, where α = w/2 · ... = ¼.
    W, b = np.asarray([[[0.5], [-0.5]]]), np.zeros((1, 2))
    alpha = np.full((1, 2, 2), 0.25, np.float32)
    found = certify(one, W, b, alpha)
    np.testing.assert_allclose(found.value, 0.125, rtol=1e-15)
    assert found.bound[0] <= 1e-14


def test_held_out_losses_and_correct_examples():
    one = draw_problem(3, ridge=[0.1, 0.1], rows=[0, 1])
    rng = np.random.default_rng(0)
    W, b = rng.standard_normal((2, 3, 4)), np.zeros((2, 3))
    found = certify(one, W, b)
    scores = np.einsum("nd,tcd->tnc", one.features.astype(np.float64), W) + found.bias[:, None]
    np.testing.assert_array_equal(found.correct, scores.argmax(axis=2) == one.labels)
    losses = np.asarray(Softmax()(scores[1].astype(np.float32), one.labels))
    np.testing.assert_allclose(found.held_out_loss[1], losses[one.weightings[1] == 0].mean(), rtol=1e-5)
    assert np.isnan(found.held_out_loss[0])  # nothing was held out


def test_members_are_certified_alike_in_groups_of_any_size(monkeypatch):
    one = draw_problem(4, ridge=np.logspace(-4, 0, 7), rows=[0, 1, 0, 1, 0, 1, 0])
    rng = np.random.default_rng(1)
    W, b = rng.standard_normal((7, 3, 4)), rng.standard_normal((7, 3))
    whole = certify(one, W, b)
    monkeypatch.setattr("thalweg.solvers.certificate._ROWS", 6)
    parts = certify(one, W, b)
    np.testing.assert_allclose(parts.bound, whole.bound, rtol=1e-12)
    np.testing.assert_allclose(parts.value, whole.value, rtol=1e-14)


def test_multipliers_belong_to_the_hinge_alone():
    one = draw_problem(6, ridge=[0.1], rows=[0])
    with pytest.raises(ValueError, match="multipliers"):
        certify(one, np.zeros((1, 3, 4)), np.zeros((1, 3)), np.zeros((1, 3, 24), np.float32))

"""All that we differentiate passes our own check: losses, penalties, models, landscapes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from thalweg import landscapes, losses, models, penalties
from thalweg.landscapes import Landscape
from thalweg.testing import assert_gradient

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(6, 4))
LABELS = jnp.array([0, 1, 2, 3, 3, 0])
WEIGHTS = RNG.choice([-1.0, 1.0], (3, 4)) * RNG.uniform(0.1, 2, (3, 4))


def public(module, protocol):
    """All classes that a module offers, so that none is forgotten here when it is added there."""
    found = [getattr(module, name) for name in module.__all__]
    return [one for one in found if isinstance(one, type) and one is not protocol and hasattr(one, "kind")]


LOSSES = [kind() for kind in public(losses, losses.Loss)]
PENALTIES = {"none": (), "l1": (0.3,), "l2": (0.3,), "elastic_net": (0.3, 0.7)}
SHAPES = [kind(*PENALTIES[kind.kind]) for kind in public(penalties, penalties.Penalty)]
PARTS = [getattr(landscapes, name) for name in landscapes.__all__]
# Those that stand for themselves: not the base, nor what is put around a function or another landscape.
LANDSCAPES = [
    part()
    for part in PARTS
    if isinstance(part, type) and issubclass(part, Landscape) and part.__module__ == "thalweg.landscapes.functions"
]
assert len(LANDSCAPES) == 8
POINTS = [np.array([0.7, -1.3]), np.array([-2.1, 1.9]), np.array([1e-3, 2.0])]


def test_nothing_is_left_out():
    assert len(LOSSES) >= 2
    assert len(SHAPES) >= 4
    assert len(LANDSCAPES) >= 8


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
@pytest.mark.parametrize("scale", [0.3, 1, 30])
def test_losses(loss, scale):
    """One number per example, and so a Jacobian; its modes are checked apart."""
    assert_gradient(lambda scores: loss(scores, LABELS), scale * SCORES, allow_inconclusive=False)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_mean_losses_of_many_scores(loss):
    scores, labels = RNG.normal(size=(60, 10)), jnp.asarray(RNG.integers(10, size=60))
    assert_gradient(lambda scores: jnp.mean(loss(scores, labels)), scores)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss.smooth], ids=lambda loss: loss.kind)
def test_second_derivatives_of_smooth_losses(loss):
    assert tw.gradgradcheck(lambda scores: jnp.mean(loss(scores, LABELS)), SCORES).status == "pass"


def test_the_hinge_at_its_margin_is_a_kink():
    scores = np.array([[1.0, 2.0, 2.5]])
    verdict = tw.gradcheck(lambda scores: losses.Hinge()(scores, jnp.array([1]))[0], scores)
    assert verdict.status == "inconclusive"
    assert "kink" in str(verdict)


@pytest.mark.parametrize("penalty", SHAPES, ids=lambda penalty: penalty.kind)
def test_penalties_where_they_are_smooth(penalty):
    assert_gradient(penalty.value, WEIGHTS, lambda weights: np.asarray(penalty.gradient(jnp.asarray(weights))))
    assert_gradient(penalty.value, WEIGHTS)


@pytest.mark.parametrize("penalty", SHAPES, ids=lambda penalty: penalty.kind)
def test_penalties_of_trees(penalty):
    params = {"weight": WEIGHTS, "bias": np.ones(3)}

    def slope(params):
        return jax.tree.map(np.asarray, penalties.penalty_gradient(penalty, jax.tree.map(jnp.asarray, params)))

    def value(params):
        return penalties.penalty_value(penalty, jax.tree.map(jnp.asarray, params))

    assert_gradient(value, params, slope)


@pytest.mark.parametrize("penalty", [p for p in SHAPES if p.smooth], ids=lambda penalty: penalty.kind)
def test_second_derivatives_of_smooth_penalties(penalty):
    assert tw.gradgradcheck(penalty.value, WEIGHTS).status == "pass"


MODELS = {
    "linear": (models.Linear(scale=0.5), (3, 4)),
    "linear without bias": (models.Linear(scale=0.5, bias=False), (3, 4)),
    "dense": (models.Dense((5, 4), activation="tanh", dropout=0.2, batch_norm=True, output_scale=1.0), (3, 4)),
    "convolutional": (
        models.Convolutional(2, (1, 1), "fractional", stochastic_depth=0.9, dropout=0.2, output_scale=1.0),
        (4, 4, 2),
    ),
    "functions": (
        models.Functions(
            lambda key, shape, classes: ({"W": 0.5 * jax.random.normal(key, (12, classes))}, ()),
            lambda params, state, x, *, key, training: (jnp.tanh(x.reshape(x.shape[0], -1) @ params["W"]), state),
        ),
        (3, 4),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_under_every_loss(name):
    """One number per loss, so that a model is compiled once: each is held to its own row of the Jacobian."""
    model, shape = MODELS[name]
    params, state = model.init(jax.random.key(0), shape, 4)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(6, *shape)))

    @jax.jit
    def totals(params):
        seen = x.astype(jax.tree.leaves(params)[0].dtype)
        scores, _ = model.apply(params, state, seen, key=jax.random.key(3), training=True)
        penalty = penalties.penalty_value(penalties.L2(0.1), params)
        return jnp.stack([jnp.mean(loss(scores, LABELS)) + penalty for loss in LOSSES])

    # Parameters are drawn in float32; the check moves on in float64.
    assert_gradient(totals, jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params))


@pytest.mark.parametrize("f", LANDSCAPES, ids=repr)
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_landscapes(f, point):
    assert_gradient(f, point, f.gradient)
    assert tw.gradgradcheck(f, point, f.gradient, f.hessian).status == "pass"


@pytest.mark.parametrize("f", LANDSCAPES, ids=repr)
def test_landscapes_as_jax_differentiates_them(f):
    assert_gradient(f, POINTS[0], second=True)


@pytest.mark.parametrize("f", LANDSCAPES, ids=repr)
def test_landscapes_at_their_minima(f):
    """The gradient is 0 there, or what rounding leaves of it where the minimum is no round number: no false alarm."""
    for minimum in f.minima:
        verdict = tw.gradcheck(f, np.array(minimum), f.gradient)
        assert verdict.status != "fail"
        if not np.any(f.gradient(np.array(minimum))):
            assert verdict.status == "pass"


def test_assert_gradient_raises_the_verdict():
    def wrong(x):
        return 3 * x

    with pytest.raises(AssertionError, match=r"^fail: gradient \(given\).*(\n.*)*x\[0\]: analytic 3, numeric 2"):
        assert_gradient(lambda x: np.sum(x**2), np.array([1.0]), wrong)
    with pytest.raises(AssertionError, match=r"^inconclusive"):
        assert_gradient(lambda x: np.sum(np.abs(x)), np.array([0.0]), np.sign)
    assert_gradient(lambda x: np.sum(np.abs(x)), np.array([0.0]), np.sign, allow_inconclusive=True)
    assert_gradient(lambda x: np.sum(x**2), np.array([1.0]), wrong, rtol=0.6)


def test_assert_gradient_looks_at_second_derivatives_where_asked():
    def stopped(x):
        return jnp.sum(x**2 + 0 * x) if x.ndim == 0 else jnp.sum(sine(x))

    sine = jax.custom_jvp(jnp.sin)
    cosine = jax.custom_jvp(jnp.cos)
    sine.defjvp(lambda primals, tangents: (jnp.sin(primals[0]), cosine(primals[0]) * tangents[0]))
    cosine.defjvp(lambda primals, tangents: (jnp.cos(primals[0]), jnp.sin(primals[0]) * tangents[0]))
    x = np.array([0.3, 0.9])
    assert_gradient(stopped, x)
    with pytest.raises(AssertionError, match="fail: second derivatives"):
        assert_gradient(stopped, x, second=True)

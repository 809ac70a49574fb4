"""The linear model, and function pairs as models with errors that name what is wrong."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.losses import Hinge, Softmax
from thalweg.models import Functions, Linear, Model, as_model
from thalweg.ranges import choice, log_uniform

KEY = jax.random.key(0)
IMAGE = (4, 5, 3)


def init(key, input_shape, classes):
    return {"W": jax.random.normal(key, (math.prod(input_shape), classes))}, {"calls": jnp.zeros((), jnp.int32)}


def apply(params, state, x, *, key, training):
    scores = x.reshape(x.shape[0], -1) @ params["W"]
    return scores, {"calls": state["calls"] + training}


def test_linear_scores_are_the_formula():
    x = jax.random.uniform(jax.random.key(1), (7, *IMAGE))
    params, state = Linear(scale=0.5).init(KEY, IMAGE, 3)
    params = {**params, "bias": jnp.array([1.0, -2.0, 3.0])}
    scores, after = Linear().apply(params, state, x, key=None, training=False)
    expected = np.asarray(x).reshape(7, 60) @ np.asarray(params["weight"]).T + np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(scores, expected, rtol=1e-5)  # float32 sums of 60 terms
    assert after == state == ()


def test_linear_start():
    params, _ = Linear().init(KEY, (32, 32, 3), 10)
    assert params["weight"].shape == (10, 3072)
    assert params["weight"].dtype == jnp.float32
    # 30,720 normal draws: the sample's deviation is within 2 % of 1e-4 at five of its own deviations.
    np.testing.assert_allclose(jnp.std(params["weight"]), 1e-4, rtol=0.02)
    np.testing.assert_allclose(jnp.mean(params["weight"]), 0, atol=3e-6)
    np.testing.assert_array_equal(params["bias"], np.zeros(10))


def test_loss_before_training_is_that_of_no_knowledge():
    x = jax.random.uniform(jax.random.key(1), (50, 3072), minval=-0.5, maxval=0.5)
    params, state = Linear().init(KEY, (3072,), 10)
    scores, _ = Linear().apply(params, state, x, key=None, training=True)
    labels = jnp.arange(50) % 10
    np.testing.assert_allclose(jnp.mean(Softmax()(scores, labels)), math.log(10), rtol=1e-2)  # SPEC row D5
    np.testing.assert_allclose(jnp.mean(Hinge()(scores, labels)), 9, rtol=1e-2)


def test_linear_scale_zero_and_no_bias():
    params, _ = Linear(scale=0.0, bias=False).init(KEY, (6,), 3)
    assert list(params) == ["weight"]
    np.testing.assert_array_equal(params["weight"], np.zeros((3, 6)))
    scores, _ = Linear(bias=False).apply({"weight": jnp.eye(3)}, (), jnp.ones((2, 3)), key=None, training=True)
    np.testing.assert_array_equal(scores, np.ones((2, 3)))


def test_linear_follows_the_precision_in_force(x64):
    params, _ = Linear().init(KEY, (6,), 3)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float64")}


def test_linear_trials_share_one_matrix_product():
    """Stacked weights meet a shared batch in a single product, not in one per trial."""

    def batched_products(x, x_axis):
        params = {"weight": jnp.zeros((5, 3, 8)), "bias": jnp.zeros((5, 3))}
        scores = jax.vmap(lambda params, x: Linear().apply(params, (), x, key=None, training=True)[0], (0, x_axis))
        return jax.jit(scores).lower(params, x).as_text().count("batching_dims")

    assert batched_products(jnp.zeros((7, 8)), None) == 0
    assert batched_products(jnp.zeros((5, 7, 8)), 0) == 1  # what the count looks like where each has its own batch


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(scale=-1.0), r"Linear: scale is -1\.0"),
        (lambda: Linear(bias=1), "Linear: bias is 1; give true or false"),
        (lambda: as_model(3), "model is 3; give a model"),
        (lambda: as_model(Linear), "give a model such as models.Linear"),
        (lambda: as_model((init, 3)), "give a model"),
        (lambda: Functions(init, None), r"apply is None; give a function apply\(params, state, x, \*, key, training\)"),
        (
            lambda: Functions(lambda key: None, apply),
            r"init\(key\) cannot be called as init\(key, input_shape, classes\)",
        ),
        (
            lambda: Functions(init, lambda params, x: x),
            r"cannot be called as apply\(params, state, x, \*, key, training\)",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_a_batch_of_another_size_is_refused():
    params, state = Linear().init(KEY, (6,), 3)
    with pytest.raises(UsageError, match="the batch has 7 features, the weights 6"):
        Linear().apply(params, state, jnp.ones((2, 7)), key=None, training=False)


def test_ranges_are_a_search_space():
    assert Linear(scale=log_uniform(1e-4, 1e-2), bias=choice(True, False)).bias == choice(True, False)


@pytest.mark.parametrize("pair", [(init, apply), [init, apply]])
def test_a_pair_of_functions_is_a_model(pair):
    model = as_model(pair)
    assert isinstance(model, Functions)
    assert isinstance(model, Model)
    assert as_model(model) is model
    params, state = model.init(KEY, IMAGE, 3)
    x = jnp.ones((2, *IMAGE))
    scores, state = jax.jit(lambda p, s: model.apply(p, s, x, key=KEY, training=True))(params, state)
    np.testing.assert_allclose(scores, x.reshape(2, -1) @ params["W"], rtol=1e-5)
    assert state["calls"] == 1


def test_a_pair_without_state():
    model = Functions(lambda key, input_shape, classes: (jnp.ones((classes, 4)), ()), stateless)
    params, state = model.init(KEY, (4,), 3)
    assert model.apply(params, state, jnp.ones((2, 4)), key=None, training=False)[1] == ()


def stateless(params, state, x, *, key, training):
    return x @ params.T, state


def without(params, state, x, *, key, training):
    return x @ params.T


def transposed(params, state, x, *, key, training):
    return params @ x.T, state


def too_wide(params, state, x, *, key, training):
    return jnp.concatenate([x @ params.T, x @ params.T], axis=1), state


def too_wide_when_training(params, state, x, *, key, training):
    return (too_wide if training else stateless)(params, state, x, key=key, training=training)


def whole_numbers(params, state, x, *, key, training):
    return (x @ params.T).astype(jnp.int32), state


def grows_state(params, state, x, *, key, training):
    return x @ params.T, (jnp.zeros(3),)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (without, r"apply returned a .*; return the pair \(scores, state\)"),
        (transposed, r"scores \(3, 2\) for a batch \(2, 4\); return \(batch, classes\)"),
        (too_wide, r"scores \(2, 6\) for a batch \(2, 4\) and 3 classes; return \(batch, classes\) = \(2, 3\)"),
        (too_wide_when_training, r"scores \(2, 6\)"),
        (whole_numbers, "scores of int32; return floating-point"),
        (grows_state, "apply changed the state from .* keep its structure"),
    ],
)
def test_wrong_apply_is_named_at_init(function, message):
    model = Functions(lambda key, input_shape, classes: (jnp.ones((classes, 4)), ()), function)
    with pytest.raises(UsageError, match=message):
        model.init(KEY, (4,), 3)


@pytest.mark.parametrize(
    ("result", "what"), [(jnp.ones(3), "a .*Array.*"), ({"W": 1}, "a dict"), ((1, 2, 3), "a tuple of 3")]
)
def test_wrong_init_is_named(result, what):
    model = Functions(lambda key, input_shape, classes: result, stateless)
    with pytest.raises(UsageError, match=rf"init returned {what}; return the pair \(params, state\); use \(\)"):
        model.init(KEY, (4,), 3)

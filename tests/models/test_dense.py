"""Fully connected networks: the formula, PyTorch."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thalweg import models, penalties
from thalweg.errors import UsageError
from thalweg.losses import Hinge, Softmax
from thalweg.models import Dense
from thalweg.ranges import choice, uniform

KEY = jax.random.key(0)
RNG = np.random.default_rng(1)


def test_one_hidden_layer_is_the_formula(x64):
    """SPEC row A6: s = W2 max(0, W1 x + b1) + b2."""
    model = Dense(hidden=7)
    params, state = model.init(KEY, (4, 5, 3), 6)
    assert jax.tree.map(jnp.shape, params) == {
        "layer_1": {"weight": (7, 60), "bias": (7,)},
        "output": {"weight": (6, 7), "bias": (6,)},
    }
    params = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape), params)
    x = RNG.normal(size=(9, 4, 5, 3))
    scores, after = model.apply(params, state, jnp.asarray(x), key=None, training=True)
    one, two = params["layer_1"], params["output"]
    hidden = np.maximum(0, x.reshape(9, 60) @ one["weight"].T + one["bias"])
    np.testing.assert_allclose(scores, hidden @ two["weight"].T + two["bias"], rtol=1e-12)
    assert after == state == ()


def test_no_hidden_layer_is_the_linear_classifier():
    model, x = Dense(hidden=()), jnp.asarray(RNG.normal(size=(5, 4)), jnp.float32)
    params, state = model.init(KEY, (4,), 3)
    scores, _ = model.apply(params, state, x, key=None, training=True)
    linear, _ = models.Linear().apply(params["output"], (), x, key=None, training=True)
    np.testing.assert_array_equal(scores, linear)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_networks_beside_pytorch(batch_norm, activation, x64):
    """Scores, every gradient and the running statistics of a network of two hidden layers."""
    torch = pytest.importorskip("torch")
    model = Dense(hidden=(6, 5), activation=activation, batch_norm=batch_norm, momentum=0.2)
    params, state = model.init(KEY, (4,), 3)
    params = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape), params)

    peer, pairs = [], []
    for name, bias in (("layer_1", not batch_norm), ("layer_2", not batch_norm), ("output", True)):
        layer = params[name]
        linear = torch.nn.Linear(*layer["weight"].shape[::-1], bias=bias).double()
        peer.append(linear)
        pairs += [(linear.weight, name, "weight")] + ([(linear.bias, name, "bias")] if bias else [])
        if name != "output":
            if batch_norm:
                norm = torch.nn.BatchNorm1d(len(layer["norm_scale"]), momentum=0.2).double()
                peer.append(norm)
                pairs += [(norm.weight, name, "norm_scale"), (norm.bias, name, "norm_offset")]
            peer.append(torch.nn.ReLU() if activation == "relu" else torch.nn.Tanh())
    for tensor, name, part in pairs:
        tensor.data = torch.tensor(params[name][part])
    network = torch.nn.Sequential(*peer)

    x, labels = RNG.normal(size=(8, 4)), RNG.integers(0, 3, 8)
    expected = network(torch.tensor(x))
    torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()

    def loss(params):
        scores, after = model.apply(params, state, jnp.asarray(x), key=None, training=True)
        return jnp.mean(Softmax()(scores, jnp.asarray(labels))), (scores, after)

    gradient, (scores, after) = jax.grad(loss, has_aux=True)(params)
    np.testing.assert_allclose(scores, expected.detach(), atol=1e-12)
    for tensor, name, part in pairs:
        np.testing.assert_allclose(gradient[name][part], tensor.grad, atol=1e-12)
    if batch_norm:
        np.testing.assert_allclose(after["layer_1"]["variance"], peer[1].running_var, atol=1e-13)
    network.eval()
    evaluated, same = model.apply(params, after, jnp.asarray(x), key=None, training=False)
    np.testing.assert_allclose(evaluated, network(torch.tensor(x)).detach(), atol=1e-12)
    assert jax.tree.all(jax.tree.map(np.array_equal, same, after))


def test_the_first_loss_is_that_of_no_knowledge():
    x = jnp.asarray(RNG.normal(size=(200, 300)), jnp.float32)
    model, labels = Dense((50, 50)), jnp.arange(200) % 10
    params, state = model.init(KEY, (300,), 10)
    scores, _ = model.apply(params, state, x, key=None, training=True)
    np.testing.assert_allclose(jnp.mean(Softmax()(scores, labels)), math.log(10), rtol=0.02)  # SPEC row D5
    np.testing.assert_allclose(jnp.mean(Hinge()(scores, labels)), 9, rtol=0.05)


def test_layers_run_in_their_order_not_by_their_names():
    """Trees sort their keys: layer_10 before layer_2."""
    model = Dense(tuple(range(13, 2, -1)))
    params, state = model.init(KEY, (4,), 2)
    params = jax.tree.map(lambda leaf: leaf, params)
    scores, _ = model.apply(params, state, jnp.ones((3, 4)), key=None, training=False)
    assert scores.shape == (3, 2)


def test_dropout_acts_on_hidden_units_in_training_alone():
    x, model = jnp.ones((6, 4)), Dense(40, dropout=0.5)
    params, state = model.init(KEY, (4,), 3)

    def scores(seed, training):
        key = None if seed is None else jax.random.key(seed)
        return model.apply(params, state, x, key=key, training=training)[0]

    assert not np.array_equal(scores(0, True), scores(1, True))
    plain, _ = Dense(40).apply(params, state, x, key=None, training=True)
    np.testing.assert_array_equal(scores(None, False), plain)


def test_taps_are_added_to_what_each_layer_gives(x64):
    """The gradient at the taps is each example's own at that layer, and inputs are what the layers saw."""
    model = Dense((5, 4))
    params, state = model.init(KEY, (3,), 2)
    x, labels = jnp.asarray(RNG.normal(size=(6, 3))), jnp.asarray([0, 1, 0, 1, 1, 0])
    taps = {name: jnp.zeros((6, len(layer["bias"]))) for name, layer in params.items()}

    def loss(params, taps):
        scores, _, inputs = model.trace(params, state, x, taps, key=None, training=True)
        return jnp.sum(Softmax()(scores, labels)), inputs

    (gradient, own), inputs = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, taps)
    for name in params:
        np.testing.assert_allclose(own[name].T @ inputs[name], gradient[name]["weight"], atol=1e-13)
        np.testing.assert_allclose(own[name].sum(axis=0), gradient[name]["bias"], atol=1e-13)


def test_penalties_spare_biases_and_normalisation():
    params, _ = Dense((5,), batch_norm=True).init(KEY, (3,), 2)
    assert penalties.weight_mask(params) == {
        "layer_1": {"weight": True, "norm_scale": False, "norm_offset": False},
        "output": {"weight": True, "bias": False},
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": (0,)}, "hidden is 0"),
        ({"hidden": (2.5,)}, "hidden is 2.5"),
        ({"hidden": "many"}, "hidden is 'many'; give the sizes of the hidden layers"),
        ({"hidden": choice((3,), (-1,))}, "hidden is -1"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be finite and at least 0 and below 1"),
        ({"dropout": uniform(0.0, 2.0)}, "dropout is 2.0"),
        ({"activation": "relo"}, "activation is 'relo'; it must be one of 'relu'"),
        ({"batch_norm": 1}, "batch_norm is 1; give true or false"),
        ({"initialisation": "zero"}, "initialisation is 'zero'"),
        ({"momentum": 0}, "momentum is 0"),
        ({"epsilon": 0}, "epsilon is 0"),
        ({"scale": -1}, "scale is -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        Dense(**arguments)


def test_another_number_of_features_is_refused():
    params, state = Dense(5).init(KEY, (3,), 2)
    with pytest.raises(UsageError, match="the batch has 4 features, the weights 3"):
        Dense(5).apply(params, state, jnp.ones((2, 4)), key=None, training=False)


def test_layers_draw_apart():
    """Neither the weights of two layers of one shape are alike, nor what dropout takes from them."""
    model = Dense((50, 50), activation="sigmoid", dropout=0.5)
    params, state = model.init(KEY, (50,), 3)
    one, two = (np.asarray(params[name]["weight"]) for name in ("layer_1", "layer_2"))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.1
    _, _, inputs = model.trace(params, state, jnp.ones((4, 50)), None, key=KEY, training=True)
    dropped = [np.asarray(inputs[name]) == 0 for name in ("layer_2", "output")]
    assert all(0.3 < one.mean() < 0.7 for one in dropped)
    assert (dropped[0] != dropped[1]).mean() > 0.3

"""Layers, against PyTorch in float64 (forward, backward, running statistics, evaluation) and their papers' formulas."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.models import layers

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 5, 4)], ids=["features", "images"])
def test_batch_norm_beside_pytorch(shape, x64):
    """Outputs, gradients and running statistics over three batches; then evaluation."""
    torch = pytest.importorskip("torch")
    norm = (torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d)(4, eps=1e-3, momentum=0.3).double()
    gamma, beta = RNG.normal(size=4), RNG.normal(size=4)
    norm.weight.data, norm.bias.data = torch.tensor(gamma), torch.tensor(beta)
    params = {"norm_scale": jnp.asarray(gamma), "norm_offset": jnp.asarray(beta)}
    _, state = layers.fresh_norm(4)

    def channels_second(x):
        return torch.tensor(np.moveaxis(x, -1, 1).copy())

    for _ in range(3):
        x, pull = RNG.normal(1.0, 2.0, shape), RNG.normal(size=shape)
        given = channels_second(x).requires_grad_()
        norm.zero_grad()
        expected = norm(given)
        (expected * channels_second(pull)).sum().backward()

        def pulled(params, x, state=state, pull=pull):
            y, after = layers.batch_norm(params, state, x, momentum=0.3, epsilon=1e-3, training=True)
            return jnp.sum(y * pull), (y, after)

        (gradient, slope), (y, state) = jax.grad(pulled, argnums=(0, 1), has_aux=True)(params, jnp.asarray(x))
        np.testing.assert_allclose(np.moveaxis(y, -1, 1), expected.detach(), atol=1e-12)
        np.testing.assert_allclose(np.moveaxis(slope, -1, 1), given.grad, atol=1e-11)
        np.testing.assert_allclose(gradient["norm_scale"], norm.weight.grad, atol=1e-11)
        np.testing.assert_allclose(gradient["norm_offset"], norm.bias.grad, atol=1e-11)
        np.testing.assert_allclose(state["mean"], norm.running_mean, atol=1e-13)
        np.testing.assert_allclose(state["variance"], norm.running_var, atol=1e-13)
    norm.eval()
    x = RNG.normal(size=shape)
    y, after = layers.batch_norm(params, state, jnp.asarray(x), momentum=0.3, epsilon=1e-3, training=False)
    np.testing.assert_allclose(np.moveaxis(y, -1, 1), norm(channels_second(x)).detach(), atol=1e-12)
    assert after is state


def test_batch_norm_of_one_value_is_refused():
    params, state = layers.fresh_norm(4)
    with pytest.raises(UsageError, match="batch_size to 2 or more"):
        layers.batch_norm(params, state, jnp.ones((1, 4)), momentum=0.1, epsilon=1e-5, training=True)
    layers.batch_norm(params, state, jnp.ones((1, 4)), momentum=0.1, epsilon=1e-5, training=False)


def test_dropout_keeps_the_mean_and_divides_what_it_keeps():
    x = jnp.full((400, 500), 2.0)
    y = np.asarray(layers.dropout(x, 0.3, KEY, training=True))
    assert set(np.unique(y)) == {0.0, np.float32(2 / 0.7)}
    # 200,000 draws: the share's standard deviation is 1e-3.
    np.testing.assert_allclose(np.mean(y == 0), 0.3, atol=5e-3)
    assert layers.dropout(x, 0.3, None, training=False) is x
    assert layers.dropout(x, None, None, training=True) is x
    np.testing.assert_array_equal(layers.dropout(x, 0.0, KEY, training=True), x)
    with pytest.raises(UsageError, match="key"):
        layers.dropout(x, 0.3, None, training=True)


def test_dropout_rates_side_by_side_share_their_draws():
    """A higher rate drops what a lower one drops, and the draws are made once for all trials."""
    x, rates = jnp.ones((50, 60)), jnp.asarray([0.1, 0.4, 0.4])
    together = jax.vmap(lambda rate: layers.dropout(x, rate, KEY, training=True))
    low, high, same = np.asarray(together(rates)) == 0
    assert np.all(high[low])
    assert np.array_equal(high, same)
    drawn = [e for e in jax.make_jaxpr(together)(rates).eqns if "random_bits" in str(e)]
    assert drawn
    assert all(3 not in v.aval.shape for e in drawn for v in e.outvars)


def test_dropout_backwards_beside_pytorch_given_its_mask(x64):
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(8, 9))
    y, back = jax.vjp(lambda x: layers.dropout(x, 0.25, KEY, training=True), jnp.asarray(x))
    kept = np.asarray(y) != 0
    given = torch.tensor(x, requires_grad=True)
    (given * torch.tensor(kept) / 0.75).sum().backward()
    np.testing.assert_allclose(back(jnp.ones_like(y))[0], given.grad, rtol=1e-14)


def test_stochastic_depth_is_a_coin_in_training_and_its_mean_in_evaluation():
    f = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
    draws = np.stack([layers.stochastic_depth(f, 0.7, jax.random.key(i), training=True) for i in range(300)])
    stays = np.all(draws == np.asarray(f), axis=(1, 2))
    assert np.all(stays | np.all(draws == 0, axis=(1, 2)))  # the whole batch, or nothing
    np.testing.assert_allclose(stays.mean(), 0.7, atol=0.1)  # four standard deviations of 300 coins
    np.testing.assert_allclose(layers.stochastic_depth(f, 0.7, None, training=False), 0.7 * f, rtol=1e-6)


def test_survival_decays_linearly():
    """Huang et al. 2016, p_l = 1 − l/L (1 − p_L): with p_L = 0.5 and L = 4: 0.875, 0.75, 0.625, 0.5."""
    np.testing.assert_allclose(layers.survival_probabilities(0.5, 4), [0.875, 0.75, 0.625, 0.5], rtol=1e-15)


@pytest.mark.parametrize(("kind", "variance"), [("he", 2 / 300), ("xavier", 2 / 700)])
def test_initial_weights_have_their_variance(kind, variance):
    weight = layers.draw_weight(KEY, (400, 300), 300, 400, kind, 3.0)
    # 120,000 draws: the sample variance has a relative standard deviation of 4e-3.
    np.testing.assert_allclose(np.var(weight), 9 * variance, rtol=0.02)


@pytest.mark.parametrize("name", list(layers.ACTIVATIONS))
def test_activations_beside_pytorch(name, x64):
    torch = pytest.importorskip("torch")
    x = np.linspace(-6, 6, 41) + 0.01
    peer = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    given = torch.tensor(x, requires_grad=True)
    y = peer(given)
    y.sum().backward()
    ours = layers.ACTIVATIONS[name]
    np.testing.assert_allclose(ours(jnp.asarray(x)), y.detach(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(jax.vmap(jax.grad(ours))(jnp.asarray(x)), given.grad, rtol=1e-11, atol=1e-14)

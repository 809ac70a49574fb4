"""Convolutions and the residual network beside PyTorch; what bad images are told."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.losses import Softmax
from thalweg.models import Convolutional, pooling
from thalweg.models.convolution import convolve
from thalweg.ranges import choice

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


def channels_second(x):
    torch = pytest.importorskip("torch")
    return torch.tensor(np.moveaxis(np.asarray(x), -1, 1).copy())


@pytest.mark.parametrize("side", [1, 3, 5])
def test_convolution_beside_pytorch(side, x64):
    torch = pytest.importorskip("torch")
    x, weight = RNG.normal(size=(2, 5, 7, 3)), RNG.normal(size=(side, side, 3, 4))
    pull = RNG.normal(size=(2, 5, 7, 4))
    given, kernel = channels_second(x).requires_grad_(), torch.tensor(np.transpose(weight, (3, 2, 0, 1)).copy())
    kernel.requires_grad_()
    expected = torch.nn.functional.conv2d(given, kernel, padding=side // 2)
    (expected * channels_second(pull)).sum().backward()
    ours, back = jax.vjp(convolve, jnp.asarray(x), jnp.asarray(weight))
    to_x, to_weight = back(jnp.asarray(pull))
    np.testing.assert_allclose(np.moveaxis(ours, -1, 1), expected.detach(), atol=1e-12)
    np.testing.assert_allclose(np.moveaxis(to_x, -1, 1), given.grad, atol=1e-12)
    np.testing.assert_allclose(np.transpose(to_weight, (3, 2, 0, 1)), kernel.grad, atol=1e-12)


def test_no_permuted_convolution_is_left():
    """What is slow on a CPU in a loop: XLA's own gradient with respect to a kernel."""
    x, weight = jnp.zeros((2, 4, 5, 2)), jnp.zeros((3, 3, 2, 4))
    step = jax.grad(lambda w, x: jnp.sum(convolve(x, w) ** 2), argnums=(0, 1))
    text = jax.jit(step).lower(weight, x).as_text()
    found = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(found) == 3
    assert all("dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line for line in found)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_network_beside_pytorch(batch_norm, x64):
    """Two stages, average pooling: scores and every gradient in training, then scores in evaluation."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    model = Convolutional(width=3, blocks=(1, 1), pooling="average", batch_norm=batch_norm, momentum=0.2)
    params, state = model.init(KEY, (4, 6, 2), 3)
    params = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape), params)
    x, labels = RNG.normal(size=(5, 4, 6, 2)), RNG.integers(0, 3, 5)
    tensors = jax.tree.map(lambda leaf: torch.tensor(leaf, requires_grad=True), params)
    running = jax.tree.map(lambda leaf: torch.tensor(np.array(leaf)), state)

    def network(training):
        def convolution(name, x):
            layer = tensors[name]
            x = functional.conv2d(x, layer["weight"].permute(3, 2, 0, 1), padding="same", bias=layer.get("bias"))
            if not batch_norm:
                return x
            seen, scale, offset = running[name], layer["norm_scale"], layer["norm_offset"]
            return functional.batch_norm(x, seen["mean"], seen["variance"], scale, offset, training, momentum=0.2)

        def block(number, x):
            residual = convolution(f"block_{number}_first", x).relu()
            return (x + convolution(f"block_{number}_second", residual)).relu()

        y = block(1, convolution("stem", channels_second(x)).relu())
        y = block(2, convolution("widen_2", functional.avg_pool2d(y, 2)).relu())
        return y.mean(dim=(2, 3)) @ tensors["output"]["weight"].T + tensors["output"]["bias"]

    expected = network(True)
    functional.cross_entropy(expected, torch.tensor(labels)).backward()

    def loss(params):
        scores, after = model.apply(params, state, jnp.asarray(x), key=None, training=True)
        return jnp.mean(Softmax()(scores, jnp.asarray(labels))), (scores, after)

    gradient, (scores, after) = jax.jit(jax.grad(loss, has_aux=True))(params)
    np.testing.assert_allclose(scores, expected.detach(), atol=1e-11)
    for ours, peer in zip(jax.tree.leaves(gradient), jax.tree.leaves(tensors), strict=True):
        np.testing.assert_allclose(ours, peer.grad, atol=1e-11)
    evaluated, _ = model.apply(params, after, jnp.asarray(x), key=None, training=False)
    np.testing.assert_allclose(evaluated, network(False).detach(), atol=1e-11)


def test_stochastic_depth_leaves_a_block_out():
    """With p_L near 0 the last block hardly ever survives: what is left is the network without it."""
    model = Convolutional(2, (2,), stochastic_depth=1e-6, batch_norm=False)
    params, state = model.init(KEY, (4, 4, 1), 3)
    x = jnp.asarray(RNG.normal(size=(3, 4, 4, 1)), jnp.float32)
    without = {**params, "block_2_second": jax.tree.map(jnp.zeros_like, params["block_2_second"])}
    always = Convolutional(2, (2,), batch_norm=False)
    first_gone = {**without, "block_1_second": jax.tree.map(jnp.zeros_like, params["block_1_second"])}
    expected = [always.apply(p, state, x, key=None, training=True)[0] for p in (without, first_gone)]
    seen = {int(np.argmin([np.abs(_scores(model, params, x, i) - e).max() for e in expected])) for i in range(20)}
    assert seen == {0, 1}  # block 1 of 2 survives with 1/2
    for i in range(20):
        scores = _scores(model, params, x, i)
        assert min(np.abs(scores - np.asarray(e)).max() for e in expected) < 1e-6


def _scores(model, params, x, seed):
    return np.asarray(model.apply(params, (), x, key=jax.random.key(seed), training=True)[0])


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({}, (64,), r"takes images \(height, width, channels\), and the examples have shape \(64,\)"),
        ({}, (30, 30, 3), "3 stages halve images 2 times, and these are 30 × 30: .* multiples of 4"),
        ({"pooling": "fractional", "ratio": 1.9}, (3, 3, 1), r"a side of 3 pixels cannot be pooled by 1\.9"),
    ],
)
def test_images_that_cannot_serve_are_refused(arguments, shape, message):
    with pytest.raises(UsageError, match=message):
        Convolutional(**arguments).check(shape)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0}, "width is 0"),
        ({"blocks": ()}, r"blocks is \(\); give the blocks of each stage"),
        ({"blocks": choice((1, 1), (0,))}, "blocks is 0"),
        ({"pooling": "median"}, "pooling is 'median'"),
        ({"ratio": 2.0}, "ratio is 2.0; it must be finite and above 1 and below 2"),
        ({"cuts": "even"}, "cuts is 'even'"),
        ({"stochastic_depth": 0.0}, "stochastic_depth is 0.0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        Convolutional(**arguments)


def test_regions_and_dropout_are_drawn_in_training_and_settings_count():
    x = jnp.asarray(RNG.normal(size=(3, 9, 9, 1)), jnp.float32)

    def scores(seed, training, **changes):
        model = Convolutional(2, batch_norm=False, **{"blocks": (1, 1), **changes})
        params, state = model.init(KEY, (9, 9, 1), 3)
        return np.asarray(model.apply(params, state, x, key=jax.random.key(seed), training=training)[0])

    fractional = {"pooling": "fractional", "ratio": 1.3}
    assert len({scores(seed, True, **fractional).tobytes() for seed in range(6)}) > 1
    np.testing.assert_array_equal(scores(0, False, **fractional), scores(1, False, **fractional))
    assert not np.array_equal(scores(0, False, **fractional), scores(0, False, **fractional, overlapping=False))
    drawn = [[scores(seed, True, **fractional, cuts=cuts).tobytes() for seed in range(3)] for cuts in pooling.KINDS]
    assert drawn[0] != drawn[1]
    plain = {"blocks": (1,), "dropout": 0.5}
    assert not np.array_equal(scores(0, False, **plain), scores(0, True, **plain))


def test_float32_images_meet_float64_weights(x64):
    model = Convolutional(2, (1,))
    params, state = model.init(KEY, (4, 4, 1), 3)
    scores, _ = model.apply(params, state, jnp.ones((2, 4, 4, 1), jnp.float32), key=None, training=False)
    assert scores.dtype == jnp.float64

"""Pooling beside NumPy's loops, PyTorch and the definitions of Graham 2014."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.models import pooling

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


@pytest.mark.parametrize("name", ["max", "average"])
def test_pooling_beside_pytorch(name, x64):
    torch = pytest.importorskip("torch")
    x, pull = RNG.normal(size=(2, 6, 9, 4)), RNG.normal(size=(2, 2, 3, 4))
    given_x = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    expected = (torch.nn.functional.max_pool2d if name == "max" else torch.nn.functional.avg_pool2d)(given_x, 3)
    (expected * torch.tensor(np.moveaxis(pull, -1, 1).copy())).sum().backward()
    ours, back = jax.vjp(lambda x: getattr(pooling, f"{name}_pool")(x, 3), jnp.asarray(x))
    np.testing.assert_allclose(np.moveaxis(ours, -1, 1), expected.detach(), rtol=1e-13)
    np.testing.assert_allclose(np.moveaxis(back(jnp.asarray(pull))[0], -1, 1), given_x.grad, rtol=1e-13)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(UsageError, match="pooling by 2 does not divide images of 7 × 8"):
        pooling.max_pool(jnp.zeros((1, 7, 8, 1)))


@pytest.mark.parametrize("kind", pooling.KINDS)
@pytest.mark.parametrize(("size", "ratio"), [(3, 1.01), (25, 2**0.5), (32, 1.5), (36, 1.99), (71, 1.26), (80, 1.9)])
def test_cuts_are_increments_of_one_and_two_that_end_at_the_edge(size, ratio, kind):
    left = pooling.fractional_size(size, ratio)
    cut = jax.jit(lambda key: pooling.regions(size, ratio, key, kind))
    for cuts in (*(np.asarray(cut(jax.random.key(i))) for i in range(20)), pooling.regions(size, ratio, None, kind)):
        assert (cuts[0], cuts[-1], len(cuts)) == (0, size, left + 1)
        assert set(np.diff(cuts)) <= {1, 2}


def test_pseudorandom_cuts_are_the_formula():
    """a_i = ⌈α(i + u)⌉ − ⌈α u⌉ with α = n/m, in exact arithmetic for u = ½: 25 pixels to 18 (Graham's example, √2)."""
    cuts = np.asarray(pooling.regions(25, math.sqrt(2), None, "pseudorandom"))
    left = pooling.fractional_size(25, math.sqrt(2))
    assert left == 17
    ceil = [-(-(25 * (2 * i + 1)) // (2 * left)) for i in range(left + 1)]  # whole numbers: no rounding
    np.testing.assert_array_equal(cuts, np.array(ceil) - ceil[0])


@pytest.mark.parametrize("overlapping", [True, False])
@pytest.mark.parametrize("kind", pooling.KINDS)
def test_fractional_pooling_is_the_maximum_over_its_regions(kind, overlapping):
    x = RNG.normal(size=(2, 11, 13, 3)).astype(np.float32)
    ours = np.asarray(pooling.fractional_max_pool(jnp.asarray(x), 1.4, KEY, kind=kind, overlapping=overlapping))
    keys = jax.random.split(KEY)
    rows, columns = (np.asarray(pooling.regions(n, 1.4, k, kind)) for n, k in zip((11, 13), keys, strict=True))
    assert ours.shape == (2, 7, 9, 3)
    end = 1 if overlapping else 0
    for i in range(7):
        for j in range(9):
            region = x[:, rows[i] : rows[i + 1] + end, columns[j] : columns[j + 1] + end]
            np.testing.assert_array_equal(ours[:, i, j], region.max(axis=(1, 2)))


def test_batches_are_cut_anew_in_training_and_never_in_evaluation():
    cuts = [pooling.regions(32, 1.5, jax.random.key(i), kind) for i in range(8) for kind in pooling.KINDS]
    assert len({tuple(np.asarray(c).tolist()) for c in cuts}) > 8
    x = jnp.asarray(RNG.normal(size=(1, 8, 8, 1)))
    np.testing.assert_array_equal(*(pooling.fractional_max_pool(x, 1.3, None, kind=k) for k in pooling.KINDS))


@pytest.mark.parametrize("ratio", [1.0, 2.0, 0.5, math.nan])
def test_a_ratio_outside_its_range_is_refused(ratio):
    with pytest.raises(UsageError, match="the pooling ratio is"):
        pooling.fractional_size(8, ratio)


def test_a_side_too_short_is_refused():
    with pytest.raises(UsageError, match=r"a side of 3 pixels cannot be pooled by 1\.9 to 1"):
        pooling.fractional_size(3, 1.9)

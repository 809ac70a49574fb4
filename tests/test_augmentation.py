"""Augmentation: the pixels of a loop in NumPy, and evenly drawn flips and shifts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from thalweg.augmentation import FlipCrop
from thalweg.errors import UsageError
from thalweg.ranges import choice


def by_hand(image, offset, mirrored, crop):
    """Mirror, pad, cut: pixel by pixel."""
    height, width, _ = image.shape
    out = np.zeros_like(image)
    for i in range(height):
        for j in range(width):
            row, column = i + offset[0] - crop, j + offset[1] - crop  # in the mirrored image
            if 0 <= row < height and 0 <= column < width:
                out[i, j] = image[row, width - 1 - column] if mirrored else image[row, column]
    return out


# 37 is no multiple of the loop's chunk, and 5 is less than one.
@pytest.mark.parametrize(
    ("augmentation", "shape"),
    [
        (FlipCrop(crop=2), (37, 5, 7, 3)),
        (FlipCrop(flip=False, crop=3), (5, 8, 4, 1)),
        (FlipCrop(flip=True, crop=0), (32, 4, 3, 2)),
    ],
)
def test_pixels_are_those_of_a_loop_driven_by_the_same_draws(augmentation, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    key = jax.random.key(1)
    offsets, mirrored = map(np.asarray, augmentation.draw(key, len(x)))
    expected = [by_hand(*image, augmentation.crop) for image in zip(x, offsets, mirrored, strict=True)]
    got = jax.jit(augmentation)(jnp.asarray(x), key)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, np.stack(expected))
    assert (np.asarray(got) != x).any()


def test_draws_are_even_and_independent():
    offsets, mirrored = FlipCrop(crop=4).draw(jax.random.key(0), 16_200)
    assert offsets.dtype == jnp.int32
    cells = np.ravel_multi_index((*np.asarray(offsets).T, np.asarray(mirrored).astype(int)), (9, 9, 2))
    counts = np.bincount(cells, minlength=162)
    assert len(counts) == 162
    assert chisquare(counts).pvalue > 1e-3  # 100 expected in each cell of rows × columns × flips
    later, _ = FlipCrop(crop=4).draw(jax.random.key(1), 16_200)
    assert abs(np.corrcoef(np.asarray(offsets).ravel(), np.asarray(later).ravel())[0, 1]) < 0.03


def test_what_is_switched_off_is_not_drawn():
    key = jax.random.key(0)
    offsets, mirrored = FlipCrop(flip=False, crop=1).draw(key, 500)
    assert not mirrored.any()
    assert set(np.unique(offsets)) == {0, 1, 2}
    offsets, mirrored = FlipCrop(crop=0).draw(key, 500)
    assert not offsets.any()
    assert 0 < mirrored.sum() < 500


def test_without_flip_and_crop_nothing_happens():
    x = jnp.ones((3, 4, 4, 1))
    assert FlipCrop(flip=False, crop=0)(x, jax.random.key(0)) is x


def test_the_key_decides_and_precision_does_not():
    x = np.random.default_rng(0).normal(size=(20, 6, 6, 3)).astype(np.float32)
    augment = jax.jit(FlipCrop(crop=2))
    first = np.asarray(augment(x, jax.random.key(3)))
    np.testing.assert_array_equal(augment(x, jax.random.key(3)), first)
    assert (np.asarray(augment(x, jax.random.key(4))) != first).any()
    with jax.enable_x64(True):
        np.testing.assert_array_equal(augment(x, jax.random.key(3)), first)


def test_a_loop_keeps_the_batch_from_being_computed_pixel_by_pixel():
    """Fused into the gather, reading and preprocessing are repeated for each pixel: the loop is there to stay."""
    program = jax.make_jaxpr(FlipCrop())(jnp.zeros((64, 8, 8, 3)), jax.random.key(0))
    assert "scan" in [equation.primitive.name for equation in program.eqns]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop": -1}, "crop is -1"),
        ({"crop": 2.0}, "crop is 2.0.*without a point"),
        ({"crop": "4"}, "crop is '4'"),
        ({"flip": 1}, "flip is 1; give true or false"),
        ({"crop": choice(2, -2)}, "crop is -2"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(UsageError, match=f"FlipCrop: {message}"):
        FlipCrop(**arguments)


def test_only_images_larger_than_the_crop_will_do():
    FlipCrop(crop=4).check((5, 32, 1))
    FlipCrop(crop=choice(2, 4)).check((32, 32, 3))
    for shape in ((4, 32, 1), (32, 4, 1)):
        with pytest.raises(UsageError, match=r"crop is 4, and images are .* must be below 4"):
            FlipCrop(crop=4).check(shape)
    for shape in ((64,), (8, 8)):
        with pytest.raises(UsageError, match="only images"):
            FlipCrop().check(shape)

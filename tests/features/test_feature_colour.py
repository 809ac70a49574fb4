"""The colour histogram beside loops over colorsys, and the identities of its formula."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.features import ColorHistogram

PART = ColorHistogram(bins=(6, 3, 2), grid=2)


def images(count=2, height=6, width=8, seed=0):
    return np.random.default_rng(seed).random((count, height, width, 3), np.float32)


def window(length, grid, index):
    """A cell's bilinear window along one axis; it sums to 1."""
    cell = length / grid
    inside = np.clip(np.arange(length) + 0.5, cell / 2, length - cell / 2)
    weights = np.maximum(0, 1 - np.abs(inside - (index + 0.5) * cell) / cell)
    return weights / weights.sum()


def shares(pixel, bins):
    hue, saturation, value = colorsys.rgb_to_hsv(*map(float, pixel))
    away = np.abs(hue * bins[0] - np.arange(bins[0]))
    parts = [saturation * np.maximum(0, 1 - np.minimum(away, bins[0] - away))]
    for number, count in ((saturation, bins[1]), (value, bins[2])):
        centres = (np.arange(count) + 0.5) / count
        number = np.clip(number, centres[0], centres[-1])
        parts.append(np.maximum(0, 1 - np.abs(number - centres) * count))
    return np.concatenate(parts)


def by_loops(image, part):
    height, width, _ = image.shape
    features = []
    for i in range(part.grid):
        for j in range(part.grid):
            total = np.zeros(sum(part.bins))
            for y in range(height):
                for x in range(width):
                    weight = window(height, part.grid, i)[y] * window(width, part.grid, j)[x]
                    total += weight * shares(image[y, x], part.bins)
            features.append(np.sqrt(total) if part.root else total)
    return np.concatenate(features)


@pytest.mark.parametrize("part", [PART, ColorHistogram(bins=(2, 1, 4), grid=1), ColorHistogram(grid=3, root=False)])
def test_beside_loops(part):
    batch = images()
    batch[0, 0] = 0.25  # grey pixels
    batch[0, 1] = 0  # black ones
    batch[1, :2, :, 0] = batch[1, :2, :, 1]  # ties of the largest channel
    expected = np.stack([by_loops(image, part) for image in batch])
    found = part.transform(batch, {})
    assert found.dtype == np.float32
    assert found.shape == (2, part.size((6, 8, 3)))
    # The root makes an error of 1e-8 beside 0 one of 1e-4.
    np.testing.assert_allclose(found**2 if part.root else found, expected**2 if part.root else expected, atol=1e-6)


def test_sums():
    batch = images()
    squares = ColorHistogram(bins=(6, 3, 2), grid=1).transform(batch, {}) ** 2
    value, least = batch.max(axis=-1), batch.min(axis=-1)
    np.testing.assert_allclose(squares[:, 6:9].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(squares[:, 9:].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(squares[:, :6].sum(axis=1), ((value - least) / value).mean(axis=(1, 2)), rtol=1e-5)


def test_uniform_red():
    red = np.zeros((1, 6, 8, 3), np.uint8)
    red[..., 0] = 255
    cell = [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]  # six hues, three saturations, two values
    np.testing.assert_allclose(PART.transform(red, {})[0], cell * 4, atol=1e-6)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_grey_has_no_hue(level):
    found = PART.transform(np.full((1, 6, 8, 3), level, np.uint8), {}).reshape(4, 11)
    np.testing.assert_array_equal(found[:, :6], 0)
    np.testing.assert_allclose(found[:, 6:9], np.broadcast_to([1, 0, 0], (4, 3)), atol=1e-6)
    assert np.all(np.isfinite(found))


def test_turning_the_hues_turns_the_bins():
    batch = images()
    plain, turned = (ColorHistogram(bins=(6, 3, 2), grid=2).transform(b, {}).reshape(2, 4, 11) for b in
                     (batch, batch[..., [2, 0, 1]]))  # fmt: skip  # red → green → blue → red is a third of the circle
    np.testing.assert_allclose(turned[..., :6] ** 2, np.roll(plain[..., :6] ** 2, 2, axis=-1), atol=1e-6)
    np.testing.assert_array_equal(turned[..., 6:], plain[..., 6:])


def test_numbers_outside_the_unit_range_are_clipped():
    wild = 4 * images() - 2
    np.testing.assert_array_equal(PART.transform(wild, {}), PART.transform(np.clip(wild, 0, 1), {}))


def test_lists_from_files_become_tuples():
    assert ColorHistogram(bins=[8, 4, 4]) == ColorHistogram()
    assert hash(ColorHistogram(bins=[8, 4, 4])) == hash(ColorHistogram())


@pytest.mark.parametrize(
    ("shape", "match"),
    [((8, 8, 1), "1 channel, "), ((8, 8, 4), "4 channels"), ((3, 8, 3), "at most 3"), ((64,), "no im")],
)
def test_images_that_cannot_serve(shape, match):
    with pytest.raises(UsageError, match=match):
        ColorHistogram().check(shape, np.uint8)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"bins": 8}, "bins are 8"),
        ({"bins": (8, 4)}, "bins are"),
        ({"bins": (1, 4, 4)}, "number of hues is 1"),
        ({"bins": (8, 4, 0)}, "number of values is 0"),
        ({"grid": 0}, "grid is 0"),
        ({"root": "yes"}, "root is 'yes'"),
    ],
)
def test_bad_fields(fields, match):
    with pytest.raises(UsageError, match=match):
        ColorHistogram(**fields)

"""HOG beside plain loops, the identities that its formula has, and scikit-image where it is installed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from thalweg.errors import UsageError
from thalweg.features import HOG

SMALL = HOG(cell=4, orientations=6)


def images(count=3, height=12, width=8, channels=3, seed=0):
    return np.random.default_rng(seed).random((count, height, width, channels), np.float32)


def near(position, length, cell, index, soft):
    """The share of a pixel in a cell along one axis."""
    if not soft:
        return float(position // cell == index)
    centre = min(max(position + 0.5, cell / 2), length - cell / 2)
    return max(0.0, 1 - abs(centre - (index + 0.5) * cell) / cell)


def gradient(image, y, x):
    """The longest of the channels' gradients, (down, right)."""
    height, width, channels = image.shape
    found = []
    for c in range(channels):
        down = (image[min(y + 1, height - 1), x, c] - image[max(y - 1, 0), x, c]) / 2
        right = (image[y, min(x + 1, width - 1), c] - image[y, max(x - 1, 0), c]) / 2
        found.append((down, right))
    return max(found, key=lambda pair: math.hypot(*pair))


def histograms(image, part):
    height, width, _ = image.shape
    rows, columns = height // part.cell, width // part.cell
    result = np.zeros((rows, columns, part.orientations))
    turn = 2 * math.pi if part.signed else math.pi
    bin_width = turn / part.orientations
    for y in range(height):
        for x in range(width):
            down, right = gradient(image, y, x)
            angle = math.atan2(down, right) % turn
            for k in range(part.orientations):
                away = abs(angle - (k + 0.5) * bin_width)
                share = max(0.0, 1 - min(away, turn - away) / bin_width)
                share = share if part.soft else float(int(angle / bin_width) == k)
                for i in range(rows):
                    for j in range(columns):
                        window = near(y, height, part.cell, i, part.soft) * near(x, width, part.cell, j, part.soft)
                        result[i, j, k] += share * window * math.hypot(down, right) / part.cell**2
    return result


def by_loops(image, part):
    cells = histograms(image.astype(np.float64), part)
    features = []
    for i in range(cells.shape[0] - part.block + 1):
        for j in range(cells.shape[1] - part.block + 1):
            v = cells[i : i + part.block, j : j + part.block].reshape(-1)
            v = np.minimum(v / np.sqrt(v @ v + part.epsilon**2), part.clip)
            features.append(v / np.sqrt(v @ v + part.epsilon**2))
    return np.concatenate(features)


@pytest.mark.parametrize(
    ("part", "channels"),
    [
        (SMALL, 3),
        (HOG(cell=4, orientations=9, signed=False), 1),
        (HOG(cell=4, orientations=5, soft=False, epsilon=0.1), 3),
        (HOG(cell=2, orientations=3, block=3, clip=0.3), 2),
        (HOG(cell=4, block=1, signed=False, soft=False), 3),
    ],
)
def test_beside_loops(part, channels):
    batch = images(2, channels=channels)
    expected = np.stack([by_loops(image, part) for image in batch])
    found = part.transform(batch, {})
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (2, part.size(batch.shape[1:]))
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_constant_images_give_exactly_zero(value):
    np.testing.assert_array_equal(SMALL.transform(np.full((1, 12, 8, 3), value, np.uint8), {}), 0)


def test_a_constant_added_changes_nothing_and_a_scale_nearly_nothing():
    batch = np.float32(0.5) * images()
    plain = SMALL.transform(batch, {})
    np.testing.assert_allclose(SMALL.transform(batch + np.float32(0.25), {}), plain, atol=3e-6)
    sharp = HOG(cell=4, orientations=6, epsilon=1e-4)
    np.testing.assert_allclose(sharp.transform(2 * batch, {}), sharp.transform(batch, {}), atol=1e-5)
    # A weak block fades where epsilon says that it is weak.
    assert np.all(SMALL.transform(batch / 1000, {}) < 0.2 * plain + 1e-6)


def test_a_mirror_image_mirrors_cells_and_orientations():
    part = HOG(cell=4, orientations=6, block=1)
    plain, mirrored = (part.transform(b, {}).reshape(3, 3, 2, 6) for b in (images(), images()[:, :, ::-1]))
    # An angle a becomes 180° − a: the bin centred on (k + ½)·60° becomes that on (2 − k + ½)·60°.
    np.testing.assert_allclose(mirrored[:, :, ::-1][..., (2 - np.arange(6)) % 6], plain, atol=2e-6)


def test_without_sign_a_negative_looks_the_same():
    part = HOG(cell=4, orientations=6, signed=False)
    np.testing.assert_allclose(part.transform(1 - images(), {}), part.transform(images(), {}), atol=3e-6)
    assert np.max(np.abs(SMALL.transform(1 - images(), {}) - SMALL.transform(images(), {}))) > 0.1


def test_a_ramp_points_one_way():
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[None, :, None] / 8, (12, 8, 1))[None]
    found = HOG(cell=4, orientations=4, block=1).transform(ramp, {}).reshape(3, 2, 4)
    # To the right is 0°, halfway between the bins centred on 45° and 315°.
    np.testing.assert_allclose(found[..., 0], found[..., 3], rtol=1e-5)
    assert np.all(found[..., 0] > 0.5)
    np.testing.assert_allclose(found[..., 1:3], 0, atol=1e-6)


def test_beside_scikit_image():
    feature = pytest.importorskip("skimage.feature")
    batch = np.full((4, 32, 32, 3), 0.5, np.float32)
    batch[:, 2:-2, 2:-2] = images(4, 28, 28)  # its border has no gradient, ours repeats pixels: give both none
    part = HOG(orientations=9, signed=False, soft=False, epsilon=5e-6)  # its gradients are twice as long
    for image, row in zip(batch, part.transform(batch, {}), strict=True):
        expected = feature.hog(image, 9, (8, 8), (2, 2), block_norm="L2-Hys", channel_axis=-1)
        np.testing.assert_allclose(row, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("part", "shape", "match"),
    [
        (HOG(), (28, 28, 1), "cell = 2 or 4 or 7 or 14"),
        (HOG(), (31, 29, 3), "crop or pad"),
        (HOG(), (8, 8, 3), "smaller cell or block"),
        (HOG(), (64,), "no images"),
    ],
)
def test_images_that_cannot_serve(part, shape, match):
    with pytest.raises(UsageError, match=match):
        part.check(shape, np.uint8)


@pytest.mark.parametrize(
    "fields",
    [{"cell": 0}, {"cell": 8.0}, {"orientations": 1}, {"block": True}, {"signed": 1}, {"clip": 0}, {"epsilon": 0.0}],
)
def test_bad_fields(fields):
    with pytest.raises(UsageError, match=f"HOG: {next(iter(fields))} is"):
        HOG(**fields)

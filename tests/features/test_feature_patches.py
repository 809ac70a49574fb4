"""Patch features beside loops in float64, whitening's identities, and what is drawn from which images."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import thalweg.features.patches as module
from thalweg.errors import DataError, UsageError
from thalweg.features import Patches

PART = Patches(count=5, patch=3, samples=200, iterations=3)


def images(count=6, height=9, width=8, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def states(part=PART, batch=None):
    return part.fit(images() if batch is None else batch)


def one_patch(p, state):
    q = (p - p.mean()) / np.sqrt(p.var() + 10 / 255**2)
    z = state["whitening"].astype(np.float64) @ (q - state["mean"])
    distances = np.array([np.sqrt(((z - c) ** 2).sum()) for c in state["centroids"]])
    return np.maximum(0, distances.mean() - distances)


def by_loops(image, part, state):
    image = image.astype(np.float64) / 255
    rows = range(0, image.shape[0] - part.patch + 1, part.stride)
    columns = range(0, image.shape[1] - part.patch + 1, part.stride)
    total = np.zeros((part.pooling, part.pooling, part.count))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            f = one_patch(image[y : y + part.patch, x : x + part.patch].reshape(-1), state)
            total[i * part.pooling // len(rows), j * part.pooling // len(columns)] += f
    return total.reshape(-1)


@pytest.mark.parametrize(
    ("part", "channels"),
    [
        (PART, 3),
        (Patches(count=4, patch=2, stride=2, samples=100, iterations=1, pooling=3, whitening=1.0), 1),
        (Patches(count=4, patch=4, stride=3, samples=100, iterations=1, pooling=1), 2),
    ],
)
def test_beside_loops(part, channels):
    batch = images(channels=channels)
    state = part.fit(batch)
    expected = np.stack([by_loops(image, part, state) for image in batch[:2]])
    found = part.transform(batch[:2], state)
    assert found.dtype == np.float32
    assert found.shape == (2, part.size(batch.shape[1:]))
    assert np.all(expected.sum(axis=1) > 1)
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-4)


def test_faint_patches_fade_beside_loops():
    faint = images() // 40  # a spread of about 2 of 255, where the 10 that is added to the variance counts
    state = PART.fit(faint)
    np.testing.assert_allclose(PART.transform(faint[:1], state)[0], by_loops(faint[0], PART, state), atol=2e-4)


def test_patches_taken_in_blocks_give_the_same(monkeypatch):
    state = {name: jnp.asarray(array) for name, array in states().items()}
    batch = jnp.asarray(images(2) / np.float32(255))
    whole = PART.encode(batch, state)
    monkeypatch.setattr(module, "_ROWS", 5)  # 42 patches: nine blocks, three rows of zeros
    np.testing.assert_allclose(PART.encode(batch, state), whole, rtol=1e-5, atol=1e-5)


def test_mirror_averages_an_image_and_its_mirror_image():
    part = Patches(count=5, patch=3, samples=200, iterations=3, mirror=True)
    state, batch = states(), images(2)
    expected = (PART.transform(batch, state) + PART.transform(batch[:, :, ::-1], state)) / 2
    np.testing.assert_allclose(part.transform(batch, state), expected, rtol=1e-6)


@pytest.mark.parametrize("level", [0, 200, 255])
def test_constant_images_are_finite(level):
    flat = np.full((2, 9, 8, 3), level, np.uint8)
    assert np.all(np.isfinite(PART.transform(flat, states())))
    assert all(np.all(np.isfinite(array)) for array in states(batch=flat).values())


def test_whitening_in_the_limit_leaves_an_identity():
    rng = np.random.default_rng(0)
    patches = (rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) + 3).astype(np.float32)
    mean, matrix = module.whitener(patches, 1e-7)
    white = (patches.astype(np.float64) - mean) @ matrix
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(white.T @ white / 500, np.eye(6), atol=1e-3)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)


def test_whitening_by_strength_shrinks_each_eigenvalue():
    patches = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32) * np.float32([1, 2, 3, 4, 5])
    _, matrix = module.whitener(patches, 2.0)
    covariance = np.cov(patches.T.astype(np.float64), bias=True)
    values, vectors = np.linalg.eigh(covariance)
    expected = (vectors * (values / (values + 2))) @ vectors.T
    np.testing.assert_allclose(matrix @ covariance @ matrix, expected, atol=1e-4)


def test_normalised_training_patches_lose_one_direction_to_their_mean():
    part = Patches(count=5, patch=2, samples=300, iterations=1, whitening=1e-6)
    batch = images(30, 5, 5, 1)
    state = part.fit(batch)
    views = np.lib.stride_tricks.sliding_window_view(batch[..., 0], (2, 2), axis=(1, 2)).reshape(-1, 4) / 255
    q = views - views.mean(axis=1, keepdims=True)
    q = q / np.sqrt((q**2).mean(axis=1, keepdims=True) + 10 / 255**2)
    white = (q - state["mean"]) @ state["whitening"]
    # Learned from 300 of these 480 patches, so near the identity without the constant direction, not upon it.
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(4) - 0.25, atol=0.15)


def test_drawn_patches_are_distinct_patches_of_the_images(monkeypatch):
    monkeypatch.setattr(module, "_IMAGES", 4)
    batch = images(10, 4, 5, 2)
    part = Patches(count=2, patch=3, samples=40)
    drawn = part._drawn(batch, np.random.default_rng(0))
    places = {
        (batch[n, y : y + 3, x : x + 3] / np.float32(255)).tobytes()
        for n in range(10) for y in range(2) for x in range(3)
    }  # fmt: skip
    found = {row.tobytes() for row in drawn}
    assert drawn.shape == (40, 18)
    assert len(found) == 40
    assert found <= places
    everything = Patches(count=2, patch=3, samples=1000)._drawn(batch, np.random.default_rng(0))
    assert {row.tobytes() for row in everything} == places


def test_the_seed_decides_and_only_the_images_given_are_read(tmp_path):
    batch = images(12)
    np.save(tmp_path / "images.npy", batch)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    other = batch.copy()
    other[6:] = 0
    state = states(batch=batch[:6])
    for again in (states(batch=other[:6]), states(batch=mapped[:6])):
        for name, array in state.items():
            np.testing.assert_array_equal(again[name], array)
    assert not np.array_equal(states(batch=other)["centroids"], state["centroids"])
    reseeded = Patches(count=5, patch=3, samples=200, iterations=3, seed=1).fit(batch[:6])
    assert not np.array_equal(reseeded["centroids"], state["centroids"])


def test_shapes_of_the_state():
    assert {name: array.shape for name, array in states().items()} == PART.state_shapes((9, 8, 3))
    assert {array.dtype for array in states().values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("part", "shape", "match"),
    [
        (Patches(), (6, 32, 3), r"smaller than the 7 × 7 pixels"),
        (Patches(stride=4, pooling=3), (13, 13, 3), r"smaller than the 14 × 14"),
        (Patches(patch=1), (8, 8, 1), "give patch = 2"),
        (Patches(), (64,), "no images"),
    ],
)
def test_images_that_cannot_serve(part, shape, match):
    with pytest.raises(UsageError, match=match):
        part.check(shape, np.uint8)


def test_images_to_learn_from():
    with pytest.raises(DataError, match="hold 42 patches, fewer than count 50"):
        Patches(count=50, patch=3).fit(images(1))
    with pytest.raises(DataError, match="0 training images"):
        PART.fit(images(0))
    with pytest.raises(DataError, match="NaN"):
        PART.fit(np.full((3, 9, 8, 3), np.nan, np.float32))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"count": 0}, "count is 0"),
        ({"stride": 1.5}, "stride is 1.5"),
        ({"whitening": 0}, "whitening is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"mirror": None}, "mirror is None"),
        ({"count": 10, "samples": 9}, "give more samples"),
    ],
)
def test_bad_fields(fields, match):
    with pytest.raises(UsageError, match=match):
        Patches(**fields)

"""The real CIFAR-10 images, streamed from their archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thalweg.data import check_trainable, load


@pytest.mark.slow
@pytest.mark.cifar10
def test_the_archive_is_what_krizhevsky_made(cifar10_path: Path) -> None:
    data = load(cifar10_path)
    assert data.train.features.shape == (50_000, 32, 32, 3)
    assert data.test.features.shape == (10_000, 32, 32, 3)
    assert data.train.features.dtype == np.uint8
    assert data.classes == ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    assert np.bincount(data.train.labels).tolist() == [5000] * 10
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    check_trainable(data)
    # The means of the original pixels, published in many places, are 125.3, 123.0, 113.9 (red, green, blue);
    # JPEG at this quality moves them by less than 0.2.
    means = data.train.features.mean(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(means, [125.3, 123.0, 113.9], atol=0.3)
    # Splits are views of one array: nothing was copied to part them.
    assert data.train.features.base is data.test.features.base

"""Soft bins share each value whole, between neighbours only."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.features.bins import circular, linear, windows


@given(st.floats(0, 1, width=32), st.sampled_from([2, 3, 8]))
def test_circular_bins_share_by_nearness(turn, bins):
    weights = np.asarray(circular(jnp.float32(turn) * bins, bins))
    position = np.float64(np.float32(turn)) * bins
    low = int(np.floor(position))
    expected = np.zeros(bins)
    expected[low % bins] += 1 - (position - low)
    expected[(low + 1) % bins] += position - low
    np.testing.assert_allclose(weights, expected, atol=1e-6)


@given(st.floats(0, 1, width=32), st.sampled_from([1, 2, 5]))
def test_linear_bins_share_by_nearness_and_stop_at_the_ends(value, bins):
    weights = np.asarray(linear(jnp.float32(value), bins), np.float64)
    centres = (np.arange(bins) + 0.5) / bins
    np.testing.assert_allclose(weights.sum(), 1, atol=1e-6)
    # Shares with the mean at the value, between two neighbours, are the linear ones and no others.
    np.testing.assert_allclose(weights @ centres, np.clip(value, centres[0], centres[-1]), atol=1e-6)
    used = np.flatnonzero(weights > 1e-6)
    assert used[-1] - used[0] <= 1


@pytest.mark.parametrize(("length", "cells"), [(8, 2), (32, 4), (10, 3), (5, 5), (7, 1)])
def test_windows_share_each_pixel_among_cells(length, cells):
    soft, hard = windows(length, cells, True), windows(length, cells, False)
    for pixel in range(length):
        centre = (pixel + 0.5) * cells / length  # in cells, from the image's edge
        assert np.flatnonzero(hard[:, pixel]).tolist() == [int(centre)]
        inside = np.clip(centre, 0.5, cells - 0.5)
        np.testing.assert_allclose(soft[:, pixel].sum(), 1, rtol=1e-6)
        np.testing.assert_allclose(soft[:, pixel] @ (np.arange(cells) + 0.5), inside, rtol=1e-6)
        assert np.all(np.diff(np.flatnonzero(soft[:, pixel])) == 1)
    np.testing.assert_array_equal(hard.sum(axis=0), np.ones(length))

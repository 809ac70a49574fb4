"""Minibatches: every epoch uses each example once, in an order of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.training.batches import epoch_batches, steps_per_epoch

SIZES = {"examples": st.integers(1, 300), "batch": st.integers(1, 64), "seed": st.integers(0, 2**32 - 1)}


@given(**SIZES, epoch=st.integers(0, 1000))
def test_each_example_counts_once(examples, batch, seed, epoch):
    batches = epoch_batches(examples, batch, seed=seed, epoch=epoch)
    steps = steps_per_epoch(examples, batch)
    assert batches.rows.shape == batches.weight.shape == (steps, batch)
    assert (batches.rows.dtype, batches.weight.dtype) == (np.int32, np.float32)
    assert steps == len(range(0, examples, batch))
    counted = batches.rows[batches.weight == 1]
    assert sorted(counted.tolist()) == list(range(examples))
    assert set(np.unique(batches.weight)) <= {0, 1}
    assert (batches.rows >= 0).all()
    assert (batches.rows < examples).all()
    assert (batches.weight[:-1] == 1).all()  # only the last batch is filled up
    assert batches.weight[-1].sum() == examples - (steps - 1) * batch >= 1


@given(**SIZES)
def test_an_epoch_is_fixed_by_seed_and_number_alone(examples, batch, seed):
    """Any epoch can be drawn without those before it, and its order does not hang on the batch size."""
    one, again = (epoch_batches(examples, batch, seed=seed, epoch=7) for _ in range(2))
    np.testing.assert_array_equal(one.rows, again.rows)
    whole = epoch_batches(examples, examples, seed=seed, epoch=7)
    np.testing.assert_array_equal(one.rows.ravel()[:examples], whole.rows[0])


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {
        epoch_batches(50, 50, seed=seed, epoch=epoch).rows.tobytes()
        for seed in (0, 1, 2**32 - 1)
        for epoch in range(20)
    }
    assert len(orders) == 60


def test_orders_are_uniform():
    """Each example falls on each place equally often: χ² over 20 places of 2,000 epochs, 19 degrees of freedom."""
    rows = np.array([epoch_batches(20, 20, seed=5, epoch=epoch).rows[0] for epoch in range(2000)])
    for place in (0, 10, 19):
        counts = np.bincount(rows[:, place], minlength=20)
        assert np.square(counts - 100).sum() / 100 < 50  # p = 1e-4; fixed seeds, so it holds always or never


@pytest.mark.parametrize(("examples", "batch", "steps"), [(100, 32, 4), (96, 32, 3), (97, 32, 4), (1, 1, 1), (5, 9, 1)])
def test_number_of_steps(examples, batch, steps):
    assert steps_per_epoch(examples, batch) == steps

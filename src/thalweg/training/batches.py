"""Minibatches: every epoch a new order of all examples, the same for all trials of a cohort.

A per-trial order would turn one matrix product into as many as there are
trials, so the order hangs on the recipe's seed and the epoch alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Batches", "epoch_batches", "steps_per_epoch"]


class Batches(NamedTuple):
    """A block of minibatches: which examples, and how much each counts."""

    rows: np.ndarray  # (steps, batch) int32: places in the training set
    weight: np.ndarray  # (steps, batch) float32: 1, or 0 for a place filled up


def steps_per_epoch(examples: int, batch: int) -> int:
    """Return ⌈examples / batch⌉: the last, smaller batch counts as a step."""
    return -(-examples // batch)


def epoch_batches(examples: int, batch: int, *, seed: int, epoch: int) -> Batches:
    """Cut one epoch's shuffled examples into batches of one size.

    Each example is used once. Where the last batch falls short it is filled up
    from the epoch's beginning with weight 0, so that all steps have one shape
    and each batch's loss is the mean over its real examples.
    """
    # One bit stream for each (seed, epoch): any epoch can be drawn again without those before it.
    generator = np.random.default_rng(np.random.SeedSequence([seed, 3, epoch]))
    order = generator.permutation(examples).astype(np.int32)
    steps = steps_per_epoch(examples, batch)
    weight = np.zeros(steps * batch, np.float32)
    weight[:examples] = 1
    rows = np.resize(order, steps * batch)  # repeats from the beginning
    return Batches(rows.reshape(steps, batch), weight.reshape(steps, batch))

"""How far each example lies from its class's mean: within-class spread as a challenge."""

from __future__ import annotations

import numpy as np

from thalweg.data import Split

__all__ = ["TERCILES", "distances", "terciles"]

TERCILES = ("near", "middle", "far")


def distances(split: Split) -> np.ndarray:
    """Return the Euclidean distance (N,) of each example to the mean of its class in this split, in raw features."""
    labels = split.labels
    assert labels is not None
    classes = int(labels.max()) + 1
    sums = np.zeros((classes, int(np.prod(split.features.shape[1:]))))
    for start, part in split.chunks():
        flat = part.reshape(len(part), -1)
        for label in np.unique(labels[start : start + len(part)]):
            sums[label] += flat[labels[start : start + len(part)] == label].sum(axis=0, dtype=np.float64)
    means = sums / np.maximum(np.bincount(labels, minlength=classes), 1)[:, None]
    found = np.zeros(len(split))
    for start, part in split.chunks():
        rows = slice(start, start + len(part))
        found[rows] = np.linalg.norm(part.reshape(len(part), -1) - means[labels[rows]], axis=1)
    return found


def terciles(split: Split) -> np.ndarray:
    """Return for each example (N,) whether it is in the nearest (0), middle (1) or furthest (2) third of its class.

    Thirds of each class, so that all three hold nearly the same mix of classes: a class's share of them differs by
    one example at most. Of two examples none is in the middle, and a single one is in the middle only.
    """
    assert split.labels is not None
    away, third = distances(split), np.zeros(len(split), int)
    for label in np.unique(split.labels):
        own = np.flatnonzero(split.labels == label)
        ranks = np.argsort(np.argsort(away[own], kind="stable"), kind="stable")
        third[own] = np.floor(3 * (ranks + 0.5) / len(own)).astype(int)
    return third

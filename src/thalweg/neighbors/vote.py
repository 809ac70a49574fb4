"""The majority vote among the k nearest, for every k at once."""

from __future__ import annotations

import numpy as np

from thalweg.errors import DataError

__all__ = ["majority_votes", "vote_shares"]


def majority_votes(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the class (Q, K), int32, that wins among the first k neighbours, for k = 1, ..., K.

    ``labels`` (Q, K) are the neighbours' classes in [0, classes), nearest first. Of classes with equally many votes
    the first in order wins, as in scikit-learn, so that the vote agrees with the argmax of `vote_shares`.

    One vote is counted at a time: only the class that gets it can overtake the leader.
    """
    queries, most = _checked(labels, classes)
    rows = np.arange(queries)
    votes = np.zeros((queries, classes), np.int32)
    winners = np.empty((queries, most), np.int32)
    leader = labels[:, 0]
    for rank in range(most):
        own = labels[:, rank]
        votes[rows, own] += 1
        ahead = votes[rows, own] - votes[rows, leader]
        leader = np.where((ahead > 0) | ((ahead == 0) & (own < leader)), own, leader)
        winners[:, rank] = leader
    return winners


def vote_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return each class's share (Q, classes), float64, of the votes of K neighbours with labels (Q, K)."""
    queries, most = _checked(labels, classes)
    places = labels + classes * np.arange(queries)[:, None]
    return np.bincount(places.ravel(), minlength=queries * classes).reshape(queries, classes) / most


def _checked(labels: np.ndarray, classes: int) -> tuple[int, int]:
    if labels.ndim != 2 or labels.shape[1] == 0 or labels.dtype.kind not in "ui":
        raise DataError(f"labels are {labels.dtype} {labels.shape}; give whole numbers of shape (queries, neighbours)")
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise DataError(f"labels run from {labels.min()} to {labels.max()}; they must lie in [0, {classes})")
    return labels.shape[0], labels.shape[1]

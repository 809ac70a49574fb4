"""How much of the differences in accuracy groups of trials account for, by ranks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

__all__ = ["FEWEST", "GROUPS", "explained_share", "merits", "parted", "spearman"]

FEWEST = 8  # trials, below which nothing is said
GROUPS = 5  # of equal size, into which a number's values are parted


def merits(accuracy: np.ndarray, outcomes: Sequence[str]) -> np.ndarray:
    """Return what trials are ranked by (n,): accuracy for finished ones, −∞ for diverged ones, NaN for the others."""
    done = np.array(outcomes) == "finished"
    return np.where(np.array(outcomes) == "diverged", -np.inf, np.where(done, accuracy, np.nan))


def explained_share(groups: Sequence[Hashable], merit: np.ndarray) -> float | None:
    """Return ε² = 1 − [SS_within / (n − k)] / [SS_total / (n − 1)] of the ranks of n merits in k groups, 0 to 1.

    The share of the variance of the ranks that lies between the groups, adjusted for their number (Kelley 1935): about
    0 for groups that are drawn by lot. Ranks of equal merits are their mean; −∞ is the least merit. A negative value
    is given as 0. None for fewer than 8 trials, or where there is one group, one merit, or a group for each trial.
    """
    names = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    n, k = len(merit), len(names)
    if n < FEWEST or k < 2 or k >= n:
        return None
    ranks = _ranks(merit)
    total = float(np.sum((ranks - ranks.mean()) ** 2))
    if total == 0:
        return None
    places = np.array([names[name] for name in groups])
    means = np.bincount(places, ranks) / np.bincount(places)
    within = float(np.sum((ranks - means[places]) ** 2))
    return max(0.0, 1 - (within / (n - k)) / (total / (n - 1)))


def spearman(values: np.ndarray, merit: np.ndarray) -> float | None:
    """Return Spearman's correlation (1904): Pearson's of the ranks, those of equal values being their mean.

    None for fewer than 8 trials, or where all values or all merits are equal.
    """
    if len(values) < FEWEST:
        return None
    first, second = (ranks - ranks.mean() for ranks in (_ranks(values), _ranks(merit)))
    scale = math.sqrt(float(np.sum(first**2)) * float(np.sum(second**2)))
    return float(np.sum(first * second)) / scale if scale else None


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1, the mean rank for equal values."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: np.ndarray = (last - (counts - 1) / 2)[places]
    return means


def parted(values: np.ndarray) -> np.ndarray:
    """Part numbers into groups: each its own where there are few, else by rank into at most five of equal size."""
    distinct = np.unique(values)
    count = max(2, min(GROUPS, len(values) // 4))
    if len(distinct) <= GROUPS + 1:
        return np.searchsorted(distinct, values)
    parted: np.ndarray = np.floor((_ranks(values) - 0.5) / len(values) * count).astype(int)
    return parted

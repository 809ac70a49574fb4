"""How much of the differences in accuracy groups of trials account for, by ranks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

__all__ = ["FEWEST", "GROUPS", "LEVEL", "PERMUTATIONS", "chance", "explained_share", "merits", "parted", "spearman"]

FEWEST = 8  # trials, below which nothing is said
GROUPS = 5  # of equal size, into which a number's values are parted
LEVEL = 0.05  # of the test, from which on a share cannot be told from chance
PERMUTATIONS = 999  # at 49 hyperparameters the least adjusted p-value is still under the level
_SEED = 0  # of the permutations, so that a page is the same each time


def merits(accuracy: np.ndarray, outcomes: Sequence[str], rungs: np.ndarray | None = None) -> np.ndarray:
    """Return what trials are ranked by (n,): finished ones by their accuracy, diverged ones last (−∞), others NaN.

    Pruned trials come between, below all that outlived them: by the rung at which they were dropped, those of one rung
    by the accuracy that they had there. Leaving them out would rank survivors alone, among which what sank the others
    is hardly seen, and a share or a sign may differ from that among all.

    Args:
        accuracy: (n,), in [0, 1].
        outcomes: n of "finished", "diverged" and "cut short".
        rungs: (n,), the rung of a pruned trial, NaN for all others; without it none counts as pruned.
    """
    told = np.array(outcomes)
    merit = np.where(told == "diverged", -np.inf, np.where(told == "finished", accuracy, np.nan))
    if rungs is None or not np.isfinite(rungs).any():
        return merit
    # Steps of 2 part the rungs, for accuracies differ by no more than 1.
    below = accuracy - 2 * (np.nanmax(rungs) + 1 - rungs)
    return np.where((told == "cut short") & np.isfinite(rungs), below, merit)


def explained_share(groups: Sequence[Hashable], merit: np.ndarray) -> float | None:
    """Return ε² = 1 − [SS_within / (n − k)] / [SS_total / (n − 1)] of the ranks of n merits in k groups, 0 to 1.

    The share of the variance of the ranks that lies between the groups, adjusted for their number (Kelley 1935). For
    groups that are drawn by lot it is 0 in the mean before negative values are given as 0, as they are here; single
    values lie far above where trials are few, so `chance` says whether one can be told from that. Ranks of equal merits
    are their mean; −∞ is the least merit. None for fewer than 8 trials, or where there is one group, one merit, or a
    group for each trial.
    """
    n, k = len(merit), len({*groups})
    if n < FEWEST or k < 2 or k >= n:
        return None
    ranks = _ranks(merit)
    total = float(np.sum((ranks - ranks.mean()) ** 2))
    if total == 0:
        return None
    places = _numbered(groups)
    means = np.bincount(places, ranks) / np.bincount(places)
    within = float(np.sum((ranks - means[places]) ** 2))
    return max(0.0, 1 - (within / (n - k)) / (total / (n - 1)))


def chance(groups: Sequence[Hashable], merit: np.ndarray, recipes: Sequence[Hashable] | None = None) -> float:
    """Return how often groups drawn by lot would account for as much of n merits' ranks: a permutation p-value.

    (1 + b) / (1 + 999), b of 999 permutations of the ranks having a sum of squares between the groups Σ S²/size that is
    no smaller (Phipson and Smyth 2010); at given ranks and sizes of the groups this orders as `explained_share` does.
    Valid with ties, and the same at each call.

    Args:
        groups: (n,), as for `explained_share`.
        merit: (n,).
        recipes: (n,) what tells recipes apart. Trials of one recipe (its seeds) have one group and are no
            independent evidence about it: they count as one, by their mean rank. Without it each trial counts.
    """
    places, ranks = _numbered(groups), _ranks(merit)
    if recipes is not None:
        _, first, each = np.unique(_numbered(recipes), return_index=True, return_inverse=True)
        ranks, places = np.bincount(each, ranks) / np.bincount(each), places[first]
    member = (places[:, None] == np.arange(places.max() + 1)).astype(float)
    roots = np.sqrt(member.sum(axis=0))
    ranks = ranks - ranks.mean()
    tried = np.random.default_rng(_SEED).permuted(np.tile(ranks, (PERMUTATIONS, 1)), axis=1)
    between = np.sum((tried @ member / roots) ** 2, axis=1)
    found = float(np.sum((ranks @ member / roots) ** 2))
    # Equal sums differ by rounding, and count as equal.
    return (1 + int(np.sum(between >= found - 1e-9 * float(np.sum(ranks**2))))) / (1 + PERMUTATIONS)


def _numbered(names: Sequence[Hashable]) -> np.ndarray:
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], int)


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

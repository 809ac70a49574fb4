"""The few statistics that a verdict rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import UsageError

__all__ = ["Accuracy", "holm", "mcnemar", "standard_error", "wilson"]

_Z95 = 1.959963984540054


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Return the exact two-sided p-value of McNemar's test (1947).

    Of the examples that exactly one of two classifiers predicts right, each
    falls to either with probability ½ if they are equally good:
    p = min(1, 2 P[Binomial(b + c, ½) ≤ min(b, c)]).
    """
    from scipy.stats import binom  # a second to import, needed only once trials are done

    b = int(np.count_nonzero(first & ~second))
    c = int(np.count_nonzero(~first & second))
    return min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values (1979): for hypotheses fixed beforehand, valid together at any number."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = highest
    return adjusted


def wilson(correct: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval (1927) for a share of ``correct`` out of ``count``.

    (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n); unlike p ± 1.96 √(p(1−p)/n)
    it keeps its coverage near 0 and 1 and for few examples.
    """
    if count < 1 or not 0 <= correct <= count:
        raise UsageError(f"{correct} right out of {count} is no share; count must be at least 1")
    p, z2 = correct / count, _Z95**2
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 * math.sqrt(p * (1 - p) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    # At the ends the interval's bound is exactly the share: rounding must not push it past.
    return (0.0 if correct == 0 else centre - half, 1.0 if correct == count else centre + half)


def standard_error(share: float, count: int) -> float:
    """Return the standard error of a ``share`` of ``count`` examples, one right and one wrong added: √(q(1−q)/(n + 2)).

    q = (np + 1)/(n + 2) (Agresti and Caffo 2000). √(p(1−p)/n) would be 0 where all or none are right, as if nothing
    were left to chance; for many examples and shares away from 0 and 1 the two agree.
    """
    if count < 1 or not 0 <= share <= 1:
        raise UsageError(f"{share} of {count} examples is no share; it must lie in [0, 1], and count be at least 1")
    q = (count * share + 1) / (count + 2)
    return math.sqrt(q * (1 - q) / (count + 2))


@dataclass(frozen=True)
class Accuracy:
    """How many of some held examples are predicted right, with Wilson's 95 % interval."""

    correct: int
    count: int

    def __str__(self) -> str:
        low, high = self.interval
        share = f"{self.correct} of {self.count} right"
        return f"accuracy {self.accuracy:.4f}, 95 % interval {low:.4f} to {high:.4f} ({share})"

    @property
    def accuracy(self) -> float:
        return self.correct / self.count

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.correct, self.count)

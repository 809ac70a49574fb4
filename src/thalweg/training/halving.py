"""Successive halving (Jamieson & Talwalkar 2016): spend the epochs on the trials that lead.

At each rung the recipes of the whole sweep are ranked by validation accuracy
(the mean over their seeds), and the best 1/factor go on. A rung is a share of a trial's own epochs, so
trials of different length compare at the same share of their run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import check_integer, check_number, is_open

__all__ = ["Halving"]


@dataclass(frozen=True)
class Halving:
    """Keep the best 1/``factor`` of the trials at each of ``rungs`` rungs.

    Rung k of K lies at the share factor^(k−K−1) of the epochs: with factor 3
    and two rungs, after a ninth and a third of them. A schedule that anneals
    over the whole run is still high there, so trials with a large rate look
    worse at a rung than they would at the end: prefer few, late rungs, or a
    factor of 2.
    """

    factor: float = 3.0
    rungs: int = 2

    def __post_init__(self) -> None:
        for name in ("factor", "rungs"):
            if is_open(value := getattr(self, name)):
                raise UsageError(f"halving: {name} is {value!r}; give one number: how to halve is not searched")
        check_number("halving", "factor", self.factor, above=1)
        check_integer("halving", "rungs", self.rungs, least=1)

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of its epochs at which a trial meets each rung."""
        return tuple(self.factor ** (rung - self.rungs) for rung in range(self.rungs))

    def keep(self, accuracies: Sequence[float], losses: Sequence[float]) -> tuple[np.ndarray, int]:
        """Return which trials go on, as booleans, and how many that is.

        Ranked by accuracy, ties by loss, then by order; NaN comes last.
        """
        count = math.ceil(len(accuracies) / self.factor)  # at least 1 while there is a trial
        order = np.lexsort((np.asarray(losses), -np.asarray(accuracies)))  # stable: order is the last tie-breaker
        kept = np.zeros(len(accuracies), bool)
        kept[order[:count]] = True
        return kept, count

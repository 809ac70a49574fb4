"""Where each member of a problem starts: from members like it that are solved already.

Along the logarithm of the strength the optima are smooth, so a member between
two solved ones starts from the line through them. Members are taken up coarse
to fine: first strengths far apart, then those between. The members of a further
weighting (a fold) start from the first weighting's optimum at the same strength,
plus the difference that their own solved neighbours show there.
"""

from __future__ import annotations

import numpy as np

from thalweg.solvers.problem import Problem

__all__ = ["WarmStarts"]


class WarmStarts:
    """Remembers the optima found so far, and hands out the order of work and the starting points.

    Strengths are compared by ridge + lasso. ``order`` lists all members; a
    member without a solved relative starts at 0.
    """

    def __init__(self, problem: Problem, stride: int) -> None:
        self._strength = np.log(problem.ridge + problem.lasso)
        self._rows = problem.rows
        self._shape = (problem.classes, problem.features.shape[1])
        self._solved: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._groups = {
            int(row): sorted(np.flatnonzero(problem.rows == row).tolist(), key=lambda m: -self._strength[m])
            for row in np.unique(problem.rows)
        }
        self._first = self._groups[min(self._groups)]
        self.order = [m for group in self._groups.values() for m in _coarse_to_fine(group, stride)]

    def record(self, member: int, weights: np.ndarray, bias: np.ndarray) -> None:
        self._solved[member] = (weights, bias)

    def start(self, member: int) -> tuple[np.ndarray, np.ndarray]:
        """Return weights (C, D) and bias (C,) to start a member from."""
        group = self._groups[int(self._rows[member])]
        at = float(self._strength[member])
        own = self._interpolate(group, at)
        if group is self._first:
            return own if own is not None else (np.zeros(self._shape, np.float32), np.zeros(self._shape[0]))
        there = self._interpolate(self._first, at)
        if there is None:
            return own if own is not None else (np.zeros(self._shape, np.float32), np.zeros(self._shape[0]))
        if own is None:
            return there
        base = self._interpolate(self._first, at, like=group)
        if base is None:
            return own
        return tuple(o + (t - b) for o, t, b in zip(own, there, base, strict=True))

    def _interpolate(
        self, group: list[int], at: float, like: list[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the line through the solved neighbours of a strength; with ``like``, at the strengths solved there."""
        known = [m for m in group if m in self._solved]
        if like is not None:
            strengths = {float(self._strength[m]) for m in like if m in self._solved}
            known = [m for m in known if float(self._strength[m]) in strengths]
        if not known:
            return None
        above = [m for m in known if self._strength[m] >= at]
        below = [m for m in known if self._strength[m] <= at]
        if not above or not below:
            return self._solved[min(known, key=lambda m: abs(self._strength[m] - at))]
        high, low = above[-1], below[0]
        gap = float(self._strength[high] - self._strength[low])
        share = 0.0 if gap == 0 else (float(self._strength[high]) - at) / gap
        (W0, b0), (W1, b1) = self._solved[high], self._solved[low]
        return (1 - share) * W0 + share * W1, (1 - share) * b0 + share * b1


def _coarse_to_fine(items: list[int], stride: int) -> list[int]:
    """Return every stride-th item and the last, then those halfway between, and so on."""
    order = dict.fromkeys(items[::stride])
    order.update(dict.fromkeys(items[-1:]))
    while stride > 1:
        stride = (stride + 1) // 2
        order.update(dict.fromkeys(items[::stride]))
    return list(order)

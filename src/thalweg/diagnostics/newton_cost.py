"""What a step of a second-order solver costs as the weights grow: measured by benchmarks/bench_newton.py."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["NewtonCost"]


@dataclass(frozen=True, eq=False)
class NewtonCost:
    """Seconds and working memory of one step, by solver and number of weights.

    ``names`` (M,) are the solvers', ``sizes`` (S,) ascending numbers of weights n; ``seconds`` (M, S) a step took,
    ``bytes`` (M, S) the compiled program keeps for its work, arguments not counted; NaN where not measured.
    ``note`` says where and how.
    """

    names: tuple[str, ...]
    sizes: np.ndarray
    seconds: np.ndarray = field(repr=False)
    bytes: np.ndarray = field(repr=False)
    note: str = ""

    def slopes(self, values: np.ndarray, last: int = 3) -> np.ndarray:
        """Return the powers (M,) of n by which ``values`` (M, S) grow over the last sizes, fitted to logarithms."""
        found = []
        for row in values:
            known = np.flatnonzero(np.isfinite(row))[-last:]
            enough = len(known) >= 2
            found.append(np.polyfit(np.log(self.sizes[known]), np.log(row[known]), 1)[0] if enough else np.nan)
        return np.asarray(found)

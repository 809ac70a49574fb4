"""A planted error: would the check have seen it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.gradients.problem import Problem
from thalweg.gradients.search import Line

__all__ = ["Planted", "plant"]

_ENOUGH = 0.99  # of the entries in which a doubling must show
_NOTHING = 1e-10  # of the largest term: below it an entry is 0 for all that it does; in float32 1e-4


@dataclass(frozen=True)
class Planted:
    """Whether doubling an entry would have been caught, the relative error that shows in 99 % of them, and words."""

    caught: bool
    resolution: float
    text: str


def plant(problem: Problem, lines: list[Line], rng: np.random.Generator) -> Planted:
    """Double each entry of the gradient in turn, and compare with the bars of the lines that were tried.

    No further evaluation of f is needed: along v the claim moves by g_i v_i, and what was found stays.
    """
    terms = np.max(np.abs(problem.rows), axis=0) * problem.scale
    if not terms.any():
        return _of_nothing(problem, lines)
    major = np.flatnonzero(terms > max(_NOTHING, problem.rule.minor) * terms.max())
    shows = _least_visible(problem, lines)[major]
    tried = int(rng.choice(major))
    share = float(np.mean(shows < 1))
    resolution = float(np.quantile(shows, _ENOUGH))
    name = f"x{problem.function.space.name(tried)} doubled"
    if share >= _ENOUGH:
        return Planted(True, resolution, f"caught ({name})")
    worst = f"x{problem.function.space.name(int(major[np.argmax(shows)]))}"
    return Planted(False, resolution, f"doubling shows in {share:.1%} of the entries, not in {worst}")


def _least_visible(problem: Problem, lines: list[Line]) -> np.ndarray:
    """Return for each entry (n,) the relative error above which some line would have shown it, in the best output."""
    least = np.full(problem.size, np.inf)
    for line in lines:
        inside = np.flatnonzero(line.direction)
        for row, one in zip(problem.rows, line.found, strict=False):  # further modes have the same bars
            term = np.abs(row[inside] * line.direction[inside])
            hidden = one.threshold + abs(one.claimed - one.found)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                least[inside] = np.fmin(least[inside], hidden / term)
    return least


def _of_nothing(problem: Problem, lines: list[Line]) -> Planted:
    """Where the gradient is 0: an entry as large as f itself, relative to x, must stand out."""
    size = float(np.max(np.abs(problem.values), initial=0.0))
    widest = max(one.threshold for line in lines for one in line.found)
    text = "a slope as large as f, where the gradient is 0"
    if widest <= 1e-3 * size or size == 0:
        return Planted(True, float("nan"), f"caught ({text})")
    return Planted(False, float("nan"), text)

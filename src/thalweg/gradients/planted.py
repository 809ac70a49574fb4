"""A planted error: would the check have seen it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.gradients.problem import Problem
from thalweg.gradients.search import Line

__all__ = ["Planted", "plant"]

_ENOUGH = 0.99  # of the others
_MINOR = 1e-3  # of the largest term: smaller entries may hide, and are counted apart


@dataclass(frozen=True)
class Planted:
    """Whether doubling an entry would have been caught, and in words which share of them."""

    caught: bool
    text: str


def plant(problem: Problem, lines: list[Line], rng: np.random.Generator) -> Planted:
    """Double each entry of the gradient in turn, and compare with the bars of the lines that were tried.

    No further evaluation of f is needed: along v the claim moves by g_i v_i, and what was found stays.
    """
    directions = np.stack([line.direction for line in lines])  # (lines, n)
    caught = np.zeros(problem.size, bool)
    terms = np.zeros(problem.size)
    for output in range(problem.outputs):
        row = np.abs(problem.rows[output])
        terms = np.maximum(terms, row * problem.scale)
        judged = [line.found[output] for line in lines]
        for direction, one in zip(directions, judged, strict=True):
            shift = row * np.abs(direction)
            caught |= shift > one.threshold + abs(one.claimed - one.found)
    if not terms.any():
        return _of_nothing(problem, lines)
    major = terms >= _MINOR * terms.max()
    tried = int(rng.choice(np.flatnonzero(major)))
    share = float(np.mean(caught[terms > 0]))
    name = f"x{problem.function.space.name(tried)} doubled"
    if np.mean(caught[major]) >= _ENOUGH:
        return Planted(True, f"caught ({name}; doubling would be seen in {share:.1%} of the entries)")
    return Planted(False, f"{name}; doubling would be seen in {share:.1%} of the entries")


def _of_nothing(problem: Problem, lines: list[Line]) -> Planted:
    """Where the gradient is 0: an entry as large as f itself, relative to x, must stand out."""
    size = float(np.max(np.abs(problem.values), initial=0.0))
    widest = max(one.threshold for line in lines for one in line.found)
    if widest <= 1e-3 * size or size == 0:
        return Planted(True, "caught (a slope as large as f, where the gradient is 0)")
    return Planted(False, "a slope as large as f, where the gradient is 0")

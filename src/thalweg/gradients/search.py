"""Finding wrong entries: each by itself where they are few, random signed directions and bisection where not.

Along v with independent signs and magnitudes between ½ and 3/2 of the entries' scales
the error of the gradient is Σ e_i v_i. Given all others, the two signs of one entry's
term put it 2 |e_i v_i| apart, so at most one of them hides it within a bar b < |e_i v_i|:
a direction misses it with probability at most ½, k of them with 2⁻ᵏ; and never, if it is the
only wrong one. Entries are taken together with others of about their size in the gradient, so that the bar,
which grows with the derivative along v, is small beside each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.gradients.compare import Agreement
from thalweg.gradients.problem import Problem

__all__ = ["DIRECTIONS", "Line", "draw", "entry", "groups", "locate", "locate_kink"]

DIRECTIONS = 12
_SPREAD = 1e3  # of sizes within a group
_STRATA = 4  # groups by size; what is smaller still joins the entries whose gradient is 0


@dataclass(frozen=True)
class Line:
    """A direction that was tried, and what came of it."""

    direction: np.ndarray
    found: list[Agreement]


def groups(problem: Problem) -> list[np.ndarray]:
    """Split the entries by the size of their terms |g_i| × scale."""
    size = np.max(np.abs(problem.rows), axis=0) * problem.scale
    size = np.where(np.isfinite(size), size, np.inf)
    left, parts = np.ones(len(size), bool), []
    for _ in range(_STRATA):
        largest = float(np.max(size[left], initial=0.0))
        if largest == 0:
            break
        inside = left & ((size > largest / _SPREAD) | ~np.isfinite(size))
        parts.append(np.flatnonzero(inside))
        left &= ~inside
    if left.any():
        parts.append(np.flatnonzero(left))
    return parts


def draw(problem: Problem, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random direction within a group, a vector (n,)."""
    direction = np.zeros(problem.size)
    size = rng.uniform(0.5, 1.5, len(group)) * problem.scale[group]
    direction[group] = rng.choice([-1.0, 1.0], len(group)) * size
    return direction


def entry(problem: Problem, index: int) -> Line:
    """Compare the claims for one entry."""
    own = abs(problem.x[index])
    line = _step(problem, index, problem.scale[index])
    if own in (0, problem.scale[index]) or all(one.status != "inconclusive" for one in line.found):
        return line
    # Far smaller than its neighbours: perhaps f changes on its own scale, as log x does.
    again = _step(problem, index, own)
    return again if any(one.status != "inconclusive" for one in again.found) else line


def _step(problem: Problem, index: int, size: float) -> Line:
    direction = np.zeros(problem.size)
    direction[index] = size
    return Line(direction, problem.settle(direction))


def locate(problem: Problem, line: Line, claim: int) -> int:
    """Return an entry whose error is behind a claim that failed along a line, by bisection.

    Of two halves the one with the larger error is kept: halves can hide errors that cancel, never both.
    """
    output = claim % problem.outputs

    def error(direction: np.ndarray, enough: float) -> float:
        found = problem.quickly(direction, enough, output).value[output]
        return float(problem.claims(direction)[0][claim] - found)

    inside = np.flatnonzero(line.direction)
    whole = line.found[claim].claimed - line.found[claim].found
    while len(inside) > 1:
        half = inside[: len(inside) // 2]
        first = error(_within(line.direction, half), 0.05 * abs(whole))
        inside, whole = (half, first) if not abs(first) < abs(whole - first) else (
            inside[len(half) :], whole - first
        )  # fmt: skip
    return int(inside[0])


def locate_kink(problem: Problem, line: Line, claim: int) -> int:
    """Return an entry at which f has a kink, given a line along which it has one."""
    output = claim % problem.outputs
    inside = np.flatnonzero(line.direction)
    while len(inside) > 1:
        half = inside[: len(inside) // 2]
        steps = problem.line(_within(line.direction, half))
        lines = steps.estimate()
        while not lines.kink[output] and lines.error[output] > 1e-6 * lines.size[output] and steps.refine():
            lines = steps.estimate()
        inside = half if lines.kink[output] else inside[len(half) :]
    return int(inside[0])


def _within(direction: np.ndarray, part: np.ndarray) -> np.ndarray:
    restricted = np.zeros_like(direction)
    restricted[part] = direction[part]
    return restricted

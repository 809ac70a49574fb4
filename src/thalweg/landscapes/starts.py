"""Where races begin, and how far a racer may go."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import check_integer
from thalweg.landscapes.base import Landscape
from thalweg.landscapes.functions import (
    Beale,
    Hill,
    Himmelblau,
    MonkeySaddle,
    Quadratic,
    Rastrigin,
    Rosenbrock,
    Saddle,
)

__all__ = ["MOST", "check_seed", "checked_starts", "frame_of", "random_starts", "usual_start"]

MOST = 50_000_000  # points that a race keeps: 40 bytes each, so 2 GB

REACH = 100.0  # times the diagonal of the bounds

# Where what is hard about each can be seen. On both saddles a little off the line that leads into them.
_STARTS: dict[type[Landscape], tuple[float, float]] = {
    Quadratic: (-2.5, 1.0),
    Saddle: (-1.5, 1e-3),
    MonkeySaddle: (1.5, 1e-3),
    Rosenbrock: (-1.2, 1.0),
    Beale: (1.0, 1.5),
    Himmelblau: (-1.0, -0.5),
    Rastrigin: (-3.3, 2.3),
    Hill: (0.5, 1.0),
}


def frame_of(landscape: Landscape) -> tuple[np.ndarray, float]:
    """Return the middle of the bounds, and how far from it counts as diverged: 100 diagonals."""
    low, high = np.asarray(landscape.bounds, np.float64).T
    return 0.5 * (low + high), REACH * float(np.linalg.norm(high - low))


def usual_start(landscape: Landscape) -> tuple[float, float]:
    """Return a landscape's usual start; for one of your own a quarter of the way into its bounds."""
    beneath = getattr(landscape, "landscape", landscape)
    if type(beneath) in _STARTS:
        return _STARTS[type(beneath)]
    (left, right), (bottom, top) = landscape.bounds
    return 0.75 * left + 0.25 * right, 0.75 * bottom + 0.25 * top


def random_starts(landscape: Landscape, count: int, seed: int = 0) -> np.ndarray:
    """Return that many points drawn evenly from the bounds, (count, 2).

    Raises UsageError for a count below 1 or above the 50,000,000 points that a race can keep, or a seed that is no
    whole number from 0 to 2⁶³ − 1.
    """
    check_integer("random_starts", "count", count, least=1)
    if count > MOST:
        raise UsageError(f"random_starts: count is {count:,}; a race keeps at most {MOST:,} points: take fewer")
    check_seed("random_starts", seed)
    low, high = np.asarray(landscape.bounds, np.float64).T
    return np.random.default_rng(seed).uniform(low, high, (count, 2))


def check_seed(owner: str, seed: Any) -> None:
    """Raise a UsageError unless a seed is a whole number that JAX's keys take: 0 to 2⁶³ − 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise UsageError(f"{owner}: seed is {seed!r}; give a whole number from 0 to 2**63 - 1")


def checked_starts(landscape: Landscape, start: Any) -> np.ndarray:
    """Return the starts as float64 ``(S, 2)``, or raise a UsageError that names the first that will not do."""
    start = usual_start(landscape) if start is None else start
    try:
        points = np.asarray(start, np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"race: start is {start!r}; give a point (x, y), or several (S, 2)") from None
    if points.ndim not in (1, 2) or points.shape[-1:] != (2,) or points.size == 0:
        raise UsageError(f"race: start has shape {list(points.shape)}; give a point (x, y), or several (S, 2)")
    points = np.ascontiguousarray(points.reshape(-1, 2))
    middle, reach = frame_of(landscape)
    whole = np.all(np.isfinite(points), axis=1)
    _refuse(points, ~whole, "must be finite")
    _refuse(points, np.linalg.norm(points - middle, axis=1) > reach, f"is over {reach:g} from the bounds' middle")
    with np.errstate(all="ignore"):
        slopes = np.all(np.isfinite(landscape.gradient(points)), axis=1)
        known = np.isfinite(np.asarray(landscape.value(points))) & slopes
    _refuse(points, ~known, f"has no finite value and gradient on {landscape.name}")
    return points


def _refuse(points: np.ndarray, bad: np.ndarray, reason: str) -> None:
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        x, y = points[place]
        which = f"start {place}" if len(points) > 1 else "start"
        raise UsageError(f"race: {which} is ({x:g}, {y:g}); it {reason}")

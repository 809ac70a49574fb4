"""From losses over a grid of batches and rates to the best rate of each batch, and the power law between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["EDGE_HIGH", "EDGE_LOW", "INSIDE", "LIMIT", "Minimum", "Slope", "fit_slope", "lowest", "mean_interval"]

# Where the lowest loss lies among the rates tried.
INSIDE, LIMIT, EDGE_LOW, EDGE_HIGH = "inside", "next to divergence", "lowest rate tried", "highest rate tried"


@dataclass(frozen=True)
class Minimum:
    """The rate of lowest loss, as log₂, and where it lies among those tried."""

    log_rate: float
    place: str


@dataclass(frozen=True)
class Slope:
    """The exponent of rate ∝ batch^exponent, with its 95 % interval."""

    exponent: float
    interval: tuple[float, float]

    def verdict(self, claimed: float) -> str:
        """Return ``held``, ``did not hold`` or ``undecided`` of a claimed exponent, ± ¼.

        The margin is half the distance between the linear and the square-root rule: a rule held where
        the whole interval is nearer to it than to the other.
        """
        low, high = (end - claimed for end in self.interval)
        if low >= -0.25 and high <= 0.25:
            return "held"
        return "did not hold" if high < -0.25 or low > 0.25 else "undecided"


def lowest(log_rates: np.ndarray, losses: np.ndarray) -> Minimum | None:
    """Return the minimum of a curve of losses (R,) over rising log₂ rates; None where no loss is finite.

    NaN is a rate that was not tried, ∞ one that diverged. Inside the grid it is the vertex of the parabola
    in log rate and log loss through the lowest point and its two neighbours, which lies within half a step.
    """
    tried = np.flatnonzero(~np.isnan(losses))
    if not len(tried) or not np.isfinite(losses[tried]).any():
        return None
    x, y = log_rates[tried], losses[tried]
    best = int(np.argmin(y))
    if best == len(x) - 1:
        return Minimum(float(x[best]), EDGE_HIGH)
    if best == 0:
        return Minimum(float(x[best]), EDGE_LOW)
    if not np.isfinite(y[best - 1 : best + 2]).all():
        return Minimum(float(x[best]), LIMIT)
    return Minimum(_vertex(x[best - 1 : best + 2], np.log(np.maximum(y[best - 1 : best + 2], 1e-300))), INSIDE)


def _vertex(x: np.ndarray, y: np.ndarray) -> float:
    """The lowest point of the parabola through three points, the middle one not above the others."""
    left, right = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
    curvature = right - left
    if curvature <= 0:  # all three alike
        return float(x[1])
    # The slope at a parabola's mid-interval is its chord's: between two of these it crosses 0.
    vertex = (x[0] + x[1]) / 2 - left * ((x[2] - x[0]) / 2) / curvature
    return float(np.clip(vertex, x[0], x[2]))


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of values (S,), and its 95 % interval by Student's t: unbounded for a single value."""
    from scipy.stats import t  # a second to import

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, -math.inf, math.inf
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def fit_slope(log_batches: np.ndarray, log_rates: np.ndarray) -> Slope | None:
    """Fit log rates (K, S) over log batches (K,) by least squares; None for fewer than 3 batches.

    The line goes through the means over seeds. Its interval takes Student's t with K − 2 degrees of freedom
    from what the means lie off the line: that holds both the seeds' noise and any bend. Where the seeds alone
    say more, their slopes' interval counts: a line may meet three points by chance.
    """
    from scipy.stats import t

    count = len(log_batches)
    if count < 3:
        return None
    x = log_batches - log_batches.mean()
    slopes = x @ log_rates / (x @ x)  # (S,): each seed's own
    means = log_rates.mean(axis=1)
    slope = float(slopes.mean())
    off = means - means.mean() - slope * x
    error = math.sqrt(float(off @ off) / (count - 2) / float(x @ x))
    half = float(t.ppf(0.975, count - 2)) * error
    if len(slopes) > 1:
        half = max(half, slope - mean_interval(slopes)[1])
    return Slope(slope, (slope - half, slope + half))

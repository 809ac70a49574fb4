"""What is known of the Hessian of the objective at one point, as numbers: drawn by `plot.spectrum`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

__all__ = ["CRITICAL", "FLAT", "Curvature", "Eigenpair", "Verdict"]

Verdict: TypeAlias = Literal["minimum", "saddle", "maximum", "flat to rounding"]

# A point counts as critical where a gradient step of length 1/λmax would lower the objective by less than this of it.
CRITICAL = 1e-6
FLAT = 1e-3  # of the largest |eigenvalue|: below it a direction counts in `flat_share`


@dataclass(frozen=True, eq=False)
class Eigenpair:
    """An estimate of an eigenvalue: some eigenvalue lies in ``value`` ± ``bound``.

    ``value`` is vᵀHv of the unit vector v (``vector``, a tree like the weights), ``bound`` is ‖Hv − value v‖,
    measured with one more product, plus the rounding of the products. The value itself is proof on one
    side: no largest eigenvalue is below it, no least one above, but for that rounding. That none lies beyond
    the interval is not proved, only near certain, since the Krylov spaces start from random vectors.
    """

    value: float
    bound: float
    converged: bool
    vector: Any = field(repr=False)

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of value ± bound."""
        return self.value - self.bound, self.value + self.bound


@dataclass(frozen=True, eq=False)
class Curvature:
    """The Hessian H (n, n) of the full objective at one point, from products with vectors alone.

    ``largest`` and ``least`` are its extreme eigenvalues. ``floor`` is the size below which an eigenvalue is
    rounding: 16 units of the precision times the largest |eigenvalue|. ``grid`` and ``density`` (G,) are the
    spectral density, smoothed by Gaussians of width ``broadening`` and of integral 1; ``nodes`` and
    ``node_weights`` (P, k) are the quadratures behind it, one a probe, padded with weight 0.
    ``trace`` has the standard error ``trace_error`` over the probes, NaN of a single one.

    ``condition`` is the largest over the smallest singular value *that is not 0 to rounding*, to a tenth, where
    ``condition_exact``: every Krylov space is invariant to rounding, and every Ritz value in it is either resolved
    (its residual and the floor are at most a tenth of it) or below the floor, residual and all. Otherwise the true one
    is at least so large. So none beyond λmax/(10 floors) is exact, 52,000 in single precision. Like the bounds
    of the ends it leaves one thing unproved: that no eigenvalue hides from all the random starts, as a single
    one next to the many that are 0 may. NaN where none is known. ``null_share`` estimates the share of the n
    directions that are left out, |eigenvalue| ≤ floor; with them the condition number of H itself is larger, or
    infinite: softmax has such directions by nature, as adding one number to all biases changes no probability.
    ``flat_share`` estimates the share of the directions whose |eigenvalue| is under a thousandth of the largest.

    ``value`` is the objective, ``gradient_norm`` its slope's norm (with a penalty that has kinks, the distance of
    −gradient to its subdifferential), ``verdict`` what the extreme eigenvalues prove, and ``critical``
    whether the slope is so small that the verdict is one on a minimum or saddle at all.
    """

    parameters: int
    examples: int
    value: float
    gradient_norm: float
    largest: Eigenpair
    least: Eigenpair
    floor: float
    trace: float
    trace_error: float
    condition: float
    condition_exact: bool
    flat_share: float
    products: int
    broadening: float
    grid: np.ndarray = field(repr=False)
    density: np.ndarray = field(repr=False)
    nodes: np.ndarray = field(repr=False)
    node_weights: np.ndarray = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether both extreme eigenvalues met the tolerance."""
        return self.largest.converged and self.least.converged

    @property
    def null_share(self) -> float:
        """Estimate of the share of the n directions that are flat to rounding: the density's weight up to the floor."""
        return float((self.node_weights * (np.abs(self.nodes) <= self.floor)).sum() / len(self.nodes))

    @property
    def verdict(self) -> Verdict:
        """What the extreme eigenvalues prove.

        "saddle": the least is below 0 (a vector of negative curvature is proof that this is no minimum), and the
        largest is not proved to be. "minimum": the least is above the floor by more than its bound; "maximum": the
        largest is below by as much. "flat to rounding": no negative curvature was found, but there are
        directions with none that can be told from 0.
        """
        if self.least.value < -self.floor:
            return "maximum" if self.largest.interval[1] < -self.floor else "saddle"
        return "minimum" if self.least.interval[0] > self.floor else "flat to rounding"

    @property
    def critical(self) -> bool:
        """Whether a gradient step of length 1/λmax would lower the objective by less than a millionth of it."""
        steepest = max(abs(self.largest.value), abs(self.least.value))
        if steepest == 0:
            return self.gradient_norm == 0
        return bool(self.gradient_norm**2 / (2 * steepest) <= CRITICAL * abs(self.value))

    def stable_rate(self, momentum: float = 0.0, *, nesterov: bool = False) -> float:
        """Return the learning rate beyond which gradient descent cannot stay here: 2(1 + ρ)/λmax.

        With Nesterov's momentum it is 2(1 + ρ)/((1 + 2ρ) λmax); infinite where λmax ≤ 0. Full batch, fixed rate
        (Cohen et al. 2021, appendix B).
        """
        if self.largest.value <= 0:
            return float("inf")
        return 2 * (1 + momentum) / ((1 + 2 * momentum if nesterov else 1) * self.largest.value)

    def __str__(self) -> str:
        at = "" if self.critical else "; the slope here is not 0, so this is no minimum or saddle itself"
        lines = [
            f"{self.verdict} (gradient norm {self.gradient_norm:.3g}{at})",
            f"λmax {_pair(self.largest)}, λmin {_pair(self.least)}, 2/λmax {self.stable_rate():.4g}",
            self._condition(),
            f"about {self.flat_share:.0%} of {self.parameters:,} directions curve less than λmax/1000",
            f"trace {self.trace:.4g} ± {self.trace_error:.2g}",
            *self.notes,
        ]
        return "\n".join(lines)

    def _condition(self) -> str:
        share = f"{self.null_share:.0%}" if self.null_share >= 0.01 else "less than 1%"
        left_out = f", without {share} of the directions: they are flat to rounding" if self.null_share > 0 else ""
        if np.isnan(self.condition):
            return f"condition number not known{left_out}"
        return f"condition number {'' if self.condition_exact else 'at least '}{self.condition:.4g}{left_out}"


def _pair(one: Eigenpair) -> str:
    return f"{one.value:.5g} ± {one.bound:.1g}" + ("" if one.converged else " (not converged)")

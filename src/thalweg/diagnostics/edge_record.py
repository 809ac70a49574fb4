"""What many learning rates came to, as numbers: drawn by `plot.edge`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from thalweg.diagnostics.curvature_record import Curvature

__all__ = ["OUTCOMES", "EdgeRecord", "Outcome"]

Outcome: TypeAlias = Literal["settled", "unsettled", "diverged"]

OUTCOMES: tuple[Outcome, ...] = ("settled", "unsettled", "diverged")


@dataclass(frozen=True, eq=False)
class EdgeRecord:
    """What R learning rates came to, full batch, from the same weights.

    ``rates`` (R,) ascend. ``outcomes`` (R,) are words of `OUTCOMES`: "diverged" where the objective left the
    finite numbers or ended above its start; "unsettled" where over the last quarter of the steps it fell, from the
    mean of one half to that of the other, by less than a fiftieth of what the slope promises, Σ α ‖g‖²/(1 − ρ), unless
    even that promise was rounding: it jumps to and fro across the valley; "settled" otherwise.

    ``losses`` (R, steps + 1) is the full objective before each step and at the end, ``final`` (R,) its last
    value; NaN from where it diverged. ``sharpness`` (R,) is λmax where each rate ended, NaN where it
    diverged, ``sharpness_error`` its bound. ``start`` and ``solution`` are the curvature at the first weights and
    at the best of the settled rates (of all finished, where none settled), ``best`` its place in ``rates``.
    """

    rates: np.ndarray
    outcomes: tuple[Outcome, ...]
    losses: np.ndarray = field(repr=False)
    sharpness: np.ndarray
    sharpness_error: np.ndarray = field(repr=False)
    start: Curvature = field(repr=False)
    solution: Curvature = field(repr=False)
    best: int
    momentum: float
    nesterov: bool
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps of gradient descent at each rate."""
        return self.losses.shape[1] - 1

    @property
    def final(self) -> np.ndarray:
        """The objective (R,) after the last step, NaN where it diverged."""
        return np.where([one == "diverged" for one in self.outcomes], np.nan, self.losses[:, -1])

    @property
    def limit_start(self) -> float:
        """2(1 + ρ)/λmax at the first weights: beyond it the first steps grow along the steepest direction."""
        return self.start.stable_rate(self.momentum, nesterov=self.nesterov)

    @property
    def limit_solution(self) -> float:
        """2(1 + ρ)/λmax at the solution: no larger rate can come to rest there."""
        return self.solution.stable_rate(self.momentum, nesterov=self.nesterov)

    @property
    def limits(self) -> np.ndarray:
        """The sharpness (R,) at which each rate is just stable: 2(1 + ρ)/rate, or Nesterov's."""
        return self.limit_solution * self.solution.largest.value / self.rates

    @property
    def measured(self) -> tuple[float, float]:
        """The rates between which stability is lost: the last below which all settled, and the next one.

        (0, first) where the first already did not settle, (last, ∞) where all did.
        """
        settled = [one == "settled" for one in self.outcomes]
        lost = settled.index(False) if False in settled else len(settled)
        return (
            float(self.rates[lost - 1]) if lost else 0.0,
            float(self.rates[lost]) if lost < len(settled) else float("inf"),
        )

    def __str__(self) -> str:
        below, above = self.measured
        return (
            f"stability is lost between {below:.4g} and {above:.4g} in {self.steps} steps; "
            f"predicted {self.limit_start:.4g} from the start, {self.limit_solution:.4g} from the solution"
        )

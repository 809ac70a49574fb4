"""What races found, as arrays: drawn by `thalweg.plot`, written by `thalweg race`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from thalweg.landscapes.base import Landscape

__all__ = ["STATUSES", "BasinMap", "Race", "StabilityMap"]

# How a racer ended, by its code in `Race.status`.
STATUSES = ("running", "converged", "diverged", "stalled")


@dataclass(frozen=True, eq=False)
class Race:
    """Optimizers (or solvers) from the same starts on one landscape, every step kept.

    R racers, S starts, T steps. ``positions`` (R, S, T + 1, 2) begins with the start; once a racer has
    converged, diverged or stalled (a solver that finds no lower point) its last finite position is repeated.
    ``values`` (R, S, T + 1) is the noise-free f there and ``gradient_norms`` (R, S, T + 1) the noise-free slope's
    norm; ``distances`` (R, S, T + 1) is that to the nearest known minimum, NaN where the landscape has none.
    ``status`` (R, S) indexes `STATUSES`, ``ended`` (R, S) is the number of steps taken until then (T where it is
    still running), and ``evaluations`` (R, S) counts gradients asked for.
    """

    landscape: Landscape
    names: tuple[str, ...]
    starts: np.ndarray
    positions: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    gradient_norms: np.ndarray = field(repr=False)
    distances: np.ndarray = field(repr=False)
    status: np.ndarray = field(repr=False)
    ended: np.ndarray = field(repr=False)
    evaluations: np.ndarray = field(repr=False)
    messages: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """T: steps of the race."""
        return self.positions.shape[2] - 1


@dataclass(frozen=True, eq=False)
class BasinMap:
    """Where one racer ends from every point of a grid of starts.

    ``x`` (P,) and ``y`` (Q,) span the grid; ``reached`` (Q, P) is the place of the minimum it ended at in
    ``minima`` (M, 2), −1 where it is at none of them after all steps, −2 where it diverged; ``steps`` (Q, P)
    is how many it took to come within ``tolerance`` of that minimum.
    """

    landscape: Landscape
    name: str
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    minima: np.ndarray
    reached: np.ndarray = field(repr=False)
    steps: np.ndarray = field(repr=False)
    tolerance: float


@dataclass(frozen=True, eq=False)
class StabilityMap:
    """How fast gradient descent with momentum shrinks the error on a quadratic, by learning rate and momentum.

    ``rate`` (M, L) is the measured factor by which the distance to the minimum shrinks a step (above 1: grows),
    ``theory`` (M, L) the spectral radius of the iteration, ``boundary`` (M,) the learning rate at which theory
    has it cross 1, for ``momenta`` (M,) and ``learning_rates`` (L,); ``curvatures`` are the Hessian's eigenvalues.
    """

    name: str
    nesterov: bool
    curvatures: tuple[float, ...]
    learning_rates: np.ndarray = field(repr=False)
    momenta: np.ndarray = field(repr=False)
    rate: np.ndarray = field(repr=False)
    theory: np.ndarray = field(repr=False)
    boundary: np.ndarray = field(repr=False)
    steps: int = 0

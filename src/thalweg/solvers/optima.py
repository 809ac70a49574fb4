"""What the path solvers return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from thalweg.solvers.certificate import Certificate
from thalweg.solvers.solution import CONVERGED, INTERRUPTED, ITERATION_LIMIT, NOT_FINITE, STALLED

__all__ = ["Optima", "Watch", "deliver", "rescued", "statuses"]

Watch = Callable[[int], bool]  # told how many members are done; True stops the work


@dataclass(frozen=True, eq=False)
class Optima:
    """What was found for each of T members: float64 weights (T, C, D), their certificate, and how it went."""

    weights: np.ndarray = field(repr=False)
    certificate: Certificate = field(repr=False)
    statuses: tuple[str, ...]
    iterations: np.ndarray


def deliver(optima: Optima, failure: Exception | None) -> Optima:
    """Return the optima, or raise the error that cut the work short, with what was found for `rescued`."""
    if failure is None:
        return optima
    failure.optima = optima  # type: ignore[attr-defined]
    raise failure


def rescued(error: Exception) -> Optima | None:
    """Return what a solver had found when an error ended its work; None where it had not begun."""
    found = getattr(error, "optima", None)
    return found if isinstance(found, Optima) else None


def statuses(
    certificate: Certificate, iterations: np.ndarray, *, tolerance: float, limit: int, interrupted: np.ndarray
) -> tuple[str, ...]:
    """Say of each member how it ended: what is certified counts, not what a solver believed."""
    found = []
    for relative, count, stopped in zip(certificate.relative, iterations, interrupted, strict=True):
        if relative <= tolerance:
            found.append(CONVERGED)
        elif not np.isfinite(relative) and not stopped:
            found.append(NOT_FINITE)
        elif count >= limit:
            found.append(ITERATION_LIMIT)
        else:
            found.append(INTERRUPTED if stopped else STALLED)
    return tuple(found)

"""The penalty strengths of a path: given, or from where the weights vanish down."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import check_integer
from thalweg.solvers.problem import Problem
from thalweg.solvers.spectrum import Spectrum

__all__ = ["PENALTIES", "grid", "largest", "note_on", "read_strengths"]

PENALTIES = ("l2", "l1", "elastic_net")

# How far below its largest strength a path goes. L2 shrinks each direction by its own variance, and those differ by
# many orders; L1 leaves hardly a weight at 0 after a few. The hinge's accuracy has settled before 1e-5, and its solver
# slows down beyond: on iris 5,000 iterations left a fold a gap of 0.015 at 3e-6, and all examples one of 0.24 at 1e-7.
_SPAN = {"l2": 1e-8, "l1": 1e-3, "elastic_net": 1e-3}
_SPAN_HINGE = 1e-5
_LEAST = 1e-300
_VANISHED = 100  # with L2 weights never are 0: they count as vanished at a hundredth of their size without a penalty


def read_strengths(value: Any) -> int | np.ndarray:
    """Return a count, or the strengths given, largest first.

    ``value`` is a count, an iterable of numbers, or text: ``45`` or ``low:high:count``.
    """
    if isinstance(value, str):
        value = _read_text(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        check_integer("path", "strengths", int(value), least=1)
        return int(value)
    if isinstance(value, (float, np.floating)):
        value = [value]
    if not isinstance(value, Iterable):
        raise UsageError(f"strengths is {value!r}; give a count, a list of numbers, or 'low:high:count'")
    try:
        given = np.asarray(list(value), np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"strengths is {value!r}; give a count, a list of numbers, or 'low:high:count'") from None
    if given.ndim != 1 or len(given) == 0:
        raise UsageError(f"strengths has shape {given.shape}; give at least one number, in one list")
    if len(wrong := given[~(np.isfinite(given) & (given > 0))]):
        raise UsageError(
            f"strengths holds {wrong[0]:g}; each must be positive and finite: without a penalty separable data have no "
            "optimum at all. For next to none give a small number such as 1e-8"
        )
    if len(wrong := given[given < _LEAST]):
        raise UsageError(f"strengths holds {wrong[0]:g}; below {_LEAST:g} nothing can be computed: give a larger one")
    return np.unique(given)[::-1]


def _read_text(text: str) -> Any:
    parts = text.split(":")
    try:
        if len(parts) == 1:
            return int(text) if text.strip().isdigit() else [float(text)]
        low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
        if len(parts) == 3 and 0 < low <= high < math.inf and 1 + (low < high) <= count <= 10_000:
            return np.geomspace(low, high, count)
    except (ValueError, IndexError):
        pass
    raise UsageError(
        f"strengths is {text!r}; give a count such as 45, or low:high:count such as 1e-6:1e2:45, the lower and "
        "positive end first and 2 to 10,000 of them, or one number with a point or an exponent, such as 1.0 or 1e-3"
    )


def largest(problem: Problem, spectrum: Spectrum | None) -> float:
    """Return the strength (for the problem's features) from which on the weights vanish, for every weighting.

    L1, elastic net: max |G| at W = 0 with the best bias, where exact zeros begin.
    L2: 2 strength = 99 × the Hessian's largest eigenvalue at W = 0 (h Λ₁).
    """
    shares, means = problem.class_shares(), problem.class_means()
    if spectrum is None:
        gradient = shares[:, :, None] * means.sum(axis=1)[:, None, :] - means
        return float(np.abs(gradient).max())
    h = float(np.max(1 - np.sum(shares**2, axis=1))) / (problem.classes - 1)
    leading = float(spectrum.values[0]) if spectrum.rank else spectrum.rest * problem.features.shape[1]
    return (_VANISHED - 1) * h * leading / 2


def grid(count: int, top: float, penalty: str, *, hinge: bool = False) -> np.ndarray:
    """Return that many strengths from ``top`` down, evenly spaced in the logarithm."""
    if not top > 0:
        raise UsageError("all features are constant, so there is nothing to fit; give features that vary")
    span = _SPAN_HINGE if hinge else _SPAN[penalty]
    return top * np.geomspace(1, span, count) if count > 1 else np.asarray([top])


def note_on(asked: int | np.ndarray, strengths: np.ndarray) -> str:
    """Say what a count of one came to, which is easily taken for a strength of 1; else nothing."""
    if not (isinstance(asked, int) and asked == 1):
        return ""
    return (
        f"one strength was asked for, and the largest of the default range taken, {strengths[0]:.3g}, which leaves "
        "next to nothing of the weights: for a strength of your own write a point or an exponent, as in 1.0 or 1e-3"
    )

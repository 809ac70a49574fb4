"""Ranges and choices: what may stand in a recipe where one value would.

A recipe that holds any of these is a *search space*; `thalweg.search` draws
trials from it. Each range maps a coordinate u in [0, 1) to a value, so that a
grid, random numbers and a Sobol sequence all reach it the same way.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.errors import UsageError

__all__ = ["Choice", "Integers", "LogUniform", "Range", "Uniform", "choice", "integers", "log_uniform", "uniform"]


def _real(kind: str, name: str, value: Any) -> int | float:
    """Return an end of a range as a Python number, or raise a UsageError."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{kind}: {name} is {value!r}; give a number")
    try:
        finite = math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of floats
        finite = False
    if not finite:
        raise UsageError(f"{kind}: {name} is {value!r}; give a finite number")
    return value


@dataclass(frozen=True)
class Range(abc.ABC):
    """An interval [low, high] of numbers; subclasses say how it is measured."""

    low: float
    high: float

    kind = "range"

    def __post_init__(self) -> None:
        low, high = _real(self.kind, "low", self.low), _real(self.kind, "high", self.high)
        if low >= high:
            raise UsageError(
                f"{self.kind}({self.low!r}, {self.high!r}) is empty; the first number must be below the second"
            )
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @abc.abstractmethod
    def at(self, u: float) -> float:
        """Return the value at coordinate u in [0, 1], never outside [low, high]."""

    @abc.abstractmethod
    def coordinate(self, value: float) -> float:
        """Return u with ``at(u) == value`` up to rounding: where in the range a value lies."""

    def _within(self, value: float) -> float:
        # Rounding may leave the interval by the last digit, and so break a bound such as "at most 1".
        return float(min(max(value, self.low), self.high))


@dataclass(frozen=True)
class Uniform(Range):
    """value = low (1 − u) + high u."""

    kind = "uniform"

    def at(self, u: float) -> float:
        return self._within(self.low * (1 - u) + self.high * u)

    def coordinate(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class LogUniform(Range):
    """value = low^(1 − u) high^u: every decade is as likely as any other."""

    kind = "log_uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise UsageError(f"log_uniform({self.low!r}, {self.high!r}): both ends must be above 0")

    def at(self, u: float) -> float:
        # A product of powers: the quotient high / low may overflow, and both ends come out exact.
        return self._within(float(self.low) ** (1 - u) * float(self.high) ** u)

    def coordinate(self, value: float) -> float:
        return _log_ratio(value, self.low) / _log_ratio(self.high, self.low)


def _log_ratio(value: float, low: float) -> float:
    """Return log(value / low) for value >= low > 0: close numbers keep their digits, far ones do not overflow."""
    if value < 2 * low:
        return math.log1p((value - low) / low)
    return math.log(value) - math.log(low)


@dataclass(frozen=True)
class Integers(Range):
    """Whole numbers from low to high, both included, equally likely."""

    kind = "integers"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low != int(self.low) or self.high != int(self.high):
            raise UsageError(f"integers({self.low!r}, {self.high!r}): both ends must be whole numbers")

    def at(self, u: float) -> int:
        count = int(self.high) - int(self.low) + 1
        return int(self.low) + min(int(u * count), count - 1)

    def coordinate(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Choice:
    """One of several values: numbers, or whole parts (losses, optimizers, schedules)."""

    options: tuple[Any, ...]

    kind = "choice"

    def __post_init__(self) -> None:
        if not self.options:
            raise UsageError("choice() is empty; give at least one value")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.options)


def choice(*options: Any) -> Choice:
    """One of the given values: ``choice(Softmax(), Hinge())``, ``choice(32, 64)``."""
    return Choice(tuple(options))


def uniform(low: float, high: float) -> Uniform:
    """A number between low and high, every interval of one width equally likely."""
    return Uniform(low, high)


def log_uniform(low: float, high: float) -> LogUniform:
    """A number between low and high, uniform in its logarithm (for rates and strengths)."""
    return LogUniform(low, high)


def integers(low: int, high: int) -> Integers:
    """A whole number from low to high, both included."""
    return Integers(low, high)

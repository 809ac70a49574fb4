"""Ranges and choices: what may stand in a recipe where one value would.

A recipe that holds any of these is a *search space*; `thalweg.search` draws
trials from it. Each range maps a coordinate u in [0, 1) to a value, so that a
grid, random numbers and a Sobol sequence all reach it the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from thalweg.errors import UsageError

__all__ = ["Choice", "Integers", "LogUniform", "Range", "Uniform", "choice", "integers", "log_uniform", "uniform"]


def _real(kind: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{kind}: {name} is {value!r}; give a number")
    if not math.isfinite(value):
        raise UsageError(f"{kind}: {name} is {value!r}; give a finite number")
    return float(value)


@dataclass(frozen=True)
class Range:
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

    def at(self, u: float) -> float:
        """Return the value at coordinate u in [0, 1]."""
        raise NotImplementedError

    def coordinate(self, value: float) -> float:
        """Return u with ``at(u) == value``: where in the range a value lies."""
        raise NotImplementedError


@dataclass(frozen=True)
class Uniform(Range):
    """value = low + u (high - low)."""

    kind = "uniform"

    def at(self, u: float) -> float:
        return float(self.low + u * (self.high - self.low))

    def coordinate(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class LogUniform(Range):
    """value = low (high / low)^u: every decade is as likely as any other."""

    kind = "log_uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise UsageError(f"log_uniform({self.low!r}, {self.high!r}): both ends must be above 0")

    def at(self, u: float) -> float:
        return float(self.low * (self.high / self.low) ** u)

    def coordinate(self, value: float) -> float:
        return math.log(value / self.low) / math.log(self.high / self.low)


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

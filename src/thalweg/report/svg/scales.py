"""Scales: from numbers and words to shares of an axis, with ticks that people would write."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["Categories", "Linear", "Log", "Scale", "nice", "scale_for", "short"]


_SAME = 1e-11  # of the larger one: values nearer to each other leave no digits for ticks between them
_LEAST = 1e-300  # spans below have no steps that float64 could hold


class Scale(Protocol):
    """Where a value stands along an axis, and what is written there."""

    def __call__(self, values: object) -> np.ndarray:
        """Return the share of the axis, from 0 at its beginning to 1 at its end, of each value; NaN without a place."""

    def ticks(self) -> Sequence[tuple[Any, str]]:
        """Return the values at which something is written, with what."""


def short(value: float) -> str:
    """Write a number as an axis would: 0.001, 1e-5, 12, 1.5, 20k; three or four of its digits."""
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-3 <= size < 1e4:
        return f"{value:.4g}"
    if 1e4 <= size < 1e6 and value % 100 == 0:
        return f"{value / 1000:g}k"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


@dataclass(frozen=True)
class Linear:
    """Evenly from ``low`` to ``high``; ``wanted`` ticks or so, at 1, 2 or 5 times a power of ten."""

    low: float
    high: float
    wanted: int = 5

    def __call__(self, values: object) -> np.ndarray:
        span = self.high - self.low
        with np.errstate(over="ignore"):
            return np.asarray((np.asarray(values, np.float64) - self.low) / (span if span else 1.0))

    def ticks(self) -> list[tuple[float, str]]:
        span = self.high - self.low
        largest = max(abs(self.low), abs(self.high))
        if not span > max(_LEAST, _SAME * largest):
            return [(self.low, short(self.low))]
        step = nice(span / self.wanted)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first + 1
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        values = [(first + i) * step for i in range(count)]
        if largest < 1e4 and step >= 1e-4:
            return [(v, f"{v:.{digits}f}".replace("-", "−")) for v in values]
        return [(v, "−" * (v < 0) + _told_apart(abs(v), step)) for v in values]


@dataclass(frozen=True)
class Log:
    """By factors, from ``low`` to ``high``, both above 0.

    Ticks stand at powers of ten; at 1, 2, 5 where there are few, and evenly where there are fewer than two of those.
    """

    low: float
    high: float

    def __call__(self, values: object) -> np.ndarray:
        given = np.asarray(values, np.float64)
        begin, end = np.log([self.low, self.high])  # no ratio: it leaves float64 before its logarithm does
        with np.errstate(divide="ignore", invalid="ignore"):
            place = (np.log(given) - begin) / (end - begin if end > begin else 1.0)
        return np.where(given > 0, place, np.nan)

    def ticks(self) -> list[tuple[float, str]]:
        first, last = math.floor(math.log10(self.low) - 1e-9), math.ceil(math.log10(self.high) + 1e-9)
        powers = [10.0**e for e in range(max(first, -300), min(last, 300) + 1)]
        decades = [v for v in powers if self._within(v)]
        if len(decades) >= 3:
            step = math.ceil(len(decades) / 7)
            return [(v, _power(v)) for v in decades[::step]]
        found = [m * v for v in powers for m in (1, 2, 5) if self._within(m * v)]
        return [(v, _power(v)) for v in found] if len(found) >= 2 else Linear(self.low, self.high).ticks()

    def _within(self, value: float) -> bool:
        return self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)


@dataclass(frozen=True)
class Categories:
    """Words side by side, each in the middle of its share. Values are the words themselves."""

    words: tuple[str, ...]

    def __call__(self, values: object) -> np.ndarray:
        places = {word: (i + 0.5) / len(self.words) for i, word in enumerate(self.words)}
        given = [values] if isinstance(values, str) else list(values)  # type: ignore[call-overload]
        return np.array([places.get(one, math.nan) for one in given])

    def ticks(self) -> Sequence[tuple[str, str]]:
        return [(word, word) for word in self.words]


def nice(step: float) -> float:
    """Return the nearest of 1, 2, 5 times a power of ten that is not below ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def scale_for(
    values: Iterable[float], *, log: bool = False, margin: float = 0.04, include: Sequence[float] = ()
) -> Linear | Log:
    """Return a scale that holds all finite values (for a log scale, those above 0) and a margin at both ends.

    ``include`` are values that must have a place too, such as 0. Without any value it runs from 0 to 1 (1 to 10).
    Values that differ by less than what is left of float64's digits count as one, which gets room around it; what is
    beyond ±1e300 (1e±280 on a log scale) lies outside.
    """
    given = np.asarray([*values, *include], np.float64)
    given = given[np.isfinite(given) & (given > 0 if log else True)]
    if not len(given):
        return Log(1.0, 10.0) if log else Linear(0.0, 1.0)
    edge = (1e-280, 1e280) if log else (-1e300, 1e300)
    low, high = (min(max(float(v), edge[0]), edge[1]) for v in (given.min(), given.max()))
    if log:
        spread = math.log(high) - math.log(low)
        factor = math.exp(margin * spread) if spread > _SAME else 2.0
        return Log(low / factor, high * factor)
    largest = max(abs(low), abs(high))
    if high - low > max(_LEAST, _SAME * largest):
        room = margin * (high - low)
    else:
        room = 0.5 * largest if largest > _LEAST else 0.5
    return Linear(low - room, high + room)


def _told_apart(value: float, step: float) -> str:
    """Write a tick's size with as many digits as tell it from the next one, ``step`` away."""
    if not round(value / step):
        return "0"
    digits = math.floor(math.log10(value) + 1e-9) - math.floor(math.log10(step) + 1e-9) + 1
    if digits <= 3:
        return short(float(f"{value:.6g}"))
    if 1 <= value < 1e7:
        return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):.{digits}g}e{int(exponent)}"


def _power(value: float) -> str:
    """Write powers of ten as such where they are long: 0.001 stays, 1e-5 does too."""
    return short(float(f"{value:.3g}"))

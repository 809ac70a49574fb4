"""The derivative of a function along a line, with an error bar.

For g(t) = f(x + t v) the central differences D(t) = (g(t) − g(−t)) / 2t at steps
t, t/8, t/64, … err by c₂t² + c₄t⁴ + …, and by rounding, σ/t. Richardson's extrapolation
removes the first terms (Richardson 1911; Ridders 1982):

    E(t) = D(t) + (D(t) − D(8t)) / 63,        G(t) = E(t) + (E(t) − E(8t)) / 4095.

The bar of each is how far it is from its own predecessor, which is larger than its
error wherever the sequence converges at all, kinks and fractional powers included,
plus rounding; and no less than what smaller steps contradict it by. The estimate with
the smallest bar counts. σ is the larger of the machine's precision and what the differences
at the smallest steps scatter by, so that functions which compute in less than their
precision are found out.

At a kink the one-sided differences (g(t) − g(0))/t and (g(0) − g(−t))/t keep apart
as t shrinks; where g is smooth they approach each other in proportion to t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "Line"]

# Relative to the scale of x along the line. Not powers of 2, which would fall in with periods of the function.
_FIRST = 0.7390851332151607 * 2.0**-6
_RATIO = 8.0
_BEGIN = 3  # steps that are taken at once
_FINEST = 11  # steps down to 1e-11
_COARSEST = 2  # steps up to 0.7: beyond, two can agree by chance
_ROUNDING = 4.0  # σ's to allow for
_SAFETY = 1.5
_JUMP = 1e5  # times the precision of f: a change that large, where smaller steps changed nothing, is a jump
_KINK = 0.3  # over two steps a smooth function's one-sided differences come 64 times closer; at a kink they stay


@dataclass(frozen=True)
class Estimate:
    """Derivatives (q,) along a line, each within ``error``; ``left`` and ``right`` where they differ at a ``kink``."""

    value: np.ndarray
    error: np.ndarray
    size: np.ndarray  # of the slopes seen on the way: what an error is small or large beside
    kink: np.ndarray  # bool
    left: np.ndarray
    right: np.ndarray
    flat: np.ndarray  # bool: f does not move at the smallest steps, but does at larger ones
    still: np.ndarray  # the largest step up to which f stays as it is, to the last bit; 0 where it moves at all
    hidden: np.ndarray  # the slope that f's rounding can hide below that step; 0 where f never moves
    seen: np.ndarray  # (q, steps): the central differences, from large steps to small; NaN where f did not move

    def __len__(self) -> int:
        return len(self.value)


class Line:
    """g(t) = f(x + t v) at more and more steps t."""

    def __init__(self, along: Callable[[float], np.ndarray], here: np.ndarray, eps: float, inside: float = 0.0) -> None:
        """Take g, its value at 0, its precision, and the size of numbers that f may add up inside, such as x."""
        self._along, self._here, self._eps, self._inside = along, here, eps, inside
        self._steps: list[float] = []
        self._up: list[np.ndarray] = []
        self._down: list[np.ndarray] = []
        self._finer, self._coarser = 0, 0
        for _ in range(_BEGIN):
            self.refine()

    def refine(self) -> bool:
        """Add a smaller step, or after the smallest a larger one; return False where there are no more."""
        if self._finer < _FINEST and _FIRST * _RATIO**-self._finer > self._eps / _RATIO:
            self._add(_FIRST * _RATIO**-self._finer)
            self._finer += 1
            return True
        if self._coarser < _COARSEST and bool(np.isfinite(self._up[0]).all() and np.isfinite(self._down[0]).all()):
            self._coarser += 1
            self._add(_FIRST * _RATIO**self._coarser, front=True)
            return True
        return False

    def _add(self, step: float, *, front: bool = False) -> None:
        place = 0 if front else len(self._steps)
        self._steps.insert(place, step)
        self._up.insert(place, self._along(step))
        self._down.insert(place, self._along(-step))

    def estimate(self) -> Estimate:
        """Return the best estimate of each output's derivative from the steps so far."""
        found = [self._one(i) for i in range(len(self._here))]
        up, down = np.stack(self._up, axis=1), np.stack(self._down, axis=1)
        moved = (up != self._here[:, None]) | (down != self._here[:, None])
        with np.errstate(all="ignore"):
            seen = np.where(moved, (up - down) / (2 * np.array(self._steps)), np.nan)
        value, error, size, kink, left, right, flat = (np.array(column) for column in zip(*found, strict=True))
        steps = np.where(np.logical_and.accumulate(~moved[:, ::-1], axis=1), np.array(self._steps)[::-1], 0)
        still = steps.max(axis=1)
        hides = moved.any(axis=1) & (still > 0)
        hidden = np.where(hides, self._eps * np.abs(self._here) / np.where(hides, still, 1), 0)
        return Estimate(value, error, size, kink, left, right, flat, still, hidden, seen)

    def _one(self, output: int) -> tuple[float, float, float, bool, float, float, bool]:
        steps = np.array(self._steps)
        here = self._here[output]
        up = np.array([values[output] for values in self._up])
        down = np.array([values[output] for values in self._down])
        whole = np.isfinite(up) & np.isfinite(down)
        steps, up, down = steps[whole], up[whole], down[whole]
        if len(steps) < _BEGIN:
            nan = float("nan")
            return nan, float("inf"), 0.0, False, nan, nan, False
        with np.errstate(all="ignore"):
            central = (up - down) / (2 * steps)
            right, left = (up - here) / steps, (here - down) / steps
            rough = self._eps > 1e-9 or _single(np.concatenate([up, down, [here]]))
            noise = _ROUNDING * self._noise(steps, up, down, central, here, rough) / steps
            value, error = _extrapolated(central, noise)
        size = float(np.max(np.minimum(np.abs(right), np.abs(left)), initial=0.0))
        at = _kink(left, right, noise, steps <= _FIRST)
        kink = at >= 0
        flat = _in_steps(up - here, down - here, steps, rough, _JUMP * self._eps * max(abs(here), self._inside))
        ends = (float(left[at]), float(right[at])) if kink else (value, value)
        return value, error, size, kink, *ends, flat

    def _noise(
        self, steps: np.ndarray, up: np.ndarray, down: np.ndarray, central: np.ndarray, here: float, rough: bool
    ) -> np.ndarray:
        """Return σ at each step: rounding of values of that size, and at least what small steps scatter by."""
        size = np.maximum(np.maximum(np.abs(up), np.abs(down)), abs(here))
        # x itself is rounded: along a direction of its own size that moves f by eps times the slope.
        known = self._eps * np.maximum(size, np.abs(central)) + np.finfo(float).tiny
        # Steps that round to nothing say nothing of the noise; but where f is not rough, not to move is to be flat.
        moving = (up != here) | (down != here) | (not rough)
        if np.count_nonzero(moving) < _BEGIN + 3:
            return known
        scatter = np.abs(np.diff(central[moving])) * steps[moving][1:]
        # The median is safe from a single kink at some small distance, past which the differences jump once.
        return np.maximum(known, 0.5 * float(np.median(scatter[-4:])))


def _extrapolated(central: np.ndarray, noise: np.ndarray) -> tuple[float, float]:
    """Return the entry of Richardson's table with the smallest bar, and the bar."""
    best = (float(central[-1]), float("inf"))
    column, power = central, _RATIO**2
    for order in range(3):
        if len(column) < 2:
            break
        bars = _SAFETY * np.abs(np.diff(column)) + noise[order + 1 :] * (1 + 0.1 * order)
        bars = np.maximum(bars, _misfit(column[1:], central, noise, order + 1))
        least = int(np.argmin(bars))
        if bars[least] < best[1]:
            best = float(column[least + 1]), float(bars[least])
        column = column[1:] + np.diff(column) / (power - 1)
        power *= _RATIO**2
    return best


def _misfit(values: np.ndarray, central: np.ndarray, noise: np.ndarray, first: int) -> np.ndarray:
    """Return how far smaller steps lie from each value, rounding apart: two large steps can agree by chance."""
    apart = np.abs(central[None, :] - values[:, None]) - 2 * noise[None, :]
    smaller = np.arange(len(central))[None, :] > first + np.arange(len(values))[:, None]
    return np.max(np.where(smaller, apart, 0), axis=1, initial=0)


def _single(values: np.ndarray) -> bool:
    """True where all values are float32's: f computes in less than it returns."""
    with np.errstate(all="ignore"):
        return bool(np.all(values.astype(np.float32) == values))


def _in_steps(up: np.ndarray, down: np.ndarray, steps: np.ndarray, rough: bool, rounding: float) -> bool:
    """True where f stays as it is at small steps and may yet have a slope: it, or its input, is rounded.

    ``up`` and ``down`` are its changes. A flat stretch beside a kink looks alike where it ends on both sides at
    about the same step, and no wider than the coarsest of the common formats could make it. Changes that set in
    no larger than f's own rounding are not meant: there f has an extremum.
    """
    still = (up == 0) & (down == 0)
    if not (still[-1] and still[-2]) or still.all():
        return False
    last = int(np.flatnonzero(~still)[-1])
    if max(abs(up[last]), abs(down[last])) <= rounding:
        return False
    return rough or bool(up[last] and down[last] and steps[last] < _RATIO * 2.0**-8)


def _kink(left: np.ndarray, right: np.ndarray, noise: np.ndarray, small: np.ndarray) -> int:
    """Return the finest of the small steps at which the one-sided differences stay apart above rounding, or −1."""
    apart = right - left
    clear = (np.abs(apart) > 10 * noise) & small
    for last in range(len(apart) - 1, 1, -1):
        if clear[last - 2 : last + 1].all():
            # Each side must have settled, or f merely varies faster than these steps can show.
            moved = max(abs(side[last] - side[last - 1]) for side in (left, right))
            stays = abs(apart[last]) >= _KINK * abs(apart[last - 2]) and moved <= _KINK * abs(apart[last])
            # Gone at a smaller step, where it would show: the kink lies beside the point.
            gone = np.any((np.abs(apart) + 10 * noise < _KINK * abs(apart[last]))[last + 1 :])
            return last if stays and not gone else -1
    return -1

"""The built-in landscapes by name, a landscape's title, and what is left of one of somebody's own in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from thalweg.errors import UsageError
from thalweg.landscapes import functions
from thalweg.landscapes.base import Array, Bounds, Landscape, Points
from thalweg.landscapes.wrapped import Noisy, checked_bounds

__all__ = ["BUILT_IN", "Sampled", "beneath", "is_built_in", "title_of"]

BUILT_IN: Mapping[str, type[Landscape]] = {name: getattr(functions, name) for name in functions.__all__}


def beneath(landscape: Landscape) -> Landscape:
    """Return the landscape without its noise."""
    return landscape.landscape if isinstance(landscape, Noisy) else landscape


def is_built_in(landscape: Landscape) -> bool:
    """True for a landscape that its kind and its numbers bring back; a class derived from one is another's own."""
    return type(landscape) in BUILT_IN.values()


def title_of(landscape: Landscape) -> str:
    """Return a landscape's name with its parameters and its noise: ``Quadratic, condition = 100, angle = 0``."""
    if isinstance(landscape, Noisy):
        return f"{title_of(landscape.landscape)}, gradient noise {landscape.scale:g}"
    if isinstance(landscape, Sampled):
        return landscape.title
    names: list[str] = [one.name for one in fields(landscape)] if is_dataclass(landscape) else []
    values = (getattr(landscape, name) for name in names)
    shown = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return ", ".join([landscape.name, *(f"{name} = {value}" for name, value in zip(names, shown, strict=True))])


class Sampled(Landscape):
    """A landscape of which only values on a grid are known: what a file keeps of a function.

    Between the grid's lines values are bilinear, on them and at the minima exactly those given. Outside the grid
    they are NaN, and so is every slope: pictures can be drawn of it, and nobody can race on it.

    Arguments:
        record: what a file says of it, kept as it is: ``name``, ``title``, ``bounds``, ``minima`` and whatever else.
        xs, ys: the grid's lines ``(n,)`` and ``(m,)``, rising.
        values: ``(m, n)``, a row for each of ys.
        minima_values: ``(M,)``, f at each of the minima.

    Raises:
        UsageError: arrays that are not finite, do not fit or do not rise, or texts and bounds that are none.
    """

    def __init__(
        self, record: Mapping[str, Any], xs: np.ndarray, ys: np.ndarray, values: np.ndarray, minima_values: np.ndarray
    ) -> None:
        self.record = dict(record)
        self._name, self.title = (str(record[key]) for key in ("name", "title"))
        self._bounds = checked_bounds(record["bounds"])
        self._minima = tuple((float(x), float(y)) for x, y in record["minima"])
        given = [np.asarray(array, np.float64) for array in (xs, ys, values, minima_values)]
        self.xs, self.ys, self.values, self.minima_values = given
        if values.shape != (len(ys), len(xs)) or min(values.shape) < 2 or len(minima_values) != len(self._minima):
            raise UsageError(f"{self.name}: values are {list(values.shape)} on {len(ys)} by {len(xs)} lines of a grid")
        if not all(np.isfinite(array).all() for array in given) or not all((np.diff(a) > 0).all() for a in given[:2]):
            raise UsageError(f"{self.name}: the grid does not rise, or a value on it is not finite")

    @property
    def name(self) -> str:
        return self._name

    @property
    def bounds(self) -> Bounds:
        return self._bounds

    @property
    def minima(self) -> Points:
        return self._minima

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        xs, ys, values = (xp.asarray(array) for array in (self.xs, self.ys, self.values))
        i = xp.clip(xp.searchsorted(xs, x, side="right") - 1, 0, len(self.xs) - 2)
        j = xp.clip(xp.searchsorted(ys, y, side="right") - 1, 0, len(self.ys) - 2)
        s, t = (x - xs[i]) / (xs[i + 1] - xs[i]), (y - ys[j]) / (ys[j + 1] - ys[j])
        lower = values[j, i] * (1 - s) + values[j, i + 1] * s
        upper = values[j + 1, i] * (1 - s) + values[j + 1, i + 1] * s
        within = (x >= self.xs[0]) & (x <= self.xs[-1]) & (y >= self.ys[0]) & (y <= self.ys[-1])
        found = xp.where(within, lower * (1 - t) + upper * t, xp.nan)
        for (left, bottom), value in zip(self._minima, self.minima_values, strict=True):
            found = xp.where((x == left) & (y == bottom), value, found)
        return found

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        return xp.full_like(x, xp.nan), xp.full_like(y, xp.nan)

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        return xp.full_like(x, xp.nan), xp.full_like(x, xp.nan), xp.full_like(x, xp.nan)

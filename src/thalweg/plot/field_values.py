"""A function of two numbers as a record: its values and gradients on a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.landscapes import Landscape
from thalweg.landscapes.known import title_of
from thalweg.precision import double

__all__ = ["Bounds", "FieldRecord", "Function", "Source", "field_record"]

Source: TypeAlias = Literal["formula", "given", "autodiff", "samples"]
Bounds: TypeAlias = tuple[tuple[float, float], tuple[float, float]]
Function: TypeAlias = Callable[[Any], Any]

_POINTS = 101  # smooth contours, and the middle of the bounds is a point of the grid


@dataclass(frozen=True, eq=False)
class FieldRecord:
    """What a figure of a function of two numbers shows: values and gradients on a grid.

    Attributes:
        name: what the title says.
        xs, ys: the grid's lines ``(n,)`` and ``(m,)``, rising, not always evenly.
        values: ``(m, n)``, a row for each of ys, a column for each of xs.
        gradients: ``(m, n, 2)``: (∂f/∂x, ∂f/∂y); NaN where a derivative does not exist.
        source: where the gradients come from: the landscape's own ``formula``,
            ``given`` by the caller, ``autodiff``, or estimated from ``samples``.
        minima: known minimisers, pairs (x, y).
    """

    name: str
    xs: np.ndarray
    ys: np.ndarray
    values: np.ndarray
    gradients: np.ndarray
    source: Source
    minima: tuple[tuple[float, float], ...] = ()

    @property
    def exact(self) -> bool:
        """False where the gradients are estimated by differences. A given gradient is taken at its word."""
        return self.source != "samples"


def field_record(
    f: Landscape | Function | tuple[Any, Any, Any],
    *,
    bounds: Bounds | None = None,
    points: int | tuple[int, int] | None = None,
    gradient: Function | None = None,
) -> FieldRecord:
    """Compute a function's values and gradients on a grid, in float64.

    Args:
        f: a `Landscape`; a function from points ``(..., 2)`` to values ``(...,)``,
            NumPy or JAX; or samples ``(xs, ys, values)`` with values ``(len(ys), len(xs))``.
        bounds: ((x_low, x_high), (y_low, y_high)); a landscape has its own, samples bring theirs.
        points: grid lines along x and y, one number or two, at least 3; 101 by default.
        gradient: a function from points ``(..., 2)`` to gradients ``(..., 2)``. Without
            one: a landscape's own; JAX's autodiff where JAX can trace f; otherwise
            second-order differences of the samples (`numpy.gradient`, which knows uneven grids).

    Raises:
        UsageError: samples or values that are not finite, of a wrong shape or on
            a grid that does not rise; bounds missing or not rising.

    >>> field_record(lambda p: p[..., 0] * p[..., 1], bounds=((0, 1), (0, 1)), points=3).values[2]
    array([0. , 0.5, 1. ])
    """
    if isinstance(f, (tuple, list)):
        if bounds is not None or points is not None:
            raise UsageError("bounds and points are for functions; samples bring their own grid: leave them out")
        xs, ys, values = _samples(f)
        return _record("samples", xs, ys, values, None, gradient)
    if isinstance(f, type) and issubclass(f, Landscape):
        raise UsageError(f"f is the class {f.__name__}; make one: {f.__name__}()")
    if not callable(f):
        raise UsageError(
            f"f is {f!r}; give a Landscape, a function of points (..., 2), or samples (xs, ys, values) as a tuple"
        )
    known = f if isinstance(f, Landscape) else None
    xs, ys = _grid(known.bounds if known is not None and bounds is None else bounds, points)
    grid = _pairs(xs, ys)
    values = _finite_values(_called("f", f, grid, grid.shape[:-1]), xs, ys)
    minima = tuple((float(x), float(y)) for x, y in known.minima) if known is not None else ()
    return _record(_title(f), xs, ys, values, f, gradient, minima)


def _record(
    name: str,
    xs: np.ndarray,
    ys: np.ndarray,
    values: np.ndarray,
    f: Function | None,
    gradient: Function | None,
    minima: tuple[tuple[float, float], ...] = (),
) -> FieldRecord:
    source: Source
    grid = _pairs(xs, ys)
    if gradient is not None:
        if not callable(gradient):
            raise UsageError(f"gradient is {gradient!r}; give a function from points (..., 2) to gradients (..., 2)")
        source, gradients = "given", _called("gradient", gradient, grid, grid.shape)
    elif isinstance(f, Landscape):
        source, gradients = "formula", _called("f.gradient", f.gradient, grid, grid.shape)
    elif f is not None and (traced := _autodiff(f, grid)) is not None:
        source, gradients = "autodiff", traced
    else:
        source = "samples"
        by_y, by_x = np.gradient(values, ys, xs, edge_order=2)
        gradients = np.stack([by_x, by_y], axis=-1)
    gradients = np.where(np.isfinite(gradients).all(axis=-1, keepdims=True), gradients, np.nan)
    return FieldRecord(name, xs, ys, values, gradients, source, minima)


def _autodiff(f: Function, grid: np.ndarray) -> np.ndarray | None:
    """Return f's gradient at each point of the grid, or None where JAX cannot trace f.

    f is elementwise over the points, so the gradient of the sum holds that of each.
    """
    try:
        with double():
            values, pull_back = jax.vjp(f, jnp.asarray(grid))
            return np.asarray(pull_back(jnp.ones_like(values))[0], np.float64)
    # f has already run on NumPy's numbers: whatever it raises now, of whatever class, comes from being traced.
    except Exception:
        return None


def _called(name: str, function: Function, grid: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return function(grid) in float64; a copy is handed out, for the function may write into it."""
    try:
        with double():
            result = np.asarray(function(grid.copy()))
    except Exception as error:
        raise UsageError(
            f"{name} raised {type(error).__name__} at points {list(grid.shape)}: {error}; it takes one array whose "
            "last axis holds x and y: lambda p: p[..., 0] ** 2 + p[..., 1] ** 2"
        ) from error
    if result.dtype.kind not in "iuf":
        raise UsageError(f"{name} returned {result.dtype} numbers; it must return real ones")
    if result.shape != shape:
        raise UsageError(
            f"{name} returned shape {list(result.shape)} for points {list(grid.shape)}; it must return {list(shape)}: "
            f"let it work along the last axis (p[..., 0], p[..., 1]), or wrap a function of one point in jax.vmap twice"
        )
    return result.astype(np.float64)


def _grid(bounds: Any, points: Any) -> tuple[np.ndarray, np.ndarray]:
    if bounds is None:
        raise UsageError("bounds is None; give ((x_low, x_high), (y_low, y_high)), since only a Landscape has its own")
    try:
        ends = np.asarray(bounds, np.float64)
    except (TypeError, ValueError):
        ends = np.empty(0)
    if ends.shape != (2, 2) or not np.isfinite(ends).all() or not (ends[:, 0] < ends[:, 1]).all():
        raise UsageError(
            f"bounds is {bounds!r}; give ((x_low, x_high), (y_low, y_high)), finite and each low below its high"
        )
    counts = _POINTS if points is None else points
    pair = counts if isinstance(counts, (tuple, list)) else (counts, counts)
    if len(pair) != 2 or not all(type(count) is int and count >= 3 for count in pair):
        raise UsageError(f"points is {points!r}; give a whole number of at least 3, or one for x and one for y")
    (left, right), (bottom, top) = ends.tolist()
    return np.linspace(left, right, pair[0]), np.linspace(bottom, top, pair[1])


def _pairs(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Return the grid's points ``(m, n, 2)``."""
    return np.stack(np.meshgrid(xs, ys), axis=-1)


def _samples(given: Sequence[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if len(given) != 3:
        raise UsageError(f"samples are {len(given)} arrays; give three: (xs, ys, values)")
    xs, ys, values = (_numbers(name, array) for name, array in zip(("xs", "ys", "values"), given, strict=True))
    for name, lines in (("xs", xs), ("ys", ys)):
        _check_axis(name, lines)
    if values.shape != (len(ys), len(xs)):
        hint = "transpose it" if values.shape == (len(xs), len(ys)) else "a row for each of ys, a column for each of xs"
        raise UsageError(f"values has shape {list(values.shape)}; it must be {[len(ys), len(xs)]}: {hint}")
    return xs, ys, _finite_values(values, xs, ys, remedy="fill the gap or leave its row or column out")


def _numbers(name: str, given: Any) -> np.ndarray:
    try:
        array = np.ma.asarray(given)
        if array.dtype.kind == "c":
            raise TypeError
        # A masked entry becomes NaN, and is then refused by its place; np.asarray would show what lies under it.
        return np.ma.filled(array.astype(np.float64), np.nan)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is {given!r}; give an array of real numbers") from None


def _check_axis(name: str, lines: np.ndarray) -> None:
    if lines.ndim != 1 or len(lines) < 3:
        raise UsageError(
            f"{name} has shape {list(lines.shape)}; give the grid's lines, at least 3 in one dimension "
            f"(of a mesh grid: xs[0] and ys[:, 0])"
        )
    steps = np.diff(lines)
    if not np.isfinite(lines).all() or not (steps > 0).all():
        place = int(np.argmin(np.isfinite(steps) & (steps > 0)))
        raise UsageError(
            f"{name} does not rise from {lines[place]} (entry {place}) to {lines[place + 1]}; "
            f"sort it, and the values with it"
        )


def _finite_values(
    values: np.ndarray, xs: np.ndarray, ys: np.ndarray, remedy: str = "choose bounds within which f is finite"
) -> np.ndarray:
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise UsageError(
            f"{bad.sum()} of {bad.size} values are not finite, the first is {values[row, column]} at "
            f"x = {xs[column]:g}, y = {ys[row]:g} (row {row}, column {column}); {remedy}"
        )
    return values


def _title(f: Any) -> str:
    if isinstance(f, Landscape):
        return title_of(f)
    name = getattr(f, "__name__", type(f).__name__)
    return "f" if name == "<lambda>" else str(name)

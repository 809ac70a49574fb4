"""Figures: the data of each is a typed record first, the drawing comes after.

Figures are made without pyplot, so none stays open and no window appears:
``plot.field(f).savefig("f.png")``.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thalweg.errors import UsageError, nearest
from thalweg.landscapes import Landscape
from thalweg.precision import double

__all__ = ["FieldRecord", "field", "field_record"]

Kind: TypeAlias = Literal["contour", "mesh", "surface", "arrows"]
Source: TypeAlias = Literal["formula", "given", "autodiff", "samples"]
Bounds: TypeAlias = tuple[tuple[float, float], tuple[float, float]]
Function: TypeAlias = Callable[[Any], Any]

KINDS: tuple[Kind, ...] = ("contour", "mesh", "surface", "arrows")
_POINTS = 101  # smooth contours, and the middle of the bounds is a point of the grid
_ARROWS = 17  # along the longer side: more overlap at half size
_SOURCES: dict[Source, str] = {
    "formula": "exact, from its formula",
    "given": "as given",
    "autodiff": "exact, by automatic differentiation",
    "samples": "estimated from the samples by central differences",
}
# Viridis is monotone in lightness and safe for colour-blind readers. Its pale end is cut off: on
# white paper thin lines and arrows would vanish there.
_COLOURS = ListedColormap(colormaps["viridis"](np.linspace(0, 0.8, 256)), name="viridis-dark")
_MARK = "#c23b22"
_STEPS = [1, 2, 5, 10]  # of axis labels: 0.8 and 1.6 read worse


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


def field(
    f: Landscape | Function | tuple[Any, Any, Any] | FieldRecord,
    *,
    bounds: Bounds | None = None,
    points: int | tuple[int, int] | None = None,
    gradient: Function | None = None,
    kinds: Kind | Sequence[Kind] = KINDS,
) -> Figure:
    """Draw a function of two numbers: contour lines, colour mesh, surface, and arrows of its gradient.

    Arrows point uphill, all of one length, as lengths would hide a valley's
    floor beside its walls; their colour is the gradient's size. Where most values
    lie near the lowest, colours and contour levels are not evenly spaced but by a
    power. Both axes have one scale unless that left but a strip. The caption says
    all this, and where the gradient comes from.

    Args:
        f, bounds, points, gradient: as in `field_record`; f may also be a `FieldRecord`.
        kinds: which panels, in which order; all four by default.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError: an unknown kind, or what `field_record` refuses.

    >>> from thalweg.landscapes import Himmelblau
    >>> field(Himmelblau(), kinds=("contour", "arrows")).savefig("himmelblau.png")  # doctest: +SKIP
    """
    kinds = _checked_kinds(kinds)
    if isinstance(f, FieldRecord):
        if bounds is not None or points is not None or gradient is not None:
            raise UsageError("bounds, points and gradient are settled in a FieldRecord: leave them out")
        record = f
    else:
        record = field_record(f, bounds=bounds, points=points, gradient=gradient)
    return _drawn(record, kinds)


# --- the record ---


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
    if not isinstance(f, Landscape):
        name = getattr(f, "__name__", type(f).__name__)
        return "f" if name == "<lambda>" else str(name)
    names: list[str] = [one.name for one in fields(f)] if is_dataclass(f) else []
    values = (getattr(f, name) for name in names)
    shown = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return ", ".join([f.name, *(f"{name} = {value}" for name, value in zip(names, shown, strict=True))])


# --- the drawing ---


def _checked_kinds(kinds: Any) -> tuple[Kind, ...]:
    if not isinstance(kinds, (str, Sequence)):
        raise UsageError(f"kinds is {kinds!r}; choose from {', '.join(KINDS)}")
    chosen = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in chosen:
        if kind not in KINDS:
            raise UsageError(f"kinds holds {kind!r}{nearest(str(kind), KINDS)}; choose from {', '.join(KINDS)}")
    if not chosen:
        raise UsageError(f"kinds is empty; choose from {', '.join(KINDS)}")
    return chosen


def _drawn(record: FieldRecord, kinds: tuple[Kind, ...]) -> Figure:
    columns = len(kinds) if len(kinds) < 4 else 2
    rows = -(-len(kinds) // columns)
    wide, high = _sides(record)
    size = (columns * (4 * max(wide, 0.6) + 1.2), rows * (4 * max(high, 0.6) + 0.4) + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    notes: list[str] = []
    scale = _Scale(record.values)
    for place, kind in enumerate(kinds, start=1):
        axes: Any = figure.add_subplot(rows, columns, place, projection="3d" if kind == "surface" else None)
        _PANELS[kind](figure, axes, record, scale, notes)
        axes.set(xlabel="x", ylabel="y")
        if kind != "surface":
            _frame(axes, record, notes)
    if scale.power != 1:
        notes.append(
            f"Most values lie near the lowest: colours and levels rise as even steps to the power {scale.power}."
        )
    figure.suptitle(record.name)
    width = round(13 * size[0])  # letters of this size on an inch
    figure.supxlabel("\n".join(textwrap.fill(note, width) for note in dict.fromkeys(notes)), fontsize=9)
    return figure


class _Scale:
    """How values become colours and levels: by even steps above the lowest, to a power where most lie near it.

    The power puts the median about 0.4 up the scale: 2 for a bowl, whose contour
    lines are then evenly apart, 3 for Rosenbrock's valley, 1 for a saddle.
    """

    def __init__(self, values: np.ndarray) -> None:
        low, high = float(values.min()), float(values.max())
        self.flat = high - low <= 1e-12 * max(abs(low), abs(high))
        if self.flat:
            high = low + (abs(low) or 1.0)
        middle = 1 if self.flat else max((float(np.median(values)) - low) / (high - low), 1e-9)
        self.power = min(max(round(math.log(middle) / math.log(0.4)), 1), 8)
        self.norm = PowerNorm(1 / self.power, low, high) if self.power > 1 else Normalize(low, high)
        if self.power == 1:
            levels = np.asarray(MaxNLocator(12).tick_values(low, high))
        else:
            rises = (high - low) * np.linspace(0, 1, 15)[1:-1] ** self.power
            # Two digits of the rise are enough, and labels stay short.
            levels = np.array([round(low + rise, 1 - math.floor(math.log10(rise))) for rise in rises])
        self.levels = levels[(levels > low) & (levels < high)]
        self.ticks = self.levels[1::2] if self.power == 1 else self.levels[1::3]


def _contour(figure: Figure, axes: Any, record: FieldRecord, scale: _Scale, notes: list[str]) -> None:
    axes.set_title("Contour lines")
    if scale.flat:
        notes.append("All values are the same: there are no contour lines.")
        return
    lines = axes.contour(
        record.xs, record.ys, record.values, levels=scale.levels, norm=scale.norm, cmap=_COLOURS, linewidths=1.2
    )
    if sum(len(segments) for segments in lines.allsegs) <= 60:
        axes.clabel(lines, scale.ticks, fmt="%g", fontsize=8, colors="black")
    else:  # so many closed lines that labels would cover them
        _colour_bar(figure, axes, lines, label="f(x, y)", ticks=scale.ticks, format="%g")
    _mark_minima(axes, record)


def _mesh(figure: Figure, axes: Any, record: FieldRecord, scale: _Scale, notes: list[str]) -> None:
    axes.set_title("Colour mesh")
    mesh = axes.pcolormesh(
        record.xs, record.ys, record.values, norm=scale.norm, cmap="viridis", shading="gouraud", rasterized=True
    )
    if not scale.flat:
        _colour_bar(figure, axes, mesh, label="f(x, y)", ticks=scale.ticks, format="%g")
    _mark_minima(axes, record)


def _surface(figure: Figure, axes: Any, record: FieldRecord, scale: _Scale, notes: list[str]) -> None:
    axes.set_title("Surface")
    x, y = np.meshgrid(record.xs, record.ys)
    axes.plot_surface(x, y, record.values, norm=scale.norm, cmap="viridis", rcount=60, ccount=60, antialiased=False)
    axes.set_zlabel("f(x, y)", labelpad=14)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(MaxNLocator(5, steps=_STEPS))
    axes.zaxis.set_tick_params(pad=6)
    axes.set_box_aspect((*_sides(record), 0.7), zoom=0.85)


def _arrows(figure: Figure, axes: Any, record: FieldRecord, scale: _Scale, notes: list[str]) -> None:
    axes.set_title("Gradient")
    if not scale.flat:  # faint, so that one sees the arrows cross the lines at right angles
        axes.contour(record.xs, record.ys, record.values, levels=scale.levels, colors="#cccccc", linewidths=0.7)
    wide, high = _sides(record)
    columns, rows = _spread(record.xs, wide), _spread(record.ys, high)
    vectors = record.gradients[np.ix_(rows, columns)]  # (rows, columns, 2)
    x, y = np.meshgrid(record.xs[columns], record.ys[rows])
    known = np.isfinite(vectors[..., 0])
    vectors, x, y = vectors[known], x[known], y[known]  # (arrows, 2), (arrows,)
    size = np.hypot(vectors[:, 0], vectors[:, 1])
    unit = vectors / np.where(size > 0, size, 1)[:, None]
    norm, shown = _size_scale(size)
    arrows = axes.quiver(
        x,
        y,
        unit[:, 0],
        unit[:, 1],
        shown,
        norm=norm,
        cmap=_COLOURS.reversed(),  # dark is steep
        pivot="mid",
        angles="xy",
        scale_units="width",
        scale=wide * (_ARROWS - 1) / 0.8,  # 0.8 of the way to the next arrow
        width=0.006 / wide,
    )
    _colour_bar(figure, axes, arrows, label="|∇f|", extend="min" if (size < norm.vmin).any() else "neither")
    _mark_minima(axes, record)
    notes.append("Arrows point uphill, all of one length; colour shows |∇f|, a dot stands where it is 0.")
    notes.append(f"Gradient {_SOURCES[record.source]}.")
    if not known.all():
        notes.append(f"Arrows left out where the gradient is not finite: {(~known).sum()}.")


_PANELS: dict[Kind, Callable[[Figure, Any, FieldRecord, _Scale, list[str]], None]] = {
    "contour": _contour,
    "mesh": _mesh,
    "surface": _surface,
    "arrows": _arrows,
}


def _size_scale(size: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return the colour scale of gradient sizes and the sizes on it: logarithmic where they span a factor of 30."""
    positive = size[size > 0]
    if len(positive) == 0:
        return Normalize(0, 1), size
    high = float(positive.max())
    low = max(float(positive.min()), 1e-4 * high)
    if high <= 30 * low:
        return Normalize(0, high), size
    return LogNorm(low, high), np.maximum(size, low)


def _spread(lines: np.ndarray, share: float) -> np.ndarray:
    """Return the indices of grid lines about evenly apart: _ARROWS on the longer side, its share on the other."""
    count = max(3, round((_ARROWS - 1) * share) + 1)
    wanted, step = np.linspace(lines[0], lines[-1], count, retstep=True)
    found: list[int] = []
    for place in np.abs(lines[:, None] - wanted).argmin(axis=0).tolist():
        # On an uneven grid the line nearest to one place may lie close to the last one's: arrows would overlap.
        if not found or lines[place] - lines[found[-1]] > 0.7 * step:
            found.append(place)
    return np.array(found)


def _sides(record: FieldRecord) -> tuple[float, float]:
    """Return a panel's width and height, the longer one 1; a square where equal scales would leave but a strip."""
    width, height = float(np.ptp(record.xs)), float(np.ptp(record.ys))
    longer = max(width, height)
    return (width / longer, height / longer) if min(width, height) > 0.35 * longer else (1.0, 1.0)


def _frame(axes: Axes, record: FieldRecord, notes: list[str]) -> None:
    wide, high = _sides(record)
    axes.set_box_aspect(high / wide)
    if not math.isclose(high / wide, np.ptp(record.ys) / np.ptp(record.xs)):
        notes.append("The axes are not to one scale.")
    axes.set_xlim(record.xs[0], record.xs[-1])
    axes.set_ylim(record.ys[0], record.ys[-1])
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))


def _colour_bar(figure: Figure, axes: Axes, drawn: Any, **options: Any) -> None:
    """Draw a colour bar as high as its panel, which a bar in a column of its own would not be."""
    figure.colorbar(drawn, cax=axes.inset_axes((1.04, 0, 0.05, 1)), **options)


def _mark_minima(axes: Axes, record: FieldRecord) -> None:
    inside = [
        (x, y) for x, y in record.minima if record.xs[0] <= x <= record.xs[-1] and record.ys[0] <= y <= record.ys[-1]
    ]
    if inside:
        x, y = zip(*inside, strict=True)
        axes.plot(x, y, "*", color=_MARK, markersize=11, markeredgecolor="white", label="minimum", zorder=5)
        axes.legend(loc="upper right", fontsize=8, framealpha=0.8)

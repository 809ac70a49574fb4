"""Pictures of a function of two numbers: contour lines, colours, surface, gradient arrows."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thalweg.errors import UsageError, nearest
from thalweg.landscapes import Landscape
from thalweg.plot.field_values import Bounds, FieldRecord, Function, Source, field_record

__all__ = ["Scale", "field", "sides"]

Kind: TypeAlias = Literal["contour", "mesh", "surface", "arrows"]

KINDS: tuple[Kind, ...] = ("contour", "mesh", "surface", "arrows")
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
    wide, high = sides(record)
    size = (columns * (4 * max(wide, 0.6) + 1.2), rows * (4 * max(high, 0.6) + 0.4) + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    notes: list[str] = []
    scale = Scale(record.values)
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


class Scale:
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


def _contour(figure: Figure, axes: Any, record: FieldRecord, scale: Scale, notes: list[str]) -> None:
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


def _mesh(figure: Figure, axes: Any, record: FieldRecord, scale: Scale, notes: list[str]) -> None:
    axes.set_title("Colour mesh")
    mesh = axes.pcolormesh(
        record.xs, record.ys, record.values, norm=scale.norm, cmap="viridis", shading="gouraud", rasterized=True
    )
    if not scale.flat:
        _colour_bar(figure, axes, mesh, label="f(x, y)", ticks=scale.ticks, format="%g")
    _mark_minima(axes, record)


def _surface(figure: Figure, axes: Any, record: FieldRecord, scale: Scale, notes: list[str]) -> None:
    axes.set_title("Surface")
    x, y = np.meshgrid(record.xs, record.ys)
    axes.plot_surface(x, y, record.values, norm=scale.norm, cmap="viridis", rcount=60, ccount=60, antialiased=False)
    axes.set_zlabel("f(x, y)", labelpad=14)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(MaxNLocator(5, steps=_STEPS))
    axes.zaxis.set_tick_params(pad=6)
    axes.set_box_aspect((*sides(record), 0.7), zoom=0.85)


def _arrows(figure: Figure, axes: Any, record: FieldRecord, scale: Scale, notes: list[str]) -> None:
    axes.set_title("Gradient")
    if not scale.flat:  # faint, so that one sees the arrows cross the lines at right angles
        axes.contour(record.xs, record.ys, record.values, levels=scale.levels, colors="#cccccc", linewidths=0.7)
    wide, high = sides(record)
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


_PANELS: dict[Kind, Callable[[Figure, Any, FieldRecord, Scale, list[str]], None]] = {
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


def sides(record: FieldRecord) -> tuple[float, float]:
    """Return a panel's width and height, the longer one 1; a square where equal scales would leave but a strip."""
    width, height = float(np.ptp(record.xs)), float(np.ptp(record.ys))
    longer = max(width, height)
    return (width / longer, height / longer) if min(width, height) > 0.35 * longer else (1.0, 1.0)


def _frame(axes: Axes, record: FieldRecord, notes: list[str]) -> None:
    wide, high = sides(record)
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

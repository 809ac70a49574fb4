"""The picture of a model of two features: which class it predicts where."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import distance_transform_edt

from thalweg.plot.names import colours, fitting, inches, literal, markers
from thalweg.views import RegionRecord, region_record
from thalweg.views.regions import Bounds

__all__ = ["decision_regions"]

_SHOWN = 1500  # examples: more would hide the regions
_ROWS = 18  # of the legend, a column
_LEGEND = 27  # classes: more colours than that are not told apart, and the names stand in the regions
_NAME = 7  # points, of a name in a region
_PALE = 0.72  # share of white in a region's colour, so that examples stand out


def decision_regions(model: Any, data: Any = None, *, bounds: Bounds | None = None, points: int = 301) -> Figure:
    """Draw which class a model of two features predicts where: the geometric view.

    A point has the colour of the class with the highest score; black lines are
    where the two highest scores are equal. Of the data at most 1,500 examples are drawn,
    always the same ones of the same data, those predicted wrongly with a black edge.
    Classes differ in colour and marker; of more than 27, the names stand in their regions.

    Args:
        model: any fitted model of two features, linear or not, an estimator that
            holds one, or a `RegionRecord`.
        data, bounds, points: as in `views.region_record`.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError, DataError: what `views.region_record` refuses.
    """
    record = model if isinstance(model, RegionRecord) else region_record(model, data, bounds=bounds, points=points)
    return _drawn(record)


def _drawn(record: RegionRecord) -> Figure:
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    regions = record.regions
    _fill(axes, record, regions)
    present = np.union1d(np.unique(regions), record.labels)
    notes = _examples(axes, record, 1.0 if len(present) <= _LEGEND else 0.4)
    if len(present) <= _LEGEND:
        figure.set_figwidth(4.5 + _legend(figure, record, present.tolist()))
    else:
        figure.set_size_inches(7.0, 6.0)
        _name_regions(axes, record, regions)
    axes.set(xlim=_ends(record.xs), ylim=_ends(record.ys))
    for axis, name in zip((axes.xaxis, axes.yaxis), record.feature_names, strict=True):
        literal(axis.label).set_text(fitting(name, 3.2, 10))
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    if notes:
        figure.supxlabel(textwrap.fill(" ".join(notes), 60), fontsize=8)
    return figure


def _ends(lines: np.ndarray) -> tuple[float, float]:
    return float(lines[0]), float(lines[-1])


def _fill(axes: Axes, record: RegionRecord, regions: np.ndarray) -> None:
    pale = [tuple(_PALE + (1 - _PALE) * part for part in colour) for colour in colours(len(record.classes))]
    # Vertices at the grid's points: cells of one colour, no wider than a border's line.
    axes.pcolormesh(
        record.xs,
        record.ys,
        regions,
        cmap=ListedColormap(pale),
        vmin=-0.5,
        vmax=len(pale) - 0.5,
        shading="nearest",
        rasterized=True,
    )
    for label in np.unique(regions).tolist():
        margin = record.margin(label)
        if margin.min() < 0 < margin.max():
            axes.contour(record.xs, record.ys, margin, levels=[0.0], colors="black", linewidths=0.9)


def _examples(axes: Axes, record: RegionRecord, scale: float) -> list[str]:
    """Draw the examples, class by class, at a scale; return what there is to say of them."""
    count = len(record.labels)
    if count == 0:
        return []
    # The same examples each time; in a new order, so that no class covers another for coming last.
    chosen = np.random.default_rng(0).permutation(count)[:_SHOWN]
    size = scale * float(np.clip(4000 / len(chosen), 8, 26))
    wrong = record.predicted != record.labels
    for label, (colour, marker) in enumerate(
        zip(colours(len(record.classes)), markers(len(record.classes)), strict=True)
    ):
        for missed, edge, width in ((False, "white", 0.4), (True, "black", 0.9)):
            own = chosen[(record.labels[chosen] == label) & (wrong[chosen] == missed)]
            if len(own):
                x, y = record.examples[own].T
                style: dict[str, Any] = {"s": size, "color": colour, "marker": marker, "zorder": 3 + missed}
                axes.scatter(x, y, edgecolors=edge, linewidths=scale * width, **style)
    notes = [f"{int(wrong.sum()):,} of {count:,} examples predicted wrongly (black edges)."]
    if count > len(chosen):
        notes.append(f"{len(chosen):,} of them drawn.")
    return notes


def _legend(figure: Figure, record: RegionRecord, listed: list[int]) -> float:
    """Name the classes that occur, beside the axes; return how many inches that took."""
    columns = -(-len(listed) // _ROWS)
    every, marks = colours(len(record.classes)), markers(len(record.classes))
    seen = len(record.labels) > 0
    handles: list[Any] = [
        Line2D([], [], color=every[i], marker=marks[i], linestyle="", markersize=6) if seen else Patch(color=every[i])
        for i in listed
    ]
    names = [fitting(record.classes[i], 2.0 / columns, 8) for i in listed]
    legend = figure.legend(
        handles, ["x"] * len(handles), loc="outside right upper", ncols=columns, fontsize=8, frameon=False,
        handletextpad=0.3, columnspacing=0.8,
    )  # fmt: skip
    # The names come afterwards: Matplotlib leaves out those that begin with an underscore.
    for text, name in zip(legend.get_texts(), names, strict=True):
        literal(text).set_text(name)
    return columns * (max(inches(name, 8) for name in names) + 0.4)


def _name_regions(axes: Axes, record: RegionRecord, regions: np.ndarray) -> None:
    """Write each class's name where its region is widest; into a region narrower than a line of text, none."""
    steps = 6.0 / len(record.ys), 5.0 / len(record.xs)  # inches between the grid's lines, about
    for label in np.unique(regions).tolist():
        # A frame of other classes: a name must keep away from the picture's border too.
        depth = distance_transform_edt(np.pad(regions == label, 1), sampling=steps)[1:-1, 1:-1]
        row, column = np.unravel_index(depth.argmax(), depth.shape)
        if depth[row, column] * 72 > _NAME / 2:
            name = fitting(record.classes[label], max(2 * depth[row, column], 0.35), _NAME)
            text = axes.text(
                float(record.xs[column]),
                float(record.ys[row]),
                name,
                fontsize=_NAME,
                ha="center",
                va="center",
                zorder=6,
            )
            literal(text).set_path_effects([withStroke(linewidth=2, foreground="white")])

"""The picture of what second-order steps cost: time and memory against the number of weights."""

from __future__ import annotations

import textwrap
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from thalweg.diagnostics.newton_cost import NewtonCost
from thalweg.plot.names import literal
from thalweg.plot.theme import LINES, Theme, themed

__all__ = ["newton_cost"]

Units: TypeAlias = tuple[tuple[float, str], ...]

_UNITS: Units = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES: Units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes"))


def newton_cost(record: NewtonCost, *, dark: bool = False) -> Figure:
    """Draw seconds and working memory of a step against n, both axes logarithmic, each slope written at its line.

    A line n^p has the slope p: 3 for a dense solve, 2 for a stored matrix, 1 for vectors. The slopes are fitted to
    the three largest sizes; smaller ones are ruled by what a call costs whatever n is.

    Args:
        record: a `NewtonCost`.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.
    """
    theme = themed(dark)
    figure = Figure(figsize=(9.2, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    _panel(left, record, record.seconds, theme, _UNITS)
    _panel(right, record, record.bytes, theme, _SIZES)
    left.set_ylabel("time of a step")
    right.set_ylabel("working memory of the program")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=9)
    if record.note:
        literal(figure.supxlabel(textwrap.fill(record.note, 130), fontsize=8))
    return theme.dress(figure)


def _panel(axes: Axes, record: NewtonCost, values: np.ndarray, theme: Theme, units: Units) -> None:
    slopes = record.slopes(values)
    for place, (name, row) in enumerate(zip(record.names, values, strict=True)):
        style, marker = LINES[place % len(LINES)]
        axes.plot(
            record.sizes, row, linestyle=style, marker=marker, markersize=4.5, linewidth=1.3,
            color=theme.colour(place), label=name,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="weights n")
    _slopes(axes, record, values, slopes, theme)
    axes.set_xlim(right=record.sizes[-1] * (record.sizes[-1] / record.sizes[0]) ** 0.2)
    axes.set_xticks(record.sizes, [f"{n:,}" for n in record.sizes], fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(base=10, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _worded(value, units)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _slopes(axes: Axes, record: NewtonCost, values: np.ndarray, slopes: np.ndarray, theme: Theme) -> None:
    """Write each slope at the end of its line; labels that would touch are moved apart."""
    known = [i for i in range(len(values)) if np.isfinite(slopes[i])]
    span = np.log(np.nanmax(values) / np.nanmin(values)) or 1.0
    height, below = -np.inf, 0.07 * span
    for i in sorted(known, key=lambda i: float(values[i, np.flatnonzero(np.isfinite(values[i]))[-1]])):
        end = np.flatnonzero(np.isfinite(values[i]))[-1]
        height = max(float(np.log(values[i, end])), height + below)
        axes.annotate(
            f"n^{slopes[i]:.1f}", (record.sizes[end], np.exp(height)), xytext=(7, 0), textcoords="offset points",
            fontsize=9, va="center", color=theme.colour(i), parse_math=False,
        )  # fmt: skip


def _worded(value: float, units: Units) -> str:
    size, unit = next((one for one in units if value >= one[0]), units[-1])
    return f"{value / size:.3g} {unit}"

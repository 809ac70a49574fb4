"""Curves of a race: how far f lies above its minimum, and how far away that is, by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from thalweg.landscapes.known import title_of
from thalweg.landscapes.records import STATUSES, Race
from thalweg.plot.names import fitting, inches, literal
from thalweg.plot.race_panel import backdrop, checked_start, last_step, look, plain
from thalweg.plot.theme import Theme, themed

__all__ = ["race_curves"]

_SMALLEST = 1e-16  # of the first value: below it the difference f − min f holds no digits of float64
_ABOVE = 30.0  # times the first value: where the axis is cut, lest a racer that diverges flatten the others


def race_curves(record: Race, *, start: int = 0, dark: bool = False) -> Figure:
    """Draw f − min f and the distance to the nearest minimum against steps, both on log scales.

    Each racer has its colour, its line style and, where it ended, its marker; a cross where it diverged. Values
    under 1e-16 of the first are drawn there: f − min f holds no digits below. On a landscape without a minimum the
    left panel shows f itself, as far as the landscape's bounds go, and the right one the gradient's norm.

    Args:
        record: a race; one of its starts is drawn.
        start: which start, 0 for the first.
        dark: dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError: no such start, or a landscape whose values are not finite within its bounds.
    """
    start, theme = checked_start(record, start), themed(dark)
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    if record.landscape.minima:
        lowest = float(np.min(record.landscape.value(np.asarray(record.landscape.minima))))
        _log_curves(left, record, start, np.asarray(record.values) - lowest, "f − min f", theme)
        _log_curves(right, record, start, record.distances, "distance to the nearest minimum", theme)
    else:
        _plain_curves(left, record, start, theme)
        _log_curves(right, record, start, record.gradient_norms, "gradient's norm |∇f|", theme)
    figure.suptitle(plain(title_of(record.landscape)))
    _legend(figure, record, start, theme)
    return theme.dress(figure)


def _log_curves(axes: Any, record: Race, start: int, values: np.ndarray, label: str, theme: Theme) -> None:
    first = float(values[0, start, 0])
    floor = _SMALLEST * first if first > 0 else _SMALLEST
    kept = [_until_end(record, racer, start, np.maximum(values, floor)) for racer in range(len(record.names))]
    finite = np.concatenate([line[np.isfinite(line)] for line in kept])
    top = _ABOVE * max(first, floor)
    axes.set_yscale("log")
    axes.set_ylim(max(0.5 * float(finite.min()), 0.3 * floor), min(2 * float(finite.max()), top))
    _lines(axes, record, start, kept, theme)
    axes.set(xlabel="steps", ylabel=label)


def _plain_curves(axes: Any, record: Race, start: int, theme: Theme) -> None:
    field = backdrop(record, start)
    low, high = float(field.values.min()), float(field.values.max())
    axes.set_ylim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    kept = [_until_end(record, racer, start, np.asarray(record.values)) for racer in range(len(record.names))]
    _lines(axes, record, start, kept, theme)
    axes.set(xlabel="steps", ylabel="f, within the landscape's frame")


def _until_end(record: Race, racer: int, start: int, values: np.ndarray) -> np.ndarray:
    return np.asarray(values[racer, start, : last_step(record, racer, start) + 1], np.float64)


def _lines(axes: Any, record: Race, start: int, kept: list[np.ndarray], theme: Theme) -> None:
    low, high = axes.get_ylim()
    longest = max(len(line) for line in kept) - 1
    log = axes.get_yscale() == "log"
    for place, line in enumerate(kept):
        style, marker = look(place)
        steps, shown = _cut(line, low, high, log)
        axes.plot(steps, shown, color=theme.colour(place), linestyle=style, linewidth=1.7)
        colour, size = theme.colour(place), 7.5
        if STATUSES[int(record.status[place, start])] == "diverged":
            marker, colour, size = "X", theme.alarm, 9
        axes.plot(
            steps[-1], shown[-1], marker, color=colour, markeredgecolor=theme.paper, markersize=size, zorder=5,
            clip_on=False,
        )  # fmt: skip
    axes.set_xlim(-0.02 * max(longest, 1), 1.03 * max(longest, 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    axes.grid(color=theme.faint, linewidth=0.5, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _cut(line: np.ndarray, low: float, high: float, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of a line, up to where it leaves the panel for good: there its marker stands."""
    inside = np.flatnonzero((line >= low) & (line <= high))
    last = int(inside[-1]) if len(inside) else 0
    # On the way it may come by 1e300, which no renderer draws.
    near = line if log else np.clip(line, low - 10 * (high - low), high + 10 * (high - low))
    steps, values = np.arange(last + 1.0), near[: last + 1]
    if last == len(line) - 1 or not len(inside):
        return steps, values
    edge = high if line[last + 1] > high else low
    before, after, at = np.log([line[last], line[last + 1], edge]) if log else (line[last], line[last + 1], edge)
    return np.append(steps, last + (at - before) / (after - before)), np.append(values, edge)


def _legend(figure: Figure, record: Race, start: int, theme: Theme) -> None:
    handles = []
    for place, name in enumerate(record.names):
        style, marker = look(place)
        colour = theme.colour(place)
        handles.append(
            Line2D([], [], color=colour, linestyle=style, marker=marker, linewidth=1.7, label=fitting(name, 2.0, 9))
        )
    if any(STATUSES[int(code)] == "diverged" for code in record.status[:, start]):
        handles.append(Line2D([], [], linestyle="", marker="X", markersize=9, color=theme.alarm, label="diverged"))
    widest = max(inches(str(handle.get_label()), 9) for handle in handles) + 0.95  # the line and the gaps
    rows = -(-len(handles) // max(1, int(9.4 / widest)))
    columns = -(-len(handles) // rows)
    legend = figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=9, frameon=False, handlelength=4.2
    )
    for text in legend.get_texts():
        literal(text)

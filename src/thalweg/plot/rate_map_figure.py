"""The picture of two searched numbers together: the best accuracy over a grid of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from thalweg.plot.names import fitting, literal
from thalweg.plot.theme import Theme, themed
from thalweg.plot.trial_panels import known, mixed
from thalweg.report.records.hyperparameters import HyperparametersRecord
from thalweg.report.records.rate_map import MapAxis, RateMapRecord, rate_map_record
from thalweg.report.svg import short
from thalweg.run import Run

__all__ = ["rate_map"]


def rate_map(run: Run | HyperparametersRecord | RateMapRecord, *, dark: bool = False) -> Figure:
    """Draw the best validation accuracy over a grid of learning rate and decay, or of the two most telling numbers.

    Each cell holds the best accuracy, in per cent, of the trials that finished there. Cells without a trial are empty;
    a cross marks those in which all diverged, a dash others in which none finished, an outline that of the selected
    trial.

    Args:
        run: a run, or what `report.records.rate_map.rate_map_record` made of it.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises a UsageError where no two numbers were searched together, or by too few trials.
    """
    record = run if isinstance(run, RateMapRecord) else known(rate_map_record(run))
    theme = themed(dark)
    rows, columns = record.best.shape
    figure = Figure(figsize=(max(4.4, 0.7 * columns + 1.6), max(3.0, 0.42 * rows + 1.4)), layout="constrained")
    axes = figure.subplots()
    shades = LinearSegmentedColormap.from_list("shades", [mixed(theme, theme.colour(0), share) for share in (0.06, 1)])
    mesh = axes.pcolormesh(np.ma.masked_invalid(record.best), cmap=shades, edgecolors=theme.paper, linewidth=1)
    for row, column in np.argwhere(record.trials > 0).tolist():
        _write(axes, record, row, column, theme, np.asarray(mesh.to_rgba(record.best[row, column]))[:3].tolist())
    if record.winner is not None:
        row, column = record.winner
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=theme.ink, linewidth=2.2, clip_on=False))
    _ticks(axes.set_xticks, record.x)
    _ticks(axes.set_yticks, record.y)
    literal(axes.set_xlabel(fitting(record.x.short, 4, 10)))
    literal(axes.set_ylabel(fitting(record.y.short, 2.6, 10)))
    axes.tick_params(labelsize=8)
    if record.top is not None:
        bar = figure.colorbar(mesh, ax=axes)
        bar.set_label("best validation accuracy", fontsize=9)
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_edgecolor(theme.faint)
    outline = "" if record.winner is None else "; outlined: the selected trial's"
    axes.set_title(f"best accuracy in %; ×: all diverged{outline}", fontsize=8.5, loc="left", color=theme.ink)
    return theme.dress(figure)


def _write(
    axes: Axes, record: RateMapRecord, row: int, column: int, theme: Theme, ground: Sequence[float]
) -> None:  # fmt: skip
    best = float(record.best[row, column])
    if np.isfinite(best):
        # Relative luminance (WCAG 2.2): above 0.179 black has more contrast than white.
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in ground]
        light = float(np.dot([0.2126, 0.7152, 0.0722], linear)) > 0.179
        text, colour = f"{100 * best:.1f}", "black" if light else "white"
    elif record.only_diverged[row, column]:
        text, colour = "×", theme.alarm
    else:
        text, colour = "–", theme.ink
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8, color=colour)


def _ticks(place: Callable[..., object], axis: MapAxis) -> None:
    """Write at the cells' edges, or in their middles where each holds one value."""
    if axis.edges is None:
        place([cell + 0.5 for cell in range(axis.cells)], [short(axis.ends(cell)[0]) for cell in range(axis.cells)])
    else:
        place(range(axis.cells + 1), [short(float(f"{edge:.2g}")) for edge in axis.edges])

"""The picture of the loss on the plane of a trajectory's principal components."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from thalweg.diagnostics.trajectory import PlaneRecord
from thalweg.plot.theme import Theme, themed

__all__ = ["plane"]


def plane(record: PlaneRecord, *, dark: bool = False) -> Figure:
    """Draw contours of the objective on the plane, and the way of the weights projected onto it.

    A marker grows with its projection error: a large one stands for weights far from the plane, where the
    contours under it say little. The axes tell what share of the way's sum of squares each component holds.
    Both axes have one scale unless that left but a strip.

    Args:
        record: what `diagnostics.plane` returned.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.
    """
    theme = themed(dark)
    width, height = np.ptp(record.xs), np.ptp(record.ys)
    even = max(width, height) <= 4 * min(width, height)
    shape = float(np.clip(height / width, 0.4, 1.2)) if even else 0.7
    figure = Figure(figsize=(6.6, 4.9 * shape + 1.5), layout="constrained")
    axes = figure.add_subplot()
    _contours(figure, axes, record, theme)
    _way(axes, record, theme)
    first, second = 100 * record.variances
    axes.set_xlabel(f"first principal component ({_percent(first)} of the way's squared length)")
    axes.set_ylabel(f"second ({_percent(second)})")
    if even:
        axes.set_aspect("equal")
    figure.legend(frameon=False, fontsize=8, loc="outside upper center", ncols=3)
    figure.supxlabel(textwrap.fill(_caption(record), 96), fontsize=8)
    return theme.dress(figure)


def _contours(figure: Figure, axes: Axes, record: PlaneRecord, theme: Theme) -> None:
    values = np.where(np.isfinite(record.values), record.values, np.nan)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    logarithmic = low > 0 and high > 10 * low
    levels: np.ndarray
    norm: Normalize
    if logarithmic:
        levels, norm = np.geomspace(low, high, 15), LogNorm(low, high)
    else:
        levels, norm = np.linspace(low, high if high > low else low + 1, 15), Normalize(low, high)
    filled = axes.contourf(record.xs, record.ys, values, levels=levels, cmap="viridis", norm=norm, alpha=0.85)
    axes.contour(record.xs, record.ys, values, levels=levels, colors=theme.ink, linewidths=0.4, alpha=0.5)
    bar = figure.colorbar(filled, ax=axes, pad=0.02)
    bar.locator = LogLocator(subs=(1, 2, 5)) if logarithmic else MaxNLocator(6)
    bar.set_ticks([t for t in bar.locator.tick_values(low, high) if low <= t <= high], labels=None)
    bar.ax.set_yticklabels([f"{t:.3g}" for t in bar.get_ticks()])
    bar.ax.minorticks_off()
    bar.set_label("objective (loss and penalty)")


def _way(axes: Axes, record: PlaneRecord, theme: Theme) -> None:
    path = record.path
    axes.plot(path[:, 0], path[:, 1], "-", color="white", linewidth=2.6, zorder=3)
    axes.plot(path[:, 0], path[:, 1], "-", color="#1f2328", linewidth=1.2, zorder=4)
    axes.scatter(
        path[1:-1, 0], path[1:-1, 1], s=8 + 90 * record.errors[1:-1] ** 2, facecolor="#D55E00", edgecolor="white",
        linewidth=0.6, zorder=5, label="after each epoch; larger: farther off the plane",
    )  # fmt: skip
    for marker, size, (x, y), label in (("s", 60, path[0], "start"), ("*", 150, path[-1], "end (in the plane)")):
        axes.scatter(x, y, marker=marker, s=size, facecolor="white", edgecolor="#1f2328", zorder=6, label=label)


def _percent(share: float) -> str:
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"


def _caption(record: PlaneRecord) -> str:
    worst = int(record.errors.argmax())
    before = record.errors[:-1]
    gap = record.path_values[worst] - record.projected_values[worst]
    return (
        f"Distance from the plane, relative to the distance from the end: median {np.median(before):.2g}, largest "
        f"{record.errors[worst]:.2g} (epoch {worst}; there the real objective is {record.path_values[worst]:.3g}, "
        f"{abs(gap):.2g} {'above' if gap >= 0 else 'below'} the one drawn). {record.examples:,} examples. "
        + " ".join(record.notes)
    )

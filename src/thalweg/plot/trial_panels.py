"""What the figures of accuracy against a hyperparameter share: panels on one axis, marks by outcome, a strip below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from thalweg.errors import UsageError
from thalweg.plot.names import literal
from thalweg.plot.theme import Theme
from thalweg.report.block import Lacking

__all__ = ["grid_of_panels", "heading", "known", "legend_below", "marks", "mixed", "strip"]

_COLUMNS = 3
_MANY = 150  # marks of a panel, above which they are small
Record = TypeVar("Record")


def known(record: Record | Lacking) -> Record:
    """Return a record; raise a UsageError with the reason where there is none."""
    if isinstance(record, Lacking):
        raise UsageError(record.why)
    return record


def grid_of_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` axes that share y, three in a row."""
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(4.6, 3.2 * columns), 2.7 * rows + 0.5), layout="constrained")
    axes = list(figure.subplots(rows, columns, sharey=True, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.set_visible(False)
    for place, one in enumerate(axes[:count]):
        one.tick_params(labelleft=place % columns == 0)
        one.grid(alpha=0.25)
        one.spines[["top", "right"]].set_visible(False)
        if place % columns == 0:
            one.set_ylabel("validation accuracy", fontsize=8)
    return figure, axes[:count]


def heading(axes: Axes, theme: Theme, name: str, told: str) -> None:
    """Write a panel's name, and below it what it tells."""
    literal(axes.set_title(f"{name}\n{told}", fontsize=8.5, loc="left", color=theme.ink))


def mixed(theme: Theme, colour: str, share: float) -> tuple[float, float, float]:
    """Return a share of a colour, the rest being paper: solid, so that things below do not show."""
    paper, full = np.array(to_rgb(theme.paper)), np.array(to_rgb(colour))
    red, green, blue = (paper + share * (full - paper)).tolist()
    return red, green, blue


def strip(panels: Sequence[Axes], accuracy: np.ndarray, *, diverged: bool) -> float:
    """Fit the shared axis to the accuracies, with a strip below for diverged trials. Returns the strip's middle."""
    given = accuracy[np.isfinite(accuracy)]
    low, high = (float(given.min()), float(given.max())) if len(given) else (0.0, 1.0)
    span = high - low or 0.1
    middle, bottom = low - 0.16 * span, low - 0.06 * span
    ticks = [
        tick
        for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
        if bottom <= tick <= high + 0.05 * span
    ]
    for axes in panels:
        axes.set_ylim(low - 0.22 * span if diverged else bottom, high + 0.08 * span)
        axes.yaxis.set_major_locator(FixedLocator([middle, *ticks] if diverged else ticks))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: "diverged" if y <= middle else f"{y:.4g}"))
        axes.tick_params(labelsize=7.5)
    return middle


def marks(
    axes: Axes, theme: Theme, xs: np.ndarray, accuracy: np.ndarray, outcomes: Sequence[str], chosen: np.ndarray,
    lost: float,
) -> None:  # fmt: skip
    """Draw trials: dots, small ones for those cut short, crosses at ``lost`` for diverged ones, ``chosen`` ringed."""
    told = np.array(outcomes)
    size = 4.5 if len(xs) <= _MANY else 2.5
    for outcome, marker, colour, wide, where in (
        ("cut short", ".", mixed(theme, theme.ink, 0.5), 4, accuracy),
        ("finished", "o", theme.colour(0), size, accuracy),
        ("diverged", "x", theme.alarm, 5, np.full(len(xs), lost)),
    ):
        own = told == outcome
        if own.any():
            label = "not trained to the end" if outcome == "cut short" else outcome
            axes.plot(xs[own], where[own], marker, color=colour, markersize=wide, label=label, clip_on=False)
    if chosen.any():
        ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": theme.ink, "markeredgewidth": 1.4}
        axes.plot(xs[chosen], accuracy[chosen], "o", label="selected", linestyle="", **ring)  # type: ignore[arg-type]


def legend_below(figure: Figure, panels: Sequence[Axes]) -> None:
    """Name every mark that occurs in any panel, once, below all."""
    named = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        list(named.values()), list(named), loc="outside lower center", ncols=min(5, len(named)), fontsize=8,
        frameon=False,
    )  # fmt: skip

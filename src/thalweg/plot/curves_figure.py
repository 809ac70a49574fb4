"""The picture of a run's loss curves: the best trials in colour, all others grey."""

from __future__ import annotations

import math
import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from thalweg.errors import UsageError
from thalweg.plot.names import fitting
from thalweg.plot.theme import LINES, Theme, themed
from thalweg.report.block import Lacking
from thalweg.report.records.curves import PANELS, Curve, CurvesRecord, Range, curves_record
from thalweg.run import Run

__all__ = ["curves"]


def curves(source: Run | CurvesRecord, *, top: int = 5, dark: bool = False) -> Figure:
    """Draw training loss, validation loss and validation accuracy over the epochs, one panel above the other.

    The selected trial and the best of the others have a colour, a line style and a mark at their end; the others
    are grey, and a cross stands at the last finite epoch of each that diverged. A ring marks the epoch whose weights
    were kept of the selected trial.

    Args:
        source: a run, or what `report.records.curves.curves_record` returned.
        top: of a run: how many curves in colour.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError: no trial has an epoch with a finite loss.
    """
    record = source if isinstance(source, CurvesRecord) else curves_record(source, top)
    if isinstance(record, Lacking):
        raise UsageError(f"curves: {record.why}")
    theme = themed(dark)
    names = [name for name in PANELS if name in record.ranges]
    figure = Figure(figsize=(6.8, 1.4 + 2.1 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        _panel(axes, record, name, theme)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=7.5, loc="outside upper center", ncols=2)
    figure.supxlabel(textwrap.fill(" ".join([record.summary, *record.notes]), 100), fontsize=8)
    return theme.dress(figure)


def _panel(axes: Axes, record: CurvesRecord, name: str, theme: Theme) -> None:
    one = record.ranges[name]
    grey = [curve for curve in record.curves if curve.place is None]
    for curve in record.coloured:
        _coloured(axes, curve, record, name, theme)
    for i, curve in enumerate(grey):
        alone = "." if len(curve.epochs) == 1 else ""
        label = f"{len(grey):,} other{'s' * (len(grey) > 1)}" if i == 0 else None
        axes.plot(
            curve.epochs, curve.values[name], color=theme.faint, linewidth=0.7, marker=alone, markersize=4, label=label,
            zorder=2,
        )  # fmt: skip
    for i, curve in enumerate(record.diverged):
        last = max(curve.left or 0, 1)
        at = [v for e, v in zip(curve.epochs, curve.values[name], strict=True) if e == last and math.isfinite(v)]
        label = f"diverged ({len(record.diverged):,})" if i == 0 else None
        axes.plot(
            [last], [min(at[0] if at else one.high, one.high)], "x", color=theme.alarm, markersize=6, clip_on=False,
            linestyle="none", label=label, zorder=5,
        )  # fmt: skip
    _scaled(axes, one)
    axes.set_ylabel(PANELS[name])
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _coloured(axes: Axes, curve: Curve, record: CurvesRecord, name: str, theme: Theme) -> None:
    place = curve.place or 0
    style, marker = LINES[place % len(LINES)]
    colour, values = theme.colour(place), curve.values[name]
    label = fitting(curve.words + (" (selected)" if curve.trial == record.selected else ""), 3.1, 7.5)
    axes.plot(
        curve.epochs, values, color=colour, linestyle=style, linewidth=2 if place == 0 else 1.4, marker=marker,
        markersize=5, markevery=[len(values) - 1], label=label, zorder=4 - 0.1 * place,
    )  # fmt: skip
    if curve.trial == record.selected and curve.kept_epoch:
        at = [v for e, v in zip(curve.epochs, values, strict=True) if e == curve.kept_epoch]
        axes.plot(
            [curve.kept_epoch], at, "o", markersize=11, markerfacecolor="none", markeredgecolor=theme.ink, zorder=6
        )


def _scaled(axes: Axes, one: Range) -> None:
    if one.log:
        factor = (one.high / one.low) ** 0.07
        axes.set_yscale("log")
        axes.set_ylim(one.low / factor, one.high * factor)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if one.high < 1e3 * one.low else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        room = 0.07 * (one.high - one.low) or 0.5 * abs(one.high) or 0.5
        axes.set_ylim(one.low - room, one.high + room)

"""The picture of the linear scaling rule: the best rate of each batch size, and the curves that it comes from."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from thalweg.diagnostics.scaling_records import RULES, ScalingRecord
from thalweg.errors import UsageError
from thalweg.plot.names import literal
from thalweg.plot.theme import LINES, Theme, themed

__all__ = ["scaling_rule"]

_TALLEST = 1.5  # curves are cut where they rise above this many times the lowest loss, so that the minima show


def scaling_rule(record: ScalingRecord, *, dark: bool = False) -> Figure:
    """Draw what an experiment on the linear scaling rule found.

    Left: the best rate against the batch size with 95 % intervals over the seeds, the fitted line, and both rules
    drawn from the smallest batch; a batch whose best rate lies at the end of what was tried is hollow. Right: the
    mean loss over seeds against the rate for each batch size, its best rate starred; crosses are rates at which a seed
    diverged, and curves are cut at 1.5 times the lowest loss.

    Raises:
        UsageError: not a `ScalingRecord`.
    """
    if not isinstance(record, ScalingRecord):
        raise UsageError(f"record is a {type(record).__name__}; give what diagnostics.scaling_rule returns")
    theme = themed(dark)
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _best(left, record, theme)
    _curves(right, record, theme, dark)
    literal(figure.suptitle(f"{record.data}: {record.epochs} epochs at every batch size", fontsize=11))
    figure.supxlabel(textwrap.fill(record.sentence(), 120), fontsize=9)
    return theme.dress(figure)


def _best(axes: Axes, record: ScalingRecord, theme: Theme) -> None:
    axes.set_title("Best rate of each batch size", fontsize=10)
    known = [one for one in record.best if np.isfinite(one.rate)]
    for inside, face in ((True, theme.colour(0)), (False, "none")):
        chosen = [one for one in known if one.inside is inside]
        if not chosen:
            continue
        rate = np.array([one.rate for one in chosen])
        ends = np.array([one.interval if np.isfinite(one.interval[1]) else (one.rate, one.rate) for one in chosen]).T
        axes.errorbar(
            [one.batch for one in chosen], rate, yerr=np.abs(ends - rate[None, :]), color=theme.colour(0), capsize=3,
            linestyle="none", marker="o", markerfacecolor=face,
            label="best rate, 95 % interval" if inside else "best at the end of what was tried",
        )  # fmt: skip
    _lines(axes, record, theme)
    axes.set(xscale="log", yscale="log", xlabel="batch size (examples)", ylabel="best learning rate (peak)")
    axes.xaxis.set_major_locator(FixedLocator(record.batches.tolist()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.tick_params(axis="x", labelrotation=45 if len(record.batches) > 6 else 0)
    if known:
        axes.legend(fontsize=8)


def _lines(axes: Axes, record: ScalingRecord, theme: Theme) -> None:
    """Both rules from the smallest batch whose best rate is known, and the fitted line."""
    inside = [one for one in record.best if one.inside]
    if not inside:
        return
    ends = np.array([record.batches[0], record.batches[-1]], float)
    for place, (rule, exponent) in enumerate(RULES.items(), start=1):
        style, _ = LINES[place]
        rates = inside[0].rate * (ends / inside[0].batch) ** exponent
        axes.plot(ends, rates, color=theme.colour(place), linestyle=style, label=f"{rule} rule")
    slope = record.slope()
    if slope is not None:
        centre = np.mean(np.log([one.batch for one in inside])), np.mean(np.log([one.rate for one in inside]))
        rates = np.exp(centre[1] + slope.exponent * (np.log(ends) - centre[0]))
        axes.plot(ends, rates, color=theme.ink, linewidth=1, label=f"fit, ∝ batch^{slope.exponent:.2f}")


def _curves(axes: Axes, record: ScalingRecord, theme: Theme, dark: bool) -> None:
    axes.set_title("Where it comes from", fontsize=10)
    finite = record.losses[np.isfinite(record.losses)]
    if not finite.size:
        axes.text(0.5, 0.5, "every trial diverged", ha="center", transform=axes.transAxes, color=theme.ink)
        return
    low = float(finite.min())
    axes.set_ylim(low - 0.03 * low, _TALLEST * low)
    shades = colormaps["viridis"](np.linspace(0.25, 1, len(record.batches)) if dark else
                                  np.linspace(0, 0.85, len(record.batches)))  # fmt: skip
    for k, batch in enumerate(record.batches.tolist()):
        style, marker = LINES[k % len(LINES)]
        _curve(axes, record, k, color=shades[k], linestyle=style, marker=marker, label=f"{batch:,}")
    lowest = np.where(np.isfinite(record.losses), record.losses, np.inf).min(axis=(0, 2))  # (R,)
    seen = record.rates[lowest < _TALLEST * low]
    axes.set_xlim(seen[0] / 2.5, seen[-1] * 2.5)
    axes.set(xscale="log", xlabel="learning rate (peak)", ylabel=record.metric.replace("_", " "))
    axes.legend(fontsize=8, title="batch size", title_fontsize=8)


def _curve(axes: Axes, record: ScalingRecord, k: int, **look: Any) -> None:
    losses = record.losses[k]
    tried = ~np.isnan(losses).any(axis=1)
    diverged = tried & np.isinf(losses).any(axis=1)
    shown = tried & ~diverged
    axes.plot(record.rates[shown], losses[shown].mean(axis=1), markersize=4, linewidth=1.3, **look)
    top = axes.get_ylim()[1]
    axes.plot(record.rates[diverged], np.full(diverged.sum(), 0.985 * top), "x", color=look["color"])
    best = record.best[k]
    if np.isfinite(best.rate):
        axes.plot([best.rate], [best.loss], "*", color=look["color"], markersize=12, markeredgecolor="white",
                  markeredgewidth=0.6)  # fmt: skip

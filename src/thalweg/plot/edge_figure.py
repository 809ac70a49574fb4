"""The picture of the edge of stability: where training fails, beside where 2/λmax says that it should."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from thalweg.diagnostics.edge_record import EdgeRecord
from thalweg.plot.theme import Theme, themed

__all__ = ["edge"]

_LOOKS = {"settled": ("o", 0), "unsettled": ("s", 1)}
_WORDS = {"settled": "settled", "unsettled": "unsettled: to and fro", "diverged": "diverged"}


def edge(record: EdgeRecord, *, dark: bool = False) -> Figure:
    """Draw the final objective against the learning rate, and the sharpness that each rate ended at.

    Above: a dot for each rate that settled, a square for one that ended jumping to and fro, a cross at the top
    for one that diverged; vertical lines at 2(1 + ρ)/λmax of the start and of the solution. Below: λmax where
    each rate ended, and the line 2(1 + ρ)/rate, above which a point cannot be stable.

    Args:
        record: what `diagnostics.edge` returned.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.
    """
    theme = themed(dark)
    figure = Figure(figsize=(6.6, 6.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _losses(upper, record, theme)
    _sharpness(lower, record, theme)
    for axes in (upper, lower):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    lower.set_xlabel("learning rate")
    below, above = record.measured
    figure.suptitle(f"Stability lost between rates {below:.3g} and {above:.3g}", fontsize=11)
    figure.supxlabel(textwrap.fill(_caption(record), 96), fontsize=8)
    return theme.dress(figure)


def _losses(axes: Axes, record: EdgeRecord, theme: Theme) -> None:
    outcomes, final = np.array(record.outcomes), record.final
    values = final[np.isfinite(final)]
    for name, (marker, place) in _LOOKS.items():
        chosen = outcomes == name
        if chosen.any():
            axes.plot(
                record.rates[chosen], final[chosen], marker, color=theme.colour(place), markersize=5.5,
                label=_WORDS[name],
            )  # fmt: skip
    low, high = (values.min(), values.max()) if len(values) else (1.0, 1.0)
    if low > 0 and high > 5 * low:
        axes.set_yscale("log")
        top = high * (high / low) ** 0.15 * 1.05
    else:
        top = high + 0.15 * (high - low or 1.0)
    chosen = outcomes == "diverged"
    if chosen.any():
        height = np.full(chosen.sum(), 0.96)
        axes.plot(
            record.rates[chosen], height, "x", color=theme.alarm, markersize=7, markeredgewidth=1.8,
            label=_WORDS["diverged"], transform=axes.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
    axes.set_ylim(top=top)
    _limits(axes, record, theme, labels=True)
    axes.set_ylabel(f"objective after {record.steps:,} steps")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _sharpness(axes: Axes, record: EdgeRecord, theme: Theme) -> None:
    axes.plot(record.rates, record.limits, "--", color=theme.ink, linewidth=1, label=f"{_numerator(record)}/rate")
    outcomes = np.array(record.outcomes)
    for name, (marker, place) in _LOOKS.items():
        chosen = (outcomes == name) & np.isfinite(record.sharpness)
        if chosen.any():
            axes.plot(record.rates[chosen], record.sharpness[chosen], marker, color=theme.colour(place), markersize=4.5)
    _limits(axes, record, theme, labels=False)
    axes.axhline(
        record.start.largest.value, color=theme.colour(2), linewidth=1, linestyle="-.", label="λmax at the start"
    )
    axes.set_yscale("log")
    axes.set_ylabel("λmax at the end")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _limits(axes: Axes, record: EdgeRecord, theme: Theme, *, labels: bool) -> None:
    """Vertical lines at both limits, where they fall near the rates that were tried."""
    sides = (("start", record.limit_start, "-.", 2), ("solution", record.limit_solution, "-", 3))
    for name, rate, style, place in sides:
        if record.rates[0] / 3 <= rate <= record.rates[-1] * 3:
            label = f"{_numerator(record)}/λmax at the {name}: {rate:.3g}" if labels else None
            axes.axvline(rate, color=theme.colour(place), linestyle=style, linewidth=1.3, label=label)


def _numerator(record: EdgeRecord) -> str:
    """2(1 + ρ), or Nesterov's, as a number."""
    value = record.limit_solution * record.solution.largest.value
    return f"{value:.3g}"


def _caption(record: EdgeRecord) -> str:
    kind = "Nesterov's momentum" if record.nesterov else "momentum"
    how = f"{kind} {record.momentum:g}" if record.momentum else "no momentum"
    return (
        f"Full-batch gradient descent over {record.start.examples:,} examples, {how}, a constant rate, from the same "
        f"weights. Unsettled: over the last quarter of the steps the objective fell by less than a fiftieth of what "
        f"its slope promised. " + " ".join(record.notes)
    )

"""Pictures of gradient noise: what minibatches of each size see, what they are worth, and how that changes."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from thalweg.diagnostics.noise import NoiseRecord
from thalweg.diagnostics.noise_history import NoiseHistory
from thalweg.errors import UsageError
from thalweg.plot.theme import LINES, Theme, themed

__all__ = ["noise"]


def noise(record: NoiseRecord | NoiseHistory, *, dark: bool = False) -> Figure:
    """Draw gradient noise: at one point, or along a training.

    Of a `NoiseRecord`: left the mean |G_B|² of drawn minibatches (± 2 standard errors) beside
    |G|² + tr Σ / B; right what a step and an example are worth by batch size. Of a `NoiseHistory`: the noise
    scale after each epoch. Bands are 95 % intervals.

    Raises:
        UsageError: neither of the two records.
    """
    theme = themed(dark)
    if isinstance(record, NoiseHistory):
        return theme.dress(_history(record, theme))
    if not isinstance(record, NoiseRecord):
        raise UsageError(f"record is a {type(record).__name__}; give what gradient_noise or noise_history returns")
    figure = Figure(figsize=(9.6, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes = np.geomspace(1, _widest(record), 200)
    _squares(left, record, sizes, theme)
    _worth(right, record, sizes, theme)
    figure.suptitle(_title(record), color=theme.ink, fontsize=11)
    return theme.dress(figure)


def _title(record: NoiseRecord) -> str:
    low, high = record.interval
    upper = f"{high:,.3g}" if math.isfinite(high) else "no upper limit"
    scale = f"{record.scale:,.3g}" if math.isfinite(record.scale) else "not bounded"
    return f"Gradient noise scale {scale} (95 % interval {low:,.3g} to {upper}), {record.examples:,} examples"


def _widest(record: NoiseRecord) -> float:
    ends = [record.batch_size, *record.batches.tolist(), *(e for e in (record.scale, record.interval[1]) if e < 1e7)]
    return 8 * max(ends)


def _squares(axes: Axes, record: NoiseRecord, sizes: np.ndarray, theme: Theme) -> None:
    estimate = record.estimate
    axes.set_title("What minibatches see", fontsize=10)
    axes.plot(sizes, record.predicted(sizes), color=theme.colour(0), label="|G|² + tr Σ / B, from single examples")
    if estimate.gradient_square > 0:
        axes.axhline(estimate.gradient_square, color=theme.colour(0), linestyle=":", label="|G|², without noise")
    if len(record.batches):
        axes.errorbar(
            record.batches, record.squares, yerr=2 * record.errors, color=theme.colour(1), linestyle="none",
            marker="s", markersize=5, capsize=3, label="mean of drawn minibatches",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="batch size B (examples)", ylabel="mean |G_B|²")
    _legend_below(axes)


def _worth(axes: Axes, record: NoiseRecord, sizes: np.ndarray, theme: Theme) -> None:
    axes.set_title("What a batch is worth", fontsize=10)
    for place, (label, worth) in enumerate(
        (("a step, of a noise-free one", record.step_efficiency), ("an example, of the smallest batches",
          record.example_efficiency))
    ):  # fmt: skip
        style, _ = LINES[place]
        axes.plot(sizes, [worth(size) for size in sizes], color=theme.colour(place), linestyle=style, label=label)
    low, high = record.interval
    axes.axvspan(max(low, sizes[0]), min(high, sizes[-1]), color=theme.faint, alpha=0.5, label="noise scale, 95 %")
    axes.axvline(record.batch_size, color=theme.ink, linestyle=":", label=f"the recipe's batch, {record.batch_size:,}")
    axes.set(xscale="log", xlabel="batch size B (examples)", ylabel="progress", ylim=(0, 1.02))
    axes.set_xlim(sizes[0], sizes[-1])
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _legend_below(axes)


def _legend_below(axes: Axes) -> None:
    """The curves cross in the middle and end in the corners: there is no room for a legend among them."""
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)


def _history(record: NoiseHistory, theme: Theme) -> Figure:
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    epochs, scales, intervals = np.array(record.epochs), record.scales, record.intervals
    known = np.isfinite(scales)
    top = 4 * max([record.batch_size, *scales[known], *intervals[np.isfinite(intervals)]])
    below = np.maximum(intervals[:, 0], 0.5)
    axes.fill_between(epochs, below, np.minimum(intervals[:, 1], top), color=theme.colour(0), alpha=0.25, linewidth=0)
    axes.plot(epochs[known], scales[known], color=theme.colour(0), marker="o", label="noise scale, band: 95 %")
    if not known.all():
        axes.plot(epochs[~known], below[~known], color=theme.alarm, linestyle="none", marker="^", markersize=8,
                  label="not known: |G|² is lost in noise")  # fmt: skip
    axes.axhline(record.batch_size, color=theme.ink, linestyle=":", label=f"the recipe's batch, {record.batch_size:,}")
    axes.set(yscale="log", xlabel="epochs trained", ylabel="noise scale tr Σ / |G|² (examples)")
    axes.set_ylim(top=top)
    axes.set_title(f"Gradient noise in training, {record.records[0].examples:,} training examples", fontsize=11)
    axes.legend(fontsize=8)
    return figure

"""The picture of the learning rate: how wide a range of rates each optimizer forgives."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thalweg.plot.theme import Theme, themed
from thalweg.plot.trial_panels import grid_of_panels, heading, known, legend_below, marks, strip
from thalweg.report.records.sensitivity import OptimizerRates, SensitivityRecord, sensitivity_record
from thalweg.run import Run

__all__ = ["sensitivity"]


def sensitivity(run: Run | SensitivityRecord, *, dark: bool = False) -> Figure:
    """Draw the validation accuracy of every trial against its peak learning rate, a panel an optimizer.

    Diverged trials are crosses below the scale, pruned and interrupted ones small dots, the selected one is ringed. A
    line joins the best trials of each third of a decade, dotted lines are the ends of the searched range. Shaded are
    the rates around the best trial where, in each third of a decade, more than half of the trials come within one
    standard error of its accuracy (see `report.records.sensitivity.OptimizerRates`).

    Args:
        run: a run, or what `report.records.sensitivity.sensitivity_record` made of it.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises a UsageError where no optimizer was trained at more than one rate.
    """
    record = run if isinstance(run, SensitivityRecord) else known(sensitivity_record(run))
    theme = themed(dark)
    figure, panels = grid_of_panels(len(record.optimizers))
    accuracy = np.concatenate([one.accuracy for one in record.optimizers])
    lost = strip(panels, accuracy, diverged=any(one.diverged for one in record.optimizers))
    low, high = float(record.rates.min()), float(record.rates.max())
    for axes, one in zip(panels, record.optimizers, strict=True):
        axes.set_xscale("log")
        axes.set_xlim(low / 1.5, high * 1.5)
        _panel(axes, one, record.winner, theme, lost)
        axes.set_xlabel("peak learning rate", fontsize=8)
    legend_below(figure, panels)
    return theme.dress(figure)


def _panel(axes: Axes, one: OptimizerRates, winner: int | None, theme: Theme, lost: float) -> None:
    told = "no trial finished"
    if one.best is not None and one.forgiving is not None:
        low, high = one.forgiving
        within = f"{low:.2g} to {high:.2g}: {one.within} of {one.among} within 1 s.e."
        alone = "no range around it within 1 s.e."
        told = f"best {one.accuracy[one.best]:.3f} at {one.rates[one.best]:.2g}\n{alone if low == high else within}"
        axes.axvspan(low, high, color=theme.colour(0), alpha=0.18, linewidth=0)
    for end in one.searched or ():
        axes.axvline(end, color=theme.faint, linestyle=":", linewidth=1.2)
    axes.plot(one.rates[one.envelope], one.accuracy[one.envelope], color=theme.colour(0), linewidth=1.2)
    marks(axes, theme, one.rates, one.accuracy, one.outcomes, one.trials == winner, lost)
    heading(axes, theme, one.name, told)

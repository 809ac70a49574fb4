"""The picture of what was searched: accuracy against each hyperparameter."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from thalweg.plot.names import fitting, literal
from thalweg.plot.theme import Theme, themed
from thalweg.plot.trial_panels import grid_of_panels, heading, known, legend_below, marks, strip
from thalweg.report.records.hyperparameters import (
    Hyperparameter,
    HyperparametersRecord,
    hyperparameters_record,
    spread,
)
from thalweg.report.records.rank_shares import FEWEST
from thalweg.run import Run

__all__ = ["hyperparameters"]

_PANELS = 12
_CHOICES = 8


def hyperparameters(run: Run | HyperparametersRecord, *, dark: bool = False) -> Figure:
    """Draw the validation accuracy of every trial against each searched hyperparameter, the most telling ones first.

    Numbers stand on the axis that they were searched on, words side by side. Above each panel is the share of the
    variance of the accuracies' ranks that it accounts for (ε², see `report.records.rank_shares.explained_share`)
    and Spearman's correlation, or that the share cannot be told from chance (permutation test, p ≥ 0.05 after Holm's
    adjustment). At most 12 are drawn.

    Args:
        run: a run, or what `report.records.hyperparameters.hyperparameters_record` made of it.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises a UsageError where no hyperparameter differs between the trials.
    """
    record = run if isinstance(run, HyperparametersRecord) else known(hyperparameters_record(run))
    theme = themed(dark)
    shown = record.hyperparameters[:_PANELS]
    figure, panels = grid_of_panels(len(shown))
    lost = strip(panels, record.accuracy, diverged="diverged" in record.outcomes)
    for axes, one in zip(panels, shown, strict=True):
        _panel(axes, record, one, theme, lost)
    legend_below(figure, panels)
    if len(record.hyperparameters) > len(shown):
        figure.suptitle(f"the first {len(shown)} of {len(record.hyperparameters)} hyperparameters", fontsize=9)
    return theme.dress(figure)


def _panel(axes: Axes, record: HyperparametersRecord, one: Hyperparameter, theme: Theme, lost: float) -> None:
    there = np.flatnonzero(one.there)
    if one.values is not None:
        xs = one.values[there]
        if one.log:
            axes.set_xscale("log")
    else:
        words, places = one.side_by_side(_CHOICES)
        xs = spread(places[there], record.trials[there])
        axes.set_xlim(0, len(words))
        axes.xaxis.set_major_locator(FixedLocator([place + 0.5 for place in range(len(words))]))
        for label in axes.set_xticklabels([fitting(word, 2.4 / len(words), 7.5) for word in words]):
            literal(label)
    outcomes = [record.outcomes[i] for i in there]
    marks(axes, theme, xs, record.accuracy[there], outcomes, record.trials[there] == record.winner, lost)
    heading(axes, theme, fitting(one.short, 2.6, 8.5), _told(one))


def _told(one: Hyperparameter) -> str:
    if one.explained is None:
        return "too few trials to tell" if one.there.sum() < FEWEST else "nothing to tell apart"
    if not one.told:
        return f"{100 * one.explained:.0f} %: cannot be told from chance"
    ranks = "" if one.correlation is None else f"; Spearman {one.correlation:+.2f}"
    return f"accounts for {100 * one.explained:.0f} %{ranks}"

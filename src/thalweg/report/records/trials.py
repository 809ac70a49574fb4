"""The trials of a run as a table: recipes that differ in their seed alone are one row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.report.block import Lacking
from thalweg.report.records.common import accuracy_of, finished, searched, seeds_of, short_names
from thalweg.run import Run, Trial
from thalweg.training.status import COMPLETED, DIVERGED

__all__ = ["TrialRow", "TrialTable", "trial_table"]


@dataclass(frozen=True)
class TrialRow:
    """One recipe.

    ``trials`` are its seeds' numbers, the best first, ``diverged`` how many of them diverged; ``accuracy`` and ``loss``
    are means over those that finished (``finished``; where none did, over those that were cut short, with what they
    had; NaN where all diverged), ``spread`` the standard deviation of the accuracy over seeds (None for one).
    ``status`` is the seeds' common one, or "mixed". ``verdict`` is "selected", "tied", "more accurate"
    or "". ``p_value`` is the paired test's against the winner. ``values`` are the searched hyperparameters, in the
    table's order.
    """

    trials: tuple[int, ...]
    status: str
    diverged: int
    finished: bool
    accuracy: float
    spread: float | None
    loss: float
    training_loss: float
    kept_epoch: int
    verdict: str
    p_value: float | None
    reason: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class TrialTable:
    """All recipes, the best first; ``names`` are the searched hyperparameters, dotted, ``short`` as headings."""

    names: tuple[str, ...]
    short: tuple[str, ...]
    rows: tuple[TrialRow, ...]
    seeds: int

    @property
    def selected(self) -> int | None:
        """The place of the selected row."""
        return next((i for i, row in enumerate(self.rows) if row.verdict == "selected"), None)


def trial_table(run: Run) -> TrialTable | Lacking:
    """Group a run's trials by recipe, and rank them by validation accuracy; unfinished ones come after."""
    if not run.trials:
        return Lacking("The run has no trial.")
    columns = searched(run)
    shorter = short_names(list(columns))
    rows = [_row(run, [run.trials[i] for i in group], columns) for group in seeds_of(run)]
    rows.sort(key=_rank)
    most = max(len(row.trials) for row in rows)
    return TrialTable(tuple(columns), tuple(shorter[name] for name in columns), tuple(rows), most)


def _row(run: Run, trials: Sequence[Trial], columns: dict[str, list[Any]]) -> TrialRow:
    done = [trial for trial in trials if finished(trial)]
    compared = done or [trial for trial in trials if math.isfinite(accuracy_of(trial))]
    # As the selection takes the best of a recipe's seeds.
    best = max(compared, key=lambda trial: (trial.validation_accuracy, -trial.validation_loss), default=trials[0])
    order = [best, *(trial for trial in trials if trial is not best)]
    accuracies = [trial.validation_accuracy for trial in compared]
    statuses = {trial.status.name for trial in trials}
    p_values = {} if run.selection is None else run.selection.p_values
    return TrialRow(
        trials=tuple(trial.number for trial in order),
        status=statuses.pop() if len(statuses) == 1 else "mixed",
        diverged=sum(trial.status.name == DIVERGED for trial in trials),
        finished=bool(done),
        accuracy=_mean(accuracies),
        spread=float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        loss=_mean([trial.validation_loss for trial in compared]),
        training_loss=_mean([_training_loss(trial) for trial in compared]),
        kept_epoch=best.kept_epoch,
        verdict=_verdict(run, order),
        p_value=next((p_values[trial.number] for trial in order if trial.number in p_values), None),
        reason="; ".join(dict.fromkeys(t.status.reason for t in trials if t.status.name != COMPLETED)),
        values=tuple(values[best.number] for values in columns.values()),
    )


def _rank(row: TrialRow) -> tuple[bool, bool, float, float, int]:
    ranked = math.isfinite(row.accuracy)
    loss = row.loss if math.isfinite(row.loss) else math.inf
    return not row.finished, not ranked, -row.accuracy if ranked else 0.0, loss, row.trials[0]


def _verdict(run: Run, trials: Sequence[Trial]) -> str:
    selection = run.selection
    if selection is None:
        return ""
    numbers = {trial.number for trial in trials}
    if selection.best in numbers:
        return "selected"
    if numbers & set(selection.tied):
        return "tied"
    return "more accurate" if numbers & set(selection.better) else ""


def _training_loss(trial: Trial) -> float:
    history = trial.history.get("data_loss")
    return float(history[trial.kept_epoch - 1]) if trial.kept_epoch and history is not None else math.nan


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan

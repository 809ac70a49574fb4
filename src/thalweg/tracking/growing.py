"""A run as far as it has come: what trackers are told, filled into the run as it stood before training."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import numpy as np

from thalweg.run import Run, Trial
from thalweg.tracking.base import EpochMetrics, TrialEnd
from thalweg.training import METRICS, Status

__all__ = ["GrowingRun"]


class GrowingRun:
    """Takes what a tracker is told of a sweep, and gives a `Run` of it at any moment.

    One thread tells (`epoch`, `ended`), any other may ask (`so_far`), without a lock: a trial's metrics lie in an
    array that is only ever appended to, and a history is the part of it that was whole when it was asked for.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._began = run, time.perf_counter()
        self._rows = [np.full((trial.recipe.epochs, len(METRICS)), np.nan) for trial in run.trials]
        self._epochs = [0] * len(run.trials)
        self._ends: dict[int, TrialEnd] = {}

    def epoch(self, epoch: int, metrics: EpochMetrics) -> None:
        """Append an epoch, counted from 1, of the trials that trained in it."""
        for number, values in metrics.items():
            self._rows[number][epoch - 1] = [values[name] for name in METRICS]
            self._epochs[number] = epoch  # last: what it counts is whole

    def ended(self, trials: Mapping[int, TrialEnd]) -> None:
        """Note how trials ended."""
        self._ends.update(trials)

    def so_far(self) -> Run:
        """Return the run as it stands: nothing selected, and those that have not ended "training".

        ``seconds`` counts the time since the run began as training. The epoch that a trial keeps is its last, or
        with patience that of the lowest validation loss, as if it ended now.
        """
        elapsed = time.perf_counter() - self._began
        before = self._run.seconds
        seconds = {**before, "train": elapsed, "total": sum(before.values()) + elapsed}
        return dataclasses.replace(self._run, trials=tuple(map(self._trial, self._run.trials)), seconds=seconds)

    def _trial(self, trial: Trial) -> Trial:
        end = self._ends.get(trial.number)  # before the epochs, which came first
        epochs = self._epochs[trial.number]
        rows = self._rows[trial.number][:epochs]
        history = {name: rows[:, place] for place, name in enumerate(METRICS)}
        if end is not None:
            status, kept = Status(end.status, end.at, end.reason), end.kept_epoch
        else:
            status, kept = Status.training(epochs, trial.recipe.epochs), self._kept(history["validation_loss"])
        return dataclasses.replace(trial, status=status, history=history, kept_epoch=kept)

    def _kept(self, losses: np.ndarray) -> int:
        if self._run.settings["patience"] is None:
            return len(losses)
        finite = np.where(np.isfinite(losses), losses, np.inf)
        return int(np.argmin(finite)) + 1 if np.isfinite(finite).any() else 0

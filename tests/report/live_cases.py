"""A sweep retold epoch by epoch from a run made by hand, for tests of live reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from thalweg.run import Run
from thalweg.tracking.records import run_end, sweep_start, trial_end
from thalweg.training import METRICS, Status

__all__ = ["end", "retold", "start"]


def start(run: Run) -> Any:
    """What a tracker is told before the run trains."""
    trials = tuple(
        dataclasses.replace(
            trial,
            status=Status.training(0, trial.recipe.epochs),
            history={name: np.empty(0) for name in METRICS},
            kept_epoch=0,
        )
        for trial in run.trials
    )
    seconds = {"load": run.seconds["load"], "features": run.seconds["features"]}
    return sweep_start(dataclasses.replace(
        run, trials=trials, seconds=seconds, selection=None, edges=(), model=None, test=None, interrupted=False
    ))  # fmt: skip


def retold(run: Run, tracker: Any) -> Iterator[int]:
    """Tell a tracker of one epoch after another, and of the trials that end with it; yield each epoch."""
    for epoch in range(1, max(len(trial.history["data_loss"]) for trial in run.trials) + 1):
        trained = [trial for trial in run.trials if len(trial.history["data_loss"]) >= epoch]
        tracker.epoch(epoch, {t.number: {name: float(t.history[name][epoch - 1]) for name in METRICS} for t in trained})
        ended = [trial for trial in trained if len(trial.history["data_loss"]) == epoch]
        if ended:
            tracker.ended({trial.number: trial_end(trial.status, trial.kept_epoch) for trial in ended})
        yield epoch


def end(run: Run) -> Any:
    return run_end(run)

"""What trackers are told, taken from sweeps and paths."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from thalweg.recipe_files import flatten, kind_of
from thalweg.tracking.base import RunEnd, RunStart, TrialEnd, TrialStart

if TYPE_CHECKING:
    from thalweg.fitted import Score
    from thalweg.paths import Path
    from thalweg.run import Run
    from thalweg.training import Status

__all__ = ["path_end", "path_metrics", "path_start", "run_end", "run_name", "sweep_start", "trial_end"]

_R = TypeVar("_R", "Run", "Path")


def run_name(data: str) -> str:
    """The name of a run that was given none: the data set's name and the time, as the command line names folders."""
    return f"{data}-{datetime.now():%Y%m%d-%H%M%S}"


def sweep_start(run: Run) -> RunStart:
    """Describe a sweep before it trains: ``run`` holds its trials, with nothing in them yet, and not the data."""
    trials = tuple(TrialStart(trial.number, flatten(trial.recipe)) for trial in run.trials)
    return RunStart(run_name(run.data.name), run.data.name, dict(run.settings), trials, _without_data(run))


def trial_end(status: Status, kept_epoch: int) -> TrialEnd:
    """Describe how a trial ended."""
    return TrialEnd(status.name, status.reason, kept_epoch, status.at)


def run_end(run: Run) -> RunEnd:
    """Describe how a sweep ended."""
    metrics = {"seconds": run.seconds["total"]}
    if run.best is not None:
        metrics["best_validation_accuracy"] = run.best.validation_accuracy
        metrics["best_validation_loss"] = run.best.validation_loss
    return RunEnd(
        trials={t.number: trial_end(t.status, t.kept_epoch) for t in run.trials},
        best=None if run.best is None else run.best.number,
        metrics=metrics | _test_metrics(run.test),
        interrupted=run.interrupted,
        messages=run.messages,
        run=_without_data(run),
    )


def _without_data(result: _R) -> _R:
    """A tracker may be kept for long, and with it what it was told: not the data too."""
    return dataclasses.replace(result, dataset=None)


def _test_metrics(test: Score | None) -> dict[str, float]:
    if test is None:
        return {}
    low, high = test.interval
    return {
        "test_accuracy": test.accuracy,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_loss": test.loss,
    }


def path_start(path: Path) -> RunStart:
    """Describe a path, each solution as a trial."""
    trials = tuple(
        TrialStart(
            s.number,
            {"strength": s.strength, **_kinds(loss=s.loss, penalty=s.penalty), "class_weight": s.class_weight},
        )
        for s in path.solutions
    )
    return RunStart(run_name(path.data.name), path.data.name, path.settings, trials)


def _kinds(**parts: Any) -> dict[str, str]:
    return {role: kind_of(type(part)) for role, part in parts.items()}


def path_metrics(path: Path) -> dict[int, dict[str, float]]:
    """What each solution of a path is worth."""
    names = ("value", "bound", "relative_bound", "nonzeros", "iterations", "validation_accuracy", "validation_loss")
    return {s.number: {name: float(getattr(s, name)) for name in names} for s in path.solutions}


def path_end(path: Path) -> RunEnd:
    """Describe how a path ended."""
    metrics = {"seconds": path.seconds["total"]}
    if path.best is not None:
        metrics["best_validation_accuracy"] = path.best.validation_accuracy
        metrics["best_validation_loss"] = path.best.validation_loss
    return RunEnd(
        trials={s.number: TrialEnd(s.status, f"after {s.iterations} iterations", 1) for s in path.solutions},
        best=None if path.best is None else path.best.number,
        metrics=metrics | _test_metrics(path.test),
        interrupted=path.interrupted,
        messages=path.messages,
        run=_without_data(path),
    )

"""What a tracker is told: the run and its trials, then every epoch, then how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from thalweg.paths import Path
    from thalweg.run import Run

__all__ = ["EpochMetrics", "RunEnd", "RunStart", "Tracker", "TrialEnd", "TrialStart"]

EpochMetrics: TypeAlias = Mapping[int, Mapping[str, float]]
"""An epoch's numbers: trial → metric → value."""


@dataclass(frozen=True)
class TrialStart:
    """A trial before it trains: its number in the run, and every number and word of its recipe by dotted name."""

    number: int
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True)
class RunStart:
    """A run before it trains.

    Attributes:
        name: of the run, under which its trials are grouped.
        data: the data set's name.
        settings: of the whole run, by name: seed, splits, selection and the like.
        trials: all of them, in order of their numbers.
        run: the sweep as a `Run` before it trains: every trial with its recipe, an empty history and the status
            "training" (`training.status.TRAINING`); nothing selected, and without its ``dataset``. What is told later
            can be filled in, for whoever draws runs. None where nothing is known before the result, as with a path.
    """

    name: str
    data: str
    settings: Mapping[str, Any]
    trials: tuple[TrialStart, ...]
    run: Run | None = None

    def label(self, number: int) -> str:
        """What a trial is called: ``trial-007``, with as many digits as sort by name."""
        return f"trial-{number:0{max(3, len(str(len(self.trials) - 1)))}d}"

    def searched(self) -> tuple[str, ...]:
        """The hyperparameters in which trials differ; all of them where there is one trial."""
        names = dict.fromkeys(name for trial in self.trials for name in trial.hyperparameters)
        if len(self.trials) == 1:
            return tuple(names)
        rows = [trial.hyperparameters for trial in self.trials]
        return tuple(name for name in names if len({repr(row.get(name)) for row in rows}) > 1)


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended: its status (`training.STATUSES`), the reason in words, the epoch that it kept (from 1).

    ``at`` is the step, rung or epoch of `training.Status.at`, None where it has none.
    """

    status: str
    reason: str
    kept_epoch: int
    at: int | None = None


@dataclass(frozen=True)
class RunEnd:
    """How a run ended.

    Attributes:
        trials: by number.
        best: the selected trial's number, None where there is none.
        metrics: of the run: ``test_accuracy`` (with ``_low`` and ``_high``, its 95 % interval), ``test_loss``,
            ``best_validation_accuracy``, ``best_validation_loss``, ``seconds``. What an interrupted
            or failed run does not have is missing.
        interrupted: by Ctrl-C.
        error: why it failed, None where it did not.
        messages: what the run had to say.
        run: the result itself, a `Run` or a path, without its ``dataset``; None where an error left none.
    """

    trials: Mapping[int, TrialEnd] = field(default_factory=dict)
    best: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    interrupted: bool = False
    error: str | None = None
    messages: tuple[str, ...] = ()
    run: Run | Path | None = None


@runtime_checkable
class Tracker(Protocol):
    """Anything with these three methods tracks a run: ``sweep(..., trackers=[tracker])``.

    ``begin`` is called once, before any trial trains; what it raises stops the run,
    as nothing is lost yet. ``epoch`` follows after every epoch of a program: with the
    metrics of each trial that trained in it (`training.METRICS`; NaN where one does not
    apply), the epoch counted from 1. Trials of other programs come in other calls; a
    trial's epochs come in order. ``end`` is called once, after Ctrl-C and errors too.
    A tracker whose ``epoch`` or ``end`` raises is heard no more and the run goes on; its
    ``end`` is still called after a failed ``epoch``, to let it close what it opened.
    One object may track several runs, one after another.

    A tracker that has a fourth method, ``ended(trials)``, is told of trials as they end, by number as a `TrialEnd`:
    after the epoch in which they diverged or stopped early, at the rung that pruned them, after their last epoch.
    What it raises is treated as ``epoch``'s.

    >>> class Printer:
    ...     def begin(self, run):
    ...         print(run.name, len(run.trials))
    ...
    ...     def epoch(self, epoch, metrics):
    ...         print(epoch, {number: one["validation_accuracy"] for number, one in metrics.items()})
    ...
    ...     def end(self, run):
    ...         print(run.best, run.metrics.get("test_accuracy"))

    `testing.check_tracker` checks one.
    """

    def begin(self, run: RunStart) -> None:
        """Open whatever the run will be written to."""

    def epoch(self, epoch: int, metrics: EpochMetrics) -> None:
        """Write the metrics of an epoch down."""

    def end(self, run: RunEnd) -> None:
        """Write the result down and close."""

"""Telling trackers of a run, such that none of them can spoil it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from thalweg.errors import ThalwegError, UsageError
from thalweg.tracking.base import EpochMetrics, RunEnd, RunStart, Tracker
from thalweg.tracking.records import path_end, path_metrics, path_start, run_end, trial_end

if TYPE_CHECKING:
    from thalweg.paths import Path
    from thalweg.run import Run
    from thalweg.training import Status

__all__ = ["Tracking", "check_trackers", "track_path"]


def check_trackers(trackers: Any) -> tuple[Tracker, ...]:
    """Return trackers as a tuple; a UsageError names what is none."""
    if trackers is None:
        return ()
    if isinstance(trackers, str) or not isinstance(trackers, Sequence):
        raise UsageError(f"trackers is {trackers!r}; give a list, such as [thalweg.tracking.TensorBoard('runs/tb')]")
    for tracker in trackers:
        if isinstance(tracker, type):
            raise UsageError(f"trackers holds the class {tracker.__name__}; make one: {tracker.__name__}(...)")
        if not isinstance(tracker, Tracker):
            raise UsageError(
                f"trackers holds {tracker!r}; a tracker has the methods begin, epoch and end (thalweg.tracking.Tracker)"
            )
    return tuple(trackers)


class Tracking:
    """Trackers begun when entered and ended when left, whatever happens in between.

    A tracker that cannot begin is an error. One that fails later is told no more,
    and `epoch` returns a message in its place: a run is worth more than its log.
    """

    def __init__(self, trackers: Sequence[Tracker], start: RunStart) -> None:
        self._trackers, self._start = tuple(trackers), start
        self._begun: list[Tracker] = []
        self._failed: set[int] = set()  # places among the begun
        self._ended = False

    def __enter__(self) -> Tracking:
        try:
            for tracker in self._trackers:
                self._begin(tracker)
        except BaseException as error:
            self.end(RunEnd(error=_in_words(error)))
            raise
        return self

    def _begin(self, tracker: Tracker) -> None:
        try:
            tracker.begin(self._start)
        except ThalwegError:
            raise
        except Exception as error:
            raise UsageError(
                f"the tracker {type(tracker).__name__} cannot begin: {_in_words(error)}; mend that, or leave it out"
            ) from error
        self._begun.append(tracker)

    def epoch(self, epoch: int, metrics: EpochMetrics) -> list[str]:
        """Tell all trackers of an epoch; return a message for each that failed at it."""
        return self._tell(lambda tracker: tracker.epoch(epoch, metrics), f"at epoch {epoch}")

    def ended(self, trials: Mapping[int, tuple[Status, int]]) -> list[str]:
        """Tell those trackers that have a method for it of trials that ended: status and kept epoch by number."""
        told = {number: trial_end(status, kept) for number, (status, kept) in trials.items()}

        def tell(tracker: Tracker) -> None:
            if (ended := getattr(tracker, "ended", None)) is not None:
                ended(told)

        return self._tell(tell, "at the end of a trial")

    def _tell(self, tell: Callable[[Tracker], None], when: str) -> list[str]:
        messages = []
        for place, tracker in enumerate(self._begun):
            if place in self._failed:
                continue
            try:
                tell(tracker)
            except Exception as error:  # of a third party's making: whatever it is, the training must go on
                self._failed.add(place)
                messages.append(
                    f"the tracker {type(tracker).__name__} failed {when} and is told no more; the run goes on: "
                    f"{_in_words(error)}"
                )
        return messages

    def close(self, run: Run) -> Run:
        """End all trackers with the run's result; return the run, with a message for each that failed."""
        return _with_messages(run, self.end(run_end(run)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ended:
            return
        run = getattr(error, "run", None)
        why = None if error is None else _in_words(error)
        messages = self.end(dataclasses.replace(RunEnd() if run is None else run_end(run), error=why))
        if run is not None and isinstance(error, ThalwegError):
            error.run = _with_messages(run, messages)

    def end(self, result: RunEnd) -> list[str]:
        """End all trackers; return a message for each that failed at it, and had not failed before."""
        self._ended, messages = True, []
        for place, tracker in enumerate(self._begun):
            try:
                tracker.end(result)
            except Exception as error:
                if place not in self._failed:
                    messages.append(f"the tracker {type(tracker).__name__} failed at the end: {_in_words(error)}")
        return messages


def track_path(path: Path, trackers: Sequence[Tracker]) -> Path:
    """Tell trackers of a finished path, its solutions as trials of one epoch.

    Nothing is known of a solution before it is solved, and so nothing told: what
    a tracker raises becomes a message of the path, from the beginning on.
    """
    messages: list[str] = []
    for tracker in trackers:
        try:
            with Tracking([tracker], path_start(path)) as tracking:
                messages += tracking.epoch(1, path_metrics(path))
                messages += tracking.end(path_end(path))
        except UsageError as error:
            messages.append(str(error))
    return _with_messages(path, messages)


def _with_messages(run: Any, messages: list[str]) -> Any:
    return dataclasses.replace(run, messages=(*run.messages, *messages)) if messages else run


def _in_words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

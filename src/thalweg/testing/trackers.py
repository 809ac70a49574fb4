"""The conformance check of trackers."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from thalweg.testing.common import attempt, fail
from thalweg.tracking import RunEnd, RunStart, TrialEnd, TrialStart
from thalweg.training import METRICS

__all__ = ["check_tracker"]


def check_tracker(tracker: Any) -> None:
    """Raise an AssertionError unless tracker keeps the protocol of `thalweg.tracking.Tracker`.

    It is given small runs to write, wherever it writes to: give it a temporary
    folder. It must take every run below with one object, one after another, change
    nothing of what it is told, and return nothing; ``ended`` is called where it has one:

    - three trials, of which one ends early, one diverges (with NaN and infinite metrics), and one never trains;
      names, settings and messages of any letters; hyperparameters that are numbers, words, flags or missing;
    - an interrupted run of one trial, without a winner;
    - a run that fails before its first epoch.
    """
    for name in ("begin", "epoch", "end"):
        if not callable(getattr(tracker, name, None)):
            fail(tracker, f"has no method {name}; a tracker has begin(run), epoch(epoch, metrics) and end(run)")
    _whole_run(tracker)
    _interrupted_run(tracker)
    _call(tracker, "begin, of a run that fails", lambda: tracker.begin(_start(1)))
    _call(tracker, "end, before any epoch", lambda: tracker.end(RunEnd(error="DataError: nothing to see")))


def _whole_run(tracker: Any) -> None:
    _call(tracker, "begin", lambda: tracker.begin(_start(3)))
    wrong = dict.fromkeys(METRICS, math.nan) | {"data_loss": math.inf}
    for epoch, metrics in enumerate(({0: _row(0.9), 1: _row(0.8)}, {0: _row(0.5), 1: wrong}, {0: _row(0.4)}), start=1):
        frozen = MappingProxyType({number: MappingProxyType(row) for number, row in metrics.items()})
        _call(tracker, f"epoch {epoch}", lambda epoch=epoch, frozen=frozen: tracker.epoch(epoch, frozen))  # type: ignore[misc]
    ends = {
        0: TrialEnd("completed", "trained for all 3 epochs", 3),
        1: TrialEnd("diverged", "the loss left the finite numbers", 2),
        2: TrialEnd("interrupted", "interrupted after 0 of 3 epochs", 0),
    }
    if hasattr(tracker, "ended"):
        _call(tracker, "ended", lambda: tracker.ended(MappingProxyType({number: ends[number] for number in (0, 1)})))
    found = {"test_accuracy": 0.75, "best_validation_accuracy": 0.8, "seconds": 1.5}
    result = RunEnd(MappingProxyType(ends), 0, MappingProxyType(found), messages=("rung 1: ½ go on", "$x$ <b>"))
    _call(tracker, "end", lambda: tracker.end(result))


def _interrupted_run(tracker: Any) -> None:
    _call(tracker, "begin, a second time", lambda: tracker.begin(_start(1)))
    _call(tracker, "epoch, of a second run", lambda: tracker.epoch(1, MappingProxyType({0: _row(0.7)})))
    ends = {0: TrialEnd("interrupted", "interrupted after 1 of 3 epochs", 1)}
    _call(tracker, "end, of an interrupted run", lambda: tracker.end(RunEnd(ends, interrupted=True)))


def _start(trials: int) -> RunStart:
    settings = MappingProxyType({"seed": 0, "halving": None, "selection": "best", "features": {"kind": "hög/∇"}})
    rows: list[dict[str, Any]] = [
        {"optimizer.kind": "adam", "optimizer.learning_rate.peak": 0.1, "batch_size": 64, "bias_correction": True},
        {"optimizer.kind": "sgd", "optimizer.learning_rate.peak": 1e-300, "optimizer.momentum": None},
        {"optimizer.kind": "module:name <b>", "blocks.0.width": 3},
    ]
    planned = tuple(TrialStart(number, MappingProxyType(row)) for number, row in enumerate(rows[:trials]))
    return RunStart("my data/$x$ é", "my data", settings, planned)


def _row(loss: float) -> dict[str, float]:
    return dict.fromkeys(METRICS, loss)


def _call(tracker: Any, what: str, call: Callable[[], Any]) -> None:
    with attempt(tracker, what):
        returned = call()
    if returned is not None:
        fail(tracker, f"{what} returned {returned!r}; return nothing")

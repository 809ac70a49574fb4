"""A tracker that writes to MLflow: a parent run with a nested run for each trial."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlparse

from thalweg.errors import UsageError
from thalweg.tracking.base import EpochMetrics, RunEnd, RunStart

__all__ = ["MLflow"]

_EVERY = 2.0  # seconds between writes: a request an epoch and trial would hold the training up
_BATCH = {"metrics": 1000, "params": 100}  # MLflow's limits of one request
_ALLOW = "MLFLOW_ALLOW_FILE_STORE"
_LONGEST = 500  # letters of a parameter's value that every version of MLflow takes
_STATUSES = {"completed": "FINISHED", "stopped early": "FINISHED", "diverged": "FAILED"}  # others: KILLED


class MLflow:
    """Write a run to MLflow, with a nested run for each trial, as they train.

    A trial's run has every number of its recipe as a parameter and every metric of
    `training.METRICS` over epochs, as far as finite; its status is FINISHED, FAILED where it
    diverged, KILLED where it was pruned or interrupted, with the reason as a tag.
    The parent has the run's settings as parameters, and the test accuracy of the
    winner and the like as metrics. Metrics go out every two seconds and at the end.

    Needs ``pip install 'thalweg[mlflow]'``. MLflow's current run and its other global settings
    are left alone.

    Arguments:
        uri: a tracking server (``http://...``), a database (``sqlite:///mlflow.db``) or
            a folder; None: MLflow's own (``MLFLOW_TRACKING_URI``, or its default).
        experiment: its name; made where it does not exist.
        name: of the parent run; None: the data set's name and the time.
    """

    def __init__(self, uri: str | None = None, *, experiment: str = "thalweg", name: str | None = None) -> None:
        if uri is not None and (not isinstance(uri, str) or not uri):
            raise UsageError(f"uri is {uri!r}; give text such as 'sqlite:///mlflow.db' or 'http://localhost:5000'")
        if not isinstance(experiment, str) or not experiment:
            raise UsageError(f"experiment is {experiment!r}; give its name")
        self.uri, self.experiment, self.name = uri, experiment, name
        self._entities = _entities()
        self._client: Any = None
        self._run = RunStart("", "", {}, ())
        self._experiment_id = self._parent = ""
        self._children: dict[int, str] = {}
        self._pending: dict[int, list[Any]] = {}
        self._last: dict[int, int] = {}  # when a trial was last heard of, in ms
        self._written = 0.0

    def begin(self, run: RunStart) -> None:
        self._run, self._children, self._pending, self._last = run, {}, {}, {}
        with _folders_allowed(self.uri):
            self._client = _client(self.uri)
            found = self._client.get_experiment_by_name(self.experiment)
        if found is not None and found.lifecycle_stage == "deleted":
            raise UsageError(f"the MLflow experiment {self.experiment!r} is deleted; restore it, or name another")
        self._experiment_id = self._client.create_experiment(self.experiment) if found is None else found.experiment_id
        created = self._client.create_run(
            self._experiment_id, run_name=self.name or run.name, tags={"thalweg.data": run.data}
        )
        self._parent = created.info.run_id
        try:
            self._log_params(self._parent, run.settings)
        except BaseException:
            self._client.set_terminated(self._parent, "FAILED")  # else it would seem to be running for ever
            raise
        self._written = time.monotonic()

    def epoch(self, epoch: int, metrics: EpochMetrics) -> None:
        now = _milliseconds()
        for number, values in metrics.items():
            self._pending.setdefault(number, []).extend(self._metrics(values, now, epoch))
            self._last[number] = now
        if time.monotonic() - self._written >= _EVERY:
            self._write()

    def end(self, run: RunEnd) -> None:
        self._write()
        for number, child in self._children.items():
            ended = run.trials.get(number)
            if ended is not None:
                self._client.set_tag(child, "thalweg.status", ended.status)
                self._client.set_tag(child, "thalweg.reason", ended.reason)
                self._client.set_tag(child, "thalweg.kept_epoch", str(ended.kept_epoch))
                self._client.set_tag(child, "thalweg.best", str(number == run.best).lower())
            status = "KILLED" if ended is None else _STATUSES.get(ended.status, "KILLED")
            self._client.set_terminated(child, status, self._last[number])
        self._log(self._parent, metrics=list(self._metrics(run.metrics, _milliseconds(), 0)))
        if run.best is not None:
            self._client.set_tag(self._parent, "thalweg.best_trial", str(run.best))
        if run.messages or run.error:
            words = "\n".join([*run.messages, *([run.error] if run.error else [])])
            self._client.set_tag(self._parent, "mlflow.note.content", words[:5000])
        status = "FAILED" if run.error else "KILLED" if run.interrupted else "FINISHED"
        self._client.set_terminated(self._parent, status)

    def _write(self) -> None:
        """Send what has gathered; a trial's run is made when there is something to say of it."""
        for number in sorted(self._pending):
            if number not in self._children:
                self._children[number] = self._child(number)
            self._log(self._children[number], metrics=self._pending[number])
            self._pending[number] = []
        self._written = time.monotonic()

    def _child(self, number: int) -> str:
        tags = {"mlflow.parentRunId": self._parent, "thalweg.trial": str(number)}
        started = self._pending[number][0].timestamp if self._pending[number] else None
        created = self._client.create_run(
            self._experiment_id, start_time=started, tags=tags, run_name=self._run.label(number)
        )
        self._log_params(created.info.run_id, self._run.trials[number].hyperparameters)
        return str(created.info.run_id)

    def _metrics(self, values: Mapping[str, float], when: int, step: int) -> Iterator[Any]:
        # MLflow's databases keep no infinity, and show NaN as 0.
        return (self._entities.Metric(name, v, when, step) for name, v in values.items() if math.isfinite(v))

    def _log_params(self, run_id: str, values: Mapping[str, Any]) -> None:
        params = [self._entities.Param(_key(name), _shown(value)) for name, value in values.items()]
        self._log(run_id, params=params)

    def _log(self, run_id: str, **kinds: Sequence[Any]) -> None:
        for kind, entries in kinds.items():
            for start in range(0, len(entries), _BATCH[kind]):
                self._client.log_batch(run_id, **{kind: entries[start : start + _BATCH[kind]]})


def _entities() -> Any:
    try:
        from mlflow import entities
    except ImportError as error:
        raise UsageError(f"MLflow is not installed ({error}): pip install 'thalweg[mlflow]'") from None
    return entities


def _client(uri: str | None) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri)


@contextlib.contextmanager
def _folders_allowed(uri: str | None) -> Iterator[None]:
    """Let MLflow open a folder that was named: of its own accord it has kept to databases since 3.12."""
    if uri is None or urlparse(uri).scheme not in ("", "file") or _ALLOW in os.environ:
        yield
        return
    os.environ[_ALLOW] = "true"
    try:
        yield
    finally:
        del os.environ[_ALLOW]


def _key(name: str) -> str:
    """A parameter's name of the letters that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _milliseconds() -> int:
    return int(time.time() * 1000)

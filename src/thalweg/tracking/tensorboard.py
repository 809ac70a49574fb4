"""A tracker that writes TensorBoard's event files, without TensorFlow and PyTorch."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

from thalweg.errors import UsageError
from thalweg.tracking.base import EpochMetrics, RunEnd, RunStart

__all__ = ["TensorBoard"]

_FAILED = ("diverged",)


class TensorBoard:
    """Write event files: ``tensorboard --logdir FOLDER`` shows the curves of all trials as they train.

    A run gets the folder FOLDER/NAME and each of its trials one within it, so that
    TensorBoard lists trials under their run. Every metric of `training.METRICS` is a
    scalar over epochs; the hyperparameters in which trials differ (all of them,
    where there is one trial) fill the HParams tab; the run itself holds its settings and its messages as text, and
    the test accuracy of its winner as a scalar.

    Needs ``pip install 'thalweg[tensorboard]'`` (tensorboardX, which writes the format;
    to look at it takes ``tensorboard`` itself).

    Arguments:
        folder: for all runs.
        name: of the run; None: the data set's name and the time. Where a run of that name is there, a
            number is added.
    """

    def __init__(self, folder: str | Path = "runs/tensorboard", *, name: str | None = None) -> None:
        if not isinstance(folder, (str, Path)) or not str(folder) or "://" in str(folder):
            raise UsageError(f"folder is {folder!r}; give the path of a local folder for TensorBoard's event files")
        self.folder, self.name = Path(folder), name
        self._proto = _protocol()
        self._place = self.folder
        self._run = RunStart("", "", {}, ())
        self._searched: tuple[str, ...] = ()
        self._files: dict[int | None, Path] = {}  # by trial; None is the run's own

    def begin(self, run: RunStart) -> None:
        self._run, self._searched, self._files = run, run.searched(), {}
        self._place = _new_folder(self.folder, self.name or run.name)
        settings = "\n".join(f"    {name} = {_shown(value)}" for name, value in run.settings.items())
        self._append(None, [self._text("run", f"{len(run.trials)} trials on {run.data}\n\n{settings}")])

    def epoch(self, epoch: int, metrics: EpochMetrics) -> None:
        for number, values in metrics.items():
            summaries = [] if number in self._files else [self._session_start(number)]
            scalars = [self._proto.Value(tag=name, simple_value=value) for name, value in values.items()]
            self._append(number, [*summaries, self._proto.Summary(value=scalars)], epoch)

    def end(self, run: RunEnd) -> None:
        for number, trial in run.trials.items():
            if number in self._files:
                status = "STATUS_FAILURE" if trial.status in _FAILED else "STATUS_SUCCESS"
                words = f"{trial.status}: {trial.reason}; the weights are those of epoch {trial.kept_epoch}"
                self._append(number, [self._text("status", words), self._session_end(status)])
        scalars = [self._proto.Value(tag=name, simple_value=value) for name, value in run.metrics.items()]
        lines = [f"best: {self._run.label(run.best)}"] if run.best is not None else []
        lines += ["interrupted"] if run.interrupted else []
        lines += [f"error: {run.error}"] if run.error else []
        text = "\n\n".join([*lines, *run.messages]) or "done"
        self._append(None, [self._text("result", text), self._proto.Summary(value=scalars)])

    def _append(self, number: int | None, summaries: list[Any], step: int = 0) -> None:
        """Append events to a trial's file (None: the run's), which is made at the first.

        Opened and closed each time: a thousand files held open are more than a
        process may have, and nothing is left to flush when it is killed.
        """
        records = []
        if number not in self._files:
            folder = self._place if number is None else self._place / self._run.label(number)
            folder.mkdir(exist_ok=True)
            now = time.time()
            self._files[number] = folder / f"events.out.tfevents.{int(now):010d}.thalweg"
            records.append(self._proto.Event(wall_time=now, file_version="brain.Event:2"))
        records += [self._proto.Event(wall_time=time.time(), step=step, summary=one) for one in summaries]
        with open(self._files[number], "ab") as file:
            file.write(b"".join(self._framed(record.SerializeToString()) for record in records))

    def _framed(self, data: bytes) -> bytes:
        """A record as TensorFlow frames it: length, checksum of the length, data, checksum of the data."""
        length = struct.pack("<Q", len(data))
        checksums = [struct.pack("<I", self._proto.masked_crc32c(part)) for part in (length, data)]
        return length + checksums[0] + data + checksums[1]

    def _text(self, tag: str, text: str) -> Any:
        return self._proto.text(tag, text)

    def _session_start(self, number: int) -> Any:
        """What the HParams tab knows of a trial."""
        info = self._proto.SessionStartInfo()
        given = self._run.trials[number].hyperparameters
        for name in self._searched:
            value = given.get(name)
            if isinstance(value, bool):
                info.hparams[name].bool_value = value
            elif isinstance(value, (int, float)):
                info.hparams[name].number_value = value
            elif value is not None:
                info.hparams[name].string_value = str(value)
        info.start_time_secs = time.time()
        return self._hparams("session_start_info", info)

    def _session_end(self, status: str) -> Any:
        info = self._proto.SessionEndInfo(
            status=self._proto.Status.Value(status),
            end_time_secs=time.time(),
        )
        return self._hparams("session_end_info", info)

    def _hparams(self, kind: str, info: Any) -> Any:
        # No experiment is declared: TensorBoard then gathers it from the trials of all runs in the folder.
        content = self._proto.HParamsPluginData(version=0, **{kind: info}).SerializeToString()
        plugin = self._proto.SummaryMetadata.PluginData(plugin_name="hparams", content=content)
        metadata = self._proto.SummaryMetadata(plugin_data=plugin)
        return self._proto.Summary(value=[self._proto.Value(tag=f"_hparams_/{kind}", metadata=metadata)])


class _Protocol:
    """The messages of TensorBoard's format, from tensorboardX."""

    def __init__(self) -> None:
        from tensorboardX.proto.api_pb2 import Status
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
        from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboardX.record_writer import masked_crc32c
        from tensorboardX.summary import text

        self.Event, self.Status, self.Summary, self.Value = Event, Status, Summary, Summary.Value
        self.SummaryMetadata, self.HParamsPluginData = SummaryMetadata, HParamsPluginData
        self.SessionStartInfo, self.SessionEndInfo = SessionStartInfo, SessionEndInfo
        self.masked_crc32c, self.text = masked_crc32c, text


def _protocol() -> _Protocol:
    try:
        return _Protocol()
    except ImportError as error:
        raise UsageError(
            f"TensorBoard's event files need tensorboardX ({error}): pip install 'thalweg[tensorboard]'"
        ) from None


def _new_folder(parent: Path, name: str) -> Path:
    """Make the folder of a run, with a number added where the name is taken."""
    parent.mkdir(parents=True, exist_ok=True)
    name = name.replace("/", "_").replace("\\", "_").strip(". ") or "run"
    count = 1
    while True:
        place = parent / (name if count == 1 else f"{name}-{count}")
        try:
            place.mkdir()
        except FileExistsError:
            count += 1
        else:
            return place


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)

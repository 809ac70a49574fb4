"""TensorBoard's event files, read back by a parser of their own."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from tracker_cases import SPACE

import thalweg as tw
from thalweg.testing import check_tracker
from thalweg.tracking import TensorBoard
from thalweg.training import METRICS


def crc32c(data: bytes) -> int:
    """Castagnoli's CRC (RFC 3720), bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    """TensorFlow's mask of a CRC: turned right by 15 bits, plus a constant."""
    value = crc32c(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder: Path) -> list[Any]:
    (file,) = folder.glob("events.out.tfevents.*")
    data, found, place = file.read_bytes(), [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        header, body = data[place : place + 8], data[place + 12 : place + 12 + length]
        assert struct.unpack_from("<I", data, place + 8) == (masked(header),)
        assert struct.unpack_from("<I", data, place + 12 + length) == (masked(body),)
        found.append(Event.FromString(body))
        place += length + 16
    assert found[0].file_version == "brain.Event:2"
    return found[1:]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def texts(folder: Path) -> dict[str, str]:
    values = [value for event in events(folder) for value in event.summary.value]
    return {
        value.tag: value.tensor.string_val[0].decode()
        for value in values
        if value.metadata.plugin_data.plugin_name == "text"
    }


def sessions(folder: Path) -> list[Any]:
    plugins = [value.metadata.plugin_data for event in events(folder) for value in event.summary.value]
    return [HParamsPluginData.FromString(one.content) for one in plugins if one.plugin_name == "hparams"]


def test_the_checksum_is_castagnoli_s() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of RFC 3720's polynomial


@pytest.fixture(scope="module")
def board(small: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[tw.Run, Path]:
    folder = tmp_path_factory.mktemp("board")
    run = tw.sweep(SPACE, small, halving=tw.Halving(2, 1), trackers=[TensorBoard(folder, name="demo")])
    return run, folder / "demo"


def test_every_metric_of_every_trial_is_there(board: Any) -> None:
    run, folder = board
    for trial in run.trials:
        found = scalars(folder / f"trial-{trial.number:03d}")
        assert set(found) == set(METRICS)
        for name, values in trial.history.items():
            steps, told = zip(*found[name], strict=True)
            assert steps == tuple(range(1, len(values) + 1))
            np.testing.assert_array_equal(np.float32(told), np.float32(values))  # event files hold float32


def test_trials_have_their_hyperparameters_and_their_status(board: Any) -> None:
    run, folder = board
    for trial in run.trials:
        start, end = sessions(folder / f"trial-{trial.number:03d}")
        rate = start.session_start_info.hparams["optimizer.learning_rate.value"].number_value
        assert rate == float(trial.recipe.optimizer.learning_rate.base)
        assert len(start.session_start_info.hparams) == 1
        assert end.session_end_info.status == (2 if trial.status.name == "diverged" else 1)  # failure, success
        assert trial.status.reason in texts(folder / f"trial-{trial.number:03d}")["status/text_summary"]


def test_the_run_has_the_winner_s_test_accuracy(board: Any) -> None:
    run, folder = board
    found = scalars(folder)
    assert found["test_accuracy"] == [(0, np.float32(run.test.accuracy))]
    assert texts(folder)["result/text_summary"].startswith(f"best: trial-00{run.best.number}")
    assert '    selection = "best"' in texts(folder)["run/text_summary"]


def test_it_conforms_and_numbers_runs_of_one_name(tmp_path: Path) -> None:
    check_tracker(TensorBoard(tmp_path, name="../same"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_same", "_same-2", "_same-3"]
    found = scalars(tmp_path / "_same" / "trial-001")["data_loss"]
    assert found == [(1, np.float32(0.8)), (2, np.inf)]
    assert not (tmp_path / "_same" / "trial-002").exists()  # it never trained


@pytest.mark.parametrize("folder", ["", "s3://bucket/x", None])
def test_other_places_than_folders_are_refused(folder: Any) -> None:
    with pytest.raises(tw.UsageError, match="give the path of a local folder"):
        TensorBoard(folder)


def test_a_folder_that_cannot_be_made_stops_the_run(tmp_path: Path, small: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(tw.UsageError, match=r"the tracker TensorBoard cannot begin: .*file"):
        tw.sweep(SPACE, small, trackers=[TensorBoard(tmp_path / "file" / "board")])


def test_without_tensorboardx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX.summary", None)
    with pytest.raises(tw.UsageError, match=r"pip install 'thalweg\[tensorboard\]'"):
        TensorBoard("runs")

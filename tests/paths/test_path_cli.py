"""`thalweg path`: what it prints and writes, its exit codes, and the commands that use its run folder."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_cases import NAMES, split_data, uneven

import thalweg as tw
from thalweg.cli.app import run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("path") / "blobs.npz"
    np.savez(place, **split_data())
    return place


def path(data: Path, *more: str) -> int:
    strengths = () if "--strengths" in more else ("--strengths", "1e-3:1:4")
    return run(["path", str(data), "--folds", "3", *strengths, *more])


@pytest.fixture(scope="module")
def folder(data: Path) -> Path:
    assert path(data, "--out", str(data.parent / "run")) == 0
    return data.parent / "run"


def test_it_prints_the_path_and_the_verdict(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert path(data, "--out", str(tmp_path / "run"), "--class-weight", "both", "--strengths", "1e-3:1:2") == 0
    out, err = capsys.readouterr()
    for part in ("4 optima", "chosen (best): strength", "over 3 folds", "test accuracy", "95 % interval", "cannot tell",
                 "4 converged", "certified", "run folder:"):  # fmt: skip
        assert part in out
    assert "blobs: 128 examples, 3 classes; softmax with l2, 2 strengths from 1 down to 0.001, 3 folds, 2 class" in err
    table = out[: out.index("chosen (")].splitlines()
    assert "…" not in out
    assert all(len(line.rstrip()) <= 70 for line in table)
    assert {"strength", "accuracy"} <= set(next(line for line in table if "strength" in line).split())


def test_json_is_one_object_and_nothing_else(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert path(data, "--out", str(tmp_path / "run"), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert {"run", "solutions", "statuses", "seconds", "best", "tied", "edges", "largest_relative_bound"} <= set(result)
    assert result["run"] == str(tmp_path / "run")
    assert result["solutions"] == 4
    assert result["statuses"] == {"converged": 4}
    assert 0 < result["largest_relative_bound"] <= 1e-6
    best = result["best"]
    low, high = best["test_interval"]
    assert low <= best["test_accuracy"] <= high
    assert best["number"] not in result["tied"]


def test_options_reach_the_library(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--select", "one-standard-error", "--class-weight", "balanced", "--tolerance", "1e-3", "--seed", "7"]
    more += ["--preprocessing", "none", "--iterations", "500"]
    assert path(data, "--out", str(tmp_path / "run"), "--json", *more) == 0
    result = json.loads(capsys.readouterr().out)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    same = tw.path(str(data), strengths="1e-3:1:4", folds=3, selection="one-standard-error", class_weight="balanced",
                   tolerance=1e-3, seed=7, preprocessing=None, iterations=500)  # fmt: skip
    assert result["best"]["number"] == same.choice.chosen == same.choice.one_standard_error
    assert result["best"]["value"] == same.best.value
    assert result["tolerance"] == 1e-3
    expected = {"class_weights": ["balanced"], "seed": 7, "tolerance": 1e-3, "iterations": 500, "folds": 3}
    assert expected.items() <= record["settings"].items()
    assert record["data"]["preprocessing"] == "none"


def test_without_folds_nothing_is_chosen(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run(["path", str(data), "--strengths", "1e-3:1:3", "--folds", "0", "--out", str(out)]) == 0
    assert "without folds nothing is chosen" in capsys.readouterr().out
    assert sorted(file.name for file in out.iterdir()) == ["run.json", "solutions.csv", "solutions.npz"]
    assert run(["info", str(out)]) == 0
    assert "without folds: nothing was chosen" in capsys.readouterr().out
    assert run(["score", str(out), str(data)]) == 3
    assert "chose no model" in capsys.readouterr().err


def test_score_predict_and_info_use_the_run_folder(
    folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((folder / "run.json").read_text())
    assert run(["score", str(folder), str(data), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert (scored["split"], scored["accuracy"]) == ("test", record["best"]["test_accuracy"])

    X, y = uneven(64, seed=1)
    np.savez(tmp_path / "new.npz", X=X)
    assert run(["predict", str(folder), str(tmp_path / "new.npz")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert np.mean([row["class"] == name for row, name in zip(rows, NAMES[y], strict=True)]) == scored["accuracy"]

    assert run(["info", str(folder)]) == 0
    out = capsys.readouterr().out
    best = record["best"]
    low, high = best["test_interval"]
    for part in (
        "a path of 4 optima on blobs (.npz), strengths 1 down to 0.001",
        "solutions: 4 converged",
        f"chosen (best): softmax with l2, strength {best['strength']:.4g}",
        f"over 3 folds {best['validation_accuracy']:.4f} ± {best['standard_error']:.4f}",
        f"test accuracy {best['test_accuracy']:.4f}, 95 % interval {low:.4f} to {high:.4f}",
        *record["edges"],
    ):
        assert part in out
    assert run(["info", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == record
    assert run(["info", str(folder / "model.safetensors")]) == 0
    assert "certified_path" in capsys.readouterr().out


@pytest.mark.parametrize(
    "damage",
    ['{"kind": "path"}', "[]", "", '{"kind": "path", "best": null, "data": {}, "settings": {"strengths": []}}'],
)
def test_info_says_that_a_run_is_damaged(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(damage)
    assert run(["info", str(tmp_path)]) == 3
    assert "run.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["{data}", "--strengths", "0"], 2, "at least 1"),
        (["{data}", "--strengths", "-1e-3"], 2, "each must be positive"),
        (["{data}", "--strengths", "nonsense"], 2, "give a count such as 45"),
        (["{data}", "--folds", "1"], 2, "hold all examples out"),
        (["{data}", "--folds", "1000"], 2, "more than the 128"),
        (["{data}", "--loss", "squared"], 2, "squared"),
        (["{data}", "--penalty", "l3"], 2, "l3"),
        (["{data}", "--tolerance", "2"], 2, "tolerance"),
        (["{data}", "--test", "0.5"], 2, "its own test split"),
        (["{data}", "--out", "{tmp}"], 2, "--overwrite"),
        (["{tmp}/none.npz"], 3, "none.npz"),
        (["{tmp}/nan.npz"], 3, "not finite"),
        (["{data}", "--fold", "3"], 2, "--fold"),
        ([], 2, "data"),
    ],
)
def test_what_is_wrong_gets_its_exit_code_and_leaves_nothing_behind(
    arguments: list[str], code: int, part: str, data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "nan.npz", X=np.full((9, 2), np.nan, np.float32), y=np.arange(9) % 3)
    assert run(["path", *(a.format(data=data, tmp=tmp_path) for a in arguments)]) == code
    out, err = capsys.readouterr()
    assert part in err.lower() or part in err
    assert "Traceback" not in err
    assert out == ""
    assert [file.name for file in tmp_path.iterdir()] == ["nan.npz"]


def test_a_run_folder_is_only_replaced_on_request(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert path(data, "--out", str(out)) == 0
    before = (out / "run.json").read_bytes()
    assert path(data, "--out", str(out), "--seed", "1") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "run.json").read_bytes() == before
    assert path(data, "--out", str(out), "--seed", "1", "--overwrite") == 0
    assert json.loads((out / "run.json").read_text())["settings"]["seed"] == 1


def test_a_folder_that_appears_while_solving_costs_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from thalweg.cli import path as command

    original = command.fit_path

    def slow(*arguments: Any, **options: Any) -> Any:
        (tmp_path / "run").mkdir()
        return original(*arguments, **options)

    monkeypatch.setattr(command, "fit_path", slow)
    assert path(data, "--out", str(tmp_path / "run")) == 0
    assert "saved the run as" in capsys.readouterr().err
    (beside,) = tmp_path.glob("run-*")
    assert (beside / "model.safetensors").is_file()


def test_text_from_data_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = split_data()
    evil = dict(zip(NAMES.tolist(), ["\x1b[31mred", "[bold]b", "c\rd"], strict=True))
    for name in ("y_train", "y_test"):
        arrays[name] = np.array([evil[str(label)] for label in arrays[name]])
    np.savez(tmp_path / "\x1b[31mevil.npz", **arrays)
    assert path(tmp_path / "\x1b[31mevil.npz", "--out", str(tmp_path / "run")) == 0
    assert run(["info", str(tmp_path / "run")]) == 0
    assert run(["info", str(tmp_path / "run" / "model.safetensors")]) == 0
    arrays["y_train"] = np.where(np.arange(128) == 0, evil["ant"], np.where(np.arange(128) % 2, "[bold]b", "c\rd"))
    np.savez(tmp_path / "rare.npz", **arrays)
    assert path(tmp_path / "rare.npz") == 3
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "c\rd" not in out + err
    assert "\\x1b[31mred" in out
    assert "\\x1b[31mred" in err
    assert "\\x1b[31mevil" in err


def test_ctrl_c_saves_what_is_done_and_exits_130(data: Path, tmp_path: Path) -> None:
    """A tolerance that no rounding allows keeps the solver at work until it is stopped."""
    command = [sys.executable, "-c", "from thalweg.cli import main; main()", "path", str(data), "--strengths"]
    command += ["1e-8:1e-6:400", "--folds", "3", "--iterations", "1000000000", "--tolerance", "1e-15"]
    command += ["--out", str(tmp_path / "run"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = ""
    while "examples" not in line:
        line = process.stderr.readline()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "interrupted; saving what is done" in err
    result = json.loads(out)
    assert result["interrupted"]
    assert result["best"] is None
    assert result["statuses"]["interrupted"] > 0
    assert sum(result["statuses"].values()) == 400
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run" / "solutions.csv").read_text())))
    assert len(rows) == 400
    # What an interrupted solution has reached carries its bound as well.
    assert all(float(row["bound"]) > 0 for row in rows)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_path_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["path", "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--strengths", "--folds", "--class-weight", "--select", "--tolerance", "--out", "--json", "--label"):
        assert option in text

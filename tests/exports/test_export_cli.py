"""`thalweg export`: places, refusals, exit codes, and that nothing is half-written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from export_cases import drawn

import thalweg as tw
from thalweg.artifacts import export, load_model, save_model
from thalweg.artifacts.exports import FORMATS
from thalweg.cli.app import run
from thalweg.errors import UsageError
from thalweg.models import Linear

PLACES = {"onnx": "model.onnx", "sklearn": "model.skops", "torch": "model_torch"}


@pytest.fixture(scope="module")
def model() -> tw.FittedModel:
    return drawn(Linear(), (5,), loss=tw.losses.Hinge(), classes=("cow", "ant", "b\x1bee"))


@pytest.fixture
def folder(tmp_path: Path, model: tw.FittedModel) -> Path:
    """A run folder, as far as an export looks at one."""
    (tmp_path / "run").mkdir()
    save_model(model, tmp_path / "run" / "model.safetensors")
    return tmp_path / "run"


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("given", ["", "model.safetensors"])
def test_beside_the_model_by_default(folder: Path, to: str, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", str(folder / given), "--to", to, "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    place = folder / PLACES[to]
    assert err == ""
    assert found["path"] == str(place)
    assert found["format"] == to
    files = {path.name: path.stat().st_size for path in (place.iterdir() if place.is_dir() else [place])}
    assert found["files"] == files
    assert found["bytes"] == sum(files.values())
    assert found["classes"] == (["ant", "b\x1bee", "cow"] if to == "sklearn" else ["cow", "ant", "b\x1bee"])
    assert all(isinstance(what, str) for what in found["left_out"])
    assert load_model(folder).classes == ("cow", "ant", "b\x1bee")  # the model stands as it was


@pytest.mark.parametrize("to", FORMATS)
def test_what_exists_is_replaced_only_when_asked(folder: Path, to: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "x\x1b"
    command = ["export", str(folder), "--to", to, "--out", str(out)]
    assert run(command) == 0
    shown = capsys.readouterr().out
    assert "bytes" in shown
    assert "left out: " in shown
    assert "\x1b" not in shown
    assert ("sorted order" in shown) == (to == "sklearn")
    before = contents(out)
    assert run(command) == 2
    err = capsys.readouterr().err
    assert "exists" in err
    assert "--overwrite" in err
    assert run([*command, "--overwrite"]) == 0
    assert contents(out).keys() == before.keys()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["run", out.name]  # no temporary is left


def contents(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in (path.iterdir() if path.is_dir() else [path])}


def test_a_folder_of_other_things_is_never_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "out"
    assert run(["export", str(folder), "--to", "torch", "--out", str(out)]) == 0
    (out / "__pycache__").mkdir()  # an export that was used
    assert run(["export", str(folder), "--to", "torch", "--out", str(out), "--overwrite"]) == 0
    (out / "thesis.tex").touch()
    capsys.readouterr()
    assert run(["export", str(folder), "--to", "torch", "--out", str(out), "--overwrite"]) == 2
    assert "'thesis.tex', which is no part of an export" in capsys.readouterr().err
    assert (out / "thesis.tex").exists()
    for to in ("onnx", "sklearn"):
        assert run(["export", str(folder), "--to", to, "--out", str(out), "--overwrite"]) == 2
        assert "is a folder" in capsys.readouterr().err


def test_the_model_itself_is_never_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "model.safetensors"
    before = file.read_bytes()
    assert run(["export", str(file), "--to", "onnx", "--out", str(file), "--overwrite"]) == 2
    assert "is the model itself" in capsys.readouterr().err
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--to", "onxx"], 2, "onnx"),
        (["run"], 2, "--to"),
        (["nothing", "--to", "onnx"], 3, "there is no model file"),
        (["run", "--to", "onnx", "--out", "no/such/folder.onnx"], 2, "cannot be written"),
    ],
)
def test_exit_codes(
    folder: Path, arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(folder.parent)
    assert run(["export", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_an_unknown_format_gets_the_nearest(model: tw.FittedModel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"to is 'sklern'; .*did you mean 'sklearn'"):
        export(model, tmp_path / "x", to="sklern")


@pytest.mark.parametrize(("to", "package", "extra"), [("onnx", "onnx", "onnx"), ("sklearn", "skops.io", "skops")])
def test_a_missing_extra_is_named(
    model: tw.FittedModel, tmp_path: Path, to: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"pip install 'thalweg\[{extra}\]'"):
        export(model, tmp_path / "x", to=to)


def test_torch_is_not_needed_to_write(model: tw.FittedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    export(model, tmp_path / "x", to="torch")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["model.py", "weights.safetensors"]


def test_a_failure_half_way_leaves_what_was_there(
    model: tw.FittedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for to in FORMATS:
        export(model, tmp_path / to, to=to)
    before = {to: contents(tmp_path / to) for to in FORMATS}

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for to in FORMATS:
        with pytest.raises(UsageError, match=r"cannot be written: .*No space"):
            export(model, tmp_path / to, to=to, overwrite=True)
        assert contents(tmp_path / to) == before[to]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FORMATS)

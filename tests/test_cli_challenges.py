"""`thalweg score --challenges`: the table after the accuracy, JSON, and data that is no images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import thalweg as tw
from thalweg.artifacts import save_model
from thalweg.cli.app import run
from thalweg.data import Preprocessing


def saved(tmp_path: Path, shape: tuple[int, ...]) -> tuple[Path, Path]:
    """A model file, and data of its kind with classes whose names would move the cursor."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, size=(30, *shape), dtype=np.uint8)
    labels = np.array(["a\x1b[2J", "b"])[np.arange(30) % 2]
    np.savez(tmp_path / "data.npz", X=images, y=labels)
    weight = generator.normal(size=(2, int(np.prod(shape)))).astype(np.float32)
    model = tw.FittedModel(
        tw.Recipe(), {"weight": weight, "bias": np.zeros(2, np.float32)}, (), Preprocessing("none", np.float32(0),
        np.float32(1)), ("a\x1b[2J", "b"), shape, feature_dtype="uint8",
    )  # fmt: skip
    save_model(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors", tmp_path / "data.npz"


def test_the_table_follows_the_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = saved(tmp_path, (8, 8, 1))
    assert run(["score", str(model), str(data)]) == 0
    plain = capsys.readouterr().out
    assert run(["score", str(model), str(data), "--challenges"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(plain + "\n")
    assert out.count("\n") == plain.count("\n") + 1 + 1 + 48 + 2
    for word in ("illumination", "rotation", "within-class spread", "the images are 8 × 8 pixels"):
        assert word in out
    assert "\x1b" not in out


def test_json_has_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = saved(tmp_path, (8, 8, 1))
    assert run(["score", str(model), str(data), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert run(["score", str(model), str(data), "--challenges", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    table = found.pop("challenges")
    assert found == plain
    assert table["clean"]["accuracy"] == plain["accuracy"]
    assert len(table["rows"]) == 48
    for row in table["rows"]:
        assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
        assert row["drop"] == pytest.approx(plain["accuracy"] - row["accuracy"])


def test_what_needs_images_is_named_where_there_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = saved(tmp_path, (6,))
    assert run(["score", str(model), str(data), "--challenges"]) == 0
    out, err = capsys.readouterr()
    assert "within-class spread" in out
    assert "rotation" not in out
    assert "no images, so these are left out: illumination, shift, rotation, stretching, occlusion, clutter" in err

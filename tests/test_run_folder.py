"""The run folder: everything that is needed to read, use and repeat a run."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import thalweg as tw
from test_sweep import SPACE, blobs
from thalweg.recipe_files import decode, flatten
from thalweg.training import METRICS


@pytest.fixture(scope="module")
def run() -> tw.Run:
    diverging = tw.optimizers.SGD(tw.choice(1e30, 0.1))
    space = tw.Recipe(penalty=SPACE.penalty, optimizer=tw.choice(SPACE.optimizer, diverging), batch_size=64, epochs=4)
    return tw.sweep(space, blobs(), trials=8, patience=2)


@pytest.fixture
def folder(run: tw.Run, tmp_path: Path) -> Path:
    return run.save(tmp_path / "run")


def test_run_json_repeats_the_run(run: tw.Run, folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    assert decode(record["space"]) == run.space
    settings = {name: value for name, value in record["settings"].items() if name != "halving"}
    again = tw.sweep(decode(record["space"]), blobs(), **settings)
    assert again.model.params["weight"].tobytes() == run.model.params["weight"].tobytes()
    assert again.data.fingerprint == record["data"]["fingerprint"]
    assert record["best"]["test_accuracy"] == run.test.accuracy
    assert record["statuses"] == run.statuses
    assert record["versions"]["jax"]


def test_the_folder_stands_for_its_winner(run: tw.Run, folder: Path) -> None:
    assert tw.load_recipe(folder) == run.best.recipe
    assert tw.load_recipe(folder / "run.json") == run.best.recipe
    (folder / "run.json").write_text(json.dumps({"kind": "path", "settings": {}, "best": None}))
    with pytest.raises(tw.UsageError, match="no recipe trained"):
        tw.load_recipe(folder)
    (folder / "run.json").write_text(json.dumps({"settings": {}, "best": None}))
    with pytest.raises(tw.UsageError, match="selected no recipe"):
        tw.load_recipe(folder)


def test_trials_csv_has_a_row_for_each_trial(run: tw.Run, folder: Path) -> None:
    with open(folder / "trials.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == list(range(8))
    assert sum(row["best"] == "True" for row in rows) == 1
    for row, trial in zip(rows, run.trials, strict=True):
        assert row["status"] == trial.status.name
        assert row["reason"] == trial.status.reason
        for name, value in flatten(trial.recipe).items():
            assert row[name] == str(value)
        if trial.status.name == "completed":
            assert float(row["validation_accuracy"]) == trial.validation_accuracy


def test_history_is_an_array_of_trials_and_epochs_for_each_metric(run: tw.Run, folder: Path) -> None:
    with np.load(folder / "history.npz", allow_pickle=False) as history:
        assert set(history) == set(METRICS)
        for name in METRICS:
            table = history[name]
            assert table.shape == (8, max(len(t.history["data_loss"]) for t in run.trials))
            for row, trial in zip(table, run.trials, strict=True):
                values = trial.history[name]
                np.testing.assert_array_equal(row[: len(values)], values)
                assert np.all(np.isnan(row[len(values) :]))


def test_the_model_file_predicts_as_the_run_does(run: tw.Run, folder: Path) -> None:
    x, _ = blobs(seed=9)
    for place in (folder, folder / "model.safetensors"):
        model = tw.load_model(place)
        np.testing.assert_array_equal(model.scores(x), run.model.scores(x))
        assert model.classes == run.model.classes
        assert model.recipe == run.model.recipe


def test_a_folder_that_exists_is_refused_and_kept(run: tw.Run, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(tw.UsageError, match="--overwrite"):
        run.save(folder)
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    run.save(folder, overwrite=True)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["run"]


def test_an_unpickler_is_never_reached(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle was used")

    for name in ("load", "loads", "dump", "dumps", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    tw.load_model(folder)

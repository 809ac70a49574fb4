"""A run read back from its folder is the run that was saved."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import thalweg as tw
from test_sweep import SPACE, blobs


@pytest.fixture(scope="module")
def run() -> tw.Run:
    diverging = tw.optimizers.SGD(tw.choice(1e30, 0.1))
    space = tw.Recipe(penalty=SPACE.penalty, optimizer=tw.choice(SPACE.optimizer, diverging), batch_size=64, epochs=4)
    return tw.sweep(space, blobs(), trials=8, seeds=2, patience=2)


def test_a_sweep_comes_back(run: tw.Run, tmp_path: Path) -> None:
    again = tw.load_run(run.save(tmp_path / "run"))
    assert isinstance(again, tw.Run)
    assert {trial.status.name for trial in run.trials} >= {"completed", "diverged"}
    for old, new in zip(run.trials, again.trials, strict=True):
        assert new.recipe == old.recipe
        assert new.status == old.status
        assert (new.number, new.cohort, new.kept_epoch) == (old.number, old.cohort, old.kept_epoch)
        assert new.coordinates == old.coordinates
        for name, values in old.history.items():
            np.testing.assert_array_equal(new.history[name], values)
    assert again.selection == run.selection
    assert again.edges == run.edges
    assert again.test == run.test
    assert again.data == run.data
    assert again.space == run.space
    assert again.refitted == run.refitted
    assert again.model is not None
    assert again.model.params["weight"].tobytes() == run.model.params["weight"].tobytes()
    # Saved once more, it is the same record, but for where it lies.
    first = json.loads((tmp_path / "run" / "run.json").read_text())
    assert json.loads((again.save(tmp_path / "copy") / "run.json").read_text()) == first


@pytest.mark.parametrize("penalty", ["l2", "elastic_net"])
def test_a_path_comes_back(penalty: str, tmp_path: Path) -> None:
    path = tw.path(blobs(), strengths=[1e-1, 1e-2], folds=3, penalty=penalty)
    again = tw.load_run(path.save(tmp_path / "path"))
    assert isinstance(again, tw.paths.Path)
    for old, new in zip(path.solutions, again.solutions, strict=True):
        assert new.penalty == old.penalty
        assert (new.value, new.bound, new.status, new.loss) == (old.value, old.bound, old.status, old.loss)
        assert new.fold_accuracies == old.fold_accuracies
        np.testing.assert_array_equal(new.weights, old.weights)
    assert again.choice == path.choice
    assert again.preprocessing.kind == path.preprocessing.kind
    np.testing.assert_array_equal(again.preprocessing.shift, path.preprocessing.shift)
    np.testing.assert_array_equal(again.preprocessing.scale, path.preprocessing.scale)
    assert again.test == path.test


def test_an_interrupted_run_without_a_winner_comes_back(run: tw.Run, tmp_path: Path) -> None:
    bare = dataclasses.replace(run, selection=None, model=None, test=None, edges=(), refitted=False, interrupted=True)
    again = tw.load_run(bare.save(tmp_path / "run"))
    assert isinstance(again, tw.Run)
    assert again.best is None
    assert again.model is None
    assert again.interrupted


def test_what_is_no_run_folder_is_refused(run: tw.Run, tmp_path: Path) -> None:
    with pytest.raises(tw.DataError, match=r"no run folder.*--out"):
        tw.load_run(tmp_path)
    folder = run.save(tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    for damage, message in (
        ({**record, "format": 99}, "format 99"),
        ({key: value for key, value in record.items() if key != "coordinates"}, "run it again"),
        ({**record, "selection": {"best": 0}}, "damaged.*run it again"),
        ({**record, "coordinates": record["coordinates"][1:]}, "damaged"),
    ):
        (folder / "run.json").write_text(json.dumps(damage))
        with pytest.raises(tw.DataError, match=message):
            tw.load_run(folder)
    (folder / "run.json").write_text("{")
    with pytest.raises(tw.DataError, match="damaged"):
        tw.load_run(folder)
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "history.npz").write_bytes(b"PK")
    with pytest.raises(tw.DataError, match="damaged"):
        tw.load_run(folder)


def test_python_code_is_named_as_what_no_file_can_hold(tmp_path: Path) -> None:
    import optax

    recipe = tw.Recipe(optimizer=tw.optimizers.Optax(optax.sgd, 0.1), batch_size=64, epochs=1)
    folder = tw.fit(recipe, blobs()).save(tmp_path / "run")
    with pytest.raises(tw.UsageError, match="Python code"):
        tw.load_run(folder)


def test_a_model_that_is_missing_is_told(run: tw.Run, tmp_path: Path) -> None:
    """Without its weights a folder would pass for a run that selected nothing, under a verdict that says who won."""
    folder = run.save(tmp_path / "run")
    (folder / "model.safetensors").unlink()
    with pytest.raises(tw.DataError, match=r"lacks its model\.safetensors"):
        tw.load_run(folder)

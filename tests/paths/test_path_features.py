"""Paths on image features: the same numbers as on the features themselves, and a model that takes images."""

from __future__ import annotations

import json

import numpy as np
import pytest

import thalweg as tw
from thalweg.cli.app import run
from thalweg.data import Dataset, Split
from thalweg.errors import UsageError
from thalweg.features import ColorHistogram

OPTIONS = {"strengths": [1e-2, 1e-3], "folds": 2}


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    labels = (np.arange(60) % 2).astype(np.int32)
    pictures = rng.integers(0, 160, (60, 8, 8, 3))
    pictures[labels == 1, :, :, 0] += 60  # one class is redder
    parts = [Split(pictures[a:b].astype(np.uint8), labels[a:b]) for a, b in ((0, 30), (30, 40), (40, 60))]
    return Dataset("pictures", "made", parts[0], ("dull", "red"), parts[1], parts[2])


@pytest.fixture(scope="module")
def found(images, tmp_path_factory):
    return tw.path(images, features="color", cache=tmp_path_factory.mktemp("kept"), **OPTIONS)


def test_the_optima_are_those_of_the_features(images, found):
    part = ColorHistogram()
    state = part.fit(images.train.features)
    seen = [Split(part.transform(one.features, state), one.labels) for _, one in images.splits()]
    alone = tw.path(Dataset("seen", "made", seen[0], images.classes, seen[1], seen[2]), **OPTIONS)
    for ours, other in zip(found.solutions, alone.solutions, strict=True):
        np.testing.assert_array_equal(ours.weights, other.weights)
    assert found.test == alone.test


def test_the_model_takes_images(images, found, tmp_path):
    folder = found.save(tmp_path / "run")
    model = tw.load_model(folder)
    assert model.feature_shape == (8, 8, 3)
    assert model.score(images.test).correct == found.test.correct
    record = json.loads((folder / "run.json").read_text())
    assert record["settings"]["features"]["kind"] == "color_histogram"
    assert "export" in (folder / "code" / "train_sklearn.py").read_text()


def test_they_are_kept_for_the_next_path(images, found, tmp_path):
    first = tw.path(images, features="color", cache=tmp_path, **OPTIONS)
    again = tw.path(images, features="color", cache=tmp_path, **OPTIONS)
    assert "kept in" in first.messages[0]
    assert "read from" in again.messages[0]


def test_features_that_are_none(images):
    with pytest.raises(UsageError, match="colr"):
        tw.path(images, features="colr", **OPTIONS)
    with pytest.raises(UsageError, match="images"):
        tw.path((np.zeros((4, 3)), [0, 1, 0, 1]), features="color", **OPTIONS)


def test_on_the_command_line(images, tmp_path, capsys):
    splits = {f"{kind}_{name}": getattr(one, field) for name, one in images.splits()
              for kind, field in (("X", "features"), ("y", "labels"))}  # fmt: skip
    np.savez(tmp_path / "pictures.npz", **splits)
    options = ["--strengths", "1e-3:1e-2:2", "--folds", "2", "--features", "color", "--out", str(tmp_path / "run")]
    cache = ["--features-cache", str(tmp_path / "kept")]
    assert run(["path", str(tmp_path / "pictures.npz"), *options, *cache]) == 0
    assert run(["score", str(tmp_path / "run"), str(tmp_path / "pictures.npz")]) == 0
    assert "(20 of 20 right, test split" in capsys.readouterr().out

"""ONNX: onnxruntime gives the model's scores, probabilities and class names from raw features."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from export_cases import ACTIVATIONS, HOSTILE, NETWORKS, SHAPE, close, drawn, examples

import thalweg as tw
from thalweg.artifacts import export
from thalweg.artifacts.exports.onnx import OPSET
from thalweg.errors import UsageError
from thalweg.features import HOG, ColorHistogram, Patches
from thalweg.models import Linear

IMAGES = (8, 8, 3)


def opened(model: tw.FittedModel, path: Path) -> onnxruntime.InferenceSession:
    written = export(model, path / "model.onnx", to="onnx")
    assert written.files == {"model.onnx": (path / "model.onnx").stat().st_size}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path / "model.onnx", options, providers=["CPUExecutionProvider"])


def computed(model: tw.FittedModel, x: np.ndarray, path: Path) -> dict[str, Any]:
    """Write the file, read it, run it."""
    session = opened(model, path)
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, {"features": x}), strict=True))


def agrees(model: tw.FittedModel, x: np.ndarray, path: Path, tolerance: float = 1e-5) -> None:
    found = computed(model, x, path)
    close(found["scores"], model.scores(x), tolerance)
    assert found["label"].tolist() == model.predict(x).tolist()
    assert len(set(found["label"].tolist())) > 1
    if "probabilities" in found:
        np.testing.assert_allclose(found["probabilities"], model.probabilities(x), atol=tolerance)


@pytest.mark.parametrize("preprocessing", ["none", "scale", "center", "standardize"])
@pytest.mark.parametrize("shape", [(5,), IMAGES])
def test_linear_models(tmp_path: Path, shape: tuple[int, ...], preprocessing: str) -> None:
    bias = preprocessing != "none"
    agrees(drawn(Linear(bias=bias), shape, preprocessing=preprocessing), examples(shape, seed=1), tmp_path)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_models(tmp_path: Path, activation: str) -> None:
    agrees(drawn(ACTIVATIONS[activation], (5,)), examples((5,), seed=1), tmp_path)


@pytest.mark.parametrize("name", NETWORKS)
def test_convolutional_models(tmp_path: Path, name: str) -> None:
    agrees(drawn(NETWORKS[name], SHAPE), examples(SHAPE, seed=1), tmp_path)


@pytest.mark.parametrize(
    "part",
    [
        ColorHistogram(grid=2, bins=(5, 2, 3)),
        HOG(cell=4),
        Patches(count=6, patch=3, samples=200, iterations=3),
        Patches(count=5, patch=2, stride=2, pooling=3, mirror=True, samples=100, iterations=2)
        + HOG(cell=2, block=1, signed=False)
        + ColorHistogram(grid=3, root=False),
    ],
    ids=lambda part: part.name,
)
def test_image_features(tmp_path: Path, part: Any) -> None:
    """A root or a quotient of rounding errors near 0 is some 1e-5: hence the wider tolerance."""
    shape = (8, 12, 3)
    images = examples(shape, seed=1)
    images[0], images[1] = 0, 255  # black and white: no hue, no gradient
    images[2] = np.arange(12)[None, :, None] * 20  # grey, every gradient horizontal
    images[3] = np.arange(8)[:, None, None] * [[30, 0, 5]]  # every gradient vertical
    agrees(drawn(Linear(), shape, features=part), images, tmp_path, 1e-4)


def test_every_direction_of_a_gradient(tmp_path: Path) -> None:
    """atan2 is pieced together: all four quadrants, both axes of both signs, and none; some on the borders of bins."""
    down, right = np.meshgrid(np.arange(-8, 9), np.arange(-8, 9))
    y, x = np.mgrid[:4, :4]
    ramps = down.reshape(-1, 1, 1) * y + right.reshape(-1, 1, 1) * x
    images = (120 + ramps[..., None]).astype(np.uint8)
    part = HOG(cell=4, block=1) + HOG(cell=4, block=1, signed=False, soft=False, orientations=9)
    model = drawn(Linear(), (4, 4, 1), features=part)
    close(computed(model, images, tmp_path)["scores"], model.scores(images), 1e-4)


def test_images_of_floating_point_numbers(tmp_path: Path) -> None:
    """They are not divided by 255, by features either."""
    model = drawn(Linear(), (4, 4, 1), features=HOG(cell=4, block=1))
    model = dataclasses.replace(model, feature_dtype="float32")
    agrees(model, (examples((4, 4, 1), seed=1) / 255).astype(np.float32), tmp_path, 1e-4)


def test_what_the_file_says_of_itself(tmp_path: Path) -> None:
    names = ("length", 'wid"th', "höhe\n", "x", "y")
    model = drawn(Linear(), (5,), loss=tw.losses.Hinge(), classes=HOSTILE, names=names)
    x = examples((5,), 200, seed=1)
    found = computed(model, x, tmp_path)
    assert sorted(found) == ["label", "scores"]  # a hinge's scores are no probabilities
    assert set(found["label"].tolist()) <= set(HOSTILE)
    assert found["label"].tolist() == [HOSTILE[place] for place in model.scores(x).argmax(axis=1)]
    proto = onnx.load(tmp_path / "model.onnx")
    assert [(one.domain, one.version) for one in proto.opset_import] == [("", OPSET)]
    about = {one.key: one.value for one in proto.metadata_props}
    assert about.pop("thalweg_version") == proto.producer_version == tw.__version__
    about = {key: json.loads(value) for key, value in about.items()}
    assert tuple(about["classes"]) == HOSTILE
    assert tuple(about["feature_names"]) == names
    assert about["recipe"]["loss"] == {"kind": "hinge"}


def test_any_number_of_examples(tmp_path: Path) -> None:
    model = drawn(NETWORKS["max"], SHAPE)
    session = opened(model, tmp_path)
    for count in (0, 1, 3):
        x = examples(SHAPE, 3)[:count]
        scores, probabilities, labels = session.run(None, {"features": x})
        assert scores.shape == probabilities.shape == (count, 3)
        assert labels.shape == (count,)


def test_weights_beyond_what_one_message_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.artifacts.exports.onnx._LARGEST", 4 * (3 * 5 + 3) - 1)  # a byte too few
    with pytest.raises(UsageError, match=r"a file of ONNX holds 2 GB: .*torch"):
        export(drawn(Linear(), (5,)), tmp_path / "model.onnx", to="onnx")
    assert not list(tmp_path.iterdir())


def test_what_a_graph_cannot_hold(tmp_path: Path) -> None:
    place = tmp_path / "model.onnx"

    class Own(Linear):
        """One's own: what its apply does, nobody can tell."""

    pair = (lambda key, shape, classes: (np.zeros((classes, *shape), np.float32), ()), _apply)
    for model in (drawn(Own(), (5,)), drawn(tw.Recipe(model=pair).model, (5,))):
        with pytest.raises(UsageError, match=r"Python code, which no export can read; .*model.params"):
            export(model, place, to="onnx")

    class Brightness(HOG):
        """One's own features."""

    with pytest.raises(UsageError, match="Brightness in the pixels' place: Python code"):
        export(drawn(Linear(), IMAGES, features=Brightness(cell=4)), place, to="onnx")
    with pytest.raises(UsageError, match=r"'\\udcff' is no Unicode text"):
        export(drawn(Linear(), (5,), classes=("a", "\udcff")), place, to="onnx")
    assert not list(tmp_path.iterdir())


def _apply(params: Any, state: Any, x: Any, *, key: Any, training: bool) -> tuple[Any, Any]:
    return x @ params.T, state

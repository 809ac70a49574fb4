"""scikit-learn: the pipeline that skops reads back agrees with the model, and is what scikit-learn expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from export_cases import HOSTILE, close, drawn, examples
from sklearn.metrics import log_loss
from sklearn.utils.validation import check_is_fitted

import thalweg as tw
from thalweg.artifacts import export
from thalweg.errors import UsageError
from thalweg.features import ColorHistogram
from thalweg.models import Convolutional, Dense, Linear

IMAGES = (4, 6, 3)
TWO = ("yes", "no")  # not in sorted order


def loaded(model: tw.FittedModel, path: Path) -> Any:
    written = export(model, path / "model.skops", to="sklearn")
    assert skops.io.get_untrusted_types(file=written.path) == []
    pipeline = skops.io.load(written.path, trusted=[])
    check_is_fitted(pipeline)
    assert pipeline.classes_.tolist() == sorted(model.classes) == list(written.classes)
    return pipeline


def agrees(model: tw.FittedModel, x: np.ndarray, pipeline: Any) -> None:
    """Predictions, decisions or probabilities are the model's, in the columns' sorted order."""
    order = np.argsort(model.classes)
    flat = x.reshape(len(x), -1)
    assert pipeline.n_features_in_ == flat.shape[1]
    assert pipeline.predict(flat).tolist() == model.predict(x).tolist()
    assert len(set(pipeline.predict(flat))) > 1
    if hasattr(pipeline, "decision_function"):
        scores = model.scores(x)[:, order]
        close(pipeline.decision_function(flat), scores if len(order) > 2 else scores[:, 1] - scores[:, 0])
    if isinstance(model.recipe.loss, tw.losses.Softmax):
        probabilities = model.probabilities(x)[:, order]
        np.testing.assert_allclose(pipeline.predict_proba(flat), probabilities, atol=1e-5)
    else:
        assert not hasattr(pipeline, "predict_proba")


@pytest.mark.parametrize("classes", [TWO, ("cow", "ant", "bee")])
@pytest.mark.parametrize("loss", [tw.losses.Softmax(), tw.losses.Hinge()], ids=lambda loss: loss.kind)
@pytest.mark.parametrize(
    ("shape", "preprocessing"), [((5,), "standardize"), ((5,), "none"), (IMAGES, "center"), (IMAGES, "scale")]
)
def test_linear_models(tmp_path: Path, shape: Any, preprocessing: str, loss: Any, classes: Any) -> None:
    model = drawn(Linear(), shape, loss=loss, classes=classes, preprocessing=preprocessing)
    x = examples(shape, seed=1)
    if preprocessing == "standardize":
        x[:, -1] += 100  # constant in training: it counts for nothing
    pipeline = loaded(model, tmp_path)
    agrees(model, x, pipeline)
    rows = 1 if len(classes) == 2 else 3
    classifier = pipeline[-1]
    assert type(classifier).__name__ == ("LogisticRegression" if loss.kind == "softmax" else "LinearSVC")
    assert classifier.coef_.shape == (rows, int(np.prod(shape)))
    assert classifier.intercept_.shape == (rows,)
    assert len(pipeline) == (1 if preprocessing == "none" else 2)


@pytest.mark.parametrize("classes", [TWO, ("cow", "ant", "bee")])
@pytest.mark.parametrize(("activation", "norm"), [("relu", True), ("tanh", False), ("sigmoid", True)])
def test_dense_models(tmp_path: Path, activation: str, norm: bool, classes: Any) -> None:
    """Batch normalisation is folded in: in exact arithmetic an affine layer and its norm are one affine layer."""
    kind = Dense((6, 4), activation=activation, batch_norm=norm, dropout=0.5, epsilon=0.01)
    for shape in ((5,), IMAGES):
        model = drawn(kind, shape, classes=classes)
        folder = tmp_path / str(len(shape))
        folder.mkdir()
        agrees(model, examples(shape, seed=1), loaded(model, folder))


def test_dense_without_hidden_layers_is_linear(tmp_path: Path) -> None:
    model = drawn(Dense(()), (5,), loss=tw.losses.Hinge())
    agrees(model, examples((5,), seed=1), loaded(model, tmp_path))


def test_columns_stand_as_metrics_take_them(tmp_path: Path) -> None:
    """log_loss takes columns in sorted order: in another, its value would be wrong without a word."""
    model = drawn(Linear(), (5,), classes=("cow", "bee", "ant"))
    x = examples((5,), 60, seed=1)
    labels = np.random.default_rng(2).integers(0, 3, 60)
    found = log_loss(np.asarray(model.classes)[labels], loaded(model, tmp_path).predict_proba(x))
    expected = float(np.mean(np.asarray(model.recipe.loss(model.scores(x), labels))))
    assert found == pytest.approx(expected, rel=1e-4)


def test_names_of_any_text(tmp_path: Path) -> None:
    names = ("length", 'wid"th', "höhe\n", "x", "y")
    model = drawn(Linear(), (5,), classes=HOSTILE, names=names)
    pipeline = loaded(model, tmp_path)
    assert pipeline.feature_names_in_.tolist() == list(names)
    x = examples((5,), seed=1)
    with pytest.warns(UserWarning, match="valid feature names"):
        assert pipeline.predict(x).tolist() == model.predict(x).tolist()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: drawn(Dense(3, activation="gelu"), (5,)), "activation is 'gelu', .*onnx or torch"),
        (lambda: drawn(Dense(3), (5,), loss=tw.losses.Hinge()), "trained with Hinge, .*onnx or torch"),
        (lambda: drawn(Convolutional(width=2, blocks=1), IMAGES), "Convolutional, .*onnx or torch"),
        (
            lambda: drawn(Linear(), (4, 4, 3), features=ColorHistogram(grid=2)),
            "ColorHistogram in the pixels.*onnx",
        ),
        (lambda: drawn(Linear(), (5,), classes=("all",)), "one class.*onnx"),
    ],
    ids=["gelu", "hinge", "convolutional", "features", "one class"],
)
def test_what_a_pipeline_cannot_hold(tmp_path: Path, model: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        export(model(), tmp_path / "model.skops", to="sklearn")
    assert not list(tmp_path.iterdir())

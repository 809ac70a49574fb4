"""scikit-learn: a fitted Pipeline of a scaler and a classifier, in skops' format.

What scikit-learn expects of an estimator is kept: ``classes_`` are sorted (its metrics
take the columns in that order), and two classes have one row of coefficients, whose
decision is the second class's score less the first's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from thalweg.artifacts.exports.network import (
    Activation,
    Affine,
    Dropout,
    Flatten,
    Normalisation,
    has_probabilities,
    network,
)
from thalweg.artifacts.exports.record import Export, check_file, write_file
from thalweg.errors import UsageError
from thalweg.fitted import FittedModel

__all__ = ["build", "write"]

_ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}


def write(model: FittedModel, path: Path, *, overwrite: bool) -> Export:
    """Write the file; see `exports.export`."""
    try:
        import skops.io
    except ImportError as error:
        raise UsageError("writing scikit-learn's models needs skops: pip install 'thalweg[skops]'") from error
    check_file(path, overwrite=overwrite)
    pipeline = build(model)
    content = skops.io.dumps(pipeline)
    if untrusted := skops.io.get_untrusted_types(data=content):
        raise AssertionError(f"the pipeline holds {untrusted}, which skops would not load")
    write_file(path, content, overwrite=overwrite)
    left_out = ["the recipe: the estimators' own parameters are scikit-learn's defaults, for nothing was fitted here"]
    if len(model.feature_shape) > 1:
        left_out.append(f"the images' shape: it takes images laid flat, X.reshape(len(X), {_features(model)})")
    classes = tuple(str(name) for name in pipeline.classes_)
    return Export("sklearn", path, {path.name: len(content)}, classes, tuple(left_out))


def build(model: FittedModel) -> Any:
    """Return the fitted `sklearn.pipeline.Pipeline`; its X is (N, features), images laid flat.

    Steps: ``preprocessing``, a StandardScaler, unless there is none; ``classifier``, which is
    LogisticRegression for the softmax loss, LinearSVC for any other, MLPClassifier for
    hidden layers. Batch normalisation is folded into the weights before it.
    """
    from sklearn.pipeline import Pipeline

    layers, activation = _folded(model)
    first, steps = _scaler(model), []
    # A constant feature has scale 0, which no scaler can divide by: it counts for nothing, so its weights are 0.
    used = np.broadcast_to(model.preprocessing.scale, model.feature_shape).ravel() != 0
    layers[0] = (np.where(used[None, :], layers[0][0], np.float32(0)), layers[0][1])
    order = np.argsort(np.asarray(model.classes, object), kind="stable")
    classes = np.asarray([model.classes[place] for place in order])
    layers[-1] = _sorted(*layers[-1], order)
    classifier = _linear(model, layers[0]) if len(layers) == 1 else _perceptron(model, layers, activation, classes)
    classifier.classes_ = classes
    if first is not None:
        steps.append(("preprocessing", first))
    steps.append(("classifier", classifier))
    for _, step in steps:
        step.n_features_in_ = _features(model)
    if model.feature_names is not None:
        steps[0][1].feature_names_in_ = np.asarray(model.feature_names, object)
    return Pipeline(steps)


def _folded(model: FittedModel) -> tuple[list[tuple[np.ndarray, np.ndarray]], str]:
    """Return each affine layer's (weight, bias), with its normalisation in it, and the activation between."""
    if model.recipe.features is not None:
        raise UsageError(
            f"the model sees {model.recipe.features.name} in the pixels' place, which scikit-learn has no step for: "
            "export it to onnx"
        )
    if len(model.classes) < 2:
        raise UsageError("the model has one class, and scikit-learn's classifiers have two at least: export it to onnx")
    found: list[tuple[np.ndarray, np.ndarray]] = []
    activation = "identity"
    for layer in network(model):
        match layer:
            case Affine(weight, bias):
                found.append((weight, np.zeros(len(weight), np.float32) if bias is None else bias))
            case Normalisation():
                found[-1] = _normalised(*found[-1], layer)
            case Activation(name):
                activation = name
            case Flatten() | Dropout():
                pass
            case _:
                raise UsageError(
                    f"the model is a {type(model.recipe.model).__name__}, which scikit-learn has no counterpart of: "
                    "export it to onnx or torch"
                )
    return found, activation


def _normalised(weight: np.ndarray, bias: np.ndarray, norm: Normalisation) -> tuple[np.ndarray, np.ndarray]:
    """W' = f W and b' = f (b − μ) + β with f = γ/√(σ² + ε): an affine layer and its normalisation are one."""
    factor = norm.scale / np.sqrt(norm.variance.astype(np.float64) + norm.epsilon)
    after = factor * (bias - norm.mean) + norm.offset
    return (factor[:, None] * weight).astype(np.float32), after.astype(np.float32)


def _sorted(weight: np.ndarray, bias: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order the classes; of two, keep the difference, since only that decides."""
    weight, bias = weight[order], bias[order]
    return (weight, bias) if len(order) > 2 else (weight[1:] - weight[:1], bias[1:] - bias[:1])


def _scaler(model: FittedModel) -> Any:
    """A StandardScaler, (x − mean_)/scale_, in our preprocessing's place; None where there is none."""
    from sklearn.preprocessing import StandardScaler

    preprocessing = model.preprocessing
    if preprocessing.kind == "none" and not np.any(preprocessing.shift):
        return None
    shift, scale = (
        np.broadcast_to(np.asarray(a, np.float64), model.feature_shape).ravel()
        for a in (preprocessing.shift, preprocessing.scale)
    )
    scaler = StandardScaler()
    scaler.mean_ = shift.copy()
    scaler.scale_ = 1 / np.where(scale == 0, 1, scale)
    scaler.var_ = scaler.scale_**2
    return scaler


def _linear(model: FittedModel, layer: tuple[np.ndarray, np.ndarray]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    # Crammer and Singer's is the one of its losses that, like ours, looks at all classes at once.
    classifier = LogisticRegression() if has_probabilities(model) else LinearSVC(multi_class="crammer_singer")
    classifier.coef_, classifier.intercept_ = layer
    return classifier


def _perceptron(
    model: FittedModel, layers: list[tuple[np.ndarray, np.ndarray]], activation: str, classes: np.ndarray
) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import LabelBinarizer

    if activation not in _ACTIVATIONS:
        raise UsageError(
            f"the model's activation is {activation!r}, and scikit-learn has {', '.join(_ACTIVATIONS)}: export it to "
            "onnx or torch"
        )
    if not has_probabilities(model):
        raise UsageError(
            f"the model was trained with {type(model.recipe.loss).__name__}, and scikit-learn's networks give "
            "probabilities in the place of scores, which such a model has none of: export it to onnx or torch"
        )
    classifier = MLPClassifier([len(bias) for _, bias in layers[:-1]], activation=_ACTIVATIONS[activation])
    classifier.coefs_ = [np.ascontiguousarray(weight.T) for weight, _ in layers]
    classifier.intercepts_ = [bias for _, bias in layers]
    classifier.n_layers_ = len(layers) + 1
    classifier.n_outputs_ = len(layers[-1][1])
    classifier.out_activation_ = "logistic" if len(classes) == 2 else "softmax"
    classifier._label_binarizer = LabelBinarizer().fit(classes)
    return classifier


def _features(model: FittedModel) -> int:
    return int(np.prod(model.feature_shape))

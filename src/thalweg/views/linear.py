"""The algebraic view: a model's weights and biases, of features as they come or by their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.errors import UsageError
from thalweg.fitted import FittedModel
from thalweg.models import Linear

__all__ = ["WeightRecord", "as_fitted", "feature_names", "hyperplane", "linear_form", "weight_record"]

_UNITS = {
    "standardize": "standard deviation of the feature",
    "center": "root mean square of all features",
    "scale": "255 grey levels",
    "none": "unit of the feature",
}


@dataclass(frozen=True, eq=False)
class WeightRecord:
    """A linear model's weights by the names of their features.

    Attributes:
        classes, feature_names: their names.
        weights: ``(classes, features)``.
        bias: ``(classes,)``, the scores where all (preprocessed) features are 0.
        unit: what of a feature adds a weight to the score, in words.
    """

    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    weights: np.ndarray
    bias: np.ndarray
    unit: str


def as_fitted(model: Any) -> FittedModel:
    """Return the model itself, or the one that a fitted estimator holds as ``model_``."""
    found = model if isinstance(model, FittedModel) else getattr(model, "model_", None)
    if not isinstance(found, FittedModel):
        raise UsageError(
            f"model is a {type(model).__name__}; give a FittedModel (a run's or path's .model, or load_model(file)), "
            "or a fitted estimator"
        )
    return found


def linear_form(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """The algebraic view: W (classes, features) and b (classes,) with scores s = W x + b, in float64.

    With preprocessing x' = (x − shift) · scale and the model's own W', b':
    W = W' · scale and b = b' − W shift.
    """
    model = as_fitted(model)
    weights, bias, scale, shift = _own_form(model)
    weights = weights * scale
    return weights, bias - weights @ shift


def _own_form(model: FittedModel) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """W' and b' of preprocessed features, and the preprocessing's scale and shift (features,)."""
    if not isinstance(model.recipe.model, Linear):
        raise UsageError(
            f"the model is a {type(model.recipe.model).__name__}; only models.Linear is one weight a feature"
        )
    if model.recipe.features is not None:
        raise UsageError(
            f"the model sees {model.recipe.features.name} in the pixels' place, so it has no weight for each pixel; "
            "train it without features to look at its weights as images"
        )
    ones = np.ones(model.feature_shape)
    scale, shift = ((getattr(model.preprocessing, name) * ones).ravel() for name in ("scale", "shift"))
    weights = np.asarray(model.params["weight"], np.float64)
    return weights, np.asarray(model.params.get("bias", np.zeros(len(weights))), np.float64), scale, shift


def weight_record(model: Any, *, preprocessed: bool = True) -> WeightRecord:
    """The algebraic view by feature names: the weights of a linear model of a table.

    Args:
        model: a linear model of features in one row (a table's columns, or any array (N, D)).
        preprocessed: True gives the weights on preprocessed features, which can be
            compared though the columns have different units; False those of `linear_form`.

    Raises:
        UsageError: a model that is not linear, or one of images.
    """
    model = as_fitted(model)
    if len(model.feature_shape) != 1:
        raise UsageError(f"features of shape {model.feature_shape} are images: look at them as templates")
    weights, bias, scale, _ = _own_form(model)
    weights = np.where(scale == 0, 0.0, weights)  # a constant column, of which the scores see nothing
    unit = _UNITS.get(model.preprocessing.kind, "preprocessed unit of the feature")
    if not preprocessed:
        (weights, bias), unit = linear_form(model), _UNITS["none"]
    return WeightRecord(model.classes, feature_names(model), weights, bias, unit)


def feature_names(model: FittedModel) -> tuple[str, ...]:
    return model.feature_names or tuple(f"feature {i}" for i in range(model.feature_shape[0]))


def hyperplane(model: Any, first: str, second: str) -> tuple[np.ndarray, float]:
    """The geometric view: the normal n (features,) and offset c of n · x + c = 0, where two classes score alike.

    n points to the side of ``first``; |n · x + c| / ‖n‖ is an example's distance from the border.
    """
    model = as_fitted(model)
    for name in (first, second):
        if name not in model.classes:
            raise UsageError(f"class {name!r} is unknown; the model's classes are {', '.join(model.classes)}")
    weights, bias = linear_form(model)
    one, other = model.classes.index(first), model.classes.index(second)
    return weights[one] - weights[other], float(bias[one] - bias[other])

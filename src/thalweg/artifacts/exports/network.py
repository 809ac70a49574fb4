"""A fitted model as a plain list of layers: what every export writes down in its own words.

Here, and nowhere else, is known how a model's parameters are laid out and how it
behaves in evaluation. Arrays are float32 in the order that `models` keeps them;
images are (N, height, width, channels), and a format that puts channels first turns them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from thalweg.errors import UsageError
from thalweg.fitted import FittedModel
from thalweg.losses import Softmax
from thalweg.models import Convolutional, Dense, Linear
from thalweg.models.dense import OUTPUT
from thalweg.models.layers import survival_probabilities
from thalweg.models.pooling import regions

__all__ = [
    "Activation", "Affine", "Convolution", "Dropout", "Flatten", "FractionalPooling", "Layer", "Normalisation",
    "Pooling", "Residual", "SpatialMean", "float32", "has_probabilities", "network", "seen_shape",
]  # fmt: skip


@dataclass(frozen=True)
class Flatten:
    """(N, ...) to (N, features), the last axis running fastest."""


@dataclass(frozen=True, eq=False)
class Affine:
    """y = W x + b; weight (out, in), bias (out,) or None."""

    weight: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Convolution:
    """`models.convolution.convolve`: weight (side, side, in, out) with an odd side; bias (out,) or None."""

    weight: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Normalisation:
    """scale · (x − mean)/√(variance + epsilon) + offset; arrays (size,), for features or the channels of images."""

    scale: np.ndarray
    offset: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float
    momentum: float
    images: bool


@dataclass(frozen=True)
class Activation:
    """One of `models.layers.ACTIVATIONS`, by name."""

    name: str


@dataclass(frozen=True)
class Dropout:
    """Nothing in evaluation; kept for formats that can be trained further."""

    rate: float


@dataclass(frozen=True)
class Pooling:
    """ "max" or "average" over disjoint 2 × 2 pixels."""

    kind: str


@dataclass(frozen=True, eq=False)
class FractionalPooling:
    """y[i, j] = the maximum of x[rows[:, i], columns[:, j]]: integers (pixels of a region, regions of that side)."""

    rows: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True, eq=False)
class Residual:
    """max(0, x + survival · f(x)), f being the layers; survival None stands for 1, without stochastic depth."""

    layers: tuple[Layer, ...]
    survival: float | None


@dataclass(frozen=True)
class SpatialMean:
    """(N, height, width, channels) to the channels' means (N, channels)."""


Layer: TypeAlias = (
    Flatten
    | Affine
    | Convolution
    | Normalisation
    | Activation
    | Dropout
    | Pooling
    | FractionalPooling
    | Residual
    | SpatialMean
)


def network(model: FittedModel) -> list[Layer]:
    """Return the layers from preprocessed features to scores.

    Raises a UsageError for a model that is Python code: it has no layers that could be read off.
    """
    kind = model.recipe.model
    if type(kind) is Linear:
        return [Flatten(), _affine(model.params)]
    if type(kind) is Dense:
        return _dense(kind, model.params, model.model_state)
    if type(kind) is Convolutional:
        return _convolutional(kind, model.params, model.model_state, model.feature_shape)
    raise UsageError(
        f"the model is a {type(kind).__name__}: Python code, which no export can read; export a Linear, Dense or "
        "Convolutional model, or take model.params, a tree of NumPy arrays, and write down in the other library what "
        "your apply does"
    )


def seen_shape(model: FittedModel) -> tuple[int, ...]:
    """Return the shape of one example as preprocessing meets it: behind the recipe's features, if it has any."""
    part = model.recipe.features
    return model.feature_shape if part is None else (part.size(model.feature_shape),)


def has_probabilities(model: FittedModel) -> bool:
    """Whether the softmax of the scores estimates probabilities (see `FittedModel.probabilities`)."""
    return isinstance(model.recipe.loss, Softmax)


def float32(array: Any) -> np.ndarray:
    """The precision that a model computes in, whatever its file holds."""
    return np.asarray(array, np.float32)


def _dense(kind: Dense, params: Any, state: Any) -> list[Layer]:
    layers: list[Layer] = [Flatten()]
    for place in range(1, len(kind.hidden) + 1):
        name = f"layer_{place}"
        layers.append(_affine(params[name]))
        if kind.batch_norm:
            layers.append(_normalisation(kind, params[name], state[name]))
        layers += [Activation(kind.activation), *_dropout(kind.dropout)]
    return [*layers, _affine(params[OUTPUT])]


def _convolutional(kind: Convolutional, params: Any, state: Any, shape: tuple[int, ...]) -> list[Layer]:
    def convolution(name: str) -> list[Layer]:
        layer = Convolution(float32(params[name]["weight"]), _bias(params[name]))
        return [layer, _normalisation(kind, params[name], state[name])] if kind.batch_norm else [layer]

    deep = kind.stochastic_depth
    survival = [None] * sum(kind.blocks) if deep is None else survival_probabilities(float(deep), sum(kind.blocks))
    relu, sides, block = Activation("relu"), shape[:2], 0
    layers: list[Layer] = [*convolution("stem"), relu]
    for stage, count in enumerate(kind.blocks, start=1):
        if stage > 1:
            pooled, sides = _pooling(kind, sides)
            layers += [pooled, *convolution(f"widen_{stage}"), relu]
        for _ in range(count):
            block += 1
            first, second = (convolution(f"block_{block}_{part}") for part in ("first", "second"))
            layers.append(Residual((*first, relu, *second), survival[block - 1]))
    return [*layers, SpatialMean(), *_dropout(kind.dropout), _affine(params[OUTPUT])]


def _pooling(kind: Convolutional, sides: tuple[int, ...]) -> tuple[Layer, tuple[int, ...]]:
    """Return the layer, and the image's sides behind it."""
    if kind.pooling != "fractional":
        return Pooling(kind.pooling), tuple(side // 2 for side in sides)
    rows, columns = (_pixels(kind, side) for side in sides)
    return FractionalPooling(rows, columns), (rows.shape[1], columns.shape[1])


def _pixels(kind: Convolutional, side: int) -> np.ndarray:
    """Return each region's pixels in evaluation (pixels, regions); a short region repeats its last."""
    cuts = np.asarray(regions(side, kind.ratio, None, kind.cuts), np.int64)
    first, after = cuts[:-1], cuts[1:]
    last = np.minimum(after, side - 1) if kind.overlapping else after - 1
    return np.stack([np.minimum(first + step, last) for step in range(3 if kind.overlapping else 2)])


def _affine(params: Any) -> Affine:
    return Affine(float32(params["weight"]), _bias(params))


def _bias(params: Any) -> np.ndarray | None:
    return float32(params["bias"]) if "bias" in params else None


def _normalisation(kind: Dense | Convolutional, params: Any, state: Any) -> Normalisation:
    return Normalisation(
        scale=float32(params["norm_scale"]),
        offset=float32(params["norm_offset"]),
        mean=float32(state["mean"]),
        variance=float32(state["variance"]),
        epsilon=float(kind.epsilon),
        momentum=float(kind.momentum),
        images=isinstance(kind, Convolutional),
    )


def _dropout(rate: Any) -> list[Layer]:
    return [] if rate is None else [Dropout(float(rate))]

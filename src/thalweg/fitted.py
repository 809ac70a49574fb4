"""A fitted model: weights with all that is needed to use them on new data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.data.dataset import Split
from thalweg.data.preprocessing import Preprocessing
from thalweg.errors import DataError, UsageError
from thalweg.losses import Softmax
from thalweg.recipe import Recipe
from thalweg.statistics import Accuracy

__all__ = ["FittedModel", "Score"]

_ROWS = 4096


@dataclass(frozen=True)
class Score(Accuracy):
    """Accuracy on held examples, with Wilson's 95 % interval, and the mean data loss."""

    loss: float


@dataclass(frozen=True, eq=False)
class FittedModel:
    """Trained weights, their recipe, the class names, and the preprocessing fitted with them.

    ``params`` and ``model_state`` are trees of NumPy arrays, as the recipe's
    model defines them: a linear model's are ``weight`` (classes, features) and
    ``bias`` (classes,), for preprocessed features. ``feature_names`` are the
    columns of a table, which `data.match_features` puts in this order;
    ``trained_on`` is the fingerprint of the data set that the training, validation
    and test examples came from. Where the recipe has features, ``feature_shape`` is the
    images' and ``feature_state`` what the features learned; the model takes images.
    """

    recipe: Recipe
    params: Any = field(repr=False)
    model_state: Any = field(repr=False)
    preprocessing: Preprocessing = field(repr=False)
    classes: tuple[str, ...]
    feature_shape: tuple[int, ...]
    feature_dtype: str = "float32"
    feature_names: tuple[str, ...] | None = None
    trained_on: str | None = None
    feature_state: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the class scores (N, classes) of features (N, *feature_shape)."""
        features = np.asarray(features)
        if features.ndim >= 2 and math.prod(features.shape[1:]) == math.prod(self.feature_shape):
            features = features.reshape(
                len(features), *self.feature_shape
            )  # images laid flat, or without their channel
        self._check(features)
        blocks = [scores for _, scores in self._blocks(features)]
        return np.concatenate(blocks) if blocks else np.zeros((0, len(self.classes)), np.float32)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the softmax of the scores; raises where the loss was another one.

        A hinge loss fits scores whose softmax is no estimate of a probability.
        """
        if not isinstance(self.recipe.loss, Softmax):
            raise UsageError(
                f"a model trained with {type(self.recipe.loss).__name__} has no probabilities: use its scores, "
                "or train with losses.Softmax"
            )
        return np.asarray(jax.nn.softmax(self.scores(features), axis=-1))

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return for each example the name of the class with the highest score: text, even where labels are numbers."""
        return np.asarray(self.classes)[self.scores(features).argmax(axis=1)]

    def score(self, split: Split) -> Score:
        """Score a labelled split whose labels index this model's classes."""
        self._check(split.features)
        return self._score(split, self._blocks(split.features))

    def score_seen(self, split: Split) -> Score:
        """Do as `score`, on a split that holds the recipe's features already in place of images."""
        return self._score(split, self._scored(split.features))

    def _score(self, split: Split, blocks: Iterator[tuple[slice, np.ndarray]]) -> Score:
        labels = split.labels
        if labels is None or len(labels) == 0:
            raise DataError("there are no labelled examples to score")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise DataError(
                f"labels run from {labels.min()} to {labels.max()}, the model has {len(self.classes)} classes: "
                "match them by name with data.match_classes"
            )
        correct, loss = 0, 0.0
        for rows, scores in blocks:
            correct += int(np.count_nonzero(scores.argmax(axis=1) == labels[rows]))
            losses = self.recipe.loss(jnp.asarray(scores), jnp.asarray(labels[rows]))
            loss += float(np.sum(np.asarray(losses), dtype=np.float64))
        return Score(correct, len(labels), loss / len(labels))

    def _blocks(self, features: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the scores of examples as they come."""
        part = self.recipe.features
        for start in range(0, len(features), _ROWS):
            block = features[start : start + _ROWS]
            seen = block if part is None else part.transform(block, self.feature_state)
            yield from self._scored(seen, start)

    def _scored(self, features: np.ndarray, first: int = 0) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the scores of what the model itself takes; ``first`` is the place of the first among all examples."""
        for start in range(0, len(features), _ROWS):
            rows = slice(start, start + _ROWS)
            x = self.preprocessing.transform(np.asarray(features[rows]))
            # Filled up to a power of two, so that few sizes are compiled whatever number of examples comes.
            full = np.resize(x, (1 << (len(x) - 1).bit_length(), *x.shape[1:]))
            scores = np.asarray(_apply(self.recipe.model, self.params, self.model_state, full))[: len(x)]
            if len(wrong := np.flatnonzero(np.isnan(scores).any(axis=1))):
                raise DataError(
                    f"the scores of example {first + start + wrong[0]} are NaN: its features are NaN, infinite or too "
                    "large; mend them or leave the example out"
                )
            yield slice(first + start, first + start + len(scores)), scores

    def _check(self, features: np.ndarray) -> None:
        if features.dtype.kind not in "uif":
            raise DataError(f"the features are of type {features.dtype}: give numbers")
        if (self.feature_dtype == "uint8") != (features.dtype == np.uint8):
            raise DataError(
                f"the features are {features.dtype}, the model was trained on {self.feature_dtype}: give that type, on "
                "the scale of the training data (uint8 is 0 to 255); another scale would be predicted wrongly, and "
                "without complaint"
            )
        if features.ndim < 2 or features.shape[1:] != self.feature_shape:
            raise DataError(
                f"the features have shape {features.shape[1:]} an example, the model takes {self.feature_shape}: "
                "give data of the kind that it was trained on (images: resize them with image_size)"
            )


@jax.jit
def _apply(model: Any, params: Any, model_state: Any, x: jax.Array) -> jax.Array:
    return model.apply(params, model_state, x, key=None, training=False)[0]

"""The geometric view in 2-D: what a model of two features predicts where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from thalweg.data import Split, load, match_classes, match_features
from thalweg.errors import DataError, UsageError
from thalweg.fitted import FittedModel
from thalweg.views.linear import as_fitted, feature_names

__all__ = ["Bounds", "RegionRecord", "decision_regions", "region_record"]

Bounds: TypeAlias = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class RegionRecord:
    """The scores of a model of two features on a grid, and the examples to show over them.

    Attributes:
        classes, feature_names: their names; two features.
        xs, ys: the grid's lines ``(n,)`` and ``(m,)``.
        scores: ``(classes, m, n)``, a row for each of ys.
        examples, labels, predicted: ``(N, 2)``, ``(N,)``, ``(N,)``; N is 0 without data.
    """

    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    xs: np.ndarray
    ys: np.ndarray
    scores: np.ndarray
    examples: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray

    @property
    def regions(self) -> np.ndarray:
        """The predicted class's number ``(m, n)``: the highest score."""
        return self.scores.argmax(axis=0)

    def margin(self, label: int) -> np.ndarray:
        """A class's score above the highest other one ``(m, n)``: its region's border is where this is 0."""
        return self.scores[label] - np.delete(self.scores, label, axis=0).max(axis=0)


def decision_regions(
    model: Any, low: tuple[float, float], high: tuple[float, float], points: int = 200
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The geometric view in 2-D: the predicted class's number on a grid between two corners.

    Returns the two axes (points,) and the classes (points, points), rows by the
    second feature, as an image plot wants them. For models of two features.
    """
    record = region_record(model, bounds=((low[0], high[0]), (low[1], high[1])), points=points)
    return record.xs, record.ys, record.regions


def region_record(model: Any, data: Any = None, *, bounds: Bounds | None = None, points: int = 301) -> RegionRecord:
    """The geometric view in 2-D: the scores of any model of two features on a grid, with examples.

    Args:
        model: linear or not; its features are two numbers.
        data: labelled examples to show: whatever `load` reads, or a `Split` whose
            labels count the model's classes. All splits are shown.
        bounds: ((x_low, x_high), (y_low, y_high)). By default what the examples fill and a
            margin of 8 %; without examples, three standard deviations about the mean of the training data, so
            far as its preprocessing knows them.
        points: grid lines along each axis.

    Raises:
        UsageError: a model of another number of features; bounds that do not rise.
        DataError: examples that the model cannot take, or without labels.
    """
    model = as_fitted(model)
    if model.feature_shape != (2,):
        raise UsageError(f"decision regions need two features, the model takes {model.feature_shape}")
    if type(points) is not int or points < 2:
        raise UsageError(f"points is {points!r}; give a whole number of at least 2")
    examples, labels = (np.zeros((0, 2)), np.zeros(0, np.int32)) if data is None else _examples(model, data)
    xs, ys = (np.linspace(low, high, points) for low, high in _bounds(model, examples, bounds))
    if model.feature_dtype == "uint8":
        xs, ys = (np.unique(np.clip(np.rint(lines), 0, 255)) for lines in (xs, ys))
    dtype = np.uint8 if model.feature_dtype == "uint8" else np.float32
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(dtype)
    scores = model.scores(grid).T.reshape(len(model.classes), len(ys), len(xs))
    predicted = model.scores(examples.astype(dtype)).argmax(axis=1)
    return RegionRecord(model.classes, feature_names(model), xs, ys, scores, examples, labels, predicted)


def _examples(model: FittedModel, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """All examples (N, 2) and their labels (N,), matched to the model by name."""
    if isinstance(data, Split):
        splits = [data]
    else:
        dataset = match_classes(match_features(load(data), model.feature_names), model.classes)
        splits = [split for _, split in dataset.splits()]
    for split in splits:
        if split.labels is None:
            raise DataError("the examples have no labels; give data with labels, or none")
        if split.features.shape[1:] != (2,):
            raise DataError(f"the examples have shape {split.features.shape[1:]}; the model takes two features")
    labels = np.concatenate([split.labels for split in splits if split.labels is not None])
    return np.concatenate([split.features for split in splits]), labels


def _bounds(model: FittedModel, examples: np.ndarray, given: Any) -> list[tuple[float, float]]:
    if given is not None:
        ends = np.asarray(given, np.float64)
        if ends.shape != (2, 2) or not np.isfinite(ends).all() or not (ends[:, 0] < ends[:, 1]).all():
            raise UsageError(f"bounds is {given!r}; give ((x_low, x_high), (y_low, y_high)), each low below its high")
    elif len(examples):
        low, high = examples.min(axis=0).astype(np.float64), examples.max(axis=0).astype(np.float64)
        margin = np.where(high > low, 0.08 * (high - low), 1.0)
        ends = np.stack([low - margin, high + margin], axis=1)
    else:
        seen = model.preprocessing
        shift, scale = (np.broadcast_to(a, 2).astype(np.float64) for a in (seen.shift, seen.scale))
        reach = 3 / np.where(scale > 0, scale, 1.0)
        ends = np.stack([shift - reach, shift + reach], axis=1)
    return [(float(low), float(high)) for low, high in ends]

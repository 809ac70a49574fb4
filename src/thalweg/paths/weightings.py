"""Example weightings: the whole training set, and each fold's training part, under each class weighting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from thalweg.errors import DataError, UsageError, nearest

__all__ = ["ClassWeight", "assign_folds", "check_class_weight", "name_of", "read_example_weights", "weighting"]

ClassWeight = None | str | Mapping[str, float]


def assign_folds(labels: np.ndarray, folds: int, classes: Sequence[str], seed: int) -> np.ndarray:
    """Return the fold (N,) in which each example is held out, class by class in turn (stratified); −1 for no folds.

    Raises a DataError where some fold's training part would lack a class.
    """
    if folds == 0:
        return np.full(len(labels), -1)
    counts = np.bincount(labels, minlength=len(classes))
    for name, count in zip(classes, counts.tolist(), strict=True):
        if count < 2:
            raise DataError(
                f"class {name!r} has {count} training example{'s' * (count != 1)}, so one of the {folds} folds would "
                "train without it: add examples, leave the class out, or fit without cross-validation (folds=0)"
            )
    if folds > len(labels):
        raise UsageError(f"folds is {folds}, more than the {len(labels)} training examples; give a smaller number")
    generator = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    found = np.empty(len(labels), np.int64)
    dealt = 0  # classes go on where the last one stopped, so that the folds' sizes differ by one at most
    for label in range(len(classes)):
        members = generator.permutation(np.flatnonzero(labels == label))
        found[members] = (dealt + np.arange(len(members))) % folds
        dealt += len(members)
    return found


def check_class_weight(value: Any, classes: Sequence[str]) -> None:
    """Raise a UsageError unless value is None, "balanced", or a mapping of every class's name to a positive weight."""
    if value is None or (isinstance(value, str) and value == "balanced"):
        return
    if not isinstance(value, Mapping):
        raise UsageError(f'class_weight is {value!r}; give None, "balanced", or a mapping of class names to weights')
    for name, weight in value.items():
        if name not in classes:
            raise UsageError(
                f"class_weight names the class {name!r}, which the data lacks{nearest(str(name), classes)}"
            )
        if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 < float(weight) < math.inf:
            raise UsageError(f"class_weight gives class {name!r} the weight {weight!r}; give a positive number")
    if missing := [name for name in classes if name not in value]:
        raise UsageError(f"class_weight says nothing of class {missing[0]!r}; give every class a weight")


def read_example_weights(value: Any, count: int) -> np.ndarray:
    """Return the weights (N,) float64 of that many examples, none of them negative, scaled to mean 1."""
    try:
        weights = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"example_weights is {value!r}; give {count} numbers, one an example") from None
    if weights.shape != (count,):
        raise UsageError(f"example_weights has shape {weights.shape}; give one number for each of {count} examples")
    if len(wrong := np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))):
        raise UsageError(
            f"example_weights gives example {wrong[0]} the weight {weights[wrong[0]]:g}; give finite numbers that are "
            "not negative"
        )
    # To mean 1, so that their scale does not matter beside examples that come without weights.
    top = weights.max(initial=0)
    return weights if top == 0 else weights / top / np.mean(weights / top)


def name_of(value: ClassWeight) -> str:
    """Return ``none``, ``balanced``, or the weights in words."""
    if value is None or isinstance(value, str):
        return value or "none"
    return ", ".join(f"{name}: {weight:g}" for name, weight in value.items())


def weighting(
    labels: np.ndarray, own: np.ndarray | None, class_weight: ClassWeight, classes: Sequence[str], kept: np.ndarray
) -> np.ndarray:
    """Return the weight (N,) of each example, 0 outside ``kept``, with sum 1.

    ``balanced`` gives each class the same total: an example weighs
    n / (classes × n_class), counted in weight, as in scikit-learn.
    """
    weights = np.where(kept, 1.0 if own is None else own, 0.0)
    if class_weight is not None:
        totals = np.bincount(labels, weights=weights, minlength=len(classes))
        if isinstance(class_weight, str):
            each = weights.sum() / (len(classes) * np.where(totals > 0, totals, 1))
        else:
            each = np.asarray([class_weight[name] for name in classes], np.float64)
        weights = weights * each[labels]
    return weights / weights.sum()

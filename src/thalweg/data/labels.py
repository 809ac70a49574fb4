"""Labels of any kind, as int32 indices into class names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from thalweg.data.checks import reading
from thalweg.errors import DataError, nearest

__all__ = ["encode_labels", "label_order"]

_MEASURED = "the label {} is no whole number; a class is a whole number or text, not a measured quantity"


def encode_labels(
    raw: Sequence[Any], wheres: Sequence[str], classes: Sequence[str] | None = None
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Turn the labels of several splits into int32 indices and one tuple of class names.

    Whole numbers, truth values and text serve as labels. Without `classes` the names are the distinct labels of all
    splits as text, sorted as numbers where all are numbers. With `classes`, numeric labels are indices into them and
    text must be among them.
    """
    columns = [_label_column(labels, where) for labels, where in zip(raw, wheres, strict=True)]
    kinds = {isinstance(column, list) for column in columns}
    if len(kinds) > 1:
        raise DataError(f"{wheres[0]}: labels are text in one split and numbers in another; use one kind")
    if classes is not None and kinds == {False}:
        pairs = zip(columns, wheres, strict=True)
        return [_indices(np.asarray(column), where, len(classes)) for column, where in pairs], tuple(classes)
    distinct = sorted(set().union(*map(_distinct, columns)), key=label_order)
    _refuse_measurements(distinct, wheres[0])
    if classes is None:
        index = {value: i for i, value in enumerate(distinct)}
        return [_look_up(column, index) for column in columns], tuple(map(str, distinct))
    for name in distinct:
        if name not in classes:
            raise DataError(f"{wheres[0]}: label {name!r} is not among the class names{nearest(name, classes)}")
    index = {name: i for i, name in enumerate(classes)}
    return [_look_up(column, index) for column in columns], tuple(classes)


def _distinct(column: np.ndarray | list[str]) -> set[Any]:
    return set(column) if isinstance(column, list) else set(np.unique(column).tolist())


def _look_up(column: np.ndarray | list[str], index: dict[Any, int]) -> np.ndarray:
    if isinstance(column, list):
        return np.fromiter((index[value] for value in column), np.int32, len(column))
    distinct, inverse = np.unique(column, return_inverse=True)
    return np.array([index[value] for value in distinct.tolist()], np.int32)[inverse.reshape(-1)]


def _number(label: Any) -> float:
    """The label's value where it is a number or a number's text, else infinity."""
    try:
        value = float(label)
    except ValueError:
        return math.inf
    return value if math.isfinite(value) else math.inf


def label_order(label: Any) -> tuple[float, str]:
    """Numbers by value, also when written as text ("2" before "10"); other text after them by its letters."""
    return _number(label), str(label)


def _refuse_measurements(distinct: Sequence[Any], where: str) -> None:
    values = [_number(label) for label in distinct]
    if all(map(math.isfinite, values)) and not all(value == math.floor(value) for value in values):
        fraction = next(str(label) for label, value in zip(distinct, values, strict=True) if value != math.floor(value))
        raise DataError(f"{where}: {_MEASURED.format(fraction)}")


def _indices(labels: np.ndarray, where: str, classes: int) -> np.ndarray:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(
            f"{where}: the label of example {wrong[0]} is {labels[wrong[0]]}, and {len(wrong)} in all lie outside "
            f"[0, {classes}), the range of the {classes} class names"
        )
    return labels.astype(np.int32)


def _label_column(labels: Any, where: str) -> np.ndarray | list[str]:
    """Return labels as a 1-D array of integers or booleans, or as a list of text.

    Text stays a list: as a NumPy array each label would take the room of the longest.
    """
    with reading(where, "give one label an example"):
        array = labels if isinstance(labels, np.ndarray) else np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "buif":
        raise DataError(f"{where}: labels have shape {array.shape}; turn one-hot rows into numbers: y.argmax(axis=1)")
    if array.ndim != 1:
        raise DataError(f"{where}: labels have shape {array.shape}; give one label an example, shape (N,)")
    if array.dtype == object:
        return _from_objects(array.tolist(), where)
    if array.dtype.kind == "S":
        with reading(where, "give the labels as text"):
            return _named(np.char.decode(array, "utf-8").tolist(), where)
    if array.dtype.kind in "UT":
        return _named(array.tolist(), where)
    if array.dtype.kind not in "buif":
        raise DataError(f"{where}: labels are {array.dtype}; give whole numbers or text")
    return _whole(array, where) if array.dtype.kind == "f" else array


def _from_objects(values: list[Any], where: str) -> np.ndarray | list[str]:
    for row, value in enumerate(values):
        if value is None or value != value:
            raise DataError(f"{where}: the label of example {row} (counted from 0) is missing; drop or label it")
    kinds = {type(value) for value in values}
    if all(issubclass(kind, str) for kind in kinds):
        return _named(values, where)
    if all(issubclass(kind, (int, float, np.integer, np.floating)) for kind in kinds):
        return _label_column(np.array(values), where)
    names = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise DataError(f"{where}: labels are of the kinds {names}; give whole numbers, or text")


def _whole(array: np.ndarray, where: str) -> np.ndarray:
    wrong = np.flatnonzero(~(np.isfinite(array) & (np.abs(array) < 2**53) & (np.floor(array) == array)))
    if len(wrong):
        value = array[wrong[0]]
        reason = (
            "is missing (NaN); drop or label it" if np.isnan(value) else f"cannot be used: {_MEASURED.format(value)}"
        )
        raise DataError(f"{where}: the label of example {wrong[0]} (counted from 0) {reason}")
    return array.astype(np.int64)


def _named(values: list[str], where: str) -> list[str]:
    for row, value in enumerate(values):
        if not value.strip():
            raise DataError(f"{where}: the label of example {row} (counted from 0) is empty; drop or label it")
    return values

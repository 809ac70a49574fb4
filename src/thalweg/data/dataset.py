"""What every reader returns: a `Dataset` of up to three `Split`s with one set of classes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from thalweg.errors import DataError, nearest

__all__ = [
    "Dataset",
    "Skipped",
    "Split",
    "check_trainable",
    "match_channels",
    "match_classes",
    "match_features",
    "obstacles",
]

# Work on at most this many bytes of features at a time, so that a memory-mapped array stays on disk.
CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Skipped:
    """An example that `skip_bad` left out: where it was, and why it could not be read."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    `features` is (N, *feature_shape): images (N, height, width, channels) or vectors (N, D), uint8 or float32; it may
    be memory-mapped and read-only. `labels` is (N,) int32 in [0, classes), or None where the data carries none.
    `names` says where each example came from (a file's name inside its folder or archive), where it has one. `weights`
    (N,) float64 says how much each example counts in a path's loss; None counts all alike.
    """

    features: np.ndarray
    labels: np.ndarray | None
    names: tuple[str, ...] | None = None
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.features.ndim < 2 or self.features.dtype not in (np.uint8, np.float32):
            raise DataError(
                f"features are {self.features.dtype} {self.features.shape}; a Split holds uint8 or float32 of shape "
                "(N, D) or (N, height, width, channels): thalweg.data.load converts others"
            )
        count = len(self.features)
        if count == 0 or math.prod(self.features.shape[1:]) == 0:
            raise DataError(f"features have shape {self.features.shape}: there is nothing in them")
        if self.labels is not None and (self.labels.shape != (count,) or self.labels.dtype != np.int32):
            raise DataError(
                f"labels are {self.labels.dtype} {self.labels.shape}; {count} examples need int32 labels of shape "
                f"({count},)"
            )
        if self.names is not None and len(self.names) != count:
            raise DataError(f"there are {len(self.names)} names for {count} examples; give one name an example")
        if self.weights is not None:
            _check_weights(self.weights, count)

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        """Tell of the arrays, not all their numbers."""
        what = "labelled" if self.labels is not None else "without labels"
        return f"Split({len(self)} examples of {self.features.dtype} {self.features.shape[1:]}, {what})"

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, rows) in pieces of about 16 MiB."""
        row_bytes = max(1, self.features[:1].nbytes)
        step = max(1, CHUNK_BYTES // row_bytes)
        for start in range(0, len(self), step):
            yield start, self.features[start : start + step]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images or vectors, ready to be split and trained on.

    `name` is short ("digits", or a path's stem), `source` says in words what was found, `classes` are the class names
    over all splits (numbers as text), and `skipped` lists what `skip_bad` left out.
    """

    name: str
    source: str
    train: Split
    classes: tuple[str, ...]
    validation: Split | None = None
    test: Split | None = None
    skipped: tuple[Skipped, ...] = ()
    feature_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name, split in self.splits():
            if split.features.shape[1:] != self.feature_shape or split.features.dtype != self.train.features.dtype:
                raise DataError(
                    f"{self.name}: {name} examples are {split.features.dtype} {split.features.shape[1:]}, train "
                    f"examples are {self.train.features.dtype} {self.feature_shape}; all splits must agree"
                )
            if (split.labels is None) != (self.train.labels is None):
                raise DataError(f"{self.name}: one of train and {name} has labels, the other has none")
            _check_range(f"{self.name}, {name}", split.labels, len(self.classes))
        if len(set(self.classes)) != len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise DataError(f"{self.name}: class name {twice!r} stands twice; give each class its own name")
        features = math.prod(self.feature_shape)
        if self.feature_names is not None and len(self.feature_names) != features:
            raise DataError(f"{self.name}: {len(self.feature_names)} feature names for {features} features")

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """The shape of one example: (height, width, channels), or (D,)."""
        return self.train.features.shape[1:]

    @property
    def is_image(self) -> bool:
        """True where an example is an image (height, width, channels)."""
        return len(self.feature_shape) == 3

    @property
    def labelled(self) -> bool:
        """True where the examples carry labels."""
        return self.train.labels is not None

    def splits(self) -> tuple[tuple[str, Split], ...]:
        """The splits that are there, as (name, split), in the order train, validation, test."""
        found = (("train", self.train), ("validation", self.validation), ("test", self.test))
        return tuple((name, split) for name, split in found if split is not None)

    def fingerprint(self) -> str:
        """SHA-256, in hex, over the features, labels and class names of all splits.

        It depends on the numbers alone, not on the file that held them: a folder of images, the same folder in an
        archive, and the arrays read from either have one fingerprint. Names and source are left out.
        """
        digest = hashlib.sha256()
        for name, split in self.splits():
            digest.update(f"{name} {split.features.dtype.name} {split.features.shape}\n".encode())
            for _, rows in split.chunks():
                digest.update(np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<")).data)
            if split.labels is not None:
                digest.update(b"labels\n" + split.labels.astype("<i4").tobytes())
        for name in self.classes:
            encoded = name.encode("utf-8", "surrogatepass")
            digest.update(f"class {len(encoded)}\n".encode() + encoded)
        return digest.hexdigest()


def _check_weights(weights: np.ndarray, count: int) -> None:
    if weights.shape != (count,) or weights.dtype != np.float64:
        raise DataError(
            f"weights are {weights.dtype} {weights.shape}; {count} examples need float64 of shape ({count},)"
        )
    if len(wrong := np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))):
        raise DataError(f"the weight of example {wrong[0]} is {weights[wrong[0]]}; give numbers that are not negative")


def _check_range(where: str, labels: np.ndarray | None, classes: int) -> None:
    if labels is None:
        return
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise DataError(
            f"{where}: the label of example {wrong[0]} is {labels[wrong[0]]}, and {len(wrong)} in all lie outside "
            f"[0, {classes}): there are {classes} class names"
        )


def _counts(split: Split, classes: int) -> np.ndarray:
    if split.labels is None:
        return np.zeros(classes, np.int64)
    return np.bincount(split.labels, minlength=classes)


def _names(classes: Sequence[str]) -> str:
    shown = ", ".join(map(repr, classes[:5]))
    return shown if len(classes) <= 5 else f"{shown} and {len(classes) - 5} more"


def obstacles(dataset: Dataset) -> list[str]:
    """Say, one sentence each, what keeps a classifier from being trained and judged on this data.

    The classes are those of the training split. Each must also be in a validation or test split that comes with the
    data, and no other may be: an accuracy over other classes would answer another question.
    """
    if not dataset.labelled:
        return [f"{dataset.name}: the examples carry no labels; training needs them"]
    here = _counts(dataset.train, len(dataset.classes)) > 0
    found = []
    for name, split in dataset.splits()[1:]:
        there = _counts(split, len(dataset.classes)) > 0
        extra = [c for c, a, b in zip(dataset.classes, here, there, strict=True) if b and not a]
        missing = [c for c, a, b in zip(dataset.classes, here, there, strict=True) if a and not b]
        if extra:
            found.append(f"{dataset.name}: class {_names(extra)} is in {name} but has no examples in train")
        if missing:
            found.append(f"{dataset.name}: class {_names(missing)} is in train but has no examples in {name}")
    if not found and not here.all():
        empty = [c for c, a in zip(dataset.classes, here, strict=True) if not a]
        found.append(f"{dataset.name}: class {_names(empty)} is named but has no examples")
    if here.sum() < 2:
        only = [c for c, a in zip(dataset.classes, here, strict=True) if a]
        found.append(f"{dataset.name}: the training examples are all of class {_names(only)}; at least two are needed")
    return found


def check_trainable(dataset: Dataset) -> None:
    """Raise a DataError unless there are at least two classes, each with examples in every split."""
    found = obstacles(dataset)
    if found:
        raise DataError("; ".join(found) + ". Mend the data, or leave the split out")


def match_features(dataset: Dataset, names: Sequence[str] | None) -> Dataset:
    """Return a table's data with its feature columns in the order of `names` (a model's), matched by name.

    Columns that the model does not know are left out; one that it needs and the data lacks is a DataError. Data or
    models whose features have no names are left as they are.
    """
    if names is None or dataset.feature_names is None or tuple(names) == dataset.feature_names:
        return dataset
    place = {name: i for i, name in enumerate(dataset.feature_names)}
    missing = [name for name in names if name not in place]
    if missing:
        raise DataError(
            f"{dataset.name}: the model needs the column{'s' * (len(missing) > 1)} {_names(missing)}, which the data "
            f"lacks{nearest(missing[0], place)}; add it, or name it as in training"
        )
    columns = [place[name] for name in names]

    def reorder(split: Split | None) -> Split | None:
        return None if split is None else replace(split, features=split.features[:, columns])

    train = reorder(dataset.train)
    assert train is not None
    return replace(
        dataset, train=train, validation=reorder(dataset.validation), test=reorder(dataset.test),
        feature_names=tuple(names),
    )  # fmt: skip


def match_channels(dataset: Dataset, shape: tuple[int, ...]) -> Dataset:
    """Return grey images as RGB where a model's feature shape asks for it, as reading does where only some are grey."""
    grey = dataset.is_image and dataset.feature_shape[-1] == 1
    if not grey or shape != (*dataset.feature_shape[:-1], 3):
        return dataset

    def coloured(split: Split | None) -> Split | None:
        return None if split is None else replace(split, features=np.repeat(split.features, 3, axis=-1))

    train = coloured(dataset.train)
    assert train is not None
    return replace(dataset, train=train, validation=coloured(dataset.validation), test=coloured(dataset.test))


def match_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """Return the data with its labels counted in `classes` (a model's class names), matched by name.

    The data may lack some of the classes. A class that has examples but is not among `classes` is a DataError.
    """
    target = tuple(classes)
    index = {name: i for i, name in enumerate(target)}
    if not dataset.labelled:
        return replace(dataset, classes=target)
    present = np.sum([_counts(split, len(dataset.classes)) for _, split in dataset.splits()], axis=0) > 0
    unknown = [name for name, there in zip(dataset.classes, present, strict=True) if there and name not in index]
    if unknown:
        raise DataError(
            f"{dataset.name}: class {_names(unknown)} is unknown to the model{nearest(unknown[0], target)}; "
            f"its classes are {_names(target)}"
        )
    table = np.array([index.get(name, -1) for name in dataset.classes], np.int32)

    def renumber(split: Split | None) -> Split | None:
        if split is None or split.labels is None:
            return split
        return replace(split, labels=table[split.labels])

    train = renumber(dataset.train)
    assert train is not None
    return replace(
        dataset, train=train, validation=renumber(dataset.validation), test=renumber(dataset.test), classes=target
    )

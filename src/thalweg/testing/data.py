"""The conformance check of what a reader returns."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from thalweg.testing.common import attempt, fail

__all__ = ["check_dataset"]


def check_dataset(dataset: Any) -> None:
    """Raise an AssertionError unless dataset keeps the protocol of `thalweg.data.Dataset`.

    Features are uint8 or finite float32, ``(N, D)`` or ``(N, height, width,
    channels)``, alike in all splits; labels are int32 in [0, classes), each class
    named once and none without an example; a split's chunks are its rows in order;
    and the fingerprint is the same when taken twice.
    """
    if not dataset.classes or not all(isinstance(name, str) for name in dataset.classes):
        fail(dataset, f"classes are {dataset.classes!r}; give each a name, as text")
    if len(set(dataset.classes)) != len(dataset.classes):
        fail(dataset, f"class names stand twice in {dataset.classes!r}")
    if len(dataset.feature_shape) not in (1, 3):
        fail(dataset, f"an example has shape {dataset.feature_shape}; (D,) or (height, width, channels)")
    splits = dataset.splits()
    if not splits or splits[0][0] != "train":
        fail(dataset, f"the splits are {[name for name, _ in splits]}; train comes first")
    for name, split in splits:
        _check_split(dataset, name, split)
    used = [split.labels for _, split in splits if split.labels is not None]
    if used:
        missing = np.setdiff1d(np.arange(len(dataset.classes)), np.concatenate(used))
        if len(missing):
            fail(dataset, f"class {dataset.classes[missing[0]]!r} is named but has no example")
    with attempt(dataset, "fingerprint()"):
        first, second = dataset.fingerprint(), dataset.fingerprint()
    if first != second or not re.fullmatch(r"[0-9a-f]{64}", first):
        fail(dataset, f"fingerprints are {first!r} and {second!r}; 64 hexadecimal digits, the same each time")


def _check_split(dataset: Any, name: str, split: Any) -> None:
    features, labels = split.features, split.labels
    if features.dtype not in (np.uint8, np.float32) or features.shape[1:] != dataset.feature_shape or not len(features):
        fail(dataset, f"{name} features are {features.dtype} {features.shape}; uint8 or float32, (N, *feature_shape)")
    if features.dtype != dataset.train.features.dtype:
        fail(dataset, f"{name} features are {features.dtype}, train's {dataset.train.features.dtype}")
    start = 0
    for row, chunk in split.chunks():
        if (
            row != start
            or not len(chunk)
            or not np.array_equal(chunk, features[row : row + len(chunk)], equal_nan=True)
        ):
            fail(dataset, f"{name}: the chunk at row {row} is not the features from row {start} on")
        if not np.isfinite(chunk).all():
            fail(dataset, f"{name} features from row {row} on are not finite; refuse NaN with a DataError")
        start += len(chunk)
    if start != len(features):
        fail(dataset, f"{name}: the chunks end at row {start} of {len(features)}")
    if (labels is None) != (dataset.train.labels is None):
        fail(dataset, f"one of train and {name} has labels, the other none")
    if labels is not None and (labels.dtype != np.int32 or labels.shape != (len(features),)):
        fail(dataset, f"{name} labels are {labels.dtype} {labels.shape}; int32 ({len(features)},)")
    if labels is not None and not ((labels >= 0) & (labels < len(dataset.classes))).all():
        fail(dataset, f"{name} labels go from {labels.min()} to {labels.max()}; [0, {len(dataset.classes)})")
    if split.names is not None and len(split.names) != len(features):
        fail(dataset, f"{name} has {len(split.names)} names for {len(features)} examples")

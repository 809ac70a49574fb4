"""What is in a data set: the facts that `thalweg info` prints."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from thalweg.data.dataset import Dataset, Split, obstacles

__all__ = ["describe", "summarize"]


def describe(dataset: Dataset) -> dict[str, Any]:
    """Facts about a data set, as plain values that JSON can hold.

    `constant_features` counts the features that never change over the training examples; they tell a classifier
    nothing. `obstacles` says what would keep a classifier from being trained, an empty list where nothing does.
    """
    low, high = _extremes(dataset.train)
    return {
        "name": dataset.name,
        "source": dataset.source,
        "splits": {name: _describe_split(split, dataset.classes) for name, split in dataset.splits()},
        "feature_shape": list(dataset.feature_shape),
        "features": math.prod(dataset.feature_shape),
        "dtype": str(dataset.train.features.dtype),
        "lowest": float(low.min()),
        "highest": float(high.max()),
        "constant_features": int((low == high).sum()),
        "classes": list(dataset.classes),
        "bytes": sum(split.features.nbytes for _, split in dataset.splits()),
        "memory_mapped": isinstance(dataset.train.features, np.memmap),
        "skipped": [{"name": one.name, "reason": one.reason} for one in dataset.skipped],
        "obstacles": obstacles(dataset),
        "fingerprint": dataset.fingerprint(),
    }


def _describe_split(split: Split, classes: tuple[str, ...]) -> dict[str, Any]:
    counts = None
    if split.labels is not None:
        numbers = np.bincount(split.labels, minlength=len(classes)).tolist()
        counts = dict(zip(classes, numbers, strict=True))
    return {"examples": len(split), "classes": counts}


def _extremes(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Each feature's lowest and highest value."""
    low = high = split.features[0]
    for _, rows in split.chunks():
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
    return low, high


def summarize(dataset: Dataset, most_classes: int = 20) -> str:
    """The same facts as text, a line each, with a table of examples by class and split."""
    facts = describe(dataset)
    shape = " × ".join(map(str, facts["feature_shape"]))
    kind = "images" if dataset.is_image else "features"
    lines = [
        f"{facts['name']}: {facts['source']}",
        f"{kind}: {shape} {facts['dtype']}, from {facts['lowest']:g} to {facts['highest']:g}, "
        f"{facts['constant_features']} of {facts['features']} constant",
        f"memory: {facts['bytes'] / 2**20:,.1f} MiB{' on disk (memory-mapped)' * facts['memory_mapped']}",
        *_table(facts, most_classes),
    ]
    if dataset.skipped:
        lines.append(f"skipped {len(dataset.skipped)} unreadable:")
        lines += [f"  {one.name}: {one.reason}" for one in dataset.skipped[:most_classes]]
        if len(dataset.skipped) > most_classes:
            lines.append(f"  and {len(dataset.skipped) - most_classes} more")
    lines += [f"obstacle: {text}" for text in facts["obstacles"]]
    lines.append(f"fingerprint: {facts['fingerprint']}")
    return "\n".join(lines)


def _table(facts: dict[str, Any], most_classes: int) -> list[str]:
    splits = facts["splits"]
    rows = [["examples", *splits], ["all", *(f"{split['examples']:,}" for split in splits.values())]]
    if all(split["classes"] is not None for split in splits.values()):
        rows += [
            [name, *(f"{split['classes'][name]:,}" for split in splits.values())]
            for name in facts["classes"][:most_classes]
        ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    if len(facts["classes"]) > most_classes:
        lines.append(f"and {len(facts['classes']) - most_classes} more classes")
    return lines

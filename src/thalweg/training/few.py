"""The twenty examples that `sanity` looks at."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from thalweg.data import Split
from thalweg.data.preprocessing import Preprocessing

__all__ = ["FEW", "Few", "choose_few", "independent", "standardised"]

FEW = 20
_SPARE = 10  # examples looked at for each that a class may give, so that equal ones can be passed over
_INDEPENDENT = 1e-3  # of the largest: what is nearer to the others' plane cannot be told from rounding by a few steps


class Few(NamedTuple):
    """Examples as a model takes them, always `FEW` rows: repeats of the first, of weight 0, fill them up."""

    x: np.ndarray  # (FEW, *feature_shape) float32, preprocessed
    labels: np.ndarray  # (FEW,) int32
    weights: np.ndarray  # (FEW,) float32, summing to 1


def choose_few(split: Split, preprocessing: Preprocessing) -> Few:
    """Take up to twenty examples that differ, from all classes in turn, the first of each first."""
    labels = np.asarray(split.labels)
    present = np.unique(labels)[:FEW]
    queues = [np.flatnonzero(labels == label)[: _SPARE * FEW].tolist() for label in present]
    rows: list[int] = []
    met: set[bytes] = set()
    while len(rows) < FEW and any(queues):
        for queue in queues:
            while queue and len(rows) < FEW:
                row = queue.pop(0)
                content = np.ascontiguousarray(split.features[row]).tobytes()
                if content not in met:
                    met.add(content)
                    rows.append(row)
                    break
    count = len(rows)
    rows = (rows + rows[:1] * FEW)[:FEW]
    x = np.asarray(preprocessing.transform(np.asarray(split.features[rows])), np.float32)
    return Few(x, labels[rows].astype(np.int32), _shares(np.arange(FEW) < count))


def standardised(few: Few) -> Few:
    """Return the examples with each feature's mean 0 and deviation 1 over them; what is alike in all becomes 0."""
    x = few.x.astype(np.float64)
    shown = x[few.weights > 0]
    mean, spread = shown.mean(axis=0), shown.std(axis=0)
    alike = spread <= 1e-7 * np.abs(mean)  # float32's last digit
    return few._replace(x=np.where(alike, 0, (x - mean) / np.where(alike, 1, spread)).astype(np.float32))


def independent(few: Few, *, bias: bool) -> Few:
    """Keep affinely independent examples (linearly, without a bias): a linear model can fit those to any labels.

    Of n points in D dimensions at most D + 1 are. They are taken greedily, each the farthest from the plane of those
    before it (pivoted Gram–Schmidt), one of a second class as soon as can be.
    """
    kept = np.flatnonzero(few.weights > 0)
    vectors = few.x[kept].reshape(len(kept), -1).astype(np.float64)
    labels = few.labels[kept]
    chosen = [0] if bias else []
    if bias:
        vectors = vectors - vectors[:1]
    first = 0.0
    while len(chosen) < len(kept):
        sizes = np.linalg.norm(vectors, axis=1)
        met = set(labels[chosen].tolist())
        if len(met) == 1 and (sizes[other := ~np.isin(labels, list(met))] > _INDEPENDENT * first).any():
            sizes = np.where(other, sizes, 0)
        pick = int(np.argmax(sizes))
        first = first or float(sizes[pick])
        if not sizes[pick] > _INDEPENDENT * first:
            break
        chosen.append(pick)
        along = vectors[pick] / sizes[pick]
        vectors = vectors - (vectors @ along)[:, None] * along[None]
        vectors[chosen] = 0
    mask = np.zeros(FEW, bool)
    mask[kept[chosen]] = True
    return few._replace(weights=_shares(mask))


def _shares(chosen: Any) -> np.ndarray:
    return (chosen / max(1, chosen.sum())).astype(np.float32)

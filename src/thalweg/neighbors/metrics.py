"""Distances from one query to stored rows, in float64 or in whole numbers: what "exact" means in this package."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["METRICS", "distances", "finished"]

METRICS = ("l1", "l2", "cosine")
"""The distances: sum of absolute differences, Euclidean, 1 − cosine of the angle."""
_CHUNK = 1 << 18  # numbers at a time: their differences stay in a core's cache
_WHOLE = 1 << 24  # float32 counts exactly this far
_SEGMENT = 256  # squares of uint8 differences that add up to less than 2²⁴


def distances(metric: str, query: np.ndarray, rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return what orders the neighbours (C,), float64: Σ|x − z|, Σ(x − z)² or 1 − x·z/(‖x‖‖z‖).

    The query (D,) and rows (N, D) are of one type, and ``chosen`` (C,) counts rows. uint8 is summed in whole
    numbers; the rest in float64, each row by the same operations in the same order, wherever it stands: equal
    rows are equally far. A vector of zeros has cosine distance 1 to all.
    """
    out = np.empty(len(chosen))
    for part, block in _blocks(rows, chosen):
        out[part] = _FORMS[metric](query, block)
    return out


def finished(metric: str, ordered: np.ndarray) -> np.ndarray:
    """Turn what `distances` returns into distances: for ``l2`` the root."""
    return np.sqrt(ordered) if metric == "l2" else ordered


def _blocks(rows: np.ndarray, chosen: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    step = max(1, _CHUNK // rows.shape[1])
    for start in range(0, len(chosen), step):
        part = slice(start, start + step)
        yield part, rows[chosen[part]]


def _l1(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if rows.dtype == np.uint8 and 255 * rows.shape[1] < _WHOLE:
        difference = _difference(query, rows, np.float32)
        # A product with ones is the fastest sum; its order differs by row, which whole numbers do not feel.
        return np.abs(difference, out=difference) @ np.ones(rows.shape[1], np.float32)
    difference = _difference(query, rows, np.float64)
    return np.abs(difference, out=difference).sum(axis=1)


def _l2(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if rows.dtype != np.uint8:
        difference = _difference(query, rows, np.float64)
        return np.einsum("nd,nd->n", difference, difference)
    difference = _difference(query, rows, np.float32)
    whole = rows.shape[1] // _SEGMENT * _SEGMENT
    parts = difference[:, :whole].reshape(len(rows), -1, _SEGMENT)
    rest = difference[:, whole:]
    return np.einsum("nsd,nsd->ns", parts, parts).sum(axis=1, dtype=np.float64) + np.einsum("nd,nd->n", rest, rest)


def _cosine(query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    x, z = query.astype(np.float64)[None], rows.astype(np.float64)
    if rows.dtype == np.float64:  # divided by the largest entries first: the squares of all other types lie in range
        x, z = (a / np.maximum(np.abs(a).max(axis=1, keepdims=True), np.finfo(np.float64).tiny) for a in (x, z))
    product = np.einsum("nd,d->n", z, x[0])
    lengths = np.sqrt(np.einsum("nd,nd->n", z, z) * np.einsum("nd,nd->n", x, x))
    # Rounding may bring a cosine past 1.
    return np.clip(1 - product / np.where(lengths > 0, lengths, 1), 0, 2)


def _difference(query: np.ndarray, rows: np.ndarray, dtype: type) -> np.ndarray:
    difference: np.ndarray = rows.astype(dtype)
    difference -= query.astype(dtype)[None]
    return difference


_FORMS = {"l1": _l1, "l2": _l2, "cosine": _cosine}

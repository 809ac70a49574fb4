"""Examples as the checks of data look at them: a sample, flat and on one scale, and by name."""

from __future__ import annotations

import numpy as np

from thalweg.data import Dataset
from thalweg.diagnostics.case import Case

__all__ = ["named", "raw_rows", "seen_rows", "subsample"]


def subsample(count: int, most: int) -> np.ndarray:
    """Return the places (min(count, most),) of a sample, in order: always the same."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def seen_rows(case: Case, split: str, rows: np.ndarray) -> np.ndarray:
    """Return examples (n, D) in float64 as the model takes them, or standardised where no model is at hand."""
    if case.model is not None and split in case.inputs:
        found = case.rows(split, rows)
    else:
        assert case.data is not None
        found = raw_rows(case.data, split, rows)
    return np.asarray(found.reshape(len(rows), -1), np.float64)


def raw_rows(data: Dataset, split: str, rows: np.ndarray) -> np.ndarray:
    """Return examples (n, D) in float32 as they came; of tables each column is divided by its spread in training."""
    features = dict(data.splits())[split].features[rows]
    found = np.asarray(features, np.float32).reshape(len(rows), -1)
    if data.is_image or data.train.features.dtype == np.uint8:
        return found
    known = np.asarray(data.train.features[subsample(len(data.train), 2000)], np.float64).reshape(-1, found.shape[1])
    centre, spread = known.mean(axis=0), known.std(axis=0)
    return ((found - centre[None]) / np.where(spread > 0, spread, 1)[None]).astype(np.float32)


def named(data: Dataset, split: str, row: int) -> str:
    """Say which example that is, in text that is safe to print."""
    names = dict(data.splits())[split].names
    return f"{split} example {row}" + ("" if names is None else f" ({ascii(names[row])[1:-1]})")

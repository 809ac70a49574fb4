"""Preprocessing: an affine map of the features, fitted on training examples only.

Every kind comes down to ``x' = (x − shift) · scale``, entry by entry, so that a
model file needs two arrays to repeat it, and uint8 images can stay uint8 until
the compiled program reads a minibatch of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from thalweg.errors import DataError, UsageError, nearest

__all__ = ["KINDS", "Preprocessing", "fit_preprocessing"]

KINDS = ("none", "scale", "center", "standardize")
_FLOAT32 = np.finfo(np.float32)
_CHUNK = 1 << 22  # numbers converted to float64 at a time: 32 MiB


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """``transform(x) = (x − shift) · scale`` as float32.

    ``shift`` and ``scale`` have the shape of one example's features, or are
    scalars. ``kind`` tells how they were fitted:

    - ``none``: the features as they are (shift 0, scale 1);
    - ``scale``: uint8 / 255; other features as they are;
    - ``center``: minus each feature's mean, divided by one number, the root
      mean square of what is left: the choice for images, whose features share
      a unit, since rarely inked pixels are not blown up;
    - ``standardize``: minus each feature's mean, divided by its standard
      deviation: the choice for tables. A constant feature becomes 0.
    """

    kind: str
    shift: np.ndarray
    scale: np.ndarray

    def transform(self, features: Any) -> Any:
        """Apply the map to NumPy or JAX features of shape (N, *feature_shape)."""
        # One leading axis more, said openly: JAX can be told to refuse ranks that differ.
        shift, scale = (np.broadcast_to(a, features.shape[1:])[None] for a in (self.shift, self.scale))
        return (features.astype(np.float32) - shift) * scale


def fit_preprocessing(features: Any, kind: str | None = "auto", weights: np.ndarray | None = None) -> Preprocessing:
    """Fit a preprocessing of the given kind on training features (N, *feature_shape), or a sparse matrix (CSR).

    ``auto`` takes ``center`` for images, uint8 and sparse features (whose rare ones
    would be blown up), ``standardize`` for the rest; None means ``none``. Sums run in
    float64, over blocks of rows, so a memory-mapped array is read once and never copied whole.
    With ``weights`` (N,) means and spreads are weighted: an example of weight 2 counts as two.
    """
    kind = _resolve(features, kind)
    one, zero = np.float32(1), np.float32(0)
    if kind == "none":
        return Preprocessing(kind, np.asarray(zero), np.asarray(one))
    unit = np.float32(1 / 255) if features.dtype == np.uint8 else one
    if kind == "scale":
        return Preprocessing(kind, np.asarray(zero), np.asarray(unit))
    mean, variance = _moments(features, weights)
    if kind == "center":
        spread = float(np.sqrt(variance.mean()))
        scale = np.asarray(1 / spread if spread > 0 else 1.0)
    else:
        # Features are float32: a spread below the mean's last digit (6e-8 to 1.2e-7 of it) is rounding, not signal.
        constant = variance <= (1e-7 * np.abs(mean)) ** 2
        scale = np.where(constant, 0.0, 1 / np.sqrt(np.where(constant, 1.0, variance)))
    normal = (scale == 0) | (scale > _FLOAT32.tiny) & (scale < _FLOAT32.max)
    if not (np.all(np.abs(mean) < _FLOAT32.max) and np.all(normal)):
        raise DataError(
            "the features' mean or spread is NaN or leaves the range of float32; rescale them to numbers of ordinary "
            "size first"
        )
    return Preprocessing(kind, mean.astype(np.float32), scale.astype(np.float32))


def _resolve(features: np.ndarray, kind: str | None) -> str:
    if kind is None:
        return "none"
    if kind == "auto":
        shared_unit = features.dtype == np.uint8 or features.ndim > 2 or sparse.issparse(features)
        return "center" if shared_unit else "standardize"
    if kind not in KINDS:
        known = ("auto", *KINDS)
        raise UsageError(f"preprocessing is {kind!r}; it must be one of {', '.join(known)}{nearest(str(kind), known)}")
    return kind


def _moments(features: Any, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return each feature's (weighted) mean and (biased) variance, in one pass.

    Sums are taken about the first example, so that a large common offset does
    not cancel the variance's digits away.
    """
    if sparse.issparse(features):
        from sklearn.utils.sparsefuncs import mean_variance_axis

        mean, variance = mean_variance_axis(features.astype(np.float64), axis=0, weights=weights)
        return mean, variance
    count = len(features)
    origin = np.asarray(features[0], np.float64)
    total, squares = np.zeros_like(origin), np.zeros_like(origin)
    rows = max(1, _CHUNK // max(1, origin.size))
    for start in range(0, count, rows):
        block = features[start : start + rows].astype(np.float64) - origin
        weighted = block
        if weights is not None:
            weighted = weights[start : start + rows].reshape(-1, *[1] * (block.ndim - 1)) * block
        total += weighted.sum(axis=0)
        squares += np.einsum("n...,n...->...", weighted, block)
    whole = count if weights is None else weights.sum()
    offset = total / whole
    return origin + offset, np.maximum(squares / whole - offset**2, 0.0)

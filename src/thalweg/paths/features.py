"""The matrix that the solvers see: preprocessed, centred, scaled to ordinary size, float32.

The bias is not penalised, so W x + b with any b fits what W (x − μ) + b does, and
with a scale s the weights of (x − μ)/s are s times those of x: centring and one
common scale change a penalised problem by nothing but a known factor. They save
float32 from rounding away what large offsets or scales would hide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from thalweg.data.preprocessing import Preprocessing
from thalweg.errors import DataError

__all__ = ["Centred", "centre"]

_CHUNK = 1 << 22  # numbers in float64 at a time
_FAR = 16  # offsets of that many spreads cost a float32 score its last 4 bits


@dataclass(frozen=True, eq=False)
class Centred:
    """``matrix`` (N, D) float32 = (preprocessed features − offset) / scale."""

    matrix: np.ndarray
    offset: np.ndarray  # (D,) float64
    scale: float
    spread: np.ndarray  # (D,) float64: the standard deviation of each preprocessed feature

    def ridge(self, strength: float) -> float:
        """Return the ridge for these features that is worth a given one for the preprocessed features."""
        return strength / self.scale**2

    def lasso(self, strength: float) -> float:
        return strength / self.scale

    def restore(self, weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weights (C, D) and bias (C,) for the preprocessed features from those for the matrix."""
        own = weights / self.scale
        return own, bias - own @ self.offset

    def absorb(
        self, preprocessing: Preprocessing, shape: tuple[int, ...], weights: np.ndarray, bias: np.ndarray
    ) -> tuple[Preprocessing, np.ndarray]:
        """Return a preprocessing that centres too, and the bias (C,) that goes with it, where float32 needs that.

        W x in float32 loses the digits in which |W| |offset| exceeds |W| spread, W (C, D) being weights
        for the preprocessed features; W (x − offset) does not. Features (of that shape each) near 0 stay as they are.
        """
        size = np.abs(weights)
        if not np.any(size @ np.abs(self.offset) > _FAR * (size @ self.spread)):
            return preprocessing, bias
        scale = np.broadcast_to(preprocessing.scale.astype(np.float64), shape)
        before = np.broadcast_to(preprocessing.shift.astype(np.float64), shape)
        used = np.where(scale == 0, 1.0, scale)
        after = (before + np.where(scale == 0, 0.0, self.offset.reshape(shape) / used)).astype(np.float32)
        moved = (after.astype(np.float64) - before) * scale
        return replace(preprocessing, shift=after), bias + weights @ moved.ravel()


def centre(features: np.ndarray, preprocessing: Preprocessing) -> Centred:
    """Preprocess features (N, *shape), subtract each one's mean, divide all by their root mean square.

    The scale is rounded to a power of 2, so that dividing loses nothing.
    """
    count = len(features)
    width = int(np.prod(features.shape[1:]))
    total, square = np.zeros(width), np.zeros(width)
    origin = _rows(features, slice(0, 1), preprocessing)[0]
    for rows in _blocks(count, width):
        block = _rows(features, rows, preprocessing) - origin
        total += block.sum(axis=0)
        with np.errstate(over="ignore"):
            square += np.einsum("nd,nd->d", block, block)
    mean = total / count
    variance = np.maximum(square / count - mean**2, 0)
    spread = float(np.sqrt(np.mean(variance)))
    if not np.isfinite(spread):
        raise DataError("the features' spread is not finite: rescale them to numbers of ordinary size first")
    scale = 2.0 ** round(float(np.log2(spread))) if spread > 0 else 1.0
    offset = origin + mean
    matrix = np.empty((count, width), np.float32)
    for rows in _blocks(count, width):
        matrix[rows] = (_rows(features, rows, preprocessing) - offset) / scale
    return Centred(matrix, offset, scale, np.sqrt(variance))


def _rows(features: np.ndarray, rows: slice, preprocessing: Preprocessing) -> np.ndarray:
    block = preprocessing.transform(np.asarray(features[rows]))
    return np.asarray(block, np.float64).reshape(len(block), -1)


def _blocks(count: int, width: int) -> list[slice]:
    step = max(1, _CHUNK // max(1, width))
    return [slice(start, start + step) for start in range(0, count, step)]

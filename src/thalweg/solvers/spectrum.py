"""The spectrum of the features: what lets one preconditioner serve every penalty strength.

With Σ = XᵀX/N = V Λ Vᵀ and mean curvature h of the loss, the Hessian is near
h Σ + 2 ridge I (for the softmax h ≤ ½: Böhning 1992), and

    (h Σ + 2 ridge I)⁻¹ g = V ((h Λ + 2 ridge)⁻¹ (Vᵀ g))

for any h and ridge, with two small products and no rotated copy of the features.
A few leading vectors with one number for all other directions have the same form.

Which of them to compute is decided by `plan` from measured costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from thalweg.errors import UsageError, nearest

__all__ = ["KINDS", "Spectrum", "decompose", "plan"]

KINDS = ("full", "gram", "low-rank", "plain")

# Below this width float64 costs next to nothing, and resolves near-duplicate features.
FLOAT64_WIDTH = 1024
RANK = 512
OVERSAMPLING = 32
_POWER_STEPS = 2


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Leading eigenvalues (r,) and eigenvectors (D, r) of XᵀX/N, and one value for every other direction.

    In float64 up to a width of 1,024, float32 beyond.

    ``kind`` says how they were found: ``full`` (all of them), ``gram`` (all that
    the examples span), ``low-rank`` (the leading ones, by random projection), or
    ``plain`` (none: r = 0). Values descend.
    """

    values: np.ndarray
    vectors: np.ndarray = field(repr=False)
    rest: float
    kind: str

    @property
    def rank(self) -> int:
        return len(self.values)


def decompose(features: np.ndarray, kind: str = "auto", *, rows: int = 320, seed: int = 0) -> Spectrum:
    """Return the spectrum of centred features (N, D) float32.

    ``auto`` takes what `plan` finds cheapest for a job of that many ``rows``
    (members × classes). ``seed`` is of the random projection.
    """
    count, width = features.shape
    if kind == "auto":
        kind = plan(count, width, rows)
    if kind == "full":
        values, vectors = _eigh(_second_moment(features))
        # No direction is left; the smallest value there keeps what rounding leaves of one from being blown up.
        return Spectrum(values, vectors, float(values[-1]), kind)
    if kind == "gram":
        return _from_examples(features)
    if kind == "low-rank":
        return _low_rank(features, min(RANK, count, width), seed)
    if kind == "plain":
        return Spectrum(np.zeros(0, np.float32), np.zeros((width, 0), np.float32), _trace(features) / width, kind)
    raise UsageError(f"spectrum is {kind!r}; it must be one of auto, {', '.join(KINDS)}{nearest(kind, KINDS)}")


def _second_moment(features: np.ndarray) -> np.ndarray:
    count, width = features.shape
    if width > FLOAT64_WIDTH:
        return (features.T @ features) / np.float32(count)
    total = np.zeros((width, width))
    for start in range(0, count, 8192):
        block = features[start : start + 8192].astype(np.float64)
        total += block.T @ block
    return total / count


def _eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return descending eigenvalues > 0 and their vectors, in the matrix's precision.

    LAPACK's relatively robust representations take half the time of divide and conquer. One thread: a second saves
    a third of the time on an idle machine, but where anything else runs the threads wait for each other at every
    column, which took 21 s instead of 3 at a width of 3,072.
    """
    with threadpool_limits(1, user_api="blas"):
        values, vectors = scipy.linalg.eigh(matrix, driver="evr", check_finite=False, overwrite_a=True)
    values, vectors = values[::-1], vectors[:, ::-1]
    floor = np.finfo(matrix.dtype).eps * max(float(values[0]), 0.0)  # below it a value is rounding
    return np.maximum(values, floor), np.ascontiguousarray(vectors)


def _from_examples(features: np.ndarray) -> Spectrum:
    count = len(features)
    values, left = _eigh((features @ features.T) / np.float32(count))
    kept = values > values[0] * 1e-6  # others span nothing that float32 can tell from rounding
    values = values[kept]
    vectors = features.T @ (left[:, kept] / np.sqrt(values * np.float32(count)))
    # Gradients have no part outside the span; the smallest value keeps their rounding there from being blown up.
    return Spectrum(values, np.ascontiguousarray(vectors), float(values[-1]), "gram")


def _low_rank(features: np.ndarray, rank: int, seed: int) -> Spectrum:
    """Randomised subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4), then Rayleigh-Ritz."""
    count, width = features.shape
    columns = min(rank + OVERSAMPLING, width, count)
    basis = np.random.default_rng(seed).standard_normal((width, columns), np.float32)
    for _ in range(_POWER_STEPS):
        basis = scipy.linalg.qr(features.T @ (features @ basis), mode="economic", check_finite=False)[0]
    image = features @ basis
    values, inner = _eigh((image.T @ image) / np.float32(count))
    values, vectors = values[:rank], basis @ inner[:, :rank]
    rest = max(_trace(features) - float(values.sum(dtype=np.float64)), 0.0) / max(width - rank, 1)
    return Spectrum(values, np.ascontiguousarray(vectors), rest, "low-rank")


def _trace(features: np.ndarray) -> float:
    flat = features.reshape(-1)
    total = sum(float(np.dot(part, part)) for part in np.array_split(flat, max(1, flat.size // 2**22)))
    return total / len(features)


# Seconds per operation, measured on two cores; only their ratios matter.
_PRODUCT = 1 / 190e9  # a multiply-add counts as two
_EIGH = 1.0e-10  # times D³, eigenvalues and vectors in float32
# Iterations until a 1e-6 relative bound: medians over strengths 1e-2 to 1e-5 on 20,000 × 3,072 pixels for full and
# low-rank; gram spans what full does; plain is a cautious guess. bench_path_scaling.py spectrum compares them.
_ITERATIONS = {"full": 12, "gram": 12, "low-rank": 30, "plain": 1000}


def plan(count: int, width: int, rows: int) -> str:
    """Return the kind of spectrum whose decomposition and iterations together should take the least time.

    An iteration costs two products of ``rows`` with the features, and two with the vectors.
    """
    rank = min(RANK, count, width)
    both = 2 * width * count
    seconds = {
        "full": both * width / 2 * _PRODUCT + _EIGH * width**3,
        "gram": both * count * 1.5 * _PRODUCT + _EIGH * count**3,
        "low-rank": both * (rank + OVERSAMPLING) * (2 * _POWER_STEPS + 1) * _PRODUCT,
        "plain": 0.0,
    }
    ranks = {"full": width, "gram": count, "low-rank": rank, "plain": 0}
    if count >= width:
        del seconds["gram"]
    for kind in seconds:
        seconds[kind] += _ITERATIONS[kind] * rows * 4 * width * (count + ranks[kind]) * _PRODUCT
    return min(seconds, key=lambda kind: (seconds[kind], math.inf if kind == "plain" else 0))

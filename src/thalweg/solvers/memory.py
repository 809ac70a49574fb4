"""What the solvers keep in memory beside the features and the optima, so that a job too large can be refused."""

from __future__ import annotations

import os
from dataclasses import dataclass

from thalweg.losses import Hinge
from thalweg.solvers import certificate, hinge, softmax, sparse, spectrum

__all__ = ["Sizes", "working_memory"]

_DOUBLE, _SINGLE = 8, 4
# Arrays alive at once, counted in the programs; their compiler may need fewer.
_SCORES_SOFTMAX = 8  # (T, C, N): scores, the direction's, exponentials, slopes, masks
_SCORES_HINGE = 8
_SCORES_CERTIFICATE = 6
_WEIGHTS_SOFTMAX = 40  # (T, C, D): L-BFGS's pairs, and again as they move up by one; point, gradient, direction
_WEIGHTS_HINGE = 8
_EIGENVECTORS = 4  # (D, D): the matrix, LAPACK's copy, the vectors, the vectors in C order


@dataclass(frozen=True)
class Sizes:
    """N examples of D features in C classes; T members of so many weightings."""

    examples: int
    features: int
    classes: int
    members: int
    weightings: int


def working_memory(sizes: Sizes, loss: object, *, is_sparse: bool) -> int:
    """Estimate the bytes that solving surely takes at its peak, features and optima apart."""
    certifying = certificate.group(sizes.classes, sizes.examples)
    scores = min(certifying, sizes.members) * sizes.classes * sizes.examples * _DOUBLE * _SCORES_CERTIFICATE
    if is_sparse:
        return max(scores, _sparse(sizes))
    kind = spectrum.plan(sizes.examples, sizes.features, sizes.members * sizes.classes)
    work = _hinge(sizes) if isinstance(loss, Hinge) else _softmax(sizes)
    return _spectrum(sizes, kind) + max(scores, work)


def _sparse(sizes: Sizes) -> int:
    lanes = min(max(sparse.LANES, sizes.weightings), os.cpu_count() or 1, sizes.members)
    # The Hessian grows with the weights that are not 0, which nobody knows beforehand; it is left out.
    scores = _DOUBLE * _SCORES_SOFTMAX * sizes.classes * sizes.examples
    return _SINGLE * sizes.examples * (sizes.features + 1) + lanes * scores


def _softmax(sizes: Sizes) -> int:
    slots = softmax.slots(sizes.members, sizes.classes, sizes.examples, sizes.features)
    each = _SCORES_SOFTMAX * sizes.examples + _WEIGHTS_SOFTMAX * sizes.features
    return _DOUBLE * slots * sizes.classes * each


def _hinge(sizes: Sizes) -> int:
    slots = hinge.slots(sizes.members, sizes.classes, sizes.examples)
    each = _SCORES_HINGE * sizes.examples + _WEIGHTS_HINGE * sizes.features
    return _SINGLE * slots * sizes.classes * each


def _spectrum(sizes: Sizes, kind: str) -> int:
    count, width = sizes.examples, sizes.features
    if kind == "full":
        return (_DOUBLE if width <= spectrum.FLOAT64_WIDTH else _SINGLE) * _EIGENVECTORS * width**2
    if kind == "gram":
        return _SINGLE * (_EIGENVECTORS * count**2 + 2 * count * width)
    if kind == "low-rank":
        return _SINGLE * 3 * (count + width) * (spectrum.RANK + spectrum.OVERSAMPLING)
    return 0

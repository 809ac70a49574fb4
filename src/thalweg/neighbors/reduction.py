"""Fewer numbers a row that still bound a distance from below.

- L2 and cosine: the coordinates p = Vᵀx along the largest principal axes, and the length ρ of what they leave.
  V has orthonormal columns, so x·z ≤ p_x·p_z + ρ_x ρ_z by Cauchy and Schwarz.
- L1: the sums over groups of features, since Σ|x − z| ≥ Σ_g |Σ_{i∈g} (x_i − z_i)|. The more the features of a
  group move together, the nearer the bound is.

Whatever V and the groups are, the bounds hold; the data decides only how much work they save.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["SAMPLE", "choose_basis"]

SAMPLE = 2048  # rows that the choice looks at
_QUERIES = 64  # of these, rows that play the query
_RANK = 2  # the neighbour to be found: among 2,000 rows the second nearest, of 50,000 about the 50th
_WIDTHS = (32, 64, 128, 256)
_FEWEST = 3  # features to each coordinate: with fewer nothing is saved
_STEPS = 2  # of subspace iteration; the spectrum of natural data falls fast
# What a number costs in the exact distance of one gathered row, beside the same number in a blocked product or in a
# blocked sum of absolute differences (measured: 2, 50 and 17 numbers a nanosecond and core).
_EXACT_COST = {"l1": 8, "l2": 30, "cosine": 30}


def choose_basis(metric: str, sample: np.ndarray) -> np.ndarray | None:
    """Return the basis (D, d) that costs least on a sample (n, D), float32; None where all D numbers cost less.

    The sample is centred (for ``cosine`` normalised instead). The cost of d numbers for every row, and of D for
    every row that the bound does not rule out, is counted on the sample itself.
    """
    count, width = sample.shape
    if width < _FEWEST * _WIDTHS[0] or count < 2 * _QUERIES:
        return None
    queries, rows = sample[:_QUERIES], sample[_QUERIES:]
    true = _pairwise(metric, queries, rows)
    limit = np.partition(true, _RANK - 1, axis=1)[:, _RANK - 1 : _RANK]
    best, chosen = 0.8, None  # a reduction has to earn its keep
    for basis in (_groupings if metric == "l1" else _principal_axes)(sample):
        passed = np.mean(_bounds(metric, queries, rows, basis) <= limit)
        cost = basis.shape[1] / width + _EXACT_COST[metric] * float(passed)
        if cost < best:
            best, chosen = cost, basis
    return chosen


def _pairwise(metric: str, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if metric == "l1":
        return np.stack([np.abs(rows - query[None]).sum(axis=1) for query in queries])
    squares = [np.einsum("nd,nd->n", a, a) for a in (queries, rows)]
    return squares[0][:, None] + squares[1][None] - 2 * queries @ rows.T


def _bounds(metric: str, queries: np.ndarray, rows: np.ndarray, basis: np.ndarray) -> np.ndarray:
    reduced = [a @ basis for a in (queries, rows)]
    if metric == "l1":
        return _pairwise("l1", *reduced)
    squares = [np.einsum("nd,nd->n", a, a) for a in (queries, rows)]
    left = [np.sqrt(np.maximum(s - np.einsum("nd,nd->n", p, p), 0)) for s, p in zip(squares, reduced, strict=True)]
    return squares[0][:, None] + squares[1][None] - 2 * (reduced[0] @ reduced[1].T + np.outer(*left))


def _principal_axes(sample: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the first 32, 64, ... axes by randomised subspace iteration (Halko, Martinsson & Tropp 2011)."""
    width = sample.shape[1]
    most = min(_WIDTHS[-1], width // _FEWEST)
    axes = np.random.default_rng(0).standard_normal((width, min(width, most + 16))).astype(np.float32)
    for _ in range(_STEPS):
        axes = sample.T @ (sample @ axes)
        # Orthonormal in float64: V's own departure from it must drown in float32's rounding.
        axes = np.linalg.qr(axes.astype(np.float64))[0].astype(np.float32)
    seen = (sample @ axes).astype(np.float64)
    turned = np.linalg.eigh(seen.T @ seen)[1][:, ::-1]
    ordered = (axes.astype(np.float64) @ turned).astype(np.float32)
    for count in (size for size in _WIDTHS if size <= most):
        yield ordered[:, :count]


def _groupings(sample: np.ndarray) -> Iterator[np.ndarray]:
    """Yield matrices (D, groups) of 0 and 1, each group the half of one before, split where its features differ most.

    A group is split at the median of its features' weights in the leading component of what is left of them once
    each row's mean over the group is gone: the two halves are those that move against each other.
    """
    generator = np.random.default_rng(0)
    width = sample.shape[1]
    groups = [np.arange(width)]
    while len(groups) * 2 * _FEWEST <= width:
        groups = [half for group in groups for half in _halves(sample[:, group], group, generator)]
        if len(groups) >= _WIDTHS[0]:
            basis = np.zeros((width, len(groups)), np.float32)
            for place, group in enumerate(groups):
                basis[group, place] = 1
            yield basis


def _halves(values: np.ndarray, group: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    values = values - values.mean(axis=1, keepdims=True)
    weights = generator.standard_normal(len(group)).astype(np.float32)
    for _ in range(8):  # power iteration; the bound holds at any accuracy
        weights = values.T @ (values @ weights)
        weights /= max(float(np.linalg.norm(weights)), 1e-30)
    order = np.argsort(weights, kind="stable")
    half = len(group) // 2
    return group[order[:half]], group[order[half:]]

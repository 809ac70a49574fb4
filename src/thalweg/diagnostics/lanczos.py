"""Lanczos' method: what products with a symmetric matrix tell of its eigenvalues, with error bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.linalg import eigh_tridiagonal, eigvalsh_tridiagonal

from thalweg.errors import DataError, UsageError
from thalweg.training.free_memory import available_bytes

__all__ = ["ROUNDING", "Krylov", "Product", "Ritz", "condition_of", "density_of", "fitting", "lanczos", "padded"]

Product: TypeAlias = Callable[[np.ndarray], np.ndarray]  # vectors (B, n) float64 -> H_b v_b (B, n) float64

ROUNDING = 16  # units of the precision, times the largest |eigenvalue|; float32 products came out 1 to 3 units off
_LEAST = 32  # steps before convergence may end the work: fewer nodes make a poor density
_LOOK = 8  # steps between two looks at convergence
_RESOLVED = 0.1  # a Ritz value counts as resolved where residual and rounding are at most this share of it
_USE = 0.5  # of the free memory that the bases may take


class Ritz(NamedTuple):
    """What one Krylov space of k dimensions tells of its matrix, in ascending order of the values.

    An eigenvalue lies within ``residuals[i]`` = β_k |e_kᵀ s_i| of ``values[i]`` (k,), ``weights`` (k,) are the
    squared first entries of s_i: nodes and weights of a Gauss quadrature. ``vectors`` (k, k) has the s_i as columns.
    """

    values: np.ndarray
    weights: np.ndarray
    residuals: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True, eq=False)
class Krylov:
    """B Krylov spaces, H_b V_b = V_b T_b + β_k v_{k+1} e_kᵀ, T_b tridiagonal.

    ``diagonal`` (B, k) and ``beside`` (B, k) hold the entries of T_b, the last of ``beside`` being β_k;
    ``basis`` (B, k, n) the orthonormal vectors; ``sizes`` (B,) how many of them there are: fewer than k where
    the space is invariant to rounding, which ``exhausted`` (B,) marks. ``products`` counts products for each matrix.
    """

    diagonal: np.ndarray
    beside: np.ndarray
    basis: np.ndarray
    sizes: np.ndarray
    exhausted: np.ndarray
    products: int

    def ritz(self, place: int) -> Ritz:
        """Return the Ritz values of one space, with their residual bounds."""
        size = int(self.sizes[place])
        return _ritz(self.diagonal[place, :size], self.beside[place, :size])

    def vector(self, place: int, coordinates: np.ndarray) -> np.ndarray:
        """Return the unit vector (n,) with the given coordinates (k,) in one space."""
        found = coordinates @ self.basis[place, : len(coordinates)]
        return np.asarray(found / np.linalg.norm(found))


def lanczos(product: Product, starts: np.ndarray, iterations: int, *, tolerance: float = 0.0, eps: float) -> Krylov:
    """Build B Krylov spaces side by side, every vector orthogonalised against all before it, twice.

    Plain Lanczos loses orthogonality as soon as a Ritz value converges and then finds it again and again; with
    the whole basis kept there are no such ghosts. Scalars and basis are float64 whatever the products are.

    Args:
        product: (B, n) vectors -> (B, n) products, one matrix a row.
        starts: (B, n), not 0; scaled to length 1 here.
        iterations: the most steps; never more than n.
        tolerance: ends the work once both ends of every spectrum have residuals of at most this times the
            largest |Ritz value|, though not before 32 steps; 0 (default) never does.
        eps: the rounding unit of the products, such as 1.2e-7 of float32.

    Raises:
        UsageError: the basis would not fit into half of the free memory.
        DataError: a product is not finite.

    Golub & Meurant 2010, chapter 4; Parlett 1998, chapter 13.
    """
    count, size = starts.shape
    steps = min(iterations, size)
    _check_memory(count, steps, size)
    diagonal, beside, basis = np.zeros((count, steps)), np.zeros((count, steps)), np.zeros((count, steps, size))
    current = starts / np.linalg.norm(starts, axis=1, keepdims=True)
    sizes, live = np.full(count, steps), np.ones(count, bool)
    done = 0
    for k in range(steps):
        basis[:, k] = current
        rest = product(current)
        if not np.isfinite(rest).all():
            raise DataError("a Hessian product is not finite: the weights or the features are NaN, infinite or too big")
        diagonal[:, k] = np.einsum("bn,bn->b", current, rest)
        rest = _orthogonal(rest, basis[:, : k + 1])
        beside[:, k] = np.linalg.norm(rest, axis=1)
        done = k + 1
        ended = live & ((done == size) | _invariant(diagonal[:, :done], beside[:, :done], ROUNDING * eps))
        sizes[ended], live = done, live & ~ended
        if not live.any() or (tolerance > 0 and _settled(diagonal, beside, np.minimum(sizes, done), tolerance)):
            break
        current = np.where(live[:, None], rest / np.where(live, beside[:, k], 1)[:, None], 0.0)
    sizes = np.minimum(sizes, done)
    return Krylov(diagonal[:, :done], beside[:, :done], basis[:, :done], sizes, ~live, done)


def density_of(nodes: np.ndarray, weights: np.ndarray, grid: np.ndarray, broadening: float) -> np.ndarray:
    """Return the density (G,) of eigenvalues at ``grid``: Σ weight · N(grid; node, broadening²).

    ``nodes`` and ``weights`` (any one shape) are those of Gauss quadratures, with weights that sum to 1 over all.
    The Gaussian's width stands for what so few nodes cannot resolve (Ghorbani, Krishnan & Xiao 2019, section 3).
    """
    apart = (grid[:, None] - nodes.reshape(1, -1)) / broadening  # (G, nodes)
    bells = np.exp(-0.5 * apart**2) / (np.sqrt(2 * np.pi) * broadening)
    return np.asarray(bells @ weights.ravel())


def padded(spaces: Sequence[Ritz]) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights (P, k) of several spaces; the shorter ones are filled up with weight 0."""
    most = max(len(one.values) for one in spaces)
    nodes, weights = np.zeros((len(spaces), most)), np.zeros((len(spaces), most))
    for place, one in enumerate(spaces):
        nodes[place, : len(one.values)], weights[place, : len(one.values)] = one.values, one.weights
    return nodes, weights


def condition_of(spaces: Sequence[Ritz], floor: float) -> tuple[float, bool]:
    """Return the largest |Ritz value| over the smallest that is above the floor, and whether all are resolved.

    Resolved is a Ritz value θ whose residual, with the floor for the products' rounding, is at most a tenth of |θ|, or
    that is 0 to rounding: |θ| + residual ≤ floor. Where one is not, the ratio is what is certain nevertheless: over the
    upper end of |θ| + residual + floor, of the values with |θ| − residual > floor. NaN where there is none.
    """
    sizes = np.concatenate([np.abs(one.values) for one in spaces])
    residuals = np.concatenate([one.residuals for one in spaces])
    sound = sizes - residuals > floor
    if not sound.any():
        return float("nan"), False
    null = sizes + residuals <= floor
    resolved = bool((null | (residuals + floor <= _RESOLVED * sizes)).all())
    reach = sizes if resolved else sizes + residuals + floor
    return max(1.0, float(sizes.max() / reach[sound].min())), resolved


def fitting(steps: int, size: int) -> int:
    """Return how many spaces of so many vectors (size,) fit into the part of the free memory that `lanczos` takes."""
    return int(_USE * available_bytes() / (8 * min(steps, size) * size))


def _orthogonal(vectors: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Take from vectors (B, n) all that lies in the span of basis (B, k, n); twice is enough (Parlett)."""
    for _ in range(2):
        inside = np.matmul(basis, vectors[:, :, None])  # (B, k, 1)
        vectors = vectors - np.matmul(inside.swapaxes(1, 2), basis)[:, 0]
    return vectors


def _ritz(diagonal: np.ndarray, beside: np.ndarray) -> Ritz:
    values, vectors = eigh_tridiagonal(diagonal, beside[:-1])
    return Ritz(values, vectors[0] ** 2, np.abs(beside[-1] * vectors[-1]), vectors)


def _invariant(diagonal: np.ndarray, beside: np.ndarray, rounding: float) -> np.ndarray:
    """True (B,) where β_k is rounding times the largest |Ritz value|, or less: a next vector would be noise.

    No looser than the floor of the eigenvalues, as the spread of a cluster just above it must not pass for rounding.
    """
    left, last = beside[:, :-1], beside[:, -1]
    rows = np.abs(diagonal)
    rows[:, :-1] += left
    rows[:, 1:] += left
    small = last <= rounding * rows.max(axis=1)  # Gershgorin's bound is cheap, and seldom met in vain
    for place in np.flatnonzero(small):
        small[place] = last[place] <= rounding * np.abs(eigvalsh_tridiagonal(diagonal[place], left[place])).max()
    return small


def _settled(diagonal: np.ndarray, beside: np.ndarray, sizes: np.ndarray, tolerance: float) -> bool:
    """True where every space's two extreme Ritz values have converged."""
    done = int(sizes.max())
    if done < _LEAST or done % _LOOK:
        return False
    for place, size in enumerate(sizes):
        found = _ritz(diagonal[place, :size], beside[place, :size])
        if max(found.residuals[0], found.residuals[-1]) > tolerance * np.abs(found.values).max():
            return False
    return True


def _check_memory(count: int, steps: int, size: int) -> None:
    needed, free = 8 * count * steps * size, _USE * available_bytes()
    if needed > free:
        raise UsageError(
            f"{count} spaces of {steps} vectors of {size:,} weights take {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB may be used: take fewer models, probes or iterations"
        )

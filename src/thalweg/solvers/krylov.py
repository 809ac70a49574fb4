"""What Hessian-vector products alone can tell: a Newton direction, and whether curvature is negative."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from thalweg.solvers.line_search import rounding_unit

__all__ = ["LANCZOS_STEPS", "NewtonDirection", "conjugate_gradients", "least_eigenpair"]

Product = Callable[[jax.Array], jax.Array]

LANCZOS_STEPS = 30


class NewtonDirection(NamedTuple):
    """An approximate solution p of H p = −g ``(n,)``."""

    vector: jax.Array
    least: jax.Array  # least dᵀHd/dᵀd among the search directions that was positive, infinite if none
    negative: jax.Array  # a search direction had dᵀHd ≤ 0
    products: jax.Array


class _Iterate(NamedTuple):
    vector: jax.Array
    residual: jax.Array  # H p + g
    search: jax.Array
    square: jax.Array  # ‖residual‖²
    least: jax.Array
    negative: jax.Array
    products: jax.Array
    open: jax.Array


def conjugate_gradients(
    product: Product, gradient: jax.Array, accuracy: jax.Array, most: int, active: jax.Array
) -> NewtonDirection:
    """Solve H p = −g until ‖H p + g‖ ≤ accuracy ‖g‖, or negative curvature shows (Nocedal & Wright, algorithm 7.1).

    The p reached by then descends; where the first search direction −g is itself of negative curvature, p is
    −g times ‖g‖²/|gᵀHg|, the step that a convex function of that curvature would want.
    """
    dtype, eps = gradient.dtype, rounding_unit(gradient)
    square = jnp.vdot(gradient, gradient)
    goal = accuracy * accuracy * square

    def advance(now: _Iterate) -> _Iterate:
        image = product(now.search)
        curvature, length = jnp.vdot(now.search, image), jnp.vdot(now.search, now.search)
        rounding = eps * jnp.sqrt(length) * jnp.linalg.norm(image)
        negative = curvature <= rounding
        step = now.square / jnp.where(curvature == 0, 1, jnp.abs(curvature))
        kept = negative & (now.products > 0)
        vector = jnp.where(kept, now.vector, now.vector + step * now.search)
        residual = now.residual + step * image
        after = jnp.vdot(residual, residual)
        least = jnp.where(negative, now.least, jnp.minimum(now.least, curvature / length))
        more = ~negative & (after > goal) & (now.products + 1 < most)
        search = after / now.square * now.search - residual
        return _Iterate(vector, residual, search, after, least, negative, now.products + 1, more)

    least, count = jnp.full((), jnp.inf, dtype), jnp.zeros((), jnp.int32)
    begin = active & (square > 0)
    zero, none = jnp.zeros_like(gradient), jnp.zeros((), bool)
    first = _Iterate(zero, gradient, -gradient, square, least, none, count, begin)
    last = lax.while_loop(lambda now: now.open, advance, first)
    return NewtonDirection(last.vector, last.least, last.negative, last.products)


class Eigenpair(NamedTuple):
    """The least Ritz value, its unit vector ``(n,)``, and the largest magnitude of a Ritz value."""

    value: jax.Array
    vector: jax.Array
    largest: jax.Array


def least_eigenpair(product: Product, size: int, dtype: jnp.dtype) -> Eigenpair:
    """Estimate H's least eigenvalue by min(n, 30) Lanczos steps from a seeded random vector.

    A Ritz value is never below the least eigenvalue, so a negative one is proof. All of the basis is kept
    orthogonal: n ≤ 30 gives the eigenvalue itself.
    """
    steps = min(size, LANCZOS_STEPS)
    eps = float(np.finfo(dtype).eps)
    first = jax.random.normal(jax.random.key(0), (size,), dtype)
    basis = jnp.zeros((steps, size), dtype).at[0].set(first / jnp.linalg.norm(first))

    def extend(k: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        basis, diagonal, beside = carry
        image = product(basis[k])
        norm, diagonal = jnp.linalg.norm(image), diagonal.at[k].set(jnp.vdot(basis[k], image))
        for _ in range(2):  # twice is enough (Parlett)
            image = image - basis.T @ (basis @ image)
        rest = jnp.linalg.norm(image)
        # An invariant subspace ends the basis: what follows is 0, and adds Ritz values 0, which prove nothing.
        sound = rest > 10 * eps * norm
        following = jnp.where(sound, image / jnp.where(sound, rest, 1), 0)
        # Past the last row, JAX drops what is set.
        return basis.at[k + 1].set(following), diagonal, beside.at[k].set(jnp.where(sound, rest, 0))

    start = (basis, jnp.zeros(steps, dtype), jnp.zeros(steps, dtype))
    basis, diagonal, beside = lax.fori_loop(0, steps, extend, start)
    inner = jnp.diag(diagonal) + jnp.diag(beside[:-1], 1) + jnp.diag(beside[:-1], -1)
    values, vectors = jnp.linalg.eigh(inner)
    vector = vectors[:, 0] @ basis
    length = jnp.linalg.norm(vector)
    return Eigenpair(values[0], vector / jnp.where(length > 0, length, 1), jnp.max(jnp.abs(values)))

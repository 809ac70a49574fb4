"""Newton's direction in the plane, written out: what the solver computes, without LAPACK.

LAPACK is called for one matrix at a time, which for 160,000 racers of a map costs more than all else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from thalweg.solvers.descent import Direction, Objective, first_step
from thalweg.solvers.line_search import Point, rounding_unit
from thalweg.solvers.newton import NEGATIVE, Factored, FullHessian, newton_direction

__all__ = ["PlaneHessian"]


@dataclass(frozen=True)
class PlaneHessian(FullHessian):
    """`FullHessian` for two weights, by formulas."""

    def direction(self, objective: Objective, point: Point, memory: Any, active: jax.Array) -> Direction:
        product = objective.hessian_product(point.weights)
        first, second = (product(axis) for axis in jnp.eye(2, dtype=point.weights.dtype))
        xx, xy, yy = first[0], 0.5 * (first[1] + second[0]), second[1]
        # Cholesky's two pivots say whether H is positive definite beyond rounding, as in `FullHessian`.
        ratio = xy / xx
        pivot = yy - ratio * xy
        rounding = 2 * rounding_unit(xx) * jnp.maximum(jnp.abs(xx), jnp.abs(yy))
        definite = (xx > rounding) & (pivot > rounding)
        by_y = (point.gradient[1] - ratio * point.gradient[0]) / pivot
        solved = -jnp.stack([point.gradient[0] / xx - ratio * by_y, by_y])
        spectral = _spectral(xx, xy, yy, point)
        easy = Factored(solved, jnp.zeros_like(xx), jnp.zeros_like(solved))
        found = jax.tree.map(lambda a, b: jnp.where(definite, a, b), easy, spectral)
        gap = -0.5 * jnp.vdot(found.vector, point.gradient)
        reached = objective.estimated(point, gap, jnp.linalg.norm(found.vector))
        return newton_direction(objective, point, found, reached, definite, jnp.full((), 2, jnp.int32), ())


def _spectral(xx: jax.Array, xy: jax.Array, yy: jax.Array, point: Point) -> Factored:
    """Return −|H|⁻¹ g. Eigenvalues that are rounding count as the smallest that are not."""
    finite = jnp.isfinite(xx) & jnp.isfinite(xy) & jnp.isfinite(yy)
    xx, xy, yy = (jnp.where(finite, part, 0) for part in (xx, xy, yy))
    middle, half = 0.5 * (xx + yy), 0.5 * (xx - yy)
    radius = jnp.hypot(half, xy)
    values = jnp.stack([middle - radius, middle + radius])
    angle = 0.5 * jnp.arctan2(xy, half)  # of the eigenvector of the higher eigenvalue
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    low, high = jnp.stack([-sin, cos]), jnp.stack([cos, sin])
    eps, largest = rounding_unit(values), jnp.max(jnp.abs(values))
    sizes = jnp.maximum(jnp.abs(values), 2 * eps * largest)
    sizes = jnp.where(largest > 0, sizes, 1 / first_step(point))
    vector = -(low * (jnp.vdot(low, point.gradient) / sizes[0]) + high * (jnp.vdot(high, point.gradient) / sizes[1]))
    negative = values[0] < -NEGATIVE * eps * largest
    return Factored(vector, jnp.where(negative, values[0], 0), low)

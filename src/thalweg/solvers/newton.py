"""Newton's method, with the whole Hessian or with its products alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from thalweg.fields import check_option
from thalweg.solvers.descent import Curvature, Direction, Method, Objective, first_step, when
from thalweg.solvers.krylov import LANCZOS_STEPS, conjugate_gradients, least_eigenpair
from thalweg.solvers.line_search import Point, rounding_unit
from thalweg.solvers.minimize import SmoothSolver

__all__ = ["FULL_UP_TO", "Factored", "FullHessian", "Newton", "newton_direction"]

# Weights up to which "auto" forms the Hessian. Products are the faster where the curvature is even (n = 500: 8 times),
# but condition 1e6 costs them a thousand of themselves, and the whole Hessian one step. At 500 a step of it still
# takes some 30 ms, at 1000 over ten times that (benchmarks/bench_newton.py): the insurance is no longer cheap.
FULL_UP_TO = 500
COLUMNS = 64  # of the Hessian formed at once: all n would hold n times what one gradient does
NEGATIVE = 1000  # roundings, relative to the largest eigenvalue, below which a negative one is noise


class Newton(SmoothSolver):
    """Newton's method, made safe by a line search: w += t p with p = −H⁻¹ g.

    Arguments:
        tolerance: of the relative gap, by default 1e-6; see `solve`.
        iterations: most steps taken, by default 1000.
        hessian: "full" forms H: n products, n² numbers and O(n³) operations a
            step; where H is not positive definite, p = −|H|⁻¹ g with the magnitudes
            of its eigenvalues (saddle-free; Dauphin 2014), so that negative curvature
            drives the weights away instead of attracting them. "products" solves
            H p = −g by conjugate gradients only as far as the last step's progress
            deserves (Eisenstat & Walker 1996), at the cost of about two gradients a
            product, and stops at negative curvature. "auto", the default, takes
            "full" up to 500 weights.

    It does not stop at a saddle: where the gradient is that of an optimum, but an
    eigenvalue is negative, it moves along that eigenvector. "products" looks for
    it by 30 Lanczos steps, which a very small negative eigenvalue among many may
    escape. With ``strong_convexity`` there is no need to look.

    A solution's ``evaluations`` count each Hessian product as one.
    """

    tolerance: float
    iterations: int
    hessian: str

    def __init__(self, tolerance: float = 1e-6, iterations: int = 1000, hessian: str = "auto") -> None:
        self.tolerance, self.iterations, self.hessian = tolerance, iterations, hessian
        check_option("Newton", "hessian", hessian, ("auto", "full", "products"))

    def method(self, size: int) -> Method:
        full = size <= FULL_UP_TO if self.hessian == "auto" else self.hessian == "full"
        return FullHessian() if full else HessianProducts()


class Factored(NamedTuple):
    """A Newton direction from the whole Hessian, and H's least eigenpair where it is negative (else 0)."""

    vector: jax.Array
    least: jax.Array
    least_vector: jax.Array


@dataclass(frozen=True)
class FullHessian:
    """The method of Newton with H formed. It remembers nothing."""

    def init(self, objective: Objective, point: Point) -> tuple[()]:
        return ()

    def fresh(self, memory: Any) -> jax.Array:
        return jnp.ones((), bool)

    def learn(self, memory: Any, before: Point, after: Point) -> tuple[()]:
        return ()

    def direction(self, objective: Objective, point: Point, memory: Any, active: jax.Array) -> Direction:
        size = point.weights.size
        identity = jnp.eye(size, dtype=point.weights.dtype)
        columns = lax.map(objective.hessian_product(point.weights), identity, batch_size=min(COLUMNS, size))
        hessian = 0.5 * (columns + columns.T)
        factor = jnp.linalg.cholesky(hessian)  # NaN where H is not positive definite
        pivots = jnp.square(jnp.diag(factor))
        rounding = size * rounding_unit(factor) * jnp.max(jnp.abs(jnp.diag(hessian)))
        definite = jnp.all(pivots > rounding)  # false for NaN
        solved = -jax.scipy.linalg.cho_solve((factor, True), point.gradient)
        easy = Factored(solved, jnp.zeros_like(point.value), jnp.zeros_like(point.gradient))
        found = when(active & ~definite, lambda _: _spectral(hessian, point), easy)
        gap = -0.5 * jnp.vdot(found.vector, point.gradient)
        reached = objective.estimated(point, gap, jnp.linalg.norm(found.vector))
        count = jnp.full((), size, jnp.int32)
        return newton_direction(objective, point, found, reached, definite, count, ())


def _spectral(hessian: jax.Array, point: Point) -> Factored:
    """Return −|H|⁻¹ g. Eigenvalues that are rounding count as the smallest that are not."""
    hessian = jnp.where(jnp.all(jnp.isfinite(hessian)), hessian, 0)
    values, vectors = jnp.linalg.eigh(hessian)
    eps, largest = rounding_unit(values), jnp.max(jnp.abs(values))
    sizes = jnp.maximum(jnp.abs(values), values.size * eps * largest)
    vector = -vectors @ ((vectors.T @ point.gradient) / jnp.where(largest > 0, sizes, 1 / first_step(point)))
    negative = values[0] < -NEGATIVE * eps * largest
    return Factored(vector, jnp.where(negative, values[0], 0), vectors[:, 0])


class Progress(NamedTuple):
    """The gradient's size one step ago, infinite at first, and the least curvature met."""

    size: jax.Array
    curvature: Curvature


@dataclass(frozen=True)
class HessianProducts:
    """The method of Newton with conjugate gradients."""

    def init(self, objective: Objective, point: Point) -> Progress:
        return Progress(jnp.full_like(point.value, jnp.inf), Curvature.unknown(point.value))

    def fresh(self, memory: Progress) -> jax.Array:
        return jnp.ones((), bool)

    def learn(self, memory: Progress, before: Point, after: Point) -> Progress:
        return Progress(jnp.linalg.norm(before.gradient), memory.curvature)

    def direction(self, objective: Objective, point: Point, memory: Progress, active: jax.Array) -> Direction:
        product = objective.hessian_product(point.weights)
        size = point.weights.size
        eps = rounding_unit(point.value)
        # Scaled, so that no square leaves the range of float32.
        steepness = jnp.linalg.norm(point.gradient)
        unit = point.gradient / jnp.where(steepness > 0, steepness, 1)
        first = jnp.isinf(memory.size)
        accuracy = jnp.where(first, 0.5, jnp.clip(0.9 * jnp.square(steepness / memory.size), 10 * eps, 0.5))
        solved = conjugate_gradients(product, unit, accuracy, 2 * size, active)
        curvature = memory.curvature.met(solved.least)
        gap, distance = curvature.gap(point.gradient)
        none = jnp.all(point.gradient == 0)
        reached = none | (~solved.negative & objective.estimated(point, gap, distance))

        def look(_: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            found = least_eigenpair(product, size, point.value.dtype)
            negative = found.value < -NEGATIVE * eps * found.largest
            return jnp.where(negative, found.value, 0), found.vector

        looks = active & reached & (objective.strong_convexity == 0)
        least, vector = when(looks, look, (jnp.zeros_like(point.value), jnp.zeros_like(point.gradient)))
        count = solved.products + looks * min(size, LANCZOS_STEPS)
        after = Progress(memory.size, curvature)
        found = Factored(steepness * solved.vector, least, vector)
        return newton_direction(objective, point, found, reached, none, count.astype(jnp.int32), after)


def newton_direction(
    objective: Objective,
    point: Point,
    found: Factored,
    optimal: jax.Array,
    certain: jax.Array,
    count: jax.Array,
    memory: Any,
) -> Direction:
    """Return Newton's direction; from what would be an optimum but for a negative eigenvalue, its vector."""
    finite = jnp.all(jnp.isfinite(found.vector))
    newton = jnp.where(finite, found.vector, -first_step(point) * point.gradient)
    escapes = optimal & (found.least < 0)
    # A saddle tells no length: that of the weights, from zero weights 1. The line search finds the right one.
    length = jnp.linalg.norm(point.weights)
    sign = jnp.where(jnp.vdot(point.gradient, found.least_vector) > 0, -1, 1)
    length = jnp.where(length > 0, length, 1)
    direction = jnp.where(escapes, sign * length * found.least_vector, newton)
    curvature = jnp.where(escapes, length * length * found.least, 0)
    return Direction(direction, curvature, optimal & finite & ~escapes, certain, count, memory)

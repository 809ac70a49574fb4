"""BFGS: the inverse Hessian from low-rank updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from thalweg.solvers.descent import Curvature, Direction, Method, Objective, first_step
from thalweg.solvers.lbfgs import quasi_newton, secant
from thalweg.solvers.line_search import Point
from thalweg.solvers.minimize import SmoothSolver

__all__ = ["BFGS"]


class BFGS(SmoothSolver):
    """BFGS with a Wolfe line search (Nocedal & Wright, algorithm 6.1).

    w += t p with p = −H g. After a step s = Δw, y = Δg, with ρ = 1/sᵀy,
    H ← (I − ρ s yᵀ) H (I − ρ y sᵀ) + ρ s sᵀ; before the first update H is sᵀy/yᵀy I
    (their eq. 6.20). O(n²) numbers and as much work a step: beyond a few thousand
    weights `LBFGS` is for you.

    Arguments:
        tolerance: of the relative gap, by default 1e-6; see `solve`.
        iterations: most steps taken, by default 1000.

    A zero gradient counts as converged, at a saddle too; see `Newton`.
    """

    tolerance: float
    iterations: int

    def __init__(self, tolerance: float = 1e-6, iterations: int = 1000) -> None:
        self.tolerance, self.iterations = tolerance, iterations

    def method(self, size: int) -> Method:
        return InverseHessian()


class Inverse(NamedTuple):
    """H ``(n, n)``, whether a pair has formed it, and the least curvature met."""

    matrix: jax.Array
    formed: jax.Array
    curvature: Curvature


@dataclass(frozen=True)
class InverseHessian:
    """The method of BFGS."""

    def init(self, objective: Objective, point: Point) -> Inverse:
        matrix = first_step(point) * jnp.eye(point.weights.size, dtype=point.weights.dtype)
        return Inverse(matrix, jnp.zeros((), bool), Curvature.unknown(point.value))

    def fresh(self, memory: Inverse) -> jax.Array:
        return ~memory.formed

    def direction(self, objective: Objective, point: Point, memory: Inverse, active: jax.Array) -> Direction:
        return quasi_newton(objective, point, -memory.matrix @ point.gradient, memory.curvature, memory)

    def learn(self, memory: Inverse, before: Point, after: Point) -> Inverse:
        step, change = after.weights - before.weights, after.gradient - before.gradient
        pair = secant(step, change)
        scaled = pair.scale * jnp.eye(step.size, dtype=step.dtype)
        matrix = jnp.where(memory.formed, memory.matrix, scaled)
        # The update multiplied out, symmetric by construction: its product form costs O(n³).
        image = matrix @ change
        cross = pair.weight * jnp.outer(step, image)
        square = pair.weight * (1 + pair.weight * jnp.vdot(change, image)) * jnp.outer(step, step)
        updated = Inverse(matrix - cross - cross.T + square, jnp.ones((), bool), memory.curvature.met(pair.curvature))
        return jax.tree.map(lambda new, old: jnp.where(pair.sound, new, old), updated, memory)

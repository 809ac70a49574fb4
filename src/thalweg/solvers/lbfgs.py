"""L-BFGS: the curvature of the last few steps, no matrix stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from thalweg.fields import check_integer
from thalweg.solvers.descent import Curvature, Direction, Method, Objective, first_step
from thalweg.solvers.line_search import Point, rounding_unit
from thalweg.solvers.minimize import SmoothSolver, check_plain

__all__ = ["LBFGS"]


class LBFGS(SmoothSolver):
    """Limited-memory BFGS with a Wolfe line search.

    w += t p with p = −H g, where H is γI updated by the last ``memory`` pairs
    s = Δw, y = Δg, and γ = sᵀy/yᵀy of the last. H is never formed: the two loops of
    Nocedal & Wright (algorithm 7.4) take 4 × memory × n multiplications, beside
    one evaluation of the function and its gradient, and 2 × memory × n numbers.

    Arguments:
        memory: pairs kept, by default 10; 3 to 20 serve, more where evaluations are dear.
        tolerance: of the relative gap, by default 1e-6; see `solve`.
        iterations: most steps taken, by default 1000.

    A zero gradient counts as converged: what L-BFGS knows cannot tell a minimum
    from a saddle, which `Newton` can.
    """

    memory: int
    tolerance: float
    iterations: int

    def __init__(self, memory: int = 10, tolerance: float = 1e-6, iterations: int = 1000) -> None:
        self.memory, self.tolerance, self.iterations = memory, tolerance, iterations
        check_plain("LBFGS", "memory", memory)
        check_integer("LBFGS", "memory", memory, least=1)

    def method(self, size: int) -> Method:
        return TwoLoops(self.memory)


class Pairs(NamedTuple):
    """The last pairs, oldest first; an empty place has the weight 1/sᵀy = 0, and so no effect."""

    steps: jax.Array  # (memory, n)
    changes: jax.Array  # (memory, n)
    weights: jax.Array  # (memory,)
    scale: jax.Array  # γ
    curvature: Curvature


@dataclass(frozen=True)
class TwoLoops:
    """The method of L-BFGS."""

    pairs: int

    def init(self, objective: Objective, point: Point) -> Pairs:
        empty = jnp.zeros((self.pairs, point.weights.size), point.weights.dtype)
        return Pairs(empty, empty, empty[:, 0], first_step(point), Curvature.unknown(point.value))

    def fresh(self, memory: Pairs) -> jax.Array:
        return memory.weights[-1] == 0

    def direction(self, objective: Objective, point: Point, memory: Pairs, active: jax.Array) -> Direction:
        pairs = (memory.steps, memory.changes, memory.weights)

        def backward(rest: jax.Array, pair: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
            step, change, weight = pair
            share = weight * jnp.vdot(step, rest)
            return rest - share * change, share

        def forward(product: jax.Array, pair: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
            step, change, weight, share = pair
            return product + (share - weight * jnp.vdot(change, product)) * step, None

        rest, shares = lax.scan(backward, point.gradient, pairs, reverse=True)
        product, _ = lax.scan(forward, memory.scale * rest, (*pairs, shares))
        return quasi_newton(objective, point, -product, memory.curvature, memory)

    def learn(self, memory: Pairs, before: Point, after: Point) -> Pairs:
        step, change = after.weights - before.weights, after.gradient - before.gradient
        pair = secant(step, change)
        kept = Pairs(
            jnp.concatenate([memory.steps[1:], step[None]]),
            jnp.concatenate([memory.changes[1:], change[None]]),
            jnp.concatenate([memory.weights[1:], pair.weight[None]]),
            pair.scale,
            memory.curvature.met(pair.curvature),
        )
        return jax.tree.map(lambda new, old: jnp.where(pair.sound, new, old), kept, memory)


def quasi_newton(objective: Objective, point: Point, vector: jax.Array, curvature: Curvature, memory: Any) -> Direction:
    """Return a direction whose optimality is judged by the least curvature met: not the least there is."""
    none = jnp.all(point.gradient == 0)
    optimal = none | objective.estimated(point, *curvature.gap(point.gradient))
    return Direction(vector, jnp.zeros_like(point.value), optimal, none, jnp.zeros((), jnp.int32), memory)


class Secant(NamedTuple):
    """What a pair (s, y) says of the curvature."""

    sound: jax.Array  # sᵀy is positive beyond rounding, so that H stays positive definite
    weight: jax.Array  # 1/sᵀy
    scale: jax.Array  # γ = sᵀy/yᵀy
    curvature: jax.Array  # sᵀy/sᵀs


def secant(step: jax.Array, change: jax.Array) -> Secant:
    product = jnp.vdot(step, change)
    steps, changes = jnp.vdot(step, step), jnp.vdot(change, change)
    sound = product > rounding_unit(product) * jnp.sqrt(steps) * jnp.sqrt(changes)
    weight, scale, curvature = 1 / product, product / changes, product / steps
    sound &= jnp.isfinite(weight) & jnp.isfinite(scale) & jnp.isfinite(curvature) & (scale > 0)
    return Secant(sound, weight, scale, curvature)

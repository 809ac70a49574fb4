"""The loop that all solvers of smooth functions share: direction, line search, judgement.

It is written for one member; `jax.vmap` makes it a batch, in which a member that
is done keeps its numbers, bit for bit, while the others go on.

When to stop. Let gap bound f(w) − min f, and distance ‖w − argmin f‖. Where
f − ½μ‖w‖² is known to be convex, gap = ‖g‖²/(2μ) and distance = ‖g‖/μ are
proven, and the solver has converged where

    gap ≤ tolerance · |f(w)|,   or   distance ≤ tolerance · max(‖w‖, ‖w − start‖).

The second serves functions whose minimum is 0, of which no relative gap can be
small, and counts only where the gap is no small part of |f|. Where nothing is
known, the direction brings estimates of both: Newton's from the Hessian, those
of the quasi-Newton solvers from the least curvature met lately (`Curvature`).
An estimate may be far too low, so the gap must then be within tolerance²: in
other words ‖g‖ ≤ tolerance · √(2μ|f|), the gradient of a parabola of that height.
Unless it is Newton's with a positive definite Hessian, an estimate must also
hold at three points in a row that lie close together. All this keeps its
meaning when f or the weights are measured in other units; that cannot be said
of ‖g‖ ≤ 1e-5.

When there is no optimum. A function that falls for ever shows it along the way
that the weights took: where f(w + 10⁴ (w − v)), v some steps before w, is lower than f(w) and still
does not rise there, the weights run away. Badly scaled problems whose optimum is
merely far are safe: the least penalty shows in that slope, and the test waits
for ten steps, or a line search that found no end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from thalweg.solvers.line_search import Point, noise, search
from thalweg.solvers.solution import CONVERGED, ITERATION_LIMIT, NO_OPTIMUM, NOT_FINITE, STALLED

__all__ = [
    "OUTCOMES", "Direction", "Method", "Objective", "Result", "State", "begin", "first_step", "minimize", "step",
    "when",
]  # fmt: skip

RUNNING = 0
OUTCOMES = (ITERATION_LIMIT, CONVERGED, STALLED, NO_OPTIMUM, NOT_FINITE)  # a member still running ran out of steps
_CONVERGED, _STALLED, _NO_OPTIMUM, _NOT_FINITE = 1, 2, 3, 4

QUIET = 10  # steps without a lower value or a smaller gradient after which rounding is all that moves
CALM = 3  # points in a row that must look optimal to a method that has not seen all directions
FAR = 1e4
PATIENCE = 10  # steps before the first look for an optimum at infinity
OUTWARD = 1.5  # and the growth of the distance from the start between two looks


@dataclass(frozen=True)
class Objective:
    """A function ``(n,) -> scalar`` and what is known of it; lives inside a compiled program."""

    function: Callable[[jax.Array], jax.Array]
    start: jax.Array
    tolerance: jax.Array
    strong_convexity: jax.Array  # 0 where unknown

    def evaluate(self, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(self.function)(weights)

    def hessian_product(self, weights: jax.Array) -> Callable[[jax.Array], jax.Array]:
        return jax.linearize(jax.grad(self.function), weights)[1]

    def bound(self, point: Point) -> jax.Array:
        """Return ‖g‖²/(2μ), or infinity."""
        mu = self.strong_convexity
        gap = jnp.vdot(point.gradient, point.gradient) / (2 * jnp.where(mu > 0, mu, 1))
        return jnp.where((mu > 0) & jnp.isfinite(gap), gap, jnp.inf)

    def size(self, point: Point) -> jax.Array:
        """Return a length to compare distances with: that of the weights, or of their way from the start."""
        return jnp.maximum(jnp.linalg.norm(point.weights), jnp.linalg.norm(point.weights - self.start))

    def reached(self, point: Point, gap: jax.Array, distance: jax.Array, tolerance: jax.Array) -> jax.Array:
        height = jnp.abs(point.value)
        near = (distance <= self.tolerance * self.size(point)) & (gap >= self.tolerance * height)
        return (gap <= tolerance * height) | near

    def estimated(self, point: Point, gap: jax.Array, distance: jax.Array) -> jax.Array:
        """True where estimates say that the point is optimal, and no proof is asked for."""
        return (self.strong_convexity == 0) & self.reached(point, gap, distance, jnp.square(self.tolerance))

    def proven(self, point: Point) -> jax.Array:
        """True where strong convexity proves convergence."""
        mu = self.strong_convexity
        distance = jnp.linalg.norm(point.gradient) / jnp.where(mu > 0, mu, 1)
        return (mu > 0) & self.reached(point, self.bound(point), distance, self.tolerance)


class Direction(NamedTuple):
    """Where to go from a point. The line search tries step 1 first."""

    vector: jax.Array
    curvature: jax.Array  # pᵀHp where the direction was chosen because this is negative, else 0
    optimal: jax.Array  # so says the method of the point ...
    certain: jax.Array  # ... from the curvature in all directions, so that nothing further need be asked
    evaluations: jax.Array  # what finding the direction cost
    memory: Any


class Method(Protocol):
    """What tells one solver from another. Hashable: it is a static part of the compiled program."""

    def init(self, objective: Objective, point: Point) -> Any:
        """Return the memory of a method that knows nothing yet."""
        ...

    def fresh(self, memory: Any) -> jax.Array:
        """True where forgetting would change nothing."""
        ...

    def direction(self, objective: Objective, point: Point, memory: Any, active: jax.Array) -> Direction:
        """Return where to go; nothing that costs need be done for members that are not active."""
        ...

    def learn(self, memory: Any, before: Point, after: Point) -> Any:
        """Return the memory after a step."""
        ...


class State(NamedTuple):
    point: Point
    memory: Any
    status: jax.Array
    iterations: jax.Array
    evaluations: jax.Array
    lowest_gradient: jax.Array
    quiet: jax.Array
    calm: jax.Array  # steps in a row after which the method said "optimal"
    length: jax.Array  # of the last step
    looked: jax.Array  # weights at the last look for an optimum at infinity


class Result(NamedTuple):
    """What `minimize` returns; ``outcome`` indexes OUTCOMES."""

    weights: jax.Array
    value: jax.Array
    bound: jax.Array
    outcome: jax.Array
    iterations: jax.Array
    evaluations: jax.Array


def minimize(objective: Objective, method: Method, iterations: jax.Array) -> Result:
    """Run the method from objective.start until it converges, fails, or has taken that many steps."""
    last = lax.while_loop(
        lambda state: (state.status == RUNNING) & (state.iterations < iterations),
        lambda state: step(objective, method, iterations, state),
        begin(objective, method),
    )
    weights, value, _ = last.point
    return Result(weights, value, objective.bound(last.point), last.status, last.iterations, last.evaluations)


def begin(objective: Objective, method: Method) -> State:
    """Return where the method stands before its first step."""
    value, gradient = objective.evaluate(objective.start)
    point = Point(objective.start, value, gradient)
    zero = jnp.zeros((), jnp.int32)
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(objective.start))
    status = jnp.where(finite, jnp.where(objective.proven(point), _CONVERGED, RUNNING), _NOT_FINITE).astype(jnp.int32)
    size = jnp.linalg.norm(gradient)
    return State(
        point,
        method.init(objective, point),
        status,
        zero,
        zero + 1,
        size,
        zero,
        zero,
        jnp.zeros_like(size),
        objective.start,
    )


def step(objective: Objective, method: Method, iterations: jax.Array, state: State) -> State:
    """Take one step, and judge where it led."""
    # Under vmap this runs for members that are done as well; what it says of them is dropped.
    active = (state.status == RUNNING) & (state.iterations < iterations)
    before = state.point
    towards = method.direction(objective, before, state.memory, active)
    short = state.length <= jnp.sqrt(objective.tolerance) * objective.size(before)
    calm = jnp.where(towards.optimal & short, state.calm + 1, 0)
    settled = towards.optimal & (towards.certain | (calm >= CALM))
    found = search(objective.evaluate, before, towards.vector, towards.curvature, active & ~settled)
    step = found.low.step
    moved = step > 0
    weights = jnp.where(moved, before.weights + step * towards.vector, before.weights)
    after = Point(weights, found.low.value, found.gradient)
    # A direction without a lower point ahead is the fault of what was remembered, unless that was nothing.
    learned = method.learn(towards.memory, before, after)
    forgotten = method.init(objective, before)
    memory = jax.tree.map(lambda kept, lost: jnp.where(moved, kept, lost), learned, forgotten)

    size = jnp.linalg.norm(after.gradient)
    progress = (after.value < before.value - noise(before.value)) | (size < 0.999 * state.lowest_gradient)
    quiet = jnp.where(progress, 0, state.quiet + moved)
    exhausted = (~moved & method.fresh(state.memory)) | (quiet >= QUIET)
    broken = ~moved & (found.evaluations > 0) & ~found.finite
    status = jnp.where(exhausted, jnp.where(broken, _NOT_FINITE, _STALLED), RUNNING)

    iterated = state.iterations + moved
    away = jnp.linalg.norm(after.weights - objective.start)
    outward = away > OUTWARD * jnp.linalg.norm(state.looked - objective.start)
    due = active & moved & (found.endless | ((iterated >= PATIENCE) & outward))
    way = after.weights - state.looked
    runs_away = when(due, lambda _: _runs_away(objective, after, way), jnp.zeros((), bool))
    status = jnp.where(runs_away, _NO_OPTIMUM, status)
    # Where nothing lies lower, there is no reason to doubt an estimate.
    settled |= towards.optimal & ~moved & ~broken
    status = jnp.where(settled | (moved & objective.proven(after)), _CONVERGED, status)
    return State(
        after,
        memory,
        status.astype(jnp.int32),
        iterated,
        state.evaluations + towards.evaluations + found.evaluations + due,
        jnp.minimum(size, state.lowest_gradient),
        quiet,
        calm,
        jnp.linalg.norm(after.weights - before.weights),
        jnp.where(due, after.weights, state.looked),
    )


def _runs_away(objective: Objective, point: Point, way: jax.Array) -> jax.Array:
    """True where the value is lower far along the way that the weights took, and does not rise there."""
    value, gradient = objective.evaluate(point.weights + FAR * way)
    return (value < point.value) & (jnp.vdot(gradient, way) <= 0)


def first_step(point: Point) -> jax.Array:
    """Return how far to try along −g before any curvature is known (Hager & Zhang 2005, I0).

    A hundredth of the weights' size; from zero weights, what would lower the value by a hundredth.
    """
    size, slope = jnp.max(jnp.abs(point.weights)), jnp.max(jnp.abs(point.gradient))
    square = jnp.vdot(point.gradient, point.gradient)
    by_value = jnp.where(point.value != 0, 0.01 * jnp.abs(point.value) / square, 1 / slope)
    step = jnp.where(size > 0, 0.01 * size / slope, by_value)
    return jnp.where(jnp.isfinite(step) & (step > 0), step, 1)


def when(wanted: jax.Array, work: Callable[[Any], Any], otherwise: Any) -> Any:
    """Return ``work(otherwise)`` where wanted, else ``otherwise``.

    A loop of one turn at most: under vmap it runs only if some member wants it, while lax.cond would always run.
    """
    done = jnp.zeros((), bool)
    return lax.while_loop(lambda carry: carry[0], lambda carry: (done, work(carry[1])), (wanted, otherwise))[1]


class Curvature(NamedTuple):
    """The least curvature sᵀy/sᵀs met lately, an estimate of μ: a minimum that each step lets double."""

    least: jax.Array

    @classmethod
    def unknown(cls, like: jax.Array) -> Curvature:
        return cls(jnp.full((), jnp.inf, like.dtype))

    def met(self, curvature: jax.Array) -> Curvature:
        return Curvature(jnp.where(curvature > 0, jnp.minimum(curvature, 2 * self.least), self.least))

    def gap(self, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return ‖g‖²/(2μ) and ‖g‖/μ; infinite while μ is unknown, 0 where g is."""
        size = jnp.linalg.norm(gradient)
        mu = jnp.where(jnp.isfinite(self.least), self.least, 1)
        known = jnp.isfinite(self.least)
        distance = jnp.where(size == 0, 0, jnp.where(known, size / mu, jnp.inf))
        return 0.5 * size * distance, distance

"""One iteration of the hinge's solver, for all its slots in one compiled program.

The problem is the saddle point of ridge |W|² + ⟨a, XWᵀ + b⟩/N − f*(a). A primal-dual
step (Chambolle and Pock 2011, algorithm 1; over-relaxed as in Condat 2013) is

    W⁺ = W − (ρH + 2 ridge)⁻¹ (2 ridge W + G),      G = aᵀX/N
    b⁺ = b − mean(a)/ρ
    a⁺ = ρ (v − prox(v)),                           v = a/ρ + 2 s⁺ − s,   s = XWᵀ + b
    (W, b, s, a, G) ← (W, b, s, a, G) + α (the new ones − the old).

With H = XᵀX/N the metric is exact and the step is one of the alternating direction
method of multipliers, whose linear system the `Spectrum` solves at the cost of two
small products; any H not less than XᵀX/N will do. s and G follow the
relaxation because they are linear: an iteration costs two products with the
features. a⁺ is a subgradient of the loss, hence within its bounds: a dual point
and a bound on the optimum come free with every iteration.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from thalweg.solvers.hinge_prox import hinge_dual_step
from thalweg.solvers.products import pull_back, scores_of

__all__ = ["Control", "Data", "Point", "Report", "State", "begin", "step"]

_RELAXATION = 1.8  # 1.6 takes a tenth more iterations, 1 half as many again


# Where all examples are fitted they lie on the margin but for rounding, and its loss dwarfs a weak penalty:
# slightly longer weights have none.
_STRETCHES = (1.0, 1 + 3e-6, 1 + 3e-5, 1 + 3e-4, 1 + 3e-3, 1 + 3e-2)


class Data(NamedTuple):
    """What all slots share; arguments of the compiled program, since captured constants take seconds to compile."""

    features: jax.Array  # (N, D) float32, centred
    labels: jax.Array  # (N,) int32
    vectors: jax.Array  # (D, R)
    values: jax.Array  # (R,)
    rest: jax.Array  # ()


class Control(NamedTuple):
    """What the host sets between iterations."""

    ridge: jax.Array  # (T,)
    rho: jax.Array  # (T,)
    kappa: jax.Array  # (T, N): N ω, the weight of each example


class Point(NamedTuple):
    """A primal and a dual point."""

    weights: jax.Array  # (T, C, D)
    bias: jax.Array  # (T, C)
    scores: jax.Array  # (T, C, N)
    dual: jax.Array  # (T, C, N): a, within [0, κ] for the wrong classes
    pull: jax.Array  # (T, C, D): G
    flow: jax.Array  # (T, C): the mean of a, 0 at the optimum


class State(NamedTuple):
    """T slots."""

    point: Point
    roots: jax.Array  # (T, N): where the proximal map's search begins


class Report(NamedTuple):
    """What the host needs to know of a new point, (T,) each."""

    value: jax.Array  # the objective at the weights and the bias, times:
    stretch: jax.Array  # the factor, out of a few, at which it is least
    dual_value: jax.Array  # a lower bound on the optimum, but for what is of second order in the flow
    scale: jax.Array  # the multiple of a, at most 1, that proves it
    balance: jax.Array  # the ρ at which primal and dual move alike


def begin(data: Data, slots: int, classes: int) -> State:
    """Return slots at 0."""
    count, width = data.features.shape

    def zeros(*shape: int) -> jax.Array:
        return jnp.zeros((slots, *shape), jnp.float32)

    point = Point(
        zeros(classes, width), zeros(classes), zeros(classes, count), zeros(classes, count), zeros(classes, width),
        zeros(classes),
    )  # fmt: skip
    return State(point, zeros(count))


@partial(jax.jit, donate_argnums=1)
def step(data: Data, state: State, control: Control) -> tuple[State, Point, Report]:
    """Advance all slots by one iteration; return also the new points before relaxation, and a report on them."""
    old, count = state.point, len(data.labels)
    rho = control.rho.astype(old.scores.dtype)
    ridge = control.ridge.astype(old.scores.dtype)
    weights = old.weights - _solve(data, 2 * ridge[:, None, None] * old.weights + old.pull, rho, ridge)
    bias = old.bias - old.flow / rho[:, None]
    scores = scores_of(data.features, weights) + bias[:, :, None]
    own = _own(data.labels, scores.shape[1])
    v = old.dual / rho[:, None, None] + 2 * scores - old.scores
    dual, roots = hinge_dual_step(v, own, control.kappa, rho, state.roots)
    pull = pull_back(data.features, dual) / count
    new = Point(weights, bias, scores, dual, pull, jnp.mean(dual, axis=2))
    relaxed = Point(*(x + _RELAXATION * (y - x) for x, y in zip(old, new, strict=True)))
    return State(relaxed, roots), new, _report(old, new, own, control)


def _solve(data: Data, right: jax.Array, rho: jax.Array, ridge: jax.Array) -> jax.Array:
    """Return (ρH + 2 ridge)⁻¹ applied to each row of (T, C, D)."""
    members, classes, width = right.shape
    rho, two = rho[:, None, None], 2 * ridge[:, None, None]
    outside = 1 / (rho * data.rest + two)
    inside = 1 / (rho * data.values[None, None, :] + two) - outside
    flat = right.reshape(members * classes, width)
    leading = jnp.matmul(flat, data.vectors, precision="highest").reshape(members, classes, -1) * inside
    back = jnp.matmul(leading.reshape(members * classes, -1), data.vectors.T, precision="highest")
    return outside * right + back.reshape(right.shape)


def _report(old: Point, new: Point, own: jax.Array, control: Control) -> Report:
    ridge, count = control.ridge, own.shape[2]
    true = jnp.max(jnp.where(own, new.scores, -jnp.inf), axis=1, keepdims=True)
    margins = jnp.where(own, -jnp.inf, new.scores - true)
    square = _square(new.weights)

    def value_at(stretch: float) -> jax.Array:
        excess = jnp.maximum(jnp.float32(stretch) * margins + 1, 0)
        loss = control.kappa * jnp.sum(excess, axis=1)
        return jnp.sum(loss.astype(jnp.float64), axis=1) / count + ridge * stretch**2 * square

    values = jnp.stack([value_at(stretch) for stretch in _STRETCHES])
    best = jnp.argmin(values, axis=0)
    value, stretch = jnp.min(values, axis=0), jnp.asarray(_STRETCHES, jnp.float64)[best]
    # D(θa) = θ linear − θ² square: far from the optimum a shorter dual point proves much more.
    linear = -jnp.sum(jnp.where(own, new.dual, 0).astype(jnp.float64), axis=(1, 2)) / count
    pulled = _square(new.pull) / (4 * ridge)
    scale = jnp.minimum(1, linear / jnp.maximum(2 * pulled, 1e-300))
    # Where the mean of a is not 0 yet, the bound is off by its product with the bias, to first order.
    miss = jnp.sum(jnp.abs(new.flow * new.bias).astype(jnp.float64), axis=1)
    moved = _square(new.dual - old.dual) / _square(new.scores - old.scores)
    size = _square(new.dual) / _square(new.scores)
    return Report(
        value,
        stretch,
        scale * (linear - scale * pulled - stretch * miss),
        scale,
        (moved * size) ** 0.25,
    )


def _own(labels: jax.Array, classes: int) -> jax.Array:
    """Return the mask (1, C, N) of the true classes."""
    return (labels[None, :] == jnp.arange(classes, dtype=labels.dtype)[:, None])[None]


def _square(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(x).astype(jnp.float64), axis=(1, 2))

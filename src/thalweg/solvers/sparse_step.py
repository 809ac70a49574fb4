"""One accelerated step towards a sparse softmax model, for members side by side.

The data loss of a member is majorised, near a point, by

    ⟨G, d⟩ + ½ Σ_jk K_jk d_j' A d_k,      K = Σ ω̄_i x_i x_iᵀ,      A = diag(a) − a aᵀ / Σ a,

d_j the change of feature j's C weights: the Gram matrix is shared by all members
and A is the members' own mean curvature over classes. a is chosen so that A has
the diagonal of the mean of diag(p) − p pᵀ, times a ``stiffness`` that grows as
soon as the loss proves more curved along a step than the model. A keeps what every
softmax Hessian has, no curvature along a shift of all classes; a diagonal instead
(Böhning's bound, or class by class) made convergence many times slower.

The model with its L1 penalty is not solved: one forward and one backward pass of
coordinate descent make a symmetric Gauss-Seidel step, which is a proximal step
in a fixed metric, and so may be accelerated (Li, Sun and Toh 2016), with restarts
by gradient and by value (O'Donoghue and Candès 2015). A pass goes through
blocks of features: their gradients come from one matrix product with all changes
so far, and within the block features take turns, all members and classes at once.
Zeros are exact.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["BLOCK", "Data", "Members", "State", "advance", "class_curvature", "pull", "scores_of", "softmax"]

BLOCK = 32  # features that take turns between two matrix products
_ROWS = 4096  # rows that become float64 at a time
_FIXED_POINT = 12  # rounds for a; each shrinks the error by about 2/classes
_RELAX = 0.985  # of the stiffness at each step: curvature seen early need not hold later


class Data(NamedTuple):
    """What members share: features (N, F) and Gram matrix (F, F), float32; one-hot labels (C, N); ω̄ (N,)."""

    features: jax.Array
    gram: jax.Array
    own: jax.Array
    mean_weighting: jax.Array


class Members(NamedTuple):
    """What each has: weighting (T, N), ridge (T,), lasso (T,)."""

    weighting: jax.Array
    ridge: jax.Array
    lasso: jax.Array


class State(NamedTuple):
    """An iterate, the one before, and what the method remembers.

    weights (T, C, F) float32; bias (T, C) and scores (T, C, N) in the precision of
    the gradient; momentum (T,) is Nesterov's t; value (T,) the objective.
    """

    weights: jax.Array
    bias: jax.Array
    scores: jax.Array
    last_weights: jax.Array
    last_bias: jax.Array
    last_scores: jax.Array
    momentum: jax.Array
    stiffness: jax.Array
    value: jax.Array


@partial(jax.jit, static_argnames="steps")
def advance(data: Data, members: Members, state: State, steps: int) -> State:
    """Take some steps."""
    return jax.lax.fori_loop(0, steps, lambda _, now: _step(data, members, now), state)


def _step(data: Data, members: Members, state: State) -> State:
    grown = (1 + jnp.sqrt(1 + 4 * state.momentum**2)) / 2
    ahead = (state.momentum - 1) / grown
    weights = _ahead(state.weights, state.last_weights, ahead[:, None, None])
    bias = _ahead(state.bias, state.last_bias, ahead[:, None])
    scores = _ahead(state.scores, state.last_scores, ahead[:, None, None])

    p, _ = softmax(scores)
    omega = members.weighting[:, None, :]
    pulled = (p - data.own[None]) * omega
    gradient, slope = pull(data.features, pulled), jnp.sum(pulled, axis=2)
    a = class_curvature(jnp.sum(p * (1 - p) * omega, axis=2)) * state.stiffness[:, None]

    change = _coordinate_passes(data.gram, gradient, weights, a, members)
    bias_change = -slope / a
    moved = scores_of(data.features, change, bias_change)
    needed = _curvature_ratio(p, moved, bias_change, a, omega, data.mean_weighting)

    new = (weights + change, bias + bias_change, scores + moved)
    value = _objective(data, members, *new)
    # The step no longer points where the iterates go, or the value rose: momentum leads astray.
    turned = jnp.sum(moved * (new[2] - state.scores) * omega, axis=(1, 2)) < 0
    restart = turned | (value > state.value) | (needed > 2)
    return State(
        *new,
        state.weights,
        state.bias,
        state.scores,
        momentum=jnp.where(restart, 1, grown),
        stiffness=state.stiffness * jnp.where(needed > 1, jnp.minimum(1.02 * needed, 4), _RELAX),
        value=value,
    )


def _ahead(new: jax.Array, last: jax.Array, share: jax.Array) -> jax.Array:
    return new + share.astype(new.dtype) * (new - last)


def softmax(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return p (T, C, N) and log Σ exp (T, N)."""
    top = jnp.max(scores, axis=1, keepdims=True)
    # Without the barrier XLA computes the exponential again for each of its uses.
    powers = jax.lax.optimization_barrier(jnp.exp(scores - top))
    total = jnp.sum(powers, axis=1, keepdims=True)
    return powers / total, (jnp.log(total) + top)[:, 0]


def _objective(data: Data, members: Members, weights: jax.Array, bias: jax.Array, scores: jax.Array) -> jax.Array:
    loss = softmax(scores)[1] - jnp.sum(scores * data.own[None], axis=1)
    size = jnp.sum(jnp.abs(weights), axis=(1, 2))
    return (
        jnp.sum(loss * members.weighting, axis=1)
        + members.lasso * size
        + members.ridge * jnp.sum(weights * weights, axis=(1, 2))
    )


def class_curvature(spread: jax.Array) -> jax.Array:
    """Return a (T, C) with a − a²/Σa = spread, the mean of p (1 − p)."""
    classes = spread.shape[1]
    spread = jnp.maximum(spread, 1e-6 * jnp.max(spread, axis=1, keepdims=True))
    a = spread * classes / (classes - 1)
    for _ in range(_FIXED_POINT):
        a = spread + a * jnp.minimum(a / jnp.sum(a, axis=1, keepdims=True), 0.5)
    return a


def _curvature_ratio(
    p: jax.Array, moved: jax.Array, bias_change: jax.Array, a: jax.Array, omega: jax.Array, mean_weighting: jax.Array
) -> jax.Array:
    """Return the loss's curvature along the step over the model's, (T,)."""
    true = jnp.sum((jnp.sum(p * moved * moved, axis=1) - jnp.sum(p * moved, axis=1) ** 2) * omega[:, 0], axis=1)
    by_weights = moved - bias_change[:, :, None]
    shares = a / jnp.sum(a, axis=1, keepdims=True)
    centred = by_weights - jnp.sum(shares[:, :, None] * by_weights, axis=1, keepdims=True)
    model = jnp.sum(a * jnp.sum(centred * centred * mean_weighting[None, None, :], axis=2), axis=1)
    centred_bias = bias_change - jnp.sum(shares * bias_change, axis=1, keepdims=True)
    model += jnp.sum(a * centred_bias**2, axis=1)
    return jnp.where(model > 0, true / jnp.where(model > 0, model, 1), 0)


def scores_of(features: jax.Array, weights: jax.Array, bias: jax.Array) -> jax.Array:
    """Return W x + b, (T, C, N), in the precision of the bias."""
    flat = weights.reshape(-1, weights.shape[2]).astype(bias.dtype)
    parts = [flat @ part.astype(bias.dtype).T for part in _parts(features, bias.dtype)]
    scores = jnp.concatenate(parts, axis=1)
    return scores.reshape(*weights.shape[:2], -1) + bias[:, :, None]


def pull(features: jax.Array, pulled: jax.Array) -> jax.Array:
    """Return Σ_i pulled_i x_iᵀ, (T, C, F) float32, summed in the precision of ``pulled`` (T, C, N)."""
    flat = pulled.reshape(-1, pulled.shape[2])
    total, start = jnp.zeros((len(flat), features.shape[1]), pulled.dtype), 0
    for part in _parts(features, pulled.dtype):
        total += flat[:, start : start + len(part)] @ part.astype(pulled.dtype)
        start += len(part)
    return total.astype(features.dtype).reshape(*pulled.shape[:2], -1)


def _parts(features: jax.Array, dtype: Any) -> list[jax.Array]:
    """Cut the rows where they have to be converted: never all of the features at once in float64."""
    if features.dtype == dtype:
        return [features]
    return [features[start : start + _ROWS] for start in range(0, len(features), _ROWS)]


def _coordinate_passes(
    gram: jax.Array, gradient: jax.Array, weights: jax.Array, a: jax.Array, members: Members
) -> jax.Array:
    """Return the change (T, C, F) float32 of one forward and one backward pass over the model.

    Inside, features lead and members come last: (F, C, T), so that a feature's
    turn is a few operations on contiguous lanes.
    """
    size = gram.shape[0]
    lanes = (weights.shape[1], weights.shape[0])
    g0, w0, a = (jnp.transpose(x.astype(jnp.float32)) for x in (gradient, weights, a))
    shares = a / jnp.sum(a, axis=0, keepdims=True)
    ridge, lasso = (jnp.broadcast_to(x.astype(jnp.float32)[None], lanes) for x in (members.ridge, members.lasso))

    def metric(d: jax.Array) -> jax.Array:  # A d, classes second to last
        return a[None] * (d - jnp.sum(shares[None] * d, axis=1, keepdims=True))

    def visit(block: jax.Array, d: jax.Array, turns: jax.Array) -> jax.Array:
        start = block * BLOCK
        rows = jax.lax.dynamic_slice_in_dim(gram, start, BLOCK)
        inner = jax.lax.dynamic_slice_in_dim(rows, start, BLOCK, axis=1)
        before = jax.lax.dynamic_slice_in_dim(d, start, BLOCK)
        g = jax.lax.dynamic_slice_in_dim(g0, start, BLOCK) + metric((rows @ d.reshape(size, -1)).reshape(-1, *lanes))
        w = jax.lax.dynamic_slice_in_dim(w0, start, BLOCK) + before

        def turn(index: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            g, w = carry
            j = turns[index]
            column = jax.lax.dynamic_slice_in_dim(inner, j, 1).reshape(BLOCK, 1, 1)
            curvature = a * inner[j, j]  # A ≼ diag(a)
            target = curvature * w[j] - g[j]
            bent = curvature + 2 * ridge
            # A feature that is constant, hence 0 after centring, has no curvature: it keeps weight 0.
            new = jnp.where(bent > 0, _shrink(target, lasso) / jnp.where(bent > 0, bent, 1), 0)
            return g + column * metric((new - w[j])[None]), w.at[j].set(new)

        _, new = jax.lax.fori_loop(0, BLOCK, turn, (g, w))
        return jax.lax.dynamic_update_slice_in_dim(d, new - jax.lax.dynamic_slice_in_dim(w0, start, BLOCK), start, 0)

    count = size // BLOCK
    order = jnp.arange(BLOCK)
    d = jax.lax.fori_loop(0, count, lambda i, d: visit(i, d, order), jnp.zeros_like(w0))
    d = jax.lax.fori_loop(0, count, lambda i, d: visit(count - 1 - i, d, order[::-1]), d)
    return jnp.transpose(d)


def _shrink(target: jax.Array, lasso: jax.Array) -> jax.Array:
    return jnp.sign(target) * jnp.maximum(jnp.abs(target) - lasso, 0)

"""How near sparse softmax members are to their optimum, in float64, from one sweep over the features.

With p the probabilities at the weights, α = p − y, G = Σ ω_i α_i x_iᵀ and
φ(W) = ridge Σ W² + lasso Σ |W|, weak duality gives for every s in [0, 1]

    minimum ≥ Σ ω_i H(y_i + s α_i) − φ*(−s G),

H the entropy. s = min(1, lasso / max|G|) makes φ* vanish; with a ridge, s = 1 and
φ*(−G) = Σ max(|G| − lasso, 0)² / (4 ridge) may be the better. Near the optimum the
first loses (max|G| − lasso) Σ|W|: far less than what restricting φ to the ball
Σ|W| ≤ value/lasso would. That Σ ω_i α_i = 0, the bias being free, is seen to by
Newton's steps on the bias.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from thalweg.solvers.sparse_step import Members, class_curvature, pull, scores_of, softmax

__all__ = ["Audit", "audit"]

_BIAS_STEPS = 3


class Audit(NamedTuple):
    """value, gap (T,); gradient of the data loss (T, C, D) float32; bias (T, C) and scores (T, C, N), polished."""

    value: jax.Array
    gap: jax.Array
    gradient: jax.Array
    bias: jax.Array
    scores: jax.Array


@jax.jit
def audit(
    features: jax.Array,
    chosen: jax.Array,
    own: jax.Array,
    members: Members,
    weights: jax.Array,
    bias: jax.Array,
) -> Audit:
    """Audit weights (T, C, F) on the ``chosen`` features (N, F) and bias (T, C) against all ``features`` (N, D)."""
    omega = members.weighting[:, None, :]
    scores = scores_of(chosen, weights, bias)
    for _ in range(_BIAS_STEPS):
        p, _ = softmax(scores)
        step = -jnp.sum((p - own[None]) * omega, axis=2) / class_curvature(jnp.sum(p * (1 - p) * omega, axis=2))
        bias, scores = bias + step, scores + step[:, :, None]
    p, normaliser = softmax(scores)
    alpha = p - own[None]
    gradient = pull(features, alpha * omega)

    exact = weights.astype(bias.dtype)
    loss = jnp.sum((normaliser - jnp.sum(scores * own[None], axis=1)) * members.weighting, axis=1)
    value = loss + members.lasso * jnp.sum(jnp.abs(exact), axis=(1, 2)) + members.ridge * jnp.sum(exact**2, axis=(1, 2))

    steepest = jnp.max(jnp.abs(gradient), axis=(1, 2)).astype(bias.dtype)
    share = jnp.minimum(1, members.lasso / jnp.where(steepest > 0, steepest, 1))
    gap = value - _entropy(own, alpha, share, members.weighting)
    excess = jnp.maximum(jnp.abs(gradient.astype(bias.dtype)) - members.lasso[:, None, None], 0)
    ridge = jnp.where(members.ridge > 0, members.ridge, 1)
    square = value - _entropy(own, alpha, jnp.ones_like(share), members.weighting)
    square += jnp.sum(excess**2, axis=(1, 2)) / (4 * ridge)
    gap = jnp.where(members.ridge > 0, jnp.minimum(gap, square), gap)
    miss = jnp.max(jnp.abs(jnp.sum(alpha * omega, axis=2)) / jnp.sum(own[None] * omega, axis=2), axis=1)
    return Audit(value, gap + 2 * miss * value, gradient, bias, scores)


def _entropy(own: jax.Array, alpha: jax.Array, share: jax.Array, weighting: jax.Array) -> jax.Array:
    """Return Σ ω_i H(y_i + share α_i), (T,)."""
    q = own[None] + share[:, None, None] * alpha
    return -jnp.sum(jnp.sum(jnp.where(q > 0, q * jnp.log(jnp.where(q > 0, q, 1)), 0), axis=1) * weighting, axis=1)

"""The two products with the features that every iteration of a full-batch solver costs.

In float32 each is one matrix product. In float64 the float32 features are
converted block by block of rows, so that no float64 copy of them is ever held.
Stacked rows times features run near a processor's peak in both directions when
examples are the last axis of the scores: (T, C, N).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ["pull_back", "scores_of"]

_BLOCK = 2048  # rows converted to float64 at a time
_HIGHEST = jax.lax.Precision.HIGHEST


def scores_of(features: jax.Array, weights: jax.Array) -> jax.Array:
    """Return S = W xᵀ (T, C, N) for weights (T, C, D) and features (N, D), in the weights' precision."""
    members, classes, width = weights.shape
    flat = weights.reshape(members * classes, width)
    if weights.dtype == features.dtype:
        return jnp.matmul(flat, features.T, precision=_HIGHEST).reshape(members, classes, -1)
    count = len(features)
    block = min(_BLOCK, count)

    def fill(i: jax.Array, scores: jax.Array) -> jax.Array:
        start = jnp.minimum(i * block, count - block)  # the last block overlaps the one before
        rows = jax.lax.dynamic_slice_in_dim(features, start, block).astype(flat.dtype)
        return jax.lax.dynamic_update_slice_in_dim(scores, jnp.matmul(flat, rows.T, precision=_HIGHEST), start, axis=1)

    scores = jax.lax.fori_loop(0, -(-count // block), fill, jnp.zeros((members * classes, count), flat.dtype))
    return scores.reshape(members, classes, count)


def pull_back(features: jax.Array, slopes: jax.Array) -> jax.Array:
    """Return R X (T, C, D) for slopes R (T, C, N), the loss's derivative by each score, in their precision."""
    members, classes, count = slopes.shape
    flat = slopes.reshape(members * classes, count)
    width = features.shape[1]
    if slopes.dtype == features.dtype:
        return jnp.matmul(flat, features, precision=_HIGHEST).reshape(members, classes, width)
    block = min(_BLOCK, count)

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        start = jnp.minimum(i * block, count - block)
        rows = jax.lax.dynamic_slice_in_dim(features, start, block).astype(flat.dtype)
        part = jax.lax.dynamic_slice_in_dim(flat, start, block, axis=1)
        new = start + jnp.arange(block) >= i * block  # rows of an overlap are counted once
        return total + jnp.matmul(jnp.where(new[None, :], part, 0), rows, precision=_HIGHEST)

    total = jax.lax.fori_loop(0, -(-count // block), add, jnp.zeros((members * classes, width), flat.dtype))
    return total.reshape(members, classes, width)

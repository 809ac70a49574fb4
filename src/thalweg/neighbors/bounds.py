"""Lower bounds of the distances between a block of queries and all stored rows, in float32, by one compiled program.

Rounding is part of the bound. With u = 2⁻²⁴ and s = (D + 32) u, a float32 sum of D products in any order is off by
at most s Σ|products| (Higham 2002, 3.1), and the numbers themselves are rounded. So, with x and z the rows after
centring and scaling:

- L2: ‖x − z‖² ≥ (1 − 2s)(‖x‖² + ‖z‖²) − 2 (p_x·p_z + ρ_x ρ_z + 8s ‖x‖‖z‖), ρ² = ‖x‖² − ‖p‖² + 8s ‖x‖²;
- cosine: the half of it, of rows of length 1;
- L1: ‖x − z‖₁ ≥ (1 − s) Σ_g |g_x − g_z| − 2s (‖x‖₁ + ‖z‖₁).

The products with ρ and with ‖x‖ are two more columns of the same matrix product.
"""

from __future__ import annotations

from functools import partial, reduce

import jax
import jax.numpy as jnp

__all__ = ["FAR", "TILES", "UNROLLED", "lower_bounds", "represent", "slack"]

FAR = 3e38  # the offset of columns that only fill a tile: farther than any row, and still finite
_TINY = 1.2e-38  # in place of 0 under a fraction
_UNDERFLOW = 1e-30  # more than what is lost where a processor takes numbers under 1e-38 for 0; rows reach to 1
# Columns of a tile. L1: the sums of 256 queries by 512 rows, 0.5 MB, stay in the cache while the features go by.
TILES = {"l1": 512, "l2": 2048, "cosine": 2048}
UNROLLED = 16  # features at a time in L1's sums: with 8 the compiler does not vectorise, with 32 it spills


def slack(width: int) -> float:
    """Return s = (D + 32) 2⁻²⁴."""
    return (width + 32) * 2.0**-24


@partial(jax.jit, static_argnums=0)
def represent(metric: str, x: jax.Array, basis: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Return the columns (n, d) and offsets (n,) of rows (n, D) that `lower_bounds` combines."""
    s = slack(x.shape[1])
    if metric == "cosine":
        x = x / jnp.maximum(jnp.max(jnp.abs(x), axis=1, keepdims=True), _TINY)
        length = jnp.sqrt(jnp.sum(x**2, axis=1, keepdims=True))
        x = x / jnp.where(length > 0, length, 1)
    reduced = x if basis is None else jnp.matmul(x, basis, precision=jax.lax.Precision.HIGHEST)
    if metric == "l1":
        missing = -reduced.shape[1] % UNROLLED
        return jnp.pad(reduced, ((0, 0), (0, missing))), -2 * s * jnp.sum(jnp.abs(x), axis=1) - _UNDERFLOW
    square = jnp.sum(x**2, axis=1)
    columns = [reduced, jnp.sqrt(8 * s * square)[:, None]]
    if basis is not None:
        left = jnp.maximum(square - jnp.sum(reduced**2, axis=1), 0) + 8 * s * square
        columns.append(jnp.sqrt(left)[:, None])
    offset = jnp.full_like(square, 0.5) if metric == "cosine" else square
    return jnp.concatenate(columns, axis=1), (1 - 2 * s) * offset - _UNDERFLOW


@partial(jax.jit, static_argnums=(0, 5))
def lower_bounds(
    metric: str, x: jax.Array, basis: jax.Array | None, tiles: jax.Array, offsets: jax.Array, group: int
) -> tuple[jax.Array, jax.Array]:
    """Return bounds (tiles, B, T), and the least of each group of columns (tiles, B, T/group).

    ``x`` is (B, D); ``tiles`` (tiles, d, T) and ``offsets`` (tiles, T) are the stored rows as `represent` gives
    them. Group g of a tile holds its columns g, g + T/group, g + 2T/group, ... A bound that is not a finite number
    (of a query far outside the data's range) is −inf: nothing is known.
    """
    own, offset = represent(metric, x, basis)
    s = slack(x.shape[1])

    def of_tile(tile: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        columns, other = tile
        if metric == "l1":
            part = (1 - s) * _city_block(own, columns)
        else:
            factor = 1 if metric == "cosine" else 2
            part = -factor * jnp.matmul(own, columns, precision=jax.lax.Precision.HIGHEST)
        bound = offset[:, None] + other[None] + part
        bound = jnp.where(jnp.isfinite(bound), bound, -jnp.inf)
        width = bound.shape[1] // group
        # Not a reduction over the last axis, which would run number by number.
        least = reduce(jnp.minimum, [bound[:, i * width : (i + 1) * width] for i in range(group)])
        return bound, least

    return jax.lax.map(of_tile, (tiles, offsets))


def _city_block(own: jax.Array, columns: jax.Array) -> jax.Array:
    """Return Σ_d |own[:, d] − columns[d]| (B, T) of own (B, d) and columns (d, T)."""

    def add(step: int, total: jax.Array) -> jax.Array:
        left = jax.lax.dynamic_slice_in_dim(own, step * UNROLLED, UNROLLED, 1)
        right = jax.lax.dynamic_slice_in_dim(columns, step * UNROLLED, UNROLLED, 0)
        for i in range(UNROLLED):
            total = total + jnp.abs(left[:, i : i + 1] - right[i : i + 1])
        return total

    zeros = jnp.zeros((own.shape[0], columns.shape[1]), own.dtype)
    return jax.lax.fori_loop(0, own.shape[1] // UNROLLED, add, zeros)

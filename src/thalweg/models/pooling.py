"""Pooling of images (B, height, width, channels): maximum, average, and fractional maximum.

A fractional ratio α in (1, 2) shrinks a side of n pixels to ⌊n/α⌋. The side is cut
at a_0 = 0 < a_1 < ... < a_m = n whose increments are 1 or 2 (Graham 2014):

- "pseudorandom": a_i = ⌈α'(i + u)⌉ − ⌈α' u⌉ with u uniform in (0, 1) and
  α' = n / m, so that the increments follow one another as evenly as they can;
- "random": the increments in random order.

Disjoint regions are [a_{i−1}, a_i − 1], overlapping ones [a_{i−1}, a_i], the last
cut off at the edge. In training the cuts are drawn anew for every batch, the same
for all its images; in evaluation they are the pseudorandom ones with u = ½.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from thalweg.errors import UsageError

__all__ = ["KINDS", "average_pool", "check_divides", "fractional_max_pool", "fractional_size", "max_pool", "regions"]

KINDS = ("pseudorandom", "random")


def max_pool(x: jax.Array, size: int = 2) -> jax.Array:
    """Return the maximum over disjoint squares of ``size`` pixels: (B, H/size, W/size, channels)."""
    squares = _squares(x, size)
    # Place by place, not by jnp.max: its gradient divides by the number of places that equal the maximum, and a
    # compiler that forms x a second time, rounded otherwise, finds none.
    places = [squares[:, :, i, :, j] for i in range(size) for j in range(size)]
    return functools.reduce(jnp.maximum, places)


def average_pool(x: jax.Array, size: int = 2) -> jax.Array:
    """Return the mean over disjoint squares of ``size`` pixels: (B, H/size, W/size, channels)."""
    return jnp.mean(_squares(x, size), axis=(2, 4))


def check_divides(shape: tuple[int, ...], size: int) -> None:
    """Raise a UsageError unless squares of ``size`` pixels cover an image (height, width, ...)."""
    height, width = shape[:2]
    if height % size or width % size:
        raise UsageError(
            f"pooling by {size} does not divide images of {height} × {width}: resize them with image_size, pool by a "
            "fraction, or pool less often"
        )


def _squares(x: jax.Array, size: int) -> jax.Array:
    check_divides(x.shape[1:], size)
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // size, size, width // size, size, channels)


def fractional_size(size: int, ratio: float) -> int:
    """Return ⌊size / ratio⌋, the pixels that are left of a side.

    Raises a UsageError where no cut into increments of 1 and 2 gives so many.
    """
    if not 1 < ratio < 2:
        raise UsageError(f"the pooling ratio is {ratio!r}; give one above 1 and below 2 (2 is ordinary pooling)")
    left = int(size / ratio)
    if not left <= size <= 2 * left:
        raise UsageError(
            f"a side of {size} pixels cannot be pooled by {ratio:g} to {left}: regions are 1 or 2 pixels wide; take "
            "larger images, fewer poolings or a smaller ratio"
        )
    return left


def regions(size: int, ratio: float, key: jax.Array | None, kind: str) -> jax.Array:
    """Return the cuts a_0 ... a_m of a side (m + 1,); key None means those of evaluation."""
    left = fractional_size(size, ratio)
    if key is not None and kind == "random":
        twos = size - left  # increments of 2 among ``left``
        increments = jax.random.permutation(key, jnp.where(jnp.arange(left) < twos, 2, 1))
        return jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(increments).astype(jnp.int32)])
    u = 0.5 if key is None else jax.random.uniform(key, (), jnp.float32, 1e-3, 1 - 1e-3)
    # ⌈(n i + n u)/m⌉ with the whole part of n i/m split off, exact in float32 for any size of image.
    places = jnp.arange(left + 1)
    whole, rest = places * size // left, places * size % left
    cuts = whole + jnp.ceil((rest + size * jnp.asarray(u, jnp.float32)) / left).astype(jnp.int32)
    return (cuts - cuts[0]).astype(jnp.int32)


def fractional_max_pool(
    x: jax.Array, ratio: float, key: jax.Array | None, *, kind: str = "pseudorandom", overlapping: bool = True
) -> jax.Array:
    """Return the maximum over the regions of both sides: (B, ⌊H/ratio⌋, ⌊W/ratio⌋, channels)."""
    keys: Any = (None, None) if key is None else jax.random.split(key)
    for axis, one in zip((1, 2), keys, strict=True):
        x = _pool_side(x, axis, regions(x.shape[axis], ratio, one, kind), overlapping)
    return x


def _pool_side(x: jax.Array, axis: int, cuts: jax.Array, overlapping: bool) -> jax.Array:
    """Take the maximum over the regions of one side: each has up to three pixels, the last one often repeated."""
    first, after = cuts[:-1], cuts[1:]
    last = jnp.minimum(after, x.shape[axis] - 1) if overlapping else after - 1
    pooled = jnp.take(x, first, axis, mode="clip")
    for step in (1, 2) if overlapping else (1,):
        pooled = jnp.maximum(pooled, jnp.take(x, jnp.minimum(first + step, last), axis, mode="clip"))
    return pooled

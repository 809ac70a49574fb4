"""Soft bins: a value counts for the two bins whose centres lie around it, by its nearness to each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["circular", "linear", "windows"]


def circular(position: jax.Array, bins: int) -> jax.Array:
    """Return weights ``(..., bins)`` that sum to 1; bin k's centre is at k, and bin ``bins`` is bin 0 again.

    position is in units of bins, in [0, bins]; there are at least two bins.
    """
    away = jnp.abs(position[..., None] - _centres(bins, position.ndim))
    return jnp.maximum(0, 1 - jnp.minimum(away, bins - away))


def linear(value: jax.Array, bins: int) -> jax.Array:
    """Return weights ``(..., bins)`` that sum to 1, of a value in [0, 1]; bin k's centre is at (k + ½)/bins.

    What lies beyond the outermost centres counts for the outermost bins alone.
    """
    position = jnp.clip(value * bins - 0.5, 0, bins - 1)
    return jnp.maximum(0, 1 - jnp.abs(position[..., None] - _centres(bins, value.ndim)))


def windows(length: int, cells: int, soft: bool) -> np.ndarray:
    """Return weights ``(cells, length)`` that share each pixel among equal cells; columns sum to 1.

    soft: a pixel counts for the two cells whose centres lie around it, by its nearness to
    each, beyond the outermost centres for the outermost cell alone; else for the
    cell that it lies in.
    """
    position = (np.arange(length) + 0.5) * cells / length - 0.5  # in units of cells; cell k's centre is at k
    centres = np.arange(cells)[:, None]
    if not soft:
        return (centres == np.floor(position + 0.5)).astype(np.float32)
    return np.maximum(0, 1 - np.abs(np.clip(position, 0, cells - 1) - centres)).astype(np.float32)


def _centres(bins: int, axes: int) -> jax.Array:
    """Return 0, 1, ..., bins − 1 behind as many axes."""
    return jnp.arange(bins, dtype=jnp.float32).reshape((1,) * axes + (bins,))

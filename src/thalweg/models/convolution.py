"""Convolutions that stay fast in a loop, such as the scan over minibatches.

Left to itself XLA turns the gradient with respect to a kernel into a convolution
whose axes are permuted, for which its CPU backend has no fast code within a loop:
40 times slower than outside. So both gradients are written out here as convolutions
in the one order of axes that is fast everywhere.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from thalweg.errors import UsageError

__all__ = ["convolve"]

_AXES = ("NHWC", "HWIO", "NHWC")


def convolve(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Cross-correlate images with a kernel: y[h, w] = Σ_ij x[h + i − r, w + j − r] weight[i, j], zero beyond the edge.

    x is (B, height, width, channels in), weight (side, side, channels in, channels out)
    with an odd side 2r + 1; y is (B, height, width, channels out). Reverse mode only.
    """
    dtype = jnp.result_type(x, weight)
    x, weight = x.astype(dtype), weight.astype(dtype)
    side = weight.shape[0]
    if weight.ndim != 4 or weight.shape[1] != side or side % 2 == 0:
        raise UsageError(f"a kernel is {weight.shape}; give (side, side, channels in, channels out) with an odd side")
    if side == 1:
        return x @ weight[0, 0]
    return _convolve(x, weight)


@jax.custom_vjp
def _convolve(x: jax.Array, weight: jax.Array) -> jax.Array:
    return _correlate(x, weight, weight.shape[0] // 2)


def _forward(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, Any]:
    return _convolve(x, weight), (x, weight)


def _backward(kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, weight = kept
    margin = weight.shape[0] // 2
    # To the images: the slope meets the kernel turned round, its channels exchanged.
    to_x = _correlate(slope, jnp.flip(weight, (0, 1)).swapaxes(2, 3), margin)
    # To the kernel: channels in take the place of the batch, and the batch that of the channels.
    to_weight = _correlate(x.transpose(3, 1, 2, 0), slope.transpose(1, 2, 0, 3), margin)  # (in, side, side, out)
    return to_x, to_weight.transpose(1, 2, 0, 3)


_convolve.defvjp(_forward, _backward)


def _correlate(x: jax.Array, kernel: jax.Array, margin: int) -> jax.Array:
    """Correlate x (N, H, W, I), widened by ``margin`` zeros a side, with kernel (h, w, I, O)."""
    pads = ((margin, margin), (margin, margin))
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=_AXES)

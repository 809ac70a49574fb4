"""Convolutions that stay fast where training needs them: in a loop, side by side for many trials.

Left to itself XLA turns the gradient with respect to a kernel into a convolution
whose axes are permuted. Within a loop, such as the scan over minibatches, its CPU
backend has no fast code for these (40 times slower than outside), and under vmap a
convolution becomes a grouped one, slower still. So both gradients are written out
here as convolutions in the one order of axes that is fast everywhere, and trials
go one after another, each at full speed, unless they share the images.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from thalweg.errors import UsageError

__all__ = ["convolve"]

_AXES = ("NHWC", "HWIO", "NHWC")


def convolve(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Cross-correlate images with a kernel: y[h, w] = Σ_ij x[h + i − r, w + j − r] weight[i, j], zero beyond the edge.

    x is (B, height, width, channels in), weight (side, side, channels in, channels out)
    with an odd side 2r + 1; y is (B, height, width, channels out). Reverse mode only.
    """
    side = weight.shape[0]
    if weight.ndim != 4 or weight.shape[1] != side or side % 2 == 0:
        raise UsageError(f"a kernel is {weight.shape}; give (side, side, channels in, channels out) with an odd side")
    if side == 1:
        return x @ weight[0, 0]
    return _convolve(x, weight)


@jax.custom_vjp
def _convolve(x: jax.Array, weight: jax.Array) -> jax.Array:
    return _correlate(weight.shape[0] // 2)(x, weight)


def _forward(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, Any]:
    return _convolve(x, weight), (x, weight)


def _backward(kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, weight = kept
    correlate = _correlate(weight.shape[0] // 2)
    # To the images: the slope meets the kernel turned round, its channels exchanged.
    to_x = correlate(slope, jnp.flip(weight, (0, 1)).swapaxes(2, 3))
    # To the kernel: channels in take the place of the batch, and the batch that of the channels.
    to_weight = correlate(x.transpose(3, 1, 2, 0), slope.transpose(1, 2, 0, 3))  # (in, side, side, out)
    return to_x, to_weight.transpose(1, 2, 0, 3)


_convolve.defvjp(_forward, _backward)


def _correlate(margin: int) -> Any:
    """Return the function that correlates x (N, H, W, I) with k (h, w, I, O), x widened by ``margin`` zeros a side."""
    return _correlations.setdefault(margin, _made(margin))


_correlations: dict[int, Any] = {}


def _made(margin: int) -> Any:
    pads = ((margin, margin), (margin, margin))

    @custom_vmap
    def correlate(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=_AXES)

    @correlate.def_vmap
    def _(trials: int, batched: list[bool], x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, bool]:
        if all(batched):
            return jax.lax.map(lambda both: correlate(*both), (x, kernel)), True
        if batched[0]:  # images of all trials meet one kernel: one larger batch
            y = correlate(x.reshape(-1, *x.shape[2:]), kernel)
            return y.reshape(trials, -1, *y.shape[1:]), True
        # One set of images meets the kernels of all trials: more channels out.
        y = correlate(x, jnp.moveaxis(kernel, 0, 3).reshape(*kernel.shape[1:4], -1))
        return jnp.moveaxis(y.reshape(*y.shape[:3], trials, -1), 3, 0), True

    return correlate

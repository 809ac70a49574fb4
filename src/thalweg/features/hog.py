"""Histograms of oriented gradients: where which edges are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.features.base import Features, Shape, check_whole
from thalweg.features.bins import circular, windows
from thalweg.fields import check_flag, check_number

__all__ = ["HOG"]


class HOG(Features):
    """Histograms of oriented gradients (Dalal & Triggs 2005).

    1. Gradient of each pixel, (x[i+1] − x[i−1])/2 along both axes, the border's pixels
       repeated outside; of its channels the one whose gradient is longest.
    2. Its length is shared between the two orientation bins whose centres,
       (k + ½)·360°/orientations (180° without sign), lie around its direction, and
       between the up to four cells whose centres lie around the pixel. A cell's
       histogram is that sum over cell².
    3. Each block × block cells, at every place, are joined to one vector v, which is divided
       by √(‖v‖² + epsilon²), clipped at clip, and divided so again ("L2-Hys").

    Features are ordered by block row, block column, cell row, cell column and
    orientation. A constant image gives 0, a constant added to all pixels changes nothing.

    Arguments:
        cell: pixels along a cell's side; it must divide the image's height and width. 8.
        orientations: bins; 12, at least 2.
        block: cells along a block's side; 2.
        signed: whether dark-to-light differs from light-to-dark. True, unlike the
            paper, whose pedestrians wear any colour: worth 2 points of accuracy on CIFAR-10.
        soft: False counts each pixel in one bin and one cell alone. Sharing is worth 2 points.
        clip: 0.2, as in the paper.
        epsilon: what counts as a weak gradient, for pixels in [0, 1]: blocks much
            weaker fade, instead of being blown up to unit length. 0.05.
    """

    kind: ClassVar[str] = "hog"
    cell: int = eqx.field(default=8, static=True)
    orientations: int = eqx.field(default=12, static=True)
    block: int = eqx.field(default=2, static=True)
    signed: bool = eqx.field(default=True, static=True)
    soft: bool = eqx.field(default=True, static=True)
    clip: float = eqx.field(default=0.2, static=True)
    epsilon: float = eqx.field(default=0.05, static=True)

    def __check_init__(self) -> None:
        for name, least in (("cell", 1), ("orientations", 2), ("block", 1)):
            check_whole(self.name, name, getattr(self, name), least=least)
        check_flag(self.name, "signed", self.signed)
        check_flag(self.name, "soft", self.soft)
        check_number(self.name, "clip", self.clip, above=0)
        check_number(self.name, "epsilon", self.epsilon, above=0)

    def check(self, shape: Shape, dtype: Any) -> None:
        super().check(shape, dtype)
        height, width = shape[:2]
        if height % self.cell or width % self.cell:
            common = math.gcd(height, width)
            fitting = [n for n in range(2, common + 1) if common % n == 0 and min(height, width) // n >= self.block]
            remedy = f"give cell = {' or '.join(map(str, fitting))}" if fitting else "crop or pad the images"
            raise UsageError(
                f"{self.name}: cell is {self.cell}, which does not divide images of shape {tuple(shape)}; {remedy}"
            )
        if self.block > min(self._cells(shape)):
            raise UsageError(
                f"{self.name}: a block of {self.block} × {self.block} cells of {self.cell} pixels is larger than "
                f"images of shape {tuple(shape)}; give a smaller cell or block"
            )

    def size(self, shape: Shape) -> int:
        rows, columns = (cells - self.block + 1 for cells in self._cells(shape))
        return rows * columns * self.block**2 * self.orientations

    def working_bytes(self, shape: Shape) -> int:
        return 4 * math.prod(shape[:2]) * (4 * shape[2] + 3 * self.orientations)

    def encode(self, images: jax.Array, state: Mapping[str, jax.Array]) -> jax.Array:
        down, right = _strongest(*_gradients(images))
        length = jnp.sqrt(down**2 + right**2)
        shares = length[..., None] * self._orientation(down, right)
        cells = self._cells(images.shape[1:])
        rows, columns = (
            jnp.asarray(windows(n, count, self.soft)) for n, count in zip(images.shape[1:3], cells, strict=True)
        )
        histograms = jnp.einsum("yh,xw,nhwo->nyxo", rows, columns, shares, precision=jax.lax.Precision.HIGHEST)
        return self._blocks(histograms / self.cell**2)

    def _cells(self, shape: Shape) -> tuple[int, int]:
        return shape[0] // self.cell, shape[1] // self.cell

    def _orientation(self, down: jax.Array, right: jax.Array) -> jax.Array:
        """Return each pixel's share in each orientation ``(B, height, width, orientations)``."""
        turn = 2 * math.pi if self.signed else math.pi
        position = jnp.mod(jnp.arctan2(down, right), turn) * (self.orientations / turn)
        if self.soft:
            return circular(jnp.mod(position - 0.5, self.orientations), self.orientations)
        # A rounded-up mod can reach the full turn, which is no bin's.
        nearest = jnp.minimum(position.astype(jnp.int32), self.orientations - 1)
        return jax.nn.one_hot(nearest, self.orientations, dtype=jnp.float32)

    def _blocks(self, cells: jax.Array) -> jax.Array:
        """Return the normalised blocks of cell histograms ``(B, rows, columns, orientations)`` as ``(B, D)``."""
        size = self.block
        rows, columns = cells.shape[1] - size + 1, cells.shape[2] - size + 1
        corners = [cells[:, y : y + rows, x : x + columns] for y in range(size) for x in range(size)]
        blocks = jnp.concatenate(corners, axis=-1)
        blocks = self._normalised(jnp.minimum(self._normalised(blocks), self.clip))
        return blocks.reshape(len(cells), -1)

    def _normalised(self, blocks: jax.Array) -> jax.Array:
        return blocks / jnp.sqrt(jnp.sum(blocks**2, axis=-1, keepdims=True) + self.epsilon**2)


def _gradients(images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return half the difference of each pixel's neighbours, downwards and to the right."""
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return down, (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2


def _strongest(down: jax.Array, right: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the gradient of the channel in which it is longest (the first of equals) ``(B, height, width)``."""
    best = down[..., 0], right[..., 0]
    # Not argmax and a gather, which are slow on a CPU: channels are few.
    for channel in range(1, down.shape[-1]):
        other = down[..., channel], right[..., channel]
        longer = other[0] ** 2 + other[1] ** 2 > best[0] ** 2 + best[1] ** 2
        best = jnp.where(longer, other[0], best[0]), jnp.where(longer, other[1], best[1])
    return best

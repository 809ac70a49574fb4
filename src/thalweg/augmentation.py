"""Augmentation: images changed at random in every step of training, so that more examples are seen than there are.

An augmentation maps a batch of preprocessed images ``(B, height, width, channels)`` and a
key to a batch of the same shape. It runs inside the compiled step, once a step for all
trials of a cohort: they share the batch, so they share its changes. Validation and test
images stay as they are.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import check_flag, check_integer, is_open

__all__ = ["FlipCrop"]

_CHUNK = 16  # images a turn of the loop; from 8 to 128 cost the same


class FlipCrop(eqx.Module):
    """Mirror each image left to right with probability ½, and shift it by up to ``crop`` pixels in both directions.

    The shift: pad by ``crop`` zeros on each side and cut the old size out at a uniformly
    random place, one of (2 crop + 1)². As in He et al. 2016, section 4.2.

    flip: whether to mirror; by default True. False where left and right matter, as in digits.
    crop: pixels, by default 4, which suits 32 × 32 images; 0 shifts nothing.

    Zeros are what centred features (the default for images) have on average, so the border
    says nothing; reflected borders would show things twice that are there once. With
    preprocessing "none" or "scale" zeros are black.
    """

    flip: Any = eqx.field(default=True, static=True)
    crop: Any = eqx.field(default=4, static=True)
    kind: ClassVar[str] = "flip_crop"

    def __check_init__(self) -> None:
        check_flag("FlipCrop", "flip", self.flip)
        check_integer("FlipCrop", "crop", self.crop, least=0)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a UsageError unless examples of this shape are images larger than ``crop`` both ways."""
        if len(shape) != 3:
            raise UsageError(
                f"FlipCrop: an example has shape {shape}; only images (height, width, channels) can be flipped and "
                "cropped: leave augmentation out"
            )
        if not is_open(self.crop) and self.crop >= min(shape[:2]):
            raise UsageError(
                f"FlipCrop: crop is {self.crop}, and images are {shape[0]} × {shape[1]}; it must be below "
                f"{min(shape[:2])}, since a shift by the whole image leaves nothing of it"
            )

    def __call__(self, x: jax.Array, key: jax.Array) -> jax.Array:
        """Return the batch ``(B, height, width, channels)``, each image mirrored or not, and shifted."""
        if not self.flip and self.crop == 0:
            return x
        offsets, mirrored = self.draw(key, len(x))
        # A loop, since it makes XLA write its input out first. Mapped over all images at once, the reading of the
        # batch and its preprocessing are fused into the gather and repeated for each pixel: ten times the cost.
        return jax.lax.map(lambda image: self._one(*image), (x, offsets, mirrored), batch_size=_CHUNK)

    def draw(self, key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        """Return where the cuts begin, ``(count, 2)`` rows and columns from 0 to 2 crop, and which images to mirror.

        The image itself begins at (crop, crop).
        """
        uniform = jax.random.uniform(key, (count, 3), jnp.float32)
        offsets = jnp.floor((2 * self.crop + 1) * uniform[:, :2]).astype(jnp.int32)
        return offsets, (uniform[:, 2] < 0.5) & bool(self.flip)

    def _one(self, image: jax.Array, offset: jax.Array, mirrored: jax.Array) -> jax.Array:
        height, width, _ = image.shape
        border = (self.crop, self.crop)
        padded = jnp.pad(image, (border, border, (0, 0)))
        rows = jax.lax.dynamic_slice_in_dim(padded, offset[0], height)
        columns = offset[1] + jnp.arange(width)
        # Mirroring in the choice of columns: reversing the image first would be a pass of its own.
        columns = jnp.where(mirrored, padded.shape[1] - 1 - columns, columns)
        return rows.at[:, columns].get(mode="promise_in_bounds")

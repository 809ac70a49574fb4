"""Features learned from patches: whitening, k-means, triangle coding, pooling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import DataError, UsageError
from thalweg.features.base import Features, Progress, Shape, State, check_whole
from thalweg.features.kmeans import kmeans
from thalweg.fields import check_flag, check_number

__all__ = ["Patches"]

_FADE = 10 / 255**2  # added to a patch's variance: 10 for pixels of 0 to 255, as in the paper
_ROWS = 1024  # patches at a time: with 1,600 centroids their distances fill 6.5 MB, which caches hold
_IMAGES = 1024  # read at a time while patches are drawn


class Patches(Features):
    """Soft memberships of patches in learned clusters, pooled (Coates, Ng & Lee 2011).

    `fit` draws patches p of patch × patch pixels at random from the training images;
    q = (p − mean(p)) / √(var(p) + 10/255²); z = (q − μ) V (Λ + whitening)^−½ Vᵀ with mean μ and
    covariance VΛVᵀ of the q; the centroids c_k are those of k-means on the z (Lloyd's,
    with Euclidean distances, not the spherical one of Coates & Ng 2012).

    `transform` takes each patch of an image at the given stride, d_k = ‖z − c_k‖ and
    f_k = max(0, mean_j d_j − d_k), and sums f over the patches of each of pooling × pooling
    regions: pooling² · count features, ordered by region row, region column and
    centroid; 6,400 by default.

    Arguments:
        count: of centroids; 1,600, one of the paper's settings: accuracy grows slowly
            beyond it, and time in proportion.
        patch: pixels along a patch's side; 6, the paper's best.
        stride: pixels from patch to patch; 1. Two are four times as fast and less accurate.
        whitening: added to the eigenvalues; 0.1. Far smaller ones amplify noise.
        samples: patches to learn from; 200,000, or as many as the images hold.
        iterations: of k-means, at most; 30.
        pooling: regions along each side; 2, the quadrants.
        mirror: whether an image's features are averaged with its mirror image's, at
            twice the time. False.
        seed: of the draws.
    """

    kind: ClassVar[str] = "patches"
    count: int = eqx.field(default=1600, static=True)
    patch: int = eqx.field(default=6, static=True)
    stride: int = eqx.field(default=1, static=True)
    whitening: float = eqx.field(default=0.1, static=True)
    samples: int = eqx.field(default=200_000, static=True)
    iterations: int = eqx.field(default=30, static=True)
    pooling: int = eqx.field(default=2, static=True)
    mirror: bool = eqx.field(default=False, static=True)
    seed: int = eqx.field(default=0, static=True)

    def __check_init__(self) -> None:
        for name in ("count", "patch", "stride", "samples", "iterations", "pooling", "seed"):
            check_whole(self.name, name, getattr(self, name), least=0 if name == "seed" else 1)
        check_number(self.name, "whitening", self.whitening, above=0)
        check_flag(self.name, "mirror", self.mirror)
        if self.samples < self.count:
            raise UsageError(
                f"{self.name}: samples is {self.samples}, fewer than count {self.count}; give more samples"
            )

    def check(self, shape: Shape, dtype: Any) -> None:
        super().check(shape, dtype)
        smallest = self.patch + (self.pooling - 1) * self.stride  # that has a patch for each region
        if min(shape[:2]) < smallest:
            raise UsageError(
                f"{self.name}: images of shape {tuple(shape)} are smaller than the {smallest} × {smallest} pixels that "
                f"patches of {self.patch} pixels, pooled over {self.pooling} × {self.pooling} regions, need; give a "
                f"smaller patch, stride or pooling"
            )
        if self.patch**2 * shape[2] < 2:
            raise UsageError(f"{self.name}: a patch of one number is constant once its mean is taken; give patch = 2")

    def size(self, shape: Shape) -> int:
        return self.pooling**2 * self.count

    def state_shapes(self, shape: Shape) -> dict[str, Shape]:
        numbers = self.patch**2 * shape[2]
        return {"mean": (numbers,), "whitening": (numbers, numbers), "centroids": (self.count, numbers)}

    def working_bytes(self, shape: Shape) -> int:
        patches = math.prod(self._places(shape))
        return 4 * (min(patches, _ROWS) * self.count + 3 * patches * self.patch**2 * shape[2] + self.size(shape))

    def learn(self, images: np.ndarray, progress: Progress | None) -> State:
        rng = np.random.default_rng(self.seed)
        patches = np.asarray(_normalised(jnp.asarray(self._drawn(images, rng))))
        if not np.all(np.isfinite(patches)):
            raise DataError(f"{self.name}: training images hold NaN or infinite numbers; remove or replace them")
        mean, whitening = whitener(patches, self.whitening)
        centroids, _ = kmeans((patches - mean) @ whitening, self.count, self.iterations, rng, progress)
        return {"mean": mean, "whitening": whitening, "centroids": centroids}

    def encode(self, images: jax.Array, state: Mapping[str, jax.Array]) -> jax.Array:
        centroids = state["centroids"]
        squares = jnp.sum(centroids**2, axis=1, keepdims=True)
        # ‖z − c‖² = [z, ‖z‖², 1] · [−2c, 1, ‖c‖²]: one product gives squared distances, no pass over them adds norms.
        against = jnp.concatenate([-2 * centroids, jnp.ones_like(squares), squares], axis=1).T  # (numbers + 2, count)
        # An image at a time: its distances stay in the cache from the product to the pooling.
        one = jax.lax.map(lambda image: self._pooled(image, state, against), images)
        if self.mirror:
            other = jax.lax.map(lambda image: self._pooled(image[:, ::-1], state, against), images)
            one = (one + other) / 2
        return one

    def _pooled(self, image: jax.Array, state: Mapping[str, jax.Array], against: jax.Array) -> jax.Array:
        """Return the features ``(D,)`` of one image ``(height, width, channels)``."""
        z = _product(_normalised(self._patches(image)) - state["mean"][None], state["whitening"])
        z = jnp.concatenate([z, jnp.sum(z**2, axis=1, keepdims=True), jnp.ones((len(z), 1), z.dtype)], axis=1)
        blocks = -(-len(z) // _ROWS)
        rows = -(-len(z) // blocks)
        beyond = blocks * rows - len(z)  # rows of zeros, which belong to no region
        z = jnp.pad(z, ((0, beyond), (0, 0))).reshape(blocks, rows, -1)
        region = jnp.pad(self._region(image.shape), (0, beyond), constant_values=-1).reshape(blocks, rows)

        def add(total: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            # Summing by a product with zeros and ones: a reduction over rows is no faster, and knows no odd regions.
            members = block[1][None] == jnp.arange(self.pooling**2)[:, None]
            return total + _product(members.astype(total.dtype), _triangle(_product(block[0], against))), None

        start = jnp.zeros((self.pooling**2, self.count), z.dtype)
        return jax.lax.scan(add, start, (z, region))[0].reshape(-1)

    def _patches(self, image: jax.Array) -> jax.Array:
        """Return the patches ``(rows · columns, patch² · channels)`` of one image, row after row."""
        rows, columns = self._places(image.shape)
        down, right = self.stride * (rows - 1) + 1, self.stride * (columns - 1) + 1
        lines = jnp.concatenate([image[:, j : j + right : self.stride] for j in range(self.patch)], axis=-1)
        squares = jnp.concatenate([lines[i : i + down : self.stride] for i in range(self.patch)], axis=-1)
        return squares.reshape(rows * columns, -1)

    def _region(self, shape: Shape) -> jax.Array:
        """Return the region of each patch ``(rows · columns,)``, numbered row after row."""
        down, right = (jnp.arange(n) * self.pooling // n for n in self._places(shape))
        return (down[:, None] * self.pooling + right[None]).reshape(-1)

    def _places(self, shape: Shape) -> tuple[int, int]:
        return (shape[0] - self.patch) // self.stride + 1, (shape[1] - self.patch) // self.stride + 1

    def _drawn(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return patches ``(samples, patch² · channels)`` from random places, at most as many as there are places."""
        height, width, channels = images.shape[1:]
        down, right = height - self.patch + 1, width - self.patch + 1
        places = len(images) * down * right
        if places < self.count:
            raise DataError(
                f"{self.name}: {len(images)} training images hold {places} patches, fewer than count {self.count}; "
                f"give more images, or a smaller count"
            )
        # Distinct and sorted, so that a memory map is read once, from front to back.
        chosen = np.sort(rng.choice(places, min(self.samples, places), replace=False, shuffle=False))
        image, row, column = np.unravel_index(chosen, (len(images), down, right))
        drawn = np.empty((len(chosen), self.patch**2 * channels), np.float32)
        for start in range(0, len(images), _IMAGES):
            first, last = np.searchsorted(image, (start, start + _IMAGES))
            block = np.asarray(images[start : start + _IMAGES])
            views = np.lib.stride_tricks.sliding_window_view(block, (self.patch, self.patch), axis=(1, 2))
            taken = views[image[first:last] - start, row[first:last], column[first:last]]  # (n, channels, patch, patch)
            drawn[first:last] = taken.transpose(0, 2, 3, 1).reshape(last - first, -1)
        return drawn / np.float32(255) if images.dtype == np.uint8 else drawn


def whitener(patches: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean μ ``(D,)`` and V (Λ + strength)^−½ Vᵀ ``(D, D)`` of patches ``(N, D)``, float32.

    With VΛVᵀ their covariance (divided by N), in float64.
    """
    mean = patches.mean(axis=0, dtype=np.float64)
    centred = patches - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(patches))
    matrix = (vectors / np.sqrt(np.maximum(values, 0) + strength)) @ vectors.T
    return mean.astype(np.float32), matrix.astype(np.float32)


def _normalised(patches: jax.Array) -> jax.Array:
    centred = patches - jnp.mean(patches, axis=1, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, axis=1, keepdims=True) + _FADE)


def _triangle(squares: jax.Array) -> jax.Array:
    """Return max(0, mean − distance) of squared distances ``(N, count)``."""
    distances = jnp.sqrt(jnp.maximum(squares, 0))
    return jnp.maximum(jnp.mean(distances, axis=1, keepdims=True) - distances, 0)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return a @ b in full float32: accelerators round the factors otherwise, too coarsely for distances."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)

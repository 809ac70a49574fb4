"""What image features are, how they stream over many images, and how they are joined."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import check_integer, is_open

__all__ = ["Chain", "Features", "Progress", "Shape", "State", "check_whole"]

Progress: TypeAlias = Callable[[int, int], None]
"""What is called as images are worked through, with (images done, images in all)."""
State: TypeAlias = dict[str, np.ndarray]
Shape: TypeAlias = tuple[int, ...]

_WORKING_BYTES = 1 << 26  # 64 MiB at work at a time: enough images to hide the cost of a call


class Features(eqx.Module):
    """A part that turns images ``(N, height, width, channels)`` into features ``(N, D)``.

    Images are uint8, which the compiled program divides by 255, or floating-point
    numbers, which are used as they are and should lie in [0, 1].

    All fields of a part are static: they decide shapes, and do not differ between
    the trials of a cohort. Parts with equal fields are equal and hash alike. One's
    own part derives from this class and defines ``kind``, `check`, `size` and
    `encode`; one that learns defines `learn` and `state_shapes` too.
    """

    kind: ClassVar[str]

    def __check_init__(self) -> None:
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if is_open(value) or (hasattr(value, "__array__") and not isinstance(value, np.generic)):
                raise UsageError(f"{self.name}: {one.name} is {value!r}; give one value, for features are not searched")

    @abc.abstractmethod
    def size(self, shape: Shape) -> int:
        """Return D, the number of features of an image of that shape (height, width, channels)."""

    @abc.abstractmethod
    def encode(self, images: jax.Array, state: Mapping[str, jax.Array]) -> jax.Array:
        """Return the features ``(B, D)`` of float32 images ``(B, height, width, channels)``: a pure JAX function."""

    def check(self, shape: Shape, dtype: Any) -> None:
        """Raise a UsageError where images of that shape (height, width, channels) and dtype cannot serve."""
        if len(shape) != 3 or min(shape) < 1:
            raise UsageError(
                f"{self.name}: examples of shape {tuple(shape)} are no images (height, width, channels); "
                f"give images, or train without image features"
            )
        if np.dtype(dtype) != np.uint8 and not np.issubdtype(dtype, np.floating):
            raise UsageError(f"{self.name}: images are {np.dtype(dtype)}; give uint8, or float32 in [0, 1]")

    def learn(self, images: np.ndarray, progress: Progress | None) -> State:
        """Return what is learned from checked training images; here nothing."""
        return {}

    def state_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shape of each array that `fit` returns for images of that shape; here none."""
        return {}

    def working_bytes(self, shape: Shape) -> int:
        """Return about how many bytes one image takes while it is encoded."""
        return 4 * (16 * math.prod(shape) + self.size(shape))

    def fit(self, images: np.ndarray, *, progress: Progress | None = None) -> State:
        """Return the state, float32 arrays by name, learned from TRAINING images ``(N, height, width, channels)``.

        The images may be a memory map; they are read in blocks. The same images and
        fields give the same state. progress is called with (steps done, steps in all).
        """
        self._check_images(images)
        self._check_range(images)
        return self.learn(images, progress)

    def transform(
        self, images: np.ndarray, state: Mapping[str, np.ndarray], *, progress: Progress | None = None
    ) -> np.ndarray:
        """Return the features ``(N, D)``, float32, of images ``(N, height, width, channels)``.

        The images are read and encoded in blocks by one compiled program, so that the memory
        beside the result stays bounded. progress is called with (images done, images in
        all) after each block; what it raises ends the work.
        """
        self._check_images(images)
        shape = images.shape[1:]
        self._check_state(shape, state)
        rows = max(1, min(len(images), _WORKING_BYTES // self.working_bytes(shape)))
        arrays = {name: jnp.asarray(array, jnp.float32) for name, array in state.items()}
        result = np.empty((len(images), self.size(shape)), np.float32)
        for start in range(0, len(images), rows):
            block = np.asarray(images[start : start + rows])
            done = start + len(block)
            result[start:done] = np.asarray(_encode(self, _filled(block, rows), arrays))[: len(block)]
            if progress is not None:
                progress(done, len(images))
        return result

    @property
    def name(self) -> str:
        """The part's name in messages."""
        return type(self).__name__

    def __add__(self, other: Features) -> Chain:
        return Chain((self, other)) if isinstance(other, Features) else NotImplemented

    def __repr__(self) -> str:
        fields = (f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self))
        return f"{self.name}({', '.join(fields)})"

    def _check_images(self, images: Any) -> None:
        if not hasattr(images, "dtype") or not hasattr(images, "shape") or len(images.shape) == 0:
            raise UsageError(f"{self.name}: images are a {type(images).__name__}; give a NumPy array")
        self.check(tuple(images.shape[1:]), images.dtype)

    def _check_range(self, images: np.ndarray) -> None:
        if images.dtype == np.uint8:
            return
        low, high = float(np.min(images)), float(np.max(images))
        if low < -1e-3 or high > 1 + 1e-3:  # NaN is told elsewhere, by its place
            raise UsageError(
                f"{self.name}: images run from {low:g} to {high:g}; give uint8, or floating-point numbers in [0, 1], "
                f"such as images / {high:g}"
            )

    def _check_state(self, shape: Shape, state: Mapping[str, np.ndarray]) -> None:
        wanted = self.state_shapes(shape)
        found = {name: tuple(np.shape(array)) for name, array in state.items()}
        if found != wanted:
            raise UsageError(
                f"{self.name}: state holds {found or 'nothing'}, images of shape {shape} need {wanted or 'nothing'}; "
                f"give what fit returned for images of this shape"
            )


class Chain(Features):
    """Several parts whose columns stand side by side, in order: ``HOG() + ColorHistogram()``.

    Chains within are laid open. The state's names carry the part's place: "0.mean"
    is the array "mean" of the first part. Each part reports its own progress of `fit`.
    """

    kind: ClassVar[str] = "chain"
    parts: tuple[Features, ...] = eqx.field(static=True)

    def __init__(self, parts: tuple[Features, ...]) -> None:
        if not isinstance(parts, (tuple, list)) or not parts or not all(isinstance(one, Features) for one in parts):
            raise UsageError(f"Chain: parts are {parts!r}; give a tuple of features such as (HOG(), ColorHistogram())")
        self.parts = tuple(inner for one in parts for inner in (one.parts if isinstance(one, Chain) else (one,)))

    def check(self, shape: Shape, dtype: Any) -> None:
        for part in self.parts:
            part.check(shape, dtype)

    def size(self, shape: Shape) -> int:
        return sum(part.size(shape) for part in self.parts)

    def working_bytes(self, shape: Shape) -> int:
        return sum(part.working_bytes(shape) for part in self.parts)

    def state_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {f"{i}.{name}": s for i, part in enumerate(self.parts) for name, s in part.state_shapes(shape).items()}

    def learn(self, images: np.ndarray, progress: Progress | None) -> State:
        return {
            f"{i}.{name}": array
            for i, part in enumerate(self.parts)
            for name, array in part.learn(images, progress).items()
        }

    def encode(self, images: jax.Array, state: Mapping[str, jax.Array]) -> jax.Array:
        columns = []
        for i, part in enumerate(self.parts):
            own = {name.removeprefix(f"{i}."): array for name, array in state.items() if name.startswith(f"{i}.")}
            columns.append(part.encode(images, own))
        return jnp.concatenate(columns, axis=1)

    @property
    def name(self) -> str:
        return " + ".join(part.name for part in self.parts)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts)) if len(self.parts) > 1 else f"Chain(({self.parts[0]!r},))"


@partial(jax.jit, static_argnums=0)
def _encode(part: Features, images: jax.Array, state: dict[str, jax.Array]) -> jax.Array:
    unit = 255 if images.dtype == jnp.uint8 else 1
    return part.encode(images.astype(jnp.float32) / unit, state)


def _filled(block: np.ndarray, rows: int) -> np.ndarray:
    """Return the block with black images after its end: a last block of another size would compile anew."""
    if not np.issubdtype(block.dtype, np.integer):
        block = block.astype(np.float32, copy=False)
    if len(block) == rows:
        return block
    filled = np.zeros((rows, *block.shape[1:]), block.dtype)
    filled[: len(block)] = block
    return filled


def check_whole(owner: str, name: str, value: Any, *, least: int) -> None:
    """Raise a UsageError unless value is one plain whole number >= least: a part's fields are not searched."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise UsageError(f"{owner}: {name} is {value!r}; give one whole number")
    check_integer(owner, name, value, least=least)

"""Encoded images to one uint8 array (N, height, width, channels).

Rules, the same for every container:

- Pillow decodes PNG, JPEG, BMP, GIF (first frame), WebP, PPM/PGM/PBM and TIFF (first page), and nothing else.
- A size above `max_pixels` is refused from the header, before a pixel is decoded.
- The EXIF orientation is applied. Transparency is laid over white, as a page shows it.
- All images stay grayscale (one channel) if every one of them is; one colour image makes all of them RGB.
- 16-bit and float pixels are refused: squeezing them into 8 bits is a choice the user has to make.
- All sizes must be equal, unless `image_size` is given; then each image is resized (bilinear, antialiased).
"""

from __future__ import annotations

import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from thalweg.data.checks import check_memory, reading
from thalweg.data.dataset import Skipped
from thalweg.data.options import Options
from thalweg.errors import DataError, ThalwegError

__all__ = ["IMAGE_SUFFIXES", "Job", "Pixels", "decode_all"]

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff"),
)
_GRAY = ("1", "L")
_DEEP = ("I", "F")  # and their variants "I;16", "I;16B", ...
_ORIENTATION = 0x0112
# Decoding a small image holds Python's lock most of the time, and two threads are then slower than one
# (10,000 CIFAR images on two cores: 0.7 s in one thread, 1.0 s in two). Larger ones go to a pool.
_POOL_BYTES = 16 * 1024

Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Job:
    """One image to decode: the row it fills, its name for messages, and how to get its bytes."""

    row: int
    name: str
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Pixels:
    """The decoded images (rows, height, width, channels), and which rows hold one."""

    array: np.ndarray
    good: np.ndarray
    skipped: tuple[Skipped, ...]


class _Mismatch(ThalwegError):
    """An image of another size than the first one: a fault of the collection, not of the file."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size


def decode_all(jobs: Iterable[Job], rows: int, source: str, options: Options) -> Pixels:
    """Decode every job into its row. Errors name the file within `source`.

    With `options.skip_bad` an unreadable image leaves its row empty (good[row] is False) and is listed.
    """
    stack = _Stack(rows, source, options)
    with _quiet():
        for job, outcome in _outcomes(jobs, stack):
            stack.put(job, outcome)
    return stack.finish()


class _Stack:
    """The array of images, made when the first image shows its size and given colour when one needs it."""

    def __init__(self, rows: int, source: str, options: Options) -> None:
        self.rows, self.source, self.options = rows, source, options
        self.array: np.ndarray | None = None
        self.good = np.zeros(rows, bool)
        self.first = ""
        self.skipped: list[Skipped] = []

    @property
    def expected(self) -> Size | None:
        """The size that further images must have."""
        return None if self.array is None else (self.array.shape[1], self.array.shape[2])

    def decode(self, job: Job) -> np.ndarray | ThalwegError:
        """Return the pixels of one job, or why there are none. Runs in any thread."""
        remedy = "it was skipped" if self.options.skip_bad else "replace or remove it, or skip such files (skip_bad)"
        where = self.where(job)
        try:
            with reading(where, remedy):
                return decode(job.read(), where, self.options, self.expected)
        except ThalwegError as error:
            return error

    def where(self, job: Job) -> str:
        return f"{self.source}: image {job.name!r}"

    def put(self, job: Job, outcome: np.ndarray | ThalwegError) -> None:
        if isinstance(outcome, np.ndarray) and self.expected not in (None, outcome.shape[:2]):
            outcome = _Mismatch((outcome.shape[0], outcome.shape[1]))
        if isinstance(outcome, _Mismatch):
            raise self.mismatch(job, outcome.size)
        if isinstance(outcome, ThalwegError):
            if not self.options.skip_bad:
                raise outcome
            self.skipped.append(Skipped(job.name, str(outcome).removeprefix(self.where(job)).lstrip(": ")))
            return
        if self.array is None:
            self.array = self.allocate(outcome)
            self.first = job.name
        elif outcome.shape[2] > self.array.shape[3]:
            check_memory(self.source, 4 * self.array.size, _SMALLER)
            self.array = np.repeat(self.array, 3, axis=3)
        self.array[job.row] = outcome
        self.good[job.row] = True

    def allocate(self, image: np.ndarray) -> np.ndarray:
        check_memory(self.source, self.rows * image.size, _SMALLER)
        return np.zeros((self.rows, *image.shape), np.uint8)

    def mismatch(self, job: Job, size: Size) -> DataError:
        expected = self.expected
        assert expected is not None
        return DataError(
            f"{self.source}: images differ in size: {self.first!r} is {expected[0]} × {expected[1]} (height × width), "
            f"{job.name!r} is {size[0]} × {size[1]}; resize all of them with image_size=(height, width)"
        )

    def finish(self) -> Pixels:
        if self.array is None:
            reason = f"; the first: {self.skipped[0].reason}" if self.skipped else ""
            raise DataError(f"{self.source}: none of its {self.rows} images can be read{reason}")
        return Pixels(self.array, self.good, tuple(self.skipped))


_SMALLER = "make the images smaller (image_size), or give fewer"


def decode(data: bytes, where: str, options: Options, expected: Size | None) -> np.ndarray:
    """Decode one image to uint8 (height, width, 1 or 3), resized to `options.image_size` if given."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise DataError(f"{where}: is empty, damaged, or not one of {', '.join(FORMATS)}") from error
    with image:
        size = (image.height, image.width)
        if image.width * image.height > options.max_pixels:
            raise DataError(
                f"{where}: {size[0]:,} × {size[1]:,} pixels are over the limit of {options.max_pixels:,}: it may be a "
                "decompression bomb; shrink or remove it, raise max_pixels, or skip such files (skip_bad)"
            )
        if options.image_size is None and expected is not None and sorted(size) != sorted(expected):
            raise _Mismatch(size)
        if image.getexif().get(_ORIENTATION, 1) == 1:
            plain = _eight_bit(image, where)
        else:
            plain = _eight_bit(ImageOps.exif_transpose(image), where)
        if options.image_size is not None and options.image_size != (plain.height, plain.width):
            plain = plain.resize((options.image_size[1], options.image_size[0]), Image.Resampling.BILINEAR)
        array = np.asarray(plain)
    return array[..., np.newaxis] if array.ndim == 2 else array


def _eight_bit(image: Image.Image, where: str) -> Image.Image:
    """Return the image in mode L (gray) or RGB."""
    if image.mode.split(";")[0] in _DEEP:
        raise DataError(f"{where}: has 16-bit or float pixels (mode {image.mode}); save it with 8 bits a channel")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        gray = image.mode in (*_GRAY, "LA")
        layer = image.convert("RGBA")
        page = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(page, layer).convert("L" if gray else "RGB")
    return image.convert("L" if image.mode in _GRAY else "RGB")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings (odd metadata, sizes that our own limit decides on) while images are decoded."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _outcomes(jobs: Iterable[Job], stack: _Stack) -> Iterator[tuple[Job, np.ndarray | ThalwegError]]:
    """Decode in the order of the jobs: small images here, large ones in threads (Pillow lets go of Python's lock)."""
    workers = _cores()
    waiting: deque[tuple[Job, Future[np.ndarray | ThalwegError]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            # The first image goes alone: it fixes the size that the others are held to before they are decoded.
            if job.size < _POOL_BYTES or workers == 1 or stack.expected is None:
                yield from _results(waiting, keep=0)
                yield job, stack.decode(job)
            else:
                waiting.append((job, pool.submit(stack.decode, job)))
                yield from _results(waiting, keep=2 * workers)
        yield from _results(waiting, keep=0)
    finally:
        pool.shutdown(cancel_futures=True)


def _results(
    waiting: deque[tuple[Job, Future[np.ndarray | ThalwegError]]], keep: int
) -> Iterator[tuple[Job, np.ndarray | ThalwegError]]:
    while len(waiting) > keep:
        job, future = waiting.popleft()
        yield job, future.result()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(8, len(os.sched_getaffinity(0)))
    return min(8, os.cpu_count() or 1)

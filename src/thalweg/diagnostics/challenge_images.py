"""Images changed as a camera or the world might change them. All keep shape and type; strength 0 changes nothing.

Images are (N, height, width, channels), uint8 or float32. ``limits`` are the least and largest pixel values: 0 and 255
for uint8, those of the split for float32; no change leaves them. What comes into a picture from outside repeats the
nearest pixel of its edge: a black border would be a second change.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import sparse

__all__ = [
    "brighten",
    "clutter",
    "contrast",
    "corner",
    "occlude",
    "patch",
    "rotate",
    "shear",
    "shift",
    "stretch",
    "warp",
]

Limits = tuple[float, float]


def brighten(images: np.ndarray, factor: float, limits: Limits) -> np.ndarray:
    """Multiply the light by ``factor``: low + factor (x − low), clipped."""
    return _settled(limits[0] + factor * (images - np.float32(limits[0])), images, limits)


def contrast(images: np.ndarray, factor: float, limits: Limits) -> np.ndarray:
    """Pull each image towards its own mean m over all pixels and channels: m + factor (x − m)."""
    mean = images.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    return _settled(mean + factor * (images - mean), images, limits)


def shift(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move the content by whole pixels."""
    height, width = images.shape[1:3]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return images[:, rows][:, :, columns]


def rotate(images: np.ndarray, degrees: float, limits: Limits) -> np.ndarray:
    """Turn the content about the centre, positive angles anticlockwise as one sees it."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    # Rows count downwards. The content at (row, column) comes from the place turned back by the angle.
    return warp(images, np.array([[cos, sin], [-sin, cos]]), limits)


def stretch(images: np.ndarray, high: float, wide: float, limits: Limits) -> np.ndarray:
    """Scale the content about the centre, by these factors of its height and width."""
    return warp(images, np.diag([1 / high, 1 / wide]), limits)


def shear(images: np.ndarray, slant: float, limits: Limits) -> np.ndarray:
    """Slant the content: ``slant`` pixels to the right for each pixel above the centre."""
    return warp(images, np.array([[1.0, 0.0], [slant, 1.0]]), limits)


def warp(images: np.ndarray, back: np.ndarray, limits: Limits) -> np.ndarray:
    """Sample each pixel bilinearly at centre + back @ (place − centre), places as (row, column)."""
    count, height, width, channels = images.shape
    matrix = _sampling(height, width, back)  # (pixels, pixels): one for all images and channels
    laid = images.reshape(count, height * width, channels).transpose(1, 0, 2).reshape(height * width, -1)
    moved = matrix @ laid.astype(np.float32)
    moved = moved.reshape(height * width, count, channels).transpose(1, 0, 2).reshape(images.shape)
    return _settled(moved, images, limits)


def _sampling(height: int, width: int, back: np.ndarray) -> sparse.csr_array:
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1).reshape(-1, 2)
    # Rounded so that whole turns and shifts meet the pixels, not their neighbours by 1e-16.
    sources = np.round((places - centre) @ back.T + centre, 9)
    sources = np.clip(sources, 0, [height - 1, width - 1])
    first = np.floor(sources).astype(int)
    part = sources - first
    second = np.minimum(first + 1, [height - 1, width - 1])
    rows, columns, values = [], [], []
    for row, weight_row in ((first[:, 0], 1 - part[:, 0]), (second[:, 0], part[:, 0])):
        for column, weight in ((first[:, 1], 1 - part[:, 1]), (second[:, 1], part[:, 1])):
            rows.append(np.arange(len(places)))
            columns.append(row * width + column)
            values.append(weight_row * weight)
    shape = (height * width, height * width)
    entries = np.concatenate(values).astype(np.float32)
    return sparse.csr_array((entries, (np.concatenate(rows), np.concatenate(columns))), shape=shape)


def patch(height: int, width: int, share: float) -> tuple[int, int]:
    """Return the sides, in whole pixels, of a patch of about that share of an image."""
    high, wide = (min(size, round(math.sqrt(share) * size)) for size in (height, width))
    return high, wide


def corner(height: int, width: int, share: float) -> tuple[int, int]:
    """Return the sides, in whole pixels, of each of four corners that together take about that share of an image."""
    high, wide = (min(size // 2, round(math.sqrt(share / 4) * size)) for size in (height, width))
    return high, wide


def occlude(images: np.ndarray, share: float, corners: np.ndarray, limits: Limits) -> np.ndarray:
    """Cover a grey patch (mid-way between the limits) of about that share of each image, shaped like the image.

    ``corners`` (N, 2) in [0, 1) say where: 0 is the top or left end of the places that the patch can take.
    """
    height, width = images.shape[1:3]
    high, wide = patch(height, width, share)
    top = np.floor(corners[:, 0] * (height - high + 1)).astype(int)[:, None]
    left = np.floor(corners[:, 1] * (width - wide + 1)).astype(int)[:, None]
    rows, columns = np.arange(height)[None, :], np.arange(width)[None, :]
    inside = ((rows >= top) & (rows < top + high))[:, :, None] & ((columns >= left) & (columns < left + wide))[:, None]
    grey = np.asarray(sum(limits) / 2).astype(images.dtype)
    return np.where(inside[..., None], grey, images)


def clutter(images: np.ndarray, others: np.ndarray, share: float) -> np.ndarray:
    """Put the corners of another image over those of each: four pieces, together about that share of its area."""
    height, width = images.shape[1:3]
    high, wide = corner(height, width, share)
    rows, columns = np.arange(height), np.arange(width)
    covered = ((rows < high) | (rows >= height - high))[:, None] & ((columns < wide) | (columns >= width - wide))[None]
    return np.where(covered[None, :, :, None], others, images)


def _settled(changed: np.ndarray, images: np.ndarray, limits: Limits) -> np.ndarray:
    """Clip to the limits and return to the images' type."""
    changed = np.clip(changed, *limits)
    return (np.rint(changed) if images.dtype == np.uint8 else changed).astype(images.dtype)

"""What a caller may ask of a reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from thalweg.errors import UsageError

__all__ = ["MAX_PIXELS", "Options"]

# A photograph of 60 megapixels passes; decoded it is 200 MB. A decompression bomb asks for far more.
MAX_PIXELS = 64 * 10**6


@dataclass(frozen=True)
class Options:
    """The keyword arguments of `load`, checked once."""

    label: str | None = None
    skip_bad: bool = False
    image_size: tuple[int, int] | None = None
    max_pixels: int = MAX_PIXELS
    labelled: bool = True

    @classmethod
    def of(cls, label: Any, skip_bad: Any, image_size: Any, max_pixels: Any, labelled: Any) -> Options:
        """Check the arguments; an `image_size` of one number means a square."""
        if label is not None and not isinstance(label, str):
            raise UsageError(f"label is {label!r}; give the name of the label column")
        if isinstance(max_pixels, bool) or not isinstance(max_pixels, int) or max_pixels < 1:
            raise UsageError(f"max_pixels is {max_pixels!r}; give a whole number of at least 1")
        size = None
        if image_size is not None:
            size = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size, image_size)
            if len(size) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in size):
                raise UsageError(f"image_size is {image_size!r}; give (height, width) in pixels, such as (32, 32)")
            if size[0] * size[1] > max_pixels:
                raise UsageError(f"image_size is {image_size!r}: more than max_pixels = {max_pixels:,}")
        return cls(label, bool(skip_bad), size, max_pixels, bool(labelled))

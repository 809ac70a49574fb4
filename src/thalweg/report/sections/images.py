"""Small pictures of the page: PNG data beside their words."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from io import BytesIO

import numpy as np
from markupsafe import Markup, escape

__all__ = ["LARGEST", "image_tile", "png", "tiles"]

LARGEST = 96  # pixels of the longer side: 24 coloured pictures then take at most some 900 kB of the page


def png(pixels: np.ndarray) -> str:
    """Return a data URI of an image (height, width, 1 or 3) uint8.

    One dot a pixel: the page scales it up. An image with a longer side than `LARGEST` is reduced to it.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    out = BytesIO()
    picture.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def image_tile(pixels: np.ndarray, alt: str, caption: Markup | str) -> Markup:
    """Return a picture with its words below; ``alt`` stands for it where it cannot be seen."""
    return Markup(
        '<figure class="tile"><img class="pixels" src="{}" alt="{}"><figcaption>{}</figcaption></figure>'
    ).format(png(pixels), alt, escape(caption))


def tiles(several: Iterable[Markup]) -> Markup:
    """Return pictures as a grid."""
    return Markup('<div class="tiles">{}</div>').format(Markup("\n").join(several))

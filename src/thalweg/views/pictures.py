"""The visual view: each class's weights as an image."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal, TypeAlias

import numpy as np

from thalweg.errors import UsageError
from thalweg.fitted import FittedModel
from thalweg.views.linear import as_fitted, linear_form

__all__ = ["TemplateRecord", "TemplateScale", "template_record", "template_sheet", "templates"]

TemplateScale: TypeAlias = Literal["each", "shared"]

_SCALE = 4  # how much larger than a template its picture on the sheet is
_QUANTILE = 0.995  # of |weight|, shown at full strength: a single large weight would make all others pale


@dataclass(frozen=True, eq=False)
class TemplateRecord:
    """Each class's weights as an image, and the scale on which to show them.

    Attributes:
        classes: their names.
        weights: ``(classes, height, width, channels)``, score per unit of a raw pixel.
        limits: ``(classes,)``, the |weight| shown at full strength; what is larger is
            clipped. It is the 99.5th percentile of the |weights| that are not 0.
        scale: ``each`` template its own limit, or one that all have ``shared``.
    """

    classes: tuple[str, ...]
    weights: np.ndarray
    limits: np.ndarray
    scale: TemplateScale

    def relative(self) -> np.ndarray:
        """weights / limits within [−1, 1]: 0 stays 0."""
        return np.clip(self.weights / self.limits[:, None, None, None], -1, 1)


def templates(model: Any) -> np.ndarray:
    """The visual view: each class's weights as a uint8 image (classes, height, width, channels).

    A template is scaled by its own largest weight, so that 128 stands for 0,
    255 and 1 for the largest weight of either sign: bright where ink speaks for
    the class, dark where it speaks against it.
    """
    weights = _pictures(as_fitted(model))
    largest = np.maximum(np.abs(weights).max(axis=(1, 2, 3), keepdims=True), np.finfo(np.float64).tiny)
    return np.rint(128 + 127 * weights / largest).astype(np.uint8)


def template_record(model: Any, *, scale: TemplateScale = "each") -> TemplateRecord:
    """The visual view with its numbers: each class's weights as an image, and the scale to show them on.

    Args:
        model: a linear model of images.
        scale: ``each`` shows the form of every template, ``shared`` lets one compare their strengths.

    Raises:
        UsageError: a model that is not linear, or not of images; an unknown scale.
    """
    if scale not in ("each", "shared"):
        raise UsageError(f"scale is {scale!r}; it must be 'each' or 'shared'")
    model = as_fitted(model)
    weights = _pictures(model)
    limits = np.array([_limit(one) for one in weights]) if scale == "each" else np.full(len(weights), _limit(weights))
    return TemplateRecord(model.classes, weights, limits, scale)


def _pictures(model: FittedModel) -> np.ndarray:
    """W as (classes, height, width, channels)."""
    if len(model.feature_shape) != 3:
        raise UsageError(f"features of shape {model.feature_shape} are no images (height, width, channels)")
    return linear_form(model)[0].reshape(-1, *model.feature_shape)


def _limit(weights: np.ndarray) -> float:
    sizes = np.abs(weights[weights != 0])
    return float(np.quantile(sizes, _QUANTILE)) if sizes.size else 1.0


def template_sheet(model: Any) -> bytes:
    """Return a PNG of all templates, side by side in the order of the classes, with their names."""
    from PIL import Image, ImageDraw

    model = as_fitted(model)
    images = templates(model)
    height, width = (_SCALE * size for size in images.shape[1:3])
    cell = max(width, 48)
    sheet = Image.new("RGB", (len(images) * (cell + 4), height + 16), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (pixels, name) in enumerate(zip(images, model.classes, strict=True)):
        channels = pixels if pixels.shape[2] == 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
        picture = Image.fromarray(channels).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(picture, (place * (cell + 4), 0))
        draw.text((place * (cell + 4), height + 2), name[: cell // 6].encode("latin-1", "replace"), fill="black")
    out = BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()

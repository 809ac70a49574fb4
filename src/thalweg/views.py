"""A linear classifier seen three ways: as scores, as templates, as hyperplanes.

All are in terms of the features as they come, before preprocessing: that is an
affine map, so it can be folded into the weights.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np

from thalweg.errors import UsageError
from thalweg.fitted import FittedModel
from thalweg.models import Linear

__all__ = ["decision_regions", "hyperplane", "linear_form", "template_sheet", "templates"]

_SCALE = 4  # how much larger than a template its picture on the sheet is


def linear_form(model: FittedModel) -> tuple[np.ndarray, np.ndarray]:
    """The algebraic view: W (classes, features) and b (classes,) with scores s = W x + b, in float64.

    With preprocessing x' = (x − shift) · scale and the model's own W', b':
    W = W' · scale and b = b' − W shift.
    """
    if not isinstance(model.recipe.model, Linear):
        raise UsageError(
            f"the model is a {type(model.recipe.model).__name__}; only models.Linear is one weight a feature"
        )
    if model.recipe.features is not None:
        raise UsageError(
            f"the model sees {model.recipe.features.name} in the pixels' place, so it has no weight for each pixel; "
            "train it without features to look at its weights as images"
        )
    ones = np.ones(model.feature_shape)
    scale, shift = ((getattr(model.preprocessing, name) * ones).ravel() for name in ("scale", "shift"))
    weights = np.asarray(model.params["weight"], np.float64) * scale
    bias = np.asarray(model.params.get("bias", np.zeros(len(weights))), np.float64)
    return weights, bias - weights @ shift


def templates(model: FittedModel) -> np.ndarray:
    """The visual view: each class's weights as a uint8 image (classes, height, width, channels).

    A template is scaled by its own largest weight, so that 128 stands for 0,
    255 and 1 for the largest weight of either sign: bright where ink speaks for
    the class, dark where it speaks against it.
    """
    if len(model.feature_shape) != 3:
        raise UsageError(f"features of shape {model.feature_shape} are no images (height, width, channels)")
    weights, _ = linear_form(model)
    largest = np.maximum(np.abs(weights).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.rint(128 + 127 * weights / largest).astype(np.uint8).reshape(-1, *model.feature_shape)


def template_sheet(model: FittedModel) -> bytes:
    """Return a PNG of all templates, side by side in the order of the classes, with their names."""
    from PIL import Image, ImageDraw

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


def hyperplane(model: FittedModel, first: str, second: str) -> tuple[np.ndarray, float]:
    """The geometric view: the normal n (features,) and offset c of n · x + c = 0, where two classes score alike.

    n points to the side of ``first``; |n · x + c| / ‖n‖ is an example's distance from the border.
    """
    for name in (first, second):
        if name not in model.classes:
            raise UsageError(f"class {name!r} is unknown; the model's classes are {', '.join(model.classes)}")
    weights, bias = linear_form(model)
    one, other = model.classes.index(first), model.classes.index(second)
    return weights[one] - weights[other], float(bias[one] - bias[other])


def decision_regions(
    model: FittedModel, low: tuple[float, float], high: tuple[float, float], points: int = 200
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The geometric view in 2-D: the predicted class's number on a grid between two corners.

    Returns the two axes (points,) and the classes (points, points), rows by the
    second feature, as an image plot wants them. For models of two features.
    """
    if model.feature_shape != (2,):
        raise UsageError(f"decision regions need two features, the model takes {model.feature_shape}")
    x, y = (np.linspace(a, b, points) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)
    return x, y, model.scores(grid).argmax(axis=1).reshape(points, points)

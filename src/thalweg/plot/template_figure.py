"""The picture of a linear model's templates: each class's weights as an image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from thalweg.plot.names import fitting, literal
from thalweg.views import TemplateRecord, template_record
from thalweg.views.pictures import TemplateScale

__all__ = ["templates"]

_GAP = 0.08  # inches
_WIDEST = 9.0  # of the figure, while tiles are not smaller than _SMALLEST
_LARGEST, _SMALLEST = 1.25, 0.45


def templates(model: Any, *, scale: TemplateScale = "each") -> Figure:
    """Draw each class's weights as an image: the visual view of scores W x + b.

    Weights of one channel are drawn on a diverging scale, white for 0, blue for
    pixels whose brightness speaks for the class, red for those that speak against
    it. Of three channels each goes from mid-grey for 0 to full for the class and
    to none against it, so a template is the image that the class likes best. The
    bar shows the scale; beyond its ends (the 99.5th percentile of |weights|)
    weights are clipped. Another number of channels is drawn one by one.

    Args:
        model: a linear model of images, an estimator that holds one, or a `TemplateRecord`.
        scale: ``each`` template on its own scale (its form is seen best), or one that
            all have ``shared`` (their strengths are comparable).

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError: what `views.template_record` refuses.
    """
    record = model if isinstance(model, TemplateRecord) else template_record(model, scale=scale)
    return _drawn(record)


def _drawn(record: TemplateRecord) -> Figure:
    names, tiles = _tiles(record)
    columns = _columns(len(tiles))
    rows = -(-len(tiles) // columns)
    width = float(np.clip(_WIDEST / columns - _GAP, _SMALLEST, _LARGEST))
    # A picture far wider than high, or the other way round, would be a line: it is stretched.
    height = width * float(np.clip(record.weights.shape[1] / record.weights.shape[2], 0.25, 4))
    size = 8 if width > 0.8 else 6.5
    label = size / 72 * 1.7
    across = max(columns * (width + _GAP) + _GAP, 3.2)
    left = (across - columns * (width + _GAP) + _GAP) / 2
    key = 0.55  # under the tiles
    down = rows * (height + label) + _GAP + key
    figure = Figure(figsize=(across, down))
    # One frame over the whole figure, in inches: what stands where is known, so nothing can overlap.
    axes = figure.add_axes((0, 0, 1, 1))
    for place, (name, tile) in enumerate(zip(names, tiles, strict=True)):
        row, column = divmod(place, columns)
        x, top = left + column * (width + _GAP), down - _GAP - row * (height + label) - label
        axes.imshow(tile, extent=(x, x + width, top - height, top), interpolation="nearest")
        axes.add_patch(Rectangle((x, top - height), width, height, fill=False, edgecolor="#999999", linewidth=0.4))
        words = fitting(name, width, size)
        literal(axes.text(x + width / 2, top + 0.3 * label, words, fontsize=size, ha="center", va="baseline"))
    axes.set(xlim=(0, across), ylim=(0, down), aspect="auto")
    axes.set_axis_off()
    _key(figure, record, across, down)
    return figure


def _tiles(record: TemplateRecord) -> tuple[list[str], list[np.ndarray]]:
    """The names and RGB pictures: one a class, or one for each of its channels where they are neither 1 nor 3."""
    relative = record.relative()
    channels = relative.shape[3]
    if channels == 3:
        return list(record.classes), list((relative + 1) / 2)
    names = [name if channels == 1 else f"{c}: {name}" for name in record.classes for c in range(channels)]
    shades = np.moveaxis(relative, 3, 1).reshape(-1, *relative.shape[1:3])
    return names, [colormaps["RdBu"]((one + 1) / 2)[..., :3] for one in shades]


def _columns(count: int) -> int:
    """About 8 columns to 5 rows, and as few empty places in the last row as may be."""
    if count <= 6:
        return count
    near = range(math.ceil(math.sqrt(count)), math.ceil(math.sqrt(1.6 * count)) + 2)
    return min(near, key=lambda columns: (-count % columns, columns))


def _key(figure: Figure, record: TemplateRecord, across: float, down: float) -> None:
    """Draw the colour bar: in weights where all templates share them, else in parts of each one's limit."""
    shared = record.scale == "shared"
    limit = float(record.limits[0]) if shared else 1.0
    rgb = record.weights.shape[3] == 3
    length = min(2.6, across - 0.6)
    bar = figure.add_axes(((across - length) / 2 / across, 0.36 / down, length / across, 0.08 / down))
    scale = ScalarMappable(Normalize(-limit, limit), "gray" if rgb else "RdBu")
    options: dict[str, Any] = {"ticks": [-limit, 0, limit], "orientation": "horizontal", "extend": "both"}
    drawn = figure.colorbar(scale, cax=bar, **options)
    drawn.ax.set_xticklabels([f"−{limit:.2g}", "0", f"{limit:.2g}"] if shared else ["−max", "0", "max"])
    drawn.ax.tick_params(labelsize=7, length=2, pad=1)
    what = "weight of each colour channel" if rgb else "weight of a pixel"
    drawn.set_label(what if shared else f"{what}, each class on its own scale", fontsize=7, labelpad=1)

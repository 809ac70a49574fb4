"""The section on a linear model's weights: each class's as an image, or the largest by the features' names."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from markupsafe import Markup

from thalweg.report.block import Lacking, Picture, Section, Table
from thalweg.report.records.confusion import ConfusionRecord
from thalweg.report.sections.images import LARGEST, image_tile, tiles
from thalweg.report.sections.naming import full, shortened
from thalweg.report.svg import Categories, Linear, Plot
from thalweg.views import TemplateRecord, WeightRecord

__all__ = ["templates_section"]

Weights: TypeAlias = TemplateRecord | WeightRecord | Lacking

_MOST = 24  # classes shown
_PANELS = 6  # classes whose weights are drawn as small plots; more go into a table
_TOP = 8  # features of a small plot
_TOLD = 3  # features of a class in the table
# Matplotlib's figure of templates has the same ends (`plot.names`): blue speaks for a class, red against it.
_FOR, _AGAINST = np.array([0x21, 0x66, 0xAC]), np.array([0xB2, 0x18, 0x2B])


def templates_section(record: Weights, confusion: ConfusionRecord | Lacking | None = None) -> Section:
    """Show the weights of a linear model. Of more than 24 classes those of lowest recall are shown, if it is known."""
    short = "Weights"
    if isinstance(record, Lacking):
        return Section("templates", "What the model looks for", (record,), short=short)
    shown, which = _chosen(record.classes, confusion)
    if isinstance(record, TemplateRecord):
        lead = (
            "The weights of each class as an image: the score is their product with the picture, summed, plus a bias."
        )
        return Section("templates", "Class templates", (_templates(record, shown, which),), lead, short)
    lead = f"The weights of the linear model by feature: what one {record.unit} adds to a class's score."
    panels = len(record.classes) <= _PANELS
    part = _panels(record) if panels else _largest(record, shown, which)
    return Section("templates", "Weights by feature", (part,), lead, short)


def _chosen(classes: tuple[str, ...], confusion: ConfusionRecord | Lacking | None) -> tuple[np.ndarray, str]:
    """Return the classes to show in their own order, and a sentence where some are left out."""
    if len(classes) <= _MOST:
        return np.arange(len(classes)), ""
    if isinstance(confusion, ConfusionRecord) and confusion.classes == classes:
        shown = np.sort(confusion.worst_first()[:_MOST])
        return shown, f" Shown are the {_MOST} of {len(classes)} classes with the lowest recall."
    return np.arange(_MOST), f" Shown are the first {_MOST} of {len(classes)} classes."


# -- images -----------------------------------------------------------------------------------------------------------


def _templates(record: TemplateRecord, shown: np.ndarray, which: str) -> Picture:
    relative = record.relative()[shown]
    names = [record.classes[i] for i in shown]
    drawn = []
    for name, one in zip(names, relative, strict=True):
        # Neither grey nor coloured: a picture for each channel.
        several = (
            [("", one)] if one.shape[2] in (1, 3) else [(f"{c}: ", one[..., c, None]) for c in range(one.shape[2])]
        )
        drawn += [(f"{before}{shortened(name, 24)}", _pixels(part)) for before, part in several]
    left_out = max(0, len(drawn) - _MOST)
    pictures = tiles(image_tile(pixels, f"template of {name}", name) for name, pixels in drawn[:_MOST])
    coloured = relative.shape[3] == 3
    colours = (
        "Each colour channel goes from mid-grey (weight 0) to full where brightness there speaks for the class, and to "
        "none where it speaks against it."
        if coloured
        else "Blue pixels speak for the class where they are bright, red ones against it, white ones (weight 0) for "
        "neither."
    )
    scale = "Each class has its own scale" if record.scale == "each" else "All classes share one scale"
    summary = f"{colours} {scale}; weights beyond the 99.5th percentile of their size are shown as that.{which}"
    if left_out:
        summary += f" {left_out} pictures of single channels are left out."
    if max(relative.shape[1:3]) > LARGEST:
        summary += f" Images are reduced to {LARGEST} pixels."
    return Picture("Templates", pictures, summary, _strengths(record, shown), wide=True)


def _pixels(relative: np.ndarray) -> np.ndarray:
    """Return weights (height, width, 1 or 3) within [−1, 1] as uint8: three channels as such, one as red to blue."""
    if relative.shape[2] == 3:
        return np.rint(127.5 * (relative + 1)).astype(np.uint8)
    size = np.abs(relative)
    return np.rint(255 * (1 - size) + np.where(relative > 0, _FOR, _AGAINST) * size).astype(np.uint8)


def _strengths(record: TemplateRecord, shown: np.ndarray) -> Table:
    flat = record.weights[shown].reshape(len(shown), -1)
    rows = tuple(
        (full(record.classes[i]), float(record.limits[i]), math.sqrt(float((one**2).mean())), float((one > 0).mean()))
        for i, one in zip(shown, flat, strict=True)
    )
    columns = ("class", "weight at full strength", "root mean square weight", "share of weights above 0")
    caption = "A class a row; weights are what a unit of a raw pixel adds to the score"
    return Table(columns, rows, caption, total=len(record.classes))


# -- tables -----------------------------------------------------------------------------------------------------------


def _panels(record: WeightRecord) -> Picture:
    """A small plot a class, on one scale; of two classes one of the difference, which alone decides between them."""
    panels = _contrasts(record)
    reach = 1.08 * max(float(np.abs(values).max()) for _, values in panels) or 1.0
    drawn, rows = [], []
    for title, values in panels:
        order = np.argsort(-np.abs(values), kind="stable")[:_TOP]
        drawn.append(_panel(title, [record.feature_names[i] for i in order], values[order], reach))
        rows += [(full(title), full(record.feature_names[i]), float(values[i])) for i in order]
    many = len(record.feature_names)
    features = f"the {min(_TOP, many)} of {many} features with the largest weights"
    if len(record.classes) == 2:
        first, second = (shortened(name) for name in record.classes)
        what = (
            f"Of two classes the difference of their weights decides: above 0 speaks for {second}, below for {first}."
        )
    else:
        what = "Weights above 0 (circles) speak for a class, below 0 (squares) against it; all classes share one scale."
    drawing = Markup('<div class="multiples">{}</div>').format(Markup("").join(drawn))
    table = Table(("class", "feature", "weight"), tuple(rows), f"For each class {features}")
    return Picture("Largest weights", drawing, f"{what} Shown are {features}.", table, wide=True)


def _contrasts(record: WeightRecord) -> list[tuple[str, np.ndarray]]:
    if len(record.classes) != 2:
        return list(zip(record.classes, record.weights, strict=True))
    first, second = record.classes
    return [(f"{shortened(second, 24)} − {shortened(first, 24)}", record.weights[1] - record.weights[0])]


def _panel(title: str, names: list[str], values: np.ndarray, reach: float) -> Markup:
    words = tuple(f"{shortened(name, 14)}" for name in names)
    if len(set(words)) < len(words):
        words = tuple(f"{i + 1} {word}" for i, word in enumerate(words))
    label = f"{shortened(title)}: " + ", ".join(
        f"{shortened(name, 30)} {value:.3g}" for name, value in zip(names, values, strict=True)
    )
    plot = Plot(
        Linear(-reach, reach, 4), Categories(words[::-1]), height=22 * len(words), label=label, x_title="weight",
        left=max(34, min(112, 14 + 7 * max(map(len, words)))),
    )  # fmt: skip
    plot.rule(x=0.0, dash=0, series="faint")
    for word, name, value in zip(words, names, values, strict=True):
        series, marker = ("s0", "circle") if value > 0 else ("s1", "square")
        plot.line([0.0, value], [word, word], series, width="thick")
        plot.mark(value, [word], series, marker=marker, tip=f"{shortened(name)}: {value:.4g}")
    return Markup('<figure class="small"><figcaption>{}</figcaption>{}</figure>').format(shortened(title), plot.svg())


def _largest(record: WeightRecord, shown: np.ndarray, which: str) -> Table:
    rows = []
    for i in shown:
        order = np.argsort(-np.abs(record.weights[i]), kind="stable")[:_TOLD]
        cells: list[str | float] = [full(record.classes[i])]
        for place in order:
            cells += [full(record.feature_names[place]), float(record.weights[i, place])]
        rows.append(tuple(cells))
    heads = [head for n in range(min(_TOLD, len(record.feature_names))) for head in (f"feature {n + 1}", "weight")]
    caption = f"For each class the features with the largest weights, of {len(record.feature_names)}.{which}"
    return Table(("class", *heads), tuple(rows), caption, sortable=True, total=len(record.classes))

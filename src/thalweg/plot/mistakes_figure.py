"""The picture of the worst mistakes: the examples, what they are taken for, and how surely."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from thalweg.errors import UsageError
from thalweg.fields import check_integer
from thalweg.plot.names import fitting, literal
from thalweg.plot.theme import Theme, themed
from thalweg.report.block import Lacking
from thalweg.report.records.mistakes import Mistake, MistakesRecord, mistakes_record

__all__ = ["mistakes"]

_TILE, _GAP = 1.0, 0.22  # inches
_LINE = 0.145


def mistakes(record_or_case: Any, *, columns: int = 8, dark: bool = False) -> Figure:
    """Draw the images that a model gets most confidently wrong, the most confident first.

    Under each stands: true class → predicted class; the model's probability of the predicted class (for a hinge the
    margin of scores); where the example came from. "label?" marks those whose label may be wrong by the rule of
    `report.records.mistakes`: a probability of at least 0.9, and less than 0.05 for the true class.

    Args:
        record_or_case: what `report.records.mistakes.mistakes_record` returned, or a `diagnostics.Case`.
        columns: images side by side.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError: no images (a table: see the record's ``unusual`` features), no mistakes, or what keeps the record
            from being made.
    """
    check_integer("mistakes", "columns", columns, least=1)
    record, theme = _record(record_or_case), themed(dark)
    shown = [one for one in record.mistakes if one.image is not None]
    if not shown:
        raise UsageError(
            f"no mistake among {record.count} {record.split} examples: there is nothing to draw" if not record.wrong
            else "the examples are no grey or coloured images: look at the record's mistakes as a table"
        )  # fmt: skip
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    width, height = columns * (_TILE + _GAP) + _GAP, rows * (_TILE + 4.6 * _LINE) + 0.4
    width = max(width, 3.6)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))  # in inches: what stands where is known, so nothing can overlap
    for place, one in enumerate(shown):
        row, column = divmod(place, columns)
        _tile(axes, one, _GAP + column * (_TILE + _GAP), height - 0.4 - row * (_TILE + 4.6 * _LINE), theme)
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")
    axes.set_axis_off()
    title = f"{record.wrong:,} of {record.count:,} {record.split} examples wrong; most confidently:"
    literal(axes.text(_GAP, height - 0.25, title, fontsize=9, color=theme.ink))
    return theme.dress(figure)


def _tile(axes: Any, one: Mistake, left: float, top: float, theme: Theme) -> None:
    image = one.image
    assert image is not None
    tall, wide = image.shape[:2]
    across, down = _TILE * wide / max(tall, wide), _TILE * tall / max(tall, wide)
    pixels = image if image.shape[2] == 3 else np.repeat(image, 3, axis=2)
    extent = (left, left + across, top - down, top)
    axes.imshow(pixels, extent=extent, interpolation="nearest")
    half = (_TILE - 0.14) / 2
    sure = f"margin {one.margin:.3g}" if one.probability is None else f"{100 * one.probability:.1f} % sure"
    lines = [
        (f"{fitting(one.true, half, 7)} → {fitting(one.predicted, half, 7)}", theme.ink),
        (sure, theme.ink),
        (fitting(one.source, _TILE + 0.14, 6.5), theme.ink),
    ]
    if one.questionable:
        lines.append(("label?", theme.alarm))
    for line, (words, colour) in enumerate(lines):
        size = 6.5 if line == 2 else 7
        literal(axes.text(left, top - _TILE - (line + 0.9) * _LINE, words, fontsize=size, color=colour))


def _record(record_or_case: Any) -> MistakesRecord:
    from thalweg.diagnostics import Case

    if isinstance(record_or_case, Case):
        record_or_case = mistakes_record(record_or_case)
    if isinstance(record_or_case, Lacking):
        raise UsageError(record_or_case.why)
    if not isinstance(record_or_case, MistakesRecord):
        raise UsageError(
            f"record_or_case is a {type(record_or_case).__name__}; give a diagnostics.Case (diagnostics.make_case(run, "
            "data)) or a MistakesRecord"
        )
    return record_or_case

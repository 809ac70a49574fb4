"""The objective on the plane of a trajectory's principal components, in shades, with the trajectory over it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from contourpy import contour_generator

from thalweg.diagnostics import PlaneRecord
from thalweg.report.block import Picture, Table
from thalweg.report.svg import Linear, Plot, short

__all__ = ["plane_picture", "spaced"]

_BANDS = 7  # of shades: the trajectory must stand out from the darkest
_ROWS = 40
_MARKS = 60


def plane_picture(record: PlaneRecord) -> Picture:
    """Draw the objective as shades with the trajectory over it, an epoch a mark."""
    x, y = (Linear(float(axis[0]), float(axis[-1])) for axis in (record.xs, record.ys))
    first, second = (_percent(share) for share in record.variances)
    summary = _way(record)
    plot = Plot(
        x, y, height=320, label=summary, y_title=f"second principal component ({second})",
        x_title=f"first principal component ({first})", grid=False,
    )  # fmt: skip
    levels = _bands(plot, record)
    plot.line(record.path[:, 0], record.path[:, 1], "ink", width="thick")
    last = len(record.path) - 1
    every = set(spaced(last + 1, _MARKS))
    for epoch, (place, value) in enumerate(zip(record.path, record.path_values, strict=True)):
        if epoch in every or epoch == last:
            marker = "square" if epoch == 0 else "diamond" if epoch == last else "dot"
            series = "s1" if epoch in (0, last) else "ink"
            tip = f"after epoch {epoch}: objective {value:.4g}, {record.errors[epoch]:.2g} off the plane"
            plot.mark(place[0], place[1], series, marker=marker, tip=tip)
    plot.legend("start", "s1", marker="square")
    plot.legend("end", "s1", marker="diamond")
    plot.legend("after each epoch" if last < _MARKS else "after some of the epochs", "ink", marker="dot", dash=0)
    if len(levels):
        words = ", ".join(short(float(f"{level:.3g}")) for level in levels)
        summary += f" The shades grow darker with the objective: they change at {words}."
    rows = tuple(
        (epoch, float(record.path_values[epoch]), float(record.projected_values[epoch]), float(record.errors[epoch]))
        for epoch in spaced(last + 1, _ROWS)
    )
    columns = ("epoch", "objective", "objective on the plane", "distance from the plane, relative")
    caption = "the trajectory: after the epoch, 0 before the first"
    table = Table(columns, rows, caption=caption, total=last + 1)
    return Picture("The objective around the way of training", plot.svg(), summary, table)


def _bands(plot: Plot, record: PlaneRecord) -> np.ndarray:
    """Fill the plane with shades of the objective, each from its level up over the one before; return the levels."""
    values = record.values[np.isfinite(record.values)]
    (x0, x1), (y0, y1) = ((float(axis[0]), float(axis[-1])) for axis in (record.xs, record.ys))
    plot.shape([np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])], 0)
    if not len(values) or values.min() == values.max():
        return np.array([])
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high > 10 * low
    levels = (np.geomspace if log else np.linspace)(low, high, _BANDS + 1)[1:-1]
    generator: Any = contour_generator(
        record.xs, record.ys, np.ma.masked_invalid(record.values), fill_type="OuterCode", line_type="Separate"
    )
    for shade, level in enumerate(levels, 1):
        outlines, codes = generator.filled(level, math.inf)
        rings = [
            ring
            for points, code in zip(outlines, codes, strict=True)
            for ring in np.split(points, np.flatnonzero(code == 1)[1:])
        ]
        plot.shape(rings, shade)
    taken: list[np.ndarray] = [np.stack([plot.x(record.path[:, 0]), plot.y(record.path[:, 1])], axis=1)]
    for level in levels:
        lines = [np.asarray(line) for line in generator.lines(level)]
        for line in lines:
            plot.line(line[:, 0], line[:, 1], "faint", width="thin")
        _name_level(plot, lines, level, taken)
    return levels


def _name_level(plot: Plot, lines: Sequence[np.ndarray], level: float, taken: list[np.ndarray]) -> None:
    """Write a level on its line, where that is farthest from the way and from other words; nowhere without room."""
    if not lines:
        return
    points = np.concatenate(lines)
    places = np.stack([plot.x(points[:, 0]), plot.y(points[:, 1])], axis=1)
    inside = np.all((places > (0.06, 0.05)) & (places < (0.94, 0.95)), axis=1)
    if not inside.any():
        return
    apart = (places[inside][:, None] - np.concatenate(taken)[None]) * (1.0, 1.6)  # words are wider than high
    far = np.linalg.norm(apart, axis=2).min(axis=1)
    best = int(far.argmax())
    if far[best] > 0.13:
        at = points[inside][best]
        plot.text(at[0], at[1], short(float(f"{level:.2g}")), anchor="middle", dy=4)
        taken.append(places[inside][best][None])


def _way(record: PlaneRecord) -> str:
    first, second = record.variances.tolist()
    before = record.errors[:-1]
    notes = "".join(f" Note: {note}." for note in record.notes)
    return (
        "The plane through the last weights that holds most of the way of the weights: of its squared length "
        f"{_percent(first)} along the first axis and {_percent(second)} along the second. The objective fell from "
        f"{record.path_values[0]:.3g} to {record.path_values[-1]:.3g} in {len(record.path) - 1:,} "
        f"epoch{'s' * (len(record.path) > 2)}. Distance of the weights from the plane, relative to that from the end: "
        f"median {np.median(before):.2g}, largest {before.max():.2g}; far from it the shades say little.{notes}"
    )


def _percent(share: float) -> str:
    share = 100 * share
    return f"{share:.0f} %" if 10 <= share < 99.5 else f"{share:.3g} %"


def spaced(count: int, most: int) -> list[int]:
    """Return at most ``most`` places out of 0 ... count − 1, evenly spaced, both ends included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()

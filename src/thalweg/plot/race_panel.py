"""One panel of a race: the landscape's contour lines, and trajectories that stop at its frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from thalweg.errors import UsageError
from thalweg.landscapes.records import STATUSES, Race
from thalweg.landscapes.wrapped import Noisy
from thalweg.plot.field_figure import Scale, sides
from thalweg.plot.field_values import Bounds, FieldRecord, field_record
from thalweg.plot.theme import LINES, Theme

__all__ = ["Track", "backdrop", "checked_start", "draw_backdrop", "draw_track", "last_step", "look", "plain", "track"]

_FAR = 50.0  # frames: what lies farther out is drawn as if there, for Agg draws no coordinate of 1e300
# A tint for the low ground, fading into the paper: trajectories must be the strongest thing in the panel.
_TINTS = {False: ("#c9d6e4", "#f7f9fb"), True: ("#31404f", "#181c20")}


@dataclass(frozen=True, eq=False)
class Track:
    """One racer's way as a panel shows it.

    ``points`` (n, 2) are the positions until it ended or left the frame for good, ``end`` is where its end marker
    stands: the last of them; ``fate`` is "running", "converged" or "diverged",
    ``outside`` whether the last position is not within the frame.
    """

    name: str
    points: np.ndarray
    end: tuple[float, float]
    fate: str
    outside: bool
    value: float
    steps: int


def look(place: int) -> tuple[Any, str]:
    """Return the line style and the marker of the racer at a place: of racers with one colour, no two agree."""
    return LINES[(place + place // len(LINES)) % len(LINES)]


def plain(name: str) -> str:
    """Return a title in which no part is read as mathematics."""
    return name.replace("$", r"\$")


def checked_start(record: Race, start: Any) -> int:
    """Return the place of a start, counted from the end where it is negative; UsageError where there is none."""
    count = record.positions.shape[1]
    if not isinstance(start, (int, np.integer)) or isinstance(start, bool) or not -count <= start < count:
        raise UsageError(f"start is {start!r}; give a whole number from 0 to {count - 1}: the race has {count} starts")
    return int(start) % count


def last_step(record: Race, racer: int, start: int) -> int:
    """Return the last step that is drawn.

    The step by which a racer diverged may lead right through the middle: where it had left the bounds before, that
    step is left out.
    """
    ended = int(record.ended[racer, start])
    if STATUSES[int(record.status[racer, start])] != "diverged" or ended < 1:
        return ended
    low, high = np.array(record.landscape.bounds).T
    before = record.positions[racer, start, ended - 1]
    return ended if ((before >= low) & (before <= high)).all() else ended - 1


def backdrop(record: Race, start: int) -> FieldRecord:
    """Return the landscape on a grid: its own bounds, stretched where the start lies outside."""
    bounds: list[tuple[float, float]] = []
    for (low, high), place in zip(record.landscape.bounds, record.positions[0, start, 0], strict=True):
        margin = 0.05 * (high - low)
        bounds.append((min(low, float(place) - margin), max(high, float(place) + margin)))
    landscape = record.landscape
    if not isinstance(landscape, Noisy):
        return field_record(landscape, bounds=(bounds[0], bounds[1]))
    field = field_record(landscape.landscape, bounds=(bounds[0], bounds[1]))
    return replace(field, name=f"{field.name}, gradient noise {landscape.scale:g}")


def draw_backdrop(axes: Axes, field: FieldRecord, theme: Theme, *, dark: bool) -> None:
    """Draw contour lines over a faint tint of the low ground, and the known minima as stars."""
    scale = Scale(field.values)
    if not scale.flat:
        tint = LinearSegmentedColormap.from_list("tint", _TINTS[dark])
        levels = np.unique([field.values.min(), *scale.levels, field.values.max()])
        # Rasterised: as vectors, the ground would be most of an SVG's megabytes.
        ground = axes.contourf(field.xs, field.ys, field.values, levels=levels, norm=scale.norm, cmap=tint, zorder=0)
        ground.set_rasterized(True)
        lines = "#aab4bf" if not dark else "#4f5b67"
        contours = axes.contour(
            field.xs,
            field.ys,
            field.values,
            levels=scale.levels,
            colors=lines,
            linestyles="solid",
            linewidths=0.6,
            zorder=1,
        )
        contours.set_rasterized(True)
    for x, y in field.minima:
        axes.plot(x, y, "*", color=theme.ink, markeredgecolor=theme.paper, markersize=9.5, zorder=7.5)
    wide, high = sides(field)
    axes.set_box_aspect(high / wide)
    axes.set_xlim(field.xs[0], field.xs[-1])
    axes.set_ylim(field.ys[0], field.ys[-1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))


def track(record: Race, racer: int, start: int, frame: Bounds) -> Track:
    """Return a racer's way from a start, for a panel with this frame."""
    taken = int(record.ended[racer, start])
    points = np.asarray(record.positions[racer, start, : last_step(record, racer, start) + 1], np.float64)
    low, high = np.array(frame).T
    middle, reach = (low + high) / 2, _FAR * float(np.linalg.norm(high - low))
    away = np.hypot(*(points - middle).T)
    shrink = np.minimum(1.0, reach / np.where(np.isfinite(away) & (away > 0), away, reach))
    points = middle + (points - middle) * shrink[:, None]
    points = points[np.isfinite(points).all(axis=1)]
    inside = ((points >= low) & (points <= high)).all(axis=1)
    last = int(np.flatnonzero(inside)[-1]) if inside.any() else 0
    outside = last < len(points) - 1
    end = _crossing(points[last], points[last + 1], low, high) if outside else points[last]
    return Track(
        name=record.names[racer],
        points=np.vstack([points[: last + 1], end]) if outside else points,
        end=(float(end[0]), float(end[1])),
        fate=STATUSES[int(record.status[racer, start])],
        outside=outside,
        value=float(record.values[racer, start, taken]),
        steps=taken,
    )


def _crossing(inner: np.ndarray, outer: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return where the segment from a point within the frame to one outside crosses it."""
    step = outer - inner
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(step > 0, (high - inner) / step, np.where(step < 0, (low - inner) / step, np.inf))
    return inner + min(float(shares.min()), 1.0) * step


def draw_track(axes: Axes, way: Track, theme: Theme, place: int, *, word: bool = True) -> None:
    """Draw a racer's way in its colour and line style, a ring at its start, its marker (or a cross) at its end."""
    colour, (style, marker) = theme.colour(place), look(place)
    dots = marker if len(way.points) <= 25 else ""
    axes.plot(*way.points.T, color=colour, linestyle=style, linewidth=1.6, zorder=4, marker=dots, markersize=2.6)
    axes.plot(
        *way.points[0], "o", color=theme.paper, markeredgecolor=theme.ink, markersize=6, markeredgewidth=1.4, zorder=6
    )
    if way.fate != "diverged" and not way.outside:
        axes.plot(*way.end, marker, color=colour, markeredgecolor=theme.paper, markersize=8, zorder=7)
        return
    alarm = theme.alarm if way.fate == "diverged" else colour
    sign = "X" if way.fate == "diverged" else marker
    axes.plot(*way.end, sign, color=alarm, markeredgecolor=theme.paper, markersize=10, zorder=8, clip_on=False)
    if word:
        _word(axes, way, theme, alarm)


def _word(axes: Axes, way: Track, theme: Theme, colour: str) -> None:
    """Write how it ended beside the end marker, on the side of the panel's middle."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    across = -1 if way.end[0] > (left + right) / 2 else 1
    down = -1 if way.end[1] > (bottom + top) / 2 else 1
    axes.annotate(
        "diverged" if way.fate == "diverged" else "leaves",
        way.end,
        xytext=(9 * across, 9 * down),
        textcoords="offset points",
        ha="left" if across > 0 else "right",
        va="bottom" if down > 0 else "top",
        fontsize=9,
        color=colour,
        zorder=9,
        bbox={"boxstyle": "round,pad=0.2", "facecolor": theme.paper, "edgecolor": "none", "alpha": 0.85},
    )

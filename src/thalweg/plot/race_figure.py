"""Pictures of a race: every racer's trajectory on the landscape's contour lines."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from thalweg.errors import UsageError
from thalweg.landscapes.records import Race
from thalweg.plot.field_values import FieldRecord
from thalweg.plot.names import fitting, literal
from thalweg.plot.race_panel import Track, backdrop, checked_start, draw_backdrop, draw_track, look, plain, track
from thalweg.plot.theme import Theme, themed

__all__ = ["race", "race_story"]

_SIDE = 2.7  # inches of a panel: at half size its title still reads
_COLUMNS = 4


def race(record: Race, *, start: int = 0, together: bool = False, dark: bool = False) -> Figure:
    """Draw each racer's trajectory on the landscape: a panel a racer, all with the same axes and contour lines.

    A ring marks the start, the racer's own marker its end, a star each known minimum. Contour levels are those
    of `field`: evenly spaced, or by a power where most values lie near the lowest. A way that leaves the frame is
    cut there and marked, with a cross where the race diverged. Titles say where f ended, and after how many steps.

    Args:
        record: a race; one of its starts is drawn.
        start: which start, 0 for the first.
        together: all racers in one panel with a legend; by default one small panel each, as ways that lie
            over each other hide the differences.
        dark: dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError: no such start, or a landscape whose values are not finite within its bounds.
    """
    start, theme = checked_start(record, start), themed(dark)
    field = backdrop(record, start)
    ways = _ways(record, start, field)
    if together:
        return _one_panel(record, field, ways, theme, dark)
    columns = min(_COLUMNS, len(ways))
    rows = -(-len(ways) // columns)
    columns = -(-len(ways) // rows)  # 5 racers: 3 + 2, not 4 + 1
    figure, panels = _grid(rows, columns, field)
    for place, (axes, way) in enumerate(zip(panels.flat, ways, strict=False)):
        _panel(axes, field, way, place, theme, dark)
    for axes in panels.flat[len(ways) :]:
        axes.remove()
    _outer_labels(panels, len(ways))
    figure.suptitle(plain(field.name))
    _key(figure, theme, field)
    return theme.dress(figure)


def race_story(
    records: Sequence[Race], *, start: int = 0, titles: Sequence[str] | None = None, dark: bool = False
) -> Figure:
    """Draw races of the same racers under each other: a row a landscape, a column a racer.

    Made for what each optimizer does at a saddle and in a narrow valley; any landscapes will do.

    Args:
        records: races whose racers have the same names, in the same order.
        start: which start of each race, 0 for the first.
        titles: what stands beside each row; by default the landscapes' names.
        dark: dark paper.

    Raises:
        UsageError: no race, races of different racers, titles of another number, or what `race` refuses.
    """
    records = _checked_records(records)
    names = [record.landscape.name for record in records] if titles is None else list(titles)
    if len(names) != len(records):
        raise UsageError(f"titles holds {len(names)} for {len(records)} races; give one each")
    theme, columns = themed(dark), len(records[0].names)
    figure = Figure(figsize=(_SIDE * columns + 0.6, (_SIDE + 0.8) * len(records) + 0.6), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12)  # type: ignore[union-attr, call-arg]
    panels: Any = figure.subplots(len(records), columns, squeeze=False, sharex="row", sharey="row")
    for row, (record, name) in enumerate(zip(records, names, strict=True)):
        place = checked_start(record, start)
        field = backdrop(record, place)
        for racer, way in enumerate(_ways(record, place, field)):
            _panel(panels[row, racer], field, way, racer, theme, dark)
            panels[row, racer].set_xlabel("x")
        literal(panels[row, 0].set_ylabel(f"{fitting(name, _SIDE, 11)}\n\ny"))
    _key(figure, theme, field)
    return theme.dress(figure)


def _checked_records(records: Any) -> list[Race]:
    found = list(records) if isinstance(records, Sequence) else [records]
    if not found or not all(isinstance(record, Race) for record in found):
        raise UsageError("records holds no races, or something else; give a list of races")
    for record in found[1:]:
        if record.names != found[0].names:
            raise UsageError(
                f"records holds races of different racers: {', '.join(found[0].names)} and {', '.join(record.names)}; "
                "run both with the same list"
            )
    return found


def _ways(record: Race, start: int, field: FieldRecord) -> list[Track]:
    frame = ((field.xs[0], field.xs[-1]), (field.ys[0], field.ys[-1]))
    return [track(record, racer, start, frame) for racer in range(len(record.names))]


def _grid(rows: int, columns: int, field: FieldRecord) -> tuple[Figure, Any]:
    wide, high = np.ptp(field.xs), np.ptp(field.ys)
    share = float(np.clip(high / wide, 0.5, 1.5))
    size = (_SIDE * columns + 0.5, (_SIDE * share + 0.55) * rows + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)


def _panel(axes: Any, field: FieldRecord, way: Track, place: int, theme: Theme, dark: bool) -> None:
    draw_backdrop(axes, field, theme, dark=dark)
    draw_track(axes, way, theme, place)
    literal(axes.set_title(f"{fitting(way.name, _SIDE - 0.2, 11)}\n{_outcome(way)}", fontsize=9.5, pad=9))


def _outcome(way: Track) -> str:
    if way.fate == "diverged":
        return f"diverged at step {way.steps:,}"
    after = f"converged in {way.steps:,}" if way.fate == "converged" else f"after {way.steps:,}"
    return f"f = {way.value:.3g}, {after} steps"


def _outer_labels(panels: Any, count: int) -> None:
    """Label the left and the lowest panels only; above a place left empty the panel is the lowest."""
    rows, columns = panels.shape
    for row, column in itertools.product(range(rows), range(columns)):
        if row * columns + column >= count:
            continue
        axes = panels[row, column]
        if column == 0:
            axes.set_ylabel("y")
        if (row + 1) * columns + column >= count:
            axes.set_xlabel("x")
            axes.tick_params(labelbottom=True)


def _key(figure: Figure, theme: Theme, field: FieldRecord) -> None:
    ring = Line2D(
        [],
        [],
        linestyle="",
        marker="o",
        color=theme.paper,
        markeredgecolor=theme.ink,
        markeredgewidth=1.4,
        label="start",
    )
    handles = [ring, Line2D([], [], linestyle="", marker="o", color=theme.ink, label="end (each racer's own marker)")]
    if field.minima:
        handles.append(Line2D([], [], linestyle="", marker="*", markersize=10, color=theme.ink, label="known minimum"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)


def _one_panel(record: Race, field: FieldRecord, ways: list[Track], theme: Theme, dark: bool) -> Figure:
    figure = Figure(figsize=(7.6, 5.2), layout="constrained")
    axes: Any = figure.add_subplot()
    draw_backdrop(axes, field, theme, dark=dark)
    handles = []
    for place, way in enumerate(ways):
        draw_track(axes, way, theme, place, word=False)
        style, marker = look(place)
        label = f"{fitting(way.name, 2.2, 9)}\n{_outcome(way)}"
        handles.append(Line2D([], [], color=theme.colour(place), linestyle=style, marker=marker, label=label))
    axes.set(xlabel="x", ylabel="y", title=plain(field.name))
    legend = figure.legend(handles=handles, loc="outside right upper", fontsize=9, frameon=False, labelspacing=0.9)
    for text in legend.get_texts():
        literal(text)
    return theme.dress(figure)

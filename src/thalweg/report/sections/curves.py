"""The section of the loss curves: training loss, validation loss and accuracy over one axis of epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from thalweg.report.block import Lacking, Picture, Section, Table
from thalweg.report.records.curves import PANELS, Curve, CurvesRecord, Range
from thalweg.report.svg import MARKERS, Linear, Plot, Scale, scale_for

__all__ = ["curves_section"]

_HEIGHTS = {"data_loss": 220, "validation_loss": 220, "validation_accuracy": 170}
_LABEL = 13  # pixels from one label to the next
_MANY = 150  # curves
_ROOM = 0.17  # of the epochs, for the labels at the lines' ends


@dataclass(frozen=True)
class _Epochs(Linear):
    """Whole epochs; the ticks end where the training does, not where the labels do."""

    last: int = 1

    def ticks(self) -> list[tuple[float, str]]:
        step = max(1, round(super().ticks()[1][0] - super().ticks()[0][0])) if self.last > 2 else 1
        return [(float(e), str(e)) for e in range(1, self.last + 1) if e == 1 or e % step == 0]


def curves_section(record: CurvesRecord | Lacking) -> Section:
    """Draw the loss curves of a run, or say why there are none."""
    title, short = "Loss curves", "Curves"
    if isinstance(record, Lacking):
        return Section("curves", title, (record,), short=short)
    picture = Picture(
        "Loss and accuracy over the epochs",
        _drawing(record),
        " ".join([record.summary, *record.notes]),
        _table(record),
        wide=True,
    )
    lead = "The selected trial and the best of the others are in colour, all others grey. " if record.coloured else ""
    lead += (
        "The training loss is the mean "
        "over an epoch's minibatches, each at the weights it met, without the penalty; so it lags behind, and the "
        "validation loss may lie below it."
    )
    return Section("curves", title, (picture,), lead=lead, short=short)


def _drawing(record: CurvesRecord) -> Markup:
    span = max(1, record.epochs - 1)
    x = _Epochs(1 - 0.02 * span, record.epochs + _ROOM * span, last=record.epochs)
    names = [name for name in PANELS if name in record.ranges]
    plots = []
    for name in names:
        last = name == names[-1]
        plot = Plot(
            x, _scale(name, record.ranges[name]), height=_HEIGHTS[name], y_title=_title(name, record.ranges[name]),
            x_title="epoch" if last else "", x_ticks=last,
            label=f"{PANELS[name].capitalize()} by epoch. {record.summary}",
        )  # fmt: skip
        if name == names[0]:
            _legend(plot, record)
        _panel(plot, record, name)
        plots.append(plot.svg())
    return Markup("").join(plots)


def _scale(name: str, one: Range) -> Scale:
    whole = scale_for([one.low, one.high], log=one.log, margin=0.07)
    if name == "validation_accuracy":
        return Linear(max(0.0, whole.low), min(1.0, whole.high))
    return whole


def _title(name: str, one: Range) -> str:
    return PANELS[name] + (", logarithmic" if one.log else "")


def _legend(plot: Plot, record: CurvesRecord) -> None:
    for curve in record.coloured:
        words = curve.words + (" (selected)" if curve.trial == record.selected else "")
        plot.legend(words, _series(curve), marker=_marker(curve), dash=(curve.place or 0) % 6)
    others = len(record.curves) - len(record.coloured)
    if others:
        plot.legend(f"{others:,} other{'s' * (others > 1)}", _grey(record), dash=0)
    if record.diverged:
        plot.legend(f"diverged: last finite epoch ({len(record.diverged):,})", "alarm", marker="cross")


def _series(curve: Curve, grey: str = "grey") -> str:
    return grey if curve.place is None else f"s{curve.place % 6}"


def _grey(record: CurvesRecord) -> str:
    """Half transparent lines show where they are many; hundreds would come out black."""
    return "grey" if len(record.curves) <= _MANY else "faint"


def _marker(curve: Curve) -> str:
    return MARKERS[(curve.place or 0) % len(MARKERS)]


def _panel(plot: Plot, record: CurvesRecord, name: str) -> None:
    high = record.ranges[name].high
    # The grey ones first, and of the others the first one last, so that it lies on top.
    for curve in sorted(record.curves, key=lambda c: math.inf if c.place is None else c.place, reverse=True):
        values, series = curve.values[name], _series(curve, _grey(record))
        dash, width = (curve.place or 0) % 6, "thin" if curve.place is None else "thick" * (curve.place == 0)
        plot.line(curve.epochs, values, series, dash=dash, tip=curve.words, trial=curve.trial, width=width)
        if len(curve.epochs) == 1 and values[0] <= high:
            plot.mark(1, values[0], series, marker="dot", tip=curve.words, trial=curve.trial)
    for curve in record.diverged:
        _cross(plot, curve, name, high)
    _ends(plot, [curve for curve in record.coloured if curve.left is None], name, high)
    for curve in record.coloured:
        if curve.trial == record.selected and curve.kept_epoch:
            _kept(plot, curve, name, high)


def _cross(plot: Plot, curve: Curve, name: str, high: float) -> None:
    """Mark where a diverged trial left: its last finite value, at the top where that is off the scale."""
    last = max(curve.left or 0, 1)
    at = [value for epoch, value in zip(curve.epochs, curve.values[name], strict=True) if epoch == last]
    value = at[0] if at and math.isfinite(at[0]) else high
    where = f"left the finite numbers after epoch {curve.left}" if curve.left else "no epoch with a finite loss"
    plot.mark(
        last, min(value, high), "alarm", marker="cross", tip=f"{curve.words}: {where}", trial=curve.trial
    )  # fmt: skip


def _ends(plot: Plot, curves: Sequence[Curve], name: str, high: float) -> None:
    """Write each trial's number at its line's end, no two over each other."""
    ends = []
    for curve in curves:
        value = float(curve.values[name][-1])
        if math.isfinite(value):
            value = min(value, high)
            ends.append((plot.height * (1 - float(plot.y(value))), value, curve))
            plot.mark(
                curve.epochs[-1], value, _series(curve), marker=_marker(curve), tip=curve.words, trial=curve.trial
            )
    ends.sort(key=lambda one: one[0])
    places = _apart([down for down, _, _ in ends], plot.height - 6)
    for place, (down, value, curve) in zip(places, ends, strict=True):
        plot.text(
            curve.epochs[-1], value, f"trial {curve.trial}", series=_series(curve), dx=12, dy=round(place - down) + 4
        )


def _apart(wanted: Sequence[float], height: int) -> list[float]:
    """Move places, sorted downwards, until neighbours have room for a line of letters, within the height."""
    found: list[float] = []
    for place in wanted:
        found.append(max(place, found[-1] + _LABEL) if found else place)
    over = max(0.0, found[-1] - height) if found else 0.0
    limit = math.inf
    for i in range(len(found) - 1, -1, -1):
        found[i] = min(found[i] - (over if i == len(found) - 1 else 0), limit)
        limit = found[i] - _LABEL
    return found


def _kept(plot: Plot, curve: Curve, name: str, high: float) -> None:
    plot.rule(x=curve.kept_epoch, series="faint", dash=1)
    value = float(curve.values[name][curve.epochs == curve.kept_epoch][0])
    tip = f"trial {curve.trial}: epoch {curve.kept_epoch}, whose weights are kept; {PANELS[name]} {value:.4g}"
    if math.isfinite(value):
        plot.mark(curve.kept_epoch, min(value, high), "ink", marker="ring", tip=tip, trial=curve.trial)


def _table(record: CurvesRecord) -> Table:
    return Table(
        ("trial", "epoch", *PANELS.values()),
        tuple((*row[:2], *(None if math.isnan(value) else value for value in row[2:])) for row in record.table),
        caption="a row an epoch of each trial in colour; all epochs are in history.npz of the run folder",
        marks=tuple(row[0] for row in record.table),
        strong=next(
            (
                place
                for place, row in enumerate(record.table)
                for curve in record.coloured[:1]
                if row[0] == record.selected == curve.trial and row[1] == curve.kept_epoch
            ),
            None,
        ),
    )

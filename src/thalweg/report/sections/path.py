"""The section of a penalty path: accuracy, losses, sizes and certificates against the strength, strongest first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from thalweg.report.block import Lacking, Note, Part, Picture, Section, Table
from thalweg.report.records.strengths import StrengthSeries, StrengthsRecord, shown_rows
from thalweg.report.sections.naming import shortened
from thalweg.report.svg import MARKERS, Categories, Log, Plot, Scale, scale_for, short

__all__ = ["path_section"]

_LEAST = 1e-4  # of the tolerance: smaller bounds are drawn at the bottom, what they are is of no use to anyone
_ROWS = 30  # of the table of weights
_FACTOR = 5.0  # an axis goes by factors where its values span more than this


@dataclass(frozen=True)
class _Strongest(Log):
    """A logarithmic axis that runs downwards: the strongest penalty at its left."""

    def __call__(self, values: object) -> np.ndarray:
        return 1 - super().__call__(values)


def path_section(record: StrengthsRecord | Lacking) -> Section:
    """Draw a penalty path, or say why there is none."""
    title, short_title = "Penalty strengths", "Strengths"
    if isinstance(record, Lacking):
        return Section("path", title, (record,), short=short_title)
    parts: list[Part] = [_choice(record), _proof(record)]
    if record.lines:
        parts.append(_weights(record))
    if record.notes:
        parts.append(Note(record.notes[0], "warning", more=record.notes[1:]))
    lead = f"{_points(record)} The penalty grows weaker from left to right."
    return Section("path", title, tuple(parts), lead=lead, short=short_title)


def _points(record: StrengthsRecord) -> str:
    """What the points are, and of how many of them it is proved that they are optima."""
    count, certified = _counts(record)
    near = f"certified to lie within {short(record.tolerance)} of the minimum, as a share of the objective"
    if certified == count and not record.left_out:
        return f"Each point is an optimum: a fit on all training examples that is {near}."
    crosses = _crosses(record)
    marked = f"; crosses are {crosses}" if crosses else ""
    return f"Each point is a fit on all training examples: {certified:,} of {count:,} are {near}{marked}."


def _counts(record: StrengthsRecord) -> tuple[int, int]:
    """How many solutions there are, and how many are certified."""
    return (
        sum(len(series.numbers) for series in record.series),
        sum(int(series.certified.sum()) for series in record.series),
    )


def _crossed(record: StrengthsRecord, series: StrengthSeries, place: int) -> bool:
    """Whether a solution is drawn as a cross: it is not certified, or was left out of the choice (for a fold, say)."""
    return series.numbers[place] in record.left_out or not series.certified[place]


def _crosses(record: StrengthsRecord) -> str:
    """What the crosses are, in words; "" where there are none."""
    open_ones = {n for s in record.series for n, sure in zip(s.numbers, s.certified.tolist(), strict=True) if not sure}
    words = ["not certified"] * bool(open_ones)
    if record.left_out:
        words.append("left out of the choice")
    # Where the two are the same solutions, both words hold of each; elsewhere one of them does.
    return (" and " if open_ones == {*record.left_out} else " or ").join(words)


def _axis(record: StrengthsRecord) -> _Strongest:
    whole = scale_for([s for series in record.series for s in series.strengths], log=True)
    return _Strongest(whole.low, whole.high)


def _choice(record: StrengthsRecord) -> Picture:
    panels: list[Callable[[StrengthsRecord, bool], Plot]] = []
    if any(np.isfinite(series.accuracies).any() for series in record.series):
        panels.append(_accuracies)
    panels += [_losses, _sizes]
    plots = [panel(record, i == len(panels) - 1).svg() for i, panel in enumerate(panels)]
    if record.c_times is not None:
        plots.append(_c_axis(record).svg())
    return Picture(
        "Accuracy, loss and size by penalty strength", Markup("").join(plots), record.summary, _table(record), wide=True
    )


def _plot(record: StrengthsRecord, y: Scale, last: bool, **options: object) -> Plot:
    x_title = "penalty strength, the strongest at the left" if last else ""
    return Plot(_axis(record), y, x_title=x_title, x_ticks=last, left=58, **options)  # type: ignore[arg-type]


def _accuracies(record: StrengthsRecord, last: bool) -> Plot:
    ends = [v for s in record.series for v in (*s.accuracies, *(s.accuracies - s.errors), *(s.accuracies + s.errors))]
    plot = _plot(
        record, scale_for(ends, margin=0.12), last, height=220, label=f"Accuracy by strength. {record.summary}",
        y_title=f"accuracy over {record.folds} folds, ± one standard error",
    )  # fmt: skip
    for i, series in enumerate(record.series):
        plot.legend(shortened(series.name, 60), f"s{i % 6}", marker=MARKERS[i % 6], dash=i % 6)
    _crosses_legend(plot, record)
    for i, series in enumerate(record.series):
        plot.area(series.strengths, series.accuracies - series.errors, series.accuracies + series.errors, f"s{i % 6}")
        plot.line(series.strengths, series.accuracies, f"s{i % 6}", dash=i % 6)
    _marks(plot, record, lambda series: series.accuracies)
    for number, words in _named(record):
        i, place = record.place(number)
        series = record.series[i]
        at = (series.strengths[place], series.accuracies[place])
        plot.mark(*at, "ink", marker="ring")
        # One above and one below: on a phone they stand near each other. At the left's end words run to the right.
        near_left, above = float(plot.x(at[0])) < 0.25, number == record.best
        plot.text(*at, words, anchor="start" if near_left else "middle", dx=-6 * near_left, dy=-13 if above else 22)
    return plot


def _named(record: StrengthsRecord) -> list[tuple[int, str]]:
    """The solutions to name in the picture, each once, with their parts in the choice."""
    if record.best is None or record.one_standard_error is None:
        return []
    names = {record.best: "best"}
    names[record.one_standard_error] = (
        "best, and strongest within one standard error"
        if record.best == record.one_standard_error
        else "one standard error"
    )
    return [(n, f"{words} (chosen)" if n == record.chosen else words) for n, words in names.items()]


def _losses(record: StrengthsRecord, last: bool) -> Plot:
    values = [v for s in record.series for v in (*s.losses, *s.values)]
    log = _by_factors(values)
    crossed = any(np.isfinite(s.losses).any() for s in record.series)
    title = ("validation loss, and " if crossed else "") + "training objective (loss and penalty)"
    plot = _plot(
        record, scale_for(values, log=log), last, height=170, y_title=title + ", logarithmic" * log,
        label="Losses by strength. " + record.summary,
    )  # fmt: skip
    if crossed:
        plot.legend("validation loss", "ink", marker="circle", dash=0)
    plot.legend("training objective", "ink", dash=3)
    if not crossed:
        _crosses_legend(plot, record)  # no picture of accuracies above says it
    for i, series in enumerate(record.series):
        plot.line(series.strengths, series.values, f"s{i % 6}", dash=3)
        plot.line(series.strengths, series.losses, f"s{i % 6}", dash=0)
    _marks(plot, record, lambda series: series.losses if crossed else series.values)
    return plot


def _sizes(record: StrengthsRecord, last: bool) -> Plot:
    sparse = record.penalty != "l2"
    values = [float(v) for s in record.series for v in (s.nonzeros if sparse else s.norms)]
    log = not sparse and _by_factors(values)
    title = "weights other than 0" if sparse else "norm of the weights" + ", logarithmic" * log
    scale = scale_for(values, log=log, include=[0.0] if sparse else [])
    plot = _plot(record, scale, last, height=150, y_title=title, label=f"{title.capitalize()} by strength.")
    for i, series in enumerate(record.series):
        plot.line(series.strengths, series.nonzeros if sparse else series.norms, f"s{i % 6}", dash=i % 6)
    _marks(plot, record, lambda series: series.nonzeros if sparse else series.norms)
    return plot


def _c_axis(record: StrengthsRecord) -> Plot:
    """Nothing but a second axis below: the same places as scikit-learn's C, which grows as the strength falls."""
    assert record.c_times is not None
    x = _axis(record)
    return Plot(
        Log(record.c_times / x.high, record.c_times / x.low), Categories(()), height=2, left=58,
        x_title="the same as scikit-learn's C", label="",
    )  # fmt: skip


def _crosses_legend(plot: Plot, record: StrengthsRecord) -> None:
    count = sum(_crossed(record, series, place) for series in record.series for place in range(len(series.numbers)))
    if count:
        plot.legend(f"{_crosses(record)} ({count:,})", "alarm", marker="cross")


def _marks(plot: Plot, record: StrengthsRecord, values: Callable[[StrengthSeries], np.ndarray]) -> None:
    for i, series in enumerate(record.series):
        for place, value in enumerate(values(series).tolist()):
            out = _crossed(record, series, place)
            plot.mark(
                series.strengths[place], value, "alarm" if out else f"s{i % 6}",
                marker="cross" if out else MARKERS[i % 6], tip=_tip(record, series, place),
            )  # fmt: skip


def _tip(record: StrengthsRecord, series: StrengthSeries, place: int) -> str:
    parts = [f"strength {series.strengths[place]:.3g}"]
    if math.isfinite(series.accuracies[place]):
        parts.append(f"accuracy {series.accuracies[place]:.4f} ± {series.errors[place]:.4f}")
    if record.penalty != "l2":
        parts.append(f"{series.nonzeros[place]} weights")
    parts.append(f"bound {series.bounds[place]:.1e}, {series.statuses[place]}")
    return f"{shortened(series.name, 60)}: {', '.join(parts)}"


def _proof(record: StrengthsRecord) -> Picture:
    """The relative bounds, on an axis by factors: what is next to 0 or infinite stands at its ends."""
    levels = [record.tolerance, *([] if record.limit is None or not record.folds else [record.limit])]
    bounds = np.concatenate([np.concatenate([s.bounds, s.worst_bounds]) for s in record.series])
    inside = bounds[np.isfinite(bounds) & (bounds > _LEAST * record.tolerance)]
    y = scale_for(inside, log=True, include=[value for one in levels for value in (one / 3, one * 3)])
    plot = _plot(
        record,
        y,
        True,
        height=230,
        y_title="relative bound on what is left to gain, logarithmic",
        label=_proved(record),
    )
    known = [
        (np.clip(np.where(np.isnan(b), np.inf, b), y.low, y.high) for b in (s.bounds, s.worst_bounds))
        for s in record.series
    ]
    plot.legend("of the solution itself", "ink", marker="circle", dash=0)
    if record.folds:
        plot.legend("the largest, folds included", "ink", dash=3)
    _crosses_legend(plot, record)
    for i, (series, (own, worst)) in enumerate(zip(record.series, known, strict=True)):
        plot.line(series.strengths, own, f"s{i % 6}", dash=0)
        if record.folds:
            plot.line(series.strengths, worst, f"s{i % 6}", dash=3)
        for place, value in enumerate(own.tolist()):
            out = _crossed(record, series, place)
            plot.mark(
                series.strengths[place], value, "alarm" if out else f"s{i % 6}",
                marker="cross" if out else MARKERS[i % 6], tip=_tip(record, series, place),
            )  # fmt: skip
    plot.rule(y=levels[0], text=f"tolerance {short(levels[0])}")
    if len(levels) > 1 and levels[1] > levels[0]:
        plot.rule(y=levels[1], text=f"limit for the choice {short(levels[1])}", dash=3)
    return Picture(
        "What is proved of each solution", plot.svg(), _proved(record), _proof_table(record), wide=not record.lines
    )


def _proved(record: StrengthsRecord) -> str:
    count, certified = _counts(record)
    text = (
        f"No weights at all have an objective lower than (1 − bound) times the solution's. {certified:,} of {count:,} "
        f"solutions are certified to the tolerance {short(record.tolerance)}"
    )
    if record.limit is None:
        return text + "."
    out = len(record.left_out)
    why = "none was left out of the choice, for none has a bound above"
    if out:
        why = f"{out:,} {'was' if out == 1 else 'were'} left out of the choice, for a bound, or a fold's, lies above"
    return f"{text}; {why} {short(record.limit)}."


def _proof_table(record: StrengthsRecord) -> Table:
    rows = tuple(
        (
            shortened(series.name, 60), len(series.numbers), int(series.certified.sum()),
            len(set(series.numbers) & set(record.left_out)), float(np.median(series.bounds)),
            float(series.bounds.max()), float(series.worst_bounds.max()),
        )
        for series in record.series
    )  # fmt: skip
    columns = ("series", "solutions", "certified", "left out", "median bound", "largest bound", "largest with folds")
    return Table(columns, rows, caption="a row a series; each solution's bounds are in the table above")


def _weights(record: StrengthsRecord) -> Picture:
    series = record.series[record.followed]
    values = [v for line in record.lines for v in line.weights]
    plot = _plot(record, scale_for(values, include=[0.0]), True, height=230, y_title="weight", label="")
    for i, line in enumerate(record.lines):
        words = f"{shortened(line.feature, 24)}, class {shortened(line.class_name, 24)}"
        dash = (i + i // 6) % 6  # the second six have the same colours, and other dashes
        plot.legend(words, f"s{i % 6}", dash=dash, marker=MARKERS[dash])
        plot.line(series.strengths, line.weights, f"s{i % 6}", dash=dash, tip=words)
        plot.mark(series.strengths[-1], line.weights[-1], f"s{i % 6}", marker=MARKERS[dash], tip=words)
    at = record.chosen
    if at is not None:
        plot.rule(x=series.strengths[record.place(at)[1]], text="chosen")
    first = record.lines[0]
    where = "the chosen solution" if at is not None else "the weakest penalty"
    plot.label = (
        f"The {len(record.lines)} largest weights at {where}, along the path: the largest is that of "
        f"{shortened(first.feature)} for class {shortened(first.class_name)}. A weight that leaves 0 at a stronger "
        "penalty matters more; sizes compare where the features have one scale."
    )
    places = np.unique(np.linspace(0, len(series.strengths) - 1, min(_ROWS, len(series.strengths))).round().astype(int))
    table = Table(
        ("strength", *(f"{shortened(ln.feature, 24)}, class {shortened(ln.class_name, 24)}" for ln in record.lines)),
        tuple((float(series.strengths[i]), *(float(ln.weights[i]) for ln in record.lines)) for i in places.tolist()),
        caption="the weights by strength",
        total=len(series.strengths),
    )
    return Picture("Weights along the path", plot.svg(), plot.label, table)


def _by_factors(values: Iterable[float]) -> bool:
    found = np.array([v for v in values if math.isfinite(v)])
    return bool(len(found) and found.min() > 0 and found.max() > _FACTOR * found.min())


def _table(record: StrengthsRecord) -> Table:
    rows = shown_rows(record)
    several, crossed = len(record.series) > 1, record.folds > 0
    columns = ["strength", "scikit-learn's C", "series", "accuracy", "standard error", "validation loss",
               "training objective", "weights other than 0", "norm of the weights", "relative bound",
               "largest with folds", "status", "part in the choice"]  # fmt: skip
    left_out = {
        name for name, there in (
            ("scikit-learn's C", record.c_times is not None), ("series", several), ("accuracy", crossed),
            ("standard error", crossed), ("validation loss", crossed), ("largest with folds", crossed),
            ("part in the choice", record.best is not None),
        ) if not there
    }  # fmt: skip
    kept = [i for i, name in enumerate(columns) if name not in left_out]
    whole = [_row(record, *place) for place in rows]
    chosen = None if record.chosen is None else record.place(record.chosen)
    return Table(
        tuple(columns[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in whole),
        caption="a row a solution; solutions.csv of the run folder has all",
        strong=rows.index(chosen) if chosen in rows else None,
        total=sum(len(series.numbers) for series in record.series),
    )


def _row(record: StrengthsRecord, i: int, place: int) -> Sequence[str | int | float | None]:
    series = record.series[i]
    number, strength = series.numbers[place], float(series.strengths[place])
    parts = [
        *(["best"] if number == record.best else []),
        *(["one standard error"] if number == record.one_standard_error else []),
        *(["chosen"] if number == record.chosen else []),
        *(["left out"] if number in record.left_out else []),
    ]
    return (
        strength, None if record.c_times is None else record.c_times / strength, shortened(series.name, 60),
        float(series.accuracies[place]), float(series.errors[place]), float(series.losses[place]),
        float(series.values[place]), int(series.nonzeros[place]), float(series.norms[place]),
        float(series.bounds[place]), float(series.worst_bounds[place]), series.statuses[place], ", ".join(parts),
    )  # fmt: skip

"""The section on classes: the confusion matrix, and recall, precision and F1 of each class."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup

from thalweg.report.block import Lacking, Part, Picture, Section, Table
from thalweg.report.records.confusion import ConfusionRecord
from thalweg.report.sections.naming import brief, full, notes, shortened
from thalweg.report.svg import Categories, Linear, Plot
from thalweg.report.words import percent
from thalweg.statistics import wilson

__all__ = ["confusion_section", "shade_of"]

_MATRIX = 25  # classes of the matrix at most: with more, neither numbers nor names can be read
_DOTS = 60  # classes of the picture of recalls
_ROWS = 500  # of the table of classes
_PAIRS = 60
# Shares at which a cell's shade changes. They are closer at the low end: most cells off the diagonal hold a per cent
# or two, which an even scale would leave all alike.
_STEPS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
_HEADINGS = (
    "class", "examples", "recall", "recall interval", "precision", "precision interval", "F1", "most often taken for",
    "times",
)  # fmt: skip


def confusion_section(record: ConfusionRecord | Lacking) -> Section:
    """Draw the matrix of true against predicted classes, and the recall of each class with its interval."""
    title, short = "Classes and confusions", "Classes"
    if isinstance(record, Lacking):
        return Section("confusion", title, (record,), short=short)
    wide = _crowded(record)
    parts: tuple[Part, ...] = (
        *notes(record.trained_on, record.caveats),
        _matrix(record, wide),
        _per_class(record, wide),
        _table(record),
    )
    lead = (
        f"What the selected model takes for what among the {record.count:,} {record.split} examples. Recall is the "
        "share of a class's examples that are predicted right, precision the share of its predictions that are right, "
        "F1 their harmonic mean; intervals are Wilson's, 95 %."
    )
    return Section("confusion", title, parts, lead, short)


def shade_of(share: float) -> int | None:
    """Return the shade 0 to 8 of a share of a class's examples; None where the class has none."""
    return None if math.isnan(share) else sum(share > step for step in _STEPS)


def _crowded(record: ConfusionRecord) -> bool:
    """Whether the matrix needs the page's whole width, and on a phone more: it then scrolls sideways."""
    return len(record.classes) > 12 or len(record.classes) * 7 * len(str(record.counts.max())) > 250


# -- the matrix -------------------------------------------------------------------------------------------------------


def _matrix(record: ConfusionRecord, wide: bool) -> Picture:
    chosen = record.most_confused(_MATRIX) if len(record.classes) > _MATRIX else np.arange(len(record.classes))
    size = len(chosen)
    across, down, numbered = _labels([record.classes[i] for i in chosen])
    summary = _matrix_summary(record, chosen)
    plot = Plot(
        Categories(across), Categories(down[::-1]), height=size * max(26, min(56, 168 // size)), label=summary,
        left=_room(down), grid=False, y_title="true class",
        x_title="predicted class, by the number of its row" if numbered else "predicted class",
    )  # fmt: skip
    for row, true in enumerate(chosen):
        for column, taken in enumerate(chosen):
            plot.cell(
                (column / size, (column + 1) / size), (1 - (row + 1) / size, 1 - row / size),
                shade_of(record.shares[true, taken]), **_told(record, true, taken),
            )  # fmt: skip
    for shade in range(9):
        plot.legend(_words_of(shade), "", shade=shade)
    drawing = Markup('<div class="broad">{}</div>').format(plot.svg()) if wide else plot.svg()
    return Picture("Confusion matrix", drawing, summary, _pairs(record), wide)


def _told(record: ConfusionRecord, true: int, taken: int) -> dict[str, str]:
    count = int(record.counts[true, taken])
    if not count:
        return {}
    true_name, name = shortened(record.classes[true]), shortened(record.classes[taken])
    tip = (
        f"true {true_name}, predicted {name}: {count} of {record.support[true]} ({percent(record.shares[true, taken])})"
    )
    return {"text": str(count), "tip": tip}


def _most_frequent(record: ConfusionRecord) -> str:
    (true, taken, count), *second = record.confusions(2)
    if count == 1:
        return "No class is taken for the same other one twice. "
    tied = "A most frequent confusion" if second and second[0][2] == count else "The most frequent confusion"
    return (
        f"{tied}: class {shortened(record.classes[true])} taken for {shortened(record.classes[taken])}, "
        f"{count} of {record.support[true]}. "
    )


def _words_of(shade: int) -> str:
    """Say which shares of a row have a shade."""
    if shade == 0:
        return "none"
    return f"to {100 * _STEPS[shade]:g} %" if shade < len(_STEPS) else "more"


def _labels(names: list[str]) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Return the words of the columns and of the rows: where names are too long for columns, numbers serve there."""
    known = [full(name) for name in names]
    if len(names) * (max(map(len, known)) + 1) <= 44 and len(set(known)) == len(known):
        return tuple(known), tuple(known), False
    numbers = tuple(str(i + 1) for i in range(len(names)))
    rows = tuple(f"{i} {name}" for i, name in zip(numbers, brief(names, 12), strict=True))
    return numbers, rows, True


def _room(words: tuple[str, ...]) -> int:
    """Pixels for the words of the y axis: not more than a phone can spare."""
    return max(34, min(112, 14 + 7 * max(map(len, words))))


def _matrix_summary(record: ConfusionRecord, chosen: np.ndarray) -> str:
    low, high = (percent(end) for end in wilson(record.correct, record.count))
    share = percent(record.correct / record.count)
    right = (
        f"{record.correct:,} of {record.count:,} {record.split} examples are right: {share} (95 % interval {low} to "
        f"{high}). "
    )
    if not record.confusions(1):
        return right + "Nothing is taken for anything else."
    most = _most_frequent(record)
    how = "Shades are shares of the row, numbers are examples."
    if len(chosen) == len(record.classes):
        return right + most + how
    inside = record.counts[np.ix_(chosen, chosen)]
    return (
        f"{right}{most}Shown are the {len(chosen)} of {len(record.classes)} classes with most confusions, and "
        f"{inside.sum() - np.trace(inside):,} of {record.count - record.correct:,} confusions; "
        f"{len(record.classes) - len(chosen)} classes are left out. {how}"
    )


def _pairs(record: ConfusionRecord) -> Table:
    found = record.confusions(_PAIRS)
    rows = tuple(
        (full(record.classes[true]), full(record.classes[taken]), count, float(record.shares[true, taken]))
        for true, taken, count in found
    )
    total = int(np.count_nonzero(record.counts) - np.count_nonzero(np.diag(record.counts)))
    columns = ("true class", "predicted class", "examples", "share of the true class")
    return Table(columns, rows, "Confusions, the most frequent first", total=total)


# -- each class -------------------------------------------------------------------------------------------------------


def _per_class(record: ConfusionRecord, wide: bool) -> Picture:
    order = record.worst_first()
    shown = order[:_DOTS]
    # Numbers keep apart names that are alike once they are shortened.
    words = _unlike(brief([record.classes[i] for i in shown], 15))
    lows = record.recall_interval[shown, 0]
    least = float(np.nanmin(lows)) if np.isfinite(lows).any() else 0.0
    low = math.floor(10 * least) / 10 if least < 1 else 0.9
    summary = _recall_summary(record, order)
    plot = Plot(
        Linear(low, 1.0), Categories(words[::-1]), height=max(80, 24 * len(shown)), label=summary, left=_room(words),
        x_title="recall, with 95 % interval",
    )  # fmt: skip
    for word, i in zip(words, shown, strict=True):
        if not record.support[i]:
            plot.text(low, [word], "no examples: undefined", series="grey", dx=4, dy=4)
            continue
        ends = record.recall_interval[i]
        tip = (
            f"{shortened(record.classes[i])}: recall {record.recall[i]:.3f} ({record.counts[i, i]} of "
            f"{record.support[i]}), 95 % interval {ends[0]:.3f} to {ends[1]:.3f}"
        )
        plot.line(ends, [word, word], "s0", width="thin")
        plot.mark(record.recall[i], [word], "s0", tip=tip)
    plot.rule(x=record.correct / record.count, series="ink")
    plot.legend("recall, 95 % interval", "s0", marker="circle", dash=0)
    plot.legend("accuracy over all classes", "ink", dash=1)
    return Picture("Recall of each class, the worst first", plot.svg(), summary, _recall_table(record, order), wide)


def _unlike(words: list[str]) -> tuple[str, ...]:
    if len(set(words)) == len(words):
        return tuple(words)
    return tuple(f"{i + 1} {shortened(word, 12)}" for i, word in enumerate(words))


def _recall_summary(record: ConfusionRecord, order: np.ndarray) -> str:
    there = [i for i in order if record.support[i]]
    worst, best = there[0], there[-1]
    ends = record.recall_interval[worst]
    out = (
        f"Worst is class {shortened(record.classes[worst])} with a recall of {record.recall[worst]:.3f} (95 % interval "
        f"{ends[0]:.3f} to {ends[1]:.3f}, {record.support[worst]} examples), best "
        f"class {shortened(record.classes[best])} with {record.recall[best]:.3f}."
    )
    without = len(order) - len(there)
    if without:
        out += f" {without} of {len(order)} classes have no examples in this split: their recall is undefined."
    if len(order) > _DOTS:
        out += f" Shown are the worst {_DOTS} of {len(order)} classes."
    return out


def _recall_table(record: ConfusionRecord, order: np.ndarray) -> Table:
    rows = tuple(
        (
            full(record.classes[i]),
            int(record.support[i]),
            _cell(record.recall[i]),
            _interval(record.recall_interval[i]),
        )
        for i in order[:_DOTS]
    )
    return Table(_HEADINGS[:4], rows, "A class a row, the worst recall first", total=len(order))


def _table(record: ConfusionRecord) -> Table:
    order = record.worst_first()[:_ROWS]
    rows = tuple(
        (
            full(record.classes[i]), int(record.support[i]), _cell(record.recall[i]),
            _interval(record.recall_interval[i]), _cell(record.precision[i]), _interval(record.precision_interval[i]),
            _cell(record.f1[i]), *_taken_for(record, i),
        )
        for i in order
    )  # fmt: skip
    caption = "A class a row, the worst recall first; empty where it is undefined"
    return Table(_HEADINGS, rows, caption, sortable=True, total=len(record.classes))


def _taken_for(record: ConfusionRecord, i: int) -> tuple[str | None, int | None]:
    other = int(record.mistaken_for[i])
    return (None, None) if other < 0 else (full(record.classes[other]), int(record.counts[i, other]))


def _interval(ends: np.ndarray) -> str | None:
    return None if np.isnan(ends).any() else f"{ends[0]:.3f} to {ends[1]:.3f}"


def _cell(value: float) -> float | None:
    return None if math.isnan(value) else float(value)

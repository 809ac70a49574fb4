"""The pictures of what is taken for what: the confusion matrix, and the recall of each class."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from thalweg.errors import UsageError
from thalweg.fields import check_integer
from thalweg.plot.names import fitting
from thalweg.plot.theme import themed
from thalweg.report.block import Lacking
from thalweg.report.records.confusion import ConfusionRecord, confusion_record

__all__ = ["confusion", "per_class"]

_POWER = 0.4  # shades go by share**0.4: most cells off the diagonal hold a per cent or two, and must be seen


def confusion(record_or_case: Any, *, most: int = 25, dark: bool = False) -> Figure:
    """Draw the confusion matrix: rows by the true class, columns by the predicted one.

    The number in a cell is its count of examples, its shade the share of its row (on a scale that spreads small
    shares, since confusions are rare beside right predictions). Of more than ``most`` classes those with most
    confusions are shown, and the title says so.

    Args:
        record_or_case: what `report.records.confusion.confusion_record` returned, or a `diagnostics.Case`.
        most: the number of classes to show.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError: a case without held-out examples or weights, or something else than either.
    """
    check_integer("confusion", "most", most, least=1)
    record, theme = _record(record_or_case), themed(dark)
    total = len(record.classes)
    chosen = record.most_confused(most)
    counts, shares = record.counts[np.ix_(chosen, chosen)], record.shares[np.ix_(chosen, chosen)]
    size = len(chosen)
    cell = 0.34 if size > 12 else 0.46
    figure = Figure(figsize=(max(3.4, cell * size + 1.9), max(2.6, cell * size + 1.7)), layout="constrained")
    axes = figure.add_subplot()
    shades = LinearSegmentedColormap.from_list("shares", [theme.paper, theme.colour(0)])
    colours = shades.with_extremes(bad=theme.paper)  # rows without examples
    drawn = np.ma.masked_invalid(shares) ** _POWER
    axes.imshow(drawn, cmap=colours, vmin=0, vmax=1, aspect="equal", interpolation="nearest")
    for row, column in zip(*np.nonzero(counts), strict=True):
        count = int(counts[row, column])
        # White or black, whichever is told better from the shade beneath.
        ink = _ink(colours(float(drawn[row, column])))
        axes.text(column, row, str(count), ha="center", va="center", fontsize=7 if size > 12 else 8, color=ink)
    names = [fitting(record.classes[i], 1.1, 8) for i in chosen]
    plain: dict[str, Any] = {"parse_math": False, "usetex": False, "fontsize": 8}
    axes.set_yticks(range(size), names, **plain)
    upright = max(map(len, names)) <= 3
    axes.set_xticks(range(size), names, rotation=0 if upright else 90, **plain)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class", fontsize=9)
    axes.set_ylabel("true class", fontsize=9)
    title = f"{record.correct:,} of {record.count:,} {record.split} examples right"
    if size < total:
        title += f"\nthe {size} of {total} classes with most confusions"
    axes.set_title(title, fontsize=9)
    return theme.dress(figure)


def per_class(record_or_case: Any, *, most: int = 60, dark: bool = False) -> Figure:
    """Draw the recall of each class with Wilson's 95 % interval, the worst first, and the accuracy as a dashed line.

    A class without examples in the split has no recall: its row says so. Arguments, result and errors as `confusion`'s;
    of more than ``most`` classes the worst are shown.
    """
    check_integer("per_class", "most", most, least=1)
    record, theme = _record(record_or_case), themed(dark)
    shown = record.worst_first()[:most]
    figure = Figure(figsize=(5.6, 0.21 * len(shown) + 1.3), layout="constrained")
    axes = figure.add_subplot()
    for row, i in enumerate(shown):
        if record.support[i]:
            ends = record.recall_interval[i]
            axes.plot(ends, [row, row], color=theme.colour(0), linewidth=1.2, solid_capstyle="butt")
            axes.plot(record.recall[i], row, "o", color=theme.colour(0), markersize=5)
        else:
            axes.annotate(
                "no examples: undefined", (0, row), xycoords=("axes fraction", "data"), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=7.5, color=theme.ink,
            )  # fmt: skip
    axes.axvline(record.correct / record.count, color=theme.ink, linewidth=1, linestyle="--")
    names = [fitting(record.classes[i], 1.3, 8) for i in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=8, parse_math=False, usetex=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(right=1.01)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("recall with 95 % interval; dashed: accuracy over all classes", fontsize=8)
    left_out = len(record.classes) - len(shown)
    title = f"Recall of each class, {record.count:,} {record.split} examples"
    axes.set_title(f"{title}, the worst {len(shown)} of {len(record.classes)}" if left_out else title, fontsize=9)
    return theme.dress(figure)


def _record(record_or_case: Any) -> ConfusionRecord:
    from thalweg.diagnostics import Case

    if isinstance(record_or_case, Case):
        record_or_case = confusion_record(record_or_case)
    if isinstance(record_or_case, Lacking):
        raise UsageError(record_or_case.why)
    if not isinstance(record_or_case, ConfusionRecord):
        raise UsageError(
            f"record_or_case is a {type(record_or_case).__name__}; give a diagnostics.Case (diagnostics.make_case(run, "
            "data)) or a ConfusionRecord"
        )
    return record_or_case


def _ink(colour: tuple[float, float, float, float]) -> str:
    """Return black or white, whichever has the greater contrast (WCAG 2) with a colour: their ratios meet at 0.179."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.179 else "white"

"""Pictures of robustness: the accuracy under each challenge, and what the changed images look like."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from thalweg.data import Split
from thalweg.diagnostics.challenge_list import Change, changes
from thalweg.diagnostics.challenges import ChallengeTable, chunks
from thalweg.errors import UsageError
from thalweg.fields import check_integer
from thalweg.plot.theme import Theme, themed

__all__ = ["challenge_sheet", "challenges"]

_MARKERS = ("o", "s", "D")  # level 1 to 3
_APART = 0.24  # rows of one condition


def challenges(table: ChallengeTable, *, dark: bool = False) -> Figure:
    """Draw a table of challenges: accuracy with 95 % intervals by condition, from mild to strong.

    Markers tell the level (their strengths stand in the table); filled ones are told from the clean accuracy by
    the paired test (Holm-adjusted, 5 %), hollow ones are not. The band is the clean accuracy's 95 % interval.

    Raises:
        UsageError: not a `ChallengeTable`.
    """
    if not isinstance(table, ChallengeTable):
        raise UsageError(f"table is a {type(table).__name__}; give what diagnostics.challenges returns")
    theme = themed(dark)
    conditions = list(dict.fromkeys((row.kind, row.condition) for row in table.rows))
    figure = Figure(figsize=(7.2, 1.7 + 0.36 * len(conditions)), layout="constrained")
    axes = figure.add_subplot()
    low, high = table.clean.interval
    axes.axvspan(low, high, color=theme.faint, alpha=0.45, linewidth=0)
    axes.axvline(table.clean.accuracy, color=theme.ink, linestyle=":", label=f"clean, {table.clean.accuracy:.1%}")
    _rows(axes, table, conditions, theme, dark)
    axes.set_yticks(range(len(conditions)), [f"{kind}: {condition}" for kind, condition in conditions])
    axes.set_ylim(len(conditions) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel=f"accuracy, 95 % interval ({table.clean.count:,} examples)")
    axes.grid(axis="y", color=theme.faint, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_title("What is left of the accuracy under each challenge", fontsize=11)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.55 / (0.36 * len(conditions) + 0.4)), ncols=4,
                frameon=False)  # fmt: skip
    return theme.dress(figure)


def _rows(axes: Axes, table: ChallengeTable, conditions: list[tuple[str, str]], theme: Theme, dark: bool) -> None:
    shades = colormaps["viridis"]([0.45, 0.7, 0.95] if dark else [0.75, 0.45, 0.1])
    for level, name in enumerate(("mild (near)", "middle", "strong (far)"), start=1):
        rows = [row for row in table.rows if row.level == level]
        if not rows:
            continue
        y = np.array([conditions.index((row.kind, row.condition)) for row in rows]) + (level - 2) * _APART
        x = np.array([row.accuracy for row in rows])
        # An end of the interval may differ from the share by a rounding.
        reach = np.maximum(np.abs(np.array([row.interval for row in rows]).T - x[None, :]), 0)
        axes.errorbar(x, y, xerr=reach, linestyle="none", color=shades[level - 1], linewidth=1.3)
        told = np.array([row.adjusted < 0.05 for row in rows])
        look = {"linestyle": "none", "marker": _MARKERS[level - 1], "markersize": 5, "color": shades[level - 1]}
        axes.plot(x[told], y[told], label=name, **look)
        axes.plot(x[~told], y[~told], markerfacecolor=theme.paper, label=None if told.any() else name, **look)


def challenge_sheet(split: Split, *, example: int = 0, seed: int = 0, dark: bool = False) -> Figure:
    """Draw one image under every change that `diagnostics.challenges` makes, beside itself unchanged.

    Args:
        split: labelled images, as given to `challenges`.
        example: which of them, by its place.
        seed: as given to `challenges`: the same patches and corners.
        dark: for dark paper.

    Raises:
        UsageError: no labelled images, or no such example.
    """
    if not isinstance(split, Split) or split.features.ndim != 4 or split.labels is None:
        raise UsageError("split holds no labelled images (N, height, width, channels); give a Split of some")
    check_integer("challenge_sheet", "example", example, least=0)
    if example >= len(split):
        raise UsageError(f"challenge_sheet: example is {example}; the split has {len(split)}, from 0 on")
    theme = themed(dark)
    ((_, chunk),) = chunks(split, seed, np.array([example]))
    listed = changes(*split.features.shape[1:3])
    conditions = list(dict.fromkeys((change.kind, change.condition) for change in listed))
    columns, rows = 2, -(-len(conditions) // 2)
    figure = Figure(figsize=(9.6, 1.15 * rows + 0.5), layout="constrained")
    grid = figure.subplots(
        rows, 4 * columns + 1, squeeze=False, gridspec_kw={"width_ratios": [1] * 4 + [1.1] + [1] * 4}
    )
    for axes in grid.flat:
        axes.set_axis_off()
    for place, condition in enumerate(conditions):
        cells = grid[place % rows, 5 * (place // rows) :][:4]
        _picture(cells[0], chunk.images[0], chunk.limits, "clean")
        text = f"{condition[0]}:\n{condition[1]}"
        cells[0].text(-0.15, 0.5, text, transform=cells[0].transAxes, ha="right", va="center", fontsize=8,
                      color=theme.ink)  # fmt: skip
        shown: list[Change] = [change for change in listed if (change.kind, change.condition) == condition]
        for axes, change in zip(cells[1:], shown, strict=True):
            _picture(axes, change.apply(chunk)[0], chunk.limits, change.strength)
    figure.suptitle("One image under every change", fontsize=11)
    return theme.dress(figure)


def _picture(axes: Axes, image: np.ndarray, limits: tuple[float, float], title: str) -> None:
    low, high = limits
    scaled = np.clip((image.astype(float) - low) / ((high - low) or 1.0), 0, 1)
    shown = scaled if scaled.shape[2] == 3 else np.repeat(scaled[:, :, :1], 3, axis=2)
    axes.imshow(shown, interpolation="nearest")
    axes.set_title(title, fontsize=7, pad=2)

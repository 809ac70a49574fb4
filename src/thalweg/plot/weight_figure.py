"""The picture of a linear model's weights by feature names: bars, or a map of all."""

from __future__ import annotations

import textwrap
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thalweg.errors import UsageError, nearest
from thalweg.fields import check_integer
from thalweg.plot.names import AGAINST, FOR, fitting, literal
from thalweg.views import WeightRecord, weight_record

__all__ = ["weights"]

Kind: TypeAlias = Literal["auto", "bars", "map"]

_KINDS = ("auto", "bars", "map")
_PANELS = 6  # of bars, at most, unless asked for
_LINE = 0.2  # inches a bar


def weights(model: Any, *, kind: Kind = "auto", top: int | None = None, preprocessed: bool = True) -> Figure:
    """Draw the largest weights of a linear model of a table, by the names of its features.

    ``bars`` has a panel a class with its weights of largest size, on one scale. Of
    two classes only the difference of their weights bears on the prediction, so
    one panel shows w(second) − w(first). ``map`` has a row a feature and a column
    a class, on one diverging scale with white for 0; rows are ordered by their
    largest |weight|.

    Args:
        model: a linear model of a table, an estimator that holds one, or a `WeightRecord`.
        kind: ``bars``, ``map``, or ``auto``: bars up to six classes.
        top: how many features to show; by default 10 bars a class, 40 rows of the map.
        preprocessed: as in `views.weight_record`.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError: an unknown kind, or what `views.weight_record` refuses.
    """
    if kind not in _KINDS:
        raise UsageError(f"kind is {kind!r}{nearest(str(kind), _KINDS)}; choose from {', '.join(_KINDS)}")
    if top is not None:
        check_integer("weights", "top", top, least=1)
    record = model if isinstance(model, WeightRecord) else weight_record(model, preprocessed=preprocessed)
    panels = 1 if len(record.classes) == 2 else len(record.classes)
    bars = kind == "bars" or (kind == "auto" and panels <= _PANELS)
    return _bars(record, top or 10) if bars else _map(record, top or 40)


def _bars(record: WeightRecord, top: int) -> Figure:
    panels = _panels(record)
    columns = len(panels) if len(panels) < 4 else -(-len(panels) // 2) if len(panels) <= 6 else 4
    rows = -(-len(panels) // columns)
    shown = min(top, len(record.feature_names))
    figure = Figure(
        figsize=(3.3 * columns + (0.7 if columns == 1 else 0.4), rows * (_LINE * shown + 0.45) + 0.55),
        layout="constrained",
    )
    reach = 1.08 * max(float(np.abs(values).max()) for _, values in panels) or 1.0
    for place, (title, values) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, place + 1)
        order = np.argsort(-np.abs(values), kind="stable")[:shown]
        lines = np.arange(len(order))
        axes.barh(lines, values[order], height=0.7, color=[FOR if one > 0 else AGAINST for one in values[order]])
        axes.axvline(0, color="black", linewidth=0.8)
        names = [fitting(record.feature_names[i], 1.3, 8) for i in order]
        axes.set_yticks(lines, names, fontsize=8, parse_math=False, usetex=False)
        axes.set(xlim=(-reach, reach), ylim=(shown - 0.4, -0.6))
        axes.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
        axes.tick_params(axis="x", labelsize=8)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        literal(axes.set_title(fitting(title, 3.2 if len(panels) == 1 else 1.8, 9), fontsize=9))
    figure.supxlabel(f"weight: score per {record.unit}", fontsize=8)
    return figure


def _panels(record: WeightRecord) -> list[tuple[str, np.ndarray]]:
    """Titles and weights (features,): one panel a class, one for both of two."""
    if len(record.classes) != 2:
        return list(zip(record.classes, record.weights, strict=True))
    first, second = record.classes
    title = f"← {fitting(first, 1.2, 9)}      {fitting(second, 1.2, 9)} →"
    return [(title, record.weights[1] - record.weights[0])]


def _map(record: WeightRecord, top: int) -> Figure:
    order = np.argsort(-np.abs(record.weights).max(axis=0), kind="stable")[:top]
    values = record.weights[:, order].T  # (features shown, classes)
    rows, columns = values.shape
    size = 8 if columns <= 30 else 6
    cell = 0.3 if columns <= 30 else 0.14
    figure = Figure(figsize=(max(cell * columns, 1.2) + 2.8, max(_LINE * rows, 1.2) + 1.4), layout="constrained")
    axes = figure.add_subplot()
    reach = float(np.abs(values).max()) or 1.0
    drawn = axes.imshow(values, cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
    plain: dict[str, Any] = {"parse_math": False, "usetex": False}
    axes.set_yticks(range(rows), [fitting(record.feature_names[i], 1.3, 8) for i in order], fontsize=8, **plain)
    names = [fitting(name, 1.1, size) for name in record.classes]
    axes.set_xticks(range(columns), names, fontsize=size, rotation=90, **plain)
    axes.tick_params(length=0)
    bar = figure.colorbar(drawn, ax=axes, aspect=40, pad=0.02)
    bar.set_label(textwrap.fill(f"weight: score per {record.unit}", 26), fontsize=8)
    bar.ax.tick_params(labelsize=8)
    if rows < len(record.feature_names):
        note = f"{rows} of {len(record.feature_names):,} features: those with the largest weights"
        axes.set_title(note, fontsize=8)
    return figure

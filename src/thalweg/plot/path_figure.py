"""The picture of a penalty path: accuracy, losses, sizes, certificates and weights against the strength."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from thalweg.errors import UsageError
from thalweg.paths.records import Path
from thalweg.plot.names import fitting, literal
from thalweg.plot.theme import LINES, Theme, themed
from thalweg.report.block import Lacking
from thalweg.report.records.strengths import StrengthsRecord, path_record

__all__ = ["path"]

_Panel = Callable[[Axes, StrengthsRecord, Theme], None]


def path(source: Path | StrengthsRecord, *, dark: bool = False) -> Figure:
    """Draw a penalty path by strength, the strongest penalty at the left; scikit-learn's C stands above.

    From the top: cross-validated accuracy with a band of one standard error, the best and the one-standard-error
    choice ringed; validation loss and training objective; weights other than 0 (with L2 their norm); relative bounds
    with the tolerance; with L1 and the elastic net the largest weights of the chosen solution along the path.

    Args:
        source: a path, or what `report.records.strengths.path_record` returned.
        dark: for dark paper.

    Returns:
        A Matplotlib figure outside pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        UsageError: the path has no solution.
    """
    record = source if isinstance(source, StrengthsRecord) else path_record(source)
    if isinstance(record, Lacking):
        raise UsageError(f"path: {record.why}")
    theme = themed(dark)
    panels: list[_Panel] = [_losses, _sizes, _bounds]
    if record.folds and any(np.isfinite(series.accuracies).any() for series in record.series):
        panels.insert(0, _accuracies)
    if record.lines:
        panels.append(_weights)
    figure = Figure(figsize=(6.8, 1.2 + 2.0 * len(panels) + 0.9 * bool(record.lines)), layout="constrained")
    found = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, draw in zip(found, panels, strict=True):
        draw(axes, record, theme)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        for text in axes.get_legend().get_texts() if axes.get_legend() is not None else ():
            literal(text)
    _strengths(found[0], found[-1], record, theme)
    figure.supxlabel(textwrap.fill(record.summary, 100), fontsize=8)
    return theme.dress(figure)


def _strengths(top: Axes, bottom: Axes, record: StrengthsRecord, theme: Theme) -> None:
    bottom.set_xscale("log")
    bottom.xaxis.set_inverted(True)
    bottom.set_xlabel("penalty strength")
    if record.c_times is not None:
        times = record.c_times
        # The same function both ways; Matplotlib also asks for places beside the axis, which may be 0.
        above = top.secondary_xaxis("top", functions=(lambda v: _over(times, v), lambda v: _over(times, v)))
        above.set_xlabel("scikit-learn's C", color=theme.ink)
        above.tick_params(which="both", colors=theme.ink)


def _over(times: float, values: object) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return times / np.asarray(values, np.float64)


def _look(i: int, theme: Theme) -> dict[str, object]:
    style, marker = LINES[i % len(LINES)]
    return {"color": theme.colour(i), "linestyle": style, "marker": marker, "markersize": 4, "linewidth": 1.4}


def _accuracies(axes: Axes, record: StrengthsRecord, theme: Theme) -> None:
    for i, series in enumerate(record.series):
        low, high = series.accuracies - series.errors, series.accuracies + series.errors
        axes.fill_between(series.strengths, low, high, color=theme.colour(i), alpha=0.18, linewidth=0)
        label = fitting(series.name, 3.0, 8)
        axes.plot(series.strengths, series.accuracies, label=label, **_look(i, theme))  # type: ignore[arg-type]
        out = np.isin(series.numbers, record.left_out)
        if out.any():
            axes.plot(
                series.strengths[out], series.accuracies[out], "x", color=theme.alarm, markersize=7, zorder=4,
                label="left out of the choice",
            )  # fmt: skip
    named = {record.best: "best", record.one_standard_error: "one standard error"}
    if record.best == record.one_standard_error:
        named = {record.best: "best, one standard error"}
    for number, words in named.items():
        if number is None:
            continue
        i, place = record.place(number)
        at = (record.series[i].strengths[place], record.series[i].accuracies[place])
        axes.plot(*at, "o", markersize=11, markerfacecolor="none", markeredgecolor=theme.ink, zorder=5)
        words += " (chosen)" if number == record.chosen else ""
        above = number == record.best
        axes.annotate(
            words, at, (0, 9 if above else -16), textcoords="offset points", ha="center", fontsize=8, color=theme.ink
        )
    axes.margins(y=0.18)
    axes.set_ylabel(f"accuracy, {record.folds} folds")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _losses(axes: Axes, record: StrengthsRecord, theme: Theme) -> None:
    for i, series in enumerate(record.series):
        first = i == 0
        if np.isfinite(series.losses).any():
            look = _look(i, theme) | {"linestyle": "-"}
            axes.plot(series.strengths, series.losses, label="validation loss" if first else None, **look)  # type: ignore[arg-type]
        axes.plot(
            series.strengths, series.values, ":", color=theme.colour(i), linewidth=1.4,
            label="training objective" if first else None,
        )  # fmt: skip
    values = np.concatenate([v[np.isfinite(v)] for s in record.series for v in (s.losses, s.values)])
    if len(values) and values.min() > 0 and values.max() > 5 * values.min():
        _log(axes, float(values.max() / values.min()))
    axes.set_ylabel("loss")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _sizes(axes: Axes, record: StrengthsRecord, theme: Theme) -> None:
    sparse = record.penalty != "l2"
    for i, series in enumerate(record.series):
        axes.plot(series.strengths, series.nonzeros if sparse else series.norms, **_look(i, theme))  # type: ignore[arg-type]
    axes.set_ylabel("weights other than 0" if sparse else "norm of the weights")
    norms = np.concatenate([series.norms for series in record.series])
    if not sparse and norms.min() > 0 and norms.max() > 5 * norms.min():
        _log(axes, float(norms.max() / norms.min()))


def _bounds(axes: Axes, record: StrengthsRecord, theme: Theme) -> None:
    low = record.tolerance * 1e-4
    for i, series in enumerate(record.series):
        own = np.maximum(series.bounds, low)
        axes.plot(series.strengths, own, **_look(i, theme))  # type: ignore[arg-type]
        if record.folds:
            axes.plot(series.strengths, np.maximum(series.worst_bounds, low), ":", color=theme.colour(i), linewidth=1.2)
        out = np.isin(series.numbers, record.left_out) | (~series.certified & (not record.left_out))
        if out.any():
            axes.plot(series.strengths[out], own[out], "x", color=theme.alarm, markersize=7, zorder=4)
    axes.axhline(record.tolerance, color=theme.ink, linestyle="--", linewidth=1, label="tolerance")
    if record.limit is not None and record.limit > record.tolerance:
        axes.axhline(record.limit, color=theme.ink, linestyle=":", linewidth=1, label="limit for the choice")
    _log(axes, 1e9)
    axes.set_ylabel("relative bound")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _weights(axes: Axes, record: StrengthsRecord, theme: Theme) -> None:
    series = record.series[record.followed]
    for i, line in enumerate(record.lines):
        turn = (i + i // len(LINES)) % len(LINES)
        look = _look(i, theme) | {"linestyle": LINES[turn][0], "marker": LINES[turn][1], "markevery": [-1]}
        label = fitting(f"{line.feature}, class {line.class_name}", 1.9, 7)
        axes.plot(series.strengths, line.weights, label=label, **look)  # type: ignore[arg-type]
    if record.chosen is not None:
        axes.axvline(series.strengths[record.place(record.chosen)[1]], color=theme.ink, linestyle="--", linewidth=1)
    axes.set_ylabel("weight")
    axes.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=3)


def _log(axes: Axes, factor: float) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if factor < 100 else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))

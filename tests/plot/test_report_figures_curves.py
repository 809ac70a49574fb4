"""The report's loss curves and penalty paths as Matplotlib figures: the same numbers as the page's, and no others."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from thalweg import plot
from thalweg.errors import UsageError
from thalweg.report.block import Lacking
from thalweg.report.records.curves import PANELS, Curve, CurvesRecord, Range
from thalweg.report.records.strengths import StrengthSeries, StrengthsRecord, WeightLine


def curve(trial: int, place: int | None, left: int | None = None, epochs: int = 8) -> Curve:
    at = np.arange(1, epochs + 1)
    loss = np.where(at > (left if left is not None else epochs), math.nan, np.exp(-at / (2 + trial)))
    values = {"data_loss": loss, "validation_loss": loss + 0.1, "validation_accuracy": 1 - loss}
    status = "completed" if left is None else "diverged"
    return Curve(trial, f"trial {trial}: Adam, rate 0.1", status, place, 5, left, epochs, at, values)


def curves_record() -> CurvesRecord:
    curves = (curve(3, 0), curve(1, 1), curve(0, None), curve(2, None, left=4), curve(4, None, left=0))
    ranges = {"data_loss": Range(0.01, 1.0, True), "validation_loss": Range(0.1, 1.1, False),
              "validation_accuracy": Range(0.0, 1.0, False)}  # fmt: skip
    return CurvesRecord(curves, 3, 8, ranges, "a summary", ())


def strengths_record(penalty: str = "l1", folds: int = 5) -> StrengthsRecord:
    strengths = np.geomspace(1, 1e-3, 6)
    nothing = np.full(6, math.nan)
    series = tuple(
        StrengthSeries(
            name=name, numbers=tuple(range(6 * i, 6 * i + 6)), strengths=strengths,
            accuracies=np.linspace(0.5, 0.9, 6) if folds else nothing, errors=np.full(6, 0.02) if folds else nothing,
            losses=np.linspace(1, 0.3, 6) if folds else nothing, values=np.linspace(1, 0.1, 6),
            nonzeros=np.arange(6), norms=np.arange(6.0), bounds=np.array([0, 1e-6, 1e-5, 1e-3, math.inf, math.nan]),
            worst_bounds=np.full(6, 1e-3), statuses=("converged",) * 3 + ("iteration limit",) * 3,
            certified=np.arange(6) < 3,
        )
        for i, name in enumerate(("softmax", "$hinge$ 100_000$"))
    )  # fmt: skip
    lines = (WeightLine("$a$", "b_1$", np.arange(6.0)), WeightLine("c", "d", -np.arange(6.0)))
    chosen = 3 if folds else None
    return StrengthsRecord(
        series, penalty, folds, 1e-4, 0.01, 1e-2 if folds else None, chosen, 2 if folds else None, chosen,
        (4, 5) if folds else (), lines if penalty == "l1" else (), 0, "a summary",
    )  # fmt: skip


@pytest.mark.parametrize("dark", [False, True])
def test_curves_hold_every_trial_and_cross_the_diverged(dark: bool) -> None:
    record = curves_record()
    figure = plot.curves(record, dark=dark)
    if dark:
        FigureCanvasAgg(figure).draw()
    assert len(figure.axes) == 3
    for axes, name in zip(figure.axes, PANELS, strict=True):
        long = [line for line in axes.lines if len(line.get_xdata()) == 8]
        assert len(long) == 5
        by_label = {line.get_label(): line for line in long}
        np.testing.assert_array_equal(
            by_label["trial 3: Adam, rate 0.1 (selected)"].get_ydata(), record.curves[0].values[name]
        )
        crosses = [line for line in axes.lines if line.get_marker() == "x"]
        assert [line.get_xdata()[0] for line in crosses] == [4, 1]
        assert all(line.get_ydata()[0] <= record.ranges[name].high for line in crosses)
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[1].get_yscale() == "linear"
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["trial 3: Adam, rate 0.1 (selected)", "trial 1: Adam, rate 0.1", "3 others", "diverged (2)"]


def test_a_panel_without_numbers_is_left_out() -> None:
    record = curves_record()
    ranges = {name: one for name, one in record.ranges.items() if name != "validation_loss"}
    assert len(plot.curves(dataclasses.replace(record, ranges=ranges)).axes) == 2


def test_nothing_to_draw_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg.plot import curves_figure, path_figure

    monkeypatch.setattr(curves_figure, "curves_record", lambda run, top: Lacking("no epochs"))
    monkeypatch.setattr(path_figure, "path_record", lambda path: Lacking("no solutions"))
    with pytest.raises(UsageError, match="curves: no epochs"):
        plot.curves("a run")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="path: no solutions"):
        plot.path("a path")  # type: ignore[arg-type]


def test_a_path_runs_from_the_strongest_penalty() -> None:
    record = strengths_record()
    figure = plot.path(record)
    FigureCanvasAgg(figure).draw()
    accuracy, losses, sizes, bounds, weights = figure.axes
    assert accuracy.get_xlim()[0] > accuracy.get_xlim()[1]
    np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), record.series[0].accuracies)
    np.testing.assert_array_equal(losses.lines[1].get_ydata(), record.series[0].values)
    np.testing.assert_array_equal(sizes.lines[0].get_ydata(), record.series[0].nonzeros)
    assert {text.get_text() for text in accuracy.texts} == {"best (chosen)", "one standard error"}
    levels = [line.get_ydata()[0] for line in bounds.lines if len(line.get_xdata()) == 2]
    assert {1e-4, 1e-2} <= {float(level) for level in levels}
    assert len(weights.lines) == 3  # two weights and the choice
    names = [text.get_text() for text in weights.get_legend().get_texts()]
    assert names[0] == "b_1$, class $a$"
    assert not any(text.get_parse_math() for text in weights.get_legend().get_texts())


def test_a_path_without_folds_or_zeros() -> None:
    figure = plot.path(strengths_record("l2", folds=0), dark=True)
    assert len(figure.axes) == 3
    assert figure.axes[1].get_ylabel() == "norm of the weights"

"""The figures of rates and hyperparameters: every trial is drawn, in both themes, and bad input is refused."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "report"))

from report_cases import made_run

from thalweg import plot
from thalweg.errors import UsageError
from thalweg.report.block import Lacking
from thalweg.report.records.hyperparameters import hyperparameters_record
from thalweg.report.records.rate_map import rate_map_record
from thalweg.report.records.sensitivity import sensitivity_record
from thalweg.run import Run

HOSTILE = "$100_000$ </script> " + "x" * 200
FIGURES = {
    "sensitivity": (plot.sensitivity, sensitivity_record),
    "hyperparameters": (plot.hyperparameters, hyperparameters_record),
    "rate_map": (plot.rate_map, rate_map_record),
}


@functools.cache
def run() -> Run:
    return made_run(40, diverged=6, pruned=5, optimizers=("adamw", "sgd", "lion"))


def points(axes: Axes, label: str) -> np.ndarray:
    """Where the marks of one kind stand: (k, 2)."""
    found = [line.get_xydata() for line in axes.get_lines() if line.get_label() == label]
    return np.concatenate(found) if found else np.zeros((0, 2))


def shown(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def test_sensitivity_draws_each_trial_in_its_panel() -> None:
    record = sensitivity_record(run())
    assert not isinstance(record, Lacking)
    figure = plot.sensitivity(record)
    panels = shown(figure)
    assert [axes.get_title(loc="left").split("\n")[0] for axes in panels] == [one.name for one in record.optimizers]
    assert len({axes.get_xlim() for axes in panels}) == len({axes.get_ylim() for axes in panels}) == 1
    for axes, one in zip(panels, record.optimizers, strict=True):
        told = np.array(one.outcomes)
        for outcome, label in (("finished", "finished"), ("cut short", "not trained to the end")):
            expected = np.stack([one.rates, one.accuracy], axis=1)[told == outcome]
            np.testing.assert_array_equal(points(axes, label), expected)
        crosses = points(axes, "diverged")
        np.testing.assert_array_equal(crosses[:, 0], one.rates[told == "diverged"])
        assert (crosses[:, 1] < np.nanmin(record.optimizers[0].accuracy)).all()
    rings = np.concatenate([points(axes, "selected") for axes in panels])
    best = run().best
    assert best is not None
    assert rings.tolist() == [[best.recipe.optimizer.learning_rate.base, best.validation_accuracy]]


def test_hyperparameters_draws_each_trial_that_has_one() -> None:
    record = hyperparameters_record(run())
    assert not isinstance(record, Lacking)
    panels = shown(plot.hyperparameters(record))
    assert len(panels) == len(record.hyperparameters)
    for axes, one in zip(panels, record.hyperparameters, strict=True):
        drawn = sum(len(points(axes, label)) for label in ("finished", "diverged", "not trained to the end"))
        assert drawn == one.there.sum()
        assert axes.get_xscale() == ("log" if one.log else "linear")


def test_the_map_writes_the_best_accuracy_of_each_cell() -> None:
    record = rate_map_record(run())
    assert not isinstance(record, Lacking)
    axes = plot.rate_map(record).axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(texts) == (record.trials > 0).sum()
    for (x, y), text in texts.items():
        best = record.best[int(y), int(x)]
        lost = "×" if record.only_diverged[int(y), int(x)] else "–"
        assert text == (f"{100 * best:.1f}" if np.isfinite(best) else lost)
    assert len(axes.patches) == (record.winner is not None)


@pytest.mark.parametrize("name", FIGURES)
def test_a_run_and_its_record_give_the_same_figure_in_either_theme(name: str) -> None:
    draw, build = FIGURES[name]
    light, dark = draw(run()), draw(build(run()), dark=True)  # type: ignore[arg-type,operator]
    assert sum(light.get_facecolor()[:3]) > 2.9
    assert sum(dark.get_facecolor()[:3]) < 0.5
    for one, other in zip(shown(light), shown(dark), strict=True):
        assert [text.get_text() for text in one.texts] == [text.get_text() for text in other.texts]
        for first, second in zip(one.get_lines(), other.get_lines(), strict=True):
            np.testing.assert_array_equal(first.get_xydata(), second.get_xydata())


@pytest.mark.parametrize("name", FIGURES)
def test_what_cannot_be_drawn_is_refused_with_the_reason(name: str) -> None:
    draw: Callable[..., Figure] = FIGURES[name][0]
    with pytest.raises(UsageError, match="search"):
        draw(made_run(1, diverged=0))


@pytest.mark.parametrize("name", FIGURES)
def test_all_diverged_is_drawn(name: str) -> None:
    draw: Callable[..., Figure] = FIGURES[name][0]
    figure = draw(made_run(9, diverged=9))
    figure.set_dpi(40)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert np.asarray(canvas.buffer_rgba()).std() > 0


def test_names_of_any_kind_are_shown_as_they_are() -> None:
    record = hyperparameters_record(run())
    assert not isinstance(record, Lacking)
    named = tuple(dataclasses.replace(one, short=HOSTILE) for one in record.hyperparameters)
    figure = plot.hyperparameters(dataclasses.replace(record, hyperparameters=named * 5))
    titles = [axes._left_title for axes in shown(figure)]  # type: ignore[attr-defined]
    assert len(titles) == 12
    for title in titles:
        assert title.get_text().startswith("$100_000$")
        assert not title.get_parse_math()

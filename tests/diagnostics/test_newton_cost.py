"""The record of what second-order steps cost, and its picture."""

from __future__ import annotations

import numpy as np

from thalweg.diagnostics.newton_cost import NewtonCost
from thalweg.plot.newton_cost_figure import newton_cost

SIZES = np.array([50, 100, 200, 1000])
COST = NewtonCost(
    ("cubic", "linear"),
    SIZES,
    np.stack([1e-9 * SIZES**3.0, 1e-6 * SIZES]),
    np.stack([4.0 * SIZES**2, np.array([np.nan, 400, 800, np.nan])]),
    "made up: $_{",
)


def test_slopes_are_the_powers() -> None:
    np.testing.assert_allclose(COST.slopes(COST.seconds), [3, 1], rtol=1e-12)
    np.testing.assert_allclose(COST.slopes(COST.bytes), [2, 1], rtol=1e-12)
    # What was not measured is no part of the fit; one point alone has no slope.
    assert np.isnan(COST.slopes(COST.bytes, last=1)).all()


def test_the_figure_writes_slopes_and_units() -> None:
    figure = newton_cost(COST)
    time, memory = figure.axes
    assert [text.get_text() for text in time.texts] == ["n^1.0", "n^3.0"]
    assert time.get_xlabel() == memory.get_xlabel() == "weights n"
    ticks = time.yaxis.get_major_formatter()
    assert [ticks(value) for value in (1e-5, 0.1, 10)] == ["10 µs", "100 ms", "10 s"]
    assert memory.yaxis.get_major_formatter()(1e4) == "10 kB"
    figure.canvas.draw()  # the note is no mathematics
    assert newton_cost(COST, dark=True).get_facecolor() != figure.get_facecolor()

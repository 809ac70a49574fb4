"""The edge of stability: where gradient descent fails, against theory and a NumPy loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

import thalweg as tw
from thalweg.data import Split
from thalweg.diagnostics import lanczos
from thalweg.diagnostics.curvature import curvature
from thalweg.diagnostics.stability_edge import EdgeRecord, edge
from thalweg.errors import DivergedError, UsageError
from thalweg.losses import Hinge
from thalweg.models import Dense, Linear
from thalweg.optimizers import SGD, Adam
from thalweg.penalties import L1, L2, NoPenalty
from thalweg.plot.edge_figure import edge as draw
from thalweg.recipe import Recipe

STRENGTH = 0.05


def split() -> Split:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(80, 4)) * [3, 1, 1, 0.5]).astype(np.float32)
    y = (x[:, :3] + rng.gumbel(size=(80, 3))).argmax(axis=1).astype(np.int32)
    return Split(x, y)


def recipe(**optimizer: Any) -> Recipe:
    return Recipe(model=Linear(bias=False), penalty=L2(STRENGTH), optimizer=SGD(0.1, **optimizer))


@pytest.fixture(scope="module")
def plain() -> EdgeRecord:
    return edge(recipe(), split(), preprocessing=None, steps=300)


def test_the_measured_edge_is_the_predicted_one(plain: EdgeRecord) -> None:
    below, above = plain.measured
    assert below < plain.limit_solution < above
    assert above / below == pytest.approx(128 ** (1 / 23))  # one step of the grid
    assert "unsettled" in plain.outcomes
    assert plain.outcomes[plain.best] == "settled"


def test_losses_are_those_of_a_numpy_loop(plain: EdgeRecord) -> None:
    data, place = split(), 10
    x, y, rate = data.features.astype(np.float64), data.labels, plain.rates[place]
    w, line = np.zeros((3, 4)), []
    for _ in range(plain.steps + 1):
        log_p = log_softmax(x @ w.T, axis=1)
        line.append(-log_p[np.arange(80), y].mean() + STRENGTH * np.sum(w**2))
        gradient = (np.exp(log_p) - np.eye(3)[y]).T @ x / 80 + 2 * STRENGTH * w
        w = w - rate * gradient
    # The recipe begins at weights of 1e-4, the loop at 0.
    np.testing.assert_allclose(plain.losses[place], line, atol=2e-4)
    assert plain.final[place] == pytest.approx(line[-1], rel=2e-6)


def test_sharpness_is_the_curvature_where_a_rate_ended(plain: EdgeRecord) -> None:
    # All settled rates of this convex problem end at one optimum, but for the slowest.
    settled = [i for i, one in enumerate(plain.outcomes) if one == "settled"][8:]
    np.testing.assert_allclose(plain.sharpness[settled], plain.solution.largest.value, rtol=1e-3)
    start = curvature(recipe(), split(), preprocessing=None)
    assert plain.start.largest.value == pytest.approx(start.largest.value, rel=1e-5)


@pytest.fixture(scope="module")
def beside() -> dict[str, np.ndarray]:
    """Weights next to the solution."""
    fine = tw.fit(
        Recipe(model=Linear(bias=False), penalty=L2(STRENGTH), optimizer=SGD(0.5), batch_size="full", epochs=100),
        tw.Dataset("made", "made", split(), ("a", "b", "c"), validation=split()), preprocessing=None, test=0,
    )  # fmt: skip
    return {"weight": fine.model.params["weight"] + np.float32(1e-3)}


@pytest.mark.parametrize(
    ("optimizer", "factor"),
    [({}, 2), ({"momentum": 0.8}, 3.6), ({"momentum": 0.8, "nesterov": True}, 3.6 / 2.6)],
)
def test_beside_the_solution_a_rate_stays_below_the_limit_and_leaves_above_it(
    plain: EdgeRecord, beside: dict[str, np.ndarray], optimizer: dict[str, Any], factor: float
) -> None:
    # From afar heavy-ball momentum may circle at rates under its limit too; here theory holds as it stands.
    limit = factor / plain.solution.largest.value
    rates = limit * np.array([0.5, 0.93, 1.07, 2.0])
    found = edge(recipe(**optimizer), split(), preprocessing=None, steps=300, rates=rates, point=beside)
    assert found.outcomes[:2] == ("settled", "settled")
    assert "settled" not in found.outcomes[2:]
    assert found.limit_solution == pytest.approx(limit, rel=1e-4)
    assert found.limit_start == pytest.approx(limit, rel=1e-2)
    np.testing.assert_allclose(found.limits * found.rates, factor)


def test_a_rate_that_overflows_is_marked_and_leaves_the_others_alone() -> None:
    # On weights w the penalty alone multiplies by 1 − 2 α strength: beyond 1/strength it grows without end.
    rates = [0.25, 0.5, 300.0]
    found = edge(recipe(), split(), preprocessing=None, steps=60, rates=rates)
    alone = edge(recipe(), split(), preprocessing=None, steps=60, rates=rates[:2])
    assert found.outcomes == ("settled", "settled", "diverged")
    assert np.isnan(found.final[2])
    assert np.isnan(found.sharpness[2])
    assert found.measured == (0.5, 300.0)
    np.testing.assert_allclose(found.losses[:2], alone.losses, rtol=1e-5)
    figure = draw(found)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "diverged" in labels
    with pytest.raises(DivergedError, match="give smaller ones"):
        edge(recipe(), split(), preprocessing=None, steps=60, rates=[300.0, 400.0])


def test_ends_that_do_not_fit_together_are_measured_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = [0.2, 0.3, 0.4, 0.5, 0.6]
    whole = edge(recipe(), split(), preprocessing=None, steps=60, rates=rates)
    # Room for two bases of 12 vectors of 12 weights, as at the start; five would be refused after the training.
    monkeypatch.setattr(lanczos, "available_bytes", lambda: 2 * 2 * 8 * 12 * 12)
    found = edge(recipe(), split(), preprocessing=None, steps=60, rates=rates)
    np.testing.assert_allclose(found.sharpness, whole.sharpness, rtol=1e-5)
    assert found.outcomes == whole.outcomes


def test_two_objectives_are_told_of_and_the_figure_has_its_labels() -> None:
    network = Recipe(model=Dense(hidden=4, activation="tanh", dropout=0.1), optimizer=SGD(0.1))
    found = edge(network, split(), preprocessing=None, steps=40, rates=3)
    assert "two objectives" in found.notes[0]
    quiet = edge(recipe(), split(), preprocessing=None, steps=60, rates=[0.5, 1.0, 2.0])
    assert quiet.notes == ()
    assert "predicted" in str(quiet)
    figure = draw(quiet, dark=True)
    upper, lower = figure.axes
    assert lower.get_xlabel() == "learning rate"
    assert upper.get_ylabel() == "objective after 60 steps"
    assert lower.get_ylabel() == "λmax at the end"


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"optimizer": Adam(0.1)}, {}, "optimizer is Adam"),
        ({"optimizer": SGD(0.1, weight_decay=0.1)}, {}, "weight_decay"),
        ({"clip": 1.0}, {}, "has clip"),
        ({"loss": Hinge()}, {}, "straight pieces"),
        ({"penalty": L1(0.1)}, {}, "proximal"),
        ({}, {"rates": 1}, "rates"),
        ({}, {"rates": [0.2, 0.1]}, "ascending"),
        ({}, {"rates": [-1.0, 0.1]}, "above 0"),
        ({}, {"rates": "fast"}, "rates is"),
        ({}, {"steps": 3}, "steps"),
    ],
)
def test_what_does_not_serve_is_refused(changed: dict[str, Any], options: dict[str, Any], message: str) -> None:
    given = Recipe(**{"model": Linear(), "penalty": NoPenalty(), "optimizer": SGD(0.1), **changed})
    with pytest.raises(UsageError, match=message):
        edge(given, split(), preprocessing=None, **options)

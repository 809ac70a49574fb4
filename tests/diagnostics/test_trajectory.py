"""The way of the weights and the plane of its principal components."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import log_softmax

import thalweg as tw
from thalweg.averaging import ExponentialAverage
from thalweg.data import Split
from thalweg.diagnostics.trajectory import PlaneRecord, Trajectory, plane, trajectory
from thalweg.errors import DivergedError, UsageError
from thalweg.models import Dense, Linear
from thalweg.optimizers import SGD, Adam, RandomSearch
from thalweg.penalties import L2
from thalweg.plot.plane_figure import plane as draw
from thalweg.recipe import Recipe


def split(features: int = 4, count: int = 60, classes: int = 3) -> Split:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, features)).astype(np.float32)
    y = (x[:, :classes] + rng.gumbel(size=(count, classes))).argmax(axis=1).astype(np.int32)
    return Split(x, y)


NETWORK = Recipe(model=Dense(hidden=3), penalty=L2(1e-3), optimizer=Adam(0.02), batch_size=16, epochs=8)


@pytest.fixture(scope="module")
def way() -> Trajectory:
    return trajectory(NETWORK, split(), preprocessing=None)


@pytest.fixture(scope="module")
def record(way: Trajectory) -> PlaneRecord:
    return plane(way, points=9)


def objective(weights: np.ndarray, data: Split, strength: float = 1e-3) -> float:
    """Two layers in float64, from the vector of all weights: leaves in the order of their names."""
    sizes = [(3,), (3, data.features.shape[1]), (3,), (3, 3)]
    parts, start = [], 0
    for shape in sizes:
        count = int(np.prod(shape))
        parts.append(weights[start : start + count].reshape(shape))
        start += count
    b1, w1, b2, w2 = parts
    scores = np.maximum(data.features @ w1.T + b1, 0) @ w2.T + b2
    log_p = log_softmax(scores.astype(np.float64), axis=1)
    return -log_p[np.arange(len(data)), data.labels].mean() + strength * (np.sum(w1**2) + np.sum(w2**2))


def test_every_epoch_is_what_fit_would_return(way: Trajectory) -> None:
    whole = tw.Dataset("made", "made", split(), ("a", "b", "c"), validation=split())
    run = tw.fit(NETWORK, whole, preprocessing=None, test=0)
    assert way.epochs == 8
    assert way.points.shape == (9, 27)
    # A validation split is evaluated beside it, which changes no step: the same numbers to the last bit.
    for mine, theirs in ((way.params(8), run.model.params), (way.model.params, run.model.params)):
        for layer in theirs:
            np.testing.assert_array_equal(mine[layer]["weight"], theirs[layer]["weight"])
    of_run = trajectory(run, whole)
    np.testing.assert_array_equal(of_run.points, way.points)
    early = tw.fit(NETWORK, whole, preprocessing=None, test=0, patience=1)
    np.testing.assert_array_equal(trajectory(early, whole).points, way.points[: early.best.kept_epoch + 1])


def test_components_are_those_of_numpys_decomposition(way: Trajectory, record: PlaneRecord) -> None:
    rows = way.points.astype(np.float64) - way.points[-1]
    values, vectors = np.linalg.eigh(rows.T @ rows)
    np.testing.assert_allclose(record.variances, values[[-1, -2]] / values.sum(), rtol=1e-10)
    np.testing.assert_allclose(np.abs(record.directions @ vectors[:, [-1, -2]]), np.eye(2), atol=1e-10)
    # What the plane holds and what it leaves out add up to the whole way.
    lengths = np.linalg.norm(rows, axis=1)
    left = np.sum((record.errors * lengths) ** 2)
    assert left / np.sum(lengths**2) == pytest.approx(1 - record.variances.sum(), rel=1e-9)
    np.testing.assert_allclose(np.sum(record.path**2, axis=1) + (record.errors * lengths) ** 2, lengths**2)
    assert (record.path[-1] == 0).all()
    assert record.errors[-1] == 0


def test_values_are_the_objective_itself(way: Trajectory, record: PlaneRecord) -> None:
    data, last = split(), way.points[-1].astype(np.float64)
    # float32 scores and losses of order one, averaged.
    close = {"rtol": 3e-6}
    np.testing.assert_allclose(record.path_values, [objective(p, data) for p in way.points.astype(float)], **close)
    projected = last + record.path @ record.directions
    np.testing.assert_allclose(record.projected_values, [objective(p, data) for p in projected], **close)
    for row, column in ((0, 0), (8, 0), (3, 7), (4, 4)):
        place = last + record.xs[column] * record.directions[0] + record.ys[row] * record.directions[1]
        assert record.values[row, column] == pytest.approx(objective(place, data), rel=3e-6)


def test_two_weights_lie_on_their_plane() -> None:
    # One feature, two classes, no biases: two weights, so the plane is all there is.
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 1)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=40) > 0).astype(np.int32)
    recipe = Recipe(model=Linear(scale=1.0, bias=False), penalty=L2(0.1), optimizer=SGD(0.5), batch_size=8, epochs=6)
    found = plane(trajectory(recipe, Split(x, y), preprocessing=None), points=5)
    assert found.variances.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(found.errors, 0, atol=1e-7)
    np.testing.assert_allclose(found.projected_values, found.path_values, rtol=1e-6)


def test_the_grid_holds_the_way_and_its_margin(way: Trajectory, record: PlaneRecord) -> None:
    for line, column in ((record.xs, 0), (record.ys, 1)):
        low, high = record.path[:, column].min(), record.path[:, column].max()
        assert line[0] == pytest.approx(low - 0.25 * (high - low))
        assert line[-1] == pytest.approx(high + 0.25 * (high - low))
    bare = plane(way, points=3, margin=0)
    assert bare.xs[0] == pytest.approx(record.path[:, 0].min())
    few = plane(way, points=3, examples=20)
    assert few.examples == 20
    assert few.values[0, 0] != bare.values[0, 0]


def test_what_is_judged_is_what_is_followed() -> None:
    averaged = dataclasses.replace(NETWORK, averaging=ExponentialAverage(0.9), epochs=3)
    whole = tw.Dataset("made", "made", split(), ("a", "b", "c"), validation=split())
    run = tw.fit(averaged, whole, preprocessing=None, test=0)
    way = trajectory(run, whole)
    np.testing.assert_array_equal(way.model.params["output"]["weight"], run.model.params["output"]["weight"])


def test_normalisation_is_told_of() -> None:
    recipe = dataclasses.replace(NETWORK, model=Dense(hidden=3, batch_norm=True), epochs=3)
    found = plane(trajectory(recipe, split(), preprocessing=None), points=3)
    assert "last statistics" in found.notes[0]


def test_the_figure_tells_of_variance_and_error(record: PlaneRecord) -> None:
    figure = draw(record)
    axes = figure.axes[0]
    assert (
        axes.get_xlabel()
        == f"first principal component ({100 * record.variances[0]:.0f} % of the way's squared length)"
    )
    assert "Distance from the plane" in figure.get_supxlabel()
    assert figure.axes[1].get_ylabel() == "objective (loss and penalty)"
    assert draw(record, dark=True).get_facecolor() != figure.get_facecolor()


def test_what_has_no_way_is_refused(way: Trajectory) -> None:
    with pytest.raises(UsageError, match="does not hold its way"):
        trajectory(way.model, split())
    with pytest.raises(UsageError, match="random search"):
        trajectory(Recipe(optimizer=RandomSearch()), split(), preprocessing=None)
    with pytest.raises(UsageError, match="open"):
        trajectory(Recipe(penalty=L2(tw.log_uniform(1e-3, 1))), split())
    wild = Recipe(penalty=L2(1.0), optimizer=SGD(1e6), batch_size=16, epochs=8)
    with pytest.raises(DivergedError, match="trajectory: the loss left"):
        trajectory(wild, split(), preprocessing=None)
    still = dataclasses.replace(way, points=np.ones((3, 27), np.float32))
    with pytest.raises(UsageError, match="never moved"):
        plane(still)
    with pytest.raises(UsageError, match="points"):
        plane(way, points=2)
    with pytest.raises(UsageError, match="margin"):
        plane(way, margin=-1)
    with pytest.raises(UsageError, match="examples"):
        plane(way, examples=0)

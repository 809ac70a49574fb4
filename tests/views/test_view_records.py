"""The records of a model's views: scales, units, examples and bounds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import thalweg as tw
from thalweg.data import Dataset, Preprocessing, Split
from thalweg.views import linear_form, region_record, template_record, weight_record


def linear(
    weights: Any, shape: tuple[int, ...], shift: Any = 0, scale: Any = 1, kind: str = "standardize", **more: Any
) -> tw.FittedModel:
    weights = np.asarray(weights, np.float32)
    seen = Preprocessing(kind, np.asarray(shift, np.float32), np.asarray(scale, np.float32))
    params = {"weight": weights.reshape(len(weights), -1), "bias": np.arange(len(weights), dtype=np.float32)}
    classes = tuple("abcdef"[: len(weights)])
    return tw.FittedModel(tw.Recipe(), params, {}, seen, classes, shape, **more)


def test_an_estimator_stands_for_the_model_that_it_holds() -> None:
    model = linear(np.eye(3), (3,), shift=[1, 2, 3], scale=[2, 2, 4])
    for one, other in zip(linear_form(model), linear_form(SimpleNamespace(model_=model)), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(tw.UsageError, match="model is a SimpleNamespace; give a FittedModel"):
        linear_form(SimpleNamespace(model_=None))


@pytest.mark.parametrize("scale", ["each", "shared"])
def test_templates_are_shown_up_to_a_high_quantile_of_their_weights(scale: Any) -> None:
    weights = np.random.default_rng(0).normal(size=(2, 20, 20, 3)) * np.array([1, 5])[:, None, None, None]
    weights[0, 0, 0, 0] = 100
    weights[:, 5] = 0
    record = template_record(linear(weights, (20, 20, 3)), scale=scale)
    np.testing.assert_allclose(record.weights, weights.astype(np.float32), rtol=0, atol=0)
    parts = [[record.weights[0]], [record.weights[1]]] if scale == "each" else [[record.weights]] * 2
    for limit, (part,) in zip(record.limits, parts, strict=True):
        assert limit == np.quantile(np.abs(part[part != 0]), 0.995)
    relative = record.relative()
    assert relative.max() == 1
    assert relative[0, 0, 0, 0] == 1
    assert (relative[:, 5] == 0).all()
    inside = np.abs(record.weights) < record.limits[:, None, None, None]
    np.testing.assert_allclose(
        (relative * record.limits[:, None, None, None])[inside], record.weights[inside], rtol=1e-14
    )


def test_a_template_of_nothing_is_0() -> None:
    record = template_record(linear(np.zeros((2, 2, 2, 1)), (2, 2, 1)))
    np.testing.assert_array_equal(record.relative(), np.zeros((2, 2, 2, 1)))


def test_weights_are_per_standard_deviation_or_as_in_the_linear_form() -> None:
    model = linear([[1, 2, 3], [4, 5, 6]], (3,), shift=[1, 0, 0], scale=[0.5, 2, 0], feature_names=("x", "y", "z"))
    record = weight_record(model)
    assert record.feature_names == ("x", "y", "z")
    np.testing.assert_array_equal(record.weights, [[1, 2, 0], [4, 5, 0]])  # z is constant: no score sees it
    assert record.unit == "standard deviation of the feature"
    raw = weight_record(model, preprocessed=False)
    np.testing.assert_array_equal(raw.weights, linear_form(model)[0])
    np.testing.assert_array_equal(raw.bias, linear_form(model)[1])
    assert raw.unit == "unit of the feature"
    assert weight_record(linear(np.eye(2), (2,))).feature_names == ("feature 0", "feature 1")
    with pytest.raises(tw.UsageError, match="are images: look at them as templates"):
        weight_record(linear(np.ones((2, 2, 2, 1)), (2, 2, 1)))


@pytest.fixture
def flat() -> tw.FittedModel:
    return linear([[1, 0], [-1, 0], [0, 1]], (2,), shift=[10, 0], scale=[0.5, 2], feature_names=("u", "v"))


def test_scores_and_margins_on_the_grid_are_the_model_s(flat: Any) -> None:
    record = region_record(flat, bounds=((5, 15), (-1, 1)), points=11)
    assert record.scores.shape == (3, 11, 11)
    grid = np.stack(np.meshgrid(record.xs, record.ys), axis=-1).astype(np.float32)
    scores = flat.scores(grid.reshape(-1, 2)).reshape(11, 11, 3)
    np.testing.assert_array_equal(record.scores, scores.transpose(2, 0, 1))
    np.testing.assert_array_equal(record.regions, scores.argmax(axis=2))
    for label in range(3):
        others = np.delete(scores, label, axis=2).max(axis=2)
        np.testing.assert_array_equal(record.margin(label), scores[:, :, label] - others)
        won = record.regions == label
        assert (record.margin(label)[won] >= 0).all()
        assert (record.margin(label)[~won] <= 0).all()


def test_bounds_are_given_or_hold_the_examples_or_three_standard_deviations(flat: Any) -> None:
    record = region_record(flat, points=3)
    np.testing.assert_allclose([record.xs, record.ys], [[4, 10, 16], [-1.5, 0, 1.5]])
    x = np.array([[0, 5], [10, 5], [4, 5]], np.float32)
    record = region_record(flat, Split(x, np.array([0, 1, 2], np.int32)), points=3)
    np.testing.assert_allclose([record.xs, record.ys], [[-0.8, 5, 10.8], [4, 5, 6]])
    np.testing.assert_array_equal(record.examples, x)
    np.testing.assert_array_equal(record.predicted, flat.scores(x).argmax(axis=1))


def test_examples_are_matched_by_name_and_taken_from_all_splits(flat: Any) -> None:
    x = np.array([[1, 20], [2, 30]], np.float32)
    data = Dataset(
        "d", "d", Split(x, np.array([0, 1], np.int32)), ("c", "a"),
        test=Split(x + 1, np.array([1, 1], np.int32)), feature_names=("v", "u"),
    )  # fmt: skip
    record = region_record(flat, data, points=2)
    np.testing.assert_array_equal(record.examples, [[20, 1], [30, 2], [21, 2], [31, 3]])
    np.testing.assert_array_equal(record.labels, [2, 0, 0, 0])


def test_bytes_have_a_grid_of_bytes() -> None:
    model = linear(np.eye(2), (2,), kind="none", feature_dtype="uint8")
    record = region_record(model, bounds=((-10, 20), (250, 300)), points=301)
    np.testing.assert_array_equal(record.xs, np.arange(21))
    np.testing.assert_array_equal(record.ys, np.arange(250, 256))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bounds": ((1, 0), (0, 1))}, "bounds is .*each low below its high"),
        ({"bounds": (0, 1)}, "bounds is"),
        ({"points": 1}, "points is 1; give a whole number of at least 2"),
        ({"data": Split(np.zeros((2, 2), np.float32), None)}, "the examples have no labels"),
        ({"data": (np.zeros((2, 3), np.float32), np.array(["a", "b"]))}, "have shape \\(3,\\); the model takes two"),
        ({"data": (np.zeros((2, 2), np.float32), np.array(["a", "q"]))}, "class 'q' is unknown"),
    ],
)
def test_what_does_not_fit_is_refused(flat: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(tw.ThalwegError, match=message):
        region_record(flat, **arguments)

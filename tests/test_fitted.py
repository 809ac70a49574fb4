"""A fitted model: scores, predictions and their judgement, block by block."""

from __future__ import annotations

import dataclasses
import math

import jax
import numpy as np
import pytest

from thalweg import fitted, losses, models, optimizers
from thalweg.data.dataset import Split
from thalweg.data.preprocessing import Preprocessing, fit_preprocessing
from thalweg.errors import DataError, UsageError
from thalweg.fitted import FittedModel, Score
from thalweg.recipe import Recipe
from thalweg.statistics import wilson

CLASSES = ("cat", "dog", "owl")


def linear(loss=None, *, shape=(2, 3), bias=True, preprocessing=None):
    rng = np.random.default_rng(0)
    params = {"weight": rng.normal(size=(3, math.prod(shape))).astype(np.float32)}
    if bias:
        params["bias"] = rng.normal(size=3).astype(np.float32)
    recipe = Recipe(model=models.Linear(bias=bias), loss=loss or losses.Softmax())
    preprocessing = preprocessing or Preprocessing("none", np.float32(0), np.float32(1))
    return FittedModel(recipe, params, (), preprocessing, CLASSES, shape)


def features(count=10, shape=(2, 3)):
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)


def exact_scores(model, x):
    prepared = (x.astype(np.float64) - model.preprocessing.shift) * model.preprocessing.scale
    flat = prepared.reshape(len(x), -1)
    return flat @ model.params["weight"].T.astype(np.float64) + model.params.get("bias", 0)


@pytest.mark.parametrize("bias", [True, False])
def test_scores_are_those_of_the_preprocessed_features(bias):
    x = np.random.default_rng(2).integers(0, 256, (30, 2, 3), np.uint8)
    model = linear(bias=bias, preprocessing=fit_preprocessing(x, "standardize"))
    model = dataclasses.replace(model, feature_dtype="uint8")
    found = model.scores(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact_scores(model, x), rtol=1e-5, atol=1e-5)  # float32 sums of six terms
    for wrong, given in ((model, x.astype(np.float32)), (linear(bias=bias), x)):
        with pytest.raises(DataError, match="was trained on"):
            wrong.scores(given)


def test_predictions_are_the_names_of_the_highest_scores():
    model, x = linear(), features()
    assert model.predict(x).tolist() == [CLASSES[i] for i in exact_scores(model, x).argmax(axis=1)]


def test_probabilities_are_the_softmax_of_the_scores():
    model, x = linear(), features()
    exact = np.exp(exact_scores(model, x))
    found = model.probabilities(x)
    np.testing.assert_allclose(found, exact / exact.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    with pytest.raises(UsageError, match=r"a model trained with Hinge has no probabilities: use its scores"):
        linear(losses.Hinge()).probabilities(x)


def test_blocks_make_no_difference(monkeypatch):
    model, x = linear(), features(23)
    whole, score = model.scores(x), model.score(Split(x, np.arange(23, dtype=np.int32) % 3))
    monkeypatch.setattr(fitted, "_ROWS", 5)
    np.testing.assert_allclose(model.scores(x), whole, rtol=1e-6, atol=1e-6)
    again = model.score(Split(x, np.arange(23, dtype=np.int32) % 3))
    assert (again.correct, again.count) == (score.correct, score.count)
    assert again.loss == pytest.approx(score.loss, rel=1e-6)


@pytest.mark.parametrize("loss", [losses.Softmax(), losses.Hinge()])
def test_a_score_counts_and_averages(loss):
    model, x = linear(loss), features(50)
    labels = np.random.default_rng(3).integers(0, 3, 50).astype(np.int32)
    score = model.score(Split(x, labels))
    exact = exact_scores(model, x)
    assert score.correct == np.sum(exact.argmax(axis=1) == labels)
    assert score.count == 50
    true = exact[np.arange(50), labels][:, None]
    each = np.log(np.exp(exact - true).sum(axis=1))
    if isinstance(loss, losses.Hinge):
        each = np.maximum(exact - true + 1, 0).sum(axis=1) - 1
    assert score.loss == pytest.approx(each.mean(), rel=1e-5)
    assert score.accuracy == score.correct / 50
    assert score.interval == wilson(score.correct, 50)
    assert score.interval[0] < score.accuracy < score.interval[1]


def test_no_examples():
    model = linear()
    assert model.scores(features(0)).shape == (0, 3)
    assert model.predict(features(0)).shape == (0,)
    with pytest.raises(DataError, match="there are no labelled examples to score"):
        model.score(Split(features(2), None))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (features(4, (7,)), r"the features have shape \(7,\) an example, the model takes \(2, 3\)"),
        (features(4)[0], r"the features have shape \(3,\) an example"),
        (np.float32(3), r"the features have shape \(\) an example"),
        (np.array([["a"]]), r"the features are of type <U1: give numbers"),
        (np.array([[None]]), r"the features are of type object: give numbers"),
        (np.zeros((1, 2, 3), complex), r"the features are of type complex128: give numbers"),
        (np.full((1, 2, 3), np.nan), r"the scores of example 0 are NaN: its features are NaN, infinite or too large"),
    ],
)
def test_features_of_another_sort(x, message):
    with pytest.raises(DataError, match=message):
        linear().predict(x)


def test_the_example_that_is_nan_is_named_across_blocks(monkeypatch):
    monkeypatch.setattr(fitted, "_ROWS", 4)
    x = features(10)
    x[9, 0, 0] = np.inf  # a weight of each sign: +∞ and −∞ among the scores, but NaN only by 0·∞ or ∞ − ∞
    x[9, 0, 1] = -np.inf
    with pytest.raises(DataError, match="the scores of example 9 are NaN"):
        linear().scores(x)
    with pytest.raises(DataError, match="the scores of example 9 are NaN"):
        linear().score(Split(x, np.zeros(10, np.int32)))


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_of_other_classes(label):
    with pytest.raises(DataError, match=r"labels run from .* the model has 3 classes: match them by name"):
        linear().score(Split(features(2), np.array([0, label], np.int32)))


def test_features_of_another_shape_cannot_be_scored():
    with pytest.raises(DataError, match="the features have shape"):
        linear().score(Split(features(2, (6,)), np.zeros(2, np.int32)))


def test_a_model_of_functions_predicts():
    def init(key, input_shape, classes):
        return (), {"seen": 0}

    def apply(params, state, x, *, key, training):
        assert key is None
        assert not training
        return x[:, 0, :] + params["offset"][None], state

    recipe = Recipe(model=(init, apply), optimizer=optimizers.SGD(0.1))
    none = Preprocessing("none", np.float32(0), np.float32(1))
    model = FittedModel(recipe, {"offset": np.float32([0, 10, 0])}, {"seen": np.int32(3)}, none, CLASSES, (2, 3))
    assert set(model.predict(features(5))) == {"dog"}


def test_the_score_of_nothing_right_and_all_right():
    assert Score(0, 10, 1.0).interval[0] == 0
    assert Score(10, 10, 1.0).interval[1] == 1


def test_models_of_one_shape_share_a_compiled_program(compiled):
    """Weights are arguments of the program: a second model costs no compilation."""
    x = features(shape=(3, 5))  # a shape of no other test
    model = linear(shape=(3, 5))
    model.scores(x)
    assert "_apply" in compiled
    compiled.clear()
    recipe, params = Recipe(model=models.Linear(scale=0.5)), jax.tree.map(np.negative, model.params)
    other = FittedModel(recipe, params, (), model.preprocessing, CLASSES, (3, 5))
    np.testing.assert_allclose(other.scores(x), -model.scores(x), rtol=1e-6)
    assert "_apply" not in compiled


def test_images_may_be_laid_flat():
    model, x = linear(), features()
    np.testing.assert_array_equal(model.scores(x.reshape(len(x), 6)), model.scores(x))

"""Features far from 0: the float32 model scores as its certified float64 weights do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_cases import STRENGTHS, on_grid, split_data, uneven

import thalweg as tw
from thalweg.artifacts.exports.sklearn import build
from thalweg.estimators import PathClassifier

X, Y = uneven()
X = on_grid(X)


def certified(path: tw.paths.Path, features: np.ndarray) -> np.ndarray:
    """The scores of the chosen solution in float64; the preprocessing asked for takes none of their digits here."""
    return features.astype(np.float64) @ path.best.weights.T + path.best.bias


def crossed(features: np.ndarray, **options: Any) -> tw.paths.Path:
    data = {"X_train": features, "y_train": Y, "X_test": features[::2], "y_test": Y[::2]}
    return tw.path(data, **({"strengths": STRENGTHS, "folds": 3, "preprocessing": None} | options))


@pytest.mark.parametrize(
    ("kind", "offset"), [(None, 2.0**17), ("scale", -(2.0**17)), (None, np.array([0, 0, 2.0**17, 0, 0, 2.0**15]))]
)
def test_the_model_scores_as_its_certified_weights(kind: str | None, offset: Any, tmp_path: Path) -> None:
    """2^17 = 131,072 leaves multiples of 1/64 as they are, so nothing but the scoring can round."""
    features = (X + offset).astype(np.float32)
    path = crossed(features, preprocessing=kind)
    wanted = certified(path, features)
    # Six products of some 10 and a bias, each rounded to 6e-8 of itself; without a shift the error is 1e-2.
    np.testing.assert_allclose(path.model.scores(features), wanted, rtol=0, atol=4e-7 * np.abs(wanted).max())
    assert path.test.correct == np.sum(wanted[::2].argmax(axis=1) == Y[::2])
    path.save(tmp_path / "run")
    loaded = tw.artifacts.load_model(tmp_path / "run")
    np.testing.assert_array_equal(loaded.scores(features), path.model.scores(features))
    # The solutions go on speaking of the features as they came.
    assert np.all(path.preprocessing.shift == 0)


def test_features_near_0_are_left_alone() -> None:
    path = tw.path(split_data(), strengths=STRENGTHS, folds=3, preprocessing=None)
    assert path.model.preprocessing.shift.shape == ()
    assert path.model.preprocessing.shift == 0
    np.testing.assert_array_equal(path.model.params["bias"], path.best.bias.astype(np.float32))


@pytest.mark.parametrize("kind", ["center", "standardize"])
def test_other_preprocessing_scores_alike(kind: str) -> None:
    features = (X + 2.0**17).astype(np.float32)
    path = crossed(features, preprocessing=kind)
    prepared = path.preprocessing
    moved = (features.astype(np.float64) - prepared.shift.astype(np.float64)) * prepared.scale.astype(np.float64)
    wanted = moved @ path.best.weights.T + path.best.bias
    np.testing.assert_allclose(path.model.scores(features), wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def test_a_constant_column_does_not_make_it_centre() -> None:
    features = X.copy()
    features[:, 3] = 2.0**17
    path = crossed(features)
    assert path.model.preprocessing.shift.shape == ()


def test_what_is_made_of_the_model_knows_of_its_shift() -> None:
    """The estimator's coefficients act on X as it comes; scikit-learn's pipeline subtracts what the model does."""
    features = (X + 2.0**17).astype(np.float32)
    estimator = PathClassifier(strengths=STRENGTHS, folds=3, preprocessing=None).fit(features, Y)
    wanted = certified(estimator.path_, features)
    own = features.astype(np.float64) @ estimator.coef_.T + estimator.intercept_
    # The intercept is some 1e5, of which float64 keeps 1e-11; a shift counted twice would be wrong by 1e5.
    np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(estimator.predict(features), wanted.argmax(axis=1))
    pipeline = build(estimator.model_)
    np.testing.assert_array_equal(pipeline.predict(features).astype(int), wanted.argmax(axis=1))

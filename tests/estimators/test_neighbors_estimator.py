"""NearestNeighborsClassifier: scikit-learn's own checks, and its KNeighborsClassifier as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from thalweg.errors import UsageError
from thalweg.estimators import NearestNeighborsClassifier
from thalweg.neighbors import index

SKLEARN = {"l1": "manhattan", "l2": "euclidean", "cosine": "cosine"}
X, Y = make_classification(300, 12, n_informative=6, n_classes=3, random_state=0)
NAMES = np.array(["ash", "beech", "oak"])
CASES = (NearestNeighborsClassifier(), NearestNeighborsClassifier("auto", metric="l1", max_neighbors=9))


@pytest.mark.parametrize(
    ("estimator", "check"),
    [pair for case in CASES for pair in estimator_checks_generator(case)],
    ids=lambda part: getattr(getattr(part, "func", None), "__name__", ""),
)
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("summarised", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("metric", SKLEARN)
def test_it_finds_and_predicts_what_scikit_learn_does(metric, dtype, summarised, monkeypatch):
    if summarised:
        monkeypatch.setattr(index, "_FEW", 0)
    x, labels = X.astype(dtype), NAMES[Y]
    x.setflags(write=False)
    ours = NearestNeighborsClassifier(6, metric=metric).fit(x[:200], labels[:200])
    theirs = KNeighborsClassifier(6, metric=SKLEARN[metric], algorithm="brute").fit(x[:200], labels[:200])
    for one, other in zip(ours.kneighbors(x[200:]), theirs.kneighbors(x[200:]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(ours.predict(x[200:]), theirs.predict(x[200:]))
    np.testing.assert_allclose(ours.predict_proba(x[200:]), theirs.predict_proba(x[200:]))
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    for one, other in zip(ours.kneighbors(), theirs.kneighbors(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_without_queries_an_example_is_not_its_own_neighbour():
    x = np.array([[0.0], [0.0], [0.0], [1.0]])
    fitted = NearestNeighborsClassifier(1).fit(x, [0, 1, 0, 1])
    distances, numbers = fitted.kneighbors()
    assert numbers.tolist() == [[1], [0], [0], [0]]
    assert distances.tolist() == [[0], [0], [0], [1]]
    np.testing.assert_array_equal(
        fitted.kneighbors(n_neighbors=2, return_distance=False), [[1, 2], [0, 2], [0, 1], [0, 1]]
    )


def test_auto_chooses_k_on_held_out_examples():
    fitted = NearestNeighborsClassifier("auto", max_neighbors=30, random_state=0).fit(X, Y)
    assert fitted.validation_accuracies_.shape == (30,)
    assert fitted.n_neighbors_ == fitted.validation_accuracies_.argmax() + 1
    assert fitted.kneighbors(X[:2])[0].shape == (2, fitted.n_neighbors_)
    assert fitted.n_samples_fit_ == 300
    again = clone(fitted).fit(X, Y)
    np.testing.assert_array_equal(again.validation_accuracies_, fitted.validation_accuracies_)
    plain = NearestNeighborsClassifier(fitted.n_neighbors_).fit(X, Y)
    np.testing.assert_array_equal(plain.predict(X), fitted.predict(X))


def test_bytes_stay_bytes():
    x = np.random.default_rng(0).integers(0, 256, (40, 6), dtype=np.uint8)
    fitted = NearestNeighborsClassifier(3, metric="l1").fit(x, np.arange(40) % 2)
    assert fitted._index.rows.dtype == np.uint8
    assert fitted.kneighbors(x.astype(float), 1)[0].max() == 0
    with pytest.raises(ValueError, match=r"example 0 holds 0\.5"):
        fitted.predict(np.full((1, 6), 0.5))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_keep_their_names(library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({f"f{i}": X[:, i] for i in range(12)})
    fitted = NearestNeighborsClassifier().fit(frame, NAMES[Y])
    assert fitted.feature_names_in_.tolist() == [f"f{i}" for i in range(12)]
    np.testing.assert_array_equal(fitted.predict(frame), NearestNeighborsClassifier().fit(X, NAMES[Y]).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame.rename(columns={"f0": "g0"}) if library == "pandas" else frame.rename({"f0": "g0"}))


def test_it_stands_in_pipelines_and_searches():
    searched = GridSearchCV(
        make_pipeline(StandardScaler(), NearestNeighborsClassifier()),
        {"nearestneighborsclassifier__n_neighbors": [1, 15], "nearestneighborsclassifier__metric": ["l1", "cosine"]},
        cv=3,
    ).fit(X, Y)
    assert searched.best_score_ > 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors is 0"),
        ({"n_neighbors": "five"}, "n_neighbors is 'five'"),
        ({"metric": "minkowski"}, "metric is 'minkowski'"),
        ({"storage": "int4"}, "storage is 'int4'"),
        ({"n_neighbors": "auto", "max_neighbors": 0}, "max_neighbors is 0"),
        ({"n_neighbors": "auto", "validation_fraction": 1.0}, "validation_fraction is 1.0"),
    ],
)
def test_parameters_are_checked_by_fit(options, message):
    with pytest.raises(UsageError, match=message):
        NearestNeighborsClassifier(**options).fit(X, Y)


def test_more_neighbours_than_examples_are_refused():
    fitted = NearestNeighborsClassifier(5).fit(X[:5], Y[:5])
    assert fitted.kneighbors(X[:1])[0].shape == (1, 5)
    with pytest.raises(UsageError, match="n_neighbors is 5, and there are 4"):
        fitted.kneighbors()
    with pytest.raises(NotFittedError):
        NearestNeighborsClassifier().predict(X)


def test_the_page_shows_what_was_fitted():
    found = NearestNeighborsClassifier("auto", max_neighbors=3).fit(
        np.arange(12.0)[:, None], np.repeat(["<a>", "b"], 6)
    )
    page = found._repr_html_()
    assert "neighbours that vote" in page
    assert "held-out accuracy" in page
    assert "&lt;a&gt;" in page
    assert "neighbours that vote" not in NearestNeighborsClassifier()._repr_html_()

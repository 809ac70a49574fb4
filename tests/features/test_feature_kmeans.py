"""k-means beside scikit-learn's, and what Lloyd's iteration promises."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from thalweg.features.kmeans import kmeans


def cloud(count=600, numbers=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, numbers)).astype(np.float32)


def objective(points, centroids):
    squares = ((points[:, None].astype(np.float64) - centroids[None]) ** 2).sum(axis=2)
    return squares.min(axis=1).mean()


def test_steps_are_those_of_scikit_learn():
    points = cloud()
    first = points[np.random.default_rng(5).choice(600, 7, replace=False)]
    ours, objectives = kmeans(points, 7, 4, np.random.default_rng(5))
    # The same start, and as many steps.
    theirs = KMeans(7, init=first, n_init=1, max_iter=4, tol=0, algorithm="lloyd").fit(points)
    np.testing.assert_allclose(ours, theirs.cluster_centers_, atol=1e-5)
    np.testing.assert_allclose(objectives[0], objective(points, first), rtol=1e-5)


def test_the_objective_never_grows_and_is_that_of_the_centroids():
    points = cloud(seed=1)
    centroids, objectives = kmeans(points, 12, 15, np.random.default_rng(0))
    assert len(objectives) == 15
    assert np.all(np.diff(objectives) <= 1e-6)
    assert objective(points, centroids) <= objectives[-1] + 1e-6
    assert objectives[-1] < 0.9 * objectives[0]


def test_an_empty_cluster_moves_to_the_farthest_point():
    # Four places, one of them rare: several of the first centroids coincide, and all but one of these are empty.
    places = np.array([[0, 0], [0, 10], [10, 0], [10, 10]], np.float32)
    points = places[np.repeat([0, 1, 2, 3], [97, 1, 1, 1])]
    centroids, objectives = kmeans(points, 4, 10, np.random.default_rng(0))
    assert objectives[0] > 0
    assert objectives[-1] == 0
    np.testing.assert_array_equal(np.unique(centroids, axis=0), places)


def test_it_stops_when_nothing_changes_and_tells_where_it_stands():
    points = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)
    told = []
    kmeans(points, 3, 50, np.random.default_rng(0), lambda done, total: told.append((done, total)))
    assert 0 < len(told) < 10
    assert told == [(i + 1, 50) for i in range(len(told))]


def test_one_centroid_is_the_mean():
    points = cloud(50)
    np.testing.assert_allclose(kmeans(points, 1, 2, np.random.default_rng(0))[0][0], points.mean(axis=0), atol=1e-6)

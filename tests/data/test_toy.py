"""Toy data: distributed as described, beyond a straight line, and cured by the features that are said to cure it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.polynomial import polyval
from scipy.stats import kstest
from sklearn.linear_model import LogisticRegression, Ridge

from thalweg.data import toy
from thalweg.data.dataset import Dataset, Split, check_trainable
from thalweg.data.splits import split_dataset
from thalweg.errors import DataError, UsageError

PLANES = {"rings": toy.rings, "xor": toy.xor, "modes": toy.modes}
plane = pytest.mark.parametrize("make", PLANES.values(), ids=PLANES)
CENTRES = 0.6 * np.array([[0, 1], [-np.sqrt(3) / 2, -0.5], [np.sqrt(3) / 2, -0.5]])


def linear_accuracy(features, labels, strength=1e-4):
    """The training accuracy of scikit-learn's softmax with our strength: C = 1 / (2 · strength · N)."""
    features = features / np.std(features, axis=0)[None]
    model = LogisticRegression(C=1 / (2 * strength * len(labels)), max_iter=1000).fit(features, labels)
    return model.score(features, labels)


def best_line_accuracy(points, labels):
    """The most that any line gets right, over half a circle of directions and all places."""
    best = 0.0
    for angle in np.linspace(0, np.pi, 121):
        ordered = labels[np.argsort(points @ [np.cos(angle), np.sin(angle)])]
        right = np.count_nonzero(ordered == 0) + np.concatenate([[0], np.cumsum(2 * ordered - 1)])
        best = max(best, right.max() / len(labels), 1 - right.min() / len(labels))
    return best


@plane
@pytest.mark.parametrize("examples", [2, 501])
def test_a_set_is_balanced_named_and_trainable(make, examples):
    data = make(examples=examples)
    assert [name for name, _ in data.splits()] == ["train"]
    assert data.train.features.dtype == np.float32
    assert data.train.features.shape == (examples, 2)
    assert data.feature_names == ("x", "y")
    assert len(data.classes) == 2
    assert np.ptp(np.bincount(data.train.labels, minlength=2)) <= 1
    check_trainable(data)


def test_many_rings_are_balanced_and_at_their_radii():
    data = toy.rings(examples=100, classes=7, noise=0)
    assert sorted(np.bincount(data.train.labels)) == [14] * 5 + [15] * 2
    assert data.classes == tuple(f"ring {k}" for k in range(1, 8))
    np.testing.assert_allclose(toy.to_polar(data.train.features)[:, 0], data.train.labels + 1, rtol=1e-6)


@pytest.mark.parametrize("make", [*PLANES.values(), toy.polynomial])
def test_the_seed_decides_every_number(make):
    same, again, other = make(seed=3), make(seed=3), make(seed=4)
    assert same.fingerprint() == again.fingerprint() != other.fingerprint()
    labels = same.train.labels
    assert (np.diff(labels) < 0).any(), "the classes are mixed"


def test_rings_are_uniform_around_with_the_noise_asked_for():
    data = toy.rings(examples=4000, noise=0.05, seed=1)
    r, angle = toy.to_polar(data.train.features).T
    off = r - (data.train.labels + 1)
    assert abs(off.std() - 0.05) < 0.002  # its standard error is 0.05 / √8000 = 0.0006
    assert abs(off.mean()) < 0.004  # √(r² + noise²) exceeds r by noise² / 2r
    assert kstest(angle / (2 * np.pi) + 0.5, "uniform").pvalue > 1e-3


def test_xor_is_uniform_on_its_quadrants():
    data = toy.xor(examples=4000, seed=1)
    x, y = data.train.features.T
    np.testing.assert_array_equal(x * y < 0, data.train.labels)
    quadrants = np.bincount(2 * (x > 0) + (y > 0))
    assert (abs(quadrants - 1000) < 150).all()
    for coordinate in (x, y):
        assert kstest(coordinate, "uniform", (-1, 2)).pvalue > 1e-3
    noisy = toy.xor(examples=4000, noise=0.05, seed=1)
    np.testing.assert_array_equal(noisy.train.labels, data.train.labels)
    moved = noisy.train.features - data.train.features
    assert kstest(moved.ravel() / 0.05, "norm").pvalue > 1e-3
    carried = np.mean((noisy.train.features.prod(axis=1) < 0) != noisy.train.labels)
    assert abs(carried - 0.8 * 0.05) < 0.01


def test_modes_are_uniform_discs_and_the_rest_is_uniform_around_them():
    data = toy.modes(examples=6000, seed=1)
    distance = np.linalg.norm(data.train.features[:, None] - CENTRES[None], axis=2)
    inside = data.train.labels == 0
    np.testing.assert_array_equal(distance.min(axis=1) < 0.25, inside)
    assert (abs(np.bincount(distance[inside].argmin(axis=1)) - 1000) < 130).all()
    assert kstest((distance[inside].min(axis=1) / 0.25) ** 2, "uniform").pvalue > 1e-3
    rest = data.train.features[~inside]
    assert np.abs(rest).max() <= 1
    corner = np.mean((rest > 0.5).all(axis=1))  # no disc reaches it: its share is its area's
    assert abs(corner - 0.25 / (4 - 3 * np.pi / 16)) < 0.02


@plane
def test_classes_have_the_mean_zero_and_linear_classifiers_stay_near_chance(make):
    data = make(examples=4000, noise=0.1)
    points, labels = data.train.features, data.train.labels
    for k in (0, 1):
        assert np.linalg.norm(points[labels == k].mean(axis=0)) < 0.08
    assert linear_accuracy(points, labels) < 0.6


@pytest.mark.parametrize(("make", "share"), [(toy.rings, 2 / 3), (toy.xor, 2 / 3), (toy.modes, 0.63)])
def test_no_line_gets_more_right_than_described(make, share):
    train = make(examples=20_000, noise=0).train
    assert abs(best_line_accuracy(train.features, train.labels) - share) < 0.012


CURES = {
    "rings": (toy.rings(), toy.to_polar),
    "five rings": (toy.rings(classes=5), toy.to_polar),
    "xor": (toy.xor(), lambda points: np.prod(points, axis=1, keepdims=True)),
    "modes": (toy.modes(), lambda p: np.exp(-8 * ((p[:, None] - CENTRES[None]) ** 2).sum(axis=2))),
}


@pytest.mark.parametrize(("data", "cure"), CURES.values(), ids=CURES)
def test_features_cure_what_a_line_cannot_separate(data, cure):
    assert linear_accuracy(cure(data.train.features), data.train.labels, 1e-8) > 0.985


def test_polar_coordinates_lead_back_to_the_points():
    points = np.random.default_rng(0).normal(size=(200, 2))
    r, angle = toy.to_polar(points).T
    np.testing.assert_allclose(np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1), points, atol=1e-15)
    assert (np.abs(angle) <= np.pi).all()
    np.testing.assert_array_equal(toy.to_polar([[0, 0], [-2, 0], [0, 3]]), [[0, 0], [2, np.pi], [3, np.pi / 2]])
    assert toy.to_polar(np.ones((1, 2), np.float32)).dtype == np.float32
    assert toy.to_polar(np.full((1, 2), 200, np.uint8))[0, 0] == np.hypot(200.0, 200.0)


def test_polar_turns_every_split_and_nothing_else():
    data = split_dataset(toy.rings(examples=60))
    turned = toy.polar(data)
    assert [name for name, _ in turned.splits()] == ["train", "validation", "test"]
    for (_, before), (_, after) in zip(data.splits(), turned.splits(), strict=True):
        np.testing.assert_array_equal(after.features, toy.to_polar(before.features))
        np.testing.assert_array_equal(after.labels, before.labels)
    assert (turned.name, turned.feature_names, turned.classes) == ("rings-polar", ("r", "theta"), data.classes)


def test_polynomial_holds_powers_and_a_share_of_wrong_labels():
    data = toy.polynomial(examples=40, degree=6, noise=0.1)
    assert data.feature_names == ("x", "x^2", "x^3", "x^4", "x^5", "x^6")
    assert [(name, len(split)) for name, split in data.splits()] == [("train", 40), ("test", 1000)]
    for _, split in data.splits():
        x = split.features[:, 0].astype(np.float64)
        np.testing.assert_allclose(split.features, np.stack([x**k for k in range(1, 7)], axis=1), rtol=1e-6)
        rule = (np.abs(x) > 0.5).astype(int)
        for k in (0, 1):
            assert np.mean(split.labels[rule == k] != k) == 0.1
        assert (np.bincount(split.labels) == len(split) // 2).all()
    assert kstest(data.test.features[:, 0], "uniform", (-1, 2)).pvalue > 1e-3


def fitted_powers(data, strength, degree=15):
    """Losses and accuracies on the training and test splits: ((loss, accuracy), (loss, accuracy))."""
    features = data.train.features.astype(np.float64)
    mean, spread = features.mean(axis=0)[None], features.std(axis=0)[None]
    # Newton's method, since powers are so alike that others stop short of the optimum.
    model = LogisticRegression(C=1 / (2 * strength * len(features)), solver="newton-cholesky", max_iter=1000)
    model.fit(((features - mean) / spread)[:, :degree], data.train.labels)

    def judged(split):
        x = ((split.features - mean) / spread)[:, :degree]
        signed = model.decision_function(x) * (2 * split.labels - 1)
        return np.logaddexp(0, -signed).mean(), (signed > 0).mean()

    return judged(data.train), judged(data.test)


@pytest.mark.parametrize("seed", range(6))
def test_with_ever_smaller_penalties_the_powers_learn_the_noise(seed):
    data = toy.polynomial(seed=seed)
    losses = [[loss for loss, _ in fitted_powers(data, strength)] for strength in (1.0, 1e-2, 1e-5, 1e-8)]
    train, test = zip(*losses, strict=True)
    assert (np.diff(train) < 0).all()
    assert test[1] < min(test[0], test[2])
    assert test[3] > 1.5 * test[2]
    assert fitted_powers(data, 1e-8, degree=2)[1][0] < test[2], "two powers have no room for the noise"


def test_as_many_powers_as_examples_follow_nearly_every_label():
    accuracies = [[accuracy for _, accuracy in fitted_powers(toy.polynomial(16, seed=seed), 1e-9)] for seed in range(8)]
    train, test = np.mean(accuracies, axis=0)
    assert train > 0.98
    assert test < 0.85, "a rule learnt would have 0.9"


def noisy_curve(seed, points=12):
    """Points, their noisy values on a curve, and many places with their true values to judge by."""
    generator = np.random.default_rng(seed)
    x, held = np.linspace(-1, 1, points), np.linspace(-1, 1, 400)
    return x, np.sin(np.pi * x) + 0.3 * generator.normal(size=points), held, np.sin(np.pi * held)


@pytest.mark.parametrize("seed", range(10))
def test_the_curve_through_all_points_is_further_from_the_truth_than_simpler_ones(seed):
    x, y, held, truth = noisy_curve(seed)
    through, simple, penalised = (
        toy.polynomial_fit(x, y, degree, strength) for degree, strength in ((11, 0), (3, 0), (11, 1e-3))
    )
    assert np.abs(polyval(x, through) - y).max() < 1e-8
    error = [np.sqrt(np.mean((polyval(held, c) - truth) ** 2)) for c in (through, simple, penalised)]
    assert min(np.abs(polyval(x, c) - y).max() for c in (simple, penalised)) > 0.05
    assert error[1] < error[0]
    assert error[2] < error[0]


@pytest.mark.parametrize("degree", [11, 12, 20])
def test_of_all_curves_through_the_points_it_is_the_one_of_least_weights(degree):
    x, y, *_ = noisy_curve(0)
    c = toy.polynomial_fit(x, y, degree)
    assert c.shape == (degree + 1,)
    np.testing.assert_allclose(polyval(x, c), y, atol=1e-8)
    # The least weights lie in the span of the centred rows: a vector orthogonal to these changes no value.
    powers = x[:, None] ** np.arange(1, degree + 1)[None]
    null = np.linalg.svd(powers - powers.mean(axis=0)[None])[2][11:]
    np.testing.assert_allclose(null @ c[1:], 0, atol=1e-6)


@pytest.mark.parametrize("strength", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("degree", [1, 5, 15])
def test_ridge_is_that_of_scikit_learn(degree, strength):
    x, y, *_ = noisy_curve(1)
    c = toy.polynomial_fit(x, y, degree, strength)
    theirs = Ridge(alpha=strength * len(x), solver="svd").fit(x[:, None] ** np.arange(1, degree + 1)[None], y)
    np.testing.assert_allclose(c, [theirs.intercept_, *theirs.coef_], rtol=1e-8, atol=1e-9)


def test_the_penalty_spares_the_bias_and_fewer_powers_than_points_give_least_squares():
    x, y, *_ = noisy_curve(2)
    c, raised = toy.polynomial_fit(x, y, 4, 0.1), toy.polynomial_fit(x, y + 100, 4, 0.1)
    np.testing.assert_allclose(raised - c, [100, 0, 0, 0, 0], atol=1e-11)
    np.testing.assert_allclose(toy.polynomial_fit(x, y, 4), np.polynomial.polynomial.polyfit(x, y, 4), rtol=1e-9)
    np.testing.assert_allclose(toy.polynomial_fit(x, y, 0), [y.mean()], rtol=1e-14)
    np.testing.assert_array_equal(toy.polynomial_fit([3], [2], 2), [2, 0, 0])


BAD_ARGUMENTS = [
    (toy.rings, {"examples": 1}, "examples is 1"),
    (toy.rings, {"examples": 4, "classes": 5}, "examples is 4"),
    (toy.rings, {"classes": 1}, "classes is 1"),
    (toy.rings, {"noise": -0.1}, "noise is -0.1"),
    (toy.rings, {"noise": float("nan")}, "noise is nan"),
    (toy.xor, {"noise": 1e300}, "noise is 1e[+]300"),
    (toy.xor, {"examples": 10.0}, "examples is 10.0.*without a point"),
    (toy.modes, {"examples": 0}, "examples is 0"),
    (toy.modes, {"seed": -1}, "seed is -1"),
    (toy.polynomial, {"degree": 0}, "degree is 0"),
    (toy.polynomial, {"noise": 0.6}, "noise is 0.6"),
    (toy.polynomial, {"examples": 1}, "examples is 1"),
    (toy.polynomial_fit, {"x": [0, 1], "y": [0, 1], "degree": -1}, "degree is -1"),
    (toy.polynomial_fit, {"x": [0, 1], "y": [0, 1], "degree": 1, "strength": -1}, "strength is -1"),
]


@pytest.mark.parametrize(("make", "arguments", "message"), BAD_ARGUMENTS)
def test_arguments_out_of_bounds_are_refused(make, arguments, message):
    with pytest.raises(UsageError, match=f"{make.__name__}: {message}"):
        make(**arguments)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([0, 1, 2], [0, 1], "as many numbers"),
        ([[0, 1]], [[0, 1]], "as many numbers"),
        ([], [], "at least one"),
        (["a"], [1], "as many numbers"),
        ([0, np.nan], [0, 1], r"x\[1\] is nan"),
        ([0, 1], [np.inf, 1], r"y\[0\] is inf"),
        ([0, 1e200], [0, 1], "rescale x"),
    ],
)
def test_points_that_do_not_fit_are_refused(x, y, message):
    with pytest.raises(DataError, match=message):
        toy.polynomial_fit(x, y, 2)


@pytest.mark.parametrize("points", [np.ones(2), np.ones((3, 3)), np.ones((2, 2), complex), [["a", "b"]]])
def test_points_of_another_shape_have_no_polar_coordinates(points):
    with pytest.raises(DataError, match=r"shape \(N, 2\)"):
        toy.to_polar(points)


def test_images_have_no_polar_coordinates():
    images = Dataset("grey", "", Split(np.ones((2, 1, 2, 1), np.uint8), None), ())
    with pytest.raises(DataError, match=r"polar: an example of grey has shape \(1, 2, 1\)"):
        toy.polar(images)

"""`path` on all examples: the optima, their bounds, and weights of classes and examples."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from path_cases import NAMES, STRENGTHS, blobs, fitted, minimum, objective, uneven
from sklearn.linear_model import LogisticRegression

import thalweg as tw
from thalweg.solvers import Problem, decompose, solve


def by_sklearn(X: np.ndarray, y: np.ndarray, strength: float, total: float | None = None, **options: Any) -> Any:
    """Fit the same problem: C = 1/(2 strength N), N the sum of the examples' weights."""
    weights = options.pop("sample_weight", None)
    total = len(y) if total is None else total
    model = LogisticRegression(C=1 / (2 * strength * total), tol=1e-12, max_iter=10_000, solver="newton-cg", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its line search says when float64 ends
        return model.fit(X.astype(np.float64), y, sample_weight=weights)


def assert_same(solution: tw.PathSolution, model: Any, atol: float) -> None:
    """Compare weights and bias; scikit-learn's two-class model is the difference of ours."""
    weights, bias = solution.weights, solution.bias
    # One number added to every class's bias changes nothing.
    if len(weights) == 2:
        weights, bias, theirs = weights[1:] - weights[:1], bias[1:] - bias[:1], model.intercept_
    else:
        bias, theirs = bias - bias.mean(), model.intercept_ - model.intercept_.mean()
    np.testing.assert_allclose(weights, model.coef_, rtol=0, atol=atol)
    np.testing.assert_allclose(bias, theirs, rtol=0, atol=3 * atol)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_optima_are_those_of_scikit_learn(classes: int) -> None:
    """To 1e-5: a gap of 1e-13 moves no weight further at these strengths."""
    X, y = blobs(classes=classes)
    path = fitted((X, y), tolerance=1e-13)
    assert [s.strength for s in path.solutions] == STRENGTHS
    for solution in path.solutions:
        # Two classes share one weight vector in scikit-learn: ½‖w‖² there is ¼‖w‖² here.
        factor = 0.5 if classes == 2 else 1.0
        model = by_sklearn(X, y, solution.strength * factor)
        assert_same(solution, model, atol=1e-5)
        assert solution.status == "converged"


def test_bounds_hold_and_values_are_the_objective() -> None:
    X, y = uneven()
    path = fitted((X, y))
    for solution in path.solutions:
        omega = np.full(len(y), 1 / len(y))
        least, _, _ = minimum(X, y, solution.strength)
        value = objective(X, y, solution.weights, solution.bias, solution.strength, omega)
        assert solution.value == pytest.approx(value, rel=1e-12)
        assert -1e-13 * least <= value - least <= solution.bound
        assert solution.bound <= 1e-6 * solution.value
        assert solution.relative_bound == solution.bound / solution.value


def test_a_loose_tolerance_is_kept_too_and_costs_less() -> None:
    X, y = uneven()
    loose, tight = fitted((X, y), tolerance=1e-2), fitted((X, y))
    for rough, fine in zip(loose.solutions, tight.solutions, strict=True):
        assert rough.value - fine.value + fine.bound >= 0
        assert rough.value - fine.value <= rough.bound <= 1e-2 * rough.value
    assert sum(s.iterations for s in loose.solutions) < sum(s.iterations for s in tight.solutions)


def test_too_few_iterations_are_a_status_with_a_bound_that_holds() -> None:
    X, y = uneven()
    path = fitted((X, y), iterations=1, tolerance=1e-13)
    weakest = path.solutions[-1]
    assert weakest.status == "iteration limit"
    assert weakest.iterations == 1
    least, _, _ = minimum(X, y, weakest.strength)
    assert weakest.value - least <= weakest.bound
    assert any("iteration limit" in message and "allow more" in message for message in path.messages)


@pytest.mark.parametrize("named", ["balanced", "mapping"])
def test_class_weights_are_those_of_scikit_learn(named: str) -> None:
    X, y = uneven()
    mapping = {"ant": 1.0, "bee": np.float64(2.5), "cat": np.int64(4)}
    ours = "balanced" if named == "balanced" else mapping
    theirs = "balanced" if named == "balanced" else {0: 1.0, 1: 2.5, 2: 4.0}
    each = len(y) / (3 * np.bincount(y)) if named == "balanced" else np.array([1, 2.5, 4])
    path = fitted((X, NAMES[y]), class_weight=ours, tolerance=1e-11)
    for solution in path.solutions:
        # The loss here is a weighted mean, there a sum: the weights' total takes the place of N.
        assert_same(solution, by_sklearn(X, y, solution.strength, each[y].sum(), class_weight=theirs), atol=1e-4)
        assert solution.class_weight == ("balanced" if named == "balanced" else "ant: 1, bee: 2.5, cat: 4")


def test_class_weightings_side_by_side_are_those_one_by_one() -> None:
    X, y = uneven()
    mapping = {"0": 1.0, "1": 2.0, "2": 5.0}
    path = fitted((X, y), class_weight=[None, "balanced", mapping, None], strengths=[1e-2])
    assert [s.class_weight for s in path.solutions] == ["none", "balanced", "0: 1, 1: 2, 2: 5"]
    for solution, each in zip(path.solutions, ([1, 1, 1], 1 / np.bincount(y), [1, 2, 5]), strict=True):
        least, _, _ = minimum(X, y, 1e-2, np.asarray(each)[y].astype(float))
        assert -1e-13 <= solution.value - least <= solution.bound


def test_an_example_of_weight_two_stands_for_two() -> None:
    """And the scale of the weights is of no account."""
    X, y = uneven()
    rows = np.random.default_rng(5).permutation(len(y))[:96]
    twice = np.concatenate([rows, rows[:32]])
    weights = 0.3 * np.where(np.arange(96) < 32, 2.0, 1.0)
    weighted = fitted((X[rows], y[rows]), example_weights=weights)
    repeated = fitted((X[twice], y[twice]))
    for one, other in zip(weighted.solutions, repeated.solutions, strict=True):
        # The features' means differ, and with them what float32 rounds: 1e-7 of the value.
        assert abs(one.value - other.value) <= one.bound + other.bound + 1e-7 * one.value
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-2)


def test_an_example_of_weight_zero_is_left_out_altogether() -> None:
    X, y = uneven()
    kept = np.random.default_rng(5).permutation(len(y)) < 96
    spoilt = X.copy()
    spoilt[~kept] = 1e6
    weighted = fitted((spoilt, y), example_weights=kept.astype(int))
    plain = fitted((X[kept], y[kept]))
    for one, other in zip(weighted.solutions, plain.solutions, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        assert one.value == other.value


def test_preprocessing_is_that_of_a_sweep() -> None:
    X, y = uneven()
    X = X * np.array([1, 10, 100, 0.1, 1, 1000], np.float32)
    path = fitted((X, y), preprocessing="standardize")
    scaled = (X - X.mean(axis=0, dtype=np.float64)) / X.std(axis=0, dtype=np.float64)
    for solution in path.solutions:
        least, weights, bias = minimum(scaled, y, solution.strength)
        # Standardised features are float32, and so are off by some 1e-7.
        assert solution.value == pytest.approx(least, rel=2e-6)
        np.testing.assert_allclose(solution.weights, weights, atol=2e-3)
        np.testing.assert_allclose(solution.bias - solution.bias.mean(), bias - bias.mean(), atol=2e-3)


def test_the_same_call_gives_the_same_numbers() -> None:
    first, again = fitted(uneven()), fitted(uneven())
    for one, other in zip(first.solutions, again.solutions, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        assert (one.bias.tolist(), one.value, one.bound) == (other.bias.tolist(), other.value, other.bound)


@pytest.mark.slow
def test_every_spectrum_leads_to_the_same_optimum() -> None:
    """More features than examples; what a preconditioner does not know only costs iterations."""
    generator = np.random.default_rng(0)
    y = np.arange(24) % 3
    X = (generator.normal(size=(24, 1600)) + 0.1 * y[:, None]).astype(np.float32)
    path = fitted((X, y))
    assert path.settings["spectrum"] == "gram"
    assert path.statuses == {"converged": 3}
    # The optimum lies in the span of the examples: the same problem in the coordinates of X Xᵀ.
    centred = X - X.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    kept = values > 1e-9 * values[-1]
    least = np.array([minimum(vectors[:, kept] * np.sqrt(values[kept]), y, strength)[0] for strength in STRENGTHS])
    rounded = 1e-6 * least  # what float32 features may change
    for solution, expected, slack in zip(path.solutions, least, rounded, strict=True):
        assert abs(solution.value - expected) <= solution.bound + slack
    problem = Problem(
        features=centred.astype(np.float32), labels=y.astype(np.int32), classes=3, loss=tw.losses.Softmax(),
        weightings=np.full((1, 24), 1 / 24), rows=np.zeros(3, int), ridge=np.array(STRENGTHS), lasso=np.zeros(3),
    )  # fmt: skip
    for kind in ("low-rank", "plain"):
        spectrum = decompose(problem.features, kind)
        assert spectrum.kind == kind
        found = solve(problem, spectrum=spectrum)
        assert found.statuses == ("converged",) * 3
        assert np.all(np.abs(found.certificate.value - least) <= found.certificate.bound + rounded)


def test_one_strength_without_folds_makes_a_model():
    X, y = blobs()
    found = tw.path((X, y), strengths=1e-2, folds=0, preprocessing=None)
    assert found.choice is None
    assert found.model is not None
    solution = found.solutions[0]
    best = (X @ solution.weights.T + solution.bias).argmax(axis=1)
    np.testing.assert_array_equal(found.model.predict(X), np.asarray(found.model.classes)[best])
    assert tw.path((X, y), strengths=[1e-2, 1e-3], folds=0).model is None


def test_class_weights_may_name_labels_by_their_numbers():
    X, y = blobs()
    by_number = tw.path((X, y), strengths=1e-2, folds=0, class_weight={0: 1.0, 1: 2.0, 2: 3.0})
    by_name = tw.path((X, y), strengths=1e-2, folds=0, class_weight={"0": 1.0, "1": 2.0, "2": 3.0})
    np.testing.assert_array_equal(by_number.solutions[0].weights, by_name.solutions[0].weights)


def test_the_scale_of_example_weights_does_not_matter():
    X, y = blobs()
    own = np.random.default_rng(0).uniform(0.5, 2, len(y))
    one, other = (tw.path((X, y), strengths=1e-2, folds=0, example_weights=scale * own) for scale in (1.0, 1e300))
    np.testing.assert_allclose(one.solutions[0].weights, other.solutions[0].weights, rtol=1e-12)

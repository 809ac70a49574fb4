"""What cannot be fitted is refused in words; what can be is certified, or says that it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from path_cases import COUNT, STRENGTHS, blobs, fitted, minimum, objective, on_grid, split_data, uneven

import thalweg as tw
from thalweg.solvers import STATUSES

X, Y = uneven()
RARE = np.where(np.arange(COUNT) == 5, 2, np.arange(COUNT) % 2)  # one example of class 2


@pytest.mark.parametrize(
    ("options", "error", "part"),
    [
        ({"strengths": 0}, tw.UsageError, "at least 1"),
        ({"strengths": -3}, tw.UsageError, "at least 1"),
        ({"strengths": "0"}, tw.UsageError, "at least 1"),
        ({"strengths": 0.0}, tw.UsageError, "no optimum at all"),
        ({"strengths": [1e-3, -1e-3]}, tw.UsageError, "-0.001; each must be positive"),
        ({"strengths": [np.nan]}, tw.UsageError, "holds nan"),
        ({"strengths": np.inf}, tw.UsageError, "holds inf"),
        ({"strengths": "nan"}, tw.UsageError, "holds nan"),
        ({"strengths": "many"}, tw.UsageError, "'many'; give a count such as 45"),
        ({"strengths": "1:2"}, tw.UsageError, "low:high:count"),
        ({"strengths": "1e2:1e-6:45"}, tw.UsageError, "low:high:count"),
        ({"strengths": "0:1:45"}, tw.UsageError, "positive end first"),
        ({"strengths": "1e-6:1e2:1"}, tw.UsageError, "2 to 10,000 of them"),
        ({"strengths": "1e-6:1e2:10000000000"}, tw.UsageError, "2 to 10,000 of them"),
        ({"strengths": 1e-310}, tw.UsageError, "holds 1e-310; below 1e-300"),
        ({"loss": [tw.losses.Softmax(), tw.losses.Hinge()], "penalty": "l1"}, tw.UsageError, "hinge with an L1"),
        ({"strengths": "1e-3:inf:45"}, tw.UsageError, "low:high:count"),
        ({"strengths": "1:2:2.5"}, tw.UsageError, "low:high:count"),
        ({"strengths": "1:2:3:4"}, tw.UsageError, "low:high:count"),
        ({"strengths": []}, tw.UsageError, "at least one number"),
        ({"strengths": [[1.0]]}, tw.UsageError, "in one list"),
        ({"strengths": None}, tw.UsageError, "None; give a count"),
        ({"strengths": True}, tw.UsageError, "True; give a count"),
        ({"strengths": ["a"]}, tw.UsageError, "give a count"),
        ({"strengths": 10**12}, tw.DataError, "ask for fewer strengths or folds"),
        ({"folds": 1}, tw.UsageError, "hold all examples out"),
        ({"folds": -1}, tw.UsageError, "folds is -1"),
        ({"folds": 2.5}, tw.UsageError, "whole number"),
        ({"folds": COUNT}, tw.UsageError, "more than the"),
        ({"test": 0.2}, tw.UsageError, "without folds nothing is chosen"),
        ({"test": 1.5, "folds": 3}, tw.UsageError, "share between 0 and 1"),
        ({"class_weight": "balance"}, tw.UsageError, '"balanced"'),
        ({"class_weight": {"0": 1, "1": 1}}, tw.UsageError, "says nothing of class '2'"),
        ({"class_weight": {"0": 1, "1": 1, "2": 1, "22": 1}}, tw.UsageError, "did you mean '2'"),
        ({"class_weight": {"0": 1, "1": 1, "2": 0}}, tw.UsageError, "'2' the weight 0"),
        ({"class_weight": {"0": 1, "1": 1, "2": np.nan}}, tw.UsageError, "'2' the weight nan"),
        ({"class_weight": {"0": 1, "1": 1, "2": "3"}}, tw.UsageError, "'2' the weight '3'"),
        ({"class_weight": 3}, tw.UsageError, "class_weight is 3"),
        ({"class_weight": []}, tw.UsageError, "at least one"),
        ({"example_weights": np.ones(5)}, tw.UsageError, r"shape \(5,\); give one number for each of 128"),
        ({"example_weights": -np.ones(COUNT)}, tw.UsageError, "example 0 the weight -1"),
        ({"example_weights": np.where(np.arange(COUNT) == 7, np.nan, 1)}, tw.UsageError, "example 7 the weight nan"),
        ({"example_weights": "heavy"}, tw.UsageError, "example_weights is 'heavy'"),
        ({"example_weights": np.zeros(COUNT)}, tw.DataError, "without an example of positive weight"),
        ({"example_weights": (Y != 2) * 1.0}, tw.DataError, "class '2' without an example"),
        ({"loss": "softmax"}, tw.UsageError, "losses.Softmax"),
        ({"loss": []}, tw.UsageError, "at least one"),
        ({"penalty": "L3"}, tw.UsageError, "one of l2, l1, elastic_net"),
        ({"penalty": "l2 "}, tw.UsageError, "did you mean 'l2'"),
        ({"beta": 0}, tw.UsageError, "beta"),
        ({"tolerance": 0}, tw.UsageError, "tolerance"),
        ({"tolerance": 1}, tw.UsageError, "tolerance"),
        ({"iterations": 0}, tw.UsageError, "iterations"),
        ({"selection": "bset"}, tw.UsageError, "did you mean 'best'"),
        ({"seed": -1}, tw.UsageError, "seed"),
        ({"preprocessing": "centre"}, tw.UsageError, "did you mean 'center'"),
    ],
)
def test_arguments_that_cannot_serve_are_refused(options: dict[str, Any], error: type, part: str) -> None:
    with pytest.raises(error, match=part):
        fitted((X, Y), **options)


@pytest.mark.parametrize(
    ("data", "options", "part"),
    [
        ((X, np.zeros(COUNT)), {}, "at least two are needed"),
        ((np.where(np.arange(6) == 2, np.nan, X), Y), {}, "not finite"),
        ((X, Y[:50]), {}, "128 examples but 50 labels"),
        ((X, RARE), {"folds": 3}, "'2' has 1 example"),
        (split_data() | {"y_train": np.where(RARE == 2, "cat", np.where(RARE == 1, "bee", "ant"))}, {"folds": 3},
         "'cat' has 1 training example, so one of the 3 folds would train without it"),
        ((np.ones((COUNT, 2), np.float32), Y), {"strengths": 5}, "all features are constant"),
    ],
)  # fmt: skip
def test_data_that_cannot_serve_are_refused(data: Any, options: dict[str, Any], part: str) -> None:
    with pytest.raises(tw.ThalwegError, match=part):
        fitted(data, **options)


def test_a_test_split_of_its_own_takes_no_share() -> None:
    with pytest.raises(tw.UsageError, match="brings its own test split"):
        fitted(split_data(), folds=3, test=0.2)


def check(path: tw.paths.Path, X: np.ndarray, y: np.ndarray) -> list[float]:
    """Return the relative gaps; each solution converged within a bound that holds, or says that it did not."""
    gaps = []
    for solution in path.solutions:
        assert solution.status in STATUSES
        omega = np.full(len(y), 1 / len(y))
        least, _, _ = minimum(X, y, solution.strength)
        if solution.status == "converged":
            assert solution.bound <= 1e-6 * solution.value
        else:
            assert any(solution.status in message for message in path.messages)
        if solution.status != "not finite":
            with np.errstate(over="ignore"):
                value = objective(X, y, solution.weights, solution.bias, solution.strength, omega)
            # Features that centring rounds move the value by some 1e-7.
            assert value - least <= solution.bound + 2e-7 * value
        gaps.append((solution.value - least) / least)
    return gaps


@pytest.mark.parametrize("kind", ["constant", "duplicate", "all constant", "one example"])
def test_degenerate_features_are_fitted_to_the_optimum(kind: str) -> None:
    X, y = uneven()
    if kind == "constant":
        X[:, 2] = 7
    elif kind == "duplicate":
        X[:, 2] = X[:, 1]
    elif kind == "all constant":
        X[:] = X[0]
    else:
        y = RARE
    path = fitted((X, y))
    assert path.statuses == {"converged": 3}
    assert max(check(path, X, y)) <= 1e-6
    for solution in path.solutions:
        if kind == "constant":
            # Centring leaves 0 where the mean is a float32; nothing may grow there.
            np.testing.assert_allclose(solution.weights[:, 2], 0, atol=1e-6)
        elif kind == "duplicate":
            np.testing.assert_allclose(solution.weights[:, 1], solution.weights[:, 2], atol=1e-3)
        elif kind == "all constant":
            np.testing.assert_array_equal(solution.weights, 0)
            shares = np.bincount(y) / len(y)
            assert solution.value == pytest.approx(-np.sum(shares * np.log(shares)), rel=1e-12)


@pytest.mark.parametrize("scale", [1e20, 1e-20, 1e10, 1e-10])
def test_one_scale_for_all_features_costs_nothing(scale: float) -> None:
    """The penalty with it: strengths of the square of the scale are the same problem."""
    X, y = uneven()
    X = (X * scale).astype(np.float32)
    path = fitted((X, y), strengths=[strength * scale**2 for strength in STRENGTHS])
    assert path.statuses == {"converged": 3}
    reference = fitted(uneven())
    for solution, other in zip(path.solutions, reference.solutions, strict=True):
        assert solution.value == pytest.approx(other.value, rel=2e-6)
        np.testing.assert_allclose(solution.weights * scale, other.weights, atol=1e-2)


@pytest.mark.parametrize("scale", [1e20, 1e-20, 1e10, 1e-10])
def test_a_strength_out_of_all_proportion_is_no_silent_wrong_answer(scale: float) -> None:
    X, y = uneven()
    X = (X * scale).astype(np.float32)
    check(fitted((X, y)), X, y)


@pytest.mark.parametrize("powers", [(-3, -2, 0, 1, 2, 3), (-6, -4, 0, 1, 4, 6), (-20, -10, 0, 3, 10, 18)])
def test_mixed_scales_are_no_silent_wrong_answer(powers: tuple[int, ...]) -> None:
    X, y = uneven()
    X = (X * 10.0 ** np.array(powers)).astype(np.float32)
    check(fitted((X, y)), X, y)
    standardised = fitted((X, y), preprocessing="standardize")
    assert standardised.statuses == {"converged": 3}


def test_an_offset_that_drowns_the_features_is_taken_out() -> None:
    X, y = uneven()
    X = on_grid(X) + np.float32(2**14)  # still multiples of 1/64
    plain, shifted = fitted((X - np.float32(2**14), y)), fitted((X, y))
    for one, other in zip(plain.solutions, shifted.solutions, strict=True):
        assert one.value == other.value
        np.testing.assert_array_equal(one.weights, other.weights)
        np.testing.assert_allclose(one.bias - 2**14 * one.weights.sum(axis=1), other.bias, rtol=1e-9)


def test_separable_data_and_next_to_no_penalty() -> None:
    """The optimum exists, far out; it is reached, or the status and a bound that holds say how near it came."""
    X, _ = blobs()
    y = (X[:, 0] > np.median(X[:, 0])).astype(int)
    path = fitted((X, y), strengths=[1e-5, 1e-8, 1e-11])
    check(path, X, y)
    assert path.solutions[0].status == "converged"
    predicted = (X @ path.solutions[0].weights.T + path.solutions[0].bias).argmax(axis=1)
    np.testing.assert_array_equal(predicted, y)


def test_no_more_examples_than_classes() -> None:
    X, _ = blobs()
    path = fitted((X[:3], [0, 1, 2]))
    assert path.statuses == {"converged": 3}
    check(path, X[:3], np.arange(3))

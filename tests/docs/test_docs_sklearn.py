"""The page on scikit-learn's parameters has every one of them, and its formulas lead to scikit-learn's optima.

At the optimum that scikit-learn finds, the residual of our penalty (the distance of the data loss's negative gradient
to the penalty's subdifferential) is 0 if and only if the strength is the right one.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
from docs_pages import DOCS, text_of
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC

from thalweg.penalties import L1, L2, ElasticNet, Penalty

CLASSES = (
    LogisticRegression,
    LogisticRegressionCV,
    SGDClassifier,
    LinearSVC,
    MLPClassifier,
    KNeighborsClassifier,
    GridSearchCV,
)
IRIS = load_iris(return_X_y=True)
X, Y = (IRIS[0] - IRIS[0].mean(0)) / IRIS[0].std(0), IRIS[1]
TWO = Y < 2  # the first two classes


@pytest.mark.parametrize("theirs", CLASSES, ids=lambda cls: cls.__name__)
def test_every_parameter_has_its_line(theirs: type) -> None:
    section = text_of(DOCS / "reference" / "sklearn.md").split(f"\n## {theirs.__name__}\n")[1].split("\n## ")[0]
    for name in inspect.signature(theirs).parameters:
        assert re.search(rf"`{name}(=[^`]*)?`", section), f"{theirs.__name__}: {name}"


def residual(penalty: Penalty, weights: np.ndarray, bias: np.ndarray, x: np.ndarray, labels: np.ndarray) -> float:
    """How far our objective's gradient is from 0: softmax's mean loss over examples, and the penalty."""
    scores = x @ weights.T + bias
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    slopes = shares / shares.sum(axis=1, keepdims=True) - np.eye(len(weights))[labels]
    assert abs(slopes.mean(axis=0)).max() < 1e-3  # the bias is free
    gradient = slopes.T @ x / len(x)
    return float(np.max(penalty.residual(weights.astype(np.float32), gradient.astype(np.float32))))


def agrees(make: Any, right: float, *arguments: Any, within: float = 1e-4) -> None:
    """The strength is right, and one that is half or twice as large is not."""
    assert residual(make(right), *arguments) < within
    assert min(residual(make(right * factor), *arguments) for factor in (0.5, 2)) > 10 * within


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_logistic_regression(ratio: float) -> None:
    C = 0.3
    options = {"solver": "saga", "max_iter": 20_000} if ratio else {"solver": "lbfgs"}
    fitted = LogisticRegression(C=C, l1_ratio=ratio, tol=1e-7, random_state=0, **options).fit(X, Y)
    ours = {0.0: L2.from_C(C, len(X)), 1.0: L1.from_C(C, len(X)), 0.5: ElasticNet.from_C(C, 0.5, len(X))}[ratio]
    expected = {0.0: 1 / (2 * C * len(X)), 1.0: 1 / (C * len(X)), 0.5: 0.5 / (C * len(X))}[ratio]
    np.testing.assert_allclose(ours.strength, expected, rtol=1e-12)
    beta = getattr(ours, "beta", None)
    assert beta is None or beta == (1 - ratio) / (2 * ratio)
    make = {0.0: L2, 1.0: L1, 0.5: lambda strength: ElasticNet(strength, beta)}[ratio]
    agrees(make, ours.strength, fitted.coef_, fitted.intercept_, X, Y)


def test_two_classes_share_one_vector() -> None:
    x, labels, C = X[TWO], Y[TWO], 0.3
    fitted = LogisticRegression(C=C, tol=1e-8).fit(x, labels)
    rows = np.concatenate([-fitted.coef_, fitted.coef_]) / 2
    bias = np.concatenate([-fitted.intercept_, fitted.intercept_]) / 2
    agrees(L2, 1 / (C * len(x)), rows, bias, x, labels)


def test_sgd_of_two_classes() -> None:
    x, labels, alpha = X[TWO], Y[TWO], 0.05
    fitted = SGDClassifier("log_loss", alpha=alpha, tol=None, max_iter=400, average=100, random_state=0).fit(x, labels)
    rows = np.concatenate([-fitted.coef_, fitted.coef_]) / 2
    bias = np.concatenate([-fitted.intercept_, fitted.intercept_]) / 2
    # Averaged single-example steps come this near, no nearer.
    agrees(L2, alpha, rows, bias, x, labels, within=1e-3)


def test_a_network_without_hidden_layers() -> None:
    alpha = 3.0
    fitted = MLPClassifier([], alpha=alpha, solver="lbfgs", tol=1e-9, max_iter=2000, random_state=0).fit(X, Y)
    agrees(L2, alpha / (2 * len(X)), fitted.coefs_[0].T, fitted.intercepts_[0], X, Y)


def test_the_hinge_of_two_classes() -> None:
    x, labels, C = X[:, :2][Y > 0], Y[Y > 0] - 1, 0.3  # not separable: some losses stay above 0
    fitted = SVC(kernel="linear", C=C, tol=1e-9).fit(x, labels)
    margin = (2 * labels - 1) * fitted.decision_function(x)
    loss = np.maximum(0, 1 - margin).mean()  # our hinge's too: s_1 − s_0 is their decision
    rows = np.concatenate([-fitted.coef_, fitted.coef_]) / 2
    value = loss + 1 / (C * len(x)) * np.sum(rows**2)
    dual = np.abs(fitted.dual_coef_).sum() - np.sum(fitted.coef_**2) / 2  # equals their minimum
    np.testing.assert_allclose(C * len(x) * value, dual, rtol=1e-6)

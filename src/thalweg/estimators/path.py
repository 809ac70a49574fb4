"""A linear classifier at the certified optimum of its penalty strength, chosen by cross-validation."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from thalweg.errors import DataError, UsageError
from thalweg.estimators.base import Classifier, Given, feature_names, seed_of
from thalweg.estimators.recipes import coefficients
from thalweg.paths import path
from thalweg.paths.records import PathSolution
from thalweg.paths.strengths import read_strengths

__all__ = ["PathClassifier"]


class PathClassifier(Classifier):
    """A linear classifier at a certified optimum, its penalty strength chosen by cross-validation; see `thalweg.path`.

    Minimised is the (weighted) mean loss plus strength × R(W), the bias unpenalised, for every strength
    and every fold at once; each solution carries a bound on how far above the minimum it lies.

    Arguments:
        strengths: a count, numbers, or ``"low:high:count"``, as in `thalweg.path`.
        C: scikit-learn's inverse strength, a number or several, in place of ``strengths``; the total
            weight n of the examples turns it into one: 1 / (2 C n) with L2, 1 / (C n) with L1. Of two
            classes scikit-learn penalises the difference of the rows w₁ − w₀ instead of both, which is
            1 / (C n) here with L2 too. Not for the elastic net.
        penalty: ``l2``, ``l1`` or ``elastic_net``.
        beta: the elastic net's share of L2: R = Σ (β W² + |W|).
        loss: `losses.Softmax()` (None, the default) or `losses.Hinge()` (Weston and Watkins).
        folds: of the stratified cross-validation; 0: none, and then one strength is fitted. By default 5
            for several strengths.
        class_weight: None, ``"balanced"``, or a mapping of classes to weights, as in scikit-learn.
        selection: ``best`` cross-validated accuracy, or ``one-standard-error``.
        tolerance: the relative gap to reach, as in `thalweg.path`.
        iterations: at most, for each optimum.
        preprocessing: ``auto``, ``center``, ``standardize``, ``scale`` or None. None optimises
            over X as it comes, as scikit-learn does: `LogisticRegression`'s optimum is reached with it.
        random_state: of the folds.

    Attributes after `fit`: ``coef_``, ``intercept_`` (float64, for X as it comes; one row for two
    classes), ``strength_`` and ``C_`` (the chosen one; no ``C_`` for the elastic net), ``strengths_`` (all,
    largest first), ``bounds_`` (each solution's proved relative gap, (value − minimum) / value), ``scores_``
    (strengths, folds: held-out accuracies), ``n_iter_`` and ``status_`` (of the chosen one; a
    ConvergenceWarning where that is not "converged"), ``path_`` (the whole `paths.Path`), ``model_``, ``classes_``.

    A sparse X is made dense whole, in float32: the solver needs its covariance's eigenvectors.
    """

    def __init__(
        self,
        *,
        strengths: Any = 45,
        C: Any = None,
        penalty: str = "l2",
        beta: float = 0.5,
        loss: Any = None,
        folds: int | None = None,
        class_weight: Any = None,
        selection: str = "best",
        tolerance: float | None = None,
        iterations: int = 5000,
        preprocessing: str | None = "auto",
        random_state: Any = 0,
    ) -> None:
        self.strengths = strengths
        self.C = C
        self.penalty = penalty
        self.beta = beta
        self.loss = loss
        self.folds = folds
        self.class_weight = class_weight
        self.selection = selection
        self.tolerance = tolerance
        self.iterations = iterations
        self.preprocessing = preprocessing
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> PathClassifier:
        """Solve the path on features X (N, D), with labels y (N,) and, if given, weights (N,), and choose."""
        given = self._given(X, y, sample_weight)
        strengths = self._strengths(given)
        asked = read_strengths(strengths)
        several = (asked if isinstance(asked, int) else len(asked)) > 1
        folds = (5 if several else 0) if self.folds is None else self.folds
        if several and folds == 0:
            raise UsageError("folds is 0, and nothing else chooses among several strengths: give one, or folds=5")
        found = path(
            given.dataset(names=feature_names(self)),
            loss=self._loss(), penalty=self.penalty, beta=self.beta, strengths=strengths, folds=folds,
            example_weights=given.weights, selection=self.selection, tolerance=self.tolerance,
            iterations=self.iterations, preprocessing=given.preprocessing(self.preprocessing), test=0,
            seed=seed_of(self.random_state),
        )  # fmt: skip
        if found.model is None:
            raise DataError("; ".join(found.messages) or "the path chose no solution")
        self.model_ = found.model
        self.path_ = dataclasses.replace(found, dataset=None)  # a fitted estimator does not carry its examples about
        best = found.solutions[0] if found.best is None else found.best
        self.status_ = best.status
        if best.status != "converged":
            warnings.warn(
                f"the optimum of strength {best.strength:.3g} ended as {best.status!r} ({best.iterations} iterations): "
                f"its value is proved to lie within {best.relative_bound:.1e} of itself above the minimum, and "
                f"{found.tolerance:.0e} was asked for; scale the features, raise iterations or the tolerance",
                ConvergenceWarning,
                stacklevel=2,
            )
        if found.choice is not None and not found.choice.proven:
            warnings.warn("; ".join(found.choice.caveats), ConvergenceWarning, stacklevel=2)
        self.strength_ = best.strength
        self.C_ = None if self.penalty == "elastic_net" else 1 / (self._scale(given) * best.strength)
        self.strengths_ = np.array([one.strength for one in found.solutions])
        self.bounds_ = np.array([one.relative_bound for one in found.solutions])
        self.scores_ = np.array([one.fold_accuracies for one in found.solutions])
        self.n_iter_ = best.iterations
        self.coef_, self.intercept_ = coefficients(*self._raw(best))
        return self

    def _strengths(self, given: Given) -> Any:
        if self.C is None:
            return self.strengths
        if not (isinstance(self.strengths, int) and self.strengths == 45):
            raise UsageError(f"C is {self.C!r} and strengths is {self.strengths!r}: give one of them")
        if self.penalty == "elastic_net":
            raise UsageError(
                "C turns into one strength with l2 and l1 only; for scikit-learn's elastic net of l1_ratio q give "
                "strengths = q / (C n) and beta = (1 - q) / (2 q), for two classes (1 - q) / q"
            )
        inverse = np.atleast_1d(np.asarray(self.C))
        if not (inverse.dtype.kind in "iuf" and np.isfinite(inverse).all() and (inverse > 0).all()):
            raise UsageError(f"C is {self.C!r}; give a positive number, or several")
        return 1 / (self._scale(given) * inverse)

    def _scale(self, given: Given) -> float:
        """Return C × strength's inverse: see the class."""
        total = len(given.labels) if given.weights is None else float(given.weights.sum())
        halved = self.penalty == "l2" and len(given.names) > 2
        return 2 * total if halved else total

    def _raw(self, best: PathSolution) -> tuple[np.ndarray, np.ndarray]:
        """Return the solution's float64 weights and bias, for features as they come."""
        prepared = self.path_.preprocessing
        ones = np.ones(self.model_.feature_shape)
        weights = best.weights * (prepared.scale * ones)
        return weights, best.bias - weights @ (prepared.shift * ones)

    def _summary(self) -> list[tuple[str, str]]:
        inverse = "" if self.C_ is None else f" (C = {self.C_:.4g})"
        return [
            *super()._summary(),
            ("strength", f"{self.strength_:.4g}{inverse}, of {len(self.strengths_)}"),
            ("proved relative gap to the optimum", f"at most {self.bounds_.max():.1e}"),
            *([("accuracy over folds", f"{self.scores_.mean(axis=1).max():.4f}")] if self.scores_.size else []),
        ]

"""scikit-learn's own suite of checks, over every estimator that trains."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import check_classifiers_train, check_fit2d_1sample, parametrize_with_checks

from thalweg.estimators import DenseClassifier, LinearClassifier, PathClassifier, SweepClassifier

_ORDER = (
    "minibatches are drawn: a repeated example is met twice, a weighted one once with twice the loss, so the "
    "steps on the way differ; scikit-learn expects the same of its SGDClassifier and MLPClassifier"
)
_DIGITS = (
    "the solver stops at a proved gap, in float32 where that suffices, and 7 digits of every probability are asked: "
    "test_weights_count_as_repeats asks what the gap promises"
)
_WEIGHTS = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")
_EXPECTED = {
    LinearClassifier: dict.fromkeys(_WEIGHTS, _ORDER),
    DenseClassifier: dict.fromkeys(_WEIGHTS, _ORDER),
    SweepClassifier: dict.fromkeys(_WEIGHTS, _ORDER),
    PathClassifier: dict.fromkeys(_WEIGHTS, _DIGITS),
}


@pytest.mark.slow
@parametrize_with_checks(
    [
        LinearClassifier(),
        DenseClassifier((8,)),
        PathClassifier(C=1.0),
        SweepClassifier(trials=4),
    ],
    expected_failed_checks=lambda estimator: _EXPECTED[type(estimator)],
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("check", [check_classifiers_train, check_fit2d_1sample])
def test_checks_of_folds(check):
    """Folds add their own errors and attributes; all else is checked above, on one strength, in half the time."""
    check("PathClassifier", PathClassifier(strengths=3, folds=2))

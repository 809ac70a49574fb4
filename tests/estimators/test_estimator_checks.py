"""scikit-learn's own suite of checks, over every estimator that trains."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import (
    check_classifiers_train,
    check_decision_proba_consistency,
    check_fit2d_1sample,
    parametrize_with_checks,
)

import thalweg as tw
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


# The checks fit hundreds of times, on a few dozen examples, where the default is a hundred epochs of batches of 32. An
# epoch costs more than its steps here, so as many steps are taken in fewer epochs.
_SHORT = {"batch_size": 4, "epochs": 16}
_SPACE = tw.Recipe(optimizer=tw.optimizers.AdamW(tw.log_uniform(0.01, 0.1)), **_SHORT)


@pytest.mark.slow
@parametrize_with_checks(
    [
        LinearClassifier(**_SHORT),
        DenseClassifier((8,), **_SHORT),
        PathClassifier(C=1.0),
        SweepClassifier(_SPACE, trials=4),
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


@pytest.mark.slow
def test_a_check_of_the_default_space():
    """Without a recipe the loss, on which the probabilities hang, is known before a fit too."""
    check_decision_proba_consistency("SweepClassifier", SweepClassifier(trials=4))

"""Cross-validation: folds, the choice of a strength, the model that is made of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from path_cases import NAMES, split_data
from sklearn.linear_model import LogisticRegression

import thalweg as tw
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.paths.choose import choose
from thalweg.paths.weightings import assign_folds
from thalweg.statistics import mcnemar, wilson

GRID = [1.0, 1e-1, 1e-2, 1e-3]


def crossed(**options: Any) -> tw.paths.Path:
    return tw.path(split_data(), **({"strengths": GRID, "folds": 3, "seed": 4, "preprocessing": None} | options))


@pytest.fixture(scope="module")
def path() -> tw.paths.Path:
    return crossed()


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_folds_are_stratified_and_drawn_from_the_seed(folds: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [47, 20, 2]))
    found = assign_folds(labels, folds, ["a", "b", "c"], seed=1)
    assert set(found) == set(range(folds))
    sizes = np.bincount(found)
    assert sizes.max() - sizes.min() <= 1
    for label in range(3):
        each = np.bincount(found[labels == label], minlength=folds)
        assert each.max() - each.min() <= 1
    np.testing.assert_array_equal(found, assign_folds(labels, folds, ["a", "b", "c"], seed=1))
    assert np.any(found != assign_folds(labels, folds, ["a", "b", "c"], seed=2))
    np.testing.assert_array_equal(assign_folds(labels, 0, ["a", "b", "c"], seed=1), -1)


def test_fold_accuracies_are_those_of_fitting_each_fold(path: tw.paths.Path) -> None:
    """Accuracy and loss on the examples held out, by scikit-learn's fit of the rest."""
    data = split_data()
    X, y = data["X_train"].astype(np.float64), np.searchsorted(NAMES, data["y_train"])
    fold = assign_folds(y.astype(np.int32), 3, NAMES.tolist(), seed=4)
    for solution in path.solutions[1:]:
        for held in range(3):
            train, out = fold != held, fold == held
            C = 1 / (2 * solution.strength * train.sum())
            model = LogisticRegression(C=C, tol=1e-8, max_iter=10_000).fit(X[train], y[train])
            assert solution.fold_accuracies[held] == model.score(X[out], y[out])
            loss = -np.mean(model.predict_log_proba(X[out])[np.arange(out.sum()), y[out]])
            # The loss is not at its minimum here, so a gap of 1e-6 may move it by the root of that.
            assert solution.fold_losses[held] == pytest.approx(loss, rel=3e-3)
        assert solution.validation_accuracy == np.mean(solution.fold_accuracies)
        assert solution.standard_error == pytest.approx(np.std(solution.fold_accuracies, ddof=1) / np.sqrt(3))
        assert solution.fold_statuses == ("converged",) * 3
        assert max(solution.fold_bounds) <= 1e-6


def test_solutions_of_all_examples_do_not_depend_on_the_folds(path: tw.paths.Path) -> None:
    other = crossed(seed=5)
    for one, two in zip(path.solutions, other.solutions, strict=True):
        assert abs(one.value - two.value) <= max(one.bound, two.bound)
    assert any(a.fold_accuracies != b.fold_accuracies for a, b in zip(path.solutions, other.solutions, strict=True))


def test_the_same_seed_gives_the_same_numbers(path: tw.paths.Path) -> None:
    again = crossed()
    for one, other in zip(path.solutions, again.solutions, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        assert one.fold_losses == other.fold_losses
    assert again.choice == path.choice
    assert again.test == path.test


def test_the_model_is_the_chosen_solution_scored_once(path: tw.paths.Path) -> None:
    data = split_data()
    best = path.best
    assert best is path.solutions[path.choice.chosen]
    assert best.validation_accuracy == max(s.validation_accuracy for s in path.solutions)
    predicted = NAMES[(data["X_test"].astype(np.float64) @ best.weights.T + best.bias).argmax(axis=1)]
    np.testing.assert_array_equal(path.model.predict(data["X_test"]), predicted)
    correct = int(np.sum(predicted == data["y_test"]))
    assert (path.test.correct, path.test.count) == (correct, 64)
    assert path.test.interval == wilson(correct, 64)
    assert path.model.recipe.penalty.strength == best.strength
    assert path.model.classes == tuple(NAMES)


def test_without_a_test_split_a_share_is_held_out_before_anything_is_fitted() -> None:
    """Preprocessing, folds and optima see 96 examples; those held out change nothing but the score."""
    data = split_data()
    X, y = np.concatenate([data["X_train"], data["X_test"]]), np.concatenate([data["y_train"], data["y_test"]])
    path = tw.path((X, y), strengths=GRID, folds=3, test=1 / 3)
    assert path.data.examples == {"train": 128}
    assert path.test.count == 64
    kept = tw.data.split_dataset(
        dataclasses.replace(tw.load((X, y)), validation=tw.load((X, y)).train), test=1 / 3, seed=0
    )
    prepared = fit_preprocessing(kept.train.features, "standardize")
    np.testing.assert_array_equal(path.model.preprocessing.shift, prepared.shift)
    scores = prepared.transform(kept.test.features).astype(np.float64) @ path.best.weights.T + path.best.bias
    assert path.test.correct == np.sum(scores.argmax(axis=1) == kept.test.labels)


def test_a_validation_split_joins_the_training_examples() -> None:
    data = split_data()
    half = np.arange(128) % 2 == 0
    parts = {
        "X_train": data["X_train"][half], "y_train": data["y_train"][half],
        "X_val": data["X_train"][~half], "y_val": data["y_train"][~half],
        "X_test": data["X_test"], "y_test": data["y_test"],
    }  # fmt: skip
    path = tw.path(parts, strengths=GRID, folds=3, preprocessing=None)
    assert path.data.examples == {"train": 128}
    for one, other in zip(path.solutions, crossed().solutions, strict=True):
        assert abs(one.value - other.value) <= max(one.bound, other.bound) + 1e-12


def test_without_folds_nothing_is_chosen_or_held_out() -> None:
    data = split_data()
    path = tw.path((data["X_train"], data["y_train"]), strengths=[1e-1, 1e-2, 1e-4], folds=0)
    assert (path.choice, path.best, path.model, path.test, path.tied) == (None, None, None, None, ())
    assert path.data.examples == {"train": 128}
    assert path.solutions[0].fold_accuracies == ()
    assert np.isnan(path.solutions[0].validation_accuracy)
    assert np.isnan(path.solutions[0].standard_error)


# The choice, on made-up accuracies.


def solution(
    number: int, strength: float, accuracies: tuple[float, ...], loss: float = 1.0, **changes: Any
) -> tw.PathSolution:
    made: dict[str, Any] = {
        "number": number, "strength": strength, "penalty": tw.penalties.L2(strength), "loss": tw.losses.Softmax(),
        "class_weight": "none", "weights": np.zeros((2, 1)), "bias": np.zeros(2), "value": 1.0, "bound": 1e-9,
        "status": "converged", "iterations": 1, "fold_accuracies": accuracies, "fold_losses": (loss,) * len(accuracies),
    }  # fmt: skip
    return tw.PathSolution(**(made | changes))


def alike(count: int, examples: int = 20) -> np.ndarray:
    return np.ones((count, examples), bool)


def spread(mean: float, error: float = 0.0) -> tuple[float, ...]:
    """Four folds with that mean and that standard error."""
    step = error * np.sqrt(3)  # std(ddof=1) of (+, −, +, −) step is step·√(4/3), over √4: step/√3
    return (mean + step, mean - step, mean + step, mean - step)


def test_best_is_the_highest_mean_then_the_lowest_loss_then_the_strongest_penalty() -> None:
    by_accuracy = [solution(0, 1.0, spread(0.8)), solution(1, 0.1, spread(0.9)), solution(2, 0.01, spread(0.7))]
    assert choose(by_accuracy, alike(3), "best").chosen == 1
    by_loss = [solution(0, 1.0, spread(0.9), 0.5), solution(1, 0.1, spread(0.9), 0.4)]
    assert choose(by_loss, alike(2), "best").chosen == 1
    by_strength = [solution(0, 0.1, spread(0.9)), solution(1, 1.0, spread(0.9))]
    assert choose(by_strength, alike(2), "best").chosen == 1


def test_values_of_two_kinds_of_loss_are_not_compared() -> None:
    other = dataclasses.replace(solution(1, 0.1, spread(0.9), 0.1), loss=tw.losses.Hinge())
    solutions = [solution(0, 1.0, spread(0.9), 0.9), other]
    assert choose(solutions, alike(2), "best").chosen == 0
    assert choose(solutions[::-1], alike(2), "best").best == 1


def test_one_standard_error_takes_the_strongest_penalty_within_it() -> None:
    solutions = [
        solution(0, 10.0, spread(0.8699)),
        solution(1, 1.0, spread(0.8801)),
        solution(2, 0.1, spread(0.9, error=0.02)),
        solution(3, 0.01, spread(0.899, error=0.5)),
    ]
    assert solutions[2].standard_error == pytest.approx(0.02)
    for rule, chosen in (("one-standard-error", 1), ("best", 2)):
        found = choose(solutions, alike(4), rule)
        assert (found.best, found.one_standard_error, found.chosen, found.rule) == (2, 1, chosen, rule)


def test_one_standard_error_stays_on_the_path_of_the_best() -> None:
    """Strengths of another loss or class weighting are not on one scale with it."""
    solutions = [
        solution(0, 9.0, spread(0.9), class_weight="balanced"),
        solution(1, 1.0, spread(0.89)),
        solution(2, 0.1, spread(0.91, error=0.05)),
    ]
    found = choose(solutions, alike(3), "one-standard-error")
    assert (found.best, found.chosen) == (2, 1)


def test_ties_are_what_a_paired_test_cannot_tell_apart() -> None:
    """McNemar's p-values by hand: 2·2^−10 for ten differences one way, Holm's factors 2 and 1."""
    correct = np.ones((3, 40), bool)
    correct[1, :10] = False
    correct[2, :1] = False
    solutions = [solution(0, 1.0, spread(0.9)), solution(1, 0.1, spread(0.7)), solution(2, 0.01, spread(0.89))]
    found = choose(solutions, correct, "best")
    assert mcnemar(correct[0], correct[1]) == pytest.approx(2 * 0.5**10)
    assert found.p_values == pytest.approx({1: 4 * 0.5**10, 2: 1.0})
    assert found.tied == (2,)


@pytest.mark.parametrize(
    ("accuracies", "side"),
    [
        ((0.9, 0.8, 0.7), "high"),
        ((0.7, 0.8, 0.9), "low"),
        ((0.7, 0.9, 0.8), None),
        ((0.7, 0.9, 0.9), None),  # flat towards the end: no gain lies beyond
        ((0.9, 0.9, 0.7), None),
        ((0.9,), None),
    ],
)
def test_a_best_strength_at_the_end_of_its_range_is_flagged(accuracies: tuple[float, ...], side: str | None) -> None:
    losses = [0.3, 0.2, 0.1] if side != "high" else [0.1, 0.2, 0.3]
    solutions = [
        solution(i, 10.0**-i, spread(a), loss) for i, (a, loss) in enumerate(zip(accuracies, losses, strict=False))
    ]
    edges = choose(solutions, alike(len(solutions)), "best").edges
    assert len(edges) == (side is not None)
    if side is not None:
        assert f"at the {side} edge of its range [0.01, 1]" in edges[0]

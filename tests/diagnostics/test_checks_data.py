"""Checks of data and of the search, case by case: when they do not apply, what they say, and their formulas."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.linear_model import Ridge

import thalweg as tw
from thalweg.data import Dataset, Split
from thalweg.data.splits import split_dataset
from thalweg.diagnostics import Case, make_case
from thalweg.diagnostics.data_checks import ImbalanceIgnored
from thalweg.diagnostics.labels import SuspiciousLabels, _confident, _neighbours, _ridge
from thalweg.diagnostics.leakage import Leakage, Training, _radius, find_twins
from thalweg.diagnostics.search_checks import BestAtEdge, ValidationTooSmall
from thalweg.diagnostics.seeds import SeedsDisagree
from thalweg.selection import Edge, Group, Selection

RNG = np.random.default_rng(8)
SPACE = tw.Recipe(
    model=tw.models.Linear(),
    penalty=tw.penalties.L2(tw.log_uniform(1e-4, 1e-2)),
    optimizer=tw.optimizers.Adam(0.05),
    batch_size=50,
    epochs=2,
)


def blobs(count: int = 400, classes: int = 3, shares: Any = None, seed: int = 0, apart: float = 1.5) -> Dataset:
    """Gaussian classes in five dimensions, without splits of their own."""
    generator = np.random.default_rng(seed)
    labels = np.sort(generator.choice(classes, count, p=shares)).astype(np.int32)
    labels = generator.permutation(labels)
    features = (apart * generator.normal(size=(classes, 5)))[labels] + generator.normal(size=(count, 5))
    names = tuple("abcdefgh"[:classes])
    return Dataset("blobs", "here", Split(features.astype(np.float32), labels), names)


@pytest.fixture(scope="module")
def run() -> tw.Run:
    return tw.sweep(SPACE, blobs(), trials=8)


@pytest.fixture(scope="module")
def path() -> Any:
    return tw.path(blobs(), strengths=[1.0, 0.1, 0.01, 0.001, 1e-4], folds=3)


def selected(run: tw.Run, accuracies: list[float], best: int, tied: tuple[int, ...] = (), seeds: int = 1) -> Case:
    """The run as if its trials had these accuracies on 200 validation examples."""
    places = np.arange(len(accuracies)).reshape(-1, seeds)
    groups = tuple(Group(tuple(row.tolist()), tuple(accuracies[i] for i in row), 0) for row in places)
    (own,) = (group for group in groups if best in group.trials)
    others = [i for i in range(len(accuracies)) if i not in own.trials]
    chosen = Selection(best, "best", own, groups, tied, (), {i: 1.0 if i in tied else 0.0 for i in others})
    trials = tuple(
        dataclasses.replace(
            run.trials[0],
            number=i,
            coordinates={("penalty", "strength"): (i + 0.5) / len(accuracies)},
            history={
                **run.trials[0].history,
                "validation_accuracy": np.asarray([a]),
                "validation_loss": np.asarray([0.1]),
            },
            kept_epoch=1,
        )
        for i, a in enumerate(accuracies)
    )
    examples = {**run.data.examples, "validation": 200}
    settings = {**run.settings, "seeds": seeds}
    data = dataclasses.replace(run.data, examples=examples)
    made = dataclasses.replace(run, trials=trials, selection=chosen, edges=(), data=data, settings=settings)
    return Case(made, made.trials[best], None)


def at_edge(case: Case, side: str) -> Case:
    edge = Edge("penalty.strength", 1e-4, 1e-4, 1e-2, side)
    run = dataclasses.replace(case.sweep, edges=(edge,))
    return Case(run, run.best, None)


def test_an_edge_counts_where_the_accuracy_rises_towards_it(run: tw.Run) -> None:
    """Against the best of the two thirds away from it, in standard errors."""
    rising = at_edge(selected(run, [0.9, 0.88, 0.8, 0.8, 0.8, 0.8, 0.8, 0.7], 0), "low")
    found = BestAtEdge().examine(rising)
    assert found.verdict == "found"
    p = 182 / 204  # two right and two wrong ones added to 180 of 200
    assert found.value == pytest.approx(0.1 / np.sqrt(p * (1 - p) / 204))
    assert "0.9000, and 0.8000 at the best of 5" in found.evidence
    flat = at_edge(selected(run, [0.9, 0.88, 0.8, 0.895, 0.8, 0.8, 0.8, 0.7], 0), "low")
    assert BestAtEdge().examine(flat).verdict == "passed"
    inside = BestAtEdge().examine(selected(run, [0.8, 0.9, 0.8], 1))
    assert inside.verdict == "passed"
    assert "none lies at an edge" in inside.evidence
    few = at_edge(selected(run, [0.9, 0.8, 0.8], 0), "low")
    assert BestAtEdge().examine(few).verdict == "not applicable"


def test_an_edge_counts_where_nothing_is_learnt_yet(run: tw.Run) -> None:
    """Equal accuracies, but losses at chance that fall towards the edge alone."""
    case = at_edge(selected(run, [0.5] * 8, 0), "low")
    losses = np.log(3) - np.asarray([0.1, 0.05, 0.03, 0.02, 0.01, 0.01, 0.0, 0.0])
    trials = tuple(
        dataclasses.replace(trial, history={**trial.history, "validation_loss": losses[i : i + 1]})
        for i, trial in enumerate(case.sweep.trials)
    )
    unlearnt = dataclasses.replace(case.sweep, trials=trials)
    assert BestAtEdge().examine(Case(unlearnt, unlearnt.best, None)).verdict == "found"
    assert BestAtEdge().examine(case).verdict == "passed"  # losses far below chance


def test_the_edge_of_a_path(path: Any) -> None:
    """In standard errors of the mean over folds; a number is all that a run without ranges lacks."""

    def judged(means: list[float]) -> Any:
        folds = [(m - 0.01, m, m + 0.01) for m in means]  # standard deviation 0.01, so an error of 0.01 / √3
        solutions = tuple(dataclasses.replace(s, fold_accuracies=f) for s, f in zip(path.solutions, folds, strict=True))
        choice = dataclasses.replace(path.choice, best=int(np.argmax(means)))
        made = dataclasses.replace(path, solutions=solutions, choice=choice)
        return BestAtEdge().examine(Case(made, None, None))

    steep = judged([0.5, 0.6, 0.7, 0.8, 0.9])
    assert steep.verdict == "found"
    assert steep.value == pytest.approx(0.2 / (0.01 / np.sqrt(3)))
    assert judged([0.5, 0.6, 0.899, 0.8, 0.9]).verdict == "passed"
    assert "inside" in judged([0.5, 0.6, 0.9, 0.8, 0.7]).evidence
    fitted = tw.fit(dataclasses.replace(SPACE, penalty=tw.penalties.L2(1e-3)), blobs())
    for check in (BestAtEdge(), ValidationTooSmall(), SeedsDisagree()):
        assert check.examine(Case(fitted, fitted.best, None)).verdict == "not applicable"
    assert SeedsDisagree().examine(Case(path, None, None)).verdict == "not applicable"


def test_a_validation_split_too_small(run: tw.Run, path: Any) -> None:
    """The share of trials two points below the winner that tie with it; a path is judged on all its folds."""
    accuracies = [0.9, 0.895, 0.87, 0.86, 0.85, 0.5, 0.4, 0.3]
    found = ValidationTooSmall().examine(selected(run, accuracies, 0, tied=(1, 2, 3, 4)))
    assert found.verdict == "found"
    assert found.value == pytest.approx(3 / 6)
    assert "of 6 trials that are two points or more below it 3 cannot be told from it, of all 7 4" in found.evidence
    # log2(2 · 7 / 0.05) examples that only one of the two gets right, at a gap of 0.04.
    assert f"{int(np.ceil(np.log2(280) / 0.04)):,} examples or more" in found.evidence
    assert ValidationTooSmall().examine(selected(run, accuracies, 0, tied=(1, 2))).verdict == "passed"
    alike = ValidationTooSmall().examine(selected(run, [0.9] * 8, 0, tied=tuple(range(1, 8))))
    assert alike.verdict == "passed"  # ± 4 points: all are alike
    damaged = ValidationTooSmall().examine(selected(run, [float("nan"), *accuracies[1:]], 0, tied=(1,)))
    assert damaged.verdict == "not applicable"
    assert "no finite number" in damaged.evidence
    assert ValidationTooSmall().examine(Case(path, None, None)).verdict == "passed"


def test_seeds_that_disagree(run: tw.Run) -> None:
    """The pooled spread is that of a one-way analysis of variance."""
    torn = selected(run, [0.9, 0.8, 0.88, 0.78, 0.5, 0.5], 0, seeds=2)
    found = SeedsDisagree().examine(torn)
    assert found.verdict == "found"
    assert found.value == pytest.approx(np.sqrt((2 * 0.05**2 + 2 * 0.05**2 + 0) / 3))
    calm = selected(run, [0.9, 0.89, 0.895, 0.885, 0.5, 0.5], 0, seeds=2)
    assert SeedsDisagree().examine(calm).verdict == "passed"
    clear = selected(run, [0.95, 0.85, 0.5, 0.45, 0.4, 0.4], 0, seeds=2)  # they differ, but no other recipe comes near
    assert SeedsDisagree().examine(clear).verdict == "passed"
    selection = clear.sweep.selection
    lost = dataclasses.replace(selection.group, diverged=1)
    broken = dataclasses.replace(clear.sweep, selection=dataclasses.replace(selection, group=lost))
    assert "1 of the winner's 3 seeds diverged" in SeedsDisagree().examine(Case(broken, broken.best, None)).evidence


def test_imbalance_is_judged_by_what_was_held_out() -> None:
    """The validation split; after a refit the test split; weights of one's own are an answer."""
    data = blobs(400, 3, (0.47, 0.47, 0.06), apart=0.4)
    kept = tw.sweep(SPACE, data, trials=8, refit=False)
    assert "validation examples" in ImbalanceIgnored().examine(make_case(kept, data)).evidence
    refitted = tw.sweep(SPACE, data, trials=8)
    assert "test examples" in ImbalanceIgnored().examine(make_case(refitted, data)).evidence
    weighted = dataclasses.replace(refitted, data=dataclasses.replace(refitted.data, weighted=True))
    case = make_case(refitted, data)
    passed = ImbalanceIgnored().examine(Case(weighted, weighted.best, case.data))
    assert passed.verdict == "passed"
    assert "weighted" in passed.evidence
    untested = Case(refitted, refitted.best, dataclasses.replace(case.data, test=None))
    assert ImbalanceIgnored().examine(untested).verdict == "not applicable"
    without_rare = np.flatnonzero(case.data.test.labels < 2)
    test = Split(case.data.test.features[without_rare], case.data.test.labels[without_rare])
    absent = Case(refitted, refitted.best, dataclasses.replace(case.data, test=test))
    assert ImbalanceIgnored().examine(absent).verdict == "not applicable"
    assert ImbalanceIgnored().examine(Case(refitted, refitted.best, None)).verdict == "not applicable"


def test_a_balanced_path_passes() -> None:
    data = blobs(400, 3, (0.47, 0.47, 0.06), apart=0.4)
    plain = tw.path(data, strengths=[1.0, 0.1, 0.01, 0.001, 1e-4], folds=3)
    assert ImbalanceIgnored().examine(make_case(plain, data)).verdict == "found"
    solutions = tuple(dataclasses.replace(s, class_weight="balanced") for s in plain.solutions)
    balanced = dataclasses.replace(plain, solutions=solutions)
    assert ImbalanceIgnored().examine(make_case(balanced, data)).verdict == "passed"


def test_ridge_leaves_one_out_exactly() -> None:
    """Against scikit-learn's Ridge refitted without each example, to 1e-9 of scores near 1 (float64 throughout)."""
    features, labels = RNG.normal(size=(40, 5)), RNG.integers(0, 3, 40)
    scores = _ridge(features, labels, 3).scores
    wanted = np.eye(3)[labels]
    norm = np.mean(np.sum((features - features.mean(axis=0)) ** 2, axis=1)) * 40 / 5
    errors = []
    for strength in np.geomspace(1e-4, 1.0, 5) * norm:
        rows = [
            Ridge(alpha=strength).fit(np.delete(features, i, 0), np.delete(wanted, i, 0)).predict(features[i : i + 1])
            for i in range(40)
        ]
        errors.append(np.abs(np.concatenate(rows) - scores).max())
    assert min(errors) < 1e-9


def test_neighbours_leave_the_example_itself_out() -> None:
    """Even among twelve equal ones: a vote is of ten others."""
    features = np.repeat(RNG.normal(size=(3, 4)), 12, axis=0)
    labels = np.repeat([0, 1, 2], 12)
    labels[0] = 1  # eleven others at the same place are of class 0
    predicted = _neighbours(features, labels, 3)
    assert predicted.best[0] == 0
    assert predicted.scores[0, 0] == pytest.approx(1)
    np.testing.assert_array_equal(predicted.best[1:], labels[1:])


def test_confident_learning_counts_off_the_diagonal() -> None:
    """By hand: thresholds are 0.7 and 0.6, and only the third example reaches another class's."""
    scores = np.asarray([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.4, 0.6], [0.4, 0.6]])
    assert _confident(scores, np.asarray([0, 0, 0, 1, 1])).tolist() == [2]


def test_labels_that_cannot_be_judged(run: tw.Run) -> None:
    """Too few examples, or predictions that are no better than a guess; names are made safe to print."""
    assert SuspiciousLabels().examine(Case(run, None, split_dataset(blobs(150)))).verdict == "not applicable"
    guess = split_dataset(blobs(400, apart=0.0))
    assert "no authority" in SuspiciousLabels().examine(Case(run, None, guess)).evidence
    clean = split_dataset(blobs(400, apart=4.0))
    assert SuspiciousLabels().examine(Case(run, None, clean)).verdict == "passed"
    labels = np.array(clean.train.labels)
    labels[:25] = (labels[:25] + 1) % 3
    names = tuple(f"\x1b[31m{i}" for i in range(len(labels)))
    wrong = dataclasses.replace(clean, train=Split(clean.train.features, labels, names))
    found = SuspiciousLabels().examine(Case(run, None, wrong))
    assert found.verdict == "found"
    assert found.evidence.isprintable()
    assert "\\x1b[31m" in found.evidence
    named = [text.split()[0] for text in found.evidence.split("train example ")[1:]]
    assert len(named) == 3
    assert all(int(number) < 25 for number in named)


def test_twins_are_found_and_named(run: tw.Run) -> None:
    """Exact copies by their bytes, near ones by distance; what both splits say stands in the evidence."""
    data = split_dataset(blobs(600))
    assert Leakage().examine(Case(run, None, data)).verdict == "passed"
    features = np.array(data.test.features)
    features[[3, 50, 70]] = data.train.features[[10, 20, 30]]
    features[[5, 6]] = data.train.features[[40, 41]] * np.float32(1.001)
    leaky = dataclasses.replace(data, test=Split(features, data.test.labels))
    twins = find_twins(leaky, "test", Training.of(leaky))
    assert (twins.twins, twins.exact, twins.pair) == (5, 3, (3, 10))
    found = Leakage().examine(Case(run, None, leaky))
    assert found.verdict == "found"
    assert found.value == pytest.approx(5 / len(features))
    assert "test examples 5 have a twin in training, 3 exact" in found.evidence
    assert "first test example 3 and train example 10" in found.evidence
    alone = dataclasses.replace(data, validation=None, test=None)
    assert Leakage().examine(Case(run, None, alone)).verdict == "not applicable"
    few = split_dataset(blobs(45))
    assert Leakage().examine(Case(run, None, few)).verdict == "not applicable"


def test_equal_rows_of_a_coarse_table_are_no_leak(run: tw.Run) -> None:
    """Three columns of four values repeat by nature; copied beyond that they are found."""
    features = RNG.integers(0, 4, (600, 5)).astype(np.float32)
    labels = (np.arange(600) % 3).astype(np.int32)
    data = split_dataset(Dataset("coarse", "here", Split(features, labels), ("a", "b", "c")))
    passed = Leakage().examine(Case(run, None, data))
    assert passed.verdict == "passed"
    assert "of the training examples have one among themselves" in passed.evidence


def test_the_radius_makes_one_in_a_thousand_a_twin_by_chance() -> None:
    """Poisson points in d dimensions: (d1 / d10)^d is Beta(1, 9), of which 1.11e-4 is the quantile of 0.1 %."""
    generator = np.random.default_rng(5)
    for dimensions in (2, 3):
        volumes = np.cumsum(generator.exponential(size=(4000, 10)), axis=1)
        radius = _radius(volumes ** (1 / dimensions))
        # The estimate of d from 4,000 medians is within a few per cent, which r's logarithm shares.
        assert np.log(radius) == pytest.approx(np.log(beta(1, 9).ppf(1e-3)) / dimensions, rel=0.05)
    assert _radius(np.zeros((50, 10))) == 0

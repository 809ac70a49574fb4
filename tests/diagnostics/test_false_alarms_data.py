"""Sound data and odd runs that the checks must not accuse, and what they say where they cannot look."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import thalweg as tw
from test_sweep import blobs
from thalweg.cli.app import run as command
from thalweg.data import Dataset, Split
from thalweg.data.preprocessing import Preprocessing
from thalweg.data.splits import split_dataset
from thalweg.diagnostics import Case, Check, diagnose, make_case
from thalweg.diagnostics.label_floor import floor_evidence
from thalweg.findings import Finding


@pytest.fixture(scope="module")
def run() -> tw.Run:
    return tw.fit(tw.Recipe(epochs=2), blobs())


def judge(run: tw.Run, code: str, features: np.ndarray, labels: np.ndarray) -> Finding:
    """Ask one check about data alone, cut at random."""
    names = tuple(str(k) for k in range(int(labels.max()) + 1))
    whole = Dataset("made", "here", Split(features.astype(np.float32), labels.astype(np.int32)), names)
    return diagnose(Case(run, None, split_dataset(whole, seed=0)), checks=[code])[code]


def classes(seed: int, shares: list[float], shift: float, count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian classes of given shares; each but the first is shifted along three columns of its own."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(len(shares), count, p=shares)
    features = generator.normal(size=(count, 10))
    for k in range(1, len(shares)):
        features[labels == k, 3 * k - 3 : 3 * k] += shift
    return features, labels


@pytest.mark.parametrize("rare", [0.08, 0.15])
@pytest.mark.parametrize("seed", range(3))
def test_a_rare_class_that_overlaps_is_no_wrong_label(run: tw.Run, rare: float, seed: int) -> None:
    finding = judge(run, "DA02", *classes(seed, [1 - rare, rare], 0.48))
    assert finding.verdict == "passed", finding.evidence


@pytest.mark.parametrize(("shares", "shift"), [([0.5, 0.5], 3.0), ([0.4, 0.3, 0.3], 2.0), ([0.9, 0.1], 3.0)])
def test_wrong_labels_are_found_still(run: tw.Run, shares: list[float], shift: float) -> None:
    features, labels = classes(1, shares, shift)
    assert judge(run, "DA02", features, labels).verdict == "passed"
    generator = np.random.default_rng(2)
    wrong = generator.permutation(len(labels))[: round(0.07 * len(labels))]
    labels[wrong] = (labels[wrong] + generator.integers(1, len(shares), len(wrong))) % len(shares)
    assert judge(run, "DA02", features, labels).verdict == "found"


def test_a_floor_is_told_from_a_logistic_curve() -> None:
    generator = np.random.default_rng(0)
    lead, best = generator.random(1500), np.zeros(1500, int)
    curve = 1 / (1 + np.exp(1 + 4 * lead))
    assert floor_evidence(lead, best, generator.random(1500) < curve) < 4
    assert floor_evidence(lead, best, generator.random(1500) < 0.12 + 0.88 * curve) > 6
    assert floor_evidence(lead, best, generator.random(1500) < 0.1) < 4  # a constant rate needs no floor


def test_rows_that_are_empty_are_no_leak(run: tw.Run) -> None:
    generator = np.random.default_rng(3)
    features, labels = generator.normal(size=(2000, 30)), generator.integers(0, 2, 2000)
    features[generator.random(2000) < 0.03] = 0
    finding = judge(run, "DA03", features, labels)
    assert finding.verdict == "passed", finding.evidence
    assert "more repeat values" in finding.evidence
    # Copies among them are told from them, each example of a rare class drawn five times before the split too.
    doubled = features.copy()
    doubled[:100] = features[1000:1100]
    assert judge(run, "DA03", doubled, labels).verdict == "found"
    drawn = np.concatenate([features, np.repeat(generator.normal(size=(60, 30)), 5, axis=0)])
    assert judge(run, "DA03", drawn, np.r_[labels, np.ones(300, int)]).verdict == "found"


def test_blank_images_are_no_leak(run: tw.Run) -> None:
    generator = np.random.default_rng(4)
    images = generator.integers(0, 256, (400, 6, 6, 1)).astype(np.uint8)
    images[generator.permutation(400)[:20]] = 0
    whole = Dataset("made", "here", Split(images, (np.arange(400) % 2).astype(np.int32)), ("a", "b"))
    assert diagnose(Case(run, None, split_dataset(whole, seed=0)), checks=["DA03"])["DA03"].verdict == "passed"


@pytest.fixture(scope="module")
def diverged() -> tw.Run:
    recipe = tw.Recipe(optimizer=tw.optimizers.SGD(1e9, momentum=0.9), penalty=tw.penalties.L2(1.0), epochs=6)
    with pytest.raises(tw.DivergedError) as error:
        tw.fit(recipe, blobs())
    return error.value.run


def test_a_run_that_diverged_throughout_is_told_why(
    diverged: tw.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = diagnose(diverged, blobs())
    assert found.subject.startswith("trial 0 (none was selected)")
    assert (found["LR01"].verdict, found["LR01"].severity) == ("found", "error")
    assert found["DA01"].evidence == "nothing was selected, so no weights are kept"
    short = dataclasses.replace(diverged.trials[0], history={k: v[:0] for k, v in diverged.trials[0].history.items()})
    assert diagnose(dataclasses.replace(diverged, trials=(short,)))["LR01"].verdict == "found"
    longest = dataclasses.replace(diverged, trials=(short, dataclasses.replace(diverged.trials[0], number=1)))
    assert make_case(longest).trial.number == 1
    diverged.save(tmp_path / "run")
    assert command(["diagnose", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert "trial 0 (none was selected)" in told
    assert "error LR01" in told
    assert "the run's data was arrays, which only Python can give: diagnostics.make_case(run, (X, y))" in told


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (tw.DataError("example 3 is NaN"), "example 3 is NaN"),
        (np.linalg.LinAlgError("SVD did not converge"), "SVD"),
        (MemoryError(), "MemoryError"),
        (FloatingPointError("underflow"), "underflow"),
    ],
)
def test_one_check_that_fails_leaves_the_others(run: tw.Run, error: Exception, said: str) -> None:
    class Failing(Check):
        code, title, severity, remedy = "XX08", "fails", "note", "none"

        def look(self, case: Case) -> Finding:
            raise error

    found = diagnose(run, checks=[Failing()])
    assert found["XX08"].verdict == "not applicable"
    assert found["XX08"].evidence.startswith("could not be computed: ")
    assert said in found["XX08"].evidence


def test_a_fault_of_a_check_is_not_hidden(run: tw.Run) -> None:
    class Faulty(Check):
        code, title, severity, remedy = "XX09", "faulty", "note", "none"

        def look(self, case: Case) -> Finding:
            raise TypeError("a fault")

    with pytest.raises(TypeError):
        diagnose(run, checks=[Faulty()])


def test_splits_are_computed_when_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = tw.fit(tw.Recipe(epochs=2), blobs())
    case = make_case(run, blobs())
    seen: list[int] = []
    plain = Preprocessing.transform
    kind = run.model.preprocessing.kind

    def counted(self: Preprocessing, features: np.ndarray) -> np.ndarray:
        if self.kind == kind:
            seen.append(len(features))
        return plain(self, features)

    monkeypatch.setattr(Preprocessing, "transform", counted)
    assert kind != "none"
    assert set(case.inputs) == {"train", "validation", "test"} & set(dict(case.data.splits()))
    assert "train" in case.inputs
    assert seen == []
    few = case.rows("train", np.array([3, 5]))
    assert seen == [2]
    x, _ = case.inputs["train"]
    scores = case.scores["train"]
    assert case.scores["train"] is scores
    np.testing.assert_array_equal(case.rows("train", np.array([3, 5])), few)
    assert seen == [2, len(x)]
    np.testing.assert_array_equal(few, x[[3, 5]])
    np.testing.assert_allclose(scores, run.model.scores(case.data.train.features), rtol=1e-6, atol=1e-6)
    with pytest.raises(KeyError):
        case.inputs["nothing"]


def test_weights_that_are_missing_are_said(run: tw.Run) -> None:
    plain = tw.load(blobs())
    weights = np.linspace(0.5, 2, len(plain.train))
    weighted = dataclasses.replace(plain, train=dataclasses.replace(plain.train, weights=weights))
    own = tw.fit(tw.Recipe(epochs=2), weighted)
    assert own.data.fingerprint == run.data.fingerprint
    codes = ["DA02", "FT02", "LR01"]
    found = diagnose(own, plain, checks=codes)
    assert all("this data has no weights" in found[code].evidence for code in ("DA02", "FT02"))
    assert found["LR01"].verdict == "passed"
    assert "without weights" in diagnose(run, weighted, checks=["DA02"])["DA02"].evidence
    assert make_case(own, weighted).data is not None


def test_refitted_weights_are_named(run: tw.Run) -> None:
    rate = tw.optimizers.SGD(0.1)
    fitted = tw.fit(tw.Recipe(optimizer=rate, epochs=3), blobs())
    for refitted in (True, False):
        case = make_case(dataclasses.replace(fitted, refitted=refitted), blobs())
        evidence = diagnose(case, checks=["LR03"])["LR03"].evidence
        assert ("(weights refitted on training + validation)" in evidence) == refitted

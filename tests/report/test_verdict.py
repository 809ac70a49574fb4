"""The verdict of a report: its numbers, its sentence, what speaks against it, and that only then it says "good"."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from report_cases import made_run
from test_path_section import made_path

import thalweg as tw
from thalweg.data import Dataset, Split
from thalweg.diagnostics import Case
from thalweg.findings import Finding
from thalweg.fitted import Score
from thalweg.report.block import Fold, Note, Section, Table, Tile
from thalweg.report.records.verdict import VerdictRecord, verdict_record
from thalweg.report.sections.verdict import headline, verdict_section
from thalweg.report.words import many, percent, seconds, value_text
from thalweg.run import Run
from thalweg.selection import Edge, select
from thalweg.statistics import standard_error
from thalweg.training import TrialRecord
from thalweg.training.status import Status

HOSTILE = "</script><img src=x onerror=alert(1)>"
PASSED = Finding("OP01", "nothing learned", "passed", "error", "the loss fell")


def record_of(run: Any, data: Dataset | None = None) -> VerdictRecord:
    best = None if not isinstance(run, Run) else run.best
    return verdict_record(Case(run, best, data))


def notes(section: Section) -> list[Note]:
    return [part for part in section.parts if isinstance(part, Note)]


def tones(section: Section) -> set[str]:
    return {note.tone for note in notes(section)}


def tiles(section: Section) -> dict[str, Tile]:
    for part in section.parts:
        if isinstance(part, (list, tuple)):
            return {tile.name: tile for tile in part}
    return {}


def words(section: Section) -> str:
    return " ".join([section.title, section.lead, *(" ".join([n.title, n.text, *n.more]) for n in notes(section))])


def steps(section: Section) -> tuple[str, ...]:
    return next((note.more for note in notes(section) if note.title == "What to try next"), ())


@pytest.fixture(scope="module")
def run() -> Run:
    """One clear winner: nothing at an edge, nothing tied but a few."""
    return dataclasses.replace(made_run(24, seed=1), edges=())


def labelled(train: list[int], test: list[int] | None) -> Dataset:
    def split(labels: list[int]) -> Split:
        return Split(np.zeros((len(labels), 8), np.float32), np.asarray(labels, np.int32))

    return Dataset(
        "made", "made", split(train), ("ant", "bee", "cat"), validation=split([0, 1, 1, 2]),
        test=None if test is None else split(test),
    )  # fmt: skip


def test_numbers_in_words() -> None:
    assert (many(1, "trial"), many(1200, "trial"), many(2, "class", "classes")) == (
        "1 trial",
        "1,200 trials",
        "2 classes",
    )
    assert [percent(share) for share in (0.96449, 1.0, None, math.nan)] == ["96.4 %", "100.0 %", "–", "–"]
    spent = (0.04, 9.97, 12.4, 59.7, 200, 3600, 7510)
    assert [seconds(one) for one in spent] == [
        "0.0 s",
        "10.0 s",
        "12 s",
        "1 min",
        "3 min 20 s",
        "1 h 0 min",
        "2 h 5 min",
    ]
    assert [value_text(one) for one in (0.123456, 3, True, "relu", None)] == ["0.1235", "3", "True", "relu", "None"]


# -- the record -------------------------------------------------------------------------------------------------------


def test_a_sweeps_numbers(run: Run) -> None:
    record = record_of(run)
    assert run.selection is not None
    assert run.best is not None
    assert record.kind == "sweep"
    assert (record.trials, record.winner, record.diverged, record.pruned) == (24, run.best.number, 3, 0)
    assert record.statuses == {"completed": 21, "diverged": 3}
    assert record.validation == run.best.validation_accuracy
    assert record.error == standard_error(run.best.validation_accuracy, 200)
    assert (record.tied, record.compared) == (len(run.tied), len(run.selection.p_values))
    assert record.compared == 20
    assert record.test == run.test
    assert record.baseline is None
    names = dict(record.recipe)
    assert set(names) == {"learning_rate.peak", "weight_decay"}
    assert names["weight_decay"] == run.best.recipe.optimizer.weight_decay
    assert "optimizer.weight_decay" not in dict(record.fixed)
    assert dict(record.fixed)["batch_size"] == 32


@pytest.mark.parametrize(("test", "baseline"), [([2, 2, 0], 2 / 3), (None, 0.25)])
def test_the_baseline_names_the_most_frequent_training_class(test: list[int] | None, baseline: float, run: Run) -> None:
    assert record_of(run, labelled([0, 2, 2, 1], test)).baseline == pytest.approx(baseline)


def test_several_seeds_have_the_standard_error_of_their_mean() -> None:
    run = made_run(5, diverged=0, seeds=4)
    record = record_of(run)
    assert run.selection is not None
    accuracies = [run.trials[i].validation_accuracy for i in run.selection.group.trials]
    assert record.seeds == 4
    assert record.validation == pytest.approx(np.mean(accuracies))
    assert record.error == pytest.approx(np.std(accuracies, ddof=1) / 2)
    assert tiles(verdict_section(record))["held-out accuracy"].about.endswith("over 4 seeds")


def test_one_recipe_is_a_fit() -> None:
    run = made_run(1, diverged=0, space=tw.Recipe(optimizer=tw.optimizers.SGD(0.1), batch_size=32, epochs=4))
    record = record_of(run)
    assert (record.kind, record.recipe, record.compared) == ("fit", (), 0)
    assert dict(record.fixed)["epochs"] == 4
    section = verdict_section(record, [PASSED])
    assert section.title.startswith("The recipe is right on ")
    assert "edge" not in words(section)
    assert "trials" not in tiles(section)
    assert [part.title for part in section.parts if isinstance(part, Fold)] == ["What was the same for all"]
    # One trial of a space is a search still, if a small one.
    assert record_of(made_run(1, diverged=0)).kind == "sweep"


def test_a_paths_numbers() -> None:
    path = made_path(folds=5, chosen=4)
    record = record_of(path)
    best = path.best
    assert best is not None
    assert (record.kind, record.trials, record.winner) == ("path", 8, 4)
    assert record.validation == best.validation_accuracy
    assert record.error == best.standard_error
    assert record.bound == best.relative_bound
    assert record.certified is True
    assert record.edges == ("at the edge",)
    assert dict(record.recipe)["strength"] == best.strength
    section = verdict_section(record)
    assert section.title == "Solution 4 won: 92.0 % of the validation examples; no test split was scored"
    assert tiles(section)["distance from the optimum"].about == "of the objective; certified"
    assert steps(section) == ("Extend the range of strengths at that end.",)
    assert record_of(made_path(count=1, folds=2, chosen=0)).error is not None


def test_a_path_that_is_not_certified_is_told_so() -> None:
    record = record_of(made_path(chosen=4, left_out=(4,)))
    assert record.certified is False
    section = verdict_section(dataclasses.replace(record, caveats=(HOSTILE,)), [PASSED])
    assert "The chosen solution is not certified" in words(section)
    assert "not certified" in tiles(section)["distance from the optimum"].about
    assert "good" not in tones(section)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, "8 certified optima: none was chosen"),
        ({"left_out": (1, 2)}, "8 solutions, 6 certified: none was chosen"),
        ({"count": 1}, "1 certified optimum: compared with no other"),
    ],
)
def test_a_path_without_folds_chooses_nothing(more: dict[str, Any], sentence: str) -> None:
    section = verdict_section(record_of(made_path(folds=0, **more)), [PASSED])
    assert section.title == sentence
    assert "good" not in tones(section)


# -- the sentence and the numbers -------------------------------------------------------------------------------------


def test_the_winner_is_told_by_its_test_score(run: Run) -> None:
    record = dataclasses.replace(record_of(run), test=Score(1850, 2000, 0.2), winner=7)
    section = verdict_section(record, [PASSED])
    assert section.title == "Trial 7 won: 92.5 % of 2,000 test examples"
    low, high = Score(1850, 2000, 0.2).interval
    assert f"between {100 * low:.1f} % and {100 * high:.1f} %" in section.lead
    found = tiles(section)
    assert (found["test accuracy"].value, found["test accuracy"].about[-20:]) == ("92.5 %", "1,850 of 2,000 right")
    assert found["trials"].about == "21 completed, 3 diverged"
    assert found["tied with it"].value == f"{record.tied} of 20"
    assert found["time"].value == "14 s"
    assert [part.columns for part in section.parts if isinstance(part, Table)] == [("what was searched", "value")]


def test_all_diverged() -> None:
    record = record_of(made_run(6, diverged=6))
    assert record.winner is None
    section = verdict_section(record, [PASSED])
    assert section.title == "All 6 trials diverged: nothing won"
    (step,) = steps(section)
    assert step.startswith("Search learning rates smaller by factors of ten")
    assert "good" not in tones(section)
    assert headline(record_of(made_run(1, diverged=1))) == "The 1 trial diverged: nothing won"
    mixed = record_of(made_run(6, diverged=4, pruned=2))
    assert headline(mixed) == "Nothing was selected"


def test_interrupted() -> None:
    section = verdict_section(record_of(made_run(6, diverged=0, interrupted=6)), [PASSED])
    assert section.title.endswith("of the validation examples; no test split was scored")
    assert "stopped early" in words(section)
    assert "held out" not in words(section)  # it was: nobody looked at it
    assert tones(section) == {"warning", "plain"} or tones(section) == {"warning"}
    nothing = dataclasses.replace(record_of(made_run(3, diverged=0, interrupted=3)), winner=None, validation=None)
    assert headline(nothing) == "Stopped before anything could be selected"


def test_still_training() -> None:
    run = made_run(6, diverged=1)
    first = {name: values[:5] for name, values in run.trials[0].history.items()}
    trials = tuple(
        dataclasses.replace(trial, status=Status.training(5, 10), history=first, kept_epoch=5)
        if trial.number < 3
        else trial
        for trial in run.trials
    )
    record = record_of(dataclasses.replace(run, trials=trials, selection=None, model=None, test=None, edges=()))
    assert record.training
    section = verdict_section(record)
    assert record.progress == pytest.approx(1 - 3 * 5 / 60)
    best = max((t for t in trials if t.status.name != "diverged"), key=lambda t: t.validation_accuracy)
    assert record.leader == (best.number, best.validation_accuracy)
    told = f"trial {best.number} leads with {100 * best.validation_accuracy:.1f} % of the validation examples"
    assert section.title == f"Training 6 trials, 75 % done: {told}"
    assert headline(dataclasses.replace(record, leader=None)) == "Training 6 trials, 75 % done"
    assert record_of(run).leader is None
    assert [note.text for note in notes(section)] == [
        "Trials are still being trained: nothing is selected yet, and the test split is not scored."
    ]
    assert steps(section) == ()


# -- what speaks against it -------------------------------------------------------------------------------------------


def test_good_only_where_checks_passed_and_nothing_speaks_against_it(run: Run) -> None:
    record = dataclasses.replace(record_of(run), test=Score(1850, 2000, 0.2), baseline=0.4, tied=1)
    section = verdict_section(record, [PASSED, PASSED])
    assert tones(section) == {"good"}
    assert notes(section)[0].text == (
        "Nothing speaks against it: 2 checks found nothing, and no best value is at the edge of its range."
    )
    unasked = dataclasses.replace(PASSED, verdict="not applicable")
    assert tones(verdict_section(record)) == tones(verdict_section(record, [unasked])) == set()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"interrupted": True}, "The run was stopped early."),
        ({"certified": False}, "is not certified to the tolerance"),
        ({"caveats": ("left out",)}, "left out"),
        ({"test": None}, "No test split was held out"),
        ({"test": Score(45, 50, 0.2)}, "Only 50 test examples"),
        ({"baseline": 0.92}, "No better than guessing, perhaps."),
        ({"edges": (Edge("optimizer.weight_decay", 0.99, 1e-4, 1.0, "high"),)}, "At the edge of the search."),
    ],
)
def test_what_speaks_against_it_is_a_warning(change: dict[str, Any], text: str, run: Run) -> None:
    good = dataclasses.replace(record_of(run), test=Score(1850, 2000, 0.2), baseline=0.4)
    section = verdict_section(dataclasses.replace(good, **change), [PASSED])
    assert text in words(section)
    assert "warning" in tones(section)
    assert "good" not in tones(section)


@pytest.mark.parametrize("severity", ["error", "warning"])
def test_findings_speak_against_it_and_their_remedies_come_next(severity: Any, run: Run) -> None:
    good = dataclasses.replace(record_of(run), test=Score(1850, 2000, 0.2), tied=1)
    found = Finding("OP07", f"SGD {HOSTILE}", "found", severity, "the loss oscillates", "lower the rate")
    section = verdict_section(good, [PASSED, found])
    (note,) = [note for note in notes(section) if note.tone == severity]
    assert (note.title, note.text) == (f"SGD {HOSTILE}.", "The loss oscillates (OP07).")
    assert "good" not in tones(section)
    assert steps(section) == ("Lower the rate.",)
    small = dataclasses.replace(found, severity="note")
    assert "good" in tones(verdict_section(good, [PASSED, small]))


def test_errors_come_first_and_steps_are_said_once(run: Run) -> None:
    record = dataclasses.replace(record_of(run), interrupted=True, messages=(HOSTILE,))
    found = [Finding(f"OP0{i}", "it", "found", "error", "here", "do it.") for i in range(6)]
    section = verdict_section(record, found)
    assert [note.tone for note in notes(section)][:7] == [*["error"] * 6, "warning"]
    assert steps(section) == (
        "Run it again and let it finish: half-trained trials say little of what they would have come to.",
    )
    assert steps(verdict_section(dataclasses.replace(record, interrupted=False), found)).count("Do it.") == 1
    assert HOSTILE in words(section)


def test_being_among_the_best_is_claimed_only_where_others_are_worse(run: Run) -> None:
    record = dataclasses.replace(record_of(run), tied=15)
    assert record.worse == 5
    assert "partly luck. That it is among the best is not." in words(verdict_section(record))
    for change, text in (
        ({"tied": 20}, "The evidence cannot tell it from any of the 20 others: it ranks none of them"),
        ({"tied": 1, "compared": 1}, "The evidence cannot tell it from the one other: it ranks none of them"),
        ({"better": 5}, "cannot tell it from 15 of 20 others: which of them won is partly luck."),
        ({"better": 2}, "cannot tell it from 15 of 20 others: which of them won is partly luck."),
    ):
        said = words(verdict_section(dataclasses.replace(record, **change)))  # type: ignore[arg-type]
        assert text in said
        assert "among the best" not in said


def test_all_right_is_not_told_without_an_error() -> None:
    run = made_run(1, diverged=0, examples=20)
    (trial,) = run.trials
    right = trial.history | {"validation_accuracy": np.ones(10)}
    trials = [TrialRecord(trial.status, {n: list(v) for n, v in right.items()}, 10, correct=np.ones(20, bool))]
    record = record_of(dataclasses.replace(run, selection=select([trial.recipe], trials, "best")))
    assert record.validation == 1.0
    assert record.error == pytest.approx(math.sqrt(21 / 22 * (1 / 22) / 22))
    assert tiles(verdict_section(record))["held-out accuracy"].about.startswith("± 4.4 points")


def test_ties_edges_and_divergence_have_a_next_step(run: Run) -> None:
    record = dataclasses.replace(
        record_of(run), tied=15, statuses={"completed": 12, "diverged": 12},
        edges=(Edge("optimizer.weight_decay", 0.99, 1e-4, 1.0, "high"), Edge("x", 1e-4, 1e-4, 1.0, "low")),
    )  # fmt: skip
    section = verdict_section(record)
    assert "cannot tell it from 15 of 20 others" in words(section)
    assert [step.split(":")[0] for step in steps(section)] == [
        "Let optimizer.weight_decay go above 1",
        "Let x go below 0.0001",
        "Take any of the tied trials that suits you better (simpler, cheaper). To tell them apart, judge them on more "
        "examples",
        "Lower the upper end of the learning rates",
    ]
    one = verdict_section(dataclasses.replace(record, better=1))
    assert "1 other was more accurate by the same test" in words(one)


def test_a_test_accuracy_far_below_the_held_out_one_speaks_against_the_verdict(run: Run) -> None:
    """97.0 % of 200 against 90.4 % of 240, by q(1 − q)/(n + 2) with one right and one wrong added."""
    record = dataclasses.replace(record_of(run), validation=0.97, judged=200, test=Score(217, 240, 0.3), baseline=0.1)
    first, second = (0.97 * 200 + 1) / 202, 218 / 242
    error = math.sqrt(first * (1 - first) / 202 + second * (1 - second) / 242)
    assert record.gap == pytest.approx((0.97 - 217 / 240) / error, rel=1e-12)
    section = verdict_section(record, [PASSED])
    assert "more than chance explains" in words(section)
    assert "good" not in tones(section)
    near = dataclasses.replace(record, test=Score(227, 240, 0.3))
    assert "more than chance" not in words(verdict_section(near, [PASSED]))
    assert dataclasses.replace(record, test=None).gap is None


def test_examples_that_were_left_out_are_named(run: Run) -> None:
    names = tuple(f"{HOSTILE} {i}.png" for i in range(7))
    section = verdict_section(dataclasses.replace(record_of(run), skipped=names))
    assert f"7 examples could not be read and were left out: {', '.join(names[:5])}, ..." in words(section)

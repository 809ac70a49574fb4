"""The confusion matrix and the figures of each class: against scikit-learn, from a real run, and on the page."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from class_cases import HOSTILE, digits, made_case, table
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

import thalweg as tw
from thalweg.diagnostics import Case, make_case
from thalweg.errors import DataError
from thalweg.report.block import Lacking, Picture, Section, Table
from thalweg.report.page import Page, render
from thalweg.report.records.confusion import ConfusionRecord, confusion_of, confusion_record
from thalweg.report.sections.confusion import confusion_section, shade_of
from thalweg.report.sections.naming import brief, shortened


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(count))


def noisy(classes: int, examples: int, seed: int = 0) -> ConfusionRecord:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, examples)
    predicted = np.where(generator.random(examples) < 0.8, labels, generator.integers(0, classes, examples))
    return confusion_of(labels, predicted, names(classes))


def page_of(section: Section) -> str:
    return render(Page("a run", "", (section,)))


# --- the record ---


@settings(max_examples=25)
@given(
    st.integers(2, 5).flatmap(
        lambda c: st.tuples(
            st.just(c), st.lists(st.tuples(st.integers(0, c - 1), st.integers(0, c - 1)), min_size=1, max_size=30)
        )
    )
)
def test_counts_and_figures_are_those_of_scikit_learn(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    classes, pairs = drawn
    labels, predicted = np.array(pairs).T
    record = confusion_of(labels, predicted, names(classes))
    every = list(range(classes))
    np.testing.assert_array_equal(record.counts, confusion_matrix(labels, predicted, labels=every))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=np.nan
    )
    np.testing.assert_array_equal(record.support, support)
    np.testing.assert_allclose(record.recall, recall, rtol=1e-12)
    np.testing.assert_allclose(record.precision, precision, rtol=1e-12)
    np.testing.assert_allclose(record.f1, f1, rtol=1e-12)
    assert (record.count, record.correct) == (len(labels), int((labels == predicted).sum()))


def test_intervals_are_wilsons() -> None:
    record = noisy(4, 90)
    for share, whole, ends in (
        (record.recall, record.support, record.recall_interval),
        (record.precision, record.predicted, record.precision_interval),
    ):
        for p, n, interval in zip(share, whole, ends, strict=True):
            # (p − q)² = z² q (1 − q) / n, solved for q
            z2 = 1.959963984540054**2
            roots = np.roots([1 + z2 / n, -2 * p - z2 / n, p * p])
            np.testing.assert_allclose(interval, np.sort(roots.real), rtol=1e-9)


def test_a_class_without_examples_and_one_never_predicted() -> None:
    record = confusion_of([0, 0, 1, 1, 1], [0, 2, 0, 0, 2], names(3))
    assert record.recall.tolist()[:2] == [0.5, 0.0]
    assert math.isnan(record.recall[2])
    assert np.isnan(record.recall_interval[2]).all()
    assert math.isnan(record.precision[1])
    assert record.mistaken_for.tolist() == [2, 0, -1]
    assert record.worst_first().tolist() == [1, 0, 2]
    section = confusion_section(record)
    text = page_of(section)
    assert not re.search(r"\bnan\b", text.split("<script>")[0], re.IGNORECASE)
    assert "no examples: undefined" in text
    assert "1 of 3 classes have no examples in this split" in text
    (table,) = (part for part in section.parts if isinstance(part, Table))
    assert table.rows[-1][:4] == ("class 2", 0, None, None)
    assert table.rows[0][4] is None  # class 1 is never predicted


def test_confusions_run_from_the_most_frequent() -> None:
    record = confusion_of([0, 0, 0, 1, 2, 2], [1, 1, 0, 1, 1, 0], names(4))
    assert record.confusions(9) == [(0, 1, 2), (2, 0, 1), (2, 1, 1)]
    assert record.most_confused(2).tolist() == [0, 1]  # 3 confusions each, 2 of class 2, none of class 3
    assert record.most_confused(3).tolist() == [0, 1, 2]


# --- from a case ---


@pytest.fixture(scope="module")
def fitted() -> tuple[tw.Run, tw.Dataset]:
    data = table()
    recipe = tw.Recipe(optimizer=tw.optimizers.SGD(0.01), batch_size=64, epochs=1)
    return tw.fit(recipe, data), data


def test_the_test_split_is_counted_as_in_the_verdict(fitted: tuple[tw.Run, tw.Dataset]) -> None:
    run, data = fitted
    case = make_case(run, data)
    record = confusion_record(case)
    assert isinstance(record, ConfusionRecord)
    assert (record.correct, record.count) == (run.test.correct, run.test.count)
    assert (record.split, record.trained_on, record.caveats) == ("test", False, ())
    test = case.data.test
    taken = run.model.predict(test.features)
    np.testing.assert_array_equal(
        record.counts, confusion_matrix(np.asarray(run.data.classes)[test.labels], taken, labels=run.data.classes)
    )


def changed(case: Case, **fields: object) -> Case:
    return dataclasses.replace(case, run=dataclasses.replace(case.run, **fields))


@pytest.fixture(scope="module")
def case() -> Case:
    return made_case(digits())


def test_other_predictions_than_the_verdicts_are_not_shown(case: Case) -> None:
    told = case.run.test
    record = confusion_record(changed(case, test=dataclasses.replace(told, correct=told.correct - 1)))
    assert isinstance(record, Lacking)
    assert f"{told.correct} of {told.count} test examples are right; in the verdict {told.correct - 1}" in record.why
    assert str(escape(record.why)) in page_of(confusion_section(record))


def test_an_unscored_test_split_stays_unseen(case: Case) -> None:
    unscored = changed(case, test=None, interrupted=True)
    record = confusion_record(unscored)
    assert isinstance(record, ConfusionRecord)
    assert (record.split, record.count) == ("validation", len(case.data.validation))
    assert not unscored.scores.done("test")
    assert not record.trained_on
    assert "by which the winner was chosen" in record.caveats[0]
    record = confusion_record(changed(case, test=None, refitted=True))
    assert isinstance(record, ConfusionRecord)
    assert record.trained_on
    assert "trained on these very examples" in page_of(confusion_section(record))


def test_weights_of_examples_are_not_counted(case: Case) -> None:
    record = confusion_record(changed(case, data=dataclasses.replace(case.run.data, weighted=True)))
    assert isinstance(record, ConfusionRecord)
    assert record.correct == case.run.test.correct
    assert "here each counts once" in page_of(confusion_section(record))


def test_why_there_is_no_matrix(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    run = case.run
    other = dataclasses.replace(case, trial=dataclasses.replace(run.best, number=5))
    nothing = dataclasses.replace(run, model=None, selection=None, test=None)
    bare = dataclasses.replace(case.data, validation=None, test=None)
    for one, why in (
        (other, "trial 5 is not the winner"),
        (Case(nothing, None, case.data), "selected nothing"),
        (Case(run, run.best, None, "the data is gone"), "the data is gone"),
        (dataclasses.replace(changed(case, test=None), data=bare), "No examples were held out"),
    ):
        found = confusion_record(one)
        assert isinstance(found, Lacking)
        assert why in found.why

    def fail(*_: object) -> None:
        raise DataError("the scores of example 3 are NaN: mend it")

    monkeypatch.setattr(tw.FittedModel, "scores", fail)
    found = confusion_record(Case(run, run.best, case.data))
    assert isinstance(found, Lacking)
    assert "the scores of example 3 are NaN" in found.why


# --- on the page ---


def test_shades_grow_with_the_share() -> None:
    shares = [0.0, 1e-6, 0.01, 0.011, 0.03, 0.07, 0.15, 0.3, 0.5, 0.71, 1.0]
    assert [shade_of(share) for share in shares] == [0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8]
    assert shade_of(math.nan) is None


def pictures(section: Section) -> tuple[Picture, Picture]:
    matrix, recall = (part for part in section.parts if isinstance(part, Picture))
    return matrix, recall


def test_each_count_stands_in_its_cell_and_summaries_tell_the_numbers() -> None:
    record = confusion_of([0] * 8 + [1] * 4, [0] * 7 + [1] + [1] * 2 + [0] * 2, ("cat", "dog"))
    matrix, recall = pictures(confusion_section(record))
    assert re.findall(r'<text class="in h\d"[^>]*>(\d+)</text>', matrix.drawing) == ["7", "1", "2", "2"]
    assert "9 of 12 test examples are right: 75.0 %" in matrix.summary
    assert "class dog taken for cat, 2 of 4" in matrix.summary
    assert matrix.table.rows == (("dog", "cat", 2, 0.5), ("cat", "dog", 1, 0.125))
    assert "true dog, predicted cat: 2 of 4 (50.0 %)" in matrix.drawing
    assert "Worst is class dog with a recall of 0.500 (95 % interval 0.150 to 0.850, 4 examples)" in recall.summary
    assert recall.table.rows[0] == ("dog", 4, 0.5, "0.150 to 0.850")


def test_long_names_give_way_to_numbers_along_the_columns() -> None:
    few, _ = pictures(confusion_section(noisy(3, 50)))
    assert ">class 2<" in few.drawing
    assert "by the number of its row" not in few.drawing
    many, _ = pictures(confusion_section(noisy(10, 90)))
    assert "predicted class, by the number of its row" in many.drawing
    assert ">10 class 9<" in many.drawing


def test_of_many_classes_the_most_confused_are_shown_and_the_rest_counted() -> None:
    record = noisy(500, 6000)
    section = confusion_section(record)
    matrix, recall = pictures(section)
    chosen = record.most_confused(25)
    inside = record.counts[np.ix_(chosen, chosen)]
    assert matrix.drawing.count('class="cell h') == 25 * 25 + 9  # and the nine of the legend
    left = (
        f"{inside.sum() - np.trace(inside)} of {record.count - record.correct:,} confusions; 475 classes are left out"
    )
    assert left in matrix.summary
    assert "the worst 60 of 500 classes" in recall.summary
    assert recall.drawing.count('class="mark s0" x=') == 60 + 1  # and that of the legend
    assert len(matrix.table.rows) == len(recall.table.rows) == 60
    assert len(page_of(section)) < 400_000


def test_names_are_escaped_and_writable() -> None:
    record = noisy(10, 300)
    text = page_of(confusion_section(dataclasses.replace(record, classes=HOSTILE)))
    text.encode()  # no lone surrogate is left
    assert "<img" not in text
    assert "\\udc80\\n" in text
    assert "&lt;/script&gt;&lt;img" in text
    assert 'style="' not in text


def test_nothing_confused() -> None:
    section = confusion_section(confusion_of([0, 1], [0, 1], names(2)))
    matrix, recall = pictures(section)
    assert "Nothing is taken for anything else" in matrix.summary
    assert matrix.table.rows == ()
    assert "best class class 1 with 1.000" in recall.summary


def test_names_that_begin_and_end_alike_are_told_apart_by_their_middle() -> None:
    names = [f"klasse {i:02d} mit langem Namen" for i in range(12)]
    assert brief(names, 12) == [f"{i:02d}" if i >= 10 else f"0{i}" for i in range(12)]
    assert brief(["ant", "bee"], 12) == ["ant", "bee"]
    assert brief(["a" * 20, "a" * 21], 12) == [shortened("a" * 20, 12), shortened("a" * 21, 12)]
    assert brief(["only one name, and long"], 12) == [shortened("only one name, and long", 12)]


@pytest.mark.parametrize(
    ("labels", "predicted", "words"),
    [
        ([0, 1, 2], [1, 1, 0], "No class is taken for the same other one twice."),
        ([0, 0, 1, 1], [1, 1, 2, 2], "A most frequent confusion: class a taken for b, 2 of 2."),
        ([0, 0, 1], [1, 1, 2], "The most frequent confusion: class a taken for b, 2 of 2."),
    ],
)
def test_ties_between_confusions_are_told(labels: list[int], predicted: list[int], words: str) -> None:
    record = confusion_of(np.array(labels), np.array(predicted), ("a", "b", "c"))
    assert words in str(confusion_section(record))

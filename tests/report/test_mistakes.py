"""The worst mistakes: which they are, whose label is called into question, and how they are shown."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
import tracemalloc

import numpy as np
import pytest
from class_cases import HOSTILE, digits, made_case, table
from PIL import Image
from scipy.special import softmax

import thalweg as tw
from thalweg.data import Split
from thalweg.diagnostics import Case
from thalweg.report.block import Lacking, Note, Picture, Section, Table
from thalweg.report.page import Page, render
from thalweg.report.records import mistakes
from thalweg.report.records.mistakes import MistakesRecord, mistakes_of, mistakes_record
from thalweg.report.sections.mistakes import mistakes_section


def page_of(section: Section) -> str:
    return render(Page("a run", "", (section,)))


def images(count: int, shape: tuple[int, ...] = (4, 6, 1), names: tuple[str, ...] | None = None) -> Split:
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)
    return Split(pixels, np.zeros(count, np.int32), names)


def found(scores: object, labels: object, split: Split, *, softmax: bool = True, most: int = 24) -> MistakesRecord:
    scores, labels = np.asarray(scores, np.float32), np.asarray(labels)
    classes = tuple("abcdefghij"[: scores.shape[1]])
    data = tw.Dataset("made", "made", split, classes)
    return mistakes_of(scores, labels, classes, split, data=data, softmax=softmax, most=most)


def pixels_of(drawing: str) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r'src="data:image/png;base64,([^"]+)"', drawing)
    ]


# --- the record ---


def test_mistakes_run_by_the_difference_of_probabilities() -> None:
    generator = np.random.default_rng(0)
    scores, labels = generator.normal(size=(200, 4)) * 3, generator.integers(0, 4, 200)
    record = found(scores, labels, images(200), most=10)
    likely = softmax(scores.astype(np.float32).astype(np.float64), axis=1)
    predicted, rows = likely.argmax(axis=1), np.arange(200)
    gap = np.where(predicted == labels, -1.0, likely[rows, predicted] - likely[rows, labels])
    assert record.wrong == int((predicted != labels).sum())
    assert [one.row for one in record.mistakes] == np.argsort(-gap, kind="stable")[:10].tolist()
    for one in record.mistakes:
        assert one.true == "abcd"[labels[one.row]]
        assert one.predicted == "abcd"[predicted[one.row]]
        assert one.probability == pytest.approx(likely[one.row].max(), rel=1e-12)
        assert one.probability_of_true == pytest.approx(likely[one.row, labels[one.row]], rel=1e-12)
        assert one.source == f"row {one.row} of the test split"
    sure = likely.max(axis=1) >= 0.9
    assert (record.sure, record.sure_right) == (sure.sum(), (sure & (predicted == labels)).sum())
    # Right by chance on what it is sure of: its mistakes say nothing of labels.
    assert not record.trusted
    assert record.questionable == 0
    assert not any(one.questionable for one in record.mistakes)


@pytest.mark.parametrize(("right", "questioned"), [(19, 1), (18, 0)])
def test_a_label_is_questioned_where_a_model_this_sure_is_nearly_always_right(right: int, questioned: int) -> None:
    """19 of 20 are 95 %; 18 of 19 are less. A mistake of which it is not sure counts for neither."""
    scores = [[9.0, 0.0]] * right + [[0.0, 9.0], [0.0, 0.5]]
    record = found(scores, [0] * len(scores), images(len(scores)))
    assert (record.sure, record.sure_right) == (right + 1, right)
    assert record.trusted == bool(questioned)
    assert [one.questionable for one in record.mistakes] == [bool(questioned), False]
    assert record.questionable == questioned
    text = page_of(mistakes_section(record))
    assert ("it is right on 94.7 %" in text) == (not questioned)


def test_probabilities_that_round_to_one_are_told_apart_and_infinite_scores_are_limits() -> None:
    record = found([[0, 50, 0], [0, 500, 0], [0, np.inf, 0], [3, -np.inf, 4]], [0, 0, 0, 0], images(4))
    assert [one.row for one in record.mistakes] == [2, 1, 0, 3]
    assert [one.probability for one in record.mistakes[:3]] == [1.0, 1.0, 1.0]
    assert record.mistakes[3].probability == pytest.approx(1 / (1 + np.exp(-1)))
    assert not record.mistakes[3].questionable


def test_a_hinge_has_margins_and_questions_no_label() -> None:
    record = found([[0, 9, 0], [1, 2, 8], [0, 0.5, 0]], [0, 0, 0], images(3), softmax=False)
    assert [(one.row, one.margin) for one in record.mistakes] == [(0, 9.0), (1, 7.0), (2, 0.5)]
    assert record.measure == "margin"
    assert all(one.probability is None and not one.questionable for one in record.mistakes)
    text = page_of(mistakes_section(record))
    assert "margin 9" in text
    assert "no label is called into question" in text
    assert "possible label error" not in text


def test_unusual_features_are_those_far_from_the_training_mean() -> None:
    train = Split(np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32), np.zeros(500, np.int32))
    held = Split(np.array([[0, 5, -3], [0, 0, 0]], np.float32), np.zeros(2, np.int32))
    data = tw.Dataset("made", "made", train, ("a", "b"), test=held, feature_names=("one", "two", "three"))
    record = mistakes_of(np.array([[0, 2.0], [0, 1.0]]), np.zeros(2, int), ("a", "b"), held, data=data, softmax=True)
    (first, far), (second, back) = record.mistakes[0].unusual
    assert (first, second) == ("two", "three")
    spread = train.features.astype(np.float64)
    expected = (held.features[0] - spread.mean(axis=0)) / spread.std(axis=0)
    np.testing.assert_allclose([far, back], expected[1:], rtol=1e-4)
    assert record.mistakes[1].unusual == ()
    section = mistakes_section(record)
    (shown,) = (part for part in section.parts if isinstance(part, Table))
    assert shown.rows[0][-1] == f"two +{far:.1f}, three −{-back:.1f}"
    assert shown.rows[1][-1] == "none"


def test_of_a_large_table_some_examples_say_what_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes, "_READ", 100)
    train = Split(np.array([[0], [1], [0], [1]] * 75, np.float32), np.zeros(300, np.int32))
    held = Split(np.array([[4.0]], np.float32), np.zeros(1, np.int32))
    data = tw.Dataset("made", "made", train, ("a", "b"), test=held)
    record = mistakes_of(np.array([[0, 2.0]]), np.zeros(1, int), ("a", "b"), held, data=data, softmax=True)
    ((name, far),) = record.mistakes[0].unusual
    assert (name, far) == ("feature 0", pytest.approx(7.0))  # mean ½, spread ½
    assert "from one in 3 training examples" in record.caveats[0]


def test_scores_of_a_split_leave_the_training_split_alone() -> None:
    fresh = made_case(table())
    assert fresh.model is not None
    assert fresh.data is not None
    assert fresh.data.test is not None
    np.testing.assert_allclose(fresh.scores["test"], fresh.model.scores(fresh.data.test.features), rtol=1e-6)
    assert not fresh.inputs.done("train")  # type: ignore[attr-defined]


def test_probabilities_are_those_of_a_softmax_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).normal(0, 30, (50, 7)).astype(np.float32)
    scores[3, 2] = np.inf
    scores[4] = [-np.inf] * 6 + [1]
    labels = np.arange(50) % 7
    expected = softmax(np.delete(scores, 3, axis=0).astype(np.float64), axis=1)
    for block in (1, 30, 10**6):
        monkeypatch.setattr(mistakes, "_BLOCK", block)
        highest, own, true = mistakes._probabilities(scores, labels)
        np.testing.assert_array_equal(highest, scores.max(axis=1))
        np.testing.assert_allclose(np.delete(own, 3), expected.max(axis=1), rtol=1e-14)
        np.testing.assert_allclose(np.delete(true, 3), expected[np.arange(49), np.delete(labels, 3)], rtol=1e-12)
        assert (own[3], true[3]) == (1, 0)


def test_the_memory_is_a_small_part_of_the_scores() -> None:
    scores = np.random.default_rng(0).normal(size=(4000, 1000)).astype(np.float32)
    labels = scores.argmax(axis=1)
    labels[::2] = 0
    split = Split(np.zeros((4000, 1), np.float32), labels.astype(np.int32))
    classes = tuple(map(str, range(1000)))
    data = tw.Dataset("made", "made", split, classes)
    tracemalloc.start()
    mistakes_of(scores, labels, classes, split, data=data, softmax=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 8 * mistakes._BLOCK  # however many rows; with all in float64 it was four times as much


# --- from a case ---


@pytest.fixture(scope="module")
def case() -> Case:
    return made_case(digits())


def test_images_are_the_data_as_it_came(case: Case) -> None:
    record = mistakes_record(case)
    assert isinstance(record, MistakesRecord)
    assert (record.count, record.count - record.wrong) == (case.run.test.count, case.run.test.correct)
    assert len(record.mistakes) == min(24, record.wrong) > 0
    assert record.caveats[0].startswith("The data has pixels from 0 to 16")
    predicted = case.model.predict(case.data.test.features)
    section = mistakes_section(record)
    (picture,) = (part for part in section.parts if isinstance(part, Picture))
    shown = pixels_of(picture.drawing)
    for one, pixels in zip(record.mistakes, shown, strict=True):
        original = case.data.test.features[one.row]
        assert predicted[one.row] == one.predicted != one.true == case.classes[case.data.test.labels[one.row]]
        np.testing.assert_array_equal(one.image, np.rint(original * 255 / 16))
        np.testing.assert_array_equal(pixels, one.image[..., 0])
        assert f'alt="true {one.true}, predicted {one.predicted}"' in picture.drawing
    assert "trained on it" in page_of(section)


def test_a_table_is_shown_as_a_table(case: Case) -> None:
    data = table()
    recipe = dataclasses.replace(case.run.best.recipe, loss=tw.losses.Hinge())
    record = mistakes_record(made_case(data, recipe), most=5)
    assert isinstance(record, MistakesRecord)
    assert record.measure == "margin"
    assert {name for one in record.mistakes for name, _ in one.unusual} <= {"long", "wide", "heavy"}
    section = mistakes_section(record)
    assert not [part for part in section.parts if isinstance(part, Picture)]
    (shown,) = (part for part in section.parts if isinstance(part, Table))
    assert len(shown.rows) == 5
    assert shown.total == record.wrong
    assert "the worst 5 are shown" in page_of(section)


def test_after_a_refit_validation_examples_were_trained_on(case: Case) -> None:
    run = dataclasses.replace(case.run, test=None, refitted=True)
    record = mistakes_record(Case(run, run.best, case.data))
    assert isinstance(record, MistakesRecord)
    assert (record.split, record.trained_on) == ("validation", True)
    text = page_of(mistakes_section(record))
    assert "trained on these very examples" in text
    assert "of the validation split" in text
    assert "Whoever mends" not in text  # that is said of test examples
    assert isinstance(mistakes_record(Case(run, run.best, None)), Lacking)


# --- on the page ---


def test_a_doubtful_label_is_marked_and_the_source_named() -> None:
    # The 38 that it is sure of and right on let two mistakes of which it is as sure question their labels.
    split = images(41, (4, 6, 3), ("cats/1.png", "cats/<b>.png", "x" * 300 + "/7.png", *["cats/2.png"] * 38))
    record = found([[0, 9], [0, 0.5], [5, 0], *[[9, 0]] * 38], [0, 0, 1, *[0] * 38], split)
    text = page_of(mistakes_section(record))
    assert text.count('<strong class="flag">possible label error</strong>') == 2
    assert "cats/<wbr>1.png" in text
    assert "cats/<wbr>&lt;b&gt;.png" in text
    assert "<wbr>7.png</span>" in text
    assert "62.2 % sure" in text
    assert "&gt; 99.9 % sure" in text
    np.testing.assert_array_equal(pixels_of(text)[0], split.features[0])


def test_names_are_escaped_and_writable() -> None:
    generator = np.random.default_rng(1)
    split = images(40)
    data = tw.Dataset("made", "made", split, HOSTILE)
    record = mistakes_of(generator.normal(size=(40, 10)), generator.integers(0, 10, 40), HOSTILE, split, data=data,
                         softmax=True)  # fmt: skip
    text = page_of(mistakes_section(record))
    text.encode()
    assert "<img src=x" not in text
    assert 'style="' not in text


def test_large_images_are_reduced_and_many_channels_not_shown() -> None:
    record = found([[0, 9]], [0], images(1, (300, 200, 3)))
    text = page_of(mistakes_section(record))
    assert pixels_of(text)[0].shape == (96, 64, 3)
    assert "Images are reduced to 96 pixels" in text
    record = found([[0, 9]], [0], images(1, (5, 5, 4)))
    section = mistakes_section(record)
    assert record.mistakes[0].image is None
    assert [part for part in section.parts if isinstance(part, Table)]
    assert "Images of 4 channels" in page_of(section)


def test_no_mistake_is_said() -> None:
    record = found([[9, 0], [0, 9]], [0, 1], images(2))
    assert (record.wrong, record.mistakes) == (0, ())
    (note,) = mistakes_section(record).parts
    assert isinstance(note, Note)
    assert (note.tone, note.text) == ("good", "No mistake among 2 test examples.")

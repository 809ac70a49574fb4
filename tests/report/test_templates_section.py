"""Weights on the page: templates as images, a table's by feature, and why there are none."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from typing import Any

import numpy as np
import pytest
from class_cases import HOSTILE, digits, made_case, table
from PIL import Image

import thalweg as tw
from thalweg.diagnostics import Case
from thalweg.features import HOG
from thalweg.report.block import Lacking, Picture, Section, Table
from thalweg.report.page import Page, render
from thalweg.report.records.confusion import confusion_of
from thalweg.report.records.templates import templates_record
from thalweg.report.sections.templates import templates_section
from thalweg.views import TemplateRecord, WeightRecord


def page_of(section: Section) -> str:
    return render(Page("a run", "", (section,)))


def pixels_of(drawing: str) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r'src="data:image/png;base64,([^"]+)"', drawing)
    ]


def templates(weights: Any, classes: tuple[str, ...] | None = None) -> TemplateRecord:
    weights = np.asarray(weights, np.float64)
    return TemplateRecord(
        classes or tuple(f"class {i}" for i in range(len(weights))), weights, np.ones(len(weights)), "each"
    )


def weights(values: Any, classes: tuple[str, ...] | None = None, features: tuple[str, ...] | None = None) -> Any:
    values = np.asarray(values, np.float64)
    return WeightRecord(
        classes or tuple(f"class {i}" for i in range(len(values))),
        features or tuple(f"feature {i}" for i in range(values.shape[1])),
        values, np.zeros(len(values)), "unit of the feature",
    )  # fmt: skip


@pytest.fixture(scope="module")
def case() -> Case:
    return made_case(digits())


# --- images ---


def test_digits_have_a_template_a_class(case: Case) -> None:
    record = templates_record(case)
    assert isinstance(record, TemplateRecord)
    section = templates_section(record)
    (picture,) = section.parts
    assert isinstance(picture, Picture)
    shown = pixels_of(picture.drawing)
    assert len(shown) == 10
    weight = case.model.params["weight"][3].reshape(8, 8)
    picture_of_3 = shown[3].astype(int)
    assert picture_of_3.shape == (8, 8, 3)
    # Blue above red where the weight is positive, the other way round below 0.
    plain = np.abs(weight) > 0.02 * record.limits[3]  # weaker ones round to white
    blue = np.sign(picture_of_3[..., 2] - picture_of_3[..., 0])
    np.testing.assert_array_equal(blue[plain], np.sign(weight[plain]))
    assert plain.sum() > 30
    assert picture.table.rows[3][0] == "3"
    assert picture.table.rows[3][2] == pytest.approx(np.sqrt((weight.astype(np.float64) ** 2).mean()))


def test_colours_of_templates() -> None:
    (picture,) = templates_section(templates([[[[0.0], [1.0], [-1.0], [9.0]]]])).parts
    (pixels,) = pixels_of(picture.drawing)
    assert pixels[0].tolist() == [[255, 255, 255], [0x21, 0x66, 0xAC], [0xB2, 0x18, 0x2B], [0x21, 0x66, 0xAC]]
    (picture,) = templates_section(templates([[[[0.0, 1.0, -1.0]]]])).parts
    (pixels,) = pixels_of(picture.drawing)
    assert pixels[0, 0].tolist() == [128, 255, 0]
    assert "mid-grey" in picture.summary
    (picture,) = templates_section(templates(np.ones((20, 2, 2, 2)))).parts
    assert len(pixels_of(picture.drawing)) == 24  # a picture a channel
    assert "16 pictures of single channels are left out" in picture.summary


def test_of_many_classes_those_of_lowest_recall_are_shown() -> None:
    record = templates(np.random.default_rng(0).normal(size=(30, 2, 2, 1)))
    labels = np.repeat(np.arange(30), 2)
    predicted = labels.copy()
    predicted[58:] = 0  # the last class is always wrong
    predicted[0] = 1
    confusion = confusion_of(labels, predicted, record.classes)
    (picture,) = templates_section(record, confusion).parts
    assert len(pixels_of(picture.drawing)) == 24
    assert "24 of 30 classes with the lowest recall" in picture.summary
    assert {"class 0", "class 29"} <= {row[0] for row in picture.table.rows}
    (picture,) = templates_section(record, Lacking("no data")).parts
    assert "the first 24 of 30 classes" in picture.summary
    assert "class 29" not in {row[0] for row in picture.table.rows}


# --- tables ---


def test_a_table_shows_its_features_of_largest_weight() -> None:
    record = templates_record(made_case(table()))
    assert isinstance(record, WeightRecord)
    (picture,) = templates_section(record).parts
    assert isinstance(picture, Picture)
    assert picture.drawing.count('<figure class="small">') == 3
    for name, row in zip(record.classes, record.weights, strict=True):
        shown = [value for shown, _, value in picture.table.rows if shown == name]
        np.testing.assert_allclose(shown, row[np.argsort(-np.abs(row), kind="stable")])
    assert "the 4 of 4 features" in picture.summary


def test_of_two_classes_the_difference_is_drawn() -> None:
    (picture,) = templates_section(weights([[1.0, -2.0, 0.0], [2.0, 3.0, 0.0]])).parts
    assert picture.table.rows == (
        ("class 1 − class 0", "feature 1", 5.0), ("class 1 − class 0", "feature 0", 1.0),
        ("class 1 − class 0", "feature 2", 0.0),
    )  # fmt: skip
    assert "above 0 speaks for class 1" in picture.summary


def test_many_classes_are_a_table() -> None:
    values = np.zeros((30, 5))
    values[:, 2], values[:, 4] = -3.0, 1.0
    (shown,) = templates_section(weights(values)).parts
    assert isinstance(shown, Table)
    assert len(shown.rows) == 24
    assert shown.rows[0] == ("class 0", "feature 2", -3.0, "feature 4", 1.0, "feature 0", 0.0)
    assert shown.total == 30


def test_names_are_escaped_and_writable() -> None:
    generator = np.random.default_rng(0)
    alike = tuple("y" * 60 + str(i) for i in range(9))
    for section in (
        templates_section(templates(generator.normal(size=(10, 3, 3, 1)), HOSTILE)),
        templates_section(weights(generator.normal(size=(10, 9)), HOSTILE, alike)),
        templates_section(weights(generator.normal(size=(4, 10)), HOSTILE[:4], HOSTILE)),
        templates_section(weights(generator.normal(size=(3, 9)), None, alike)),
    ):
        text = page_of(section)
        text.encode()
        assert "<img src=x" not in text
        assert 'style="' not in text


def test_weights_that_are_all_zero() -> None:
    (picture,) = templates_section(weights(np.zeros((3, 2)))).parts
    assert "nan" not in picture.drawing
    assert "class 0: feature 0 0, feature 1 0" in picture.drawing


# --- why not ---


def test_why_there_are_no_weights(case: Case) -> None:
    run, model = case.run, case.run.model

    def with_recipe(**fields: Any) -> Case:
        other = dataclasses.replace(model, recipe=dataclasses.replace(model.recipe, **fields))
        return Case(dataclasses.replace(run, model=other), run.best, None)

    for one, why in (
        (with_recipe(model=tw.models.Dense(8)), "is a Dense"),
        (with_recipe(features=HOG()), "HOG in the pixels' place"),
        (Case(dataclasses.replace(run, model=None), run.best, None), "no weights to look at"),
    ):
        found = templates_record(one)
        assert isinstance(found, Lacking)
        assert why in found.why
        assert found.why.endswith(".")
        assert "What the model looks for" in page_of(templates_section(found))

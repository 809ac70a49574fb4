"""The three views of a linear classifier agree with its scores."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

import thalweg as tw
from test_sweep import SPACE, blobs
from thalweg.views import decision_regions, hyperplane, linear_form, template_sheet, templates


@pytest.fixture(scope="module")
def flat() -> tw.FittedModel:
    x, y = blobs()
    return tw.sweep(SPACE, (x[:, :2] * [3, 50] + [10, -7], np.array(["a", "b", "c"])[y]), trials=2).model


@pytest.fixture(scope="module")
def pictured() -> tw.FittedModel:
    """Images whose class is a bright quadrant."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 200)
    images = generator.integers(0, 100, (200, 6, 6, 1)).astype(np.uint8)
    for image, label in zip(images, y, strict=True):
        row, column = divmod(int(label), 2)
        image[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] += 60
    return tw.sweep(SPACE, (images, y), trials=2).model


def test_the_linear_form_gives_the_scores_of_raw_features(flat: Any, pictured: Any) -> None:
    generator = np.random.default_rng(1)
    for model, x in (
        (flat, generator.normal(size=(20, 2)).astype(np.float32) * 10),
        (pictured, generator.integers(0, 256, (20, 6, 6, 1)).astype(np.uint8)),
    ):
        weights, bias = linear_form(model)
        assert weights.shape == (3, int(np.prod(model.feature_shape)))
        # The scores are float32; the form is not.
        np.testing.assert_allclose(x.reshape(20, -1) @ weights.T + bias, model.scores(x), rtol=1e-4, atol=1e-4)


def test_a_template_is_bright_where_its_class_is(pictured: Any) -> None:
    images = templates(pictured).astype(int)
    assert images.shape == (3, 6, 6, 1)
    assert images.min() >= 1
    weights, _ = linear_form(pictured)
    np.testing.assert_array_equal(
        np.sign(images.reshape(3, -1) - 128),
        np.sign(np.rint(127 * weights / np.abs(weights).max(axis=1, keepdims=True))),
    )
    for label in range(3):
        row, column = divmod(label, 2)
        quadrant = images[label, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        assert quadrant.mean() > images[label].mean() + 20


def test_the_sheet_is_a_picture_of_all_classes(pictured: Any) -> None:
    picture = Image.open(BytesIO(template_sheet(pictured)))
    assert picture.format == "PNG"
    assert picture.size == (3 * 52, 24 + 16)
    first = np.asarray(picture)[:24:4, :24:4, 0]
    np.testing.assert_array_equal(first, templates(pictured)[0, :, :, 0])


def test_a_hyperplane_is_where_two_classes_score_alike(flat: Any) -> None:
    normal, offset = hyperplane(flat, "a", "c")
    start = np.array([1.0, 2.0])
    border = start - (normal @ start + offset) / (normal @ normal) * normal
    scores = flat.scores(np.stack([border, border + 1e-2 * normal]).astype(np.float32))
    np.testing.assert_allclose(scores[0, 0], scores[0, 2], atol=1e-4)
    assert scores[1, 0] > scores[1, 2]


def test_regions_are_the_predictions_on_a_grid(flat: Any) -> None:
    x, y, regions = decision_regions(flat, (0, -60), (20, 40), points=30)
    assert regions.shape == (30, 30)
    for row, column in ((0, 0), (4, 25), (29, 10)):
        point = np.array([[x[column], y[row]]], np.float32)
        assert flat.classes[regions[row, column]] == flat.predict(point)[0]
    assert len(np.unique(regions)) == 3


def test_what_has_no_such_view_is_refused(flat: Any, pictured: Any) -> None:
    with pytest.raises(tw.UsageError, match="no images"):
        templates(flat)
    with pytest.raises(tw.UsageError, match="two features"):
        decision_regions(pictured, (0, 0), (1, 1))
    with pytest.raises(tw.UsageError, match="'d' is unknown"):
        hyperplane(flat, "a", "d")

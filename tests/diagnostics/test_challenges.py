"""The challenges: each change of images against NumPy and SciPy, and a table whose every number can be told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import ndimage
from scipy.stats import binomtest, fisher_exact

import thalweg as tw
from thalweg.data import Preprocessing, Split
from thalweg.diagnostics import challenge_images as change
from thalweg.diagnostics.challenge_list import IMAGE_KINDS, KINDS, SPREAD, Chunk, changes, distinct
from thalweg.diagnostics.challenges import _others, applicable, challenges, chunks
from thalweg.diagnostics.class_spread import distances, terciles
from thalweg.plot import challenge_figure

SIDE = 16
BYTES, REALS = (0.0, 255.0), (-1.0, 2.0)
pictures = arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9), st.sampled_from([1, 3])))


def noise(count: int = 2, side: int = SIDE, channels: int = 3, seed: int = 0, dtype: Any = np.uint8) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if dtype == np.uint8:
        return generator.integers(0, 256, size=(count, side, side, channels), dtype=np.uint8)
    return generator.uniform(*REALS, size=(count, side, side, channels)).astype(np.float32)


# --- the changes ---


@given(pictures, st.integers(-4, 4), st.integers(-4, 4))
def test_a_shift_rolls_and_repeats_the_edge(images: np.ndarray, down: int, right: int) -> None:
    moved = change.shift(images, down, right)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    np.testing.assert_array_equal(moved, padded[:, 4 - down : 4 - down + height, 4 - right : 4 - right + width])
    inner = (slice(None), slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0)))
    np.testing.assert_array_equal(moved[inner], np.roll(images, (down, right), axis=(1, 2))[inner])


@given(pictures, st.integers(-3, 3))
def test_quarter_turns_are_those_of_numpy(images: np.ndarray, quarters: int) -> None:
    side = min(images.shape[1:3])
    images = images[:, :side, :side]
    np.testing.assert_array_equal(change.rotate(images, 90 * quarters, BYTES), np.rot90(images, quarters, axes=(1, 2)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(7, 12), (12, 7), (9, 9)])
def test_warps_are_those_of_scipy(dtype: Any, shape: tuple[int, int]) -> None:
    images = noise(dtype=dtype)[:, : shape[0], : shape[1]]
    back = np.array([[0.9, 0.3], [-0.2, 1.3]])
    centre = (np.array(shape) - 1) / 2
    limits = BYTES if dtype == np.uint8 else REALS
    found = change.warp(images, back, limits)
    for image, own in zip(images, found, strict=True):
        for channel in range(3):
            expected = ndimage.affine_transform(
                image[..., channel].astype(float), back, centre - back @ centre, order=1, mode="nearest"
            )
            # Half a grey level where it is rounded to one, else float32.
            np.testing.assert_allclose(own[..., channel], expected, atol=0.5 + 1e-3 if dtype == np.uint8 else 1e-5)


def test_stretching_by_whole_factors_and_slants_by_whole_rows() -> None:
    images = noise(side=9)
    smaller = change.stretch(images, 0.5, 0.5, BYTES)
    np.testing.assert_array_equal(smaller[:, 2:7, 2:7], images[:, ::2, ::2])  # the pixels at even places meet
    wider = change.stretch(images, 1.0, 2.0, BYTES)
    np.testing.assert_array_equal(wider[:, :, ::2], images[:, :, 2:7])
    slanted = change.shear(images, 1.0, BYTES)
    np.testing.assert_array_equal(slanted[:, 4], images[:, 4])
    np.testing.assert_array_equal(slanted[:, 1, 3:], images[:, 1, :-3])  # three rows above the centre: 3 to the right
    np.testing.assert_array_equal(slanted[:, 7, :-3], images[:, 7, 3:])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_light_and_contrast(dtype: Any) -> None:
    images = noise(dtype=dtype)
    limits = BYTES if dtype == np.uint8 else REALS
    low, high = limits
    near = 0.5 + 1e-3 if dtype == np.uint8 else 1e-5
    brighter = change.brighten(images, 1.5, limits)
    np.testing.assert_allclose(brighter, np.minimum(low + 1.5 * (images.astype(float) - low), high), atol=near)
    flatter = change.contrast(images, 0.5, limits)
    mean = images.mean(axis=(1, 2, 3), keepdims=True, dtype=float)
    np.testing.assert_allclose(flatter, mean + 0.5 * (images - mean), atol=near)


@given(st.floats(0.01, 0.99), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_patch_has_its_share_and_stays_inside(share: float, top: float, left: float) -> None:
    images = np.zeros((1, 20, 20, 1), np.uint8)
    covered = change.occlude(images, share, np.array([[top, left]]), BYTES)[0, :, :, 0] == 127
    rows, columns = covered.any(axis=1), covered.any(axis=0)
    assert rows.sum() == columns.sum() == round(share**0.5 * 20)
    assert covered.sum() == rows.sum() * columns.sum()  # one whole rectangle


def test_patches_reach_every_place() -> None:
    images = np.zeros((2, SIDE, SIDE, 1), np.float32)
    corners = np.array([[0.0, 0.0], [1 - 1e-12, 1 - 1e-12]])
    found = change.occlude(images, 0.25, corners, (0.0, 1.0))[..., 0]
    assert (found[0, :8, :8] == 0.5).all()
    assert (found[1, 8:, 8:] == 0.5).all()
    assert found.sum() == 0.5 * 2 * 64


def test_clutter_takes_the_corners_of_the_other_image() -> None:
    images, others = noise(), noise(seed=1)
    found = change.clutter(images, others, 0.25)
    np.testing.assert_array_equal(found[:, :4, -4:], others[:, :4, -4:])
    np.testing.assert_array_equal(found[:, 4:-4], images[:, 4:-4])
    np.testing.assert_array_equal(found[:, :, 4:-4], images[:, :, 4:-4])
    # Whatever the size, three shares are three strengths.
    for side in (8, 16, 28, 32, 96):
        zeros, ones = np.zeros((1, side, side, 1), np.uint8), np.ones((1, side, side, 1), np.uint8)
        shares = [change.clutter(zeros, ones, share).mean() for share in (0.1, 0.25, 0.5)]
        np.testing.assert_allclose(shares, (0.1, 0.25, 0.5), atol=0.07)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_no_strength_is_no_change(dtype: Any) -> None:
    images, limits = noise(dtype=dtype), BYTES if dtype == np.uint8 else REALS
    corners = np.full((2, 2), 0.5)
    for same in (
        change.brighten(images, 1.0, limits), change.contrast(images, 1.0, limits), change.shift(images, 0, 0),
        change.rotate(images, 0.0, limits), change.rotate(images, 360.0, limits),
        change.stretch(images, 1.0, 1.0, limits), change.shear(images, 0.0, limits),
        change.occlude(images, 0.0, corners, limits), change.clutter(images, images[::-1], 0.0),
    ):  # fmt: skip
        assert same.dtype == dtype
        # uint8 to the bit; float32 as the sums m + (x − m) round.
        np.testing.assert_allclose(same, images, rtol=0, atol=0 if dtype == np.uint8 else 1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_change_keeps_shape_type_and_limits_and_is_one(dtype: Any) -> None:
    split = Split(noise(6, dtype=dtype), np.array([0, 1, 0, 1, 0, 1], np.int32))
    ((place, chunk),) = chunks(split, 3)
    assert place == slice(0, 6)
    listed = changes(SIDE, SIDE)
    assert {one.kind for one in listed} == set(IMAGE_KINDS)
    for one in listed:
        after = one.apply(chunk)
        assert after.shape == chunk.images.shape, one
        assert after.dtype == dtype
        assert after.min() >= chunk.limits[0]
        assert after.max() <= chunk.limits[1]
        assert (after != chunk.images).any(axis=(1, 2, 3)).all(), one
    assert (split.labels[[0, 1]] != _labels_of(chunk.others[:2], split)).all()  # type: ignore[index]


def _labels_of(images: np.ndarray, split: Split) -> np.ndarray:
    same = (split.features[None] == images[:, None]).all(axis=(2, 3, 4))
    assert split.labels is not None
    return split.labels[same.argmax(axis=1)]


def test_the_other_image_is_of_another_class_however_few_there_are() -> None:
    labels = np.zeros(5000, np.int32)
    labels[:5] = 1
    images = labels.astype(np.uint8)[:, None, None, None]
    for place, chunk in chunks(Split(images, labels), 0):
        assert (chunk.others[:, 0, 0, 0] != labels[place]).all()


def test_each_image_of_another_class_is_drawn_as_often() -> None:
    labels, generator, rounds = np.array([4, 0, 2, 0, 4, 0, 4, 4]), np.random.default_rng(0), 4000
    drawn = np.stack([_others(labels, generator) for _ in range(rounds)])
    for row, label in enumerate(labels):
        times = np.bincount(drawn[:, row], minlength=len(labels))
        share = 1 / np.count_nonzero(labels != label)
        assert (times[labels == label] == 0).all()
        # Five standard deviations of a count.
        np.testing.assert_allclose(times[labels != label], rounds * share, atol=5 * (rounds * share) ** 0.5)


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (4, 4), (8, 8), (28, 28), (32, 24)])
def test_the_strength_shown_is_the_share_that_is_covered(shape: tuple[int, int]) -> None:
    zeros, ones = np.zeros((1, *shape, 1), np.float32), np.ones((1, *shape, 1), np.float32)
    chunk = Chunk(zeros, np.full((1, 2), 0.3), ones, (0.0, 2.0))  # a patch of 1 or corners of 1 on 0
    for one in changes(*shape):
        if one.kind in ("occlusion", "clutter"):
            assert one.strength == f"{100 * one.apply(chunk).mean():.3g}%"


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (3, 5), (4, 4), (8, 8), (16, 17)])
def test_no_row_is_another_or_changes_nothing(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    images, others = (generator.uniform(*REALS, size=(2, *shape, 1)).astype(np.float32) for _ in range(2))
    chunk, listed = Chunk(images, np.full((2, 2), 0.3), others, REALS), distinct(*shape)
    for before, one in zip([None, *listed], listed, strict=False):
        after = one.apply(chunk)
        assert (after != images).any(), one
        if before is not None and before.condition == one.condition:
            assert (after != before.apply(chunk)).any(), one
    kept = [one.strength for one in listed if one.kind == "clutter"]
    assert kept == {(4, 4): ["25%"], (8, 8): ["6.25%", "25%", "56.2%"]}.get(shape, kept)


def test_strengths_that_small_images_have_not_are_noted() -> None:
    images = noise(6, side=4, dtype=np.float32, channels=1)
    model = model_of(np.random.default_rng(0).normal(size=(2, 16)), (4, 4, 1), "float32")
    split = Split(images, np.arange(6, dtype=np.int32) % 2)
    table = challenges(model, split, kinds=("shift", "occlusion", "clutter"))
    assert [row.strength for row in table.rows[12:]] == ["6.25%", "25%", "25%"]
    assert "clutter, other corners: 1 of 3 strengths shown" in str(table)
    assert "occlusion, grey patch: 2 of 3 strengths shown" in str(table)
    assert "shift" not in "".join(table.notes[:2])
    assert challenge_figure.challenges(table).axes
    small, dots = model_of(np.ones((2, 1)), (1, 1, 1), "float32"), Split(images[:, :1, :1], split.labels)
    with pytest.raises(tw.UsageError, match="nothing changes images of 1 × 1"):
        challenges(small, dots, kinds=("clutter",))


# --- within-class spread ---


def test_terciles_are_thirds_of_each_class_by_distance() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [30, 9, 1]).astype(np.int32)
    split = Split(generator.normal(size=(40, 5)).astype(np.float32), labels)
    away, third = distances(split), terciles(split)
    for label, sizes in ((0, [10, 10, 10]), (1, [3, 3, 3]), (2, [0, 1, 0])):
        own = labels == label
        mean = split.features[own].astype(float).mean(axis=0)
        np.testing.assert_allclose(away[own], np.linalg.norm(split.features[own] - mean, axis=1), rtol=1e-6)
        assert np.bincount(third[own], minlength=3).tolist() == sizes
        order = third[own][np.argsort(away[own])]
        assert (np.diff(order) >= 0).all()


# --- the table ---


def model_of(weights: np.ndarray, shape: tuple[int, ...], dtype: str = "uint8") -> tw.FittedModel:
    plain = Preprocessing("none", np.float32(0), np.float32(1))
    params = {"weight": weights.astype(np.float32), "bias": np.zeros(2, np.float32)}
    return tw.FittedModel(tw.Recipe(), params, (), plain, ("left", "right"), shape, feature_dtype=dtype)


@pytest.fixture(scope="module")
def stripes() -> tuple[tw.FittedModel, Split]:
    """A vertical stripe left or right of the middle, and a model that compares the halves: right on all of them."""
    labels = (np.arange(40) % 2).astype(np.int32)
    images = np.zeros((40, SIDE, SIDE, 1), np.uint8)
    columns = np.where(labels == 0, 7, 8)
    images[np.arange(40), :, columns, 0] = 200
    halves = np.where(np.arange(SIDE) < 8, 1.0, -1.0)
    weight = np.broadcast_to(halves[None, :, None], (SIDE, SIDE, 1)).ravel()
    return model_of(np.stack([weight, -weight]), (SIDE, SIDE, 1)), Split(images, labels)


def test_a_model_that_hangs_on_the_place_fails_under_its_shift_alone(stripes: tuple[tw.FittedModel, Split]) -> None:
    model, split = stripes
    table = challenges(model, split, kinds=("shift", "illumination"))
    assert table.clean.accuracy == 1
    found = {(row.condition, row.level): row for row in table.rows}
    for level in (1, 2, 3):
        for condition in ("up", "down", "darker", "brighter", "less contrast"):
            assert found[condition, level].drop == 0, condition
        for condition in ("left", "right"):  # one class crosses the middle, the other goes further away from it
            row = found[condition, level]
            assert (row.accuracy, row.drop, row.lost, row.gained) == (0.5, 0.5, 20, 0)
            assert row.p_value == pytest.approx(binomtest(0, 20, 0.5).pvalue)
            assert row.p_value < row.adjusted < 1e-3
            assert row.interval == tw.statistics.wilson(20, 40)
            assert row.strength == f"{level} px"
    assert table.worst().kind == "shift"


def test_all_kinds_by_default_the_same_each_time(stripes: tuple[tw.FittedModel, Split]) -> None:
    model, split = stripes
    table = challenges(model, split)
    assert [row.kind for row in table.rows][::3] == sorted((r.kind for r in table.rows[::3]), key=KINDS.index)
    assert {row.kind for row in table.rows} == set(KINDS)
    assert [row.level for row in table.rows] == [1, 2, 3] * (len(table.rows) // 3)
    told: list[str] = []
    assert str(challenges(model, split, tell=told.append)) == str(table)
    assert told[-1] == "changed images scored: 100%"
    other = challenges(model, split, seed=1)
    assert other.as_dict() != table.as_dict()  # other patches, other corners
    text = str(table)
    assert all(kind in text for kind in KINDS)
    assert "+0.5000 *" in text
    assert max(map(len, text.splitlines())) <= 120
    assert table.as_dict()["rows"][0]["strength"] == "× 0.75"


def test_spread_serves_features_that_are_no_images() -> None:
    generator = np.random.default_rng(0)
    labels = (np.arange(300) % 2).astype(np.int32)
    x = generator.normal(size=(300, 3)).astype(np.float32) * 2
    x[:, 0] += 4 * labels - 2
    model, split = model_of(np.array([[-1.0, 0, 0], [1, 0, 0]]), (3,), "float32"), Split(x, labels)
    with pytest.raises(tw.UsageError, match=r"illumination, shift, .*clutter: not applicable.*shape \(3,\)"):
        challenges(model, split)
    assert applicable(split) == (SPREAD,)
    table = challenges(model, split, kinds=applicable(split))
    right = (x[:, 0] > 0) == labels
    third = terciles(split)
    for level, row in enumerate(table.rows):
        own = third == level
        assert row.result.correct == right[own].sum()
        counts = [[right[part].sum(), (~right[part]).sum()] for part in (own, ~own)]
        assert row.p_value == pytest.approx(fisher_exact(counts).pvalue)
        assert row.drop == pytest.approx(right.mean() - right[own].mean())
    assert table.rows[0].accuracy > table.rows[2].accuracy
    assert table.rows[0].drop < 0
    assert table.rows[0].adjusted < 0.05  # and so a star, of what is better
    assert "* differs by more than chance" in str(table)


def test_float_images_and_one_class() -> None:
    images = noise(5, dtype=np.float32, channels=1)
    model = model_of(np.random.default_rng(0).normal(size=(2, SIDE * SIDE)), (SIDE, SIDE, 1), "float32")
    table = challenges(model, Split(images, np.zeros(5, np.int32)), kinds=("clutter", "rotation"))
    assert "all examples are of one class" in str(table)
    assert len(table.rows) == 9


def test_pictures_are_drawn(stripes: tuple[tw.FittedModel, Split]) -> None:
    model, split = stripes
    table = challenges(model, split)
    for dark in (False, True):
        figure = challenge_figure.challenges(table, dark=dark)
        FigureCanvasAgg(figure).draw()
        assert next(label.get_text() for label in figure.axes[0].get_yticklabels()) == "illumination: darker"
    sheet = challenge_figure.challenge_sheet(split, example=3, dark=True)
    drawn = [np.asarray(image.get_array()) for axes in sheet.axes for image in axes.images]
    ((_, chunk),) = chunks(split, 0, np.array([3]))
    listed = changes(SIDE, SIDE)
    assert len(drawn) == len(listed) + len({(one.kind, one.condition) for one in listed})
    np.testing.assert_allclose(drawn[0][..., 0], split.features[3][..., 0] / 255)
    strong = [one for one in listed if one.condition == "darker"][2]
    np.testing.assert_allclose(drawn[3], np.repeat(strong.apply(chunk)[0] / 255, 3, axis=2))


def test_bad_input_is_named(stripes: tuple[tw.FittedModel, Split]) -> None:
    model, split = stripes
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: challenges(model, split, kinds=("rotations",)), tw.UsageError, "did you mean 'rotation'"),
        (lambda: challenges(model, split, kinds=()), tw.UsageError, "kinds is empty"),
        (lambda: challenges(model, split, seed=-1), tw.UsageError, "seed is -1"),
        (lambda: challenges(model, split.features), tw.UsageError, "split is a ndarray"),
        (lambda: challenges(3, split), tw.UsageError, "model is a int"),
        (lambda: challenges(model, Split(split.features, None)), tw.DataError, "no labelled examples"),
        (lambda: challenges(model, Split(split.features, split.labels + 2)), tw.DataError, "labels run from 2"),
        (lambda: challenge_figure.challenges(3), tw.UsageError, "table is a int"),  # type: ignore[arg-type]
        (lambda: challenge_figure.challenge_sheet(split, example=40), tw.UsageError, "example is 40"),
        (
            lambda: challenge_figure.challenge_sheet(Split(np.zeros((2, 3), np.uint8), None)),
            tw.UsageError,
            "no labelled",
        ),
    ]
    for call, kind, text in cases:
        with pytest.raises(kind, match=text):
            call()

"""Preprocessing: the exact affine map, whatever the type, size and scale of the features."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.preprocessing import StandardScaler

from thalweg.data import preprocessing
from thalweg.data.preprocessing import KINDS, fit_preprocessing
from thalweg.errors import DataError, UsageError

EPS = 2.0**-24  # float32's relative rounding


def exact_moments(column):
    """A column's mean and variance in rational numbers."""
    values = [Fraction(float(value)) for value in column]
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / len(values)


# Neither subnormal nor near it: `test_scales_that_float32_cannot_hold` has those.
FLOATS = st.just(0.0) | st.floats(2.0**-10, 2.0**20, width=32) | st.floats(-(2.0**20), -(2.0**-10), width=32)


@given(npst.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=FLOATS))
@settings(max_examples=150)
def test_standardize_is_exact_to_float32(features):
    fitted = fit_preprocessing(features, "standardize")
    for place in range(features.shape[1]):
        mean, variance = exact_moments(features[:, place])
        assert abs(fitted.shift[place] - float(mean)) <= EPS * abs(float(mean)) + 1e-38
        if variance == 0:
            assert fitted.scale[place] == 0
        elif float(variance) > (2e-7 * float(mean)) ** 2:
            # The one pass in float64 loses at most (distance of the first example)² / variance ≤ N digits' worth.
            assert fitted.scale[place] == pytest.approx(float(variance) ** -0.5, rel=3 * EPS)


@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 12), st.just(2), st.integers(1, 3), st.just(1))))
def test_center_is_one_mean_a_feature_and_one_scale_for_all(features):
    fitted = fit_preprocessing(features, "center")
    assert fitted.shift.shape == features.shape[1:]
    assert fitted.scale.shape == ()
    moments = [exact_moments(column) for column in features.reshape(len(features), -1).T]
    np.testing.assert_allclose(fitted.shift.ravel(), [float(mean) for mean, _ in moments], rtol=EPS, atol=0)
    variance = float(sum(variance for _, variance in moments) / len(moments))
    assert fitted.scale == (1 if variance == 0 else pytest.approx(variance**-0.5, rel=3 * EPS))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_standardize_agrees_with_scikit_learn(dtype):
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(500, 20)) * rng.uniform(1, 30, 20) + 128).clip(0, 255).astype(dtype)
    fitted = fit_preprocessing(features, "standardize")
    expected = StandardScaler().fit(features.astype(np.float64)).transform(features.astype(np.float64))
    # Shift and scale are rounded to float32, and the difference x − shift to the digits of 255.
    np.testing.assert_allclose(fitted.transform(features), expected, rtol=0, atol=255 * 3 * EPS)


def test_what_each_kind_does_to_the_training_examples():
    rng = np.random.default_rng(1)
    features = (rng.normal(size=(400, 5, 4, 3)) * 20 + 100).clip(0, 255).astype(np.uint8)
    none, scale, center, standardize = (fit_preprocessing(features, kind).transform(features) for kind in KINDS)
    for found in (none, scale, center, standardize):
        assert found.dtype == np.float32
        assert found.shape == features.shape
    np.testing.assert_array_equal(none, features)
    np.testing.assert_allclose(scale, features / 255, rtol=2 * EPS)
    np.testing.assert_allclose(center.mean(axis=0), 0, atol=1e-5)
    assert np.mean(np.square(center, dtype=np.float64)) == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(standardize.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standardize.std(axis=0), 1, rtol=1e-5)
    # One scale for all features keeps their proportions; standardising does not.
    ratio = center.std(axis=0) / features.std(axis=0)
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-5)


def test_scale_leaves_floats_as_they_are():
    features = np.array([[0.5, -3.0]], np.float32)
    np.testing.assert_array_equal(fit_preprocessing(features, "scale").transform(features), features)


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        (np.zeros((2, 4, 4, 3), np.uint8), "center"),
        (np.zeros((2, 48), np.uint8), "center"),
        (np.zeros((2, 4, 4, 3), np.float32), "center"),
        (np.zeros((2, 48), np.float32), "standardize"),
    ],
)
def test_auto(features, kind):
    assert fit_preprocessing(features).kind == fit_preprocessing(features, "auto").kind == kind
    assert fit_preprocessing(features, None).kind == "none"


@pytest.mark.parametrize("value", [0, 1, 0.1, 255, 1e6, -1e7, 1e30, 1e-30, 3e38])
@pytest.mark.parametrize("kind", ["center", "standardize"])
def test_a_constant_feature_becomes_zero(value, kind):
    features = np.full((1000, 2), value, np.float32)
    features[:, 1] = np.arange(1000)
    found = fit_preprocessing(features, kind).transform(features)
    np.testing.assert_array_equal(found[:, 0], 0)
    assert found[:, 1].std() > 0
    alone = fit_preprocessing(features[:, :1], kind)
    np.testing.assert_array_equal(alone.transform(features[:, :1]), 0)


@pytest.mark.parametrize("offset", [1e6, 1.7e9])
def test_rounding_about_a_large_mean_is_no_signal_but_a_small_spread_is(offset):
    ulp = np.spacing(np.float32(offset))
    noise = np.where(np.arange(1000) % 2, ulp, 0)
    signal = np.arange(1000) % 16 * ulp
    features = np.stack([offset + noise, offset + signal], axis=1).astype(np.float32)
    fitted = fit_preprocessing(features, "standardize")
    assert fitted.scale[0] == 0
    assert fitted.scale[1] == pytest.approx(1 / signal.std(), rel=1e-6)


def test_large_offsets_do_not_cancel_the_variance_away():
    """In the textbook form mean(x²) − mean² this variance of 1/4 would drown in rounding at 4e15."""
    features = np.full((4000, 1), 2.0**24 - 4, np.float32)
    features[::2] += 1
    _, variance = preprocessing._moments(features)
    assert variance[0] == 0.25


def test_an_outlier_as_first_example_costs_no_digits():
    features = np.random.default_rng(0).normal(size=(10_000, 1)).astype(np.float32)
    features[0] = 1e6
    mean, variance = preprocessing._moments(features)
    exact = features.astype(np.float64)
    assert mean[0] == pytest.approx(exact.mean(), abs=1e-9)  # an ulp of the outlier is 1e-10
    assert variance[0] == pytest.approx(exact.var(), rel=1e-10)  # the bound is N · 2^-53 = 1e-12, times a few


def test_blocks_of_rows_make_no_difference(monkeypatch):
    features = np.random.default_rng(0).integers(0, 256, (101, 7), np.uint8)
    whole = preprocessing._moments(features)
    monkeypatch.setattr(preprocessing, "_CHUNK", 30)  # four rows at a time, and one left over
    for one, other in zip(whole, preprocessing._moments(features), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)
    monkeypatch.setattr(preprocessing, "_CHUNK", 1)  # less than a row
    for one, other in zip(whole, preprocessing._moments(features), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def test_memory_maps_are_read_in_blocks_and_left_alone(tmp_path, monkeypatch):
    features = np.random.default_rng(0).integers(0, 256, (100, 6), np.uint8)
    path = tmp_path / "x.npy"
    np.save(path, features)
    mapped = np.load(path, mmap_mode="r")
    monkeypatch.setattr(preprocessing, "_CHUNK", 60)
    fitted, expected = (fit_preprocessing(x, "standardize") for x in (mapped, features))
    np.testing.assert_array_equal(fitted.shift, expected.shift)
    np.testing.assert_array_equal(fitted.scale, expected.scale)
    assert type(fitted.shift) is type(fitted.scale) is np.ndarray
    np.testing.assert_array_equal(fitted.transform(mapped), expected.transform(features))


def test_only_training_examples_bear_on_the_fit():
    """New examples go through the map as it was fitted; a single one too."""
    train = np.random.default_rng(0).normal(5, 2, (50, 3)).astype(np.float32)
    fitted = fit_preprocessing(train, "standardize")
    new = np.array([[5, 5, 5], [100, -100, 0]], np.float32)
    found = fitted.transform(new)
    np.testing.assert_allclose(found, (new - train.mean(0)) / train.std(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(fitted.transform(new[:1]), found[:1])
    assert fitted.transform(new[:0]).shape == (0, 3)


@pytest.mark.parametrize("shape", [(10, 4), (10, 2, 3, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_jax_and_numpy_features_come_out_alike(shape, kind):
    features = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    fitted = fit_preprocessing(features, kind)
    # One multiply-add where NumPy rounds twice.
    np.testing.assert_allclose(
        np.asarray(fitted.transform(jnp.asarray(features))), fitted.transform(features), rtol=4 * EPS, atol=1e-6
    )


def test_huge_and_tiny_scales_that_float32_can_hold():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(200, 1))
    features = np.concatenate([base * 1e36, base * 1e-36, base], axis=1).astype(np.float32)
    found = fit_preprocessing(features, "standardize").transform(features)
    np.testing.assert_allclose(found, np.repeat(found[:, 2:], 3, axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["center", "standardize"])
@pytest.mark.parametrize(
    "column",
    [[1e-40, 2e-40, 3e-40], [-3e38, 3e38, 3e38], [np.nan, 1, 2], [np.inf, 1, 2]],
    ids=["tiny", "huge", "nan", "inf"],
)
def test_scales_that_float32_cannot_hold(kind, column):
    with np.errstate(invalid="ignore"), pytest.raises(DataError, match="range of float32; rescale them"):
        fit_preprocessing(np.array(column, np.float32)[:, None], kind)


@pytest.mark.parametrize("kind", ["standardise", "", 3, ["scale"]])
def test_an_unknown_kind(kind):
    with pytest.raises(
        UsageError, match=r"^preprocessing is .*; it must be one of auto, none, scale, center, standardize"
    ):
        fit_preprocessing(np.zeros((2, 2), np.float32), kind)


def test_no_jax_is_imported():
    code = "import sys, thalweg.data.preprocessing, thalweg.data.splits; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

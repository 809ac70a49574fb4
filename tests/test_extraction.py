"""Features through the whole way: sweep, recipe, cache, model file, prediction from raw images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import thalweg as tw
from thalweg.artifacts import load_model, save_model
from thalweg.data import Dataset, Split
from thalweg.data.splits import split_dataset
from thalweg.extraction import extract, view
from thalweg.features import HOG, ColorHistogram, Features, Patches
from thalweg.optimizers import Adam
from thalweg.recipe import Recipe
from thalweg.recipe_files import load_recipe, save_recipe

SMALL = Patches(count=6, patch=3, samples=300, iterations=2)
RNG = np.random.default_rng(0)


def images(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a stripe somewhere: upright, level, or none. No pixel tells which."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 3).astype(np.int32)
    x = rng.integers(0, 120, (count, 8, 8, 3))
    for image, label, place in zip(x, labels, rng.integers(0, 8, count), strict=True):
        if label < 2:
            image[(slice(None), place) if label == 0 else place] += 100
    return x.astype(np.uint8), labels


def dataset(count: int = 120) -> Dataset:
    return Dataset("stripes", "made here", Split(*images(count)), ("upright", "level", "none"))


def recipe(**changes) -> Recipe:
    return Recipe(**{"optimizer": Adam(0.05), "batch_size": 32, "epochs": 12, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    features = tw.choice(None, HOG(cell=4) + ColorHistogram(grid=2), SMALL)
    run = tw.sweep(recipe(features=features), dataset(), trials=3, search="grid", cache=cache)
    return run, cache


def test_a_sweep_chooses_among_features(run):
    found, _ = run
    assert len({trial.cohort for trial in found.trials}) == 3
    assert [trial.recipe.features for trial in found.trials] == [None, HOG(cell=4) + ColorHistogram(grid=2), SMALL]
    assert found.best.recipe.features is not None  # stripes lie anywhere in the noise of a pixel
    assert found.test.accuracy > 0.9
    assert found.data.feature_shape == (8, 8, 3)
    assert found.data.preprocessing == "center, standardize"


def test_the_model_takes_raw_images_and_its_file_brings_them_through(run, tmp_path):
    found, _ = run
    save_model(found.model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    x, labels = images(60, seed=9)
    np.testing.assert_array_equal(again.scores(x), found.model.scores(x))
    assert np.mean(again.scores(x).argmax(axis=1) == labels) > 0.85
    assert again.recipe.features == found.best.recipe.features
    with pytest.raises(tw.DataError, match=r"shape \(9, 9, 3\) an example, the model takes \(8, 8, 3\)"):
        again.scores(np.zeros((2, 9, 9, 3), np.uint8))


def test_what_patches_learn_comes_from_training_images_alone_and_travels(tmp_path):
    split = split_dataset(dataset(), seed=0)
    found = tw.sweep(recipe(), split, features=SMALL, trials=1, refit=False)
    expected = SMALL.fit(split.train.features)
    for name, array in expected.items():
        np.testing.assert_array_equal(found.model.feature_state[name], array)
    save_model(found.model, tmp_path / "m")
    for name, array in load_model(tmp_path / "m").feature_state.items():
        np.testing.assert_array_equal(array, expected[name])


def test_a_model_file_whose_features_are_missing_is_damaged(tmp_path):
    from safetensors.numpy import load_file, save_file

    found = tw.sweep(recipe(epochs=1), dataset(), features=SMALL, trials=1, refit=False)
    save_model(found.model, tmp_path / "m")
    from safetensors import safe_open

    with safe_open(tmp_path / "m", framework="numpy") as file:
        metadata = file.metadata()
    tensors = load_file(tmp_path / "m")
    whole = {name: array for name, array in tensors.items() if name != "features.centroids"}
    save_file(whole, tmp_path / "missing", metadata)
    with pytest.raises(tw.DataError, match=r"damaged: KeyError 'features\.centroids'"):
        load_model(tmp_path / "missing")
    save_file({**tensors, "features.mean": np.zeros(5, np.float32)}, tmp_path / "other", metadata)
    with pytest.raises(tw.DataError, match=r"features\.mean is float32\[5\]"):
        load_model(tmp_path / "other")
    broken = np.full_like(tensors["features.centroids"], np.nan)
    save_file({**tensors, "features.centroids": broken}, tmp_path / "broken", metadata)
    with pytest.raises(tw.DataError, match=r"features\.centroids is not finite"):
        load_model(tmp_path / "broken")


def test_features_are_kept_by_fingerprint_and_read_back(run, monkeypatch):
    found, cache = run
    notes = [message for message in found.messages if "kept in" in message]
    assert len(notes) == 2
    split = split_dataset(dataset(), seed=0)
    before, state, note = extract(split, SMALL, cache=cache)
    assert note.startswith("the features Patches were read from")
    monkeypatch.setattr(Patches, "fit", None)  # nothing is computed again
    after, again, _ = extract(split, SMALL, cache=cache)
    np.testing.assert_array_equal(after.test.features, before.test.features)
    assert state.keys() == again.keys()
    monkeypatch.undo()
    other = dataclasses.replace(split, train=Split(split.train.features[::-1].copy(), split.train.labels))
    _, _, note = extract(other, SMALL, cache=cache)
    assert "are kept in" in note


def test_kept_features_that_are_damaged_are_computed_again(tmp_path):
    split = split_dataset(dataset(), seed=0)
    whole, _, _ = extract(split, HOG(cell=4), cache=tmp_path)
    (place,) = tmp_path.iterdir()
    (place / "test.npy").write_bytes(b"nothing")
    again, _, note = extract(split, HOG(cell=4), cache=tmp_path)
    np.testing.assert_array_equal(again.test.features, whole.test.features)
    assert "is damaged" in note
    assert "computed again" in note
    assert "were read from" in extract(split, HOG(cell=4), cache=tmp_path)[2]
    rows = np.load(place / "train.npy")
    np.save(place / "train.npy", rows[::-1])  # a whole file, of the right shape
    assert "train.npy has changed" in extract(split, HOG(cell=4), cache=tmp_path)[2]


def test_settings_of_one_kind_are_kept_apart(tmp_path):
    split = split_dataset(dataset(), seed=0)
    one, _, _ = extract(split, SMALL, cache=tmp_path)
    other, _, note = extract(split, dataclasses.replace(SMALL, seed=1), cache=tmp_path)
    assert "are kept in" in note
    assert not np.array_equal(one.test.features, other.test.features)


class Brightness(Features):
    """A part of somebody's own."""

    kind = "brightness"

    def size(self, shape):
        return 1

    def encode(self, images, state):
        return images.mean(axis=(1, 2, 3))[:, None]


def test_features_of_ones_own_are_not_kept_and_are_given_again_to_load(tmp_path):
    found = tw.sweep(recipe(epochs=1), dataset(), features=Brightness(), trials=1, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    save_model(found.model, tmp_path / "m")
    with pytest.raises(tw.DataError, match=r"features are of kind 'brightness'.*load_model\(path, features="):
        load_model(tmp_path / "m")
    x, _ = images(9)
    np.testing.assert_array_equal(load_model(tmp_path / "m", features=Brightness()).scores(x), found.model.scores(x))


def test_the_refit_fits_preprocessing_to_all_features_it_trains_on():
    found = tw.sweep(recipe(), dataset(), features=HOG(cell=4), trials=1)
    split = split_dataset(dataset(), seed=0)
    seen, _, _ = extract(split, HOG(cell=4))
    expected = np.concatenate([seen.train.features, seen.validation.features]).mean(axis=0)
    np.testing.assert_allclose(found.model.preprocessing.shift, expected, atol=1e-6)


def test_what_cannot_be_trained_is_refused_before_anything_is_extracted(monkeypatch):
    monkeypatch.setattr(Patches, "fit", None)
    with pytest.raises(tw.UsageError, match="Convolutional takes images"):
        tw.sweep(recipe(model=tw.models.Convolutional()), dataset(), features=SMALL)
    with pytest.raises(tw.UsageError, match="leave augmentation or features out"):
        tw.sweep(recipe(augmentation=tw.augmentation.FlipCrop()), dataset(), features=SMALL)
    with pytest.raises(tw.UsageError, match="features is 3"):
        tw.sweep(None, dataset(), features=3)


def test_a_model_of_features_has_no_templates(run):
    with pytest.raises(tw.UsageError, match="in the pixels' place"):
        tw.views.templates(run[0].model)


def test_float_images_off_their_range_are_refused():
    x, y = images(60)
    with pytest.raises(tw.UsageError, match=r"images run from 0 to \d+; give uint8"):
        tw.sweep(recipe(), (x.astype(np.float32), y), features="color")


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    split = split_dataset(dataset(), seed=0)
    _, _, note = extract(split, HOG(cell=4), cache=tmp_path / "file")
    assert note.startswith("the features HOG are not kept for the next run: ")


def test_progress_is_told():
    told: list[str] = []
    view(split_dataset(dataset(), seed=0), SMALL, "auto", tell=told.append)
    assert any(line.startswith("learning Patches") for line in told)
    assert any(line.startswith("Patches of test images: ") for line in told)


def test_features_of_what_is_no_image_are_refused():
    x = RNG.normal(size=(60, 5)).astype(np.float32)
    with pytest.raises(tw.UsageError, match=r"HOG: examples of shape \(5,\) are no images"):
        tw.sweep(recipe(), (x, np.arange(60) % 2), features="hog")


def test_the_default_space_suits_the_features():
    found = tw.sweep(None, dataset(60), features="color", trials=1)
    assert found.space.features == ColorHistogram()


@pytest.mark.parametrize("name", ["recipe.toml", "recipe.json"])
def test_features_and_all_new_keys_go_through_files(tmp_path, name):
    space = Recipe(
        model=tw.choice(
            tw.models.Dense(hidden=tw.choice((3,), (4, 5)), dropout=tw.uniform(0.0, 0.5)), tw.models.Linear()
        ),
        loss=tw.losses.Softmax(tw.uniform(0.0, 0.2)),
        features=tw.choice(None, HOG() + SMALL, ColorHistogram()),
        augmentation=tw.augmentation.FlipCrop(crop=2),
        averaging=tw.averaging.ExponentialAverage(tw.uniform(0.9, 0.999)),
        clip=tw.log_uniform(0.1, 10.0),
    )
    save_recipe(space, tmp_path / name)
    assert load_recipe(tmp_path / name) == space


def test_names_joined_by_commas_serve_in_a_file(tmp_path):
    (tmp_path / "r.toml").write_text('features = "hog,color"\n[model]\nkind = "dense"\nhidden = 20\n')
    found = load_recipe(tmp_path / "r.toml")
    assert found.features == HOG() + ColorHistogram()
    assert found.model.hidden == (20,)
    (tmp_path / "r.toml").write_text('features = "hogs"\n')
    with pytest.raises(tw.UsageError, match="hogs"):
        load_recipe(tmp_path / "r.toml")
    (tmp_path / "r.toml").write_text('[features]\nkind = "chain"\nparts = "hog"\n')
    with pytest.raises(tw.UsageError, match="give a list of features"):
        load_recipe(tmp_path / "r.toml")

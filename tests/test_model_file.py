"""The model file: there and back to the last bit, and nothing but a ThalwegError from a file that is not one."""

from __future__ import annotations

import dataclasses
import json
import struct

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recipe_spaces import recipes
from thalweg import losses, models, optimizers, penalties
from thalweg.artifacts.model_file import load_model, save_model, serialise_model
from thalweg.data.dataset import Split
from thalweg.data.preprocessing import KINDS, Preprocessing, fit_preprocessing
from thalweg.errors import DataError, ThalwegError, UsageError
from thalweg.fitted import FittedModel
from thalweg.ranges import choice
from thalweg.recipe import Recipe
from thalweg.recipe_files import encode

CLASSES = ("cat", "dog", "Ente")
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


def fitted(recipe=None, *, shape=(4, 3, 2), kind="center", classes=CLASSES):
    """A model with weights that nobody trained."""
    recipe = recipe or Recipe()
    images = np.random.default_rng(0).integers(0, 256, (20, *shape), np.uint8)
    params, state = recipe.model.init(jax.random.key(1), shape, len(classes))
    params, state = jax.tree.map(np.asarray, (params, state))
    return FittedModel(recipe, params, state, fit_preprocessing(images, kind), classes, shape, "uint8")


def same(one, other):
    assert one.recipe == other.recipe
    assert (one.classes, one.feature_shape) == (other.classes, other.feature_shape)
    assert one.preprocessing.kind == other.preprocessing.kind
    trees = [
        (model.params, model.model_state, model.preprocessing.shift, model.preprocessing.scale)
        for model in (one, other)
    ]
    assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])
    for a, b in zip(*map(jax.tree.leaves, trees), strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def parts(content):
    """A file's arrays and what its metadata says."""
    (length,) = struct.unpack("<Q", content[:8])
    about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["thalweg"])
    return safetensors.numpy.load(content), about


def write(path, tensors, about):
    text = about if isinstance(about, str) else json.dumps(about)
    path.write_bytes(safetensors.numpy.save(tensors, {"thalweg": text}))
    return path


@pytest.fixture(scope="module")
def content():
    return serialise_model(fitted())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(4, 3, 2), (5,), (1,)])
@pytest.mark.parametrize("bias", [True, False])
def test_there_and_back(tmp_path, kind, shape, bias):
    model = fitted(Recipe(model=models.Linear(bias=bias)), kind=kind, shape=shape)
    save_model(model, tmp_path / "a.safetensors")
    same(load_model(tmp_path / "a.safetensors"), model)
    same(load_model(str(tmp_path / "a.safetensors")), model)


@given(recipe=recipes(spaces=False))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_every_recipe_travels(tmp_path, recipe):
    path = tmp_path / "a.safetensors"
    model = fitted(recipe, shape=(2,))
    save_model(model, path)
    same(load_model(path), model)


@given(st.lists(st.text(max_size=8), min_size=2, max_size=4, unique=True).map(tuple))
@SHARED
def test_class_names_of_any_text(tmp_path, classes):
    path = tmp_path / "a.safetensors"
    path.write_bytes(serialise_model(fitted(shape=(2,), classes=classes)))
    assert load_model(path).classes == classes


def test_a_run_folder_stands_for_its_model(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    same(load_model(tmp_path), fitted())


def test_bytes_are_reproducible(content):
    assert serialise_model(fitted()) == content


def test_nothing_in_the_file_is_code(content):
    """safetensors' header is JSON, and the rest is the arrays' bytes: there is no room for a pickle."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    names = {"params.weight", "params.bias", "preprocessing.shift", "preprocessing.scale"}
    assert set(header) == {"__metadata__", *names}
    assert max(header[name]["data_offsets"][1] for name in names) == len(content) - 8 - length


def init(key, input_shape, classes):
    params = {"layers": [{"w": jnp.ones((classes, *input_shape))}, {"w": jnp.float32(2)}]}
    return params, {"count": jnp.int32(7), "mean": jnp.zeros(input_shape)}


def apply(params, state, x, *, key, training):
    return x @ params["layers"][0]["w"].T * params["layers"][1]["w"], state


def test_functions_are_given_again(tmp_path):
    path = tmp_path / "a.safetensors"
    model = fitted(Recipe(model=(init, apply)), shape=(5,), kind="standardize")
    save_model(model, path)
    with pytest.raises(DataError, match=r"its model is of kind 'functions': Python.*load_model\(path, model=\.\.\.\)"):
        load_model(path)
    again = load_model(path, model=(init, apply))
    same(again, model)
    assert again.model_state["count"].shape == ()
    x = np.ones((3, 5), np.uint8)
    np.testing.assert_array_equal(again.scores(x), model.scores(x))
    with pytest.raises(DataError, match=r"params\.bias|params\.weight"):
        load_model(path, model=models.Linear())
    with pytest.raises(DataError, match="model is 3; give a model"):
        load_model(path, model=3)


@pytest.mark.parametrize(
    "optimizer", [optax.sgd(0.1), optimizers.Optax(optax.lion, 1e-3, b1=0.9)], ids=["pair", "factory"]
)
def test_a_model_trained_by_functions_still_predicts(tmp_path, optimizer):
    path = tmp_path / "a.safetensors"
    model = fitted(Recipe(optimizer=optimizer, epochs=7), shape=(5,))
    save_model(model, path)
    again = load_model(path)
    assert again.recipe.epochs == 7
    x = np.random.default_rng(0).integers(0, 256, (3, 5), np.uint8)
    np.testing.assert_array_equal(again.scores(x), model.scores(x))
    assert again.score(Split(x, np.zeros(3, np.int32))).count == 3
    assert encode(again.recipe) == encode(model.recipe)
    with pytest.raises(UsageError, match=r"the optimizer '.*' is a name only: no file can hold what made it"):
        again.recipe.optimizer.init(again.params)
    save_model(again, path)  # and it can be saved once more
    same(load_model(path), again)


def test_a_loss_of_ones_own_is_missed_only_where_it_is_used(tmp_path):
    class Cubic(eqx.Module):
        power: float = 3.0

        def __call__(self, scores, labels):
            return jnp.sum(jnp.abs(scores) ** self.power, axis=-1)

    path = tmp_path / "a.safetensors"
    model = fitted(Recipe(loss=Cubic()), shape=(5,))
    save_model(model, path)
    again = load_model(path)
    split = Split(np.ones((3, 5), np.uint8), np.zeros(3, np.int32))
    assert again.predict(split.features).tolist() == model.predict(split.features).tolist()
    with pytest.raises(UsageError, match=r"the loss 'cubic' is a name only.*replace\(recipe, loss=\.\.\.\)"):
        again.score(split)
    mended = dataclasses.replace(again, recipe=dataclasses.replace(again.recipe, loss=Cubic()))
    assert mended.score(split) == model.score(split)


def test_a_model_of_ones_own_class_is_given_again(tmp_path):
    class Mine(eqx.Module):
        def init(self, key, input_shape, classes):
            return {"w": jnp.ones((classes, *input_shape))}, ()

        def apply(self, params, state, x, *, key, training):
            return x @ params["w"].T, state

    path = tmp_path / "a.safetensors"
    model = fitted(Recipe(model=Mine()), shape=(5,))
    save_model(model, path)
    with pytest.raises(DataError, match="its model is of kind 'mine'"):
        load_model(path)
    same(load_model(path, model=Mine()), model)


def test_arrays_of_one_name_are_refused_and_nothing_is_written(tmp_path):
    model = dataclasses.replace(fitted(), params={"a.b": np.ones(1), "a": {"b": np.zeros(1)}})
    with pytest.raises(UsageError, match=r"params have two arrays of one name \(params\.a\.b\)"):
        save_model(model, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_weights_of_float64_are_kept(tmp_path):
    model = fitted()
    model = dataclasses.replace(model, params=jax.tree.map(lambda leaf: leaf.astype(np.float64) / 3, model.params))
    save_model(model, tmp_path / "a.safetensors")
    same(load_model(tmp_path / "a.safetensors"), model)


# Files that are not model files, or no longer


def test_what_is_there_instead(tmp_path):
    with pytest.raises(DataError, match=r"there is no model file .*gone; give a run folder or its model\.safetensors"):
        load_model(tmp_path / "gone")
    with pytest.raises(DataError, match=r"there is no model file .*model\.safetensors"):
        load_model(tmp_path)  # a folder without one
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    with pytest.raises(DataError, match="empty is no model file"):
        load_model(empty)
    other = tmp_path / "other.safetensors"
    other.write_bytes(safetensors.numpy.save({"w": np.ones(3)}))
    with pytest.raises(DataError, match="holds arrays, but was not written by thalweg"):
        load_model(other)
    bfloat = tmp_path / "bfloat.safetensors"
    bfloat.write_bytes(safetensors.numpy.save({"w": np.asarray(jnp.ones(3, jnp.bfloat16))}, {"thalweg": "{}"}))
    with pytest.raises(DataError):
        load_model(bfloat)


@pytest.mark.parametrize("about", ["", "null", "[]", "3", "{", "[" * 100_000, "9" * 5000, '{"format": 2}', "{}"])
def test_metadata_that_is_no_metadata(tmp_path, about):
    tensors, _ = parts(serialise_model(fitted()))
    with pytest.raises(DataError, match=r"was not written by thalweg|has format .* this version reads format 1"):
        load_model(write(tmp_path / "a", tensors, about[:40_000]))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("recipe", None, "damaged"),
        ("recipe", [], "damaged"),
        ("recipe", {"epochs": 0}, "its recipe cannot be used: recipe: epochs is 0"),
        ("recipe", {"epoch": 1}, r"its recipe cannot be used: recipe\.epoch is not a key"),
        ("recipe", {"epochs": {"integers": [1, 5]}}, "its recipe cannot be used: it leaves epochs open"),
        ("recipe", {"model": {"kind": ["linear", "linear"]}}, "it leaves model open"),
        ("recipe", {"model": 3}, r"recipe\.model is 3"),
        ("recipe", {"model": {"kind": "resnet"}}, "its model is of kind 'resnet'"),
        ("recipe", {"model": {"kind": "convolutional", "blocks": [10**9]}}, "1000000000 layers in"),
        ("recipe", {"features": {"kind": "mine"}}, "its features are of kind 'mine'"),
        ("recipe", {"features": {"kind": "hog", "cell": 3}}, "its recipe cannot be used: HOG"),
        ("recipe", {"loss": {"kind": 3}}, r"recipe\.loss\.kind is 3"),
        ("classes", "cat", "damaged: ValueError class names"),
        ("classes", [], "damaged: ValueError class names"),
        ("classes", ["a", "b", 3], "damaged: ValueError class names"),
        ("classes", ["a", "b", "a"], "a class name stands twice"),
        ("classes", ["a", "b"], r"params\.bias is float32\[3\], not float32\[2\]"),
        ("feature_shape", [4, 3], r"damaged: ValueError (params|preprocessing)"),
        ("feature_shape", [24], "damaged: ValueError preprocessing"),
        ("feature_shape", [4, 3, 2.0], "damaged: ValueError feature shape"),
        ("feature_shape", [4, 3, True], "damaged: ValueError feature shape"),
        ("feature_shape", [4, 3, -2], "damaged: ValueError feature shape"),
        ("feature_shape", [2**40, 2**40], "damaged: ValueError feature shape"),
        ("feature_shape", "432", "damaged: ValueError feature shape"),
        ("preprocessing", "centre", "damaged: ValueError preprocessing"),
        ("preprocessing", ["center"], "damaged: ValueError preprocessing"),
    ],
)
def test_wrong_metadata(tmp_path, content, key, value, message):
    tensors, about = parts(content)
    with pytest.raises(DataError, match=message):
        load_model(write(tmp_path / "a", tensors, {**about, key: value}))


@pytest.mark.parametrize("key", ["recipe", "classes", "feature_shape", "preprocessing"])
def test_missing_metadata(tmp_path, content, key):
    tensors, about = parts(content)
    del about[key]
    with pytest.raises(DataError, match=f"is damaged: KeyError '{key}'; take the file from its source again"):
        load_model(write(tmp_path / "a", tensors, about))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("params.weight", None, "KeyError 'params.weight'"),
        ("preprocessing.scale", None, "KeyError 'preprocessing.scale'"),
        ("params.weight", np.zeros((3, 23), np.float32), r"params\.weight is float32\[3, 23\], not float32\[3, 24\]"),
        ("params.bias", np.zeros((3,), np.int32), r"params\.bias is int32\[3\], not float32\[3\]"),
        ("params.bias", np.array([0, np.nan, 0], np.float32), "a parameter is not finite"),
        ("params.bias", np.array([0, np.inf, 0], np.float32), "a parameter is not finite"),
        ("params.other", np.zeros(1, np.float32), r"params\.other belongs to no part of the model"),
        ("preprocessing.shift", np.zeros((4, 3), np.float32), "damaged: ValueError preprocessing"),
        ("preprocessing.shift", np.zeros((4, 3, 2)), "damaged: ValueError preprocessing"),
        ("preprocessing.scale", np.float32([np.nan]).reshape(()), "damaged: ValueError preprocessing"),
    ],
)
def test_wrong_arrays(tmp_path, content, name, array, message):
    tensors, about = parts(content)
    tensors.pop(name, None)
    if array is not None:
        tensors[name] = array
    with pytest.raises(DataError, match=message):
        load_model(write(tmp_path / "a", tensors, about))


def loads_or_tells(path):
    """A damaged file either loads (the flip fell on a weight) or is a ThalwegError."""
    try:
        model = load_model(path)
    except ThalwegError as error:
        return str(error)
    assert model.scores(np.zeros((1, *model.feature_shape), model.feature_dtype)).shape == (1, len(model.classes))
    return None


@given(data=st.data())
@SHARED
def test_bit_flips(tmp_path, content, data):
    (length,) = struct.unpack("<Q", content[:8])
    changed = bytearray(content)
    # Half of the flips fall on the header, where they matter most.
    place = st.integers(0, 8 + length - 1) | st.integers(0, len(content) - 1)
    for spot in data.draw(st.lists(place, min_size=1, max_size=3)):
        changed[spot] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "a.safetensors"
    path.write_bytes(changed)
    loads_or_tells(path)


@given(st.data())
@SHARED
def test_truncation(tmp_path, content, data):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert "is no model file" in loads_or_tells(path)


@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda tail: struct.pack("<Q", len(tail)) + tail))
@SHARED
def test_random_bytes(tmp_path, noise):
    path = tmp_path / "a.safetensors"
    path.write_bytes(noise)
    assert "is no model file" in loads_or_tells(path)


KEYS = st.sampled_from(["kind", "model", "loss", "scale", "choice"]) | st.text(max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["linear", "none"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["kind", "model", "loss", "scale", "choice"]) | st.text(max_size=3), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(data=st.data())
@SHARED
def test_metadata_of_any_sort(tmp_path, content, data):
    tensors, about = parts(content)
    key = data.draw(st.sampled_from(sorted(about)))
    if key == "recipe" and data.draw(st.booleans()):
        about["recipe"][data.draw(st.sampled_from(sorted(about["recipe"])))] = data.draw(JSON)
    else:
        about[key] = data.draw(JSON)
    loads_or_tells(write(tmp_path / "a", tensors, about))


def test_damage_to_the_recipe_names_the_file(tmp_path, content):
    tensors, about = parts(content)
    about["recipe"]["optimizer"]["beta1"] = 2
    with pytest.raises(DataError, match=r"here\.safetensors: its recipe cannot be used: recipe\.optimizer: AdamW: b"):
        load_model(write(tmp_path / "here.safetensors", tensors, about))


def test_an_open_recipe_is_no_fitted_model(tmp_path):
    model = dataclasses.replace(
        fitted(), recipe=Recipe(loss=choice(losses.Softmax(), losses.Hinge()), penalty=penalties.L2(0.1))
    )
    save_model(model, tmp_path / "a")
    with pytest.raises(DataError, match="it leaves loss open"):
        load_model(tmp_path / "a")


def test_preprocessing_of_one_number_stays_one_number(tmp_path):
    """NumPy's ascontiguousarray makes a vector of a scalar, which once kept such files from loading."""
    model = dataclasses.replace(fitted(), preprocessing=Preprocessing("scale", np.float32(0), np.float32(1 / 255)))
    save_model(model, tmp_path / "a")
    assert load_model(tmp_path / "a").preprocessing.scale.shape == ()


@pytest.mark.parametrize(
    ("name", "value", "message"), [("mean", np.nan, "not finite"), ("variance", -1, "is negative")]
)
def test_running_statistics_that_cannot_be_are_damage(tmp_path, name, value, message):
    recipe = Recipe(model=models.Dense((2,), batch_norm=True))
    params, state = recipe.model.init(jax.random.key(0), (3,), 2)
    state["layer_1"][name] = np.full(2, value, np.float32)
    none = Preprocessing("none", np.float32(0), np.float32(1))
    broken = FittedModel(recipe, jax.tree.map(np.asarray, params), state, none, ("a", "b"), (3,))
    save_model(broken, tmp_path / "m")
    with pytest.raises(DataError, match=message):
        load_model(tmp_path / "m")


def test_flipped_bits_are_found(tmp_path):
    """A weight that changed on its way is no fault of the file's format: the digest tells."""
    path = tmp_path / "model.safetensors"
    save_model(fitted(), path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="not those that were written"):
        load_model(path)

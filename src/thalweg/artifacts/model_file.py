"""The model file: weights in safetensors, everything else as JSON in its metadata.

safetensors holds arrays and text and nothing that runs, so opening a model from
a stranger is safe.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.atomic import write_bytes
from thalweg.data.preprocessing import KINDS, Preprocessing
from thalweg.errors import DataError, UsageError
from thalweg.fitted import FittedModel
from thalweg.models import as_model
from thalweg.recipe import Recipe
from thalweg.recipe_files import Named, decode, encode, kinds
from thalweg.search import dimensions

__all__ = ["load_model", "save_model", "serialise_model"]

_FORMAT = 1
_KEY = "thalweg"


def save_model(model: FittedModel, path: str | Path) -> None:
    """Write a model file, whole or not at all."""
    write_bytes(path, serialise_model(model))


def serialise_model(model: FittedModel) -> bytes:
    """Return the bytes of a model file."""
    from safetensors.numpy import save

    tensors = {
        **_named("params", model.params),
        **_named("state", model.model_state),
        "preprocessing.shift": model.preprocessing.shift,
        "preprocessing.scale": model.preprocessing.scale,
        **{f"features.{name}": array for name, array in model.feature_state.items()},
    }
    # Not np.ascontiguousarray: that makes a vector of a single number.
    tensors = {name: np.asarray(a, order="C") for name, a in tensors.items()}
    about = {
        "format": _FORMAT,
        "digest": _digest(tensors),
        "recipe": encode(model.recipe),
        "classes": model.classes,
        "feature_shape": model.feature_shape,
        "feature_dtype": model.feature_dtype,
        "feature_names": model.feature_names,
        "trained_on": model.trained_on,
        "preprocessing": model.preprocessing.kind,
    }
    return save(tensors, {_KEY: json.dumps(about)})


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Return a digest of the arrays: a flipped bit in the weights is no error of the file's format."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}\n".encode())
        digest.update(np.asarray(tensors[name], order="C").tobytes())
    return digest.hexdigest()


def load_model(path: str | Path, model: Any = None, features: Any = None) -> FittedModel:
    """Read a model file.

    ``model`` and ``features`` are needed only where the recipe's were Python
    functions or a class of your own, which no file can hold: give the same again.
    Any other part of that sort comes back as a `recipe_files.Named`:
    the model predicts, and what would use it says what is missing.
    """
    path = Path(path)
    tensors, about = _read(path)
    unchanged = "digest" not in about or about["digest"] == _digest(tensors)  # files of before had none
    try:
        recipe = _recipe(about["recipe"], model, features)
        classes, shape = _classes(about["classes"]), _shape(about["feature_shape"])
        learned = _feature_state(recipe, shape, about["feature_dtype"], tensors)
        seen = shape if recipe.features is None else (recipe.features.size(shape),)
        preprocessing = _preprocessing(about["preprocessing"], seen, tensors)
        params, state = _trees(recipe, seen, len(classes), tensors)
        dtype, names = _features(about["feature_dtype"], about["feature_names"], shape)
        trained_on = about["trained_on"]
        if not (trained_on is None or isinstance(trained_on, str)):
            raise ValueError("fingerprint")
    except UsageError as error:
        raise DataError(f"{path}: its recipe cannot be used: {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path} is damaged: {type(error).__name__} {error}; take the file from its source again"
        ) from error
    if not unchanged:
        raise DataError(
            f"{path} is damaged: its numbers are not those that were written; take it from its source again"
        )
    return FittedModel(recipe, params, state, preprocessing, classes, shape, dtype, names, trained_on, learned)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        path = path / "model.safetensors"  # a run folder stands for its model
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        if (path.parent / "run.json").exists():
            raise DataError(
                f"the run in {path.parent} chose no model: either it was stopped (run it to its end), or it is a path "
                "of several strengths without folds (run it with folds)"
            ) from None
        raise DataError(f"there is no model file {path}; give a run folder or its model.safetensors") from None
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is no model file: {error}; give a run folder or its model.safetensors") from error
    try:
        about = json.loads(metadata[_KEY])
    except (KeyError, ValueError, RecursionError):
        raise DataError(
            f"{path} holds arrays, but was not written by thalweg; give a run's model.safetensors"
        ) from None
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        found = about.get("format") if isinstance(about, dict) else about
        raise DataError(
            f"{path} has format {found!r}, this version reads format {_FORMAT}; use the version that wrote it"
        )
    return tensors, about


def _recipe(encoded: dict[str, Any], model: Any, features: Any) -> Recipe:
    """Decode the recipe, but for the parts that were Python code."""
    if not isinstance(encoded, dict):
        raise ValueError("recipe")
    given: dict[str, Any] = {
        role: Named(role, json.dumps(encoded[role]))
        for role in ("loss", "penalty", "optimizer", "augmentation", "averaging")
        if _is_foreign(role, encoded.get(role))
    }
    if model is not None:
        given["model"] = as_model(model)
    elif _is_foreign("model", encoded.get("model")):
        raise UsageError(
            f"its model is of kind {encoded['model']['kind']!r}: Python code, which a file cannot hold; "
            "load it in Python with load_model(path, model=...), giving the same model or pair (init, apply) again"
        )
    if features is not None:
        given["features"] = features
    elif foreign := [part for part in _parts(encoded.get("features")) if _is_foreign("features", part)]:
        raise UsageError(
            f"its features are of kind {foreign[0]['kind']!r}: Python code, which a file cannot hold; "
            "load it in Python with load_model(path, features=...), giving the same features again"
        )
    recipe = dataclasses.replace(decode({key: part for key, part in encoded.items() if key not in given}), **given)
    if found := dimensions(recipe):
        raise UsageError(f"it leaves {found[0].name} open: a fitted model has one value for each")
    return recipe


def _parts(features: Any) -> list[Any]:
    parts = features.get("parts") if isinstance(features, dict) else None
    return parts if isinstance(parts, list) else [features]


def _is_foreign(role: str, part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("kind"), str) and part["kind"] not in kinds(role)


def _classes(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("class names")
    if len(set(names)) != len(names):
        raise ValueError("a class name stands twice")
    return tuple(names)


def _shape(sizes: Any) -> tuple[int, ...]:
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 1 for size in sizes):
        raise ValueError("feature shape")
    if math.prod(sizes) > 2**40:
        raise ValueError("feature shape")
    return tuple(sizes)


def _features(dtype: Any, names: Any, shape: tuple[int, ...]) -> tuple[str, tuple[str, ...] | None]:
    if dtype not in ("uint8", "float32"):
        raise ValueError("feature type")
    if names is None:
        return dtype, None
    if not isinstance(names, list) or len(names) != math.prod(shape) or not all(isinstance(n, str) for n in names):
        raise ValueError("feature names")
    return dtype, tuple(names)


def _feature_state(
    recipe: Recipe, shape: tuple[int, ...], dtype: Any, tensors: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Take out what the recipe's features learned, checking its shapes."""
    if recipe.features is None:
        return {}
    recipe.features.check(shape, np.uint8 if dtype == "uint8" else np.float32)
    found = {}
    for name, expected in recipe.features.state_shapes(shape).items():
        array = tensors.pop(f"features.{name}")
        if array.shape != tuple(expected) or array.dtype != np.float32:
            raise ValueError(f"features.{name} is {array.dtype}{list(array.shape)}, not float32{list(expected)}")
        if not np.isfinite(array).all():
            raise ValueError(f"features.{name} is not finite")
        found[name] = array
    return found


def _preprocessing(kind: Any, shape: tuple[int, ...], tensors: dict[str, np.ndarray]) -> Preprocessing:
    shift, scale = (tensors.pop(f"preprocessing.{name}") for name in ("shift", "scale"))
    for array in (shift, scale):
        if array.shape not in ((), shape) or array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError("preprocessing")
    if kind not in KINDS:
        raise ValueError("preprocessing")
    return Preprocessing(kind, shift, scale)


def _trees(recipe: Recipe, shape: tuple[int, ...], classes: int, tensors: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """Put the arrays back into the trees that the model's `init` makes, checking their shapes."""
    # A file of a few bytes may ask for a billion layers, and tracing them would not end.
    for layers in (len(getattr(recipe.model, "hidden", ())), sum(getattr(recipe.model, "blocks", ()))):
        if layers > len(tensors):
            raise ValueError(f"{layers} layers in {len(tensors)} arrays")
    expected = jax.eval_shape(lambda: recipe.model.init(jax.random.key(0), shape, classes))
    params, state = (_filled(name, tree, tensors) for name, tree in zip(("params", "state"), expected, strict=True))
    if tensors:
        raise ValueError(f"{min(tensors)} belongs to no part of the model")
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((params, state))):
        raise ValueError("a parameter is not finite")
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if _name("state", path).endswith(".variance") and (leaf < 0).any():
            raise ValueError(f"{_name('state', path)} is negative")
    return params, state


def _filled(prefix: str, tree: Any, tensors: dict[str, np.ndarray]) -> Any:
    def array(path: Any, leaf: Any) -> np.ndarray:
        name = _name(prefix, path)
        found = tensors.pop(name)
        if found.shape != leaf.shape or not _same_sort(found.dtype, leaf.dtype):
            raise ValueError(f"{name} is {found.dtype}{list(found.shape)}, not {leaf.dtype}{list(leaf.shape)}")
        return found

    return jax.tree_util.tree_map_with_path(array, tree)


def _same_sort(found: Any, expected: Any) -> bool:
    """Floats for floats of any precision (a model may have been trained in float64), else the very type."""
    return found == expected or all(jnp.issubdtype(dtype, jnp.floating) for dtype in (found, expected))


def _named(prefix: str, tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {_name(prefix, path): np.asarray(leaf) for path, leaf in leaves}
    if len(named) < len(leaves):
        raise UsageError(f"the model's {prefix} have two arrays of one name ({', '.join(named)}); name them apart")
    return named


def _name(prefix: str, path: Any) -> str:
    return ".".join(
        [prefix, *(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)]
    )

"""The model file: weights in safetensors, everything else as JSON in its metadata.

safetensors holds arrays and text and nothing that runs, so opening a model from
a stranger is safe.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from thalweg.artifacts.atomic import write_bytes
from thalweg.data.preprocessing import KINDS, Preprocessing
from thalweg.errors import DataError, UsageError
from thalweg.fitted import FittedModel
from thalweg.models import as_model
from thalweg.recipe import Recipe
from thalweg.recipe_files import decode, encode

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
    }
    about = {
        "format": _FORMAT,
        "recipe": encode(model.recipe),
        "classes": model.classes,
        "feature_shape": model.feature_shape,
        "preprocessing": model.preprocessing.kind,
    }
    return save({name: np.ascontiguousarray(a) for name, a in tensors.items()}, {_KEY: json.dumps(about)})


def load_model(path: str | Path, model: Any = None) -> FittedModel:
    """Read a model file.

    ``model`` is needed only where the recipe's model was a pair of Python
    functions, which no file can hold: give the same pair again.
    """
    tensors, about = _read(Path(path))
    try:
        recipe = _recipe(about["recipe"], model)
        classes = tuple(str(name) for name in about["classes"])
        shape = tuple(int(size) for size in about["feature_shape"])
        kind = about["preprocessing"]
        preprocessing = Preprocessing(kind, tensors["preprocessing.shift"], tensors["preprocessing.scale"])
        params, state = _trees(recipe, shape, classes, tensors)
    except UsageError as error:
        raise DataError(f"{path}: its recipe cannot be used: {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path} is damaged: {type(error).__name__} {error}; take the file from its source again"
        ) from error
    if kind not in KINDS or not all(a.shape in ((), shape) for a in (preprocessing.shift, preprocessing.scale)):
        raise DataError(
            f"{path} is damaged: its preprocessing does not fit its features; take it from its source again"
        )
    return FittedModel(recipe, params, state, preprocessing, classes, shape)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        path = path / "model.safetensors"  # a run folder stands for its model
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise DataError(f"there is no model file {path}; give a run folder or its model.safetensors") from None
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} is no model file: {error}; give a run folder or its model.safetensors") from error
    try:
        about = json.loads(metadata[_KEY])
    except (KeyError, json.JSONDecodeError, RecursionError):
        raise DataError(
            f"{path} holds arrays, but was not written by thalweg; give a run's model.safetensors"
        ) from None
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        found = about.get("format") if isinstance(about, dict) else about
        raise DataError(
            f"{path} has format {found!r}, this version reads format {_FORMAT}; use the version that wrote it"
        )
    return tensors, about


def _recipe(encoded: dict[str, Any], model: Any) -> Recipe:
    if model is not None:
        rest = {key: value for key, value in encoded.items() if key != "model"}
        return dataclasses.replace(decode(rest), model=as_model(model))
    if encoded["model"]["kind"] == "functions":
        raise UsageError(
            "its model is a pair of Python functions, which a file cannot hold; "
            "load it in Python with load_model(path, model=(init, apply))"
        )
    return decode(encoded)


def _trees(recipe: Recipe, shape: tuple[int, ...], classes: tuple[str, ...], tensors: dict[str, np.ndarray]) -> Any:
    """Put the arrays back into the trees that the model's `init` makes, checking their shapes."""
    if not classes or len(set(classes)) != len(classes) or any(size < 1 for size in shape) or math.prod(shape) > 2**40:
        raise ValueError("classes or feature shape")
    expected = jax.eval_shape(lambda: recipe.model.init(jax.random.key(0), shape, len(classes)))
    return tuple(_filled(name, tree, tensors) for name, tree in zip(("params", "state"), expected, strict=True))


def _filled(prefix: str, tree: Any, tensors: dict[str, np.ndarray]) -> Any:
    def array(path: Any, leaf: Any) -> np.ndarray:
        found = tensors[_name(prefix, path)]
        if found.shape != leaf.shape:
            raise ValueError(f"{_name(prefix, path)} has shape {found.shape}, not {leaf.shape}")
        return found

    return jax.tree_util.tree_map_with_path(array, tree)


def _named(prefix: str, tree: Any) -> dict[str, np.ndarray]:
    return {_name(prefix, path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(prefix: str, path: Any) -> str:
    return ".".join(
        [prefix, *(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)]
    )

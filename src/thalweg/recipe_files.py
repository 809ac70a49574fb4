"""Recipes as TOML and JSON, there and back.

A part is a table whose ``kind`` names its class and whose other keys are the
arguments of its constructor. Where one value may stand, a range may:
``{ log_uniform = [1e-6, 1e-1] }``; a list of values is a choice. A part's kind
may be a list too: ``kind = ["softmax", "hinge"]`` chooses between the kinds,
each with those of the table's keys that it knows.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from thalweg import losses, models, optimizers, penalties, schedules
from thalweg.errors import ThalwegError, UsageError, nearest
from thalweg.ranges import Choice, Integers, LogUniform, Range, Uniform
from thalweg.recipe import Recipe

__all__ = [
    "decode",
    "encode",
    "flatten",
    "kind_of",
    "load_recipe",
    "read_json",
    "read_toml",
    "save_recipe",
    "to_json",
    "to_toml",
]

_RANGES: dict[str, type[Range]] = {cls.kind: cls for cls in (Uniform, LogUniform, Integers)}


def encode(node: Any) -> Any:
    """Turn a recipe (or a part or a space) into dicts, lists, numbers and text."""
    if isinstance(node, Recipe):
        return _fields(node)
    if isinstance(node, eqx.Module):
        return {"kind": kind_of(type(node)), **_fields(node)}
    if isinstance(node, Range):
        return {node.kind: [node.low, node.high]}
    if isinstance(node, Choice):
        return {"choice": [encode(option) for option in node.options]}
    if isinstance(node, Mapping):
        return {str(key): encode(value) for key, value in node.items()}
    if isinstance(node, (tuple, list)):
        return [encode(item) for item in node]
    if isinstance(node, np.generic):
        return node.item()
    if callable(node):
        return f"{getattr(node, '__module__', '?')}:{getattr(node, '__qualname__', repr(node))}"
    return node


def decode(tree: Mapping[str, Any]) -> Recipe:
    """Build a recipe from what `encode` returns, or from a recipe file's tables.

    Raises a UsageError that names the key, and suggests the nearest, where a
    key or kind is unknown or a value has the wrong type.
    """
    return _build(Recipe, tree, "recipe")


def flatten(recipe: Recipe) -> dict[str, Any]:
    """Return a concrete recipe as one row: dotted names to numbers and words."""
    row: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, Mapping):
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        elif isinstance(node, list):
            for place, value in enumerate(node):
                walk(value, f"{path}.{place}")
        else:
            row[path] = node

    walk(encode(recipe), "")
    return row


def kind_of(cls: type) -> str:
    """Return the name of a part's class in a recipe file: ``InverseSqrt`` is ``inverse_sqrt``.

    A class whose name does not break into words that way says its own, as
    ``kind`` or (optimizers) ``name``.
    """
    own = getattr(cls, "kind", None) or getattr(cls, "name", None)
    return own.lower() if isinstance(own, str) else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()


def _fields(node: Any) -> dict[str, Any]:
    values = {f.name: getattr(node, f.name) for f in dataclasses.fields(node) if f.init}
    return {name: encode(value) for name, value in values.items() if value is not None}


def _kinds(module: Any) -> dict[str, type]:
    exported = [getattr(module, name) for name in module.__all__]
    return {kind_of(c): c for c in exported if isinstance(c, type) and issubclass(c, eqx.Module)}


# The keys that hold a part, and the module whose kinds may stand there.
_ROLES = {
    "model": models,
    "loss": losses,
    "penalty": penalties,
    "optimizer": optimizers,
    "learning_rate": schedules,
    "then": schedules,
    "schedule": schedules,
}


def _part(value: Any, key: str, path: str) -> Any:
    """Build the part (or choice of parts) that stands at a key."""
    if isinstance(value, str):
        value = {"kind": value}
    if isinstance(value, list):
        return Choice(tuple(_part(item, key, f"{path}[{i}]") for i, item in enumerate(value)))
    if isinstance(value, Mapping) and set(value) == {"choice"} and isinstance(value["choice"], list):
        return _part(value["choice"], key, path)
    if not isinstance(value, Mapping) or "kind" not in value:
        if _ROLES[key] is schedules:
            return _value(value, path)  # a plain learning rate, or a range of them
        raise UsageError(f"{path} is {value!r}; it must be a table with a kind, such as kind = {_example(key)!r}")
    kinds = value["kind"]
    rest = {name: item for name, item in value.items() if name != "kind"}
    if not isinstance(kinds, list):
        return _build(_class(kinds, key, path), rest, path)
    classes = [_class(kind, key, path) for kind in kinds]
    for name in rest:
        if not any(name in _names(cls) for cls in classes):
            known = sorted({known for cls in classes for known in _names(cls)})
            raise UsageError(f"{path}.{name} is known to none of {', '.join(kinds)}{nearest(name, known)}")
    own = [{name: item for name, item in rest.items() if name in _names(cls)} for cls in classes]
    return Choice(tuple(_build(cls, items, path) for cls, items in zip(classes, own, strict=True)))


def _class(kind: Any, key: str, path: str) -> type:
    known = _kinds(_ROLES[key])
    if kind not in known:
        raise UsageError(
            f"{path}.kind is {kind!r}; it must be one of {', '.join(sorted(known))}{nearest(str(kind), known)}"
        )
    return known[kind]


def _build(cls: type, items: Mapping[str, Any], path: str) -> Any:
    names = _names(cls)
    for name in items:
        if name not in names:
            raise UsageError(
                f"{path}.{name} is not a key of {kind_of(cls)}{nearest(name, names)}; known are: {', '.join(names)}"
            )
    try:
        return cls(**{name: _argument(name, item, f"{path}.{name}") for name, item in items.items()})
    except UsageError:
        raise
    except (TypeError, ValueError, ThalwegError) as error:
        raise UsageError(f"{path}: {kind_of(cls)} cannot be built: {error}") from error


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.init]


def _argument(name: str, item: Any, path: str) -> Any:
    return _part(item, name, path) if name in _ROLES else _value(item, path)


def _value(item: Any, path: str) -> Any:
    """Read a number, a word, a range, or a list (which is a choice)."""
    if isinstance(item, Mapping):
        if len(item) == 1:
            (kind, ends), *_ = item.items()
            if kind == "choice" and isinstance(ends, list):
                return Choice(tuple(_value(end, path) for end in ends))
            if kind in _RANGES:
                return _range(kind, ends, path)
        known = [*_RANGES, "choice"]
        found = next(iter(item), "")
        raise UsageError(
            f"{path} is {dict(item)!r}; a range has one of the keys {', '.join(known)}{nearest(found, known)}"
        )
    if isinstance(item, list):
        if path.endswith(".at"):  # the steps of a step schedule are a list of their own
            return tuple(_value(one, path) for one in item)
        return Choice(tuple(_value(one, path) for one in item))
    return item


def _range(kind: str, ends: Any, path: str) -> Range:
    if not isinstance(ends, list) or len(ends) != 2:
        raise UsageError(f"{path}: {kind} is {ends!r}; give its two ends, such as [1e-4, 1e-1]")
    try:
        return _RANGES[kind](*ends)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _example(key: str) -> str:
    return next(iter(_kinds(_ROLES[key])))


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe or search space from a ``.toml`` or ``.json`` file."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the recipe file {path} cannot be read: {error}") from error
    try:
        return read_json(text) if path.suffix.lower() == ".json" else read_toml(text)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def read_toml(text: str) -> Recipe:
    """Read a recipe from TOML text."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"this is not TOML: {error}") from error
    return decode(tree)


def read_json(text: str) -> Recipe:
    """Read a recipe from JSON text."""
    try:
        tree = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"this is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise UsageError("a recipe in JSON is an object, { ... }")
    return decode(tree)


def to_json(recipe: Recipe) -> str:
    """Write a recipe as JSON text."""
    return json.dumps(encode(recipe), indent=2, allow_nan=False) + "\n"


def to_toml(recipe: Recipe) -> str:
    """Write a recipe as TOML text, in the form that `read_toml` reads."""
    lines: list[str] = []
    _tables(encode(recipe), "", lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _tables(table: Mapping[str, Any], path: str, lines: list[str]) -> None:
    parts = {key: value for key, value in table.items() if key in _ROLES and _is_table(value)}
    if path:
        lines.extend(["", f"[{path}]"])
    lines.extend(f"{key} = {_toml(value)}" for key, value in table.items() if key not in parts)
    for key, value in parts.items():
        _tables(value, f"{path}.{key}" if path else key, lines)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and "kind" in value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{value!r} cannot stand in a recipe file; numbers must be finite")
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(value)  # a JSON string is a TOML basic string


def save_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe or search space to a ``.toml`` or ``.json`` file."""
    path = Path(path)
    path.write_text(to_json(recipe) if path.suffix.lower() == ".json" else to_toml(recipe), encoding="utf-8")

"""Recipes as TOML and JSON, there and back.

A part is a table whose ``kind`` names its class and whose other keys are the
arguments of its constructor. Where one value may stand, a range may:
``{ log_uniform = [1e-6, 1e-1] }``; a list of values is a choice. A part's kind
may be a list too: ``kind = ["softmax", "hinge"]`` chooses between the kinds,
each with those of the table's keys that it knows. Among the values of a choice,
``"none"`` leaves an argument out: ``momentum = ["none", 0.9]``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
import re
import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx

from thalweg import augmentation, averaging, features, losses, models, optimizers, penalties, schedules
from thalweg.atomic import write_bytes
from thalweg.errors import ThalwegError, UsageError, nearest
from thalweg.ranges import Choice, Integers, LogUniform, Range, Uniform
from thalweg.recipe import Recipe, as_features

__all__ = [
    "Named", "decode", "encode", "encode_brief", "flatten", "kind_of", "kinds", "load_recipe", "read_json",
    "read_toml", "save_recipe", "to_json", "to_toml",
]  # fmt: skip

_RANGES: dict[str, type[Range]] = {cls.kind: cls for cls in (Uniform, LogUniform, Integers)}

# The keys that hold a part, and the module whose kinds may stand there.
_ROLES = {
    "model": models,
    "loss": losses,
    "penalty": penalties,
    "optimizer": optimizers,
    "features": features,
    "parts": features,
    "augmentation": augmentation,
    "averaging": averaging,
    "learning_rate": schedules,
    "then": schedules,
    "schedule": schedules,
}
_OPTIONAL = ("features", "augmentation", "averaging")  # parts that may be "none", or left out
_PYTHON_ONLY = (models.Functions, optimizers.Optax, optimizers.Transformation)  # they hold functions
_INTERNAL = (schedules.Given, schedules.Scaled)  # what binding and training make of other schedules
_LISTS = ("at", "hidden", "blocks", "bins")  # arguments that are lists of numbers, so that a list there is no choice


class Named(eqx.Module):
    """A part that a file names but cannot hold: Python functions, a class of somebody's own, a path's solver.

    It stands in a loaded model's recipe, so that the model still predicts, and
    encodes to what the file said. Whatever would use it raises a UsageError.
    """

    role: str = eqx.field(static=True)
    encoded: str = eqx.field(static=True)  # JSON: text is hashable

    def _refuse(self, *arguments: Any, **keywords: Any) -> Any:
        raise UsageError(
            f"the {self.role} {json.loads(self.encoded)['kind']!r} is a name only: no file can hold what made it; "
            f"put one in its place in Python with dataclasses.replace(recipe, {self.role}=...)"
        )

    __call__ = check = value = prox = init = update = _refuse


def encode(node: Any) -> Any:
    """Turn a recipe (or a part or a space) into dicts, lists, numbers and text.

    Python functions become their names, which `decode` refuses: they say what a
    recipe was, but do not bring it back.
    """
    if isinstance(node, Recipe):
        return _fields(node)
    if isinstance(node, Named):
        return json.loads(node.encoded)
    if isinstance(node, eqx.Module):
        return {"kind": kind_of(type(node)), **_fields(node)}
    if isinstance(node, Range):
        return {node.kind: [encode(node.low), encode(node.high)]}
    if isinstance(node, Choice):
        return {"choice": [encode(option) for option in node.options]}
    if isinstance(node, Mapping):
        return {str(key): encode(value) for key, value in node.items()}
    if isinstance(node, (tuple, list)):
        return [encode(item) for item in node]
    if hasattr(node, "dtype") and hasattr(node, "tolist"):
        return node.tolist()  # NumPy's and JAX's numbers, and arrays of them
    if callable(node):
        return f"{getattr(node, '__module__', '?')}:{getattr(node, '__qualname__', repr(node))}"
    return node


def decode(tree: Mapping[str, Any]) -> Recipe:
    """Build a recipe from what `encode` returns, or from a recipe file's tables.

    Raises a UsageError that names the key, and suggests the nearest, where a
    key or kind is unknown or a value has the wrong type.
    """
    if not isinstance(tree, Mapping):
        raise UsageError(f"a recipe is a table of keys and values; this is {_shown(tree)}")
    try:
        return _build(Recipe, tree, "recipe")
    except RecursionError:
        raise UsageError("the recipe is nested too deeply to be read; a choice of choices is one choice") from None


def encode_brief(recipe: Recipe) -> dict[str, Any]:
    """Encode a recipe, leaving out the arguments of its parts that their defaults supply: for people to read."""
    encoded: dict[str, Any] = encode(recipe)
    for name in encoded:
        _leave_out_defaults(getattr(recipe, name), encoded[name])
    return encoded


def _leave_out_defaults(part: Any, encoded: Any) -> None:
    """Drop, one after another, each argument without which the constructor builds the same part."""
    if not isinstance(part, eqx.Module) or isinstance(part, Named):
        return
    arguments = {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.init}
    for name in list(arguments):
        rest = {other: value for other, value in arguments.items() if other != name}
        try:
            same = bool(type(part)(**rest) == part)
        except (TypeError, ThalwegError):
            continue
        if same:
            arguments = rest
            encoded.pop(name, None)
    for name, value in arguments.items():
        _leave_out_defaults(value, encoded.get(name))


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


@functools.cache
def kinds(role: str) -> Mapping[str, type]:
    """Return the kinds that a file may name at a key such as ``loss`` or ``learning_rate``, with their classes."""
    exported = [getattr(_ROLES[role], name) for name in _ROLES[role].__all__]
    parts = [c for c in exported if isinstance(c, type) and issubclass(c, eqx.Module) and not inspect.isabstract(c)]
    return {kind_of(c): c for c in sorted(parts, key=kind_of) if c not in (*_PYTHON_ONLY, *_INTERNAL)}


def _fields(node: Any) -> dict[str, Any]:
    values = {f.name: getattr(node, f.name) for f in dataclasses.fields(node) if f.init}
    return {name: encode(value) for name, value in values.items() if value is not None}


def _part(value: Any, role: str, path: str) -> Any:
    """Build the part (or choice of parts) that stands at a key."""
    if role in _OPTIONAL and (value is None or value == "none"):
        return None
    if role == "features" and isinstance(value, str):
        return as_features(value)
    if isinstance(value, str):
        value = {"kind": value}
    if isinstance(value, Mapping) and set(value) == {"choice"} and isinstance(value["choice"], list):
        value = value["choice"]
    if isinstance(value, list):
        return _choice([_part(item, role, f"{path}[{i}]") for i, item in enumerate(value)], path)
    if isinstance(value, Mapping) and "kind" in value:
        return _table(value, role, path)
    if _ROLES[role] is schedules and not (isinstance(value, Mapping) and _is_part(value, role)):
        return _value(value, path)  # a plain learning rate, or a range of them
    known = ", ".join(kinds(role))
    if isinstance(value, Mapping):
        raise UsageError(f"{path}.kind is missing; it must be one of {known}")
    raise UsageError(f"{path} is {_shown(value)}; it must be a table with a kind, one of {known}")


def _is_part(table: Mapping[str, Any], role: str) -> bool:
    """True for a table that lacks its kind, but has a key of one."""
    return any(name in _parameters(cls) for cls in kinds(role).values() for name in table)


def _table(table: Mapping[str, Any], role: str, path: str) -> Any:
    """Build the part that a table with a kind describes; several kinds make a choice."""
    named = table["kind"]
    rest = {name: item for name, item in table.items() if name != "kind"}
    if not isinstance(named, list):
        return _build(_class(named, role, path), rest, path)
    classes = [_class(kind, role, path) for kind in named]
    for name in rest:
        if not any(name in _parameters(cls) for cls in classes):
            known = sorted({known for cls in classes for known in _parameters(cls)})
            raise UsageError(
                f"{path}.{_key(name)} is known to none of {', '.join(named)}{nearest(str(name), known)}; "
                f"known are: {', '.join(known) or 'none'}"
            )
    own = [{name: item for name, item in rest.items() if name in _parameters(cls)} for cls in classes]
    return _choice([_build(cls, items, path) for cls, items in zip(classes, own, strict=True)], f"{path}.kind")


def _class(kind: Any, role: str, path: str) -> type:
    known = kinds(role)
    if isinstance(kind, str) and kind in known:
        return known[kind]
    if kind in [kind_of(cls) for cls in _PYTHON_ONLY]:
        raise UsageError(
            f"{path}.kind is {kind!r}, which holds Python functions: no file can; build this recipe in Python"
        )
    hint = nearest(kind, known) if isinstance(kind, str) else ""
    or_number = ", or a plain number in the table's place" if _ROLES[role] is schedules else ""
    raise UsageError(f"{path}.kind is {_shown(kind)}; it must be one of {', '.join(known)}{or_number}{hint}")


@functools.cache
def _parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(cls).parameters


def _build(cls: type, items: Mapping[str, Any], path: str) -> Any:
    """Call a part's constructor with a table's values."""
    parameters = _parameters(cls)
    for name in items:
        if name not in parameters:
            raise UsageError(
                f"{path}.{_key(name)} is not a key of {kind_of(cls)}{nearest(str(name), parameters)}; "
                f"known are: {', '.join(parameters) or 'none'}"
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in items:
            example = '{ kind = "cosine", peak = 1e-2 }' if name in _ROLES else "{ log_uniform = [1e-4, 1e-1] }"
            raise UsageError(f"{path}.{name} is missing; give it a number, or something like {example}")
    arguments = {name: _argument(name, item, f"{path}.{name}") for name, item in items.items()}
    try:
        return cls(**arguments)
    except ThalwegError as error:  # a recipe's own message begins with its path
        raise UsageError(str(error) if cls is Recipe else f"{path}: {error}") from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UsageError(f"{path}: {kind_of(cls)} cannot be built: {error}") from error


def _argument(name: str, item: Any, path: str) -> Any:
    if name not in _ROLES:
        return _value(item, path, listed=name in _LISTS)
    if name == "parts":
        return _chained(item, path)
    part = _part(item, name, path)
    if _ROLES[name] is not schedules or part is None:
        return part
    try:
        return schedules.as_schedule(part)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _chained(items: Any, path: str) -> tuple[Any, ...]:
    """Build the parts of a chain of features: a list that is no choice."""
    if not isinstance(items, list):
        raise UsageError(f'{path} is {_shown(items)}; give a list of features, such as ["hog", "color_histogram"]')
    return tuple(_part(item, "features", f"{path}[{i}]") for i, item in enumerate(items))


def _value(item: Any, path: str, *, listed: bool = False) -> Any:
    """Read a number, a word, a range, or a list: a choice, or (listed) one value made of several."""
    if isinstance(item, Mapping):
        return _open(item, path, listed=listed)
    if isinstance(item, list):
        deeper = listed and bool(item) and all(isinstance(one, list) for one in item)
        values = [_value(one, f"{path}[{i}]", listed=deeper) for i, one in enumerate(item)]
        return tuple(values) if listed and not deeper else _choice(values, path)
    return None if isinstance(item, str) and item == "none" else item


def _open(table: Mapping[str, Any], path: str, *, listed: bool) -> Range | Choice:
    """Read a range or a choice."""
    if len(table) == 1:
        (kind, ends), *_ = table.items()
        if kind == "choice" and isinstance(ends, list):
            return _choice([_value(end, f"{path}[{i}]", listed=listed) for i, end in enumerate(ends)], path)
        if kind in _RANGES:
            return _range(kind, ends, path)
    known = [*_RANGES, "choice"]
    hint = nearest(str(next(iter(table), "")), known)
    raise UsageError(f"{path} is {_shown(dict(table))}; a range has one key, of {', '.join(known)}{hint}")


def _choice(options: list[Any], path: str) -> Choice:
    if not options:
        raise UsageError(f"{path} is an empty list; give at least one value")
    return Choice(tuple(options))


def _range(kind: str, ends: Any, path: str) -> Range:
    if not isinstance(ends, list) or len(ends) != 2:
        raise UsageError(f"{path}: {kind} is {_shown(ends)}; give its two ends, such as [1e-4, 1e-1]")
    try:
        return _RANGES[kind](*ends)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _key(name: Any) -> str:
    """A key as a message shows it: quoted where it is no plain word."""
    return name if isinstance(name, str) and re.fullmatch(r"[\w-]{1,60}", name, re.ASCII) else _shown(name)


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxdict, _BRIEF.maxlist, _BRIEF.maxstring, _BRIEF.maxother = 3, 4, 6, 60, 60


def _shown(value: Any) -> str:
    """A value as a message shows it: cut short where it is long or deep."""
    return _BRIEF.repr(value)


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe or search space: JSON from a ``.json`` file, TOML from any other.

    A sweep's run folder, or its ``run.json``, stands for the recipe that it selected.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "run.json"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"the recipe file {path} cannot be read: {error}") from error
    try:
        return read_json(text) if path.suffix.lower() == ".json" else read_toml(text)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def read_toml(text: str) -> Recipe:
    """Read a recipe from TOML text."""
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this is not TOML: {error}") from error
    return decode(tree)


def read_json(text: str) -> Recipe:
    """Read a recipe from JSON text."""
    try:
        tree = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this is not JSON: {error}") from error
    return decode(_selected(tree) if isinstance(tree, dict) and "settings" in tree and "best" in tree else tree)


def _selected(record: dict[str, Any]) -> Any:
    """Return the selected recipe of what a run.json holds."""
    if record.get("kind") == "path":
        raise UsageError("this is a path's run, which no recipe trained: give the run folder of a sweep or fit")
    if not isinstance(record["best"], dict):
        raise UsageError("this run selected no recipe: it was interrupted before any trial had an epoch")
    return record["best"].get("recipe")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a key stand twice and drops the first; TOML does not, nor do we."""
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))
        raise ValueError(f"the key {_shown(twice)} stands twice in one object")
    return table


def to_json(recipe: Recipe) -> str:
    """Write a recipe as JSON text."""
    return json.dumps(encode(recipe), indent=2, allow_nan=False) + "\n"


def to_toml(recipe: Recipe, *, brief: bool = False) -> str:
    """Write a recipe as TOML text, in the form that `read_toml` reads.

    ``brief`` leaves out what the parts' defaults supply: shorter to read, and
    the same recipe for as long as the defaults stay what they are.
    """
    lines: list[str] = []
    _tables(encode_brief(recipe) if brief else encode(recipe), "", lines)
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
    # TOML knows no null. Its basic strings are JSON's, but for the escapes of what lies beyond 16 bits.
    return json.dumps("none" if value is None else value, ensure_ascii=False)


def save_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write a recipe or search space: as JSON to a ``.json`` file, as TOML to any other.

    Raises a UsageError where the recipe holds Python functions: no file could
    bring it back.
    """
    decode(encode(recipe))
    path = Path(path)
    write_bytes(path, (to_json(recipe) if path.suffix.lower() == ".json" else to_toml(recipe)).encode())

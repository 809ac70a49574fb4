"""What the conformance checks share: failing with a text, variants of a part, compiling and batching it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.precision import double

__all__ = [
    "attempt", "check_attributes", "check_bad_numbers", "check_batching", "check_close", "check_deterministic",
    "check_rebuild", "differences", "double", "fail", "kink", "name_of", "numbers", "stacked", "variant",
]  # fmt: skip

T = TypeVar("T")


def name_of(part: Any) -> str:
    """Return the name that messages give a part."""
    return type(part).__name__


def fail(part: Any, text: str) -> None:
    """Raise the AssertionError of all checks: the part's name, what is wrong, what to do."""
    raise AssertionError(f"{name_of(part)}: {text}")


@contextlib.contextmanager
def attempt(part: Any, what: str) -> Iterator[None]:
    """Turn any error inside into an AssertionError that says what was tried."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        first = (str(error).strip() or "no message").splitlines()[0]
        raise AssertionError(f"{name_of(part)}: {what} raised {type(error).__name__}: {first}") from error


def check_close(part: Any, what: str, actual: Any, expected: Any, *, rtol: float, atol: float = 0.0) -> None:
    """Fail unless two trees have the same structure, shapes and dtypes, and near numbers (NaN equals NaN)."""
    if _structure(actual) != _structure(expected):
        fail(part, f"{what}: the structures differ: {_structure(actual)} and {_structure(expected)}")
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        if jnp.shape(a) != jnp.shape(b) or jnp.result_type(a) != jnp.result_type(b):
            fail(part, f"{what}: {_outline(a)} beside {_outline(b)}")
        x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if not np.allclose(x, y, rtol=rtol, atol=atol, equal_nan=True):
            with np.errstate(invalid="ignore"):
                worst = np.nanargmax(np.where(np.isnan(x - y), np.inf, abs(x - y)))
            fail(part, f"{what}: they differ, at worst {float(x.flat[worst])!r} beside {float(y.flat[worst])!r}")


def _structure(tree: Any) -> Any:
    return jax.tree.structure(tree)


def _outline(array: Any) -> str:
    return f"{jnp.result_type(array)}{list(jnp.shape(array))}"


def check_attributes(part: Any, **types: type) -> None:
    """Fail unless the part has each attribute, of that type."""
    for name, kind in types.items():
        if not isinstance(getattr(part, name, None), kind):
            fail(
                part, f"{name} is {getattr(part, name, 'missing')!r}; give it a class attribute of type {kind.__name__}"
            )


def check_rebuild(part: Any) -> None:
    """Fail unless the part is a module whose constructor takes its own fields back: search and recipe files need it."""
    if not isinstance(part, eqx.Module):
        fail(part, "is no equinox.Module; derive it from one, so that its numbers are leaves")
    with attempt(part, "building it anew from its own fields"):
        again = type(part)(**_fields(part))
    if _structure(again) != _structure(part) or not all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(part), strict=True)
    ):
        fail(part, f"built anew from its own fields it is another: {again!r} instead of {part!r}")


def _fields(part: Any) -> dict[str, Any]:
    return {field.name: getattr(part, field.name) for field in dataclasses.fields(part) if field.init}


def numbers(part: Any) -> dict[str, float]:
    """Return the part's own fields that hold one Python number."""
    return {n: v for n, v in _fields(part).items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def check_bad_numbers(part: Any) -> None:
    """Fail unless NaN and text are refused, by a UsageError, wherever the part holds a number."""
    for name in numbers(part):
        for bad in (math.nan, "much"):
            try:
                type(part)(**{**_fields(part), name: bad})
            except UsageError:
                continue
            except Exception as error:
                fail(part, f"{name}={bad!r} raises {type(error).__name__}; raise a UsageError (thalweg.fields does)")
            fail(part, f"{name}={bad!r} is accepted; check it in __check_init__ with thalweg.fields")


def variant(part: T) -> T:
    """Return the part with other numbers, each still one that its constructor takes."""
    for name, value in _fields(part).items():
        if _is_static(part, name):
            continue
        for changed in _changed(value):
            with contextlib.suppress(UsageError):
                part = type(part)(**{**_fields(part), name: changed})
                break
    return part


def _is_static(part: Any, name: str) -> bool:
    """True for a static field, unless it holds a number with a point: that should not have been static.

    One that sets a size says so: ``eqx.field(static=True, metadata={"size": True})``.
    """
    [field] = [field for field in dataclasses.fields(part) if field.name == name]
    sized = field.metadata.get("size", False) or not isinstance(getattr(part, name), float)
    return bool(field.metadata.get("static", False)) and sized


def _changed(value: Any) -> list[Any]:
    """Return candidates for another value of the same structure; none where there is no number in it."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, (int, float)):
        return [0.75 * value, 1.25 * value] if value else []
    if isinstance(value, eqx.Module):
        return [variant(value)]
    if isinstance(value, dict):
        return [{key: _first(item) for key, item in value.items()}]
    if isinstance(value, (tuple, list)):
        return [type(value)(_first(item) for item in value)]
    return []


def _first(value: Any) -> Any:
    return next(iter(_changed(value)), value)


def stacked(parts: list[T]) -> T:
    """Return parts side by side: every number becomes an array with a leading axis."""
    first = parts[0]
    for other in parts[1:]:
        with attempt(first, "comparing its static fields"):
            same = _structure(first) == _structure(other)
        if not same:
            fail(first, "its structure changes with its numbers; make every number a leaf, and static what is none")
    return jax.tree.map(lambda *leaves: jnp.stack([_strong(leaf) for leaf in leaves]), *parts)


def _strong(leaf: Any) -> jax.Array:
    return jnp.asarray(leaf, jnp.result_type(float)) if isinstance(leaf, (int, float)) else jnp.asarray(leaf)


def check_batching(part: Any, call: Callable[[Any], Any], *, rtol: float = 1e-5, atol: float = 1e-7) -> None:
    """Fail unless ``call(part)`` compiles with the numbers as arguments, so once for all of them, and gives
    compiled, alone and under vmap what it gives without.

    The tolerances allow for float32 sums in another order; trials that see each other's numbers differ by far more.
    """
    parts = [part, variant(part), variant(variant(part))]
    batch = stacked(parts)
    with attempt(part, "calling it outside a compiled program"):
        plain = [call(one) for one in parts]
    compiled = jax.jit(call)
    for i, expected in enumerate(plain):
        with attempt(part, "compiling it with its numbers as arguments (no Python `if` may look at one)"):
            alone = compiled(_member(batch, i))
        check_close(part, "compiled and not compiled", alone, expected, rtol=rtol, atol=atol)
    if not jax.tree.leaves(batch):
        return
    with attempt(part, "running several under jax.vmap"):
        together = jax.vmap(call)(batch)
    for i, expected in enumerate(plain):
        what = f"number {i} of {len(parts)} under vmap, and alone"
        check_close(part, what, _member(together, i), expected, rtol=rtol, atol=atol)


def _member(batch: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], batch)


def check_deterministic(part: Any, call: Callable[[], Any]) -> None:
    """Fail unless two calls give the same bits."""
    check_close(part, "two equal calls", call(), call(), rtol=0)


def differences(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> np.ndarray:
    """Return the gradient of a scalar function by centred differences, entry by entry. In float64."""
    h = 1e-6
    steps = h * np.eye(x.size).reshape(-1, *x.shape)
    near = np.concatenate([np.asarray(x) + steps, np.asarray(x) - steps])
    values = np.asarray(jax.jit(jax.vmap(function))(near))
    return ((values[: x.size] - values[x.size :]) / (2 * h)).reshape(x.shape)


def kink(gradient: Callable[[jax.Array], jax.Array], start: jax.Array, end: jax.Array) -> float:
    """Return by how much a gradient jumps at its worst place on a segment: 0 up to rounding if it is continuous.

    The interval with the largest change is halved again and again, which leaves a jump as it is and shrinks all else.
    """
    along = jax.jit(jax.vmap(lambda t: gradient(start + t * (end - start))))
    low, high = 0.0, 1.0
    change = np.zeros(1)
    for _ in range(8):  # 8 rounds of 64 intervals: down to 4e-15 of the segment
        places = np.linspace(low, high, 65)
        change = np.abs(np.diff(np.asarray(along(jnp.asarray(places))).reshape(65, -1), axis=0)).max(axis=1)
        worst = int(change.argmax())
        low, high = places[worst], places[worst + 1]
    return float(change.max())

"""The model protocol, and any pair of JAX functions as a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError

__all__ = ["Functions", "Model", "as_model"]


@runtime_checkable
class Model(Protocol):
    """What a model is: two pure functions. State is what training changes without a
    gradient (running means); ``()`` where there is none.

    Two things are optional: ``check(shape)`` raises a UsageError where examples of that
    shape cannot serve, and a class attribute ``one_by_one = True`` makes the trials of a
    program take turns in each step, where side by side they would be slower.
    """

    def init(self, key: jax.Array, input_shape: tuple[int, ...], classes: int) -> tuple[Any, Any]:
        """Return fresh (params, state) for inputs of that shape (without the batch axis)."""
        ...

    def apply(
        self, params: Any, state: Any, x: jax.Array, *, key: jax.Array | None, training: bool
    ) -> tuple[jax.Array, Any]:
        """Return (scores ``(B, classes)``, state) of a batch ``(B, *input_shape)``; key may be None unless training."""
        ...


class Functions(eqx.Module):
    """A model from two JAX functions, which any library may have made.

    ``init_function(key, input_shape, classes) -> (params, state)`` and
    ``apply_function(params, state, x, *, key, training) -> (scores, state)``, as in
    `Model`. What they return is checked while tracing, at no cost when running.
    """

    init_function: Callable[..., Any] = eqx.field(static=True)
    apply_function: Callable[..., Any] = eqx.field(static=True)
    kind: ClassVar[str] = "functions"

    def __check_init__(self) -> None:
        _check_callable("init", self.init_function, ("key", "input_shape", "classes"), {})
        _check_callable("apply", self.apply_function, ("params", "state", "x"), {"key": None, "training": True})

    def init(self, key: jax.Array, input_shape: tuple[int, ...], classes: int) -> tuple[Any, Any]:
        """Return the checked (params, state); the scores' shape is tried on an abstract batch of two."""
        params, state = _pair(
            "init", self.init_function(key, input_shape, classes), "(params, state)", "use () where there is no state"
        )
        x = jax.eval_shape(lambda: jnp.zeros((2, *input_shape)))
        for training in (True, False):
            scores, _ = jax.eval_shape(
                lambda params, state, x, key, training=training: self.apply(
                    params, state, x, key=key, training=training
                ),
                params,
                state,
                x,
                key if training else None,
            )
            if scores.shape != (2, classes):
                raise UsageError(
                    f"model: apply returned scores {scores.shape} for a batch {x.shape} and {classes} classes; "
                    f"return (batch, classes) = {(2, classes)}"
                )
        return params, state

    def apply(
        self, params: Any, state: Any, x: jax.Array, *, key: jax.Array | None, training: bool
    ) -> tuple[jax.Array, Any]:
        """Return the checked (scores, state)."""
        result = self.apply_function(params, state, x, key=key, training=training)
        scores, after = _pair("apply", result, "(scores, state)", "return the state it was given where nothing changes")
        if not hasattr(scores, "shape") or len(scores.shape) != 2 or scores.shape[0] != x.shape[0]:
            raise UsageError(
                f"model: apply returned scores {getattr(scores, 'shape', scores)!r} for a batch {x.shape}; "
                f"return (batch, classes)"
            )
        if not jnp.issubdtype(scores.dtype, jnp.floating):
            raise UsageError(f"model: apply returned scores of {scores.dtype}; return floating-point scores")
        if _outline(after) != _outline(state):
            raise UsageError(
                f"model: apply changed the state from {_outline(state)} to {_outline(after)}; "
                f"keep its structure, shapes and dtypes"
            )
        return scores, after


def as_model(value: Any) -> Any:
    """Return value if it is a model, or `Functions` of a pair (init, apply) of functions."""
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(callable(one) for one in value):
        return Functions(*value)
    if isinstance(value, eqx.Module) and isinstance(value, Model):
        return value
    if not isinstance(value, type) and isinstance(value, Model):
        return Functions(value.init, value.apply)  # any other object is no tree, and cannot be stacked
    raise UsageError(f"model is {value!r}; give a model such as models.Linear(), or a pair (init, apply) of functions")


def _check_callable(name: str, function: Any, positional: tuple[str, ...], keywords: dict[str, Any]) -> None:
    expected = ", ".join((*positional, *(["*"] if keywords else []), *keywords))
    if not callable(function):
        raise UsageError(f"model: {name} is {function!r}; give a function {name}({expected})")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built without a signature: the call itself will tell
        return
    try:
        signature.bind(*positional, **keywords)
    except TypeError as error:
        raise UsageError(f"model: {name}{signature} cannot be called as {name}({expected}): {error}") from error


def _pair(name: str, value: Any, wanted: str, remedy: str) -> tuple[Any, Any]:
    if not isinstance(value, tuple) or len(value) != 2:
        what = f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"
        raise UsageError(f"model: {name} returned {what}; return the pair {wanted}; {remedy}")
    return value


def _outline(tree: Any) -> Any:
    """Return a tree's structure with each leaf's shape and dtype."""
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), str(jnp.result_type(leaf))), tree)

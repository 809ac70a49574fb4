"""Memory, planned before anything is compiled.

A trial's share is read off the abstract shapes of its state and of the values
that its gradient makes, so any model is counted, not only ours. A cohort that
does not fit is cut into chunks of equal size that run one after another.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.training.cohort import Cohort
from thalweg.training.program import initialise

__all__ = ["Plan", "available_bytes", "parse_bytes", "plan"]

_EVALUATION_ROWS = 1024
_USE = 0.7  # of what is free: the compiler's own scratch space and the host's copies need the rest


@dataclass(frozen=True)
class Plan:
    """How a cohort is cut: `width` trials at a time, `rows` examples at an evaluation."""

    trials: int
    width: int
    rows: int
    bytes_per_trial: int
    bytes_shared: int
    bytes_free: int

    @property
    def chunks(self) -> int:
        """How many programs of at most `width` trials the cohort needs."""
        return -(-self.trials // self.width)

    def sentence(self) -> str:
        """Say in words what the plan does about memory."""
        return (
            f"{self.trials} trials need {_words(self.trials * self.bytes_per_trial + self.bytes_shared)}, "
            f"{_words(self.bytes_free)} may be used: they run in {self.chunks} chunks of up to {self.width}"
        )


def plan(cohort: Cohort, input_shape: tuple[int, ...], classes: int, held_bytes: int, limit: int | None = None) -> Plan:
    """Plan a cohort's memory: how many of its trials fit into one program.

    ``held_bytes`` are taken already, by the data. ``limit`` bounds the bytes
    for all of it; by default 70 % of what the device or machine has free.
    """
    free = limit if limit is not None else int(_USE * available_bytes())
    one, two = (_state_bytes(cohort, input_shape, classes, n) for n in (1, 2))
    a, b = (_activation_bytes(cohort, input_shape, classes, n) for n in (1, 2))
    # State once, once more for the gradient and the updates in flight, and what the gradient makes on its way.
    per_trial = 2 * (two - one) + (b - a) + _candidate_bytes(cohort, two - one)
    shared = held_bytes + max(0, 2 * a - b)
    width = (free - shared) // max(1, per_trial)
    if width < 1:
        raise UsageError(
            f"one trial needs {_words(per_trial + shared)} with its data, and {_words(free)} may be used: "
            "take a smaller batch_size or model, fewer examples, or raise the memory limit"
        )
    width = min(width, len(cohort))
    chunks = -(-len(cohort) // width)
    return Plan(len(cohort), -(-len(cohort) // chunks), _EVALUATION_ROWS, per_trial, shared, free)


def available_bytes() -> int:
    """Return the bytes free on the default device (or, on a CPU, in the machine)."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    # No figure for what is free (macOS): half of what is built in.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def parse_bytes(text: str) -> int:
    """Read a size such as ``4GB``, ``500MB`` or ``1073741824``."""
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    number = text.strip().upper().rstrip("BKMGT")
    unit = text.strip().upper()[len(number) :]
    try:
        value = float(number) * units[unit.strip()]
    except (ValueError, KeyError):
        raise UsageError(f"memory is {text!r}; give a size such as 4GB or 500MB") from None
    if not math.isfinite(value) or value <= 0:
        raise UsageError(f"memory is {text!r}; give a size above 0")
    return int(value)


def _state_bytes(cohort: Cohort, input_shape: tuple[int, ...], classes: int, width: int) -> int:
    recipe = _abstract(cohort.recipe, width)
    state = jax.eval_shape(lambda r: initialise(r, jax.random.key(0), input_shape, classes), recipe)
    return _bytes(jax.tree.leaves(state))


def _activation_bytes(cohort: Cohort, input_shape: tuple[int, ...], classes: int, width: int) -> int:
    """Bytes of every value that the loss's gradient makes, none taken to be freed: an upper bound."""
    recipe = _abstract(cohort.recipe, width)
    rows = min(int(cohort.batch_size), _EVALUATION_ROWS * 64)

    def losses(recipe: Any, x: jax.Array, labels: jax.Array) -> Any:
        state = initialise(recipe, jax.random.key(0), input_shape, classes)

        def one(recipe: Any, params: Any, model_state: Any) -> Any:
            def loss(params: Any) -> jax.Array:
                scores, _ = recipe.model.apply(params, model_state, x, key=jax.random.key(0), training=True)
                return jnp.mean(recipe.loss(scores, labels))

            return jax.grad(loss)(params)

        return jax.vmap(one, axis_size=width)(recipe, state.params, state.model_state)

    x = jax.ShapeDtypeStruct((rows, *input_shape), jnp.float32)
    labels = jax.ShapeDtypeStruct((rows,), jnp.int32)
    return _made(jax.make_jaxpr(losses)(recipe, x, labels).jaxpr)


def _candidate_bytes(cohort: Cohort, state: int) -> int:
    """Random search holds all its candidates at once, drawn one trial at a time."""
    return 2 * state * int(getattr(cohort.recipe.optimizer, "candidates", 0))


def _abstract(recipe: Any, width: int) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((width, *leaf.shape[1:]), leaf.dtype), recipe)


def _made(jaxpr: Any) -> int:
    """Sum the bytes of all values that a jaxpr and those inside it make."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [p for p in jax.tree.leaves(equation.params, is_leaf=_is_jaxpr) if _is_jaxpr(p)]
        if inner:
            total += sum(_made(getattr(p, "jaxpr", p)) for p in inner)
        else:
            total += _bytes([v.aval for v in equation.outvars])
    return total


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def _bytes(arrays: Sequence[Any]) -> int:
    return sum(math.prod(a.shape) * _itemsize(a.dtype) for a in arrays)


def _itemsize(dtype: Any) -> int:
    return np.dtype(dtype).itemsize if not jax.dtypes.issubdtype(dtype, jax.dtypes.extended) else 8


def _words(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"

"""What a recipe's numbers may be, and the checks that every part shares.

A field that takes a number takes a Python or NumPy number, a range or choice
(then it is a search space), or a JAX array (inside a compiled program, where a
leading axis of trials has been mapped away). JAX arrays pass unchecked: their
values are known only when the program runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from thalweg.errors import UsageError
from thalweg.ranges import Choice, Integers, Range

__all__ = ["Number", "check_flag", "check_integer", "check_number", "check_option", "check_optional", "is_open"]

Number: TypeAlias = Any  # float | int | Range | Choice | jax.Array; JAX's arrays make a precise union useless


def is_open(value: object) -> bool:
    """True for a range or a choice: a place that a search has yet to fill."""
    return isinstance(value, (Range, Choice))


def check_number(
    owner: str,
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
    whole: bool = False,
) -> None:
    """Raise a UsageError unless value (or every value that its range allows) is a
    finite number with ``above < value < below`` and ``least <= value <= most``."""
    for one in _values(owner, name, value, whole):
        if not _finite(one) or not (above < one < below and least <= one <= most):
            raise UsageError(f"{owner}: {name} is {one!r}; it must be {_bounds(above, least, below, most)}")
        if whole and one != int(one):
            raise UsageError(f"{owner}: {name} is {one!r}; it must be a whole number")


def check_optional(owner: str, name: str, value: Any, **bounds: Any) -> None:
    """Raise a UsageError unless value is None or a number that `check_number` takes (or a choice of these)."""
    for option in value.options if isinstance(value, Choice) else (value,):
        if option is not None:
            check_number(owner, name, option, **bounds)


def check_integer(owner: str, name: str, value: Any, *, least: int) -> None:
    """Raise a UsageError unless value (or all that its range allows) is a whole number >= least."""
    for option in value.options if isinstance(value, Choice) else (value,):
        if isinstance(option, (float, np.floating)):
            raise UsageError(f"{owner}: {name} is {option!r}; it must be a whole number, written without a point")
        check_number(owner, name, option, least=least, whole=True)


def check_flag(owner: str, name: str, value: Any) -> None:
    """Raise a UsageError unless value is True or False (or a choice of these)."""
    for option in value.options if isinstance(value, Choice) else (value,):
        if not isinstance(option, (bool, np.bool_)):
            raise UsageError(f"{owner}: {name} is {option!r}; give true or false")


def check_option(owner: str, name: str, value: Any, options: tuple[str, ...]) -> None:
    """Raise a UsageError unless value (or each option of a choice) is one of the given words."""
    for one in value.options if isinstance(value, Choice) else (value,):
        if one not in options:
            raise UsageError(f"{owner}: {name} is {one!r}; it must be one of {', '.join(map(repr, options))}")


def _values(owner: str, name: str, value: Any, whole: bool) -> Iterator[Any]:
    """Yield the numbers to check: the value, a choice's options, a range's ends, an array's entries."""
    if isinstance(value, Choice):
        for option in value.options:
            yield from _values(owner, name, option, whole)
    elif isinstance(value, Range):
        if whole and not isinstance(value, Integers):
            raise UsageError(
                f"{owner}: {name} is {value!r}; it must be whole: give integers({value.low}, {value.high})"
            )
        yield from (value.low, value.high)
    elif isinstance(value, (bool, np.bool_)) or getattr(getattr(value, "dtype", None), "kind", "f") in _NO_NUMBERS:
        raise UsageError(f"{owner}: {name} is {value!r}; give a number")
    elif isinstance(value, np.ndarray):
        yield from np.unique(value).tolist()
    elif isinstance(value, (int, float, np.integer, np.floating)):
        yield value
    elif not (hasattr(value, "dtype") and hasattr(value, "shape")):
        raise UsageError(f"{owner}: {name} is {value!r}; give a number, or a range of numbers")


_NO_NUMBERS = "bcOSUmM"  # NumPy's kinds of bool, complex, object, bytes, text, time


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of floats
        return False


def _bounds(above: float, least: float, below: float, most: float) -> str:
    parts = [
        f"above {above:g}" if above > -math.inf else f"at least {least:g}" if least > -math.inf else "",
        f"below {below:g}" if below < math.inf else f"at most {most:g}" if most < math.inf else "",
    ]
    return "finite" + "".join(f" and {part}" for part in parts if part)

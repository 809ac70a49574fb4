"""Numeric gradients by one plain difference formula, entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from thalweg.errors import UsageError, nearest
from thalweg.fields import check_number
from thalweg.gradients.function import Function
from thalweg.gradients.space import Space
from thalweg.precision import double

__all__ = ["SCHEMES", "difference", "numeric_gradient"]

SCHEMES = ("central", "forward", "complex")
# What balances truncation and rounding: eps^(1/3) and eps^(1/2), relative to the entry; for the complex step
# anything whose square vanishes.
_STEPS = {"central": 6.1e-6, "forward": 1.5e-8, "complex": 1e-30}


def numeric_gradient(f: Callable[[Any], Any], x: Any, scheme: str = "central", h: float | None = None) -> Any:
    """Return the numeric gradient of f at x, a tree like x.

    ========  ======================================  =============
    scheme    entry                                   error
    ========  ======================================  =============
    central   (f(x + h e) − f(x − h e)) / 2h          O(h²) + ε/h
    forward   (f(x + h e) − f(x)) / h                 O(h) + ε/h
    complex   Im f(x + i h e) / h                     ε, where f is analytic
    ========  ======================================  =============

    Parameters
    ----------
    f
        A function of one argument, in NumPy, JAX or PyTorch (no complex step there), that
        returns a number or an array.
    x
        An array, a float or a tree of arrays; f is called in float64.
    scheme
        As above. The complex step needs an f that takes complex numbers and drops
        none of their imaginary parts (no abs, no comparison); `gradcheck` finds that out, this function can not.
    h
        The step, the same for all entries. By default 6.1e-6 (central) or 1.5e-8 (forward) times
        max(|x_i|, 1), and 1e-30 for the complex step.

    Returns
    -------
    tree of NumPy float64 arrays
        Shaped like x; for an f that returns an array, leaves of shape f's + x's.

    Raises
    ------
    UsageError
        For an unknown scheme, a step that is not above 0 or vanishes beside an entry, and an f or x that
        `gradcheck` would refuse.

    Source: Nocedal and Wright 2006, section 8.1; Squire and Trapp 1998.
    """
    if scheme not in SCHEMES:
        raise UsageError(f"scheme is {scheme!r}; it must be one of {', '.join(SCHEMES)}{nearest(scheme, SCHEMES)}")
    if h is not None:
        check_number("numeric_gradient", "h", h, above=0)
    with double():
        space = Space(x)
        function = Function(f, space)
        columns = [difference(function, index, scheme, h) for index in range(space.size)]
    return space.tree(np.stack(columns, axis=1).reshape(*function.shape, space.size), function.shape)


def difference(function: Function, index: int, scheme: str, h: float | None) -> np.ndarray:
    """Return the derivatives (m,) of all outputs by one entry."""
    x = function.space.x
    step = h if h is not None else _STEPS[scheme] * (1.0 if scheme == "complex" else max(abs(x[index]), 1.0))
    if scheme == "complex":
        moved = x.astype(complex)
        moved[index] += 1j * step
        result = function.at_complex(moved)
        if result is None:
            raise UsageError("scheme is 'complex', but f does not carry complex numbers through; take scheme='central'")
        return result.imag / step
    up, down = x.copy(), x.copy()
    up[index] += step
    if scheme == "central":
        down[index] -= step
    if up[index] == down[index]:
        raise UsageError(
            f"h is {step}; it vanishes beside x{function.space.name(index)} = {x[index]!r}: take a larger one"
        )
    # Divided by the step that was taken, not the one that was asked for: x + h is rounded.
    return (function(up) - (function(down) if scheme == "central" else function.value)) / (up[index] - down[index])

"""What a landscape is: a function of two numbers with its exact gradient and Hessian.

A subclass writes three formulas in x and y; the base class checks the point,
picks NumPy or JAX, and puts the parts together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError

__all__ = ["Array", "Bounds", "Landscape", "Points"]

Array: TypeAlias = Any  # numpy.ndarray | jax.Array: what comes in decides what goes out
Bounds: TypeAlias = tuple[tuple[float, float], tuple[float, float]]
Points: TypeAlias = tuple[tuple[float, float], ...]


class Landscape(ABC):
    """A function f: R² → R with its gradient and Hessian written out.

    ``value``, ``gradient`` and ``hessian`` take points ``(..., 2)`` and return
    ``(...,)``, ``(..., 2)`` and ``(..., 2, 2)``; calling the landscape gives its
    value. A JAX array (also one being traced) is computed by JAX in its own
    precision, so `jax.grad`, `jax.jit` and `jax.vmap` work; anything else is
    computed by NumPy in float64. A complex point stays complex: the formulas
    are analytic, so complex-step differences work too. Far out a value may
    overflow to infinity, without a warning: a race that diverges shows it in
    its numbers.

    The built-in landscapes are frozen dataclasses: equal when their parameters
    are, and hashable, hence fit for a static argument of a compiled function.

    To write one, give ``name``, ``bounds``, ``minima`` and the three formulas:

    >>> class Bowl(Landscape):
    ...     name, bounds, minima = "Bowl", ((-1.0, 1.0), (-1.0, 1.0)), ((0.0, 0.0),)
    ...     def formula(self, x, y, xp):
    ...         return x**2 + y**2
    ...     def slopes(self, x, y, xp):
    ...         return 2 * x, 2 * y
    ...     def curvatures(self, x, y, xp):
    ...         return 2, 0, 2
    >>> float(Bowl()([3.0, 4.0]))
    25.0
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The function's name, as a title shows it."""

    @property
    @abstractmethod
    def bounds(self) -> Bounds:
        """The part worth drawing: ((x_low, x_high), (y_low, y_high))."""

    @property
    @abstractmethod
    def minima(self) -> Points:
        """All global minimisers, as pairs (x, y); none where f has no least value."""

    @abstractmethod
    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        """Return f(x, y), elementwise. ``xp`` is NumPy or jax.numpy, for cos and the like."""

    @abstractmethod
    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        """Return (∂f/∂x, ∂f/∂y), elementwise; a constant may be a plain number."""

    @abstractmethod
    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        """Return (∂²f/∂x², ∂²f/∂x∂y, ∂²f/∂y²), elementwise; a constant may be a plain number."""

    def __call__(self, point: Array) -> Array:
        """Return the value: ``(..., 2) -> (...,)``."""
        return self.value(point)

    def value(self, point: Array) -> Array:
        """Return f: ``(..., 2) -> (...,)``. Raises UsageError for a point of another shape."""
        return self._evaluate(self.formula, point, ())

    def gradient(self, point: Array) -> Array:
        """Return (∂f/∂x, ∂f/∂y): ``(..., 2) -> (..., 2)``. Raises UsageError for a point of another shape."""
        return self._evaluate(self.slopes, point, (2,))

    def hessian(self, point: Array) -> Array:
        """Return all second derivatives: ``(..., 2) -> (..., 2, 2)``. Raises UsageError for another shape."""

        def matrix(x: Array, y: Array, xp: Any) -> tuple[Array, ...]:
            xx, xy, yy = self.curvatures(x, y, xp)
            return xx, xy, xy, yy

        return self._evaluate(matrix, point, (2, 2))

    def _evaluate(self, formula: Any, point: Array, shape: tuple[int, ...]) -> Array:
        point, xp = _checked(self.name, point)
        # Silent as JAX is: overflow, and inf − inf beyond it, are what a diverged race looks like.
        with np.errstate(over="ignore", invalid="ignore"):
            parts = formula(point[..., 0], point[..., 1], xp)
        if not shape:
            return parts
        batch = point.shape[:-1]
        parts = [xp.broadcast_to(xp.asarray(part, dtype=point.dtype), batch) for part in parts]
        return xp.stack(parts, axis=-1).reshape(batch + shape)


def _checked(name: str, point: Array) -> tuple[Array, Any]:
    """Return the point with a last axis of 2, and the array module that computes it.

    JAX only for JAX's own arrays: NumPy's would lose their float64 there. The
    array API's ``__array_namespace__`` would serve as well, but NumPy 1 lacks it.
    """
    if isinstance(point, jax.Array):
        if not jnp.issubdtype(point.dtype, jnp.inexact):
            point = point.astype(jnp.result_type(float))
        xp: Any = jnp
    else:
        point, xp = _as_numbers(name, point), np
    if point.ndim == 0 or point.shape[-1] != 2:
        raise UsageError(f"{name}: point has shape {list(point.shape)}; its last axis must be the pair (x, y)")
    return point, xp


def _as_numbers(name: str, point: Any) -> np.ndarray:
    try:
        array = np.asarray(point)
        return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64, copy=False)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: point is {point!r}; give an array of numbers of shape (..., 2)") from None

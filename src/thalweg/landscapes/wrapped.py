"""Landscapes made of something else: of a plain JAX function, of a landscape and noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import check_flag, check_number
from thalweg.landscapes.base import Array, Bounds, Landscape, Points
from thalweg.precision import double

__all__ = ["Function", "Noisy", "as_landscape", "checked_bounds", "hessian_fault"]


class Function(Landscape):
    """A landscape of a plain function f(point), its derivatives by JAX.

    Arguments:
        function: takes a point ``(2,)`` and returns one real number; written in jax.numpy.
        name: as a title shows it; by default the function's own.
        bounds: the part worth drawing, ((x_low, x_high), (y_low, y_high)).
        minima: the known global minimisers, as pairs (x, y); none by default: then no distance is told.
        smooth: False for a function with kinks, such as |x| or a hinge: JAX would give it a Hessian,
            0 wherever the function is straight, which says nothing of the kinks. Asking for it is then an error.

    Two are equal when they are the same object, so one that is used again is not compiled again.

    Raises:
        UsageError: no function, bounds without an area, minima that are no pairs.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        name: str | None = None,
        bounds: Bounds = ((-5.0, 5.0), (-5.0, 5.0)),
        minima: Sequence[Sequence[float]] = (),
        smooth: bool = True,
    ) -> None:
        if not callable(function):
            raise UsageError(f"Function: function is {function!r}; give a function of a point (2,)")
        check_flag("Function", "smooth", smooth)
        own = getattr(function, "__name__", "f")
        self.function = function
        self.smooth = smooth
        self._name = ("f" if own == "<lambda>" else own) if name is None else name
        self._bounds = checked_bounds(bounds)
        self._minima = _checked_minima(minima)

    @property
    def name(self) -> str:
        return self._name

    @property
    def bounds(self) -> Bounds:
        return self._bounds

    @property
    def minima(self) -> Points:
        return self._minima

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        return self._mapped(self.function, x, y, xp)

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        slope = self._mapped(jax.grad(self.function), x, y, xp)
        return slope[..., 0], slope[..., 1]

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        if not self.smooth:
            raise UsageError(
                f"{self.name}: it has kinks (smooth=False), so it has no Hessian to ask for; "
                "take a method that needs slopes alone, such as SGD or Adam"
            )
        matrix = self._mapped(jax.hessian(self.function), x, y, xp)
        return matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]

    def _mapped(self, one: Callable[[Any], Any], x: Array, y: Array, xp: Any) -> Array:
        """Apply a function of one point to all of them; NumPy's in float64."""
        points = xp.stack([x, y], axis=-1)
        if xp is jnp:
            return _over(one, points)
        with double():
            return np.asarray(_over(one, jnp.asarray(points)))


def _over(one: Callable[[Any], Any], points: Array) -> Array:
    values = jax.vmap(one)(points.reshape(-1, 2))
    return values.reshape(points.shape[:-1] + values.shape[1:])


@dataclass(frozen=True)
class Noisy(Landscape):
    """A landscape whose gradient an optimizer sees with noise, as minibatches do: g + scale · N(0, I).

    Values, gradients and Hessians asked of it are exact: a race adds the noise to what its optimizers are
    handed, and records the truth. Every racer at the same start and step is handed the same draw, which
    depends on the race's seed alone, so the race is fair.

    Arguments:
        landscape: the one beneath.
        scale: the noise's standard deviation in each coordinate, 0 or more.

    Raises:
        UsageError: no landscape, a landscape that is noisy already, or a scale that is no number of 0 or more.
    """

    landscape: Landscape
    scale: float

    def __post_init__(self) -> None:
        if isinstance(self.landscape, Noisy):
            raise UsageError("Noisy: landscape is noisy already; give the one beneath, and one scale")
        check_number("Noisy", "scale", self.scale, least=0.0)
        object.__setattr__(self, "landscape", as_landscape(self.landscape))
        object.__setattr__(self, "scale", float(self.scale))

    @property
    def name(self) -> str:
        return f"{self.landscape.name}, gradient noise {self.scale:g}"

    @property
    def bounds(self) -> Bounds:
        return self.landscape.bounds

    @property
    def minima(self) -> Points:
        return self.landscape.minima

    def formula(self, x: Array, y: Array, xp: Any) -> Array:
        return self.landscape.formula(x, y, xp)

    def slopes(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array]:
        return self.landscape.slopes(x, y, xp)

    def curvatures(self, x: Array, y: Array, xp: Any) -> tuple[Array, Array, Array]:
        return self.landscape.curvatures(x, y, xp)

    def draw(self, key: jax.Array, step: jax.Array, starts: jax.Array) -> jax.Array:
        """Return the noise of a step for the starts of these numbers: ``(S,) -> (S, 2)``."""
        at = jax.random.fold_in(key, step)

        def one(start: jax.Array) -> jax.Array:
            return jax.random.normal(jax.random.fold_in(at, start), (2,), jnp.result_type(float))

        return self.scale * jax.vmap(one)(starts)


def as_landscape(value: Any) -> Landscape:
    """Return value as a landscape that JAX can compute: a function becomes a `Function`.

    Raises UsageError for anything else, and for one that JAX cannot trace or that returns no scalar.
    """
    if isinstance(value, type) or not (isinstance(value, Landscape) or callable(value)):
        raise UsageError(
            f"landscape is {value!r}; give one of thalweg.landscapes, such as Beale(), or a function of a point"
        )
    landscape = value if isinstance(value, Landscape) else Function(value)
    try:
        hash(landscape)
    except TypeError:
        raise UsageError(f"{landscape.name}: it cannot be hashed; make its class a frozen dataclass") from None
    with double():
        point = jax.ShapeDtypeStruct((2,), np.float64)
        value = landscape.function if isinstance(landscape, Function) else landscape.value
        _check_shape(landscape, value, point, (), "one real number")
        _check_shape(landscape, landscape.gradient, point, (2,), "a gradient of 2 real numbers")
    return landscape


def hessian_fault(landscape: Landscape) -> str:
    """Say why a landscape has no Hessian, with its name before; nothing where it has one.

    Asked for by its own formulas and by JAX, of which Newton takes the second. A function with `jax.custom_vjp`
    may have a gradient alone: JAX takes a Hessian by a forward pass over its rule, which must not call it again.
    """
    beneath = landscape.landscape if isinstance(landscape, Noisy) else landscape
    if isinstance(beneath, Function) and not beneath.smooth:
        return "has kinks (smooth=False)"
    value = beneath.function if isinstance(beneath, Function) else beneath.value
    try:
        with double():
            point = jax.ShapeDtypeStruct((2,), np.float64)
            jax.eval_shape(jax.hessian(value), point)
            jax.eval_shape(beneath.hessian, point)
    except Exception as error:  # whatever a function of the user's, or JAX tracing it, raises
        first = str(error).strip().split("\n")[0]
        return f"has none that JAX can compute ({type(error).__name__}: {first})"
    return ""


def _check_shape(landscape: Landscape, function: Any, point: Any, shape: tuple[int, ...], what: str) -> None:
    try:
        found = jax.eval_shape(function, point)
    except UsageError:
        raise
    except Exception as error:
        first = str(error).strip().split("\n")[0]
        raise UsageError(
            f"{landscape.name}: JAX cannot compute {what} of it at a point ({type(error).__name__}: {first}); "
            "write it in jax.numpy, returning one real number"
        ) from error
    if getattr(found, "shape", None) != shape or not jnp.issubdtype(found.dtype, jnp.floating):
        got = f"{found.dtype}{list(found.shape)}" if hasattr(found, "shape") else f"a {type(found).__name__}"
        raise UsageError(f"{landscape.name}: it returns {got} at a point; it must return {what}")


def checked_bounds(bounds: Any) -> Bounds:
    try:
        (left, right), (bottom, top) = bounds
        array = np.asarray([[left, right], [bottom, top]], np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"bounds is {bounds!r}; give ((x_low, x_high), (y_low, y_high))") from None
    if not (np.all(np.isfinite(array)) and np.all(array[:, 0] < array[:, 1])):
        raise UsageError(f"bounds is {bounds!r}; each low end must be below its high end, all of them finite")
    return (float(array[0, 0]), float(array[0, 1])), (float(array[1, 0]), float(array[1, 1]))


def _checked_minima(minima: Any) -> Points:
    try:
        array = np.asarray(minima, np.float64).reshape(-1, 2) if len(minima) else np.empty((0, 2))
    except (TypeError, ValueError):
        raise UsageError(f"minima is {minima!r}; give pairs, such as [(0.0, 0.0)]") from None
    if not np.all(np.isfinite(array)):
        raise UsageError(f"minima is {minima!r}; they must be finite")
    return tuple((float(x), float(y)) for x, y in array)

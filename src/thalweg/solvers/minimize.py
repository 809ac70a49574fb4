"""From a call of ``solve`` to one compiled program, and from its arrays to a Solution."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from thalweg.errors import UsageError
from thalweg.fields import check_flag, check_integer, check_number
from thalweg.precision import double
from thalweg.solvers.descent import OUTCOMES, Method, Objective, Result, minimize
from thalweg.solvers.solution import Solution

__all__ = ["SmoothSolver"]


class SmoothSolver(eqx.Module):
    """A solver of min f(w) for any smooth JAX function f; abstract."""

    tolerance: float
    iterations: int

    def __check_init__(self) -> None:
        owner = type(self).__name__
        check_plain(owner, "tolerance", self.tolerance)
        check_number(owner, "tolerance", self.tolerance, least=0, below=1)
        check_plain(owner, "iterations", self.iterations)
        check_integer(owner, "iterations", self.iterations, least=1)

    def method(self, size: int) -> Method:
        """Return the method for that many weights."""
        raise NotImplementedError

    def solve(
        self,
        function: Callable[..., Any],
        start: Any,
        *args: Any,
        batched: bool = False,
        in_axes: Any = None,
        strong_convexity: Any = None,
    ) -> Solution:
        """Minimise ``function(weights, *args)`` over the weights, from ``start``.

        Arguments:
            function: returns one real number; differentiable twice, by JAX.
            start: the first weights, an array (or a list of numbers, which becomes one) or a
                tree of arrays. Their precision
                is that of the whole computation: float32, or float64, which is
                also what NumPy's and Python's own numbers are.
            args: whatever else the function takes. Hand over data here: an array
                that the function closes over becomes a constant of the compiled
                program, which then takes many seconds to compile, for each call anew.
            batched: True where each leaf of ``start`` has a leading axis of members.
                The function is still that of one member; all members run in one
                program, and one that is done, or not finite, holds up none of them.
            in_axes: for a batch, one entry per argument in args, as in `jax.vmap`: 0
                where it has an axis of members, None where they share it. None: all shared.
            strong_convexity: a μ > 0 (or one per member) for which f(w) − ½μ‖w‖² is
                convex, such as 2 × strength where all weights have the penalty strength × ‖w‖².
                The solution's bound is then ‖g‖²/(2μ), proven up to the rounding of f and
                g, and the solver stops where bound ≤ tolerance × |value| (or ‖g‖/μ, a bound
                on the distance, ≤ tolerance × the weights' size, for a minimum of 0).
                Without it the bound is infinite, and the same test is made with estimates.

        Returns a `Solution` of NumPy arrays, ``weights`` a tree like ``start``; for
        a batch each has a leading axis of members.

        A second call with the same function and the same shapes does not compile
        again; a lambda written at the call is a new function each time.

        Raises a UsageError for arguments that fit no problem. Numbers that are not
        finite raise nothing: the member ends with the status "not finite".
        """
        owner = type(self).__name__
        check_flag(owner, "batched", batched)
        if not callable(function):
            raise UsageError(f"{owner}: function is {function!r}; give a function of the weights")
        start = _floats(owner, _listed(owner, start))
        leaves = jax.tree.leaves(start)
        members = _members(owner, leaves) if batched else None
        axes = _axes(owner, in_axes, len(args), batched)
        mu = _strong_convexity(owner, strong_convexity, members)
        dtype = np.result_type(*leaves)
        size = sum(leaf.size for leaf in leaves) // (1 if members is None else max(members, 1))
        with double() if dtype == np.float64 else nullcontext():
            start, args = jax.tree.map(jnp.asarray, start), jax.tree.map(_array, args)
            settings = (jnp.asarray(mu, dtype), jnp.asarray(self.tolerance, dtype), jnp.asarray(self.iterations))
            _check_value(owner, function, start, args, axes)
            result, weights = _program(self.method(size), function, start, args, settings, axes)
            return _solution(result, weights)


@eqx.filter_jit
def _program(
    method: Method, function: Callable[..., Any], start: Any, args: Any, settings: Any, axes: tuple[Any, ...] | None
) -> tuple[Result, Any]:
    """Minimise for one member, or for all: ``axes`` are those of args, None for one member alone."""
    traced, static = eqx.partition(args, eqx.is_array)
    mu, tolerance, iterations = settings

    def solo(start: Any, traced: Any, mu: jax.Array) -> tuple[Result, Any]:
        weights, unravel = ravel_pytree(start)

        def value(flat: jax.Array) -> jax.Array:
            return jnp.asarray(function(unravel(flat), *eqx.combine(traced, static))).astype(flat.dtype)

        # On an accelerator a product of float32 matrices may be rounded to ten bits: no gap of 1e-6 survives that.
        with jax.default_matmul_precision("highest"):
            result = minimize(Objective(value, weights, tolerance, mu), method, iterations)
        return result, unravel(result.weights)

    if axes is None:
        return solo(start, traced, mu)
    return jax.vmap(solo, in_axes=(0, axes, 0))(start, traced, mu)


def _solution(result: Result, weights: Any) -> Solution:
    names = np.array(OUTCOMES, object)[np.asarray(result.outcome)]
    weights = jax.tree.map(np.asarray, weights)
    value, bound = np.asarray(result.value, np.float64), np.asarray(result.bound, np.float64)
    iterations, evaluations = np.asarray(result.iterations), np.asarray(result.evaluations)
    if isinstance(names, str):
        return Solution(weights, float(value), float(bound), names, int(iterations), int(evaluations))
    return Solution(weights, value, bound, names, iterations, evaluations)


def check_plain(owner: str, name: str, value: Any) -> None:
    """Raise a UsageError unless value is one number: a solver's settings are not searched over."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise UsageError(f"{owner}: {name} is {value!r}; give one number")


def _listed(owner: str, start: Any) -> Any:
    """Return a list of numbers, or of lists of them, as the array that is meant; a list of arrays stays a tree."""
    plain = all(isinstance(leaf, (int, float)) for leaf in jax.tree.leaves(start))
    if not (plain and isinstance(start, (list, tuple))):
        return start
    try:
        return np.asarray(start, np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{owner}: start is {start!r}, lists of different lengths; give an array") from None


def _floats(owner: str, start: Any) -> Any:
    leaves = jax.tree.leaves(start)
    if sum(np.size(leaf) for leaf in leaves) == 0:
        raise UsageError(f"{owner}: start holds no numbers; give the weights to begin with")
    for leaf in leaves:
        dtype = getattr(leaf, "dtype", np.asarray(leaf).dtype)
        if dtype not in (np.float32, np.float64):
            raise UsageError(f"{owner}: start holds {dtype}; give weights in float32 or float64")
    return jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else np.asarray(leaf), start)


def _members(owner: str, leaves: list[Any]) -> int:
    counts = {leaf.shape[0] if leaf.ndim else None for leaf in leaves}
    if len(counts) != 1 or None in counts:
        shapes = ", ".join(str(list(leaf.shape)) for leaf in leaves)
        raise UsageError(f"{owner}: start has the shapes {shapes}; a batch's leaves share a leading axis of members")
    return int(counts.pop())  # type: ignore[arg-type]


def _axes(owner: str, in_axes: Any, count: int, batched: bool) -> tuple[Any, ...] | None:
    if not batched:
        if in_axes is not None:
            raise UsageError(f"{owner}: in_axes is {in_axes!r} without a batch; leave it out, or set batched=True")
        return None
    axes = (None,) * count if in_axes is None else in_axes
    if not isinstance(axes, (tuple, list)) or len(axes) != count:
        raise UsageError(f"{owner}: in_axes is {in_axes!r}; give a tuple of {count}, an entry for each argument")
    return tuple(axes)


def _strong_convexity(owner: str, mu: Any, members: int | None) -> np.ndarray:
    shape = () if members is None else (members,)
    if mu is None:
        return np.zeros(shape)
    array = np.asarray(mu)
    if array.dtype.kind not in "fiu" or array.shape not in ((), shape):
        raise UsageError(f"{owner}: strong_convexity is {mu!r}; give one number, or for a batch one per member")
    if not np.all(np.isfinite(array) & (array > 0)):
        raise UsageError(f"{owner}: strong_convexity is {mu!r}; it must be finite and above 0, or None where unknown")
    return np.broadcast_to(array, shape)


def _array(leaf: Any) -> Any:
    """Make a number an array: a number that the program was compiled for would compile it anew for the next one."""
    if isinstance(leaf, (int, float, complex, np.ndarray, np.generic)) and not isinstance(leaf, bool):
        return jnp.asarray(leaf)
    return leaf


def _check_value(owner: str, function: Callable[..., Any], start: Any, args: Any, axes: Any) -> None:
    """Raise a UsageError unless the function returns one real number."""
    traced, static = eqx.partition((start, args), eqx.is_array)

    def call(traced: Any) -> Any:
        start, args = eqx.combine(traced, static)
        if axes is None:
            return function(start, *args)
        arrays, others = eqx.partition(args, eqx.is_array)
        return jax.vmap(lambda w, a: function(w, *eqx.combine(a, others)), in_axes=(0, axes))(start, arrays)

    value = jax.eval_shape(call, traced)
    shape = None if not hasattr(value, "shape") else value.shape if axes is None else value.shape[1:]
    if shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        what = f"{value.dtype}{list(shape)}" if shape is not None else f"a {type(value).__name__}"
        raise UsageError(f"{owner}: function returns {what}; it must return one real number, a float of shape []")

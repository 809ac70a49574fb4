"""The full objective of a recipe at given weights: its value, its slope, and products with its Hessian.

L(W) = Σ ω_i loss(scores of example i) / N + strength × R(W), with the examples' weights ω of mean 1. Models are in
evaluation mode: dropout and the like are off, batch normalisation uses its stored statistics, so that the
objective is one fixed function of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from thalweg.fitted import FittedModel
from thalweg.penalties import penalty_value, weight_mask
from thalweg.training.program import Examples

__all__ = ["Point", "Slope", "chunk_rows", "flat", "products", "slope", "stack_models", "values"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _precise(function: _Function) -> _Function:
    """Trace a function with products of full precision: an accelerator's ten bits would break every bound."""

    @wraps(function)
    def traced(*arguments: Any, **options: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(*arguments, **options)

    return traced  # type: ignore[return-value]


class Point(NamedTuple):
    """Models at points of their weights, stacked over trials: every leaf has a leading axis (trials,)."""

    model: Any
    loss: Any
    penalty: Any
    params: Any
    state: Any


class Slope(NamedTuple):
    """Value and slope of the objective at each trial's point."""

    data: jax.Array  # (trials, chunks): sums to the data loss
    penalty: jax.Array  # (trials,)
    squares: jax.Array  # (trials,) ‖distance of −gradient of the data loss to ∂P‖²: ‖gradient‖² where P is smooth


def stack_models(models: Sequence[FittedModel], dtype: Any) -> Point:
    """Stack models of one structure; the recipes' numbers stay float64 until the program takes them."""
    numbers = [(one.recipe.model, one.recipe.loss, one.recipe.penalty) for one in models]
    parts = jax.tree.map(lambda *leaves: np.asarray(leaves, np.float64), *numbers)
    weights = jax.tree.map(lambda *leaves: np.stack(leaves).astype(dtype), *[(m.params, m.model_state) for m in models])
    return Point(*parts, *weights)


def flat(params: Any, dtype: Any = np.float64) -> np.ndarray:
    """Return a tree of arrays as one vector (n,), leaf after leaf."""
    return np.concatenate([np.asarray(leaf, dtype).ravel() for leaf in jax.tree.leaves(params)])


def chunk_rows(examples: int, vectors: int, one_by_one: bool) -> int:
    """Return how many examples a pass takes at a time, so that the activations of all vectors stay a few megabytes."""
    most = 256 if one_by_one else 16384 // max(1, vectors)
    return max(1, min(examples, max(64, min(1024, most))))


@partial(jax.jit, static_argnames=("rows",))
@_precise
def products(point: Point, examples: Examples, vectors: jax.Array, rows: int) -> jax.Array:
    """Return H v for vectors (trials, P, n), exactly: the gradient of ⟨gradient, v⟩ (Pearlmutter 1994).

    Reverse over reverse mode, since a model may define its backward pass alone, as our convolutions do; forward
    over reverse was no faster on linear models and networks.
    """
    in_turn = _in_turn(point)

    def one(trial: Point, directions: jax.Array) -> jax.Array:
        def along(function: Callable[[Any], jax.Array]) -> jax.Array:
            _, back = ravel_pytree(trial.params)

            def inner(params: Any, vector: jax.Array) -> jax.Array:
                pairs = zip(jax.tree.leaves(jax.grad(function)(params)), jax.tree.leaves(back(vector)), strict=True)
                return sum((jnp.sum(g * v) for g, v in pairs), start=jnp.zeros((), vector.dtype))

            def product(vector: jax.Array) -> jax.Array:
                return ravel_pytree(jax.grad(inner)(trial.params, vector))[0]

            return jax.lax.map(product, directions) if in_turn else jax.vmap(product)(directions)

        def add(total: jax.Array, index: jax.Array) -> tuple[jax.Array, None]:
            batch = _batch(examples, index, directions.dtype)
            return total + along(lambda params: _data_loss(trial, params, *batch)), None

        first = along(lambda params: penalty_value(trial.penalty, params).astype(directions.dtype))
        return jax.lax.scan(add, first, _places(examples, rows))[0]

    return _over_trials(point, one, (point, vectors))


@partial(jax.jit, static_argnames=("rows",))
@_precise
def slope(point: Point, examples: Examples, rows: int) -> Slope:
    """Return value and slope at every trial's point."""
    dtype = jax.tree.leaves(point.params)[0].dtype

    def one(trial: Point) -> Slope:
        def add(total: Any, index: jax.Array) -> tuple[Any, jax.Array]:
            batch = _batch(examples, index, dtype)
            loss, gradient = jax.value_and_grad(lambda params: _data_loss(trial, params, *batch))(trial.params)
            return jax.tree.map(jnp.add, total, gradient), loss

        zero = jax.tree.map(jnp.zeros_like, trial.params)
        gradient, losses = jax.lax.scan(add, zero, _places(examples, rows))
        entries = jax.tree.map(
            lambda leaf, counts, g: trial.penalty.residual(leaf, g) if counts else g,
            trial.params,
            weight_mask(trial.params),
            gradient,
        )
        squares = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(entries))
        return Slope(losses, penalty_value(trial.penalty, trial.params), jnp.asarray(squares))

    found: Slope = _over_trials(point, one, (point,))
    return found


def values(point: Point, examples: Examples, places: np.ndarray, rows: int, width: int = 32) -> np.ndarray:
    """Return the objective (G,) float64 of the first trial's model at weights ``places`` (G, n), a few at a time."""
    dtype = jax.tree.leaves(point.params)[0].dtype
    trial = jax.tree.map(lambda leaf: leaf[0], point)
    found = []
    for start in range(0, len(places), width):
        block = places[start : start + width]
        full = np.resize(block, (width, places.shape[1])).astype(dtype)  # one shape, so one program
        data, penalty = _values(trial, examples, full, rows)
        sums = np.asarray(data, np.float64).sum(axis=1) + np.asarray(penalty, np.float64)
        found.append(sums[: len(block)])
    return np.concatenate(found)


@partial(jax.jit, static_argnames=("rows",))
@_precise
def _values(trial: Point, examples: Examples, places: jax.Array, rows: int) -> tuple[jax.Array, jax.Array]:
    _, back = ravel_pytree(trial.params)
    points = jax.vmap(back)(places)

    def one(params: Any) -> tuple[jax.Array, jax.Array]:
        def loss(index: jax.Array) -> jax.Array:
            return _data_loss(trial, params, *_batch(examples, index, places.dtype))

        return jax.lax.map(loss, _places(examples, rows)), penalty_value(trial.penalty, params)

    found: tuple[jax.Array, jax.Array] = jax.lax.map(one, points) if _in_turn(trial) else jax.vmap(one)(points)
    return found


def _data_loss(trial: Point, params: Any, x: jax.Array, labels: jax.Array, weight: jax.Array) -> jax.Array:
    scores, _ = trial.model.apply(params, trial.state, x, key=None, training=False)
    return jnp.sum(weight * trial.loss(scores, labels))


def _places(examples: Examples, rows: int) -> jax.Array:
    """The places (chunks, rows) of all examples; beyond the last stand places that `_batch` gives weight 0."""
    chunks = -(-len(examples.labels) // rows)
    return jnp.arange(chunks * rows, dtype=jnp.int32).reshape(chunks, rows)


def _batch(examples: Examples, index: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Preprocessed features, labels, and each example's share of the mean."""
    count = len(examples.labels)
    inside = jnp.minimum(index, count - 1)
    x, labels = examples.batch(inside)
    share = jnp.where(index < count, 1.0, 0.0).astype(dtype) / count
    if examples.weights is not None:
        share = share * examples.weights[inside].astype(dtype)
    return x.astype(dtype), labels, share


def _in_turn(point: Point) -> bool:
    return bool(getattr(point.model, "one_by_one", False))


def _over_trials(point: Point, one: Callable[..., Any], stacked: tuple[Any, ...]) -> Any:
    """Call ``one`` for every trial: all at once, or in turn where the model asks for it."""
    if _in_turn(point):
        return jax.lax.map(lambda trial: one(*trial), stacked)
    return jax.vmap(one)(*stacked)

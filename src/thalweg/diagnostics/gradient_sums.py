"""Gradients of single examples and of drawn minibatches, as sums and squared norms: they are never all held at once."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.diagnostics.objective import flat
from thalweg.errors import DataError
from thalweg.models import Linear
from thalweg.penalties import is_smooth, penalty_gradient
from thalweg.recipe import Recipe
from thalweg.training.program import Examples

__all__ = ["GroupSums", "Point", "batch_squares", "group_sums", "penalty_slope"]

_BYTES = 1 << 26  # of gradients formed at once
_MOST = 1024  # examples at once: enough to fill the processor


class Point(NamedTuple):
    """Weights, and the examples whose loss is taken there."""

    recipe: Recipe
    params: Any
    model_state: Any
    examples: Examples

    @property
    def parameters(self) -> int:
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.params))


class GroupSums(NamedTuple):
    """What is kept of the gradients g_i of N examples in K groups."""

    sums: np.ndarray  # (K, parameters) float64: Σ g_i over a group
    squares: np.ndarray  # (K,) float64: Σ ‖g_i‖²
    counts: np.ndarray  # (K,)


def group_sums(point: Point, groups: list[np.ndarray]) -> GroupSums:
    """Sum the gradients and their squared norms over groups of examples, each given by its rows.

    For a linear model both have a closed form: with δ the slope of the loss in the scores (p − e_y for
    softmax) the gradient is δ xᵀ, and ‖g‖² = ‖δ‖² (‖x‖² + 1), the 1 for the bias. Any other model's
    gradients are formed, some at a time. Dropout and the like are off.
    """
    chunk = _chunk_size(point, max(map(len, groups)))
    sums, squares = [], []
    for rows in groups:
        total, square = np.zeros(point.parameters), 0.0
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            weight = (np.arange(chunk) < len(part)).astype(np.float32)
            rows_now = np.resize(part, chunk).astype(np.int32)
            with jax.default_matmul_precision("highest"):  # an accelerator's ten bits would pass for noise
                gradient, norms = _sums(*_parts(point), rows_now, weight, linear=_is_linear(point))
            total += flat(gradient)
            square += float(norms)
        if not np.isfinite(square):
            raise DataError(
                "the gradient of an example is not finite: the weights or the features are too large, or not numbers"
            )
        sums.append(total)
        squares.append(square)
    return GroupSums(np.stack(sums), np.array(squares), np.array([len(rows) for rows in groups]))


def batch_squares(point: Point, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ‖Σ_i w_i g_i + ∂P‖² (D,) of D minibatches: rows (D, B) and weights (D, B), 0 for a place unused."""
    slope = jax.tree.map(jnp.asarray, penalty_slope(point))
    with jax.default_matmul_precision("highest"):
        found = _batches(*_parts(point), slope, rows.astype(np.int32), weights.astype(np.float32))
    return np.asarray(found, np.float64)


def penalty_slope(point: Point) -> Any:
    """Return the gradient of the recipe's penalty as a tree like params; 0 where training takes a proximal step."""
    if is_smooth(point.recipe.penalty):
        return penalty_gradient(point.recipe.penalty, jax.tree.map(jnp.asarray, point.params))
    return jax.tree.map(jnp.zeros_like, point.params)


def _is_linear(point: Point) -> bool:
    return isinstance(point.recipe.model, Linear)


def _chunk_size(point: Point, longest: int) -> int:
    """As many examples at once as memory allows, a power of two, not far beyond what the longest group needs."""
    most = _MOST if _is_linear(point) else min(_MOST, max(1, _BYTES // (4 * point.parameters)))
    return min(1 << (most.bit_length() - 1), 1 << (longest - 1).bit_length())


def _parts(point: Point) -> tuple[Any, ...]:
    return point.recipe.model, point.recipe.loss, point.params, point.model_state, point.examples


def _weighted(examples: Examples, rows: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, labels = examples.batch(rows)
    return x, labels, weight if examples.weights is None else weight * examples.weights[rows]


@partial(jax.jit, static_argnames="linear")
def _sums(
    model: Any, loss: Any, params: Any, state: Any, examples: Examples, rows: jax.Array, weight: jax.Array, linear: bool
) -> tuple[Any, jax.Array]:
    """Return Σ g_i as a tree, and Σ ‖g_i‖²."""
    x, labels, weight = _weighted(examples, rows, weight)
    if linear:
        return _linear_sums(model, loss, params, x, labels, weight)

    def one(x: jax.Array, label: jax.Array, weight: jax.Array) -> Any:
        def value(params: Any) -> jax.Array:
            scores, _ = model.apply(params, state, x[None], key=None, training=False)
            return weight * loss(scores, label[None])[0]

        return jax.grad(value)(params)

    gradients = jax.vmap(one)(x, labels, weight)
    squares = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradients))
    return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), gradients), jnp.asarray(squares)


def _linear_sums(
    model: Any, loss: Any, params: Any, x: jax.Array, labels: jax.Array, weight: jax.Array
) -> tuple[Any, jax.Array]:
    x = x.reshape(x.shape[0], -1)  # (B, features)
    scores, _ = model.apply(params, (), x, key=None, training=False)
    slope = jax.grad(lambda scores: jnp.sum(weight * loss(scores, labels)))(scores)  # δ, (B, classes)
    lengths = jnp.sum(x * x, axis=1) + (1 if "bias" in params else 0)
    sums = {"weight": slope.T @ x}
    if "bias" in params:
        sums["bias"] = jnp.sum(slope, axis=0)
    return sums, jnp.sum(jnp.sum(slope * slope, axis=1) * lengths)


@jax.jit
def _batches(
    model: Any,
    loss: Any,
    params: Any,
    state: Any,
    examples: Examples,
    slope: Any,
    rows: jax.Array,
    weights: jax.Array,
) -> jax.Array:
    def one(batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, labels, weight = _weighted(examples, *batch)

        def value(params: Any) -> jax.Array:
            scores, _ = model.apply(params, state, x, key=None, training=False)
            return jnp.sum(weight * loss(scores, labels))

        gradient = jax.tree.map(jnp.add, jax.grad(value)(params), slope)
        return jnp.asarray(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(gradient)))

    return jax.lax.map(one, (rows, weights))

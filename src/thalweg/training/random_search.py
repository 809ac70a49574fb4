"""Random search: draw weights, keep the best, use no gradient.

An epoch draws `candidates` sets of parameters from scale · N(0, 1), scores the
whole training set with all of them (the weights of a linear model's candidates
stack into one matrix product), and keeps the one with the lowest full loss if
it beats what earlier epochs found.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from thalweg.penalties import penalty_value
from thalweg.recipe import Recipe
from thalweg.training.program import Examples, TrialState

__all__ = ["search_epoch"]


@partial(jax.jit, static_argnums=(5,))
def search_epoch(
    recipe: Recipe, state: TrialState, best: jax.Array, examples: Examples, key: jax.Array, rows: int
) -> tuple[TrialState, jax.Array, jax.Array]:
    """Draw and score one epoch's candidates for every trial.

    ``best`` (trials,) is the lowest full loss so far. Returns the state with
    the best parameters, the lowest full loss, and its data part.
    """

    def one(inputs: tuple[Recipe, TrialState, jax.Array]) -> tuple[TrialState, jax.Array, jax.Array]:
        recipe, trial, best = inputs
        losses, drawn = _score(recipe, trial, examples, key, rows)
        full = losses + jax.vmap(lambda params: penalty_value(recipe.penalty, params))(drawn)
        place = jnp.nanargmin(full)
        better = trial.alive & (full[place] < best)
        params = jax.tree.map(lambda new, old: jnp.where(better, new[place], old), drawn, trial.params)
        lowest = jnp.where(better, full[place], best)
        return trial._replace(params=params), lowest, lowest - penalty_value(recipe.penalty, params)

    # One trial after another: a single trial's candidates already fill the machine.
    return jax.lax.map(one, (recipe, state, best))


def _score(recipe: Recipe, trial: TrialState, examples: Examples, key: jax.Array, rows: int) -> tuple[jax.Array, Any]:
    """Return each candidate's mean data loss over all examples, and the candidates."""
    leaves, structure = jax.tree.flatten(trial.params)
    count = recipe.optimizer.candidates
    keys = jax.random.split(key, len(leaves))
    drawn = jax.tree.unflatten(
        structure,
        [
            recipe.optimizer.scale * jax.random.normal(k, (count, *leaf.shape))
            for k, leaf in zip(keys, leaves, strict=True)
        ],
    )
    total = len(examples.labels)
    chunks = -(-total // rows)
    index = jnp.arange(chunks * rows, dtype=jnp.int32).reshape(chunks, rows)

    def chunk(index: jax.Array) -> jax.Array:
        x, labels = examples.batch(jnp.minimum(index, total - 1))

        def loss(params: Any) -> jax.Array:
            scores, _ = recipe.model.apply(params, trial.model_state, x, key=None, training=False)
            losses = recipe.loss(scores, labels)
            if examples.weights is not None:
                losses = losses * examples.weights[jnp.minimum(index, total - 1)]
            return jnp.sum(jnp.where(index < total, losses, 0.0))

        return jax.vmap(loss)(drawn)

    return jnp.sum(jax.lax.map(chunk, index), axis=0) / total, drawn

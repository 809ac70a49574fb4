"""Training whose data come in portions: one recipe, one pass over each portion as it arrives."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import DivergedError, UsageError
from thalweg.optimizers import RandomSearch
from thalweg.recipe import FULL_BATCH, Recipe, bind
from thalweg.schedules import Schedule
from thalweg.training.batches import epoch_batches
from thalweg.training.cohort import Cohort, group
from thalweg.training.program import Block, Examples, TrialState, has_judged, initialise, judged, train_block

__all__ = ["Progressed", "begin", "learn"]


class Progressed(NamedTuple):
    """Where the training stands between two portions: arrays on the host, so that it can be copied and kept."""

    state: TrialState
    steps: int  # taken
    portions: int  # seen


def begin(recipe: Recipe, shape: tuple[int, ...], classes: int, start: Any = None) -> Progressed:
    """Return the state before the first portion; ``start`` is (params, model_state) to begin from, if any.

    Raises a UsageError for what needs to know how long the training is.
    """
    if isinstance(recipe.optimizer, RandomSearch):
        raise UsageError("random search judges candidates on all examples: it cannot learn from portions")
    _check_endless(recipe)
    cohort = _cohort(recipe, 1)
    key = jax.random.fold_in(jax.random.key(cohort.seed), 0)
    state = initialise(cohort.recipe, key, shape, classes)
    if start is not None:
        params, model_state = jax.tree.map(lambda leaf: np.asarray(leaf)[None], start)
        state = state._replace(params=params, model_state=model_state)
    return Progressed(_host(state), 0, 0)


def learn(recipe: Recipe, before: Progressed, examples: Examples) -> tuple[Progressed, Any, Any, float]:
    """Train once through a portion; return where it stands, its (params, model_state), and the mean data loss."""
    count = len(examples.labels)
    cohort = _cohort(recipe, count)
    size = count if recipe.batch_size == FULL_BATCH else recipe.batch_size  # a short portion fills one batch up
    batches = epoch_batches(count, size, seed=cohort.seed, epoch=before.portions)
    steps = len(batches.rows)
    rates = cohort.rates(np.arange(before.steps, before.steps + steps))
    block = Block(batches.rows, batches.weight, rates, np.asarray(before.steps, np.int32))
    key = jax.random.fold_in(jax.random.key(cohort.seed), 1)
    state, losses, _ = train_block(cohort.recipe, jax.tree.map(jnp.asarray, before.state), examples, block, key)
    after = _host(state)
    # The last step's weights meet no loss that would show them, and an optimizer's moments may overflow alone.
    if not (after.alive.all() and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))):
        raise DivergedError(
            "the loss, the weights or the optimizer's state left the finite numbers in this portion; what was learned "
            "before it is kept: give a lower learning rate, or features on an ordinary scale"
        )
    kept = judged(cohort.recipe, state) if has_judged(cohort.recipe) else (state.params, state.model_state)
    params, model_state = jax.tree.map(lambda leaf: np.asarray(leaf[0]), kept)
    share = batches.weight.sum(axis=1, dtype=np.float64) / count
    loss = float(share @ np.asarray(losses, np.float64)[:, 0])
    return Progressed(after, before.steps + steps, before.portions + 1), params, model_state, loss


def _cohort(recipe: Recipe, examples: int) -> Cohort:
    (cohort,) = group([bind(recipe, examples)])
    return cohort


def _check_endless(recipe: Recipe) -> None:
    """Refuse schedules that hang on the length of the run or of an epoch: no portion tells them."""
    sizes = (1 if recipe.batch_size == FULL_BATCH else int(recipe.batch_size), 10**6)
    leaves = [jax.tree.leaves(_schedules(bind(recipe, examples))) for examples in sizes]
    if leaves[0] != leaves[1]:
        raise UsageError(
            "the learning-rate schedule follows the whole run (or epochs), and training in portions does not know how "
            "long that is: take a constant rate, or give the schedule its length in steps"
        )


def _schedules(tree: Any) -> list[Schedule]:
    found = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Schedule))
    return [node for node in found if isinstance(node, Schedule)]


def _host(state: TrialState) -> TrialState:
    host: TrialState = jax.tree.map(np.asarray, state)
    return host

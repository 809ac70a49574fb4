"""The compiled program of a cohort: a scan over minibatches of a step mapped over trials.

Nothing here is specific to an optimizer, a loss or a model. The features are
read once a step for all trials, and vmap turns the trials' products with them
into one matrix product. Data, order and recipes are arguments, so the program
is compiled once for a cohort's shapes and serves all epochs and seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.optimizers import RandomSearch
from thalweg.penalties import is_smooth, penalty_gradient, penalty_prox, penalty_value, weight_mask
from thalweg.recipe import Recipe
from thalweg.schedules import Given

__all__ = [
    "Block", "Evaluation", "Examples", "Inputs", "StepMetrics", "TrialState", "evaluate", "has_judged", "initialise",
    "judged", "train_block",
]  # fmt: skip

Array: TypeAlias = Any  # a jax.Array inside the program, a NumPy array on the host


class Examples(NamedTuple):
    """Features as they lie in memory, with what turns them into a model's input."""

    features: Array  # (N, *feature_shape), uint8 or float32
    labels: Array  # (N,) int32
    shift: Array  # preprocessing: (x − shift) · scale
    scale: Array
    weights: Array | None = None  # (N,) float32 of mean 1: how much each example's loss counts; None: all alike

    def batch(self, rows: Array) -> tuple[jax.Array, jax.Array]:
        """Return the preprocessed features and the labels of the given examples."""
        x = self.features[rows].astype(jnp.float32)
        shift, scale = (jnp.broadcast_to(a, x.shape[1:])[None] for a in (self.shift, self.scale))
        return (x - shift) * scale, self.labels[rows]


class Inputs(NamedTuple):
    """What trials of one choice of features learn from and are judged on (None: on nothing)."""

    training: Examples
    validation: Examples | None


class Block(NamedTuple):
    """What one call of the program works through."""

    rows: Array  # (steps, batch) int32
    weight: Array  # (steps, batch): 0 for a place filled up
    rates: Array  # (steps, trials)
    first_step: Array  # scalar int32, counted from the beginning of the run


class TrialState(NamedTuple):
    """All that changes while a trial trains; stacked over trials."""

    params: Any
    model_state: Any
    optimizer_state: Any
    average: Any  # of (params, model_state), where the recipe averages; else ()
    alive: Array  # bool: False freezes the trial
    diverged_at: Array  # int32: the step, or −1


class StepMetrics(NamedTuple):
    """Norms at one step, per trial."""

    gradient_norm: Array
    weight_norm: Array
    update_ratio: Array  # ‖W' − W‖ / ‖W‖
    penalty: Array


class Evaluation(NamedTuple):
    """Scores on held examples, per trial."""

    loss: Array  # (trials,) mean data loss, weighted where the examples are
    correct: Array  # (trials, N) bool


@partial(jax.jit, static_argnums=(2, 3))
def initialise(recipe: Recipe, key: jax.Array, input_shape: tuple[int, ...], classes: int) -> TrialState:
    """Return the stacked state before the first step; one key gives every trial the same draw."""

    def one(recipe: Recipe) -> TrialState:
        params, model_state = recipe.model.init(key, input_shape, classes)
        searching = isinstance(recipe.optimizer, RandomSearch)  # no step rule, so no state of one
        state = () if searching else recipe.optimizer.init(params)
        average = recipe.averaging.init((params, model_state)) if recipe.averaging is not None else ()
        return TrialState(params, model_state, state, average, jnp.asarray(True), jnp.asarray(-1, jnp.int32))

    return jax.vmap(one, axis_size=_width(recipe))(recipe)


@partial(jax.jit, donate_argnums=(1,))
def train_block(
    recipe: Recipe, state: TrialState, examples: Examples, block: Block, key: jax.Array
) -> tuple[TrialState, jax.Array, StepMetrics]:
    """Train through a block; return the state, data losses (steps, trials) and the last step's norms.

    The last step stands outside the scan: norms cost several passes over the
    weights, which is too much to pay at every step.
    """
    inputs = (block.rows, block.weight, block.rates, block.first_step + jnp.arange(len(block.rows)))

    def body(state: TrialState, row: tuple[jax.Array, ...]) -> tuple[TrialState, jax.Array]:
        state, loss, _ = _step(recipe, state, examples, row, key, measure=False)
        return state, loss

    state, losses = jax.lax.scan(body, state, jax.tree.map(lambda leaf: leaf[:-1], inputs))
    state, loss, metrics = _step(
        recipe, state, examples, jax.tree.map(lambda leaf: leaf[-1], inputs), key, measure=True
    )
    return state, jnp.concatenate([losses, loss[None]]), metrics


def _step(
    recipe: Recipe, state: TrialState, examples: Examples, row: tuple[jax.Array, ...], key: jax.Array, *, measure: bool
) -> tuple[TrialState, jax.Array, Any]:
    rows, weight, rates, number = row
    count = jnp.sum(weight)
    if examples.weights is not None:
        # Divided by the number of examples, not by their weights: so the batches' losses add up to the whole one.
        weight = weight * examples.weights[rows]
    step_key, image_key = jax.random.split(jax.random.fold_in(key, number))
    x, labels = examples.batch(rows)
    if recipe.augmentation is not None:
        x = recipe.augmentation(x, image_key)

    def one(recipe: Recipe, trial: TrialState, rate: jax.Array) -> tuple[TrialState, jax.Array, Any]:
        return _trial_step(recipe, trial, rate, x, labels, weight, count, number, step_key, measure=measure)

    return _over_trials(recipe, one, (recipe, state, rates))


def _trial_step(
    recipe: Recipe,
    trial: TrialState,
    rate: jax.Array,
    x: jax.Array,
    labels: jax.Array,
    weight: jax.Array,
    count: jax.Array,
    number: jax.Array,
    key: jax.Array,
    *,
    measure: bool,
) -> tuple[TrialState, jax.Array, StepMetrics | None]:
    """One step of one trial: gradient, optimizer, proximal step, and the mask."""

    def data_loss(params: Any) -> tuple[jax.Array, Any]:
        scores, model_state = recipe.model.apply(params, trial.model_state, x, key=key, training=True)
        return jnp.sum(weight * recipe.loss(scores, labels)) / count, model_state

    (loss, model_state), gradient = jax.value_and_grad(data_loss, has_aux=True)(trial.params)
    if is_smooth(recipe.penalty):
        gradient = jax.tree.map(jnp.add, gradient, penalty_gradient(recipe.penalty, trial.params))
    full = gradient
    if recipe.clip is not None:
        gradient = _clipped(gradient, recipe.clip)
    optimizer = with_rate(recipe.optimizer, rate)
    seen: tuple[Any, ...] = ()
    if getattr(optimizer, "observes", False):
        seen = (optimizer.observe(recipe, trial.params, trial.model_state, x, labels, weight, number, key),)
    updates, optimizer_state = optimizer.update(gradient, trial.optimizer_state, trial.params, *seen)
    params = jax.tree.map(jnp.add, trial.params, updates)
    if not is_smooth(recipe.penalty):
        params = penalty_prox(recipe.penalty, params, optimizer.step_size(optimizer_state, params))

    # A trial whose loss is not finite keeps what it had: its weights are lost already, but as a
    # select it cannot touch the other trials' numbers, and its own stop changing.
    finite = jnp.isfinite(loss)
    alive = trial.alive & finite
    diverged_at = jnp.where(trial.alive & ~finite, number.astype(jnp.int32), trial.diverged_at)
    metrics = _norms(recipe, trial.params, params, full) if measure else None
    # The optimizer's state goes on, since a frozen trial is never resumed: masking it would cost a pass over memory.
    average = trial.average
    if recipe.averaging is not None:
        average = recipe.averaging.update(average, (params, model_state))
    new, old = (params, model_state, average), (trial.params, trial.model_state, trial.average)
    params, model_state, average = jax.tree.map(lambda new, old: jnp.where(alive, new, old), new, old)
    return TrialState(params, model_state, optimizer_state, average, alive, diverged_at), loss, metrics


@jax.jit
def judged(recipe: Recipe, state: TrialState) -> tuple[Any, Any]:
    """Return the stacked (params, model_state) that validation judges and the records keep.

    They are the optimizer's choice, where it has one (``judged``), and the average, where the recipe takes one.
    """

    def one(recipe: Recipe, trial: TrialState) -> tuple[Any, Any]:
        params = trial.params
        if hasattr(recipe.optimizer, "judged"):
            params = recipe.optimizer.judged(trial.optimizer_state, params)
        if recipe.averaging is not None:
            return recipe.averaging.value(trial.average, (params, trial.model_state))
        return params, trial.model_state

    return jax.vmap(one, axis_size=_width(recipe, state))(recipe, state)


def has_judged(recipe: Recipe) -> bool:
    """True where what is judged is not the state's own params, so that it must be formed."""
    return recipe.averaging is not None or hasattr(recipe.optimizer, "judged")


def _clipped(gradient: Any, most: jax.Array) -> Any:
    """Shorten a gradient that is longer than ``most`` to that length."""
    # By the largest entry first: the square of 1e20 is no float32.
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(gradient)]))
    largest = jnp.where(largest > 0, largest, 1)
    small = jax.tree.map(lambda leaf: leaf / largest.astype(leaf.dtype), gradient)
    norm = _norm(small)
    factor = jnp.minimum(largest, most / jnp.maximum(norm, 1e-30))
    return jax.tree.map(lambda leaf: factor.astype(leaf.dtype) * leaf, small)


def with_rate(optimizer: Any, rate: jax.Array) -> Any:
    """Put this step's learning rate in the place that the cohort left open."""
    if not isinstance(getattr(optimizer, "learning_rate", None), Given):
        return optimizer
    return eqx.tree_at(lambda o: o.learning_rate.value, optimizer, rate)


def _norms(recipe: Recipe, before: Any, after: Any, gradient: Any) -> StepMetrics:
    mask = weight_mask(after)
    weights = _norm(after, mask)
    moved = _norm(jax.tree.map(jnp.subtract, after, before), mask)
    return StepMetrics(
        gradient_norm=_norm(gradient),
        weight_norm=weights,
        update_ratio=moved / jnp.maximum(_norm(before, mask), 1e-30),
        penalty=penalty_value(recipe.penalty, after),
    )


def _norm(tree: Any, mask: Any = None) -> jax.Array:
    leaves = jax.tree.leaves(tree)
    chosen = [True] * len(leaves) if mask is None else jax.tree.leaves(mask)
    total = sum(jnp.sum(leaf * leaf) for leaf, take in zip(leaves, chosen, strict=True) if take)
    return jnp.sqrt(jnp.asarray(total, jnp.float32))


@partial(jax.jit, static_argnums=(4,))
def evaluate(recipe: Recipe, params: Any, model_state: Any, examples: Examples, rows: int) -> Evaluation:
    """Score all examples with every trial, ``rows`` at a time (dropout and the like off).

    The last chunk is filled up with repeats of the last example, whose scores are dropped.
    """
    count = len(examples.labels)
    chunks = -(-count // rows)
    index = jnp.minimum(jnp.arange(chunks * rows, dtype=jnp.int32), count - 1).reshape(chunks, rows)

    def chunk(index: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, labels = examples.batch(index)

        def one(recipe: Recipe, params: Any, model_state: Any) -> tuple[jax.Array, jax.Array]:
            scores, _ = recipe.model.apply(params, model_state, x, key=None, training=False)
            return recipe.loss(scores, labels), jnp.argmax(scores, axis=-1) == labels

        return _over_trials(recipe, one, (recipe, params, model_state))

    losses, correct = jax.lax.map(chunk, index)  # (chunks, trials, rows)
    losses, correct = (jnp.moveaxis(a, 1, 0).reshape(a.shape[1], -1)[:, :count] for a in (losses, correct))
    if examples.weights is not None:
        losses = losses * examples.weights[None]
    return Evaluation(jnp.mean(losses, axis=1), correct)


def _over_trials(recipe: Recipe, one: Callable[..., Any], stacked: tuple[Any, ...]) -> Any:
    """Call ``one`` for every trial: all at once, or in turn where the model asks for it."""
    if getattr(recipe.model, "one_by_one", False):
        return jax.lax.map(lambda trial: one(*trial), stacked)
    return jax.vmap(one, axis_size=_width(stacked))(*stacked)


def _width(*trees: Any) -> int:
    """The number of trials: the leading size of any leaf."""
    return jax.tree.leaves(trees)[0].shape[0]

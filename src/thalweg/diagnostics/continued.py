"""A trial trained on from its kept weights, at its rate and at one that falls to 0: what its steps' noise costs."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.diagnostics.case import Case
from thalweg.diagnostics.further import Sample, losses_and_hits, model_input, sample
from thalweg.recipe import bind
from thalweg.training.batches import epoch_batches
from thalweg.training.cohort import group, stack
from thalweg.training.program import Block, Examples, evaluate, has_judged, initialise, judged, train_block
from thalweg.training.train import scaled_weights

__all__ = ["Continued", "continue_at", "step_count"]

_EPOCHS, _LEAST, _MOST = 3, 200, 600  # epochs to go on, within these numbers of steps
_STOPS = 4  # looks on the way: a loss that hovers is judged by its mean


class Continued(NamedTuple):
    """Mean data losses, weighted where the examples are: ``hovering`` (stops + 1,) at the constant rate, the first at
    the kept weights, and ``settled`` after a rate that fell to 0; on training and on held-out examples (NaN without
    these)."""

    steps: int
    hovering: np.ndarray
    settled: float
    held_hovering: np.ndarray
    held_settled: float


def continue_at(case: Case, rate: float, held: str | None = "validation") -> Continued:
    """Train two copies on over the same batches, one at ``rate`` and one at a rate that falls linearly from it to 0.

    The optimizer's state begins anew for both. Three epochs, but at least 200 and at most 600 steps. ``held`` is the
    split of held-out examples, if any.
    """
    assert case.model is not None
    fitted = case.model
    x, labels = case.inputs["train"]
    weights = dict(case.data.splits())["train"].weights if case.data is not None else None
    one = jnp.ones((), jnp.float32)
    examples = Examples(jnp.asarray(x), jnp.asarray(labels), 0 * one, one, scaled_weights(weights))
    (cohort,) = group([bind(fitted.recipe, len(labels))] * 2)
    state = initialise(cohort.recipe, jax.random.key(0), model_input(case).shape[1:], len(fitted.classes))
    params, model_state = (jax.tree.map(jnp.asarray, stack([tree] * 2)) for tree in (fitted.params, fitted.model_state))
    state = state._replace(params=params, model_state=model_state)
    blocks = _blocks(len(labels), int(cohort.batch_size), rate)
    judges = [sample(case, name) for name in ("train", held) if name is not None and name in case.inputs]
    found = [[float(np.mean(one.weights * losses_and_hits(case, fitted.params, one)[0])) for one in judges]] * 2
    seen = [np.array(found)]
    for block in blocks:
        state, _, _ = train_block(cohort.recipe, state, examples, block, jax.random.key(1))
        seen.append(_judged(cohort.recipe, state, judges))
    losses = np.stack(seen)  # (stops + 1, copies, splits)
    unseen = losses[:, :, 1] if len(judges) > 1 else np.full(losses.shape[:2], np.nan)
    steps = sum(len(block.rows) for block in blocks)
    return Continued(steps, losses[:, 0, 0], float(losses[-1, 1, 0]), unseen[:, 0], float(unseen[-1, 1]))


def step_count(examples: int, batch: int) -> int:
    """Return how many steps `continue_at` takes."""
    steps = min(max(_EPOCHS * -(-examples // batch), _LEAST), _MOST)
    return steps - steps % _STOPS


def _blocks(examples: int, batch: int, rate: float) -> list[Block]:
    """The batches of all steps in ``_STOPS`` equal blocks, with both copies' rates."""
    per_epoch, steps = -(-examples // batch), step_count(examples, batch)
    epochs = [epoch_batches(examples, batch, seed=1, epoch=epoch) for epoch in range(-(-steps // per_epoch))]
    rows = np.concatenate([one.rows for one in epochs])[:steps]
    weight = np.concatenate([one.weight for one in epochs])[:steps]
    falling = rate * (1 - np.arange(steps) / steps)
    rates = np.stack([np.full(steps, rate), falling], axis=1).astype(np.float32)
    size = steps // _STOPS
    return [
        Block(rows[at : at + size], weight[at : at + size], rates[at : at + size], np.asarray(at, np.int32))
        for at in range(0, steps, size)
    ]


def _judged(recipe: Any, state: Any, judges: list[Sample]) -> np.ndarray:
    """The mean data loss (copies, splits)."""
    params, model_state = judged(recipe, state) if has_judged(recipe) else (state.params, state.model_state)
    one = jnp.ones((), jnp.float32)
    found = []
    for judge in judges:
        weights = jnp.asarray(judge.weights, jnp.float32)
        examples = Examples(jnp.asarray(judge.x), jnp.asarray(judge.labels), 0 * one, one, weights)
        found.append(np.asarray(evaluate(recipe, params, model_state, examples, len(judge.labels)).loss, np.float64))
    return np.stack(found, axis=1)

"""One cohort (or a chunk of one) in training: its state, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.optimizers import RandomSearch
from thalweg.penalties import weight_mask
from thalweg.training.batches import epoch_batches
from thalweg.training.cohort import Cohort
from thalweg.training.program import (
    Block,
    Evaluation,
    Inputs,
    StepMetrics,
    TrialState,
    evaluate,
    has_judged,
    initialise,
    judged,
    train_block,
)
from thalweg.training.random_search import search_epoch
from thalweg.training.records import TrialRecord
from thalweg.training.settings import Settings
from thalweg.training.status import Status

__all__ = ["CohortRun"]

# Packing compiles a new program, which costs about as long as this many floating-point operations.
_PACK_PAYS = 1e11


class CohortRun:
    """The trials of one program: `epoch` trains them all once through the data.

    ``live`` marks the places that still train. A place that is done keeps its
    row, frozen by the mask, until packing pays.
    """

    def __init__(
        self,
        cohort: Cohort,
        records: Sequence[TrialRecord],
        inputs: Inputs,
        classes: int,
        rows: int,
        settings: Settings,
    ) -> None:
        self.cohort = cohort
        self.records = records
        self.train, self.validation = inputs
        self.rows = rows
        self.patience, self.tolerance = settings.patience, settings.tolerance
        self.epochs: int = cohort.epochs
        self.done_epochs = 0
        self.live = np.ones(len(cohort), bool)
        self.diverged = np.zeros(len(cohort), bool)
        self._key = jax.random.key(cohort.seed)
        self._shape, self._classes = self.train.features.shape[1:], classes
        self.state: TrialState | None = None  # made by the first epoch: a chunk that waits holds no memory
        self._best = np.full(len(cohort), np.inf)  # lowest validation loss, for patience
        self._best_params: Any = None
        self._formed: Any = None  # (params, model_state) of the last epoch, where they are not the state's own
        self._lowest = jnp.full(len(cohort), jnp.inf)  # lowest full loss, for random search
        self._correct: np.ndarray | None = None  # (trials, validation examples), by the weights that are kept

    def epoch(self) -> None:
        """Train all live trials for one epoch, evaluate them and write their metrics down."""
        if self.state is None:
            init_key = jax.random.fold_in(self._key, 0)
            self.state = initialise(self.cohort.recipe, init_key, self._shape, self._classes)
        if isinstance(self.cohort.recipe.optimizer, RandomSearch):
            losses, metrics, rate = self._search()
        else:
            losses, metrics, rate = self._descend()
        self.done_epochs += 1
        self._formed = judged(self.cohort.recipe, self.state) if has_judged(self.cohort.recipe) else None
        held = self._evaluate()
        self._write(losses, metrics, rate, held)
        self._mark_diverged(metrics.weight_norm if self.validation is None else held.loss)
        self._keep_best(held)
        self._stop_under_tolerance()

    def _judged(self) -> tuple[Any, Any]:
        """The (params, model_state) that validation judges and the records keep."""
        assert self.state is not None
        return (self.state.params, self.state.model_state) if self._formed is None else self._formed

    def _evaluate(self) -> Evaluation:
        """Judge all trials on the validation examples: by NaN and nothing where there are none."""
        if self.validation is None:
            width = len(self.cohort)
            return Evaluation(np.full(width, np.nan), np.zeros((width, 0), bool))
        held = evaluate(self.cohort.recipe, *self._judged(), self.validation, self.rows)
        return Evaluation(*(np.asarray(a) for a in held))

    def _accuracy(self, correct: np.ndarray) -> np.ndarray:
        """Return the share (trials,) of the validation examples that is right, by weight where they have weights."""
        if self.validation is None:
            return np.full(len(correct), np.nan)
        if self.validation.weights is None:
            return np.asarray(correct.mean(axis=1))
        weights = np.asarray(self.validation.weights, np.float64)
        return np.asarray(correct @ weights / weights.sum())

    def _descend(self) -> tuple[np.ndarray, StepMetrics, np.ndarray]:
        assert self.state is not None
        recipe = self.cohort.recipe
        batches = epoch_batches(
            len(self.train.labels), self.cohort.batch_size, seed=self.cohort.seed, epoch=self.done_epochs
        )
        steps = len(batches.rows)
        first = self.done_epochs * steps
        rates = self.cohort.rates(np.arange(first, first + steps))
        block = Block(batches.rows, batches.weight, rates, np.asarray(first, np.int32))
        step_key = jax.random.fold_in(self._key, 1)
        self.state, losses, metrics = train_block(recipe, self.state, self.train, block, step_key)
        counts = batches.weight.sum(axis=1, dtype=np.float64)
        mean = counts @ np.asarray(losses, np.float64) / counts.sum()
        return mean, StepMetrics(*(np.asarray(m) for m in metrics)), rates[-1]

    def _search(self) -> tuple[np.ndarray, StepMetrics, np.ndarray]:
        assert self.state is not None
        key = jax.random.fold_in(jax.random.fold_in(self._key, 2), self.done_epochs)
        self.state, self._lowest, data = search_epoch(
            self.cohort.recipe, self.state, self._lowest, self.train, key, self.rows
        )
        norms = np.sqrt(
            sum(np.sum(np.square(np.asarray(w)), axis=tuple(range(1, w.ndim))) for w in _weights(self.state))
        )
        nothing = np.full(len(self.cohort), np.nan)
        penalty = np.asarray(self._lowest) - np.asarray(data)
        return np.asarray(data), StepMetrics(nothing, norms, nothing, penalty), nothing

    def _write(self, losses: np.ndarray, metrics: StepMetrics, rate: np.ndarray, held: Evaluation) -> None:
        accuracy = self._accuracy(held.correct)
        row = {
            "data_loss": losses,
            "penalty": metrics.penalty,
            "validation_loss": held.loss,
            "validation_accuracy": accuracy,
            "learning_rate": rate,
            "gradient_norm": metrics.gradient_norm,
            "weight_norm": metrics.weight_norm,
            "update_ratio": metrics.update_ratio,
        }
        for place in np.flatnonzero(self.live).tolist():
            history = self._record(place).history
            for name, values in row.items():
                history[name].append(float(values[place]))
            if self.patience is None:
                self._record(place).kept_epoch = self.done_epochs

    def _mark_diverged(self, judged: np.ndarray) -> None:
        assert self.state is not None
        at = np.asarray(self.state.diverged_at)
        # A last step that overflows leaves no later loss to show it: the validation loss does, or the weights' norm.
        last = self.done_epochs * -(-len(self.train.labels) // self.cohort.batch_size) - 1
        for place in np.flatnonzero(self.live & ((at >= 0) | ~np.isfinite(judged))).tolist():
            self.diverged[place] = True
            step = int(at[place]) if at[place] >= 0 else last
            self._finish(place, Status.diverged(step, self.done_epochs))

    def _keep_best(self, held: Evaluation) -> None:
        """With patience, remember each trial's best weights, and stop those that no longer improve."""
        assert self.state is not None
        if self.patience is None:
            self._correct = np.asarray(held.correct)
            return
        better = self.live & (np.asarray(held.loss) < self._best)
        self._best = np.where(better, held.loss, self._best)
        now = self._judged()
        if self._best_params is None or self._correct is None:
            self._best_params = jax.tree.map(jnp.copy, now)  # the state's own buffers are given to the next block
            self._correct = np.array(held.correct)
        else:
            self._best_params = _select(better, now, self._best_params)
            self._correct[better] = held.correct[better]
        for place in np.flatnonzero(self.live).tolist():
            record = self._record(place)
            if better[place]:
                record.kept_epoch = self.done_epochs
            elif self.done_epochs - record.kept_epoch >= self.patience and self.done_epochs < self.epochs:
                self._finish(place, Status.stopped(self.done_epochs, record.kept_epoch, self.patience))

    def _stop_under_tolerance(self) -> None:
        if self.tolerance is None or self.done_epochs == self.epochs:
            return
        for place in np.flatnonzero(self.live).tolist():
            loss = self._record(place).history["data_loss"][-1]
            if loss < self.tolerance:
                self._finish(place, Status.reached(self.done_epochs, loss, self.tolerance))

    def finish(self) -> None:
        """Give every live trial its final status and weights."""
        for place in np.flatnonzero(self.live).tolist():
            self._finish(place, Status.completed(self.done_epochs))

    def release(self) -> None:
        """Let go of the state: the weights are in the records, and the memory serves the next cohort."""
        self.state = self._best_params = self._correct = self._formed = None

    def interrupt(self) -> None:
        """Mark every live trial as interrupted, with the weights it has."""
        for place in np.flatnonzero(self.live).tolist():
            self._finish(place, Status.interrupted(self.done_epochs, self.epochs))

    def prune(self, place: int, status: Status) -> None:
        """Drop the trial at a place."""
        self._finish(place, status)

    def _finish(self, place: int, status: Status) -> None:
        record = self._record(place)
        record.status = status
        self.live[place] = False
        if self.state is None or self._correct is None:
            return
        record.correct = self._correct[place].copy()
        kept = self._best_params if self._best_params is not None else self._judged()
        record.params, record.model_state = jax.tree.map(lambda leaf: np.asarray(leaf[place]), kept)

    def _record(self, place: int) -> TrialRecord:
        return self.records[self.cohort.numbers[place]]

    def settle(self) -> None:
        """Freeze the places that are done, or pack the live ones into a smaller program where that pays."""
        if self.state is None or self.live.all():
            return
        # Another width rounds differently, and a trial that diverges must not change a bit of the others: its row
        # counts as in use until rungs or early stops make packing pay without it.
        if self.live.any() and self._packing_pays(int((self.live | self.diverged).sum())):
            self._pack(np.flatnonzero(self.live))
        else:
            self.state = self.state._replace(alive=self.state.alive & jnp.asarray(self.live))

    def _packing_pays(self, used: int) -> bool:
        """Compare what a smaller program saves with what compiling it costs, in operations.

        Counted, not timed: the same run packs at the same epoch on every machine.
        """
        assert self.state is not None
        # A kernel meets every place of the image: at most, since later stages are smaller.
        places = math.prod(self._shape[:2])
        weights = sum(w[0].size * (places if w.ndim == 5 else 1) for w in jax.tree.leaves(self.state.params))
        saved = 4.0 * weights * len(self.train.labels) * (len(self.cohort) - used) * (self.epochs - self.done_epochs)
        return saved > _PACK_PAYS

    def _pack(self, places: np.ndarray) -> None:
        def take(leaf: Any) -> Any:
            return leaf[places]

        self.cohort = self.cohort.take(places)
        self.live, self.diverged = self.live[places], self.diverged[places]
        self.state = jax.tree.map(take, self.state)
        self._best, self._lowest = self._best[places], self._lowest[places]
        self._correct = None if self._correct is None else self._correct[places]
        self._best_params = jax.tree.map(take, self._best_params)
        self._formed = jax.tree.map(take, self._formed)


def _weights(state: TrialState) -> list[Any]:
    mask = jax.tree.leaves(weight_mask(state.params))
    return [leaf for leaf, take in zip(jax.tree.leaves(state.params), mask, strict=True) if take]


@jax.jit
def _select(better: Any, new: Any, old: Any) -> Any:
    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, new, old)

"""The linear scaling rule tried by experiment: does N times the batch want N times the learning rate, on this data?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from thalweg.data import load
from thalweg.diagnostics.scaling_fit import EDGE_HIGH, EDGE_LOW, lowest
from thalweg.diagnostics.scaling_records import ScalingRecord
from thalweg.errors import UsageError
from thalweg.extraction import view
from thalweg.fields import check_integer, check_number, check_option
from thalweg.recipe import FULL_BATCH, Recipe
from thalweg.schedules import BatchScaled, Scaled, Schedule
from thalweg.search import dimensions
from thalweg.sweeps import Interrupted, prepare
from thalweg.training import Progress, Settings, train
from thalweg.training.program import Inputs
from thalweg.training.status import COMPLETED, DIVERGED
from thalweg.training.train import examples_of

__all__ = ["scaling_rule"]

METRICS = ("validation_loss", "data_loss")
_AROUND = 3  # steps of 2 that the default rates reach beyond what either rule expects
_ROUNDS = 4  # times that a range of default rates grows where the best lies at its end


def scaling_rule(
    recipe: Recipe,
    data: Any,
    *,
    batches: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048),
    rates: Sequence[float] | None = None,
    seeds: int = 3,
    epochs: int | None = None,
    metric: str = "validation_loss",
    preprocessing: str | None = "auto",
    validation: float | None = None,
    test: float | None = None,
    memory: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ScalingRecord:
    """Find the best learning rate of each batch size, and fit rate ∝ batch^a: the linear rule says a = 1.

    Every batch size is trained for the same number of epochs, so on equally many examples, at every rate and
    with several seeds; the trials of one batch size and seed are one program. A schedule keeps its shape: it is
    scaled as a whole, and its lengths are those of a run with that many steps. The best rate is the vertex of
    a parabola through the lowest losses, for each seed by itself; their spread gives the interval. Seeds
    differ in first weights and batch order, not in the data: the interval says what another training would
    find here, not what other data would.

    The square-root rule, a = ½, which is expected of optimizers that divide by the gradient's size, is judged
    beside it. See `ScalingRecord` and `scaling_fit.Slope` for how.

    Arguments:
        recipe: without ranges, and with a schedule of ours in its optimizer.
        data: whatever `load` reads, split as `sweep` does with this seed; the test split is not used.
        batches: sizes, at least two. Sizes above the number of training examples are left out, with a message.
        rates: bases (peaks) of the schedule to try with every batch. None: steps of 2 around the recipe's own, from
            what either rule expects of the smallest batch to that of the largest and 3 steps
            beyond, growing where the best lies at the end.
        seeds: trainings of each cell: the recipe's seed, +1, ...
        epochs: of every training; None: the recipe's.
        metric: ``validation_loss`` after the last epoch, or ``data_loss``, the mean over the last
            epoch's minibatches.
        preprocessing, validation, test, memory, progress: as of `sweep`.
        seed: of the splits.

    Raises:
        UsageError: an argument out of its bounds; a recipe with ranges, with `schedules.BatchScaled`
            (which is the rule itself), or whose rates are not ours to set; fewer than two batches left.
        DataError: data that cannot be trained on.
        Interrupted: on Ctrl-C, with the record so far as ``run``.

    Goyal et al. 2017, "Accurate, large minibatch SGD"; Krizhevsky 2014, "One weird trick for parallelizing
    convolutional neural networks" (the square root); Shallue et al. 2019 for what is held equal.
    """
    _check(recipe, batches, rates, seeds, metric)
    if epochs is not None:
        check_integer("scaling_rule", "epochs", epochs, least=1)
        recipe = dataclasses.replace(recipe, epochs=epochs)
    dataset = prepare(load(data), validation, test, seed)
    seen = view(dataset, recipe.features, preprocessing)
    held = seen.dataset.validation
    assert held is not None
    inputs = Inputs(examples_of(seen.dataset.train, seen.preprocessing), examples_of(held, seen.preprocessing))
    kept, messages = _fitting(batches, len(dataset.train))
    own = _own(recipe, len(dataset.train))
    log_rates = np.log2(np.unique(np.asarray(rates, float))) if rates is not None else _default(own, kept)
    grid = _Grid(recipe, inputs, len(dataset.classes), kept, seeds, metric, Settings(memory=memory), progress)
    losses = grid.losses(log_rates, np.ones((len(kept), len(log_rates)), bool))
    for _ in range(_ROUNDS if rates is None else 0):
        low, high = (_ends(log_rates, losses, place) for place in (EDGE_LOW, EDGE_HIGH))
        if grid.unfinished or not (low.any() or high.any()):
            break
        log_rates, losses = grid.grown(log_rates, losses, low, high)
    if grid.unfinished:
        messages += ("interrupted: what is missing counts as not tried",)
    record = ScalingRecord(
        recipe=recipe,
        data=dataset.name,
        examples=len(dataset.train),
        epochs=recipe.epochs,
        metric=metric,
        batches=np.array(kept),
        log_rates=log_rates,
        losses=losses,
        own=own,
        messages=messages,
    )
    if grid.unfinished:
        raise Interrupted(record)
    return record


def _check(recipe: Any, batches: Sequence[int], rates: Sequence[float] | None, seeds: int, metric: str) -> None:
    if not isinstance(recipe, Recipe) or dimensions(recipe):
        raise UsageError(f"recipe is {recipe!r}; give a Recipe whose every number has one value")
    schedule = getattr(recipe.optimizer, "learning_rate", None)
    if not isinstance(schedule, Schedule) or not float(schedule.base) > 0:
        raise UsageError(
            f"the optimizer {type(recipe.optimizer).__name__} has no learning rate above 0 to scale: give it a number "
            "or a schedule of thalweg.schedules"
        )
    parts = jax.tree.leaves(schedule, is_leaf=lambda part: isinstance(part, BatchScaled))
    if any(isinstance(part, BatchScaled) for part in parts):
        raise UsageError(
            "the learning rate holds BatchScaled, which follows the linear rule already: give the schedule inside it"
        )
    for batch in batches:
        check_integer("scaling_rule", "batches", batch, least=1)
    if len(set(batches)) != len(batches):
        raise UsageError(f"scaling_rule: batches is {tuple(batches)!r}; give each size once")
    for rate in () if rates is None else rates:
        check_number("scaling_rule", "rates", rate, above=0)
    if rates is not None and len(set(rates)) < 3:
        raise UsageError(f"scaling_rule: rates is {rates!r}; give at least three different rates, or None")
    check_integer("scaling_rule", "seeds", seeds, least=1)
    check_option("scaling_rule", "metric", metric, METRICS)


def _fitting(batches: Sequence[int], examples: int) -> tuple[list[int], tuple[str, ...]]:
    """The batch sizes, rising, that the training examples allow; and a message of those left out."""
    kept = sorted(int(batch) for batch in batches if batch <= examples)
    out = sorted(int(batch) for batch in batches if batch > examples)
    if len(kept) < 2:
        raise UsageError(
            f"scaling_rule: batches is {tuple(batches)!r}; at least two sizes of at most {examples}, the number of "
            "training examples, are needed"
        )
    left = ", ".join(map(str, out))
    return kept, (f"batch sizes above the {examples:,} training examples were left out: {left}",) if out else ()


def _own(recipe: Recipe, examples: int) -> tuple[int, float]:
    """The recipe's own batch size and base rate."""
    batch = examples if recipe.batch_size == FULL_BATCH else min(int(recipe.batch_size), examples)
    return batch, float(recipe.optimizer.learning_rate.base)


def _default(own: tuple[int, float], batches: Sequence[int]) -> np.ndarray:
    """log₂ of the default rates: the recipe's own times powers of 2."""
    batch, rate = own
    shifts = np.log2(np.asarray(batches) / batch)
    low, high = math.floor(min(shifts[0], 0)) - _AROUND, math.ceil(max(shifts[-1], 0)) + _AROUND
    return math.log2(rate) + np.arange(low, high + 1)


def _ends(log_rates: np.ndarray, losses: np.ndarray, place: str) -> np.ndarray:
    """Which batches (K,) have a seed whose lowest loss lies at that end."""
    found = [[lowest(log_rates, losses[k, :, s]) for s in range(losses.shape[2])] for k in range(len(losses))]
    return np.array([any(one is not None and one.place == place for one in row) for row in found])


class _Grid:
    """Trains cells of the grid (batch, rate, seed), all that are asked for in one go."""

    def __init__(
        self, recipe: Recipe, inputs: Inputs, classes: int, batches: Sequence[int], seeds: int, metric: str,
        settings: Settings, progress: Progress | None,
    ) -> None:  # fmt: skip
        self.recipe, self.inputs, self.classes, self.batches = recipe, inputs, classes, batches
        self.seeds, self.metric, self.settings, self.progress = seeds, metric, settings, progress
        self.unfinished = False

    def losses(self, log_rates: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Return losses (K, R, S): ∞ where a trial diverged, NaN where ``wanted`` (K, R) is false."""
        cells = [(k, r, s) for k, r in np.argwhere(wanted).tolist() for s in range(self.seeds)]
        recipes = [self._recipe(self.batches[k], log_rates[r], s) for k, r, s in cells]
        inputs = {self.recipe.features: self.inputs}
        outcome = train(recipes, inputs, self.classes, self.settings, self.progress)
        found = np.full((*wanted.shape, self.seeds), np.nan)
        for cell, record in zip(cells, outcome.records, strict=True):
            status = None if record.status is None else record.status.name
            if status == DIVERGED:
                found[cell] = math.inf
            elif status == COMPLETED:
                found[cell] = record.history[self.metric][-1]
        self.unfinished |= outcome.interrupted
        return found

    def grown(
        self, log_rates: np.ndarray, losses: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rates and losses with 3 further rates at the ends where some batch has its best."""
        below = log_rates[0] - np.arange(_AROUND, 0, -1) if low.any() else np.zeros(0)
        above = log_rates[-1] + np.arange(1, _AROUND + 1) if high.any() else np.zeros(0)
        new = np.concatenate([below, above])
        wanted = np.concatenate(
            [np.repeat(low[:, None], len(below), axis=1), np.repeat(high[:, None], len(above), axis=1)], axis=1
        )
        found = self.losses(new, wanted)
        parts = [found[:, : len(below)], losses, found[:, len(below) :]]
        return np.concatenate([below, log_rates, above]), np.concatenate(parts, axis=1)

    def _recipe(self, batch: int, log_rate: float, seed: int) -> Recipe:
        schedule = self.recipe.optimizer.learning_rate
        scaled = Scaled(schedule, 2.0**log_rate / float(schedule.base))
        optimizer = _with_schedule(self.recipe.optimizer, scaled)
        return dataclasses.replace(self.recipe, optimizer=optimizer, batch_size=batch, seed=self.recipe.seed + seed)


def _with_schedule(optimizer: Any, schedule: Schedule) -> Any:
    import equinox as eqx

    return eqx.tree_at(lambda o: o.learning_rate, optimizer, schedule)

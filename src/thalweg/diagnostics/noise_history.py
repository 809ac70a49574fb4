"""The gradient noise scale along one training: it mostly grows as the gradient fades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from thalweg.data import load
from thalweg.diagnostics.gradient_sums import Point
from thalweg.diagnostics.noise import NoiseRecord, measure
from thalweg.errors import DivergedError, UsageError
from thalweg.extraction import view
from thalweg.fields import check_integer
from thalweg.recipe import Recipe, bind
from thalweg.search import dimensions
from thalweg.sweeps import Interrupted, prepare
from thalweg.training import Settings, train
from thalweg.training.cohort import group
from thalweg.training.program import Examples, Inputs, initialise
from thalweg.training.status import DIVERGED
from thalweg.training.train import examples_of

__all__ = ["NoiseHistory", "noise_history"]


@dataclass(frozen=True, eq=False)
class NoiseHistory:
    """A `NoiseRecord` after each of some epochs, 0 for the first weights, on training examples."""

    epochs: tuple[int, ...]
    records: tuple[NoiseRecord, ...] = field(repr=False)
    batch_size: int

    @property
    def scales(self) -> np.ndarray:
        """B_simple (epochs,), infinite where it could not be told."""
        return np.array([record.scale for record in self.records])

    @property
    def intervals(self) -> np.ndarray:
        """95 % intervals (epochs, 2)."""
        return np.array([record.interval for record in self.records])

    def __str__(self) -> str:
        lines = [f"epoch {epoch}: {record}" for epoch, record in zip(self.epochs, self.records, strict=True)]
        return "\n".join(lines)


def noise_history(
    recipe: Recipe,
    data: Any,
    *,
    epochs: Sequence[int] | None = None,
    batch_sizes: Sequence[int] = (),
    draws: int = 32,
    examples: int = 10_000,
    preprocessing: str | None = "auto",
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
) -> NoiseHistory:
    """Train a recipe and measure `gradient_noise` on its training examples after some epochs.

    The recipe is trained anew up to each of the epochs, its schedule unchanged: with the default
    epochs 0, 1, 2, 4, ... and the last one, that costs three trainings.

    Arguments:
        recipe: without ranges.
        data: whatever `load` reads, split as `sweep` does with this seed.
        epochs: after which to measure, 0 for the first weights.
        batch_sizes, draws, examples: as of `gradient_noise`; by default no minibatches are drawn.
        preprocessing, validation, test: as of `sweep`.
        seed: of the splits and draws.

    Raises:
        UsageError, DataError: what `sweep` and `gradient_noise` refuse, and epochs beyond the recipe's.
        DivergedError: the training diverged before the last of the epochs.
        Interrupted: on Ctrl-C, with the history so far as ``run``.
    """
    if not isinstance(recipe, Recipe) or dimensions(recipe):
        raise UsageError(f"recipe is {recipe!r}; give a Recipe whose every number has one value")
    check_integer("noise_history", "examples", examples, least=8)
    chosen = _epochs(epochs, recipe.epochs)
    dataset = prepare(load(data), validation, test, seed)
    seen = view(dataset, recipe.features, preprocessing)
    inputs = Inputs(examples_of(seen.dataset.train, seen.preprocessing), None)
    generator = np.random.default_rng(np.random.SeedSequence([seed, 12]))
    rows = np.sort(generator.permutation(len(dataset.train))[:examples])
    part = _part(inputs.training, rows)
    bound = bind(recipe, len(dataset.train))
    records: list[NoiseRecord] = []
    for epoch in chosen:
        found = _weights(recipe, bound, inputs, len(dataset.classes), epoch)
        if found is None:
            raise Interrupted(NoiseHistory(chosen[: len(records)], tuple(records), bound.batch_size))
        params, state = found
        point = Point(recipe, params, state, part)
        records.append(measure(point, bound.batch_size, batch_sizes=batch_sizes, draws=draws, generator=generator))
    return NoiseHistory(chosen, tuple(records), bound.batch_size)


def _epochs(epochs: Sequence[int] | None, last: int) -> tuple[int, ...]:
    if epochs is None:
        return tuple(sorted({0, last, *(2**k for k in range(last.bit_length()) if 2**k < last)}))
    for epoch in epochs:
        check_integer("noise_history", "epochs", epoch, least=0)
        if epoch > last:
            raise UsageError(f"noise_history: epochs holds {epoch}, and the recipe trains for {last}")
    if not len(epochs):
        raise UsageError("noise_history: epochs is empty; give at least one, such as 0 for the first weights")
    return tuple(sorted({int(epoch) for epoch in epochs}))


def _part(examples: Examples, rows: np.ndarray) -> Examples:
    weights = None if examples.weights is None else examples.weights[rows]
    return examples._replace(features=examples.features[rows], labels=examples.labels[rows], weights=weights)


def _weights(recipe: Recipe, bound: Recipe, inputs: Inputs, classes: int, epoch: int) -> tuple[Any, Any] | None:
    """(params, model_state) after that many epochs; None where Ctrl-C came before."""
    if epoch == 0:
        (cohort,) = group([bound])
        key = jax.random.fold_in(jax.random.key(cohort.seed), 0)
        state = initialise(cohort.recipe, key, inputs.training.features.shape[1:], classes)
        return jax.tree.map(lambda leaf: leaf[0], (state.params, state.model_state))
    outcome = train([recipe], {recipe.features: inputs}, classes, Settings(epochs=epoch))
    if outcome.interrupted:
        return None
    (record,) = outcome.records
    if record.status is not None and record.status.name == DIVERGED:
        raise DivergedError(f"noise_history: {record.status.reason}")
    return record.params, record.model_state

"""Cohorts: trials of one static structure, their numbers stacked to run as one program.

Two recipes share a cohort when they have the same kinds, shapes, batch size,
epochs and seed (so one batch order). The learning-rate schedule is no part of
that structure: rates are tabulated for a block of steps outside the program and
read by it, so trials with different kinds of schedule train side by side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from thalweg.recipe import Recipe
from thalweg.schedules import Given, Schedule

__all__ = ["Cohort", "group", "stack"]


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Trials that run as one program.

    ``numbers`` are the trials' places in the sweep; ``recipe`` is their stacked
    recipe, every leaf float32 of shape (trials,), with the schedule taken out;
    ``schedules`` holds the bound schedules, one a trial (None where the
    optimizer has no schedule of ours).

    Sizes and seed stand here, not in the stacked recipe: what is static there
    is part of the compiled program, and these must not make a new one.
    """

    numbers: tuple[int, ...]
    recipe: Recipe
    schedules: tuple[Schedule | None, ...]
    batch_size: int
    epochs: int
    seed: int

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, places: Sequence[int] | np.ndarray) -> Cohort:
        """Return the cohort of the trials at the given places in this one."""
        index = np.asarray(places, int)
        return dataclasses.replace(
            self,
            numbers=tuple(self.numbers[i] for i in index),
            recipe=jax.tree.map(lambda leaf: leaf[index], self.recipe),
            schedules=tuple(self.schedules[i] for i in index),
        )

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the learning rates (len(steps), trials) at the given steps, NaN where no schedule of ours tells."""
        table = np.full((len(steps), len(self)), np.nan, np.float32)
        kinds: dict[Any, list[int]] = {}
        for place, schedule in enumerate(self.schedules):
            if schedule is not None:
                kinds.setdefault(jax.tree.structure(schedule), []).append(place)
        for places in kinds.values():
            stacked = stack([self.schedules[i] for i in places])
            table[:, places] = np.asarray(_tabulate(stacked, steps.astype(np.float32))).T
        return table


@jax.jit
def _tabulate(schedules: Schedule, steps: jax.Array) -> jax.Array:
    return jax.vmap(lambda schedule: jax.vmap(schedule)(steps))(schedules)


def group(recipes: Sequence[Recipe]) -> list[Cohort]:
    """Group bound recipes into cohorts, in the order in which their structures appear."""
    members: dict[Any, list[tuple[int, Recipe, Schedule | None]]] = {}
    for number, recipe in enumerate(recipes):
        plain, schedule = _without_schedule(recipe)
        members.setdefault(jax.tree.structure(plain), []).append((number, plain, schedule))
    return [_cohort(*zip(*rows, strict=True)) for rows in members.values()]


def _cohort(numbers: tuple[int, ...], recipes: tuple[Recipe, ...], schedules: tuple[Schedule | None, ...]) -> Cohort:
    first = recipes[0]
    shared = [dataclasses.replace(recipe, batch_size=1, epochs=1, seed=0) for recipe in recipes]
    return Cohort(numbers, stack(shared), schedules, first.batch_size, first.epochs, first.seed)


def stack(trees: Sequence[Any]) -> Any:
    """Stack equal trees of numbers into one whose leaves are float32 (trials, ...)."""
    return jax.tree.map(lambda *leaves: np.asarray(leaves, np.float64).astype(np.float32), *trees)


def _without_schedule(recipe: Recipe) -> tuple[Recipe, Schedule | None]:
    """Replace the schedule by a `Given` rate, to be filled in at every step."""
    schedule = getattr(recipe.optimizer, "learning_rate", None)
    if not isinstance(schedule, Schedule):
        return recipe, None
    given = Given(0.0, float(schedule.base))
    return eqx.tree_at(lambda r: r.optimizer.learning_rate, recipe, given), schedule

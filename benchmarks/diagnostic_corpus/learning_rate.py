"""Ladders of learning rates: the same training at rates from far too low to far too high, each at two lengths.

What a rate is called comes from the ladder, not from the shape of its curve: *too low* where a higher rate of the
ladder reached a far lower loss in as many epochs, *too high* where a lower one did (or the trial diverged, or it ended
with a validation loss above that of chance, and 5 % fewer right, where a lower rate left it far below). In between
nobody could say, so those trials are left out.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np

from thalweg import losses, models, optimizers, penalties, schedules
from thalweg.data import Dataset, toy
from thalweg.diagnostics import Case
from thalweg.recipe import Recipe
from thalweg.training.status import DIVERGED

from .trained import blobs, digits, embedded, train_cases

__all__ = ["LR01_cases", "LR02_cases", "Ladder", "hopeless", "ladders"]

RUNGS = 12
SHAPES: tuple[Callable[[float], schedules.Schedule], ...] = (schedules.Constant, schedules.Cosine)
FEW = ("digits, hinge, momentum", "scales, linear, SGD", "rings, network, Adam", "few blobs, RMSProp")
FAR, NEAR = 0.3, 0.1  # of what training gains: a trial that is worse by FAR is at fault, one within NEAR is not


@dataclasses.dataclass(frozen=True)
class Ladder:
    """One setup at one length: a case a rate, from low to high; ``longer`` (if any) is it at four times the length."""

    name: str
    rates: np.ndarray
    cases: list[Case]
    longer: list[Case]

    @functools.cached_property
    def chance(self) -> float:
        recipe, classes = self.cases[0].trial.recipe, len(self.cases[0].classes)
        return float(np.log(classes)) if isinstance(recipe.loss, losses.Softmax) else classes - 1.0

    @functools.cached_property
    def excess(self) -> np.ndarray:
        """How much worse each trial's last data loss is than the best one's, of what that one gained over chance."""
        return self._excess("data_loss")

    @functools.cached_property
    def held_excess(self) -> np.ndarray:
        return self._excess("validation_loss")

    def _excess(self, metric: str) -> np.ndarray:
        last = np.array([ended(case, metric) for case in self.cases])
        best = np.nanmin(last)
        return np.where(np.isnan(last), np.inf, (last - best) / (self.chance - best))

    @functools.cached_property
    def taught(self) -> bool:
        """Whether any rate learned enough for the others to be judged."""
        return min(ended(case, "data_loss") for case in self.cases) < 0.85 * self.chance

    def fault(self, place: int) -> str:
        """``low``, ``high``, ``good``, or nothing where nobody could say."""
        if not self.taught:
            return ""
        best = int(np.argmin(self.excess))
        if self.cases[place].trial.status.name == DIVERGED:
            return "high"
        if place > best and (self.excess[place] > FAR or (self.held_excess[place] > 1 and self._misses(place))):
            return "high"
        if place < best and self.excess[place] > FAR:
            return "low"
        return "good" if self.excess[place] < NEAR and self.held_excess[place] < FAR else ""

    def _misses(self, place: int) -> bool:
        """Whether it gets clearly fewer validation examples right than a lower rate: a high loss alone need not."""
        accuracies = [ended(case, "validation_accuracy") for case in self.cases]
        return accuracies[place] < np.nanmax(accuracies[:place]) - 0.05


def ended(case: Case, metric: str) -> float:
    """The mean over the last tenth of the epochs."""
    values = case.trial.history[metric]
    return float(np.mean(values[-max(1, len(values) // 10) :])) if case.trial.status.name != DIVERGED else np.nan


def stretched(data: Dataset, scales: np.ndarray) -> Dataset:
    """The same data with each feature on another scale: curvatures that differ widely."""

    def scaled(split):
        return split and dataclasses.replace(split, features=split.features * scales.astype(np.float32))

    return dataclasses.replace(
        data, train=scaled(data.train), validation=scaled(data.validation), test=scaled(data.test)
    )


@dataclasses.dataclass(frozen=True)
class Setup:
    name: str
    data: Dataset
    recipe: Recipe  # with a rate that is put in its place
    optimizer: Callable[[schedules.Schedule], optimizers.Optimizer]
    lowest: float
    highest: float
    epochs: int
    preprocessing: str | None = "auto"


def setups(seed: int) -> Iterator[Setup]:
    """Eight problems, each at a length of about a hundred steps; rates from far too low to far too high."""
    sgd, adam, rms, adamw = optimizers.SGD, optimizers.Adam, optimizers.RMSProp, optimizers.AdamW

    def momentum(rate: schedules.Schedule) -> optimizers.SGD:
        return sgd(rate, momentum=0.9)

    data = digits((480, 160), seed=seed)
    yield Setup("digits, linear, SGD", data, Recipe(batch_size=32), sgd, 1e-5, 300, 8)
    data = blobs((240, 120), 10, 4, apart=0.7, noise=0.1, seed=seed)
    recipe = Recipe(penalty=penalties.L2(1e-3), batch_size="full")
    yield Setup("noisy blobs, linear, full batch", data, recipe, sgd, 1e-4, 300, 90)
    data, recipe = digits((300, 160), 5, seed=seed), Recipe(loss=losses.Hinge(), batch_size=20)
    yield Setup("digits, hinge, momentum", data, recipe, momentum, 1e-7, 30, 7)
    data = stretched(blobs((320, 120), 12, 3, apart=1, seed=seed), np.logspace(0, -2, 12))
    yield Setup("scales, linear, SGD", data, Recipe(batch_size=16), sgd, 1e-5, 1000, 6, None)
    data = embedded(toy.rings(500, noise=0.15, seed=seed), (360, 140), 4, seed=seed)
    yield Setup("rings, network, Adam", data, Recipe(model=models.Dense(16), batch_size=32), adam, 1e-6, 30, 9)
    data = digits((400, 160), pooled=True, seed=seed)
    yield Setup(
        "digits, network, momentum", data, Recipe(model=models.Dense(24), batch_size=40), momentum, 1e-5, 10, 10
    )
    data = blobs((60, 60), 6, 3, apart=0.8, seed=seed)
    yield Setup("few blobs, RMSProp", data, Recipe(batch_size=8), rms, 1e-6, 100, 14)
    data, recipe = digits((300, 160), noise=0.15, seed=seed), Recipe(model=models.Dense(32, dropout=0.3), batch_size=32)
    yield Setup("dropout, noisy digits, AdamW", data, recipe, adamw, 1e-6, 30, 10)


@functools.cache
def ladders(seed: int, whole: bool = True) -> list[Ladder]:
    """Return all ladders: each setup (or those of FEW) with each schedule, at its own length and at four times that."""
    return [ladder for setup in setups(seed) if whole or setup.name in FEW for ladder in _climb(setup, seed)]


def _climb(setup: Setup, seed: int) -> Iterator[Ladder]:
    # The rungs lie elsewhere for each seed, so that no rate is met twice.
    shift = np.random.default_rng([seed, 6]).uniform(-0.5, 0.5)
    steps = np.linspace(np.log10(setup.lowest), np.log10(setup.highest), RUNGS)
    rates = 10 ** (steps + shift * (steps[1] - steps[0]))
    recipes = [
        dataclasses.replace(setup.recipe, optimizer=setup.optimizer(shape(r))) for shape in SHAPES for r in rates
    ]
    short, long = (_trained(setup, recipes, epochs, seed) for epochs in (setup.epochs, 4 * setup.epochs))
    for i, shape in enumerate(SHAPES):
        part, name = slice(i * RUNGS, (i + 1) * RUNGS), f"{setup.name}, {shape.__name__}"
        yield Ladder(f"{name}, {setup.epochs} epochs", rates, short[part], long[part])
        yield Ladder(f"{name}, {4 * setup.epochs} epochs", rates, long[part], [])


def _trained(setup: Setup, recipes: list[Recipe], epochs: int, seed: int) -> list[Case]:
    planned = [dataclasses.replace(recipe, epochs=epochs, seed=seed) for recipe in recipes]
    return train_cases(planned, setup.data, preprocessing=setup.preprocessing)


@functools.cache
def hopeless(seed: int) -> list[Case]:
    """Trials that have nothing to learn at any rate: straight lines through rings, of which W = 0 is the best.

    Their loss stays near that of chance, flat but for noise: neither too high a rate nor too low, and done at once.
    """
    data = embedded(toy.rings(500, noise=0.15, seed=seed), (360, 140), 4, seed=seed)
    rates = np.geomspace(0.02, 0.5, RUNGS)
    recipes = [
        Recipe(optimizer=optimizers.SGD(shape(r)), batch_size=32, epochs=14, seed=seed)
        for shape in SHAPES
        for r in rates
    ]
    return train_cases(recipes, data)


def _labelled(seed: int, whole: bool, trouble: str, without: tuple[str, ...]) -> list[tuple[bool, Case]]:
    found = [(False, case) for case in hopeless(seed)]
    for ladder in ladders(seed, whole):
        for place, case in enumerate(ladder.cases):
            fault = ladder.fault(place)
            if fault == trouble or fault in without:
                found.append((fault == trouble, case))
    return found


def LR01_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    return _labelled(seed, whole, "high", ("good", "low"))


def LR02_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    cases = _labelled(seed, whole, "low", ("good", "high"))
    return [(label, case) for label, case in cases if case.trial.status.name != DIVERGED]

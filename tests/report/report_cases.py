"""Runs made by hand: the trials, statuses and curves of a sweep without a training, for tests of the report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import thalweg as tw
from thalweg.data import Preprocessing
from thalweg.fitted import Score
from thalweg.optimizers import SGD, AdamW, Lion, RandomSearch
from thalweg.ranges import Choice, log_uniform
from thalweg.run import DataSummary, Run, Trial
from thalweg.schedules import Cosine, Warmup
from thalweg.search import draw, resolve
from thalweg.selection import edges, select
from thalweg.training import METRICS, TrialRecord
from thalweg.training.status import Status

# What `made_run(optimizers=...)` takes: the optimizer over a range of rates (and of decays, where it has any).
SPACES: dict[str, Any] = {
    "adamw": AdamW(Warmup(0.05, Cosine(log_uniform(1e-4, 1.0)), unit="run"), weight_decay=log_uniform(1e-4, 1.0)),
    "sgd": SGD(log_uniform(1e-3, 10.0)),
    "momentum": SGD(Cosine(log_uniform(1e-4, 1.0), unit="run"), momentum=0.9),
    "nesterov": SGD(Cosine(log_uniform(1e-4, 1.0), unit="run"), momentum=0.9, nesterov=True),
    "lion": Lion(log_uniform(1e-5, 0.1), weight_decay=log_uniform(1e-4, 1.0)),
    "random": RandomSearch(),  # has no rate
}


def made_run(
    trials: int = 24,
    *,
    diverged: int = 3,
    pruned: int = 0,
    interrupted: int = 0,
    optimizers: Sequence[str] = ("adamw",),
    seeds: int = 1,
    epochs: int = 10,
    classes: Sequence[str] = ("ant", "bee", "cat"),
    examples: int = 200,
    features: int = 8,
    space: tw.Recipe | None = None,
    rule: str = "best",
    seed: int = 0,
) -> Run:
    """Return the run of a sweep that never was: every part of it as `sweep` would have made it, but for the training.

    The validation accuracy falls off with the square of log10(rate / 1e-2) and of log10(decay / 1e-2), with some noise;
    curves go towards that end as e^(−t). It is always a whole number of right examples out of ``examples``.

    Args:
        trials: recipes drawn; with ``seeds`` each is trained that many times.
        diverged: how many trials diverge: those of the highest rates (of the last numbers, without rates), half-way.
        pruned, interrupted: how many of the others end early; these are the worst ones.
        optimizers: names of `SPACES`; more than one are a choice.
        examples: of the validation split, and as many are tested on.
        space: a search space of one's own, in place of the optimizers'.
        seed: of the draw and of the noise.
    """
    options = tuple(SPACES[name] for name in optimizers)
    optimizer = options[0] if len(options) == 1 else Choice(options)
    space = tw.Recipe(optimizer=optimizer, batch_size=32, epochs=epochs, seed=seed) if space is None else space
    drawn = draw(space, trials, seed=seed, method="random")
    places = [place for place in drawn for _ in range(seeds)]
    recipes = [
        dataclasses.replace(r, seed=r.seed + i) for r in (resolve(space, c) for c in drawn) for i in range(seeds)
    ]
    generator = np.random.default_rng(seed)
    ends = _accuracies(recipes, len(classes), examples, generator)
    fates = _fates(recipes, ends, diverged, pruned, interrupted)
    made = [_record(r, a, fate, generator, examples) for r, a, fate in zip(recipes, ends, fates, strict=True)]
    selectable = any(r.status and r.status.finished for r in made) or "interrupted" in fates
    chosen = select(recipes, made, rule) if selectable else None
    model = None if chosen is None else _model(recipes[chosen.best], tuple(classes), features, generator)
    test = None
    if chosen is not None and not interrupted:
        test = Score(round(examples * 0.95 * float(ends[chosen.best])), examples, 0.5)
    return Run(
        space=space,
        settings=_settings(trials, seeds, seed, rule),
        data=_data(tuple(classes), examples, features),
        trials=tuple(
            Trial(
                number, recipe, one.status, {m: np.asarray(v) for m, v in one.history.items()}, one.kept_epoch, 0, place
            )
            for number, (recipe, one, place) in enumerate(zip(recipes, made, places, strict=True))
            if one.status is not None
        ),
        seconds={"load": 0.5, "features": 0.1, "sanity": 0.2, "train": 12.0, "total": 13.5},
        interrupted=interrupted > 0,
        selection=chosen,
        edges=() if chosen is None else tuple(edges(space, places[chosen.best])),
        model=model,
        test=test,
        versions={
            "python": "3.12.0",
            "thalweg": tw.__version__,
            "jax": "0.7.0",
            "numpy": "2.3.0",
            "device": "cpu: cpu",
        },
    )


def with_trials(run: Run, trials: Sequence[Trial]) -> Run:
    """Return the run with other trials and nothing selected: for what no training would give."""
    renumbered = tuple(dataclasses.replace(trial, number=number) for number, trial in enumerate(trials))
    return dataclasses.replace(run, trials=renumbered, selection=None, edges=(), model=None, test=None)


def _rate(recipe: Any) -> float:
    return float(getattr(getattr(recipe.optimizer, "learning_rate", None), "base", math.nan))


def _accuracies(recipes: Sequence[Any], classes: int, examples: int, generator: np.random.Generator) -> np.ndarray:
    """Return where each trial's validation accuracy ends: (trials,), at least that of chance."""
    rates = np.array([_rate(recipe) for recipe in recipes])
    decays = np.array([float(getattr(recipe.optimizer, "weight_decay", None) or 1e-2) for recipe in recipes])
    off = np.nan_to_num(np.log10(rates / 1e-2), nan=2.5) ** 2 + 0.3 * np.log10(decays / 1e-2) ** 2
    chance = 1 / max(2, classes)
    ends = 0.92 - (0.92 - chance) * (1 - np.exp(-off / 6)) + 0.01 * generator.standard_normal(len(recipes))
    return np.asarray(np.round(np.clip(ends, 0, 1) * examples) / examples)


def _fates(recipes: Sequence[Any], ends: np.ndarray, diverged: int, pruned: int, interrupted: int) -> list[str]:
    rates = np.nan_to_num([_rate(recipe) for recipe in recipes], nan=0.0)
    fates = ["completed"] * len(recipes)
    for place in np.argsort(rates, kind="stable")[::-1][:diverged]:
        fates[place] = "diverged"
    left = [place for place in np.argsort(ends, kind="stable").tolist() if fates[place] == "completed"]
    for place, fate in zip(left, ["pruned"] * pruned + ["interrupted"] * interrupted, strict=False):
        fates[place] = fate
    return fates


def _record(recipe: Any, end: float, fate: str, generator: np.random.Generator, examples: int) -> TrialRecord:
    whole = int(recipe.epochs)
    epochs = whole if fate == "completed" else max(1, whole // 2)
    time = 8 * np.arange(1, epochs + 1) / whole
    approach = 1 - np.exp(-time)
    accuracy = np.round(examples * end * (0.3 + 0.7 * approach / (1 - math.exp(-8)))) / examples
    loss = 0.1 - np.log(max(end, 1e-3)) + 1.5 * np.exp(-time) + 0.01 * generator.random(epochs)
    rate = _rate(recipe)
    columns = {
        "data_loss": 0.9 * loss, "penalty": np.full(epochs, 1e-3), "validation_loss": loss,
        "validation_accuracy": accuracy, "learning_rate": rate * (1 - 0.9 * np.arange(epochs) / whole),
        "gradient_norm": np.exp(-time), "weight_norm": 1 + approach, "update_ratio": 0.01 * np.exp(-time / 2),
    }  # fmt: skip
    assert set(columns) == set(METRICS)
    if fate == "diverged":
        for name in ("data_loss", "validation_loss", "gradient_norm", "weight_norm", "update_ratio"):
            columns[name][-1] = math.nan
        columns["validation_accuracy"][-1] = 0.1
    history = {name: values.tolist() for name, values in columns.items()}
    correct = None if fate in ("diverged", "pruned") else _correct(accuracy[-1], examples, generator)
    return TrialRecord(_status(fate, epochs, whole, float(accuracy[-1])), history, epochs, correct=correct)


def _correct(accuracy: float, examples: int, generator: np.random.Generator) -> np.ndarray:
    """Return which examples are right, that many: mostly the same ones in every trial, as in life."""
    order = np.argsort(np.arange(examples) / examples + 0.3 * generator.random(examples))
    right = np.zeros(examples, bool)
    right[order[: round(accuracy * examples)]] = True
    return right


def _status(fate: str, epochs: int, whole: int, accuracy: float) -> Status:
    if fate == "diverged":
        return Status.diverged(10 * epochs - 3, epochs)
    if fate == "pruned":
        return Status.pruned(1, epochs, accuracy, 4, 8)
    return Status.interrupted(epochs, whole) if fate == "interrupted" else Status.completed(epochs)


def _settings(trials: int, seeds: int, seed: int, rule: str) -> dict[str, Any]:
    return {
        "trials": trials, "seed": seed, "seeds": seeds, "search": "random", "points": None, "halving": None,
        "patience": None, "tolerance": None, "selection": rule, "refit": False, "preprocessing": "auto",
        "validation": None, "test": None, "memory": None, "features": None,
    }  # fmt: skip


def _data(classes: tuple[str, ...], examples: int, features: int) -> DataSummary:
    counts = {"train": 4 * examples, "validation": examples, "test": examples}
    return DataSummary("made", "made by hand", "0" * 64, classes, (features,), counts, (), "standardize", "float32")


def _model(recipe: Any, classes: tuple[str, ...], features: int, generator: np.random.Generator) -> tw.FittedModel:
    weight = generator.standard_normal((len(classes), features)).astype(np.float32)
    plain = Preprocessing("none", np.float32(0), np.float32(1))
    params = {"weight": weight, "bias": np.zeros(len(classes), np.float32)}
    return tw.FittedModel(recipe, params, {}, plain, classes, (features,))

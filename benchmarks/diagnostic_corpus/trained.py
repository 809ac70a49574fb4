"""Many small trainings in one program, each with its own weights kept: a case a recipe."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from thalweg.data import Dataset, Split, load
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.diagnostics import Case
from thalweg.fitted import FittedModel
from thalweg.recipe import Recipe
from thalweg.run import Run, Trial
from thalweg.selection import select
from thalweg.sweeps import summarise_data
from thalweg.training import Settings, TrialRecord, train
from thalweg.training.program import Inputs
from thalweg.training.status import DIVERGED
from thalweg.training.train import examples_of

__all__ = ["blobs", "dataset", "digits", "embedded", "train_cases"]


def train_cases(
    recipes: Sequence[Recipe], data: Dataset, *, patience: int | None = None, preprocessing: str | None = "auto"
) -> list[Case]:
    """Return for each recipe the case that ``tw.fit(recipe, data, test=0)`` would give.

    `tw.sweep` keeps the winner's weights alone; here all recipes of a structure train in one program
    and every one keeps its own. ``data`` brings its validation split.
    """
    assert data.validation is not None
    fitted = fit_preprocessing(data.train.features, preprocessing)
    seen = Inputs(examples_of(data.train, fitted), examples_of(data.validation, fitted))
    outcome = train(list(recipes), {None: seen}, len(data.classes), Settings(patience=patience))
    summary = summarise_data(data, data, [fitted])
    found = []
    for recipe, record in zip(recipes, outcome.records, strict=True):
        assert record.status is not None
        history = {name: np.asarray(values) for name, values in record.history.items()}
        trial = Trial(0, recipe, record.status, history, record.kept_epoch, 0, {})
        run = Run(recipe, {"seed": 0, "refit": False, "patience": patience}, summary, (trial,), {})
        if record.status.name != DIVERGED:
            run = _selected(run, record, recipe, fitted, data)
        found.append(Case(run, trial, data))
    return found


def _selected(run: Run, record: TrialRecord, recipe: Recipe, fitted, data: Dataset) -> Run:
    model = FittedModel(
        recipe, record.params, record.model_state, fitted, data.classes, data.feature_shape, run.data.feature_dtype
    )
    chosen = select([recipe], [record])
    return Run(run.space, run.settings, run.data, run.trials, run.seconds, selection=chosen, model=model)


def dataset(name: str, features: np.ndarray, labels: np.ndarray, sizes: Sequence[int]) -> Dataset:
    """Cut the first examples into training, validation and test splits of these sizes (no test split for two)."""
    cuts = np.cumsum([0, *sizes])
    assert cuts[-1] <= len(labels), (name, sizes, len(labels))
    parts = [Split(features[a:b].astype(np.float32), labels[a:b].astype(np.int32)) for a, b in itertools.pairwise(cuts)]
    classes = tuple(f"class {k}" for k in range(int(labels.max()) + 1))
    return Dataset(name, f"corpus: {name}", parts[0], classes, parts[1], parts[2] if len(parts) > 2 else None)


def blobs(
    sizes: Sequence[int], features: int = 16, classes: int = 4, *, apart: float, noise: float = 0.0, seed: int
) -> Dataset:
    """A normal cloud a class: centres drawn from N(0, apart² I), unit spread; ``noise`` is the share of labels redrawn.

    A linear classifier is the right model, and softmax loss has an irreducible part.
    """
    generator = np.random.default_rng([seed, 1])
    centres = apart * generator.normal(size=(classes, features))
    labels = generator.integers(classes, size=sum(sizes))
    points = centres[labels] + generator.normal(size=(len(labels), features))
    wrong = generator.random(len(labels)) < noise
    labels = np.where(wrong, generator.integers(classes, size=len(labels)), labels)
    return dataset(f"blobs apart {apart:g}, noise {noise:g}", points, labels, sizes)


def digits(sizes: Sequence[int], classes: int = 10, *, pooled: bool = False, noise: float = 0.0, seed: int) -> Dataset:
    """Handwritten digits in random order: ``classes`` of the ten, 8 × 8 pixels or pooled to 4 × 4."""
    generator = np.random.default_rng([seed, 2])
    split = load("digits").train
    assert split.labels is not None
    names = generator.permutation(10)[:classes]
    rows = generator.permutation(np.flatnonzero(np.isin(split.labels, names)))
    images = np.asarray(split.features, np.float64).reshape(-1, 8, 8)[rows]
    if pooled:
        images = images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    place = np.zeros(10, int)
    place[names] = np.arange(classes)
    labels = place[split.labels[rows]]
    wrong = generator.random(len(labels)) < noise
    labels = np.where(wrong, generator.integers(classes, size=len(labels)), labels)
    points = images.reshape(len(images), -1) / images.max()
    return dataset(f"{classes} digits, noise {noise:g}", points, labels, sizes)


def embedded(
    toy: Dataset, sizes: Sequence[int], features: int = 16, *, beside: float = 0.3, noise: float = 0.0, seed: int
) -> Dataset:
    """Points of a toy set turned into more dimensions, the others filled with N(0, beside²)."""
    generator = np.random.default_rng([seed, 3])
    labels = np.asarray(toy.train.labels)
    points = np.asarray(toy.train.features, np.float64)
    rest = beside * generator.normal(size=(len(points), features - points.shape[1]))
    turn = np.linalg.qr(generator.normal(size=(features, features)))[0]
    points = np.concatenate([points, rest], axis=1) @ turn
    wrong = generator.random(len(labels)) < noise
    labels = np.where(wrong, generator.integers(len(toy.classes), size=len(labels)), labels)
    return dataset(f"{toy.name} in {features} dimensions, noise {noise:g}", points, labels, sizes)

"""Sanity before training, asked of a recipe and data by themselves; `training.sanity` asks."""

from __future__ import annotations

from typing import Any

from thalweg.data import check_trainable, load
from thalweg.data.splits import split_dataset
from thalweg.extraction import view
from thalweg.findings import Finding
from thalweg.recipe import Recipe
from thalweg.search import draw, resolve
from thalweg.training.sanity import check_recipes

__all__ = ["sanity"]


def sanity(
    recipe: Recipe, data: Any, *, preprocessing: str | None = "auto", seed: int = 0, trials: int = 64
) -> tuple[Finding, ...]:
    """Ask the three questions of each distinct structure (loss, model, features) of a recipe or search space.

    - SA01: at the model's first weights times 1e-3 the mean loss is ln C for softmax, smoothed or not, and C − 1
      for hinge, within 1 %; the loss at the first weights themselves stands in the evidence.
    - SA02: strength × R(W) is above 0 and rises with the strength, and a step on the penalty alone lowers it.
    - SA03: L-BFGS on the data loss alone (no penalty, no dropout) gets twenty examples, of all classes in turn, right.
      A linear model takes as many of them as are affinely independent: those it can fit whatever their labels.
      Found is only what fails with the features standardised over the twenty, too.

    `sweep` does the same before it trains.

    Arguments:
        recipe: a recipe, or a space, of which ``trials`` recipes are drawn to see its structures.
        data: whatever `load` reads.
        preprocessing, seed: as in `sweep`.

    Raises UsageError and DataError for what could not be trained either.
    """
    loaded = load(data)
    check_trainable(loaded)
    dataset = split_dataset(loaded, seed=seed)
    recipes = [resolve(recipe, place) for place in draw(recipe, trials, seed=seed)]
    parts = dict.fromkeys(one.features for one in recipes)
    views = {part: view(dataset, part, preprocessing) for part in parts}
    return check_recipes(recipes, views)

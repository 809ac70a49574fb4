"""What a diagnosis looks at: a model at certain weights, and the examples that it was, or would be, trained on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from thalweg.data import Dataset, Split, check_trainable, load
from thalweg.data.dataset import match_classes, match_features
from thalweg.data.splits import join, split_dataset
from thalweg.diagnostics.case import Case
from thalweg.errors import DataError, UsageError
from thalweg.extraction import view
from thalweg.fitted import FittedModel
from thalweg.paths.weightings import name_of, weighting
from thalweg.recipe import Recipe
from thalweg.run import Run
from thalweg.search import dimensions

__all__ = ["Subject", "check_smooth", "drawn", "subject"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and a split whose features are those that the model itself takes (extracted, not yet preprocessed).

    ``epochs`` is for how many the model was trained, where a run tells: as many as its winner kept. None: all of its
    recipe's.
    """

    model: FittedModel
    split: Split
    epochs: int | None = None

    @property
    def work(self) -> float:
        """Multiplications and additions, counted in pairs, in the scores of all examples.

        Of a linear model that is examples × weights.
        """
        shown = jax.ShapeDtypeStruct((1, *self.split.features.shape[1:]), np.float32)
        model = self.model.recipe.model

        def scores(params: Any, state: Any, x: Any) -> Any:
            return model.apply(params, state, x, key=None, training=False)[0]

        found = jax.jit(scores).lower(self.model.params, self.model.model_state, shown).cost_analysis()
        known = found.get("flops", 0.0) if isinstance(found, dict) else 0.0
        weights = sum(np.size(leaf) for leaf in jax.tree.leaves(self.model.params))
        return len(self.split) * max(known / 2, float(weights))


def subject(
    source: Any, data: Any, *, point: Any = None, preprocessing: str | None = "auto", seed: int = 0,
    examples: int | None = None,
) -> Subject:  # fmt: skip
    """Return what is to be examined.

    Args:
        source: a `FittedModel`; a `Run` (its winner, on the examples that it was trained on); a `Case` (its model, on
            its splits); a `Recipe` without ranges (at the weights that its seed draws); or what this function returned.
        data: a `Split` as it stands, or whatever `load` reads, whose training examples are then those that
            `sweep` would take with this seed. A `Run` cuts its data as it did. A `Case` and a `Subject` have theirs:
            None.
        point: a tree of weights to take the place of the model's.
        preprocessing: of a recipe's data; a model brings its own.
        seed: of the splits, and of the draw where ``examples`` is less than all.
        examples: how many to draw; None: all.

    Raises UsageError and DataError where these do not go together.
    """
    if isinstance(source, (Case, Subject)):
        if data is not None:
            raise UsageError(f"a {type(source).__name__} holds its examples: give None as the data")
        found = _of_case(source) if isinstance(source, Case) else source
    elif isinstance(source, Run):
        found = _of_run(source, data)
    elif isinstance(source, FittedModel):
        found = _of_model(source, data, seed)
    elif isinstance(source, Recipe):
        found = _of_recipe(source, data, preprocessing, seed)
    else:
        raise UsageError(f"the model is {type(source).__name__}; give a FittedModel, a Run or a Recipe")
    if point is not None:
        found = dataclasses.replace(found, model=_at(found.model, point))
    return dataclasses.replace(found, split=drawn(found.split, examples, seed))


def check_smooth(recipe: Recipe) -> None:
    """Raise a UsageError where the loss has kinks, whose curvature no Hessian holds."""
    if not getattr(recipe.loss, "smooth", True):
        raise UsageError(
            f"the loss is {type(recipe.loss).__name__}, which is made of straight pieces: its Hessian is 0 wherever it "
            "has one, and all curvature sits in the kinks. Take losses.Softmax()"
        )


def _of_run(run: Run, data: Any) -> Subject:
    if run.model is None:
        raise UsageError("the run has no model: nothing was selected in it")
    loaded = load(data)
    if loaded.fingerprint() != run.data.fingerprint:
        raise DataError(f"{loaded.name} is not the data of the run, {run.data.name}: give the data it was trained on")
    asked = run.settings
    dataset = split_dataset(loaded, validation=asked["validation"], test=asked["test"], seed=asked["seed"])
    return _of_splits(run, run.model, dataset)


def _of_splits(run: Run, model: FittedModel, dataset: Dataset) -> Subject:
    """A run's winner on the examples that it was trained on: with those of the validation split after a refit."""
    split = dataset.train
    if run.refitted:
        assert dataset.validation is not None
        split = join(split, dataset.validation)
    return Subject(model, _seen(model, split), None if run.best is None else run.best.kept_epoch)


def _of_case(case: Case) -> Subject:
    if case.data is None:
        raise DataError(f"{case.why_no_data}: give the data, which the objective is a mean over")
    if case.model is None:
        raise UsageError("there are no weights to look at: of a run only those of the selected trial are kept")
    if case.path is None:
        assert case.sweep is not None
        return _of_splits(case.sweep, case.model, case.data)
    chosen, split = case.path.best or case.path.solutions[0], case.data.train
    given = {name_of(value): value for value in case.path.settings["class_weights"]}[chosen.class_weight]
    if given is not None:
        assert split.labels is not None
        every = np.ones(len(split), bool)
        weights = weighting(split.labels, split.weights, given, case.classes, every)
        split = dataclasses.replace(split, weights=weights * len(split))  # of mean 1
    return Subject(case.model, _seen(case.model, split))


def _of_model(model: FittedModel, data: Any, seed: int) -> Subject:
    split = data
    if not isinstance(data, Split):
        dataset = match_features(load(data), model.feature_names)
        split = split_dataset(match_classes(dataset, model.classes), seed=seed).train
    return Subject(model, _seen(model, split))


def _of_recipe(recipe: Recipe, data: Any, preprocessing: str | None, seed: int) -> Subject:
    if found := dimensions(recipe):
        raise UsageError(f"the recipe leaves {', '.join(one.name for one in found)} open; give each one value")
    if isinstance(data, Split):
        _check_labels(data, None)
        classes = tuple(map(str, range(int(data.labels.max()) + 1)))  # type: ignore[union-attr]
        dataset = Dataset("examples", "a Split", data, classes)
    else:
        loaded = load(data)
        check_trainable(loaded)
        dataset = split_dataset(loaded, seed=seed)
    images = dataset.train.features
    seen = view(dataset, recipe.features, preprocessing)
    shape, key = seen.dataset.feature_shape, jax.random.fold_in(jax.random.key(recipe.seed), 0)
    if hasattr(recipe.model, "check"):
        recipe.model.check(shape)
    params, state = jax.tree.map(np.asarray, recipe.model.init(key, shape, len(dataset.classes)))
    model = FittedModel(
        recipe, params, state, seen.preprocessing, dataset.classes, dataset.feature_shape,
        feature_dtype="uint8" if images.dtype == np.uint8 else "float32", feature_names=dataset.feature_names,
        feature_state=seen.state,
    )  # fmt: skip
    return Subject(model, seen.dataset.train)


def _seen(model: FittedModel, split: Split) -> Split:
    """Check the examples, and put the recipe's features in the place of images."""
    _check_labels(split, len(model.classes))
    if split.features.shape[1:] != model.feature_shape:
        raise DataError(
            f"the features have shape {split.features.shape[1:]} an example, the model takes {model.feature_shape}"
        )
    part = model.recipe.features
    if part is None:
        return split
    return dataclasses.replace(split, features=part.transform(split.features, model.feature_state))


def _check_labels(split: Split, classes: int | None) -> None:
    if split.labels is None:
        raise DataError("the examples have no labels, and without them there is no loss: give labelled data")
    if split.labels.min() < 0 or (classes is not None and split.labels.max() >= classes):
        raise DataError(
            f"labels run from {split.labels.min()} to {split.labels.max()}, the model has {classes} classes"
        )


def _at(model: FittedModel, point: Any) -> FittedModel:
    """Return the model with other weights of the same structure and shapes."""
    given: Any = jax.tree.structure(point)
    if given != jax.tree.structure(model.params) or any(
        np.shape(a) != np.shape(b) for a, b in zip(jax.tree.leaves(point), jax.tree.leaves(model.params), strict=True)
    ):
        want = jax.tree.map(np.shape, model.params)
        raise UsageError(f"point has the shapes {jax.tree.map(np.shape, point)}; this model's weights are {want}")
    return dataclasses.replace(model, params=jax.tree.map(np.asarray, point))


def drawn(split: Split, examples: int | None, seed: int) -> Split:
    """Return so many examples of a split, drawn without regard to class and in their order; None: all of them."""
    if examples is None or examples == len(split):
        return split
    if isinstance(examples, bool) or not isinstance(examples, (int, np.integer)) or not 1 <= examples <= len(split):
        raise UsageError(f"examples is {examples!r}; give a whole number from 1 to {len(split):,}, or None for all")
    places = np.sort(np.random.default_rng(np.random.SeedSequence([seed, 7])).permutation(len(split))[:examples])
    assert split.labels is not None
    weights = None if split.weights is None else split.weights[places]
    return Split(split.features[places], split.labels[places], weights=weights)

"""From what an estimator was given to what its recipe's program trains on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from thalweg.data.preprocessing import Preprocessing, fit_preprocessing
from thalweg.data.splits import stratified
from thalweg.errors import UsageError
from thalweg.estimators.base import Given, dense
from thalweg.extraction import View, view
from thalweg.fitted import FittedModel
from thalweg.recipe import Recipe
from thalweg.training.program import Examples, Inputs
from thalweg.training.sparse_rows import SparseRows, longest
from thalweg.training.train import examples_of, scaled_weights

__all__ = ["Seen"]


@dataclass(frozen=True, eq=False)
class Seen:
    """The program's inputs, and all that a `FittedModel` keeps of how they came about.

    ``shape`` is one example's as the user gives it, ``state`` what the recipe's features learned.
    """

    inputs: Inputs
    preprocessing: Preprocessing
    shape: tuple[int, ...]
    feature_names: tuple[str, ...] | None
    state: dict[str, np.ndarray]

    @classmethod
    def of(
        cls,
        given: Given,
        recipe: Recipe,
        preprocessing: str | None,
        input_shape: tuple[int, ...] | None,
        names: tuple[str, ...] | None,
        *,
        hold: float | None = None,
        portion: bool = False,
        like: FittedModel | None = None,
    ) -> Seen:
        """Prepare the examples: a share ``hold`` of them to judge by; or a ``portion``, ``like`` those before it.

        A portion's weights stay as they come: scaled to its own mean, they would not tell portions apart.
        """
        kept, held = given, None
        if hold is not None:
            kept, held = _cut(given, hold, recipe.seed)
        if sparse.issparse(given.features):
            return cls._of_sparse(kept, held, recipe, preprocessing, input_shape, names, portion, like)
        dataset = kept.dataset(input_shape, names)
        if held is not None:
            dataset = replace(dataset, validation=held.dataset(input_shape).train)
        seen = view(dataset, recipe.features, preprocessing) if like is None else _view_like(like, dataset)
        if portion:
            seen = replace(seen, preprocessing=_open_to_more(seen.preprocessing))
        judging = seen.dataset.validation
        validation = None if judging is None else examples_of(judging, seen.preprocessing)
        training = examples_of(seen.dataset.train, seen.preprocessing)
        inputs = Inputs(training._replace(weights=_on_device(kept.weights, portion)), validation)
        return cls(inputs, seen.preprocessing, dataset.feature_shape, dataset.feature_names, seen.state)

    @classmethod
    def _of_sparse(
        cls,
        kept: Given,
        held: Given | None,
        recipe: Recipe,
        preprocessing: str | None,
        input_shape: tuple[int, ...] | None,
        names: tuple[str, ...] | None,
        portion: bool,
        like: FittedModel | None,
    ) -> Seen:
        if input_shape is not None or recipe.features is not None or recipe.augmentation is not None:
            raise UsageError("X is sparse, and images are not: give them dense, or leave out what needs images")
        prepared = fit_preprocessing(kept.features, preprocessing, kept.weights) if like is None else like.preprocessing
        if portion:
            prepared = _open_to_more(prepared)
        validation = None if held is None else _examples(held, prepared, portion=False)
        inputs = Inputs(_examples(kept, prepared, portion=portion), validation)
        return cls(inputs, prepared, kept.features.shape[1:], names, {})


def _cut(given: Given, share: float, seed: int) -> tuple[Given, Given]:
    kept, held = stratified(given.labels, share, np.random.SeedSequence([seed, 2]))
    if not len(held):
        raise UsageError("patience holds examples out, and no class has two: give more examples, or patience=None")
    return given.take(kept), given.take(held)


def _view_like(model: FittedModel, dataset: Any) -> View:
    """Show a portion as the first one was shown."""
    part = model.recipe.features
    if part is not None:
        train = replace(dataset.train, features=part.transform(dataset.train.features, model.feature_state))
        dataset = replace(dataset, train=train, feature_names=None)
    return View(part, model.feature_state, dataset, model.preprocessing)


def _open_to_more(prepared: Preprocessing) -> Preprocessing:
    """Scale a feature that is constant in the first portion by 1, not 0: the next may tell it apart."""
    return replace(prepared, scale=np.where(prepared.scale == 0, np.float32(1), prepared.scale))


def _on_device(weights: np.ndarray | None, portion: bool) -> Any:
    if weights is None or not portion:
        return scaled_weights(weights)
    return jnp.asarray(weights, jnp.float32)


def _examples(given: Given, prepared: Preprocessing, *, portion: bool) -> Examples:
    """Put sparse rows on the device: compressed, or dense where that is smaller (long rows, or one of them)."""
    width = given.features.shape[1]
    smaller = 2 * longest(given.features) < width  # a place and a number for each entry
    features = SparseRows.of(given.features) if smaller else jnp.asarray(dense(given.features))
    shift, scale = jnp.asarray(prepared.shift), jnp.asarray(prepared.scale)
    return Examples(features, jnp.asarray(given.labels), shift, scale, _on_device(given.weights, portion))

"""A search over recipes, all trials in one program, behind scikit-learn's interface of a search."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from thalweg.estimators.base import Classifier, feature_names, seed_of
from thalweg.estimators.recipes import RecipeClassifier, of_recipe
from thalweg.run import Trial
from thalweg.search import active
from thalweg.sweeps import sweep

__all__ = ["SweepClassifier"]


class SweepClassifier(Classifier):
    """The best of many recipes, all trained at once, chosen on held-out examples; see `thalweg.sweep`.

    Arguments:
        recipe: a `Recipe` with ranges in it; None: a space around AdamW sized to the data.
        trials: how many recipes to draw.
        search: ``sobol``, ``random`` or ``grid`` (with ``points`` values a range).
        seeds, halving, patience, tolerance, selection, refit, preprocessing: as in `thalweg.sweep`.
        validation_fraction: what share of the examples judges the trials; None: 0.2, or 0.1 from 20,000 on.
        input_shape: (height, width, channels), where the rows of X are images laid flat; None: vectors.
        class_weight: None, ``"balanced"``, or a mapping of classes to weights, as in scikit-learn.
        random_state: of the draw, of the held-out examples and of the default space's recipe.

    Attributes after `fit`: ``run_`` (the whole `Run`), ``trials_``, ``best_params_`` (what was searched, by
    the names that `best_estimator_.set_params` takes), ``best_score_`` (held-out accuracy), ``best_index_``,
    ``best_estimator_`` (a fitted `LinearClassifier`, `DenseClassifier` or `RecipeClassifier`),
    ``cv_results_`` (as `GridSearchCV`'s, with one split; its names are those of the recipe, and another rule than
    ``best`` may select what does not rank first), ``model_``, ``classes_``.

    No test examples are held out: `score` on examples of your own, or `cross_val_score`, tell
    how good it is. A sparse X is made dense whole, in float32.
    """

    def __init__(
        self,
        recipe: Any = None,
        *,
        trials: int = 32,
        search: str = "sobol",
        points: int | None = None,
        seeds: int = 1,
        halving: Any = None,
        patience: int | None = None,
        tolerance: float | None = None,
        selection: str = "best",
        refit: bool = True,
        preprocessing: str | None = "auto",
        validation_fraction: float | None = None,
        input_shape: tuple[int, ...] | None = None,
        class_weight: Any = None,
        random_state: Any = 0,
    ) -> None:
        self.recipe = recipe
        self.trials = trials
        self.search = search
        self.points = points
        self.seeds = seeds
        self.halving = halving
        self.patience = patience
        self.tolerance = tolerance
        self.selection = selection
        self.refit = refit
        self.preprocessing = preprocessing
        self.validation_fraction = validation_fraction
        self.input_shape = input_shape
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SweepClassifier:
        """Search on features X (N, D), with labels y (N,) and, if given, weights (N,) of their losses in training."""
        given = self._given(X, y, sample_weight)
        run = sweep(
            self.recipe, given.dataset(self.input_shape, feature_names(self)),
            trials=self.trials, seed=seed_of(self.random_state), seeds=self.seeds, search=self.search,
            points=self.points, halving=self.halving, patience=self.patience, tolerance=self.tolerance,
            selection=self.selection, refit=self.refit, preprocessing=given.preprocessing(self.preprocessing),
            validation=self.validation_fraction, test=0,
        )  # fmt: skip
        best = run.best
        assert best is not None
        assert run.model is not None
        self.trials_, self.model_ = run.trials, run.model
        self.run_ = dataclasses.replace(run, dataset=None)  # a fitted estimator does not carry its examples about
        self.best_index_, self.best_score_ = best.number, best.validation_accuracy
        self.cv_results_ = self._results()
        self.best_estimator_ = self._estimator(best)
        own = self.best_estimator_.get_params()
        # A DenseClassifier has its model's parameters as its own.
        self.best_params_ = {
            name if name in own else name.removeprefix("model__"): value for name, value in self._params(best).items()
        }
        return self

    def _loss(self) -> Any:
        return super()._loss() if self.recipe is None else self.recipe.loss

    def _params(self, trial: Trial) -> dict[str, Any]:
        """Return what was searched and bears on a trial, by nested names."""
        found = {}
        for dimension in active(self.run_.space, trial.coordinates):
            path = [step for step in dimension.path if not step.startswith("[")]
            value: Any = trial.recipe
            for step in path:
                value = value[int(step)] if isinstance(value, (tuple, list)) else getattr(value, step)
            found["__".join(path)] = value
        return found

    def _results(self) -> dict[str, Any]:
        params = [self._params(trial) for trial in self.trials_]
        scores = np.array([trial.validation_accuracy for trial in self.trials_])
        order = {trial.number: rank for rank, trial in enumerate(self.run_.ranked(), start=1)}
        columns = {}
        for name in sorted({name for one in params for name in one}):
            values = np.empty(len(params), object)
            values[:] = [one.get(name) for one in params]
            columns[f"param_{name}"] = np.ma.MaskedArray(values, mask=[name not in one for one in params])
        return {
            "params": params,
            **columns,
            "split0_test_score": scores,
            "mean_test_score": scores,
            "std_test_score": np.zeros(len(scores)),
            "rank_test_score": np.array([order[trial.number] for trial in self.trials_], np.int32),
            "status": np.array([trial.status.name for trial in self.trials_]),
        }

    def _estimator(self, best: Trial) -> RecipeClassifier:
        """Return the winner as an estimator of its own, fitted already."""
        estimator = of_recipe(
            best.recipe,
            preprocessing=self.preprocessing,
            input_shape=self.input_shape,
            class_weight=self.class_weight,
            patience=self.patience,
        )
        return estimator.adopt(self, best.history["data_loss"])

    def _summary(self) -> list[tuple[str, str]]:
        counts = ", ".join(f"{count} {name}" for name, count in self.run_.statuses.items())
        chosen = ", ".join(f"{name} = {value}" for name, value in self.best_params_.items())
        return [
            *super()._summary(),
            ("trials", counts),
            ("chosen", chosen or "the only recipe"),
            ("held-out accuracy", f"{self.best_score_:.4f}; {len(self.run_.tied)} trials cannot be told from it"),
            *[("note", edge.sentence()) for edge in self.run_.edges],
        ]

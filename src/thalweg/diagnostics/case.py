"""What is diagnosed: a run, one of its trials, and the data where it is at hand."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np

from thalweg.data import Dataset, load
from thalweg.data.splits import split_dataset
from thalweg.errors import UsageError
from thalweg.fitted import FittedModel
from thalweg.paths.prepare import hold_out, training_examples
from thalweg.paths.records import Path
from thalweg.run import Run, Trial

__all__ = ["Case"]


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A run with the trial that is looked at, and the splits it was trained on.

    ``trial`` is None for a path, and for a run that selected nothing. ``data`` has the splits as the
    run had them (None: the data is not at hand; ``why_no_data`` says why). ``model`` is the run's
    model where the trial is its winner; the weights of other trials are not kept.
    """

    run: Run | Path
    trial: Trial | None
    data: Dataset | None
    why_no_data: str = "the data was not given"

    @property
    def sweep(self) -> Run | None:
        """The run, where it is a sweep's."""
        return self.run if isinstance(self.run, Run) else None

    @property
    def path(self) -> Path | None:
        """The run, where it is a path's."""
        return self.run if isinstance(self.run, Path) else None

    @property
    def model(self) -> FittedModel | None:
        """The fitted model of the trial (of a path: of the chosen solution)."""
        if isinstance(self.run, Run) and (self.trial is None or self.run.best is not self.trial):
            return None
        return self.run.model

    @property
    def classes(self) -> tuple[str, ...]:
        return self.run.data.classes

    @cached_property
    def inputs(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """What the model itself takes, and the labels, by split: features extracted and preprocessed, float32."""
        model, data = self.model, self.data
        if model is None or data is None:
            return {}
        return {name: (_seen(model, split.features), np.asarray(split.labels)) for name, split in data.splits()}

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """The model's scores (N, classes) by split."""
        if self.model is None or self.data is None:
            return {}
        return {name: self.model.scores(split.features) for name, split in self.data.splits()}


def _seen(model: FittedModel, features: np.ndarray) -> np.ndarray:
    part = model.recipe.features
    shown = features if part is None else part.transform(features, model.feature_state)
    return np.asarray(model.preprocessing.transform(np.asarray(shown)), np.float32)


def make_case(run: Run | Path, data: Any = None, trial: int | None = None) -> Case:
    """Put a case together; ``data`` is whatever `load` reads, and must be the data of the run.

    The splits are cut as the run cut them: from its seed and shares.

    Raises:
        UsageError: the data is other than the run's, or there is no trial of that number.
    """
    looked_at = _trial(run, trial)
    if data is None:
        return Case(run, looked_at, None)
    dataset = load(data)
    if dataset.fingerprint() != run.data.fingerprint:
        raise UsageError(
            f"{dataset.source or dataset.name} is not the data that the run was made on (its fingerprint "
            f"differs): give {run.data.source} as it was then, read with the same options"
        )
    return Case(run, looked_at, _splits(run, dataset))


def _trial(run: Run | Path, number: int | None) -> Trial | None:
    if isinstance(run, Path):
        if number is not None:
            raise UsageError(f"trial is {number}, and a path has solutions, no trials: leave it out")
        return None
    if number is None:
        return run.best
    if not (isinstance(number, int) and 0 <= number < len(run.trials)):
        raise UsageError(f"trial is {number!r}; the run has trials 0 to {len(run.trials) - 1}")
    return run.trials[number]


def _splits(run: Run | Path, dataset: Dataset) -> Dataset:
    settings = run.settings
    if isinstance(run, Run):
        return split_dataset(dataset, validation=settings["validation"], test=settings["test"], seed=settings["seed"])
    cut = (
        hold_out(dataset, settings["test"], settings["seed"]) if settings["folds"] and dataset.test is None else dataset
    )
    return dataclasses.replace(cut, train=training_examples(cut), validation=None)

"""What is diagnosed: a run, one of its trials, and the data where it is at hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from thalweg.data import Dataset, Split, load
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.data.splits import split_dataset
from thalweg.errors import UsageError
from thalweg.fitted import FittedModel
from thalweg.paths.prepare import hold_out, training_examples
from thalweg.paths.records import Path
from thalweg.run import Run, Trial

__all__ = ["Case"]

_T = TypeVar("_T")
_BLOCK = 4096  # examples transformed at once


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A run with the trial that is looked at, and the splits it was trained on.

    ``trial`` is None for a path. Of a run that selected nothing (every trial diverged, say) it is the first of those
    that trained longest, and there are no weights. ``data`` has the splits as the
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
    def inputs(self) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
        """What the model itself takes, and the labels, by split: features extracted and preprocessed, float32.

        Each split is computed when it is first asked for.
        """
        return _OnDemand(self._splits, lambda name: (self.rows(name), np.asarray(self._splits[name].labels)))

    @cached_property
    def scores(self) -> Mapping[str, np.ndarray]:
        """The model's scores (N, classes) by split, each computed from `inputs` when it is first asked for."""
        return _OnDemand(self._splits, lambda name: self._bare.scores(self.inputs[name][0]))

    def rows(self, split: str, rows: np.ndarray | None = None) -> np.ndarray:
        """Return examples (n, ...) of a split as the model itself takes them, float32; None: all of them."""
        known = self.__dict__.get("inputs")
        if rows is not None and known is not None and known.done(split):
            return np.asarray(known[split][0][rows])
        model, features = self.model, self._splits[split].features
        assert model is not None
        part = model.recipe.features
        places = np.arange(len(features)) if rows is None else rows
        out: np.ndarray | None = None
        for start in range(0, len(places), _BLOCK):
            taken = places[start : start + _BLOCK]
            block = features[taken]
            shown = block if part is None else part.transform(block, model.feature_state)
            block = np.asarray(model.preprocessing.transform(np.asarray(shown)), np.float32)
            out = np.empty((len(places), *block.shape[1:]), np.float32) if out is None else out
            out[start : start + len(taken)] = block
        assert out is not None
        return out

    @property
    def _splits(self) -> dict[str, Split]:
        return {} if self.model is None or self.data is None else dict(self.data.splits())

    @cached_property
    def _bare(self) -> FittedModel:
        """The model for examples that are extracted and preprocessed already."""
        model, row = self.model, self.rows("train", np.arange(1))
        assert model is not None
        recipe = dataclasses.replace(model.recipe, features=None)
        return dataclasses.replace(
            model,
            recipe=recipe,
            preprocessing=fit_preprocessing(row, "none"),
            feature_shape=row.shape[1:],
            feature_dtype="float32",
        )


class _OnDemand(Mapping[str, _T]):
    """A mapping over splits whose values are computed when they are first asked for."""

    def __init__(self, names: Iterable[str], compute: Callable[[str], _T]) -> None:
        self._names, self._compute = tuple(names), compute
        self._known: dict[str, _T] = {}

    def __getitem__(self, name: str) -> _T:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = self._compute(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def done(self, name: str) -> bool:
        """Whether a split's value is there already."""
        return name in self._known


# The fingerprint is of features, labels and classes: it does not tell of weights.
_WEIGHTED = (
    "the run weighted its examples, and this data has no weights: call diagnostics.diagnose(run, data) in Python with "
    "a Dataset whose training split has them"
)
_UNWEIGHTED = "this data weights its examples, and the run did not: give the data without weights"


def make_case(run: Run | Path, data: Any = None, trial: int | None = None) -> Case:
    """Put a case together; ``data`` is whatever `load` reads, and must be the data of the run.

    None takes the data that the run still holds (``run.dataset``: it was made in this process), if any. The splits are
    cut as the run cut them: from its seed and shares. Where the run weighted its examples and this data does not, or
    the other way round, the objective is not the run's: the data is left out, and the case says so.

    Raises:
        UsageError: the data is other than the run's, or there is no trial of that number.
    """
    looked_at = _trial(run, trial)
    if data is None:
        return Case(run, looked_at, None if run.dataset is None else _as_trained(run, run.dataset))
    dataset = load(data)
    if dataset.fingerprint() != run.data.fingerprint:
        raise UsageError(
            f"{dataset.name} is not the data that the run was made on, {run.data.name} (the fingerprints differ): give "
            "that as it was then, read with the same options"
        )
    if (dataset.train.weights is not None) != run.data.weighted:
        return Case(run, looked_at, None, _WEIGHTED if run.data.weighted else _UNWEIGHTED)
    return Case(run, looked_at, _splits(run, dataset))


def _trial(run: Run | Path, number: int | None) -> Trial | None:
    if isinstance(run, Path):
        if number is not None:
            raise UsageError(f"trial is {number}, and a path has solutions, no trials: leave it out")
        return None
    if number is None:
        # Every trial diverged, or the run was stopped early: the longest history tells most.
        return run.best or max(run.trials, key=lambda trial: len(trial.history["data_loss"]), default=None)
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
    return _as_trained(run, cut)


def _as_trained(run: Run | Path, cut: Dataset) -> Dataset:
    """A path's folds are cut from all but the test split."""
    return cut if isinstance(run, Run) else dataclasses.replace(cut, train=training_examples(cut), validation=None)

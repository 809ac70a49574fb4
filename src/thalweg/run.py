"""A run: what a sweep found, with everything needed to repeat it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.artifacts.run_folder import save_run
from thalweg.fitted import FittedModel, Score
from thalweg.recipe import Recipe
from thalweg.search import Coordinates
from thalweg.selection import Edge, Selection
from thalweg.training import Status

__all__ = ["DataSummary", "Run", "Trial"]


@dataclass(frozen=True)
class Trial:
    """One recipe of a sweep, with its metrics and its status.

    ``history`` maps each metric (`training.METRICS`) to an array over the epochs
    that were trained. The weights that count are those after epoch ``kept_epoch``:
    the last one, or with early stopping the one of lowest validation loss.
    """

    number: int
    recipe: Recipe
    status: Status
    history: dict[str, np.ndarray]
    kept_epoch: int
    cohort: int
    coordinates: Coordinates

    @property
    def validation_accuracy(self) -> float:
        return self._kept("validation_accuracy")

    @property
    def validation_loss(self) -> float:
        return self._kept("validation_loss")

    def _kept(self, metric: str) -> float:
        return float(self.history[metric][self.kept_epoch - 1]) if self.kept_epoch else float("nan")


@dataclass(frozen=True)
class DataSummary:
    """The data set of a run, so far as a run folder tells of it."""

    name: str
    source: str
    fingerprint: str
    classes: tuple[str, ...]
    feature_shape: tuple[int, ...]
    examples: dict[str, int]  # split → count
    skipped: int
    preprocessing: str


@dataclass(frozen=True)
class Run:
    """The result of `sweep` or `fit`.

    ``best`` is the selected trial, ``model`` the fitted model (refitted on
    training + validation where ``refitted``), ``test`` its only score on the
    test split. All three are None where an interruption left nothing to select,
    and ``test`` is None in every interrupted run: the test split stays unseen.
    """

    space: Recipe
    settings: dict[str, Any]
    data: DataSummary
    trials: tuple[Trial, ...]
    selection: Selection | None
    edges: tuple[Edge, ...]
    model: FittedModel | None
    refitted: bool
    test: Score | None
    seconds: dict[str, float]
    messages: tuple[str, ...]
    interrupted: bool
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Trial | None:
        return None if self.selection is None else self.trials[self.selection.best]

    @property
    def tied(self) -> tuple[Trial, ...]:
        """The trials that the evidence cannot tell from the best."""
        return () if self.selection is None else tuple(self.trials[i] for i in self.selection.tied)

    @property
    def statuses(self) -> dict[str, int]:
        """How many trials ended in each way, for the ways that occurred."""
        counts: dict[str, int] = {}
        for trial in self.trials:
            counts[trial.status.name] = counts.get(trial.status.name, 0) + 1
        return counts

    def ranked(self) -> list[Trial]:
        """The trials in the order of their validation accuracy, those that did not finish last."""

        def key(trial: Trial) -> tuple[bool, float, float]:
            accuracy, loss = trial.validation_accuracy, trial.validation_loss
            known = np.isfinite(accuracy) and np.isfinite(loss)
            return not trial.status.finished, -accuracy if known else 1.0, loss if known else np.inf

        return sorted(self.trials, key=key)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the run folder; see `artifacts.run_folder`. Returns its path."""
        return save_run(self, folder, overwrite=overwrite)

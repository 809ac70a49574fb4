"""A run: what a sweep found, with everything needed to repeat it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.artifacts.run_folder import save_run
from thalweg.data.builtin import BUILTIN
from thalweg.data.dataset import Dataset
from thalweg.findings import Finding
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
    history: dict[str, np.ndarray] = field(repr=False)
    kept_epoch: int
    cohort: int
    coordinates: Coordinates = field(repr=False)

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
    skipped: tuple[tuple[str, str], ...]  # name and reason of each example left out
    preprocessing: str
    feature_dtype: str
    weighted: bool = False  # whether its training examples brought weights

    @property
    def address(self) -> str | None:
        """What `load` reads the data from again; None where it was arrays."""
        if self.source.startswith("built in") and self.name in BUILTIN:
            return self.name  # which is how they are loaded; the source describes them
        return None if self.source == "arrays" else self.source


@dataclass(frozen=True)
class Run:
    """The result of `sweep` or `fit`.

    ``best`` is the selected trial, ``model`` the fitted model (refitted on
    training + validation where ``refitted``), ``test`` its only score on the
    test split. All three are None where an interruption left nothing to select,
    and ``test`` is None in every interrupted run: the test split stays unseen.
    ``sanity`` is what `training.sanity.check_recipes` found before the training.
    ``dataset`` is the data with the splits as the run cut them, so that a diagnosis and a report need not
    be given it again; a run folder does not hold it.
    """

    space: Recipe
    settings: dict[str, Any]
    data: DataSummary
    trials: tuple[Trial, ...]
    seconds: dict[str, float]
    messages: tuple[str, ...] = ()
    interrupted: bool = False
    selection: Selection | None = None
    edges: tuple[Edge, ...] = ()
    model: FittedModel | None = None
    refitted: bool = False
    test: Score | None = None
    versions: dict[str, str] = field(default_factory=dict)
    sanity: tuple[Finding, ...] = ()
    dataset: Dataset | None = field(default=None, repr=False, compare=False)

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
        """The trials by validation accuracy (the mean over a recipe's seeds, then their own), unfinished ones last."""
        groups = self.selection.groups if self.selection else ()
        means = {number: group.mean for group in groups for number in group.trials}

        def key(trial: Trial) -> tuple[bool, float, float, float]:
            accuracy, loss = trial.validation_accuracy, trial.validation_loss
            if not (np.isfinite(accuracy) and np.isfinite(loss)):
                return not trial.status.finished, 1.0, 1.0, np.inf
            return not trial.status.finished, -means.get(trial.number, accuracy), -accuracy, loss

        return sorted(self.trials, key=key)

    def save(self, folder: str | Path, *, overwrite: bool = False, report: bool = True) -> Path:
        """Write the run folder (see `artifacts.run_folder`), then its ``report.html``. Returns its path.

        The report takes some seconds, of which most go into the diagnoses; with many examples, features or classes
        (50,000 images of 3,072 numbers) a quarter of a minute on two cores. ``report=False`` leaves it out, and
        ``thalweg report`` writes it later. Where the report cannot be written the run is saved all the same, and a
        warning says why.
        """
        place = save_run(self, folder, overwrite=overwrite)
        if report:
            from thalweg.report.write import add_report  # here, since a report reads runs

            add_report(self, place)
        return place

"""What a path found: a solution for each strength with its certificate, and the choice among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from thalweg.artifacts.path_folder import save_path
from thalweg.data.dataset import Dataset
from thalweg.data.preprocessing import Preprocessing
from thalweg.fitted import FittedModel, Score
from thalweg.losses import Hinge, Softmax
from thalweg.penalties import Penalty
from thalweg.run import DataSummary

__all__ = ["Choice", "Path", "PathProgress", "PathSolution"]


@dataclass(frozen=True)
class PathSolution:
    """The optimum for one strength (and loss, and class weighting), fitted on all training examples.

    ``weights`` (classes, features) and ``bias`` (classes,) are float64 and act on
    preprocessed features, which the solver saw centred and rounded to float32: with the features
    as they were ``value`` differs by some 1e-8 of itself. ``value`` is the objective, and the minimum is not lower
    than ``value − bound``. ``status`` is one of `solvers.STATUSES`.

    With folds, ``fold_accuracies`` and ``fold_losses`` are those on each fold's
    held-out examples, by the optimum of the rest; ``fold_bounds`` are the relative
    bounds of those optima.
    """

    number: int
    strength: float
    penalty: Penalty
    loss: Softmax | Hinge
    class_weight: str
    weights: np.ndarray = field(repr=False)
    bias: np.ndarray = field(repr=False)
    value: float
    bound: float
    status: str
    iterations: int
    fold_accuracies: tuple[float, ...] = ()
    fold_losses: tuple[float, ...] = ()
    fold_bounds: tuple[float, ...] = ()
    fold_statuses: tuple[str, ...] = ()

    @property
    def relative_bound(self) -> float:
        return self.bound / self.value

    @property
    def worst_bound(self) -> float:
        """The largest relative bound of its own optimum and its folds'; infinite where one of them is NaN."""
        bounds = np.asarray([self.relative_bound, *self.fold_bounds])
        return float("inf") if np.isnan(bounds).any() else float(bounds.max())

    @property
    def nonzeros(self) -> int:
        """How many weights are not exactly 0."""
        return int(np.count_nonzero(self.weights))

    @property
    def validation_accuracy(self) -> float:
        """The mean over folds; NaN without folds."""
        return float(np.mean(self.fold_accuracies)) if self.fold_accuracies else float("nan")

    @property
    def validation_loss(self) -> float:
        return float(np.mean(self.fold_losses)) if self.fold_losses else float("nan")

    @property
    def standard_error(self) -> float:
        """Of the mean accuracy: the standard deviation over folds / √folds."""
        count = len(self.fold_accuracies)
        return float(np.std(self.fold_accuracies, ddof=1) / np.sqrt(count)) if count > 1 else float("nan")


@dataclass(frozen=True)
class Choice:
    """Which solution was chosen, by number, and what the evidence says about the others.

    Solutions whose optimum, or a fold's, is not known to within ``limit`` of its
    value were left out: their held-out accuracy says little. ``caveats`` says so in words, and what
    of the chosen solution is not certified to the tolerance.
    """

    best: int  # the highest cross-validated accuracy
    one_standard_error: int  # the strongest penalty within a standard error of it
    chosen: int
    rule: str
    tied: tuple[int, ...]  # those that a paired test cannot tell from the chosen one
    p_values: dict[int, float]
    edges: tuple[str, ...]
    left_out: tuple[int, ...] = ()
    limit: float = 1e-2
    proven: bool = True  # False where no solution is known so well, and all took part
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class PathProgress:
    """How far a path is."""

    done: int
    total: int
    message: str = ""
    stage: str = ""  # where the work stands while nothing is solved

    def sentence(self) -> str:
        if self.stage:
            return self.stage
        return f"solving {self.done / max(1, self.total):4.0%}: {self.done} of {self.total} optima"


@dataclass(frozen=True)
class Path:
    """The result of `path`.

    ``solutions`` run from the strongest penalty down, for each loss and class
    weighting in turn, and act on the features that ``preprocessing`` makes. ``choice``,
    ``model`` (the chosen solution, fitted on all training examples) and ``test`` (its only score on the test
    split) are None without folds, and after an interruption. The model's own preprocessing also takes out offsets that
    would cost its float32 scores their digits. ``dataset`` is the data as the path cut it, which a run folder does
    not hold.
    """

    solutions: tuple[PathSolution, ...]
    tolerance: float
    settings: dict[str, Any]
    data: DataSummary
    seconds: dict[str, float]
    preprocessing: Preprocessing
    messages: tuple[str, ...] = ()
    interrupted: bool = False
    choice: Choice | None = None
    model: FittedModel | None = None
    test: Score | None = None
    versions: dict[str, str] = field(default_factory=dict)
    dataset: Dataset | None = field(default=None, repr=False, compare=False)

    @property
    def best(self) -> PathSolution | None:
        """The solution that the rule chose."""
        return None if self.choice is None else self.solutions[self.choice.chosen]

    @property
    def tied(self) -> tuple[PathSolution, ...]:
        return () if self.choice is None else tuple(self.solutions[i] for i in self.choice.tied)

    @property
    def largest_relative_bound(self) -> float:
        """Of all solutions; NaN where one of them is not finite."""
        return float(np.max([solution.relative_bound for solution in self.solutions]))

    @property
    def statuses(self) -> dict[str, int]:
        """How many solutions ended in each way."""
        counts: dict[str, int] = {}
        for solution in self.solutions:
            counts[solution.status] = counts.get(solution.status, 0) + 1
        return counts

    def save(self, folder: str | FilePath, *, overwrite: bool = False, report: bool = True) -> FilePath:
        """Write the run folder (see `artifacts.path_folder`), then its ``report.html``. Returns its path.

        ``report=False`` leaves the report out, and ``thalweg report`` writes it later. Where the report cannot be
        written the path is saved all the same, and a warning says why.
        """
        place = save_path(self, folder, overwrite=overwrite)
        if report:
            from thalweg.report.write import add_report  # here, since a report reads paths

            add_report(self, place)
        return place

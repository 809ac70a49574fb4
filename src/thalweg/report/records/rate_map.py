"""The best accuracy over a grid of two searched numbers: as a rule the learning rate and the weight decay."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from thalweg.report.block import Lacking
from thalweg.report.records.hyperparameters import RATE, Hyperparameter, HyperparametersRecord, hyperparameters_record
from thalweg.run import Run

__all__ = ["MapAxis", "RateMapRecord", "rate_map_record"]

_FEWEST, _MOST = 3, 8  # cells along an axis
_TRIALS = 6  # below which there is no map
_LISTED = 10  # values, up to which each has a row of its own
_DECAYS = ("weight_decay", "strength", "decay")


@dataclass(frozen=True, eq=False)
class MapAxis:
    """One of the two hyperparameters, in k cells.

    Either each cell holds a stretch between two of ``edges`` (k + 1,), ascending, by factors where ``log``; or, where
    few values were tried, each holds one of ``values`` (k,), ascending, and ``edges`` is None.
    """

    name: str
    short: str
    log: bool
    edges: np.ndarray | None
    values: np.ndarray | None = None

    @property
    def cells(self) -> int:
        if self.edges is not None:
            return len(self.edges) - 1
        assert self.values is not None
        return len(self.values)

    def cell(self, values: np.ndarray) -> np.ndarray:
        """Return the cell of each value; the last one holds its upper edge too."""
        if self.edges is None:
            assert self.values is not None
            return np.searchsorted(self.values, values)
        return np.clip(np.searchsorted(self.edges, values, side="right") - 1, 0, self.cells - 1)

    def ends(self, cell: int) -> tuple[float, ...]:
        """Return the two edges of a cell, or the one value that it holds."""
        if self.edges is None:
            assert self.values is not None
            return (float(self.values[cell]),)
        return float(self.edges[cell]), float(self.edges[cell + 1])


@dataclass(frozen=True, eq=False)
class RateMapRecord:
    """A map with rows along ``y`` and columns along ``x``; all arrays are (rows, columns), from the lowest values on.

    ``best`` is the highest validation accuracy of the trials that finished there, NaN where none did; ``trials``,
    ``diverged`` and ``cut`` (pruned or interrupted) count trials. ``winner`` is the selected trial's cell (row,
    column), None where it has no place here; ``left_out`` counts the run's trials that have not both numbers.
    """

    x: MapAxis
    y: MapAxis
    best: np.ndarray = field(repr=False)
    trials: np.ndarray = field(repr=False)
    diverged: np.ndarray = field(repr=False)
    cut: np.ndarray = field(repr=False)
    winner: tuple[int, int] | None
    left_out: int

    @property
    def only_diverged(self) -> np.ndarray:
        """Cells in which there are trials, and all of them diverged: bool (rows, columns)."""
        return (self.trials > 0) & (self.diverged == self.trials)

    @property
    def top(self) -> tuple[int, int] | None:
        """The cell of the highest accuracy, None where no trial finished."""
        if not np.isfinite(self.best).any():
            return None
        row, column = np.unravel_index(np.nanargmax(self.best), self.best.shape)
        return int(row), int(column)


def rate_map_record(run: Run | HyperparametersRecord) -> RateMapRecord | Lacking:
    """Return the best accuracy by learning rate and decay (or penalty strength), where both were searched.

    Where they were not, by the two numbers that account for most of the differences (see `records.hyperparameters`).
    An axis has about √n cells for n trials, 3 to 8, evenly over the range that was searched (for the rate of several
    schedules over what was tried); a number that took few values has a cell for each.

    Returns:
        `Lacking` where no two numbers were searched together, or by fewer than 6 trials.
    """
    record = run if isinstance(run, HyperparametersRecord) else hyperparameters_record(run)
    pair = None if isinstance(record, Lacking) else _pair(record)
    if isinstance(record, Lacking) or pair is None:
        return Lacking(
            "A map needs two numbers that were searched together: search the learning rate and the weight decay, "
            "such as weight_decay = log_uniform(1e-4, 1.0)."
        )
    first, second = pair
    both = _both(first, second)
    if both.sum() < _TRIALS:
        return Lacking(f"{int(both.sum())} trials are too few for a map of two numbers: run {_TRIALS} or more.")
    side = int(np.clip(round(math.sqrt(both.sum())), _FEWEST, _MOST))
    x, y = _axis(first, both, side), _axis(second, both, side)
    return _filled(record, first, second, x, y, both)


def _filled(
    record: HyperparametersRecord, first: Hyperparameter, second: Hyperparameter, x: MapAxis, y: MapAxis,
    both: np.ndarray,
) -> RateMapRecord:  # fmt: skip
    assert first.values is not None
    assert second.values is not None
    columns, rows = x.cell(first.values[both]), y.cell(second.values[both])
    told, accuracy, numbers = np.array(record.outcomes)[both], record.accuracy[both], record.trials[both]
    shape = (y.cells, x.cells)

    def count(which: np.ndarray) -> np.ndarray:
        out = np.zeros(shape, int)
        np.add.at(out, (rows[which], columns[which]), 1)
        return out

    done = (told == "finished") & np.isfinite(accuracy)
    best = np.full(shape, -np.inf)
    np.maximum.at(best, (rows[done], columns[done]), accuracy[done])
    own = [] if record.winner is None else np.flatnonzero(numbers == record.winner).tolist()
    return RateMapRecord(
        x=x,
        y=y,
        best=np.where(np.isfinite(best), best, np.nan),
        trials=count(np.full(len(told), True)),
        diverged=count(told == "diverged"),
        cut=count(told == "cut short"),
        winner=(int(rows[own[0]]), int(columns[own[0]])) if len(own) else None,
        left_out=int((~both).sum()),
    )


def _both(first: Hyperparameter, second: Hyperparameter) -> np.ndarray:
    both: np.ndarray = first.there & second.there
    return both


def _pair(record: HyperparametersRecord) -> tuple[Hyperparameter, Hyperparameter] | None:
    """The rate and a decay where both were searched, else the first two numbers; the rate comes first."""
    numbers = [one for one in record.hyperparameters if one.values is not None]
    pairs = [(first, second) for i, first in enumerate(numbers) for second in numbers[i + 1 :]]
    turned = [(b, a) if _is_rate(b) and not _is_rate(a) else (a, b) for a, b in pairs if _vary(a, b)]
    known = [(a, b) for a, b in turned if _is_rate(a) and _is_decay(b)]
    return next(iter([*known, *turned]), None)


def _is_rate(one: Hyperparameter) -> bool:
    return "learning_rate" in one.name.split(".")


def _is_decay(one: Hyperparameter) -> bool:
    return one.name.split(".")[-1] in _DECAYS


def _vary(first: Hyperparameter, second: Hyperparameter) -> bool:
    assert first.values is not None
    assert second.values is not None
    both = _both(first, second)
    return all(len(np.unique(values[both])) > 1 for values in (first.values, second.values))


def _axis(one: Hyperparameter, both: np.ndarray, side: int) -> MapAxis:
    assert one.values is not None
    values = one.values[both]
    distinct = np.unique(values)
    if len(distinct) <= (_LISTED if one.searched is None else side):
        return MapAxis(one.name, one.short, one.log, None, distinct)
    # Of several schedules the rates' ranges differ, and not all of them need have the other number.
    tried = (float(distinct[0]), float(distinct[-1]))
    low, high = tried if one.searched is None or one.name == RATE else one.searched
    spaced = np.geomspace if one.log else np.linspace
    return MapAxis(one.name, one.short, one.log, spaced(low, high, side + 1))

"""How much the learning rate matters to each optimizer: accuracy against the rate, and where training breaks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from thalweg.ranges import Choice, Range
from thalweg.report.block import Lacking
from thalweg.report.records.common import accuracy_of, optimizers_of, outcome_of, peak_rate
from thalweg.run import Run, Trial
from thalweg.search import Dimension, active, dimensions, option_index
from thalweg.selection import edges
from thalweg.statistics import standard_error

__all__ = ["OptimizerRates", "SensitivityRecord", "sensitivity_record"]

_PART = 3  # envelope points a decade


@dataclass(frozen=True, eq=False)
class OptimizerRates:
    """The trials of one optimizer that have a learning rate, n of them, in order of the rate.

    ``trials`` (n,) are their numbers, ``rates`` (n,) the peaks of their schedules, ``accuracy`` (n,) the validation
    accuracies that they ended with, NaN for diverged ones and where no epoch was finished; ``outcomes`` say
    "finished", "diverged" or "cut short" (pruned or interrupted).

    ``envelope`` holds the places, in order, of the most accurate finished trial within each third of a decade.
    ``best`` is the place of the most accurate of all finished ones (of equals the one of lower validation loss), None
    where there is none, and ``error`` the standard error of its accuracy over n validation examples
    (`statistics.standard_error`). ``forgiving`` are the lowest and the highest rate of a finished trial within that
    error of the best, over the thirds of a decade around it in each of which more than half of the trials lie within it
    (diverged ones do not; those cut short do not count): thirds are followed from the best trial's on, both ways, until
    one has trials and no such majority. Where the best trial's own third has none it is the best rate alone. Of the
    ``among`` finished and diverged trials at these rates ``within`` lie within that error.
    ``searched`` are the ends of the range that rates were drawn from (the least and the largest option of a choice),
    None where the rate was fixed. ``edge`` says in a sentence that the best rate lies at an end of it, "" where not.
    """

    name: str
    trials: np.ndarray = field(repr=False)
    rates: np.ndarray = field(repr=False)
    accuracy: np.ndarray = field(repr=False)
    outcomes: tuple[str, ...] = field(repr=False)
    envelope: np.ndarray = field(repr=False)
    best: int | None
    error: float
    forgiving: tuple[float, float] | None
    searched: tuple[float, float] | None
    edge: str = ""
    within: int = 0
    among: int = 0

    @property
    def judged(self) -> int:
        """How many trials finished or diverged: what the forgiving rates are read from."""
        return len(self.outcomes) - self.outcomes.count("cut short")

    @property
    def diverged(self) -> int:
        return self.outcomes.count("diverged")

    @property
    def decades(self) -> float:
        """How many factors of ten the forgiving rates span; NaN without a finished trial."""
        return math.log10(self.forgiving[1] / self.forgiving[0]) if self.forgiving else math.nan

    @property
    def smallest_diverged(self) -> float | None:
        found = [
            rate for rate, outcome in zip(self.rates.tolist(), self.outcomes, strict=True) if outcome == "diverged"
        ]
        return min(found) if found else None


@dataclass(frozen=True, eq=False)
class SensitivityRecord:
    """One `OptimizerRates` for each optimizer that has rates, in order of their first trial.

    ``winner`` is the selected trial's number. ``examples`` is the number of validation examples, ``without`` counts the
    trials by optimizer that have no learning rate (random search, an Optax chain).
    """

    optimizers: tuple[OptimizerRates, ...]
    winner: int | None
    examples: int
    without: dict[str, int]

    @property
    def rates(self) -> np.ndarray:
        """All rates and ends of ranges: what a common axis must hold."""
        ends = [end for one in self.optimizers for end in one.searched or ()]
        return np.concatenate([*(one.rates for one in self.optimizers), ends])


def sensitivity_record(run: Run) -> SensitivityRecord | Lacking:
    """Return the validation accuracy of every trial against the peak of its learning rate, by optimizer.

    Returns:
        `Lacking` where no optimizer was trained at two rates or more.
    """
    ranges = _ranges(run)
    examples = run.data.examples.get("validation", 0)
    found, without = [], {}
    for name, trials in optimizers_of(run).items():
        rated = sorted(((rate, t.number, t) for t in trials if (rate := peak_rate(t)) is not None), key=lambda r: r[:2])
        if len(rated) < len(trials):
            without[name] = len(trials) - len(rated)
        if rated:
            found.append(_optimizer(run, name, [(rate, trial) for rate, _, trial in rated], ranges, examples))
    if not any(len(np.unique(one.rates)) > 1 for one in found):
        return Lacking(
            "No optimizer was trained at more than one learning rate, so nothing shows how much the rate matters: "
            "search a range of rates, such as log_uniform(1e-4, 1e-1)."
        )
    return SensitivityRecord(tuple(found), None if run.best is None else run.best.number, examples, without)


def _optimizer(
    run: Run,
    name: str,
    rated: Sequence[tuple[float, Trial]],
    ranges: Callable[[Trial, float], tuple[float, float] | None],
    examples: int,
) -> OptimizerRates:
    rates = np.array([rate for rate, _ in rated])
    accuracy = np.array([accuracy_of(trial) for _, trial in rated])
    outcomes = tuple(outcome_of(trial) for _, trial in rated)
    thirds = np.floor(_PART * np.log10(rates) + 1e-9).astype(int)
    done = [i for i, outcome in enumerate(outcomes) if outcome == "finished" and math.isfinite(accuracy[i])]

    def merit(place: int) -> tuple[float, float]:
        loss = rated[place][1].validation_loss
        return float(accuracy[place]), -loss if math.isfinite(loss) else -math.inf

    best = max(done, key=merit) if done else None
    error, forgiving, within, among = math.nan, None, 0, 0
    if best is not None:
        p = float(accuracy[best])
        error = standard_error(p, examples) if examples else 0.0
        good = np.isin(np.arange(len(rates)), [i for i in done if accuracy[i] >= p - error - 1e-12])
        told = np.array(outcomes) != "cut short"
        low, high = forgiving = _forgiving(rates, thirds, good, told, best)
        inside = told & (rates >= low) & (rates <= high)
        within, among = int((inside & good).sum()), int(inside.sum())
    ends = [pair for rate, trial in rated if (pair := ranges(trial, rate)) is not None]
    return OptimizerRates(
        name=name,
        trials=np.array([trial.number for _, trial in rated]),
        rates=rates,
        accuracy=accuracy,
        outcomes=outcomes,
        envelope=np.array([max((i for i in done if thirds[i] == t), key=merit) for t in sorted({*thirds[done]})], int),
        best=best,
        error=error,
        forgiving=forgiving,
        searched=(min(low for low, _ in ends), max(high for _, high in ends)) if ends else None,
        edge="" if best is None else _edge(run, rated[best][1], float(rates[best])),
        within=within,
        among=among,
    )


def _forgiving(
    rates: np.ndarray, thirds: np.ndarray, good: np.ndarray, told: np.ndarray, best: int
) -> tuple[float, float]:
    """Return the ends of the rates around the best: thirds of a decade without a trial are passed over.

    A majority, so that one lucky trial among many that fail does not make a third forgiving.
    """
    there = np.unique(thirds[told])
    held = [2 * int(good[thirds == third].sum()) > int((told & (thirds == third)).sum()) for third in there.tolist()]
    low = high = there.tolist().index(int(thirds[best]))
    if not held[low]:
        return float(rates[best]), float(rates[best])
    while low > 0 and held[low - 1]:
        low -= 1
    while high < len(there) - 1 and held[high + 1]:
        high += 1
    reached = rates[good & (thirds >= there[low]) & (thirds <= there[high])]
    return float(reached.min()), float(reached.max())


def _ranges(run: Run) -> Callable[[Trial, float], tuple[float, float] | None]:
    """Return what finds the ends of the range that a trial's rate was drawn from.

    Which places of the space bear on a trial depends on the options it took, so each set of options is looked up once.
    """
    choices = [one for one in dimensions(run.space) if isinstance(one.range, Choice)]
    known: dict[tuple[int | None, ...], list[Dimension]] = {}

    def ends(trial: Trial, rate: float) -> tuple[float, float] | None:
        places = trial.coordinates
        taken = tuple(option_index(c.range, places[c.path]) if c.path in places else None for c in choices)  # type: ignore[arg-type]
        if taken not in known:
            known[taken] = [one for one in active(run.space, places) if "learning_rate" in one.path]
        for one in known[taken]:
            if one.path in places and math.isclose(_value(one, places[one.path]), rate, rel_tol=1e-6):
                return _ends(one.range)
        return None

    return ends


def _value(place: Dimension, u: float) -> float:
    """The number at a coordinate, NaN for a part."""
    at = place.range.at(u) if isinstance(place.range, Range) else place.range.options[option_index(place.range, u)]
    return float(at) if isinstance(at, (int, float)) else math.nan


def _ends(place: Range | Choice) -> tuple[float, float] | None:
    if isinstance(place, Range):
        low, high = place.low, place.high
    else:
        numbers = [one for one in place.options if isinstance(one, (int, float))]
        low, high = min(numbers), max(numbers)
    return (float(low), float(high)) if 0 < low < high else None


def _edge(run: Run, trial: Trial, rate: float) -> str:
    """The sentence of `selection.edges` about this trial's rate."""
    if not all(one.path in trial.coordinates for one in active(run.space, trial.coordinates)):
        return ""
    found = [e for e in edges(run.space, trial.coordinates) if "learning_rate" in e.name.split(".")]
    return next((e.sentence() for e in found if math.isclose(e.value, rate, rel_tol=1e-6)), "")

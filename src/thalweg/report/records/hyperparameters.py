"""What each searched hyperparameter did to the validation accuracy, the most telling one first."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thalweg.ranges import LogUniform, Range
from thalweg.report.block import Lacking
from thalweg.report.records.common import (
    accuracy_of,
    flat,
    optimizer_of,
    outcome_of,
    peak_rate,
    searched,
    seeds_of,
    short_names,
)
from thalweg.report.records.rank_shares import GROUPS, LEVEL, chance, explained_share, merits, parted, spearman
from thalweg.run import Run, Trial
from thalweg.search import dimensions
from thalweg.statistics import holm
from thalweg.training.status import PRUNED

__all__ = [
    "NONE", "RATE", "ChoiceSummary", "Hyperparameter", "HyperparametersRecord", "hyperparameters_record", "spread",
]  # fmt: skip

NONE = "none"  # the word for an argument that was left out
RATE = "optimizer.learning_rate"  # the name of the rate where schedules of several kinds hold it
_OTHERS = "others"
_BY_FACTORS = 8.0  # numbers from a list stand on a log axis where the largest is this many times the least


@dataclass(frozen=True)
class ChoiceSummary:
    """How the trials of one choice did; the accuracies are of its finished trials, NaN where none finished."""

    word: str
    trials: int
    diverged: int
    best: float
    median: float


@dataclass(frozen=True, eq=False)
class Hyperparameter:
    """One searched hyperparameter, with its value in each of the record's n trials.

    ``name`` is dotted, as in ``trials.csv``; ``also`` names choices that went with this one in every trial, so that no
    figure can tell them apart. For a number ``values`` (n,) holds it, NaN in trials whose recipe has none; ``log`` says
    that it was searched by factors, ``searched`` gives the ends of its range. For a choice ``words`` (n,) holds it,
    None where there is none, and ``choices`` has a summary of each: numbers in their order, then words by their first
    trial. A list of numbers that holds 0 beside others is a choice: no axis shows it by factors.

    ``explained`` is the share of the variance of the accuracy's ranks that lies between groups of trials (see
    `rank_shares.explained_share`), ``correlation`` Spearman's of a number with the accuracy; None for too few trials.
    ``chance`` is the p-value of that share by permutation (`rank_shares.chance`), adjusted by Holm for the number of
    hyperparameters that have one: from 0.05 on the share cannot be told from chance.
    """

    name: str
    short: str
    also: tuple[str, ...]
    values: np.ndarray | None = field(repr=False)
    words: tuple[str | None, ...] | None = field(repr=False)
    log: bool
    searched: tuple[float, float] | None
    choices: tuple[ChoiceSummary, ...]
    explained: float | None
    correlation: float | None
    chance: float | None = None

    @property
    def told(self) -> bool:
        """Whether its share can be told from chance."""
        return self.chance is not None and self.chance < LEVEL

    @property
    def there(self) -> np.ndarray:
        """Which trials have the hyperparameter: bool (n,)."""
        if self.values is not None:
            return np.isfinite(self.values)
        assert self.words is not None
        return np.array([word is not None for word in self.words])

    def side_by_side(self, most: int) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the words of at most ``most`` columns, the rarest choices as "others", and each trial's column (n,).

        A trial without the hyperparameter gets some column; see ``there``.
        """
        assert self.words is not None
        words = tuple(choice.word for choice in self.choices)
        if len(words) > most:
            frequent = {word for word, _ in Counter(w for w in self.words if w is not None).most_common(most - 1)}
            words = (*(word for word in words if word in frequent), _OTHERS)
        places = {word: place for place, word in enumerate(words)}
        return words, np.array([places.get(word or "", len(words) - 1) for word in self.words], int)


@dataclass(frozen=True, eq=False)
class HyperparametersRecord:
    """The trials of a run, n of them, and the hyperparameters that differ between them, the most telling first.

    ``accuracy`` (n,) and ``outcomes`` (n,) are as in `records.sensitivity`. ``judged`` is the number of trials that
    are ranked, which ``explained`` rests on: those that finished, diverged or were pruned (see `rank_shares.merits`).
    ``pruned`` of them were.
    """

    trials: np.ndarray = field(repr=False)
    accuracy: np.ndarray = field(repr=False)
    outcomes: tuple[str, ...] = field(repr=False)
    winner: int | None
    judged: int
    hyperparameters: tuple[Hyperparameter, ...]
    pruned: int = 0


def hyperparameters_record(run: Run) -> HyperparametersRecord | Lacking:
    """Return each hyperparameter that the search varied, the seed apart, with what it did to the accuracy.

    A number or word counts where two trials of equal kinds (of loss, schedule, optimizer, ...) differ in it, or where
    the space leaves it open: what merely comes with another kind is not listed. The peak of the learning rate is one
    hyperparameter, whichever schedules hold it. They come in the order of `Hyperparameter.explained`; with fewer than
    8 trials in that of the recipe.

    Returns:
        `Lacking` where nothing differs.
    """
    columns = _columns(run)
    if not columns:
        return Lacking(
            "No hyperparameter differs between the trials, so none can be compared: search some, such as "
            "weight_decay = log_uniform(1e-4, 1.0)."
        )
    accuracy = np.array([accuracy_of(trial) for trial in run.trials])
    outcomes = tuple(outcome_of(trial) for trial in run.trials)
    rungs = np.array([_rung(trial) for trial in run.trials])
    merit = merits(accuracy, outcomes, rungs)
    recipes = np.zeros(len(run.trials), int)
    for place, alike in enumerate(seeds_of(run)):
        recipes[list(alike)] = place
    trials = _Trials(accuracy, outcomes, merit, recipes)
    short = short_names([*columns])
    kept = _adjusted(_without_doubles([_hyperparameter(run, n, columns[n], short[n], trials) for n in columns]))
    kept.sort(key=lambda one: -1.0 if one.explained is None else -one.explained)
    return HyperparametersRecord(
        trials=np.array([trial.number for trial in run.trials]),
        accuracy=accuracy,
        outcomes=outcomes,
        winner=None if run.best is None else run.best.number,
        judged=int((~np.isnan(merit)).sum()),
        hyperparameters=tuple(kept),
        pruned=int((np.isfinite(rungs) & ~np.isnan(merit)).sum()),
    )


@dataclass(frozen=True, eq=False)
class _Trials:
    """What became of each trial: arrays (n,); ``recipes`` numbers them, alike where but the seeds differ."""

    accuracy: np.ndarray
    outcomes: tuple[str, ...]
    merit: np.ndarray
    recipes: np.ndarray


def _rung(trial: Trial) -> float:
    """The rung at which a trial was pruned; NaN for all others."""
    return float(trial.status.at) if trial.status.name == PRUNED and trial.status.at is not None else math.nan


def _adjusted(found: Sequence[Hyperparameter]) -> list[Hyperparameter]:
    """Adjust the p-values for there being several."""
    whole = iter(holm([one.chance for one in found if one.chance is not None]))
    return [one if one.chance is None else dataclasses.replace(one, chance=next(whole)) for one in found]


def spread(places: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Return where trials of columns ``places`` (n,) stand, column i being [i, i + 1]: about its middle.

    How far off the middle is told by the trial's number: multiples of the golden ratio, less whole numbers, are spread
    evenly, and no lot decides what a picture looks like.
    """
    apart: np.ndarray = places + 0.5 + 0.5 * ((trials * 0.6180339887498949) % 1 - 0.5)
    return apart


def _columns(run: Run) -> dict[str, list[Any]]:
    """Return the values of each hyperparameter that varies of its own accord, by name, in the recipe's order."""
    table = searched(run)
    rows = [flat(trial) for trial in run.trials]
    owners = [optimizer_of(trial) for trial in run.trials]
    kinds = [name for name in table if name.split(".")[-1] == "kind"]
    alike = [(owner, *(table[name][i] for name in kinds)) for i, owner in enumerate(owners)]
    columns: dict[str, list[Any]] = {}
    if len({*owners}) > 1:
        columns["optimizer"] = list(owners)
    open_places = {one.name for one in dimensions(run.space)}
    rates = [peak_rate(trial) for trial in run.trials]
    held = [name for name in table if _holds_rate(name, table[name], rates)]
    for name, values in table.items():
        if name in kinds:
            if name != "optimizer.kind" and not _follows(values, owners):
                columns[name] = [row.get(name) for row in rows]
        elif name in held:
            columns[RATE if len(held) > 1 else name] = list(rates)
        elif _varies(values, alike) or (name in open_places and not _follows(values, owners)):
            columns[name] = values
    return columns


def _holds_rate(name: str, values: Sequence[Any], rates: Sequence[float | None]) -> bool:
    """Whether a name is that of the peak rate, wherever a trial has it."""
    steps = name.split(".")
    if "learning_rate" not in steps or steps[-1] == "kind":
        return False
    pairs = [(value, rate) for value, rate in zip(values, rates, strict=True) if value is not None]
    return bool(pairs) and all(isinstance(value, (int, float)) and value == rate for value, rate in pairs)


def _follows(values: Sequence[Any], owners: Sequence[str]) -> bool:
    """Whether a value is settled by the optimizer alone."""
    known: dict[str, Any] = {}
    return all(known.setdefault(owner, value) == value for owner, value in zip(owners, values, strict=True))


def _varies(values: Sequence[Any], alike: Sequence[Hashable]) -> bool:
    known: dict[Hashable, str] = {}
    return any(known.setdefault(key, repr(value)) != repr(value) for key, value in zip(alike, values, strict=True))


def _hyperparameter(run: Run, name: str, column: Sequence[Any], short: str, trials: _Trials) -> Hyperparameter:
    judged = ~np.isnan(trials.merit)
    values, words = _numbers(column), None
    choices: tuple[ChoiceSummary, ...] = ()
    log, ends = False, None
    if values is not None:
        log, ends = _scale(run, name, values[np.isfinite(values)])
        if ends is None and not log and _by_factors(values):
            values = None
    if values is not None:
        chosen = judged & np.isfinite(values)
        groups: list[Hashable] = parted(values[chosen]).tolist()
    else:
        words = tuple(_word(value) if value is not None or _leaves_out(column) else None for value in column)
        chosen = judged & np.array([word is not None for word in words])
        groups = [word for word, there in zip(words, chosen, strict=True) if there]
        choices = _choices(words, trials.accuracy, trials.outcomes)
    merit, recipes = trials.merit[chosen], trials.recipes[chosen].tolist()
    explained = explained_share(groups, merit)
    return Hyperparameter(
        name=name,
        short=short,
        also=(),
        values=values,
        words=words,
        log=log,
        searched=ends,
        choices=choices,
        explained=explained,
        correlation=None if values is None else spearman(values[chosen], merit),
        chance=None if explained is None else chance(groups, merit, recipes),
    )


def _numbers(column: Sequence[Any]) -> np.ndarray | None:
    """Return a column as numbers, NaN where there is none; None for a column of choices."""
    given = {value for value in column if value is not None}
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in given):
        return None
    if len(given) < 2:
        return None  # a number, or none at all: two choices
    return np.array([math.nan if value is None else float(value) for value in column])


def _by_factors(values: np.ndarray) -> bool:
    """Whether a few numbers hold 0 beside others that lie factors apart."""
    distinct = np.unique(values[np.isfinite(values)])
    above = distinct[distinct > 0]
    return 0 in distinct and 2 < len(distinct) <= GROUPS + 1 and bool(above.max() >= _BY_FACTORS * above.min())


def _leaves_out(column: Sequence[Any]) -> bool:
    """Whether None is one of the choices: an argument that is left out or is the same number."""
    return len({repr(value) for value in column if value is not None}) < 2


def _word(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _scale(run: Run, name: str, values: np.ndarray) -> tuple[bool, tuple[float, float] | None]:
    """Return whether a number was searched by factors, and the ends of its range, None for a list of numbers."""
    ranges = [d.range for d in dimensions(run.space) if _is_place(d.name, name) and isinstance(d.range, Range)]
    positive = bool(len(values)) and bool(np.all(values > 0))
    if ranges:
        ends = (float(min(one.low for one in ranges)), float(max(one.high for one in ranges)))
        return positive and ends[0] > 0 and any(isinstance(one, LogUniform) for one in ranges), ends
    return positive and bool(values.max() >= _BY_FACTORS * values.min()), None


def _is_place(place: str, name: str) -> bool:
    """Whether a searched place holds a flattened recipe's number; the rate's may lie in any schedule."""
    if place == name or place.removesuffix(".value") == name.removesuffix(".value"):
        return True
    return name == RATE and place.startswith(f"{RATE}.") and place.split(".")[-1] in ("peak", "initial", "value")


def _choices(words: Sequence[str | None], accuracy: np.ndarray, outcomes: Sequence[str]) -> tuple[ChoiceSummary, ...]:
    found = []
    told = np.array(outcomes)
    for word in sorted(dict.fromkeys(word for word in words if word is not None), key=_number_first):
        own = np.array([one == word for one in words])
        values = accuracy[own & (told == "finished") & np.isfinite(accuracy)]
        best, median = (float(values.max()), float(np.median(values))) if len(values) else (math.nan, math.nan)
        found.append(ChoiceSummary(word, int(own.sum()), int((own & (told == "diverged")).sum()), best, median))
    return tuple(found)


def _number_first(word: str) -> tuple[bool, float]:
    try:
        return False, float(word)
    except ValueError:
        return True, 0.0


def _without_doubles(found: Sequence[Hyperparameter]) -> list[Hyperparameter]:
    """Drop each choice that parts the trials as an earlier one does, and name it there."""
    kept: dict[Hashable, Hyperparameter] = {}
    also: dict[Hashable, list[str]] = {}
    for one in found:
        key: Hashable = one.name
        if one.words is not None:
            places = {word: place for place, word in enumerate(dict.fromkeys(one.words))}
            key = tuple(places[word] for word in one.words)
        if key in kept:
            also.setdefault(key, []).append(one.name)
        else:
            kept[key] = one
    return [dataclasses.replace(one, also=tuple(also.get(key, ()))) for key, one in kept.items()]

"""Selection: which trial wins on validation, and how sure that is.

Trials that differ in their seed alone form a group and are ranked by their mean.
A paired test on the validation examples tells which trials the evidence cannot
tell from the winner; a best value at the edge of its range is flagged, since the
optimum may lie outside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import DivergedError, UsageError, nearest
from thalweg.ranges import Choice, Integers, Range
from thalweg.recipe import Recipe, seed_groups
from thalweg.search import Coordinates, active, option_index
from thalweg.statistics import holm, mcnemar
from thalweg.training import TrialRecord
from thalweg.training.status import DIVERGED, INTERRUPTED

__all__ = ["RULES", "Edge", "Group", "Selection", "check_rule", "edges", "select"]

RULES = ("best", "one-standard-error")
"""By which rule `select` takes the winner."""
_LEVEL = 0.05  # a trial counts as worse than the winner below this p-value
_EDGE = 0.05  # the outer share of a range that counts as its edge


@dataclass(frozen=True)
class Group:
    """Trials of one recipe but for the seed."""

    trials: tuple[int, ...]
    accuracies: tuple[float, ...]  # validation accuracy of each finished trial
    diverged: int  # how many of its seeds diverged

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds, None for a single one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class Edge:
    """A searched number whose best value lies at the end of its range."""

    name: str
    value: float
    low: float
    high: float
    side: str  # "low" or "high"

    def sentence(self) -> str:
        return (
            f"{self.name} = {self.value:.3g} lies at the {self.side} edge of its range [{self.low:g}, {self.high:g}]: "
            "a wider range may do better"
        )


@dataclass(frozen=True)
class Selection:
    """The winner, by trial number, and what the evidence says about the others."""

    best: int
    rule: str
    group: Group
    groups: tuple[Group, ...]
    tied: tuple[int, ...]
    better: tuple[int, ...]  # more accurate than the winner by the same test: one-standard-error passed them over
    p_values: Mapping[int, float]  # of the paired test against the winner, by trial


def check_rule(rule: str) -> None:
    """Raise a UsageError unless the rule is one of RULES."""
    if rule not in RULES:
        raise UsageError(f"selection is {rule!r}; it must be one of {', '.join(RULES)}{nearest(str(rule), RULES)}")


def select(recipes: Sequence[Recipe], records: Sequence[TrialRecord], rule: str = "best") -> Selection:
    """Select among finished trials by validation accuracy.

    ``best`` takes the group with the highest mean accuracy (then the lowest
    validation loss). ``one-standard-error`` takes, among the groups within one
    standard error √(p(1−p)/n) of that mean, the one with the smallest weight
    norm: the most regularised, whatever it was that regularised it (Breiman et
    al. 1984 in the form of Hastie et al. 2009, section 7.10). A group in which
    a seed diverged is taken only if there is no other. The winning trial is its
    group's best seed.

    Raises DivergedError where no trial finished because all diverged.
    """
    check_rule(rule)
    groups = _groups(recipes, records)
    if not groups:
        names = [record.status.name for record in records if record.status]
        diverged, others = names.count(DIVERGED), len(names) - names.count(DIVERGED)
        rest = f" and {others} were pruned before the end" if others else ""
        raise DivergedError(
            f"{'all ' * (not others)}{diverged} trials diverged{rest}, so there is nothing to select: "
            "search smaller learning rates"
        )

    def loss(group: Group) -> float:
        return float(np.mean([records[i].last("validation_loss") for i in group.trials]))

    def norm(group: Group) -> float:
        return float(np.mean([records[i].last("weight_norm") for i in group.trials]))

    sound = [group for group in groups if not group.diverged] or groups
    chosen = min(sound, key=lambda group: (-group.mean, loss(group)))
    if rule == "one-standard-error":
        error = math.sqrt(chosen.mean * (1 - chosen.mean) / _examples(records, chosen))
        chosen = min((g for g in sound if g.mean >= chosen.mean - error), key=norm)
    best = max(
        chosen.trials, key=lambda i: (records[i].last("validation_accuracy"), -records[i].last("validation_loss"))
    )
    p_values = _compare(records, best, [g for g in groups if g is not chosen])
    tied = tuple(trial for trial, p in p_values.items() if p >= _LEVEL)
    accuracy = records[best].last("validation_accuracy")
    better = tuple(i for i in p_values if i not in tied and records[i].last("validation_accuracy") > accuracy)
    return Selection(best, rule, chosen, tuple(groups), tied, better, p_values)


def _groups(recipes: Sequence[Recipe], records: Sequence[TrialRecord]) -> list[Group]:
    finished = any(record.status and record.status.finished for record in records)
    groups = []
    for trials in seed_groups(recipes):
        done = [i for i in trials if _selectable(records[i], finished)]
        diverged = sum(1 for i in trials if (status := records[i].status) and status.name == DIVERGED)
        if done:
            accuracies = tuple(records[i].last("validation_accuracy") for i in done)
            groups.append(Group(tuple(done), accuracies, diverged))
    return groups


def _selectable(record: TrialRecord, finished: bool) -> bool:
    """Finished trials compete; where there is none, those that an interruption cut short do, with what they had."""
    if record.status is None or record.correct is None:
        return False
    return record.status.finished or (not finished and record.status.name == INTERRUPTED)


def _examples(records: Sequence[TrialRecord], group: Group) -> int:
    correct = records[group.trials[0]].correct
    assert correct is not None
    return len(correct)


def _compare(records: Sequence[TrialRecord], best: int, others: Sequence[Group]) -> dict[int, float]:
    """Test the winner against each other group's best trial, and adjust for how many there are.

    What this promises: the truly best trial is the winner or stays among the
    tied, but for 5 % of sweeps (multiple comparisons with the best, Hsu 1984).
    It does not promise that every trial left out is worse: the winner was picked
    for its luck too, so among many equal trials one or another is left out.
    """
    rivals = [max(group.trials, key=lambda i: records[i].last("validation_accuracy")) for group in others]
    winner = records[best].correct
    assert winner is not None
    p_values = []
    for rival in rivals:
        correct = records[rival].correct
        assert correct is not None
        p_values.append(mcnemar(winner, correct))
    return dict(sorted(zip(rivals, holm(p_values), strict=True)))


def edges(space: Recipe, coordinates: Coordinates) -> list[Edge]:
    """List the numbers of a trial that lie in the outer twentieth of the range they were searched in."""
    found = []
    for dimension in active(space, coordinates):
        if dimension.path == ("seed",):
            continue  # seeds have no order, so their range has no edge
        u = coordinates[dimension.path]
        place = dimension.range
        if isinstance(place, Choice):
            if edge := _choice_edge(dimension.name, place, u):
                found.append(edge)
        elif side := _side(place, u):
            found.append(Edge(dimension.name, place.at(u), place.low, place.high, side))
    return found


def _side(place: Range, u: float) -> str | None:
    if isinstance(place, Integers):
        if place.high - place.low < 2:
            return None  # of two numbers each is an end
        if (value := place.at(u)) in (place.low, place.high):
            return "low" if value == place.low else "high"
    return "low" if u < _EDGE else "high" if u > 1 - _EDGE else None


def _choice_edge(name: str, place: Choice, u: float) -> Edge | None:
    """The least or the largest of three or more numbers to choose from is an edge too."""
    values = [v for v in place.options if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(values) < len(place.options) or len(set(values)) < 3:
        return None
    value = values[option_index(place, u)]
    low, high = min(values), max(values)
    side = "low" if value == low else "high" if value == high else None
    return Edge(name, value, low, high, side) if side else None

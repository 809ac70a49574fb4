"""Was the search wide enough, the validation split large enough, and would another seed have chosen the same?"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import numpy as np

from thalweg.diagnostics.base import Check, Need
from thalweg.diagnostics.case import Case
from thalweg.diagnostics.measures import chance_loss
from thalweg.diagnostics.seeds import SeedsDisagree
from thalweg.findings import Finding, Severity
from thalweg.paths.records import Path
from thalweg.ranges import Choice, Range
from thalweg.run import Run
from thalweg.search import Dimension, active, option_index
from thalweg.selection import Edge
from thalweg.statistics import wilson

__all__ = ["CHECKS", "BestAtEdge", "ValidationTooSmall"]

_EDGE_PART = 1 / 3  # of a range counts as near its edge; the rest is what the winner is compared with
_UNLEARNT = 0.8  # of the loss at chance: above it a model knows next to nothing
_STEEPER = 1.5  # times what the loss fell away from the edge
_MATTERS = 0.02  # of accuracy: two points, less than which few would search on for
_BLIND = 0.06  # half an interval, in accuracy
_FEWEST = 3  # trials in the rest of the range, below which nothing can be said of it


class BestAtEdge(Check):
    """A searched number of the winner lies at the edge of its range, and the accuracy still rises towards it.

    ``value`` is (a − a_rest) / √(a (1 − a) / n): the winner's validation accuracy less that of the best trial of
    the two thirds of the range that lie away from the edge, in standard errors over the n validation examples (two
    right and two wrong ones added to a and n); the largest over the numbers at an edge. With seeds both are means
    over a recipe's seeds. Of a path: cross-validated accuracies, the strengths in logarithms, and the standard error
    that of the mean over folds.

    Threshold: one standard error, the rule of Breiman et al. 1984: trials within it count as equally good, and
    where one of them lies inside the range the edge is a place like others, on a plateau or by chance. Accuracies
    can stand still while training has hardly begun, since small weights may point the right way. So it counts too
    that the winner's validation loss is above 0.8 of that at chance, and has fallen 1.5 times as far as anywhere
    away from the edge.
    """

    code: ClassVar[str] = "SR01"
    title: ClassVar[str] = "best value at the edge of its range"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = "widen the range beyond that edge and search again"
    threshold: ClassVar[float] = 1.0
    unit: ClassVar[str] = "standard errors"
    needs: ClassVar[tuple[Need, ...]] = ("selection",)

    def look(self, case: Case) -> Finding:
        if case.path is not None:
            return self._look_at_path(case.path)
        run = case.sweep
        assert run is not None
        searched = _numbers(run)
        if not searched:
            return self.not_applicable("the recipe leaves no number open, or only choices without an order")
        judged = [found for edge in run.edges if (found := _rise(run, edge, searched)) is not None]
        if not judged:
            if run.edges:
                return self.not_applicable(
                    f"{run.edges[0].name} lies at an edge, but fewer than {_FEWEST} trials away from it show the trend"
                )
            names = f"{len(searched)} searched number{'s' * (len(searched) > 1)}"
            return self.passed(f"of the winner's {names} none lies at an edge of its range")
        steepest = max(judged, key=lambda rise: rise.errors)
        unlearnt = [rise for rise in judged if rise.unlearnt]
        trouble = steepest.errors > self.threshold or bool(unlearnt)
        shown = steepest if steepest.errors > self.threshold or not unlearnt else unlearnt[0]
        return self.judged(trouble, shown.sentence, shown.errors)

    def _look_at_path(self, path: Path) -> Finding:
        assert path.choice is not None
        best = path.solutions[path.choice.best]
        alike = [s for s in path.solutions if (s.loss, s.class_weight) == (best.loss, best.class_weight)]
        places = np.log([s.strength for s in alike])
        if len(alike) < _FEWEST + 1 or np.ptp(places) == 0:
            return self.not_applicable(f"{len(alike)} strengths have no inside")
        u = (places - places.min()) / np.ptp(places)
        own = float(u[alike.index(best)])
        if 0 < own < 1:
            return self.passed(f"the best strength, {best.strength:.3g}, lies inside its range")
        rest = [s.validation_accuracy for s, place in zip(alike, u, strict=True) if abs(place - own) >= _EDGE_PART]
        rise = _Rise(
            f"the strength {best.strength:.3g} lies at the {'low' if own == 0 else 'high'} edge of its range",
            best.validation_accuracy, max(rest), max(best.standard_error, 1e-12), len(rest),
        )  # fmt: skip
        return self.judged(rise.errors > self.threshold, rise.sentence, rise.errors)


class _Rise(NamedTuple):
    """How much better the winner is than what lies away from its edge."""

    where: str
    accuracy: float
    rest: float
    error: float
    trials: int
    loss: float = math.nan
    rest_loss: float = math.nan  # the lowest
    start: float = math.nan  # the loss of the least trained of the rest, at most a tenth above chance
    chance: float = math.nan

    @property
    def fall(self) -> float:
        return self.start - self.loss

    @property
    def rest_fall(self) -> float:
        return self.start - self.rest_loss

    @property
    def unlearnt(self) -> bool:
        """Nearly nothing is learnt anywhere, and most at the edge."""
        return self.loss > _UNLEARNT * self.chance and self.fall > max(0.0, _STEEPER * self.rest_fall)

    @property
    def errors(self) -> float:
        return (self.accuracy - self.rest) / self.error

    @property
    def sentence(self) -> str:
        text = (
            f"{self.where}; the accuracy there is {self.accuracy:.4f}, and {self.rest:.4f} at the best of "
            f"{self.trials} in the two thirds of the range away from it, {self.errors:.1f} standard errors less"
        )
        if not math.isnan(self.loss):
            text += f"; the validation loss is {self.loss:.4g} there and at least {self.rest_loss:.4g} away from it"
        return text


def _numbers(run: Run) -> list[Dimension]:
    """The winner's searched places that have an order."""
    assert run.best is not None
    found = []
    for dimension in active(run.space, run.best.coordinates):
        ordered = isinstance(dimension.range, Range) or len(_values(dimension.range)) >= _FEWEST
        if dimension.path != ("seed",) and ordered:
            found.append(dimension)
    return found


def _values(place: Choice) -> list[float]:
    """The options of a choice where all are numbers, else nothing."""
    values = [v for v in place.options if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return values if len(values) == len(place.options) else []


def _rise(run: Run, edge: Edge, searched: list[Dimension]) -> _Rise | None:
    """Compare the winner with the trials away from its edge; None where there are too few."""
    selection = run.selection
    assert selection is not None
    assert run.best is not None
    (dimension,) = (d for d in searched if d.name == edge.name)
    own = _place(dimension, run.best.coordinates[dimension.path])
    rest = []
    losses: list[float] = []
    for group in selection.groups:
        first = run.trials[group.trials[0]]
        bears = any(d.path == dimension.path for d in active(run.space, first.coordinates))
        if bears and abs(_place(dimension, first.coordinates[dimension.path]) - own) >= _EDGE_PART:
            rest.append(group.mean)
            if first.recipe.loss == run.best.recipe.loss:  # those of two kinds do not compare
                losses.append(min(run.trials[number].validation_loss for number in group.trials))
    if len(rest) < _FEWEST:
        return None
    error = _standard_error(selection.group.mean, run.data.examples["validation"])
    where = f"{edge.name} = {edge.value:.3g} lies at the {edge.side} edge of its range [{edge.low:g}, {edge.high:g}]"
    classes = len(run.data.classes)
    chance = chance_loss(run.best.recipe.loss, classes)
    loss = run.best.validation_loss
    known = [value for value in losses if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (math.nan, math.nan)
    start = min(max(high, chance), 1.1 * chance)
    return _Rise(where, selection.group.mean, max(rest), error, len(rest), loss, low, start, chance)


def _place(dimension: Dimension, u: float) -> float:
    """Where in [0, 1] a coordinate lies, in the order of the values."""
    if isinstance(dimension.range, Range):
        return u
    values = sorted(set(_values(dimension.range)))
    return values.index(_values(dimension.range)[option_index(dimension.range, u)]) / (len(values) - 1)


def _standard_error(accuracy: float, count: int) -> float:
    """√(p (1 − p) / n) with two right and two wrong examples added (Agresti and Coull 1998): 0 and 1 are unsure too."""
    p = (accuracy * count + 2) / (count + 4)
    return math.sqrt(p * (1 - p) / (count + 4))


class ValidationTooSmall(Check):
    """The validation split is too small to tell trials apart that look different.

    Of the trials whose validation accuracy is two points or more below the winner's, ``value`` is the share that
    the paired test (McNemar, Holm; `Selection.tied`) cannot tell from it: differences that would matter, and that
    may be chance. Trials that all do alike are no trouble, unless the winner's interval is wider than ± 6 points: then
    they may do alike because the split is too coarse. The evidence has Wilson's
    95 % interval of the winner's accuracy against the spread of all accuracies, and about how many examples would
    tell the median of those trials from the winner: their p-values fall with the number of examples at constant
    shares b / n, c / n of examples that one of the two alone gets right, and b + c is at least b − c. Of a path the
    validation examples are all training examples, each held out once.

    Threshold: a third, with three such trials at least; in the corpus with seed 0, where 2,000 fresh examples tell
    which trials really are two points worse, it parts splits that miss a third of those from splits that miss few.
    """

    code: ClassVar[str] = "SR02"
    title: ClassVar[str] = "validation split too small to tell the trials apart"
    severity: ClassVar[Severity] = "note"
    remedy: ClassVar[str] = "hold out more examples, cross-validate (thalweg path), or take the simplest of the tied"
    threshold: ClassVar[float] = 1 / 3
    unit: ClassVar[str] = "share of the trials that look worse"
    needs: ClassVar[tuple[Need, ...]] = ("selection",)

    def look(self, case: Case) -> Finding:
        compared = _compared(case)
        if len(compared.others) < _FEWEST:
            return self.not_applicable(f"{len(compared.others)} other trials to compare with the winner are too few")
        if not math.isfinite(compared.accuracy):
            return self.not_applicable("the winner's validation accuracy is no finite number: the run is damaged")
        low, high = wilson(round(compared.accuracy * compared.examples), compared.examples)
        gaps = {number: compared.accuracy - accuracy for number, accuracy in compared.others.items()}
        worse = [number for number, gap in gaps.items() if gap >= _MATTERS - 1e-12]
        missed = [number for number in worse if number in compared.tied]
        spread = float(np.std([compared.accuracy, *compared.others.values()]))
        evidence = (
            f"the winner's accuracy on {compared.examples} examples is {compared.accuracy:.3f}, 95 % interval "
            f"{low:.3f} to {high:.3f}, all trials' accuracies spread by {spread:.3f}; of {len(worse)} trials that are "
            f"two points or more below it {len(missed)} cannot be told from it, of all {len(gaps)} {len(compared.tied)}"
        )
        value = len(missed) / len(worse) if worse else 0.0
        if len(missed) < _FEWEST or value < self.threshold:
            blind = len(compared.tied) == len(gaps) and high - low > 2 * _BLIND
            return self.judged(blind, evidence, value)
        gap = float(np.median([gaps[number] for number in missed]))
        # Where only the winner is ever right alone, p = 2 · 2^-b for b such examples: b = log2(2 m / 0.05).
        wanted = math.ceil(math.log2(2 * len(gaps) / 0.05) / gap)
        return self.found(f"{evidence}; it would take {max(wanted, compared.examples + 1):,} examples or more", value)


class _Compared(NamedTuple):
    accuracy: float
    examples: int
    tied: tuple[int, ...]
    others: dict[int, float]  # accuracies of the trials that were tested against the winner


def _compared(case: Case) -> _Compared:
    if case.path is not None:
        choice = case.path.choice
        assert choice is not None
        others = {number: case.path.solutions[number].validation_accuracy for number in choice.p_values}
        accuracy = case.path.solutions[choice.chosen].validation_accuracy
        return _Compared(accuracy, case.path.data.examples["train"], choice.tied, others)
    run = case.sweep
    assert run is not None
    assert run.selection is not None
    assert run.best is not None
    others = {number: run.trials[number].validation_accuracy for number in run.selection.p_values}
    count = run.data.examples["validation"]
    return _Compared(run.best.validation_accuracy, count, run.selection.tied, others)


CHECKS: tuple[Check, ...] = (BestAtEdge(), ValidationTooSmall(), SeedsDisagree())

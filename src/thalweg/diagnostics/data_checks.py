"""Do the examples themselves mislead: classes of very different sizes, wrong labels, the same example in two splits?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from thalweg.data import Split
from thalweg.diagnostics.base import Check, Need
from thalweg.diagnostics.case import Case
from thalweg.diagnostics.labels import SuspiciousLabels
from thalweg.diagnostics.leakage import Leakage
from thalweg.findings import Finding, Severity
from thalweg.statistics import wilson

__all__ = ["CHECKS", "ImbalanceIgnored"]

_RARE = 0.5  # of an even share: classes with less count as rare
_FEWEST = 5  # held-out examples of rare classes, below which their recall says nothing


class ImbalanceIgnored(Check):
    """Rare classes are predicted far worse than the others, and nothing was done about their rarity.

    A class is rare where it has less than half of an even share of the training examples, N / (2 C). ``value`` is
    r_common − r_rare, the difference between the recall (share predicted right) of the other classes and of the rare
    ones, each class counting alike, on held-out examples: the validation split, or where the model was refitted on it
    the test split; for a path the test split. To count, Wilson's 95 % intervals of the two pooled recalls must not
    overlap. The evidence has the accuracy beside the balanced one, the mean recall of all classes (Brodersen et al.
    2010). Where examples or classes are weighted the check passes: then their importance was thought of.

    Threshold: 0.2. Imbalance alone costs little where classes lie apart (He and Garcia 2009); in the corpus with seed
    0 a difference of 20 points parts trainings that class weights would mend from those where they change little.
    """

    code: ClassVar[str] = "DA01"
    title: ClassVar[str] = "class imbalance ignored"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = (
        "weight the classes (thalweg path --class-weight balanced), sample the rare ones more often, "
        "or judge by balanced accuracy"
    )
    threshold: ClassVar[float] = 0.2
    unit: ClassVar[str] = "difference of recall"
    needs: ClassVar[tuple[Need, ...]] = ("data", "model")

    def look(self, case: Case) -> Finding:
        assert case.data is not None
        labels = np.asarray(case.data.train.labels)
        counts = np.bincount(labels, minlength=len(case.classes))
        rare = counts < _RARE * counts.mean()
        sizes = f"classes have {counts.min():,} to {counts.max():,} training examples"
        if not rare.any():
            return self.passed(f"{sizes}: none has less than half of an even share", 0.0)
        if _weighted(case):
            return self.passed(f"{sizes}, and they are weighted")
        name, held = held_out(case)
        if held is None:
            return self.not_applicable(f"{sizes}, and there are no held-out examples to see what that does")
        return self._judge(case, rare, sizes, name, held)

    def _judge(self, case: Case, rare: np.ndarray, sizes: str, name: str, held: Split) -> Finding:
        labels = np.asarray(held.labels)
        right = case.scores[name].argmax(axis=1) == labels
        shown = np.bincount(labels, minlength=len(rare))
        hits = np.bincount(labels, right, minlength=len(rare))
        few = int(shown[rare].sum())
        if few < _FEWEST or not shown[~rare].sum():
            return self.not_applicable(f"{sizes}, but only {few} held-out examples are of rare classes")
        recall = np.where(shown > 0, hits / np.maximum(shown, 1), np.nan)
        common, seldom = float(np.nanmean(recall[~rare])), float(np.nanmean(recall[rare]))
        upper = wilson(int(hits[rare].sum()), few)[1]
        lower = wilson(int(hits[~rare].sum()), int(shown[~rare].sum()))[0]
        evidence = (
            f"{sizes}; of {few} {name} examples of the {int(rare.sum())} rare classes {seldom:.2f} are predicted right "
            f"(95 % interval up to {upper:.2f}), of the others {common:.2f} (from {lower:.2f}); the accuracy is "
            f"{right.mean():.3f}, balanced over classes {np.nanmean(recall):.3f}"
        )
        gap = common - seldom
        return self.judged(bool(gap > self.threshold and upper < lower), evidence, gap)


def held_out(case: Case) -> tuple[str, Split | None]:
    """The split that the model was not fitted on: validation, unless it was refitted on it; else test."""
    assert case.data is not None
    if case.sweep is not None and not case.sweep.refitted and case.data.validation is not None:
        return "validation", case.data.validation
    return "test", case.data.test


def _weighted(case: Case) -> bool:
    if case.path is not None and case.path.best is not None and case.path.best.class_weight != "none":
        return True
    return case.run.data.weighted


CHECKS: tuple[Check, ...] = (ImbalanceIgnored(), SuspiciousLabels(), Leakage())

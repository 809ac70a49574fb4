"""What is taken for what: the confusion matrix, and the figures of each class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.report.block import Lacking
from thalweg.report.records.held import held
from thalweg.statistics import wilson

if TYPE_CHECKING:
    from thalweg.diagnostics import Case

__all__ = ["ConfusionRecord", "confusion_of", "confusion_record"]


@dataclass(frozen=True, eq=False)
class ConfusionRecord:
    """How often the examples of each class are predicted as each class.

    Attributes:
        classes: their names (C).
        counts: ``(C, C)``, rows by the true class, columns by the predicted one. Every example counts once, whatever
            weights the training gave.
        split: of which examples: ``test`` or ``validation``.
        trained_on: whether the model was trained on these examples too.
        caveats: further sentences on what these examples cannot tell.
    """

    classes: tuple[str, ...]
    counts: np.ndarray
    split: str = "test"
    trained_on: bool = False
    caveats: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """N, the number of examples."""
        return int(self.counts.sum())

    @property
    def correct(self) -> int:
        """How many are predicted right."""
        return int(np.trace(self.counts))

    @cached_property
    def support(self) -> np.ndarray:
        """The examples of each class ``(C,)``."""
        return self.counts.sum(axis=1)

    @cached_property
    def predicted(self) -> np.ndarray:
        """How often each class is predicted ``(C,)``."""
        return self.counts.sum(axis=0)

    @cached_property
    def shares(self) -> np.ndarray:
        """``(C, C)``: of the true class's examples, the share predicted as each class; NaN rows without examples."""
        return _ratio(self.counts, self.support[:, None])

    @cached_property
    def recall(self) -> np.ndarray:
        """``(C,)``: right predictions / examples of the class; NaN without examples."""
        return _ratio(np.diag(self.counts), self.support)

    @cached_property
    def precision(self) -> np.ndarray:
        """``(C,)``: right predictions / predictions of the class; NaN where it is never predicted."""
        return _ratio(np.diag(self.counts), self.predicted)

    @cached_property
    def f1(self) -> np.ndarray:
        """``(C,)``: 2 right / (examples + predictions), the harmonic mean of both; NaN where there are neither."""
        return _ratio(2 * np.diag(self.counts), self.support + self.predicted)

    @cached_property
    def recall_interval(self) -> np.ndarray:
        """Wilson's 95 % interval ``(C, 2)``; NaN where the recall is."""
        return _intervals(np.diag(self.counts), self.support)

    @cached_property
    def precision_interval(self) -> np.ndarray:
        """Wilson's 95 % interval ``(C, 2)``; NaN where the precision is."""
        return _intervals(np.diag(self.counts), self.predicted)

    @cached_property
    def mistaken_for(self) -> np.ndarray:
        """The number of the other class that each is most often taken for ``(C,)``; −1 where it never is."""
        wrong = self._wrong
        return np.where(wrong.sum(axis=1) > 0, wrong.argmax(axis=1), -1)

    def worst_first(self) -> np.ndarray:
        """Classes by recall, the lowest first ``(C,)``, of equal ones that with more examples; undefined ones last."""
        return np.lexsort((-self.support, np.nan_to_num(self.recall, nan=2.0)))

    def most_confused(self, most: int) -> np.ndarray:
        """The classes with most confusions, as true or as predicted class; at most ``most``, in their own order."""
        wrong = self._wrong
        order = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:most]
        return np.sort(order)

    def confusions(self, most: int) -> list[tuple[int, int, int]]:
        """(true class, predicted class, count) of the confusions that occur, the most frequent first."""
        wrong = self._wrong.ravel()
        order = np.argsort(-wrong, kind="stable")[:most]
        size = len(self.classes)
        return [(int(i) // size, int(i) % size, int(wrong[i])) for i in order if wrong[i]]

    @cached_property
    def _wrong(self) -> np.ndarray:
        return self.counts - np.diag(np.diag(self.counts))


def confusion_record(case: Case) -> ConfusionRecord | Lacking:
    """Count what the model of a case takes for what on its test split, or else its validation split.

    See `records.held` for when which split is taken, and why there may be none.
    """
    found = held(case)
    if isinstance(found, Lacking):
        return found
    counts = confusion_of(found.labels, found.predicted, case.classes).counts
    return ConfusionRecord(case.classes, counts, found.name, found.trained_on, found.caveats)


def confusion_of(labels: Any, predicted: Any, classes: tuple[str, ...], *, split: str = "test") -> ConfusionRecord:
    """Count labels (N,) against predictions (N,), both in [0, classes)."""
    size = len(classes)
    flat = np.asarray(labels, np.int64) * size + np.asarray(predicted, np.int64)
    return ConfusionRecord(classes, np.bincount(flat, minlength=size * size).reshape(size, size), split)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _intervals(right: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.array(
        [wilson(int(r), int(n)) if n else (np.nan, np.nan) for r, n in zip(right, whole, strict=True)]
    ).reshape(-1, 2)

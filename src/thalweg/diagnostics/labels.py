"""Which labels do the examples around them contradict?"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from thalweg.data import Dataset
from thalweg.diagnostics.base import Check, Need
from thalweg.diagnostics.case import Case
from thalweg.diagnostics.label_floor import floor_evidence
from thalweg.diagnostics.rows import named, seen_rows, subsample
from thalweg.findings import Finding, Severity
from thalweg.neighbors import NearestNeighbors
from thalweg.statistics import wilson

__all__ = ["Predicted", "SuspiciousLabels", "leave_one_out"]

_MOST = 1500  # examples looked at
_FEWEST = 200  # below which a few per cent of wrong labels are a handful that chance makes too
_SURE = 0.5  # the share of examples that count as surest where every prediction agrees with the label
_LESS_SURE = 1.4  # this much less of a share for each wrong prediction, so that overlapping classes stay outside
_RECALLED, _PRECISE = 0.5, 0.8  # of a class's labels, and of the predictions of it: with less it is not known well
_LIKELIER = 4.0  # 2 ln of a likelihood ratio: by chance above it in one case of forty (half of χ²₁ beyond 4)
_HOPELESS = 0.3  # of all labels contradicted: the predictions are no authority
_NEIGHBOURS = 10
_STRENGTHS = np.geomspace(1e-4, 1.0, 5)  # of the ridge, times the mean squared norm of the examples


class SuspiciousLabels(Check):
    """Labels that the other examples contradict, where these are surest.

    Each example of the training (and validation) split is predicted from all others, its own label left out: by a
    ridge regression on the classes, whose leave-one-out predictions have the closed form (ŷ − h y) / (1 − h) with h
    the leverage, or by the votes of its ten nearest neighbours, whichever is right more often. Among the
    predictions that are surest (largest lead of the first class over the second), ``value`` is the lower end of
    Wilson's 95 % interval of the share that contradicts the label; the surest are a share of ½ − 1.4 e of all, with e
    the share of all labels that are contradicted. Where classes overlap, predictions there are
    unsure, and few of the surest are wrong; wrong labels lie everywhere.

    Where one of the classes that overlap is rare, the surest predictions all name the frequent one, and the rare one
    stands among them at its own rate, with right labels. So one of two more signs is asked for: the bound is above the
    threshold too when only labels count whose class the predictions know, with a recall above 0.5 and a precision
    above 0.8; or the contradictions do not fade as predictions grow surer: with a floor under a logistic curve of the
    lead they are e² times as likely as without (`floor_evidence`). Wrong labels in a table whose classes overlap, one
    of them rare, are missed for it about half of the time. The estimated number of wrong labels is that of confident
    learning: examples whose score for another class reaches the mean score of that class's own examples (Northcutt,
    Jiang and Chuang 2021).

    Threshold: 0.015. On the clean data of the corpus with seed 0, overlapping classes included, less than that is
    contradicted; with 5 % of wrong labels more. Where e is above 0.3 the predictions are too poor to judge labels by,
    and the check does not apply; nor below 200 examples. Of more than 1,500 a sample is looked at.
    """

    code: ClassVar[str] = "DA02"
    title: ClassVar[str] = "suspicious labels"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = "look at the examples named, and mend their labels or leave them out"
    threshold: ClassVar[float] = 0.015
    unit: ClassVar[str] = "share of the surest predictions"
    needs: ClassVar[tuple[Need, ...]] = ("data",)

    def look(self, case: Case) -> Finding:
        data = case.data
        assert data is not None
        rows = _Rows.of(case, data)
        if len(rows.labels) < _FEWEST:
            return self.not_applicable(f"{len(rows.labels)} examples are too few to judge single labels")
        predicted = leave_one_out(rows.features, rows.labels, len(data.classes))
        lead, others = predicted.lead, predicted.best != rows.labels
        wrong = float(others.mean())
        if wrong > _HOPELESS:
            return self.not_applicable(
                f"the {predicted.name} contradicts {wrong:.0%} of all labels: no authority on them"
            )
        sure = np.argsort(-lead, kind="stable")[: round((_SURE - _LESS_SURE * wrong) * len(lead))]
        count = int(others[sure].sum())
        low, _ = wilson(count, len(sure))
        suspects = _confident(predicted.scores, rows.labels)
        evidence = (
            f"the {predicted.name}, made without the example itself, contradicts {count} of the {len(sure)} labels on "
            f"which it is surest (95 % interval from {low:.3f}); by confident learning about {len(suspects)} of "
            f"{len(lead)} examples{rows.note} may be wrong"
        )
        if low <= self.threshold or not _unexplained(predicted, rows.labels, sure, self.threshold):
            natural = "; they fade as predictions grow surer, as where a rare class overlaps" * (low > self.threshold)
            return self.passed(evidence + natural, low)
        doubted = sure[others[sure]][:3]
        told = [
            f"{rows.place(i)} is labelled {data.classes[rows.labels[i]]!r} among {data.classes[predicted.best[i]]!r}"
            for i in doubted
        ]
        return self.found(f"{evidence}, such as {'; '.join(told)}", low)


def _unexplained(predicted: Predicted, labels: np.ndarray, sure: np.ndarray, threshold: float) -> bool:
    """Whether a rare class that overlaps with others does not explain the contradictions."""
    others = predicted.best != labels
    classes = predicted.scores.shape[1]
    right = np.bincount(labels, ~others, minlength=classes)
    recalled = right > _RECALLED * np.bincount(labels, minlength=classes)
    known = recalled & (right > _PRECISE * np.bincount(predicted.best, minlength=classes))
    low, _ = wilson(int((others & known[labels])[sure].sum()), len(sure))
    return low > threshold or floor_evidence(predicted.lead, predicted.best, others) > _LIKELIER


class _Rows(NamedTuple):
    """The examples that are looked at."""

    features: np.ndarray  # (N, D) float64
    labels: np.ndarray
    places: list[tuple[str, int]]  # split and row of each
    data: Dataset
    note: str

    @classmethod
    def of(cls, case: Case, data: Dataset) -> _Rows:
        parts = [(name, split) for name, split in data.splits() if name != "test"]
        taken = [
            (name, subsample(len(split), round(_MOST * len(split) / sum(len(s) for _, s in parts))))
            for name, split in parts
        ]
        features = np.concatenate([seen_rows(case, name, rows) for name, rows in taken])
        labels = np.concatenate(
            [np.asarray(split.labels)[rows] for (_, split), (_, rows) in zip(parts, taken, strict=True)]
        )
        places = [(name, int(row)) for name, rows in taken for row in rows]
        total = sum(len(split) for _, split in parts)
        note = "" if len(labels) == total else f" (a sample of {total:,})"
        return cls(features, labels, places, data, note)

    def place(self, number: int) -> str:
        return named(self.data, *self.places[number])


class Predicted(NamedTuple):
    """Predictions of each example from the others."""

    name: str
    scores: np.ndarray  # (N, C), about the probability of each class

    @property
    def best(self) -> np.ndarray:
        return self.scores.argmax(axis=1)

    @property
    def lead(self) -> np.ndarray:
        """How far the first class is ahead of the second (N,)."""
        two = np.partition(self.scores, -2, axis=1)
        return two[:, -1] - two[:, -2]


def leave_one_out(features: np.ndarray, labels: np.ndarray, classes: int) -> Predicted:
    """Return the better of the two predictions of every example from all others."""
    found = [_ridge(features, labels, classes), _neighbours(features, labels, classes)]
    return max(found, key=lambda one: float(np.mean(one.best == labels)))


def _ridge(features: np.ndarray, labels: np.ndarray, classes: int) -> Predicted:
    """Ridge regression on one-hot labels, the strength by leave-one-out accuracy."""
    wanted = np.eye(classes)[labels]
    centred = features - features.mean(axis=0)
    left, sizes = _directions(centred)
    squared, turned, mean = left**2, left.T @ wanted, wanted.mean(axis=0)
    best: tuple[float, np.ndarray] | None = None
    for strength in _STRENGTHS * float(np.mean(np.sum(centred**2, axis=1))) * len(labels) / centred.shape[1]:
        shrunk = sizes**2 / (sizes**2 + strength)
        fitted = mean + left @ (shrunk[:, None] * turned)
        leverage = 1 / len(labels) + squared @ shrunk
        scores = (fitted - leverage[:, None] * wanted) / np.maximum(1 - leverage, 1e-6)[:, None]
        accuracy = float(np.mean(scores.argmax(axis=1) == labels))
        if best is None or accuracy > best[0]:
            best = accuracy, scores
    assert best is not None
    return Predicted("linear regression on all other examples", best[1])


def _directions(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors and singular values; of wide matrices by the eigenvectors of X Xᵀ, many times faster.

    Small singular values lose half their digits so, but they are below the ridge's strength.
    """
    if centred.shape[1] <= len(centred):
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
        return left, sizes
    squares, left = np.linalg.eigh(centred @ centred.T)
    return left, np.sqrt(np.maximum(squares, 0))


def _neighbours(features: np.ndarray, labels: np.ndarray, classes: int) -> Predicted:
    """Shares of votes, with a little of the nearer neighbours' so that leads differ."""
    far, near = NearestNeighbors("l2", "float32").fit(features).search(features, _NEIGHBOURS + 1)
    own = near == np.arange(len(labels))[:, None]
    own[~own.any(axis=1), -1] = True  # among more than ten equal ones the example itself may be missing
    weight = np.where(own, 0.0, 1.0 / (1e-12 + far))
    weight = np.where(own, 0.0, 1.0 + 0.1 * weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300))
    scores = np.zeros((len(labels), classes))
    np.add.at(scores, (np.arange(len(labels))[:, None], labels[near]), weight)
    return Predicted("vote of the ten nearest other examples", scores / scores.sum(axis=1, keepdims=True))


def _confident(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the examples off the diagonal of the confident joint."""
    present = np.unique(labels)
    reach = np.full(scores.shape[1], np.inf)
    reach[present] = [scores[labels == k, k].mean() for k in present]
    confident = np.where(scores >= reach[None], scores, -np.inf)
    counted = np.isfinite(confident).any(axis=1)
    return np.flatnonzero(counted & (confident.argmax(axis=1) != labels))

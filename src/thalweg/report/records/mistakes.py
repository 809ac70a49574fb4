"""The examples that a model gets most confidently wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.data.preprocessing import fit_preprocessing
from thalweg.errors import DataError
from thalweg.report.block import Lacking
from thalweg.report.records.held import held

if TYPE_CHECKING:
    from thalweg.data import Dataset, Split
    from thalweg.diagnostics import Case

__all__ = ["SURE", "UNLIKELY", "UNUSUAL", "Mistake", "MistakesRecord", "mistakes_of", "mistakes_record"]

# A label is called into question where the model gives its own class at least this, and the label less than that; and
# where a model this sure is right so often, or its mistakes are more likely its own than the label's.
SURE, UNLIKELY, TRUSTED = 0.9, 0.05, 0.95
# Standard deviations from the training mean from which on a feature's value is unusual: about 1 value in 20 of a
# normal feature lies beyond.
UNUSUAL = 2.0
_NAMED = 4  # unusual features told of an example
_BLOCK = 1_000_000  # scores in float64 at once
_READ = 20_000_000  # numbers of the training split read for means and spreads: a fraction of a second


@dataclass(frozen=True, eq=False)
class Mistake:
    """One example that is predicted wrong.

    Attributes:
        row: its place in the split, from 0.
        true, predicted: the classes' names.
        probability, probability_of_true: the softmax of the scores, for the predicted class and for the true one; None
            where the loss is not the softmax loss, since its scores are no logarithms of probabilities then.
        margin: the score of the predicted class above that of the true one.
        source: the file that it came from, or "row 12 of the test split".
        questionable: whether its label is called into question: ``probability`` of at least `SURE` with
            ``probability_of_true`` below `UNLIKELY`, by a model that is right on `TRUSTED` of what it is as sure of.
        image: its pixels as they are in the data, uint8 ``(height, width, 1 or 3)``; None where it is no such image.
        unusual: features with values at least `UNUSUAL` standard deviations from the training mean, the farthest
            first: name, and how many of them above the mean.
    """

    row: int
    true: str
    predicted: str
    probability: float | None
    probability_of_true: float | None
    margin: float
    source: str
    questionable: bool
    image: np.ndarray | None = field(default=None, repr=False)
    unusual: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class MistakesRecord:
    """The worst mistakes, the most confident first.

    Attributes:
        mistakes: at most as many as were asked for.
        wrong, count: how many of the split's examples are predicted wrong, and how many there are.
        questionable: of all wrong ones, how many have a label called into question.
        split: ``test`` or ``validation``.
        measure: ``probability`` (softmax loss) or ``margin``: what the mistakes are ordered by.
        sure, sure_right: on how many of the split's examples a class has a probability of at least `SURE`, and on how
            many of those it is right (0 and 0 without probabilities).
        trained_on: whether the model was trained on these examples too.
        caveats: further sentences on what these examples, or their pictures, cannot tell.
    """

    mistakes: tuple[Mistake, ...]
    wrong: int
    count: int
    questionable: int
    split: str
    measure: str
    sure: int = 0
    sure_right: int = 0
    trained_on: bool = False
    caveats: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether a model this sure is right so often that a label may be at fault."""
        return self.sure_right >= TRUSTED * self.sure


def mistakes_record(case: Case, most: int = 24) -> MistakesRecord | Lacking:
    """Return the examples of the test split (else of the validation split) that are most confidently wrong.

    With the softmax loss they are ordered by p(predicted) − p(true), with any other by the same difference of scores.
    See `records.held` for when which split is taken, and why there may be none.
    """
    found = held(case)
    if isinstance(found, Lacking):
        return found
    assert case.model is not None
    assert case.data is not None
    softmax = getattr(case.model.recipe.loss, "kind", "") == "softmax"
    return mistakes_of(
        found.scores, found.labels, case.classes, found.split, data=case.data, softmax=softmax, most=most,
        name=found.name, trained_on=found.trained_on, caveats=found.caveats,
    )  # fmt: skip


def mistakes_of(
    scores: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    split: Split,
    *,
    data: Dataset,
    softmax: bool,
    most: int = 24,
    name: str = "test",
    trained_on: bool = False,
    caveats: tuple[str, ...] = (),
) -> MistakesRecord:
    """Find the worst mistakes among scores (N, classes) and labels (N,) of a split of a data set."""
    predicted = scores.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    places = predicted[wrong], labels[wrong]
    highest, probable, probable_true = _probabilities(scores, labels)
    own, true = probable[wrong], probable_true[wrong]
    with np.errstate(invalid="ignore"):
        margin = np.nan_to_num(highest[wrong] - scores[wrong, places[1]].astype(np.float64), nan=0.0, posinf=np.inf)
    # Of several probabilities that round to 1 the larger margin of scores comes first.
    order = np.lexsort((-margin, true - own)) if softmax else np.argsort(-margin, kind="stable")
    certain = (probable >= SURE) & softmax
    sure, sure_right = int(certain.sum()), int((certain & (predicted == labels)).sum())
    doubted = (own >= SURE) & (true < UNLIKELY) & softmax & (sure_right >= TRUSTED * sure)
    rows = wrong[order[:most]]
    shown, more = _shown(split, rows, data)
    mistakes = tuple(
        Mistake(
            int(wrong[i]),
            classes[int(places[1][i])],
            classes[int(places[0][i])],
            float(own[i]) if softmax else None,
            float(true[i]) if softmax else None,
            float(margin[i]),
            split.names[int(wrong[i])] if split.names is not None else f"row {int(wrong[i])} of the {name} split",
            bool(doubted[i]),
            **what,
        )
        for i, what in zip(order[:most].tolist(), shown, strict=True)
    )
    return MistakesRecord(
        mistakes, len(wrong), len(labels), int(doubted.sum()), name, "probability" if softmax else "margin",
        sure, sure_right, trained_on, caveats + more,
    )  # fmt: skip


def _probabilities(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, for rows of scores (N, C), the highest score, and the softmax there and at the label (N,), float64.

    exp(s) / Σ exp(s), infinite scores counted as limits. In blocks of rows: the scores are not held twice.
    """
    highest, probable, true = np.empty((3, len(scores)))
    step = max(1, _BLOCK // max(1, scores.shape[1]))
    for start in range(0, len(scores), step):
        block = np.asarray(scores[start : start + step], np.float64)
        part, every = slice(start, start + len(block)), np.arange(len(block))
        top = block.max(axis=1)
        with np.errstate(invalid="ignore"):
            below = np.where(block == top[:, None], 0.0, block - top[:, None])
        sizes = np.exp(below)
        total = sizes.sum(axis=1)
        highest[part], probable[part] = top, sizes[every, block.argmax(axis=1)] / total
        true[part] = sizes[every, labels[part]] / total
    return highest, probable, true


def _shown(split: Split, rows: np.ndarray, data: Dataset) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return, for each row, its image or its unusual features, and what there is to say about them."""
    nothing: list[dict[str, Any]] = [{} for _ in rows]
    shape = split.features.shape[1:]
    if not len(rows):
        return nothing, ()
    if len(shape) == 3:
        if shape[2] not in (1, 3):
            return nothing, (f"Images of {shape[2]} channels are neither grey nor coloured, so they are not shown.",)
        images, more = _images(split, rows)
        return [{"image": image} for image in images], more
    if len(shape) != 1:
        return nothing, ()
    step = max(1, data.train.features.size // _READ)
    try:
        usual = fit_preprocessing(data.train.features[::step], "standardize")
    except DataError as error:
        return nothing, (f"Unusual features are not named: {error}.",)
    names = data.feature_names or tuple(f"feature {i}" for i in range(shape[0]))
    values = np.asarray(usual.transform(np.asarray(split.features[rows])), np.float64)  # (n, D), 0 where constant
    more = (f"What is usual for a feature is taken from one in {step} training examples.",) if step > 1 else ()
    return [{"unusual": _unusual(row, names)} for row in values], more


def _unusual(values: np.ndarray, names: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    sizes = np.nan_to_num(np.abs(values), posinf=np.inf)
    order = np.argsort(-sizes, kind="stable")[:_NAMED]
    return tuple((names[i], float(values[i])) for i in order.tolist() if sizes[i] >= UNUSUAL)


def _images(split: Split, rows: np.ndarray) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Return images (height, width, channels) as uint8; others than uint8 are spread over it by the split's range."""
    taken = np.asarray(split.features[rows])
    if taken.dtype == np.uint8:
        return list(taken), ()
    ends = [(float(np.nanmin(part)), float(np.nanmax(part))) for _, part in split.chunks()]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    spread = np.clip((taken.astype(np.float64) - low) / ((high - low) or 1.0), 0, 1)
    return list(np.rint(255 * np.nan_to_num(spread)).astype(np.uint8)), (
        f"The data has pixels from {low:.4g} to {high:.4g}: they are shown as grey levels from black to white.",
    )

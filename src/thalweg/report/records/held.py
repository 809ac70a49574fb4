"""The held-out examples that a report may look at, with the model's scores of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import DataError
from thalweg.report.block import Lacking

if TYPE_CHECKING:
    from thalweg.data import Split
    from thalweg.diagnostics import Case

__all__ = ["TRAINED_ON", "Held", "held"]

TRAINED_ON = (
    "The model was refitted on training and validation examples together: it was trained on these very examples, so "
    "what it does on them says little about new ones."
)


@dataclass(frozen=True, eq=False)
class Held:
    """A split's examples and the model's scores of them.

    Attributes:
        name: ``test`` or ``validation``.
        split: its examples (N, ...) as they are in the data, before features and preprocessing.
        scores: ``(N, classes)``.
        labels: ``(N,)``.
        trained_on: whether the model was trained on these examples too: validation examples, after a refit.
        caveats: further sentences on what the split's figures cannot tell.
    """

    name: str
    split: Split
    scores: np.ndarray
    labels: np.ndarray
    trained_on: bool
    caveats: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """The class of the highest score ``(N,)``, the first of several: as the model predicts."""
        return self.scores.argmax(axis=1)


def held(case: Case) -> Held | Lacking:
    """Return the test split where the run has scored it, otherwise the validation split, or why there is neither.

    The test split is scored once, by the run; the scores here are the same ones, and must get the run's own number
    of examples right. Where the run did not score it (it was interrupted, or held nothing out) the test split
    stays unseen.
    """
    if case.model is None:
        return Lacking(_why_no_model(case))
    if case.data is None:
        return Lacking(f"The examples are needed, and {case.why_no_data}.")
    test = case.run.test is not None and case.data.test is not None
    split = case.data.test if test else case.data.validation
    if split is None:
        return Lacking(
            "No examples were held out: neither a test nor a validation split has scores. Train with a test split to "
            "see what the model does on examples that it has not met."
        )
    name = "test" if test else "validation"
    labels = np.asarray(split.labels)
    try:
        scores = np.asarray(case.scores[name])
    except DataError as error:
        return Lacking(f"The {name} split has no scores: {error}.")
    if test and (why := _disagreement(case, scores, labels)):
        return Lacking(why)
    trained_on = name == "validation" and case.sweep is not None and case.sweep.refitted
    return Held(name, split, scores, labels, trained_on, _caveats(case, name))


def _why_no_model(case: Case) -> str:
    if case.sweep is not None and case.sweep.model is not None and case.trial is not None:
        return (
            f"Only the winner's weights are kept, and trial {case.trial.number} is not the winner. Train its recipe by "
            "itself to look at its predictions."
        )
    return "The run selected nothing, so there are no weights that could predict. Finish it, or run it again."


def _disagreement(case: Case, scores: np.ndarray, labels: np.ndarray) -> str:
    found, told = int(np.count_nonzero(scores.argmax(axis=1) == labels)), case.run.test
    assert told is not None
    if (found, len(labels)) == (told.correct, told.count):
        return ""
    return (
        f"Scored here, {found} of {len(labels)} test examples are right; in the verdict {told.correct} of "
        f"{told.count} are. Another machine or version rounds scores that are nearly equal differently, so these would "
        "be other predictions than the verdict's. Write the report where the run was made."
    )


def _caveats(case: Case, name: str) -> tuple[str, ...]:
    out = []
    if name == "validation":
        out.append(
            "No test score: these are the validation examples, by which the winner was chosen, so the figures are "
            "somewhat better than they would be on new examples."
        )
    if case.run.data.weighted:
        out.append("The training weighted its examples; here each counts once.")
    return tuple(out)

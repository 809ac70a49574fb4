"""The code of what a run chose, from the record of the run (`run.json`) and its model."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from thalweg.elsewhere.code import FRAMEWORKS, code
from thalweg.elsewhere.sklearn import logistic_regression
from thalweg.errors import UsageError
from thalweg.fields import check_option
from thalweg.fitted import FittedModel

__all__ = ["KINDS", "code_files", "code_of_run"]

KINDS = (*FRAMEWORKS, "sklearn")
"""What a run's training can be written for; `sklearn` for paths."""


def code_of_run(record: Mapping[str, Any], model: FittedModel, to: str) -> str:
    """Return the code that trains the model of a run: of a sweep for a framework, of a path for scikit-learn.

    Arguments:
        record: what ``run.json`` holds.
        model: the run's.
        to: "torch", "optax", "keras"; of a path "sklearn".

    Raises a UsageError where the recipe has a part that cannot be written so.
    """
    check_option("code", "to", to, KINDS)
    is_path = record.get("kind") == "path"
    if is_path != (to == "sklearn"):
        raise UsageError(
            "this run is a path, whose optimum no training made: take --code sklearn"
            if is_path
            else f"this run is a sweep, and scikit-learn has no minibatch training: take --code {', '.join(FRAMEWORKS)}"
        )
    return _of_path(record, model) if is_path else _of_sweep(record, model, to)


def code_files(record: Mapping[str, Any], model: FittedModel) -> dict[str, str]:
    """Return the files of a run folder's ``code``, by name; one that cannot be written is a comment that says why.

    No file has a framework's own name: Python would import ``torch.py`` in torch's place, from any script beside it.
    """
    kinds = ("sklearn",) if record.get("kind") == "path" else tuple(FRAMEWORKS)
    files = {}
    for kind in kinds:
        try:
            files[f"train_{kind}.py"] = code_of_run(record, model, kind)
        except UsageError as error:
            files[f"train_{kind}.py"] = _comment(str(error))
    return files


def _of_sweep(record: Mapping[str, Any], model: FittedModel, to: str) -> str:
    best, counts = record["best"], record["data"]["examples"]
    if record["data"].get("weighted"):
        raise UsageError("the run weighs its examples, which cannot be written as code for another framework")
    examples = counts["train"] + (counts["validation"] if best["refitted"] else 0)
    return code(
        model.recipe, to, examples=examples, shape=model.feature_shape, classes=model.classes,
        preprocessing=model.preprocessing.kind, uint8=model.feature_dtype == "uint8", epochs=best.get("kept_epoch"),
    )  # fmt: skip


def _of_path(record: Mapping[str, Any], model: FittedModel) -> str:
    if record["settings"]["example_weights"]:
        raise UsageError(
            "the path weighs its examples: give them to LogisticRegression.fit(sample_weight=...) yourself"
        )
    if model.recipe.features is not None:
        raise UsageError(
            f"the path was solved on {model.recipe.features.name}, which scikit-learn does not compute: take thalweg "
            "export MODEL --to onnx, which holds them"
        )
    chosen = record["best"] or record["path"][0]  # one strength alone makes a model without a choice
    return logistic_regression(
        model.recipe.loss, model.recipe.penalty, examples=record["data"]["examples"]["train"], classes=model.classes,
        preprocessing=model.preprocessing.kind, uint8=model.feature_dtype == "uint8",
        class_weight=chosen["class_weight"],
    )  # fmt: skip


def _comment(message: str) -> str:
    """A file of comments; a message may quote names from data, which must not end the comment."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in message)
    return "".join(f"# {line}\n" for line in textwrap.wrap(plain, 110))

"""A linear model's weights, to be looked at: as images, or by the names of the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.errors import UsageError
from thalweg.report.block import Lacking
from thalweg.views import TemplateRecord, WeightRecord, template_record, weight_record

if TYPE_CHECKING:
    from thalweg.diagnostics import Case

__all__ = ["templates_record"]


def templates_record(case: Case) -> TemplateRecord | WeightRecord | Lacking:
    """Return the weights of a case's linear model: templates of images, or by features of a table, or why not."""
    model = case.model
    if model is None:
        return Lacking(
            "There are no weights to look at: only those of a run's winner are kept, and this trial is none."
        )
    try:
        return template_record(model) if len(model.feature_shape) == 3 else weight_record(model)
    except UsageError as error:
        text = str(error)
        return Lacking(f"{text[:1].upper()}{text[1:]}.")

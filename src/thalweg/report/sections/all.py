"""A report's sections in the order in which a reader wants them."""

from __future__ import annotations

import dataclasses

from thalweg import __version__
from thalweg.report.block import Lacking, Note, Section
from thalweg.report.build import Report
from thalweg.report.page import Page
from thalweg.report.records.verdict import VerdictRecord
from thalweg.report.sections.confusion import confusion_section
from thalweg.report.sections.curvature import curvature_section
from thalweg.report.sections.curves import curves_section
from thalweg.report.sections.diagnoses import diagnoses_section
from thalweg.report.sections.hyperparameters import hyperparameters_section
from thalweg.report.sections.mistakes import mistakes_section
from thalweg.report.sections.path import path_section
from thalweg.report.sections.rate_map import rate_map_section
from thalweg.report.sections.repeat import repeat_section
from thalweg.report.sections.sensitivity import sensitivity_section
from thalweg.report.sections.templates import templates_section
from thalweg.report.sections.trials import trials_section
from thalweg.report.sections.verdict import verdict_section
from thalweg.report.words import many

__all__ = ["page_of"]


def page_of(report: Report) -> Page:
    """Return the page: what won and whether to believe it first, then why, then how to repeat it."""
    findings = () if report.findings is None or isinstance(report.findings, Lacking) else report.findings
    sections: list[Section] = [verdict_section(report.verdict, findings)]
    if report.path is not None:
        sections.append(path_section(report.path))
    if report.trials is not None:
        sections.append(trials_section(report.trials))
    if report.sensitivity is not None:
        sections.append(sensitivity_section(report.sensitivity))
    if report.findings is not None:
        sections.append(diagnoses_section(report.findings))
    if report.curves is not None:
        sections.append(curves_section(report.curves))
    if report.hyperparameters is not None:
        sections.append(hyperparameters_section(report.hyperparameters))
    if report.rate_map is not None:
        sections.append(rate_map_section(report.rate_map))
    if report.confusion is not None:
        sections.append(confusion_section(report.confusion))
    if report.mistakes is not None:
        sections.append(mistakes_section(report.mistakes))
    if report.templates is not None:
        sections.append(templates_section(report.templates, report.confusion))
    if report.curvature is not None:
        sections.append(curvature_section(*report.curvature))
    sections.append(repeat_section(report.repeat))
    if report.faults:
        first = sections[0]
        note = Note("; ".join(report.faults), "error", "Parts of this report could not be made.")
        sections[0] = dataclasses.replace(first, parts=(*first.parts, note))
    footer = f"Written by Thalweg {__version__}."
    return Page(report.verdict.data, _subtitle(report.verdict), tuple(sections), footer)


def _subtitle(verdict: VerdictRecord) -> str:
    what = {"sweep": many(verdict.trials, "trial"), "fit": "one recipe", "path": many(verdict.trials, "solution")}
    sizes = ", ".join(f"{count:,} {name}" for name, count in verdict.examples.items())
    return f"{what[verdict.kind]} on {many(len(verdict.classes), 'class', 'classes')}; examples: {sizes}"

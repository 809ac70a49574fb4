"""A report's sections in the order in which a reader wants them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from thalweg import __version__
from thalweg.report.block import Lacking, Note, Section
from thalweg.report.build import Maker, Report
from thalweg.report.page import Page, render
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

__all__ = ["page_of", "render_all"]

_FOOTER = f"Written by Thalweg {__version__}."


def page_of(report: Report) -> Page:
    """Return the page: what won and whether to believe it first, then why, then how to repeat it.

    A section that an error keeps from being drawn says so in its place.
    """
    findings = () if report.findings is None or isinstance(report.findings, Lacking) else report.findings
    drawings: tuple[tuple[str, str, Any, Callable[[Any], Section]], ...] = (
        ("verdict", "Verdict", report.verdict, lambda record: verdict_section(record, findings)),
        ("path", "Path", report.path, path_section),
        ("trials", "Trials", report.trials, trials_section),
        ("sensitivity", "Learning rates", report.sensitivity, sensitivity_section),
        ("diagnoses", "Diagnoses", report.findings, diagnoses_section),
        ("curves", "Curves", report.curves, curves_section),
        ("hyperparameters", "Hyperparameters", report.hyperparameters, hyperparameters_section),
        ("rate-map", "Accuracy by two numbers", report.rate_map, rate_map_section),
        ("confusion", "Confusion", report.confusion, confusion_section),
        ("mistakes", "Mistakes", report.mistakes, mistakes_section),
        ("templates", "Weights", report.templates, lambda record: templates_section(record, report.confusion)),
        ("curvature", "Curvature", report.curvature, lambda records: curvature_section(*records)),
        ("repeat", "Repeat it", report.repeat, repeat_section),
    )
    maker = Maker()
    sections = []
    for key, title, record, draw in drawings:
        if record is not None:
            # These two are always there, so their sections take no other answer.
            bare = key in ("verdict", "repeat") and isinstance(record, Lacking)
            drawn = record if bare else maker(f"drawing of {key}", draw, record)
            sections.append(Section(key, title, (drawn,), short=title) if isinstance(drawn, Lacking) else drawn)
    subtitle = maker("subtitle", _subtitle, report.verdict)
    page = Page(report.name, "" if isinstance(subtitle, Lacking) else subtitle, tuple(sections), _FOOTER)
    return _told(page, (*report.faults, *maker.faults))


def render_all(page: Page, *, live: bool = False) -> str:
    """Return a page as HTML (see `page.render`); a section that cannot be rendered says so in its place.

    What fails with an empty section too is no section's fault, and is raised.
    """
    try:
        return render(page, live=live)
    except Exception:
        maker = Maker()
        bare = dataclasses.replace(page, sections=(Section("empty", "", ()),))
        render(bare, live=live)
        sections = []
        for one in page.sections:
            found = maker(f"writing of {one.key}", render, dataclasses.replace(bare, sections=(one,)))
            sections.append(dataclasses.replace(one, parts=(found,), lead="") if isinstance(found, Lacking) else one)
        return render(_told(dataclasses.replace(page, sections=tuple(sections)), tuple(maker.faults)), live=live)


def _told(page: Page, faults: tuple[str, ...]) -> Page:
    """Return the page with its faults listed in the first section."""
    if not faults:
        return page
    first, *others = page.sections
    note = Note("; ".join(faults), "error", "Parts of this report could not be made.")
    return dataclasses.replace(page, sections=(dataclasses.replace(first, parts=(*first.parts, note)), *others))


def _subtitle(verdict: VerdictRecord | Lacking) -> str:
    if isinstance(verdict, Lacking):
        return ""
    what = {"sweep": many(verdict.trials, "trial"), "fit": "one recipe", "path": many(verdict.trials, "solution")}
    sizes = ", ".join(f"{count:,} {name}" for name, count in verdict.examples.items())
    return f"{what[verdict.kind]} on {many(len(verdict.classes), 'class', 'classes')}; examples: {sizes}"

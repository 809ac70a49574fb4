"""The diagnoses: what was found with evidence and remedy; what passed, and what could not be asked, folded."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.findings import Finding
from thalweg.report.block import Fold, Lacking, Note, Part, Section, Table
from thalweg.report.words import many

__all__ = ["diagnoses_section"]

_TONES = {"error": "error", "warning": "warning", "note": "plain"}


def diagnoses_section(findings: Sequence[Finding] | Lacking) -> Section:
    """Show the findings of all checks, the gravest first."""
    if isinstance(findings, Lacking):
        return Section("diagnoses", "Diagnoses", (findings,))
    found = [one for one in findings if one.verdict == "found"]
    parts: list[Part] = [_note(one) for one in found]
    for verdict, title in (("passed", "passed"), ("not applicable", "could not be asked")):
        rest = [one for one in findings if one.verdict == verdict]
        if rest:
            rows = tuple((one.code, one.title, one.evidence) for one in rest)
            table = Table(("code", "looked for", "evidence" if verdict == "passed" else "why not"), rows)
            parts.append(Fold(f"{many(len(rest), 'check')} {title}", (table,)))
    lead = "Nothing was found." if not found else f"{many(len(found), 'check')} of {len(findings)} found something."
    lead += " Each code has its place in docs/diagnostics.md."
    return Section("diagnoses", "Diagnoses", tuple(parts), lead=lead)


def _note(finding: Finding) -> Note:
    more = []
    if finding.value is not None and finding.threshold is not None:
        unit = f" {finding.unit}" if finding.unit else ""
        more.append(f"Measured {finding.value:.4g}{unit}; trouble begins at {finding.threshold:.4g}.")
    if finding.remedy:
        more.append(f"Remedy: {finding.remedy}.".replace("..", "."))
    tone = _TONES[finding.severity]
    evidence = finding.evidence[:1].upper() + finding.evidence[1:]
    return Note(f"{evidence}.", tone, f"{finding.code} {finding.title}.", tuple(more))  # type: ignore[arg-type]

"""`thalweg diagnose`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from thalweg.cli.case import read_case
from thalweg.cli.options import Whole
from thalweg.cli.output import print_json, shown
from thalweg.diagnostics import Diagnosis
from thalweg.diagnostics import diagnose as run_checks
from thalweg.findings import Finding
from thalweg.saved_run import load_run

__all__ = ["diagnose"]


def diagnose(
    run: Path,
    *,
    data: str | None = None,
    trial: Whole | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say why a run went as it did, and what to try next: coded checks with evidence.

    Parameters
    ----------
    run
        A run folder.
    data
        Where the run's data is now; by default where it was, read with the same options.
    trial
        The number of the trial to look at; the winner by default.
    json
        Print one JSON object and nothing else on stdout.
    """
    loaded = load_run(run)
    diagnosis = run_checks(read_case(loaded, data, trial))
    if json:
        print_json(
            {
                "run": str(run),
                "subject": diagnosis.subject,
                "counts": diagnosis.counts,
                "findings": [finding.record() for finding in diagnosis.findings],
            }
        )
    else:
        print("\n".join(shown(line) for line in _lines(diagnosis)))
    return 0


def _lines(diagnosis: Diagnosis) -> list[str]:
    counts = diagnosis.counts
    lines = [f"{diagnosis.subject}: {counts['found']} found, {counts['passed']} passed, "
             f"{counts['not applicable']} not applicable"]  # fmt: skip
    for finding in diagnosis.found:
        lines += ["", f"{finding.severity} {finding.code} {finding.title}", f"  {finding.evidence}"]
        lines += [f"  Remedy: {finding.remedy}", f"  {finding.page}"]
    for verdict in ("passed", "not applicable"):
        rest = [finding for finding in diagnosis.findings if finding.verdict == verdict]
        lines += ["", verdict, *map(_line, rest)] if rest else []
    return lines


def _line(finding: Finding) -> str:
    return f"  {finding.code} {finding.title}: {finding.evidence}"

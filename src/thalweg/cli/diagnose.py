"""`thalweg diagnose`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from thalweg.cli.options import Reading, Whole
from thalweg.cli.output import print_json, shown
from thalweg.data.builtin import BUILTIN
from thalweg.diagnostics import Case, Diagnosis, make_case
from thalweg.diagnostics import diagnose as run_checks
from thalweg.errors import ThalwegError
from thalweg.findings import Finding
from thalweg.paths.records import Path as PathRun
from thalweg.run import Run
from thalweg.saved_run import load_run

__all__ = ["diagnose"]

_ARRAYS = "the run's data was arrays: call diagnostics.diagnose(run, (X, y)) in Python"


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
    diagnosis = run_checks(_case(loaded, data, trial))
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


def _case(run: Run | PathRun, data: str | None, trial: int | None) -> Case:
    """Read the data as the run read it. Where it is not to be had, the checks that need it say so."""
    settings = run.settings
    if data is not None:
        return make_case(run, _reading(settings).load(data), trial)
    source = settings.get("data", run.data.source)
    if source.startswith("built in") and run.data.name in BUILTIN:
        source = run.data.name  # which is how they are loaded; a run made in Python has the description alone
    if source == "arrays":
        return dataclasses.replace(make_case(run, None, trial), why_no_data=_ARRAYS)
    try:
        return make_case(run, _reading(settings).load(source), trial)
    except ThalwegError as error:
        bare = make_case(run, None, trial)  # a wrong trial is an error still
        print(f"thalweg: without the data: {shown(error)}", file=sys.stderr)
        why = f"the run's data is not to be had from {source} ({error}): give --data"
        return dataclasses.replace(bare, why_no_data=why)


def _reading(settings: dict[str, Any]) -> Reading:
    return Reading(**{name: settings[name] for name in ("label", "skip_bad", "image_size") if name in settings})


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

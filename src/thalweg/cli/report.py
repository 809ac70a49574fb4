"""`thalweg report`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from thalweg.artifacts import race_folder, run_folder
from thalweg.atomic import check_file, write_bytes
from thalweg.cli.case import read_case
from thalweg.cli.output import print_json, shown
from thalweg.cli.progress import ProgressLine
from thalweg.errors import DataError, ThalwegError, UsageError
from thalweg.report import write
from thalweg.report.race_html import race_page
from thalweg.report.salvage import salvage
from thalweg.report.salvage_page import salvage_page
from thalweg.saved_race import load_race
from thalweg.saved_run import load_run

__all__ = ["report"]

_DAMAGED = "report-damaged.html"  # beside the report, which was written when the folder was whole and stays


def report(
    run: Path,
    *,
    data: str | None = None,
    curvature: bool | None = None,
    out: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write the report of a sweep, a fit, a path or a race again: one HTML file that asks no host for anything.

    Of a sweep's, fit's or path's folder that is damaged or of another version it writes report-damaged.html, with what
    can still be read, and ends with the exit code 3.

    Parameters
    ----------
    run
        A run folder.
    data
        Where the run's data is now; by default where it was, read with the same options.
    curvature
        Compute the curvature at the solution and the plane of the trajectory; by default where it takes seconds.
    out
        The file to write (default: report.html in the run folder).
    json
        Print one JSON object and nothing else on stdout.
    """
    file = run / write.FILE if out is None else out
    if not run.is_dir():
        raise DataError(f"{run} is no folder; give a run folder: what --out named")
    check_file(file)
    if (run / race_folder.MARK).is_file():
        damage = _race(run, file, data)
    elif (run / run_folder.MARK).is_file() or _remains(run):
        damage = _run(run, file, run / _DAMAGED if out is None else file, data, curvature)
    else:
        raise DataError(f"{run} is no run folder: there is no {run_folder.MARK} in it; give what --out named")
    if damage is not None and out is None:
        file = run / _DAMAGED
    if json:
        print_json({"run": str(run), "report": str(file), "damage": damage})
    else:
        print(f"report: {shown(file)}")
    return 0 if damage is None else DataError.exit_code


def _race(run: Path, file: Path, data: str | None) -> str | None:
    if data is not None:
        raise UsageError("--data is of a sweep's or path's report; a race has no data: leave it out")
    race, racers, settings = load_race(run)
    write_bytes(file, race_page(race, racers=racers, settings=settings).encode("utf-8", "replace"))
    return None


def _run(run: Path, file: Path, remains: Path, data: str | None, curvature: bool | None) -> str | None:
    """Write the report; of a folder that cannot be read, what can be read into ``remains``, and return why."""
    line = ProgressLine()
    try:
        loaded = load_run(run)
    except ThalwegError as error:
        print(f"thalweg: {shown(error)}", file=sys.stderr)
        write_bytes(remains, salvage_page(salvage(run, str(error))).encode())
        return str(error)
    if data is not None:  # where it is now: what the page names is what works
        loaded = dataclasses.replace(loaded, settings={**loaded.settings, "data": data})
    line.say("reading the data, diagnosing, drawing")
    write.write_report(read_case(loaded, data), run, curvature=curvature, to=file)
    return None


def _remains(run: Path) -> bool:
    """Whether a folder without its mark holds a run's other files: it was half written."""
    return any((run / name).is_file() for name in ("trials.csv", "history.npz", "solutions.csv", "solutions.npz"))

"""Saving what was computed: if not where it was meant to go, then elsewhere."""

from __future__ import annotations

import shlex
import sys
import tempfile
import traceback
from datetime import datetime
from pathlib import Path

from thalweg.cli.output import shown
from thalweg.cli.progress import ProgressLine
from thalweg.errors import ThalwegError, UsageError
from thalweg.paths import Path as PathRun
from thalweg.run import Run

__all__ = ["add_report", "save"]


def save(run: Run | PathRun, folder: Path, overwrite: bool) -> Path:
    """Save a run; if the folder has become unusable while it trained, save it elsewhere and say so."""
    try:
        return run.save(folder, overwrite=overwrite, report=False)
    except UsageError as error:
        print(f"thalweg: {error}", file=sys.stderr)
    name = f"{folder.name}-{datetime.now():%Y%m%d-%H%M%S}"
    for place in (folder.with_name(name), Path(tempfile.mkdtemp(prefix="thalweg-")) / name):
        try:
            saved = run.save(place, report=False)
        except UsageError as error:
            print(f"thalweg: {error}", file=sys.stderr)
        else:
            print(f"saved the run as {saved} instead", file=sys.stderr)
            return saved
    raise UsageError(f"the run of {folder} could not be saved anywhere; free some disk space and run it again")


def add_report(run: Run | PathRun, folder: Path, line: ProgressLine) -> Path | None:
    """Write the report of a run that is saved, and return its file.

    Whatever keeps it from being written is told, and loses nothing else: None then.
    """
    # Here: reports bring all of the diagnostics, which --no-report does without.
    from thalweg.report import write

    line.say("writing the report")
    again = f"the run is saved, its report is not; thalweg report {shlex.quote(str(folder))} writes it"
    try:
        file = write.write_report(run, folder)
    except KeyboardInterrupt:
        print(f"interrupted: {shown(again)}", file=sys.stderr)
    except ThalwegError as error:
        print(f"thalweg: {shown(error)}; {shown(again)}", file=sys.stderr)
    except Exception:
        traceback.print_exc()
        fault = "this is a fault of ours, please report it with the lines above"
        print(f"thalweg: {fault}; {shown(again)}", file=sys.stderr)
    else:
        line.say(f"report: {file}")
        return file
    return None

"""A run's report as a page, and in its folder."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path as FilePath

from thalweg.atomic import write_bytes
from thalweg.diagnostics.case import Case
from thalweg.errors import ThalwegError
from thalweg.paths.records import Path
from thalweg.report.build import build_report
from thalweg.report.sections.all import page_of, render_all
from thalweg.run import Run

__all__ = ["FILE", "add_report", "report_page", "write_report"]

FILE = "report.html"


def report_page(
    run: Run | Path | Case, *, folder: str | FilePath | None = None, curvature: bool | None = None, live: bool = False
) -> str:
    """Return the report of a run as the text of one HTML file, which asks no host for anything.

    Args:
        run: what `sweep`, `fit`, `path` or `load_run` returned, or a `diagnostics.Case` with the data beside it. A run
            that was made in this process still holds its data; one that was read back needs a case, and
            without it the sections that show examples say so.
        folder: where the run is saved, for the commands that repeat it.
        curvature: whether to compute the curvature at the solution and the plane of the trajectory; None: where it
            takes a few seconds.
        live: the run is still being trained: what only a finished run has is left out, and the page asks its server for
            news.
    """
    place = None if folder is None else str(folder)
    return render_all(page_of(build_report(run, folder=place, curvature=curvature, live=live)), live=live)


def write_report(
    run: Run | Path | Case, folder: str | FilePath, *, curvature: bool | None = None, to: str | FilePath | None = None
) -> FilePath:
    """Write a run's report into its folder as ``report.html`` (or ``to`` another file), whole or not at all.

    Returns the file's path.
    """
    file = FilePath(folder) / FILE if to is None else FilePath(to)
    write_bytes(file, report_page(run, folder=folder, curvature=curvature).encode())
    return file


def add_report(run: Run | Path, folder: FilePath) -> None:
    """Write the report of a run that `Run.save` has saved; a failure is a warning, since the run is safe."""
    try:
        write_report(run, folder)
    except Exception as error:
        ours = not isinstance(error, (ThalwegError, MemoryError))
        why = (
            f"{type(error).__name__}: {error}: a fault of ours, please report it" if ours else str(error) or "no memory"
        )
        warnings.warn(
            f"the run is saved in {folder}, its report is not: {why}; thalweg report {shlex.quote(str(folder))} writes "
            "it, or save with report=False",
            stacklevel=3,
        )

"""A run's report as a page, and in its folder."""

from __future__ import annotations

from pathlib import Path as FilePath

from thalweg.atomic import write_bytes
from thalweg.diagnostics.case import Case
from thalweg.paths.records import Path
from thalweg.report.build import build_report
from thalweg.report.page import render
from thalweg.report.sections.all import page_of
from thalweg.run import Run

__all__ = ["FILE", "report_page", "write_report"]

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
    return render(page_of(build_report(run, folder=place, curvature=curvature, live=live)), live=live)


def write_report(
    run: Run | Path | Case, folder: str | FilePath, *, curvature: bool | None = None, to: str | FilePath | None = None
) -> FilePath:
    """Write a run's report into its folder as ``report.html`` (or ``to`` another file), whole or not at all.

    Returns the file's path.
    """
    file = FilePath(folder) / FILE if to is None else FilePath(to)
    write_bytes(file, report_page(run, folder=folder, curvature=curvature).encode())
    return file

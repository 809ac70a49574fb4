"""What `sweep`, `fit` and `path` share: read the data, work, save what was done, show it."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from thalweg.artifacts import check_run_folder
from thalweg.cli.options import Reading
from thalweg.cli.progress import ProgressLine
from thalweg.cli.saving import add_report, save
from thalweg.data import Dataset
from thalweg.paths import Path as PathRun
from thalweg.run import Run
from thalweg.sweeps import Interrupted

__all__ = ["carry_out"]

Result = TypeVar("Result", Run, PathRun)


def carry_out(
    work: Callable[[Dataset, ProgressLine], Result],
    show: Callable[[Result, Path], None],
    source: str,
    reading: Reading,
    out: Path | None,
    *,
    overwrite: bool,
    label: str = "",
    report: bool = True,
    last: Callable[[Path | None], None] | None = None,
) -> int:
    """Load ``source``, work, save, show, write the report; return the exit code.

    ``last`` is called at the very end, with the report's file (None: there is none).

    Without ``out`` the folder is runs/NAMElabel-DATE-TIME. A folder that cannot be
    written is refused before the work; what was done before Ctrl-C, or an error
    that carries it, is saved.
    """
    if out is not None:
        check_run_folder(out, overwrite=overwrite)
    line = ProgressLine()
    line.say(f"reading {source}")
    began = time.perf_counter()
    dataset = reading.load(source)
    read = time.perf_counter() - began
    folder = out or Path("runs") / f"{dataset.name}{label}-{datetime.now():%Y%m%d-%H%M%S}"
    check_run_folder(folder, overwrite=overwrite)
    for skipped in dataset.skipped:
        line.say(f"skipped {skipped.name}: {skipped.reason}")

    def told(result: Result) -> Result:
        """The result, with what it takes to read the same data again."""
        seconds = {**result.seconds, "load": result.seconds["load"] + read, "total": result.seconds["total"] + read}
        settings = {**result.settings, "data": source, **dataclasses.asdict(reading)}
        return dataclasses.replace(result, settings=settings, seconds=seconds)

    def finish(result: Result) -> None:
        place = save(result, folder, overwrite)
        show(result, place)  # before the report, whose diagnoses take a while: the verdict is known
        sys.stdout.flush()
        written = add_report(result, place, line) if report else None
        if last is not None:
            last(written)

    try:
        result = work(dataset, line)
    except Interrupted as stopped:
        line.clear()
        print("interrupted; saving what is done", file=sys.stderr)
        if folder.exists():  # --overwrite: what was finished there is worth more than what was begun now
            folder = folder.with_name(f"{folder.name}-interrupted")
            overwrite = True
        finish(told(stopped.run))
        return 130
    except Exception as error:
        line.clear()
        if (done := getattr(error, "run", None)) is not None:
            saved = save(told(done), folder, overwrite)
            print(f"what was done before the error is saved in {saved}", file=sys.stderr)
            if report:
                add_report(told(done), saved, line)
        raise
    line.clear()
    finish(told(result))
    return 0

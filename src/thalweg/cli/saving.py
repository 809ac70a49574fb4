"""Saving what was computed: if not where it was meant to go, then elsewhere."""

from __future__ import annotations

import sys
import tempfile
from datetime import datetime
from pathlib import Path

from thalweg.errors import UsageError
from thalweg.paths import Path as PathRun
from thalweg.run import Run

__all__ = ["save"]


def save(run: Run | PathRun, folder: Path, overwrite: bool) -> Path:
    """Save a run; if the folder has become unusable while it trained, save it elsewhere and say so."""
    try:
        return run.save(folder, overwrite=overwrite)
    except UsageError as error:
        print(f"thalweg: {error}", file=sys.stderr)
    name = f"{folder.name}-{datetime.now():%Y%m%d-%H%M%S}"
    for place in (folder.with_name(name), Path(tempfile.mkdtemp(prefix="thalweg-")) / name):
        try:
            saved = run.save(place)
        except UsageError as error:
            print(f"thalweg: {error}", file=sys.stderr)
        else:
            print(f"saved the run as {saved} instead", file=sys.stderr)
            return saved
    raise UsageError(f"the run of {folder} could not be saved anywhere; free some disk space and run it again")

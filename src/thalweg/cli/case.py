"""A saved run with its data read again, as the run read it."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from thalweg.cli.options import Reading
from thalweg.cli.output import shown
from thalweg.diagnostics import Case, make_case
from thalweg.errors import ThalwegError
from thalweg.paths.records import Path as PathRun
from thalweg.run import Run

__all__ = ["read_case"]

_ARRAYS = "the run's data was arrays, which only Python can give: diagnostics.make_case(run, (X, y))"


def read_case(run: Run | PathRun, data: str | None = None, trial: int | None = None) -> Case:
    """Read the data as the run read it. Where it is not to be had, the checks that need it say so."""
    settings = run.settings
    if data is not None:
        return make_case(run, _reading(settings).load(data), trial)
    source = settings.get("data", run.data.address)
    if source is None:
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

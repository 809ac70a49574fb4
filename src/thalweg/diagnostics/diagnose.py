"""Every check over a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thalweg.diagnostics.base import Check, Diagnosis, examine
from thalweg.diagnostics.case import Case, make_case
from thalweg.diagnostics.checks import CHECKS
from thalweg.errors import UsageError, nearest
from thalweg.paths.records import Path
from thalweg.run import Run

__all__ = ["diagnose"]


def diagnose(
    run: Run | Path | Case,
    data: Any = None,
    *,
    trial: int | None = None,
    checks: Sequence[Check] | Sequence[str] | None = None,
) -> Diagnosis:
    """Run coded checks over a run, and return every check's finding, those not applicable too.

    Arguments:
        run: what `sweep`, `fit`, `path` or `load_run` returned; or a `Case` put together before.
        data: the data of the run, for checks that look at examples or weights; without it these do not apply.
        trial: which trial to look at; None: the winner, or where none was selected the first that trained longest.
        checks: which checks, as objects or codes; None: all of `diagnostics.CHECKS`.

    Raises UsageError for other data than the run's, a trial that is not there, or an unknown code.
    """
    chosen = _checks(checks)
    if isinstance(run, Case):
        if data is not None or trial is not None:
            raise UsageError("data and trial are settled in a Case: leave them out")
        return examine(run, chosen, _subject(run))
    case = make_case(run, data, trial)
    return examine(case, chosen, _subject(case))


def _subject(case: Case) -> str:
    name = case.run.data.name
    if case.path is not None:
        return f"a path of {len(case.path.solutions)} solutions on {name}"
    if case.trial is None:
        return f"a run on {name} without a trial"
    if case.sweep is not None and case.sweep.selection is None:
        return f"trial {case.trial.number} (none was selected) of a run on {name}"
    won = "the winner" if case.run.best is case.trial else "not the winner"
    return f"trial {case.trial.number} ({won}) of a run on {name}"


def _checks(asked: Sequence[Check] | Sequence[str] | None) -> tuple[Check, ...]:
    known = {check.code: check for check in CHECKS}
    found = []
    for one in CHECKS if asked is None else asked:
        if isinstance(one, str) and one not in known:
            raise UsageError(f"there is no check {one!r}; there are {', '.join(known)}{nearest(one, tuple(known))}")
        found.append(known[one] if isinstance(one, str) else one)
    return tuple(found)

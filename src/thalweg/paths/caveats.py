"""What a choice among solutions rests on that is not proven, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from thalweg.paths.records import Choice, PathSolution
from thalweg.solvers.solution import CONVERGED

__all__ = ["caveats"]


def caveats(choice: Choice, solutions: Sequence[PathSolution], tolerance: float) -> tuple[str, ...]:
    """Say what of the chosen solution is not certified to the tolerance, and what was left out of the choice."""
    chosen = solutions[choice.chosen]
    found = []
    if chosen.status != CONVERGED:
        found.append(
            f"the chosen solution is not certified: it ended as {chosen.status!r}, and its value is only proved to lie "
            f"within {chosen.relative_bound:.1e} of itself above the minimum, where {tolerance:.0e} was asked for"
        )
    if missed := [status for status in chosen.fold_statuses if status != CONVERGED]:
        found.append(
            f"{len(missed)} of the chosen solution's {len(chosen.fold_statuses)} folds "
            f"{'is' if len(missed) == 1 else 'are'} not certified ({', '.join(sorted(set(missed)))}): the largest of "
            f"their relative bounds is {_text(max(chosen.fold_bounds))}, where {tolerance:.0e} was asked for"
        )
    if not choice.proven:
        found.append(
            f"no solution is known to within {choice.limit:g} of its value, folds included: the choice was made among "
            "all of them, by accuracies that may be far from the optima's, so do not rely on it. Allow more "
            "iterations, or give stronger penalties or better scaled features (preprocessing standardize)"
        )
    if choice.left_out:
        found.append(_left_out(choice, solutions))
    return tuple(found)


def _left_out(choice: Choice, solutions: Sequence[PathSolution]) -> str:
    out = [solutions[number] for number in choice.left_out]
    strengths = [s.strength for s in out]
    span = f"{min(strengths):.3g}" if len(out) == 1 else f"{min(strengths):.3g} to {max(strengths):.3g}"
    ends = Counter(status for s in out for status in (s.status, *s.fold_statuses) if status != CONVERGED)
    counts = ", ".join(f"{count} ended as {status!r}" for status, count in ends.items())
    one = len(out) == 1
    return (
        f"{len(out)} of {len(solutions)} solutions {'was' if one else 'were'} left out of the choice "
        f"(strength{'s' * (not one)} {span}): {'its optimum' if one else 'their optima'} or a fold's "
        f"{'is' if one else 'are'} not known to within {choice.limit:g} of the value (largest relative bound "
        f"{_text(max(s.worst_bound for s in out))}; {counts}), so the held-out accuracy says little"
    )


def _text(bound: float) -> str:
    return f"{bound:.1e}" if math.isfinite(bound) else "unknown"

"""The choice of a strength by cross-validation, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from thalweg.paths.records import Choice, PathSolution
from thalweg.statistics import holm, mcnemar

__all__ = ["KNOWN", "choose"]

# Relative bound up to which an optimum counts as known. Measured on digits, iris, wine and breast cancer, both losses:
# below it a fold's held-out accuracy was at most 2 examples from the optimum's, between 1e-2 and 1e-1 up to 29.
KNOWN = 1e-2
_ROUNDING = 1e-12  # equal shares, averaged in another order
_LEVEL = 0.05


def choose(solutions: Sequence[PathSolution], correct: np.ndarray, rule: str, *, limit: float = KNOWN) -> Choice:
    """Choose among solutions by their accuracy on held-out examples.

    ``correct`` (solutions, N) says which examples each classified rightly while
    they were held out. A solution takes part where its own relative bound and its
    folds' are at most ``limit``: what a solver left halfway says little of the optimum. Where
    none does, all that are finite take part, and `Choice.proven` is False.

    ``best`` has the highest mean accuracy over folds (of
    equal ones the first kind of loss, since values of two kinds do not compare, then
    the lowest loss, then the strongest penalty); ``one-standard-error``
    is, on the same path, the strongest penalty within one standard error of that
    (Breiman et al. 1984; Hastie et al. 2009, section 7.10).
    """
    known = [s for s in solutions if s.worst_bound <= limit and math.isfinite(s.validation_loss)]
    taken = known or [s for s in solutions if math.isfinite(s.validation_loss) and math.isfinite(s.bound)]
    losses = list(dict.fromkeys(s.loss.kind for s in solutions))
    best = min(
        taken,
        key=lambda s: (-round(s.validation_accuracy, 12), losses.index(s.loss.kind), s.validation_loss, -s.strength),
    )
    path = [s for s in taken if _same_path(s, best)]
    error = 0.0 if math.isnan(best.standard_error) else best.standard_error
    within = [s for s in path if s.validation_accuracy >= best.validation_accuracy - error - _ROUNDING]
    modest = max(within, key=lambda s: s.strength)
    chosen = best if rule == "best" else modest
    others = [s.number for s in taken if s is not chosen]
    p_values = holm([mcnemar(correct[chosen.number], correct[other]) for other in others])
    by_number = dict(zip(others, p_values, strict=True))
    return Choice(
        best=best.number,
        one_standard_error=modest.number,
        chosen=chosen.number,
        rule=rule,
        tied=tuple(number for number, p in by_number.items() if p >= _LEVEL),
        p_values=by_number,
        edges=_edges(best, path, [s for s in solutions if _same_path(s, best)]),
        left_out=tuple(s.number for s in solutions if s not in taken),
        limit=limit,
        proven=bool(known),
    )


def _same_path(one: PathSolution, other: PathSolution) -> bool:
    return (one.loss, one.class_weight) == (other.loss, other.class_weight)


def _edges(best: PathSolution, path: Sequence[PathSolution], whole: Sequence[PathSolution]) -> tuple[str, ...]:
    """Flag a best strength at an end of what was chosen among, unless the accuracy is flat there."""
    strengths = [s.strength for s in path]
    if len(strengths) < 2 or min(strengths) < best.strength < max(strengths):
        return ()
    inner = min((s for s in path if s is not best), key=lambda s: abs(np.log(s.strength / best.strength)))
    if inner.validation_accuracy >= best.validation_accuracy:
        return ()
    side = "low" if best.strength == min(strengths) else "high"
    beyond = [s for s in whole if (s.strength < best.strength if side == "low" else s.strength > best.strength)]
    if beyond:
        word = "weaker" if side == "low" else "stronger"
        return (
            f"the strength {best.strength:.3g} is the {side}est that took part in the choice: one of the {len(beyond)} "
            f"{word} ones that were left out may do better",
        )
    return (
        f"the strength {best.strength:.3g} lies at the {side} edge of its range [{min(strengths):.3g}, "
        f"{max(strengths):.3g}]: a wider range may do better",
    )

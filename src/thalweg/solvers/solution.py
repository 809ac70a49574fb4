"""What a solver returns: the weights, how good they are, and why it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["CONVERGED", "INTERRUPTED", "ITERATION_LIMIT", "NOT_FINITE", "NO_OPTIMUM", "STALLED", "STATUSES", "Solution"]

CONVERGED = "converged"
ITERATION_LIMIT = "iteration limit"
STALLED = "stalled"
INTERRUPTED = "interrupted"
NO_OPTIMUM = "no optimum"
NOT_FINITE = "not finite"

STATUSES = {
    CONVERGED: "the bound, or without one the gradient, is within the tolerance",
    ITERATION_LIMIT: "the iterations ran out before the tolerance was reached: allow more, or a larger tolerance",
    STALLED: (
        "no step brings it nearer any more, mostly because rounding hides the way: ask for a larger tolerance or a "
        "stronger penalty, or give better scaled features"
    ),
    NO_OPTIMUM: (
        "the value still falls while the weights grow without end, so no optimum exists (separable data without a "
        "penalty do this): add a penalty"
    ),
    INTERRUPTED: "the work was stopped before the tolerance was reached",
    NOT_FINITE: "the value or its gradient is NaN or infinite: mend the function, its data or the starting point",
}
"""Each status of a solution in words, with the remedy."""


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of a solver, for one problem or, along a leading axis, for a batch of them.

    ``value`` is the objective at ``weights``; the minimum is not lower than
    ``value − bound`` (``bound`` is infinite where nothing is known of the
    function that could prove one). ``status`` is one of STATUSES, or an object
    array of them. ``iterations`` counts steps taken, ``evaluations`` calls of the
    function (with its gradient, or without).
    """

    weights: Any = field(repr=False)
    value: Any
    bound: Any
    status: Any
    iterations: Any
    evaluations: Any

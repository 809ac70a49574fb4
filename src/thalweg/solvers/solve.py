"""One door to the full-batch solvers: the method that suits the loss and the penalty."""

from __future__ import annotations

import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import check_integer, check_number
from thalweg.losses import Hinge
from thalweg.solvers.optima import Optima, Watch
from thalweg.solvers.problem import Problem
from thalweg.solvers.softmax import solve_softmax
from thalweg.solvers.spectrum import Spectrum, decompose

__all__ = ["check_solvable", "default_tolerance", "needs_spectrum", "solve"]


def default_tolerance(problem: Problem) -> float:
    """Return the relative gap that is cheap to reach: 1e-6 for softmax with L2, 1e-4 with L1, 1e-3 for the hinge."""
    if isinstance(problem.loss, Hinge):
        return 1e-3
    return 1e-4 if np.any(problem.lasso > 0) else 1e-6


def needs_spectrum(problem: Problem) -> bool:
    """True where the penalty is L2, which a rotation leaves as it is."""
    return not np.any(problem.lasso > 0)


def check_solvable(loss: object, *, sparse: bool) -> None:
    """Raise a UsageError where a loss has no solver for a penalty that is, or holds, L1."""
    if sparse and isinstance(loss, Hinge):
        raise UsageError(
            "the hinge with an L1 penalty has no solver with a certificate here: take the softmax with L1, or the "
            "hinge with L2; thalweg sweep trains the hinge with L1"
        )


def solve(
    problem: Problem,
    *,
    tolerance: float | None = None,
    iterations: int = 5000,
    spectrum: Spectrum | None = None,
    watch: Watch | None = None,
) -> Optima:
    """Minimise every member until bound ≤ tolerance × value; see `Problem` for what a member is.

    ``spectrum`` may be handed over where it is known already. ``watch`` is called
    with the number of members done, and stops the work by returning True: members
    that were not done then have the status "interrupted". An error that ends the work
    carries the `Optima` so far as ``optima``.
    """
    tolerance = default_tolerance(problem) if tolerance is None else tolerance
    check_number("solve", "tolerance", tolerance, above=0, below=1)
    check_integer("solve", "iterations", iterations, least=1)
    if not needs_spectrum(problem):
        check_solvable(problem.loss, sparse=True)
        from thalweg.solvers.sparse import solve_sparse

        return solve_sparse(problem, tolerance=tolerance, iterations=iterations, watch=watch)
    if spectrum is None:
        spectrum = decompose(problem.features, rows=len(problem) * problem.classes)
    if isinstance(problem.loss, Hinge):
        from thalweg.solvers.hinge import solve_hinge

        return solve_hinge(problem, spectrum, tolerance=tolerance, iterations=iterations, watch=watch)
    return solve_softmax(problem, spectrum, tolerance=tolerance, iterations=iterations, watch=watch)

"""The curvature at the winner and the plane of its trajectory, where they can be had without loading data again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thalweg.diagnostics import Case, Curvature, PlaneRecord, curvature, plane, trajectory
from thalweg.diagnostics.subject import Subject, subject
from thalweg.errors import ThalwegError
from thalweg.optimizers import SGD
from thalweg.report.block import Lacking
from thalweg.report.records.common import optimizer_of, peak_rate
from thalweg.run import Run
from thalweg.training.status import DIVERGED

__all__ = ["WinnerRates", "winner_curvature", "winner_rates"]

# Products and sums of one pass over the examples. Curvature takes some hundreds of passes, the plane two thousand:
# half a minute on two cores.
_LONG = 3e8


@dataclass(frozen=True)
class WinnerRates:
    """The rates to hold against the limit that the curvature sets, 2/λmax for plain gradient descent.

    ``peak`` is the selected trial's (None: it has none), ``least_diverged`` the smallest peak rate of a trial of the
    same optimizer that diverged, ``largest_settled`` the largest of one that trained to an end. ``theory`` says whether
    the limit is one for this optimizer: SGD, with or without momentum. ``decay`` is its weight decay, which adds to
    λmax.
    """

    optimizer: str
    peak: float | None
    momentum: float
    nesterov: bool
    decay: float
    theory: bool
    least_diverged: float | None
    largest_settled: float | None

    def limit(self, record: Curvature) -> float:
        """Return 2(1 + ρ)/(λmax + decay), with Nesterov's momentum 2(1 + ρ)/((1 + 2ρ)(λmax + decay))."""
        steepest = record.largest.value + self.decay
        factor = 1 + 2 * self.momentum if self.nesterov else 1.0
        return 2 * (1 + self.momentum) / (factor * steepest) if steepest > 0 else math.inf

    @property
    def formula(self) -> str:
        """What `limit` computes, in symbols, without the terms that are 0 here."""
        above = "2(1 + ρ)" if self.momentum else "2"
        below = "λmax + decay" if self.decay else "λmax"
        if self.momentum and self.nesterov:
            return f"{above}/((1 + 2ρ)({below}))" if self.decay else f"{above}/((1 + 2ρ)λmax)"
        return f"{above}/({below})" if self.decay else f"{above}/{below}"

    @property
    def terms(self) -> str:
        """The values of the symbols of `formula` but λmax; "" where it has no other."""
        known = (("ρ", self.momentum), ("decay", self.decay))
        return ", ".join(f"{name} = {value:.3g}" for name, value in known if value)


def winner_rates(run: Run) -> WinnerRates | None:
    """Return the rates around the selected trial; None where nothing was selected."""
    best = run.best
    if best is None:
        return None
    optimizer, name = best.recipe.optimizer, optimizer_of(best)
    alike = [(rate, t) for t in run.trials if optimizer_of(t) == name and (rate := peak_rate(t)) is not None]
    plain = isinstance(optimizer, SGD) and optimizer.dampening is None
    return WinnerRates(
        optimizer=name,
        peak=peak_rate(best),
        momentum=float(getattr(optimizer, "momentum", None) or 0.0) if plain else 0.0,
        nesterov=plain and bool(getattr(optimizer, "nesterov", False)),
        decay=float(getattr(optimizer, "weight_decay", None) or 0.0) if plain else 0.0,
        theory=plain,
        least_diverged=min((rate for rate, t in alike if t.status.name == DIVERGED), default=None),
        largest_settled=max((rate for rate, t in alike if t.status.finished), default=None),
    )


def winner_curvature(case: Case, *, always: bool = False) -> tuple[Curvature | Lacking, PlaneRecord | Lacking]:
    """Return the Hessian's extreme eigenvalues at the model's weights, and the objective on its trajectory's plane.

    Both are of the training objective (the examples of `Case.data`, which are not loaded again). For a path the
    model is the chosen solution, whose class weights count, and there is no trajectory.

    Args:
        case: with its data and its model at hand, as `diagnostics.make_case` returns it.
        always: compute them whatever they take; by default they are left out where a pass over the examples takes more
            than 3e8 multiplications (examples × weights, for a linear model).

    Returns:
        `Lacking` in the place of each that cannot be had, with the reason.
    """
    if case.data is None or case.model is None:
        why = _absent(case)
        return Lacking(f"The curvature was not measured: {why}."), Lacking(f"The plane was not drawn: {why}.")
    try:
        seen = subject(case, None)
    except ThalwegError as error:
        return Lacking(f"The curvature was not measured: {error}."), Lacking(f"The plane was not drawn: {error}.")
    if not always and (work := seen.work) > _LONG:
        why = (
            f"left out to save time ({len(seen.split):,} examples at {work / len(seen.split):,.0f} multiplications "
            "each): thalweg report RUN --curvature measures it"
        )
        return Lacking(f"The curvature was {why}."), Lacking(f"The plane was {why}.")
    return _curvature(seen), _plane(case, seen)


def _absent(case: Case) -> str:
    if case.run.model is None:
        return "nothing was selected, so there are no weights"
    if case.model is None:
        return "the weights of this trial are not kept, only the selected one's are"
    return f"{case.why_no_data}; with it, thalweg report RUN --data DATA measures it"


def _curvature(seen: Subject) -> Curvature | Lacking:
    if not getattr(seen.model.recipe.loss, "smooth", True):
        return Lacking(
            f"There is no curvature to measure: {type(seen.model.recipe.loss).__name__} is made of straight pieces, so "
            "its Hessian is 0 wherever it has one. Train with losses.Softmax() to see it."
        )
    try:
        return curvature(seen, None)
    except ThalwegError as error:
        return Lacking(f"The curvature could not be measured: {error}.")


def _plane(case: Case, seen: Subject) -> PlaneRecord | Lacking:
    if case.path is not None:
        return Lacking("A path has no trajectory to draw: its solver finds optima, and its steps are not kept.")
    try:
        return plane(trajectory(seen, None))
    except ThalwegError as error:
        return Lacking(f"There is no plane of the trajectory: {error}.")

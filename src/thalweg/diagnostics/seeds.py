"""Do the seeds of a recipe agree?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from thalweg.diagnostics.base import Check, Need
from thalweg.diagnostics.case import Case
from thalweg.findings import Finding, Severity
from thalweg.selection import Group

__all__ = ["SeedsDisagree"]

_NEAR = 4  # groups next to the winner that take part: the seeds of hopeless recipes say nothing about the choice
_DRAWS = 2000


class SeedsDisagree(Check):
    """The seeds of the best recipes differ so much that other seeds would have chosen another winner.

    The accuracies of a recipe's K seeds are a random effect: a_gk = μ_g + ε_gk, ε ~ N(0, σ²). σ² is estimated
    within the winner's group and the three next to it, pooled (one-way analysis of variance). ``value`` is the
    spread σ. Found where it is above the threshold and, with new means drawn from N(ā_g, σ²/K), another group wins
    in a fifth of the draws or more, or where a seed of the winner's group diverged.

    Threshold: 0.015, a point and a half of accuracy; less than that seeds shift nearly every training, and choosing
    among recipes that differ by less costs little. In the corpus with seed 0 it parts unsteady trainings from
    steady ones. Picard 2021; Bouthillier et al. 2021, "Accounting for variance".
    """

    code: ClassVar[str] = "SR03"
    title: ClassVar[str] = "seeds disagree"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = "take more seeds, or make the training steadier: more epochs, a lower rate, a wider model"
    threshold: ClassVar[float] = 0.015
    unit: ClassVar[str] = "accuracy"
    needs: ClassVar[tuple[Need, ...]] = ("sweep", "selection")

    def look(self, case: Case) -> Finding:
        run = case.sweep
        assert run is not None
        assert run.selection is not None
        if run.settings["seeds"] < 2:
            return self.not_applicable("every recipe was trained with one seed")
        own = run.selection.group
        if own.diverged:
            seeds = len(own.accuracies) + own.diverged
            return self.found(f"{own.diverged} of the winner's {seeds} seeds diverged")
        others = [group for group in run.selection.groups if group is not own and len(group.accuracies) > 1]
        near = sorted(others, key=lambda group: -group.mean)[: _NEAR - 1]
        if len(own.accuracies) < 2 or not near:
            return self.not_applicable("fewer than two recipes finished with two seeds or more")
        sigma = _pooled([own, *near])
        lost = _lost(own, near, sigma)
        evidence = (
            f"accuracies of one recipe spread by {sigma:.4f} over its seeds (pooled over {len(near) + 1} recipes); the "
            f"winner's mean over {len(own.accuracies)} is {own.mean:.4f}, the next recipe's {near[0].mean:.4f}; with "
            f"other seeds another recipe would win in {lost:.0%} of cases"
        )
        return self.judged(sigma > self.threshold and lost >= 0.2, evidence, sigma)


def _pooled(groups: list[Group]) -> float:
    """The standard deviation within groups."""
    squares = sum(float(np.sum((np.asarray(g.accuracies) - g.mean) ** 2)) for g in groups)
    return float(np.sqrt(squares / sum(len(g.accuracies) - 1 for g in groups)))


def _lost(own: Group, others: list[Group], sigma: float) -> float:
    """In what share of draws of new means the winner is not the best."""
    groups = [own, *others]
    means = np.asarray([group.mean for group in groups])
    errors = sigma / np.sqrt([len(group.accuracies) for group in groups])
    drawn = means[None] + errors[None] * np.random.default_rng(0).normal(size=(_DRAWS, len(groups)))
    return float(np.mean(drawn.argmax(axis=1) != 0))

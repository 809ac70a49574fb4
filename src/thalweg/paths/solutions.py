"""From a solver's optima to the solutions of a path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.paths.features import Centred
from thalweg.paths.job import Job, Loss
from thalweg.paths.records import PathSolution
from thalweg.paths.weightings import name_of
from thalweg.solvers.optima import Optima
from thalweg.solvers.solution import CONVERGED, INTERRUPTED, STATUSES

__all__ = ["Found", "collect", "complaints"]


@dataclass(frozen=True, eq=False)
class Found:
    """All solutions, and which examples each classified rightly while they were held out."""

    solutions: list[PathSolution]
    correct: np.ndarray  # (solutions, N)
    tolerances: dict[str, float]  # by the kind of loss
    strengths: np.ndarray  # of all losses, largest first
    spectrum: str
    failure: Exception | None = None  # what ended the work early

    @property
    def tolerance(self) -> float:
        return max(self.tolerances.values())


def collect(
    found: Found, job: Job, loss: Loss, strengths: np.ndarray, optima: Optima, matrix: Centred, fold: np.ndarray
) -> None:
    """Turn the optima of all weightings into one solution a strength and class weighting."""
    certificate = optima.certificate
    each = job.folds + 1
    for place, class_weight in enumerate(job.class_weights):
        for index, strength in enumerate(strengths):
            members = [(place * each + k) * len(strengths) + index for k in range(each)]
            whole, *parts = members
            number = len(found.solutions)
            weights, bias = matrix.restore(optima.weights[whole], certificate.bias[whole])
            held = [fold == k for k in range(job.folds)]
            for mask, part in zip(held, parts, strict=True):
                found.correct[number, mask] = certificate.correct[part, mask]
            found.solutions.append(
                PathSolution(
                    number=number,
                    strength=float(strength),
                    penalty=job.penalty_of(float(strength)),
                    loss=loss,
                    class_weight=name_of(class_weight),
                    weights=weights,
                    bias=bias,
                    value=float(certificate.value[whole]),
                    bound=float(certificate.bound[whole]),
                    status=optima.statuses[whole],
                    iterations=int(optima.iterations[whole]),
                    fold_accuracies=tuple(float(found.correct[number, mask].mean()) for mask in held),
                    fold_losses=tuple(float(certificate.held_out_loss[part]) for part in parts),
                    fold_bounds=tuple(float(certificate.relative[part]) for part in parts),
                    fold_statuses=tuple(optima.statuses[part] for part in parts),
                )
            )


def complaints(solutions: list[PathSolution]) -> list[str]:
    """Say which solutions are not certified to the tolerance, and why."""
    counts: dict[str, int] = {}
    for solution in solutions:
        for status in (solution.status, *solution.fold_statuses):
            if status not in (CONVERGED, INTERRUPTED):
                counts[status] = counts.get(status, 0) + 1
    return [
        f"{count} optim{'um is' if count == 1 else 'a are'} not certified to the tolerance, folds included ({status}): "
        f"{STATUSES[status]}"
        for status, count in counts.items()
    ]

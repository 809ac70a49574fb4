"""All members of a path, a loss at a time, through the solvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from thalweg.data import Dataset, Split
from thalweg.data.checks import check_memory
from thalweg.paths.features import Centred
from thalweg.paths.job import Job, Loss
from thalweg.paths.records import PathProgress
from thalweg.paths.solutions import Found, collect
from thalweg.paths.strengths import grid, largest
from thalweg.paths.weightings import assign_folds, weighting
from thalweg.solvers.memory import Sizes, working_memory
from thalweg.solvers.problem import Problem
from thalweg.solvers.solution import INTERRUPTED
from thalweg.solvers.solve import default_tolerance, solve
from thalweg.solvers.spectrum import Spectrum, decompose

__all__ = ["solve_all"]


def solve_all(
    job: Job, dataset: Dataset, training: Split, matrix: Centred, tell: Callable[[PathProgress], bool]
) -> Found:
    assert training.labels is not None
    labels, classes = training.labels, dataset.classes
    _check_memory(job, matrix.matrix.shape, len(classes))
    fold = assign_folds(labels, job.folds, classes, job.seed)
    rows = np.stack(
        [
            weighting(labels, training.weights, value, classes, fold != held)
            for value in job.class_weights
            for held in ([-2] if job.folds == 0 else [-2, *range(job.folds)])
        ]
    )
    base = Problem(matrix.matrix, labels, len(classes), job.losses[0], rows, np.zeros(1, int), np.ones(1), np.zeros(1))
    spectrum = _spectrum(job, base)
    strengths = _strengths(job, base, spectrum, matrix)
    total = len(strengths) * len(rows) * len(job.losses)
    tell(PathProgress(0, total, _announcement(job, dataset, training, strengths)))
    found = Found([], np.zeros((len(strengths) * len(job.class_weights) * len(job.losses), len(labels)), bool),
                   0.0, strengths, "none" if spectrum is None else spectrum.kind)  # fmt: skip
    tolerances = []
    for place, loss in enumerate(job.losses):
        problem = _problem(job, base, loss, strengths, matrix)
        done = place * len(problem)

        def watch(count: int, done: int = done) -> bool:
            return tell(PathProgress(done + count, total))

        tolerances.append(default_tolerance(problem) if job.tolerance is None else job.tolerance)
        optima = solve(problem, tolerance=tolerances[-1], iterations=job.iterations, spectrum=spectrum, watch=watch)
        collect(found, job, loss, strengths, optima, matrix, fold)
        if INTERRUPTED in optima.statuses:
            break  # losses that were not begun have no solutions
    return replace(found, tolerance=max(tolerances))


def _spectrum(job: Job, base: Problem) -> Spectrum | None:
    if job.penalty != "l2":
        return None
    return decompose(base.features, rows=job.count * len(base.weightings) * base.classes)


def _strengths(job: Job, base: Problem, spectrum: Spectrum | None, matrix: Centred) -> np.ndarray:
    if not isinstance(job.strengths, int):
        return job.strengths
    top = largest(base, spectrum)
    # `largest` speaks of the scaled matrix; a strength is for the preprocessed features.
    return grid(job.strengths, top * (matrix.scale**2 if job.penalty == "l2" else matrix.scale), job.penalty)


def _problem(job: Job, base: Problem, loss: Loss, strengths: np.ndarray, matrix: Centred) -> Problem:
    """All strengths for the first weighting, then for the next, and so on."""
    pairs = [job.parts_of(s) for s in strengths]
    count = len(base.weightings)
    return replace(
        base,
        loss=loss,
        rows=np.repeat(np.arange(count), len(strengths)),
        ridge=np.tile([matrix.ridge(ridge) for ridge, _ in pairs], count),
        lasso=np.tile([matrix.lasso(lasso) for _, lasso in pairs], count),
    )


def _check_memory(job: Job, shape: tuple[int, ...], classes: int) -> None:
    """Refuse what the machine cannot hold, optima and the work on them, before any is computed."""
    examples, width = shape
    members = job.count * len(job.losses) * job.weightings
    optima = 8 * job.weightings * examples + members * (8 * classes * (width + 1) + examples)
    sizes = Sizes(examples, width, classes, job.count * job.weightings, job.weightings)
    work = max(working_memory(sizes, loss, is_sparse=job.penalty != "l2") for loss in job.losses)
    check_memory(
        f"path: {members:,} optima of {classes} x {width} weights, and the work on them",
        examples * width * 4 + optima + work,
        "ask for fewer strengths or folds" if optima > work else "give fewer features, or train with thalweg sweep",
    )


def _announcement(job: Job, dataset: Dataset, training: Split, strengths: np.ndarray) -> str:
    sizes = f"{len(training)} examples, {len(dataset.classes)} classes"
    what = " and ".join(loss.kind for loss in job.losses)
    span = f"{strengths[0]:.3g} down to {strengths[-1]:.3g}" if len(strengths) > 1 else f"{strengths[0]:.3g}"
    parts = [f"{len(strengths)} strengths from {span}" if len(strengths) > 1 else f"strength {span}"]
    if job.folds:
        parts.append(f"{job.folds} folds")
    if len(job.class_weights) > 1:
        parts.append(f"{len(job.class_weights)} class weightings")
    return f"{dataset.name}: {sizes}; {what} with {job.penalty}, {', '.join(parts)}"

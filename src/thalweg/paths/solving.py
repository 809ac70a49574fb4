"""All members of a path, a loss at a time, through the solvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from thalweg.data import Dataset, Split
from thalweg.data.checks import check_memory
from thalweg.losses import Hinge
from thalweg.paths.features import Centred
from thalweg.paths.job import Job, Loss
from thalweg.paths.records import PathProgress
from thalweg.paths.solutions import Found, collect
from thalweg.paths.strengths import grid, largest
from thalweg.paths.weightings import assign_folds, weighting
from thalweg.solvers.memory import Sizes, working_memory
from thalweg.solvers.optima import Optima, Watch, rescued
from thalweg.solvers.problem import Problem
from thalweg.solvers.solution import INTERRUPTED
from thalweg.solvers.solve import default_tolerance, solve
from thalweg.solvers.spectrum import Spectrum, decompose

__all__ = ["solve_all"]


def solve_all(
    job: Job, dataset: Dataset, training: Split, matrix: Centred, tell: Callable[[PathProgress], bool]
) -> Found:
    """Solve for every loss, strength, class weighting and fold; what an error cut short is returned with the error."""
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
    grids = [_strengths(job, loss, base, spectrum, matrix) for loss in job.losses]
    total = sum(map(len, grids)) * len(rows)
    tell(PathProgress(0, total, _announcement(job, dataset, training, grids)))
    found = Found([], np.zeros((total // (job.folds + 1), len(labels)), bool), {}, _union(grids),
                  "none" if spectrum is None else spectrum.kind)  # fmt: skip
    done = 0
    for loss, strengths in zip(job.losses, grids, strict=True):
        problem = _problem(job, base, loss, strengths, matrix)

        def watch(count: int, done: int = done) -> bool:
            return tell(PathProgress(done + count, total))

        tolerance = default_tolerance(problem) if job.tolerance is None else job.tolerance
        found.tolerances[loss.kind] = tolerance
        optima, failure = _solve(problem, tolerance, job.iterations, spectrum, watch)
        collect(found, job, loss, strengths, optima, matrix, fold)
        if failure is not None:
            return replace(found, failure=failure)
        if INTERRUPTED in optima.statuses:
            break  # losses that were not begun have no solutions
        done += len(problem)
    return found


def _solve(
    problem: Problem, tolerance: float, iterations: int, spectrum: Spectrum | None, watch: Watch
) -> tuple[Optima, Exception | None]:
    """Return the optima, and the error that ended the work early, if one did after it had begun."""
    try:
        return solve(problem, tolerance=tolerance, iterations=iterations, spectrum=spectrum, watch=watch), None
    except Exception as error:
        if (partial := rescued(error)) is None:
            raise
        return partial, error


def _union(grids: list[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(grids))[::-1]


def _spectrum(job: Job, base: Problem) -> Spectrum | None:
    if job.penalty != "l2":
        return None
    return decompose(base.features, rows=job.count * len(base.weightings) * base.classes)


def _strengths(job: Job, loss: Loss, base: Problem, spectrum: Spectrum | None, matrix: Centred) -> np.ndarray:
    if not isinstance(job.strengths, int):
        return job.strengths
    top = largest(base, spectrum)
    # `largest` speaks of the scaled matrix; a strength is for the preprocessed features.
    top *= matrix.scale**2 if job.penalty == "l2" else matrix.scale
    return grid(job.strengths, top, job.penalty, hinge=isinstance(loss, Hinge))


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


def _announcement(job: Job, dataset: Dataset, training: Split, grids: list[np.ndarray]) -> str:
    sizes = f"{len(training)} examples, {len(dataset.classes)} classes"
    what = " and ".join(loss.kind for loss in job.losses)
    spans = dict.fromkeys(_span(strengths) for strengths in grids)
    parts = [" and ".join(spans)]
    if job.folds:
        parts.append(f"{job.folds} folds")
    if len(job.class_weights) > 1:
        parts.append(f"{len(job.class_weights)} class weightings")
    return f"{dataset.name}: {sizes}; {what} with {job.penalty}, {', '.join(parts)}"


def _span(strengths: np.ndarray) -> str:
    if len(strengths) == 1:
        return f"strength {strengths[0]:.3g}"
    return f"{len(strengths)} strengths from {strengths[0]:.3g} down to {strengths[-1]:.3g}"

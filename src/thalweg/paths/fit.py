"""Certified optima for a whole path of penalty strengths, cross-validated."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from thalweg.data import Dataset, Split, check_trainable, load
from thalweg.data.checks import check_memory
from thalweg.data.preprocessing import Preprocessing, fit_preprocessing
from thalweg.data.splits import join, split_dataset
from thalweg.errors import DataError, UsageError, nearest
from thalweg.fields import check_integer, check_number
from thalweg.fitted import FittedModel
from thalweg.losses import Hinge, Softmax
from thalweg.paths.choose import choose
from thalweg.paths.features import Centred, centre
from thalweg.paths.records import Path, PathProgress, PathSolution
from thalweg.paths.strengths import PENALTIES, grid, largest, read_strengths
from thalweg.paths.weightings import (
    ClassWeight,
    assign_folds,
    check_class_weight,
    name_of,
    read_example_weights,
    weighting,
)
from thalweg.penalties import L1, L2, ElasticNet, Penalty
from thalweg.recipe import FULL_BATCH, Recipe
from thalweg.recipe_files import Named
from thalweg.selection import check_rule
from thalweg.solvers.optima import Optima
from thalweg.solvers.problem import Problem
from thalweg.solvers.solution import CONVERGED, INTERRUPTED, STATUSES
from thalweg.solvers.solve import default_tolerance, solve
from thalweg.solvers.spectrum import Spectrum, decompose
from thalweg.sweeps import Interrupted, run_versions, summarise_data
from thalweg.training.interrupt import InterruptRequest

__all__ = ["path"]

Loss = Softmax | Hinge


def path(
    data: Any,
    *,
    loss: Loss | Sequence[Loss] | None = None,
    penalty: str = "l2",
    beta: float = 0.5,
    strengths: Any = 45,
    folds: int = 5,
    class_weight: ClassWeight | Sequence[ClassWeight] = None,
    example_weights: Any = None,
    selection: str = "best",
    tolerance: float | None = None,
    iterations: int = 5000,
    preprocessing: str | None = "auto",
    test: float | None = None,
    seed: int = 0,
    progress: Callable[[PathProgress], None] | None = None,
) -> Path:
    """Fit a linear classifier to its certified optimum at every penalty strength, and choose by cross-validation.

    Each solution minimises the weighted mean of ``loss`` plus strength × R(W), the
    bias unpenalised, over all training examples, and carries a bound on how far
    above the minimum it lies. All strengths, folds, class weightings and losses
    share the features and their matrix products.

    Arguments:
        data: whatever `load` reads: a path, ``"digits"``, a pair (X, y), a `Dataset`.
            A validation split that it brings joins the training examples.
        loss: `losses.Softmax` (the default) or `losses.Hinge`; several are all fitted and chosen among.
        penalty: ``l2``, ``l1`` or ``elastic_net`` (SPEC section C, without ½).
        beta: the elastic net's share of L2: R = Σ (β W² + |W|); ½ is scikit-learn's l1_ratio ½.
        strengths: a count, numbers, or ``"low:high:count"``. A count runs from the
            strength at which the weights vanish (with L2: have shrunk to a hundredth)
            down to 1e-8 of it with L2, 1e-3 with L1 and elastic net.
        folds: of the cross-validation, stratified; 0 fits all examples, holds
            none out, not even a test split, and chooses nothing.
        class_weight: None, ``"balanced"``, a mapping of class names to weights, or several to choose among.
        example_weights: (N,) weights of the data's training examples; None weighs all alike.
        selection: ``best`` cross-validated accuracy, or ``one-standard-error``: the
            strongest penalty within a standard error of it.
        tolerance: the relative gap, bound / value, to reach. By default 1e-6
            for softmax with L2, 1e-4 with L1 or elastic net, 1e-3 for the hinge.
        iterations: at most, of the solver, for each optimum.
        preprocessing: ``auto``, ``center``, ``standardize``, ``scale``, or None;
            fitted on all training examples, held-out folds included (no labels are used).
        test: share to hold out where the data brings no test split (default 0.2).
        seed: of the test split and the folds.
        progress: called with a `PathProgress` now and then.

    Raises UsageError and DataError for arguments and data that cannot serve, and
    `Interrupted` (with the path so far) on Ctrl-C.
    """
    started = time.perf_counter()
    job = _Job(
        losses=_several(loss if loss is not None else Softmax(), _check_loss),
        penalty=_check_penalty(penalty),
        beta=beta,
        strengths=read_strengths(strengths),
        folds=_check_folds(folds),
        class_weights=_several(class_weight, None),
        selection=selection,
        tolerance=tolerance,
        iterations=iterations,
        seed=seed,
        tell=progress or (lambda _: None),
    )
    check_number("path", "beta", beta, above=0)
    if tolerance is not None:
        check_number("path", "tolerance", tolerance, above=0, below=1)
    check_integer("path", "iterations", iterations, least=1)
    check_integer("path", "seed", seed, least=0)
    check_rule(selection)
    loaded = load(data)
    dataset, training = _prepare(loaded, example_weights, test, job)
    prepared = fit_preprocessing(training.features, preprocessing)
    matrix = centre(training.features, prepared)
    loaded_at = time.perf_counter()
    with InterruptRequest("iteration") as stop:
        found = _solve_all(job, dataset, training, matrix, stop)
        solved_at = time.perf_counter()
        result = Path(
            solutions=tuple(found.solutions),
            tolerance=found.tolerance,
            settings=_settings(job, training, found, preprocessing, test),
            data=summarise_data(loaded, dataset, prepared, {"train": len(training.features)}),
            seconds={"load": loaded_at - started, "solve": solved_at - loaded_at, "total": solved_at - started},
            messages=tuple(found.messages),
            interrupted=stop.requested,
            versions=run_versions(),
        )
        if job.folds and not stop.requested:
            result = _conclude(result, job, found, dataset, prepared)
    result.seconds["total"] = time.perf_counter() - started
    if result.interrupted:
        raise Interrupted(result)
    return result


@dataclass(frozen=True)
class _Job:
    """The arguments of `path`, checked."""

    losses: tuple[Loss, ...]
    penalty: str
    beta: float
    strengths: int | np.ndarray
    folds: int
    class_weights: tuple[ClassWeight, ...]
    selection: str
    tolerance: float | None
    iterations: int
    seed: int
    tell: Callable[[PathProgress], None]

    def penalty_of(self, strength: float) -> Penalty:
        if self.penalty == "l2":
            return L2(strength)
        return L1(strength) if self.penalty == "l1" else ElasticNet(strength, self.beta)


@dataclass(frozen=True, eq=False)
class _Found:
    """All solutions, and which examples each classified rightly while they were held out."""

    solutions: list[PathSolution]
    correct: np.ndarray  # (solutions, N)
    tolerance: float
    strengths: np.ndarray
    spectrum: str
    messages: list[str]


def _several(value: Any, check: Callable[[Any], None] | None) -> tuple[Any, ...]:
    """Return a value, or each of several, as a tuple without repeats."""
    given = value if isinstance(value, (list, tuple)) else (value,)
    if not given:
        raise UsageError("path: an empty list leaves nothing to fit; give at least one")
    if check is not None:
        for one in given:
            check(one)
    return tuple(one for place, one in enumerate(given) if one not in given[:place])


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, (Softmax, Hinge)):
        raise UsageError(
            f"loss is {loss!r}; a certified optimum needs losses.Softmax() or losses.Hinge(); sweep takes others"
        )


def _check_penalty(penalty: Any) -> str:
    if penalty not in PENALTIES:
        raise UsageError(
            f"penalty is {penalty!r}; it must be one of {', '.join(PENALTIES)}{nearest(str(penalty), PENALTIES)}"
        )
    return str(penalty)


def _check_folds(folds: Any) -> int:
    check_integer("path", "folds", folds, least=0)
    if folds == 1:
        raise UsageError("folds is 1, which would hold all examples out; give 2 or more, or 0 for no cross-validation")
    return int(folds)


def _prepare(loaded: Dataset, example_weights: Any, test: float | None, job: _Job) -> tuple[Dataset, Split]:
    """Return the data set with its test split, and all examples to fit."""
    check_trainable(loaded)
    for value in job.class_weights:
        check_class_weight(value, loaded.classes)
    if example_weights is not None:
        weights = read_example_weights(example_weights, len(loaded.train))
        loaded = replace(loaded, train=replace(loaded.train, weights=weights))
    if job.folds == 0 and test is not None:
        raise UsageError(f"test is {test!r}, but without folds nothing is chosen, so nothing is held out: leave it out")
    dataset = loaded
    if job.folds and loaded.test is None:
        # The training examples that a validation split would be cut from are the folds'.
        whole = loaded if loaded.validation is not None else replace(loaded, validation=loaded.train)
        cut = split_dataset(whole, test=test, seed=job.seed)
        dataset = replace(cut, validation=loaded.validation)
    elif test is not None:
        raise UsageError(f"test is {test!r}, but the data brings its own test split; leave it out")
    training = dataset.train if dataset.validation is None else join(dataset.train, dataset.validation)
    if training.weights is not None:
        training = _drop_weightless(training, dataset)
    return dataset, training


def _drop_weightless(split: Split, dataset: Dataset) -> Split:
    """Leave out examples of weight 0: they take part in nothing."""
    assert split.weights is not None
    assert split.labels is not None
    kept = split.weights > 0
    totals = np.bincount(split.labels[kept], minlength=len(dataset.classes))
    if (totals == 0).any():
        name = dataset.classes[int(np.argmin(totals))]
        raise DataError(f"example_weights leaves class {name!r} without an example of positive weight; give it one")
    return Split(split.features[kept], split.labels[kept], weights=split.weights[kept])


def _solve_all(job: _Job, dataset: Dataset, training: Split, matrix: Centred, stop: InterruptRequest) -> _Found:
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
    job.tell(PathProgress(0, total, _announcement(job, dataset, training, strengths)))
    found = _Found([], np.zeros((len(strengths) * len(job.class_weights) * len(job.losses), len(labels)), bool),
                   0.0, strengths, "none" if spectrum is None else spectrum.kind, [])  # fmt: skip
    tolerances = []
    for place, loss in enumerate(job.losses):
        problem = _problem(job, base, loss, strengths, matrix)
        done = place * len(problem)

        def watch(count: int, done: int = done) -> bool:
            job.tell(PathProgress(done + count, total))
            return stop.requested

        tolerances.append(default_tolerance(problem) if job.tolerance is None else job.tolerance)
        optima = solve(problem, tolerance=tolerances[-1], iterations=job.iterations, spectrum=spectrum, watch=watch)
        _collect(found, job, loss, strengths, optima, matrix, fold)
    return replace(found, tolerance=max(tolerances), messages=_messages(found))


def _check_memory(job: _Job, shape: tuple[int, ...], classes: int) -> None:
    """Refuse more optima than the machine can hold, before any is computed."""
    count = job.strengths if isinstance(job.strengths, int) else len(job.strengths)
    weightings = len(job.class_weights) * (job.folds + 1)
    examples, width = shape
    members = count * len(job.losses) * weightings
    needed = 8 * weightings * examples + members * (8 * classes * (width + 1) + examples)
    check_memory(f"path: {members:,} optima of {classes} x {width} weights", needed, "ask for fewer strengths or folds")


def _spectrum(job: _Job, base: Problem) -> Spectrum | None:
    if job.penalty != "l2":
        return None
    count = job.strengths if isinstance(job.strengths, int) else len(job.strengths)
    members = count * len(base.weightings)
    return decompose(base.features, rows=members * base.classes)


def _strengths(job: _Job, base: Problem, spectrum: Spectrum | None, matrix: Centred) -> np.ndarray:
    if not isinstance(job.strengths, int):
        return job.strengths
    top = largest(base, spectrum)
    # `largest` speaks of the scaled matrix; a strength is for the preprocessed features.
    return grid(job.strengths, top * (matrix.scale**2 if job.penalty == "l2" else matrix.scale), job.penalty)


def _problem(job: _Job, base: Problem, loss: Loss, strengths: np.ndarray, matrix: Centred) -> Problem:
    """All strengths for the first weighting, then for the next, and so on."""
    pairs = [(0.0, s) if job.penalty != "l2" else (s, 0.0) for s in strengths]
    if job.penalty == "elastic_net":
        pairs = [(s * job.beta, s) for s in strengths]
    count = len(base.weightings)
    return replace(
        base,
        loss=loss,
        rows=np.repeat(np.arange(count), len(strengths)),
        ridge=np.tile([matrix.ridge(ridge) for ridge, _ in pairs], count),
        lasso=np.tile([matrix.lasso(lasso) for _, lasso in pairs], count),
    )


def _collect(
    found: _Found, job: _Job, loss: Loss, strengths: np.ndarray, optima: Optima, matrix: Centred, fold: np.ndarray
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


def _messages(found: _Found) -> list[str]:
    """Say which solutions are not certified to the tolerance, and why."""
    counts: dict[str, int] = {}
    for solution in found.solutions:
        for status in (solution.status, *solution.fold_statuses):
            if status not in (CONVERGED, INTERRUPTED):
                counts[status] = counts.get(status, 0) + 1
    return [
        f"{count} optim{'um is' if count == 1 else 'a are'} not certified to the tolerance ({status}): "
        f"{STATUSES[status]}"
        for status, count in counts.items()
    ]


def _conclude(result: Path, job: _Job, found: _Found, dataset: Dataset, prepared: Preprocessing) -> Path:
    """Choose, make the model, and score the test split once."""
    finite = [s for s in result.solutions if np.isfinite(s.validation_loss) and np.isfinite(s.bound)]
    if not finite:
        raise DataError("no solution has a finite loss on the held-out examples: the features are too badly scaled")
    choice = choose(finite, found.correct, job.selection)
    best = result.solutions[choice.chosen]
    model = FittedModel(
        recipe=_recipe(job, best, result.tolerance),
        params={"bias": best.bias.astype(np.float32), "weight": best.weights.astype(np.float32)},
        model_state={},
        preprocessing=prepared,
        classes=dataset.classes,
        feature_shape=dataset.feature_shape,
        feature_dtype="uint8" if dataset.train.features.dtype == np.uint8 else "float32",
        feature_names=dataset.feature_names,
        trained_on=result.data.fingerprint,
    )
    assert dataset.test is not None
    return replace(result, choice=choice, model=model, test=model.score(dataset.test))


def _recipe(job: _Job, best: PathSolution, tolerance: float) -> Recipe:
    """Describe the model: no step rule made it, so its optimizer is a name that says what did."""
    solver = Named("optimizer", json.dumps({"kind": "certified_path", "tolerance": tolerance}))
    return Recipe(loss=best.loss, penalty=best.penalty, optimizer=solver, batch_size=FULL_BATCH,
                  epochs=max(1, best.iterations), seed=job.seed)  # fmt: skip


def _settings(
    job: _Job, training: Split, found: _Found, preprocessing: str | None, test: float | None
) -> dict[str, Any]:
    return {
        "losses": [loss.kind for loss in job.losses],
        "penalty": job.penalty,
        "beta": job.beta if job.penalty == "elastic_net" else None,
        "strengths": found.strengths.tolist(),
        "folds": job.folds,
        "class_weights": [
            {name: float(weight) for name, weight in value.items()} if isinstance(value, Mapping) else value
            for value in job.class_weights
        ],
        "example_weights": training.weights is not None,
        "selection": job.selection,
        "tolerance": found.tolerance,
        "iterations": job.iterations,
        "preprocessing": preprocessing,
        "test": test,
        "seed": job.seed,
        "spectrum": found.spectrum,
    }


def _announcement(job: _Job, dataset: Dataset, training: Split, strengths: np.ndarray) -> str:
    sizes = f"{len(training)} examples, {len(dataset.classes)} classes"
    what = " and ".join(loss.kind for loss in job.losses)
    span = f"{strengths[0]:.3g} down to {strengths[-1]:.3g}" if len(strengths) > 1 else f"{strengths[0]:.3g}"
    parts = [f"{len(strengths)} strengths from {span}" if len(strengths) > 1 else f"strength {span}"]
    if job.folds:
        parts.append(f"{job.folds} folds")
    if len(job.class_weights) > 1:
        parts.append(f"{len(job.class_weights)} class weightings")
    return f"{dataset.name}: {sizes}; {what} with {job.penalty}, {', '.join(parts)}"

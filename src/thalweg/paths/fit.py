"""Certified optima for a whole path of penalty strengths, cross-validated."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from thalweg.data import Dataset, Split, load
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.errors import DataError
from thalweg.extraction import View, extract
from thalweg.fitted import FittedModel
from thalweg.paths.caveats import caveats
from thalweg.paths.choose import KNOWN, choose
from thalweg.paths.features import Centred, centre
from thalweg.paths.job import Job, Loss
from thalweg.paths.prepare import prepare, training_examples
from thalweg.paths.records import Path, PathProgress, PathSolution
from thalweg.paths.solutions import Found, complaints
from thalweg.paths.solving import solve_all
from thalweg.paths.strengths import note_on
from thalweg.paths.weightings import ClassWeight
from thalweg.recipe import FULL_BATCH, Recipe
from thalweg.recipe_files import Named
from thalweg.sweeps import Interrupted, run_versions, summarise_data
from thalweg.tracking import Tracker, check_trackers, track_path
from thalweg.training.interrupt import InterruptRequest

__all__ = ["path"]


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
    features: Any = None,
    cache: str | FilePath | None = None,
    progress: Callable[[PathProgress], None] | None = None,
    trackers: Sequence[Tracker] | None = None,
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
        penalty: ``l2``, ``l1`` or ``elastic_net`` (without ½).
        beta: the elastic net's share of L2: R = Σ (β W² + |W|); ½ is scikit-learn's l1_ratio ½.
        strengths: a count, numbers, or ``"low:high:count"``. A count runs from the
            strength at which the weights vanish (with L2: have shrunk to a hundredth)
            down to 1e-8 of it with L2 (the hinge: 1e-5), 1e-3 with L1 and elastic net; a count of 1 is that strength.
        folds: of the cross-validation, stratified; 0 fits all examples, holds
            none out, not even a test split, and chooses nothing (one strength alone still makes a model).
        class_weight: None, ``"balanced"``, a mapping of class names to weights, or several to choose among.
        example_weights: (N,) weights of the data's training examples; None weighs all alike.
        selection: ``best`` cross-validated accuracy, or ``one-standard-error``: the
            strongest penalty within a standard error of it. Solutions that are not known to
            within 1e-2 of their value (or the tolerance, if larger), folds included, take no part.
        tolerance: the relative gap, bound / value, to reach. By default 1e-6
            for softmax with L2, 1e-4 with L1 or elastic net, 1e-3 for the hinge.
        iterations: at most, of the solver, for each optimum.
        preprocessing: ``auto``, ``center``, ``standardize``, ``scale``, or None;
            fitted on all training examples, held-out folds included (no labels are used).
        test: share to hold out where the data brings no test split (default 0.2); 0 holds none out.
        seed: of the test split and the folds.
        features: what images become: a part of `thalweg.features`, or names such as ``"hog,color"``;
            what they learn is learned from the training split, held-out folds included (no labels are used).
        cache: a folder in which features are kept, for the next path or sweep on the same data.
        progress: called with a `PathProgress` now and then; with L1 from threads of the solver, one at a time.
        trackers: told of the path when it is done, its solutions as trials of one epoch; such as
            `tracking.MLflow`.

    Raises UsageError and DataError for arguments and data that cannot serve, and
    `Interrupted` (with the path so far) on Ctrl-C. Whatever else ends the work carries the path so far as ``run``.
    """
    started = time.perf_counter()
    job = Job.of(
        loss=loss, penalty=penalty, beta=beta, strengths=strengths, folds=folds, class_weight=class_weight,
        selection=selection, tolerance=tolerance, iterations=iterations, preprocessing=preprocessing, test=test,
        seed=seed, features=features,
    )  # fmt: skip
    trackers = check_trackers(trackers)
    loaded = load(data)
    dataset = prepare(loaded, example_weights, job)
    seen, training = _seen(dataset, job, None if cache is None else FilePath(cache), progress)
    matrix = centre(training.features, seen.preprocessing)
    loaded_at = time.perf_counter()
    with InterruptRequest("iteration") as stop:

        def tell(now: PathProgress) -> bool:
            if progress is not None:
                progress(now)
            return stop.requested

        found = solve_all(job, seen.dataset, training, matrix, tell)
        solved_at = time.perf_counter()
        result = Path(
            solutions=tuple(found.solutions),
            tolerance=found.tolerance,
            settings=_settings(job, training, found),
            data=summarise_data(loaded, dataset, [seen.preprocessing], {"train": len(training.features)}),
            seconds={"load": loaded_at - started, "solve": solved_at - loaded_at, "total": solved_at - started},
            messages=_messages(job, seen, found),
            preprocessing=seen.preprocessing,
            interrupted=stop.requested or found.failure is not None,
            versions=run_versions(),
            dataset=dataset,
        )
        if found.failure is not None:
            _hand_over(result, found.failure)
            raise found.failure
        if job.folds and not stop.requested:
            try:
                result = _conclude(result, job, found, seen, matrix)
            except Exception as error:
                _hand_over(result, error)
                raise
        elif len(result.solutions) == 1 and not stop.requested:
            result = replace(result, model=_model(result, job, result.solutions[0], seen, matrix))
    result.seconds["total"] = time.perf_counter() - started
    result = track_path(result, trackers)
    if result.interrupted:
        raise Interrupted(result)
    return result


def _seen(
    dataset: Dataset, job: Job, cache: FilePath | None, progress: Callable[[PathProgress], None] | None
) -> tuple[View, Split]:
    """Show the data through the features; return it with all examples to fit, the preprocessing fitted to them."""

    def stage(text: str) -> None:
        if progress is not None:
            progress(PathProgress(0, 0, stage=text))

    state: dict[str, np.ndarray] = {}
    note = ""
    if job.features is not None:
        dataset, state, note = extract(dataset, job.features, cache=cache, tell=stage)
    training = training_examples(dataset)
    prepared = fit_preprocessing(training.features, job.preprocessing, training.weights)
    return View(job.features, state, dataset, prepared, note), training


def _messages(job: Job, seen: View, found: Found) -> tuple[str, ...]:
    failure = found.failure
    ended = "" if failure is None else f"an error ended the work early ({type(failure).__name__}: {failure})"
    notes = (seen.note, note_on(job.strengths, found.strengths), ended)
    return (*filter(None, notes), *complaints(found.solutions))


def _hand_over(result: Path, error: Exception) -> None:
    """Let an error carry what was done before it, for whoever catches it to save."""
    error.run = result  # type: ignore[attr-defined]


def _conclude(result: Path, job: Job, found: Found, seen: View, matrix: Centred) -> Path:
    """Choose, make the model, and score the test split once."""
    if not any(np.isfinite(s.validation_loss) and np.isfinite(s.bound) for s in result.solutions):
        low, high = min(found.strengths), max(found.strengths)
        raise DataError(
            f"no solution has a finite loss on the held-out examples: the strengths ({low:.3g} to {high:.3g}) are too "
            "small or too large for these features, or the features too badly scaled"
        )
    choice = choose(result.solutions, found.correct, job.selection, limit=max(KNOWN, result.tolerance))
    tolerance = found.tolerances[result.solutions[choice.chosen].loss.kind]
    choice = replace(choice, caveats=caveats(choice, result.solutions, tolerance))
    model = _model(result, job, result.solutions[choice.chosen], seen, matrix)
    test = None if seen.dataset.test is None else model.score_seen(seen.dataset.test)
    return replace(result, choice=choice, model=model, test=test)


def _model(result: Path, job: Job, best: PathSolution, seen: View, matrix: Centred) -> FittedModel:
    shape = seen.dataset.train.features.shape[1:]
    preprocessing, bias = matrix.absorb(seen.preprocessing, shape, best.weights, best.bias)
    return FittedModel(
        recipe=_recipe(job, best, result.tolerance),
        params={"bias": bias.astype(np.float32), "weight": best.weights.astype(np.float32)},
        model_state={},
        preprocessing=preprocessing,
        classes=result.data.classes,
        feature_shape=result.data.feature_shape,
        feature_dtype=result.data.feature_dtype,
        feature_names=seen.dataset.feature_names,
        trained_on=result.data.fingerprint,
        feature_state=seen.state,
    )


def _recipe(job: Job, best: PathSolution, tolerance: float) -> Recipe:
    """Describe the model: no step rule made it, so its optimizer is a name that says what did."""
    solver = Named("optimizer", json.dumps({"kind": "certified_path", "tolerance": tolerance}))
    return Recipe(loss=best.loss, penalty=best.penalty, optimizer=solver, features=job.features,
                  batch_size=FULL_BATCH, epochs=max(1, best.iterations), seed=job.seed)  # fmt: skip


def _settings(job: Job, training: Split, found: Found) -> dict[str, Any]:
    return {
        **job.settings(),
        "strengths": found.strengths.tolist(),
        "example_weights": training.weights is not None,
        "tolerance": found.tolerance,
        "spectrum": found.spectrum,
    }

"""The main job: from labelled data and a search space to the best honest classifier."""

from __future__ import annotations

import dataclasses
import math
import platform
import time
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from thalweg.data import Dataset, Split, check_trainable, load
from thalweg.data.preprocessing import Preprocessing, fit_preprocessing
from thalweg.data.splits import join, split_dataset
from thalweg.defaults import default_space
from thalweg.errors import ThalwegError, UsageError
from thalweg.extraction import View, view
from thalweg.fields import check_integer, is_open
from thalweg.fitted import FittedModel
from thalweg.recipe import FEATURES, Recipe, as_features, check_part
from thalweg.recipe_files import encode, load_recipe
from thalweg.run import DataSummary, Run, Trial
from thalweg.search import Coordinates, describe, dimensions, draw, resolve
from thalweg.selection import Selection, check_rule, edges, select
from thalweg.tracking import Tracker, Tracking, check_trackers
from thalweg.tracking.records import sweep_start
from thalweg.training import METRICS, Halving, Outcome, Progress, Settings, Snapshot, TrialRecord, train
from thalweg.training.interrupt import InterruptRequest
from thalweg.training.program import Inputs
from thalweg.training.sanity import check_recipes
from thalweg.training.status import DIVERGED, Status
from thalweg.training.train import check_together, examples_of

__all__ = ["Interrupted", "fit", "run_versions", "summarise_data", "sweep"]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a sweep or path; ``run`` (a `Run` or a `paths.Path`) holds what was done, ready to be saved."""

    def __init__(self, run: Any) -> None:
        super().__init__("interrupted")
        self.run = run


def sweep(
    recipe: Recipe | str | Path | None,
    data: Any,
    *,
    trials: int = 32,
    seed: int = 0,
    seeds: int = 1,
    search: str = "sobol",
    points: int | None = None,
    halving: Halving | None = None,
    patience: int | None = None,
    tolerance: float | None = None,
    selection: str = "best",
    refit: bool = True,
    preprocessing: str | None = "auto",
    validation: float | None = None,
    test: float | None = None,
    memory: int | None = None,
    features: Any = None,
    cache: str | Path | None = None,
    progress: Progress | None = None,
    trackers: Sequence[Tracker] | None = None,
) -> Run:
    """Train all trials of a search space, select one on validation, score it once on test.

    Arguments:
        recipe: a recipe with ranges in it, the path of a recipe file, or None for
            `defaults.default_space`, a space around AdamW sized to the data.
        data: whatever `load` reads: a path, ``"digits"``, a pair (X, y), a `Dataset`.
        trials: how many recipes to draw (before ``seeds`` repeats each).
        seed: of the splits, of the draw, and of the default space's recipe.
        seeds: trains every recipe with this many seeds (recipe's seed, +1, ...);
            selection then ranks recipes by their mean.
        search: ``sobol``, ``random`` or ``grid`` (with ``points`` values a range).
        halving: drops the worst trials at rungs; None trains all to the end.
        patience: stops a trial after this many epochs without a lower validation
            loss, and keeps its best epoch's weights; None trains all epochs.
        tolerance: stops a trial once its data loss over an epoch falls under this.
        selection: ``best`` or ``one-standard-error``; see `selection.select`.
        refit: train the winner's recipe once more on training + validation.
        preprocessing: ``auto``, ``center``, ``standardize``, ``scale``, or None;
            see `data.preprocessing`. Fitted on training examples only.
        validation, test: shares to hold out where the data brings no such split; a test share of 0
            holds none out, and leaves the winner unscored.
        memory: bytes that data and trials may take; None: 70 % of what is free.
        features: takes the place of the recipe's features: a part of `thalweg.features`,
            or names such as ``"hog,color"``; ``"none"`` leaves the recipe's out.
        cache: a folder in which features are kept, for the next run on the same data.
        progress: called with a `training.Snapshot` after every epoch.
        trackers: told of every epoch of every trial, such as `tracking.TensorBoard`; the refit is not tracked.

    Raises UsageError and DataError for arguments and data that cannot serve,
    DivergedError where every trial diverged, and Interrupted (with the run so
    far) on Ctrl-C.
    """
    started = time.perf_counter()
    check_integer("sweep", "seed", seed, least=0)
    check_integer("sweep", "seeds", seeds, least=1)
    check_rule(selection)
    if points is not None and search != "grid":
        raise UsageError(f"points is {points!r}, which only a grid takes: give search='grid' too, or leave it out")
    settings = Settings(halving, patience, tolerance, memory)
    trackers = check_trackers(trackers)
    loaded = load(data)
    dataset = prepare(loaded, validation, test, seed)
    space = _space(recipe, dataset, seed, features)
    drawn = draw(space, trials, seed=seed, method=search, points=points)
    recipes, coordinates = _with_seeds(space, [resolve(space, c) for c in drawn], drawn, seeds)
    if progress is not None:
        progress(Snapshot.beginning(len(recipes), _announcement(space, dataset, len(recipes))))
    loaded_at = time.perf_counter()
    views = _views(dataset, recipes, preprocessing, None if cache is None else Path(cache), progress)
    notes = [one.note for one in views.values() if one.note]
    seen_at = time.perf_counter()

    inputs = {part: _inputs(one.dataset.train, one) for part, one in views.items()}
    asked = {
        "trials": trials,
        "seed": seed,
        "seeds": seeds,
        "search": search,
        "points": points,
        "halving": None if halving is None else dataclasses.asdict(halving),
        "patience": patience,
        "tolerance": tolerance,
        "selection": selection,
        "refit": refit,
        "preprocessing": preprocessing,
        "validation": validation,
        "test": test,
        "memory": memory,
        "features": None if features is None else encode(space.features),
    }
    run = Run(
        space=space,
        settings=asked,
        data=summarise_data(loaded, dataset, [one.preprocessing for one in views.values()]),
        trials=_untrained(recipes, coordinates),
        messages=tuple(notes),
        seconds={"load": loaded_at - started, "features": seen_at - loaded_at},
        versions=run_versions(),
        dataset=dataset,
    )
    tracking = Tracking(trackers, sweep_start(run)) if trackers else None
    with InterruptRequest() as stop, tracking or nullcontext():
        checked = check_recipes(recipes, views, stop)
        doubts = [str(finding) for finding in checked if finding.verdict == "found"]
        _announce(doubts, progress)
        checked_at = time.perf_counter()
        outcome = train(recipes, inputs, len(dataset.classes), settings, progress, stop, tracking)
        trained_at = time.perf_counter()
        # Formed before anything else may fail, so that whatever does can hand over what was trained.
        run = dataclasses.replace(
            run,
            trials=_trials(recipes, coordinates, outcome),
            messages=(*notes, *doubts, *outcome.messages),
            sanity=checked,
            seconds={
                **run.seconds,
                "sanity": checked_at - seen_at,
                "train": trained_at - checked_at,
                "total": trained_at - started,
            },
            interrupted=outcome.interrupted,
        )
        try:
            run = _conclude(run, views, outcome, stop, progress)
        except ThalwegError as error:
            error.run = run
            raise
        run.seconds["total"] = time.perf_counter() - started
        if tracking is not None:
            before = len(run.messages)
            run = tracking.close(run)
            _announce(run.messages[before:], progress)
    if run.interrupted:
        raise Interrupted(run)
    return run


def _conclude(
    run: Run,
    views: dict[Any, View],
    outcome: Outcome,
    stop: InterruptRequest,
    progress: Progress | None,
) -> Run:
    """Select, refit, and score the test split, unless Ctrl-C came before."""
    recipes = [trial.recipe for trial in run.trials]
    chosen = _select(recipes, outcome, run.settings["selection"])
    if chosen is None:
        return run
    record, coordinates = outcome.records[chosen.best], run.trials[chosen.best].coordinates
    seen = views[recipes[chosen.best].features]
    model = _fitted(run, seen, recipes[chosen.best], record, seen.preprocessing)
    run = dataclasses.replace(run, selection=chosen, model=model, edges=tuple(edges(run.space, coordinates)))
    if run.settings["refit"] and not stop.requested:
        if progress is not None:
            progress(Snapshot.beginning(1, "refitting the winner on training + validation"))
        before = len(run.messages)
        run = _refit(run, seen, record, stop)
        _announce(run.messages[before:], progress)
    if stop.requested:
        return dataclasses.replace(run, interrupted=True)
    assert run.model is not None
    if seen.dataset.test is None:
        return run
    return dataclasses.replace(run, test=run.model.score_seen(seen.dataset.test))


def _announce(messages: Sequence[str], progress: Progress | None) -> None:
    if progress is not None:
        for message in messages:
            progress(Snapshot.beginning(1, message))


def fit(recipe: Recipe | str | Path, data: Any, **options: Any) -> Run:
    """Train one concrete recipe: a sweep of a single trial, with the options of `sweep`.

    Unless ``refit=True``, the model is the one trained on the training split.
    """
    recipe = load_recipe(recipe) if isinstance(recipe, (str, Path)) else recipe
    options = {"refit": False, **options}
    if found := dimensions(recipe):
        names = ", ".join(dimension.name for dimension in found)
        raise UsageError(f"the recipe leaves {names} open; give each one value, or use sweep to search")
    return sweep(recipe, data, trials=1, **options)


def prepare(dataset: Dataset, validation: float | None, test: float | None, seed: int) -> Dataset:
    """Check that a data set can be trained on, and cut the splits that it lacks (no test split where ``test`` is 0)."""
    check_trainable(dataset)
    return split_dataset(dataset, validation=validation, test=test, seed=seed)


def _space(recipe: Recipe | str | Path | None, dataset: Dataset, seed: int, features: Any) -> Recipe:
    """The search space, with the features that were asked for in place of its own."""
    given = features is not None
    features = as_features(features)
    check_part("features", features, FEATURES, "features.HOG()", optional=True)
    if recipe is None:
        shape = dataset.feature_shape
        if features is not None:
            features.check(shape, dataset.train.features.dtype)
        width = math.prod(shape) if features is None else features.size(shape)
        recipe = default_space(len(dataset.train), width, seed=seed)
    elif isinstance(recipe, (str, Path)):
        recipe = load_recipe(recipe)
    elif not isinstance(recipe, Recipe):
        raise UsageError(f"recipe is {recipe!r}; give a thalweg.Recipe, the path of a recipe file, or None")
    return dataclasses.replace(recipe, features=features) if given else recipe


def _views(
    dataset: Dataset,
    recipes: Sequence[Recipe],
    preprocessing: str | None,
    cache: Path | None,
    progress: Progress | None,
) -> dict[Any, View]:
    """Show the data through every choice of features among the recipes."""

    def tell(stage: str) -> None:
        if progress is not None:
            progress(Snapshot.preparing(len(recipes), stage))

    # Whatever cannot be trained is refused before minutes of extraction.
    shape, dtype = dataset.feature_shape, dataset.train.features.dtype
    parts = dict.fromkeys(recipe.features for recipe in recipes)
    for part in parts:
        if part is not None:
            part.check(shape, dtype)
    for recipe in recipes:
        check_together(recipe, shape if recipe.features is None else (recipe.features.size(shape),))
    found = {part: view(dataset, part, preprocessing, cache=cache, tell=tell) for part in parts}
    if progress is not None:
        for one in found.values():
            if one.note:
                progress(Snapshot.beginning(len(recipes), one.note))
    return found


def _inputs(training: Split, seen: View) -> Inputs:
    return Inputs(examples_of(training, seen.preprocessing), examples_of(_held(seen.dataset), seen.preprocessing))


def _announcement(space: Recipe, dataset: Dataset, count: int) -> str:
    sizes = " + ".join(str(len(split)) for _, split in dataset.splits())
    name = dataset.name if dataset.name.isprintable() else ascii(dataset.name)
    uses = "train and validate" if dataset.test is None else "train, validate and test"
    what = f"{name}: {sizes} examples to {uses}, {len(dataset.classes)} classes"
    searched = describe(space)
    if not searched:
        return f"fitting one recipe to {what}"
    lines = [f"searching {count} trials on {what}", *searched]
    fixed = f"{space.epochs} epochs of batches of {space.batch_size}" if not is_open(space.epochs) else ""
    return "\n  ".join([*lines, fixed] if fixed and not is_open(space.batch_size) else lines)


def _with_seeds(
    space: Recipe, recipes: list[Recipe], coordinates: list[Coordinates], seeds: int
) -> tuple[list[Recipe], list[Coordinates]]:
    if seeds > 1 and is_open(space.seed):
        raise UsageError(f"the recipe searches its seed, and seeds is {seeds}: leave one of them out")
    repeated = [dataclasses.replace(recipe, seed=recipe.seed + i) for recipe in recipes for i in range(seeds)]
    return repeated, [c for c in coordinates for _ in range(seeds)]


def _held(dataset: Dataset) -> Split:
    assert dataset.validation is not None
    return dataset.validation


def _select(recipes: Sequence[Recipe], outcome: Outcome, rule: str) -> Selection | None:
    """Select; an interruption may have left nothing to select from."""
    diverged = all(record.status and record.status.name == DIVERGED for record in outcome.records)
    if outcome.interrupted and (diverged or not any(record.correct is not None for record in outcome.records)):
        return None
    return select(recipes, outcome.records, rule)


def _fitted(run: Run, seen: View, recipe: Recipe, record: TrialRecord, preprocessing: Preprocessing) -> FittedModel:
    return FittedModel(
        recipe,
        record.params,
        record.model_state,
        preprocessing,
        run.data.classes,
        run.data.feature_shape,
        feature_dtype=run.data.feature_dtype,
        feature_names=seen.dataset.feature_names,
        trained_on=run.data.fingerprint,
        feature_state=seen.state,
    )


def _refit(run: Run, seen: View, record: TrialRecord, stop: InterruptRequest) -> Run:
    """Train the winner again on training + validation, for as many epochs as it kept.

    Preprocessing is fitted anew; what the features learned from the training split
    stays. Where it cannot be done the first model stays, and a message says why.
    """
    assert run.model is not None
    joined = join(seen.dataset.train, _held(seen.dataset))
    again_seen = dataclasses.replace(
        seen, preprocessing=fit_preprocessing(joined.features, run.settings["preprocessing"], joined.weights)
    )
    # The validation examples are part of the training set here: what is measured on them is not used.
    inputs = {seen.features: _inputs(joined, again_seen)}
    settings = Settings(memory=run.settings["memory"], epochs=record.kept_epoch)
    try:
        outcome = train([run.model.recipe], inputs, len(run.data.classes), settings, stop=stop)
        (again,) = outcome.records
        why = "was interrupted" if outcome.interrupted else "diverged"
        if not outcome.interrupted and again.status is not None and again.status.name != DIVERGED:
            model = _fitted(run, seen, run.model.recipe, again, again_seen.preprocessing)
            return dataclasses.replace(run, model=model, refitted=True)
    except UsageError as error:  # training + validation do not fit into the memory that training did
        why = f"failed: {error}"
    message = f"the refit on training + validation {why}; the model is the one trained on the training split"
    return dataclasses.replace(run, messages=(*run.messages, message))


def _untrained(recipes: Sequence[Recipe], coordinates: Sequence[Coordinates]) -> tuple[Trial, ...]:
    """The trials before they train, none of them in a cohort yet (-1)."""
    return tuple(
        Trial(
            number=number,
            recipe=recipe,
            status=Status.training(0, recipe.epochs),
            history={name: np.empty(0) for name in METRICS},
            kept_epoch=0,
            cohort=-1,
            coordinates=place,
        )
        for number, (recipe, place) in enumerate(zip(recipes, coordinates, strict=True))
    )


def _trials(recipes: Sequence[Recipe], coordinates: Sequence[Coordinates], outcome: Outcome) -> tuple[Trial, ...]:
    cohort = {number: place for place, members in enumerate(outcome.cohorts) for number in members}
    return tuple(
        Trial(
            number=number,
            recipe=recipe,
            status=record.status or Status.interrupted(0, recipe.epochs),
            history={name: np.asarray(values) for name, values in record.history.items()},
            kept_epoch=record.kept_epoch,
            cohort=cohort[number],
            coordinates=coordinates[number],
        )
        for number, (recipe, record) in enumerate(zip(recipes, outcome.records, strict=True))
    )


def summarise_data(
    loaded: Dataset,
    dataset: Dataset,
    preprocessing: Sequence[Preprocessing],
    counts: dict[str, int] | None = None,
) -> DataSummary:
    """Tell of the data set that a run was made on; ``counts`` replaces the splits' sizes where they were joined."""
    return DataSummary(
        name=loaded.name,
        source=loaded.source,
        fingerprint=loaded.fingerprint(),
        classes=dataset.classes,
        feature_shape=dataset.feature_shape,
        examples={name: len(split) for name, split in dataset.splits()} if counts is None else counts,
        skipped=tuple((one.name, one.reason) for one in loaded.skipped),
        preprocessing=", ".join(sorted({one.kind for one in preprocessing})),
        feature_dtype="uint8" if dataset.train.features.dtype == np.uint8 else "float32",
        weighted=dataset.train.weights is not None,
    )


def run_versions() -> dict[str, str]:
    """Return the versions that a run's numbers depend on, and the device."""
    packages = ("thalweg", "jax", "jaxlib", "equinox", "numpy", "scipy")
    found = {name: version(name) for name in packages}
    device = jax.devices()[0]
    return {"python": platform.python_version(), **found, "device": f"{device.platform}: {device.device_kind}"}

"""Training of many recipes: cohorts, chunks, rungs, and what is said on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np

from thalweg.data.dataset import Split
from thalweg.data.preprocessing import Preprocessing
from thalweg.errors import DataError, UsageError
from thalweg.optimizers import RandomSearch
from thalweg.penalties import is_smooth
from thalweg.recipe import Recipe, bind, seed_groups
from thalweg.training.cohort import group
from thalweg.training.cohort_run import CohortRun
from thalweg.training.halving import Halving
from thalweg.training.interrupt import InterruptRequest
from thalweg.training.memory import plan
from thalweg.training.program import Examples, Inputs
from thalweg.training.records import Progress, Snapshot, TrialRecord
from thalweg.training.settings import Settings
from thalweg.training.status import DIVERGED, PRUNED, Status

__all__ = ["Outcome", "Watch", "examples_of", "scaled_weights", "train"]


class Watch(Protocol):
    """Told of the training as it goes; its methods return messages, mostly none."""

    def epoch(self, epoch: int, metrics: Mapping[int, Mapping[str, float]]) -> Sequence[str]:
        """Hear of an epoch, and of the metrics of the trials that trained in it."""

    def ended(self, trials: Mapping[int, tuple[Status, int]]) -> Sequence[str]:
        """Hear of trials that ended: the status and kept epoch of each by number."""


@dataclass(frozen=True)
class Outcome:
    """The records of all trials, in the order of the recipes, and how they were run."""

    records: list[TrialRecord]
    cohorts: list[tuple[int, ...]]
    messages: list[str]
    interrupted: bool


def examples_of(split: Split, preprocessing: Preprocessing) -> Examples:
    """Move a split to the device, with its preprocessing and, scaled to mean 1, its weights."""
    return Examples(
        jnp.asarray(split.features),
        jnp.asarray(split.labels),
        jnp.asarray(preprocessing.shift),
        jnp.asarray(preprocessing.scale),
        scaled_weights(split.weights),
    )


def scaled_weights(weights: np.ndarray | None) -> Any:
    """Return weights scaled to mean 1, so that their unit does not change the step; raises where all are 0."""
    if weights is None:
        return None
    if not weights.sum() > 0:
        raise DataError("the examples of one split all have weight 0; give some of them a positive one")
    return jnp.asarray(weights / weights.mean(), jnp.float32)


def train(
    recipes: Sequence[Recipe],
    inputs: Mapping[Any, Inputs],
    classes: int,
    settings: Settings,
    progress: Progress | None = None,
    stop: InterruptRequest | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Train every recipe and return its record.

    ``inputs`` has the examples for each choice of features among the recipes (None: the
    data as it comes), all of the same examples in the same order. Without validation examples
    nothing is judged: the metrics on them are NaN, and halving and patience cannot be had.

    Without halving the cohorts run one after another; with it, all run to a
    rung before any goes on. Ctrl-C is answered at the end of an epoch: trials
    that were still training are marked as interrupted. ``stop`` is for a caller
    that listens for Ctrl-C over more than the training; ``watch`` hears of every epoch and every end of a trial.
    """
    for recipe in recipes:
        check_together(recipe, inputs[recipe.features].training.features.shape[1:])
    if (settings.halving or settings.patience) and any(one.validation is None for one in inputs.values()):
        raise UsageError("halving and patience judge trials on validation examples, and there are none: leave them out")
    bound = [bind(recipe, len(inputs[recipe.features].training.labels)) for recipe in recipes]
    sweep = _Sweep(bound, inputs, classes, settings, progress, watch)
    with contextlib.nullcontext(stop) if stop else InterruptRequest() as stop:
        sweep.run(stop)
    return Outcome(sweep.records, [c.numbers for c in sweep.cohorts], sweep.messages, stop.requested)


def check_together(recipe: Recipe, shape: tuple[int, ...]) -> None:
    """Raise a UsageError where the parts of a recipe do not work together, or not on examples of that shape."""
    searching = isinstance(recipe.optimizer, RandomSearch)  # scores the full loss, and takes no step
    if not (searching or is_smooth(recipe.penalty) or hasattr(recipe.optimizer, "step_size")):
        raise UsageError(
            f"the penalty {type(recipe.penalty).__name__} takes a proximal step, whose length must come from the "
            f"optimizer's step_size method, and {type(recipe.optimizer).__name__} has none: take SGD, AdaGrad, "
            "RMSProp, Adam or AdamW (or Optax(factory, learning_rate) for one of Optax's), or penalties.L2"
        )
    if hasattr(recipe.model, "check"):
        recipe.model.check(shape)
    if recipe.augmentation is not None and recipe.features is not None:
        raise UsageError(
            f"augmentation changes images in training, and {recipe.features.name} has taken their place before it: "
            "leave augmentation or features out"
        )
    if recipe.augmentation is not None:
        recipe.augmentation.check(shape)
    for name in ("averaging", "augmentation", "clip"):
        if searching and getattr(recipe, name) is not None:
            raise UsageError(f"random search takes no steps, so there is no use for {name}: leave it out")
    if recipe.averaging is not None and hasattr(recipe.optimizer, "judged"):
        raise UsageError(
            f"{type(recipe.optimizer).__name__} averages its weights itself: leave averaging out, or take another "
            "optimizer"
        )


class _Sweep:
    def __init__(
        self,
        recipes: Sequence[Recipe],
        inputs: Mapping[Any, Inputs],
        classes: int,
        settings: Settings,
        progress: Progress | None,
        watch: Watch | None,
    ) -> None:
        self.records = [TrialRecord() for _ in recipes]
        self.messages: list[str] = []
        self.cohorts = group(recipes)
        self.seeds = seed_groups(recipes)
        self.settings = settings
        self.progress = progress
        self.watch = watch
        self.work = sum(recipe.epochs for recipe in recipes)
        self.runs: list[CohortRun] = []
        self.ended: set[int] = set()  # trials of whose end the watch was told
        seen = [inputs[cohort.recipe.features] for cohort in self.cohorts]
        plans = plan(self.cohorts, seen, classes, settings)
        for cohort, given, planned in zip(self.cohorts, seen, plans, strict=True):
            if planned.chunks > 1:
                self._say(planned.sentence())
            for start in range(0, len(cohort), planned.width):
                chunk = cohort.take(range(start, min(start + planned.width, len(cohort))))
                run = CohortRun(chunk, self.records, given, classes, planned.rows, settings)
                self.runs.append(run)

    def run(self, stop: InterruptRequest) -> None:
        halving = self.settings.halving
        for rung, share in enumerate((*(halving.shares if halving else ()), 1.0), start=1):
            before = [run.done_epochs for run in self.runs]
            for run in self.runs:
                self._advance(run, share, stop)
            if stop.requested:
                break
            if halving and share < 1:
                # Where a run is short, two rungs fall on one epoch: one look prunes once.
                moved = [run for run, epochs in zip(self.runs, before, strict=True) if run.done_epochs > epochs]
                self._prune(halving, rung, moved)
        for run in self.runs:
            run.interrupt()  # nothing is live here but what Ctrl-C left

    def _advance(self, run: CohortRun, share: float, stop: InterruptRequest) -> None:
        target = max(1, round(share * min(run.epochs, self.settings.epochs or run.epochs)))
        while run.done_epochs < target and run.live.any() and not stop.requested:
            training = [run.cohort.numbers[i] for i in np.flatnonzero(run.live).tolist()]
            run.epoch()
            run.settle()
            self._report()
            self._tell(run.done_epochs, training)
        if share == 1.0 and (run.done_epochs >= target or not run.live.any()):
            run.finish()
            run.release()
            self._report()
            self._tell_ended()

    def _prune(self, halving: Halving, rung: int, runs: Sequence[CohortRun]) -> None:
        """Rank the live recipes of the runs, each by the mean over its seeds, and drop all but the best.

        As in the selection, a recipe of which a seed diverged comes after all others.
        """
        live = {run.cohort.numbers[i]: (run, i) for run in runs for i in np.flatnonzero(run.live).tolist()}
        groups = [members for alike in self.seeds if (members := [number for number in alike if number in live])]
        if not groups:
            return

        wrecked = {n for alike in self.seeds if any(self._diverged(number) for number in alike) for n in alike}

        def means(metric: str, worst: float) -> list[float]:
            return [
                worst if members[0] in wrecked else float(np.mean([self.records[n].last(metric) for n in members]))
                for members in groups
            ]

        accuracies = means("validation_accuracy", 0.0)
        kept, count = halving.keep(accuracies, means("validation_loss", np.inf))
        for members, stays, accuracy in zip(groups, kept, accuracies, strict=True):
            for run, place in [] if stays else map(live.__getitem__, members):
                run.prune(place, Status.pruned(rung, run.done_epochs, accuracy, count, len(groups)))
        for run in runs:
            run.settle()
        self._tell_ended()
        going = sum(int(run.live.sum()) for run in runs)
        self._say(f"rung {rung}: {going} of {len(live)} trials go on")

    def _tell(self, epoch: int, trained: Sequence[int]) -> None:
        """Tell whoever watches of the epoch that the trials have just trained."""
        if self.watch is None:
            return
        histories = {number: self.records[number].history for number in trained}
        metrics = {n: {name: values[-1] for name, values in history.items()} for n, history in histories.items()}
        for message in self.watch.epoch(epoch, metrics):
            self._say(message)
        self._tell_ended()

    def _tell_ended(self) -> None:
        """Tell whoever watches of the trials that ended since the last time."""
        if self.watch is None:
            return
        new = {n: (r.status, r.kept_epoch) for n, r in enumerate(self.records) if r.status and n not in self.ended}
        if new:
            self.ended.update(new)
            for message in self.watch.ended(new):
                self._say(message)

    def _diverged(self, number: int) -> bool:
        status = self.records[number].status
        return status is not None and status.name == DIVERGED

    def _say(self, message: str) -> None:
        self.messages.append(message)
        self._report(message)

    def _report(self, message: str | None = None) -> None:
        if self.progress is None:
            return
        statuses = [record.status.name for record in self.records if record.status]
        best = [r.last("validation_accuracy") for r in self.records if not (r.status and r.status.name == DIVERGED)]
        done = sum(
            run.epochs if not run.live[i] else run.done_epochs for run in self.runs for i in range(len(run.live))
        )
        packed_away = len(self.records) - sum(len(run.live) for run in self.runs)
        self.progress(
            Snapshot(
                trials=len(self.records),
                live=len(self.records) - len(statuses),
                finished=sum(name not in (DIVERGED, PRUNED) for name in statuses),
                pruned=statuses.count(PRUNED),
                diverged=statuses.count(DIVERGED),
                best=max((value for value in best if value == value), default=float("nan")),
                work_done=min(1.0, (done + packed_away * self.work / len(self.records)) / self.work),
                message=message,
            )
        )

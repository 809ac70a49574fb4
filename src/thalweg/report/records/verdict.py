"""What won, and what speaks for and against believing it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from thalweg.data import Dataset
from thalweg.diagnostics.case import Case
from thalweg.fitted import Score
from thalweg.paths.records import Path
from thalweg.recipe_files import flatten, kind_of
from thalweg.report.records.common import accuracy_of, searched, short_names, value_of
from thalweg.run import Run
from thalweg.search import dimensions
from thalweg.selection import Edge
from thalweg.solvers.solution import CONVERGED
from thalweg.statistics import standard_error
from thalweg.training.status import DIVERGED, PRUNED, TRAINING

__all__ = ["Kind", "VerdictRecord", "verdict_record"]

Kind: TypeAlias = Literal["sweep", "fit", "path"]


@dataclass(frozen=True)
class VerdictRecord:
    """The verdict in numbers.

    Attributes:
        kind: what the run was.
        data, classes, examples: its name, the classes' names, and how many examples each split has.
        trials: how many trials (of a path: solutions), and ``statuses`` how they ended.
        winner: the selected trial's (solution's) number, None where nothing was selected.
        recipe: what was searched, with the winner's values; ``fixed`` what all trials share.
        test: the only score on the test split, None where there was none.
        baseline: the accuracy there (without a test split: on validation) of always naming the most frequent training
            class; None where the data is not at hand.
        validation: the winner's accuracy on ``judged`` held-out examples, the mean over ``seeds`` or a path's folds.
        error: of ``validation``: over folds or seeds the standard error of the mean, else
            `statistics.standard_error` of a share of ``judged`` examples; None where it is not known.
        tied, compared, better: of how many compared others a paired test cannot tell it, how many others were
            compared, and how many that test finds more accurate (one-standard-error passed them over).
        edges: searched numbers whose best value lies at the end of their range; a path's as sentences.
        skipped: the names of examples that could not be read and were left out.
        leader: of a run that is still being trained, the trial that stands highest on validation, and its accuracy;
            None elsewhere, and before an epoch is through. ``progress`` is the share of all epochs that were trained.
        bound: of a path's winner: how far above the minimum its objective may lie, as a share of it.
        certified: of a path: whether that is within the tolerance asked for.
    """

    kind: Kind
    data: str
    classes: tuple[str, ...]
    examples: Mapping[str, int]
    trials: int
    statuses: Mapping[str, int]
    winner: int | None
    recipe: tuple[tuple[str, Any], ...]
    fixed: tuple[tuple[str, Any], ...]
    test: Score | None
    baseline: float | None
    validation: float | None
    error: float | None
    judged: int
    seeds: int
    tied: int
    compared: int
    better: int
    edges: tuple[Edge, ...] | tuple[str, ...]
    refitted: bool
    interrupted: bool
    seconds: Mapping[str, float]
    messages: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    leader: tuple[int, float] | None = None
    progress: float = 1.0
    bound: float | None = None
    certified: bool | None = None
    caveats: tuple[str, ...] = ()

    @property
    def gap(self) -> float | None:
        """How far the test accuracy lies below the held-out one, in standard errors of the difference.

        Held-out accuracies are of the best of several trials, so a gap of one or two is what selection leaves.
        """
        if self.test is None or self.validation is None or not math.isfinite(self.validation) or not self.judged:
            return None
        errors = standard_error(self.validation, self.judged), standard_error(self.test.accuracy, self.test.count)
        return (self.validation - self.test.accuracy) / math.hypot(*errors)

    @property
    def diverged(self) -> int:
        return self.statuses.get(DIVERGED, 0)

    @property
    def pruned(self) -> int:
        return self.statuses.get(PRUNED, 0)

    @property
    def worse(self) -> int:
        """How many of the compared others the paired test finds less accurate."""
        return self.compared - self.tied - self.better

    @property
    def training(self) -> bool:
        """Whether trials are still being trained."""
        return TRAINING in self.statuses


def verdict_record(case: Case) -> VerdictRecord:
    """Read the verdict of a run or a path."""
    return _of_path(case.run, case.data) if isinstance(case.run, Path) else _of_sweep(case.run, case.data)


def _of_sweep(run: Run, data: Dataset | None) -> VerdictRecord:
    best, selection = run.best, run.selection
    recipe, fixed = ((), ()) if best is None else _recipe(run)
    group = None if selection is None else selection.group
    value = None if group is None else group.mean
    judged = run.data.examples.get("validation", 0)
    seeds = 1 if group is None else len(group.trials)
    error = None
    if value is not None and group is not None:
        spread = group.spread
        error = spread / math.sqrt(len(group.accuracies)) if spread is not None else _binomial(value, judged)
    return VerdictRecord(
        kind="fit" if len(run.trials) == 1 and not dimensions(run.space) else "sweep",
        data=run.data.name, classes=run.data.classes, examples=run.data.examples, trials=len(run.trials),
        statuses=run.statuses, winner=None if best is None else best.number, recipe=recipe, fixed=fixed,
        test=run.test, baseline=_baseline(data), validation=value, error=error, judged=judged, seeds=seeds,
        tied=len(run.tied), compared=0 if selection is None else len(selection.p_values),
        better=0 if selection is None else len(selection.better), edges=run.edges, refitted=run.refitted,
        interrupted=run.interrupted, seconds=run.seconds, messages=run.messages,
        skipped=tuple(name for name, _ in run.data.skipped), leader=_leader(run),
        progress=_progress(run),
    )  # fmt: skip


def _leader(run: Run) -> tuple[int, float] | None:
    """A run that goes on has selected nothing yet; its leader is the best so far, and no more than that."""
    if TRAINING not in run.statuses:
        return None
    known = [(t.validation_accuracy, t.number) for t in run.trials if math.isfinite(accuracy_of(t))]
    return None if not known else (max(known)[1], max(known)[0])


def _progress(run: Run) -> float:
    """Trials that ended before their last epoch have no more to do."""
    going = [trial for trial in run.trials if trial.status.name == TRAINING]
    left = sum(trial.recipe.epochs - len(trial.history["data_loss"]) for trial in going)
    return 1 - left / max(1, sum(trial.recipe.epochs for trial in run.trials))


def _of_path(path: Path, data: Dataset | None) -> VerdictRecord:
    best, choice = path.best, path.choice
    examples = dict(path.data.examples)
    if path.test is not None:
        examples.setdefault("test", path.test.count)
    recipe: tuple[tuple[str, Any], ...] = ()
    if best is not None:
        recipe = (
            ("strength", best.strength), ("penalty", kind_of(type(best.penalty))), ("loss", best.loss.kind),
            ("class weight", best.class_weight), ("weights that are not 0", best.nonzeros),
        )  # fmt: skip
    return VerdictRecord(
        kind="path", data=path.data.name, classes=path.data.classes, examples=examples, trials=len(path.solutions),
        statuses=path.statuses, winner=None if best is None else best.number, recipe=recipe,
        fixed=(("folds", path.settings["folds"]), ("tolerance", path.tolerance)),
        test=path.test, baseline=_baseline(data),
        validation=None if best is None else best.validation_accuracy,
        error=None if best is None or not math.isfinite(best.standard_error) else best.standard_error,
        judged=path.data.examples["train"], seeds=1, tied=len(path.tied),
        compared=0 if choice is None else len(choice.p_values), better=0,
        edges=() if choice is None else choice.edges, refitted=False, interrupted=path.interrupted,
        seconds=path.seconds, messages=path.messages, skipped=tuple(name for name, _ in path.data.skipped),
        bound=None if best is None else best.relative_bound,
        certified=None if best is None else best.status == CONVERGED,
        caveats=() if choice is None else choice.caveats,
    )  # fmt: skip


def _recipe(run: Run) -> tuple[tuple[tuple[str, Any], ...], tuple[tuple[str, Any], ...]]:
    """What was searched and what was fixed, by short names, with the winner's values."""
    assert run.best is not None
    row = flatten(run.best.recipe)
    varied = [name for name in searched(run) if name in row]
    names = varied or [d.name for d in dimensions(run.space)]
    shorter = short_names(names)
    chosen = tuple((shorter[name], value_of(row, name)) for name in names)
    return chosen, tuple((name, value) for name, value in row.items() if name not in names)


def _baseline(data: Dataset | None) -> float | None:
    held = None if data is None else data.test or data.validation
    if data is None or held is None or held.labels is None or data.train.labels is None:
        return None
    most = int(np.bincount(data.train.labels).argmax())
    return float(np.mean(held.labels == most))


def _binomial(share: float, count: int) -> float | None:
    return standard_error(share, count) if count and math.isfinite(share) else None

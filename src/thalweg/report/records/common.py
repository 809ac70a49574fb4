"""What several records ask of a run: its searched hyperparameters, rates, optimizers, and how a trial did."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from thalweg.recipe import seed_groups
from thalweg.recipe_files import flatten, kind_of
from thalweg.run import Run, Trial
from thalweg.training.status import DIVERGED

__all__ = [
    "accuracy_of",
    "finished",
    "flat",
    "optimizer_of",
    "optimizers_of",
    "outcome_of",
    "peak_rate",
    "searched",
    "seeds_of",
    "short_names",
    "value_of",
]

_T = TypeVar("_T")
_Owner = TypeVar("_Owner", Trial, Run)

Cell = str | int | float | bool | None
# What was worked out of a trial or a run, by its identity, for as long as it lives: arrays in it leave it no hash.
_ROWS: dict[int, tuple[weakref.ref[Trial], Mapping[str, Any]]] = {}
_SEEDS: dict[int, tuple[weakref.ref[Run], tuple[tuple[int, ...], ...]]] = {}


def flat(trial: Trial) -> Mapping[str, Any]:
    """Return every number and word of a trial's recipe by dotted name; worked out once, since several records ask."""
    return _once(_ROWS, trial, lambda: MappingProxyType(flatten(trial.recipe)))


def _once(known: dict[int, tuple[weakref.ref[_Owner], _T]], owner: _Owner, compute: Callable[[], _T]) -> _T:
    """Compute something of an object once; it is dropped as the object goes, before another can have its place."""
    key = id(owner)
    found = known.get(key)
    if found is not None and found[0]() is owner:
        return found[1]
    value = compute()

    def drop(_: object) -> None:
        known.pop(key, None)

    known[key] = weakref.ref(owner, drop), value
    return value


def value_of(row: Mapping[str, Any], name: str) -> Any:
    """Return a hyperparameter's value in a flattened recipe; a part's is its kind; None where the recipe has none."""
    return row.get(name, row.get(f"{name}.kind", row.get(f"{name}.value")))


def searched(run: Run) -> dict[str, list[Any]]:
    """Return each hyperparameter in which the trials differ, the seed apart, with its value in every trial.

    Names are dotted, as in ``trials.csv``; None where a trial's recipe has no such number (another kind of part). What
    only some kinds of a part have, always with the same value (Adam's beta1 beside SGD), was not searched.
    """
    rows = [flat(trial) for trial in run.trials]
    names = dict.fromkeys(name for row in rows for name in row if name != "seed")
    table = {name: [row.get(name) for row in rows] for name in names}
    varied = {name: values for name, values in table.items() if len({repr(value) for value in values}) > 1}
    return {name: values for name, values in varied.items() if not _comes_with_a_kind(name, values, varied)}


def _comes_with_a_kind(name: str, values: Sequence[Any], varied: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a name has one value, there or not there by the kind of the part that it stands in."""
    if len({repr(value) for value in values if value is not None}) > 1:
        return False
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        kinds = varied.get(".".join([*parts[:end], "kind"]))
        if kinds is not None and kinds is not values:
            there = {(kind, value is None) for kind, value in zip(kinds, values, strict=True)}
            if len(there) == len({kind for kind, _ in there}):
                return True
    return False


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Shorten dotted names from the front while they stay unique: ``penalty.strength`` to ``strength``.

    A last part that says little alone (peak, steps) keeps the one before, without what only wraps it
    (``learning_rate.then.peak`` is ``learning_rate.peak``); a part's kind, and a constant's value, is the
    part: ``loss.kind`` is ``loss``.
    """
    plain = {name: ".".join(part for part in name.split(".") if part != "then") for name in names}
    plain = {name: short.removesuffix(".kind").removesuffix(".value") for name, short in plain.items()}
    if len(set(plain.values())) < len(plain):
        plain = {name: name for name in names}
    return {name: _shortest(whole, tuple(plain.values())) for name, whole in plain.items()}


def _shortest(whole: str, among: Sequence[str]) -> str:
    parts = whole.split(".")
    for start in range(len(parts) - 1, 0, -1):
        tail = ".".join(parts[start:])
        vague = parts[start] in ("peak", "steps", "kind", "unit")
        if not vague and sum(other == tail or other.endswith("." + tail) for other in among) == 1:
            return tail
    return whole


def peak_rate(trial: Trial) -> float | None:
    """Return the learning rate at its schedule's peak; None for an optimizer without one (random search, Optax's)."""
    schedule = getattr(trial.recipe.optimizer, "learning_rate", None)
    base = getattr(schedule, "base", None)
    try:
        rate = float(base)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return rate if math.isfinite(rate) and rate > 0 else None


def optimizer_of(trial: Trial) -> str:
    """Return what the trial's optimizer is called: its kind, with momentum told apart."""
    optimizer = trial.recipe.optimizer
    name = getattr(type(optimizer), "name", None) or kind_of(type(optimizer))
    if getattr(optimizer, "nesterov", False):
        return f"{name}, Nesterov"
    if kind_of(type(optimizer)) == "sgd" and getattr(optimizer, "momentum", None) is not None:
        return f"{name}, momentum"
    return str(name)


def optimizers_of(run: Run) -> dict[str, list[Trial]]:
    """Return the trials of each optimizer, in order of their first trial."""
    out: dict[str, list[Trial]] = {}
    for trial in run.trials:
        out.setdefault(optimizer_of(trial), []).append(trial)
    return out


def finished(trial: Trial) -> bool:
    """Whether a trial has a validation accuracy that may be compared."""
    return trial.status.finished and math.isfinite(trial.validation_accuracy)


def outcome_of(trial: Trial) -> str:
    """Return "finished", "diverged", or "cut short" for a trial that was pruned or interrupted."""
    if trial.status.finished:
        return "finished"
    return "diverged" if trial.status.name == DIVERGED else "cut short"


def accuracy_of(trial: Trial) -> float:
    """Return the validation accuracy that a trial ended with; NaN where it diverged or has no epoch."""
    value = math.nan if trial.status.name == DIVERGED else trial.validation_accuracy
    return value if math.isfinite(value) else math.nan


def seeds_of(run: Run) -> tuple[tuple[int, ...], ...]:
    """Return the trials' numbers grouped by recipe, the seed apart, in order of their first."""
    return _once(
        _SEEDS, run, lambda: tuple(tuple(group) for group in seed_groups([trial.recipe for trial in run.trials]))
    )

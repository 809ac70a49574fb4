"""A penalty path by strength: held-out accuracy, losses, sizes of the weights, and what is proved of each optimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from thalweg.paths.records import Path, PathSolution
from thalweg.report.block import Lacking
from thalweg.solvers.solution import CONVERGED

__all__ = ["StrengthSeries", "StrengthsRecord", "WeightLine", "path_record", "shown_rows"]

_LINES = 12  # weights followed along the path
_ROWS = 60  # of the table


@dataclass(frozen=True, eq=False)
class StrengthSeries:
    """The solutions (n,) of one loss and class weighting, from the strongest penalty down.

    ``accuracies``, ``errors`` (one standard error of their mean over folds) and ``losses`` are cross-validated, NaN
    without folds. ``values`` are the training objective, ``bounds`` the relative bounds of the optima
    themselves, ``worst_bounds`` the largest with their folds' (infinite where one is not known), ``norms`` are ‖W‖₂.
    ``certified``: the status of the solution itself is "converged", so its bound is within the tolerance.
    """

    name: str
    numbers: tuple[int, ...]
    strengths: np.ndarray = field(repr=False)
    accuracies: np.ndarray = field(repr=False)
    errors: np.ndarray = field(repr=False)
    losses: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    nonzeros: np.ndarray = field(repr=False)
    norms: np.ndarray = field(repr=False)
    bounds: np.ndarray = field(repr=False)
    worst_bounds: np.ndarray = field(repr=False)
    statuses: tuple[str, ...] = field(repr=False)
    certified: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class WeightLine:
    """One weight (of a class and a feature) along the chosen solution's series: ``weights`` (n,)."""

    class_name: str
    feature: str
    weights: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class StrengthsRecord:
    """What a path found, by strength.

    ``penalty`` is "l1", "l2" or "elastic_net"; ``c_times`` is scikit-learn's C times the strength, the same for all of
    the path (None where the number of examples is not known). ``best``, ``one_standard_error``, ``chosen`` and
    ``left_out`` are numbers of solutions as in `paths.Choice`, None and empty where nothing was chosen. ``limit`` is
    the relative bound up to which a solution took part in the choice. ``lines`` follow weights along the series
    ``followed``; they are empty with L2, which leaves no weight at 0.
    """

    series: tuple[StrengthSeries, ...]
    penalty: str
    folds: int
    tolerance: float
    c_times: float | None
    limit: float | None
    best: int | None
    one_standard_error: int | None
    chosen: int | None
    left_out: tuple[int, ...]
    lines: tuple[WeightLine, ...]
    followed: int
    summary: str
    notes: tuple[str, ...] = ()

    def place(self, number: int) -> tuple[int, int]:
        """Return the series of a solution and its place in it; raises KeyError where there is none of that number."""
        for i, series in enumerate(self.series):
            if number in series.numbers:
                return i, series.numbers.index(number)
        raise KeyError(number)


def path_record(path: Path) -> StrengthsRecord | Lacking:
    """Return a path by strength, one series a loss and class weighting, in the order in which they were solved.

    For L1 and the elastic net up to 12 weights are followed: those largest in absolute value at the chosen
    solution (without a choice, at the weakest penalty of the first series).

    Returns:
        `Lacking` where the path was stopped before its first solution.
    """
    if not path.solutions:
        return Lacking("The path has no solution yet: it was stopped before the first. Run it again, or resume it.")
    groups: dict[tuple[str, str], list[PathSolution]] = {}
    for solution in path.solutions:
        groups.setdefault((solution.loss.kind, solution.class_weight), []).append(solution)
    series = tuple(_series(found, _name(key, groups)) for key, found in groups.items())
    at = path.best
    followed = next((i for i, one in enumerate(series) if at is not None and at.number in one.numbers), 0)
    choice = path.choice
    return StrengthsRecord(
        series=series,
        penalty=str(path.settings["penalty"]),
        folds=int(path.settings["folds"]),
        tolerance=path.tolerance,
        c_times=_c_times(path),
        limit=None if choice is None else choice.limit,
        best=None if choice is None else choice.best,
        one_standard_error=None if choice is None else choice.one_standard_error,
        chosen=None if choice is None else choice.chosen,
        left_out=() if choice is None else choice.left_out,
        lines=_lines(path, list(groups.values())[followed], at),
        followed=followed,
        summary=_summary(path),
        notes=_notes(path),
    )


def _series(solutions: Sequence[PathSolution], name: str) -> StrengthSeries:
    return StrengthSeries(
        name=name,
        numbers=tuple(s.number for s in solutions),
        strengths=np.array([s.strength for s in solutions]),
        accuracies=np.array([s.validation_accuracy for s in solutions]),
        errors=np.array([s.standard_error for s in solutions]),
        losses=np.array([s.validation_loss for s in solutions]),
        values=np.array([s.value for s in solutions]),
        nonzeros=np.array([s.nonzeros for s in solutions]),
        norms=np.array([np.linalg.norm(s.weights) for s in solutions]),
        bounds=np.array([s.bound / s.value if s.value else math.nan for s in solutions]),
        worst_bounds=np.array([s.worst_bound if s.value else math.inf for s in solutions]),
        statuses=tuple(s.status for s in solutions),
        certified=np.array([s.status == CONVERGED for s in solutions]),
    )


def _name(key: tuple[str, str], groups: dict[tuple[str, str], list[PathSolution]]) -> str:
    """Name a series by what tells it from the others."""
    loss, weight = key
    several = len({other for _, other in groups}) > 1
    words = "class weights: " + weight if weight not in ("none", "balanced") else f"{weight} class weights"
    words = "no class weights" if weight == "none" else words
    return f"{loss}, {words}" if several or weight != "none" else loss


def _c_times(path: Path) -> float | None:
    """Return C × strength of scikit-learn's scale, for the examples that the path was fitted to."""
    examples = path.data.examples.get("train", 0)  # all that were fitted, those of a validation split too
    if not examples:
        return None
    one = path.solutions[0]
    found = one.penalty.to_C(examples)  # type: ignore[attr-defined]
    return float(found[0] if isinstance(found, tuple) else found) * one.strength


def _lines(path: Path, solutions: Sequence[PathSolution], at: PathSolution | None) -> tuple[WeightLine, ...]:
    if path.settings["penalty"] == "l2":
        return ()
    where = solutions[-1] if at is None else at
    sizes = np.abs(where.weights).ravel()
    width = where.weights.shape[1]
    names = _feature_names(path, width)
    largest = [place for place in np.argsort(-sizes, kind="stable")[:_LINES].tolist() if sizes[place] > 0]
    return tuple(
        WeightLine(
            path.data.classes[place // width],
            names[place % width],
            np.array([solution.weights[place // width, place % width] for solution in solutions]),
        )
        for place in largest
    )


def _feature_names(path: Path, width: int) -> Sequence[str]:
    given = path.model.feature_names if path.model is not None else None
    if given is not None and len(given) == width:
        return given
    shape = path.data.feature_shape
    if path.settings.get("features") is None and len(shape) > 1 and math.prod(shape) == width:
        places = np.stack(np.unravel_index(np.arange(width), shape), axis=1).tolist()
        return [f"pixel ({', '.join(map(str, place))})" for place in places]
    return [f"feature {i}" for i in range(width)]


def _summary(path: Path) -> str:
    count = len(path.solutions)
    certified = sum(s.status == CONVERGED for s in path.solutions)
    parts = [
        f"{count:,} solution{'s' * (count > 1)}, strengths from {max(s.strength for s in path.solutions):.3g} down to "
        f"{min(s.strength for s in path.solutions):.3g}; {certified:,} certified to a relative bound of "
        f"{path.tolerance:.0e}."
    ]
    choice = path.choice
    if choice is None:
        return parts[0] + " None was chosen: there is no cross-validation to choose by."
    best, modest = path.solutions[choice.best], path.solutions[choice.one_standard_error]
    parts.append(
        f"The best cross-validated accuracy is {_accuracy(best)} at strength {best.strength:.3g}; the strongest "
        f"penalty within one standard error of it is {modest.strength:.3g}, with {_accuracy(modest)}. Chosen: "
        f"{path.solutions[choice.chosen].strength:.3g} (rule {choice.rule})."
    )
    chosen = path.solutions[choice.chosen]
    if path.settings["penalty"] != "l2":
        parts.append(f"It has {chosen.nonzeros:,} of {chosen.weights.size:,} weights other than 0.")
    if choice.left_out:
        parts.append(f"{len(choice.left_out)} solutions were left out of the choice, as their optima are not known.")
    return " ".join(parts)


def _accuracy(one: PathSolution) -> str:
    error = "" if math.isnan(one.standard_error) else f" ± {one.standard_error:.4f}"
    return f"{one.validation_accuracy:.4f}{error}"


def _notes(path: Path) -> tuple[str, ...]:
    choice = path.choice
    return path.messages if choice is None else (*choice.edges, *choice.caveats)


def shown_rows(record: StrengthsRecord) -> list[tuple[int, int]]:
    """Return which solutions a table shows, as (series, place): all up to 60, else evenly spaced ones and the named."""
    every = [(i, place) for i, series in enumerate(record.series) for place in range(len(series.numbers))]
    if len(every) <= _ROWS:
        return every
    named = {record.place(n) for n in (record.best, record.one_standard_error, record.chosen) if n is not None}
    spaced = np.linspace(0, len(every) - 1, _ROWS - len(named)).round().astype(int).tolist()
    return sorted({*(every[i] for i in spaced), *named})

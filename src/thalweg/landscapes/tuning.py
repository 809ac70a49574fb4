"""Races in which every optimizer runs at the best of many learning rates: a fair comparison's least."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from thalweg.errors import UsageError
from thalweg.landscapes.base import Landscape
from thalweg.landscapes.racing import race, titles
from thalweg.landscapes.recording import DIVERGED, chosen
from thalweg.landscapes.records import Race
from thalweg.landscapes.starts import checked_starts
from thalweg.landscapes.wrapped import Noisy, as_landscape
from thalweg.solvers.minimize import SmoothSolver

__all__ = ["RATES", "race_tuned"]

# From 1e-5 to 10, four a decade: from too slow to see anything to too fast for any of the landscapes.
RATES: tuple[float, ...] = tuple(float(f"{rate:.3g}") for rate in np.logspace(-5, 1, 25))
"""The 25 learning rates from 1e-5 to 10, four a decade, among which `race_tuned` chooses."""

TRIED = 16  # starts by which rates are chosen, where there are more


def race_tuned(
    landscape: Any,
    racers: Sequence[Any],
    start: Any = None,
    steps: int = 500,
    *,
    rates: Sequence[float] = RATES,
    seed: int = 0,
    tolerance: float = 1e-6,
) -> tuple[Race, list[Any]]:
    """Race optimizers at the best of several learning rates each, tried in one program a kind.

    The best rate diverges from the fewest starts, then has the least value at the end (the mean over the
    starts); among those whose values are equal to 1e-9, it takes the fewest steps. With more than 16 starts
    the first 16 decide.

    Under noise the least of many final values is partly luck: on the draws by which a rate was chosen it would
    look better than it is. So the best race again, under the draws of another seed, derived from ``seed`` by
    `numpy.random.SeedSequence`; a message of the race tells which, and `race` repeats it with that seed.

    Arguments:
        racers: functions from a learning rate to an optimizer, such as ``SGD`` or
            ``lambda rate: SGD(rate, momentum=0.9)``; a solver, or an optimizer whose rate shall stay, as it is.
        rates: to choose from; by default 25 from 1e-5 to 10, four a decade.
        landscape, start, steps, seed, tolerance: as for `race`.

    Returns the race and its racers, each with its rate.

    Raises:
        UsageError: no rates, and whatever `race` refuses.
    """
    if not len(rates):
        raise UsageError("race_tuned: rates is empty; give the learning rates to choose from")
    landscape = as_landscape(landscape)
    starts = checked_starts(landscape, start)
    candidates = [[racer(rate) for rate in rates] if _open(racer) else [racer] for racer in racers]
    flat = [one for some in candidates for one in some]
    tried = race(landscape, flat, starts[:TRIED], steps, seed=seed, tolerance=tolerance)
    ends = np.cumsum([len(some) for some in candidates])
    places = [_best(tried, end - len(some), end) for some, end in zip(candidates, ends, strict=True)]
    best = [flat[place] for place in places]
    if isinstance(landscape, Noisy) and landscape.scale > 0 and len(flat) > len(best):
        return _raced_anew(landscape, best, starts, steps, _derived(seed), tolerance), best
    if len(starts) <= TRIED:
        return chosen(tried, places, titles(best)), best
    return race(landscape, best, starts, steps, seed=seed, tolerance=tolerance), best


def _raced_anew(
    landscape: Landscape, best: list[Any], starts: np.ndarray, steps: int, seed: int, tolerance: float
) -> Race:
    """Race the best under draws that had no say in their choice, and tell so."""
    anew = race(landscape, best, starts, steps, seed=seed, tolerance=tolerance)
    told = f"shown under noise of its own (seed {seed}), not the draws by which the rates were chosen"
    return dataclasses.replace(anew, messages=(*anew.messages, told))


def _derived(seed: int) -> int:
    return int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])


def _open(racer: Any) -> bool:
    """True for a function of the learning rate."""
    if isinstance(racer, type):
        return not issubclass(racer, SmoothSolver)  # such a class is refused by the race
    return callable(racer) and not hasattr(racer, "update")


def _best(race: Race, first: int, end: int) -> int:
    lost = np.sum(race.status[first:end] == DIVERGED, axis=1)
    value = np.where(lost == lost.min(), race.values[first:end, :, -1].mean(axis=1), np.inf)
    equal = value <= value.min() + 1e-9 * (1 + abs(value.min()))
    steps = np.where(equal, race.ended[first:end].mean(axis=1), np.inf)
    return first + int(np.lexsort((value, steps))[0])

"""Whether training was long enough: the ladders of `learning_rate`, held to the same training at four times the length.

*Not converged* is a trial whose data loss and validation loss both fell on, by a tenth and a twentieth of all that
they gained, when the same recipe had four times the epochs, and one whose rate is too low; *converged* is one where the
data loss did not fall on (by 3 %), or the validation loss did not (by 1 %), and one with nothing to learn (`hopeless`).
Left out are trials that ever went above five quarters of the loss of chance, as nobody could say when these have
converged.

For the schedules the label is how the run was made: warm-ups of most of the run, lengths of several runs, restarts
just before the end. Schedules that end early are labelled by what the same recipe reached with a length of the whole
run.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from thalweg import optimizers, schedules
from thalweg.diagnostics import Case
from thalweg.recipe import Recipe
from thalweg.training.status import DIVERGED

from .learning_rate import Ladder, ended, hopeless, ladders
from .trained import digits, train_cases

__all__ = ["FT03_cases", "FT04_cases"]


def FT03_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    found = [(False, case) for case in hopeless(seed)]
    for ladder in ladders(seed, whole):
        for place, case in enumerate(ladder.cases if ladder.longer else ()):
            label = unfinished(ladder, place)
            if label is not None and ladder.fault(place) != "high":
                found.append((label, case))
    return found


def unfinished(ladder: Ladder, place: int) -> bool | None:
    """Whether longer training did much better; None where nobody could say."""
    case, longer = ladder.cases[place], ladder.longer[place]
    if DIVERGED in (case.trial.status.name, longer.trial.status.name) or not ladder.taught:
        return None
    if np.max(case.trial.history["data_loss"]) > 1.25 * ladder.chance:
        return None
    if ladder.fault(place) == "low":
        return True
    now, then = ended(case, "data_loss"), ended(longer, "data_loss")
    held = ended(case, "validation_loss")
    lowest = float(np.min(longer.trial.history["validation_loss"][len(case.trial.history["data_loss"]) :]))
    gain, held_gain = (now - then) / (ladder.chance - then), (held - lowest) / (ladder.chance - lowest)
    if gain > 0.1 and held_gain > 0.05:
        return True
    return False if gain < 0.03 or held_gain < 0.01 else None


def FT04_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    recipe = Recipe(batch_size=32, epochs=12)
    peaks = (0.05, 0.3, 1.0) if whole else (0.05, 1.0)
    return _scheduled(recipe, optimizers.SGD, peaks, digits((480, 160), seed=seed), seed)


def _scheduled(recipe: Recipe, optimizer, peaks, data, seed: int) -> list[tuple[bool, Case]]:
    made = [(label, schedule) for peak in peaks for label, schedule in _made(peak, recipe.epochs)]
    early = [(peak, share) for peak in peaks for share in (0.1, 0.2, 0.3, 0.4, None)]
    short = [schedules.Cosine(peak, share, unit="run") if share else schedules.Cosine(peak) for peak, share in early]
    planned = [
        dataclasses.replace(recipe, optimizer=optimizer(one), seed=seed) for one in [*(s for _, s in made), *short]
    ]
    cases = train_cases(planned, data)
    found = [(label, case) for (label, _), case in zip(made, cases, strict=False)]
    for i in range(len(peaks)):
        *ends, whole = cases[len(made) + 5 * i : len(made) + 5 * (i + 1)]
        full = np.log(len(data.classes)) - ended(whole, "data_loss")
        for case in ends:
            lost = (ended(case, "data_loss") - ended(whole, "data_loss")) / full
            if lost > 0.1 or lost < 0.02:
                found.append((bool(lost > 0.1), case))
    return found


def _made(peak: float, epochs: int) -> list[tuple[bool, schedules.Schedule]]:
    """Schedules that fit a run of that many epochs, and some that do not."""
    cosine, linear, step, warm = schedules.Cosine, schedules.Linear, schedules.Step, schedules.Warmup
    restarts = schedules.CosineRestarts
    unfit = [
        *(warm(share, cosine(peak), unit="run") for share in (0.6, 0.8, 1.2)),
        warm(3 * epochs, peak, unit="epochs"),
        *(cosine(peak, runs * epochs, unit="epochs") for runs in (2.5, 4, 10)),
        *(linear(peak, runs, unit="run") for runs in (2.5, 5)),
        step(peak),
        warm(0.1, linear(peak, 4, unit="run"), unit="run"),
        restarts(peak, 0.9, unit="run"),
        restarts(peak, 0.42, unit="run"),
    ]
    fit = [
        *(warm(share, cosine(peak), unit="run") for share in (0.02, 0.1, 0.3)),
        warm(0.1, peak, unit="run"),
        warm(0.1, schedules.InverseSqrt(peak), unit="run"),
        *(cosine(peak, share, unit="run") for share in (0.85, 0.95, 1.0, 1.2)),
        cosine(peak, floor=0.05 * peak),
        cosine(peak, 0.3, floor=0.1 * peak, unit="run"),
        linear(peak),
        *(step(peak, at, unit="run") for at in ((0.5, 0.75), (0.3, 0.6, 0.9), (0.8,))),
        restarts(peak, 0.5, unit="run"),
        restarts(peak, 1 / 7, 2, unit="run"),
    ]
    return [(True, one) for one in unfit] + [(False, one) for one in fit]

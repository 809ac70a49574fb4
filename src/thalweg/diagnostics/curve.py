"""A loss curve in numbers: from where it starts, how far it fell, how soon, and how much of that came late."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.diagnostics import measures
from thalweg.models import Convolutional, Dense, Linear
from thalweg.recipe import FULL_BATCH
from thalweg.run import DataSummary, Trial

__all__ = ["Curve", "chance_loss", "epoch_steps", "read_curve", "training_time"]

_TAIL = 0.1  # of the epochs: the mean over them is where a curve ends, so that one epoch's noise does not decide
_NEAR = 0.1  # of the loss by chance: a network's first loss is this near to it, and no nearer
_NOISE = 4.0  # standard deviations: 3 still let one flat curve in a hundred pass for a fall


@dataclass(frozen=True, eq=False)
class Curve:
    """One metric of a trial over training time.

    ``loss`` (E,) are its values, each at its ``time`` (E,); ``start`` is where it began, at time 0, and
    ``end`` the mean of the last tenth of the values, at ``last``. A unit of time is an epoch at the run's highest rate,
    ``steps`` steps: time is the sum of the rates over the highest one. So a decaying schedule bends no curve.
    """

    loss: np.ndarray
    time: np.ndarray
    start: float
    steps: int

    @property
    def tail(self) -> int:
        return max(1, round(_TAIL * len(self.loss)))

    @property
    def end(self) -> float:
        return float(self.loss[-self.tail :].mean())

    @property
    def last(self) -> float:
        return float(self.time[-self.tail :].mean())

    @property
    def fall(self) -> float:
        return self.start - self.end

    @property
    def late_fall(self) -> float:
        """How far it fell over the second half of the time."""
        return self.at(self.last / 2) - self.end

    @property
    def late_share(self) -> float:
        """The late fall as a share of the whole: ½ of a straight line, near 0 of a curve that has flattened."""
        return self.late_fall / self.fall if self.fall > 0 else 0.0

    @property
    def to_come(self) -> float:
        """What as much training again would add, as a share of the fall so far.

        The fall of the last doubling of the time, times its ratio to the one before (at most 1): of a power law
        t^−c that is what the next doubling brings, and of a straight line the ½ that the last one brought.
        """
        before = self.at(self.last / 4) - self.at(self.last / 2)
        ratio = self.late_fall / before if before > 0 else 1.0
        return max(0.0, self.late_share) * min(1.0, max(0.0, ratio))

    @property
    def noise(self) -> float:
        """The standard deviation of a value, from its rises: without a trend they are half of all changes.

        Rises alone, because the changes of a curve that falls steeply are no noise.
        """
        if len(self.loss) < 2:
            return 0.0
        return float(np.sqrt(np.mean(np.square(np.maximum(np.diff(self.loss), 0)))))

    @property
    def falls(self) -> bool:
        """Whether the late fall stands out from the noise, by four of its standard deviations."""
        return self.late_fall > _NOISE * self.noise * math.sqrt(1 + 1 / self.tail)

    @property
    def rates(self) -> float:
        """The sum of the rates up to the last value, in steps at the highest one."""
        return float(self.steps * self.time[-1])

    def at(self, time: float) -> float:
        """Return the loss at a time, on straight lines between the values."""
        return float(np.interp(time, [0.0, *self.time], [self.start, *self.loss]))

    def steps_to(self, share: float) -> float:
        """Return how many steps at the highest rate it took to make this share of the whole fall."""
        target = self.start - share * self.fall
        values, times = np.array([self.start, *self.loss]), np.array([0.0, *self.time])
        place = int(np.argmax(values <= target))  # the last values are below: their mean is
        if place == 0:
            return 0.0
        before, after = values[place - 1], values[place]
        part = (before - target) / (before - after)
        return float(self.steps * (times[place - 1] + part * (times[place] - times[place - 1])))

    def rise(self) -> float:
        """Return the largest rise above what was lowest before, the start among it."""
        values = np.array([self.start, *self.loss])
        return float(np.max(values - np.minimum.accumulate(values)))


def read_curve(trial: Trial, data: DataSummary, metric: str = "data_loss") -> Curve:
    """Read a trial's curve, up to the first value that is not finite.

    Data losses are means over their epochs, and stand at their middles; other metrics are of their ends.
    """
    values = np.asarray(trial.history[metric], np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    values = values[: bad[0]] if len(bad) else values
    end = training_time(trial.history)[: len(values)]
    begin = np.concatenate([[0.0], end[:-1]])
    time = (begin + end) / 2 if metric == "data_loss" else end
    return Curve(values, time, _start(values, time, chance_loss(trial.recipe, data)), epoch_steps(trial, data))


def training_time(history: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the time (E,) at each epoch's end: Σ rate / highest rate, or epochs where there are no rates.

    The rate of an epoch is the mean of its last step's and of the last one before it.
    """
    rates = np.asarray(history["learning_rate"], np.float64)
    if not (np.isfinite(rates).all() and rates.max(initial=0) > 0):
        return np.arange(1.0, len(rates) + 1)
    before = np.concatenate([rates[:1], rates[:-1]])
    return np.cumsum((before + rates) / 2) / rates.max()


def epoch_steps(trial: Trial, data: DataSummary) -> int:
    """Return how many steps an epoch has."""
    examples, batch = data.examples["train"], trial.recipe.batch_size
    return 1 if batch == FULL_BATCH else math.ceil(examples / batch)


def chance_loss(recipe: Any, data: DataSummary) -> float:
    """Return the loss of scores that are all 0, which fresh weights give; NaN where the first weights are large or
    not known."""
    model = recipe.model
    if isinstance(model, Linear):
        fresh = float(model.scale) <= 0.01
    elif isinstance(model, (Dense, Convolutional)):
        fresh = float(model.scale) <= 1 and float(model.output_scale) <= 0.1
    else:
        fresh = False
    return measures.chance_loss(recipe.loss, len(data.classes)) if fresh else math.nan


def _start(values: np.ndarray, time: np.ndarray, chance: float) -> float:
    """Where a curve began: by chance, or where the first two values point back to if that is as good a guess.

    Fresh weights give the loss of chance only to within a few per cent, so a curve that has hardly moved tells its
    own start better.
    """
    if not len(values):
        return math.nan
    back = values[0]
    if len(values) > 1 and values[1] < values[0] and time[1] > time[0]:
        back = values[0] + (values[0] - values[1]) * time[0] / (time[1] - time[0])
    if not math.isfinite(chance):
        return float(back)
    near = abs(values[0] - chance) <= _NEAR * chance
    return float(back if near else chance)

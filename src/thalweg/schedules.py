"""Learning rate schedules: pure functions of the step whose numbers are leaves.

``schedule(step)`` is the rate of step 0, 1, 2, ...; ``schedule.base`` is its
peak or initial rate. A length may be given in steps, in epochs or as a share of
the run, or left out (the whole run); ``bind`` turns all of these into steps once
the length of the run is known. Every number may be a range (then the schedule
is a search space, and cannot be called) or an array with a value for each trial
that `jax.vmap` has mapped away.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import Number, check_integer, check_number, check_option, is_open
from thalweg.ranges import Choice

__all__ = [
    "BatchScaled", "Constant", "Cosine", "CosineRestarts", "Given", "InverseSqrt", "Linear", "Run", "Scaled",
    "Schedule", "Step", "Warmup", "as_schedule", "bind_all",
]  # fmt: skip

UNITS = ("steps", "epochs", "run")
T = TypeVar("T")


class Run(NamedTuple):
    """What a schedule needs to know of the run that it meets.

    ``whole`` is the run's number of steps; ``left`` is how many of them remain
    where the schedule begins (after a warm-up it is fewer).
    """

    whole: Number
    left: Number
    steps_per_epoch: int
    batch_size: int


class Schedule(eqx.Module):
    """Base of all schedules.

    A new one gives ``__call__`` and ``base``; one that has a length or a unit
    also gives ``bound_to``.
    """

    @property
    @abc.abstractmethod
    def base(self) -> Number:
        """The peak or initial rate."""

    @abc.abstractmethod
    def __call__(self, step: Any) -> jax.Array:
        """Return the rate of a step (0, 1, 2, ...), or of each step of an array."""

    def bind(self, *, steps: int, steps_per_epoch: int, batch_size: int) -> Schedule:
        """Return the schedule with every length and time in steps.

        Arguments:
            steps: number of steps of the whole run; an absent length becomes
                what is left of it.
            steps_per_epoch: number of minibatches in an epoch.
            batch_size: examples in a minibatch (for `BatchScaled`).

        Binding a second time changes nothing.
        """
        check_integer("bind", "steps", steps, least=1)
        check_integer("bind", "steps_per_epoch", steps_per_epoch, least=1)
        check_integer("bind", "batch_size", batch_size, least=1)
        return self.bound_to(Run(steps, steps, steps_per_epoch, batch_size))

    def bound_to(self, run: Run) -> Schedule:
        """Return the schedule as it meets a run; by default there is nothing to fill in."""
        return self


def as_schedule(value: Any) -> Schedule | Choice:
    """Return value as a schedule: a number, range or array is a constant rate.

    A choice that holds schedules becomes a choice of schedules; a choice of
    numbers becomes a constant with that choice inside.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, Choice) and _holds_schedule(value):
        return Choice(tuple(as_schedule(option) for option in value.options))
    if callable(value):
        raise UsageError(f"learning_rate is {value!r}; give a number or an instance of a class in thalweg.schedules")
    return Constant(value)


def _holds_schedule(value: Any) -> bool:
    if isinstance(value, Choice):
        return any(_holds_schedule(option) for option in value.options)
    return isinstance(value, Schedule)


def _tuple(at: Any) -> Any:
    if isinstance(at, Choice):
        return Choice(tuple(_tuple(option) for option in at.options))
    if isinstance(at, (tuple, list)):
        return tuple(at)
    raise UsageError(f"Step: at is {at!r}; give the times as a list, such as (30, 60, 90)")


class Constant(Schedule):
    """The same rate at every step."""

    value: Number

    def __check_init__(self) -> None:
        check_number("Constant", "value", self.value, least=0.0)

    @property
    def base(self) -> Number:
        return self.value

    def __call__(self, step: Any) -> jax.Array:
        _check_ready(self)
        return _like(self.value, step)


class Given(Schedule):
    """A rate that was computed elsewhere, whatever the step.

    The training program tabulates a schedule once and puts each step's rate
    into the optimizer in this form, with the original schedule's ``base`` as peak.
    """

    value: Number
    peak: Number

    @property
    def base(self) -> Number:
        return self.peak

    def __call__(self, step: Any) -> jax.Array:
        return _like(self.value, step)


class Step(Schedule):
    """initial · factor^k, where k of the times ``at`` have been reached.

    Arguments:
        initial: the rate at first.
        at: times at which the rate is multiplied; a rate drops in the very step
            ``at``. By default epochs 30, 60 and 90, as in He et al. 2016.
        factor: what it is multiplied by.
        unit: of ``at``: "epochs", "steps", or "run" (share of the run).
    """

    initial: Number
    at: tuple[Number, ...] = eqx.field(default=(30, 60, 90), converter=_tuple)
    factor: Number = 0.1
    unit: str = eqx.field(default="epochs", static=True)

    def __check_init__(self) -> None:
        check_number("Step", "initial", self.initial, least=0.0)
        check_number("Step", "factor", self.factor, least=0.0)
        check_option("Step", "unit", self.unit, UNITS)
        for times in self.at.options if isinstance(self.at, Choice) else (self.at,):
            for time in times:
                check_number("Step", "at", time, least=0.0)

    @property
    def base(self) -> Number:
        return self.initial

    def __call__(self, step: Any) -> jax.Array:
        _check_ready(self)
        time, rate = _time(step), _like(self.initial, step)
        # A product over the times, not factor**k: exact where factor and rate are.
        for at in self.at:
            rate = jnp.where(time >= at, rate * self.factor, rate)
        return rate

    def bound_to(self, run: Run) -> Schedule:
        _check_drawn(self)
        return Step(self.initial, tuple(_steps(time, self.unit, run) for time in self.at), self.factor, "steps")


class _Decay(Schedule):
    """A rate that falls from ``peak`` to ``floor`` over ``length``, and then stays there."""

    peak: Number
    length: Number = None
    floor: Number = 0.0
    unit: str = eqx.field(default="steps", static=True)

    def __check_init__(self) -> None:
        owner = type(self).__name__
        check_number(owner, "peak", self.peak, least=0.0)
        check_number(owner, "floor", self.floor, least=0.0)
        check_option(owner, "unit", self.unit, UNITS)
        if self.length is not None:
            check_number(owner, "length", self.length, above=0.0)

    @property
    def base(self) -> Number:
        return self.peak

    @abc.abstractmethod
    def share(self, left: jax.Array) -> jax.Array:
        """The share of peak − floor at a time when the share ``left`` of the length is to come."""

    def __call__(self, step: Any) -> jax.Array:
        _check_ready(self)
        # (T - t)/T rather than 1 - t/T: the subtraction is exact, so the end is as accurate as the start.
        left = (self.length - jnp.minimum(_time(step), self.length)) / self.length
        return self.floor + (self.peak - self.floor) * self.share(left)

    def bound_to(self, run: Run) -> Schedule:
        _check_drawn(self)
        length = run.left if self.length is None else _steps(self.length, self.unit, run)
        return type(self)(self.peak, length, self.floor, "steps")


class Cosine(_Decay):
    """floor + ½ (peak − floor)(1 + cos(π t / length)), then floor.

    Arguments:
        peak: the rate at first.
        length: time T until the floor; None: what is left of the run.
        floor: the last rate.
        unit: of ``length``: "steps", "epochs", or "run" (share of the whole run).

    Loshchilov & Hutter 2017, one cycle.
    """

    def share(self, left: jax.Array) -> jax.Array:
        # ½(1 + cos πx) = sin²(π(1 - x)/2), without the cancellation near the end.
        return jnp.square(jnp.sin(jnp.pi / 2 * left))


class Linear(_Decay):
    """floor + (peak − floor)(1 − t / length), then floor.

    The arguments are those of `Cosine`.
    """

    def share(self, left: jax.Array) -> jax.Array:
        return left


class InverseSqrt(Schedule):
    """peak / √t with t = step + 1, so that the first rate is the peak."""

    peak: Number

    def __check_init__(self) -> None:
        check_number("InverseSqrt", "peak", self.peak, least=0.0)

    @property
    def base(self) -> Number:
        return self.peak

    def __call__(self, step: Any) -> jax.Array:
        _check_ready(self)
        return self.peak / jnp.sqrt(_time(step) + 1)


class Warmup(Schedule):
    """A linear rise from 0, then another schedule (Goyal et al. 2017).

    At a step t < steps the rate is then(0) · t / steps, afterwards
    then(t − steps): the convention of Optax's ``join_schedules``.

    Arguments:
        steps: how long the rise takes; 0 is no warm-up. About 5,000 are usual.
        then: the schedule that follows (a number is a constant). One without a
            length gets what the warm-up leaves of the run.
        unit: of ``steps``: "steps", "epochs", or "run" (share of the whole run).
    """

    steps: Number
    then: Any = eqx.field(converter=as_schedule)
    unit: str = eqx.field(default="steps", static=True)

    def __check_init__(self) -> None:
        check_number("Warmup", "steps", self.steps, least=0.0)
        check_option("Warmup", "unit", self.unit, UNITS)

    @property
    def base(self) -> Number:
        return self.then.base

    def __call__(self, step: Any) -> jax.Array:
        _check_ready(self)
        time = _time(step)
        risen = time / jnp.where(jnp.asarray(self.steps) > 0, self.steps, 1)
        return jnp.where(time < self.steps, self.then(0) * risen, self.then(jnp.maximum(time - self.steps, 0)))

    def bound_to(self, run: Run) -> Schedule:
        _check_drawn(self)
        steps = _steps(self.steps, self.unit, run)
        # A warm-up that outlasts the run leaves no steps; the length 1 stands for "none" and is never reached.
        left = _larger(run.left - steps, 1)
        return Warmup(steps, self.then.bound_to(run._replace(left=left)), "steps")


class CosineRestarts(Schedule):
    """Cosine cycles with warm restarts, SGDR.

    Cycle i lasts T_i = period · growth^i; within it the rate is
    floor + ½ (peak − floor)(1 + cos(π t_i / T_i)), t_i steps after its restart.

    Arguments:
        peak: the rate at each restart.
        period: length of the first cycle (T_0).
        growth: how much longer each cycle is than the one before (T_mult), ≥ 1.
        floor: the rate that each cycle falls towards.
        unit: of ``period``: "steps", "epochs", or "run" (share of the run).

    Exact at the restarts while these are whole steps below 2^24 in float32.
    Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts".
    """

    peak: Number
    period: Number
    growth: Number = 1.0
    floor: Number = 0.0
    unit: str = eqx.field(default="steps", static=True)

    def __check_init__(self) -> None:
        check_number("CosineRestarts", "peak", self.peak, least=0.0)
        check_number("CosineRestarts", "period", self.period, above=0.0)
        check_number("CosineRestarts", "growth", self.growth, least=1.0)
        check_number("CosineRestarts", "floor", self.floor, least=0.0)
        check_option("CosineRestarts", "unit", self.unit, UNITS)

    @property
    def base(self) -> Number:
        return self.peak

    def __call__(self, step: Any) -> jax.Array:
        _check_ready(self)
        time = _time(step)
        start, scale = _cycle(time / self.period, jnp.asarray(self.growth, time.dtype))
        length = self.period * scale
        left = (length - (time - self.period * start)) / length
        return self.floor + (self.peak - self.floor) * jnp.square(jnp.sin(jnp.pi / 2 * left))

    def bound_to(self, run: Run) -> Schedule:
        _check_drawn(self)
        period = _steps(self.period, self.unit, run)
        return CosineRestarts(self.peak, period, self.growth, self.floor, "steps")


class BatchScaled(Schedule):
    """The linear scaling rule: N times the batch, N times the rate.

    Binding to a run multiplies ``schedule`` by batch_size / base_batch; until
    then it cannot be called. Goyal et al. 2017, whose rate of 0.1 is for
    batches of 256.
    """

    schedule: Any = eqx.field(converter=as_schedule)
    base_batch: Number = 256

    def __check_init__(self) -> None:
        check_number("BatchScaled", "base_batch", self.base_batch, above=0.0)

    @property
    def base(self) -> Number:
        return self.schedule.base

    def __call__(self, step: Any) -> jax.Array:
        raise UsageError("BatchScaled: the batch size is not known yet; call bind(...) first")

    def bound_to(self, run: Run) -> Schedule:
        _check_drawn(self)
        return Scaled(self.schedule.bound_to(run), run.batch_size / self.base_batch)


class Scaled(Schedule):
    """factor · schedule(step)."""

    schedule: Any = eqx.field(converter=as_schedule)
    factor: Number = 1.0

    def __check_init__(self) -> None:
        check_number("Scaled", "factor", self.factor, least=0.0)

    @property
    def base(self) -> Number:
        return self.factor * self.schedule.base

    def __call__(self, step: Any) -> jax.Array:
        _check_ready(self)
        return self.factor * self.schedule(step)

    def bound_to(self, run: Run) -> Schedule:
        return Scaled(self.schedule.bound_to(run), self.factor)


def bind_all(tree: T, *, steps: int, steps_per_epoch: int, batch_size: int) -> T:
    """Return the tree (a recipe, an optimizer) with every schedule in it bound to the run."""

    def bound(node: Any) -> Any:
        if isinstance(node, Schedule):
            return node.bind(steps=steps, steps_per_epoch=steps_per_epoch, batch_size=batch_size)
        return node

    return jax.tree.map(bound, tree, is_leaf=lambda node: isinstance(node, Schedule))


@jax.jit  # compiled once, also where a schedule is called outside of a program
def _cycle(periods: jax.Array, growth: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (start, growth^i) of the cycle i that holds a time, all in first periods.

    The start is the geometric sum S(i) = 1 + growth + ... + growth^(i-1), formed
    by doubling, S(2k) = S(k)(1 + growth^k): no cancellation, exact in whole
    numbers, and growth = 1 is no special case. A logarithm finds i but for
    rounding; so it starts one cycle early and moves on while the next one has
    begun, which is decided by the exact sums.
    """
    ones = jnp.ones_like(periods)
    rise = growth - 1
    safe = jnp.where(rise > 0, rise, 1)
    by_log = jnp.log1p(safe * periods) / jnp.log1p(safe)
    index = jnp.maximum(jnp.floor(jnp.where(rise > 0, by_log, periods)) - 1, 0).astype(jnp.int32)

    def double(k: Any, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        start, scale = carry
        start, scale = start * (1 + scale), scale * scale
        odd = (index >> (30 - k)) & 1 == 1
        return jnp.where(odd, 1 + growth * start, start), jnp.where(odd, scale * growth, scale)

    start, scale = jax.lax.fori_loop(0, 31, double, (0 * ones, ones))
    for _ in range(3):
        following = 1 + growth * start
        begun = periods >= following
        start, scale = jnp.where(begun, following, start), jnp.where(begun, scale * growth, scale)
    return start, scale


def _time(step: Any) -> jax.Array:
    return jnp.asarray(step).astype(jnp.result_type(float))


def _like(value: Any, step: Any) -> jax.Array:
    return value + jnp.zeros_like(_time(step))


def _steps(value: Number, unit: str, run: Run) -> Number:
    """Convert a time to steps."""
    if unit == "epochs":
        return value * run.steps_per_epoch
    return value * run.whole if unit == "run" else value


def _larger(value: Number, least: int) -> Number:
    return max(value, least) if isinstance(value, (int, float)) else jnp.maximum(value, least)


def _check_drawn(schedule: Schedule) -> None:
    """Raise a UsageError if a number of the schedule is still a range or a choice."""
    for field in dataclasses.fields(schedule):
        value = getattr(schedule, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if is_open(item):
                raise UsageError(
                    f"{type(schedule).__name__}: {field.name} is {item!r}; a search space has no values: "
                    "draw a trial from it, or give a number"
                )


def _check_ready(schedule: Schedule) -> None:
    """Raise a UsageError unless the schedule can be called."""
    _check_drawn(schedule)
    name = type(schedule).__name__
    unit, length = getattr(schedule, "unit", "steps"), getattr(schedule, "length", 0)
    if unit != "steps" or length is None:
        missing = "its length" if length is None else f"the number of steps in its unit {unit!r}"
        raise UsageError(
            f"{name}: {missing} is not known yet; call bind(steps=..., steps_per_epoch=..., batch_size=...) first, "
            "or give it in steps"
        )

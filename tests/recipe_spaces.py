"""Hypothesis strategies: recipes and search spaces over every part, convention and range."""

from __future__ import annotations

from hypothesis import strategies as st

from thalweg import losses, models, optimizers, penalties, schedules
from thalweg.optimizers.conventions import CONVENTIONS, convention_of
from thalweg.ranges import Choice, Integers, LogUniform, Uniform
from thalweg.recipe import Recipe

UNITS = st.sampled_from(("steps", "epochs", "run"))


def _pair(low: float, high: float) -> st.SearchStrategy[list[float]]:
    numbers = st.floats(low, high, exclude_max=high == 1)
    return st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted)


def numbers(low: float = 1e-6, high: float = 100.0, *, spaces: bool = True) -> st.SearchStrategy:
    """A number in [low, high], or where spaces are wanted a range or a choice of such."""
    plain = st.floats(low, high, exclude_max=high == 1)
    if not spaces:
        return plain
    ranges = [plain, plain, _pair(low, high).map(lambda ends: Uniform(*ends))]
    if low > 0:
        ranges.append(_pair(low, high).map(lambda ends: LogUniform(*ends)))
    one = st.one_of(ranges)
    return one | st.lists(one, min_size=1, max_size=3).map(lambda options: Choice(tuple(options)))


def wholes(low: int, high: int, *, spaces: bool = True) -> st.SearchStrategy:
    plain = st.integers(low, high)
    if not spaces:
        return plain
    ranges = st.tuples(st.integers(low, high - 1), st.integers(1, 5)).map(lambda t: Integers(t[0], t[0] + t[1]))
    options = st.lists(plain | ranges, min_size=1, max_size=3).map(lambda found: Choice(tuple(found)))
    return plain | ranges | options


def flags(*, spaces: bool = True) -> st.SearchStrategy:
    return st.booleans() | st.just(Choice((True, False))) if spaces else st.booleans()


def _optional(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


def schedule_parts(*, spaces: bool = True) -> st.SearchStrategy:
    n = numbers(spaces=spaces)
    decay = {"peak": n, "length": _optional(n), "floor": numbers(0.0, spaces=spaces), "unit": UNITS}
    plain = st.one_of(
        st.builds(schedules.Constant, n),
        st.builds(schedules.Step, n, st.lists(n, max_size=3).map(tuple), numbers(0.0, spaces=spaces), UNITS),
        st.builds(schedules.Cosine, **decay),
        st.builds(schedules.Linear, **decay),
        st.builds(schedules.InverseSqrt, n),
        st.builds(schedules.CosineRestarts, n, n, numbers(1.0, spaces=spaces), numbers(0.0, spaces=spaces), UNITS),
    )
    several = st.lists(plain, min_size=1, max_size=3).map(lambda parts: Choice(tuple(parts)))
    base = plain | several if spaces else plain
    return st.one_of(
        base,
        st.builds(schedules.Warmup, numbers(0.0, spaces=spaces), base, UNITS),
        st.builds(schedules.BatchScaled, base, n),
    )


def _conventional(cls: type, fields: dict[str, st.SearchStrategy], needed: tuple[str, ...], *, spaces: bool):
    """An optimizer in each convention; what a convention has no default for is always given."""

    def build(convention: str) -> st.SearchStrategy:
        defaults = convention_of(cls.name, convention).defaults
        given = {n: s if n in needed and n not in defaults else _optional(s) for n, s in fields.items()}
        return st.builds(cls, convention=st.just(convention), **given)

    single = st.sampled_from(CONVENTIONS).flatmap(build)
    if not spaces:
        return single
    # While the convention is open, each trial's constructor fills in: so all that any of them lacks is given.
    every = {n: s if n in needed else _optional(s) for n, s in fields.items()}
    return single | st.builds(cls, convention=st.just(Choice(CONVENTIONS)), **every)


def optimizer_parts(*, spaces: bool = True) -> st.SearchStrategy:
    share, n = numbers(0.0, 1.0, spaces=spaces), numbers(spaces=spaces)
    rate = schedule_parts(spaces=spaces) | n
    decay = numbers(0.0, spaces=spaces)
    flag = flags(spaces=spaces)
    adam = {"learning_rate": rate, "beta1": share, "beta2": share, "epsilon": n, "weight_decay": decay}
    momenta = share | st.just(Choice((None, 0.5, 0.9))) if spaces else share
    return st.one_of(
        _conventional(
            optimizers.SGD,
            {"learning_rate": rate, "momentum": momenta, "weight_decay": decay, "form": st.just("inside")},
            ("learning_rate",),
            spaces=spaces,
        ),
        _conventional(
            optimizers.SGD,
            {"learning_rate": rate, "momentum": share, "nesterov": st.just(True)},
            ("learning_rate", "momentum", "nesterov"),
            spaces=spaces,
        ),
        _conventional(
            optimizers.AdaGrad,
            {"learning_rate": rate, "epsilon": n, "initial_accumulator": decay, "weight_decay": decay},
            ("learning_rate",),
            spaces=spaces,
        ),
        _conventional(
            optimizers.RMSProp,
            {"learning_rate": rate, "decay": share, "epsilon": n, "momentum": share, "weight_decay": decay}
            | {"centered": flag},
            ("learning_rate", "centered"),
            spaces=spaces,
        ),
        _conventional(
            optimizers.Adam, adam | {"bias_correction": flag}, ("learning_rate", "bias_correction"), spaces=spaces
        ),
        _conventional(
            optimizers.AdamW,
            adam | {"bias_correction": flag, "decay_scaling": st.sampled_from(("rate", "multiplier"))},
            ("learning_rate", "bias_correction", "decay_scaling"),
            spaces=spaces,
        ),
        st.builds(optimizers.RandomSearch, wholes(1, 1000, spaces=spaces), n),
    )


def penalty_parts(*, spaces: bool = True) -> st.SearchStrategy:
    n = numbers(0.0, spaces=spaces)
    return st.one_of(
        st.builds(penalties.NoPenalty),
        st.builds(penalties.L1, n),
        st.builds(penalties.L2, n),
        st.builds(penalties.ElasticNet, n, n),
    )


def _each(part: st.SearchStrategy, spaces: bool) -> st.SearchStrategy:
    several = st.lists(part, min_size=1, max_size=2).map(lambda parts: Choice(tuple(parts)))
    return part | several if spaces else part


def recipes(*, spaces: bool = True) -> st.SearchStrategy[Recipe]:
    """A recipe of any parts; with ``spaces`` (the default) any number, flag or part of it may be open."""
    batch = wholes(1, 512, spaces=spaces) | st.just("full")
    if spaces:
        batch |= st.just(Choice(("full", 32)))
    return st.builds(
        Recipe,
        model=_each(st.builds(models.Linear, numbers(0.0, spaces=spaces), flags(spaces=spaces)), spaces),
        loss=_each(st.sampled_from((losses.Softmax(), losses.Hinge())), spaces),
        penalty=_each(penalty_parts(spaces=spaces), spaces),
        optimizer=_each(optimizer_parts(spaces=spaces), spaces),
        batch_size=batch,
        epochs=wholes(1, 100, spaces=spaces),
        seed=wholes(0, 2**32 - 10, spaces=spaces),
    )

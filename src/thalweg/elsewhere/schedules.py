"""A learning-rate schedule as plain Python functions of the step, from `rate` down to those it is made of."""

from __future__ import annotations

from collections.abc import Callable

from thalweg.elsewhere.setting import number, refuse
from thalweg.schedules import (
    BatchScaled,
    Constant,
    Cosine,
    CosineRestarts,
    InverseSqrt,
    Linear,
    Scaled,
    Schedule,
    Step,
    Warmup,
)

__all__ = ["rate_functions"]

# The script's own names: STEPS in the run, PER_EPOCH of them an epoch, BATCH examples in each.
_UNITS = {"steps": "{}", "epochs": "{} * PER_EPOCH", "run": "{} * STEPS"}


def rate_functions(schedule: Schedule) -> list[str]:
    """Return the source of ``rate(step)``, after that of the functions that it calls."""
    return _functions(schedule, "rate", "STEPS")


def _functions(schedule: Schedule, name: str, left: str) -> list[str]:
    """``left`` says in the script's names how many steps remain where the schedule begins."""
    kind = type(schedule)
    if type(schedule) is Warmup:
        inner, steps = f"{name}_after_warmup", _time(schedule.steps, schedule.unit)
        body = [
            f"warmup = {steps}",
            "if step < warmup:",
            f"    return {inner}(0) * step / warmup",
            f"return {inner}(step - warmup)",
        ]
        told = "The learning rate of step 0, 1, 2, ...: a linear rise from 0, and then"
        return [
            *_functions(schedule.then, inner, f"max({left} - {steps}, 1)"),
            _function(name, f"{told} {inner}.", body),
        ]
    if type(schedule) is BatchScaled:
        return _scaled(schedule.schedule, f"BATCH / {number(schedule.base_batch)}", name, left)
    if type(schedule) is Scaled:
        return _scaled(schedule.schedule, number(schedule.factor), name, left)
    if kind not in _BODIES:
        raise refuse(f"the schedule {kind.__name__}", "only those of thalweg.schedules are known")
    return [_function(name, "The learning rate of step 0, 1, 2, ...", _BODIES[kind](schedule, left))]


def _scaled(schedule: Schedule, factor: str, name: str, left: str) -> list[str]:
    inner = f"{name}_unscaled"
    told = f"The learning rate of step 0, 1, 2, ...: {inner}, scaled."
    return [*_functions(schedule, inner, left), _function(name, told, [f"return {factor} * {inner}(step)"])]


def _constant(schedule: Constant, left: str) -> list[str]:
    return [f"return {number(schedule.value)}"]


def _step(schedule: Step, left: str) -> list[str]:
    times = ", ".join(_time(at, schedule.unit) for at in schedule.at)
    passed = f"sum(step >= time for time in [{times}])"
    return [f"passed = {passed}", f"return {number(schedule.initial)} * {number(schedule.factor)} ** passed"]


def _cosine(schedule: Cosine, left: str) -> list[str]:
    return [*_length(schedule, left), _fall(schedule, "(1 + math.cos(math.pi * min(step / length, 1))) / 2")]


def _linear(schedule: Linear, left: str) -> list[str]:
    return [*_length(schedule, left), _fall(schedule, "(1 - min(step / length, 1))")]


def _inverse_sqrt(schedule: InverseSqrt, left: str) -> list[str]:
    return [f"return {number(schedule.peak)} / math.sqrt(step + 1)"]


def _restarts(schedule: CosineRestarts, left: str) -> list[str]:
    return [
        f"start, length = 0, {_time(schedule.period, schedule.unit)}",
        "while step >= start + length:",
        f"    start, length = start + length, length * {number(schedule.growth)}",
        _fall(schedule, "(1 + math.cos(math.pi * (step - start) / length)) / 2"),
    ]


_BODIES: dict[type, Callable[..., list[str]]] = {
    Constant: _constant,
    Step: _step,
    Cosine: _cosine,
    Linear: _linear,
    InverseSqrt: _inverse_sqrt,
    CosineRestarts: _restarts,
}


def _length(schedule: Cosine | Linear, left: str) -> list[str]:
    return [f"length = {left if schedule.length is None else _time(schedule.length, schedule.unit)}"]


def _fall(schedule: Cosine | Linear | CosineRestarts, share: str) -> str:
    peak, floor = number(schedule.peak), number(schedule.floor)
    if float(schedule.floor) == 0:
        return f"return {peak} * {share}"
    return f"return {floor} + ({peak} - {floor}) * {share}"


def _time(value: object, unit: str) -> str:
    return _UNITS[unit].format(number(value))


def _function(name: str, told: str, body: list[str]) -> str:
    return "\n".join([f"def {name}(step):", f'    """{told}"""', *(f"    {line}" for line in body)])

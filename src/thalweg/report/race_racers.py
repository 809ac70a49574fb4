"""The racers that the page of a race runs by itself, and their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thalweg.errors import UsageError
from thalweg.optimizers import SGD, AdaGrad, Adam, RMSProp
from thalweg.schedules import Constant

__all__ = ["live_racers"]

_DEFAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "sgd", "name": "SGD", "on": True},
    {"kind": "momentum", "name": "Momentum", "on": True, "momentum": 0.9},
    {"kind": "nesterov", "name": "Nesterov", "on": True, "momentum": 0.9},
    {"kind": "adagrad", "name": "AdaGrad", "on": False, "epsilon": 1e-7},
    {"kind": "rmsprop", "name": "RMSProp", "on": True, "decay": 0.99, "epsilon": 1e-7},
    {"kind": "adam", "name": "Adam", "on": True, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    {"kind": "newton", "name": "Newton, plain", "on": False},
)


def live_racers(racers: Sequence[Any] | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the page's racers: the given optimizers that it can run, and the default of each kind not among them.

    Raises UsageError where there are not as many optimizers as names.
    """
    if racers is not None and len(racers) != len(names):
        raise UsageError(f"racers holds {len(racers)} for a race of {len(names)}; give the race's own list")
    given = []
    for racer, name in zip(racers or (), names, strict=False):
        numbers = _numbers(racer)
        if numbers is not None:
            given.append({**numbers, "name": name, "on": True, "given": True})
    # A race names a racer by its rate, which a slider soon makes untrue.
    short = [one["name"].removesuffix(f" {one['rate']:.3g}") for one in given]
    if len(set(short)) == len(short):
        given = [{**one, "name": name} for one, name in zip(given, short, strict=True)]
    kinds = {one["kind"] for one in given}
    # Where a race brings its own, the others wait until they are asked for.
    rest = [{**one, "on": one["on"] and not given} for one in _DEFAULTS if one["kind"] not in kinds]
    return [*given, *({"given": False, "rate": 0.01, **one} for one in rest)]


def _numbers(racer: Any) -> dict[str, Any] | None:
    """Return an optimizer's kind and numbers, or None where the page has not its formula."""
    if getattr(racer, "convention", None) != "thalweg" or getattr(racer, "weight_decay", None) is not None:
        return None
    if type(getattr(racer, "learning_rate", None)) is not Constant:
        return None
    rate = {"rate": float(racer.learning_rate.base)}
    if type(racer) is SGD and racer.dampening is None:
        if racer.momentum is None:
            return {"kind": "sgd", **rate}
        return {"kind": "nesterov" if racer.nesterov else "momentum", **rate, "momentum": float(racer.momentum)}
    if type(racer) is AdaGrad and racer.initial_accumulator == 0:
        return {"kind": "adagrad", **rate, "epsilon": float(racer.epsilon)}
    if type(racer) is RMSProp and racer.momentum is None and not racer.centered:
        return {"kind": "rmsprop", **rate, "decay": float(racer.decay), "epsilon": float(racer.epsilon)}
    if type(racer) is Adam and racer.bias_correction is True:
        return {
            "kind": "adam", **rate, "beta1": float(racer.beta1), "beta2": float(racer.beta2),
            "epsilon": float(racer.epsilon),
        }  # fmt: skip
    return None

"""What `thalweg race` reads: landscapes, optimizers and points, as words."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from thalweg.errors import UsageError, nearest
from thalweg.landscapes import (
    Beale,
    Hill,
    Himmelblau,
    Landscape,
    MonkeySaddle,
    Noisy,
    Quadratic,
    Rastrigin,
    Rosenbrock,
    Saddle,
)
from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, RMSProp, ScheduleFreeAdamW, ScheduleFreeSGD
from thalweg.solvers import BFGS, LBFGS, Newton

__all__ = ["KINDS", "LANDSCAPES", "SOLVERS", "USUAL", "Entry", "entries", "landscape_of", "point_of"]

LANDSCAPES: Mapping[str, type[Landscape]] = {
    "quadratic": Quadratic,
    "saddle": Saddle,
    "monkey-saddle": MonkeySaddle,
    "rosenbrock": Rosenbrock,
    "beale": Beale,
    "himmelblau": Himmelblau,
    "rastrigin": Rastrigin,
    "hill": Hill,
}
# Each with the numbers it has unless told otherwise.
KINDS: Mapping[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "sgd": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9}),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "adagrad": (AdaGrad, {}),
    "rmsprop": (RMSProp, {}),
    "adam": (Adam, {}),
    "adamw": (AdamW, {}),
    "lion": (Lion, {}),
    "schedule-free-sgd": (ScheduleFreeSGD, {}),
    "schedule-free-adamw": (ScheduleFreeAdamW, {}),
}
SOLVERS: Mapping[str, Callable[..., Any]] = {"newton": Newton, "bfgs": BFGS, "l-bfgs": LBFGS}
USUAL = "sgd,momentum,nesterov,adagrad,rmsprop,adam,newton,bfgs,l-bfgs"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of --optimizers: a solver, or a function of the learning rate with the rate asked for."""

    kind: str
    make: Callable[..., Any]
    rate: float | None = None

    @property
    def solver(self) -> bool:
        return self.kind in SOLVERS


def landscape_of(name: str, condition: float | None, noise: float | None) -> Landscape:
    """Return the landscape of a name, with its options."""
    plain = name.lower().replace("_", "-")
    if plain not in LANDSCAPES:
        raise UsageError(f"LANDSCAPE is {name!r}; give one of {', '.join(LANDSCAPES)}{nearest(plain, LANDSCAPES)}")
    kind = LANDSCAPES[plain]
    if condition is not None and kind is not Quadratic:
        raise UsageError(f"--condition is the quadratic's; {plain} has none: leave it out")
    landscape = kind() if condition is None else Quadratic(condition)
    return landscape if noise is None else Noisy(landscape, noise)


def entries(text: str) -> list[Entry]:
    """Return what --optimizers names: KIND[:RATE][:KEY=VALUE]..., separated by commas."""
    return [_entry(part.strip()) for part in text.split(",")]


def _entry(text: str) -> Entry:
    word, *rest = text.split(":")
    kind = word.strip().lower().replace("_", "-")
    kind = "l-bfgs" if kind == "lbfgs" else kind
    known = {**{name: make for name, (make, _) in KINDS.items()}, **SOLVERS}
    if kind not in known:
        raise UsageError(f"--optimizers names {word!r}; give {', '.join(known)}{nearest(kind, known)}")
    numbers = [part for part in rest if "=" not in part]
    pairs = [part.partition("=") for part in rest if "=" in part]
    options = {key.strip(): _value(value) for key, _, value in pairs}
    _check_options(text, known[kind], options)
    if kind in SOLVERS:
        if numbers:
            raise UsageError(f"--optimizers has {text!r}; a solver has no learning rate: write {kind} alone")
        return Entry(kind, functools.partial(SOLVERS[kind], **options))
    if len(numbers) > 1:
        raise UsageError(f"--optimizers has {text!r}; give one rate, as in {kind}:0.01, and the rest as KEY=VALUE")
    make, usual = KINDS[kind]
    rate = _number(numbers[0], f"--optimizers has {text!r}; its rate") if numbers else None
    return Entry(kind, functools.partial(make, **{**usual, **options}), rate)


def _check_options(text: str, make: Callable[..., Any], options: dict[str, Any]) -> None:
    known = [name for name in inspect.signature(make).parameters if name not in ("self", "learning_rate")]
    for key in options:
        if key not in known:
            raise UsageError(f"--optimizers has {text!r}; {key!r} is none of {', '.join(known)}{nearest(key, known)}")


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{what} is {text!r}; give a number") from None


def point_of(text: str) -> tuple[float, float]:
    """Return the point that --start names, X,Y."""
    parts = text.split(",")
    if len(parts) != 2:
        raise UsageError(f"--start is {text!r}; give two numbers, X,Y, such as --start -1.2,1")
    x, y = (_number(part, f"--start is {text!r}; a coordinate") for part in parts)
    return x, y

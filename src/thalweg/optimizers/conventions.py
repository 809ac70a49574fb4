"""Conventions: what Thalweg, PyTorch, Optax and Keras mean by one optimizer's name.

The same name stands for other sequences of numbers in other libraries: ε inside
or outside the root, another start of the accumulator, momentum that stores the
rate or does not, other defaults. All such differences are rows of the one table
below; an optimizer's update reads them, and a numeric argument left out takes
its convention's default. An optimizer that is in none of these libraries, or in
a package of its own, brings its rows as its class's ``ROWS``.

"thalweg" is the specification's formulas with its defaults. The other three
follow PyTorch 2, Optax 0.2 and Keras 3, as tests over 200 steps hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thalweg.errors import UsageError
from thalweg.fields import Number, check_option, is_open

__all__ = ["CONVENTIONS", "Convention", "convention_of", "rows_of", "with_defaults"]

CONVENTIONS = ("thalweg", "torch", "optax", "keras")
"""Whose exact sequence of updates an optimizer follows."""
OPTIONAL = frozenset({"momentum", "dampening", "weight_decay"})


@dataclass(frozen=True)
class Convention:
    """How one library carries out one optimizer.

    Attributes:
        defaults: of the numbers that the optimizer takes.
        epsilon: ε's place: "outside" √s + ε; "inside" √(s + ε); "uncorrected"
            √s + ε before the bias correction, so √ŝ + ε/√(1 − β2ᵗ) after it.
        rate: its place in momentum: "outside" the buffer, v = ρv + g, x −= αv,
            or "inside" it, v = ρv − αg, x += v. They differ when α changes.
        nesterov_rate: the same for Nesterov's momentum.
        dampens_first: whether dampening acts on the buffer's first value too.
        decay: weight decay is "coupled" (λx joins g) or "decoupled" (x −= αλx
            beside the step).
        decays_biases: whether weight decay acts on biases too.
    """

    defaults: Mapping[str, float] = field(default_factory=dict)
    epsilon: str = "outside"
    rate: str = "outside"
    nesterov_rate: str = "outside"
    dampens_first: bool = True
    decay: str = "coupled"
    decays_biases: bool = True


_THALWEG: dict[str, Any] = {"nesterov_rate": "inside", "decays_biases": False}  # rows E4 and E5; "biases never"
_TORCH: dict[str, Any] = {"dampens_first": False}
_OPTAX: dict[str, Any] = {}  # decay is optax.add_decayed_weights, chained before: coupled
_KERAS: dict[str, Any] = {"rate": "inside", "nesterov_rate": "inside", "decay": "decoupled"}
_ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}

_TABLE = {
    ("SGD", "thalweg"): Convention(**_THALWEG),
    ("SGD", "torch"): Convention({"learning_rate": 1e-3}, **_TORCH),
    ("SGD", "optax"): Convention(**_OPTAX),
    ("SGD", "keras"): Convention({"learning_rate": 1e-2}, **_KERAS),
    ("AdaGrad", "thalweg"): Convention({"epsilon": 1e-7, "initial_accumulator": 0.0}, **_THALWEG),
    ("AdaGrad", "torch"): Convention({"learning_rate": 1e-2, "epsilon": 1e-10, "initial_accumulator": 0.0}, **_TORCH),
    ("AdaGrad", "optax"): Convention({"epsilon": 1e-7, "initial_accumulator": 0.1}, "inside", **_OPTAX),
    ("AdaGrad", "keras"): Convention(
        {"learning_rate": 1e-3, "epsilon": 1e-7, "initial_accumulator": 0.1}, "inside", **_KERAS
    ),
    ("RMSProp", "thalweg"): Convention({"decay": 0.99, "epsilon": 1e-7}, **_THALWEG),
    ("RMSProp", "torch"): Convention({"learning_rate": 1e-2, "decay": 0.99, "epsilon": 1e-8}, **_TORCH),
    ("RMSProp", "optax"): Convention({"decay": 0.9, "epsilon": 1e-8}, "inside", "inside", **_OPTAX),
    ("RMSProp", "keras"): Convention({"learning_rate": 1e-3, "decay": 0.9, "epsilon": 1e-7}, "inside", **_KERAS),
    ("Adam", "thalweg"): Convention({"learning_rate": 1e-3, **_ADAM}, **_THALWEG),
    ("Adam", "torch"): Convention({"learning_rate": 1e-3, **_ADAM}, **_TORCH),
    ("Adam", "optax"): Convention(_ADAM, **_OPTAX),
    ("Adam", "keras"): Convention({"learning_rate": 1e-3, **_ADAM, "epsilon": 1e-7}, "uncorrected", **_KERAS),
    ("AdamW", "thalweg"): Convention(
        {"learning_rate": 1e-3, **_ADAM, "weight_decay": 1e-2}, decay="decoupled", **_THALWEG
    ),
    ("AdamW", "torch"): Convention({"learning_rate": 1e-3, **_ADAM, "weight_decay": 1e-2}, decay="decoupled", **_TORCH),
    ("AdamW", "optax"): Convention({**_ADAM, "weight_decay": 1e-4}, decay="decoupled", **_OPTAX),
    ("AdamW", "keras"): Convention(
        {"learning_rate": 1e-3, **_ADAM, "epsilon": 1e-7, "weight_decay": 4e-3}, "uncorrected", **_KERAS
    ),
}


def convention_of(optimizer: str, convention: str) -> Convention:
    """Return a row of the table: how ``convention`` carries out ``optimizer``."""
    return _TABLE[optimizer, convention]


def rows_of(optimizer: str) -> dict[str, Convention]:
    """Return the rows of one optimizer by their convention."""
    return {convention: row for (name, convention), row in _TABLE.items() if name == optimizer}


def with_defaults(
    optimizer: str, rows: Mapping[str, Convention], convention: Any, numbers: Mapping[str, Number]
) -> dict[str, Number]:
    """Return the numbers with each None replaced by the convention's default.

    While the convention itself is a choice nothing is filled in: each trial's
    construction does that. A number without a default raises a UsageError,
    unless it is one whose absence has a meaning (`OPTIONAL`): it stays None.
    So does a convention that is not among the optimizer's rows.
    """
    check_option(optimizer, "convention", convention, tuple(rows))
    if is_open(convention):
        return dict(numbers)
    defaults = rows[convention].defaults
    filled = {name: defaults.get(name) if value is None else value for name, value in numbers.items()}
    for name, value in filled.items():
        if value is None and name not in OPTIONAL:
            raise UsageError(f"{optimizer}: {name} is not given, and convention {convention!r} has no default; give it")
    return filled

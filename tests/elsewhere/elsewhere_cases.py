"""What the tests of generated code share: optimizers of every kind, and the running of scripts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import thalweg as tw
from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, RMSProp
from thalweg.schedules import Cosine, Warmup

STEPS = 6
EXAMPLES, SHAPE, CLASSES = 60, (2, 3), ("ant", "bee", "cat")
RATE = Warmup(2, Cosine(0.05))
CONVENTIONS = ("thalweg", "torch", "optax", "keras")

# Every flag that changes the update, in every convention; the learning rate changes, since some differences show only
# then, but for the last ones.
OPTIMIZERS: list[Any] = [
    *(SGD(RATE, weight_decay=0.1, convention=c) for c in CONVENTIONS),
    *(SGD(RATE, momentum=0.9, convention=c) for c in CONVENTIONS),
    *(SGD(RATE, momentum=0.8, dampening=0.3, weight_decay=0.01, convention=c) for c in CONVENTIONS),
    *(SGD(RATE, momentum=0.7, nesterov=True, convention=c) for c in CONVENTIONS),
    SGD(RATE, momentum=0.7, nesterov=True, form="lookahead"),
    SGD(RATE, momentum=0.0, nesterov=True, form="outside"),
    *(AdaGrad(RATE, initial_accumulator=0.3, epsilon=1e-2, weight_decay=0.1, convention=c) for c in CONVENTIONS),
    *(RMSProp(RATE, epsilon=1e-3, convention=c) for c in CONVENTIONS),
    *(RMSProp(RATE, momentum=0.6, centered=True, epsilon=1e-2, weight_decay=0.1, convention=c) for c in CONVENTIONS),
    *(Adam(RATE, beta1=0.8, beta2=0.99, epsilon=1e-2, weight_decay=0.1, convention=c) for c in CONVENTIONS),
    Adam(RATE, bias_correction=False),
    *(AdamW(RATE, weight_decay=0.3, epsilon=1e-2, convention=c) for c in CONVENTIONS),
    AdamW(RATE, weight_decay=0.003, decay_scaling="multiplier"),
    AdamW(RATE, weight_decay=0.0),
    *(Lion(RATE, weight_decay=0.1, convention=c) for c in ("thalweg", "optax")),
    SGD(0.05, momentum=0.9, form="inside"),
    SGD(0.05, momentum=0.7, nesterov=True),
    SGD(0.05, momentum=0.7, nesterov=True, convention="torch"),
]


def name_of(optimizer: Any) -> str:
    """A short name for a test's id."""
    shown = {k: v for k, v in vars(optimizer).items() if k not in ("learning_rate", "convention") and v is not None}
    rest = "-".join(f"{k}={v}" for k, v in shown.items() if not k.startswith("one_minus"))
    return f"{optimizer.name}-{optimizer.convention}-{rest}"


def code_for(recipe: tw.Recipe, to: str, **options: Any) -> str:
    """The code of a recipe for the small problem above."""
    return tw.elsewhere.code(recipe, to, **({"examples": EXAMPLES, "shape": SHAPE, "classes": CLASSES} | options))


def executed(text: str) -> dict[str, Any]:
    """Run a script's definitions, and return them."""
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "script.py", "exec"), names)
    return names


@contextlib.contextmanager
def as_users_do() -> Iterator[None]:
    """Within it JAX extends ranks silently, as it does for users: scripts write bias rows as usual."""
    with jax.numpy_rank_promotion("allow"):
        yield


def gradients(seed: int = 0) -> list[dict[str, np.ndarray]]:
    """A gradient for every step, of weights and a bias; one weight's is 0 at first."""
    generator = np.random.default_rng(seed)
    found = [{"weight": generator.normal(size=(3, 6)), "bias": generator.normal(size=3)} for _ in range(STEPS)]
    for step in range(2):
        found[step]["weight"][0, 0] = 0
    return found


def start() -> dict[str, np.ndarray]:
    """The parameters before the first step."""
    generator = np.random.default_rng(7)
    return {"weight": generator.normal(size=(3, 6)), "bias": generator.normal(size=3)}


def bound(recipe: tw.Recipe) -> tw.Recipe:
    """The recipe as it meets the examples: 6 steps in all."""
    from thalweg.recipe import bind

    return bind(recipe, EXAMPLES)

"""Every number of every optimizer may differ between the trials of one program."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from optimizer_cases import rebuilt, run_fixed, stacked

from thalweg import optimizers
from thalweg.optimizers import CONVENTIONS, SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp
from thalweg.schedules import Cosine

# In these, together, every number of every class is given.
EXAMPLES = [
    SGD(0.1, 0.9, dampening=0.3, weight_decay=0.1),
    SGD(0.1, 0.9, nesterov=True),
    SGD(0.1, 0.9, nesterov=True, form="outside"),
    SGD(0.1, 0.9, nesterov=True, form="lookahead"),
    AdaGrad(0.1, 1e-2, 0.1, 0.1),
    RMSProp(0.1, 0.9, 1e-2, 0.5, centered=True, weight_decay=0.1),
    RMSProp(0.1, 0.9, 1e-2),
    Adam(0.1, 0.5, 0.9, 1e-2, weight_decay=0.1),
    Adam(0.1, 0.5, 0.9, 1e-2, bias_correction=False),
    AdamW(0.1, 0.5, 0.9, 1e-2, 0.1),
    AdamW(0.1, 0.5, 0.9, 1e-2, 0.1, "multiplier"),
]


def number_fields(kind: type) -> list[str]:
    return [f.name for f in dataclasses.fields(kind) if f.init and not f.metadata.get("static", False)]


CASES = [
    (example, name, convention)
    for example in EXAMPLES
    for name in number_fields(type(example))
    for convention in CONVENTIONS
    if getattr(example, name) is not None
]


def test_no_number_is_forgotten() -> None:
    classes = {getattr(optimizers, name) for name in optimizers.__all__ if name not in ("Optax", "Transformation")}
    classes = {c for c in classes if isinstance(c, type) and issubclass(c, Optimizer)} - {Optimizer}
    covered = {(type(example), name) for example, name, _ in CASES}
    assert covered == {(kind, name) for kind in classes for name in number_fields(kind)}


def sequence() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    gradients = {"w": random.normal(size=(6, 2, 3)), "b": random.normal(size=(6, 2))}
    return gradients, {"w": random.normal(size=(2, 3)), "b": random.normal(size=2)}


def differing(example: Any, name: str, convention: str) -> list[Any]:
    """Three trials that differ in one number."""
    value = getattr(example, name)
    if name == "learning_rate":
        value = value.value
    return [rebuilt(example, convention=convention, **{name: value * factor}) for factor in (1.0, 0.8, 0.4)]


@pytest.mark.parametrize(
    ("example", "name", "convention"),
    CASES,
    ids=[f"{i}-{type(c[0]).__name__}-{c[1]}-{c[2]}" for i, c in enumerate(CASES)],
)
def test_each_number_may_differ_between_trials(example: Any, name: str, convention: str, x64: None) -> None:
    trials, (gradients, params) = differing(example, name, convention), sequence()
    batched = jax.vmap(lambda trial: run_fixed(trial, gradients, params))(stacked(trials))
    alone = stacked([run_fixed(trial, gradients, params) for trial in trials])
    for leaf in params:
        # XLA may contract a product and a sum in one program and not in the other: some last bits.
        np.testing.assert_allclose(batched[leaf], alone[leaf], rtol=1e-12, atol=1e-14)
    changed = [not np.allclose(alone["w"][0], alone["w"][i], rtol=1e-6, atol=0) for i in (1, 2)]
    assert all(changed), f"{name} has no effect"


def test_schedules_may_differ_too(x64: None) -> None:
    trials = [Adam(Cosine(peak, length)) for peak, length in ((0.1, 5.0), (0.3, 7.0), (0.1, 6.0))]
    gradients, params = sequence()
    batched = jax.vmap(lambda trial: run_fixed(trial, gradients, params))(stacked(trials))
    for i, trial in enumerate(trials):
        np.testing.assert_allclose(batched["w"][i], run_fixed(trial, gradients, params)["w"], rtol=1e-12)

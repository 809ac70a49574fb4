"""Every number of every optimizer may differ between the trials of one program."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import jax
import numpy as np
import pytest
from optimizer_cases import EXAMPLES, KINDS, rebuilt, run_fixed, stacked

from thalweg import optimizers
from thalweg.optimizers import CONVENTIONS, Adam, Optimizer
from thalweg.schedules import Cosine


def number_fields(kind: type) -> list[str]:
    return [f.name for f in dataclasses.fields(kind) if f.init and not f.metadata.get("static", False)]


def given_numbers(example: Any) -> list[str]:
    return [name for name in number_fields(type(example)) if getattr(example, name) is not None]


def test_no_number_is_forgotten() -> None:
    # KFAC's numbers act on what it observes: test_kfac.py has a test of theirs.
    others = ("Optax", "Transformation", "KFAC")
    classes = {getattr(optimizers, name) for name in optimizers.__all__ if name not in others}
    classes = {c for c in classes if isinstance(c, type) and issubclass(c, Optimizer)} - {Optimizer}
    covered = {(type(example), name) for example in EXAMPLES for name in given_numbers(example)}
    assert covered == {(kind, name) for kind in classes for name in number_fields(kind)}


def sequence() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    gradients = {"w": random.normal(size=(6, 2, 3)), "b": random.normal(size=(6, 2))}
    return gradients, {"w": random.normal(size=(2, 3)), "b": random.normal(size=2)}


def with_changed(example: Any, name: str) -> Any:
    """The example with one number at 0.6 of its value, built by its constructor."""
    value = example.learning_rate.value if name == "learning_rate" else getattr(example, name)
    return rebuilt(example, **{name: 0.6 * value})


# All variants in our own convention, the fullest of each class in the others.
FULLEST = [max((e for e in EXAMPLES if type(e) is kind), key=lambda e: len(given_numbers(e))) for kind in KINDS]
CASES = [*EXAMPLES, *(rebuilt(e, convention=c) for e in FULLEST for c in CONVENTIONS if c != "thalweg")]


@pytest.mark.parametrize("example", CASES, ids=[f"{i}-{e.name}-{e.convention}" for i, e in enumerate(CASES)])
def test_each_number_may_differ_between_trials(example: Any, x64: None) -> None:
    """A trial for each number, which is changed in it alone: all in one program equal each on its own."""
    gradients, params = sequence()
    names = given_numbers(example)
    trials = stacked([example, *(with_changed(example, name) for name in names)])
    batched = jax.vmap(lambda trial: run_fixed(trial, gradients, params))(trials)
    one = jax.jit(lambda trial: run_fixed(trial, gradients, params))
    for i, name in enumerate(["nothing", *names]):
        alone = one(jax.tree.map(operator.itemgetter(i), trials))
        for leaf in params:
            # XLA may contract a product and a sum in one program and not in the other: some last bits.
            np.testing.assert_allclose(batched[leaf][i], alone[leaf], rtol=1e-12, atol=1e-14, err_msg=name)
        same = all(np.allclose(leaf[i], leaf[0], rtol=1e-6, atol=0) for leaf in batched.values())
        assert same == (name == "nothing"), f"{name} has no effect"


def test_schedules_may_differ_too(x64: None) -> None:
    trials = [Adam(Cosine(peak, length)) for peak, length in ((0.1, 5.0), (0.3, 7.0), (0.1, 6.0))]
    gradients, params = sequence()
    batched = jax.vmap(lambda trial: run_fixed(trial, gradients, params))(stacked(trials))
    for i, trial in enumerate(trials):
        np.testing.assert_allclose(batched["w"][i], run_fixed(trial, gradients, params)["w"], rtol=1e-12)

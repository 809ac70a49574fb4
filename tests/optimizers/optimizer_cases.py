"""Shared by the optimizer tests: tables of optimizers, problems with NumPy gradients, a loop through these."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from thalweg.optimizers import (
    KFAC,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    Muon,
    RMSProp,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
)  # fmt: skip

Point = dict[str, np.ndarray]
STEPS = 200
# The rate changes at every step: a buffer that holds the rate then differs from one that does not.
PEAK, FLOOR = 0.05, 0.01
SEEDS = (0, 1, 2)  # of the random problems on which we are compared with the frameworks
RATES = FLOOR + 0.5 * (PEAK - FLOOR) * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS))

KINDS = [SGD, AdaGrad, RMSProp, Adam, AdamW]
VARIANTS = [
    SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, form="inside"), SGD(0.1, 0.9, dampening=0.5), SGD(0.1, 0.9, nesterov=True),
    SGD(0.1, 0.9, nesterov=True, form="outside"), SGD(0.1, 0.9, nesterov=True, form="lookahead"), AdaGrad(0.1),
    RMSProp(0.1), RMSProp(0.1, momentum=0.9), RMSProp(0.1, 0.9, convention="keras", momentum=0.9), Adam(0.1),
    RMSProp(0.1, centered=True), Adam(0.1, bias_correction=False), Adam(0.1, convention="keras"), AdamW(0.1),
    Lion(0.1), Muon(0.1), ScheduleFreeSGD(0.1), ScheduleFreeAdamW(0.1), KFAC(0.1),
]  # fmt: skip
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
    Lion(0.1, 0.5, 0.9, 0.1),
    Muon(0.1, 0.9, weight_decay=0.1, others_rate=0.5, beta1=0.5, beta2=0.9, epsilon=1e-2),
    ScheduleFreeSGD(0.1, 0.8, 0.1),
    ScheduleFreeAdamW(0.1, 0.8, 0.9, 1e-2, 0.1),
]


def start(seed: int = 0) -> Point:
    random = np.random.default_rng(seed)
    return {
        "weights": random.normal(size=(3, 5)),
        "bias": random.normal(size=3),
        "quadratic": random.normal(size=6),
    }


def make_gradient(seed: int = 0) -> Callable[[Point], Point]:
    """The gradient of a softmax loss in (weights, bias) plus a convex quadratic, condition 100, in "quadratic".

    A fixed sequence of noise is added, call by call, as minibatches do. Without
    it the adaptive steps at a minimum divide a small number by a small number,
    jump to and fro, and magnify rounding at each step.
    """
    random = np.random.default_rng(seed + 100)
    x, y = random.normal(size=(40, 5)), random.integers(0, 3, size=40)
    rotation, _ = np.linalg.qr(random.normal(size=(6, 6)))
    hessian = rotation @ np.diag(np.logspace(-1, 1, 6)) @ rotation.T
    target = random.normal(size=6)

    def gradient(point: Point) -> Point:
        scores = x @ point["weights"].T + point["bias"]
        scores = np.exp(scores - scores.max(1, keepdims=True))
        error = (scores / scores.sum(1, keepdims=True) - np.eye(3)[y]) / len(y)
        return {
            "weights": error.T @ x + random.normal(size=(3, 5)),
            "bias": error.sum(0) + random.normal(size=3),
            "quadratic": hessian @ (point["quadratic"] - target) + random.normal(size=6),
        }

    return gradient


def follow(optimizer: Any, seed: int = 0, steps: int = STEPS) -> list[Point]:
    """The points of an optimizer in float64, by its own init and update."""
    gradient, point = make_gradient(seed), start(seed)
    with jax.enable_x64(True):
        update = eqx.filter_jit(optimizer.update)
        state, points = optimizer.init(jax.tree.map(jnp.asarray, point)), []
        for _ in range(steps):
            updates, state = update(gradient(point), state, point)
            point = {name: point[name] + np.asarray(updates[name]) for name in point}
            points.append(point)
    return points


def assert_same_path(ours: list[Point], theirs: list[Point], tolerance: float = 1e-12) -> None:
    """Rounding alone separates two correct programs: 200 steps of a contraction leave far less than 1e-12."""
    assert len(ours) == len(theirs)
    for step, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        for name in a:
            message = f"{name} at step {step}"
            np.testing.assert_allclose(a[name], b[name], rtol=tolerance, atol=tolerance, err_msg=message)


def rebuilt(module: Any, **changes: Any) -> Any:
    """The module through its own constructor, as a search does it."""
    fields = {f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.init}
    return type(module)(**{**fields, **changes})


def stacked(modules: list[Any]) -> Any:
    """Modules of one structure with their numbers side by side, as the training program has them."""
    return jax.tree.map(lambda *values: jnp.stack([jnp.asarray(v) for v in values]), *modules)


def run_fixed(optimizer: Any, gradients: Any, params: Any) -> Any:
    """The updates under a given sequence of gradients (stacked along the first axis)."""

    def step(carry: Any, gradient: Any) -> Any:
        state, point = carry
        updates, state = optimizer.update(gradient, state, point)
        return (state, jax.tree.map(jnp.add, point, updates)), updates

    return jax.lax.scan(step, (optimizer.init(params), params), gradients)[1]

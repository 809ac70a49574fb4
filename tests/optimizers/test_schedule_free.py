"""Schedule-free optimizers against Optax, and against the paper's recursion with x, y and z written out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

from thalweg.errors import UsageError
from thalweg.optimizers import SGD, ScheduleFreeAdamW, ScheduleFreeSGD
from thalweg.schedules import Cosine, Warmup

SHAPES = {"weights": (3, 4), "more": (5,)}  # no bias: Optax decays everything


def drawn(*leading: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=(*leading, *shape)) for name, shape in SHAPES.items()}


def paths(optimizer: Any, judge: Any, gradients: Any, params: Any) -> tuple[Any, Any]:
    """The points y and x under a given sequence of gradients."""

    def step(carry: Any, gradient: Any) -> Any:
        state, y = carry
        updates, state = optimizer.update(gradient, state, y)
        y = jax.tree.map(jnp.add, y, updates)
        return (state, y), (y, judge(state, y))

    params = jax.tree.map(jnp.asarray, params)
    return jax.jit(lambda: jax.lax.scan(step, (optimizer.init(params), params), gradients)[1])()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ScheduleFreeSGD(0.3), optax.contrib.schedule_free_sgd(0.3)),
        (ScheduleFreeSGD(0.3, 0.7, 0.1), optax.contrib.schedule_free_sgd(0.3, b1=0.7, weight_decay=0.1)),
        (ScheduleFreeAdamW(0.03), optax.contrib.schedule_free_adamw(0.03)),
        (
            ScheduleFreeAdamW(0.03, 0.8, 0.9, 1e-3, 0.1),
            optax.contrib.schedule_free_adamw(0.03, b1=0.8, b2=0.9, eps=1e-3, weight_decay=0.1),
        ),
    ],
    ids=["sgd", "sgd-numbers", "adamw", "adamw-numbers"],
)
def test_equals_optax(ours: Any, theirs: Any, x64: None) -> None:
    gradients, params = drawn(100), drawn(seed=1)
    expected = paths(theirs, optax.contrib.schedule_free_eval_params, gradients, params)
    for a, b in zip(
        jax.tree.leaves(paths(ours, ours.judged, gradients, params)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("schedule", [Warmup(5, 0.3), Cosine(0.3, 40.0)], ids=["warm-up", "cosine"])
def test_the_papers_recursion(schedule: Any, x64: None) -> None:
    """A rate that rises weighs later points more; one that falls does not weigh them less. Adam's kind, with decay."""
    beta, beta2, decay = 0.8, 0.9, 0.2
    gradients, params = drawn(30), drawn(seed=1)
    optimizer = ScheduleFreeAdamW(schedule, beta, beta2, 1e-3, decay)
    points, means = paths(optimizer, optimizer.judged, gradients, params)
    rates = np.asarray(jax.vmap(schedule)(jnp.arange(30)))
    weights = np.maximum.accumulate(rates) ** 2
    for name in SHAPES:
        x = y = z = params[name]
        s = np.zeros(SHAPES[name])
        for t, g in enumerate(gradients[name]):
            s = beta2 * s + (1 - beta2) * g**2
            z = z - rates[t] * (g / (np.sqrt(s / (1 - beta2 ** (t + 1))) + 1e-3) + decay * y)
            c = weights[t] / weights[: t + 1].sum() if weights[t] else 0.0
            x = (1 - c) * x + c * z
            y = (1 - beta) * z + beta * x
            np.testing.assert_allclose(points[name][t], y, rtol=1e-11, err_msg=f"y, {name} at {t}")
            np.testing.assert_allclose(means[name][t], x, rtol=1e-11, err_msg=f"x, {name} at {t}")


def test_it_is_the_mean_of_gradient_descents_points(x64: None) -> None:
    """Under given gradients z is gradient descent, whatever y is, and x the plain mean of its points."""
    gradients, params = drawn(20), drawn(seed=1)
    optimizer = ScheduleFreeSGD(0.1)
    _, means = paths(optimizer, optimizer.judged, gradients, params)
    points, _ = paths(SGD(0.1), lambda state, y: y, gradients, params)
    for name in SHAPES:
        counts = np.arange(1, 21).reshape(-1, *[1] * len(SHAPES[name]))
        np.testing.assert_allclose(means[name], np.cumsum(points[name], axis=0) / counts, rtol=1e-11)


def test_before_the_first_step_all_points_are_one() -> None:
    params = {"w": jnp.array([1.5, -2.0])}
    for optimizer in (ScheduleFreeSGD(0.1), ScheduleFreeAdamW(0.1)):
        np.testing.assert_array_equal(optimizer.judged(optimizer.init(params), params)["w"], params["w"])


def test_biases_are_spared() -> None:
    params = {"weight": jnp.ones(2), "bias": jnp.ones(2)}
    nothing = jax.tree.map(jnp.zeros_like, params)
    optimizer = ScheduleFreeSGD(0.1, weight_decay=0.5)
    updates, _ = optimizer.update(nothing, optimizer.init(params), params)
    np.testing.assert_array_equal(updates["bias"], 0)
    np.testing.assert_allclose(updates["weight"], -0.05, rtol=1e-6)


def test_parameters_are_asked_for() -> None:
    with pytest.raises(UsageError, match="needs the parameters"):
        ScheduleFreeSGD(0.1).update(jnp.ones(2), ScheduleFreeSGD(0.1).init(jnp.ones(2)))


def test_the_mean_settles_where_a_constant_rate_does_not() -> None:
    """A noisy quadratic at one rate for both: gradient descent hovers about the minimum, the mean goes there."""
    noise = jnp.asarray(np.random.default_rng(0).normal(size=(2000, 10)), jnp.float32)

    def final(optimizer: Any, judge: Any) -> float:
        def step(carry: Any, one: Any) -> Any:
            state, y = carry
            updates, state = optimizer.update(y + one, state, y)
            return (state, y + updates), None

        start = jnp.full(10, 3.0)
        (state, y), _ = jax.jit(lambda: jax.lax.scan(step, (optimizer.init(start), start), noise))()
        return float(jnp.linalg.norm(judge(state, y)))

    ours = ScheduleFreeSGD(0.5)
    # Descent: variance α/(2 − α) = 1/3 an entry, a norm of 1.8. The mean of 2,000 points: variance 1/2000, 0.07.
    assert final(SGD(0.5), lambda state, y: y) > 1.0
    assert final(ours, ours.judged) < 0.2

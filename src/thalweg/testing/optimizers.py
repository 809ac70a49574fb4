"""The conformance check of optimizers."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.schedules import bind_all
from thalweg.testing.common import (
    attempt,
    check_bad_numbers,
    check_batching,
    check_close,
    check_deterministic,
    check_rebuild,
    double,
    fail,
)

__all__ = ["check_optimizer"]

RUN = {"steps": 200, "steps_per_epoch": 20, "batch_size": 64}
LONG = 4000


def check_optimizer(optimizer: Any) -> None:
    """Raise an AssertionError unless optimizer keeps the protocol of `thalweg.optimizers`: Optax's pair.

    Updates must have the params' structure, shapes and precision; the state's must
    not change from step to step; gradients of 0 must not give NaN; a quadratic's
    value must fall. A module must be able to be built anew, and compile once for
    all its numbers, alone and under vmap; if it has ``step_size``, that is what a
    constant gradient moves it by in the long run.
    """
    if isinstance(optimizer, eqx.Module):
        check_rebuild(optimizer)
        check_bad_numbers(optimizer)
    bound = bind_all(optimizer, **RUN)
    with double():
        for dtype in (jnp.float32, jnp.float64):
            _check_shapes(bound, _params(dtype))
        _check_descent(bound, _params(jnp.float64))
        _check_step_size(bound, _params(jnp.float64))
    _check_zero_gradients(bound, _params(jnp.float32))
    check_deterministic(bound, lambda: _train(bound, _params(jnp.float32), 5))
    if isinstance(optimizer, eqx.Module):
        # Twenty steps of float32, each compiled in another order of operations.
        check_batching(bound, lambda one: _train(one, _params(jnp.float32), 20), rtol=1e-4, atol=1e-6)


def _params(dtype: Any) -> dict[str, jax.Array]:
    weight = jnp.linspace(-1, 1, 12, dtype=dtype).reshape(3, 4)
    return {"weight": weight, "bias": jnp.array([0.5, -0.25, 2.0], dtype)}


def _value(params: Any) -> jax.Array:
    """A quadratic whose curvatures lie between 1/4 and 1, with its minimum at 3 in every entry."""
    leaves = jax.tree.leaves(params)
    return sum(
        (
            jnp.sum(jnp.linspace(0.25, 1, x.size, dtype=x.dtype).reshape(x.shape) * jnp.square(x - 3)) / 2
            for x in leaves
        ),
        start=jnp.zeros(()),
    )


def _train(optimizer: Any, params: Any, steps: int) -> Any:
    def step(carry: Any, _: None) -> tuple[Any, None]:
        params, state = carry
        updates, state = optimizer.update(jax.grad(_value)(params), state, params)
        return (jax.tree.map(jnp.add, params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), None, length=steps)[0][0]


def _outline(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)


def _check_shapes(optimizer: Any, params: Any) -> None:
    with attempt(optimizer, "init(params)"):
        state = optimizer.init(params)
    with attempt(optimizer, "update(gradients, state, params)"):
        updates, after = optimizer.update(jax.grad(_value)(params), state, params)
    if _outline(updates) != _outline(params):
        fail(
            optimizer, f"updates are {_outline(updates)} for params {_outline(params)}; shape and precision must agree"
        )
    if _outline(after) != _outline(state):
        fail(optimizer, f"update changed the state from {_outline(state)} to {_outline(after)}; a scan cannot carry it")


def _check_zero_gradients(optimizer: Any, params: Any) -> None:
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    if not all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(updates)):
        fail(optimizer, "gradients of 0 in the first step give updates that are not finite; guard the division")


def _check_descent(optimizer: Any, params: Any) -> None:
    with attempt(optimizer, "200 steps on a quadratic inside jax.lax.scan"):
        after = _train(optimizer, params, RUN["steps"])
    if not _value(after) < _value(params):
        fail(
            optimizer,
            f"200 steps took a quadratic with curvatures of at most 1 from {_value(params)} to {_value(after)}; "
            "updates are added to the params, so they must point downhill",
        )


def _check_step_size(optimizer: Any, params: Any) -> None:
    if not hasattr(optimizer, "step_size"):
        return
    state = optimizer.init(params)
    try:
        sizes = optimizer.step_size(optimizer.update(params, state, params)[1], params)
    except UsageError:  # it says that it cannot know
        return
    if _outline(sizes) != _outline(params):
        fail(optimizer, f"step_size gives {_outline(sizes)} for params {_outline(params)}; one step per entry")
    gradients, zeros = jax.tree.map(jnp.ones_like, params), jax.tree.map(jnp.zeros_like, params)

    def step(state: Any, _: None) -> tuple[Any, Any]:
        updates, state = optimizer.update(gradients, state, zeros)
        return state, (updates, optimizer.step_size(state, zeros))

    # With steps that change little between one and the next, as after many of them, momentum has caught up.
    _, (updates, sizes) = jax.lax.scan(step, state, None, length=LONG)
    last = jax.tree.map(lambda leaf: leaf[-1], updates)
    expected = jax.tree.map(lambda size, g: -size[-1] * g, sizes, gradients)
    what = "the update after many steps of one gradient g, and −step_size · g"
    check_close(optimizer, what, last, expected, rtol=1e-2, atol=1e-12)

"""The conformance check of optimizers."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

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
        _check_zero_gradients(bound, _params(jnp.float64))
        _check_descent(bound, _params(jnp.float64))
        _check_step_size(bound, _params(jnp.float64))
    check_deterministic(bound, lambda: _walk(bound, _params(jnp.float32)))
    if isinstance(optimizer, eqx.Module):
        # Some steps of float32, each compiled in another order of operations.
        check_batching(bound, lambda one: _walk(one, _params(jnp.float32)), rtol=1e-4, atol=1e-6)


def _params(dtype: Any) -> dict[str, jax.Array]:
    weight = jnp.asarray(np.linspace(-1, 1, 12).reshape(3, 4), dtype)
    return {"weight": weight, "bias": jnp.asarray(np.array([0.5, -0.25, 2.0]), dtype)}


def _value(params: Any) -> jax.Array:
    """A quadratic whose curvatures lie between 1/4 and 1, with its minimum at 3 in every entry."""

    def part(x: jax.Array) -> jax.Array:
        curvatures = np.linspace(0.25, 1, x.size).astype(x.dtype).reshape(x.shape)
        return jnp.sum(curvatures * jnp.square(x - 3)) / 2

    return part(params["weight"]) + part(params["bias"])


def _step(optimizer: Any, params: Any, state: Any) -> tuple[Any, Any]:
    updates, state = optimizer.update(jax.grad(_value)(params), state, params)
    return jax.tree.map(jnp.add, params, updates), state


def _walk(optimizer: Any, params: Any) -> Any:
    """Four steps in a Python loop: where nothing is compiled, Python sees every number."""
    state = optimizer.init(params)
    for _ in range(4):
        params, state = _step(optimizer, params, state)
    return params, state


def _outline(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)


def _check_shapes(optimizer: Any, params: Any) -> None:
    with attempt(optimizer, "init(params)"):
        state = jax.eval_shape(optimizer.init, params)
    with attempt(optimizer, "update(gradients, state, params)"):
        updates, after = jax.eval_shape(optimizer.update, params, state, params)
    if _outline(updates) != _outline(params):
        fail(
            optimizer, f"updates are {_outline(updates)} for params {_outline(params)}; shape and precision must agree"
        )
    if _outline(after) != _outline(state):
        fail(optimizer, f"update changed the state from {_outline(state)} to {_outline(after)}; a scan cannot carry it")


def _check_zero_gradients(optimizer: Any, params: Any) -> None:
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates = jax.jit(lambda zeros: optimizer.update(zeros, optimizer.init(params), params)[0])(zeros)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updates)):
        fail(optimizer, "gradients of 0 in the first step give updates that are not finite; guard the division")


def _check_descent(optimizer: Any, params: Any) -> None:
    def values(params: Any) -> tuple[jax.Array, jax.Array]:
        start = (params, optimizer.init(params))
        (after, _), _ = jax.lax.scan(lambda c, _: (_step(optimizer, *c), None), start, None, length=RUN["steps"])
        return _value(params), _value(after)

    with attempt(optimizer, "200 steps on a quadratic inside jax.lax.scan"):
        before, after = jax.jit(values)(params)
    if not after < before:
        fail(
            optimizer,
            f"200 steps took a quadratic with curvatures of at most 1 from {before} to {after}; "
            "updates are added to the params, so they must point downhill",
        )


def _check_step_size(optimizer: Any, params: Any) -> None:
    if not hasattr(optimizer, "step_size"):
        return
    try:
        sizes = jax.eval_shape(lambda p: optimizer.step_size(optimizer.update(p, optimizer.init(p), p)[1], p), params)
    except UsageError:  # it says that it cannot know
        return
    if _outline(sizes) != _outline(params):
        fail(optimizer, f"step_size gives {_outline(sizes)} for params {_outline(params)}; one step per entry")
    ones, zeros = jax.tree.map(jnp.ones_like, params), jax.tree.map(jnp.zeros_like, params)

    def step(state: Any, _: None) -> tuple[Any, Any]:
        updates, state = optimizer.update(ones, state, zeros)
        return state, (updates, optimizer.step_size(state, zeros))

    # After many steps momentum has caught up, and one step is much like the next.
    _, (updates, sizes) = jax.jit(lambda: jax.lax.scan(step, optimizer.init(zeros), None, length=LONG))()
    last, expected = jax.tree.map(lambda u: u[-1], updates), jax.tree.map(lambda size: -size[-1], sizes)
    what = "the update after many steps of one gradient g, and −step_size · g"
    check_close(optimizer, what, last, expected, rtol=1e-2, atol=1e-12)

"""The conformance check of models."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from thalweg.losses import Softmax
from thalweg.models import as_model
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

__all__ = ["check_model"]

BATCH = 5


def check_model(model: Any, *, input_shape: tuple[int, ...] = (4, 4, 3), classes: int = 3) -> None:
    """Raise an AssertionError unless model keeps the protocol of `thalweg.models.Model`.

    From one key it must start with the same numbers; scores are finite and ``(batch,
    classes)``; the state keeps its structure; out of training no key is needed and
    no example depends on its neighbours; the gradient is that of the scores; it
    can be built anew, and compiles once for all its numbers, alone and under vmap,
    for stacked params too. A pair (init, apply) of functions serves as well.
    """
    with attempt(model, "taking it as a model"):
        model = as_model(model)
    if isinstance(model, eqx.Module):
        check_rebuild(model)
        check_bad_numbers(model)
    key = jax.random.key(0)
    x = jax.random.uniform(jax.random.key(1), (BATCH, *input_shape))
    with attempt(model, f"init(key, {input_shape}, {classes})"):
        params, state = model.init(key, input_shape, classes)
    _check_scores(model, params, state, x, classes)
    _check_evaluation(model, params, state, x)
    check_deterministic(model, lambda: model.init(key, input_shape, classes))
    if isinstance(model, eqx.Module):
        check_batching(model, lambda one: one.init(key, input_shape, classes))
    _check_stacked_params(model, x, input_shape, classes)
    with double():
        _check_gradient(model, jnp.asarray(x, jnp.float64), input_shape, classes)


def _outline(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), tree)


def _check_scores(model: Any, params: Any, state: Any, x: jax.Array, classes: int) -> None:
    if not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in jax.tree.leaves(params)):
        fail(model, f"params hold more than floating-point arrays: {_outline(params)}; the rest belongs in the state")
    for training, key in ((True, jax.random.key(2)), (False, None)):
        with attempt(model, f"apply(params, state, x, key={'key' if training else None}, training={training})"):
            scores, after = model.apply(params, state, x, key=key, training=training)
        if scores.shape != (BATCH, classes) or not jnp.issubdtype(scores.dtype, jnp.floating):
            fail(model, f"scores are {scores.dtype}{list(scores.shape)}; return floats {(BATCH, classes)}")
        if not np.isfinite(scores).all():
            fail(model, f"scores of fresh params are not finite (training={training})")
        if _outline(after) != _outline(state):
            fail(model, f"apply changed the state from {_outline(state)} to {_outline(after)}; keep its structure")


def _check_evaluation(model: Any, params: Any, state: Any, x: jax.Array) -> None:
    evaluate = jax.jit(lambda x: model.apply(params, state, x, key=None, training=False))
    scores, after = evaluate(x)
    rows = np.concatenate([evaluate(x[i : i + 1])[0] for i in range(BATCH)])
    size = float(np.abs(scores).max())
    check_close(model, "examples one by one, and together", rows, scores, rtol=1e-4, atol=1e-5 * size)
    check_close(model, "the state after and before an evaluation", after, state, rtol=0)


def _check_stacked_params(model: Any, x: jax.Array, input_shape: tuple[int, ...], classes: int) -> None:
    def scores(params: Any, state: Any) -> jax.Array:
        return model.apply(params, state, x, key=jax.random.key(2), training=True)[0]

    trials = [model.init(key, input_shape, classes) for key in jax.random.split(jax.random.key(3), 3)]
    alone = np.stack([jax.jit(scores)(*trial) for trial in trials])
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trials)
    if not jax.tree.leaves(batch):
        return
    with attempt(model, "apply under jax.vmap, for stacked params and one batch"):
        together = jax.jit(jax.vmap(scores))(*batch)
    size = float(np.abs(alone).max())
    check_close(model, "trials side by side, and alone", together, alone, rtol=1e-4, atol=1e-5 * size)


def _check_gradient(model: Any, x: jax.Array, input_shape: tuple[int, ...], classes: int) -> None:
    """Along one random direction in the params; in float64, so that a wrong derivative stands out."""
    params, state = model.init(jax.random.key(0), input_shape, classes)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
    labels = jnp.asarray(np.arange(BATCH) % classes)

    def along(t: Any) -> jax.Array:
        moved = jax.tree.map(lambda leaf, d: leaf + t * d, params, direction)
        scores, _ = model.apply(moved, state, x, key=jax.random.key(2), training=True)
        return jnp.mean(Softmax()(scores, labels))

    with attempt(model, "its gradient"):
        slope = jax.jit(jax.grad(along))(0.0)
    h, compiled = 1e-6, jax.jit(along)
    numeric = (compiled(h) - compiled(-h)) / (2 * h)
    check_close(model, "its slope along a direction, and finite differences", slope, numeric, rtol=1e-5, atol=1e-7)

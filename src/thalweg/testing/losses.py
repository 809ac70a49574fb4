"""The conformance check of losses."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.testing.common import (
    attempt,
    check_attributes,
    check_bad_numbers,
    check_batching,
    check_close,
    check_deterministic,
    check_rebuild,
    differences,
    double,
    fail,
    kink,
)

__all__ = ["check_loss"]


def check_loss(loss: Any, *, classes: int = 4) -> None:
    """Raise an AssertionError unless loss keeps the protocol of `thalweg.losses.Loss`.

    It must be a module that can be built anew; give one number per example, in the
    scores' precision, that depends on that example alone; have the gradient of what
    it computes, and no kink if it says ``smooth``; survive scores of 1e30 and show
    NaN; and compile once for all its numbers, alone and under vmap.
    """
    check_rebuild(loss)
    check_attributes(loss, kind=str, smooth=bool)
    check_bad_numbers(loss)
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(0, 3, (12, classes)), jnp.asarray(rng.integers(0, classes, 12), jnp.int32)
    _check_shapes(loss, scores, labels)
    _check_numbers(loss, scores, labels)
    single = jnp.asarray(scores, jnp.float32)
    check_deterministic(loss, lambda: loss(single, labels))
    check_batching(loss, lambda one: jax.value_and_grad(lambda s: jnp.sum(one(s, labels)))(single))
    with double():
        _check_gradient(loss, jnp.asarray(scores), labels)


def _check_shapes(loss: Any, scores: np.ndarray, labels: jax.Array) -> None:
    with double():
        for dtype in (jnp.float32, jnp.float64):
            with attempt(loss, f"scores {scores.shape} of {jnp.dtype(dtype)} and labels {labels.shape}"):
                result = jax.eval_shape(loss.__call__, jax.ShapeDtypeStruct(scores.shape, dtype), labels)
            if result.shape != labels.shape or result.dtype != dtype:
                fail(
                    loss,
                    f"it returned {result.dtype}{list(result.shape)} for {jnp.dtype(dtype)} scores {scores.shape}; "
                    f"return one number per example, {labels.shape}, in the scores' precision",
                )


def _check_numbers(loss: Any, scores: np.ndarray, labels: jax.Array) -> None:
    compiled = jax.jit(loss)
    single = scores.astype(np.float32)
    whole = compiled(single, labels)
    if not np.isfinite(whole).all():
        fail(loss, f"it is not finite at ordinary scores: {whole}")
    rows = np.concatenate([compiled(single[i : i + 1], labels[i : i + 1]) for i in range(len(labels))])
    check_close(loss, "examples one by one, and together", rows, whole, rtol=1e-6, atol=1e-7)
    huge = np.full((2, scores.shape[1]), 1e30, np.float32)
    huge[1, 0] = -1e30
    value, slope = jax.jit(jax.value_and_grad(lambda s: jnp.sum(loss(s, jnp.zeros(2, jnp.int32)))))(huge)
    if np.isnan(value) or np.isnan(slope).any():
        fail(loss, "it is NaN at scores of 1e30; subtract the largest or the true class's score first")
    single[0] = np.nan
    if not np.isnan(compiled(single, labels)[0]):
        fail(loss, "NaN scores give a loss that is not NaN, which would hide a trial that diverged")


def _check_gradient(loss: Any, scores: jax.Array, labels: jax.Array) -> None:
    def total(s: jax.Array) -> jax.Array:
        return jnp.sum(loss(s, labels))

    slopes, numeric = jax.jit(jax.grad(total))(scores), differences(total, scores)
    # Centred differences in float64: about 1e-10 of rounding in sums of some tens, divided by h.
    check_close(
        loss, "its gradient, and finite differences of its value", slopes, numeric, rtol=1e-6, atol=1e-7,
    )  # fmt: skip
    jump = kink(jax.grad(total), scores, -scores)
    if loss.smooth and jump > 1e-4:
        fail(loss, f"it says smooth, but its gradient jumps by {jump:.2g}; set smooth = False")

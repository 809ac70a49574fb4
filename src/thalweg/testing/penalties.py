"""The conformance check of penalties."""

from __future__ import annotations

import dataclasses
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
    numbers,
)

__all__ = ["check_penalty"]

STEP = 0.3


def check_penalty(penalty: Any) -> None:
    """Raise an AssertionError unless penalty keeps the protocol of `thalweg.penalties.Penalty`.

    It must be a module that can be built anew; have a value that is 0 at 0, never
    negative and proportional to ``strength``, the gradient of that value, a prox
    that minimises, a residual that is the distance to the subdifferential, and a
    ``strength_max`` that is the smallest to hold the weights at 0; keep the
    weights' shape and precision; and compile once for all its numbers, alone and
    under vmap.
    """
    check_rebuild(penalty)
    check_attributes(penalty, kind=str, smooth=bool)
    check_bad_numbers(penalty)
    weights = np.random.default_rng(0).normal(0, 1, (3, 4))
    weights[0, :2] = 0
    _check_shapes(penalty, weights)
    single = jnp.asarray(weights, jnp.float32)
    check_deterministic(penalty, lambda: _results(penalty, single))
    check_batching(penalty, lambda one: _results(one, single))
    with double():
        _check_value(penalty, jnp.asarray(weights))
        _check_prox(penalty, jnp.asarray(weights))
        _check_residual(penalty, jnp.asarray(weights))
        _check_strength_max(penalty, jnp.asarray(weights))


def _results(penalty: Any, weights: jax.Array) -> dict[str, jax.Array]:
    return {
        "value": penalty.value(weights),
        "gradient": penalty.gradient(weights),
        "prox": penalty.prox(weights, STEP),
        "residual": penalty.residual(weights, weights[::-1]),
        "strength_max": penalty.strength_max(weights),
    }


def _check_shapes(penalty: Any, weights: np.ndarray) -> None:
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("gradient", "prox", "residual"), weights.shape)
    with double():
        for dtype in (jnp.float32, jnp.float64):
            with attempt(penalty, f"weights {weights.shape} of {jnp.dtype(dtype)}"):
                results = jax.eval_shape(lambda w: _results(penalty, w), jax.ShapeDtypeStruct(weights.shape, dtype))
            for name, result in results.items():
                shape = shapes.get(name, ())
                if result.shape != shape or result.dtype != dtype:
                    fail(
                        penalty,
                        f"{name} returned {result.dtype}{list(result.shape)} for {jnp.dtype(dtype)} weights "
                        f"{weights.shape}; return shape {shape} in the weights' precision",
                    )


def _check_value(penalty: Any, weights: jax.Array) -> None:
    value = penalty.value(weights)
    if penalty.value(jnp.zeros_like(weights)) != 0 or not value >= 0:
        fail(penalty, f"its value is {penalty.value(jnp.zeros_like(weights))} at 0 and {value} elsewhere; 0 and >= 0")
    if "strength" in numbers(penalty):
        doubled = dataclasses.replace(penalty, strength=2.0 * penalty.strength)
        check_close(penalty, "its value at twice the strength", doubled.value(weights), 2 * value, rtol=1e-12)
    away = jnp.where(weights == 0, 0.5, weights)  # off the kink at 0
    slopes, numeric = penalty.gradient(away), differences(penalty.value, away)
    check_close(penalty, "its gradient, and finite differences of its value", slopes, numeric, rtol=1e-6, atol=1e-8)
    jump = kink(penalty.gradient, away, -away)
    if penalty.smooth and jump > 1e-4 * (1 + float(jnp.abs(slopes).max())):
        fail(penalty, f"it says smooth, but its gradient jumps by {jump:.2g}; set smooth = False")


def _check_prox(penalty: Any, weights: jax.Array) -> None:
    nearest = penalty.prox(weights, STEP)

    def objective(u: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(jnp.square(u - weights)) + STEP * penalty.value(u)

    moves = np.random.default_rng(1).normal(size=(64, *weights.shape)) * np.logspace(-6, 0, 64)[:, None, None]
    others = np.stack([nearest, weights, 0 * weights, *(np.asarray(nearest) + moves)])
    values = np.asarray(jax.jit(jax.vmap(objective))(others))
    best, least = values[0], values.min()
    if not best <= least + 1e-12 * (1 + abs(least)):
        fail(penalty, f"prox does not minimise ½‖u − w‖² + step P(u): it gives {best}, another point {least}")
    residual = np.max(penalty.residual(nearest, (nearest - weights) / STEP))
    if not residual < 1e-9:
        fail(penalty, f"prox and residual disagree: (w − u)/step is {residual:.2g} from the subdifferential at u")
    check_close(penalty, "prox with step 0, and the weights", penalty.prox(weights, 0.0), weights, rtol=1e-15)
    with attempt(penalty, "prox with one step per entry"):
        each = penalty.prox(weights, jnp.full_like(weights, STEP))
    check_close(penalty, "prox with equal steps per entry, and with one step", each, nearest, rtol=1e-14)


def _check_residual(penalty: Any, weights: jax.Array) -> None:
    slopes = penalty.gradient(weights)
    if not jnp.max(penalty.residual(weights, -slopes)) < 1e-12:
        fail(penalty, "residual(w, −gradient(w)) is not 0: the gradient lies outside the subdifferential")
    nearest = penalty.residual(weights, jnp.zeros_like(weights))
    what = "gradient, and the subgradient nearest to 0"
    check_close(penalty, what, jnp.abs(slopes), nearest, rtol=1e-12, atol=1e-15)
    shift = jnp.where(weights == 0, 0.0, 0.25)  # where the subdifferential is one point, the distance is plain
    apart = penalty.residual(weights, -slopes + shift)
    check_close(penalty, "residual, and the distance to the gradient", apart, shift, rtol=1e-9, atol=1e-12)


def _check_strength_max(penalty: Any, gradient: jax.Array) -> None:
    largest, zero = penalty.strength_max(gradient), jnp.zeros_like(gradient)
    if not largest >= 0:
        fail(penalty, f"strength_max is {largest}; it must be at least 0, or infinite")
    if "strength" not in numbers(penalty):
        return

    def holds(strength: Any) -> bool:
        return bool(jnp.max(dataclasses.replace(penalty, strength=strength).residual(zero, gradient)) <= 1e-12)

    if jnp.isinf(largest) and holds(1e12):
        fail(penalty, "strength_max is infinite, yet a strength of 1e12 holds the weights at 0")
    if jnp.isfinite(largest) and (not holds(float(largest)) or holds(0.999 * float(largest))):
        fail(penalty, f"strength_max is {largest}, which is not the smallest strength at which W = 0 is optimal")

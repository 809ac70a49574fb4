"""A line search along a descent direction that rounding cannot defeat.

φ(t) = f(w + t p). A step is taken when φ has fallen enough and its slope has
flattened enough (Wolfe):

    φ(t) ≤ φ(0) + δ (t φ'(0) + ½ t² c)   and   φ'(t) ≥ σ (φ'(0) + t c).

c ≤ 0 is a negative curvature pᵀHp that the direction was chosen for: with it
the search can leave a point where the slope is 0 (Moré & Sorensen 1979); c = 0 is
the usual condition. Close to the optimum φ(t) − φ(0) is below the rounding of φ,
in float32 long before the gradient is, and the first test would be a coin's toss.
There the slope decides: the first test may be replaced by

    φ(t) ≤ φ(0) + noise   and   φ'(t) ≤ (1 − 2δ') |φ'(0)|,

which for a quadratic φ says the same (approximate Wolfe, Hager & Zhang 2005).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["Point", "Search", "noise", "rounding_unit", "search"]

DECREASE = 1e-4  # δ: Nocedal & Wright's
APPROXIMATE_DECREASE = 0.1  # δ' and σ: Hager and Zhang's
FLATTENING = 0.9
NOISE = 16  # roundings that a value may be off by: a sum over examples has more than one
GROWTH = 10.0  # most that a trial grows while φ still falls steeply ...
MOST_GROWTH = 1e10  # ... and in all: a direction scaled by curvature is never off by this much
MOST_TRIALS = 40


class Point(NamedTuple):
    """Weights ``(n,)``, the value there, a scalar, and the gradient ``(n,)``."""

    weights: jax.Array
    value: jax.Array
    gradient: jax.Array


class Sample(NamedTuple):
    """A step t along the direction, with φ(t) and φ'(t)."""

    step: jax.Array
    value: jax.Array
    slope: jax.Array


class Search(NamedTuple):
    """``low`` has the lowest slope-descending value so far (``gradient`` is the one there), ``high`` lies beyond
    a minimum, at infinity as long as none is known. ``low`` is the result once ``open`` is false."""

    low: Sample
    gradient: jax.Array
    high: Sample
    trial: jax.Array
    width: jax.Array
    open: jax.Array
    finite: jax.Array  # a trial was finite
    endless: jax.Array  # φ fell steeply as far as the search may go
    evaluations: jax.Array


def rounding_unit(array: jax.Array) -> float:
    """Return the distance from 1 to the next number in the array's precision."""
    return float(np.finfo(array.dtype).eps)


def noise(value: jax.Array) -> jax.Array:
    """Return what rounding may add to a value of this size."""
    return NOISE * rounding_unit(value) * jnp.abs(value)


def search(
    evaluate: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    point: Point,
    direction: jax.Array,
    curvature: jax.Array,
    active: jax.Array,
) -> Search:
    """Search from point along ``direction (n,)``, first at step 1; ``evaluate(weights) -> (value, gradient)``.

    ``active`` false returns at once, and so does a direction that does not descend. A result whose ``low.step``
    is 0 is a failure: no step lowers the value by more than rounding.
    """
    dtype = point.value.dtype
    start = Sample(jnp.zeros((), dtype), point.value, jnp.vdot(point.gradient, direction))
    none = Sample(jnp.full((), jnp.inf, dtype), jnp.full((), jnp.inf, dtype), jnp.zeros((), dtype))
    descends = (start.slope < 0) | ((start.slope == 0) & (curvature < 0))
    false, count = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    one, far = jnp.ones((), dtype), jnp.full((), jnp.inf, dtype)
    first = Search(start, point.gradient, none, one, far, active & descends, false, false, count)

    def attempt(now: Search) -> Search:
        value, gradient = evaluate(point.weights + now.trial * direction)
        sample = Sample(now.trial, value, jnp.vdot(gradient, direction))
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient)) & jnp.isfinite(sample.slope)
        return _narrow(now, start, curvature, sample, gradient, finite)

    return lax.while_loop(lambda now: now.open, attempt, first)


def _narrow(
    now: Search, start: Sample, curvature: jax.Array, sample: Sample, gradient: jax.Array, finite: jax.Array
) -> Search:
    """Judge a sample, and move ``low`` or ``high`` to it."""
    t = sample.step
    model = t * start.slope + 0.5 * t * t * curvature
    falls = sample.value <= start.value + DECREASE * model
    level = sample.value <= start.value + noise(start.value)
    centred = (sample.slope <= -(1 - 2 * APPROXIMATE_DECREASE) * start.slope) & (curvature == 0)
    flat = sample.slope >= FLATTENING * (start.slope + t * curvature)
    accepted = finite & flat & (falls | (level & centred))
    beyond = ~finite | ~(falls | level) | (sample.slope >= 0)
    forward = accepted | ~beyond
    low = jax.tree.map(lambda new, old: jnp.where(forward, new, old), sample, now.low)
    worst = Sample(t, jnp.asarray(jnp.inf, t.dtype), jnp.zeros_like(t))
    high = jax.tree.map(
        lambda new, bad, old: jnp.where(beyond, jnp.where(finite, new, bad), old), sample, worst, now.high
    )
    endless = ~accepted & jnp.isinf(high.step) & (t >= MOST_GROWTH)
    evaluations = now.evaluations + 1
    trial, width = _next(now, low, high, noise(start.value))
    more = ~accepted & ~endless & (evaluations < MOST_TRIALS) & (trial != low.step) & (trial != high.step)
    return Search(
        low,
        jnp.where(forward, gradient, now.gradient),
        high,
        trial,
        width,
        more,
        now.finite | finite,
        endless,
        evaluations,
    )


def _next(now: Search, low: Sample, high: Sample, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the next trial, and the bracket's width (infinite as long as there is none)."""
    width = high.step - low.step
    inner = _cubic_minimum(low, high, noise)
    # Away from the ends, so that the bracket shrinks; halved where the last two trials shrank it by less than a third.
    inner = jnp.clip(inner, low.step + 0.1 * width, high.step - 0.1 * width)
    stuck = (width > 0.66 * now.width) & jnp.isfinite(now.width)
    inner = jnp.where(stuck, low.step + 0.5 * width, inner)
    # Nothing is known of a value that is not finite, except that it may be far too far.
    inner = jnp.where(jnp.isfinite(high.value), inner, low.step + width / GROWTH)
    # No bracket: where the slope, extended from the last two samples, would vanish.
    risen = low.slope - now.low.slope
    ahead = low.step - low.slope * (low.step - now.low.step) / jnp.where(risen > 0, risen, 1)
    outer = jnp.where(risen > 0, jnp.clip(ahead, 2 * low.step, GROWTH * low.step), GROWTH * low.step)
    bracketed = jnp.isfinite(high.step)
    return jnp.where(bracketed, inner, outer), jnp.where(bracketed, width, jnp.inf).astype(width.dtype)


def _cubic_minimum(low: Sample, high: Sample, noise: jax.Array) -> jax.Array:
    """Return the minimum of the cubic through both samples (Nocedal & Wright, eq. 3.59), or their middle.

    Where the values differ by no more than rounding, the mean slope stands in for their difference: the cubic
    becomes the parabola through the slopes.
    """
    width = high.step - low.step
    rise = high.value - low.value
    mean = jnp.where(jnp.abs(rise) > noise, rise / width, 0.5 * (low.slope + high.slope))
    first = low.slope + high.slope - 3 * mean
    square = first * first - low.slope * high.slope
    root = jnp.sqrt(jnp.maximum(square, 0))
    share = 1 - (high.slope + root - first) / (high.slope - low.slope + 2 * root)
    return jnp.where(jnp.isfinite(share) & (square >= 0), low.step + share * width, low.step + 0.5 * width)

"""The conformance check of schedules."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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

__all__ = ["check_schedule"]

RUN = {"steps": 1000, "steps_per_epoch": 100, "batch_size": 64}


def check_schedule(schedule: Any) -> None:
    """Raise an AssertionError unless schedule keeps the protocol of `thalweg.schedules.Schedule`.

    It must be a module that can be built anew; give finite rates >= 0, from the
    first step to past the last, for a step alone as for an array of steps, in the
    precision in force; have a finite ``base``; bind to a run without changing
    itself, a second time to no effect; and compile once for all its numbers and
    steps, alone and under vmap.
    """
    check_rebuild(schedule)
    check_bad_numbers(schedule)
    before = jax.tree.leaves(schedule)
    with attempt(schedule, f"bind({RUN})"):
        bound = schedule.bind(**RUN)
        again = bound.bind(**RUN)
    if any(a is not b for a, b in zip(jax.tree.leaves(schedule), before, strict=True)):
        fail(schedule, "bind changed the schedule itself; return a new one")
    steps = jnp.concatenate([jnp.arange(0, 1100, 7), jnp.array([1, 99, 100, 499, 500, 999, 1000, 10**6])])
    _check_values(schedule, bound, steps)
    check_close(schedule, "bound once and bound twice", again(steps), bound(steps), rtol=0)
    check_deterministic(schedule, lambda: bound(steps))
    check_batching(bound, lambda one: (one(steps), jnp.asarray(one.base, jnp.float32)))


def _check_values(schedule: Any, bound: Any, steps: jax.Array) -> None:
    with attempt(schedule, "calling it with an array of steps"):
        rates = np.asarray(bound(steps))
    if rates.shape != steps.shape or rates.dtype != np.float32:
        fail(schedule, f"it gives {rates.dtype}{list(rates.shape)} for {len(steps)} steps; one float32 rate each")
    if not (np.isfinite(rates) & (rates >= 0)).all():
        worst = int(np.argmin(np.where(np.isfinite(rates), rates, -np.inf)))
        fail(schedule, f"its rate is {rates[worst]} at step {steps[worst]}; rates are finite and at least 0")
    with attempt(schedule, "calling it with one step"):
        single = np.stack([bound(step) for step in steps[::50]])
    check_close(schedule, "steps one by one, and together", single, rates[::50], rtol=1e-6)
    with attempt(schedule, "reading base"):
        base = float(jnp.asarray(schedule.base))
    if not (np.isfinite(base) and base >= 0):
        fail(schedule, f"base is {base}; it must be the peak or the initial rate")
    with double():
        wide = np.asarray(jax.jit(bound)(steps))
    if wide.dtype != np.float64:
        fail(schedule, f"it gives {wide.dtype} where float64 is in force")
    # Relative to the base: a rate that has almost vanished carries the rounding of what it was taken from.
    check_close(schedule, "float32 and float64", rates, wide.astype(np.float32), rtol=1e-4, atol=1e-6 * base)

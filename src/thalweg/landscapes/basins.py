"""Basins of attraction: where one racer ends from every point of a grid."""

from __future__ import annotations

import functools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from thalweg.errors import UsageError
from thalweg.fields import check_integer, check_number
from thalweg.landscapes.base import Bounds, Landscape
from thalweg.landscapes.racing import Stand, advance, begin, check_racers
from thalweg.landscapes.recording import DIVERGED, RUNNING
from thalweg.landscapes.records import BasinMap
from thalweg.landscapes.rules import Rule, Solving, label, rule_of
from thalweg.landscapes.starts import check_seed
from thalweg.landscapes.wrapped import Noisy, as_landscape, checked_bounds
from thalweg.precision import double

__all__ = ["basins"]

CHUNK = 4096  # starts at once: an optimizer's state for them stays within a core's cache
NOWHERE, LOST = -1, -2
MEMORY = 2_000_000_000  # bytes that all racers may take, as in a race
SMALL = 1e-8  # the gradient at which an optimizer has ended: its step would lead nowhere new


def basins(
    landscape: Any,
    racer: Any,
    points: int = 400,
    steps: int = 500,
    *,
    bounds: Bounds | None = None,
    tolerance: float = 1e-2,
    seed: int = 0,
) -> BasinMap:
    """Start one optimizer or solver from every point of a grid, and tell which minimum it ends at.

    No trajectory is kept. Chunks of starts run as one compiled program in float64, which leaves a chunk as
    soon as all of it has ended (a gradient of norm 1e-8, a solver's own stop, or diverged).

    Arguments:
        landscape: as for `race`; it must know its minima.
        racer: an optimizer or a solver.
        points: P, the grid's points along each axis.
        steps: how many each takes at most.
        bounds: what the grid spans, ((x_low, x_high), (y_low, y_high)); by default the landscape's.
        tolerance: within this distance of a minimum it has been reached.
        seed: of the noise, where the landscape is `Noisy`.

    Returns a `BasinMap`; its ``steps`` count until the racer came within the tolerance to stay.

    Raises:
        UsageError: a landscape without known minima, a grid whose racers need over 2 GB, and whatever
            `race` refuses.
    """
    landscape = as_landscape(landscape)
    check_integer("basins", "points", points, least=2)
    check_integer("basins", "steps", steps, least=1)
    check_number("basins", "tolerance", tolerance, above=0.0)
    check_seed("basins", seed)
    if not landscape.minima:
        raise UsageError(f"basins: {landscape.name} has no known minimum to end at; name its minima, or use race")
    (left, right), (bottom, top) = checked_bounds(landscape.bounds if bounds is None else bounds)
    check_racers(landscape, [racer], np.empty((0, 2)))
    rule = rule_of(racer, steps)
    _check_size(landscape, rule, points)
    x, y = np.linspace(left, right, points), np.linspace(bottom, top, points)
    starts = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    reached, taken = _ends(landscape, rule, starts, steps, tolerance, seed)
    shape = (points, points)
    minima = np.asarray(landscape.minima, np.float64)
    return BasinMap(landscape, label(racer), x, y, minima, reached.reshape(shape), taken.reshape(shape), tolerance)


def _check_size(landscape: Landscape, rule: Rule, points: int) -> None:
    """Raise a UsageError, before anything is allocated, where a grid is too large, or its racers cannot be packed."""
    with double():
        start = jax.ShapeDtypeStruct((2,), np.float64)
        first = functools.partial(_first, landscape, rule, np.asarray(landscape.minima), 1.0)
        leaves = jax.tree.leaves(jax.eval_shape(first, start))
    if any(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves):
        raise UsageError("basins: the racer's state holds a random key, which cannot be packed; use race")
    each = 16 + sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)  # and its start
    if points**2 * each > MEMORY:
        most = math.isqrt(MEMORY // each)
        raise UsageError(
            f"basins: points is {points:,}; {points**2:,} starts of {each} bytes each would need more than "
            f"{MEMORY / 1e9:g} GB: take at most {most:,}"
        )


class _Found(NamedTuple):
    """A chunk's racers, the minimum each is at (or `NOWHERE`, `LOST`), and the step in which it came there."""

    stands: Stand
    reached: Any
    entered: Any


def _ends(
    landscape: Landscape, rule: Rule, starts: np.ndarray, steps: int, tolerance: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Run all starts; returns where each ended, and its steps until then.

    In rounds of 16, 32, 64, ... steps: after each, those that still run are packed together, so that a few
    slow ones do not hold up the chunks they began in.
    """
    chunk = min(CHUNK, len(starts))
    first = jax.vmap(functools.partial(_first, landscape, rule, np.asarray(landscape.minima), tolerance))
    with double():
        found = jax.tree.map(np.array, jax.jit(first)(jnp.asarray(starts)))

    def run(job: tuple[np.ndarray, int, int]) -> None:
        places, number, until = job
        with double():  # a thread's own
            part = jax.tree.map(lambda leaf: jnp.asarray(leaf[places]), found)
            limits = (jnp.asarray(tolerance), jnp.asarray(number), jnp.asarray(until))
            rules = jax.tree.map(jnp.asarray, rule)
            after = _chunk(landscape, rules, part, jnp.asarray(places), jax.random.key(seed), *limits)
            jax.tree.map(lambda whole, new: whole.__setitem__(places, np.asarray(new)), found, after)

    number, size, running = 0, 16, _running(found)
    # XLA gives these small loops one core each.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while running.size and number < steps:
            until = min(steps, number + size)
            # Filled up with the last one, in its own chunk: its copies all take the same steps.
            places = np.minimum(np.arange(-(-len(running) // chunk) * chunk), len(running) - 1)
            padded = running[places].reshape(-1, chunk)
            list(pool.map(run, [(places, number, until) for places in padded]))
            number, size, running = until, 2 * size, _running(found)
    return found.reached, np.where(found.reached >= 0, found.entered, steps)


def _running(found: _Found) -> np.ndarray:
    return np.flatnonzero((found.stands.status == RUNNING) & ~found.stands.turn.stuck)


def _first(landscape: Landscape, rule: Rule, minima: np.ndarray, tolerance: float, start: jax.Array) -> _Found:
    stand = begin(rule, landscape, start, jnp.asarray(SMALL, start.dtype))
    return _Found(stand, _nearest(stand, jnp.asarray(minima), jnp.asarray(tolerance)), jnp.int32(0))


@eqx.filter_jit
def _chunk(
    landscape: Landscape,
    rule: Rule,
    found: _Found,
    places: jax.Array,
    key: jax.Array,
    tolerance: jax.Array,
    number: jax.Array,
    until: jax.Array,
) -> _Found:
    """Take the steps from ``number`` to ``until`` with one chunk, or until all of it has ended."""
    exact = isinstance(rule, Solving) or not isinstance(landscape, Noisy)
    minima = jnp.asarray(landscape.minima, tolerance.dtype)
    small = jnp.asarray(SMALL, tolerance.dtype)

    def one(stand: Stand, noise: Any, number: jax.Array) -> tuple[Stand, jax.Array]:
        stand = advance(rule, landscape, stand, number, small, noise)
        return stand, _nearest(stand, minima, tolerance)

    def turn(carry: tuple[_Found, jax.Array]) -> tuple[_Found, jax.Array]:
        found, number = carry
        noise = None if exact else landscape.draw(key, number, places)  # type: ignore[attr-defined]
        stands, near = jax.vmap(one, (0, None if exact else 0, None))(found.stands, noise, number)
        entered = jnp.where(near == found.reached, found.entered, number + 1).astype(jnp.int32)
        return _Found(stands, near, entered), number + 1

    def goes_on(carry: tuple[_Found, jax.Array]) -> jax.Array:
        found, number = carry
        return (number < until) & jnp.any((found.stands.status == RUNNING) & ~found.stands.turn.stuck)

    return lax.while_loop(goes_on, turn, (found, number))[0]


def _nearest(stand: Stand, minima: jax.Array, tolerance: jax.Array) -> jax.Array:
    """Return the place of the minimum within the tolerance, or why there is none."""
    near, least = jnp.asarray(NOWHERE, jnp.int32), jnp.square(tolerance)
    # One after the other: XLA's argmin is no vector code.
    for place, minimum in enumerate(minima):
        square = jnp.square(minimum[0] - stand.turn.position[0]) + jnp.square(minimum[1] - stand.turn.position[1])
        near, least = jnp.where(square <= least, place, near), jnp.minimum(square, least)
    return jnp.where(stand.status == DIVERGED, LOST, near).astype(jnp.int32)

"""Races: many optimizers and solvers, from many starts, on one landscape, in one compiled program."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from thalweg.errors import UsageError
from thalweg.fields import check_integer, check_number
from thalweg.landscapes.base import Landscape
from thalweg.landscapes.recording import CONVERGED, DIVERGED, RUNNING, STALLED, Track, record
from thalweg.landscapes.records import Race
from thalweg.landscapes.rules import Rule, Solving, Turn, differences, label, length, rule_of
from thalweg.landscapes.starts import MOST, check_seed, checked_starts, frame_of
from thalweg.landscapes.wrapped import Noisy, as_landscape, hessian_fault
from thalweg.precision import double
from thalweg.solvers import Newton
from thalweg.solvers.minimize import SmoothSolver

__all__ = ["Stand", "advance", "begin", "check_racers", "group", "race", "titles"]


def race(
    landscape: Any,
    racers: Any,
    start: Any = None,
    steps: int = 500,
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
    tolerance: float = 1e-6,
) -> Race:
    """Race optimizers and solvers from the same starts on one landscape, and keep every step.

    All racers of one kind, with all their numbers, and all starts run as one compiled program; another race
    of as many, with other numbers, does not compile again. It computes in float64.

    Arguments:
        landscape: one of `thalweg.landscapes` (in `Noisy`, if gradients shall have noise), or a JAX function
            of a point ``(2,)`` (see `Function`).
        racers: a list of optimizers (`thalweg.optimizers`, an Optax transformation, any pair of init and
            update) and of the solvers ``Newton``, ``BFGS`` and ``LBFGS``, one iteration a step. A schedule
            without a length gets that of the race.
        start: a point (x, y), or several ``(S, 2)``; None is the landscape's usual start (`usual_start`).
        steps: T, how many steps each takes at most.
        names: one a racer; by default its kind and rate.
        seed: of the noise, where the landscape is `Noisy`.
        tolerance: an optimizer has converged where the gradient's norm is this small; a solver when
            it says so itself (`Solution`). With noise nobody can tell, so optimizers run on.

    A racer has diverged when a step leads to a number that is not finite, or farther from the middle of the
    bounds than 100 times their diagonal; a solver also when it finds that there is no optimum. That step is
    its last: it is cut at that length, or left out where it is not finite. On a saddle's ridge an optimizer
    stays, as the gradient tells it to.

    Returns a `Race`. Positions are those at which gradients are taken (with Nesterov's momentum x + ρv),
    but for schedule-free optimizers the mean that they are judged by.

    Raises:
        UsageError: a landscape that returns no scalar, a racer that cannot race, a start of another shape or
            not finite, a Newton racer where there is no Hessian, a solver where there is noise, a seed that
            is no whole number from 0 to 2⁶³ − 1, more than 50,000,000 points to keep.
    """
    landscape = as_landscape(landscape)
    check_integer("race", "steps", steps, least=1)
    check_number("race", "tolerance", tolerance, least=0.0)
    check_seed("race", seed)
    racers = list(racers) if isinstance(racers, (list, tuple)) else [racers]
    starts = checked_starts(landscape, start)
    check_racers(landscape, racers, starts)
    groups = group([rule_of(racer, steps) for racer in racers])
    names = titles(racers, names)
    _check_size(len(racers), len(starts), steps)

    def run(one: tuple[np.ndarray, Rule]) -> Track:
        with double():  # a thread's own
            rules = jax.tree.map(jnp.asarray, one[1])
            numbers = (jnp.asarray(starts), jnp.asarray(float(tolerance)), jax.random.key(seed))
            return jax.tree.map(np.asarray, _tracks(landscape, rules, len(one[0]), *numbers, steps))

    # Most of the time is compiling, which two threads do side by side.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run, groups))
    places = np.argsort(np.concatenate([numbers for numbers, _ in groups]))
    whole = jax.tree.map(lambda *parts: np.concatenate(parts)[places], *results)
    return record(landscape, names, starts, whole)


def check_racers(landscape: Landscape, racers: Sequence[Any], starts: np.ndarray) -> None:
    """Raise a UsageError for racers that the landscape does not suit."""
    if not racers:
        raise UsageError("race: there are no racers; give a list, such as [SGD(1e-3), Adam(0.1)]")
    for racer in racers:
        if not isinstance(racer, SmoothSolver):
            continue
        kind = type(racer).__name__
        if isinstance(landscape, Noisy) and landscape.scale > 0:
            raise UsageError(
                f"{kind} needs exact gradients, and {landscape.name} has noise: its line search and its pairs of "
                "gradients would measure the draws; leave it out, or the noise"
            )
        if isinstance(racer, Newton):
            _check_hessian(landscape, starts)


def _check_hessian(landscape: Landscape, starts: np.ndarray) -> None:
    fault = hessian_fault(landscape)
    if fault:
        raise UsageError(f"Newton asks for a Hessian, and {landscape.name} {fault}; leave Newton out")
    hessians, slopes = landscape.hessian(starts), landscape.gradient(starts)
    straight = np.all(hessians == 0, axis=(1, 2)) & np.any(slopes != 0, axis=1)
    if straight.any():
        x, y = starts[straight][0]
        raise UsageError(
            f"Newton asks for a Hessian, and that of {landscape.name} is 0 at the start ({x:g}, {y:g}) where the slope "
            "is not: it is straight there, as a hinge or |x| is; leave Newton out, or start where it bends"
        )


def titles(racers: Sequence[Any], names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return one name a racer: the given ones, or its kind and rate, and what else tells it from its like."""
    if names is not None:
        if isinstance(names, str) or len(names) != len(racers):
            raise UsageError(f"race: names is {names!r}; give one name for each of the {len(racers)} racers")
        return tuple(map(str, names))
    plain = [label(racer) for racer in racers]
    told = list(plain)
    for name in {name for name in plain if plain.count(name) > 1}:
        places = [i for i, other in enumerate(plain) if other == name]
        for number, (place, words) in enumerate(zip(places, differences([racers[i] for i in places]), strict=True)):
            told[place] = f"{name}, {words}" if words else f"{name} ({number + 1})"
    return tuple(told)


def _check_size(racers: int, starts: int, steps: int) -> None:
    if racers * starts * (steps + 1) > MOST:
        raise UsageError(
            f"race: {racers} racers from {starts} starts for {steps} steps are {racers * starts * (steps + 1):,} "
            f"points to keep, more than {MOST:,}; take fewer, or landscapes.basins, which keeps only the ends"
        )


def group(rules: Sequence[Rule]) -> list[tuple[np.ndarray, Rule]]:
    """Return the rules of one static structure stacked, each leaf (racers, ...), with their places in the list."""
    members: dict[Any, list[int]] = {}
    for place, rule in enumerate(rules):
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(rule))
        members.setdefault((jax.tree.structure(rule), shapes), []).append(place)
    return [
        (np.array(places), jax.tree.map(lambda *leaves: np.asarray(leaves), *(rules[i] for i in places)))
        for places in members.values()
    ]


class Stand(NamedTuple):
    """Where one racer from one start is, and how it fares."""

    turn: Turn
    status: jax.Array
    ended: jax.Array
    left: jax.Array  # (2,): where the step led that was its last, if it diverged


def begin(rule: Rule, landscape: Landscape, start: jax.Array, tolerance: jax.Array) -> Stand:
    turn = rule.begin(landscape, start, tolerance, isinstance(landscape, Noisy))
    return Stand(turn, jnp.where(turn.converged, CONVERGED, RUNNING).astype(jnp.int32), jnp.int32(0), start)


def advance(
    rule: Rule, landscape: Landscape, stand: Stand, number: jax.Array, tolerance: jax.Array, noise: jax.Array | None
) -> Stand:
    """Take step ``number`` (0, 1, ...), unless the racer has ended."""
    turn = rule.step(landscape, stand.turn, tolerance, noise)
    middle, reach = frame_of(landscape)
    away = length(turn.position - jnp.asarray(middle))
    # A NaN is no number below the reach.
    sound = (away <= reach) & jnp.isfinite(turn.value) & jnp.isfinite(turn.norm)
    lost = turn.lost | ~sound
    running = stand.status == RUNNING
    ended = jnp.where(turn.converged, CONVERGED, jnp.where(turn.stuck, STALLED, RUNNING))
    status = jnp.where(lost, DIVERGED, ended).astype(jnp.int32)
    # A solver may look about once more and find that it had arrived, or can go no further.
    still = (turn.position[0] == stand.turn.position[0]) & (turn.position[1] == stand.turn.position[1])
    moved = ~still | (status == RUNNING) | (status == DIVERGED)
    kept = jax.tree.map(lambda new, old: jnp.where(running & ~lost, new, old), turn, stand.turn)
    return Stand(
        kept,
        jnp.where(running, status, stand.status),
        jnp.where(running, number + moved, stand.ended).astype(jnp.int32),
        jnp.where(running, turn.position, stand.left),
    )


@eqx.filter_jit
def _tracks(
    landscape: Landscape,
    rules: Rule,
    racers: int,
    starts: jax.Array,
    tolerance: jax.Array,
    key: jax.Array,
    steps: int,
) -> Track:
    """Run one kind of racer; the leaves of the result are (racers, starts, ...)."""
    places = jnp.arange(len(starts))
    exact = isinstance(rules, Solving) or not isinstance(landscape, Noisy)

    def first(rule: Rule) -> Stand:
        return jax.vmap(lambda start: begin(rule, landscape, start, tolerance))(starts)

    def turn(stands: Stand, number: jax.Array) -> tuple[Stand, Any]:
        noise = None if exact else landscape.draw(key, number, places)  # type: ignore[attr-defined]

        def one(rule: Rule, stand: Stand, noise: Any) -> Stand:
            return advance(rule, landscape, stand, number, tolerance, noise)

        after = jax.vmap(jax.vmap(one, (None, 0, None if exact else 0)), (0, 0, None))(rules, stands, noise)
        return after, _seen(after)

    # A pair of init and update has no numbers of its own to count the racers by.
    stands = jax.vmap(first, axis_size=racers)(rules)
    last, seen = lax.scan(turn, stands, jnp.arange(steps))
    history = jax.tree.map(lambda a, b: jnp.moveaxis(jnp.concatenate([a[None], b]), 0, 2), _seen(stands), seen)
    ended = jnp.where(last.status == RUNNING, steps, last.ended)
    positions, values, norms = history
    return Track(positions, values, norms, last.status, ended, last.turn.evaluations, last.left)


def _seen(stands: Stand) -> tuple[jax.Array, jax.Array, jax.Array]:
    return stands.turn.position, stands.turn.value, stands.turn.norm

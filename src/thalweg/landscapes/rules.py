"""How each kind of racer takes a step: an optimizer by its update, a solver by one turn of its loop.

A rule is for one racer at one start; `jax.vmap` makes it many. Both kinds look alike to the race:
``begin`` at a start, then ``step`` after step, each of which tells where the racer now stands.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import is_open
from thalweg.landscapes.base import Landscape
from thalweg.landscapes.plane_newton import PlaneHessian
from thalweg.optimizers import KFAC, SGD, Muon, Optimizer, RandomSearch, as_optimizer
from thalweg.schedules import bind_all
from thalweg.solvers import BFGS, LBFGS, Newton
from thalweg.solvers.descent import OUTCOMES, Method, Objective, State, begin, step
from thalweg.solvers.minimize import SmoothSolver
from thalweg.solvers.newton import FullHessian
from thalweg.solvers.solution import CONVERGED, NO_OPTIMUM, NOT_FINITE, STALLED

__all__ = ["Descent", "Rule", "Solving", "Turn", "label", "length", "rule_of"]


class Turn(NamedTuple):
    """Where a racer stands after a turn, and what its rule says of it."""

    inner: Any  # all that the rule needs for its next step
    position: jax.Array  # (2,)
    value: jax.Array
    norm: jax.Array  # of the noise-free gradient
    converged: jax.Array
    lost: jax.Array
    stuck: jax.Array  # it will not move again, though it has not converged
    evaluations: jax.Array  # gradients asked for so far


class Descent(eqx.Module):
    """An optimizer over the gradients of a landscape."""

    optimizer: Any

    def begin(self, landscape: Landscape, start: jax.Array, tolerance: jax.Array, noisy: bool) -> Turn:
        state = self.optimizer.init(start)
        return self._turn(landscape, start, landscape.gradient(start), state, tolerance, noisy, jnp.int32(0))

    def step(self, landscape: Landscape, turn: Turn, tolerance: jax.Array, noise: jax.Array | None) -> Turn:
        params, gradient, state = turn.inner
        seen = gradient if noise is None else gradient + noise
        updates, state = self.optimizer.update(seen, state, params)
        params = params + updates
        count = turn.evaluations + 1
        return self._turn(landscape, params, landscape.gradient(params), state, tolerance, noise is not None, count)

    def _turn(
        self,
        landscape: Landscape,
        params: jax.Array,
        gradient: jax.Array,
        state: Any,
        tolerance: jax.Array,
        noisy: bool,
        count: jax.Array,
    ) -> Turn:
        position, slope = params, gradient
        if hasattr(self.optimizer, "judged"):
            position = self.optimizer.judged(state, params)
            slope = landscape.gradient(position)
        norm = length(slope)
        # Under noise a small slope ends nothing: the optimizer cannot see it, and the next draw moves it on.
        converged = jnp.zeros((), bool) if noisy else norm <= tolerance
        no = jnp.zeros((), bool)
        return Turn((params, gradient, state), position, landscape.value(position), norm, converged, no, no, count)


class Solving(eqx.Module):
    """A solver, one iteration a step; its stop is its own."""

    method: Method = eqx.field(static=True)
    tolerance: Any
    iterations: Any

    def begin(self, landscape: Landscape, start: jax.Array, tolerance: jax.Array, noisy: bool) -> Turn:
        state = begin(self._objective(landscape, start), self.method)
        return self._turn((start, state), tolerance)

    def step(self, landscape: Landscape, turn: Turn, tolerance: jax.Array, noise: jax.Array | None) -> Turn:
        start, state = turn.inner
        after = step(self._objective(landscape, start), self.method, self._most(), state)
        after = jax.tree.map(lambda new, old: jnp.where(turn.stuck, old, new), after, state)
        return self._turn((start, after), tolerance)

    def _most(self) -> jax.Array:
        return jnp.asarray(self.iterations, jnp.int32)

    def _objective(self, landscape: Landscape, start: jax.Array) -> Objective:
        return Objective(landscape.value, start, jnp.asarray(self.tolerance, start.dtype), jnp.zeros((), start.dtype))

    def _turn(self, inner: tuple[jax.Array, State], tolerance: jax.Array) -> Turn:
        _, state = inner
        norm = length(state.point.gradient)
        stalled = state.status == OUTCOMES.index(STALLED)
        converged = (state.status == OUTCOMES.index(CONVERGED)) | (stalled & (norm <= tolerance))
        stuck = (stalled & ~converged) | (state.iterations >= self._most())
        lost = (state.status == OUTCOMES.index(NO_OPTIMUM)) | (state.status == OUTCOMES.index(NOT_FINITE))
        position, value = state.point.weights, state.point.value
        return Turn(inner, position, value, norm, converged, lost, stuck, state.evaluations)


Rule: TypeAlias = Descent | Solving


def length(vector: jax.Array) -> jax.Array:
    """Return ‖v‖ of a pair, written out: XLA's sum over an axis of two is no vector code."""
    return jnp.sqrt(vector[0] * vector[0] + vector[1] * vector[1])


def rule_of(racer: Any, steps: int) -> Rule:
    """Return the rule of an optimizer or solver for a race of that many steps.

    Schedules are bound to the race: one epoch of ``steps`` steps. Raises UsageError for a racer that
    cannot walk a plane, or that holds a range.
    """
    if isinstance(racer, SmoothSolver):
        method = racer.method(2)
        # The same formulas, written out for two numbers: LAPACK is called once a racer and start otherwise.
        method = PlaneHessian() if type(method) is FullHessian else method
        return Solving(method, float(racer.tolerance), int(racer.iterations))
    if isinstance(racer, type):
        raise UsageError(f"a racer is the class {racer.__name__}; give an instance, such as {racer.__name__}(...)")
    optimizer = as_optimizer(racer)
    _check_usable(optimizer)
    if any(is_open(leaf) for leaf in jax.tree.leaves(optimizer, is_leaf=is_open)):
        raise UsageError(f"a racer holds a range: {racer!r}; give a list of racers, one for each value")
    bound: Rule = Descent(bind_all(optimizer, steps=steps, steps_per_epoch=steps, batch_size=1))
    return bound


def _check_usable(optimizer: Any) -> None:
    reasons = {
        RandomSearch: "it takes no steps: it draws weights and keeps the best",
        KFAC: "its curvature is that of a network's layers, and a landscape has none",
        Muon: "its step is for matrices, and a point of the plane is none (it would be Adam by another name)",
    }
    for kind, reason in reasons.items():
        if isinstance(optimizer, kind):
            raise UsageError(f"{kind.__name__} cannot race on a landscape: {reason}; take it out")


_SOLVERS: dict[type, str] = {Newton: "Newton", BFGS: "BFGS", LBFGS: "L-BFGS"}


def label(racer: Any) -> str:
    """Return a racer's short name: its kind and its (highest or first) learning rate."""
    if isinstance(racer, SmoothSolver):
        return _SOLVERS.get(type(racer), type(racer).__name__)
    kind = getattr(racer, "name", type(racer).__name__)
    if isinstance(racer, SGD) and racer.momentum is not None:
        kind = "Nesterov" if racer.nesterov else "Momentum"
    if not isinstance(racer, Optimizer):
        return "Optax" if type(racer).__module__.startswith("optax") else str(kind)
    if hasattr(racer, "factory"):
        kind = getattr(racer.factory, "__name__", kind)
    rate = racer.learning_rate
    return str(kind) if rate is None else f"{kind} {float(rate.base):.3g}"


def differences(racers: list[Any]) -> list[str]:
    """Return for each of several racers of one kind the plain fields in which they differ, in words."""
    names = {f.name for r in racers if dataclasses.is_dataclass(r) for f in dataclasses.fields(r) if f.init}
    told = [{n: getattr(r, n, None) for n in names} for r in racers]
    plain = [n for n in sorted(names) if all(isinstance(t[n], (int, float, str, type(None))) for t in told)]
    apart = [n for n in plain if len({t[n] for t in told}) > 1]
    return [", ".join(f"{n} {t[n]}" for n in apart) for t in told]

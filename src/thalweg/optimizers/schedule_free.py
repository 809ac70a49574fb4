"""Schedule-free learning: an average of the points takes the place of a falling rate."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import Number
from thalweg.optimizers.base import Conventional, Tree, average, corrections, map_leaves, settle, zeros_like
from thalweg.optimizers.conventions import Convention

__all__ = ["ScheduleFreeAdamW", "ScheduleFreeSGD", "ScheduleFreeState"]


class ScheduleFreeState(NamedTuple):
    """Steps taken, Σ w, the largest rate so far, the base optimizer's point z, and its mean of g² (or None)."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as Optax's states do
    weight_sum: jax.Array
    peak: jax.Array
    base: Tree
    second: Tree


class _ScheduleFree(Conventional):
    """What both have in common: three points, of which z and y are kept.

    y = (1 − β)z + βx is where the gradient is taken: the parameters that the
    caller holds. z −= α (d + λy) is the base optimizer's step in a direction
    d. x += c (z − x) is the weighted mean of all z, with c = w / Σw and w the
    square of the largest rate so far; x is recovered from y and z. A proximal
    step at y would move x but not z, so there is no ``step_size``.
    """

    BOUNDS: ClassVar[Mapping[str, Mapping[str, float]]] = {
        **Conventional.BOUNDS,
        "beta": {"above": 0.0, "below": 1.0},  # at 0, y = z says nothing of x
    }
    COMPLEMENTS: ClassVar[tuple[str, ...]] = ("beta",)
    beta: Number
    one_minus_beta: Number = eqx.field(init=False, default=None, repr=False)

    @abc.abstractmethod
    def _direction(self, gradients: Tree, second: Tree, count: Any) -> tuple[Tree, Tree]:
        """Return d and the new mean of g² (or None), for the step number count (1, 2, ...)."""

    def init(self, params: Tree) -> ScheduleFreeState:
        # A copy: a loop that donates params and state would else hand over one buffer twice.
        base = jax.tree.map(jnp.array, params)
        return ScheduleFreeState(jnp.zeros((), jnp.int32), jnp.zeros(()), jnp.zeros(()), base, None)

    def update(self, gradients: Tree, state: ScheduleFreeState, params: Tree = None) -> tuple[Tree, ScheduleFreeState]:
        if params is None:
            raise UsageError(f"{self.name}: it needs the parameters: update(gradients, state, params)")
        rate = self.rate(state.count)
        direction, second = self._direction(gradients, state.second, state.count + 1)
        step = map_leaves(lambda a, d: -a * d, rate, direction)
        step = self.with_decoupled_decay(step, params, state.count)
        base = jax.tree.map(jnp.add, state.base, step)

        peak = jnp.maximum(state.peak, rate.astype(state.peak.dtype))
        weight_sum = state.weight_sum + jnp.square(peak)
        # While the rate is still 0 there is nothing to average.
        share = jnp.where(weight_sum > 0, jnp.square(peak) / jnp.where(weight_sum > 0, weight_sum, 1), 0)
        # y' − y = (1 − β)(z' − z) + βc(z' − x), with βx = y − (1 − β)z put in: no division by β.
        updates = map_leaves(
            lambda n, s, z, old, y: n[1] * s + n[2] * (n[0] * (z - y) + n[1] * (old - y)),
            (self.beta, self.one_minus_beta, share),
            step, base, state.base, params,
        )  # fmt: skip
        updates, base, second = settle(updates, base, second)
        return updates, ScheduleFreeState(state.count + 1, weight_sum, peak, base, second)

    def judged(self, state: ScheduleFreeState, params: Tree) -> Tree:
        """Return x = z + (y − z) / β: the parameters to evaluate and to keep."""
        return map_leaves(lambda b, z, y: z + (y - z) / b, self.beta, state.base, params)


def _rows(**defaults: float) -> dict[str, Convention]:
    return {"thalweg": Convention({"beta": 0.9, **defaults}, decay="decoupled", decays_biases=False)}


class ScheduleFreeSGD(_ScheduleFree):
    """Schedule-free gradient descent (Defazio et al. 2024, "The road less scheduled").

    z −= α (g(y) + λy), x += c (z − x), y = (1 − β)z + βx, where c = w / Σw and
    w is the square of the largest rate so far. The length of the run need not be
    known, and the rate stays as it is: give a number, or ``Warmup(steps, rate)``.

    The caller's parameters are y, where gradients are taken; what is judged
    and kept is their mean x, ``judged(state, params)``. Both start at one point.

    Arguments:
        learning_rate: α, a number or a schedule, by default 1: larger than that
            of gradient descent, often 10 times.
        beta: β, by default 0.9, between 0 and 1. Near 0 it is the plain mean of
            the points of gradient descent (Polyak), near 1 gradients are taken at the mean.
        weight_decay: λ; None is none. Biases are spared.
    """

    name: ClassVar[str] = "ScheduleFreeSGD"
    kind: ClassVar[str] = "schedule_free_sgd"
    ROWS: ClassVar[Mapping[str, Convention]] = _rows(learning_rate=1.0)

    def __init__(
        self,
        learning_rate: Any = None,
        beta: Number | None = None,
        weight_decay: Number | None = None,
        convention: Any = "thalweg",
    ) -> None:
        self.fill(convention, learning_rate, beta=beta, weight_decay=weight_decay)

    def _direction(self, gradients: Tree, second: Tree, count: Any) -> tuple[Tree, Tree]:
        return gradients, None


class ScheduleFreeAdamW(_ScheduleFree):
    """Schedule-free AdamW (Defazio et al. 2024, "The road less scheduled").

    s += (1 − β2)(g² − s), z −= α (g / (√ŝ + ε) + λy) with ŝ = s / (1 − β2ᵗ);
    x and y as in `ScheduleFreeSGD`: the mean takes the place of Adam's
    momentum, β that of β1.

    Arguments:
        learning_rate: α, a number or a schedule, by default 2.5e-3: 1 to 10
            times that of AdamW. The authors warm up, ``Warmup(steps, rate)``.
        beta: β, by default 0.9; for long runs 0.95 or 0.98.
        beta2: β2, by default 0.999.
        epsilon: ε, by default 1e-8.
        weight_decay: λ; None is none. Biases are spared.
    """

    name: ClassVar[str] = "ScheduleFreeAdamW"
    kind: ClassVar[str] = "schedule_free_adamw"
    ROWS: ClassVar[Mapping[str, Convention]] = _rows(learning_rate=2.5e-3, beta2=0.999, epsilon=1e-8)
    COMPLEMENTS: ClassVar[tuple[str, ...]] = ("beta", "beta2")
    beta2: Number
    epsilon: Number
    one_minus_beta2: Number = eqx.field(init=False, default=None, repr=False)

    def __init__(
        self,
        learning_rate: Any = None,
        beta: Number | None = None,
        beta2: Number | None = None,
        epsilon: Number | None = None,
        weight_decay: Number | None = None,
        convention: Any = "thalweg",
    ) -> None:
        self.fill(convention, learning_rate, beta=beta, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay)

    def init(self, params: Tree) -> ScheduleFreeState:
        return super().init(params)._replace(second=zeros_like(params))

    def _direction(self, gradients: Tree, second: Tree, count: Any) -> tuple[Tree, Tree]:
        second = average(self.one_minus_beta2, second, jax.tree.map(jnp.square, gradients))
        numbers = (corrections(self.one_minus_beta2, count), self.epsilon)
        return map_leaves(lambda n, g, s: g / (jnp.sqrt(s / n[0]) + n[1]), numbers, gradients, second), second

"""RMSProp: steps scaled by a leaky mean of squared gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.fields import Number, check_flag
from thalweg.optimizers.base import Conventional, Tree, average, map_leaves, settle, zeros_like
from thalweg.optimizers.conventions import Convention, rows_of

__all__ = ["RMSProp", "RMSPropState"]


class RMSPropState(NamedTuple):
    """Steps taken, the leaky means of g² and (if centered) g, the momentum's buffer."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as Optax's states do
    second: Tree
    first: Tree
    velocity: Tree


class RMSProp(Conventional):
    """RMSProp (Tieleman & Hinton 2012): s = d s + (1 − d) g², x −= α g / (√s + ε).

    Arguments:
        learning_rate: α, a number or a schedule.
        decay: d, by default 0.99 (Optax, Keras: 0.9).
        epsilon: ε, by default 1e-7 (PyTorch, Optax: 1e-8; Optax, Keras: √(s + ε)).
        momentum: ρ; v = ρv + g / (√s + ε), x −= αv (Optax, Keras: α inside v).
            None keeps no buffer.
        centered: True divides by the spread √(s − m²), m the leaky mean of g
            (Graves 2013).
        weight_decay: λ; None is none. Its gradient λx joins g (in Keras'
            convention x −= αλx beside the step). Biases are spared in the
            "thalweg" convention.
        convention: "thalweg", "torch", "optax" or "keras".
    """

    name: ClassVar[str] = "RMSProp"
    ROWS: ClassVar[Mapping[str, Convention]] = rows_of("RMSProp")
    COMPLEMENTS: ClassVar[tuple[str, ...]] = ("decay", "momentum")
    decay: Number
    epsilon: Number
    momentum: Number
    centered: Any = eqx.field(static=True)
    one_minus_decay: Number = eqx.field(init=False, default=None, repr=False)
    one_minus_momentum: Number = eqx.field(init=False, default=None, repr=False)

    def __init__(
        self,
        learning_rate: Any = None,
        decay: Number | None = None,
        epsilon: Number | None = None,
        momentum: Number | None = None,
        centered: Any = False,
        weight_decay: Number | None = None,
        convention: Any = "thalweg",
    ) -> None:
        self.fill(convention, learning_rate, decay=decay, epsilon=epsilon, momentum=momentum, weight_decay=weight_decay)
        self.centered = centered
        check_flag(self.name, "centered", centered)

    def init(self, params: Tree) -> RMSPropState:
        first = zeros_like(params) if self.centered else None
        velocity = None if self.momentum is None else zeros_like(params)
        return RMSPropState(jnp.zeros((), jnp.int32), zeros_like(params), first, velocity)

    def update(self, gradients: Tree, state: RMSPropState, params: Tree = None) -> tuple[Tree, RMSPropState]:
        gradients = self.with_coupled_decay(gradients, params)
        second = average(self.one_minus_decay, state.second, jax.tree.map(jnp.square, gradients))
        first = average(self.one_minus_decay, state.first, gradients) if self.centered else None
        second, first = settle(second, first)
        after = RMSPropState(state.count + 1, second, first, None)
        rate = self.rate(state.count)
        scaled = jax.tree.map(jnp.divide, gradients, self._roots(after))
        updates, velocity = self._move(scaled, state.velocity, rate)
        updates = self.with_decoupled_decay(updates, params, state.count)
        return updates, after._replace(velocity=velocity)

    def step_size(self, state: RMSPropState, params: Tree = None) -> Tree:
        size = self.rate(state.count - 1)
        if self.momentum is not None:
            size = size / self.one_minus_momentum
        return map_leaves(lambda a, root: a / root, size, self._roots(state))

    def _move(self, scaled: Tree, velocity: Tree, rate: Any) -> tuple[Tree, Tree]:
        if self.momentum is None:
            return map_leaves(lambda a, u: -a * u, rate, scaled), None
        inside = self.rules.rate == "inside"
        numbers = (self.momentum, -rate if inside else 1.0)
        velocity = map_leaves(lambda n, v, u: n[0] * v + n[1] * u, numbers, velocity, scaled)
        return velocity if inside else map_leaves(lambda a, v: -a * v, rate, velocity), velocity

    def _roots(self, state: RMSPropState) -> Tree:
        spread = state.second
        if self.centered:
            # Rounding can take s - m² just below 0 where the gradient is constant.
            spread = jax.tree.map(lambda s, m: jnp.maximum(s - jnp.square(m), 0), spread, state.first)
        return map_leaves(lambda epsilon, s: self.root(s, epsilon), self.epsilon, spread)

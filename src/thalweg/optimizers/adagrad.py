"""AdaGrad: steps that shrink with the sum of squared gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from thalweg.fields import Number
from thalweg.optimizers.base import Conventional, Tree, map_leaves, settle
from thalweg.optimizers.conventions import Convention, rows_of

__all__ = ["AdaGrad", "AdaGradState"]


class AdaGradState(NamedTuple):
    """Steps taken, and the sum of g²."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as Optax's states do
    total: Tree


class AdaGrad(Conventional):
    """AdaGrad (Duchi, Hazan & Singer 2011): s += g², x −= α g / (√s + ε).

    Arguments:
        learning_rate: α, a number or a schedule.
        epsilon: ε, by default 1e-7 (PyTorch: 1e-10; Optax and Keras: √(s + ε)).
        initial_accumulator: s before the first step, by default 0 (Optax, Keras: 0.1).
        weight_decay: λ; None is none. Its gradient λx joins g (in Keras'
            convention x −= αλx beside the step). Biases are spared in the
            "thalweg" convention.
        convention: "thalweg", "torch", "optax" or "keras".
    """

    name: ClassVar[str] = "AdaGrad"
    ROWS: ClassVar[Mapping[str, Convention]] = rows_of("AdaGrad")
    epsilon: Number
    initial_accumulator: Number

    def __init__(
        self,
        learning_rate: Any = None,
        epsilon: Number | None = None,
        initial_accumulator: Number | None = None,
        weight_decay: Number | None = None,
        convention: Any = "thalweg",
    ) -> None:
        self.fill(
            convention,
            learning_rate,
            epsilon=epsilon,
            initial_accumulator=initial_accumulator,
            weight_decay=weight_decay,
        )

    def init(self, params: Tree) -> AdaGradState:
        total = map_leaves(lambda start, x: jnp.full_like(x, start), self.initial_accumulator, params)
        return AdaGradState(jnp.zeros((), jnp.int32), total)

    def update(self, gradients: Tree, state: AdaGradState, params: Tree = None) -> tuple[Tree, AdaGradState]:
        gradients = self.with_coupled_decay(gradients, params)
        total = jax.tree.map(lambda s, g: s + jnp.square(g), state.total, gradients)
        after = AdaGradState(state.count + 1, *settle(total))
        updates = jax.tree.map(lambda step, g: -step * g, self.step_size(after, params), gradients)
        return self.with_decoupled_decay(updates, params, state.count), after

    def step_size(self, state: AdaGradState, params: Tree = None) -> Tree:
        numbers = (self.rate(state.count - 1), self.epsilon)
        return map_leaves(lambda n, s: n[0] / self.root(s, n[1]), numbers, state.total)

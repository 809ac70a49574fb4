"""Adam, and AdamW with its weight decay beside the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.fields import Number, check_flag, check_option
from thalweg.optimizers.base import Conventional, Tree, average, corrections, map_leaves, settle, zeros_like
from thalweg.optimizers.conventions import Convention, rows_of

__all__ = ["Adam", "AdamState", "AdamW"]


class AdamState(NamedTuple):
    """Steps taken, and the leaky means of g and g²."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as Optax's states do
    first: Tree
    second: Tree


class Adam(Conventional):
    """Adam (Kingma & Ba 2015).

    m += (1 − β1)(g − m), s += (1 − β2)(g² − s), x −= α m̂ / (√ŝ + ε), where
    m̂ = m / (1 − β1ᵗ), ŝ = s / (1 − β2ᵗ) and t = 1, 2, ...

    Arguments:
        learning_rate: α, a number or a schedule; 1e-3 by default (Optax has none).
        beta1: β1, by default 0.9.
        beta2: β2, by default 0.999.
        epsilon: ε, by default 1e-8 (Keras: 1e-7, and added before the correction).
        bias_correction: False leaves m and s as they are; the first step is then
            (1 − β1)/√(1 − β2), by default 3.2, times as long as it should be.
        weight_decay: λ; None is none. Its gradient λx enters the moments (in
            Keras' convention it acts beside the step, as in `AdamW`). Biases
            are spared in the "thalweg" convention.
        convention: "thalweg", "torch", "optax" or "keras".
    """

    name: ClassVar[str] = "Adam"
    ROWS: ClassVar[Mapping[str, Convention]] = rows_of("Adam")
    COMPLEMENTS: ClassVar[tuple[str, ...]] = ("beta1", "beta2")
    beta1: Number
    beta2: Number
    epsilon: Number
    bias_correction: Any = eqx.field(static=True)
    one_minus_beta1: Number = eqx.field(init=False, default=None, repr=False)
    one_minus_beta2: Number = eqx.field(init=False, default=None, repr=False)

    def __init__(
        self,
        learning_rate: Any = None,
        beta1: Number | None = None,
        beta2: Number | None = None,
        epsilon: Number | None = None,
        bias_correction: Any = True,
        weight_decay: Number | None = None,
        convention: Any = "thalweg",
    ) -> None:
        self.fill(convention, learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay)
        self.bias_correction = bias_correction
        check_flag(self.name, "bias_correction", bias_correction)

    def init(self, params: Tree) -> AdamState:
        return AdamState(jnp.zeros((), jnp.int32), zeros_like(params), zeros_like(params))

    def update(self, gradients: Tree, state: AdamState, params: Tree = None) -> tuple[Tree, AdamState]:
        gradients = self.with_coupled_decay(gradients, params)
        first = average(self.one_minus_beta1, state.first, gradients)
        second = average(self.one_minus_beta2, state.second, jax.tree.map(jnp.square, gradients))
        after = AdamState(state.count + 1, *settle(first, second))
        correction, _ = self._corrections(after)
        steps = self.step_size(after, params)
        updates = map_leaves(lambda c, m, step: -step * (m / c), correction, after.first, steps)
        return self.with_decoupled_decay(updates, params, state.count), after

    def step_size(self, state: AdamState, params: Tree = None) -> Tree:
        _, correction = self._corrections(state)
        epsilon = self.epsilon / jnp.sqrt(correction) if self.rules.epsilon == "uncorrected" else self.epsilon
        numbers = (self.rate(state.count - 1), correction, epsilon)
        return map_leaves(lambda n, s: n[0] / self.root(s / n[1], n[2]), numbers, state.second)

    def _corrections(self, state: AdamState) -> tuple[Any, Any]:
        if not self.bias_correction:
            return 1.0, 1.0
        return corrections(self.one_minus_beta1, state.count), corrections(self.one_minus_beta2, state.count)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    x −= α m̂ / (√ŝ + ε) + scale · λ · x.

    Arguments:
        weight_decay: λ, by default 1e-2 (Optax: 1e-4, Keras: 4e-3).
        decay_scaling: "rate": scale is the learning rate α(t), as in PyTorch,
            Optax and Keras; "multiplier": scale is α(t) / α_base, the schedule
            alone, as in the paper, so that λ and the rate can be tuned apart.
        others: as in `Adam`.

    Biases are not decayed in the "thalweg" convention; the other conventions
    decay every parameter, as those libraries do.
    """

    name: ClassVar[str] = "AdamW"
    ROWS: ClassVar[Mapping[str, Convention]] = rows_of("AdamW")
    decay_scaling: Any = eqx.field(static=True)

    def __init__(
        self,
        learning_rate: Any = None,
        beta1: Number | None = None,
        beta2: Number | None = None,
        epsilon: Number | None = None,
        weight_decay: Number | None = None,
        decay_scaling: Any = "rate",
        bias_correction: Any = True,
        convention: Any = "thalweg",
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, bias_correction, weight_decay, convention)
        self.decay_scaling = decay_scaling
        check_option(self.name, "decay_scaling", decay_scaling, ("rate", "multiplier"))

    def decay_scale(self, count: Any) -> jax.Array:
        rate = self.rate(count)
        if self.decay_scaling == "rate":
            return rate
        base = jnp.asarray(self.learning_rate.base)
        return jnp.where(base > 0, rate / jnp.where(base > 0, base, 1), 0)

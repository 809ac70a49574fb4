"""Lion: the sign of a leaky mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.fields import Number
from thalweg.optimizers.base import Conventional, Tree, average, map_leaves, settle, zeros_like
from thalweg.optimizers.conventions import Convention

__all__ = ["Lion", "LionState"]

_NUMBERS = {"beta1": 0.9, "beta2": 0.99}


class LionState(NamedTuple):
    """Steps taken, and the leaky mean of g."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as Optax's states do
    mean: Tree


class Lion(Conventional):
    """Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms").

    u = sign(m + (1 − β1)(g − m)), x −= α (u + λx), m += (1 − β2)(g − m): every
    entry moves by α, whatever its gradient, so the rate is 3 to 10 times smaller
    than Adam's, and the decay as much larger. It keeps one buffer; Adam keeps two.

    Under a constant gradient the step of an entry would be α / |m|, and under the noise of minibatches m passes
    through 0, so there is no ``step_size``.

    Arguments:
        learning_rate: α, a number or a schedule; 1e-4 by default.
        beta1: β1, the mean's share in the step, by default 0.9.
        beta2: β2, of the mean itself, by default 0.99.
        weight_decay: λ, beside the step; None is none (in Optax' convention
            1e-3). Biases are spared in the "thalweg" convention.
        convention: "thalweg" or "optax".
    """

    name: ClassVar[str] = "Lion"
    ROWS: ClassVar[Mapping[str, Convention]] = {
        "thalweg": Convention({"learning_rate": 1e-4, **_NUMBERS}, decay="decoupled", decays_biases=False),
        "optax": Convention({**_NUMBERS, "weight_decay": 1e-3}, decay="decoupled"),
    }
    COMPLEMENTS: ClassVar[tuple[str, ...]] = ("beta1", "beta2")
    beta1: Number
    beta2: Number
    one_minus_beta1: Number = eqx.field(init=False, default=None, repr=False)
    one_minus_beta2: Number = eqx.field(init=False, default=None, repr=False)

    def __init__(
        self,
        learning_rate: Any = None,
        beta1: Number | None = None,
        beta2: Number | None = None,
        weight_decay: Number | None = None,
        convention: Any = "thalweg",
    ) -> None:
        self.fill(convention, learning_rate, beta1=beta1, beta2=beta2, weight_decay=weight_decay)

    def init(self, params: Tree) -> LionState:
        return LionState(jnp.zeros((), jnp.int32), zeros_like(params))

    def update(self, gradients: Tree, state: LionState, params: Tree = None) -> tuple[Tree, LionState]:
        direction = average(self.one_minus_beta1, state.mean, gradients)
        updates = map_leaves(lambda a, c: -a * jnp.sign(c), self.rate(state.count), direction)
        # The direction reads the old mean: it must be done before the new one overwrites it.
        updates, mean = settle(updates, average(self.one_minus_beta2, state.mean, gradients))
        return self.with_decoupled_decay(updates, params, state.count), LionState(state.count + 1, mean)

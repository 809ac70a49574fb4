"""Averages of the weights over the steps, judged and kept in place of the last weights."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.fields import Number, check_number
from thalweg.optimizers.base import complement, corrections

__all__ = ["Averaged", "ExponentialAverage"]


class Averaged(NamedTuple):
    """Steps averaged over, and the leaky mean before its correction."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as Optax's states do
    mean: Any


class ExponentialAverage(eqx.Module):
    """A leaky mean of the weights w over the steps t (Polyak & Juditsky 1992, in the leaky form in use).

    ``m += (1 − d)(w − m)`` from m = 0, and the average is ``m / (1 − dᵗ)``. Training goes
    on from w; validation, selection and the model file have the average. Running
    statistics (of batch normalisation) are averaged along with the weights.

    Arguments:
        decay: d in [0, 1), by default 0.999: the last 1 / (1 − d) = 1,000 steps count. It
            pays where the learning rate stays high; a rate that falls to 0 averages by itself.
    """

    decay: Number = 0.999
    one_minus_decay: Number = eqx.field(init=False, default=None, repr=False)
    kind: ClassVar[str] = "exponential"

    def __check_init__(self) -> None:
        check_number("ExponentialAverage", "decay", self.decay, least=0, below=1)
        # Set after Equinox's look at the fields: it warns of derived ones, which a gradient by the original misses.
        object.__setattr__(self, "one_minus_decay", complement(self.decay))

    def init(self, tree: Any) -> Averaged:
        """Return the mean of no steps."""
        return Averaged(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, tree))

    def update(self, state: Averaged, tree: Any) -> Averaged:
        """Take one more step's weights in."""

        def moved(mean: jax.Array, now: jax.Array) -> jax.Array:
            if not jnp.issubdtype(now.dtype, jnp.floating):
                return now  # a counter has no mean
            return mean + jnp.asarray(self.one_minus_decay, mean.dtype) * (now - mean)

        return Averaged(state.count + 1, jax.tree.map(moved, state.mean, tree))

    def value(self, state: Averaged, tree: Any) -> Any:
        """Return the average; before the first step the tree itself."""
        share = corrections(self.one_minus_decay, jnp.maximum(state.count, 1))

        def corrected(mean: jax.Array, now: jax.Array) -> jax.Array:
            if not jnp.issubdtype(now.dtype, jnp.floating):
                return now
            return jnp.where(state.count > 0, mean / share.astype(mean.dtype), now)

        return jax.tree.map(corrected, state.mean, tree)

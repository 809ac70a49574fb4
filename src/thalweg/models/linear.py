"""The linear classifier."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import Number, check_flag, check_number

__all__ = ["Linear"]


class Linear(eqx.Module):
    """``s = W x + b``: a row of W is one class's template.

    Parameters are ``{"weight": (classes, features), "bias": (classes,)}``; inputs of
    any shape are flattened. Weights start at ``scale × N(0, 1)`` and biases at 0.

    Arguments:
        scale: default 1e-4, so small that the first loss is ln C for softmax and C − 1
            for the hinge; 0 starts at zero, where both losses are convex anyway.
        bias: whether there is a b.
    """

    scale: Number = 1e-4
    bias: Any = eqx.field(default=True, static=True)
    kind: ClassVar[str] = "linear"

    def __check_init__(self) -> None:
        check_number("Linear", "scale", self.scale, least=0)
        check_flag("Linear", "bias", self.bias)

    def init(
        self, key: jax.Array, input_shape: tuple[int, ...], classes: int
    ) -> tuple[dict[str, jax.Array], tuple[()]]:
        """Return fresh parameters and the empty state."""
        weight = jax.random.normal(key, (classes, math.prod(input_shape)))
        params = {"weight": jnp.asarray(self.scale, weight.dtype) * weight}
        if self.bias:
            params["bias"] = jnp.zeros(classes, weight.dtype)
        return params, ()

    def apply(
        self, params: dict[str, jax.Array], state: Any, x: jax.Array, *, key: jax.Array | None, training: bool
    ) -> tuple[jax.Array, Any]:
        """Return the scores ``(B, classes)`` of a batch ``(B, *input_shape)``; state passes through."""
        weight = params["weight"]
        x = x.reshape(x.shape[0], -1)  # (B, features)
        if x.shape[1] != weight.shape[1]:
            raise UsageError(f"Linear: the batch has {x.shape[1]} features, the weights {weight.shape[1]}")
        scores = x @ weight.T
        if "bias" in params:
            scores = scores + params["bias"][None, :]
        return scores, state

"""Fully connected networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import Number, check_flag, check_integer, check_number, check_option, check_optional
from thalweg.models.layers import (
    ACTIVATIONS,
    INITIALISATIONS,
    affine,
    batch_norm,
    draw_weight,
    dropout,
    fresh_norm,
)
from thalweg.ranges import Choice

__all__ = ["OUTPUT", "Dense", "sizes"]

Tree = Any
OUTPUT = "output"


def sizes(value: Any) -> Any:
    """Take one number for one layer, and a list for a tuple."""
    if isinstance(value, Choice):
        return Choice(tuple(sizes(option) for option in value.options))
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


class Dense(eqx.Module):
    """A fully connected network; with one hidden layer ``s = W2 max(0, W1 x + b1) + b2``.

    A hidden layer is affine, then batch normalisation (if any), the activation,
    dropout (if any); the output layer is affine. Inputs of any shape are flattened.

    Parameters are ``{"layer_1": {"weight": (h1, features), "bias": (h1,)}, ..., "output":
    {"weight": (classes, h), "bias": (classes,)}}``; a normalised layer has ``norm_scale``
    and ``norm_offset`` (h,) in the bias's place, and ``mean`` and ``variance`` in the
    state. Hidden weights start as `initialisation` says, biases at 0.

    Arguments:
        hidden: the sizes of the hidden layers; one number is one layer. (): none.
        activation: "relu", "tanh", "sigmoid", "gelu" or "silu".
        dropout: the rate in [0, 1) at which hidden units are dropped in training; None
            (default): no such layer.
        batch_norm: whether hidden layers are normalised over the batch.
        initialisation: "he" or "xavier"; see `layers.draw_weight`.
        scale: multiplies the hidden layers' first weights.
        output_scale: multiplies the output layer's, by default 0.1, so that the first
            loss is near ln C for softmax and C − 1 for the hinge (row D5).
        momentum: what share of a running statistic a batch replaces; default 0.1.
        epsilon: added to the variance that batch normalisation divides by; default 1e-5.

    The trials of a cohort share the draws of dropout: at a higher rate more units are
    dropped, and they include those that a lower rate drops.
    """

    hidden: Any = eqx.field(default=(100,), static=True, converter=sizes)
    activation: Any = eqx.field(default="relu", static=True)
    dropout: Number | None = None
    batch_norm: Any = eqx.field(default=False, static=True)
    initialisation: Any = eqx.field(default="he", static=True)
    scale: Number = 1.0
    output_scale: Number = 0.1
    momentum: Number = 0.1
    epsilon: Number = 1e-5
    kind: ClassVar[str] = "dense"

    def __check_init__(self) -> None:
        for hidden in self.hidden.options if isinstance(self.hidden, Choice) else (self.hidden,):
            for size in hidden:
                if isinstance(size, str):
                    raise UsageError(f"Dense: hidden is {size!r}; give the sizes of the hidden layers, such as (100,)")
                check_integer("Dense", "hidden", size, least=1)
        check_option("Dense", "activation", self.activation, tuple(ACTIVATIONS))
        check_optional("Dense", "dropout", self.dropout, least=0, below=1)
        check_flag("Dense", "batch_norm", self.batch_norm)
        check_option("Dense", "initialisation", self.initialisation, INITIALISATIONS)
        for name in ("scale", "output_scale"):
            check_number("Dense", name, getattr(self, name), least=0)
        check_number("Dense", "momentum", self.momentum, above=0, most=1)
        check_number("Dense", "epsilon", self.epsilon, above=0)

    def init(self, key: jax.Array, input_shape: tuple[int, ...], classes: int) -> tuple[Tree, Tree]:
        """Return fresh parameters, and the running statistics: the empty state without batch normalisation."""
        widths = (math.prod(input_shape), *self.hidden, classes)
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}
        for place, name in enumerate(self._names()):
            fan_in, size = widths[place : place + 2]
            draw = jax.random.fold_in(key, place)
            scale = self.output_scale if name == OUTPUT else self.scale
            params[name] = {"weight": draw_weight(draw, (size, fan_in), fan_in, size, self.initialisation, scale)}
            if self.batch_norm and name != OUTPUT:
                norm, state[name] = fresh_norm(size)
                params[name] |= norm
            else:
                params[name]["bias"] = jnp.zeros(size)
        return params, state or ()

    def apply(
        self, params: Tree, state: Tree, x: jax.Array, *, key: jax.Array | None, training: bool
    ) -> tuple[jax.Array, Tree]:
        """Return the scores ``(B, classes)`` of a batch ``(B, *input_shape)``, and the state after it."""
        scores, after, _ = self.trace(params, state, x, None, key=key, training=training)
        return scores, after

    def trace(
        self,
        params: Tree,
        state: Tree,
        x: jax.Array,
        taps: Mapping[str, jax.Array] | None,
        *,
        key: jax.Array | None,
        training: bool,
    ) -> tuple[jax.Array, Tree, dict[str, jax.Array]]:
        """Do as `apply`, and return each affine layer's input (B, in) as well, by the layer's name.

        ``taps`` (B, out), by name, are added to what the layers give: a gradient with
        respect to them is each example's gradient at that layer.
        """
        x = x.reshape(x.shape[0], -1)  # (B, features)
        inputs, after = {}, {}
        for place, name in enumerate(self._names()):
            layer = params[name]
            if x.shape[1] != layer["weight"].shape[1]:
                raise UsageError(f"Dense: the batch has {x.shape[1]} features, the weights {layer['weight'].shape[1]}")
            inputs[name] = x
            x = affine(layer, x)
            if taps is not None:
                x = x + taps[name]
            if name == OUTPUT:
                break
            if "norm_scale" in layer:
                numbers = {"momentum": self.momentum, "epsilon": self.epsilon}
                x, after[name] = batch_norm(layer, state[name], x, training=training, **numbers)
            x = ACTIVATIONS[self.activation](x)
            draw = None if key is None else jax.random.fold_in(key, place)
            x = dropout(x, self.dropout, draw, training=training)
        return x, after or (), inputs

    def _names(self) -> tuple[str, ...]:
        """The layers in their order, which a tree's sorted names are not."""
        return (*(f"layer_{place}" for place in range(1, len(self.hidden) + 1)), OUTPUT)

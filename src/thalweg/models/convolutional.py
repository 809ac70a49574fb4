"""A small residual network for images."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import Number, check_flag, check_integer, check_number, check_option, check_optional
from thalweg.models import pooling
from thalweg.models.convolution import convolve
from thalweg.models.dense import OUTPUT, sizes
from thalweg.models.layers import (
    affine,
    batch_norm,
    draw_weight,
    dropout,
    fresh_norm,
    stochastic_depth,
    survival_probabilities,
)
from thalweg.ranges import Choice

__all__ = ["Convolutional"]

Tree = Any
POOLINGS = ("max", "average", "fractional")
_POOLS = 2**16  # draws of poolings are numbered from here on, those of blocks from 1


class Convolutional(eqx.Module):
    """A residual network (He et al. 2016): stages of blocks, pooled in between, then a mean over the image.

    A 3 × 3 convolution makes ``width`` channels. A block is ``max(0, x + f(x))`` with f two
    3 × 3 convolutions, the first rectified, both batch-normalised. Between stages the
    image is pooled and a 1 × 1 convolution doubles the channels. The mean of each channel
    over the image (and dropout, if any) feeds an affine output layer.

    Parameters are ``{"stem": ..., "block_1_first": ..., "block_1_second": ..., "widen_2": ...,
    "output": {"weight": (classes, channels), "bias": (classes,)}}``, a convolution's
    weight being (height, width, channels in, channels out); ``norm_scale`` and
    ``norm_offset``, or ``bias`` without batch normalisation, have one number a channel.

    Arguments:
        width: channels of the first stage.
        blocks: residual blocks of each stage; (1, 1, 1) are three stages.
        pooling: between stages: "max" or "average" over 2 × 2 pixels, or "fractional", the
            maximum over regions that shrink the image by ``ratio`` (Graham 2014).
        ratio: of fractional pooling, above 1 and below 2; it sets sizes, so trials of one
            program share it.
        cuts: "pseudorandom" or "random": how fractional regions are drawn; see `pooling`.
        overlapping: whether fractional regions share their edges.
        batch_norm: whether convolutions are normalised over the batch.
        stochastic_depth: p_L, with which the last block survives a training step; block l
            of L survives with 1 − l/L (1 − p_L) (Huang et al. 2016). None: all do.
        dropout: the rate in [0, 1) of the channels' means; None: no such layer.
        scale, output_scale, momentum, epsilon: as in `Dense`.
    """

    width: Any = eqx.field(default=16, static=True)
    blocks: Any = eqx.field(default=(1, 1, 1), static=True, converter=sizes)
    pooling: Any = eqx.field(default="max", static=True)
    ratio: Any = eqx.field(default=1.5, static=True, metadata={"size": True})
    cuts: Any = eqx.field(default="pseudorandom", static=True)
    overlapping: Any = eqx.field(default=True, static=True)
    batch_norm: Any = eqx.field(default=True, static=True)
    stochastic_depth: Number | None = None
    dropout: Number | None = None
    scale: Number = 1.0
    output_scale: Number = 0.1
    momentum: Number = 0.1
    epsilon: Number = 1e-5
    kind: ClassVar[str] = "convolutional"
    # One trial fills the machine; side by side they would be grouped convolutions, many times slower on a CPU.
    one_by_one: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_integer("Convolutional", "width", self.width, least=1)
        for stages in self.blocks.options if isinstance(self.blocks, Choice) else (self.blocks,):
            if not isinstance(stages, tuple) or not stages:
                raise UsageError(f"Convolutional: blocks is {stages!r}; give the blocks of each stage, such as (1, 1)")
            for count in stages:
                check_integer("Convolutional", "blocks", count, least=1)
        check_option("Convolutional", "pooling", self.pooling, POOLINGS)
        check_number("Convolutional", "ratio", self.ratio, above=1, below=2)
        check_option("Convolutional", "cuts", self.cuts, pooling.KINDS)
        for name in ("overlapping", "batch_norm"):
            check_flag("Convolutional", name, getattr(self, name))
        check_optional("Convolutional", "stochastic_depth", self.stochastic_depth, above=0, most=1)
        check_optional("Convolutional", "dropout", self.dropout, least=0, below=1)
        for name in ("scale", "output_scale"):
            check_number("Convolutional", name, getattr(self, name), least=0)
        check_number("Convolutional", "momentum", self.momentum, above=0, most=1)
        check_number("Convolutional", "epsilon", self.epsilon, above=0)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a UsageError unless examples of that shape are images that can be pooled between all stages."""
        if len(shape) != 3:
            raise UsageError(
                f"Convolutional takes images (height, width, channels), and the examples have shape {shape}: "
                "take models.Dense, or leave image features out if there are any"
            )
        times = 2 ** (len(self.blocks) - 1)
        if self.pooling != "fractional" and any(side % times for side in shape[:2]):
            raise UsageError(
                f"Convolutional: {len(self.blocks)} stages halve images {len(self.blocks) - 1} times, and these are "
                f"{shape[0]} × {shape[1]}: resize them with image_size to multiples of {times}, take fewer stages "
                "(blocks), or pooling 'fractional'"
            )
        size: tuple[int, ...] = shape[:2]
        for _ in self.blocks[1:]:
            if self.pooling == "fractional":
                size = tuple(pooling.fractional_size(side, self.ratio) for side in size)

    def init(self, key: jax.Array, input_shape: tuple[int, ...], classes: int) -> tuple[Tree, Tree]:
        """Return fresh parameters, and the running statistics: the empty state without batch normalisation."""
        self.check(input_shape)
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}
        for place, (name, side, before, after) in enumerate(self._convolutions(input_shape[2])):
            shape, fan = (side, side, before, after), side * side
            draw = jax.random.fold_in(key, place)
            params[name] = {"weight": draw_weight(draw, shape, fan * before, fan * after, "he", self.scale)}
            if self.batch_norm:
                norm, state[name] = fresh_norm(after)
                params[name] |= norm
            else:
                params[name]["bias"] = jnp.zeros(after)
        channels = self.width * 2 ** (len(self.blocks) - 1)
        draw = jax.random.fold_in(key, len(params))
        weight = draw_weight(draw, (classes, channels), channels, classes, "he", self.output_scale)
        params[OUTPUT] = {"weight": weight, "bias": jnp.zeros(classes)}
        return params, state or ()

    def _convolutions(self, channels: int) -> list[tuple[str, int, int, int]]:
        """List every convolution: its name, its side in pixels, and its channels in and out."""
        found = [("stem", 3, channels, self.width)]
        width, block = self.width, 0
        for stage, count in enumerate(self.blocks, start=1):
            if stage > 1:
                found.append((f"widen_{stage}", 1, width, 2 * width))
                width *= 2
            for _ in range(count):
                block += 1
                found += [(f"block_{block}_{part}", 3, width, width) for part in ("first", "second")]
        return found

    def apply(
        self, params: Tree, state: Tree, x: jax.Array, *, key: jax.Array | None, training: bool
    ) -> tuple[jax.Array, Tree]:
        """Return the scores ``(B, classes)`` of images ``(B, height, width, channels)``, and the state after them."""
        after: dict[str, Any] = {}

        def convolution(name: str, x: jax.Array) -> jax.Array:
            layer = params[name]
            x = convolve(x, layer["weight"])
            if not self.batch_norm:
                return x + layer["bias"].reshape(1, 1, 1, -1)
            numbers = {"momentum": self.momentum, "epsilon": self.epsilon}
            x, after[name] = batch_norm(layer, state[name], x, training=training, **numbers)
            return x

        def draw(place: int) -> jax.Array | None:
            return None if key is None else jax.random.fold_in(key, place)

        survival = self._survival()
        x = jax.nn.relu(convolution("stem", x))
        block = 0
        for stage, count in enumerate(self.blocks, start=1):
            if stage > 1:
                x = jax.nn.relu(convolution(f"widen_{stage}", self._pool(x, draw(_POOLS + stage), training)))
            for _ in range(count):
                block += 1
                residual = jax.nn.relu(convolution(f"block_{block}_first", x))
                residual = convolution(f"block_{block}_second", residual)
                if survival is not None:
                    residual = stochastic_depth(residual, survival[block - 1], draw(block), training=training)
                x = jax.nn.relu(x + residual)
        x = dropout(jnp.mean(x, axis=(1, 2)), self.dropout, draw(0), training=training)
        return affine(params[OUTPUT], x), after or ()

    def _survival(self) -> list[Any] | None:
        if self.stochastic_depth is None:
            return None
        return survival_probabilities(self.stochastic_depth, sum(self.blocks))

    def _pool(self, x: jax.Array, key: jax.Array | None, training: bool) -> jax.Array:
        if self.pooling == "max":
            return pooling.max_pool(x)
        if self.pooling == "average":
            return pooling.average_pool(x)
        chosen = key if training else None
        return pooling.fractional_max_pool(x, self.ratio, chosen, kind=self.cuts, overlapping=self.overlapping)

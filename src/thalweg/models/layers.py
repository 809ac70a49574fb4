"""Layers: pure functions, with their state given and returned.

Numbers such as a dropout rate are arguments, so they may be leaves of a recipe
that differ between the trials of one program. What is drawn at random hangs on
the key alone: trials that share a key share the draws, and a rate only sets how
many of them count. ``training`` is a Python bool: the two behaviours are two
programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import Number

__all__ = [
    "ACTIVATIONS", "INITIALISATIONS", "affine", "batch_norm", "draw_weight", "dropout", "fresh_norm",
    "stochastic_depth", "survival_probabilities",
]  # fmt: skip

ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
}
INITIALISATIONS = ("he", "xavier")


def draw_weight(
    key: jax.Array, shape: tuple[int, ...], fan_in: int, fan_out: int, kind: str, scale: Number
) -> jax.Array:
    """Draw weights from ``scale × N(0, variance)``.

    "he": variance 2 / fan_in, which keeps the size of a signal through rectified
    units (He et al. 2015). "xavier": 2 / (fan_in + fan_out), for units that are
    linear around 0 (Glorot & Bengio 2010).
    """
    variance = 2 / fan_in if kind == "he" else 2 / (fan_in + fan_out)
    weight = jax.random.normal(key, shape)
    return jnp.asarray(scale, weight.dtype) * float(np.sqrt(variance)) * weight


def affine(params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
    """Return ``W x + b`` (B, out) of a batch (B, in); W is (out, in), b may be absent."""
    y = x @ params["weight"].T
    return y + params["bias"][None, :] if "bias" in params else y


def dropout(x: jax.Array, rate: Number | None, key: jax.Array | None, *, training: bool) -> jax.Array:
    """Set each entry to 0 with probability ``rate`` and divide the others by 1 − rate; outside training return x.

    The mean is that of x, so that nothing is left to be scaled in evaluation ("inverted
    dropout"; Srivastava et al. 2014 multiply the weights by 1 − rate there). rate None
    means that there is no such layer, and nothing is drawn.
    """
    if rate is None or not training:
        return x
    rate = jnp.asarray(rate, x.dtype)
    kept = jax.random.uniform(_needed(key, "dropout"), x.shape, x.dtype) >= rate
    return jnp.where(kept, x / (1 - rate), 0)


def fresh_norm(size: int) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Return the parameters and the state of a new `batch_norm` of that many features or channels."""
    ones, zeros = jnp.ones(size), jnp.zeros(size)
    return {"norm_scale": ones, "norm_offset": zeros}, {"mean": zeros, "variance": ones}


def batch_norm(
    params: Mapping[str, jax.Array],
    state: dict[str, jax.Array],
    x: jax.Array,
    *,
    momentum: Number,
    epsilon: Number,
    training: bool,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Normalise each feature (last axis) over all others: ``γ (x − μ)/√(σ² + ε) + β`` (Ioffe & Szegedy 2015).

    In training μ and σ² are the batch's mean and (biased) variance, and the running
    ones move towards them: ``running += momentum · (batch − running)``, with the
    unbiased variance, as in PyTorch. In evaluation μ and σ² are the running ones.
    γ is ``norm_scale`` and β ``norm_offset``; penalties and decay spare both by name.

    Raises a UsageError for a training batch with one value a feature: it has no variance.
    """
    if training:
        count = x.size // x.shape[-1]
        if count < 2:
            raise UsageError(
                "batch normalisation needs at least two values a feature to learn from, and the batch has one example: "
                "set batch_size to 2 or more, or batch_norm to false"
            )
        axes = tuple(range(x.ndim - 1))
        mean = jnp.mean(x, axes)
        variance = jnp.mean(jnp.square(x - _last(mean, x)), axes)
        step = jnp.asarray(momentum, x.dtype)
        batch = {"mean": mean, "variance": variance * (count / (count - 1))}
        state = {name: old + (step * (batch[name] - old)).astype(old.dtype) for name, old in state.items()}
    else:
        mean, variance = state["mean"].astype(x.dtype), state["variance"].astype(x.dtype)
    factor = params["norm_scale"] * jax.lax.rsqrt(variance + jnp.asarray(epsilon, x.dtype))
    return (x - _last(mean, x)) * _last(factor, x) + _last(params["norm_offset"], x), state


def stochastic_depth(residual: jax.Array, survival: Number, key: jax.Array | None, *, training: bool) -> jax.Array:
    """Drop a residual branch f for a whole batch with probability 1 − p (Huang et al. 2016).

    In training return b f with b ~ Bernoulli(p), in evaluation its mean p f.
    """
    survival = jnp.asarray(survival, residual.dtype)
    if not training:
        return survival * residual
    stays = jax.random.uniform(_needed(key, "stochastic depth"), (), residual.dtype) < survival
    return jnp.where(stays, residual, 0)


def survival_probabilities(last: Number, blocks: int) -> list[Any]:
    """Return p_l = 1 − l/L (1 − p_L) for l = 1 ... L: the deeper, the likelier a block is dropped."""
    return [1 - block / blocks * (1 - last) for block in range(1, blocks + 1)]


def _needed(key: jax.Array | None, layer: str) -> jax.Array:
    if key is None:
        raise UsageError(f"{layer} draws at random in training: give apply a key")
    return key


def _last(values: jax.Array, x: jax.Array) -> jax.Array:
    """Lay one number a feature along x's last axis."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)

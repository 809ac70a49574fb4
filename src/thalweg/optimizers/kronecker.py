"""The Kronecker factors of a dense network's curvature: observed, damped, inverted, applied.

For an affine layer s = Wa (a ends in a 1 where there is a bias), an example's
gradient with respect to W is g aᵀ, where g is its gradient with respect to s.
The layer's block of the Fisher matrix, E[g gᵀ ⊗ a aᵀ] over the entries of W row
by row, is taken as E[g gᵀ] ⊗ E[a aᵀ]: exact where g and a are independent.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from thalweg.errors import UsageError
from thalweg.losses import Softmax
from thalweg.optimizers.base import Tree

__all__ = ["Factors", "Layers", "damped_inverses", "fill", "layers_of", "observe", "precondition"]

Layers = dict[str, Any]
# Folded into the step's key: other draws than those that a model makes from the same key.
_LABELS = 0x6B666163


class Factors(NamedTuple):
    """Two symmetric matrices a layer, by its name; or their inverses."""

    inputs: Layers  # (in, in), with a row and a column for the 1 where there is a bias
    outputs: Layers  # (out, out)


def layers_of(params: Tree) -> Layers:
    """Return the affine layers of a network: each dict in params with a matrix called ``weight``."""
    if not isinstance(params, dict):
        return {}
    return {
        name: layer
        for name, layer in params.items()
        if isinstance(layer, dict) and jnp.ndim(layer.get("weight", 0)) == 2
    }


def fill(layers: Layers, value: float) -> Factors:
    """Return ``value`` times the identity for every factor."""

    def square(size: int, layer: Any) -> jax.Array:
        return value * jnp.eye(size, dtype=layer["weight"].dtype)

    return Factors(
        {name: square(layer["weight"].shape[1] + ("bias" in layer), layer) for name, layer in layers.items()},
        {name: square(layer["weight"].shape[0], layer) for name, layer in layers.items()},
    )


def observe(model: Any, loss: Any, params: Tree, state: Any, x: Any, labels: Any, weight: Any, key: Any) -> Factors:
    """Return the factors of a batch: weighted means of a aᵀ and g gᵀ over its examples.

    labels (B,) are those of the data, or None: drawn from the softmax of the
    scores. The mean over such draws is the Fisher matrix, which is the
    Gauss-Newton matrix of the softmax loss; with the data's labels it is the
    "empirical" one, which vanishes with the loss. Rows of weight 0 count for nothing
    (but with batch normalisation they belong to the batch that the others are normalised by).
    """
    layers = layers_of(params)
    taps = {name: jnp.zeros((x.shape[0], one["weight"].shape[0]), one["weight"].dtype) for name, one in layers.items()}

    def total(taps: Layers) -> tuple[jax.Array, Layers]:
        scores, _, inputs = model.trace(params, state, x, taps, key=key, training=True)
        if labels is None:
            drawn = jax.random.categorical(jax.random.fold_in(key, _LABELS), jax.lax.stop_gradient(scores))
            # Smoothed labels, if any, would shrink g: the curvature is that of the plain loss.
            losses = Softmax()(scores, drawn)
        else:
            losses = loss(scores, labels)
        return jnp.sum(jnp.where(weight > 0, losses, 0)), inputs

    # A sum, not a mean: what comes back to an example's tap is its own gradient, whatever the batch.
    backward, inputs = jax.grad(total, has_aux=True)(taps)
    if missing := [name for name in layers if name not in inputs]:
        raise UsageError(
            f"KFAC: the model's trace gives no input of the layer {missing[0]!r}; let it return that of every layer "
            "of params with a weight matrix"
        )
    share = (weight / jnp.maximum(jnp.sum(weight), 1e-30))[:, None]  # a batch may hold weightless examples alone
    return Factors(
        {name: _moment(_extended(inputs[name], layer), share) for name, layer in layers.items()},
        {name: _moment(backward[name], share) for name in layers},
    )


def _extended(a: jax.Array, layer: Any) -> jax.Array:
    a = a.reshape(a.shape[0], -1)
    return jnp.concatenate([a, jnp.ones_like(a[:, :1])], axis=1) if "bias" in layer else a


def _moment(rows: jax.Array, share: jax.Array) -> jax.Array:
    return (rows * share.astype(rows.dtype)).T @ rows


def damped_inverses(factors: Factors, damping: Any) -> Factors:
    """Return (A + π√λ I)⁻¹ and (G + √λ/π I)⁻¹ of each layer, π² = (tr A / dim A) / (tr G / dim G).

    Their Kronecker product is that of A ⊗ G + λI but for the cross terms, which
    this π, of the mean eigenvalues, keeps small (Martens & Grosse 2015, section 6.3).
    """
    inverses = Factors({}, {})
    for name in factors.inputs:
        a, g = factors.inputs[name], factors.outputs[name]
        root = jnp.sqrt(jnp.asarray(damping, a.dtype))
        # Examples fitted to the last digit leave G = 0, and damping alone: the floor keeps π finite there.
        balance = jnp.sqrt(jnp.maximum(_mean_eigenvalue(a), 1e-30) / jnp.maximum(_mean_eigenvalue(g), 1e-30))
        inverses.inputs[name] = _inverse(a, balance * root)
        inverses.outputs[name] = _inverse(g, root / balance)
    return inverses


def _mean_eigenvalue(matrix: jax.Array) -> jax.Array:
    return jnp.trace(matrix) / matrix.shape[0]


# One matrix after the other: a batch of them, within the training loop, may never end on a CPU.
@sequential_vmap
def _inverse(matrix: jax.Array, damping: jax.Array) -> jax.Array:
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(matrix + damping * identity), True), identity)


def precondition(gradients: Tree, inverses: Factors) -> Tree:
    """Return G⁻¹ V A⁻¹ in the places of the layers' weight and bias, V = [∂W ∂b]; the other leaves as they are."""
    turned = {}
    for name, layer in layers_of(gradients).items():
        weight, bias = layer["weight"], layer.get("bias")
        both = weight if bias is None else jnp.concatenate([weight, bias[:, None]], axis=1)
        both = inverses.outputs[name] @ both @ inverses.inputs[name]
        turned[name] = {**layer, "weight": both[:, : weight.shape[1]]}
        if bias is not None:
            turned[name]["bias"] = both[:, -1]
    return {**gradients, **turned} if turned else gradients

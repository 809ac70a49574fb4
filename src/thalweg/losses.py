"""Losses: how wrong the class scores of each example are.

A loss maps scores ``(N, C)`` and integer labels ``(N,)`` to one number per
example ``(N,)``; the mean over examples and the penalty are added elsewhere.
Labels lie in ``[0, C)``: any other label gives an infinite loss,
because an error cannot be raised from inside a compiled program. NaN stays NaN,
so that a diverged trial is seen.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import Number, check_optional

__all__ = ["Hinge", "Loss", "Softmax"]


@runtime_checkable
class Loss(Protocol):
    """What a loss is: a callable, its name, and whether it is differentiable everywhere."""

    kind: ClassVar[str]
    smooth: ClassVar[bool]

    def __call__(self, scores: jax.Array, labels: jax.Array) -> jax.Array:
        """Return the loss of each example: ``scores (N, C), labels (N,) -> (N,)``."""
        ...


class Softmax(eqx.Module):
    """Cross-entropy of the softmax: ``L = −log(exp(s_y) / Σ_j exp(s_j))`` (natural logarithm).

    Neither huge scores overflow, nor is the small loss of a well-fitted example
    rounded to 0, nor its gradient p_y − 1. Scores of −inf count as limits.
    Convex and smooth; the Hessian is at most ½(I − 11ᵀ/C) (Böhning 1992).

    Arguments:
        smoothing: ε in [0, 1]: each label counts as 1 − ε of its class and ε of all classes
            alike, which adds ``ε (s_y − mean_j s_j)`` (Szegedy et al. 2016). None (default)
            and 0 are the plain loss. With ε the loss is above 0 at its best.
    """

    smoothing: Number | None = None
    kind: ClassVar[str] = "softmax"
    smooth: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_optional("Softmax", "smoothing", self.smoothing, least=0, most=1)

    def __call__(self, scores: jax.Array, labels: jax.Array) -> jax.Array:
        scores, labels = _checked(scores, labels)
        loss = _softmax(scores, labels)
        if self.smoothing is None:
            return loss
        smoothing = jnp.asarray(self.smoothing, loss.dtype)
        shifted = scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
        true = jnp.sum(jnp.where(_own(scores, labels), shifted, 0), axis=-1)
        return loss + jnp.where(smoothing > 0, smoothing * (true - jnp.mean(shifted, axis=-1)), 0)


class Hinge(eqx.Module):
    """Multiclass SVM, the sum over classes: ``L = Σ_{j≠y} max(0, s_j − s_y + 1)``.

    At the kink the gradient is that of the flat side: 0 where s_j − s_y + 1 = 0.
    Convex, not smooth. Weston and Watkins 1999.
    """

    kind: ClassVar[str] = "hinge"
    smooth: ClassVar[bool] = False

    def __call__(self, scores: jax.Array, labels: jax.Array) -> jax.Array:
        return _hinge(*_checked(scores, labels))


# The derivatives are written by hand for two reasons: derived ones round the small
# p_y − 1 to 0 and split the hinge's kink in halves, and they cost up to four times as much.


@jax.custom_jvp
def _softmax(scores: jax.Array, labels: jax.Array) -> jax.Array:
    _, _, rest, true = _softmax_parts(scores, labels)
    return (jnp.log1p(rest) - true)[..., 0]


@_softmax.defjvp
def _softmax_jvp(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, Any]) -> tuple[jax.Array, jax.Array]:
    own, others, rest, true = _softmax_parts(*primals)
    wrong = jnp.sum(others, axis=-1, keepdims=True)  # (N, 1)
    # dL/ds_j = p_j, and dL/ds_y = −Σ_{j≠y} p_j: the form p_y − 1 would cancel.
    slope = jnp.where(own, -wrong, others) / (1 + rest)  # (N, C)
    return (jnp.log1p(rest) - true)[..., 0], jnp.sum(slope * tangents[0], axis=-1)


def _softmax_parts(scores: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return own ``(N, C)``, exp(s_j − m) for j≠y ``(N, C)``, r and s_y − m ``(N, 1)``, where m = max_j s_j.

    r = Σ_j exp(s_j − m) − 1 is formed without the 1, so that L = log1p(r) − (s_y − m) keeps its digits.
    """
    own = _own(scores, labels)
    # Neither L nor its gradient depends on m, so none of max's ties may reach a second derivative.
    shifted = scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))  # (N, C)
    true = _true(shifted, own)
    others = jnp.where(own, 0, jnp.exp(shifted))
    return own, others, jnp.sum(others, axis=-1, keepdims=True) + jnp.expm1(true), true


@jax.custom_jvp
def _hinge(scores: jax.Array, labels: jax.Array) -> jax.Array:
    excess, wrong, _ = _hinge_parts(scores, labels)
    return jnp.sum(jnp.maximum(excess, 0) * wrong, axis=-1)


@_hinge.defjvp
def _hinge_jvp(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, Any]) -> tuple[jax.Array, jax.Array]:
    excess, wrong, own = _hinge_parts(*primals)
    active = (excess > 0).astype(excess.dtype) * wrong
    slope = active - jnp.sum(active, axis=-1, keepdims=True) * own  # (N, C)
    return jnp.sum(jnp.maximum(excess, 0) * wrong, axis=-1), jnp.sum(slope * tangents[0], axis=-1)


def _hinge_parts(scores: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return s_j − s_y + 1, and the masks j≠y and j=y as numbers; all ``(N, C)``.

    Masks are numbers to multiply by: the same in `where` became branches that the CPU guesses wrong, twice as slow.
    """
    own = _own(scores, labels)
    excess = scores - _true(scores, own) + 1
    return excess, (~own).astype(scores.dtype), own.astype(scores.dtype)


def _own(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mask ``(N, C)`` of the true classes."""
    return labels[..., None] == jax.lax.broadcasted_iota(labels.dtype, scores.shape, scores.ndim - 1)


def _true(scores: jax.Array, own: jax.Array) -> jax.Array:
    """Return s_y ``(N, 1)``, −inf for a label that is no class.

    Not a gather: backwards that is a scatter, slow on a CPU and worse under vmap.
    """
    return jnp.max(jnp.where(own, scores, -jnp.inf), axis=-1, keepdims=True)


def _checked(scores: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    scores, labels = jnp.asarray(scores), jnp.asarray(labels)
    if scores.ndim == 0 or labels.shape != scores.shape[:-1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise UsageError(
            f"labels are {labels.dtype}{list(labels.shape)} beside scores {list(scores.shape)}; "
            f"give one whole number per row of scores"
        )
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        scores = scores.astype(jnp.result_type(float))
    return scores, labels.astype(jnp.int32)

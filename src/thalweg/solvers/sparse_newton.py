"""Newton's step on the support of one sparse softmax member: what brings the gap down once the zeros are found.

With the signs of the weights held fixed the L1 penalty is linear, and the
objective smooth in the weights that are not 0. Their Newton system is solved
by conjugate gradients, preconditioned class by class with a Cholesky factor of
the Gram matrix of the class's own features times its mean curvature. A weight that
would change its sign stops at 0; one that is 0 though its gradient exceeds
lasso joins with the sign that the gradient calls for.

First-order steps find the support in about a hundred rounds and then need
thousands for a certificate of 1e-4, because its bound rests on the largest gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import logsumexp, softmax

__all__ = ["Member", "newton_step"]

_ROUNDS = 100  # of conjugate gradients
_REDUCTION = 1e-3  # of the residual, at which they stop
_DAMPING = 1e-6  # of the mean diagonal: duplicate features leave the Gram matrix singular
_HALVINGS = 6


class Member(NamedTuple):
    """One member: own (C, N) one-hot, weighting (N,), ridge, lasso."""

    own: np.ndarray
    weighting: np.ndarray
    ridge: float
    lasso: float


def newton_step(
    features: jax.Array,
    gram: np.ndarray,
    member: Member,
    weights: np.ndarray,
    scores: np.ndarray,
    gradient: np.ndarray,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return better weights (C, F) float32 and the change of the bias (C,), or None if the step does not descend.

    ``features`` (N, F) and ``gram`` (F, F) are float32; ``scores`` (C, N) and
    ``gradient`` (C, F), of the data loss, belong to ``weights``.
    """
    joins = (weights == 0) & (np.abs(gradient) > member.lasso)
    signs = np.where(joins, -np.sign(gradient), np.sign(weights))
    smooth = gradient + 2 * member.ridge * weights + member.lasso * signs
    system = _System.build(features, gram, member, scores, signs)
    slope = np.sum((system.p - member.own) * member.weighting, axis=1)
    change, shift = system.solve((-smooth * (signs != 0)).astype(np.float32), -slope)
    change = np.where((weights + change) * signs > 0, change, -weights)
    moved = np.asarray(_scores(features, change, shift.astype(np.float32)))
    step = _descend(member, weights, change, scores, moved)
    if step is None:
        return None
    return np.where(
        change == -weights, np.float32(1 - step) * weights, weights + np.float32(step) * change
    ), step * shift


@dataclass(frozen=True, eq=False)
class _System:
    """The Hessian on the support, and its preconditioner."""

    features: jax.Array  # (N, F) float32
    p: np.ndarray  # (C, N)
    narrow: jax.Array  # p in float32
    weighting: jax.Array  # (1, N) float32
    ridge: float
    support: np.ndarray  # (C, F)
    curvature: np.ndarray  # (C,)
    factors: list

    @classmethod
    def build(
        cls, features: jax.Array, gram: np.ndarray, member: Member, scores: np.ndarray, signs: np.ndarray
    ) -> _System:
        p = softmax(scores, axis=0)
        curvature = (p * (1 - p)) @ member.weighting
        curvature = np.maximum(curvature, 1e-6 * curvature.max())
        support, factors = signs != 0, []
        for own, curved in zip(support, curvature, strict=True):
            index = np.flatnonzero(own)
            block = curved * gram[np.ix_(index, index)].astype(np.float64)
            damping = _DAMPING * np.trace(block) / max(len(index), 1)
            block[np.diag_indices_from(block)] += 2 * member.ridge + damping
            factors.append(cho_factor(block, lower=True, overwrite_a=True, check_finite=False) if len(index) else None)
        lean = (jnp.asarray(p, jnp.float32), jnp.asarray(member.weighting[None], jnp.float32))
        return cls(features, p, *lean, member.ridge, support, curvature, factors)

    def apply(self, weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bent, slope = _curved(self.features, self.narrow, self.weighting, weights, bias.astype(np.float32))
        flat = np.asarray(bent) * self.support
        return flat + np.float32(2 * self.ridge) * weights, np.asarray(slope, np.float64)

    def precondition(self, weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out = np.zeros_like(weights)
        for label, factor in enumerate(self.factors):
            own = self.support[label]
            if factor is not None:
                out[label, own] = cho_solve(factor, weights[label, own], check_finite=False)
        return out, bias / self.curvature

    def solve(self, weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the solution of H x = (weights, bias), by conjugate gradients."""
        x, residual = (np.zeros_like(weights), np.zeros_like(bias)), (weights, bias)
        along = self.precondition(*residual)
        first = size = _dot(residual, along)
        for _ in range(_ROUNDS):
            curved = self.apply(*along)
            bend = _dot(along, curved)
            if bend <= 0 or size <= _REDUCTION**2 * first:
                break
            x, residual = _add(x, size / bend, along), _add(residual, -size / bend, curved)
            next_along = self.precondition(*residual)
            last, size = size, _dot(residual, next_along)
            along = _add(next_along, size / last, along)
        return x


@jax.jit
def _scores(features: jax.Array, weights: jax.Array, bias: jax.Array) -> jax.Array:
    return weights @ features.T + bias[:, None]


@jax.jit
def _curved(
    features: jax.Array, p: jax.Array, weighting: jax.Array, weights: jax.Array, bias: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the Hessian of the data loss times (weights, bias)."""
    s = weights @ features.T + bias[:, None]
    pulled = p * (s - jnp.sum(p * s, axis=0, keepdims=True)) * weighting
    return pulled @ features, jnp.sum(pulled, axis=1)


def _dot(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    return float(np.vdot(a[0], b[0]) + np.vdot(a[1], b[1]))


def _add(
    a: tuple[np.ndarray, np.ndarray], factor: float, b: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    return a[0] + a[0].dtype.type(factor) * b[0], a[1] + factor * b[1]


def _descend(
    member: Member, weights: np.ndarray, change: np.ndarray, scores: np.ndarray, moved: np.ndarray
) -> float | None:
    """Return the first of 1, ½, ¼ … that lowers the objective; scores are linear in the step."""

    def value(step: float) -> float:
        w, s = weights + np.float32(step) * change, scores + step * moved
        loss = (logsumexp(s, axis=0) - np.sum(member.own * s, axis=0)) @ member.weighting
        return float(loss + member.ridge * np.sum(w * w, dtype=float) + member.lasso * np.sum(np.abs(w), dtype=float))

    now = value(0)
    return next((step for step in 0.5 ** np.arange(_HALVINGS) if value(step) < now), None)

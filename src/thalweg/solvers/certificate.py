"""Certificates: for given weights, the objective and a bound on how far it lies above the minimum.

Everything here runs in float64 over blocks of the float32 features, for the
weights exactly as they are reported, whatever solver found them.

With α the dual point (for the softmax α_i = p_i − y_i, the loss's gradient at
the weights' own scores; for the hinge the multipliers that the solver hands
over), G = Σ ω_i α_i x_iᵀ, and φ(W) = ridge Σ W² + lasso Σ |W|, weak duality says

    minimum ≥ −Σ ω_i ℓ*(α_i) − φ*(−G)      wherever Σ ω_i α_i = 0,

the last because the bias is not penalised (Rockafellar 1970, section 31; Boyd and
Vandenberghe 2004, section 5.5). The softmax has −ℓ*(p − y) = H(p), the entropy, and the
hinge −ℓ*(α) = Σ_{j≠y} α_j for α_j in [0, 1] (Weston and Watkins 1999).

- φ*(−G) = Σ max(|G| − lasso, 0)² / (4 ridge). Without ridge it is infinite as
  soon as one |G| exceeds lasso; but since the minimiser has lasso Σ|W| ≤ P(W),
  φ may be restricted to the ball Σ|W| ≤ P(W)/lasso, whose conjugate is
  at most P(W)/lasso × max(max|G| − lasso, 0). Or α is shrunk to s α, s ≤ 1, until
  no |G| exceeds lasso. The better of the two counts.
- α in general misses Σ ω_i α_i = 0 by a little. It is mixed with a dual point
  that is the same for all examples of a class and makes up for the miss;
  −ℓ* is concave, so the mixture's value is at least the mixed values.

The softmax's gap is formed as a sum of terms that are not negative (Fenchel-Young),
so that it keeps its digits where the difference of primal and dual has none.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.losses import Hinge
from thalweg.precision import double
from thalweg.solvers.problem import Problem
from thalweg.solvers.products import pull_back, scores_of

__all__ = ["Certificate", "certify", "group"]

_ROWS = 256  # members × classes taken together: enough for a matrix product's full rate
_ENTRIES = 2**25  # scores held at once: 256 MiB
_NEWTON = 60  # steps for the bias, each of elementwise work only; from a solver's own bias 2 or 3 do
_ROUNDING = 1e-14  # of the value: what float64 sums of this length leave


@dataclass(frozen=True, eq=False)
class Certificate:
    """What is known of T members' weights.

    ``bias`` (T, C) is the best one for the weights (for the hinge, as given);
    ``value`` (T,) is the objective at both, ``bound`` (T,) is at least value − minimum, and at most the value.
    ``correct`` (T, N) says which examples the weights classify rightly, and
    ``held_out_loss`` (T,) is the mean loss over the examples of weight 0 (NaN
    where there are none): the scores are there anyway.
    """

    bias: np.ndarray
    value: np.ndarray
    bound: np.ndarray
    correct: np.ndarray
    held_out_loss: np.ndarray

    def replace(self, members: np.ndarray, other: Certificate) -> Certificate:
        """Return the certificate with other's rows in the place of those members."""
        changed = []
        for part in fields(self):
            rows = getattr(self, part.name).copy()
            rows[members] = getattr(other, part.name)
            changed.append(rows)
        return Certificate(*changed)

    @property
    def relative(self) -> np.ndarray:
        """bound / value: what tolerances are compared with."""
        return self.bound / self.value


def certify(
    problem: Problem, weights: np.ndarray, bias: np.ndarray, multipliers: np.ndarray | None = None
) -> Certificate:
    """Bound how far each member's weights (T, C, D) are from their optimum, with the bias (T, C) or a better one.

    ``multipliers`` (T, C, N) are the hinge's dual point: α_j in [0, 1] for the
    wrong classes (others are clipped), the true class's entry is ignored. The
    softmax needs none.
    """
    if isinstance(problem.loss, Hinge) != (multipliers is not None):
        raise ValueError("the hinge, and only the hinge, takes multipliers")
    means, shares = problem.class_means(), problem.class_shares()
    width = group(problem.classes, problem.examples)
    parts = []
    for start in range(0, len(problem), width):
        # A last group is filled up to a power of 2 with its last member, so that few sizes are compiled.
        size = min(width, 1 << (len(problem) - start - 1).bit_length())
        members = np.minimum(np.arange(start, start + size), len(problem) - 1)
        dual = None if multipliers is None else multipliers[members]
        parts.append(_certify(problem.take(members), weights[members], bias[members], dual, means, shares))
    whole = (np.concatenate([getattr(p, f.name) for p in parts])[: len(problem)] for f in fields(Certificate))
    return Certificate(*whole)


def group(classes: int, examples: int) -> int:
    """Return how many members are certified together."""
    return max(1, min(_ROWS // classes, _ENTRIES // (classes * examples)))


def _certify(
    problem: Problem,
    weights: np.ndarray,
    bias: np.ndarray,
    multipliers: np.ndarray | None,
    means: np.ndarray,
    shares: np.ndarray,
) -> Certificate:
    W = weights.astype(np.float64)
    with double():
        omega = problem.weightings[problem.rows]
        b = bias.astype(np.float64)
        if multipliers is None:
            b = b - b.mean(axis=1, keepdims=True)  # a shift of all classes changes nothing but the digits that are left
        pure = np.where(problem.ridge > 0, np.inf, problem.lasso)
        evaluated = _sums(problem.loss, problem.features, problem.labels, omega, W, b, multipliers, pure)
        sums = _Sums(*(np.asarray(part) for part in evaluated))
    G, miss, b = sums.gradient, sums.miss, sums.bias
    ridge, lasso = problem.ridge[:, None, None], problem.lasso[:, None, None]
    penalty = (ridge * W * W + lasso * np.abs(W)).sum(axis=(1, 2))
    value = sums.loss + penalty
    shares, means = shares[problem.rows], means[problem.rows]
    if multipliers is None:
        share, q = _softmax_mend(miss, shares)  # (T,), (T, C)
        constant = q[:, :, None] * means.sum(axis=1)[:, None, :] - means  # Σ ω (q − y) xᵀ
        mixed = _mix(share, G, constant)
        entropy = -np.sum(q * np.log(np.where(q > 0, q, 1)), axis=1)
        gap = (
            _fenchel_young(W, mixed, value, ridge, lasso)
            - share * np.sum(constant * W, axis=(1, 2))
            + (1 - share) * np.sum(miss * b, axis=1)
            + share * (sums.loss - entropy)
        )
        # The other way to a feasible point for L1: α shrunk until max |G| ≤ lasso.
        shrunk = _mix(share, sums.shrink[:, None, None] * G, sums.shrink[:, None, None] * constant)
        dual = (1 - share) * sums.dual + share * _shrunk_entropy(sums.shrink, q, shares)
        other = sums.loss - dual + _fenchel_young(W, shrunk, value, ridge, lasso) - np.sum(shrunk * W, (1, 2))
        gap = np.where(sums.shrink < 1, np.minimum(gap, other), gap)
    else:
        share, flow = _hinge_mend(miss, shares)  # (T,), (T, C, C): weight that moves from class y to class j
        kappa = flow / shares[:, :, None]
        constant = np.einsum("tyj,tyd->tjd", kappa, means) - kappa.sum(axis=2)[:, :, None] * means
        dual = (1 - share) * sums.dual + share * flow.sum(axis=(1, 2))
        mixed = _mix(share, G, constant)
        gap = sums.loss - dual + _fenchel_young(W, mixed, value, ridge, lasso) - np.sum(mixed * W, (1, 2))
    # A gap is never negative but by rounding: where it is, by more than that, the numbers prove nothing.
    bound = np.where(gap < -1e-9 * value, np.inf, np.maximum(gap, 0)) + _ROUNDING * value
    # Neither loss nor penalty is ever negative, so the minimum is not: the value itself is a bound.
    return Certificate(b, value, np.fmin(bound, value), sums.correct, sums.held_out)


def _mix(share: np.ndarray, own: np.ndarray, constant: np.ndarray) -> np.ndarray:
    return (1 - share)[:, None, None] * own + share[:, None, None] * constant


def _fenchel_young(
    weights: np.ndarray, gradient: np.ndarray, value: np.ndarray, ridge: np.ndarray, lasso: np.ndarray
) -> np.ndarray:
    """Return φ(W) + φ*(−G) + ⟨G, W⟩ ≥ 0, entry by entry not negative, for each member (T,)."""
    excess = np.maximum(np.abs(gradient) - lasso, 0)
    kept = np.clip(gradient, -lasso, lasso)
    # lasso|w| + clipped·w ≥ 0, and ridge w² + e²/(4 ridge) ± e·w = (2 ridge w ± e)² / (4 ridge).
    flat = np.sum(lasso * np.abs(weights) + kept * weights, axis=(1, 2))
    signed = np.sign(gradient) * excess
    with np.errstate(divide="ignore", invalid="ignore"):
        square = np.sum((2 * ridge * weights + signed) ** 2 / (4 * ridge), axis=(1, 2))
        ball = value / lasso[:, 0, 0] * excess.max(axis=(1, 2))
    ball = ball + np.sum(ridge * weights**2 + signed * weights, axis=(1, 2))
    return flat + np.fmin(square, ball)  # NaN where ridge or lasso is 0 and the form does not apply


def _softmax_mend(miss: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ε (T,) and q (T, C), a distribution, with (1 − ε) miss + ε (q − shares) = 0."""
    share = np.minimum(1, 2 * np.max(np.abs(miss) / shares, axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(share[:, None] > 0, (1 - share[:, None]) / share[:, None] * miss, 0)
    return share, shares - shift


def _shrunk_entropy(shrink: np.ndarray, q: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return Σ ω H(y + s (q − y)) (T,) for one distribution q (T, C) for all examples."""
    own = 1 - shrink[:, None] * (1 - q)  # (T, C): what the true class gets, by class
    other = shrink[:, None] * q
    terms = [-np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0) for p in (own, other)]
    return np.sum(shares * (terms[0] + terms[1].sum(axis=1, keepdims=True) - terms[1]), axis=1)


def _hinge_mend(miss: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ε (T,) and flow (T, C, C) in [0, shares_y], with (1 − ε) miss_c + ε (flow into c − flow out of c) = 0."""
    classes = shares.shape[1]
    base = shares.min(axis=1) / 2
    share = np.minimum(1, 2 * np.max(np.abs(miss), axis=1) / (classes * base))
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.where(share[:, None] > 0, -(1 - share[:, None]) / share[:, None] * miss, 0)
    flow = base[:, None, None] + (wanted[:, None, :] - wanted[:, :, None]) / (2 * classes)
    return share, flow * (1 - np.eye(classes))


class _Sums(NamedTuple):
    """What the examples add up to, for T members."""

    bias: Any  # (T, C), re-optimised where the loss is smooth
    loss: Any  # Σ ω ℓ
    dual: Any  # −Σ ω ℓ*: the hinge's Σ ω Σ_{j≠y} α_j, the softmax's Σ ω H of the shrunk point
    shrink: Any  # s (T,) ≤ 1 with s max |G| ≤ lasso; 1 where there is a ridge or all is well
    gradient: Any  # G (T, C, D)
    miss: Any  # Σ ω α (T, C)
    held_out: Any  # the mean loss over examples of weight 0
    correct: Any  # (T, N)


@jax.jit
def _sums(
    loss: Any, features: jax.Array, y: jax.Array, omega: jax.Array, W: jax.Array, b: jax.Array, alpha: Any,
    lasso: jax.Array,
) -> _Sums:  # fmt: skip
    """Evaluate members W (T, C, D), b (T, C) with example weights ω (T, N); lasso (T,) is infinite beside a ridge."""
    scores = scores_of(features, W)  # (T, C, N)
    own = y[None, None, :] == jnp.arange(W.shape[1], dtype=y.dtype)[None, :, None]
    if alpha is None:
        b = _best_bias(scores, own, omega, b)
        b = b - jnp.mean(b, axis=1, keepdims=True)
    scores = scores + b[:, :, None]
    each = jax.vmap(lambda one: loss(one.T, y))(scores)  # (T, N)
    if alpha is None:
        wrong = jnp.where(own, 0, jax.nn.softmax(scores, axis=1))
    else:
        wrong = jnp.where(own, 0, jnp.clip(alpha.astype(scores.dtype), 0, 1))
    # p − y without the cancellation of p_y − 1
    slopes = jnp.where(own, -jnp.sum(wrong, axis=1, keepdims=True), wrong) * omega[:, None, :]
    held = (omega == 0).astype(scores.dtype)
    gradient = pull_back(features, slopes)
    shrink = jnp.minimum(1, lasso / jnp.max(jnp.abs(gradient), axis=(1, 2)))
    return _Sums(
        bias=b,
        loss=jnp.sum(omega * each, axis=1),
        dual=jnp.sum(omega * (jnp.sum(wrong, axis=1) if alpha is not None else _entropy(wrong, own, shrink)), axis=1),
        shrink=shrink,
        gradient=gradient,
        miss=jnp.sum(slopes, axis=2),
        held_out=jnp.sum(held * each, axis=1) / jnp.sum(held, axis=1),
        correct=jnp.argmax(scores, axis=1) == y[None, :],
    )


def _entropy(wrong: jax.Array, own: jax.Array, shrink: jax.Array) -> jax.Array:
    """Return H(y + s (p − y)) (T, N), given p_j of the wrong classes."""
    wrong = shrink[:, None, None] * wrong
    left = jnp.sum(wrong, axis=1)  # 1 − the true class's share, without cancelling
    logs = jnp.where(wrong > 0, wrong * jnp.log(jnp.where(wrong > 0, wrong, 1)), 0)
    return -jnp.sum(logs, axis=1) - (1 - left) * jnp.log1p(-jnp.minimum(left, 1 - 1e-300))


def _best_bias(scores: jax.Array, own: jax.Array, omega: jax.Array, start: jax.Array) -> jax.Array:
    """Minimise Σ ω ℓ(s + b) over b (T, C) by Newton's method with halved steps, until rounding ends it."""

    def at(b: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the value (T,), gradient (T, C) and Hessian (T, C, C)."""
        log_p = jax.nn.log_softmax(scores + b[:, :, None], axis=1)
        p = jnp.exp(log_p)
        weighted = p * omega[:, None, :]
        value = -jnp.sum(omega * jnp.sum(jnp.where(own, log_p, 0), axis=1), axis=1)
        others = jnp.where(own, 0, weighted)
        gradient = jnp.sum(others - jnp.where(own, jnp.sum(others, axis=1, keepdims=True), 0), axis=2)
        hessian = jnp.sum(weighted, axis=2)[:, :, None] * jnp.eye(p.shape[1])[None]
        hessian = hessian - jnp.matmul(weighted, jnp.swapaxes(p, 1, 2), precision="highest")
        return value, gradient, hessian

    def unfinished(carry: tuple) -> jax.Array:
        return jnp.any(carry[3]) & (carry[4] < _NEWTON)

    def advance(carry: tuple) -> tuple:
        b, (value, gradient, hessian), length, going, count = carry
        # 11ᵀ: the loss does not see a shift of all classes. The other term keeps a Hessian of zeros regular.
        floor = 1e-12 * jnp.eye(b.shape[1])[None]
        step = jnp.linalg.solve(hessian + 1.0 / b.shape[1] + floor, gradient[:, :, None])[:, :, 0]
        trial = b - length[:, None] * step
        new = at(trial)
        flatter = jnp.max(jnp.abs(new[1]), axis=1) < jnp.max(jnp.abs(gradient), axis=1)
        lower = new[0] < value
        taken = going & (lower | (flatter & (new[0] <= value + 1e-14 * jnp.abs(value))))
        kept = tuple(jnp.where(_like(taken, n), n, o) for n, o in zip(new, (value, gradient, hessian), strict=True))
        length = jnp.where(taken, jnp.minimum(1, 2 * length), length / 4)
        going = going & (jnp.max(jnp.abs(kept[1]), axis=1) > 1e-16) & (length > 1e-4)
        return jnp.where(taken[:, None], trial, b), kept, length, going, count + 1

    members = len(start)
    carry = (start, at(start), jnp.ones(members), jnp.ones(members, bool), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(unfinished, advance, carry)[0]


def _like(flags: jax.Array, array: jax.Array) -> jax.Array:
    return flags.reshape(flags.shape + (1,) * (array.ndim - 1))

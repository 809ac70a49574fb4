"""Newton's method for one sparse softmax member: an orthant at a time, with corrective cycles.

At weights W with gradient G of the smooth part, a weight is free if it is not 0, or if
|G| exceeds its lasso. Each free weight keeps the sign that it has, or that the
gradient calls for, so the L1 penalty is linear in them and the Newton system is solved.
Weights that would change their sign are set to 0 and taken out, and the system is solved again for the rest,
until no sign changes: without these cycles a step that is cut off at many zeros
need not descend (Byrd, Chin, Nocedal and Oztoprak 2016). Then a line search on stored scores, which are
linear along the step.

Features of images are so correlated that of the weights whose gradient calls for
them most fall back to 0 at once. So few are let in at a time, and those that turn out
wrong are taken out before any that were there: taken out together, weights that
crossed only because of them stayed out as well, and the weakest strengths stalled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax

from thalweg.solvers.sparse_curvature import Curvature, System, solve, take

__all__ = ["Columns", "Member", "Point", "newton_step"]

_ROWS = 4096  # that become float64 at a time
_CYCLES = 8
_CAREFUL = 30
_REDUCTION = 0.03  # of the residual, at which conjugate gradients stop
_HALVINGS = 10
_ROUNDING = 1e-15  # of the value: less cannot be seen, and counts as descent
_BIAS_STEPS = 3


class Columns:
    """Features (N, D) float32, by columns; the one past the last is of ones."""

    def __init__(self, features: np.ndarray) -> None:
        self.features = features
        self._all: np.ndarray | None = None

    def take(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a matrix (N, F) of the columns asked for, or of all where they are most of them, and which it has."""
        every = np.arange(self.features.shape[1] + 1)
        if 2 * len(columns) > len(every):
            if self._all is None:
                self._all = take(self.features, every)
            return self._all, every
        return take(self.features, columns), columns


@dataclass(frozen=True, eq=False)
class Member:
    """What is minimised: Σ ω_i ℓ_i + ridge Σ W² + lasso Σ |W|."""

    features: Columns
    own: np.ndarray  # (C, N) one-hot
    weighting: np.ndarray  # (N,) float64
    ridge: float
    lasso: float


@dataclass(frozen=True, eq=False)
class Point:
    """Weights and bias with all that follows from them, in float64."""

    weights: np.ndarray  # (C, D + 1): the bias comes last
    scores: np.ndarray  # (C, N)
    probabilities: np.ndarray
    gradient: np.ndarray  # (C, D + 1), of loss and ridge
    value: float
    gap: float  # above the minimum, at most

    @classmethod
    def at(cls, member: Member, weights: np.ndarray) -> Point:
        """Evaluate weights (C, D + 1), after moving the bias to its best."""
        weights = weights.copy()
        scores = _scores(member, weights)
        for _ in range(_BIAS_STEPS):
            step = _bias_step(member, scores)
            weights[:, -1] += step
            scores += step[:, None]
        # A shift of all classes changes nothing but the digits that are left: none may gather over the steps.
        shift = weights[:, -1].mean()
        weights[:, -1] -= shift
        scores -= shift
        p = softmax(scores, axis=0)
        pull = (p - member.own) * member.weighting
        gradient = np.empty_like(weights)
        gradient[:, -1] = pull.sum(axis=1)
        gradient[:, :-1] = _pull(member.features.features, pull)
        value = _value(member, scores, weights)
        gap = _gap(member, p, gradient, value)
        gradient[:, :-1] += 2 * member.ridge * weights[:, :-1]
        return cls(weights, scores, p, gradient, value, gap)


def newton_step(member: Member, point: Point, curvature: Curvature, most: int) -> np.ndarray | None:
    """Return better weights (C, D + 1), or None where no step lowers the value.

    At most ``most`` weights join, those whose gradient calls loudest.
    """
    weights, signs, free = _face(member, point, most)
    features, columns = member.features.take(np.flatnonzero(free.any(axis=0)))
    penalised = columns < weights.shape[1] - 1
    weights, signs, free = weights[:, columns], signs[:, columns].astype(np.float32), free[:, columns]
    curvature.cover(member.features.features, columns, free)
    system = System(features, point.probabilities, member.own, member.weighting, np.where(penalised, member.ridge, 0))
    smooth = point.gradient[:, columns] + member.lasso * signs
    target = (-smooth * free).astype(np.float32)
    for careful in (False, True):
        change = _cycle(system, curvature, columns, target, weights, signs, free, careful)
        change[:, -1] -= change[:, -1].mean()  # the bias, the last of the columns: see `Point.at`
        moved = np.concatenate([change @ rows.T for rows in _blocks(features)], axis=1)
        step = _search(member, point, columns, change, moved)
        if step is not None:
            better = point.weights.copy()
            better[:, columns] = np.where(change == -weights, (1 - step) * weights, weights + step * change)
            if not np.array_equal(better, point.weights):  # the curvature was so far off that nothing was left to do
                return better
    return None


def _face(member: Member, point: Point, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weights, their signs (those that join included, 0 for the bias), and which are free."""
    weights = point.weights
    signs = np.sign(weights)
    pull = np.where(weights == 0, np.abs(point.gradient) / member.lasso, 0)[:, :-1]
    if most:
        least = np.partition(pull.ravel(), -most)[-most] if most < pull.size else 0
        joins = (pull > 1) & (pull >= least)
        signs[:, :-1] = np.where(joins, -np.sign(point.gradient[:, :-1]), signs[:, :-1])
    signs[:, -1] = 0
    free = signs != 0
    free[:, -1] = True
    return weights, signs, free


def _cycle(
    system: System,
    curvature: Curvature,
    columns: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    signs: np.ndarray,
    free: np.ndarray,
    careful: bool,
) -> np.ndarray:
    """Return the change (C, F), float64, that solves Newton's system for the weights that keep their signs.

    All that cross are taken out at once, which is quick and nearly always descends.
    ``careful``, only those that cross first are, and the change stops where they do: then it always does.
    """
    before, change, residual, enough = np.zeros_like(target), np.zeros_like(target), target, -1.0
    for _ in range(_CAREFUL if careful else _CYCLES):
        curvature.factor(columns, free, weights)
        if enough < 0:
            enough = _REDUCTION**2 * float(np.vdot(residual, curvature.precondition(residual)))
        change, residual, _ = solve(system, curvature, free, change, residual, enough)
        crossing = free & ((weights + change) * signs < 0)
        if not crossing.any():
            before = change
            break
        joined = crossing & (weights == 0)  # first: without them others need not cross
        crossing = joined if joined.any() else crossing
        if careful:
            reach = np.where(crossing, (weights + before) / np.where(crossing, before - change, 1), 1)
            crossing &= reach <= 1.001 * reach.min()
            change = before + np.float32(reach.min()) * (change - before)
        free = free & ~crossing
        change = np.where(crossing, -weights, change).astype(np.float32)
        residual = (target - system.times(change)) * free
        before = change if careful else before
    if careful:
        change = before
    gone = (change != 0) & ~free | ((weights + change) * signs < 0)
    return np.where(gone, -weights, change.astype(float))


def _search(member: Member, point: Point, columns: np.ndarray, change: np.ndarray, moved: np.ndarray) -> float | None:
    """Return the first of 1, ½, ¼ … at which the value has not risen."""
    for step in 0.5 ** np.arange(_HALVINGS):
        weights = point.weights.copy()
        weights[:, columns] += step * change
        if _value(member, point.scores + step * moved, weights) <= point.value * (1 + _ROUNDING):
            return float(step)
    return None


def _value(member: Member, scores: np.ndarray, weights: np.ndarray) -> float:
    w = weights[:, :-1]
    return float(_loss(member, scores) + member.ridge * np.sum(w * w) + member.lasso * np.sum(np.abs(w)))


def _loss(member: Member, scores: np.ndarray) -> float:
    return float((logsumexp(scores, axis=0) - np.sum(member.own * scores, axis=0)) @ member.weighting)


def _gap(member: Member, p: np.ndarray, gradient: np.ndarray, value: float) -> float:
    """Bound the distance from the minimum, given the gradient of the loss alone.

    With α = p − y, G = Σ ω_i α_i x_iᵀ and φ(W) = ridge Σ W² + lasso Σ |W|, weak duality gives for every s in [0, 1]

        minimum ≥ Σ ω_i H(y_i + s α_i) − φ*(−s G),

    H the entropy. s = min(1, lasso / max|G|) makes φ* vanish; with a ridge, s = 1 and
    φ*(−G) = Σ max(|G| − lasso, 0)² / (4 ridge) may be the better. That Σ ω_i α_i is not
    quite 0 is allowed for; `certify` sees to it exactly.
    """
    w, g = member.weighting, gradient[:, :-1]
    steepest = float(np.max(np.abs(g), initial=0))
    share = min(1.0, member.lasso / steepest) if steepest > 0 else 1.0
    gap = value - _entropy(member.own + share * (p - member.own)) @ w
    if member.ridge > 0:
        excess = np.maximum(np.abs(g) - member.lasso, 0)
        gap = min(gap, value - _entropy(p) @ w + float(np.sum(excess**2)) / (4 * member.ridge))
    miss = float(np.max(np.abs(gradient[:, -1]) / (member.own @ w)))
    return float(gap) + 2 * miss * value


def _entropy(q: np.ndarray) -> np.ndarray:
    positive = np.maximum(q, np.finfo(float).tiny)
    return -np.sum(q * np.log(positive), axis=0)


def _bias_step(member: Member, scores: np.ndarray) -> np.ndarray:
    """Return a change of the bias (C,) that lowers the loss, or 0.

    First with the curvature p (1 − p) of each class here, which is quick near the
    optimum and wild far from it; else with Böhning's ½, which always descends.
    """
    p, w = softmax(scores, axis=0), member.weighting
    slope, spread = (member.own - p) @ w, (p * (1 - p)) @ w * len(p) / (len(p) - 1)
    now = _loss(member, scores)
    for curvature in (np.maximum(spread, 1e-6 * spread.max()), 0.5 * np.sum(w)):
        if np.all(curvature > 0):
            step = slope / curvature
            if _loss(member, scores + step[:, None]) <= now:
                return np.asarray(step)
    return np.zeros(len(p))


def _scores(member: Member, weights: np.ndarray) -> np.ndarray:
    features, columns = member.features.take(np.flatnonzero(np.any(weights != 0, axis=0)))
    some = weights[:, columns]
    return np.concatenate([some @ rows.T for rows in _blocks(features)], axis=1)


def _pull(features: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """Return Σ_i pull_i x_iᵀ (C, D) float64."""
    total, start = np.zeros((len(pull), features.shape[1])), 0
    for rows in _blocks(features):
        total += pull[:, start : start + len(rows)] @ rows
        start += len(rows)
    return total


def _blocks(features: np.ndarray) -> Iterator[np.ndarray]:
    """Give the rows in float64, some at a time: never all of them at once."""
    for start in range(0, len(features), _ROWS):
        yield features[start : start + _ROWS].astype(np.float64)

"""Optima in float64, found by other means than ours: what certificates and solvers are held against."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from thalweg.losses import Hinge, Softmax
from thalweg.solvers.problem import Problem


def problem(features, labels, *, classes=None, loss=None, ridge=(), lasso=None, weightings=None, rows=None) -> Problem:
    """Build a problem of equally weighted examples, unless told otherwise."""
    features = np.ascontiguousarray(features, np.float32)
    count = len(features)
    ridge = np.asarray(ridge, np.float64)
    return Problem(
        features=features,
        labels=np.asarray(labels, np.int32),
        classes=int(np.max(labels)) + 1 if classes is None else classes,
        loss=Softmax() if loss is None else loss,
        weightings=np.full((1, count), 1 / count) if weightings is None else np.asarray(weightings, np.float64),
        rows=np.zeros(len(ridge), int) if rows is None else np.asarray(rows),
        ridge=ridge,
        lasso=np.zeros(len(ridge)) if lasso is None else np.asarray(lasso, np.float64),
    )


def objective(one: Problem, member: int, W: np.ndarray, b: np.ndarray) -> float:
    """Return P(W, b) of a member, written down anew."""
    x, y = one.features.astype(np.float64), one.labels
    s = x @ W.T + b
    if isinstance(one.loss, Hinge):
        margin = np.maximum(0, 1 + s - s[np.arange(len(y)), y][:, None])
        losses = margin.sum(axis=1) - 1  # the true class's own term
    else:
        losses = -log_softmax(s, axis=1)[np.arange(len(y)), y]
    omega = one.weightings[one.rows[member]]
    return float(omega @ losses + one.ridge[member] * np.sum(W * W) + one.lasso[member] * np.sum(np.abs(W)))


def softmax_ridge(one: Problem, member: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Minimise by damped Newton with the dense Hessian: three steps on once the decrement says 1e-13 of the value."""
    x = np.hstack([one.features.astype(np.float64), np.ones((len(one.features), 1))])
    C, D1 = one.classes, x.shape[1]
    omega, ridge = one.weightings[one.rows[member]], one.ridge[member]
    own = np.eye(C)[one.labels]
    decay = np.full((C, D1), 2 * ridge)
    decay[:, -1] = 0

    def value(w):
        return omega @ -np.sum(own * log_softmax(x @ w.T, axis=1), axis=1) + ridge * np.sum(w[:, :-1] ** 2)

    w = np.zeros((C, D1))
    left = 3
    for _ in range(200):
        p = softmax(x @ w.T, axis=1)
        g = (omega[:, None] * (p - own)).T @ x + decay * w
        blocks = np.einsum("n,nc,nd->ncd", omega, p, -p)
        blocks[:, np.arange(C), np.arange(C)] += omega[:, None] * p
        H = np.einsum("ncd,ni,nj->cidj", blocks, x, x).reshape(C * D1, C * D1) + np.diag(decay.ravel())
        # The loss does not see a shift of all biases: one multiple of 11ᵀ there makes H regular.
        shift = np.zeros((C, D1))
        shift[:, -1] = 1
        H += np.outer(shift, shift)
        step = np.linalg.solve(H, g.ravel()).reshape(C, D1)
        decrement, here, a = float(np.sum(step * g)), value(w), 1.0
        while value(w - a * step) > here - 0.25 * a * decrement + 1e-13 * here + 1e-15 and a > 1e-10:
            a /= 2
        w = w - a * step
        left -= decrement < 1e-13 * here
        if left == 0:
            break
    return w[:, :-1], w[:, -1], value(w)


def softmax_sparse(one: Problem, member: int, steps: int = 20_000) -> tuple[np.ndarray, np.ndarray, float]:
    """Minimise by accelerated proximal gradient with restarts (O'Donoghue and Candès 2015)."""
    x = np.hstack([one.features.astype(np.float64), np.ones((len(one.features), 1))])
    omega, ridge, lasso = one.weightings[one.rows[member]], one.ridge[member], one.lasso[member]
    own = np.eye(one.classes)[one.labels]
    rate = 1 / (0.5 * np.linalg.eigvalsh((x * omega[:, None]).T @ x)[-1] + 2 * ridge)
    w = v = np.zeros((one.classes, x.shape[1]))
    t = 1.0
    for _ in range(steps):
        g = (omega[:, None] * (softmax(x @ v.T, axis=1) - own)).T @ x
        g[:, :-1] += 2 * ridge * v[:, :-1]
        new = v - rate * g
        new[:, :-1] = np.sign(new[:, :-1]) * np.maximum(np.abs(new[:, :-1]) - rate * lasso, 0)
        if np.sum((v - new) * (new - w)) > 0:
            t = 1.0
        after = (1 + np.sqrt(1 + 4 * t * t)) / 2
        change = new - w
        v, w, t = new + (t - 1) / after * change, new, after
        if np.max(np.abs(change)) < 1e-15:
            break
    return w[:, :-1], w[:, -1], objective(one, member, w[:, :-1], w[:, -1])


def hinge_ridge(one: Problem, member: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Minimise the hinge as a quadratic program with one slack a wrong class; for a dozen examples."""
    x, y, C = one.features.astype(np.float64), one.labels, one.classes
    N, D = x.shape
    omega, ridge = one.weightings[one.rows[member]], one.ridge[member]
    pairs = [(i, j) for i in range(N) for j in range(C) if j != y[i]]
    size = C * D + C

    def split(z):
        return z[: C * D].reshape(C, D), z[C * D : size], z[size:]

    A = np.zeros((len(pairs), size + len(pairs)))  # slack − 1 − s_j + s_y ≥ 0
    for k, (i, j) in enumerate(pairs):
        for c, sign in ((j, -1), (y[i], 1)):
            A[k, c * D : (c + 1) * D] += sign * x[i]
            A[k, C * D + c] += sign
        A[k, size + k] = 1
    cost = np.concatenate([np.zeros(size), [omega[i] for i, _ in pairs]])

    def value(z):
        return cost @ z + ridge * np.sum(z[: C * D] ** 2)

    def gradient(z):
        g = cost.copy()
        g[: C * D] += 2 * ridge * z[: C * D]
        return g

    start = np.concatenate([np.zeros(size), np.ones(len(pairs))])
    bounds = [(None, None)] * size + [(0, None)] * len(pairs)
    rule = {"type": "ineq", "fun": lambda z: A @ z - 1, "jac": lambda z: A}
    found = minimize(value, start, jac=gradient, bounds=bounds, constraints=[rule], method="SLSQP",
                     options={"maxiter": 1000, "ftol": 1e-15})  # fmt: skip
    W, b, _ = split(found.x)
    return W, b, objective(one, member, W, b)

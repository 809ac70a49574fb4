"""Small data, and what the optima of a path are compared with: Newton's method in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

import thalweg as tw

# One shape of the data, of the strengths and of the folds for most tests: each further one is compiled anew.
STRENGTHS = [1e-1, 1e-2, 1e-4]
COUNT, WIDTH = 128, 6
NAMES = np.array(["ant", "bee", "cat"])


def blobs(count: int = COUNT, classes: int = 3, width: int = WIDTH, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping classes, in features whose means lie far from 0.

    Features are multiples of 1/64, so that centring those of 128 examples rounds nothing.
    """
    generator = np.random.default_rng(seed)
    y = np.arange(count) % classes
    X = generator.normal(size=(classes, width))[y] + 1.5 * generator.normal(size=(count, width))
    return on_grid(X + np.linspace(-3, 5, width)), y


def uneven(count: int = COUNT, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping classes, of a half, 5/16 and 3/16 of the examples."""
    y = np.repeat([0, 1, 2], [count // 2, 5 * count // 16, 3 * count // 16])
    X = 2 * np.random.default_rng(seed).normal(size=(count, WIDTH)) + np.linspace(-3, 5, WIDTH)
    X[y == 1, 0] += 2
    X[y == 2, 1] -= 2
    return on_grid(X), y


def on_grid(X: np.ndarray) -> np.ndarray:
    return (np.round(64 * X) / 64).astype(np.float32)


def split_data() -> dict[str, np.ndarray]:
    """Uneven classes with names, and a test split of their own: all 128 examples are to fit."""
    X, y = uneven()
    X_test, y_test = uneven(64, seed=1)
    return {"X_train": X, "y_train": NAMES[y], "X_test": X_test, "y_test": NAMES[y_test]}


def fitted(data: Any, **options: Any) -> tw.paths.Path:
    """Fit features as they are, all examples, unless told otherwise."""
    return tw.path(data, **({"strengths": STRENGTHS, "preprocessing": None, "folds": 0} | options))


def objective(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray, bias: np.ndarray, strength: float, omega: np.ndarray
) -> float:
    """Return Σ ω_i ℓ(W x_i + b, y_i) + strength Σ W² in float64, for the softmax."""
    scores = X.astype(np.float64) @ weights.T + bias
    top = scores.max(axis=1)
    loss = np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top - scores[np.arange(len(y)), y]
    return float(omega @ loss + strength * np.sum(weights**2))


def minimum(
    X: np.ndarray, y: np.ndarray, strength: float, omega: np.ndarray | None = None
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the softmax's least objective with its weights (C, D) and bias (C,), by damped Newton steps.

    Features are centred and each scaled to 1 (the penalty with them), so that badly scaled ones cost no digits.
    """
    omega = np.full(len(y), 1 / len(y)) if omega is None else omega / omega.sum()
    X = X.astype(np.float64)
    centre = omega @ X
    spread = np.sqrt(omega @ (X - centre) ** 2)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 1.0)
    Z = np.hstack([(X - centre) * scale, np.ones((len(X), 1))])
    classes, width = int(y.max()) + 1, Z.shape[1]
    ridge = np.append(strength * scale**2, 0.0)  # of each column, none for the bias
    truth = np.eye(classes)[y]
    V = np.zeros((classes, width))

    def value(V: np.ndarray) -> float:
        scores = Z @ V.T
        top = scores.max(axis=1)
        loss = np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top - (scores * truth).sum(axis=1)
        return float(omega @ loss + np.sum(ridge * V**2))

    here = value(V)
    for _ in range(500):
        scores = Z @ V.T
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        gradient = (omega[:, None] * (p - truth)).T @ Z + 2 * ridge * V
        curvature = omega[:, None, None] * (np.eye(classes) * p[:, :, None] - p[:, :, None] * p[:, None, :])
        hessian = np.einsum("ncd,ni,nj->cidj", curvature, Z, Z).reshape(classes * width, classes * width)
        hessian += np.diag(np.tile(2 * ridge, classes)) + np.kron(np.ones((classes, classes)) / classes, np.diag(
            np.append(np.zeros(width - 1), 1.0)
        ))  # fmt: skip
        unit = 1 / np.sqrt(np.diag(hessian))
        step = unit * np.linalg.lstsq(hessian * unit[:, None] * unit, unit * gradient.ravel(), rcond=1e-15)[0]
        decrement = float(step @ gradient.ravel())
        if decrement <= 1e-15 * abs(here):
            break
        length = 1.0
        while value(V - length * step.reshape(V.shape)) > here - 1e-4 * length * decrement and length > 1e-10:
            length /= 2
        V = V - length * step.reshape(V.shape)
        here = value(V)
    weights = V[:, :-1] * scale
    return here, weights, V[:, -1] - weights @ centre

"""Shared by the gradient tests: random smooth functions with exact gradients, and points for the errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Function = Callable[[np.ndarray], float]
Gradient = Callable[[np.ndarray], np.ndarray]


def smooth(size: int, seed: int, coupled: bool = True) -> tuple[Function, Gradient, np.ndarray]:
    """Return a random smooth function of ``size`` entries, its gradient and a point; no entry of it is near 0."""
    rng = np.random.default_rng(seed)
    slopes = rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 2, size)
    rates = rng.uniform(0.5, 2, size)
    x = rng.normal(size=size)

    def f(x: np.ndarray) -> float:
        whole = np.sum(slopes * (2 * x + 0.5 * np.sin(rates * x) / rates))
        return whole + (0.1 * np.sum(x**2) / size if coupled else 0.0)

    def gradient(x: np.ndarray) -> np.ndarray:
        return slopes * (2 + 0.5 * np.cos(rates * x)) + (0.2 * x / size if coupled else 0.0)

    return f, gradient, x


def spoiled(gradient: Gradient, index: int, change: Callable[[float], float]) -> Gradient:
    """Return the gradient with one entry changed."""

    def wrong(x: np.ndarray) -> np.ndarray:
        found = np.array(gradient(x))
        found.flat[index] = change(found.flat[index])
        return found

    return wrong

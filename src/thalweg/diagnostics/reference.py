"""A flexible classifier that needs no training: what a model that can bend would predict right."""

from __future__ import annotations

import numpy as np

__all__ = ["kernel_classifier"]

_WIDTHS = (0.5, 1.0, 2.0)  # times the median distance
_RIDGES = np.logspace(-4, 1, 6)  # times the number of examples' share; from nearly interpolating to nearly constant


def kernel_classifier(x: np.ndarray, labels: np.ndarray, held: np.ndarray, classes: int) -> tuple[np.ndarray, float]:
    """Predict the classes (M,) of ``held`` (M, ...) by kernel ridge regression on the labels; return them and a rating.

    K_ij = exp(−‖x_i − x_j‖² / (2 w²)), targets 1 for the own class and 0 for others, less their means,
    α = (K + λI)⁻¹ Y. The width w (around the median distance) and λ are those of the highest
    leave-one-out accuracy, which has the closed form y_i − α_i / [(K + λI)⁻¹]_ii; that accuracy is the
    rating. Features are standardised first. One eigendecomposition (N, N) a width, for all
    classes: 1,000 examples of 3,072 features take a second or two on two quiet cores, with 500 classes too.
    Universal: any continuous rule can be followed (Steinwart 2001).
    """
    x, held = _standardised(x, held)
    targets = np.eye(classes)[labels]
    mean = targets.mean(axis=0)
    inside, across = _squares(x, x), _squares(held, x)
    middle = float(np.median(inside[np.triu_indices(len(x), 1)])) or 1.0
    best, rating = np.full((len(held), classes), mean), -1.0
    for width in _WIDTHS:
        values, vectors = np.linalg.eigh(np.exp(-inside / (2 * width**2 * middle)))
        turned, squared = vectors.T @ (targets - mean), np.square(vectors)
        for ridge in _RIDGES:
            inverse = 1 / (np.maximum(values, 0) + ridge)
            alpha = vectors @ (inverse[:, None] * turned)
            left = targets - alpha / (squared @ inverse)[:, None]
            score = float(np.mean(left.argmax(axis=1) == labels))
            if score > rating:
                rating, best = score, np.exp(-across / (2 * width**2 * middle)) @ alpha + mean
    return best.argmax(axis=1), rating


def _standardised(x: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, held = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (x, held))
    mean, spread = x.mean(axis=0), x.std(axis=0)
    # A feature that is constant in training tells nothing, and would be divided by 0 where it is held.
    told = spread > 1e-9 * (1 + np.abs(mean))
    return (x[:, told] - mean[told]) / spread[told], (held[:, told] - mean[told]) / spread[told]


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """‖a_i − b_j‖² (A, B)."""
    squares = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1)[None, :] - 2 * (a @ b.T)
    return np.maximum(squares, 0)

"""k-means by Lloyd's iteration."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

__all__ = ["kmeans"]

_ROWS = 256  # points at a time: with 1,600 centroids their products fill 1.6 MB


def kmeans(
    points: np.ndarray,
    count: int,
    iterations: int,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return centroids ``(count, D)`` of points ``(N, D)``, float32, and the objective before each step.

    The objective is the mean squared distance to the nearest centroid, which no
    step makes larger (Lloyd 1982). The first centroids are distinct points drawn at
    random; one that no point is nearest to moves onto the point that is farthest
    from its own. Steps end early where no point changes its centroid.
    """
    centroids = points[rng.choice(len(points), count, replace=False)]
    blocks = _blocked(points)
    squares = np.einsum("nd,nd->n", points, points, dtype=np.float64)
    objectives: list[float] = []
    before = np.full(len(points), -1)
    for step in range(iterations):
        scores, nearest = (np.asarray(a).reshape(-1)[: len(points)] for a in _nearest(blocks, centroids))
        distances = squares - 2 * scores
        objectives.append(float(np.mean(distances)))
        if np.array_equal(nearest, before):
            break
        centroids, before = _means(points, nearest, distances, count), nearest
        if progress is not None:
            progress(step + 1, iterations)
    return centroids, np.array(objectives)


@jax.jit
def _nearest(blocks: jax.Array, centroids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return max_k (x·c_k − ½‖c_k‖²), which ranks as −‖x − c_k‖² does, and its k, of each point."""
    halves = jnp.sum(centroids**2, axis=1) / 2

    def of_block(block: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = jnp.matmul(block, centroids.T, precision=jax.lax.Precision.HIGHEST) - halves[None]
        best = jnp.max(scores, axis=1, keepdims=True)
        # Not argmax, which is slow on a CPU: with it a step took 2.6 times as long. Floats count exactly to 2²⁴.
        numbers = jax.lax.broadcasted_iota(jnp.float32, scores.shape, 1)
        first = jnp.min(jnp.where(scores == best, numbers, len(centroids)), axis=1)
        return best[:, 0], first.astype(jnp.int32)

    return jax.lax.map(of_block, blocks)


def _means(points: np.ndarray, nearest: np.ndarray, distances: np.ndarray, count: int) -> np.ndarray:
    members = np.bincount(nearest, minlength=count)
    # A sparse product adds in a fixed order, unlike a scatter on an accelerator.
    belongs = sparse.csr_matrix(
        (np.ones(len(points), np.float32), nearest, np.arange(len(points) + 1)), (len(points), count)
    )
    means = (belongs.T @ points) / np.maximum(members, 1)[:, None]
    empty = np.flatnonzero(members == 0)
    if len(empty):
        means[empty] = points[np.argsort(-distances, kind="stable")[: len(empty)]]
    return means.astype(np.float32)


def _blocked(points: np.ndarray) -> jax.Array:
    """Return the points as ``(blocks, rows, D)``, zeros behind the last."""
    rows = min(_ROWS, len(points))
    blocks = -(-len(points) // rows)
    filled = np.zeros((blocks * rows, points.shape[1]), np.float32)
    filled[: len(points)] = points
    return jnp.asarray(filled.reshape(blocks, rows, -1))

"""Muon against Optax and against singular value decompositions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from optimizer_cases import run_fixed

from thalweg.optimizers import Adam, Muon
from thalweg.optimizers.muon import orthogonalise
from thalweg.schedules import Linear

SHAPES = {"wide": (3, 7), "tall": (8, 2), "bias": (3,)}


def drawn(*leading: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.normal(size=(*leading, *shape)) for name, shape in SHAPES.items()}


def run(optimizer: Any, gradients: Any, params: Any) -> Any:
    return jax.jit(lambda: run_fixed(optimizer, gradients, params))()


def test_equals_optax(x64: None) -> None:
    """Their matrices are (in, out), and their Nesterov momentum mixes corrected means: the plain one is compared."""
    gradients, params = drawn(30), drawn(seed=1)
    numbers = {"adam_b1": 0.8, "adam_b2": 0.9, "eps": 1e-20, "adam_learning_rate": 0.15}
    theirs = optax.contrib.muon(0.3, ns_steps=4, beta=0.9, weight_decay=0.1, nesterov=False, **numbers)
    ours = Muon(0.3, 0.9, False, 4, 0.1, others_rate=0.5, beta1=0.8, beta2=0.9, epsilon=1e-20)

    def turned(tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf: np.swapaxes(leaf, -1, -2) if leaf.ndim - (leaf.shape[0] == 30) == 2 else leaf, tree
        )

    expected = turned(jax.tree.map(np.asarray, run(theirs, turned(gradients), turned(params))))
    updates = run(ours, gradients, params)
    for name in SHAPES:
        np.testing.assert_allclose(updates[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def polynomial(singular: np.ndarray, steps: int) -> np.ndarray:
    for _ in range(steps):
        singular = 3.4445 * singular - 4.7750 * singular**3 + 2.0315 * singular**5
    return singular


def by_svd(matrix: np.ndarray, steps: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return (u * polynomial(s / np.sqrt(np.sum(s**2)), steps)) @ vt


def test_the_papers_recursion(x64: None) -> None:
    """Nesterov momentum, the iteration as what it does to singular values, the factor of tall matrices, decay."""
    mu, decay = 0.9, 0.2
    gradients, params = drawn(20), drawn(seed=1)
    updates = run(Muon(Linear(0.3, 20.0), mu, steps=3, weight_decay=decay), gradients, params)
    for name, factor in (("wide", 1.0), ("tall", 2.0)):
        m, x = np.zeros(SHAPES[name]), params[name]
        for t, g in enumerate(gradients[name]):
            m = mu * m + (1 - mu) * g
            step = -0.3 * (1 - t / 20) * (factor * by_svd((1 - mu) * g + mu * m, 3) + decay * x)
            np.testing.assert_allclose(updates[name][t], step, rtol=1e-9, atol=1e-12, err_msg=f"{name} at {t}")
            x = x + step


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (1, 5), (7, 7)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    u, _, vt = np.linalg.svd(random.normal(size=shape), full_matrices=False)
    spread = np.logspace(0, -2.3, min(shape))  # the least is 1/200 of the largest
    turned = np.asarray(orthogonalise(jnp.asarray((u * spread) @ vt, jnp.float32)))
    singular = np.linalg.svd(turned, compute_uv=False)
    assert 0.67 < singular.min() <= singular.max() < 1.21
    # The same singular vectors: Uᵀ X V is diagonal.
    inner = u.T @ turned @ vt.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-4)


def test_size_is_nothing_and_zero_stays() -> None:
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(4, 9)), jnp.float32)
    expected = orthogonalise(matrix)
    for scale in (1e-30, 1e30):
        np.testing.assert_allclose(orthogonalise(scale * matrix), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(orthogonalise(jnp.zeros((3, 2))), 0)


def test_who_is_a_matrix(x64: None) -> None:
    """A kernel's last axis is its outputs; biases of any shape, norms' numbers and vectors take Adam's step."""
    random = np.random.default_rng(0)
    shapes = {"kernel": (3, 2, 2, 4), "norm_scale": (4,), "vector": (5,), "bias": (2, 3)}
    gradients = {name: random.normal(size=(6, *shape)) for name, shape in shapes.items()}
    params = {name: np.zeros(shape) for name, shape in shapes.items()}
    optimizer = Muon(0.3, others_rate=0.1)
    updates = run(optimizer, gradients, params)
    flat = np.moveaxis(gradients["kernel"], -1, 1).reshape(6, 4, 12)
    flat = run(optimizer, {"kernel": flat}, {"kernel": np.zeros((4, 12))})["kernel"]
    np.testing.assert_allclose(np.moveaxis(updates["kernel"], -1, 1).reshape(6, 4, 12), flat, rtol=1e-10)
    adam = run(Adam(0.1 * 0.3), gradients, params)
    for name in ("norm_scale", "vector", "bias"):
        np.testing.assert_allclose(updates[name], adam[name], rtol=1e-12, err_msg=name)

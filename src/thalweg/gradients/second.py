"""gradgradcheck: is this the derivative of that gradient?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from thalweg.errors import UsageError
from thalweg.gradients.check import Settings, check, check_options
from thalweg.gradients.function import Function
from thalweg.gradients.search import DIRECTIONS
from thalweg.gradients.sources import Source, source_of
from thalweg.gradients.space import Space
from thalweg.gradients.verdict import Verdict
from thalweg.precision import double

__all__ = ["gradgradcheck"]

_PRODUCTS = 8  # Hessian products whose symmetry is looked at
_EVERY = 100  # entries up to which the whole matrix is looked at
_ASYMMETRY = 1e-7  # relative: what rounding leaves is far below, a mistake far above


def gradgradcheck(
    f: Callable[[Any], Any],
    x: Any,
    gradient: Any = None,
    hessian: Any = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    every: int = 100,
    directions: int = DIRECTIONS,
    seed: int = 0,
    plant: bool = True,
) -> Verdict:
    """Check second derivatives: the Jacobian of the gradient, and that it is symmetric.

    The gradient itself is taken as it is (check it with `gradcheck`); numeric
    derivatives of it are compared with ``hessian``, or with the second derivatives that JAX (reverse over
    reverse and forward over reverse) or PyTorch (double backward) takes. Then Hessian
    products are compared with each other: ⟨u, Hv⟩ = ⟨v, Hu⟩.

    Parameters
    ----------
    f
        A function that returns one number; of more outputs a random combination is checked.
    x
        As for `gradcheck`.
    gradient
        A function of x, if the gradient is written by hand; else JAX's or PyTorch's.
    hessian
        A function of x that returns the second derivatives, or their value: for each leaf of x, in x's
        order, flattened and concatenated to rows: an (n, n) array where x is one vector. Else autodiff of the gradient.
    rtol, atol, every, directions, seed, plant
        As for `gradcheck`.

    Raises UsageError as `gradcheck` does.
    """
    check_options(rtol, atol, every, directions, seed)
    with double():
        space = Space(x, to_jax=gradient is None)
        slope = _gradient_of(f, space, gradient, np.random.default_rng(seed))
        function = Function(slope, space, compiled=gradient is None and "torch" not in space.libraries)
        source = source_of(slope, hessian, function, second=True)
        settings = Settings(rtol, atol, every, directions, seed, plant)
        verdict = check(function, source, settings, what=f"second derivatives ({source.kind})")
        return _symmetric(verdict, source, space, seed)


def _gradient_of(
    f: Callable[[Any], Any], space: Space, gradient: Any, rng: np.random.Generator
) -> Callable[[Any], Any]:
    """Return the gradient as a function from points to vectors (n,)."""
    if gradient is not None:
        if not callable(gradient):
            raise UsageError("gradient is a value; second derivatives need it as a function of x")
        return lambda point: _flat(gradient(point))
    outputs = Function(f, space).outputs
    mix = np.ones(1) if outputs == 1 else rng.choice([-1.0, 1.0], outputs) * rng.uniform(0.5, 1.5, outputs)
    if "torch" in space.libraries:
        return lambda point: _torch_gradient(f, point, mix)

    def mixed(point: Any) -> jax.Array:
        terms = [
            jax.numpy.vdot(jax.numpy.asarray(part, leaf.dtype), leaf.reshape(-1))
            for part, leaf in _parts(mix, jax.tree_util.tree_leaves(f(point)))
        ]
        return jax.numpy.sum(jax.numpy.stack(terms))

    return lambda point: _flat(jax.grad(mixed)(point))


def _parts(mix: np.ndarray, leaves: list[Any]) -> list[tuple[np.ndarray, Any]]:
    parts, start = [], 0
    for leaf in map(jax.numpy.asarray, leaves):
        parts.append((mix[start : start + leaf.size], leaf))
        start += leaf.size
    return parts


def _flat(tree: Any) -> Any:
    leaves = jax.tree_util.tree_leaves(tree)
    if all(isinstance(leaf, (np.ndarray, float)) for leaf in leaves):
        return np.concatenate([np.reshape(leaf, -1) for leaf in leaves])
    return jax.numpy.concatenate([jax.numpy.reshape(leaf, -1) for leaf in leaves])


def _torch_gradient(f: Callable[[Any], Any], point: Any, mix: np.ndarray) -> Any:
    import torch

    leaves, structure = jax.tree_util.tree_flatten(point)
    with torch.enable_grad():
        leaves = [leaf if leaf.requires_grad else leaf.clone().requires_grad_(True) for leaf in leaves]
        results = jax.tree_util.tree_leaves(f(jax.tree_util.tree_unflatten(structure, leaves)))
        whole = torch.cat([result.reshape(-1) for result in results])
        total = torch.dot(whole, torch.as_tensor(mix, dtype=whole.dtype, device=whole.device))
        parts = torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
        return torch.cat(
            [torch.zeros_like(leaf).reshape(-1) if part is None else part.reshape(-1)
             for leaf, part in zip(leaves, parts, strict=True)]
        )  # fmt: skip


def _symmetric(verdict: Verdict, source: Source, space: Space, seed: int) -> Verdict:
    """Compare ⟨u, Hv⟩ with ⟨v, Hu⟩; a difference makes the verdict a fail."""
    rng = np.random.default_rng(seed)
    few = space.size <= _EVERY  # then each entry against its mirror image: small blocks count as large ones do
    vectors = np.eye(space.size) if few else rng.normal(size=(_PRODUCTS, space.size))
    products = source.rows(space.x, vectors)
    matrix = products @ vectors.T
    size = np.abs(products) @ np.abs(vectors.T)
    apart = np.abs(matrix - matrix.T)
    bar = max(_ASYMMETRY, 1e3 * source.eps) * (size + size.T) + 64 * source.eps * np.sqrt(
        np.outer(np.diag(size), np.diag(size))
    )
    if not np.any(apart > bar):
        return verdict
    u, v = np.unravel_index(np.argmax(apart - bar), apart.shape)
    which = f"entries {u} and {v}" if few else "random u, v"
    text = f"not symmetric: ⟨u, Hv⟩ = {matrix[u, v]:.9g} and ⟨v, Hu⟩ = {matrix[v, u]:.9g} for {which}"
    return dataclasses.replace(verdict, status="fail", reasons=(*verdict.reasons, text))

"""Hold every case of the corpus to the truth: a right gradient is right, a planted bug is one.

    python -m gradient_corpus.truth

The truth is what autodiff makes, in float64, of the same function without rules
written by hand. A right gradient must agree with it to 1e-9 of each entry (1e-4
where numbers are float32) or of 1e-12 of the largest in its leaf; a bug must be off by at least 5e-5 of an entry.
At a kink a right gradient lies between the two one-sided slopes. A second-order case
must have its first derivative right, and its Hessian's products right or wrong.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import BUGS, CORRECT, Case

BUG, SMALL = 5e-5, 1e-12


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def wide(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), tree)


def jax_slope(f: Any, x: Any) -> Any:
    """Return the gradient, or for many outputs a cotangent's product with the Jacobian."""
    output = f(x)
    if output.ndim == 0:
        return jax.grad(f)(x)
    return jax.vjp(f, x)[1](jnp.asarray(weights(output.shape), output.dtype))[0]


def weights(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape)


def torch_slope(f: Any, x: Any) -> Any:
    import torch

    x = jax.tree.map(lambda leaf: leaf.detach().clone().requires_grad_(), x)
    found = torch.autograd.grad(f(x), jax.tree.leaves(x), allow_unused=True)
    return [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, jax.tree.leaves(x), strict=True)]


def claimed(case: Case) -> list[np.ndarray]:
    """Return the gradient that the case offers."""
    if case.kind == "torch":
        return leaves(torch_slope(case.f, case.x))
    if case.gradient is None:
        return leaves(jax_slope(case.f, jax.tree.map(jnp.asarray, case.x)))
    found = leaves(case.gradient(case.x))
    output = np.asarray(case.f(case.x))
    if output.ndim:
        found = [np.tensordot(weights(output.shape), jacobian, output.ndim) for jacobian in found]
    return found


def true(case: Case) -> list[np.ndarray]:
    if case.kind == "torch":
        import torch

        return leaves(torch_slope(case.plain, jax.tree.map(lambda leaf: leaf.to(torch.float64), case.x)))
    return leaves(jax_slope(case.plain, wide(case.x)))


def second(case: Case, f: Any) -> list[np.ndarray]:
    """Return the Hessian's products with eight random directions."""
    rng = np.random.default_rng(2)
    directions = [jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), case.x) for _ in range(8)]
    if case.kind == "jax":
        return [leaf for d in directions for leaf in leaves(jax.jvp(jax.grad(f), (wide(case.x),), (wide(d),))[1])]
    import torch

    x = case.x.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(f(x), x, create_graph=True)
    products = [torch.autograd.grad(slope @ torch.as_tensor(d), x, retain_graph=True)[0] for d in directions]
    return leaves(products)


def difference(found: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """Return the largest difference, relative to the entry or to what rounding leaves of the leaf's largest."""
    worst = 0.0
    for a, b in zip(found, truth, strict=True):
        if a.shape != b.shape:
            raise ValueError(f"shape {a.shape} for {b.shape}")
        if not np.isfinite(a).all():
            return np.inf
        floor = SMALL * np.abs(b).max(initial=0) + 1e-300
        worst = max(worst, float(np.max(np.abs(a - b) / (np.maximum(np.abs(a), np.abs(b)) + floor), initial=0)))
    return worst


def between(case: Case) -> bool:
    """Say whether a gradient at a kink lies between the slopes on both sides of every entry."""
    x, gradient = np.array(case.x), np.asarray(case.gradient(case.x))  # type: ignore[misc]
    step, inside = 1e-6, True
    for index in np.ndindex(x.shape):
        move = np.zeros_like(x)
        move[index] = step
        slopes = sorted([(case.f(x + move) - case.f(x)) / step, (case.f(x) - case.f(x - move)) / step])
        inside &= bool(slopes[0] - 1e-5 <= gradient[index] <= slopes[1] + 1e-5)
    return inside


def complaint(case: Case) -> str:
    """Return what is wrong with a case, or nothing."""
    narrow = "float32" in case.name
    tolerance = 1e-4 if narrow else 1e-9
    if case.at_kink:
        return "" if between(case) else "not between the one-sided slopes"
    own, plain = (np.asarray(f(to), np.float64) for f, to in ((case.f, case.x), (case.plain, plain_point(case))))
    gap = np.max(np.abs(own - plain)) / max(np.max(np.abs(plain)), 1e-300)
    if own.shape != plain.shape or (gap > (1e-5 if narrow else 1e-10) and np.max(np.abs(own - plain)) > 1e-13):
        return f"f and its plain twin differ by {gap:.1e}"
    truth = true(case)
    if not all(np.isfinite(leaf).all() for leaf in truth):
        return "the truth is not finite"
    off = difference(claimed(case), truth)
    if case.order == 2:
        if off > tolerance:
            return f"first derivative off by {off:.1e}"
        off = difference(second(case, case.f), second(case, case.plain))
    if case.wrong and off < BUG:
        return f"no bug: off by {off:.1e} only"
    if not case.wrong and off > tolerance:
        return f"not right: off by {off:.1e}"
    return ""


def plain_point(case: Case) -> Any:
    return case.x if case.kind == "torch" else wide(case.x)


def main() -> None:
    failed = 0
    with jax.enable_x64(True):
        for case in [*BUGS, *CORRECT]:
            try:
                said = complaint(case)
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            failed += bool(said)
            if said:
                print(f"{case.name}: {said}")
    names = [case.name for case in [*BUGS, *CORRECT]]
    twice = {name for name in names if names.count(name) > 1}
    print(
        f"{len(BUGS)} bugs and {len(CORRECT)} correct functions, {failed} of them not as claimed; named twice: {twice}"
    )
    sys.exit(failed > 0 or bool(twice))


if __name__ == "__main__":
    main()

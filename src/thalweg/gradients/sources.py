"""Where the gradient under check comes from: the caller, JAX or PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.gradients.function import Compiled, Function
from thalweg.gradients.space import Space, is_torch, numbers

__all__ = ["Given", "Jax", "Source", "Torch", "source_of"]


class Source(Protocol):
    """A gradient: for q combinations of the outputs, the rows of ``combine @ Jacobian``."""

    kind: str
    repeatable: bool  # can be asked at other points than x
    eps: float  # of the numbers that it gave last

    def rows(self, vector: np.ndarray, combine: np.ndarray) -> np.ndarray:
        """Return combine (q, m) times the Jacobian at a vector, (q, n)."""


class Given:
    """A gradient written by hand: a function of x, or its value at x."""

    kind = "given"

    def __init__(self, gradient: Any, function: Function, what: str = "gradient") -> None:
        self._gradient, self._function, self._what = gradient, function, what
        self.repeatable = callable(gradient)
        self.eps = function.eps

    def rows(self, vector: np.ndarray, combine: np.ndarray) -> np.ndarray:
        space = self._function.space
        return combine @ self._jacobian(space, vector)

    def _jacobian(self, space: Space, vector: np.ndarray) -> np.ndarray:
        tree = self._gradient
        if self.repeatable:
            try:
                point = space.point(vector, double=self._function.double)
                with np.errstate(all="ignore"):
                    tree = self._gradient(point)
                space.check_kept(point, vector, self._what)
            except UsageError:
                raise
            except Exception as error:
                raise UsageError(f"{self._what} raised {type(error).__name__} at x: {error}") from error
        arrays = [numbers(leaf) for leaf in jax.tree_util.tree_leaves(tree)]
        self.eps = max([self._function.eps] + [float(np.finfo(a.dtype).eps) for a in arrays if a.dtype.kind == "f"])
        outputs = self._function.outputs
        if outputs == 1:
            shapes = [array.shape for array in arrays]
            longer = [(1, *leaf.shape) for leaf in space.leaves]  # f returned an array of one entry
            if shapes == longer and shapes != [leaf.shape for leaf in space.leaves]:
                return space.rows(tree, (1,), self._what)
            return space.rows(tree, (), self._what)
        try:
            return space.rows(tree, self._function.shape, self._what)
        except UsageError as error:
            if self._function.in_tuple:
                raise UsageError(
                    f"f returned a tuple of {self._function.in_tuple}, whose {outputs} numbers are all taken for "
                    f"results: let it return the value alone ({error})"
                ) from error
            raise


class Jax:
    """Autodiff: reverse mode, and forward mode where f has it."""

    kind = "JAX autodiff"
    repeatable = True

    def __init__(self, f: Callable[[Any], Any], function: Function, *, second: bool = False) -> None:
        self._f, self._function, self.eps = f, function, function.eps
        self._of, self._instead = ("the gradient", "hessian=") if second else ("f", "gradient=")
        self._push = Compiled(lambda point, direction: jax.jvp(f, (point,), (direction,))[1])
        self._pull = Compiled(lambda point, rows: jax.vmap(lambda row: _pulled(f, point, row))(rows))

    def rows(self, vector: np.ndarray, combine: np.ndarray) -> np.ndarray:
        space = self._function.space
        try:
            return self._together(vector, combine)
        except Exception:  # a rule that cannot be batched, say; alone it works, or raises an error that says more
            pass
        try:
            rows = [_pulled(self._f, self._point(vector), jnp.asarray(row)) for row in combine]
        except Exception as error:
            first = (str(error).strip() or "no message").splitlines()[0]
            by_numpy = isinstance(error, jax.errors.TracerArrayConversionError)
            why = "it uses NumPy" if by_numpy else f"{type(error).__name__}: {first}"
            hint = "; if f is PyTorch's, give x as a tensor" if "dlpack" in first or "Tensor" in first else ""
            raise UsageError(
                f"JAX cannot differentiate {self._of}: {why}; give {self._instead}, or write it with jax.numpy{hint}"
            ) from error
        return np.stack([space.vector(row, "gradient") for row in rows])

    def _together(self, vector: np.ndarray, combine: np.ndarray) -> np.ndarray:
        pulled = self._pull(self._point(vector), jnp.asarray(combine))
        return self._function.space.rows(pulled, (len(combine),), "gradient")

    def forward(self, vector: np.ndarray, direction: np.ndarray) -> np.ndarray | None:
        """Return the Jacobian times a direction by forward mode, or None where f has only reverse mode."""
        try:
            moved = self._push(self._point(vector), self._point(direction))
        except TypeError as error:
            if "custom_vjp" in str(error):
                return None
            raise
        return np.concatenate([np.asarray(leaf, np.float64).reshape(-1) for leaf in jax.tree_util.tree_leaves(moved)])

    def _point(self, vector: np.ndarray) -> Any:
        return jax.tree_util.tree_map(jnp.asarray, self._function.space.point(vector, double=self._function.double))


class Torch:
    """PyTorch's autograd."""

    kind = "PyTorch autograd"
    repeatable = True

    def __init__(self, f: Callable[[Any], Any], function: Function, *, second: bool = False) -> None:
        self._f, self._function, self.eps, self._second = f, function, function.eps, second

    def rows(self, vector: np.ndarray, combine: np.ndarray) -> np.ndarray:
        import torch

        space = self._function.space
        point = space.point(vector, double=self._function.double)
        leaves, structure = jax.tree_util.tree_flatten(point)
        for leaf in leaves:
            leaf.requires_grad_(True)
        with torch.enable_grad():
            outputs = jax.tree_util.tree_leaves(self._f(jax.tree_util.tree_unflatten(structure, leaves)))
            if not all(is_torch(output) for output in outputs):
                raise UsageError("f returned numbers, not tensors, so PyTorch cannot differentiate it: no .item()")
            whole = torch.cat([output.reshape(-1) for output in outputs])
            if not whole.requires_grad and self._second:
                return np.zeros((len(combine), space.size))  # a linear f
            if not whole.requires_grad:
                raise UsageError("f's result does not depend on x as PyTorch sees it: is there a .detach() or .item()?")
            found = []
            for row in combine:
                total = torch.dot(whole, torch.as_tensor(row, dtype=whole.dtype, device=whole.device))
                parts = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
                found.append(
                    np.concatenate(
                        [
                            np.zeros(leaf.numel()) if part is None else numbers(part.double()).reshape(-1)
                            for leaf, part in zip(leaves, parts, strict=True)
                        ]
                    )
                )
        return np.stack(found)


def source_of(f: Callable[[Any], Any], gradient: Any, function: Function, *, second: bool = False) -> Source:
    """Return the gradient given, or else what the library of the point differentiates f with.

    ``second`` says that f is itself a gradient.
    """
    if gradient is not None:
        return Given(gradient, function, "hessian" if second else "gradient")
    libraries = function.space.libraries
    if "torch" in libraries:
        if libraries != {"torch"}:
            raise UsageError("x mixes PyTorch tensors with other arrays; give tensors alone")
        return Torch(f, function, second=second)
    return Jax(f, function, second=second)


def _pulled(f: Callable[[Any], Any], point: Any, row: jax.Array) -> Any:
    """Return the gradient of a combination of f's outputs, by reverse mode."""
    result, pull = jax.vjp(f, point)
    return pull(_shaped(result, row))[0]


def _shaped(result: Any, row: jax.Array) -> Any:
    """Return a row over all outputs in the shape and precision of what f returned."""
    leaves, structure = jax.tree_util.tree_flatten(result)
    parts, start = [], 0
    for leaf in leaves:
        part = row[start : start + leaf.size].reshape(leaf.shape)
        parts.append(jnp.asarray(part, leaf.dtype))
        start += leaf.size
    return jax.tree_util.tree_unflatten(structure, parts)

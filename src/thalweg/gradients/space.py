"""Points as vectors: a tree of NumPy, JAX or PyTorch arrays and the n numbers in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from thalweg.errors import UsageError

__all__ = ["Leaf", "Space", "is_torch", "numbers"]


def is_torch(value: Any) -> bool:
    """True for a PyTorch tensor; PyTorch is not imported to find out."""
    return type(value).__module__.split(".")[0] == "torch" or any(
        base.__module__ == "torch" and base.__name__ == "Tensor" for base in type(value).__mro__
    )


def numbers(value: Any) -> np.ndarray:
    """Return an array of any of the libraries as NumPy's."""
    if is_torch(value):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return np.asarray(value)


@dataclass(frozen=True)
class Leaf:
    """One array of the point: its name in the tree, shape, precision and library."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    library: str  # "numpy" | "jax" | "torch" | "python"
    start: int  # of its numbers in the vector
    device: str = "cpu"  # of a PyTorch tensor

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=int))

    @property
    def span(self) -> slice:
        return slice(self.start, self.start + self.size)


class Space:
    """What a point looks like, and so how a vector (n,) float64 becomes one."""

    def __init__(self, x: Any, *, to_jax: bool = False) -> None:
        """Take the point; ``to_jax`` hands NumPy arrays on as JAX's, for functions that JAX differentiates."""
        what = "x"
        paths, structure = jax.tree_util.tree_flatten_with_path(x)
        self._structure: Any = structure
        if not paths:
            raise UsageError(f"{what} holds no array; give the point at which the gradient is to be checked")
        leaves: list[Leaf] = []
        for path, value in paths:
            leaf = _leaf(jax.tree_util.keystr(path), value, sum(leaf.size for leaf in leaves), what)
            leaves.append(replace(leaf, library="jax") if to_jax and leaf.library != "torch" else leaf)
        self.leaves = tuple(leaves)
        self.size = sum(leaf.size for leaf in leaves)
        if self.size == 0:
            raise UsageError(f"{what} has no entries; its shapes are {[leaf.shape for leaf in leaves]}")
        self.x = np.concatenate([numbers(value).astype(np.float64).reshape(-1) for _, value in paths])
        bad = np.flatnonzero(~np.isfinite(self.x))
        if len(bad):
            raise UsageError(
                f"{what}{self.name(bad[0])} is {self.x[bad[0]]}; check the gradient at a point of finite numbers"
            )
        self.double = all(leaf.dtype == np.float64 for leaf in leaves)

    @property
    def libraries(self) -> set[str]:
        return {leaf.library for leaf in self.leaves}

    def leaf_of(self, index: int) -> Leaf:
        return next(leaf for leaf in self.leaves if leaf.start <= index < leaf.start + leaf.size)

    def name(self, index: int) -> str:
        """Return how an entry of the point is written: ``['w'][2, 3]``."""
        where = self.index(index)
        return f"{self.leaf_of(index).name}[{', '.join(map(str, where))}]" if where else self.leaf_of(index).name

    def _mismatch(self, tree: Any) -> str:
        """Say how a tree differs from the point."""
        if tree is None:
            return "is None; it must be a tree like x"
        found = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]}
        wanted = {leaf.name for leaf in self.leaves}
        if wanted == {""}:
            return f"is a {type(tree).__name__}; it must be an array like x"
        if found == {""}:
            return f"is an array, x is a tree of {len(wanted)} arrays; it must be a tree like x"
        parts = [f"has no {name}" for name in sorted(wanted - found)]
        parts += [f"has {name}, which x has not" for name in sorted(found - wanted)]
        return (" and ".join(parts[:4]) or f"is a {type(tree).__name__} where x is not") + "; it must be a tree like x"

    def index(self, index: int) -> tuple[int, ...]:
        """Return where in its leaf an entry stands."""
        leaf = self.leaf_of(index)
        return tuple(int(i) for i in np.unravel_index(index - leaf.start, leaf.shape)) if leaf.shape else ()

    def point(self, vector: np.ndarray, *, double: bool = True) -> Any:
        """Return the tree for a vector, real or complex: in double precision, or that of the point given."""
        return self._structure.unflatten([_array(leaf, vector[leaf.span], double) for leaf in self.leaves])

    def check_kept(self, point: Any, x: np.ndarray, what: str) -> None:
        """Raise where a function that was called with a point has written into it."""
        for leaf, value in zip(self.leaves, jax.tree_util.tree_leaves(point), strict=True):
            if leaf.library in ("numpy", "torch"):
                now = numbers(value)
                if not np.array_equal(now.reshape(-1), x[leaf.span].astype(now.dtype)):
                    raise UsageError(f"{what} changes its input x{leaf.name}; let it work on a copy")

    def tree(self, rows: np.ndarray, lead: tuple[int, ...]) -> Any:
        """Return rows (*lead, n) as a tree of NumPy arrays of shapes lead + the point's."""
        return self._structure.unflatten([rows[..., leaf.span].reshape(lead + leaf.shape) for leaf in self.leaves])

    def vector(self, tree: Any, what: str) -> np.ndarray:
        """Return a tree shaped like the point, a gradient, as a vector; raise where its shapes are others."""
        return self.rows(tree, (), what)[0]

    def rows(self, tree: Any, lead: tuple[int, ...], what: str) -> np.ndarray:
        """Return a tree whose leaves are ``lead`` + the point's shapes as a matrix (∏ lead, n)."""
        structure: Any = jax.tree_util.tree_structure(tree)
        if structure != self._structure:
            raise UsageError(f"{what} {self._mismatch(tree)}")
        rows = int(np.prod(lead, dtype=int))
        parts = []
        for leaf, value in zip(self.leaves, jax.tree_util.tree_leaves(tree), strict=True):
            array = numbers(value)
            if array.dtype.kind not in "fiub":
                raise UsageError(f"{what}{leaf.name} is of {array.dtype}; it must be of real numbers")
            if array.shape != lead + leaf.shape:
                raise UsageError(
                    f"{what}{leaf.name} has shape {array.shape}; it must be {lead + leaf.shape}"
                    f"{_summed(array.shape, lead + leaf.shape)}"
                )
            parts.append(array.astype(np.float64).reshape(rows, leaf.size))
        return np.concatenate(parts, axis=1)


def _leaf(name: str, value: Any, start: int, what: str) -> Leaf:
    if isinstance(value, (bool, int)):
        raise UsageError(f"{what}{name} is the integer {value!r}; a gradient needs floats: write {float(value)!r}")
    if isinstance(value, float):
        return Leaf(name, (), np.dtype(np.float64), "python", start)
    library = "torch" if is_torch(value) else "jax" if isinstance(value, jax.Array) else "numpy"
    if library == "numpy" and not isinstance(value, (np.ndarray, np.generic)):
        hint = "; take its .to_numpy()" if hasattr(value, "to_numpy") else ""
        raise UsageError(f"{what}{name} is a {type(value).__name__}; its entries must be arrays or floats{hint}")
    if library == "torch" and not value.dtype.is_floating_point and not value.dtype.is_complex:
        raise UsageError(f"{what}{name} is of {value.dtype}; a gradient needs floats: convert it with .double()")
    # JAX brings ml_dtypes, which gives NumPy the name bfloat16.
    dtype = np.dtype(str(value.dtype).removeprefix("torch.")) if library == "torch" else np.dtype(value.dtype)
    if dtype.kind == "c":
        raise UsageError(f"{what}{name} is complex; give its real and imaginary parts as two arrays")
    if dtype.kind != "f" and dtype.name != "bfloat16":
        remedy = "its entries must be numbers" if dtype.kind in "OUS" else "convert it with .astype(float)"
        raise UsageError(f"{what}{name} is of {dtype}; a gradient needs floats: {remedy}")
    device = str(value.device) if library == "torch" else "cpu"
    return Leaf(name, tuple(value.shape), dtype, library, start, device)


def _array(leaf: Leaf, values: np.ndarray, double: bool) -> Any:
    dtype: Any = values.dtype if double else leaf.dtype
    if leaf.library == "python":
        return complex(values[0]) if dtype.kind == "c" else float(values[0])
    array = values.reshape(leaf.shape).astype(dtype)  # a copy: f may write into it
    if leaf.library == "torch":
        import torch

        half = array.dtype.name == "bfloat16"  # which PyTorch takes from float32 alone
        tensor = torch.from_numpy(array.astype(np.float32) if half else array).to(leaf.device)
        return tensor.bfloat16() if half else tensor
    return jax.numpy.asarray(array) if leaf.library == "jax" else array


def _summed(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Recognise a sum over broadcast axes that was forgotten, or axes that changed places."""
    if len(found) > len(wanted) and found[len(found) - len(wanted) :] == wanted:
        axes = tuple(range(len(found) - len(wanted)))
        return f": x is broadcast there, so sum the gradient over axis {axes[0] if len(axes) == 1 else axes}"
    if len(found) == len(wanted) and sorted(found) == sorted(wanted):
        return ": transposed?"
    if len(found) == len(wanted) and all(f == w or w == 1 for f, w in zip(found, wanted, strict=True)):
        axes = tuple(i for i, (f, w) in enumerate(zip(found, wanted, strict=True)) if f != w)
        return f": x is broadcast there, so sum the gradient over axis {axes[0] if len(axes) == 1 else axes}, kept"
    return ""

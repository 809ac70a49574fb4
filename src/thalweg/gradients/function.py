"""The function under check: called with vectors, counted, and held to what a checker must rely on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from thalweg.errors import UsageError
from thalweg.gradients.space import Space, numbers

__all__ = ["Function", "flat_output"]

_DRIFT = 1e-12  # relative difference of two calls at one point beyond which f counts as random
_DRIFT_SINGLE = 1e-5
_NEAR = (1.3e-3, -4.1e-3, 7.9e-3)  # relative moves of x, to see whether f's values are those of float32


def flat_output(result: Any, what: str = "f") -> np.ndarray:
    """Return what f returned, a number, array or tree of arrays, as a vector of floats or complex numbers."""
    leaves = jax.tree_util.tree_leaves(result)
    if not leaves:
        raise UsageError(f"{what} returned {result!r}; it must return a number or an array")
    parts = []
    for leaf in leaves:
        array = numbers(leaf)
        if array.dtype.kind not in "fciu" and array.dtype.name != "bfloat16":
            raise UsageError(f"{what} returned {array.dtype} ({type(leaf).__name__}); it must return numbers")
        parts.append(array.reshape(-1).astype(np.complex128 if array.dtype.kind == "c" else np.float64))
    whole = np.concatenate(parts)
    if whole.size == 0:
        raise UsageError(f"{what} returned an empty array; it must return a number or an array with entries")
    return whole


class Compiled:
    """A JAX function compiled, or called as it is where it cannot be: what looks at values in Python, say."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self._plain = f
        self._f: Callable[..., Any] = jax.jit(f)

    def __call__(self, *arguments: Any) -> Any:
        if self._f is not self._plain:
            try:
                return self._f(*arguments)
            except Exception:  # of whatever kind: called plainly it either works or raises an error that says more
                self._f = self._plain
        return self._plain(*arguments)


class Function:
    """f as a map from vectors (n,) to vectors (m,), in double precision where f can be called so."""

    def __init__(self, f: Callable[[Any], Any], space: Space, *, compiled: bool = False) -> None:
        self._f, self.space = f, space
        self.evaluations = 0
        self.double = True
        self.note = ""
        self._wide = True  # it returns numbers in double precision
        self.shape: tuple[int, ...] = ()  # of the result, where it is one array
        self.in_tuple = 0  # of so many results
        self.value = self._first()
        if compiled:
            self._compile(f)
        self.eps = float(np.finfo(np.float64 if self.double and self._wide else np.float32).eps)

    @property
    def outputs(self) -> int:
        return len(self.value)

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """Return f at a vector; where f cannot be computed there, NaN."""
        try:
            result = self._call(vector)
        except UsageError:
            raise
        except Exception:  # beside x, whatever f raises means that it is not defined there
            return np.full(self.outputs, np.nan)
        if result.shape != self.value.shape:
            raise UsageError(
                f"f returned {len(result)} numbers at one point and {self.outputs} at another close by; "
                "the shape of its result must not depend on the entries of x"
            )
        return result.real if result.dtype.kind == "c" else result

    def at_complex(self, vector: np.ndarray) -> np.ndarray | None:
        """Return f at a complex vector, or None where it does not take one or drops the imaginary part."""
        if not self.double:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                result = self._call(vector)
        except Exception:  # whatever a function that is not made for complex numbers does with them
            return None
        return result if result.dtype.kind == "c" and result.shape == self.value.shape else None

    def _call(self, vector: np.ndarray) -> np.ndarray:
        self.evaluations += 1
        with np.errstate(all="ignore"):
            result = self._f(self.space.point(vector, double=self.double))
        return flat_output(result)

    def _first(self) -> np.ndarray:
        """Call f at the point itself: find the precision it takes, and that it keeps its input and its value."""
        x = self.space.x
        try:
            first = self._kept(x)
        except UsageError:
            raise
        except Exception as error:
            if self.space.double:
                raise _raised(error) from error
            self.double = False
            first = self._single(x)
            self.note = (
                f"f does not take float64 ({type(error).__name__}), so it was checked in float32; for a sharper check "
                "convert what it uses to float64, such as a model by .double()"
            )
        if first.dtype.kind == "c":
            raise UsageError("f returned complex numbers; check its real and its imaginary part apart")
        bad = np.flatnonzero(~np.isfinite(first))
        if len(bad):
            which = f"entry {bad[0]} of f(x)" if len(first) > 1 else "f(x)"
            raise UsageError(f"{which} is {first[bad[0]]}; check the gradient where f is finite")
        second = self._call(x)
        drift = _DRIFT if self.double and self._wide else _DRIFT_SINGLE
        if second.shape != first.shape or not np.allclose(second, first, rtol=drift, atol=0):
            raise UsageError(
                f"f is random: two calls at the same x gave {_shown(first)} and {_shown(second)}; "
                "fix its seed (a key or generator made anew inside f) and check again"
            )
        return first

    def _compile(self, f: Callable[[Any], Any]) -> None:
        """Call f compiled from now on, if that gives the same values: it was called plainly to see how it behaves."""
        self._f = Compiled(f)
        value = self._call(self.space.x)
        if value.shape == self.value.shape and np.allclose(value, self.value, rtol=1e-4, atol=0):
            self.value = value
        else:
            self._f = f

    def find_precision(self) -> None:
        """Look at values close by, and count f as of float32 where they are."""
        if self.eps < 1e-9 and self._is_rounded():
            self.eps = float(np.finfo(np.float32).eps)
            self.note = "f computes in float32 inside; in float64 the check would be sharper"

    def _is_rounded(self) -> bool:
        """True where all values at points nearby are float32's, as no function of float64 gives them."""
        values = [self(self.space.x * (1 + move)) for move in _NEAR]
        with np.errstate(all="ignore"):
            whole = np.concatenate(values)
            same = np.array_equal(values[0], values[1])  # it does not move, so its values say nothing
            return bool(np.all(whole.astype(np.float32) == whole) and np.isfinite(whole).all() and not same)

    def _single(self, x: np.ndarray) -> np.ndarray:
        try:
            return self._kept(x)
        except UsageError:
            raise
        except Exception as error:
            raise _raised(error) from error

    def _kept(self, x: np.ndarray) -> np.ndarray:
        """Call f, and raise where it wrote into its input."""
        self.evaluations += 1
        point = self.space.point(x, double=self.double)
        with np.errstate(all="ignore"):
            returned = self._f(point)
        result = flat_output(returned)
        arrays = jax.tree_util.tree_leaves(returned)
        self._wide = all(numbers(array).dtype.itemsize >= 8 for array in arrays)
        self.shape = numbers(arrays[0]).shape if len(arrays) == 1 else result.shape
        self.in_tuple = len(returned) if isinstance(returned, tuple) else 0
        self.space.check_kept(point, x, "f")
        return result


def _raised(error: Exception) -> UsageError:
    """Return the error for an f that raises at x, with a hint where the cause is known."""
    text = f"f raised {type(error).__name__} at x: {error}"
    if isinstance(error, TypeError) and "positional argument" in str(error):
        text += "; f takes one argument: put several arrays into a tuple or a dictionary"
    elif "dlpack" in str(error) or "Tensor" in str(error):
        text += "; if f is PyTorch's, give x as a tensor"
    return UsageError(text)


def _shown(values: np.ndarray) -> str:
    return f"{values[0]:.17g}" if len(values) == 1 else f"{values[:3]}"

"""One entry of the corpus, and the small builders that its files share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

Tree = Any
Function = Callable[[Tree], Any]


@dataclass(frozen=True)
class Case:
    """A function at a point, with a gradient that is right or wrong.

    ``gradient`` maps x to a tree shaped like x (for an f that returns an array of
    shape S: to arrays of shape S + x's shape). It is None where the derivative is the
    one that JAX or PyTorch takes of f, custom rules included. ``plain`` is the same
    function with no rule written by hand, in JAX (in PyTorch for kind "torch"): what
    autodiff makes of it in float64 is the truth that ``truth.py`` holds the case to.
    ``order`` 2 marks a case that is about second derivatives, its first being right.
    """

    name: str
    f: Function
    x: Tree
    gradient: Function | None
    kind: str
    wrong: bool
    plain: Function
    order: int = 1
    at_kink: bool = False


def right(name: str, f: Callable[..., Any], gradient: Function, x: Tree, **more: Any) -> Case:
    """Make a correct NumPy case of ``f(xp, x)``, which NumPy runs and JAX differentiates for the truth."""
    plain = more.pop("plain", partial(f, jnp))
    return Case(name, partial(f, np), x, gradient, "numpy", wrong=False, plain=plain, **more)


def planted(name: str, f: Callable[..., Any], gradient: Function, x: Tree, **more: Any) -> Case:
    """Make a NumPy case of ``f(xp, x)`` whose gradient has an error planted in it."""
    return Case(name, partial(f, np), x, gradient, "numpy", wrong=True, plain=partial(f, jnp), **more)


def family(name: str, f: Callable[..., Any], gradient: Callable[..., Tree], x: Tree, bugs: Sequence[str]) -> list[Case]:
    """Make the correct case and one for each bug that ``gradient(x, bug)`` knows."""
    wrong = [planted(f"{name}: {bug}", f, partial(gradient, bug=bug), x) for bug in bugs]
    return [right(name, f, gradient, x), *wrong]

"""The small form of the lectures: some entries at random, a central difference each, the relative errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import check_integer, check_number
from thalweg.gradients.function import Function
from thalweg.gradients.numeric import difference
from thalweg.gradients.sources import source_of
from thalweg.gradients.space import Space
from thalweg.gradients.verdict import Entry
from thalweg.precision import double

__all__ = ["Sample", "sample_check"]


@dataclass(frozen=True)
class Sample:
    """Some entries of a gradient, with their numeric values; print it to see their relative errors."""

    entries: tuple[Entry, ...]

    @property
    def relative_errors(self) -> tuple[float, ...]:
        return tuple(entry.relative_error for entry in self.entries)

    def __str__(self) -> str:
        return "\n".join(
            f"{entry.name}: numeric {entry.numeric:.6f}, analytic {entry.analytic:.6f}, "
            f"relative error {entry.relative_error:.6e}"
            for entry in self.entries
        )


def sample_check(
    f: Callable[[Any], Any], x: Any, gradient: Any = None, *, num_checks: int = 10, h: float = 1e-5, seed: int = 0
) -> Sample:
    """Compare ``num_checks`` random entries of a gradient with central differences of step h.

    The relative error of an entry is |a − n| / max(|a|, |n|). Rule of thumb (CS231n, "Gradient
    checks"): above 1e-2 the gradient is wrong, below 1e-7 it is right, 1e-4 is
    fine only with kinks. It says nothing about the other entries, and one step h suits no
    function everywhere: `gradcheck` has neither weakness.

    Parameters
    ----------
    f, x, gradient
        As for `gradcheck`; f must return one number.
    num_checks
        Entries to draw, without repeats; all, where x has fewer.
    h
        The step; 1e-5 is near the best for values about 1 in float64. The lectures' 1e-7 loses two digits to rounding.
    seed
        Of the drawing.
    """
    check_integer("sample_check", "num_checks", num_checks, least=1)
    check_number("sample_check", "h", h, above=0)
    with double():
        space = Space(x, to_jax=gradient is None)
        function = Function(f, space)
        if function.outputs != 1:
            raise UsageError(f"f returned {function.outputs} numbers; sample_check takes an f that returns one")
        claimed = source_of(f, gradient, function).rows(space.x, np.eye(1))[0]
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(space.size)[:num_checks]
        entries = []
        for index in map(int, chosen):
            found = float(difference(function, index, "central", h)[0])
            entries.append(Entry.at(space, index, float(claimed[index]), found, float("nan")))
    return Sample(tuple(entries))

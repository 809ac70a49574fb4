"""gradcheck: is this the gradient of that function?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import check_integer, check_number
from thalweg.gradients.compare import Agreement
from thalweg.gradients.function import Function
from thalweg.gradients.patterns import recognise
from thalweg.gradients.planted import Planted, plant
from thalweg.gradients.problem import Problem
from thalweg.gradients.search import DIRECTIONS, Line, draw, entry, groups, locate, locate_kink
from thalweg.gradients.sources import Source, source_of
from thalweg.gradients.space import Space
from thalweg.gradients.verdict import Entry, Verdict
from thalweg.precision import double

__all__ = ["Settings", "check", "check_options", "gradcheck"]

_EVERY = 100  # entries that are checked one by one
_WRONG = 4  # entries that are named
_KINKS = 4  # entries at kinks that are named and left out, before the rest counts as inconclusive
_SAMPLE = 12  # entries looked at for the pattern of an error, of those that directions found
_ELSEWHERE = 0.01  # how far from x, relative, the gradient is asked a second time
_ORDER = {"fail": 0, "inconclusive": 1, "pass": 2}


def gradcheck(
    f: Callable[[Any], Any],
    x: Any,
    gradient: Any = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    every: int = _EVERY,
    directions: int = DIRECTIONS,
    seed: int = 0,
    plant: bool = True,
) -> Verdict:
    """Check a gradient against numeric derivatives that carry their own error bars.

    Parameters
    ----------
    f
        A function of one argument that returns a number, an array or a tree of
        arrays. Written in NumPy, JAX or PyTorch; it must not be random nor change its input.
    x
        The point: an array, a float, or a tree (dict, list, tuple, registered class) of
        NumPy, JAX or PyTorch arrays of real numbers. The check runs in float64 wherever f can be called so.
    gradient
        A function of x that returns the gradient, or its value at x: a tree like x.
        For an f that returns an array, the Jacobian: leaves of shape f's + x's.
        Without it JAX's autodiff of f is checked, reverse and forward mode, or
        PyTorch's where x holds tensors.
    rtol, atol
        A derivative d may be missed by atol + rtol |d|. Without either the check
        allows 1e-6 |d| (2e-5 |d| in float32) and what rounding moves the gradient by; it needs no tuning.
    every
        Points of up to so many entries are checked entry by entry, larger ones
        along random directions, with a bisection for the entry that is wrong.
    directions
        How many, for each group of entries of like size: one wrong entry is always found where
        error bars allow it, several that cancel are missed with probability 2^-directions at most.
    seed
        Of the directions.
    plant
        Double an entry of the gradient and see that the check notices, before a pass is given.

    Returns
    -------
    Verdict
        ``status`` is "pass", "fail" or "inconclusive": the last where rounding, noise or a kink
        of f hide the answer, and says which. ``print(verdict)`` says where, how much and how sure.

    Raises
    ------
    UsageError
        Where f is random, changes its input, raises or is not finite at x, x has integers
        or NaN, or the gradient has another shape than x.

    Sources: Squire and Trapp 1998 (complex step), Ridders 1982 (error bars by extrapolation).
    """
    check_options(rtol, atol, every, directions, seed)
    with double():
        space = Space(x, to_jax=gradient is None)
        function = Function(f, space, compiled=_by_jax(space, gradient))
        source = source_of(f, gradient, function)
        settings = Settings(rtol, atol, every, directions, seed, plant)
        return check(function, source, settings, what=f"gradient ({source.kind})")


def _by_jax(space: Space, gradient: Any) -> bool:
    """True where JAX differentiates f, and so can compile it."""
    return gradient is None and "torch" not in space.libraries


@dataclass(frozen=True)
class Settings:
    """What the caller may choose; see `gradcheck`."""

    rtol: float | None = None
    atol: float | None = None
    every: int = _EVERY
    directions: int = DIRECTIONS
    seed: int = 0
    plant: bool = True


def check_options(rtol: float | None, atol: float | None, every: int, directions: int, seed: int) -> None:
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value is not None:
            check_number("gradcheck", name, value, least=0)
    check_integer("gradcheck", "every", every, least=0)
    check_integer("gradcheck", "directions", directions, least=1)
    check_integer("gradcheck", "seed", seed, least=0)


def check(function: Function, source: Source, settings: Settings, what: str) -> Verdict:
    """Check a source's rows against a function's differences; `gradcheck` says how."""
    rng = np.random.default_rng(settings.seed)
    x = function.space.x
    function.find_precision()
    problem = Problem(function, source, x, function.value, rng, settings.rtol, settings.atol)
    run = _Run(problem, settings, rng)
    infinite = np.flatnonzero(~np.isfinite(problem.rows).all(axis=0))
    if problem.size <= settings.every:
        run.entries(np.arange(problem.size))
    elif len(infinite):
        run.entries(infinite[:_WRONG])  # no direction need be tried
    else:
        run.by_directions()
    if run.status == "pass":
        run.elsewhere(source)
    planted = plant(problem, run.lines, rng) if settings.plant and run.status == "pass" else None
    return run.verdict(what, planted)


@dataclass
class _Run:
    """What has been compared so far."""

    problem: Problem
    settings: Settings
    rng: np.random.Generator
    lines: list[Line] = field(default_factory=list)
    alone: dict[int, Line] = field(default_factory=dict)  # by entry
    directions: int = 0
    reasons: list[str] = field(default_factory=list)
    lost: Agreement | None = None  # a failure along a direction that no single entry explains
    kinks: set[int] = field(default_factory=set)

    @property
    def status(self) -> str:
        found = [one.status for line in self.lines for one in line.found]
        if self.lost is not None:
            found.append(self.lost.status)
        return min(found, key=lambda status: _ORDER[status])

    def entries(self, which: np.ndarray) -> None:
        """Compare entries one by one."""
        for index in which:
            line = self.alone[int(index)] = entry(self.problem, int(index))
            self.lines.append(line)

    def by_directions(self) -> None:
        """Compare each group along random directions, until one is seen to fail."""
        for group in groups(self.problem):
            if len(group) <= self.settings.directions // 2:
                self.entries(group)
            else:
                self._group(group)

    def _group(self, group: np.ndarray) -> None:
        for _ in range(self.settings.directions):
            group = group[~np.isin(group, list(self.kinks))]
            direction = draw(self.problem, group, self.rng)
            line = Line(direction, self.problem.settle(direction))
            self.directions += 1
            failed = [i for i, one in enumerate(line.found) if one.status == "fail"]
            if failed and self._failed(line, max(failed, key=lambda i: line.found[i].away)):
                return
            line = Line(direction, [self._forgiven(one) for one in line.found])
            kinked = [i for i, one in enumerate(line.found) if one.sides is not None]
            if kinked and len(self.kinks) < _KINKS:
                self._kinked(line, kinked[0])
            else:
                self.lines.append(line)

    def _kinked(self, line: Line, claim: int) -> None:
        """Name an entry at a kink, and leave it out from now on: the others can still be checked."""
        index = locate_kink(self.problem, line, claim)
        self.kinks.add(index)
        self.entries(np.array([index]))

    def _forgiven(self, one: Agreement) -> Agreement:
        """Return a difference that entries within rtol add up to as agreement, with a bar as wide."""
        if one.status != "fail":
            return one
        return replace(one, status="pass", threshold=max(one.threshold, abs(one.claimed - one.found)))

    def _failed(self, line: Line, claim: int) -> bool:
        """Find the entry behind a failure, and some others of its leaf for comparison; False where none is wrong."""
        index = locate(self.problem, line, claim)
        self.entries(np.array([index]))
        if all(one.status != "fail" for one in self.alone[index].found):
            if self.problem.is_slight(line.direction, line.found[claim]):
                self.problem.be_coarse()
                return False
            self.lost = line.found[claim]
            self.reasons.append(
                "the gradient is wrong along a random direction, by errors in many entries that are too small to be "
                "seen one by one"
            )
        leaf = self.problem.function.space.leaf_of(index)
        others = leaf.start + self.rng.permutation(leaf.size)[: _SAMPLE // 2]
        for other in dict.fromkeys(int(o) for o in [*others, *_mirrors(leaf.shape, leaf.start, others)]):
            if other not in self.alone:
                self.entries(np.array([other]))
        return True

    def elsewhere(self, source: Source) -> None:
        """Ask for the gradient at a second point: one that was stored at the first would still be given."""
        if not source.repeatable:
            return
        problem = self.problem
        moved = problem.x + _ELSEWHERE * problem.scale * self.rng.uniform(-1, 1, problem.size)
        values = problem.function(moved)
        if not np.isfinite(values).all():
            return
        try:
            second = Problem(problem.function, source, moved, values, self.rng, self.settings.rtol, self.settings.atol)
        except UsageError:
            return  # x was the only point asked for; f or its gradient need not be defined beside it
        every = np.arange(problem.size)
        if not np.isfinite(second.rows).all():
            return
        for _ in range(2):
            direction = draw(second, every, self.rng)
            found = second.settle(direction)
            failed = [one for one in found if one.status == "fail" and not second.is_slight(direction, one)]
            if failed:
                self.lost = failed[0]
                same = np.array_equal(second.rows, problem.rows)
                self.reasons.append(
                    "right at x, wrong at a second point close by, where it is the same as at x: does it keep what it "
                    "computed first?"
                    if same
                    else "right at x, wrong at a second point close by: does it lack a term or branch that x hides?"
                )
                return

    def verdict(self, what: str, planted: Planted | None) -> Verdict:
        problem, status = self.problem, self.status
        reasons = list(self.reasons)
        if planted is not None and not planted.caught:
            status = "inconclusive"
            reasons.append(f"a planted error would have gone unseen ({planted.text})")
        decided = self._decided(status)
        if status == "fail" and len(self.alone) > 1:
            wrong = len({index for index, _, _ in decided})
            reasons.append(f"{wrong} of {len(self.alone)} entries checked one by one are wrong")
        reasons += [text for text in dict.fromkeys(one.reason for _, _, one in decided) if text]
        if status == "inconclusive" and not decided:
            reasons += list(dict.fromkeys(one.reason for line in self.lines for one in line.found if one.reason))
        q = problem.outputs
        each = {(index, claim % q): (index, claim, one) for index, claim, one in reversed(decided)}  # modes apart
        named = [self._entry(*item) for item in list(each.values())[::-1][:_WRONG]]
        if self.lost is not None and not named:
            named = [_along(self.lost)]
        return Verdict(
            status=status,
            what=f"{what}{self._modes(status)}",
            size=problem.size,
            entries=len(self.alone),
            directions=self.directions,
            evaluations=problem.function.evaluations,
            miss=0.5**self.settings.directions if self.directions else 0.0,
            resolution=float("nan") if planted is None else planted.resolution,
            worst=named[0] if named else None,
            wrong=tuple(named) if status == "fail" else (),
            reasons=tuple(reasons),
            hints=tuple(self._hints()) if status == "fail" else (),
            planted="not tried" if planted is None else planted.text,
            notes=(problem.function.note,) if problem.function.note else (),
        )

    def _decided(self, status: str) -> list[tuple[int, int, Agreement]]:
        """Return the (entry, claim, comparison) that the status rests on, the worst first."""
        found = [
            (index, claim, one)
            for index, line in self.alone.items()
            for claim, one in enumerate(line.found)
            if one.status == status != "pass"
        ]
        return sorted(found, key=lambda item: -item[2].away)

    def _entry(self, index: int, claim: int, one: Agreement) -> Entry:
        space, scale = self.problem.function.space, self.alone[index].direction[index]
        several = 1 < self.problem.function.outputs == self.problem.outputs
        output = claim % self.problem.outputs if several else None
        sides = None if one.sides is None else (one.sides[0] / scale, one.sides[1] / scale)
        return Entry.at(space, index, one.claimed / scale, one.found / scale, one.error / scale, output, sides)

    def _modes(self, status: str) -> str:
        """Say which modes of autodiff were compared, or which of them is wrong."""
        modes = self.problem.modes
        if self.problem.source.kind == "given" or len(modes) == 1:
            return ""
        q = self.problem.outputs
        bad = {modes[c // q] for line in self.lines for c, one in enumerate(line.found) if one.status == "fail"}
        if status == "fail" and len(bad) == 1:
            other = next(mode for mode in modes if mode not in bad)
            return f", {bad.pop()} mode alone: {other} mode is right"
        return ", reverse and forward mode"

    def _hints(self) -> list[str]:
        """Recognise the mistake from the entries compared alone, by leaf."""
        problem = self.problem
        space, q = problem.function.space, problem.outputs
        sizes = sorted({length for leaf in space.leaves for length in (*leaf.shape, leaf.size)} | {q})
        hints = []
        for leaf in space.leaves:
            inside = [i for i in sorted(self.alone) if leaf.start <= i < leaf.start + leaf.size]
            of_claims = []
            for claim in range(len(problem.modes) * q):
                found = [self.alone[i].found[claim] for i in inside]
                steps = np.array([self.alone[i].direction[i] for i in inside])
                if not any(one.status == "fail" for one in found):
                    continue
                claimed, numeric, error = (
                    np.array([getattr(one, name) for one in found]) / steps for name in ("claimed", "found", "error")
                )
                kept = np.isfinite(numeric) & np.isfinite(claimed) & np.isfinite(error)
                where = np.array(inside)[kept]
                of_claims.append(
                    recognise(
                        leaf, space.x[where], where - leaf.start, claimed[kept], numeric[kept], error[kept], sizes
                    )
                )
            if all(found == of_claims[0] for found in of_claims):  # of several outputs all must tell the same tale
                hints += of_claims[0] if of_claims else []
        return list(dict.fromkeys(hints))


def _along(one: Agreement) -> Entry:
    return Entry("along a random direction", (), "", one.claimed, one.found, one.error)


def _mirrors(shape: tuple[int, ...], start: int, entries: np.ndarray) -> list[int]:
    """Return the entries of a square matrix's transpose, to see whether it was taken by mistake."""
    if len(shape) < 2 or shape[-1] != shape[-2]:
        return []
    mirrored = []
    for index in entries:
        spot = list(np.unravel_index(int(index) - start, shape))
        spot[-1], spot[-2] = spot[-2], spot[-1]
        mirrored.append(start + int(np.ravel_multi_index(spot, shape)))
    return mirrored

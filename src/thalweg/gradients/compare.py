"""A claimed derivative against a numeric one: agrees, wrong, or unsure and why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from thalweg.gradients.line import Estimate, Line

__all__ = ["Agreement", "ComplexStep", "Rule", "Sizes", "compare", "settle"]

_ZERO = 1e-7  # of the largest term: what a bar may hide where the gradient says 0
_STEPS = 3  # smaller ones that outweigh two
_CLEAR = 4.0  # error bars that a claim must be off by to count as wrong: bars are no proofs where f is rough
_TINY = 1e-290
_SHOWN = 1e-3  # relative error bar of a real difference within which agreement says something
_STEP = 1e-30  # of complex steps: its square vanishes beside 1


@dataclass(frozen=True)
class Rule:
    """How far a claim may be from the derivative: ``rtol |derivative|``, bars and the caller's atol apart.

    ``blunt`` is the relative error bar beyond which agreement proves too little; below ``minor`` times the
    gradient's largest term an entry is 0 for all that it does.
    """

    rtol: float
    sharp: float = 1e-6  # relative error bar at which no further steps are taken
    blunt: float = 1e-2
    minor: float = 1e-10

    def allowed(self, claimed: float, found: float) -> float:
        return self.rtol * max(abs(claimed), abs(found))


@dataclass(frozen=True)
class Agreement:
    """The outcome for one claimed number."""

    status: str  # "pass" | "fail" | "inconclusive"
    claimed: float
    found: float
    error: float  # bar of what was found
    threshold: float  # of |claimed − found| beyond which the claim is wrong
    reason: str = ""
    sides: tuple[float, float] | None = None  # the slopes on the left and right of a kink

    @property
    def away(self) -> float:
        """|claimed − found| in units of the threshold."""
        apart = abs(self.claimed - self.found)
        return apart / max(self.threshold, _TINY) if math.isfinite(apart) else math.inf


class ComplexStep:
    """Im f(x + ihv) / h, exact to rounding where f is analytic (Squire and Trapp 1998); whether it is, is tried.

    It is trusted where it has agreed with real differences along other lines. A function that drops
    imaginary parts on the way (abs, a comparison with its conjugate) gives itself away there.
    """

    def __init__(self) -> None:
        self.agreed, self.refused = 0, False

    def along(self, at: Callable[[complex], np.ndarray | None], lines: Estimate) -> np.ndarray | None:
        """Return the derivatives (q,), or None where f is not analytic; ``lines`` is what real differences say."""
        if self.refused:
            return None
        result = at(1j * _STEP)
        if result is None or not np.isfinite(result).all():
            self.refused = True
            return None
        found = result.imag / _STEP
        apart = np.abs(found - lines.value) > lines.error + 1e-9 * np.abs(found)
        if np.any(apart & np.isfinite(lines.error) & ~lines.kink):
            self.refused = True
            return None
        if np.any(lines.error <= _SHOWN * np.abs(lines.value)):
            self.agreed += 1
        return found

    @property
    def trusted(self) -> bool:
        return not self.refused and self.agreed >= 2


@dataclass(frozen=True)
class Sizes:
    """What a derivative is small beside: for each output (q,) the gradient's largest term, and what f rounds off."""

    terms: np.ndarray
    rounding: float  # of numbers as large as x: what f may lose inside where it never moves

    def minor(self, lines: Estimate, i: int, rule: Rule, claim: float) -> float:
        """Return below what a derivative counts as 0."""
        if self.terms[i] > 0 and claim == 0:
            return float(max(rule.minor, _ZERO) * self.terms[i])
        if self.terms[i] > 0:
            return float(max(rule.minor * self.terms[i], 1e-3 * rule.minor * lines.size[i]))
        return float(max(rule.minor * lines.size[i], _TINY))


def settle(line: Line, claims: np.ndarray, doubts: np.ndarray, sizes: Sizes, rule: Rule) -> list[Agreement]:
    """Refine a line until every claim (modes × q,) is settled, or there are no more steps.

    ``doubts`` is how far rounding, and what the caller allows, may move each claim.
    """
    while True:
        lines = line.estimate()
        parts = list(zip(claims, doubts, range(len(claims)), strict=True))
        if all(_settled(lines, i % len(lines), claim, doubt, sizes, rule) for claim, doubt, i in parts):
            break
        if not line.refine():
            break
    return [compare(lines, i % len(lines), float(claim), float(doubt), sizes, rule) for claim, doubt, i in parts]


def _settled(lines: Estimate, i: int, claim: float, doubt: float, sizes: Sizes, rule: Rule) -> bool:
    """True where agreement is beyond question: disagreement is believed only after all steps."""
    if lines.kink[i]:
        return False
    size = max(abs(claim), abs(lines.value[i]))
    sharp = max(rule.sharp * size, 1e-3 * sizes.minor(lines, i, rule, claim))
    near = abs(claim - lines.value[i]) <= lines.error[i] + doubt + rule.allowed(claim, lines.value[i])
    return bool(near and lines.error[i] <= max(sharp, 0.1 * (doubt + rule.allowed(claim, lines.value[i]))))


def compare(lines: Estimate, i: int, claim: float, doubt: float, sizes: Sizes, rule: Rule) -> Agreement:
    """Judge a claim by the final estimate of output ``i``."""
    found, error = float(lines.value[i]), float(lines.error[i])
    allowed = doubt + (rule.allowed(claim, found) if np.isfinite(found) else 0.0)
    threshold = error + allowed

    def outcome(status: str, reason: str = "") -> Agreement:
        return Agreement(status, claim, found, error, threshold, reason)

    if np.isinf(claim) and not np.isfinite(error):
        return outcome("inconclusive", "f is not finite on one side: x lies at the edge of its domain")
    if not np.isfinite(claim):
        sides = (float(lines.left[i]), float(lines.right[i])) if lines.kink[i] else None
        return Agreement("fail", claim, found, error, threshold, "the gradient is not finite", sides)
    if not np.isfinite(error):
        return outcome("inconclusive", "f is not finite on one side: x lies at the edge of its domain")
    if lines.kink[i]:
        return _at_kink(lines, i, claim, error, threshold)
    away = abs(claim - found)
    unseen = lines.still[i] > 0 and lines.hidden[i] <= _SHOWN * lines.size[i]
    if unseen and abs(claim) * lines.still[i] <= sizes.rounding:
        return outcome("pass")  # too small to move f at all, as where a softmax saturates
    if lines.flat[i] and max(abs(claim), abs(found)) <= 2 * lines.size[i]:
        return outcome("inconclusive", "f moves in steps: it computes in less than the precision of x")
    if away <= threshold:
        size = max(abs(claim), abs(found))
        blunt = max(rule.blunt * size, sizes.minor(lines, i, rule, claim))
        if threshold <= max(blunt, 2 * allowed):
            return outcome("pass")
        return outcome("inconclusive", "rounding, noise or a jump of f hides errors of this size")
    if away <= threshold + (_CLEAR - 1) * error:
        return outcome("inconclusive", "off by more than the error bar, but not clearly")
    if _agrees_elsewhere(lines.seen[i], claim, found):
        return outcome("inconclusive", "differences at other steps agree with it: f is rounded, noisy or rough")
    return outcome("fail")


def _agrees_elsewhere(seen: np.ndarray, claim: float, found: float) -> bool:
    """True where the differences at two steps in turn are near the claim, and not three smaller ones near the other.

    Near a wrong claim they cannot stay: with each step a smooth function's differences come 64 times nearer to the
    derivative. But beyond a kink beside the point f has another slope, which smaller steps do not see.
    """
    seen, away = seen[np.isfinite(seen)], abs(claim - found)
    near = np.abs(seen - claim) <= away / 4
    pairs = np.flatnonzero(near[1:] & near[:-1])
    if not len(pairs):
        return False
    smaller = seen[pairs[-1] + 2 :]
    return bool(np.count_nonzero(np.abs(smaller - found) <= away / 4) < _STEPS)


def _at_kink(lines: Estimate, i: int, claim: float, error: float, threshold: float) -> Agreement:
    left, right = sorted((float(lines.left[i]), float(lines.right[i])))
    width = right - left
    status = "inconclusive" if left - width - threshold <= claim <= right + width + threshold else "fail"
    sides = float(lines.left[i]), float(lines.right[i])
    middle, half = (left + right) / 2, width / 2
    return Agreement(status, claim, middle, error + half, threshold + half, "f has a kink there", sides)

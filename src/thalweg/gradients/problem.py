"""What is compared with what: the function, its claimed derivatives along any direction, and their rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from thalweg.gradients.compare import Agreement, ComplexStep, Rule, Sizes, settle
from thalweg.gradients.function import Function
from thalweg.gradients.line import Estimate, Line
from thalweg.gradients.sources import Jax, Source

__all__ = ["Problem"]

_OUTPUTS = 64  # each is compared by itself; of more, random combinations
_COMBINATIONS = 8
_LIGHT = 1e-3  # of the usual slope: outputs that move less weigh no more
_DOUBT = 4.0  # how much further rounding may move a gradient than it did in two trials
_RTOL = 1e-6  # a smaller relative error is no mistake in a formula
_RTOL_SINGLE = 2e-5
_FINE = 1e-9  # the same along a direction
_WALK = 3.0  # standard deviations
_QUICK = 6  # steps of an estimate that only has to tell halves apart


class Problem:
    """f at x and the gradient that is claimed for it, both along directions v (n,).

    Several outputs are compared each by itself up to 64, and beyond in 8 random
    combinations. A claim is a number a direction, output and mode of differentiation.
    """

    def __init__(
        self, function: Function, source: Source, x: np.ndarray, values: np.ndarray, rng: np.random.Generator,
        rtol: float | None, atol: float | None,
    ) -> None:  # fmt: skip
        self.function, self.source, self.x = function, source, x
        self.scale = _scales(function, x)
        self.combine = _combinations(function, x, self.scale, rng)
        self.values = self.combine @ values
        self.rows = source.rows(x, self.combine)
        self._eps = max(function.eps, source.eps, _precision(self.rows))  # of the gradient
        single = self._eps > 1e-9
        default = (_RTOL_SINGLE if single else _RTOL) if rtol is None and atol is None else 0.0
        rough = {"minor": 1e-3} if single else {}  # in float32 no more can be asked of differences
        self.rule = Rule(default if rtol is None else rtol, **rough)
        # Beside the sum over many entries one may be small: an error in it must show, and is then looked at alone.
        self._along = self.rule if single else replace(self.rule, rtol=min(self.rule.rtol, _FINE), sharp=_FINE)
        self._rtol, self._atol = rtol or 0.0, atol or 0.0  # what the caller asked for
        terms = np.abs(self.rows) * self.scale
        largest = np.max(np.where(np.isfinite(terms), terms, 0), axis=1)
        self.sizes = Sizes(largest, 64 * function.eps * float(np.max(np.abs(x))))
        self._moved = self._rounded(rng)
        self.complex_step = ComplexStep()
        self.modes = ["reverse"]
        if isinstance(source, Jax) and source.forward(x, self.scale) is not None:
            self.modes.append("forward")

    @property
    def size(self) -> int:
        return len(self.x)

    @property
    def outputs(self) -> int:
        return len(self.combine)

    def _rounded(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Return how the gradient changes when x moves by its own rounding: its conditioning."""
        if not self.source.repeatable:
            return []
        moved = []
        for _ in range(2):
            signs = rng.choice([-1.0, 1.0], len(self.x))
            rows = self.source.rows(self.x * (1 + 2 * self._eps * signs), self.combine)
            known = np.isfinite(rows) & np.isfinite(self.rows)
            moved.append(np.where(known, rows, 0) - np.where(known, self.rows, 0))
        return moved

    def claims(self, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the claimed derivatives along v, (modes × q,), and what rounding may move each by."""
        inside = np.flatnonzero(direction)  # no 0 × NaN of entries that are not moved
        rows, steps = self.rows[:, inside], direction[inside]
        reverse = rows @ steps
        doubt = 2 * self._eps * (np.abs(rows) @ np.abs(steps))
        for change in self._moved:
            doubt = np.maximum(doubt, _DOUBT * np.abs(change[:, inside] @ steps))
        # What the caller allows each entry adds up along a direction like a random walk, its signs being random.
        spread = 1.0 if len(inside) == 1 else _WALK
        doubt = doubt + spread * self._atol * _norm(steps[None])
        if len(inside) > 1:
            doubt = doubt + spread * self._rtol * _norm(rows * steps)
        if len(self.modes) == 1:
            return reverse, doubt
        assert isinstance(self.source, Jax)
        forward = self.source.forward(self.x, direction)
        assert forward is not None
        return np.concatenate([reverse, self.combine @ forward]), np.concatenate([doubt, doubt])

    def line(self, direction: np.ndarray) -> Line:
        def along(t: float) -> np.ndarray:
            return self.combine @ self.function(self.x + t * direction)

        return Line(along, self.values, self.function.eps, float(np.max(np.abs(self.x))))

    def settle(self, direction: np.ndarray) -> list[Agreement]:
        """Compare all claims along a direction with the numeric derivatives."""
        claims, doubts = self.claims(direction)
        line = self.line(direction)
        rule = self.rule if np.count_nonzero(direction) == 1 else self._along
        found = settle(line, claims, doubts, self.sizes, rule)
        unsure = [i for i, one in enumerate(found) if one.status == "inconclusive"]
        if not unsure and self.complex_step.agreed >= 2:
            return found
        return self._by_complex_step(direction, line.estimate(), found, doubts)

    def be_coarse(self) -> None:
        """Allow rtol along directions too: the gradient is not exact enough for less, and nothing was found wrong."""
        self._along = self.rule

    def is_slight(self, direction: np.ndarray, one: Agreement) -> bool:
        """True for a difference along a direction that entries within rtol of the truth can add up to."""
        terms = np.max(_norm(self.rows[:, direction != 0] * direction[direction != 0]))
        return abs(one.claimed - one.found) <= one.threshold + _WALK * self.rule.rtol * terms

    def _by_complex_step(
        self, direction: np.ndarray, lines: Estimate, found: list[Agreement], doubts: np.ndarray
    ) -> list[Agreement]:
        exact = self.complex_step.along(self._complex(direction), lines)
        if exact is None:
            return found
        q = self.outputs
        return [
            self._exactly(one, float(exact[i % q]), float(doubts[i]), bool(lines.kink[i % q]))
            for i, one in enumerate(found)
        ]

    def _exactly(self, one: Agreement, exact: float, doubt: float, kink: bool) -> Agreement:
        """Judge an unsure claim: to agree with a complex step to many digits is no chance, to disagree needs trust."""
        if one.status != "inconclusive" or kink or not np.isfinite(one.claimed):
            return one
        threshold = doubt + self.rule.allowed(one.claimed, exact)
        if exact == 0 and not self.complex_step.trusted:
            return one  # imaginary parts that are dropped on the way look like a slope of 0
        if abs(one.claimed - exact) <= threshold:
            return Agreement("pass", one.claimed, exact, 0.0, threshold)
        if self.complex_step.trusted:
            return Agreement("fail", one.claimed, exact, 0.0, threshold)
        return one

    def _complex(self, direction: np.ndarray) -> Callable[[complex], np.ndarray | None]:
        def at(step: complex) -> np.ndarray | None:
            result = self.function.at_complex(self.x + step * direction)
            return None if result is None else self.combine @ result

        return at

    def quickly(self, direction: np.ndarray, enough: float, output: int) -> Estimate:
        """Estimate one output's derivative no better than to ``enough``."""
        line = self.line(direction)
        for _ in range(_QUICK - 3):
            lines = line.estimate()
            if lines.error[output] <= enough:
                break
            line.refine()
        return line.estimate()


def _combinations(function: Function, x: np.ndarray, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what is compared of the outputs: each, or random sums in which all weigh about alike."""
    outputs = function.outputs
    if outputs <= _OUTPUTS:
        return np.eye(outputs)
    step = 1e-4 * scale * rng.uniform(-1, 1, len(x))
    slopes = np.abs(function(x + step) - function(x - step))
    slopes = np.where(np.isfinite(slopes), slopes, 0)
    usual = float(np.median(slopes[slopes > 0])) if np.any(slopes > 0) else 1.0
    weights = usual / np.maximum(slopes, _LIGHT * usual)
    return rng.choice([-1.0, 1.0], (_COMBINATIONS, outputs)) * rng.uniform(0.5, 1.5, (_COMBINATIONS, outputs)) * weights


def _precision(rows: np.ndarray) -> float:
    """Return the precision of float32 where all of a gradient's numbers are float32's, else 0."""
    with np.errstate(all="ignore"):
        rounded = rows.astype(np.float32) == rows
    return float(np.finfo(np.float32).eps) if rounded.all() and len(np.unique(rows)) > 8 else 0.0


def _norm(rows: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm of each row, whatever its size."""
    largest = np.max(np.abs(rows), axis=1, keepdims=True, initial=np.finfo(float).tiny)
    return np.asarray(largest[:, 0] * np.linalg.norm(rows / largest, axis=1))


def _scales(function: Function, x: np.ndarray) -> np.ndarray:
    """Return the size of a step for each entry: its own, but not far below its leaf's; 1 where all are 0."""
    scale = np.abs(x)
    for leaf in function.space.leaves:
        own = scale[leaf.span]
        usual = float(np.median(own[own > 0])) if np.any(own > 0) else 1.0
        scale[leaf.span] = np.where(own > 0, np.maximum(own, 1e-2 * usual if leaf.size > 1 else 0), usual)
    return scale

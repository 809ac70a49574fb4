"""Softmax with L2: all members of a problem to certified optima.

A fixed number of slots runs in one compiled program (`softmax_step`). A member
that is done leaves its slot to the next one, which starts from its solved
neighbours (`warm_starts`), so the program is compiled once, its matrix products
stay wide, and no work is spent on members that are done.

Float32 does most of the work. A member whose float32 gradient is lost in
rounding before the tolerance is met, as at very small penalties, goes on in
float64, over blocks of the float32 features; then all are certified in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.precision import double
from thalweg.solvers.certificate import Certificate, certify
from thalweg.solvers.optima import Optima, Watch, deliver, statuses
from thalweg.solvers.problem import Problem
from thalweg.solvers.softmax_step import Control, Data, State, begin, step
from thalweg.solvers.spectrum import Spectrum
from thalweg.solvers.warm_starts import WarmStarts

__all__ = ["slots", "solve_softmax"]

_ROWS = 96  # members × classes in the slots: narrower products run slower, wider ones start fewer members warm
# Scores in the slots of small problems: fewer, and a step costs mostly its start; more, and slots idle.
_ENTRIES = 2**19
_MEMORY = 2**31  # bytes that slots of very wide problems may take
_STRIDE = 4  # every fourth strength starts cold, the others between two solved ones
_LEADING = 64  # eigenvectors in the cheap correction; 32 to 256 do alike
_WIDE = 1024  # features from which on the correction is cheap beside a full product; below it costs more than it saves
# Iterations without halving the bound, or a falling value, before a precision counts as exhausted. Float32 is left
# early: float64 goes on.
_PATIENCE = {np.float32: 8, np.float64: 100}
_FALL = 0.9  # of the value: where examples can be separated it falls for long before the bound does
# Precisions in turn, each with the share of the tolerance to aim at: the certificate, for the best bias, may come out
# above the estimate, most where nearly all examples are fitted perfectly.
_ROUNDS = ((np.float32, 0.7), (np.float64, 0.5), (np.float64, 0.1), (np.float64, 0.01))


def solve_softmax(
    problem: Problem,
    spectrum: Spectrum,
    *,
    tolerance: float = 1e-6,
    iterations: int = 5000,
    watch: Watch | None = None,
) -> Optima:
    """Minimise every member (lasso 0, ridge > 0) until bound ≤ tolerance × value.

    ``iterations`` limits each member's steps; ``watch`` is called with the number
    of members done after each step of all, and stops the work by returning True.
    """
    shape = (len(problem), problem.classes, problem.features.shape[1])
    run = _Run(problem, np.zeros(shape), np.zeros(shape[:2]), np.zeros(len(problem), int), iterations, watch)
    with double():
        data = _data(problem, spectrum)
        certificate = _of_nothing(problem)
        left = np.arange(len(problem))
        for dtype, share in _ROUNDS:
            now = left[_representable(problem.ridge[left])] if dtype == np.float32 else left
            if not len(now):
                continue
            before = run.weights[now].copy(), run.bias[now].copy()
            try:
                run.solve(data, now, dtype, share * tolerance)
            except Exception as error:  # the members that are done are worth more than the error
                run.failure, run.stopped = error, True
            certificate = _keep_better(run, certificate, now, before)
            done = (certificate.relative <= tolerance) | (run.iterations >= iterations)
            left = left[~done[left]]
            if run.stopped or not len(left):
                break
    interrupted = np.full(len(problem), run.stopped)
    ends = statuses(certificate, run.iterations, tolerance=tolerance, limit=iterations, interrupted=interrupted)
    return deliver(Optima(run.weights, certificate, ends, run.iterations), run.failure)


def _representable(ridge: np.ndarray) -> np.ndarray:
    """True where float32 holds a penalty and the squares that it is multiplied with."""
    return (ridge > 1e-25) & (ridge < 1e25)


def _of_nothing(problem: Problem) -> Certificate:
    """Return what is known of W = 0 with its best bias, the logarithms of the class shares."""
    bias = np.log(problem.class_shares())[problem.rows]
    nothing = np.full(len(problem), np.nan)
    correct = np.zeros((len(problem), problem.examples), bool)
    value = -np.sum(np.exp(bias) * bias, axis=1)
    return Certificate(bias, value, value.copy(), correct, nothing)


def _keep_better(
    run: _Run, certificate: Certificate, members: np.ndarray, before: tuple[np.ndarray, np.ndarray]
) -> Certificate:
    """Certify what a round found, and go back to what was before where it is worse: float32 can lose its way."""
    found = certify(run.problem.take(members), run.weights[members], run.bias[members])
    run.bias[members] = found.bias
    worse = ~(found.value <= certificate.value[members] * (1 + 1e-9))
    run.weights[members[worse]], run.bias[members[worse]] = before[0][worse], before[1][worse]
    better = np.flatnonzero(~worse)
    part = Certificate(*(getattr(found, f.name)[better] for f in fields(found)))
    return certificate.replace(members[better], part)


def _data(problem: Problem, spectrum: Spectrum) -> Data:
    rank = min(_LEADING, spectrum.rank) if len(spectrum.vectors) >= _WIDE else 0
    leading = np.asarray(problem.features) @ spectrum.vectors[:, :rank]
    return Data(
        jnp.asarray(problem.features), jnp.asarray(problem.labels), jnp.asarray(spectrum.vectors),
        jnp.asarray(spectrum.values), jnp.asarray(np.float32(spectrum.rest)), jnp.asarray(leading),
    )  # fmt: skip


@dataclass(eq=False)
class _Run:
    """The members' weights as they are found, and the loop that finds them."""

    problem: Problem
    weights: np.ndarray  # (T, C, D) float64
    bias: np.ndarray  # (T, C)
    iterations: np.ndarray  # (T,)
    limit: int
    watch: Watch | None = None
    stopped: bool = False
    failure: Exception | None = None
    told: int = 0

    def solve(self, data: Data, members: np.ndarray, dtype: Any, aim: float) -> None:
        """Solve some members: in float32 from nothing, in float64 from the weights they have."""
        width = slots(len(members), self.problem.classes, *self.problem.features.shape)
        again = dtype == np.float64
        warm = WarmStarts(self.problem.take(members), _STRIDE if width < len(members) else 1)
        queue = [int(members[m]) for m in warm.order]
        place = {int(m): i for i, m in enumerate(members)}
        table = _Table(self.problem, width, dtype)
        state = begin(width, self.problem.classes, data, dtype)
        while queue or table.busy:
            for slot in table.free():
                if not queue:
                    break
                member = queue.pop(0)
                start = (self.weights[member], self.bias[member]) if again else warm.start(place[member])
                table.take_up(slot, member, *start)
            state, squares = self._step(data, state, table)
            relative, value = _estimate(state, np.asarray(squares), table.ridge), np.asarray(state.value)
            for slot, member in table.at_work():
                self.iterations[member] += 1
                stalled = table.watch(slot, float(relative[slot]), float(value[slot]))
                if relative[slot] <= aim or stalled or self.iterations[member] >= self.limit:
                    self._harvest(state, slot, member)
                    warm.record(place[member], self.weights[member], self.bias[member])
                    table.release(slot)
            # A later precision begins with fewer done than the last had ended: what is told never falls.
            self.told = max(self.told, len(self.problem) - len(queue) - table.count)
            if self.watch is not None and self.watch(self.told):
                self.stopped = True
                for slot, member in table.at_work():
                    self._harvest(state, slot, member)
                return

    def _step(self, data: Data, state: State, table: _Table) -> tuple[State, jax.Array]:
        """Advance all slots; a start that lies above weights of 0 is given up for these: neighbours can mislead."""
        control = table.control()
        state, squares = step(data, state, control)
        fresh = np.flatnonzero(np.asarray(control.fresh))
        if len(fresh):
            value = np.asarray(state.value)
            shares = self.problem.class_shares()
            for slot, member in table.at_work():
                if slot in fresh and not value[slot] <= math.log(self.problem.classes) * (1 + 1e-5):
                    bias = np.log(shares[self.problem.rows[member]])
                    table.take_up(slot, member, np.zeros_like(self.weights[member]), bias)
        return state, squares

    def _harvest(self, state: State, slot: int, member: int) -> None:
        self.weights[member] = np.asarray(state.point.weights[slot], np.float64)
        self.bias[member] = np.asarray(state.point.bias[slot], np.float64)


def _estimate(state: State, squares: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """Estimate bound / value in the slots; the bias's share is second order, since it is re-optimised at the end."""
    bias = np.sum(np.asarray(state.gradient.bias, np.float64) ** 2, axis=1) / (2 * np.asarray(state.curvature))
    return (squares / (4 * ridge) + bias) / np.asarray(state.value)


def slots(members: int, classes: int, examples: int, features: int) -> int:
    """Return how many slots: what suits the problem, or for fewer members a power of 2, so that few are compiled."""
    most = max(math.ceil(_ROWS / classes), _ENTRIES // (classes * examples))
    # A slot keeps L-BFGS's pairs and a few more arrays of the weights' size, in float64 at worst.
    most = max(1, min(most, _MEMORY // (8 * 24 * classes * features)))
    return min(most, 1 << (members - 1).bit_length())


class _Table:
    """Which member sits in which slot."""

    def __init__(self, problem: Problem, slots: int, dtype: Any) -> None:
        width = problem.features.shape[1]
        self._problem = problem
        self._members: list[int | None] = [None] * slots
        self._best = np.full(slots, np.inf)
        self._value = np.full(slots, np.inf)
        self._since = np.zeros(slots, int)
        self._fresh = np.zeros(slots, bool)
        self._none = (jnp.zeros((slots, problem.classes, width), dtype), jnp.zeros((slots, problem.classes), dtype))
        self._start: tuple[np.ndarray, np.ndarray] | None = None
        self._dtype = dtype
        self._rows = np.zeros(slots, int)
        self._omega: jax.Array | None = None
        self.ridge = np.ones(slots)

    @property
    def count(self) -> int:
        return sum(member is not None for member in self._members)

    @property
    def busy(self) -> bool:
        return self.count > 0

    def free(self) -> list[int]:
        return [slot for slot, member in enumerate(self._members) if member is None]

    def take_up(self, slot: int, member: int, weights: np.ndarray, bias: np.ndarray) -> None:
        self._members[slot] = member
        self._best[slot], self._value[slot], self._since[slot] = np.inf, np.inf, 0
        self.ridge[slot] = self._problem.ridge[member]
        if self._rows[slot] != self._problem.rows[member]:
            self._rows[slot] = self._problem.rows[member]
            self._omega = None
        if self._start is None:
            self._start = tuple(np.zeros(part.shape, part.dtype) for part in self._none)  # type: ignore[assignment]
        assert self._start is not None
        self._start[0][slot], self._start[1][slot] = weights, bias
        self._fresh[slot] = True

    def control(self) -> Control:
        """Return what the next step is told."""
        if self._omega is None:
            self._omega = self._weights_of_examples()
        weights, bias = self._none if self._start is None else map(jnp.asarray, self._start)
        control = Control(jnp.asarray(self.ridge), self._omega, jnp.asarray(self._fresh), weights, bias)
        self._fresh, self._start = np.zeros_like(self._fresh), None
        return control

    def at_work(self) -> list[tuple[int, int]]:
        """Return the (slot, member) pairs at work."""
        return [(slot, member) for slot, member in enumerate(self._members) if member is not None]

    def watch(self, slot: int, relative: float, value: float) -> bool:
        """True where for a while a slot's bound has not halved, nor its value fallen by much; or one is not finite."""
        if relative < self._best[slot] / 2 or value < _FALL * self._value[slot]:
            self._best[slot] = min(relative, self._best[slot])
            self._value[slot], self._since[slot] = value, 0
        else:
            self._since[slot] += 1
        return self._since[slot] >= _PATIENCE[self._dtype] or not math.isfinite(relative)

    def release(self, slot: int) -> None:
        self._members[slot] = None

    def _weights_of_examples(self) -> jax.Array:
        return jnp.asarray(self._problem.weightings[self._rows].astype(self._dtype))

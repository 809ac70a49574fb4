"""Weston-Watkins hinge with L2: all members of a problem to certified optima.

A fixed number of slots runs in one compiled program (`hinge_step`), a primal-dual
method whose every iteration yields a bound on the optimum. A member that is done
leaves its slot, and the point reached there, to the next weaker penalty: scores,
multipliers and step size of one are a fine start for the other. In the
end float64 certifies what float32 found.

Tried on 5,000 CIFAR-10 images and not kept: Huber smoothing with L-BFGS in the same
eigenbasis, which took several times the iterations of this method and still ended above a
gap of 1e-3; Anderson acceleration and restarted Halpern steps of this method, which saved nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.precision import double
from thalweg.solvers.certificate import Certificate, certify
from thalweg.solvers.hinge_step import Control, Data, Point, Report, begin, step
from thalweg.solvers.optima import Optima, Watch, deliver, statuses
from thalweg.solvers.problem import Problem
from thalweg.solvers.spectrum import Spectrum

__all__ = ["slots", "solve_hinge"]

_ROWS = 96  # members × classes in the slots: narrower products run slower, wider ones start fewer members warm
_ENTRIES = 2**21  # scores in the slots where a problem is small: its steps cost mostly their start
_CHANGE = 8.0  # ρ changes by at most this factor at a time, since what it is judged by is rough at first
_SOON = 5  # iterations
_TAIL_STEPS = 12  # of the power method


def solve_hinge(
    problem: Problem,
    spectrum: Spectrum,
    *,
    tolerance: float = 1e-3,
    iterations: int = 5000,
    watch: Watch | None = None,
) -> Optima:
    """Minimise every member (lasso 0, ridge > 0) until bound ≤ tolerance × value.

    ``spectrum`` is of the features, which must be centred. ``iterations`` limits
    each member's steps; ``watch`` is called with the number of members done after
    each step of all, and stops the work by returning True. Float32
    carries tolerances down to about 1e-5. Few features beside many examples at a
    weak penalty are the slow case: some thousand iterations, each of them cheap.
    """
    failure = None
    with double():
        run = _Run(problem, _data(problem, spectrum), tolerance, iterations)
        try:
            run.solve(watch)
        except Exception as error:  # the members that are done are worth more than the error
            failure = error
    certificate = run.certificate()
    ends = statuses(certificate, run.iterations, tolerance=tolerance, limit=iterations, interrupted=run.unfinished)
    return deliver(Optima(run.weights, certificate, ends, run.iterations), failure)


def _data(problem: Problem, spectrum: Spectrum) -> Data:
    features = jnp.asarray(problem.features)
    vectors = jnp.asarray(spectrum.vectors, jnp.float32)
    rest = spectrum.rest
    if spectrum.rank < problem.features.shape[1]:
        # The iteration needs a bound on the other directions' variance, where the spectrum gives their mean.
        rest = max(rest, 1.1 * float(_tail(features, vectors)))
    values = jnp.asarray(np.maximum(spectrum.values, rest), jnp.float32)
    return Data(features, jnp.asarray(problem.labels), vectors, values, jnp.asarray(np.float32(rest)))


@jax.jit
def _tail(features: jax.Array, vectors: jax.Array) -> jax.Array:
    """Estimate the largest eigenvalue of XᵀX/N outside the span of ``vectors``, by the power method on a block."""
    count, width = features.shape

    def outside(block: jax.Array) -> jax.Array:
        return block - jnp.matmul(jnp.matmul(block, vectors, precision="highest"), vectors.T, precision="highest")

    def improve(_: int, block: jax.Array) -> jax.Array:
        block = block / jnp.maximum(jnp.linalg.norm(block, axis=1, keepdims=True), 1e-30)
        scores = jnp.matmul(block, features.T, precision="highest")
        return outside(jnp.matmul(scores, features, precision="highest") / count)

    start = outside(jax.random.normal(jax.random.key(0), (8, width), features.dtype))
    return jnp.max(jnp.linalg.norm(jax.lax.fori_loop(0, _TAIL_STEPS, improve, start), axis=1))


@dataclass(eq=False)
class _Slot:
    """A member at work: its step size, its age in iterations, and when the step size is next reconsidered."""

    member: int
    rho: float
    age: int = 0
    due: int = _SOON
    aim: float = 0.8  # of the tolerance: less after a certificate that came out above the estimate

    def adapt(self, balance: float) -> None:
        """Grow an iteration older; now and then take up the balanced ρ.

        A balance of 0 means that no example has any loss and only the penalty is at
        work, slowly: ρ is too large. While ρ is far off it is tried again soon; then at ever longer intervals,
        since a ρ that kept changing would undo convergence.
        """
        self.age += 1
        if self.age < self.due or not math.isfinite(balance):
            return
        change = min(max(balance / self.rho, 1 / _CHANGE), _CHANGE)
        far = not 0.5 < change < 2
        self.due = self.age + (_SOON if far else max(_SOON, self.age // 2))
        self.rho *= change


class _Run:
    """The members' optima as they are found, and the loop that finds them."""

    def __init__(self, problem: Problem, data: Data, tolerance: float, limit: int) -> None:
        members = len(problem)
        self.problem, self.data = problem, data
        self.tolerance, self.limit = tolerance, limit
        self.weights = np.zeros((members, problem.classes, problem.features.shape[1]))
        self.iterations = np.zeros(members, int)
        self.unfinished = np.ones(members, bool)
        self._certificates: dict[int, Certificate] = {}

    def solve(self, watch: Watch | None) -> None:
        """Bring all members to the tolerance, the limit of iterations, or the watch's end."""
        problem = self.problem
        # Strongest first, the weightings of a strength together: a slot's next member is then much like its last.
        queue = sorted(range(len(problem)), key=lambda m: (-problem.ridge[m], problem.rows[m]))
        width = slots(len(problem), problem.classes, problem.examples)
        # Measured: 0.3 × the objective is about right in the end, and that begins at C − 1.
        table: list[_Slot | None] = [_Slot(member, 0.3 * (problem.classes - 1)) for member in queue[:width]]
        del queue[:width]
        state = begin(self.data, width, problem.classes)
        kappa = _Kappa(problem, width)
        while any(table):
            state, point, report = step(self.data, state, kappa.control(table))
            found = jax.tree.map(np.asarray, report)
            for index, slot in enumerate(table):
                if slot is None or not self._ended(slot, index, point, found):
                    continue
                if not math.isfinite(found.value[index]):
                    state = jax.tree.map(lambda x, i=index: x.at[i].set(0), state)
                table[index] = _Slot(queue.pop(0), slot.rho) if queue else None
            if watch is not None and watch(len(problem) - len(queue) - sum(slot is not None for slot in table)):
                for index, slot in enumerate(table):
                    if slot is not None and slot.age > 0:  # one that was taken up just now has no point yet
                        self._certified(slot, index, point, found)
                return

    def _ended(self, slot: _Slot, index: int, point: Point, found: Report) -> bool:
        """Count an iteration of a slot at work; certify it where that may end its work, and say whether it did."""
        slot.adapt(float(found.balance[index]))
        value = float(found.value[index])
        last = slot.age >= self.limit or not math.isfinite(value)
        if not last and value - found.dual_value[index] > slot.aim * self.tolerance * value:
            return False
        relative = self._certified(slot, index, point, found)
        if not last and not relative <= self.tolerance:
            slot.aim /= 2
            return False
        self.unfinished[slot.member] = False
        return True

    def _certified(self, slot: _Slot, index: int, point: Point, found: Report) -> float:
        """Keep the point that a slot has reached, certified; return its relative bound."""
        kappa = self.problem.weightings[self.problem.rows[slot.member]] * self.problem.examples
        scale = np.where(kappa > 0, found.scale[index] / np.where(kappa > 0, kappa, 1), 0).astype(np.float32)
        weights = np.asarray(point.weights[index], np.float64) * found.stretch[index]
        bias = np.asarray(point.bias[index], np.float64) * found.stretch[index]
        certificate = self._certify(slot.member, weights, bias, np.asarray(point.dual[index]) * scale[None, :])
        self.weights[slot.member], self.iterations[slot.member] = weights, slot.age
        self._certificates[slot.member] = certificate
        return float(certificate.relative[0])

    def _certify(self, member: int, weights: np.ndarray, bias: np.ndarray, multipliers: np.ndarray) -> Certificate:
        # One at a time: the same shapes always, and no multipliers to keep.
        return certify(self.problem.take([member]), weights[None], bias[None], multipliers[None])

    def certificate(self) -> Certificate:
        """Return the certificate of all members; those that were never begun are certified at weights of 0."""
        none = np.zeros((self.problem.classes, self.problem.examples), np.float32)
        for member in range(len(self.problem)):
            if member not in self._certificates:
                weights = self.weights[member]
                self._certificates[member] = self._certify(member, weights, np.zeros(len(weights)), none)
        parts = [self._certificates[member] for member in range(len(self.problem))]
        return Certificate(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Certificate)))


class _Kappa:
    """The slots' weights of examples, moved to the device again only when they change."""

    def __init__(self, problem: Problem, width: int) -> None:
        self._problem = problem
        self._rows = np.full(width, -1)
        self._kappa: jax.Array | None = None

    def control(self, slots: list[_Slot | None]) -> Control:
        """Return what the next step is told; an empty slot goes on as a member of ridge 1."""
        problem = self._problem
        rows = np.array(
            [
                before if slot is None else problem.rows[slot.member]
                for slot, before in zip(slots, self._rows, strict=True)
            ]
        )
        if self._kappa is None or np.any(rows != self._rows):
            self._rows = rows
            self._kappa = jnp.asarray((problem.weightings[rows] * problem.examples).astype(np.float32))
        ridge = np.array([1.0 if slot is None else problem.ridge[slot.member] for slot in slots])
        rho = np.array([1.0 if slot is None else slot.rho for slot in slots])
        return Control(jnp.asarray(ridge), jnp.asarray(rho), self._kappa)


def slots(members: int, classes: int, examples: int) -> int:
    """Return how many slots suit the problem."""
    most = max(math.ceil(_ROWS / classes), _ENTRIES // (classes * examples))
    return max(1, min(members, most))

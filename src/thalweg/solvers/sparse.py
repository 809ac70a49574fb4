"""Softmax with L1 or the elastic net: whole paths of strengths, one warm start after the other.

Members are solved from the strongest L1 penalty to the weakest by Newton's method
on the weights that are not 0 (`sparse_newton`), each from the nearest solution found so
far; where that is far, by way of strengths in between. All is NumPy and LAPACK:
supports change size with every step, and nothing has to be compiled for each size.
"""

from __future__ import annotations

import math
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from thalweg.errors import UsageError
from thalweg.losses import Softmax
from thalweg.solvers.certificate import certify
from thalweg.solvers.optima import Optima, Watch, deliver, statuses
from thalweg.solvers.problem import Problem
from thalweg.solvers.sparse_curvature import Curvature
from thalweg.solvers.sparse_newton import Columns, Member, Point, newton_step

__all__ = ["solve_sparse"]

_AIM = 0.5  # of the tolerance: the certificate may come out a little above the estimate
_STRIDE = 2.0  # between a strength and the start it is solved from; beyond it, strengths in between are visited
LANES = 2  # members at a time; as many as there are weightings, where they are more
_BETWEEN_MOST = 60
_BETWEEN = 0.03  # the gap at which those are left
_JOIN = 0.1  # of the weights that are not 0: so many may join them in a strength's first step;
_JOIN_MORE = 3  # times as many as did join, in the next; of too many most fall back to 0, and drag others along
_JOIN_LEAST = 50
_PATIENCE = 12  # steps without a lower value, or a gap of 9/10 of the least, before the member counts as stalled


def solve_sparse(
    problem: Problem,
    *,
    tolerance: float = 1e-4,
    iterations: int = 5000,
    watch: Watch | None = None,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> Optima:
    """Minimise each member's softmax loss + ridge Σ W² + lasso Σ |W|, lasso > 0, until bound ≤ tolerance × value.

    ``start`` is weights (T, C, D) and bias (T, C) to begin from; without it the
    first member begins at 0 and the others at the nearest strength solved so far.
    ``iterations`` limits each member's Newton steps. ``watch`` is called with the
    number of members done so far, from several threads, one at a time, and stops the work by returning True.
    """
    if not isinstance(problem.loss, Softmax):
        raise UsageError(f"loss is {problem.loss!r}; solve_sparse takes losses.Softmax")
    if not np.all(problem.lasso > 0):
        raise UsageError("each member needs lasso > 0; members with a ridge alone are for the smooth solver")
    run = _Run(problem, _AIM * tolerance, iterations, watch, _begin(problem, start), start is not None)
    failure = None
    try:
        run.all()
    except Exception as error:  # the members that are done are worth more than the error
        failure = error
    weights = run.weights[:, :, :-1]
    certificate = certify(problem, weights, run.weights[:, :, -1])
    interrupted = np.full(len(problem), run.stop.is_set())
    ends = statuses(certificate, run.iterations, tolerance=tolerance, limit=iterations, interrupted=interrupted)
    return deliver(Optima(weights, certificate, ends, run.iterations), failure)


def _begin(problem: Problem, start: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """Return weights with the bias as their last column, (T, C, D + 1)."""
    shape = (len(problem), problem.classes, problem.features.shape[1])
    weights = np.zeros((*shape[:2], shape[2] + 1))
    weights[:, :, -1] = np.log(problem.class_shares())[problem.rows]
    if start is not None:
        if start[0].shape != shape or start[1].shape != shape[:2]:
            raise UsageError(
                f"start is {start[0].shape} and {start[1].shape}; give weights {shape} and bias {shape[:2]}"
            )
        weights[:, :, :-1], weights[:, :, -1] = start
    return weights


@dataclass(eq=False)
class _Run:
    """The weights as they are found."""

    problem: Problem
    aim: float
    limit: int
    watch: Watch | None
    weights: np.ndarray  # (T, C, D + 1)
    given: bool
    iterations: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.iterations = np.zeros(len(self.problem), int)
        self.count = 0  # of members that are done
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.features = Columns(self.problem.features)
        self.own = (self.problem.labels[None, :] == np.arange(self.problem.classes)[:, None]).astype(float)

    def all(self) -> None:
        """Solve all members, from the strongest to the weakest, several at a time.

        Each may start from those that came at least ``lanes`` before it, and waits for
        them: so what it finds does not hang on how fast the others were.
        """
        order = [int(member) for member in np.argsort(-self.problem.lasso, kind="stable")]
        lanes = max(LANES, len(self.problem.weightings))
        began: list[Future[None]] = []
        cores = os.cpu_count() or 1
        # NumPy's and SciPy's BLAS each keep threads that spin: more of them than cores slow each other down.
        each = max(1, cores // min(lanes, cores))
        with threadpool_limits(each, user_api="blas"), ThreadPoolExecutor(min(lanes, cores)) as pool:
            try:
                for place, member in enumerate(order):
                    before = max(0, place - lanes + 1)
                    began.append(pool.submit(self._solve, member, order[:before], began[:before]))
                for future in began:
                    future.result()
            finally:
                if self.count < len(order):
                    self.stop.set()

    def _solve(self, member: int, before: list[int], work: list[Future[None]]) -> None:
        """Bring one member to its end."""
        for future in work:
            future.result()
        if self.stop.is_set():
            return
        start = self.weights[member] if self.given else self._nearest(member, before)
        reach = float(self.problem.lasso[member]) if self.given else self._reach(member, before)
        point = self._approach(member, start, reach)
        if point.gap > self.aim * point.value and (self.given or before) and not self.stop.is_set():
            # The start led astray; from nothing the way is longer, but safe.
            nothing = np.zeros_like(start)
            nothing[:, -1] = np.log(self.problem.class_shares())[self.problem.rows[member]]
            again = self._approach(member, nothing, self._reach(member, []))
            point = again if again.gap < point.gap else point
        self.weights[member] = point.weights
        if not self.stop.is_set():
            with self.lock:
                self.count += 1
            self._told()

    def _approach(self, member: int, start: np.ndarray, reach: float) -> Point:
        """Solve a member from a start that belongs to the strength ``reach``, by way of strengths in between."""
        of = self.problem
        weighting, lasso = of.weightings[of.rows[member]], float(of.lasso[member])
        above = math.log(reach) - math.log(lasso) if reach > lasso else 0.0
        between = min(_BETWEEN_MOST, max(0, math.ceil(above / math.log(_STRIDE)) - 1))
        for place in range(between, -1, -1):
            factor = math.exp(above * place / (between + 1))
            one = Member(self.features, self.own, weighting, float(of.ridge[member]) * factor, lasso * factor)
            point = self._descend(member, one, start, self.aim if place == 0 else max(self.aim, _BETWEEN))
            start = point.weights
            if self.stop.is_set():
                break
        return point

    def _nearest(self, member: int, before: list[int]) -> np.ndarray:
        """Return the weights of the nearest strength before, of the same weighting where two are as near."""
        of = self.problem
        if not before:
            return self.weights[member]
        away = np.abs(np.log(of.lasso[before] / of.lasso[member]))
        strangers = of.rows[before] != of.rows[member]
        return self.weights[before[np.lexsort((strangers, away))[0]]]

    def _reach(self, member: int, before: list[int]) -> float:
        """Return the L1 strength that the start belongs to: without one, that at which all weights are 0."""
        of = self.problem
        if before:
            return float(np.min(of.lasso[before]))
        one = Member(self.features, self.own, of.weightings[of.rows[member]], 0.0, 1.0)
        nothing = np.zeros_like(self.weights[member])
        return float(np.max(np.abs(Point.at(one, nothing).gradient[:, :-1]), initial=0))

    def _descend(self, number: int, member: Member, start: np.ndarray, aim: float) -> Point:
        """Take Newton steps until the gap is small enough, or shrinks no more; return the best point."""
        point = best = Point.at(member, start)
        curvature: Curvature | None = None
        since, present = 0, int(np.count_nonzero(point.weights[:, :-1]))
        usual = max(_JOIN_LEAST, int(_JOIN * present))
        most = 0 if present else usual  # with a new strength the weights that are there move first
        while np.isfinite(point.gap) and best.gap > aim * best.value:
            if self.iterations[number] >= self.limit or since > _PATIENCE or self._told():
                break
            if curvature is None:
                curvature = Curvature(point.probabilities, member.weighting, member.ridge, start.shape[1])
            weights = newton_step(member, point, curvature, most)
            self.iterations[number] += 1
            if weights is None:  # too many joined, or the curvature is out of date
                if most == 1:
                    break
                curvature, most = None, max(most // 4, 1) if most else usual
                continue
            joined = int(np.count_nonzero((weights != 0) & (point.weights == 0)))
            most = max(_JOIN_LEAST, _JOIN_MORE * joined) if most else usual
            last, point = point, Point.at(member, weights)
            moved = last.value - point.value > 0.01 * aim * point.value
            since = 0 if moved or point.gap < 0.9 * best.gap else since + 1
            best = min(best, point, key=lambda one: one.gap)
        return best

    def _told(self) -> bool:
        if self.watch is not None:
            with self.lock:
                if not self.stop.is_set() and self.watch(self.count):
                    self.stop.set()
        return self.stop.is_set()

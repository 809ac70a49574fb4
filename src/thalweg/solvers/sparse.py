"""Softmax with L1 or the elastic net: whole paths of strengths, in slots that are refilled.

Members enter from the strongest L1 penalty to the weakest. Each takes a slot as
one becomes free, starts from the nearest member's weights, takes accelerated
steps (`sparse_step`) and leaves with a certified gap (`sparse_audit`). All slots
share the products with a working set of features: those that hold a weight
or whose gradient comes near its strength; the audit looks at every feature, and
lets in those that were wrongly left out.

A member that float32 cannot bring to its tolerance goes on with gradients
summed in float64 from the float32 features, some rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.losses import Softmax
from thalweg.solvers.certificate import certify
from thalweg.solvers.optima import Optima, Watch, statuses
from thalweg.solvers.problem import Problem
from thalweg.solvers.solution import CONVERGED, ITERATION_LIMIT, NOT_FINITE, STALLED
from thalweg.solvers.sparse_audit import Audit, audit
from thalweg.solvers.sparse_newton import Member, newton_step
from thalweg.solvers.sparse_step import BLOCK, Data, Members, State, advance, scores_of

__all__ = ["solve_sparse"]

_LANES = 96  # members × classes in the slots: enough for a matrix product's rate, few enough to start each warm
_AIM = 0.7  # of the tolerance: the certificate may come out a little above the audit's gap
_STEPS = 20  # between two audits
_PATIENCE = 12  # audits in which the gap does not shrink to 9/10 of its least before the member counts as stalled
_RESTLESS = 0.004  # of the support, changed between two audits: with more, Newton's step is wasted
_NEAR = 0.7  # of its strength: a feature with so large a gradient enters the working set (the strong rules' 2λ' − λ)
_SIZES = (512, 2048)  # of working sets, beside all features: each size compiles once
_LEAST_WORK = 2e8  # features × examples × classes × slots below which packing would cost more to compile than it saves


def solve_sparse(
    problem: Problem,
    *,
    tolerance: float = 1e-4,
    iterations: int = 4000,
    watch: Watch | None = None,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> Optima:
    """Minimise each member's softmax loss + ridge Σ W² + lasso Σ |W|, lasso > 0, until bound ≤ tolerance × value.

    ``start`` is weights (T, C, D) and bias (T, C) to begin from; without it the
    first members begin at 0 and the others at the nearest strength solved so far.
    ``watch`` is called with the number of members done so far, and stops the work by returning True.
    """
    if not isinstance(problem.loss, Softmax):
        raise UsageError(f"loss is {problem.loss!r}; solve_sparse takes losses.Softmax")
    if not np.all(problem.lasso > 0):
        raise UsageError("each member needs lasso > 0; members with a ridge alone are for the smooth solver")
    with jax.enable_x64(True):
        board = _Board.fresh(problem, start)
        for dtype in (np.float32, np.float64):
            run = _Run(problem, _AIM * tolerance, iterations, dtype, board, watch)
            run.all()
            if run.stopped or STALLED not in board.statuses:
                break
    certificate = certify(problem, board.weights, board.bias)
    interrupted = np.asarray([status == "" for status in board.statuses])
    ends = statuses(certificate, board.iterations, tolerance=tolerance, limit=iterations, interrupted=interrupted)
    return Optima(board.weights.astype(np.float64), certificate, ends, board.iterations)


@dataclass(eq=False)
class _Board:
    """What is known of every member so far; a status of "" means not yet tried."""

    weights: np.ndarray
    bias: np.ndarray
    statuses: list[str]
    iterations: np.ndarray
    gap: np.ndarray
    started: np.ndarray  # whether the member has weights of its own

    @classmethod
    def fresh(cls, problem: Problem, start: tuple[np.ndarray, np.ndarray] | None) -> _Board:
        count, features = len(problem), problem.features.shape[1]
        shape = (count, problem.classes, features)
        if start is None:
            weights, bias = np.zeros(shape, np.float32), np.log(problem.class_shares())[problem.rows]
        else:
            weights, bias = np.array(start[0], np.float32), np.array(start[1], np.float64)
            if weights.shape != shape or bias.shape != shape[:2]:
                raise UsageError(
                    f"start is {weights.shape} and {bias.shape}; give weights {shape} and bias {shape[:2]}"
                )
        started = np.full(count, start is not None)
        return cls(weights, bias, [""] * count, np.zeros(count, np.int64), np.full(count, np.inf), started)

    @property
    def done(self) -> int:
        return sum(status not in ("", STALLED) for status in self.statuses)


class _Run:
    """Takes the members that are left through the slots, in one precision of gradients."""

    def __init__(
        self,
        problem: Problem,
        tolerance: float,
        iterations: int,
        dtype: type,
        board: _Board,
        watch: Watch | None,
    ) -> None:
        self.problem, self.tolerance, self.limit, self.dtype = problem, tolerance, iterations, dtype
        self.board, self.watch, self.stopped = board, watch, False
        left = [t for t, status in enumerate(board.statuses) if status in ("", STALLED)]
        self.queue = sorted(left, key=lambda t: -problem.lasso[t])
        self.features = jnp.asarray(problem.features)
        self.own = jnp.asarray(problem.labels[None, :] == np.arange(problem.classes)[:, None], np.float32)
        self.mean_weighting = problem.weightings.mean(axis=0)
        self.supports: dict[int, np.ndarray] = {}  # at the last audit
        self.tries: dict[int, tuple[float, int, int]] = {}  # gap at the last Newton step, audits to wait, audits since
        self.patience: dict[int, tuple[float, int]] = {}  # a member's gap to beat, and audits since

    def all(self) -> None:
        """Bring every member to its end."""
        width = min(len(self.queue), max(1, _LANES // self.problem.classes))
        self.slots = [self._enter() for _ in range(width)]
        self._choose(np.any(self.board.weights[self.slots] != 0, axis=(0, 1)).astype(float))
        state = self._fresh()
        while True:
            found = self._audit(state)
            self._judge(state, found)
            if self.stopped:
                return
            live = [self.board.statuses[t] == "" for t in self.slots]
            if self.queue and not all(live):
                state = self._refill(state, live)
                continue
            if not any(live):
                return
            if 2 * sum(live) <= len(live) and self._worth_packing():
                kept = np.flatnonzero(live)
                self.slots = [self.slots[index] for index in kept]
                state, found = jax.tree.map(lambda x, kept=kept: x[kept], (state, found))
            state = self._polish(self._widen(self._settle(state, found), found), found)
            state = advance(self.data, self._members(self.dtype), state, _STEPS)
            self.board.iterations[[t for t in self.slots if self.board.statuses[t] == ""]] += _STEPS

    def _enter(self) -> int:
        """Take the next member; one without weights of its own starts from the nearest that has some."""
        member, board = self.queue.pop(0), self.board
        board.statuses[member] = ""
        if not board.started[member] and board.started.any():
            others = np.flatnonzero(board.started)
            away = np.abs(np.log(self.problem.lasso[others] / self.problem.lasso[member]))
            strangers = self.problem.rows[others] != self.problem.rows[member]
            nearest = others[np.lexsort((strangers, away))[0]]
            board.weights[member], board.bias[member] = board.weights[nearest], board.bias[nearest]
            board.started[member] = True
        return member

    def _members(self, dtype: type) -> Members:
        of = self.problem
        rows = (of.weightings[of.rows[self.slots]], of.ridge[self.slots], of.lasso[self.slots])
        return Members(*(jnp.asarray(row, dtype) for row in rows))

    def _choose(self, pull: np.ndarray) -> None:
        """Set the working set: the features of positive ``pull`` (D,), and more by their pull as room allows."""
        count = self.problem.features.shape[1]
        needed = int(np.count_nonzero(pull >= _NEAR))
        size = next((size for size in _SIZES if needed <= size <= count // 2), count)
        columns = np.sort(np.argsort(-pull, kind="stable")[:size])
        chosen = self.problem.features[:, columns]
        chosen = np.pad(chosen, ((0, 0), (0, -size % BLOCK)))  # a column of zeros keeps weight 0
        even = np.ptp(self.mean_weighting) == 0
        root = chosen if even else chosen * np.sqrt(self.mean_weighting * len(chosen)).astype(np.float32)[:, None]
        gram = root.T @ root / np.float32(len(chosen))
        weighting = jnp.asarray(self.mean_weighting, self.dtype)
        self.columns, self.data = columns, Data(jnp.asarray(chosen), jnp.asarray(gram), self.own, weighting)

    def _fresh(self, state: State | None = None) -> State:
        """Start from the board's weights, keeping only the stiffness of what was."""
        weights = jnp.asarray(self._gather(self.board.weights[self.slots]))
        bias = jnp.asarray(self.board.bias[self.slots], self.dtype)
        scores = scores_of(self.data.features, weights, bias)
        ones = jnp.ones(len(self.slots), self.dtype)
        stiffness = ones if state is None else state.stiffness
        return State(weights, bias, scores, weights, bias, scores, ones, stiffness, jnp.inf * ones)

    def _gather(self, weights: np.ndarray) -> np.ndarray:
        size = self.data.features.shape[1]
        return np.pad(weights[:, :, self.columns], ((0, 0), (0, 0), (0, size - len(self.columns))))

    def _audit(self, state: State) -> Audit:
        bias = state.bias.astype(np.float64)
        return audit(self.features, self.data.features, self.own, self._members(np.float64), state.weights, bias)

    def _settle(self, state: State, found: Audit) -> State:
        """Put the audit's exact scores and better bias in the place of what the steps added up."""
        bias, scores = found.bias.astype(self.dtype), found.scores.astype(self.dtype)
        return state._replace(
            bias=bias,
            scores=scores,
            last_bias=state.last_bias + (bias - state.bias),
            last_scores=state.last_scores + (scores - state.scores),
        )

    def _judge(self, state: State, found: Audit) -> None:
        """Note each live member's weights and gap, and its status if it is done."""
        board, weights = self.board, np.asarray(state.weights)
        relative = np.asarray(found.gap) / np.asarray(found.value)
        for slot, member in enumerate(self.slots):
            if board.statuses[member] != "":
                continue
            board.weights[member] = 0
            board.weights[member][:, self.columns] = weights[slot][:, : len(self.columns)]
            board.bias[member], board.gap[member] = found.bias[slot], max(relative[slot], 0)
            board.started[member] = True
            board.statuses[member] = self._status(member)
        self.stopped = self.watch is not None and self.watch(board.done)

    def _status(self, member: int) -> str:
        gap = self.board.gap[member]
        if not np.isfinite(gap):
            return NOT_FINITE
        if gap <= self.tolerance:
            return CONVERGED
        if self.board.iterations[member] >= self.limit:
            return ITERATION_LIMIT
        beat, since = self.patience.get(member, (np.inf, 0))
        self.patience[member] = (gap, 0) if gap < 0.9 * beat else (beat, since + 1)
        return STALLED if since + 1 > _PATIENCE else ""

    def _refill(self, state: State, live: list[bool]) -> State:
        for slot in np.flatnonzero(~np.array(live)):
            if self.queue:
                self.slots[slot] = self._enter()
        weights = self.board.weights[self.slots]
        inside = np.isin(np.flatnonzero(np.any(weights != 0, axis=(0, 1))), self.columns)
        if not inside.all():
            self._choose(np.any(weights != 0, axis=(0, 1)).astype(float))
            return self._fresh()
        kept = jnp.asarray(live)
        fresh = self._fresh()
        return jax.tree.map(lambda old, new: jnp.where(kept.reshape(-1, *[1] * (old.ndim - 1)), old, new), state, fresh)

    def _widen(self, state: State, found: Audit) -> State:
        """Let features whose gradient comes near a strength into the working set."""
        lasso = self.problem.lasso[self.slots][:, None, None]
        pull = np.max(np.abs(np.asarray(found.gradient)) / lasso, axis=(0, 1))
        held = np.any(self.board.weights[self.slots] != 0, axis=(0, 1))
        pull[held] = np.inf
        if np.isin(np.flatnonzero(pull >= _NEAR), self.columns).all():
            return state
        self._choose(pull)
        return self._fresh(state)

    def _polish(self, state: State, found: Audit) -> State:
        """Take Newton's step on the support of the members whose support has come to rest."""
        for slot, member in enumerate(self.slots):
            if self.board.statuses[member] != "" or not self._ripe(member):
                continue
            of = self.problem
            one = Member(np.asarray(self.own), of.weightings[of.rows[member]], of.ridge[member], of.lasso[member])
            weights, scores = np.asarray(state.weights[slot]), np.asarray(found.scores[slot])
            gradient = self._gather(np.asarray(found.gradient[slot : slot + 1]))[0]
            better = newton_step(self.data.features, np.asarray(self.data.gram), one, weights, scores, gradient)
            if better is not None:
                state = self._put(state, slot, *better)
        return state

    def _ripe(self, member: int) -> bool:
        """Say whether the support came to rest; after a step that did not cut the gap, wait twice as long."""
        support = self.board.weights[member] != 0
        before, self.supports[member] = self.supports.get(member), support
        if before is None or np.count_nonzero(before ^ support) > _RESTLESS * np.count_nonzero(support):
            return False
        gap, wait, since = self.tries.get(member, (np.inf, 1, 0))
        if since + 1 < wait:
            self.tries[member] = (gap, wait, since + 1)
            return False
        now = float(self.board.gap[member])
        self.tries[member] = (now, 1 if now < gap / 3 else 2 * wait, 0)
        return True

    def _put(self, state: State, slot: int, weights: np.ndarray, shift: np.ndarray) -> State:
        """Put weights (C, F) and a change of the bias into a slot, at rest."""
        w, b = jnp.asarray(weights)[None], (state.bias[slot] + jnp.asarray(shift, self.dtype))[None]
        s = scores_of(self.data.features, w, b)
        rest = State(w, b, s, w, b, s, jnp.ones(1), state.stiffness[slot][None], jnp.full(1, jnp.inf))
        return jax.tree.map(lambda old, new: old.at[slot].set(new[0].astype(old.dtype)), state, rest)

    def _worth_packing(self) -> bool:
        return self.data.features.size * self.problem.classes * len(self.slots) > _LEAST_WORK

"""A Cholesky factor of changing parts of one symmetric matrix.

A core of indices is factored once. For the others, the tail, the Schur complement
S = H_tt − H_tc H_cc⁻¹ H_ct is kept, over all that have ever been in it; a change of
the tail then costs a factor of its part of S, which for a tail of a third is a
thirtieth of a new factor of the whole. Float32, its diagonal
scaled to 1 and damped: it preconditions.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import spotrf, strtrs

__all__ = ["Factor"]

_DAMPING = 1e-5  # of each diagonal entry: duplicate features, and a shift of all biases, have no curvature
_ASTRAY = 16  # of the core may drop out, each at the cost of a solution, before it has to be chosen anew


class Factor:
    """The factor of ``matrix`` (n, n) on the core (c,), and on whatever `aim` adds to it."""

    def __init__(self, matrix: np.ndarray, core: np.ndarray) -> None:
        self._core = core
        # Pairs that no example bends, or next to none, are not blown up beyond this.
        self._floor = np.float32(max(1e-10 * float(np.max(np.diagonal(matrix), initial=0)), 1e-30))
        self._core_root = _root_of(self._scaled(matrix, core, core))
        self._tail = np.zeros(0, int)
        self._across = np.zeros((len(core), 0), np.float32)  # R⁻ᵀ H_ct
        self._rest = np.zeros((0, 0), np.float32)  # S
        self._root = np.zeros((0, 0), np.float32)
        self._in_core = self._in_tail = self._of_core = self._of_tail = np.zeros(0, int)
        self._scale = np.zeros(0, np.float32)
        self._gone = np.zeros(0, int)  # of the core, what is not solved for, and the solutions for its unit vectors
        self._gone_core = self._gone_tail = np.zeros((0, 0), np.float32)

    def aim(self, matrix: np.ndarray, index: np.ndarray) -> bool:
        """Set the indices (f,) that are solved for; False where the core no longer suits them."""
        places = np.full(len(matrix), -1)
        places[index] = np.arange(len(index))
        core = places[self._core]
        if np.count_nonzero(core < 0) > _ASTRAY:
            return False
        self._scale = self._scale_of(matrix, index)
        self._of_core = np.flatnonzero(core >= 0)  # of the core, which are solved for
        self._in_core = core[self._of_core]  # and where they stand in the index
        others = np.ones(len(index), bool)
        others[self._in_core] = False
        self._extend(matrix, np.setdiff1d(index[others], self._tail, assume_unique=True))
        tail = places[self._tail]
        self._of_tail = np.flatnonzero(tail >= 0)
        self._in_tail = tail[self._of_tail]
        self._root = _root_of(self._rest[np.ix_(self._of_tail, self._of_tail)])
        self._gone = np.flatnonzero(core < 0)
        units = np.zeros((len(self._core), len(self._gone)), np.float32, order="F")
        units[self._gone, np.arange(len(self._gone))] = 1
        self._gone_core, self._gone_tail = self._back(
            units, np.zeros((len(self._of_tail), len(self._gone)), np.float32)
        )
        return True

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Return about the inverse of the indexed part times a vector (f,)."""
        right = right * self._scale
        wide = np.zeros((len(self._core), 1), np.float32)
        wide[self._of_core, 0] = right[self._in_core]
        core, tail = self._back(wide, right[self._in_tail][:, None])
        if len(self._gone):
            # What dropped out of the core is held at 0 by the multipliers that make it so.
            held = np.linalg.lstsq(self._gone_core[self._gone], core[self._gone], rcond=None)[0]
            core, tail = core - self._gone_core @ held, tail - self._gone_tail @ held
        out = np.empty_like(right)
        out[self._in_core], out[self._in_tail] = core[self._of_core, 0], tail[:, 0]
        return out * self._scale

    def _back(self, core: np.ndarray, tail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Solve for right sides (c, m) of the whole core and (t, m) of the tail that is solved for."""
        if not core.shape[1]:
            return core, tail
        core = strtrs(self._core_root, core, trans=1)[0]
        if len(tail):
            tail = tail - (self._across.T @ core)[self._of_tail]
            tail = strtrs(self._root, strtrs(self._root, tail, trans=1)[0])[0]
            below = np.zeros((len(self._tail), core.shape[1]), np.float32)
            below[self._of_tail] = tail
            core = core - self._across @ below
        return strtrs(self._core_root, core)[0], tail

    def _extend(self, matrix: np.ndarray, new: np.ndarray) -> None:
        if not len(new):
            return
        across = strtrs(self._core_root, np.asfortranarray(self._scaled(matrix, self._core, new)), trans=1)[0]
        old, tail = len(self._tail), np.concatenate([self._tail, new])
        self._across = np.concatenate([self._across, across], axis=1)
        rest = np.empty((len(tail), len(tail)), np.float32)
        rest[:old, :old] = self._rest
        rest[old:] = self._scaled(matrix, new, tail) - across.T @ self._across
        rest[:old, old:] = rest[old:, :old].T
        self._tail, self._rest = tail, rest

    def _scale_of(self, matrix: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.asarray(1 / np.sqrt(np.maximum(matrix[index, index], self._floor)))

    def _scaled(self, matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return a part of the matrix as it is once its diagonal is scaled to 1."""
        left, right = self._scale_of(matrix, rows), self._scale_of(matrix, columns)
        return np.asarray(matrix[np.ix_(rows, columns)] * left[:, None] * right)


def _root_of(matrix: np.ndarray) -> np.ndarray:
    """Return the upper triangular R with RᵀR = matrix (used up) + as much damping as it takes."""
    diagonal, damping = np.diag_indices(len(matrix)), np.float32(_DAMPING)
    while len(matrix) and damping < 10:
        matrix[diagonal] += damping
        # The transpose, the same matrix, has the layout that LAPACK wants.
        root, failed = spotrf(matrix.T, lower=False)
        if not failed:
            return np.asarray(root)
        damping *= np.float32(10)
    return np.eye(len(matrix), dtype=np.float32)  # not finite, or no matrix at all: the scaled diagonal alone

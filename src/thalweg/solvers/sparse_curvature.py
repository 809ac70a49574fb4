"""The Hessian of a sparse softmax member on the weights that are free, and Newton's system with it.

Weights are pairs of a class and a column; the bias is one more column, of ones.
With p the probabilities at the weights the Hessian is, between (c, f) and (k, g),

    Σ_i ω_i p_ic (δ_ck − p_ik) x_if x_ig,

−Z_cᵀ Z_k between two classes and Y_cᵀ Y_c within one, Z the columns times √ω p_c and
Y_c times √(ω p_c (1 − p_c)): one product of a matrix with itself, and a small one a
class. Its Cholesky factor preconditions conjugate gradients on the true Hessian. So it
may be of float32, damped, and of the probabilities of some steps ago: each of these
costs an iteration or two where an own factor would cost as much as thirty.
"""

from __future__ import annotations

import math

import numpy as np

from thalweg.solvers.factor import Factor

__all__ = ["Curvature", "System", "solve", "take"]

_CORE = 0.6  # of the free pairs, factored once for a strength: the others come and go
_MOST = 12_000  # pairs whose joint Hessian is formed (0.6 GB, several times that as it grows); beyond, class by class
_ROWS = 8192  # that are scaled at a time
_ROUNDS = 40  # of conjugate gradients


def take(features: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return columns of features (N, D) float32; the one past the last is of ones."""
    chosen = np.ones((len(features), len(columns)), np.float32)
    inside = columns < features.shape[1]
    chosen[:, inside] = features[:, columns[inside]]
    return chosen


class Curvature:
    """The Hessian at some probabilities, on the pairs asked for so far, and the factor of those that are free."""

    def __init__(self, probabilities: np.ndarray, weighting: np.ndarray, ridge: float, width: int) -> None:
        """Take probabilities (C, N), weighting (N,) and the number of columns, the bias's included."""
        self._p = probabilities.astype(np.float32)
        self._root = np.sqrt(weighting).astype(np.float32)
        # Of 1 − p, before float32 makes p 1: where examples are fitted well, it is all the curvature there is.
        self._spread = np.sqrt(probabilities * (1 - probabilities) * weighting).astype(np.float32)
        self._ridge, self._bias = ridge, width - 1
        self._parts = [_Part(np.arange(len(self._p)))]
        self._place = np.full((len(self._p), width), -1)

    def cover(self, features: np.ndarray, columns: np.ndarray, free: np.ndarray) -> None:
        """Add the pairs at ``columns`` (F,) of all features (N, D) that are ``free`` (C, F), where they are new."""
        new = free & (self._place[:, columns] < 0)
        count = np.count_nonzero(new) + np.count_nonzero(self._place >= 0)
        if len(self._parts) == 1 and len(self._p) > 1 and count > _MOST:
            self._parts = [_Part(np.array([label])) for label in range(len(self._p))]
            self._place[:] = -1
            new = free
        for part in self._parts:
            labels, at = np.nonzero(new[part.labels])
            if len(at):
                self._extend(part, features, part.labels[labels], columns[at])

    def _extend(self, part: _Part, features: np.ndarray, labels: np.ndarray, columns: np.ndarray) -> None:
        old = len(part.classes)
        part.classes = np.concatenate([part.classes, labels])
        part.columns = np.concatenate([part.columns, columns])
        count = len(part.classes)
        added = np.zeros((count - old, count), np.float32)
        for start in range(0, len(features), _ROWS):
            rows = slice(start, start + _ROWS)
            scaled = self._scaled(features, rows, part)  # Z
            product = scaled[:, old:].T @ scaled
            for label in np.unique(labels):
                own, every = np.flatnonzero(labels == label), np.flatnonzero(part.classes == label)
                within = take(features[rows], part.columns[every]) * self._spread[label, rows, None]
                product[np.ix_(own, every)] = -(within[:, every >= old].T @ within)
            added -= product
        fresh = np.arange(old, count)
        added[fresh - old, fresh] += np.where(columns == self._bias, 0, 2 * self._ridge).astype(np.float32)
        matrix = np.empty((count, count), np.float32)
        matrix[:old, :old], matrix[old:], matrix[:old, old:] = part.matrix, added, added[:, :old].T
        part.matrix = matrix
        self._place[labels, columns] = fresh

    def _scaled(self, features: np.ndarray, rows: slice, part: _Part) -> np.ndarray:
        scaled = np.empty((len(self._root[rows]), len(part.classes)), np.float32)
        for label in np.unique(part.classes):
            own = np.flatnonzero(part.classes == label)
            scaled[:, own] = take(features[rows], part.columns[own]) * (self._p[label] * self._root)[rows, None]
        return scaled

    def factor(self, columns: np.ndarray, free: np.ndarray, weights: np.ndarray) -> None:
        """Factor the part that is ``free`` (C, F); the largest ``weights`` (C, F) are taken as those that stay so."""
        for part in self._parts:
            part.free = free[part.labels]
            index = self._place[part.labels][:, columns][part.free]
            if part.factor is None or not part.factor.aim(part.matrix, index):
                size = np.where(columns == self._bias, np.inf, np.abs(weights[part.labels]))[part.free]
                part.factor = Factor(part.matrix, index[np.argsort(-size)[: math.ceil(_CORE * len(index))]])
                part.factor.aim(part.matrix, index)

    def precondition(self, gradient: np.ndarray) -> np.ndarray:
        """Return about the inverse of the free part's Hessian times a gradient (C, F)."""
        out = np.zeros_like(gradient)
        for part in self._parts:
            if part.factor is not None and part.free.any():
                solved = np.zeros_like(part.free, dtype=np.float32)
                solved[part.free] = part.factor.solve(gradient[part.labels][part.free])
                out[part.labels] = solved
        return out


class _Part:
    """Classes whose Hessian is formed together."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.classes = np.zeros(0, int)  # of each pair, and its column
        self.columns = np.zeros(0, int)
        self.matrix = np.zeros((0, 0), np.float32)
        self.free = np.zeros((0, 0), bool)
        self.factor: Factor | None = None


class System:
    """Newton's system at one point: products with the Hessian, on narrow features (N, F)."""

    def __init__(
        self,
        features: np.ndarray,
        probabilities: np.ndarray,
        own: np.ndarray,
        weighting: np.ndarray,
        ridge: np.ndarray,
    ) -> None:
        """Take ridge (F,) for each column: the bias has none."""
        self._features, self._p = features, probabilities.astype(np.float32)
        self._labels, self._rows = np.argmax(own, axis=0), np.arange(own.shape[1])
        self._weighting, self._ridge = weighting.astype(np.float32), (2 * ridge).astype(np.float32)

    def times(self, weights: np.ndarray) -> np.ndarray:
        """Return the Hessian times weights (C, F)."""
        moved = weights @ self._features.T
        # Beside the own class's: where p is near 1, what matters is the difference, which rounding of p would hide.
        moved -= moved[self._labels, self._rows]
        moved *= self._p
        pulled = moved - self._p * moved.sum(axis=0)
        pulled *= self._weighting
        return pulled @ self._features + self._ridge * weights


def solve(
    system: System,
    curvature: Curvature,
    free: np.ndarray,
    change: np.ndarray,
    residual: np.ndarray,
    enough: float,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Go on from ``change``, with its residual, until the residual's squared norm under the preconditioner is enough.

    All float32 (C, F), and 0 where not ``free``. Returns change, residual, iterations.
    """
    iterations, along = 0, curvature.precondition(residual)
    size = float(np.vdot(residual, along))
    while iterations < _ROUNDS and size > enough:
        curved = system.times(along) * free
        bend = float(np.vdot(along, curved))
        if bend <= 0:
            break
        change = change + np.float32(size / bend) * along
        residual = residual - np.float32(size / bend) * curved
        solved = curvature.precondition(residual)
        last, size = size, float(np.vdot(residual, solved))
        along = solved + np.float32(size / last) * along
        iterations += 1
    return change, residual, iterations

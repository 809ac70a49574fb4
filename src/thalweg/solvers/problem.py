"""Full-batch problems side by side: one feature matrix, many penalties and example weightings.

Member t of a problem is the minimum over W (classes, D) and b (classes,) of

    Σ_i ω_i ℓ(W x_i + b, y_i) + ridge_t Σ W² + lasso_t Σ |W|,        ω = weightings[rows[t]],

with each weighting summing to 1. So an L2 penalty of strength λ is ridge λ and
lasso 0, L1 is ridge 0 and lasso λ, and the elastic net with β is ridge λβ and
lasso λ. A fold of a cross-validation is a weighting that is 0 on the examples
held out; class weights are a weighting too. That is what lets all members share
their matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from thalweg.errors import DataError, UsageError
from thalweg.losses import Hinge, Softmax
from thalweg.penalties import L1, L2, ElasticNet, Penalty

__all__ = ["Problem", "split_penalty"]


@dataclass(frozen=True, eq=False)
class Problem:
    """Members that share features and labels; see the module's head for what each minimises.

    ``features`` is (N, D) float32; ``labels`` (N,) int32 in [0, classes);
    ``weightings`` (K, N) float64, not negative, each row summing to 1; ``rows``
    (T,) says which weighting a member uses; ``ridge`` and ``lasso`` are (T,)
    float64. The rounding of float32 is least for centred features of ordinary
    size, which `paths` sees to.
    """

    features: np.ndarray
    labels: np.ndarray
    classes: int
    loss: Softmax | Hinge
    weightings: np.ndarray
    rows: np.ndarray
    ridge: np.ndarray
    lasso: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.features)
        if self.features.ndim != 2 or self.features.dtype != np.float32:
            raise DataError(f"features are {self.features.dtype} {self.features.shape}; give float32 of shape (N, D)")
        if self.labels.shape != (count,) or self.labels.min() < 0 or self.labels.max() >= self.classes:
            raise DataError(f"labels must be {count} whole numbers in [0, {self.classes})")
        if self.weightings.shape != (len(self.weightings), count) or np.any(self.weightings < 0):
            raise DataError(
                f"weightings are {self.weightings.shape}; give rows of {count} numbers that are not negative"
            )
        if not np.allclose(self.weightings.sum(axis=1), 1, rtol=1e-12, atol=0):
            raise DataError("each row of weightings must sum to 1")
        if not np.all((self.ridge > 0) | (self.lasso > 0)):
            raise UsageError("each member needs a penalty: without one separable data have no optimum")
        for index, weighting in enumerate(self.weightings):
            present = np.bincount(self.labels, weights=weighting, minlength=self.classes)
            if np.any(present == 0):
                raise DataError(
                    f"weighting {index} leaves class {int(np.argmin(present))} without an example: its bias, which is "
                    "not penalised, has no optimum. Use fewer folds, or leave the class out"
                )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def examples(self) -> int:
        return len(self.features)

    def take(self, members: Sequence[int] | np.ndarray) -> Problem:
        """Return the problem of some of the members."""
        index = np.asarray(members, np.int64)
        return replace(self, rows=self.rows[index], ridge=self.ridge[index], lasso=self.lasso[index])

    def class_shares(self) -> np.ndarray:
        """Return the weight (K, classes) of each class in each weighting."""
        return np.stack([np.bincount(self.labels, weights=row, minlength=self.classes) for row in self.weightings])

    def class_means(self) -> np.ndarray:
        """Return Σ_{i: y_i = c} ω_i x_i, (K, classes, D) float64."""
        sums = np.zeros((len(self.weightings), self.classes, self.features.shape[1]))
        for label in range(self.classes):
            members = np.flatnonzero(self.labels == label)
            for start in range(0, len(members), 1024):  # float64 copies of some rows at a time
                rows = members[start : start + 1024]
                sums[:, label] += self.weightings[:, rows] @ self.features[rows].astype(np.float64)
        return sums


def split_penalty(penalty: Penalty) -> tuple[float, float]:
    """Return (ridge, lasso) of a penalty: P(W) = ridge Σ W² + lasso Σ |W|."""
    if isinstance(penalty, L2):
        return float(penalty.strength), 0.0
    if isinstance(penalty, L1):
        return 0.0, float(penalty.strength)
    if isinstance(penalty, ElasticNet):
        return float(penalty.strength) * float(penalty.beta), float(penalty.strength)
    raise UsageError(f"penalty is {penalty!r}; a certified optimum needs penalties.L2, L1 or ElasticNet")

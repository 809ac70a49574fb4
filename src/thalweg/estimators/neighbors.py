"""Nearest neighbours behind scikit-learn's `fit`, `predict` and `kneighbors`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from thalweg.data.splits import stratified
from thalweg.errors import UsageError
from thalweg.estimators.base import Page, dense, seed_of
from thalweg.fields import check_integer
from thalweg.neighbors import NearestNeighbors, majority_votes, vote_shares

__all__ = ["NearestNeighborsClassifier"]

# What is held as it comes; anything else becomes the first.
_DTYPES = (np.float64, np.float32, np.float16, np.uint8)


class NearestNeighborsClassifier(ClassifierMixin, Page):
    """The majority vote of the k nearest training examples; see `neighbors.NearestNeighbors` for what exact means.

    Arguments:
        n_neighbors: k, or ``"auto"``: chosen among 1, ..., ``max_neighbors`` on held-out examples.
        metric: ``l1``, ``l2`` or ``cosine``.
        storage: the type that examples are held in (``uint8``, ``float16``, ``float32``, ``float64``); None keeps X's.
        max_neighbors: the largest k that ``"auto"`` tries; fewer where there are fewer examples.
        validation_fraction: the share of each class that ``"auto"`` holds out. Afterwards all examples are held.
        random_state: of that draw.

    X is held as it is, not copied: leave it unchanged. A sparse X is made dense whole, examples and queries alike.

    Of classes with equally many votes the first in order wins, as in scikit-learn's `KNeighborsClassifier`.

    After `fit`: ``classes_``, ``n_features_in_``, ``feature_names_in_`` (of data frames), ``n_samples_fit_``,
    ``n_neighbors_`` (the k in use), and with ``"auto"`` ``validation_accuracies_``, of k = 1, 2, ... in order.
    """

    _last: ClassVar[str] = "n_samples_fit_"

    def __init__(
        self,
        n_neighbors: int | str = 5,
        *,
        metric: str = "l2",
        storage: str | None = None,
        max_neighbors: int = 100,
        validation_fraction: float = 0.2,
        random_state: Any = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.storage = storage
        self.max_neighbors = max_neighbors
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: Any, y: Any) -> NearestNeighborsClassifier:
        """Hold the training examples X (N, D), an array or data frame, with their labels y (N,)."""
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=_DTYPES)
        X = dense(X)
        check_classification_targets(y)
        if self.n_neighbors != "auto":
            check_integer("NearestNeighborsClassifier", "n_neighbors", self.n_neighbors, least=1)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._labels = labels.astype(np.int32)
        if self.n_neighbors == "auto":
            self.n_neighbors_ = self._chosen(X)
        else:
            self.n_neighbors_ = int(self.n_neighbors)
        self._index = NearestNeighbors(self.metric, self.storage).fit(X)
        self.n_samples_fit_ = len(X)
        return self

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Return the distances (Q, k) and the training examples' numbers (Q, k), nearest first; or the numbers only.

        Without X the neighbours of each training example, itself left out. Of examples equally far the first come
        first.
        """
        check_is_fitted(self)
        k = self.n_neighbors_ if n_neighbors is None else n_neighbors
        check_integer("kneighbors", "n_neighbors", k, least=1)
        others = self.n_samples_fit_ - (X is None)
        if k > others:
            raise UsageError(
                f"n_neighbors is {k}, and there are {others} examples to find (n_samples_fit_ = "
                f"{self.n_samples_fit_}); give at most that"
            )
        if X is None:
            found = _without_self(*self._index.search(self._index.rows, k + 1))
        else:
            queries = validate_data(self, X, accept_sparse="csr", dtype=_DTYPES, reset=False)
            found = self._index.search(dense(queries), k)
        return found if return_distance else found[1]

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each example that most of its k nearest are of."""
        winners = majority_votes(self._voters(X), len(self.classes_))[:, -1]
        labels: np.ndarray = self.classes_[winners]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return each class's share (Q, classes) of the votes."""
        return vote_shares(self._voters(X), len(self.classes_))

    def _summary(self) -> list[tuple[str, str]]:
        rows = [("examples held", str(self.n_samples_fit_)), ("neighbours that vote", str(self.n_neighbors_))]
        if self.n_neighbors == "auto":
            rows.append(("held-out accuracy", f"{self.validation_accuracies_.max():.4f}"))
        return [*super()._summary(), *rows]

    def _voters(self, X: Any) -> np.ndarray:
        """The labels (Q, k) of each example's nearest."""
        check_is_fitted(self)
        labels: np.ndarray = self._labels[self.kneighbors(X, return_distance=False)]
        return labels

    def _chosen(self, X: np.ndarray) -> int:
        """Choose k on held-out examples; of equally good ones the smallest."""
        share = self.validation_fraction
        check_integer("NearestNeighborsClassifier", "max_neighbors", self.max_neighbors, least=1)
        if not (isinstance(share, (float, np.floating)) and 0 < share < 1):
            raise UsageError(f"validation_fraction is {share!r}; give a share between 0 and 1, such as 0.2")
        seed = np.random.SeedSequence(seed_of(self.random_state))
        kept, held = stratified(self._labels, float(share), seed)
        if not len(held):
            raise UsageError(
                f"n_neighbors='auto' holds examples out, and no class has two (n_samples = {len(X)}): give n_neighbors "
                "a number"
            )
        most = min(self.max_neighbors, len(kept))
        _, numbers = NearestNeighbors(self.metric, self.storage).fit(X[kept]).search(X[held], most)
        winners = majority_votes(self._labels[kept][numbers], len(self.classes_))
        self.validation_accuracies_ = np.mean(winners == self._labels[held][:, None], axis=0)
        return int(self.validation_accuracies_.argmax()) + 1


def _without_self(distances: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave each query's own row out; where more than k + 1 equal rows stand before it, the last found."""
    own = numbers == np.arange(len(numbers))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = len(numbers), numbers.shape[1] - 1
    return distances[~own].reshape(shape), numbers[~own].reshape(shape)

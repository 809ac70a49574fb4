"""What all classifiers that end in a `FittedModel` share: checking input, labels of any kind, scoring, the page."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from thalweg.data import Dataset, Split
from thalweg.data.checks import check_memory
from thalweg.errors import DataError, UsageError
from thalweg.fitted import FittedModel
from thalweg.losses import Softmax

__all__ = ["Classifier", "Given", "Page", "dense", "feature_names", "seed_of"]

_ROWS = 4096  # of a sparse matrix made dense at a time to be scored
_DTYPES = (np.float32, np.float64, np.uint8)


@dataclass(frozen=True)
class Given:
    """What `fit` was given, checked: features (N, D), labels (N,) into ``names``, and weights (N,) or None."""

    features: Any  # float32 or uint8 array, or a float32 CSR matrix
    labels: np.ndarray
    names: tuple[str, ...]
    weights: np.ndarray | None

    def dataset(self, input_shape: tuple[int, ...] | None = None, names: tuple[str, ...] | None = None) -> Dataset:
        """Return it as a data set: dense, and as images where a shape is told; else with the features' names."""
        split = Split(shaped(dense(self.features), input_shape), self.labels, weights=self.weights)
        return Dataset("X", "arrays", split, self.names, feature_names=names if input_shape is None else None)

    def preprocessing(self, kind: str | None) -> str | None:
        """Return the kind for the dense data set: what ``auto`` is for a sparse X, it stays there."""
        return "center" if kind == "auto" and sparse.issparse(self.features) else kind

    def take(self, rows: np.ndarray) -> Given:
        """Return some of the examples."""
        weights = None if self.weights is None else self.weights[rows]
        return Given(self.features[rows], self.labels[rows], self.names, weights)


class Page(BaseEstimator):
    """An estimator whose page in a notebook also shows, once it is fitted, what was found."""

    classes_: np.ndarray
    n_features_in_: int
    _last: ClassVar[str] = "model_"  # what a fit sets when nothing can fail any more

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, self._last)

    def _summary(self) -> list[tuple[str, str]]:
        """What the page of a fitted estimator says beside its parameters: (name, value) pairs, not yet escaped."""
        names = ", ".join(map(str, self.classes_[:10])) + (", …" if len(self.classes_) > 10 else "")
        return [("classes", f"{len(self.classes_)}: {names}"), ("features", str(self.n_features_in_))]

    def _html_repr(self) -> str:
        page: str = super()._html_repr()
        if not self.__sklearn_is_fitted__():
            return page
        rows = "".join(
            f'<tr><th style="text-align:left;padding-right:1em">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(value)}</td></tr>'
            for name, value in self._summary()
        )
        return f'{page}<table class="thalweg-fitted"><caption>fitted</caption>{rows}</table>'


class Classifier(ClassifierMixin, Page):
    """A classifier whose `fit` leaves ``model_``, a `FittedModel`, and ``classes_``, the labels in sorted order."""

    model_: FittedModel

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _given(self, X: Any, y: Any, sample_weight: Any, *, first: bool = True, classes: Any = None) -> Given:
        """Check what `fit` was given, or `partial_fit` (``first``: for the first time); ``classes``: not only y's."""
        if first:
            # A fit that fails leaves no estimator that mixes two: what was fitted before goes first.
            for name in [name for name in vars(self) if name.endswith("_")]:
                delattr(self, name)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=_DTYPES, reset=first)
        check_classification_targets(y)
        self.classes_ = np.unique(y) if classes is None else classes
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class only, {self.classes_.tolist()[0]!r}; a classifier needs examples of at least two"
            )
        labels = self._labels(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        weights = _weights(labels, sample_weight, getattr(self, "class_weight", None), self.classes_)
        given = Given(single(X), labels, tuple(map(str, self.classes_.tolist())), weights)
        if first and weights is not None and not weights.all():
            given = given.take(np.flatnonzero(weights))  # else they would judge trials, and stop trainings
        return given

    def _labels(self, y: np.ndarray) -> np.ndarray:
        places = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        if len(wrong := np.flatnonzero(self.classes_[places] != y)):
            raise ValueError(
                f"y holds the label {y[wrong].tolist()[0]!r}, which is not among the classes of the first call: "
                f"{self.classes_.tolist()}; name all classes there"
            )
        return places.astype(np.int32)

    def _scores(self, X: Any) -> np.ndarray:
        """Return the scores (N, classes); a sparse X is made dense a few thousand rows at a time."""
        check_is_fitted(self)
        X = single(validate_data(self, X, accept_sparse="csr", dtype=_DTYPES, reset=False))
        shape, kind = self.model_.feature_shape, self.model_.feature_dtype
        if kind == "uint8" and X.dtype != np.uint8:
            X = _whole(X)
        blocks = (shaped(block, shape).astype(kind, copy=False) for block in _blocks(X))
        return np.concatenate([self.model_.scores(block) for block in blocks])

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the scores (N, classes) of X; for two classes (N,), the second's score less the first's."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> np.ndarray:
        """Return for each example the class of the highest score; of equal ones the first."""
        best = self._scores(X).argmax(axis=1)
        labels: np.ndarray = self.classes_[best]
        return labels

    def _has_probabilities(self) -> bool:
        loss = self.model_.recipe.loss if hasattr(self, "model_") else self._loss()
        if not isinstance(loss, Softmax):
            raise AttributeError(
                f"{type(self).__name__} has probabilities only with losses.Softmax, and its loss is {loss!r}"
            )
        return True

    def _loss(self) -> Any:
        loss = getattr(self, "loss", None)
        return Softmax() if loss is None else loss

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities (N, classes) of X: the softmax of the scores, for models of that loss."""
        scores = self._scores(X).astype(np.float64)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return shares

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of the probabilities, without forming those: small ones keep their digits."""
        scores = self._scores(X).astype(np.float64)
        scores = scores - scores.max(axis=1, keepdims=True)
        logs: np.ndarray = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return logs


def _weights(labels: np.ndarray, own: np.ndarray | None, class_weight: Any, classes: np.ndarray) -> np.ndarray | None:
    """Return each example's weight: its own times its class's.

    ``balanced`` gives each class the same total, counted in weight: n / (classes × n_class).
    """
    if class_weight is None:
        return own
    totals = np.bincount(labels, own, minlength=len(classes))
    if isinstance(class_weight, str) and class_weight == "balanced":
        factors = totals.sum() / (len(classes) * np.where(totals > 0, totals, np.inf))
    else:
        factors = compute_class_weight(class_weight, classes=classes, y=classes)
    weights: np.ndarray = factors[labels] * (1.0 if own is None else own)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(
            f"class_weight is {class_weight!r}; give each class a finite weight that is not negative, and not 0 to all"
        )
    return weights


def feature_names(estimator: Any) -> tuple[str, ...] | None:
    """Return the names of the columns that `fit` met, where it met a data frame."""
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else tuple(map(str, names))


def _whole(X: Any) -> Any:
    """Return whole numbers from 0 to 255 as uint8, for a classifier that was fitted on such."""
    values = X.data if sparse.issparse(X) else X
    if len(wrong := values[(values < 0) | (values > 255) | (values != np.floor(values))]):
        raise ValueError(
            f"X holds {wrong.flat[0]:g}, and the classifier was fitted on uint8: give whole numbers from 0 to 255"
        )
    return X.astype(np.uint8)


def seed_of(random_state: Any) -> int:
    """Return the seed that a random_state stands for: a whole number itself, else one drawn from it."""
    from sklearn.utils import check_random_state

    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def single(X: Any) -> Any:
    """Return features as float32, or uint8 as they are; what float32 cannot hold is an error, not a wrong number."""
    if X.dtype == np.float32 or (X.dtype == np.uint8 and not sparse.issparse(X)):
        return X
    if X.dtype == np.float64:
        _check_range(X.data if sparse.issparse(X) else X)
        if not sparse.issparse(X):
            _check_digits(X)
    return X.astype(np.float32)


def _check_range(values: np.ndarray) -> None:
    largest = np.abs(values).max(initial=0.0)
    if largest > np.finfo(np.float32).max:
        raise DataError(f"X holds {largest:g}, beyond the range of float32; rescale the features first")


def _check_digits(X: np.ndarray) -> None:
    """Refuse a feature whose spread is lost beside its size, as in seconds since 1970: float32 has 7 digits."""
    size = np.abs(X).max(axis=0, initial=0.0)
    spread = X.std(axis=0) if len(X) else size
    # Below 1e-12 of its size a spread is float64's own rounding: the feature is constant.
    lost = np.flatnonzero((spread > 1e-12 * size) & (spread < 4 * np.spacing(size.astype(np.float32))))
    if len(lost):
        column = int(lost[0])
        raise DataError(
            f"feature {column} of X (counted from 0) varies by {spread[column]:.3g} about {X[:, column].mean():.6g}, "
            "which float32 does not tell apart: subtract its mean first, with StandardScaler for example"
        )


def dense(X: Any) -> np.ndarray:
    """Return features as an array; a sparse matrix is refused where that would not fit into memory."""
    if not sparse.issparse(X):
        return np.asarray(X)
    count, width = X.shape
    check_memory(
        f"X: {count:,} × {width:,} sparse features, which are made dense here",
        X.dtype.itemsize * count * width,
        "take LinearClassifier or DenseClassifier, which make a minibatch dense at a time, or fewer features",
    )
    array: np.ndarray = X.toarray()
    return array


def shaped(X: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    """Return rows as images, where a shape is told."""
    if shape is None or tuple(shape) == X.shape[1:]:
        return X
    if int(np.prod(shape)) != X.shape[1]:
        raise UsageError(f"input_shape is {shape!r}, which is not the shape of {X.shape[1]} features")
    return X.reshape(len(X), *shape)


def _blocks(X: Any) -> Iterator[np.ndarray]:
    """Yield X in dense blocks: whole where it is dense already."""
    if not sparse.issparse(X):
        yield np.asarray(X)
        return
    for start in range(0, X.shape[0], _ROWS):
        yield X[start : start + _ROWS].toarray()

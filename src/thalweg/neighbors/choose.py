"""k and the distance chosen on validation, the test split scored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thalweg.data import Dataset, Split, check_trainable, fit_preprocessing, join, load, split_dataset
from thalweg.data.preprocessing import Preprocessing
from thalweg.errors import DataError, UsageError
from thalweg.fields import check_integer
from thalweg.neighbors.index import NearestNeighbors, Progress
from thalweg.neighbors.vote import majority_votes
from thalweg.statistics import Accuracy

__all__ = ["NeighborsResult", "choose_k"]

_MOST = 100


@dataclass(frozen=True, eq=False)
class NeighborsResult:
    """What `choose_k` found.

    ``accuracies`` holds each metric's validation accuracies (max_k,), of k = 1, 2, ... in order; ``metric`` and ``k``
    are the choice, ``validation`` and ``test`` its accuracies (None without a test split). ``index`` holds the
    training examples (with the validation examples, if ``refit``), ``labels`` (N,) their classes, counted in
    ``classes``.
    """

    metric: str
    k: int
    accuracies: dict[str, np.ndarray] = field(repr=False)
    validation: Accuracy
    test: Accuracy | None
    classes: tuple[str, ...]
    index: NearestNeighbors = field(repr=False)
    labels: np.ndarray = field(repr=False)
    preprocessing: Preprocessing | None = field(repr=False)

    def predict(self, features: Any, *, progress: Progress | None = None) -> np.ndarray:
        """Return the name of the class of each example (N, *feature_shape), by the vote of its k nearest."""
        votes = _votes(self, features, self.k, progress)
        return np.asarray(self.classes)[votes[:, -1]]


def choose_k(
    data: Any,
    *,
    metric: str | Sequence[str] = "l2",
    max_k: int | None = None,
    storage: str | None = None,
    preprocessing: str | None = "auto",
    refit: bool = True,
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> NeighborsResult:
    """Choose k, and the metric where several are given, on validation; then score the test split once.

    Arguments:
        data: whatever `load` reads: a path, ``"digits"``, a pair (X, y), a `Dataset`.
        metric: ``l1``, ``l2`` or ``cosine``, or several of them to choose among.
        max_k: the largest k tried; all from 1 on are, since one search finds the neighbours of every one. None: 100,
            or as many training examples as there are.
        storage: the type the examples are held in; see `NearestNeighbors`.
        preprocessing: ``auto`` standardizes tables and leaves images and uint8 as they are, whose features share a
            unit; else as in `data.preprocessing`. Fitted on training examples.
        refit: hold training and validation examples for the test; the k stays.
        validation, test, seed: what to hold out where the data brings no such split; see `data.split_dataset`.
        progress: called with (queries done, queries in all), over validation and test.

    The highest validation accuracy is chosen; of equal ones the metric given first, and its smallest k.
    Ctrl-C ends the search, and nothing is left behind.

    Raises UsageError and DataError for arguments and data that cannot serve.
    """
    metrics = (metric,) if isinstance(metric, str) else tuple(metric)
    if not metrics or len(set(metrics)) < len(metrics):
        raise UsageError(f"choose_k: metric is {metric!r}; give one, or several different ones")
    empty = {name: NearestNeighbors(name, storage) for name in metrics}
    dataset = load(data)
    check_trainable(dataset)
    dataset = split_dataset(dataset, validation=validation, test=test, seed=seed)
    assert dataset.validation is not None
    most = _largest_k(max_k, len(dataset.train))
    prepared = _preparation(dataset.train, preprocessing)

    held, final = dataset.validation, dataset.test
    done, total = 0, len(metrics) * len(held) + (0 if final is None else len(final))

    def told(queries: int, _: int) -> None:
        if progress is not None:
            progress(done + queries, total)

    correct = {}
    for name in metrics:
        one = _hold(empty[name], dataset.train, prepared, dataset)
        correct[name] = np.count_nonzero(_votes(one, held.features, most, told) == _labels(held)[:, None], axis=0)
        done += len(held)
    chosen = max(metrics, key=lambda name: int(correct[name].max()))  # of equal ones the first
    k = int(correct[chosen].argmax()) + 1
    kept = dataset.train
    if refit:
        kept = join(kept, held)
        prepared = _preparation(kept, preprocessing)
    one = _hold(NearestNeighbors(chosen, storage), kept, prepared, dataset)
    scored = None
    if final is not None:
        right = _votes(one, final.features, k, told)[:, -1] == _labels(final)
        scored = Accuracy(int(np.count_nonzero(right)), len(final))
    return NeighborsResult(
        metric=chosen,
        k=k,
        accuracies={name: count / len(held) for name, count in correct.items()},
        validation=Accuracy(int(correct[chosen][k - 1]), len(held)),
        test=scored,
        classes=dataset.classes,
        index=one.index,
        labels=one.labels,
        preprocessing=prepared,
    )


@dataclass(frozen=True, eq=False)
class _Held:
    """Training examples that can be voted with."""

    index: NearestNeighbors
    labels: np.ndarray
    classes: tuple[str, ...]
    preprocessing: Preprocessing | None


def _hold(index: NearestNeighbors, split: Split, prepared: Preprocessing | None, dataset: Dataset) -> _Held:
    return _Held(index.fit(_shown(split.features, prepared)), _labels(split), dataset.classes, prepared)


def _votes(held: _Held | NeighborsResult, features: Any, k: int, progress: Progress | None) -> np.ndarray:
    _, numbers = held.index.search(_shown(features, held.preprocessing), k, progress=progress)
    return majority_votes(held.labels[numbers], len(held.classes))


def _shown(features: Any, prepared: Preprocessing | None) -> Any:
    return features if prepared is None else prepared.transform(np.asarray(features))


def _preparation(split: Split, kind: str | None) -> Preprocessing | None:
    features = split.features
    if kind == "auto":
        kind = None if features.dtype == np.uint8 or features.ndim > 2 else "standardize"
    return None if kind in (None, "none") else fit_preprocessing(features, kind)


def _labels(split: Split) -> np.ndarray:
    if split.labels is None:
        raise DataError("the examples carry no labels; a vote needs them")
    return split.labels


def _largest_k(max_k: int | None, count: int) -> int:
    if max_k is None:
        return min(_MOST, count)
    check_integer("choose_k", "max_k", max_k, least=1)
    if max_k > count:
        raise UsageError(f"choose_k: max_k is {max_k}, and there are {count} training examples; give at most that")
    return max_k

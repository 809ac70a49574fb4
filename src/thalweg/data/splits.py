"""Splits: training, validation and test examples, stratified, from one seed.

Hyperparameters are chosen on the validation split; the test split is scored
once, at the end. A split that the data brings is kept; what is missing is drawn
from the training examples, class by class.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from thalweg.data.dataset import Dataset, Split
from thalweg.errors import DataError, UsageError
from thalweg.fields import check_integer

__all__ = ["join", "split_dataset", "stratified"]

_LARGE = 20_000  # from this many examples on, a tenth is enough to validate on


def split_dataset(
    dataset: Dataset, *, validation: float | None = None, test: float | None = None, seed: int = 0
) -> Dataset:
    """Return the data set with all three splits present (without a test split where its share is 0).

    ``validation`` and ``test`` are shares of the examples that each is drawn
    from (test first, then validation from what is left), and matter only where
    the data brings no such split. Defaults: test 0.2; validation 0.2, or 0.1
    from 20,000 examples on.
    """
    for name, share, brought in (
        ("validation", validation, dataset.validation),
        ("test", test, dataset.test),
    ):
        if share is not None and brought is not None:
            raise UsageError(f"{name} is {share!r}, but the data brings its own {name} split; leave it out")
        if share is not None and not (_is_share(share) or (name == "test" and _is_nothing(share))):
            none = ", or 0 to hold no examples out" if name == "test" else ""
            raise UsageError(f"{name} is {share!r}; give a share between 0 and 1, such as 0.2{none}")
    check_integer("splits", "seed", seed, least=0)
    if dataset.test is None and test != 0:
        splits = 1 + (dataset.validation is None)
        kept, held = _cut(dataset, 0.2 if test is None else test, splits, np.random.SeedSequence([seed, 1]))
        dataset = replace(dataset, train=kept, test=held)
    if dataset.validation is None:
        default = 0.1 if len(dataset.train.features) >= _LARGE else 0.2
        kept, held = _cut(dataset, default if validation is None else validation, 1, np.random.SeedSequence([seed, 2]))
        dataset = replace(dataset, train=kept, validation=held)
    return dataset


def join(first: Split, second: Split) -> Split:
    """Return the examples of both splits, for a refit on training + validation; where one has no weights they are 1."""
    assert first.labels is not None
    assert second.labels is not None
    weights = None
    if first.weights is not None or second.weights is not None:
        weights = np.concatenate(
            [np.ones(len(part)) if part.weights is None else part.weights for part in (first, second)]
        )
    features = np.concatenate([first.features, second.features])
    return Split(features, np.concatenate([first.labels, second.labels]), weights=weights)


def stratified(
    labels: np.ndarray, share: float, seed: np.random.SeedSequence, *, keep: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted indices (kept, held) with about ``share`` of every class held.

    Each class gives its rounded share, at least one example, but always keeps
    ``keep``: one that has no more gives none.
    """
    generator = np.random.default_rng(seed)
    held = []
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        count = max(0, min(max(1, round(share * len(members))), len(members) - keep))
        held.append(members[:count])
    chosen = np.zeros(len(labels), bool)
    chosen[np.concatenate(held)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _is_share(value: object) -> bool:
    return isinstance(value, (float, np.floating)) and 0 < float(value) < 1


def _is_nothing(value: object) -> bool:
    return not isinstance(value, (bool, np.bool_)) and bool(value == 0)


def _cut(dataset: Dataset, share: float, splits: int, seed: np.random.SeedSequence) -> tuple[Split, Split]:
    """Cut off the first of ``splits`` splits that are to be cut from the training examples."""
    labels = dataset.train.labels
    assert labels is not None
    counts = np.bincount(labels, minlength=len(dataset.classes))
    # Whatever is drawn first, each class must be left with one example to train on and one for each split.
    needed = 1 + splits
    for name, count in zip(dataset.classes, counts.tolist(), strict=True):
        if count < needed:
            raise DataError(
                f"class {name!r} has {count} example{'s' * (count != 1)}; {needed} are needed to give each split one: "
                "add examples, or leave the class out"
            )
    kept, held = stratified(labels, share, seed, keep=needed - 1)
    return _take(dataset.train, kept), _take(dataset.train, held)


def _take(split: Split, index: np.ndarray) -> Split:
    assert split.labels is not None
    names = None if split.names is None else tuple(split.names[i] for i in index)
    weights = None if split.weights is None else split.weights[index]
    return Split(split.features[index], split.labels[index], names, weights)

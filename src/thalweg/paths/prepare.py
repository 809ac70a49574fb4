"""The examples of a path: what it fits, and what it holds out for the final score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from thalweg.data import Dataset, Split, check_trainable
from thalweg.data.splits import join, split_dataset
from thalweg.errors import DataError, UsageError
from thalweg.paths.job import Job
from thalweg.paths.weightings import check_class_weight, read_example_weights

__all__ = ["hold_out", "prepare", "training_examples"]


def prepare(loaded: Dataset, example_weights: Any, job: Job) -> Dataset:
    """Return the data set, checked and weighted, with its test split."""
    check_trainable(loaded)
    for value in job.class_weights:
        check_class_weight(value, loaded.classes)
    if example_weights is not None:
        weights = read_example_weights(example_weights, len(loaded.train))
        loaded = replace(loaded, train=replace(loaded.train, weights=weights))
    if job.folds and loaded.test is None:
        return hold_out(loaded, job.test, job.seed)
    if job.test:
        raise UsageError(f"test is {job.test!r}, but the data brings its own test split; leave it out")
    return loaded


def hold_out(loaded: Dataset, test: float | None, seed: int) -> Dataset:
    """Cut a test split off data that brings none; a validation split is left to the folds."""
    # The training examples that a validation split would be cut from are the folds'.
    whole = loaded if loaded.validation is not None else replace(loaded, validation=loaded.train)
    return replace(split_dataset(whole, test=test, seed=seed), validation=loaded.validation)


def training_examples(dataset: Dataset) -> Split:
    """Return all examples to fit: those of a validation split as well."""
    training = dataset.train if dataset.validation is None else join(dataset.train, dataset.validation)
    return training if training.weights is None else _drop_weightless(training, dataset)


def _drop_weightless(split: Split, dataset: Dataset) -> Split:
    """Leave out examples of weight 0: they take part in nothing."""
    assert split.weights is not None
    assert split.labels is not None
    kept = split.weights > 0
    totals = np.bincount(split.labels[kept], minlength=len(dataset.classes))
    if (totals == 0).any():
        name = dataset.classes[int(np.argmin(totals))]
        raise DataError(f"example_weights leaves class {name!r} without an example of positive weight; give it one")
    return Split(split.features[kept], split.labels[kept], weights=split.weights[kept])

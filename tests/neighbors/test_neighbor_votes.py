"""Votes for every k at once, and k chosen on validation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data import Dataset, Split, split_dataset
from thalweg.errors import DataError, UsageError
from thalweg.neighbors import NearestNeighbors, choose_k, majority_votes, vote_shares
from thalweg.statistics import wilson

RNG = np.random.default_rng(0)


def blobs(count, seed, shape=(4,), dtype=np.float32):
    """Three overlapping classes."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % 3
    centres = np.random.default_rng(9).uniform(60, 180, (3, *shape))
    values = centres[labels] + 60 * generator.standard_normal((count, *shape))
    return Split(np.clip(values, 0, 255).astype(dtype), labels)


DATA = Dataset("blobs", "drawn", blobs(90, 1), ("a", "b", "c"), validation=blobs(40, 2), test=blobs(50, 3))
IMAGES = Dataset(
    "images", "drawn", *(blobs(60, 4, (2, 2, 3), np.uint8), ("a", "b", "c")), test=blobs(30, 5, (2, 2, 3), np.uint8)
)


@given(st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=5))
def test_votes_are_counted_as_one_would_by_hand(rows):
    labels = np.array(rows)
    winners = majority_votes(labels, 4)
    for row, won in zip(rows, winners, strict=True):
        for k in range(1, 8):
            counts = Counter(row[:k])
            assert won[k - 1] == min(counts, key=lambda c: (-counts[c], c))  # of equal ones the first in order
    np.testing.assert_array_equal(vote_shares(labels, 4).argmax(axis=1), winners[:, -1])
    np.testing.assert_allclose(vote_shares(labels, 4) * 7, [[row.count(c) for c in range(4)] for row in rows])


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros((3, 0), int), np.zeros((2, 2)), np.array([[4]])])
def test_labels_that_cannot_vote_are_refused(labels):
    with pytest.raises(DataError, match="labels"):
        majority_votes(labels, 4)


def by_hand(data, metric, k):
    """The accuracy of one k, by a loop over the examples."""
    train, held = data.train, data.validation
    x, z = (split.features.astype(float).reshape(len(split), -1) for split in (held, train))
    right = 0
    for one, label in zip(x, held.labels, strict=True):
        far = np.abs(z - one).sum(1) if metric == "l1" else ((z - one) ** 2).sum(1)
        near = Counter(train.labels[np.argsort(far, kind="stable")[:k]].tolist())
        right += min(near, key=lambda c: (-near[c], c)) == label
    return right / len(held)


def test_every_k_is_scored_and_the_best_is_chosen():
    told = []
    found = choose_k(
        DATA, metric=("l1", "l2"), max_k=12, preprocessing=None, progress=lambda *counts: told.append(counts)
    )
    for metric, accuracies in found.accuracies.items():
        np.testing.assert_allclose(accuracies, [by_hand(DATA, metric, k) for k in range(1, 13)], rtol=1e-15)
    everything = np.concatenate([found.accuracies["l1"], found.accuracies["l2"]])
    best = int(everything.argmax())  # argmax takes the first: l1 before l2, small k before large
    assert (found.metric, found.k) == (("l1", "l2")[best // 12], best % 12 + 1)
    assert found.validation.accuracy == everything.max()
    assert told[-1] == (130, 130)
    assert told == sorted(told)
    assert len(found.labels) == 130  # refitted on training + validation


@pytest.mark.parametrize("refit", [True, False])
def test_the_test_split_is_scored_with_the_choice(refit):
    found = choose_k(DATA, max_k=7, preprocessing=None, refit=refit)
    parts = (DATA.train, DATA.validation) if refit else (DATA.train,)
    features, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "labels"))
    _, numbers = NearestNeighbors().fit(features).search(DATA.test.features, found.k)
    right = majority_votes(labels[numbers], 3)[:, -1] == DATA.test.labels
    assert found.test.correct == right.sum()
    assert found.test.count == 50
    assert found.test.interval == wilson(found.test.correct, 50)
    assert f"{found.test.correct} of 50 right" in str(found.test)
    assert (found.predict(DATA.test.features) == np.array(["a", "b", "c"])[DATA.test.labels]).sum() == right.sum()


def test_tables_are_standardized_and_images_left_alone():
    scaled = Dataset(
        "t", "t", Split(DATA.train.features * np.float32([1, 1e4, 1, 1]), DATA.train.labels), DATA.classes,
        validation=Split(DATA.validation.features * np.float32([1, 1e4, 1, 1]), DATA.validation.labels),
        test=Split(DATA.test.features * np.float32([1, 1e4, 1, 1]), DATA.test.labels),
    )  # fmt: skip
    plain, blown = choose_k(DATA, max_k=9), choose_k(scaled, max_k=9)
    assert plain.preprocessing.kind == "standardize"
    np.testing.assert_array_equal(plain.accuracies["l2"], blown.accuracies["l2"])
    images = choose_k(IMAGES, metric="l1", max_k=5)
    assert images.preprocessing is None
    assert images.index.rows.dtype == np.uint8
    assert images.index.rows.shape == (60, 12)


def test_missing_splits_are_drawn_by_the_seed():
    one = choose_k(IMAGES, max_k=5, seed=3)
    other = choose_k(split_dataset(IMAGES, seed=3), max_k=5)
    np.testing.assert_array_equal(one.accuracies["l2"], other.accuracies["l2"])
    assert one.test == other.test


def test_k_is_at_most_the_training_examples():
    assert choose_k(DATA).accuracies["l2"].shape == (90,)
    with pytest.raises(UsageError, match="max_k is 91, and there are 90"):
        choose_k(DATA, max_k=91)


@pytest.mark.parametrize("metric", [(), ("l1", "l1"), "l3"])
def test_metrics_are_checked(metric):
    with pytest.raises(UsageError, match="metric"):
        choose_k(DATA, metric=metric)


def test_no_test_split():
    found = choose_k((np.arange(20.0)[:, None], np.arange(20) // 10), max_k=2, test=0)
    assert found.test is None
    assert found.validation.count + len(found.labels) >= 20

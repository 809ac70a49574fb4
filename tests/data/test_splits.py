"""Splits: stratified, disjoint, complete, and fixed by the seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.data.dataset import Dataset, Split
from thalweg.data.splits import join, split_dataset, stratified
from thalweg.errors import DataError, UsageError


def dataset(counts, *, test=None, validation=None, names=False):
    """Each example's only feature is its own number, so that it can be followed through the splits."""
    start = 0

    def part(counts):
        nonlocal start
        labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
        labels = np.random.default_rng(0).permutation(labels)
        features = np.arange(start, start + len(labels), dtype=np.float32)[:, None]
        called = tuple(f"{i}.png" for i in range(start, start + len(labels))) if names else None
        start += len(labels)
        return Split(features, labels, called)

    train = part(counts)
    classes = tuple(f"c{i}" for i in range(len(counts)))
    return Dataset("d", "", train, classes, validation and part(validation), test and part(test))


def members(split):
    return dict(zip(split.features[:, 0].astype(int).tolist(), split.labels.tolist(), strict=True))


COUNTS = st.lists(st.integers(3, 60), min_size=2, max_size=6)
SHARES = st.none() | st.floats(0.01, 0.99)


@given(COUNTS, SHARES, SHARES, st.integers(0, 2**40))
@settings(max_examples=150)
def test_splits_are_disjoint_complete_stratified_and_reproducible(counts, validation, test, seed):
    whole = dataset(counts)
    cut = split_dataset(whole, validation=validation, test=test, seed=seed)
    parts = [members(split) for _, split in cut.splits()]
    assert [name for name, _ in cut.splits()] == ["train", "validation", "test"]
    assert sum(map(len, parts)) == sum(counts)
    assert parts[0] | parts[1] | parts[2] == members(whole.train)  # labels stay with their examples
    for label, count in enumerate(counts):
        held = [list(part.values()).count(label) for part in parts]
        assert min(held) >= 1
        share = 0.2 if test is None else test
        assert held[2] == max(1, min(round(share * count), count - 2))
        share = 0.2 if validation is None else validation
        assert held[1] == max(1, min(round(share * (count - held[2])), count - held[2] - 1))
    again = split_dataset(whole, validation=validation, test=test, seed=seed)
    assert [members(split) for _, split in again.splits()] == parts


@given(COUNTS, st.floats(0.01, 0.99), st.integers(0, 1000), st.integers(1, 5))
def test_stratified_indices(counts, share, seed, keep):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, held = stratified(labels, share, np.random.SeedSequence(seed), keep=keep)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held) > 0).all()
    for label, count in enumerate(counts):
        taken = np.count_nonzero(labels[held] == label)
        assert count - taken >= min(keep, count)
        if count - 1 >= keep:
            assert taken >= 1
        if max(1, round(share * count)) <= count - keep:
            assert abs(taken - share * count) <= 0.5 or taken == 1


def test_a_lone_example_is_kept():
    kept, held = stratified(np.array([0, 1, 1]), 0.5, np.random.SeedSequence(0))
    assert 0 in kept
    assert len(held) == 1


def test_seeds_give_different_splits_and_every_example_its_turn():
    whole = dataset([20, 20])
    held = [tuple(members(split_dataset(whole, seed=seed).test)) for seed in range(60)]
    assert len(set(held)) == 60
    times = Counter(example for one in held for example in one)
    # 60 draws of a fifth: each example is held Binomial(60, 0.2) times; 1 … 30 lies within 1e-5 of certainty.
    assert len(times) == 40
    assert max(times.values()) <= 30


def test_the_test_split_hangs_on_its_own_stream():
    """Another share of validation leaves the test examples as they are."""
    whole = dataset([30, 30])
    one, two = (split_dataset(whole, validation=share, seed=3) for share in (0.1, 0.4))
    assert members(one.test) == members(two.test)
    assert len(one.validation) < len(two.validation)


def test_given_splits_are_kept():
    whole = dataset([20, 10], test=[2, 2], validation=[3, 3])
    assert split_dataset(whole, seed=9) is whole
    for name in ("validation", "test"):
        with pytest.raises(UsageError, match=f"brings its own {name} split"):
            split_dataset(whole, **{name: 0.4})
    with_test = dataset([20, 10], test=[2, 2])
    cut = split_dataset(with_test, seed=9)
    assert cut.test is with_test.test
    assert len(cut.validation) == 6
    assert len(cut.train) == 24
    with_validation = dataset([20, 10], validation=[2, 2])
    cut = split_dataset(with_validation, seed=9)
    assert cut.validation is with_validation.validation
    assert (len(cut.train), len(cut.test)) == (24, 6)


@pytest.mark.parametrize(("count", "share"), [(10_000, 0.1), (9_999, 0.2)])
def test_the_default_share_of_validation_hangs_on_the_size(count, share):
    cut = split_dataset(dataset([count, count], test=[1, 1]))
    assert len(cut.validation) == 2 * round(share * count)


def test_names_and_the_rest_of_the_data_set_come_along():
    whole = dataset([10, 10], names=True)
    cut = split_dataset(whole)
    assert (cut.name, cut.source, cut.classes) == (whole.name, whole.source, whole.classes)
    for _, split in cut.splits():
        assert split.names == tuple(f"{int(value)}.png" for value in split.features[:, 0])


def test_join_is_the_examples_of_both():
    cut = split_dataset(dataset([10, 10], names=True))
    both = join(cut.train, cut.validation)
    assert members(both) == members(cut.train) | members(cut.validation)
    assert both.features.dtype == np.float32
    assert both.labels.dtype == np.int32


@pytest.mark.parametrize(("counts", "test", "needed"), [([2, 9], None, 3), ([9, 1], [1, 1], 2), ([9, 0], None, 3)])
def test_a_class_too_small_is_named(counts, test, needed):
    few = min(counts)
    name = f"c{counts.index(few)}"
    plural = "" if few == 1 else "s"
    with pytest.raises(DataError, match=f"^class '{name}' has {few} example{plural}; {needed} are needed"):
        split_dataset(dataset(counts, test=test))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_the_smallest_class_that_serves(share):
    cut = split_dataset(dataset([3, 300]), test=share, validation=share)
    assert [list(members(split).values()).count(0) for _, split in cut.splits()] == [1, 1, 1]


NO_SHARES = [1, 1.0, -0.1, 1.5, float("nan"), float("inf"), "0.2", True, [0.2], 20]
ASKED = [("test", share) for share in (*NO_SHARES, False)]
ASKED += [("validation", share) for share in (*NO_SHARES, 0, 0.0)]


@pytest.mark.parametrize(("name", "share"), ASKED)
def test_a_share_that_is_none(name, share):
    nothing = ", or 0 to hold no examples out" if name == "test" else ""
    with pytest.raises(UsageError, match=rf"^{name} is .*; give a share between 0 and 1, such as 0\.2{nothing}$"):
        split_dataset(dataset([9, 9]), **{name: share})


@pytest.mark.parametrize("nothing", [0, 0.0, np.float64(0)])
def test_no_test_split(nothing):
    cut = split_dataset(dataset([2, 9]), test=nothing)  # two examples of a class are enough without one
    assert cut.test is None
    assert cut.validation is not None
    assert len(cut.train) + len(cut.validation) == 11


def test_a_seed_that_is_none():
    with pytest.raises(UsageError, match="splits: seed is -1"):
        split_dataset(dataset([9, 9]), seed=-1)

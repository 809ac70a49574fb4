"""Dataset and Split: checks, fingerprints, classes matched by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.data import (
    Dataset,
    Split,
    builtin,
    check_trainable,
    describe,
    load,
    match_channels,
    match_classes,
    obstacles,
    summarize,
)
from thalweg.data import dataset as module
from thalweg.errors import DataError


def split(labels: list[int], seed: int = 0, features: int = 3) -> Split:
    values = np.random.default_rng(seed).normal(size=(len(labels), features)).astype(np.float32)
    return Split(values, np.array(labels, np.int32))


def test_a_split_refuses_what_does_not_fit_together() -> None:
    with pytest.raises(DataError, match=r"3 examples need int32 labels of shape \(3,\)"):
        Split(np.zeros((3, 2), np.float32), np.zeros(2, np.int32))
    with pytest.raises(DataError, match="float64"):
        Split(np.zeros((3, 2)), None)
    with pytest.raises(DataError, match="nothing in them"):
        Split(np.zeros((0, 2), np.float32), None)
    with pytest.raises(DataError, match="1 names for 2 examples"):
        Split(np.zeros((2, 2), np.float32), None, ("a",))


def test_a_dataset_refuses_splits_that_disagree() -> None:
    train = split([0, 1])
    with pytest.raises(DataError, match=r"test examples are float32 \(4,\)"):
        Dataset("d", "s", train, ("a", "b"), test=split([0, 1], features=4))
    with pytest.raises(DataError, match="the label of example 1 is 1, and 1 in all lie outside"):
        Dataset("d", "s", train, ("a",))
    with pytest.raises(DataError, match="'a' stands twice"):
        Dataset("d", "s", train, ("a", "a"))
    with pytest.raises(DataError, match="has labels, the other has none"):
        Dataset("d", "s", train, ("a", "b"), test=Split(train.features, None))
    with pytest.raises(DataError, match="2 feature names for 3"):
        Dataset("d", "s", train, ("a", "b"), feature_names=("x", "y"))


def test_obstacles_name_the_class_and_the_split() -> None:
    train = split([0, 0, 1])
    assert obstacles(Dataset("d", "s", train, ("a", "b"), test=split([1, 0]))) == []
    missing = Dataset("d", "s", train, ("a", "b"), test=split([0, 0]))
    with pytest.raises(DataError, match="class 'b' is in train but has no examples in test"):
        check_trainable(missing)
    extra = Dataset("d", "s", train, ("a", "b", "c"), validation=split([0, 1, 2]))
    with pytest.raises(DataError, match="class 'c' is in validation but has no examples in train"):
        check_trainable(extra)
    with pytest.raises(DataError, match="all of class 'a'; at least two"):
        check_trainable(Dataset("d", "s", split([0, 0]), ("a",)))
    with pytest.raises(DataError, match="class 'c' is named but has no examples"):
        check_trainable(Dataset("d", "s", train, ("a", "b", "c")))
    with pytest.raises(DataError, match="no labels"):
        check_trainable(Dataset("d", "s", Split(train.features, None), ()))


def test_fingerprint_depends_on_every_number_and_on_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Dataset("d", "s", split([0, 1, 1]), ("a", "b"), test=split([1, 0], seed=1))
    same = Dataset("other", "elsewhere", split([0, 1, 1]), ("a", "b"), test=split([1, 0], seed=1))
    assert base.fingerprint() == same.fingerprint()
    moved = split([0, 1, 1])
    moved.features[2, 2] = np.nextafter(moved.features[2, 2], np.float32(9))
    others = [
        Dataset("d", "s", moved, ("a", "b"), test=base.test),
        Dataset("d", "s", split([0, 1, 0]), ("a", "b"), test=base.test),
        Dataset("d", "s", base.train, ("a", "c"), test=base.test),
        Dataset("d", "s", base.train, ("a", "b"), validation=base.test),
        Dataset("d", "s", base.train, ("a", "b")),
    ]
    assert len({base.fingerprint(), *(other.fingerprint() for other in others)}) == 6
    monkeypatch.setattr(module, "CHUNK_BYTES", 12)  # one row at a time
    assert base.fingerprint() == same.fingerprint()
    assert len(list(base.train.chunks())) == 3


def test_fingerprint_is_the_documented_sha256_and_stays_what_it_is() -> None:
    """Run folders store it: a change of its definition must be seen."""
    data = Dataset("d", "s", Split(np.array([[1, 2], [3, 4]], np.uint8), np.array([0, 1], np.int32)), ("a", "é"))
    import hashlib

    expected = hashlib.sha256(
        b"train uint8 (2, 2)\n"
        + bytes([1, 2, 3, 4])
        + b"labels\n"
        + bytes([0, 0, 0, 0, 1, 0, 0, 0])
        + b"class 1\na"
        + b"class 2\n"
        + "é".encode()
    ).hexdigest()
    assert data.fingerprint() == expected


def test_fingerprint_does_not_see_memory_layout() -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    plain = Dataset("d", "s", Split(x, None), ())
    columns = Dataset("d", "s", Split(np.asfortranarray(x), None), ())
    assert plain.fingerprint() == columns.fingerprint()


@given(st.permutations(["a", "b", "c", "d"]), st.lists(st.integers(0, 2), min_size=1, max_size=8))
def test_matching_keeps_every_name(order: list[str], labels: list[int]) -> None:
    names = ("a", "b", "c")
    data = Dataset("d", "s", split(labels), names, test=split(labels[::-1]))
    matched = match_classes(data, order)
    assert matched.classes == tuple(order)
    for before, after in ((data.train, matched.train), (data.test, matched.test)):
        assert [order[i] for i in after.labels] == [names[i] for i in before.labels]
        assert after.labels.dtype == np.int32


def test_matching_refuses_a_class_the_model_does_not_know() -> None:
    data = Dataset("d", "s", split([0, 1]), ("cat", "dgo"))
    with pytest.raises(DataError, match=r"'dgo' is unknown to the model.*did you mean 'dog'"):
        match_classes(data, ("cat", "dog"))
    unused = Dataset("d", "s", split([0, 0]), ("cat", "dgo"))
    assert match_classes(unused, ("dog", "cat")).train.labels.tolist() == [1, 1]
    unlabelled = Dataset("d", "s", Split(data.train.features, None), ())
    assert match_classes(unlabelled, ("cat", "dog")).train.labels is None


def test_describe_counts_what_is_there() -> None:
    x = np.array([[1, 5, 0], [2, 5, 0], [4, 5, 0]], np.float32)
    data = Dataset(
        "d",
        "somewhere",
        Split(x, np.array([0, 1, 1], np.int32)),
        ("a", "b"),
        test=Split(x[:1], np.array([0], np.int32)),
    )
    facts = describe(data)
    assert facts["constant_features"] == 2
    assert (facts["lowest"], facts["highest"]) == (0.0, 5.0)
    assert facts["splits"]["train"] == {"examples": 3, "classes": {"a": 1, "b": 2}}
    assert facts["splits"]["test"] == {"examples": 1, "classes": {"a": 1, "b": 0}}
    assert facts["bytes"] == 4 * 3 * 4
    assert len(facts["obstacles"]) == 1
    assert json.loads(json.dumps(facts)) == facts
    text = summarize(data)
    assert "2 of 3 constant" in text
    assert "obstacle: d: class 'b' is in train but has no examples in test" in text


def test_digits_are_the_built_in_ones() -> None:
    from sklearn.datasets import load_digits

    data = load("digits")
    assert data.train.features.shape == (1797, 8, 8, 1)
    assert data.train.features.dtype == np.float32
    assert data.is_image
    np.testing.assert_array_equal(data.train.features.reshape(1797, 64), load_digits().data)
    np.testing.assert_array_equal(data.train.labels, load_digits().target)
    assert data.classes == tuple("0123456789")
    check_trainable(data)
    assert load(data) is data


def test_digits_come_from_the_loader_where_the_file_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    here = load("digits").fingerprint()
    monkeypatch.setattr(builtin, "find_spec", lambda name: None)
    assert load("digits").fingerprint() == here


def test_summary_of_many_classes_is_cut() -> None:
    labels = list(range(30))
    text = summarize(Dataset("d", "s", split(labels), tuple(f"c{i}" for i in labels)))
    assert "and 10 more classes" in text
    assert "c25" not in text


def test_grey_images_become_rgb_for_a_colour_model():
    grey = Dataset("g", "made", Split(np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1), None), ("a", "b"))
    colour = match_channels(grey, (3, 4, 3))
    np.testing.assert_array_equal(colour.train.features, np.repeat(grey.train.features, 3, axis=3))
    assert match_channels(grey, (3, 4, 1)) is grey
    assert match_channels(grey, (5, 4, 3)) is grey  # another size is no matter of channels

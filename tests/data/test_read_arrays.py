"""Pairs of arrays, dicts, .npz, .npy: names, dtypes, shapes, labels."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from thalweg.data import check_trainable, checks, describe, load
from thalweg.errors import DataError, UsageError

X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
Y = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    "kind", [np.float16, np.float64, np.int8, np.int32, np.int64, np.uint16, np.bool_, ">f4", ">i2"]
)
def test_numbers_become_float32(kind: Any) -> None:
    x = (X * 10).astype(kind)
    data = load((x, Y))
    assert data.train.features.dtype == np.float32
    assert data.train.features.dtype.isnative
    np.testing.assert_array_equal(data.train.features, x.astype(np.float32))


def test_uint8_and_float32_stay_as_they_are_without_a_copy() -> None:
    for x in (X, (X * 10).astype(np.uint8), X.copy(order="F")):
        x.flags.writeable = False
        assert np.shares_memory(load((x, Y)).train.features, x)
        assert load((x, Y)).train.features.dtype == x.dtype


def test_images_get_a_channel() -> None:
    x = np.zeros((6, 4, 5), np.uint8)
    assert load((x, Y)).train.features.shape == (6, 4, 5, 1)
    assert load((np.zeros((6, 4, 5, 3)), Y)).feature_shape == (4, 5, 3)
    with pytest.raises(DataError, match=r"channels first.*transpose\(0, 2, 3, 1\)"):
        load((np.zeros((6, 3, 32, 32), np.uint8), Y))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(6), r"shape \(6,\)"),
        (np.zeros((6, 2, 2, 2, 2)), "give"),
        (np.zeros((0, 3)), "nothing in them"),
        (np.zeros((6, 0)), "nothing in them"),
        (np.array([["a", "b"]] * 6), "<U1"),
        (np.array([[None, 1]] * 6), "Python objects"),
        (np.zeros((6, 2), complex), "complex128"),
        (np.zeros((6, 2), "M8[s]"), "datetime64"),
        ([[1, 2], [3]], "rectangular"),
        (np.array([[1e39, 0.0]] * 6), r"6 entries are not finite in float32; the first is 1e\+39 in row 0"),
        (np.array([[0.0, np.nan]] * 6), "6 entries are not finite in float32; the first is nan in row 0, feature 1"),
        (np.array([[0.0, -np.inf]] * 6, np.float32), "the first is -inf in row 0, feature 1"),
    ],
)
def test_features_that_cannot_be_used(x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load((x, Y))


def test_sparse_matrices_are_refused_by_name() -> None:
    from scipy import sparse

    with pytest.raises(DataError, match="toarray"):
        load((sparse.eye(6).tocsr(), Y))


@given(
    npst.arrays(np.float32, (7, 3), elements=st.floats(-9, 9, width=32)),
    st.sets(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=4),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.integers(1, 100),
)
def test_the_finite_check_finds_all_and_names_the_first(
    x: np.ndarray, places: set[tuple[int, int]], value: float, chunk: int
) -> None:
    for place in places:
        x[place] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "CHUNK_BYTES", chunk)
        if not places:
            checks.check_finite(x, "here")
            return
        row, column = min(places)
        with pytest.raises(DataError, match=f"{len(places)} entries.*row {row}, feature {column},"):
            checks.check_finite(x, "here")


def test_the_finite_check_does_not_overflow() -> None:
    """Two of the largest float32 numbers sum to infinity in float32, not in float64."""
    checks.check_finite(np.full((2, 2), np.finfo(np.float32).max), "here")


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (Y, ("0", "1", "2")),
        (Y.astype(np.float64) * 10, ("0", "10", "20")),
        (Y[:, np.newaxis], ("0", "1", "2")),
        ([5, -1, 5, 5, -1, 5], ("-1", "5")),
        (Y == 1, ("False", "True")),
        (["b", "a", "b", "é", "a", "b"], ("a", "b", "é")),
        (np.array(["10", "9", "2", "9", "10", "2"]), ("2", "9", "10")),
        (np.array([b"cat", b"dog"] * 3), ("cat", "dog")),
        (np.array(["x", "y"] * 3, dtype=object), ("x", "y")),
        (np.array([1, 2] * 3, dtype=object), ("1", "2")),
        (np.array([2**63 + 1, 0] * 3, np.uint64), ("0", str(2**63 + 1))),
    ],
)
def test_labels_of_every_kind_keep_their_names(y: Any, classes: tuple[str, ...]) -> None:
    data = load((X, y))
    assert data.classes == classes
    assert data.train.labels.dtype == np.int32
    expected = [one.decode() if isinstance(one, bytes) else one for one in np.asarray(y).ravel().tolist()]
    expected = [int(one) if isinstance(one, float) else one for one in expected]
    assert [classes[i] for i in data.train.labels] == list(map(str, expected))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.arange(5), "6 examples but 5 labels"),
        ([0.5, 1, 2, 3, 4, 5], "example 0 .counted from 0. cannot be used: the label 0.5 is no whole number"),
        (["0.5", "1.5"] * 3, "the label 0.5 is no whole number"),
        ([0, 1, np.nan, 0, 1, 0], "example 2 .counted from 0. is missing"),
        (np.array(["a", None] * 3, dtype=object), "example 1 .counted from 0. is missing"),
        (["a", " "] * 3, "example 1 .counted from 0. is empty"),
        (np.array(["a", 1] * 3, dtype=object), "kinds int, str"),
        (np.eye(6), r"y.argmax\(axis=1\)"),
        (np.zeros((6, 2, 2)), r"shape \(6, 2, 2\)"),
        (np.array([b"\xff", b"a"] * 3), "give the labels as text"),
        (np.zeros(6, complex), "complex128"),
    ],
)
def test_labels_that_cannot_be_used(y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load((X, y))


def test_one_class_loads_but_does_not_train() -> None:
    data = load((X, np.zeros(6, int)))
    with pytest.raises(DataError, match="all of class '0'"):
        check_trainable(data)


def test_what_is_no_data() -> None:
    for thing in (X, None, 5, (X, Y, Y), "", b"x"):
        with pytest.raises((UsageError, DataError)):
            load(thing)
    assert load(X, labelled=False).train.labels is None
    assert load(X.tolist(), labelled=False).feature_shape == (3,)
    assert len(load([[1, 2], [3, 4]], labelled=False).train) == 2


PARTS = {"X_train": X, "y_train": Y, "X_test": X[:3] + 1, "y_test": Y[:3]}


@pytest.mark.parametrize(
    "names",
    [
        ("X_train", "y_train", "X_test", "y_test"),
        ("x_train", "Y_train", "x_TEST", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("train_x", "train_y", "test_x", "test_y"),
        ("data", "target", "test_data", "test_target"),
        ("features", "labels", "features_testing", "labels_testing"),
        ("images", "label", "images_test", "targets_test"),
    ],
)
@pytest.mark.parametrize("container", ["dict", "npz", "compressed", "folder"])
def test_the_grammar_of_names(tmp_path: Path, names: tuple[str, ...], container: str) -> None:
    arrays = dict(zip(names, PARTS.values(), strict=True))
    source: Any = arrays
    if container == "folder":
        source = tmp_path
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
    elif container != "dict":
        source = tmp_path / "a.npz"
        (np.savez if container == "npz" else np.savez_compressed)(source, **arrays, comment=np.array("text"))
    data = load(source)
    np.testing.assert_array_equal(data.train.features, X)
    np.testing.assert_array_equal(data.train.labels, Y)
    np.testing.assert_array_equal(data.test.features, X[:3] + 1)
    np.testing.assert_array_equal(data.test.labels, Y[:3])
    assert isinstance(data.train.features, np.memmap) == (container == "folder")


def test_class_and_feature_names_come_along(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        X=X,
        y=Y,
        classes=np.array(["cat", "dog", "cow"]),
        feature_names=["f", "g", "h"],
        X_val=X,
        y_val=Y,
    )
    data = load(tmp_path / "a.npz")
    assert data.classes == ("cat", "dog", "cow")
    assert data.feature_names == ("f", "g", "h")
    assert data.train.labels.tolist() == Y.tolist()
    assert data.validation is not None
    assert data.name == "a"
    np.savez(tmp_path / "b.npz", X=X, y=np.array(["cow", "dog"] * 3), class_names=np.array([b"cat", b"dog", b"cow"]))
    assert load(tmp_path / "b.npz").train.labels.tolist() == [2, 1] * 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X, "b": Y}, "no features among 'a', 'b'"),
        ({}, "no features among nothing"),
        ({"X": X}, "'X' has no labels"),
        ({"y": Y}, "no features among 'y'"),
        ({"X": X, "y": Y, "X_test": X}, "'X_test' has no labels"),
        ({"X": X, "y": Y, "y_test": Y}, "'y_test' has no features"),
        ({"X": X, "x_train": X, "y": Y}, "both hold the features of train"),
        ({"X": X, "y": Y, "classes": np.array(["a", "b"])}, r"the label of example 2 is 2.*outside \[0, 2\)"),
        ({"X": X, "y": Y - 1, "classes": np.array(["a", "b", "c"])}, "the label of example 0 is -1"),
        ({"X": X, "y": list("abcabd"), "classes": np.array(["a", "b", "c"])}, "'d' is not among the class names"),
        ({"X": X, "y": Y, "classes": np.zeros((2, 2))}, "give a list of names"),
        ({"X": X, "y": Y, "classes": np.array(["a", "a", "b"])}, "'a' stands twice"),
        ({"X": X, "y": Y, "X_test": X[:, :2], "y_test": Y}, r"test examples are float32 \(2,\)"),
        ({"X": X, "y": Y, "X_test": X.astype(np.uint8), "y_test": Y}, "train is float32, test is uint8"),
        ({"X": X, "y": Y, "X_test": X, "y_test": list("abcabc")}, "text in one split and numbers in another"),
        ({"X": X * np.nan, "y": Y, "feature_names": ["f", "g", "h"]}, r"feature 0 \(f\)"),
    ],
)
def test_named_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    for source in (arrays, tmp_path / "a.npz"):
        with pytest.raises(DataError, match=message):
            load(source)


def test_classes_that_differ_between_splits() -> None:
    data = load({"X": X, "y": Y, "X_test": X, "y_test": Y + 1})
    assert data.classes == ("0", "1", "2", "3")
    with pytest.raises(DataError, match=r"class '3' is in test.*; .*class '0' is in train"):
        check_trainable(data)


@pytest.mark.parametrize("name", ["a.npz", "X.npy"])
def test_objects_are_refused_without_being_read(tmp_path: Path, name: str) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("the pickle ran",))

    evil = np.array([Trap(), 1], dtype=object)
    np.save(tmp_path / "y.npy", Y)
    if name == "a.npz":
        np.savez(tmp_path / name, X=evil, y=Y, allow_pickle=True)
    else:
        np.save(tmp_path / name, evil, allow_pickle=True)
    with pytest.raises(DataError, match=r"Python objects .a pickle.*refused"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        ("X", "y"),
        ("x", "Y"),
        ("features", "labels"),
        ("X_train", "y_train"),
        ("test_images", "test_labels"),
        ("clip", "clip_labels"),
        ("clip", "labels"),
        ("clip", "y"),
    ],
)
def test_npy_finds_its_labels_beside_it(tmp_path: Path, features: str, labels: str) -> None:
    np.save(tmp_path / f"{features}.npy", X)
    np.save(tmp_path / f"{labels}.npy", Y)
    np.save(tmp_path / "classes.npy", np.array(["a", "b", "c"]))
    data = load(tmp_path / f"{features}.npy")
    assert isinstance(data.train.features, np.memmap)
    np.testing.assert_array_equal(data.train.features, X)
    assert data.train.labels.tolist() == Y.tolist()
    assert data.classes == ("a", "b", "c")
    assert data.name == features
    np.testing.assert_array_equal(load((tmp_path / f"{features}.npy", tmp_path / f"{labels}.npy")).train.features, X)


def test_npy_without_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", X)
    with pytest.raises(DataError, match=r"no labels beside it .tried clip_labels.npy, labels.npy, y.npy"):
        load(tmp_path / "clip.npy")
    assert load(tmp_path / "clip.npy", labelled=False).train.labels is None
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(DataError, match="holds labels by its name"):
        load(tmp_path / "y.npy")


def test_npy_stays_on_disk(tmp_path: Path) -> None:
    """A file of 128 MiB is checked for finite numbers, fingerprinted and described piece by piece."""
    np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, (2**18, 2**7)).flush()
    np.save(tmp_path / "y.npy", np.arange(2**18) % 2)
    tracemalloc.start()
    data = load(tmp_path / "X.npy")
    describe(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(data.train.features, np.memmap)
    assert peak < 24 * 2**20


def test_npy_of_another_length_than_its_header_says(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", Y)
    buffer = io.BytesIO()
    np.save(buffer, X)
    whole = buffer.getvalue()
    for length in range(len(whole)):
        (tmp_path / "X.npy").write_bytes(whole[:length])
        with pytest.raises(DataError):
            load(tmp_path / "X.npy")
    (tmp_path / "X.npy").write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="longer than it says"):
        load(tmp_path / "X.npy")


def test_an_npz_header_that_asks_for_the_world(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**10)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("X.npy", header.getvalue() + bytes(100))
        file.writestr("y.npy", header.getvalue())
    with pytest.raises(DataError, match="is truncated: its header tells of 4,503,"):
        load(tmp_path / "a.npz")


def test_fortran_order_round_trips(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.asfortranarray(X), y=Y)
    np.testing.assert_array_equal(load(tmp_path / "a.npz").train.features, X)


@given(
    npst.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64, np.int16]),
        st.tuples(st.integers(1, 5), st.integers(1, 4)),
        elements={"min_value": 0, "max_value": 100},
    ),
    st.data(),
)
def test_npz_round_trip(tmp_path_factory: pytest.TempPathFactory, x: np.ndarray, data: st.DataObject) -> None:
    y = data.draw(npst.arrays(np.int64, len(x), elements=st.integers(-5, 5)))
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    np.savez(path, X=x, y=y)
    read = load(path)
    np.testing.assert_array_equal(read.train.features, x.astype(np.float32))
    assert [int(read.classes[i]) for i in read.train.labels] == y.tolist()

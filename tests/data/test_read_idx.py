"""IDX files: round trips, names, and every way to be damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from datafiles import idx, images

from thalweg.data import load
from thalweg.errors import DataError

TRAIN, TEST = images(6, 7, 5, 1)[..., 0], images(3, 7, 5, 1, seed=1)[..., 0]
Y = np.array([3, 1, 4, 1, 3, 4], np.uint8)


def write(folder: Path, zipped: bool = False, separator: str = "-", prefix: str = "") -> Path:
    parts = {"train-images": TRAIN, "train-labels": Y, "t10k-images": TEST, "t10k-labels": Y[:3]}
    for name, array in parts.items():
        path = folder / f"{prefix}{name}{separator}idx{array.ndim}-ubyte{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    return folder


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("prefix", ["", "emnist-letters-"])
def test_a_folder_of_four_files(tmp_path: Path, zipped: bool, separator: str, prefix: str) -> None:
    data = load(write(tmp_path, zipped, separator, prefix))
    np.testing.assert_array_equal(data.train.features[..., 0], TRAIN)
    np.testing.assert_array_equal(data.test.features[..., 0], TEST)
    assert data.feature_shape == (7, 5, 1)
    assert data.train.features.dtype == np.uint8
    assert data.classes == ("1", "3", "4")
    assert [data.classes[i] for i in data.train.labels] == list("314134")
    assert data.source == ("IDX, gzip" if zipped else "IDX")


def test_one_images_file_finds_its_labels(tmp_path: Path) -> None:
    data = load(write(tmp_path) / "t10k-images-idx3-ubyte")
    np.testing.assert_array_equal(data.train.features[..., 0], TEST)
    assert data.test is None
    (tmp_path / "my-images.idx").write_bytes(idx(TRAIN))
    with pytest.raises(DataError, match="no labels file beside it"):
        load(tmp_path / "my-images.idx")
    assert load(tmp_path / "my-images.idx", labelled=False).train.labels is None
    (tmp_path / "my-labels.idx").write_bytes(idx(Y))
    assert len(load(tmp_path / "my-images.idx").train) == 6
    (tmp_path / "images").write_bytes(idx(TRAIN))  # known by its first bytes alone
    (tmp_path / "labels").write_bytes(idx(Y))
    assert len(load(tmp_path / "images").train) == 6
    with pytest.raises(DataError, match="give the path of the images file"):
        load(tmp_path / "train-labels-idx1-ubyte")


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_every_type_of_entry(tmp_path: Path, kind: str) -> None:
    x = (TRAIN // 3).astype(kind)
    (tmp_path / "x-images.idx3").write_bytes(idx(x))
    (tmp_path / "x-labels.idx1").write_bytes(idx(Y.astype(np.int32)))
    data = load(tmp_path / "x-images.idx3")
    np.testing.assert_array_equal(data.train.features[..., 0], x)
    assert data.train.features.dtype == (np.uint8 if kind == "u1" else np.float32)
    assert data.classes == ("1", "3", "4")


def test_plain_is_read_where_both_are_there(tmp_path: Path) -> None:
    write(tmp_path, zipped=True)
    write(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bbroken")
    assert len(load(tmp_path).train) == 6


@pytest.mark.parametrize("zipped", [False, True])
def test_truncated_and_too_long_files(tmp_path: Path, zipped: bool) -> None:
    write(tmp_path, zipped)
    path = tmp_path / f"train-images-idx3-ubyte{'.gz' if zipped else ''}"
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="train-images"):
            load(tmp_path)
    longer = idx(TRAIN) + b"\0"
    path.write_bytes(gzip.compress(longer) if zipped else longer)
    with pytest.raises(DataError, match="is longer than its header's"):
        load(tmp_path)


def test_a_gzip_bomb_is_read_no_further_than_its_header_says(tmp_path: Path) -> None:
    write(tmp_path, zipped=True)
    bomb = gzip.compress(idx(TRAIN) + bytes(2**26), 9)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(bomb)
    with pytest.raises(DataError, match="is longer than its header's"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\0\1\x08\3", "is no IDX file: it starts with 0001 08 03"),
        (b"\0\0\x07\3", "0000 07 03"),
        (b"\0\0\x08\0", "0000 08 00"),
        (b"\0\0\x08\x09", "0000 08 09"),
        (b"PK\3\4", "504b 03 04"),
    ],
)
def test_the_magic_number_is_checked(tmp_path: Path, start: bytes, message: str) -> None:
    path = write(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(start + path.read_bytes()[4:])
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_header_that_asks_for_the_world(tmp_path: Path) -> None:
    path = write(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\3" + b"\xff" * 12)
    with pytest.raises(DataError, match="GiB, this machine has"):
        load(tmp_path)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(Y[:5]))
    with pytest.raises(DataError, match="6 examples but 5 labels"):
        load(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(TRAIN))
    with pytest.raises(DataError, match="as images do; labels have one"):
        load(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(Y))
    with pytest.raises(DataError, match="as labels do; images have three"):
        load(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match="'train-labels-idx1-ubyte' has no images file"):
        load(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="files for test but none for train"):
        load(tmp_path)


def test_several_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path, prefix="emnist-letters-")
    write(tmp_path, prefix="emnist-digits-")
    with pytest.raises(DataError, match=r"several data sets .emnist-digits, emnist-letters."):
        load(tmp_path)
    assert len(load(tmp_path / "emnist-digits-train-images-idx3-ubyte").train) == 6


def test_missing_test_labels(tmp_path: Path) -> None:
    (write(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: no labels file"):
        load(tmp_path)

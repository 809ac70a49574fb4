"""`load`: finding the reader, and what it says where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from thalweg.data import check_trainable, load
from thalweg.data.load import READERS
from thalweg.errors import DataError, UsageError


def test_a_missing_path_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "flowers.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"flower.zip: no such file or folder .did you mean 'flowers.zip'.*'digits'"):
        load(tmp_path / "flower.zip")
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "no" / "such" / "thing")
    for odd in ("a\0b", "x" * 5000, "digit"):
        with pytest.raises(DataError):
            load(odd)


def test_digits_is_the_name_and_a_path_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert load("digits").name == "digits"
    for path in (Path("digits"), "./digits"):
        with pytest.raises(DataError, match="holds no images"):
            load(path)
    with pytest.raises(UsageError, match="label is 'x', but digits"):
        load("digits", label="x")
    with pytest.raises(UsageError, match="image_size is given, but digits"):
        load("digits", image_size=8)


def test_an_unknown_format_lists_the_known(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(DataError, match="its format is not known") as caught:
        load(tmp_path / "a.h5")
    for reader in READERS:
        assert reader.name in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "a.npz",
        "a.npy",
        "a.csv",
        "a.csv.gz",
        "a.parquet",
        "a.bin",
        "a.zip",
        "a.tar",
        "a.tar.gz",
        "a.tar.xz",
        "a.tar.bz2",
        "train-images-idx3-ubyte",
        "x",
    ],
)
def test_an_empty_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=name):
        load(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.csv", "a.parquet", "a.zip", "a.tar", "images-idx3-ubyte", "d"])
def test_a_system_error_names_the_path(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file without permission to read does; the tests may run as root, who may read everything."""
    path = tmp_path / name
    if name == "d":
        path.mkdir()
    else:
        path.write_bytes(b"PK\3\4")
    np.save(tmp_path / "y.npy", [0, 1])
    real_open, real_scan = Path.open, __import__("os").scandir

    def deny(*arguments: object, **options: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", lambda self, *a, **o: deny() if self == path else real_open(self, *a, **o))
    monkeypatch.setattr("os.scandir", lambda p: deny() if Path(p) == path else real_scan(p))
    monkeypatch.setattr("os.listdir", deny)
    monkeypatch.setattr("zipfile.ZipFile", deny)
    if name == "a.parquet":
        monkeypatch.setattr("pyarrow.parquet.ParquetFile", deny)
    with pytest.raises(DataError, match=rf"{name}: cannot be read: .*[Pp]ermission denied"):
        load(path)


def test_image_size_needs_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.zeros((4, 2)), y=[0, 1, 0, 1])
    with pytest.raises(UsageError, match="holds no image files to resize"):
        load(tmp_path / "a.npz", image_size=4)
    check_trainable(load(str(tmp_path / "a.npz")))


def test_reading_needs_no_jax(tmp_path: Path) -> None:
    code = "import sys, thalweg.data as d; d.load('digits'); print([m for m in ('jax', 'torch') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.strip() == "[]"

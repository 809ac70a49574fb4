"""Damaged bytes into every reader: a Dataset or a ThalwegError comes out, nothing else.

Random bytes rarely get past a magic number, so most cases start from a valid file and flip, cut, repeat or overwrite
parts of it.
"""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datafiles import cifar_records, class_files, idx, images, png, write_tar, write_zip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from thalweg.data import Dataset, describe, load
from thalweg.errors import ThalwegError

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 0, 1])


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def written(write: Callable[[Path, dict[str, bytes]], Path], name: str, tmp: Path) -> bytes:
    return write(tmp / name, class_files({"train/a": 1, "train/b": 1, "test/a": 1, "test/b": 1})[0]).read_bytes()


@cache
def seeds(tmp: Path) -> dict[str, bytes]:
    """A valid file of every format, by the name under which it is read."""
    table = pa.table({"f": [1.0, 2.0], "g": [[1.0], [2.0]], "label": ["a", "b"]})
    lists = pa.table({"f": [[1.0, 2.0], [3.0, 4.0]], "label": ["a", "b"]})
    csv = b'f,g,label,split\n1,2.5,"a",train\n3,-4e5,"b,c",test\n'
    return {
        "a.npz": saved(lambda f: np.savez(f, X=X, y=Y, X_test=X, y_test=Y, classes=np.array(["a", "b"]))),
        "b.npz": saved(lambda f: np.savez_compressed(f, X=X, y=Y)),
        "X.npy": saved(lambda f: np.save(f, X)),
        "a.csv": csv,
        "a.csv.gz": gzip.compress(csv),
        "a.tsv": csv.replace(b",", b"\t"),
        "a.parquet": saved(lambda f: parquet.write_table(table.drop_columns("g"), f)),
        "b.parquet": saved(lambda f: parquet.write_table(lists, f, compression="zstd")),
        "a.bin": cifar_records(images(2, 32, 32), Y),
        "b.bin": cifar_records(images(2, 32, 32), Y, Y),
        "train-images-idx3-ubyte": idx(images(4, 3, 3, 1)[..., 0]),
        "train-images-idx3-ubyte.gz": gzip.compress(idx(images(4, 3, 3, 1)[..., 0])),
        "a.zip": written(write_zip, "a.zip", tmp),
        "a.tar": written(write_tar, "a.tar", tmp),
        "a.tar.gz": written(write_tar, "a.tar.gz", tmp),
        "a.tar.xz": written(write_tar, "a.tar.xz", tmp),
        "a.tar.bz2": written(write_tar, "a.tar.bz2", tmp),
    }


NAMES = (
    "a.npz",
    "b.npz",
    "X.npy",
    "a.csv",
    "a.csv.gz",
    "a.tsv",
    "a.parquet",
    "b.parquet",
    "a.bin",
    "b.bin",
    "train-images-idx3-ubyte",
    "train-images-idx3-ubyte.gz",
    "a.zip",
    "a.tar",
    "a.tar.gz",
    "a.tar.xz",
    "a.tar.bz2",
)


@st.composite
def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """The same bytes with one to four changes."""
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(out) - 1)))
        match draw(st.sampled_from(["flip", "cut", "insert", "overwrite", "remove", "repeat"])):
            case "flip" if out:
                out[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del out[place:]
            case "insert":
                out[place:place] = draw(st.binary(min_size=1, max_size=9))
            case "overwrite":
                new = draw(
                    st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80", b"nan", b"/.."])
                )
                out[place : place + len(new)] = new
            case "remove":
                del out[place : place + draw(st.integers(1, 64))]
            case "repeat":
                out += out[place:]
    return bytes(out)


def attempt(path: Path, **options: object) -> None:
    """Load; whatever comes back must hold what a Dataset promises."""
    try:
        data = load(path, **options)
    except ThalwegError:
        return
    assert isinstance(data, Dataset)
    for _, split in data.splits():
        assert np.isfinite(split.features).all()
        assert split.labels is None or (0 <= split.labels.min() <= split.labels.max() < len(data.classes))
    describe(data)


FUZZ = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.parametrize("name", NAMES)
@FUZZ
@given(case=st.data())
def test_damaged_files(tmp_path: Path, name: str, case: st.DataObject) -> None:
    folder = tmp_path / "files"
    folder.mkdir(exist_ok=True)
    np.save(folder / "y.npy", Y)
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(Y.astype(np.uint8)))
    valid = seeds(tmp_path)[name]
    (folder / name).write_bytes(case.draw(damage(valid)))
    attempt(folder / name, skip_bad=case.draw(st.booleans()))


@pytest.mark.parametrize("name", NAMES)
def test_the_undamaged_files_load(tmp_path: Path, name: str) -> None:
    """Else the fuzzing above would start from files that are refused at once."""
    np.save(tmp_path / "y.npy", Y)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(Y.astype(np.uint8)))
    (tmp_path / name).write_bytes(seeds(tmp_path)[name])
    assert len(load(tmp_path / name).train) >= 1


@pytest.mark.parametrize("name", NAMES)
@settings(FUZZ, max_examples=25)
@given(data=st.binary(max_size=300))
def test_random_bytes(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    attempt(tmp_path / name, labelled=False)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.tar.gz", gzip.compress),
        ("a.tar.xz", lzma.compress),
        ("a.csv.gz", gzip.compress),
        ("train-images-idx3-ubyte.gz", gzip.compress),
    ],
)
@FUZZ
@given(case=st.data())
def test_damage_below_the_compression(tmp_path: Path, name: str, pack: Callable, case: st.DataObject) -> None:
    """A checksum guards a compressed file, so damage to it is seen at once; here the content is damaged instead."""
    inner = seeds(tmp_path)["a.tar" if ".tar" in name else name.removesuffix(".gz")]
    (tmp_path / name).write_bytes(pack(case.draw(damage(inner))))
    attempt(tmp_path / name, labelled=False)


KINDS = {"PNG": {}, "JPEG": {}, "BMP": {}, "GIF": {}, "TIFF": {"compression": "tiff_lzw"}, "PPM": {}, "WEBP": {}}


@pytest.mark.parametrize("kind", KINDS)
@settings(FUZZ, max_examples=80)
@given(case=st.data())
def test_damaged_images(tmp_path: Path, kind: str, case: st.DataObject) -> None:
    valid = png(images(1, 12, 9)[0], kind, **KINDS[kind])
    files = {"a/0.img": valid, "a/1.img": case.draw(damage(valid)), "b/0.img": valid}
    path = write_zip(tmp_path / "a.zip", {name.replace("img", "png"): data for name, data in files.items()})
    attempt(path, skip_bad=case.draw(st.booleans()))


@FUZZ
@given(
    st.lists(
        st.sampled_from(
            [
                "cat",
                "train",
                "test",
                "val",
                ".",
                "..",
                "README.md",
                "0.png",
                "x.png",
                "",
                "__MACOSX",
                "data_batch_1.bin",
                "train.csv",
                "C:",
                "a\0b",
                "é",
                "\udcff",
            ]
        ),
        min_size=1,
        max_size=5,
    ).map("/".join),
    st.binary(max_size=40),
)
def test_names_of_members(tmp_path: Path, name: str, data: bytes) -> None:
    files = {**class_files({"train/cat": 1, "train/dog": 1})[0], name: data}
    for writer, archive in ((write_tar, "a.tar"), (write_zip, "a.zip")):
        try:
            writer(tmp_path / archive, files)
        except (ValueError, IndexError):
            continue  # the writer cannot express this name
        attempt(tmp_path / archive, labelled=False)
        attempt(tmp_path / archive)


@FUZZ
@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [
                    "1",
                    "-2.5",
                    "nan",
                    "",
                    "a",
                    "label",
                    "split",
                    "image",
                    "train",
                    "1e400",
                    '"',
                    "../x.png",
                    " ",
                    "0x1",
                    "1_0",
                    "é",
                ]
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=5,
    )
)
def test_tables_of_odd_cells(tmp_path: Path, rows: list[list[str]]) -> None:
    (tmp_path / "a.csv").write_text("\n".join(map(",".join, rows)))
    attempt(tmp_path / "a.csv")
    attempt(tmp_path / "a.csv", labelled=False, skip_bad=True)


def test_a_gzip_member_with_a_lying_trailer_is_refused(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"f,label\n1,a\n2,b\n"))
    data[-8:-4] = zlib.crc32(b"other").to_bytes(4, "little")
    (tmp_path / "a.csv.gz").write_bytes(data)
    with pytest.raises(ThalwegError, match="damaged or truncated"):
        load(tmp_path / "a.csv.gz")

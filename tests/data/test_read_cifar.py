"""CIFAR's binary files, in a folder, in the official archive's form, and alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datafiles import cifar_records, images, png, write_folder, write_tar

from thalweg.data import load
from thalweg.errors import DataError, UsageError

PIXELS = images(30, 32, 32)
LABELS = np.arange(30) % 10
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
META = ("\n".join(NAMES) + "\n\n").encode()
FINE = np.arange(30) * 3
COARSE = np.arange(30) % 20


def cifar10(prefix: str = "") -> dict[str, bytes]:
    files = {
        f"{prefix}data_batch_{b + 1}.bin": cifar_records(PIXELS[5 * b : 5 * b + 5], LABELS[5 * b : 5 * b + 5])
        for b in range(5)
    }
    return {
        **files,
        f"{prefix}test_batch.bin": cifar_records(PIXELS[25:], LABELS[25:]),
        f"{prefix}batches.meta.txt": META,
        f"{prefix}readme.html": b"<html>",
    }


def cifar100(prefix: str = "") -> dict[str, bytes]:
    return {
        f"{prefix}train.bin": cifar_records(PIXELS[:20], COARSE[:20], FINE[:20]),
        f"{prefix}test.bin": cifar_records(PIXELS[20:], COARSE[20:], FINE[20:]),
        f"{prefix}fine_label_names.txt": "\n".join(f"fine{i}" for i in range(100)).encode(),
        f"{prefix}coarse_label_names.txt": "\n".join(f"coarse{i}" for i in range(20)).encode(),
    }


@pytest.mark.parametrize("place", ["folder", "wrapped", "cifar-10-binary.tar.gz"])
def test_cifar10(tmp_path: Path, place: str) -> None:
    if place == "folder":
        path = write_folder(tmp_path / "c", cifar10())
    elif place == "wrapped":
        path = write_folder(tmp_path / "c", cifar10("cifar-10-batches-bin/"))
    else:
        path = write_tar(tmp_path / place, cifar10("cifar-10-batches-bin/"), ("cifar-10-batches-bin",))
    data = load(path)
    np.testing.assert_array_equal(data.train.features, PIXELS[:25])
    np.testing.assert_array_equal(data.test.features, PIXELS[25:])
    assert data.train.labels.tolist() == LABELS[:25].tolist()
    assert data.test.labels.tolist() == LABELS[25:].tolist()
    assert data.classes == tuple(NAMES)
    assert data.source == "CIFAR-10 binary"


def test_ten_batches_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = {f"data_batch_{b + 1}.bin": cifar_records(PIXELS[b : b + 1], LABELS[b : b + 1]) for b in range(11)}
    data = load(write_folder(tmp_path / "c", files))
    np.testing.assert_array_equal(data.train.features, PIXELS[:11])
    assert data.test is None
    assert data.classes == tuple("0123456789")


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize(("label", "expected"), [(None, FINE), ("fine", FINE), ("coarse", COARSE)])
def test_cifar100(tmp_path: Path, archive: bool, label: str | None, expected: np.ndarray) -> None:
    files = cifar100("cifar-100-binary/")
    path = write_tar(tmp_path / "c.tar.gz", files) if archive else write_folder(tmp_path / "c", files)
    data = load(path, label=label)
    np.testing.assert_array_equal(data.train.features, PIXELS[:20])
    np.testing.assert_array_equal(data.test.features, PIXELS[20:])
    kind = label or "fine"
    assert [data.classes[i] for i in data.train.labels] == [f"{kind}{i}" for i in expected[:20]]
    assert len(data.classes) == (20 if label == "coarse" else 100)


def test_single_files(tmp_path: Path) -> None:
    write_folder(tmp_path, cifar10() | cifar100())
    data = load(tmp_path / "data_batch_2.bin")
    np.testing.assert_array_equal(data.train.features, PIXELS[5:10])
    assert data.classes == tuple(NAMES)
    assert load(tmp_path / "train.bin", label="coarse").train.labels.tolist() == COARSE[:20].tolist()
    (tmp_path / "batches.meta.txt").unlink()
    assert load(tmp_path / "test_batch.bin").classes == tuple("0123456789")


def test_a_record_that_starts_like_an_idx_file(tmp_path: Path) -> None:
    pixels = PIXELS[:1].copy()
    pixels[0, 0, :3, 0] = 0, 8, 3  # after the label 0: IDX's magic number for uint8 in three dimensions
    (tmp_path / "x.bin").write_bytes(cifar_records(pixels, LABELS[:1]))
    np.testing.assert_array_equal(load(tmp_path / "x.bin").train.features, pixels)


def test_truncated_and_mixed_up_files(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "c", cifar10())
    batch = path / "data_batch_3.bin"
    whole = batch.read_bytes()
    for damaged in (whole[:-1], whole + b"\0", b""):
        batch.write_bytes(damaged)
        for source in (path, batch):
            with pytest.raises(DataError, match=r"data_batch_3.bin.*no whole number"):
                load(source)
    batch.write_bytes(bytes([10]) + whole[1:])
    for source in (path, batch):
        with pytest.raises(DataError, match="record 0 has the label 10"):
            load(source)
    batch.unlink()
    with pytest.raises(DataError, match=r"has the batches \[1, 2, 4, 5\]; one is missing"):
        load(path)


def test_other_faults(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "c", cifar10())
    with pytest.raises(UsageError, match="CIFAR-10 has one kind of label"):
        load(path, label="coarse")
    with pytest.raises(UsageError, match="CIFAR-10 has one kind of label"):
        load(path / "test_batch.bin", label="coarse")
    with pytest.raises(UsageError, match="no image files to resize"):
        load(path, image_size=8)
    (path / "batches.meta.txt").write_bytes(b"cat\ndog\n")
    with pytest.raises(DataError, match=r"batches.meta.txt has 2 names; CIFAR-10 has 10"):
        load(path)
    (path / "batches.meta.txt").write_bytes(b"\xff" * 10)
    with pytest.raises(DataError, match=r"batches.meta.txt"):
        load(path)
    only_test = write_folder(tmp_path / "t", {"test_batch.bin": cifar_records(PIXELS[:2], LABELS[:2])})
    with pytest.raises(DataError, match="no training files"):
        load(only_test)
    hundred = write_folder(tmp_path / "h", cifar100())
    with pytest.raises(UsageError, match="'fine' and 'coarse'"):
        load(hundred, label="middle")
    both = write_folder(tmp_path / "b", {"x.bin": bytes(3073 * 3074)})
    with pytest.raises(DataError, match="fits CIFAR-10 and CIFAR-100"):
        load(both / "x.bin")


@pytest.mark.parametrize(
    "files",
    [
        ["cifar-10-batches-py/data_batch_1", "cifar-10-batches-py/test_batch", "cifar-10-batches-py/batches.meta"],
        ["cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"],
    ],
)
def test_the_python_version_is_refused_with_the_way_out(tmp_path: Path, files: list[str]) -> None:
    content = dict.fromkeys(files, b"\x80\x04.")
    for path in (
        write_folder(tmp_path / "c", content),
        write_tar(tmp_path / "cifar-10-python.tar.gz", content),
        tmp_path / "c" / files[0],
    ):
        if path.name in ("train",):
            continue  # a lone file of that name may be anything
        with pytest.raises(DataError, match=r'pickles.*refused. Fetch the "binary version"'):
            load(path)


@pytest.mark.parametrize("name", ["x.pkl", "x.pickle", "x.pt", "x.PTH", "x.joblib"])
def test_pickles_of_any_name_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match=r"is a pickle by its name.*\.npz"):
        load(tmp_path / name)
    with pytest.raises(DataError, match=r"is a pickle by its name.*\.npz"):
        load(write_folder(tmp_path / "d", {name: b"", "cat/0.png": png(PIXELS[0])}))

"""Class folders, in a folder and in every kind of archive: one layout, one result."""

from __future__ import annotations

import io
import os
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from datafiles import class_files, images, png, write_folder, write_tar, write_zip

from thalweg.data import check_trainable, containers, load
from thalweg.errors import DataError, UsageError

ARCHIVES = ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a.txz", "a.tar.bz2", "a.tbz2"]
LAYOUT = {"train/cat": 3, "train/dog": 2, "test/cat": 1, "test/dog": 1, "val/cat": 1, "val/dog": 2}


def write(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        return write_zip(path, files)
    return write_tar(path, files) if "." in path.name else write_folder(path, files)


def same(pixels: dict[str, np.ndarray], split: object) -> None:
    """Each row holds the pixels of the file that it is named after."""
    for row, name in enumerate(split.names):
        np.testing.assert_array_equal(split.features[row], pixels[name])


@pytest.mark.parametrize("name", ["folder", *ARCHIVES])
def test_splits_round_trip_in_every_container(tmp_path: Path, name: str) -> None:
    files, pixels = class_files(LAYOUT)
    shuffled = dict(sorted(files.items(), key=lambda item: hash(item[0][::-1])))  # an archive's order is arbitrary
    data = load(write(tmp_path / name, {**shuffled, "README.md": b"text", "train/cat/.DS_Store": b"x"}))
    assert data.classes == ("cat", "dog")
    assert [(part, len(split)) for part, split in data.splits()] == [("train", 5), ("validation", 3), ("test", 2)]
    assert data.train.names == (
        "train/cat/0.png",
        "train/cat/1.png",
        "train/cat/2.png",
        "train/dog/0.png",
        "train/dog/1.png",
    )
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1]
    for _, split in data.splits():
        same(pixels, split)
    assert data.train.features.dtype == np.uint8
    assert data.name == ("folder" if name == "folder" else "a")
    check_trainable(data)


def test_all_containers_have_one_fingerprint(tmp_path: Path) -> None:
    files, _ = class_files(LAYOUT)
    backwards = dict(reversed(files.items()))
    found = {load(write(tmp_path / name, backwards)).fingerprint() for name in ["folder", *ARCHIVES]}
    assert len(found) == 1


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.tar.gz"])
def test_one_part_with_a_folder_around_it(tmp_path: Path, name: str) -> None:
    files, pixels = class_files({"pets/cat": 2, "pets/dog": 1, "pets/10": 1, "pets/2": 1})
    data = load(str(write(tmp_path / name, files)))
    assert data.classes == ("2", "10", "cat", "dog")
    assert data.test is None
    assert data.train.labels.tolist() == [1, 0, 2, 2, 3]
    same(pixels, data.train)


def test_a_lone_class_folder_is_no_wrapper(tmp_path: Path) -> None:
    files, _ = class_files({"cat": 2})
    data = load(write(tmp_path / "d", files))
    assert data.classes == ("cat",)
    with pytest.raises(DataError, match="all of class 'cat'"):
        check_trainable(data)


def test_deeper_folders_belong_to_their_class(tmp_path: Path) -> None:
    files, _ = class_files({"cat/indoor": 1, "cat/outdoor/night": 1, "dog": 1})
    data = load(write(tmp_path / "d", files))
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 1]


def test_linked_folders_are_read_and_loops_refused(tmp_path: Path) -> None:
    files, _ = class_files({"cat": 1, "dog": 1})
    root = write(tmp_path / "d", files)
    (root / "cow").symlink_to(root / "dog")
    assert load(root).classes == ("cat", "cow", "dog")
    (root / "dog" / "self").symlink_to(root)
    with pytest.raises(DataError, match="contains itself"):
        load(root)


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.tar"])
def test_a_test_only_class_is_named(tmp_path: Path, name: str) -> None:
    files, _ = class_files({"train/cat": 1, "train/dog": 1, "test/cat": 1, "test/dog": 1, "test/cow": 1})
    with pytest.raises(DataError, match="class 'cow' is in test but has no examples in train"):
        check_trainable(load(write(tmp_path / name, files)))


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.tar.gz"])
def test_an_empty_class_folder_is_named(tmp_path: Path, name: str) -> None:
    files, _ = class_files({"train/cat": 1, "train/dog": 1})
    if name == "folder":
        path = write(tmp_path / name, files)
        (path / "train" / "cow").mkdir()
    elif name == "a.zip":
        path = write_zip(tmp_path / name, files, folders=("train/cow",))
    else:
        path = write_tar(tmp_path / name, files, folders=("train/cow",))
    with pytest.raises(DataError, match="class folder 'cow' holds no images"):
        load(path)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"train/cat": 1, "train/dog": 1, "more/cat": 1}, "'more' stands beside the splits"),
        ({"train/cat": 1, "val/cat": 1, "valid/cat": 1}, "name the same split twice"),
        ({"val/cat": 1, "test/cat": 1}, "but no train"),
        ({"test/cat": 1, "test/dog": 1}, "but no train"),
        ({"cat": 1, "dog": 1, ".": 1}, "'0.png' stands outside of any class folder"),
        ({"train/cat": 1, "train": 1}, "'train/0.png' stands outside of any class folder"),
        ({".": 2}, "stands outside of any class folder"),
    ],
)
def test_layouts_that_cannot_be_meant(tmp_path: Path, layout: dict[str, int], message: str) -> None:
    files, _ = class_files(layout)
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "d", files))


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        load(tmp_path / "empty")
    with pytest.raises(DataError, match=r"holds no images .but 'inner.tar.gz'."):
        load(write(tmp_path / "d", {"inner.tar.gz": b"", "notes.txt": b""}))
    with pytest.raises(DataError, match="holds no images"):
        load(write_zip(tmp_path / "a.zip", {}))
    for name in ("a.tar", "a.tar.gz"):
        with pytest.raises(DataError, match="holds no files"):
            load(write_tar(tmp_path / name, {}))


def test_a_foreign_file_among_images_does_not_vanish(tmp_path: Path) -> None:
    files, _ = class_files({"cat": 1, "dog": 1})
    path = write(tmp_path / "d", {**files, "dog/photo.heic": b"....ftypheic"})
    with pytest.raises(DataError, match=r"dog/photo.heic.*not one of JPEG"):
        load(path)
    assert [one.name for one in load(path, skip_bad=True).skipped] == ["dog/photo.heic"]


def test_unlabelled_images_need_no_folders(tmp_path: Path) -> None:
    files, pixels = class_files({".": 2, "deep/er": 1})
    data = load(
        write_zip(tmp_path / "a.zip", {name.removeprefix("./"): d for name, d in files.items()}), labelled=False
    )
    assert data.train.labels is None
    assert data.classes == ()
    assert data.train.names == ("0.png", "1.png", "deep/er/0.png")
    np.testing.assert_array_equal(data.train.features[2], pixels["deep/er/0.png"])
    labelled = load(write(tmp_path / "d", class_files({"cat": 1, "dog": 1})[0]), labelled=False)
    assert labelled.train.labels.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "cat/../../x.png", "C:/x.png"])
def test_a_member_that_climbs_out_is_named(tmp_path: Path, name: str) -> None:
    files = {**class_files({"cat": 1, "dog": 1})[0], name: png(images(1)[0])}
    for archive in ("a.zip", "a.tar", "a.tar.gz"):
        with pytest.raises(DataError, match="leads out of the archive") as caught:
            load(write(tmp_path / archive, files))
        assert repr(name) in str(caught.value)


def test_windows_separators_in_a_zip_are_folders(tmp_path: Path) -> None:
    files, _ = class_files({"cat": 1, "dog": 1})
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name.replace("/", "\\")
            file.writestr(info, content)
    assert load(tmp_path / "a.zip").classes == ("cat", "dog")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_named(tmp_path: Path, kind: bytes) -> None:
    path = write_tar(tmp_path / "a.tar", class_files({"cat": 1, "dog": 1})[0])
    with tarfile.open(path, "a") as file:
        info = tarfile.TarInfo("cat/evil.png")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    with pytest.raises(DataError, match=r"member 'cat/evil.png' is (a link|no ordinary file)"):
        load(path)


def test_links_in_a_zip_are_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", class_files({"cat": 1, "dog": 1})[0])
    with zipfile.ZipFile(path, "a") as file:
        info = zipfile.ZipInfo("cat/evil.png")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match=r"member 'cat/evil.png' is a link"):
        load(path)


def test_a_member_listed_twice_is_named(tmp_path: Path) -> None:
    files, _ = class_files({"cat": 1, "dog": 1})
    path = write_tar(tmp_path / "a.tar", files)
    with tarfile.open(path, "a") as file:
        file.addfile(tarfile.TarInfo("cat/0.png"), io.BytesIO())
    with pytest.raises(DataError, match=r"'cat/0.png' stands in it twice"):
        load(path)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2", "a.zip"])
def test_a_truncated_archive_never_passes_for_a_smaller_one(tmp_path: Path, name: str) -> None:
    whole = write(tmp_path / name, class_files({"cat": 8, "dog": 8})[0]).read_bytes()
    end = len(whole.rstrip(b"\0"))  # a tar ends with blocks of zeros, of which one is enough
    lengths = range(0, end, 512) if name == "a.tar" else range(0, end, max(1, end // 40))
    for length in lengths:
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(DataError):
            load(tmp_path / name)


def test_a_damaged_header_in_the_middle_of_a_tar_is_not_its_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", class_files({"cat": 3, "dog": 3})[0])
    data = bytearray(path.read_bytes())
    place = data.index(b"dog/1.png")
    data[place + 2] ^= 1  # the header's checksum no longer fits
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged or cut short at byte"):
        load(path)


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", class_files({"cat": 1, "dog": 1})[0])
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 8] |= 1  # the flag "encrypted" of the first member
    path.write_bytes(data)
    with pytest.raises(DataError, match="encrypted"):
        load(path)


@pytest.mark.parametrize("name", ["a.tar.xz", "a.zip", "folder"])
def test_streaming_in_two_passes_gives_the_same(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / name, class_files(LAYOUT)[0])
    once = load(path).fingerprint()
    monkeypatch.setattr(containers, "_HELD_BYTES", 100)
    assert load(path).fingerprint() == once


def test_limits_end_what_would_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, _ = class_files({"cat": 3, "dog": 3})
    paths = [write(tmp_path / name, files) for name in ("folder", "a.zip", "a.tar.gz")]
    deep = write(tmp_path / "deep", {"/".join("abcdefgh" * 5) + "/x.png": b""})
    with pytest.raises(DataError, match="folders deep"):
        load(deep)
    monkeypatch.setattr(containers, "MAX_MEMBER_BYTES", 50)
    for path in paths:
        with pytest.raises(DataError, match=r"cat/0.png.* bytes, over the limit of 50"):
            load(path)
    monkeypatch.setattr(containers, "MAX_MEMBERS", 5)
    for path in paths:
        with pytest.raises(DataError, match="holds over 5 files"):
            load(path)


def test_a_stream_that_expands_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MAX_EXPANDED", 2**20)
    path = write_tar(tmp_path / "a.tar.xz", {"cat/zeros.bin": bytes(2**24)})
    with pytest.raises(DataError, match="decompression bomb"):
        load(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "d", class_files({"cat": 1, "dog": 1})[0])
    (path / "dog" / "gone.png").symlink_to(path / "nowhere")
    with pytest.raises(DataError, match=r"dog/gone.png"):
        load(path)
    assert [one.name for one in load(path, skip_bad=True).skipped] == ["dog/gone.png"]
    os.unlink(path / "dog" / "gone.png")
    os.mkfifo(path / "dog" / "pipe.png")
    with pytest.raises(DataError, match="no ordinary file"):
        load(path)


def test_no_threads_and_no_files_are_left_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    path = write(tmp_path / "a.zip", class_files({"cat": 1, "dog": 1})[0])
    load(path)
    with pytest.raises(DataError):
        load(write(tmp_path / "b.zip", {"cat/0.png": b"no image", "dog/0.png": b""}))
    assert threading.active_count() == before  # an open file would be a ResourceWarning, which is an error here


def test_options_that_cannot_matter_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "d", class_files({"cat": 1, "dog": 1})[0])
    with pytest.raises(UsageError, match="label is 'x'"):
        load(path, label="x")

"""Atomic writing: whole or not there, whatever breaks on the way."""

from __future__ import annotations

import errno
import os
import stat
import threading

import pytest

from thalweg import atomic
from thalweg.atomic import check_free, new_folder, write_bytes
from thalweg.errors import UsageError

MARK = "run.json"


def fill(folder, content="new", *, overwrite=False):
    with new_folder(folder, overwrite=overwrite, mark=MARK) as temporary:
        (temporary / MARK).write_text(content)
        (temporary / "more").mkdir()
        (temporary / "more" / "deep.txt").write_text(content)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask():
    """Set the process's umask for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def failing(name, monkeypatch, *, at=1, error=errno.ENOSPC):
    """Let the n-th call of an os function fail, as on a full disk; return the counter of calls."""
    true, calls = getattr(os, name), []

    def fail(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == at:
            raise OSError(error, os.strerror(error))
        return true(*arguments, **keywords)

    monkeypatch.setattr(atomic.os, name, fail)
    return calls


@pytest.mark.parametrize("content", [b"", b"abc", bytes(10_000_000)], ids=len)
def test_a_file_is_written_and_replaced(tmp_path, content):
    path = tmp_path / "a.bin"
    write_bytes(path, content)
    assert path.read_bytes() == content
    write_bytes(str(path), content + b"!")
    assert path.read_bytes() == content + b"!"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(("call", "at"), [("fsync", 1), ("replace", 1)])
def test_a_file_that_fails_leaves_the_old_one(tmp_path, monkeypatch, call, at):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    failing(call, monkeypatch, at=at)
    with pytest.raises(UsageError, match=r"a\.bin cannot be written: .*No space left.*; nothing was changed there"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_ctrl_c_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    monkeypatch.setattr(atomic.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "run")
    assert names(tmp_path) == ["a.bin"]
    assert path.read_bytes() == b"old"


def test_the_content_is_on_the_disk_before_its_name(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        true = getattr(os, name)
        monkeypatch.setattr(atomic.os, name, lambda *a, name=name, true=true: (order.append(name), true(*a))[1])
    write_bytes(tmp_path / "a.bin", b"content")
    assert order == ["fsync", "replace", "fsync"]  # file, name, folder
    order.clear()
    fill(tmp_path / "run")
    # Two files, two folders (each with its names), then the rename, then the names of the place itself.
    assert order == ["fsync"] * 4 + ["replace", "fsync"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_ordinary_files(tmp_path, umask, mask):
    umask(mask)
    write_bytes(tmp_path / "a.bin", b"")
    fill(tmp_path / "run")
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o777 & ~mask
    assert os.umask(mask) == mask  # untouched


@pytest.mark.parametrize("path", ["missing/a.bin", "folder", "file/a.bin"])
def test_a_place_where_no_file_can_be(tmp_path, path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written: .*; nothing was changed there$"):
        write_bytes(tmp_path / path, b"")
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


def test_names_as_long_as_the_file_system_allows(tmp_path):
    name = "ü" * 127  # 254 bytes; one more than 255 is refused
    write_bytes(tmp_path / name, b"x")
    assert names(tmp_path) == [name]
    fill(tmp_path / ("r" * 255))
    assert (tmp_path / ("r" * 255) / MARK).exists()


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    write_bytes(tmp_path / "disk" / "a.bin", b"old")
    (tmp_path / "a.bin").symlink_to(tmp_path / "disk" / "a.bin")
    write_bytes(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").is_symlink()
    assert (tmp_path / "disk" / "a.bin").read_bytes() == b"new"

    fill(tmp_path / "disk" / "run", "old")
    (tmp_path / "run").symlink_to(tmp_path / "disk" / "run")
    with pytest.raises(UsageError, match="exists"):
        fill(tmp_path / "run")
    fill(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run").is_symlink()
    assert (tmp_path / "disk" / "run" / MARK).read_text() == "new"
    assert names(tmp_path / "disk") == ["a.bin", "run"]

    (tmp_path / "dangling").symlink_to(tmp_path / "disk" / "later")
    fill(tmp_path / "dangling")
    assert (tmp_path / "disk" / "later" / MARK).exists()


def test_a_new_folder_takes_its_name_only_when_it_is_whole(tmp_path):
    folder = tmp_path / "deep" / "er" / "run"
    with new_folder(folder, overwrite=False, mark=MARK) as temporary:
        (temporary / MARK).write_text("x")
        assert not folder.exists()
        assert temporary.parent == folder.parent  # the same disk, or the rename would be a copy
    assert names(folder) == [MARK]
    assert names(folder.parent) == ["run"]


def test_a_fault_of_the_filler_leaves_nothing(tmp_path):
    def stumble(**how):
        with new_folder(tmp_path / "run", mark=MARK, **how) as temporary:
            (temporary / MARK).write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stumble(overwrite=False)
    assert names(tmp_path) == []
    fill(tmp_path / "run", "old")
    with pytest.raises(ZeroDivisionError):
        stumble(overwrite=True)
    assert names(tmp_path) == ["run"]
    assert (tmp_path / "run" / MARK).read_text() == "old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_overwrite_that_fails_leaves_the_old_run(tmp_path, monkeypatch, call, at):
    """The second rename is the delicate one: the old folder has stepped aside by then, and must step back."""
    fill(tmp_path / "run", "old")
    calls = failing(call, monkeypatch, at=at)
    if call == "replace" and at == 3:
        fill(tmp_path / "run", overwrite=True)  # an overwrite takes two renames
        assert len(calls) == 2
        return
    with pytest.raises(UsageError, match=r"run cannot be written: .*No space left"):
        fill(tmp_path / "run", overwrite=True)
    assert names(tmp_path) == ["run"]
    assert (tmp_path / "run" / MARK).read_text() == "old"
    assert (tmp_path / "run" / "more" / "deep.txt").read_text() == "old"


def test_an_overwrite_replaces_all_of_the_old_run(tmp_path):
    fill(tmp_path / "run", "old")
    (tmp_path / "run" / "stale.txt").write_text("old")
    fill(tmp_path / "run", overwrite=True)
    assert names(tmp_path / "run") == ["more", MARK]
    assert names(tmp_path) == ["run"]


def test_what_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / MARK).mkdir()  # a folder of that name marks no run
    for name in ("empty", "thesis"):
        with pytest.raises(
            UsageError, match=rf"the folder .*{name} exists; give another with --out, or replace it with"
        ):
            fill(tmp_path / name)
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="file exists and is no folder; give another place with --out"):
            fill(tmp_path / "file", overwrite=overwrite)
    for name in ("thesis", "odd"):
        with pytest.raises(
            UsageError, match=rf"{name} holds something other than a run \(it has no run\.json\), so it is"
        ):
            fill(tmp_path / name, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"
    fill(tmp_path / "empty", overwrite=True)
    assert (tmp_path / "empty" / MARK).exists()
    assert names(tmp_path) == ["empty", "file", "odd", "thesis"]


def test_a_place_where_no_folder_can_be_is_told_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written: .*file is no folder; give another place with --out"):
        check_free(tmp_path / "file" / "deep" / "run", overwrite=False, mark=MARK)
    monkeypatch.setattr(atomic.os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UsageError, match="may not be written to; give another place with --out"):
        check_free(tmp_path / "run", overwrite=False, mark=MARK)
    with pytest.raises(UsageError, match="may not be written to"):
        fill(tmp_path / "run")
    assert names(tmp_path) == ["file"]


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path):
    def race(*, overwrite, theirs):
        with new_folder(tmp_path / "run", overwrite=overwrite, mark=MARK) as temporary:
            (temporary / MARK).write_text("mine")
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / theirs).write_text("theirs")

    with pytest.raises(UsageError, match="exists"):
        race(overwrite=False, theirs=MARK)
    assert (tmp_path / "run" / MARK).read_text() == "theirs"
    (tmp_path / "run" / MARK).unlink()
    (tmp_path / "run").rmdir()
    with pytest.raises(UsageError, match="holds something other than a run"):
        race(overwrite=True, theirs="thesis.tex")
    assert names(tmp_path) == ["run"]


def test_writers_side_by_side_never_mix(tmp_path):
    """Eight threads write one file again and again: at any time one of their contents is there whole."""
    path = tmp_path / "a.bin"
    contents = [bytes([i]) * 4096 for i in range(8)]
    write_bytes(path, contents[0])
    faults = []

    def write(content):
        for _ in range(20):
            write_bytes(path, content)
            if path.read_bytes() not in contents:
                faults.append("mixed")

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert names(tmp_path) == ["a.bin"]


def test_a_pipe_is_written_into_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_bytes(pipe, b"content")
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)

"""Files and folders that are either whole or not there.

What is written goes to a temporary name beside its place, is flushed to the
disk, and is then renamed: a crash or a full disk leaves what was there before.
A symbolic link is followed: what it points to is replaced, the link stays.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from thalweg.errors import UsageError

__all__ = ["check_file", "check_free", "new_folder", "write_bytes"]


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file whole, replacing one of that name only once all is on the disk.

    What is there but no ordinary file (a pipe, a device such as /dev/stdout) is written into.
    """
    with _writing(path):
        path = _resolved(path)
        if path.exists() and not path.is_file():
            with open(path, "wb") as stream:
                stream.write(content)
            return
        temporary = _beside(path)
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_names(path.parent)


def check_file(path: str | Path) -> None:
    """Raise a UsageError, before any work, if `write_bytes` could not write a file there."""
    with _writing(path):
        place = _resolved(path)
        if place.is_dir():
            raise UsageError(f"{path} cannot be written: it is a folder; give the name of a file")
        if not place.parent.is_dir():
            raise UsageError(f"{path} cannot be written: there is no folder {place.parent}; make it, or give another")
        # A file is replaced by name, which takes the folder; a pipe or a device is written into.
        held = place if place.exists() and not place.is_file() else place.parent
        if not os.access(held, os.W_OK if held is place else os.W_OK | os.X_OK):
            raise UsageError(f"{path} cannot be written: {held} may not be written to; give another place")


def check_free(folder: str | Path, *, overwrite: bool, mark: str) -> None:
    """Raise a UsageError unless the folder may be written.

    A folder that exists is refused without ``overwrite``; with it, one that
    holds anything but an earlier run (told by its file ``mark``) still is.
    """
    with _writing(folder):
        place = _resolved(folder)
        if not place.exists():
            _check_parent(folder, place.parent)
        elif not place.is_dir():
            raise UsageError(f"{folder} exists and is no folder; give another place with --out")
        elif not overwrite:
            raise UsageError(f"the folder {folder} exists; give another with --out, or replace it with --overwrite")
        elif any(place.iterdir()) and not (place / mark).is_file():
            raise UsageError(
                f"the folder {folder} holds something other than a run (it has no {mark}), so it is not overwritten; "
                "give another with --out"
            )
        else:
            _check_parent(folder, place.parent)


def _check_parent(folder: str | Path, parent: Path) -> None:
    """Raise a UsageError if no folder can be made here: better told before hours of training than after."""
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UsageError(f"{folder} cannot be written: {parent} is no folder; give another place with --out")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be written: {parent} may not be written to; give another place with --out")


@contextlib.contextmanager
def new_folder(folder: str | Path, *, overwrite: bool, mark: str) -> Iterator[Path]:
    """Give a temporary folder to fill; on leaving without error it takes its name.

    An error on the way leaves the old folder as it was. Only a kill between the
    two renames of an overwrite can leave the name empty; the old run then stands
    beside it, in a hidden folder.
    """
    check_free(folder, overwrite=overwrite, mark=mark)
    with _writing(folder):
        place = _resolved(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(place)
        try:
            temporary.mkdir()
            yield temporary
            _sync(temporary)
            check_free(folder, overwrite=overwrite, mark=mark)  # somebody may have been there since
            _take_place(temporary, place)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_names(place.parent)


def _take_place(temporary: Path, place: Path) -> None:
    """Rename a folder, over an earlier one if need be."""
    if not place.exists():
        os.replace(temporary, place)
        return
    aside = _beside(place)
    os.replace(place, aside)  # a rename cannot replace a folder that holds files
    try:
        os.replace(temporary, place)
    except BaseException:
        os.replace(aside, place)
        raise
    shutil.rmtree(aside, ignore_errors=True)  # the new run stands: what is left of the old one is no failure


@contextlib.contextmanager
def _writing(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}; nothing was changed there") from error


def _resolved(path: str | Path) -> Path:
    return Path(os.path.realpath(path))


def _beside(path: Path) -> Path:
    """A free hidden name in the same folder, and so on the same disk; short enough where the name is long."""
    return path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}")


def _sync(folder: Path) -> None:
    """Flush a folder's files, and their names, to the disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            with open(Path(root, name), "r+b") as file:
                os.fsync(file.fileno())
        _sync_names(Path(root))


def _sync_names(folder: Path) -> None:
    """Flush the names in a folder: without it a crash of the machine may undo a rename."""
    if os.name != "posix":
        return  # Windows opens no folders
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Folders, zip and tar files behind one face: a list of names, and a way to read them in storage order.

Nothing is ever unpacked to disk. A name that climbs out of its archive, a link or a device in it is an error, even
where the member is not wanted: whoever made such an archive did not make a data set.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tarfile import HeaderError, ReadError
from typing import IO, Any, Protocol, Self, cast

from thalweg.data.checks import reading
from thalweg.errors import DataError

__all__ = ["ARCHIVE_SUFFIXES", "Container", "Entry", "Folder", "archive", "base", "file_content", "safe_name", "stem"]

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
MAX_MEMBERS = 5_000_000  # listing as many takes minutes; ImageNet has 1.3 million
MAX_MEMBER_BYTES = 2**30
MAX_EXPANDED = 2**30
MAX_DEPTH = 32
_HELD_BYTES = 128 * 2**20
_BLOCK = 2**14  # tarfile copies what is left of a block at each read: larger ones are slower


@dataclass(frozen=True)
class Entry:
    """A file in a container: its name, its size in bytes, and its content when asked for."""

    name: str
    size: int
    content: Callable[[], bytes]

    def read(self) -> bytes:
        if self.size > MAX_MEMBER_BYTES:
            raise DataError(f"file {self.name!r} has {self.size:,} bytes, over the limit of {MAX_MEMBER_BYTES:,}")
        return self.content()


class Container(Protocol):
    """A folder or an archive of files."""

    path: Path

    def files(self) -> list[str]:
        """All file names, with '/' between folders, sorted."""
        ...

    def folders(self) -> list[str]:
        """All folder names, also of empty folders, sorted."""
        ...

    def read(self, wanted: Collection[str]) -> Iterator[Entry]:
        """The wanted files, in the order in which they are stored. Their content may be read until `close`."""
        ...

    def close(self) -> None: ...


class Folder:
    """The files of a folder. Links are followed; a folder that contains itself is an error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: list[str] = []
        self._folders: list[str] = []
        with reading(path):
            self._walk(path, "", ())
        self._files.sort()
        self._folders.sort()

    def _walk(self, folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> None:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above or len(above) > MAX_DEPTH:
            raise DataError(f"{folder}: the folder contains itself, or lies over {MAX_DEPTH} folders deep; flatten it")
        with os.scandir(folder) as entries:
            for entry in entries:
                if _hidden(entry.name):
                    continue
                if entry.is_dir():
                    self._folders.append(prefix + entry.name)
                    self._walk(folder / entry.name, f"{prefix}{entry.name}/", (*above, here))
                else:
                    self._files.append(prefix + entry.name)
        _check_count(self.path, len(self._files))

    def files(self) -> list[str]:
        return self._files

    def folders(self) -> list[str]:
        return self._folders

    def read(self, wanted: Collection[str]) -> Iterator[Entry]:
        for name in sorted(wanted):
            file = self.path / name
            try:
                size = file.stat().st_size
            except OSError:  # a dangling link, say: reading it tells
                size = 0
            yield Entry(name, size, partial(file_content, file))

    def close(self) -> None:
        pass


def file_content(file: Path) -> bytes:
    if not file.is_file():  # a pipe or device would never end
        what = "is no ordinary file; remove it" if file.exists() else "there is no such file; mend its name or add it"
        raise DataError(f"{file}: {what}")
    return file.read_bytes()


class Zip:
    """The members of a zip file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._directories: set[str] = set()
        with reading(path):
            self._file = zipfile.ZipFile(path)
        try:
            self._list()
        except DataError:
            self.close()
            raise

    def _list(self) -> None:
        members = self._file.infolist()
        _check_count(self.path, len(members))
        for member in members:
            name = safe_name(self.path, member.filename.replace("\\", "/"))
            if stat.S_ISLNK(member.external_attr >> 16):
                raise DataError(f"{self.path}: member {member.filename!r} is a link; archive the files themselves")
            if member.is_dir():
                self._directories.add(name)
            elif not _any_hidden(name):
                _check_new(self.path, name, self._members)
                self._members[name] = member

    def files(self) -> list[str]:
        return sorted(self._members)

    def folders(self) -> list[str]:
        return _with_parents(self._directories, self._members)

    def read(self, wanted: Collection[str]) -> Iterator[Entry]:
        for name in sorted(wanted, key=lambda name: self._members[name].header_offset):
            member = self._members[name]
            yield Entry(name, member.file_size, partial(self._file.read, member))

    def close(self) -> None:
        self._file.close()


class Tar:
    """The members of a tar file, plain or compressed (gzip, xz, bzip2), read as a stream.

    A compressed stream can only be read from its start. The listing therefore keeps the files it passes while they
    fit into 128 MiB, so that an archive of small images is decompressed once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._directories: set[str] = set()
        self._names: dict[str, None] = {}
        self._held: dict[str, bytes] | None = {}
        held = 0
        for member, name, content in self._stream():
            if member.isdir():
                self._directories.add(name)
                continue
            if _any_hidden(name):
                continue
            _check_new(path, name, self._names)
            self._names[name] = None
            if self._held is not None:
                held += member.size
                if held > _HELD_BYTES:
                    self._held = None
                else:
                    self._held[name] = content()
        if not self._names and not self._directories:
            raise DataError(f"{path}: holds no files; archive a folder of class folders")

    def files(self) -> list[str]:
        return sorted(self._names)

    def folders(self) -> list[str]:
        return _with_parents(self._directories, self._names)

    def read(self, wanted: Collection[str]) -> Iterator[Entry]:
        if self._held is not None:
            for name, data in self._held.items():
                if name in wanted:
                    yield Entry(name, len(data), partial(bytes, data))
            return
        wanted = frozenset(wanted)
        for member, name, content in self._stream():
            if name in wanted:
                data = content() if member.size <= MAX_MEMBER_BYTES else b""
                yield Entry(name, member.size, partial(bytes, data))

    def close(self) -> None:
        self._held = None

    def _stream(self) -> Iterator[tuple[tarfile.TarInfo, str, Callable[[], bytes]]]:
        count = 0
        with (
            reading(self.path),
            _decompressed(self.path) as raw,
            tarfile.open(fileobj=raw, mode="r|", bufsize=_BLOCK, tarinfo=_TarInfo) as tar,
        ):
            while (member := tar.next()) is not None:
                # Else the list of millions of members grows with the stream.
                tar.members.clear()  # type: ignore[attr-defined]
                count += 1
                _check_count(self.path, count)
                name = safe_name(self.path, member.name)
                if not (member.isreg() or member.isdir()):
                    kind = "a link" if member.issym() or member.islnk() else "no ordinary file"
                    raise DataError(f"{self.path}: member {member.name!r} is {kind}; archive the files themselves")
                yield member, name, partial(self._member, tar, member)

    def _member(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        with reading(f"{self.path}: member {member.name!r}"):
            file = tar.extractfile(member)
            data = b"" if file is None else file.read()
        if len(data) != member.size:
            raise DataError(f"{self.path}: ends within member {member.name!r}; fetch or make it again")
        return data


class _TarInfo(tarfile.TarInfo):
    """A header that must be whole: by itself tarfile takes a damaged header for the end, and drops what follows."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the end mark, whole; the class has no public name
                raise
            raise ReadError(f"damaged or cut short at byte {tarfile.offset:,}: {error}") from error


class _Watched:
    """A decompressed stream that stops at an absurd expansion (xz turns a terabyte of zeros into 150 MB)."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self.stream, self.path, self.count = stream, path, 0
        self.limit = MAX_EXPANDED + 200 * path.stat().st_size

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.count += len(data)
        if self.count > self.limit:
            raise DataError(f"{self.path}: unpacks to over 200 times its size; it looks like a decompression bomb")
        return data


@contextmanager
def _decompressed(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        opener = next((o for magic, o in _COMPRESSIONS if start.startswith(magic)), None)
        if opener is None:
            yield file
            return
        with opener(file) as stream:
            yield _Watched(stream, path)


def _gunzip(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=file))


_COMPRESSIONS: tuple[tuple[bytes, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b", _gunzip),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
    (b"BZh", bz2.BZ2File),
)


def archive(path: Path) -> Container:
    """Open an archive by its content: zip, or else tar."""
    with reading(path), path.open("rb") as file:
        start = file.read(4)
    return Zip(path) if start.startswith(b"PK") else Tar(path)


def stem(path: Path) -> str:
    """The file's name without any of the endings that we know ("a.tar.xz" → "a")."""
    name = path.name
    for suffix in (*ARCHIVE_SUFFIXES, ".csv.gz", ".tsv.gz"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name if path.is_dir() else path.stem


def base(name: str) -> str:
    """The last part of a member's name. (pathlib takes 10 µs for it, which 60,000 members feel.)"""
    return name.rpartition("/")[2]


def safe_name(path: Path, name: str) -> str:
    """Return a member's name in plain form, or raise where it leads out of the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    windows_drive = len(name) > 1 and name[1] == ":"
    if name.startswith("/") or windows_drive or ".." in parts or "\x00" in name:
        raise DataError(f"{path}: member {name!r} leads out of the archive; do not trust it, make it again")
    if len(parts) > MAX_DEPTH:
        raise DataError(f"{path}: member {name[:80]!r}... lies over {MAX_DEPTH} folders deep; flatten it")
    return "/".join(parts)


def _hidden(part: str) -> bool:
    return part.startswith(".") or part in ("__MACOSX", "__pycache__", "Thumbs.db", "desktop.ini")


def _any_hidden(name: str) -> bool:
    return any(map(_hidden, name.split("/")))


def _with_parents(directories: Collection[str], files: Collection[str]) -> list[str]:
    """Folders that an archive lists, and those that only its files' names tell of."""
    found = set(directories)
    for name in (*directories, *files):
        parent = name.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return sorted(name for name in found if name and not _any_hidden(name))


def _check_count(path: Path, count: int) -> None:
    if count > MAX_MEMBERS:
        raise DataError(f"{path}: holds over {MAX_MEMBERS:,} files; convert it to .npy arrays, or split it up")


def _check_new(path: Path, name: str, known: Collection[str]) -> None:
    if name in known:
        raise DataError(f"{path}: member {name!r} stands in it twice; make the archive again")

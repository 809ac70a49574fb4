"""Files and folders that are either whole or not there.

What is written goes to a temporary name beside its place, is flushed to the
disk, and is then renamed: a crash or a full disk leaves what was there before.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from thalweg.errors import UsageError

__all__ = ["check_free", "new_folder", "write_bytes"]


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file whole, replacing one of that name only once all is on the disk."""
    path = Path(path)
    with _writing(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_umask())  # mkstemp gives 0600
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def check_free(folder: str | Path, *, overwrite: bool, mark: str) -> None:
    """Raise a UsageError unless the folder may be written.

    A folder that exists is refused without ``overwrite``; with it, one that
    holds anything but an earlier run (told by its file ``mark``) still is.
    """
    folder = Path(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} exists and is no folder; give another place with --out")
    if not overwrite:
        raise UsageError(f"the folder {folder} exists; give another with --out, or replace it with --overwrite")
    if any(folder.iterdir()) and not (folder / mark).is_file():
        raise UsageError(
            f"the folder {folder} holds something other than a run (it has no {mark}), so it is not overwritten; "
            "give another with --out"
        )


@contextlib.contextmanager
def new_folder(folder: str | Path, *, overwrite: bool, mark: str) -> Iterator[Path]:
    """Give a temporary folder to fill; on leaving without error it takes its name."""
    folder = Path(folder)
    check_free(folder, overwrite=overwrite, mark=mark)
    with _writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            os.chmod(temporary, 0o777 & ~_umask())
            yield temporary
            _sync(temporary)
            if folder.exists():
                # The old run steps aside first: a rename cannot replace a folder that holds files.
                aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
                os.replace(folder, aside / folder.name)
                os.replace(temporary, folder)
                shutil.rmtree(aside)
            else:
                os.replace(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}; nothing was changed there") from error


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

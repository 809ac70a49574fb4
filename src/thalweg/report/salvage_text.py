"""Text of a file that may be damaged or hostile: read up to a bound, and made fit for a page."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

__all__ = ["Rows", "ordinary", "plain", "read_rows", "read_tree", "reason", "size_text"]

MOST_ROWS = 200  # shown
MOST_COLUMNS = 60
MOST_LETTERS = 300
MOST_CELL = 120
MOST_TABLE = 4 << 20  # bytes read of a table
MOST_TREE = 32 << 20  # bytes read of a run.json: some 50,000 trials

# Control characters, marks that turn the direction of writing, invisible ones, and halves of surrogate pairs.
_UNFIT = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufffe\uffff]"
)


@dataclass(frozen=True)
class Rows:
    """What could be read of a table, as text.

    ``rows`` are at most 200, as long as ``columns`` (at most 60, cells cut after 120 letters); ``total`` counts those
    found, and is None where the file was too large to be read whole. ``faults`` says what is wrong with it.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    total: int | None = 0
    faults: tuple[str, ...] = ()


def plain(value: Any, most: int = MOST_LETTERS) -> str:
    """Return a text in one line, cut short, without characters that a page cannot or should not show."""
    text = value[: 4 * most] if isinstance(value, str) else str(value)
    text = _UNFIT.sub("\ufffd", " ".join(text.split()))
    return text if len(text) <= most else text[: most - 1] + "…"


def reason(error: BaseException) -> str:
    """Return what went wrong, for a page."""
    return plain(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, 160)


def size_text(size: int) -> str:
    """Return a file's size as people say it: 312 bytes, 4.2 kB, 1.1 GB."""
    if size < 1000:
        return f"{size} bytes"
    for unit, bound in (("kB", 1e6), ("MB", 1e9)):
        if size < bound:
            return f"{size / bound * 1000:.3g} {unit}"
    return f"{size / 1e9:.3g} GB"


def ordinary(path: Path) -> IO[bytes]:
    """Open a file for reading.

    Raises OSError where there is none, and ValueError where something else has its name: a pipe would never end, and a
    link may lead to what does not belong to the run.
    """
    if path.is_symlink():
        raise ValueError("it is a link, which is not followed here")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("it is no ordinary file")
    return os.fdopen(handle, "rb")


_BINARY = getattr(os, "O_BINARY", 0)  # Windows


def read_tree(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds. Raises an exception of some class where it is damaged or too large."""
    with ordinary(path) as file:
        content = file.read(MOST_TREE + 1)
    if len(content) > MOST_TREE:
        raise ValueError(f"it is over {size_text(MOST_TREE)}, which no run's is")
    tree = json.loads(content)
    if not isinstance(tree, dict):
        raise TypeError(f"it holds a {type(tree).__name__}, not an object")
    return tree


def read_rows(path: Path, needed: tuple[str, ...]) -> Rows:
    """Read a table's first rows; ``needed`` names columns that must be there. Raises OSError or ValueError if none."""
    with ordinary(path) as file:
        content = file.read(MOST_TABLE + 1)
    cut = len(content) > MOST_TABLE
    if cut:
        content = content[: content.rfind(b"\n", 0, MOST_TABLE) + 1]
    faults = []
    if content and not cut and not content.endswith(b"\n"):
        faults.append("its last line is cut off")
    if b"\0" in content:
        faults.append("it holds bytes that are no text")
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline=""))
    columns: list[str] = []
    rows: list[tuple[str, ...]] = []
    total = short = 0
    try:
        columns = next(reader, [])
        for line in reader:
            if not line:
                continue
            total += 1
            short += len(line) != len(columns)
            if len(rows) < MOST_ROWS:
                rows.append(_cells(line, len(columns)))
    except csv.Error as error:
        faults.append(f"it cannot be read beyond row {total} ({reason(error)})")
    if short:
        faults.append(f"{short} of {total} rows have more or fewer cells than the {len(columns)} headings")
    missing = [name for name in needed if name not in columns]
    if missing:
        faults.append("it is empty" if not content else f"there is no column {', '.join(missing)}")
    headings = tuple(plain(name, MOST_CELL) for name in columns[:MOST_COLUMNS])
    return Rows(headings, tuple(rows), None if cut else total, tuple(faults))


def _cells(line: list[str], count: int) -> tuple[str, ...]:
    shown = min(count, MOST_COLUMNS)
    return tuple(plain(cell, MOST_CELL) for cell in (line + [""] * shown)[:shown])

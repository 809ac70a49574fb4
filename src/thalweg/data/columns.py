"""The cells of a table: some columns as they are, all others as one float32 matrix."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from thalweg.data.checks import check_finite, check_memory, reading
from thalweg.errors import DataError, UsageError

__all__ = ["PARQUET_SUFFIXES", "TEXT_SUFFIXES", "Columns", "read_columns"]

TEXT_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
# A gzip file of one repeated character expands a thousandfold; tables of numbers two- to tenfold.
_MAX_EXPANSION = 100
_FREE_TEXT = 2**28
_MAX_LINE = 2**26
_BATCH_ROWS = 2**14
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")


@dataclass(frozen=True)
class Columns:
    """A table read: `texts` maps the columns asked for to their cells, `features` is (rows, D) float32."""

    kind: str
    texts: dict[str, np.ndarray]
    features: np.ndarray
    feature_names: tuple[str, ...]
    rows: int

    def reordered(self, names: Sequence[str]) -> Columns:
        """The same table with its feature columns in the order of `names`, where these are its columns."""
        if tuple(names) == self.feature_names or set(names) != set(self.feature_names):
            return self
        index = [self.feature_names.index(name) for name in names]
        return replace(self, features=self.features[:, index], feature_names=tuple(names))

    def check_numbers(self, where: str) -> None:
        """Raise where a feature is NaN or infinite, naming row and column."""
        check_finite(self.features, where, self.feature_names)


def read_columns(path: Path, decide: Callable[[Sequence[str]], tuple[str, ...]]) -> Columns:
    """Read a table; `decide` gets the header and returns the columns that are not features."""
    if path.name.lower().endswith(PARQUET_SUFFIXES):
        return _read_parquet(path, decide)
    return _read_text(path, decide)


def _read_text(path: Path, decide: Callable[[Sequence[str]], tuple[str, ...]]) -> Columns:
    tabs = ".tsv" in path.name.lower()
    with _open_text(path) as file:
        lines = _rows(file, path, "\t" if tabs else ",")
        _, header = next(lines, (0, []))
        _check_header(header, path)
        texts = decide(header)
        kept = sorted((header.index(name) for name in texts), reverse=True)
        cells: dict[int, list[str]] = {i: [] for i in kept}
        names = tuple(name for name in header if name not in texts)
        # array's extend over map(float, ...) runs in C and grows in place; NumPy's loadtxt is no faster.
        numbers = array("f")
        rows = 0
        for line, row in lines:
            if len(row) != len(header):
                raise DataError(f"{path}: line {line} has {len(row)} cells, the header has {len(header)}")
            for i in kept:
                cells[i].append(row.pop(i))
            try:
                numbers.extend(map(float, row))
            except ValueError:
                raise _bad_cell(path, line, row, names) from None
            rows += 1
    features = np.frombuffer(numbers, np.float32) if numbers else np.empty(0, np.float32)
    found = {header[i]: np.array(cells[i], object) for i in kept}
    return Columns("TSV" if tabs else "CSV", found, features.reshape(rows, len(names)), names, rows)


def _check_header(header: Sequence[str], path: Path) -> None:
    if not header:
        raise DataError(f"{path}: is empty; a table starts with a line that names its columns")
    if len(header) == 1 and ";" in header[0]:
        raise DataError(f"{path}: is separated by semicolons; write it with commas")
    counted = list(header) == [str(i) for i in range(len(header))]  # pandas names unnamed columns so
    if all(map(_NUMBER.fullmatch, header)) and not counted:
        raise DataError(f"{path}: its first line holds numbers; add a header line that names the columns")


def _rows(file: TextIO, path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of the lines that are not blank.

    A line without quotes is split as it stands, many times as fast as by csv, which reads the others with whatever
    lines they go on to.
    """
    lines = _bounded(file, path)
    number = 0
    for line in lines:
        number += 1
        if not line.strip():
            continue
        if '"' not in line:
            yield number, line.rstrip("\r\n").split(delimiter)
            continue
        reader = csv.reader(chain([line], lines), delimiter=delimiter, strict=True)
        try:
            cells = next(reader)
        except csv.Error as error:
            raise DataError(f"{path}: line {number}: {error}; mend it there") from error
        yield number, cells
        number += reader.line_num - 1


def _bad_cell(path: Path, line: int, row: Sequence[str], names: Sequence[str]) -> DataError:
    name, cell = next((name, cell) for name, cell in zip(names, row, strict=True) if not _is_float(cell))
    found = f"is {cell[:80]!r}, not a number" if cell.strip() else "is empty"
    return DataError(
        f"{path}: line {line}, column {name!r}: {found}; features are numbers. Fill, convert or drop it; if it is the "
        "label, say so with label="
    )


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _open_text(path: Path) -> TextIO:
    with reading(path):
        if path.name.lower().endswith(".gz"):
            return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
        return path.open(encoding="utf-8-sig", newline="")


def _bounded(file: TextIO, path: Path) -> Iterator[str]:
    """The lines of a text, up to limits that no table of numbers reaches and a decompression bomb does."""
    limit = _FREE_TEXT + _MAX_EXPANSION * path.stat().st_size
    count = 0
    while True:
        try:
            line = file.readline(_MAX_LINE)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is not UTF-8 text ({error.reason}); save it as UTF-8") from error
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: is damaged or truncated ({error}); make or fetch it again") from error
        if not line:
            return
        count += len(line)
        if len(line) == _MAX_LINE or count > limit:
            raise DataError(f"{path}: has lines of over {_MAX_LINE:,} characters, or is a decompression bomb")
        yield line


def _read_parquet(path: Path, decide: Callable[[Sequence[str]], tuple[str, ...]]) -> Columns:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(f"{path}: Parquet files need pyarrow: pip install 'thalweg[parquet]'") from error
    with reading(path), parquet.ParquetFile(path) as file:
        header = file.schema_arrow.names
        texts = decide(header)
        names = [name for name in header if name not in texts]
        rows = file.metadata.num_rows
        check_memory(path, 4 * rows * len(names), "split it up, or save it as .npy, which is read in place")
        blocks = [
            (_Block({name: _cells(batch, name, path) for name in texts}, _numbers(batch, names, path)))
            for batch in file.iter_batches(batch_size=_BATCH_ROWS)
        ]
    if not blocks:
        return Columns("Parquet", {}, np.empty((0, 1), np.float32), tuple(names), 0)
    widths = {block.features.shape[1] for block in blocks}
    if len(widths) > 1:
        raise DataError(f"{path}: the lists of column {names[0]!r} differ in length: {sorted(widths)}")
    features = np.concatenate([block.features for block in blocks])
    if features.shape[1] != len(names):  # one column of lists
        names = [f"{names[0]}_{i}" for i in range(features.shape[1])]
    found = {name: np.concatenate([block.texts[name] for block in blocks]) for name in texts}
    return Columns("Parquet", found, features, tuple(names), len(features))


@dataclass(frozen=True)
class _Block:
    texts: dict[str, np.ndarray]
    features: np.ndarray


def _cells(batch: Any, name: str, path: Path) -> np.ndarray:
    """A column as an array of Python objects."""
    column = batch.column(name)
    if column.null_count:
        raise DataError(f"{path}: column {name!r} has {column.null_count} empty cells; fill or drop these rows")
    values = np.empty(len(column), object)
    values[:] = column.to_pylist()
    return values


def _numbers(batch: Any, names: Sequence[str], path: Path) -> np.ndarray:
    """The feature columns of a batch as float32 (rows, D); a single column of equally long lists is D columns."""
    from pyarrow import types

    if len(names) == 1 and (
        types.is_list(kind := batch.schema.field(names[0]).type)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
    ):
        return _from_lists(batch.column(names[0]), names[0], path)
    result = np.empty((batch.num_rows, len(names)), np.float32)
    for i, name in enumerate(names):
        result[:, i] = _number_column(batch.column(name), name, path)
    return result


def _number_column(column: Any, name: str, path: Path) -> np.ndarray:
    from pyarrow import float64, types

    kind = column.type
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)):
        raise DataError(
            f"{path}: column {name!r} holds {kind}; features are numbers. Convert or drop it; if it is the label, say "
            "so with label="
        )
    if column.null_count:
        raise DataError(f"{path}: column {name!r} has {column.null_count} empty cells; fill or drop these rows")
    if types.is_decimal(kind):
        column = column.cast(float64())
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):  # what overflows is infinite, and named by the check for finite numbers
        return values.astype(np.float32)


def _from_lists(column: Any, name: str, path: Path) -> np.ndarray:
    if column.null_count:
        raise DataError(f"{path}: column {name!r} has {column.null_count} empty cells; fill or drop these rows")
    widths = {0 if cell is None else len(cell) for cell in column}
    if len(widths) != 1 or 0 in widths:
        raise DataError(f"{path}: the lists of column {name!r} differ in length or are empty: {sorted(widths)[:5]}")
    return _number_column(column.flatten(), name, path).reshape(len(column), widths.pop())

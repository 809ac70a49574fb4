"""Tables: CSV, TSV (plain or gzip) and Parquet, alone or as train and test files in a folder.

A table has a header; a label column (`label=`, or the one named label, labels, class, target or y); either numeric
columns, all of them features, or one column of image paths (image, path, file, filename, ...), relative to the
table's folder; and, if it likes, a column `split` with train, val or test in each row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from thalweg.data.arrays import from_arrays
from thalweg.data.class_folders import SPLIT_NAMES, split_of, take_rows
from thalweg.data.columns import PARQUET_SUFFIXES, TEXT_SUFFIXES, Columns, read_columns
from thalweg.data.containers import file_content, stem
from thalweg.data.dataset import Dataset
from thalweg.data.images import Job, decode_all
from thalweg.data.labels import encode_labels
from thalweg.data.options import Options
from thalweg.errors import DataError, nearest

__all__ = ["PARQUET_SUFFIXES", "TEXT_SUFFIXES", "is_table_folder", "read", "read_folder"]

_LABELS = ("label", "labels", "class", "target", "y")
_IMAGES = ("image", "images", "img", "image_path", "path", "file", "file_name", "filename", "filepath", "file_path")


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are for."""

    label: str | None
    split: str | None
    image: str | None
    features: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns to be read as they are, not as features."""
        return tuple(name for name in (self.label, self.split, self.image) if name is not None)


def roles(header: Sequence[str], where: str, options: Options) -> Roles:
    """Decide from the column names alone, so that the same table is always read the same way."""
    for i, name in enumerate(header):
        if not name.strip():
            raise DataError(
                f"{where}: column {i + 1} has no name. pandas writes its index so: use to_csv(index=False), or name it"
            )
        if name in header[:i]:
            raise DataError(f"{where}: two columns are named {name!r}; rename one")
    label = _label_column(header, where, options)
    split = next((name for name in header if name.lower() == "split" and name != label), None)
    rest = [name for name in header if name not in (label, split)]
    images = [name for name in rest if name.lower() in _IMAGES]
    if images and len(rest) > 1:
        raise DataError(
            f"{where}: has the image column {images[0]!r} and other columns ({', '.join(rest[:6])}); keep the image, "
            "the label and the split column only"
        )
    if not rest:
        raise DataError(f"{where}: has no feature columns, only {', '.join(map(repr, header))}")
    return Roles(label, split, images[0] if images else None, () if images else tuple(rest))


def _label_column(header: Sequence[str], where: str, options: Options) -> str | None:
    listed = ", ".join(header[:12]) + (f" and {len(header) - 12} more" if len(header) > 12 else "")
    if options.label is not None:
        if options.label not in header:
            raise DataError(
                f"{where}: has no column {options.label!r}{nearest(options.label, header)}; its columns are {listed}"
            )
        return options.label
    found = [name for name in header if name.lower() in _LABELS]
    if len(found) > 1:
        raise DataError(f"{where}: {' and '.join(map(repr, found))} could each be the label; say which with label=")
    if not found and options.labelled:
        raise DataError(
            f"{where}: no column is named {', '.join(_LABELS)}; say which is the label with label=. Its columns are "
            f"{listed}"
        )
    return found[0] if found else None


def read(path: Path, options: Options) -> Dataset:
    """One table; with a split column it may hold several splits."""
    table, role = _read_table(path, options)
    if role.split is None:
        return _assemble({"train": (table, np.arange(table.rows))}, {"train": path}, role, stem(path), options)
    splits = _rows_by_split(table, role.split, path)
    return _assemble(
        {split: (table, rows) for split, rows in splits.items()}, dict.fromkeys(splits, path), role, stem(path), options
    )


def is_table_folder(path: Path) -> bool:
    """True for a folder with a train table."""
    return path.is_dir() and "train" in _tables(path)


def read_folder(path: Path, options: Options) -> Dataset:
    """A folder of train, validation and test tables; their columns must be the same, in any order."""
    files = _tables(path)
    first, role = _read_table(files["train"], options)
    tables = {"train": first}
    for split in SPLIT_NAMES:
        if split not in files or split == "train":
            continue
        table, other = _read_table(files[split], options)
        differing = sorted({*role.features, *role.texts} ^ {*other.features, *other.texts})
        if differing:
            raise DataError(
                f"{files[split]}: column {differing[0]!r} is not in both this table and {files['train'].name}; the "
                "columns of all splits must be the same"
            )
        tables[split] = table.reordered(role.features)
    if role.split is not None:
        raise DataError(f"{path}: the tables are splits already, yet have a column {role.split!r}; drop it")
    return _assemble({s: (t, np.arange(t.rows)) for s, t in tables.items()}, files, role, path.name, options)


def _tables(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        split = split_of(stem(file))
        if split is None or not file.name.lower().endswith((*TEXT_SUFFIXES, *PARQUET_SUFFIXES)) or file.is_dir():
            continue
        if split in found:
            raise DataError(f"{folder}: {found[split].name!r} and {file.name!r} both hold {split}; keep one")
        found[split] = file
    return found


def _read_table(path: Path, options: Options) -> tuple[Columns, Roles]:
    decided: list[Roles] = []

    def decide(header: Sequence[str]) -> tuple[str, ...]:
        decided.append(roles(header, str(path), options))
        return decided[0].texts

    table = read_columns(path, decide)
    if table.rows == 0:
        raise DataError(f"{path}: has a header but no rows")
    return table, decided[0]


def _rows_by_split(table: Columns, column: str, path: Path) -> dict[str, np.ndarray]:
    words = [str(word) for word in table.texts[column]]
    kinds = {word: split_of(word.strip()) for word in set(words)}
    unknown = sorted(word for word, split in kinds.items() if split is None)
    if unknown:
        row = words.index(unknown[0])
        raise DataError(f"{path}: row {row + 1}: split is {unknown[0]!r}; write train, val or test")
    splits = np.array([kinds[word] for word in words])
    found = {split: np.flatnonzero(splits == split) for split in SPLIT_NAMES}
    if len(found["train"]) == 0:
        raise DataError(f"{path}: the column {column!r} has no row with train")
    return {split: rows for split, rows in found.items() if len(rows)}


def _assemble(
    parts: Mapping[str, tuple[Columns, np.ndarray]],
    files: Mapping[str, Path],
    role: Roles,
    name: str,
    options: Options,
) -> Dataset:
    wheres = {split: str(files[split]) for split in parts}
    kind = next(iter(parts.values()))[0].kind
    labels = {
        split: None if role.label is None else table.texts[role.label][rows] for split, (table, rows) in parts.items()
    }
    if role.image is not None:
        return _with_images(parts, files, role.image, labels, name, options)
    for split, (table, _) in parts.items():
        table.check_numbers(wheres[split])
    features = {split: _take(table.features, rows) for split, (table, rows) in parts.items()}
    names = next(iter(parts.values()))[0].feature_names
    return from_arrays({s: (features[s], labels[s]) for s in parts}, wheres, name, kind, feature_names=names)


def _take(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return array if len(rows) == len(array) else array[rows]


def _with_images(
    parts: Mapping[str, tuple[Columns, np.ndarray]],
    files: Mapping[str, Path],
    column: str,
    labels: Mapping[str, np.ndarray | None],
    name: str,
    options: Options,
) -> Dataset:
    jobs: list[tuple[str, Path]] = []
    groups: dict[str, tuple[int, list[str]]] = {}
    for split, (table, rows) in parts.items():
        paths = [_inside(files[split], str(table.texts[column][row]), int(row)) for row in rows]
        groups[split] = (len(jobs), paths)
        jobs += [(path, files[split].parent / path) for path in paths]
    source = str(files["train"])
    pixels = decode_all(_jobs(jobs), len(jobs), source, options)
    encoded: dict[str, np.ndarray] = {}
    classes: tuple[str, ...] = ()
    given = {split: y for split, y in labels.items() if y is not None}
    if given:
        arrays, classes = encode_labels(list(given.values()), [str(files[split]) for split in given])
        encoded = dict(zip(given, arrays, strict=True))
    splits = {
        split: take_rows(pixels, start, paths, str(files[split]), encoded.get(split))
        for split, (start, paths) in groups.items()
    }
    kind = f"{next(iter(parts.values()))[0].kind} of image paths"
    return Dataset(name, kind, splits["train"], classes, splits.get("validation"), splits.get("test"), pixels.skipped)


def _jobs(files: Sequence[tuple[str, Path]]) -> Iterator[Job]:
    for row, (name, file) in enumerate(files):
        try:
            size = file.stat().st_size
        except OSError:  # reading it will say why
            size = 0
        yield Job(row, name, size, partial(file_content, file))


def _inside(table: Path, name: str, row: int) -> str:
    """Check that a path in a table stays within the table's folder, or raise."""
    path = name.strip().replace("\\", "/")
    drive = len(path) > 1 and path[1] == ":"
    if not path or path.startswith("/") or drive or ".." in path.split("/") or "\x00" in path:
        raise DataError(
            f"{table}: row {row + 1}: the image path {name!r} is empty, absolute or leads out of the table's folder; "
            "write it relative to the table"
        )
    return path

"""CIFAR-10 and CIFAR-100 in their binary form: records of one or two label bytes and 3,072 pixel bytes.

A CIFAR-10 record is: label, then 32 × 32 red, green, blue values, row by row. CIFAR-100 puts a coarse label before the
fine one. Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009), its web page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thalweg.data.checks import check_memory, reading
from thalweg.data.containers import MAX_MEMBER_BYTES, Container, base, stem
from thalweg.data.dataset import Dataset, Split
from thalweg.data.options import Options
from thalweg.errors import DataError, UsageError

__all__ = ["in_container", "read_container", "read_file", "refuse_pickles"]

SIDE = 32
PIXELS = 3 * SIDE * SIDE
_BATCH = re.compile(r"data_batch_(\d+)\.bin", re.IGNORECASE)
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
_CIFAR10_PICKLE = re.compile(r"data_batch_\d+|test_batch|batches\.meta")


@dataclass(frozen=True)
class _Form:
    """One of the two record layouts."""

    name: str
    labels: int  # label bytes a record
    column: int  # which of them is the label
    classes: int
    names_file: str

    @property
    def record(self) -> int:
        return self.labels + PIXELS


CIFAR10 = _Form("CIFAR-10", 1, 0, 10, "batches.meta.txt")
FINE = _Form("CIFAR-100 (fine labels)", 2, 1, 100, "fine_label_names.txt")
COARSE = _Form("CIFAR-100 (coarse labels)", 2, 0, 20, "coarse_label_names.txt")


def refuse_pickles(path: Path, names: Sequence[str]) -> None:
    """Raise where there are pickles: they run code when read, so Thalweg reads none."""
    bases = {base(name) for name in names}
    cifar10 = any(_CIFAR10_PICKLE.fullmatch(name) for name in bases)
    cifar100 = {"train", "test", "meta"} <= bases
    other = sorted(name for name in bases if name.lower().endswith(_PICKLE_SUFFIXES))
    if cifar10 or cifar100:
        raise DataError(
            f"{path}: is CIFAR's Python version, whose files are pickles: they can run code when read, and are "
            'refused. Fetch the "binary version" from the same page, or save the arrays as .npz'
        )
    if other:
        raise DataError(
            f"{path}: {other[0]!r} is a pickle by its name: it can run code when read, and is refused. Save the arrays "
            "with numpy.savez as .npz"
        )


def in_container(container: Container) -> bool:
    """True where the files are CIFAR's binary ones."""
    names = {base(name).lower() for name in container.files()}
    return any(map(_BATCH.fullmatch, names)) or bool({"train.bin", "test.bin", "test_batch.bin"} & names)


def read_container(container: Container, options: Options) -> Dataset:
    """All binary files of a folder or archive."""
    files = {base(name).lower(): name for name in container.files()}
    batches = sorted((int(match[1]), name) for name in files if (match := _BATCH.fullmatch(name)))
    if [number for number, _ in batches] != list(range(1, len(batches) + 1)):
        raise DataError(f"{container.path}: has the batches {[n for n, _ in batches]}; one is missing: fetch it again")
    if batches:
        form, train, test = CIFAR10, [name for _, name in batches], "test_batch.bin"
    else:
        form, train, test = _cifar100(options), ["train.bin"], "test.bin"
    if train[0] not in files:
        raise DataError(f"{container.path}: has {test} but no training files; add them, or give the file's own path")
    if batches and options.label is not None:
        raise UsageError(f"label is {options.label!r}, but CIFAR-10 has one kind of label; leave it out")
    wanted = [name for name in (*train, test, form.names_file) if name in files]
    contents = _contents(container, {files[name]: name for name in wanted})
    classes = _class_names(form, contents.pop(form.names_file, None), container.path)
    splits = [
        _decode(form, [(f"{container.path}: {name}", contents.pop(name)) for name in group])
        for group in (train, [test] if test in contents else [])
        if group
    ]
    return Dataset(
        stem(container.path), f"{form.name} binary", splits[0], classes, test=splits[1] if len(splits) > 1 else None
    )


def _contents(container: Container, names: Mapping[str, str]) -> dict[str, bytes]:
    found = {}
    for entry in container.read(names.keys()):
        with reading(f"{container.path}: {entry.name}"):
            found[names[entry.name]] = entry.read()
    return found


def read_file(path: Path, options: Options) -> Dataset:
    """A single .bin file, or the batch of a set; class names are taken from beside it."""
    with reading(path):
        size = path.stat().st_size
        if size > MAX_MEMBER_BYTES:
            raise DataError(f"{path}: has {size:,} bytes; CIFAR's files have at most 154 million")
        data = path.read_bytes()
    forms = [form for form in (CIFAR10, _cifar100(options)) if size and size % form.record == 0]
    if not forms:
        raise DataError(
            f"{path}: its {size:,} bytes are no whole number of records of {CIFAR10.record:,} (CIFAR-10) or "
            f"{FINE.record:,} bytes (CIFAR-100): it is truncated, too large, or no CIFAR file"
        )
    if len(forms) > 1:
        raise DataError(f"{path}: its size fits CIFAR-10 and CIFAR-100; give the path of the folder")
    form = forms[0]
    if form is CIFAR10 and options.label is not None:
        raise UsageError(f"label is {options.label!r}, but CIFAR-10 has one kind of label; leave it out")
    names = path.with_name(form.names_file)
    with reading(names):
        text = names.read_bytes() if names.exists() else None
    classes = _class_names(form, text, names)
    return Dataset(path.stem, f"{form.name} binary", _decode(form, [(str(path), data)]), classes)


def _cifar100(options: Options) -> _Form:
    if options.label not in (None, "fine", "coarse"):
        raise UsageError(f"label is {options.label!r}; CIFAR-100 has 'fine' and 'coarse' labels")
    return COARSE if options.label == "coarse" else FINE


def _class_names(form: _Form, text: bytes | None, where: Path) -> tuple[str, ...]:
    """The names in the form's text file, one a line; numbers where there is no such file."""
    if text is None:
        return tuple(map(str, range(form.classes)))
    with reading(f"{where}: {form.names_file}"):
        names = tuple(line.strip() for line in text.decode("utf-8").splitlines() if line.strip())
    if len(names) != form.classes:
        raise DataError(f"{where}: {form.names_file} has {len(names)} names; {form.name} has {form.classes} classes")
    return names


def _decode(form: _Form, files: Sequence[tuple[str, bytes]]) -> Split:
    """Turn records into images (N, 32, 32, 3) and labels."""
    for where, data in files:
        if not data or len(data) % form.record:
            raise DataError(
                f"{where}: its {len(data):,} bytes are no whole number of {form.name} records of {form.record:,}; it "
                "is truncated or damaged: fetch it again"
            )
    count = sum(len(data) // form.record for _, data in files)
    check_memory(files[0][0], count * PIXELS, "give fewer files")
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    labels = np.empty(count, np.int32)
    start = 0
    for where, data in files:
        records = np.frombuffer(data, np.uint8).reshape(-1, form.record)
        rows = slice(start, start + len(records))
        images[rows] = records[:, form.labels :].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
        labels[rows] = records[:, form.column]
        wrong = np.flatnonzero(labels[rows] >= form.classes)
        if len(wrong):
            raise DataError(
                f"{where}: record {wrong[0]} has the label {labels[rows][wrong[0]]}; {form.name} has labels below "
                f"{form.classes}. The file is damaged or of another kind"
            )
        start = rows.stop
    return Split(images, labels)

"""`load`: whatever a user points at, as a Dataset.

To add a format, write a `read(path, options) -> Dataset` and a test of the path that recognises it, and put both into
`READERS`. The first reader that recognises the path takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.data import arrays, cifar, idx, tables
from thalweg.data.builtin import BUILTIN
from thalweg.data.checks import reading
from thalweg.data.class_folders import read_class_folders
from thalweg.data.containers import ARCHIVE_SUFFIXES, Folder, archive
from thalweg.data.dataset import Dataset
from thalweg.data.options import MAX_PIXELS, Options
from thalweg.errors import DataError, UsageError, nearest

__all__ = ["READERS", "Reader", "load"]


@dataclass(frozen=True)
class Reader:
    """A family of formats: its name in messages, the test of a path, and the reading.

    `takes` lists those options that only some readers heed: giving one to another reader is an error.
    """

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Options], Dataset]
    takes: tuple[str, ...] = ()


def _ends(*suffixes: str) -> Callable[[Path], bool]:
    return lambda path: path.name.lower().endswith(suffixes) and not path.is_dir()


def _read_folder(path: Path, options: Options) -> Dataset:
    return _read_container(path, options, Folder, "folder of images")


def _read_archive(path: Path, options: Options) -> Dataset:
    return _read_container(path, options, archive, "archive of images")


def _read_container(path: Path, options: Options, opener: Callable[[Path], Any], source: str) -> Dataset:
    with closing(opener(path)) as container:
        cifar.refuse_pickles(path, container.files())
        if cifar.in_container(container):
            _refuse_unused(options, str(path), ("label",))
            return cifar.read_container(container, options)
        _refuse_unused(options, str(path), ("image_size",))
        return read_class_folders(container, options, source)


READERS: tuple[Reader, ...] = (
    Reader(".npz", _ends(".npz"), arrays.read_npz),
    Reader(".npy (labels beside it)", _ends(".npy"), arrays.read_npy),
    Reader("CSV or TSV, plain or gzip", _ends(*tables.TEXT_SUFFIXES), tables.read, ("label", "image_size")),
    Reader("Parquet", _ends(*tables.PARQUET_SUFFIXES), tables.read, ("label", "image_size")),
    Reader("CIFAR-10/100 binary (.bin)", _ends(".bin"), cifar.read_file, ("label",)),
    Reader(
        "archive of class folders or CIFAR binary files (.zip, .tar, .tar.gz, .tar.xz, .tar.bz2)",
        _ends(*ARCHIVE_SUFFIXES),
        _read_archive,
        ("label", "image_size"),
    ),
    # IDX is known by its first bytes too, which a CIFAR file may have by chance: it comes after all fixed endings.
    Reader("IDX (MNIST), plain or gzip", idx.recognises, idx.read),
    Reader("folder of .npy files", arrays.is_npy_folder, arrays.read_npy_folder),
    Reader(
        "folder of tables (train.csv, test.csv)", tables.is_table_folder, tables.read_folder, ("label", "image_size")
    ),
    Reader("folder of class folders or CIFAR binary files", Path.is_dir, _read_folder, ("label", "image_size")),
)


def load(
    source: Any,
    *,
    label: str | None = None,
    skip_bad: bool = False,
    image_size: int | tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    labelled: bool = True,
) -> Dataset:
    """Read a data set.

    Args:
        source: a Dataset (returned as it is); a pair (X, y) of arrays or of .npy paths; a dict of arrays ("X_train",
            "y_train", "X_test", ...); the name of a built-in set, such as "digits" or "rings" (a folder of that name
            is "./digits"); or the path of a folder of class folders, an archive of one (.zip, .tar, .tar.gz, .tar.xz,
            .tar.bz2: streamed, never unpacked), an .npz or .npy file, a folder of .npy files, a CSV, TSV or Parquet
            table or a folder of train and test tables, CIFAR-10/100 binary files, or IDX files.
        label: the label column of a table; "fine" or "coarse" for CIFAR-100 (default fine).
        skip_bad: leave out unreadable images and list them in `Dataset.skipped`, instead of failing at the first.
        image_size: (height, width), or one number for a square, to resize every image to. By default all images must
            have one size.
        max_pixels: images with more pixels are refused before they are decoded (default 64 million).
        labelled: False lets data without labels pass (to predict on): X alone, a flat folder of images, a table
            without a label column. Labels that are there are still read.

    Returns:
        the Dataset, its content checked: sizes, finite numbers, labels in range. Whether a classifier can be trained
        on it is for `check_trainable` to say.

    Raises:
        DataError: the data is missing, damaged or does not fit; the message names the file and the remedy.
        UsageError: an argument that does not fit the data.
    """
    options = Options.of(label, skip_bad, image_size, max_pixels, labelled)
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str) and source in BUILTIN:
        _refuse_unused(options, source, ())
        return BUILTIN[source]()
    if isinstance(source, (str, Path)):
        return _load_path(Path(source), options)
    _refuse_unused(options, "arrays", ())
    if isinstance(source, Mapping):
        return arrays.from_named(map(str, source), source.__getitem__, "data", "arrays", "arrays", options)
    if isinstance(source, (tuple, list)) and len(source) == 2 and (isinstance(source, tuple) or labelled):
        return arrays.read_pair(*source)
    if not labelled:
        return arrays.read_pair(source, None)
    raise UsageError(
        f"data is {type(source).__name__}; give a pair (X, y), a path, a Dataset or a name such as 'digits' "
        "(labelled=False lets X alone pass)"
    )


def _names() -> str:
    return "the names " + ", ".join(map(repr, BUILTIN))


def _load_path(path: Path, options: Options) -> Dataset:
    with reading(path):
        there = path.exists()
    if not there:
        raise DataError(f"{path}: no such file or folder{_near(path)}; {_names()} need no file")
    cifar.refuse_pickles(path, [path.name])
    try:
        reader = next((reader for reader in READERS if reader.recognises(path)), None)
        if reader is not None:
            _refuse_unused(options, str(path), reader.takes)
            return reader.read(path, options)
    except (OSError, MemoryError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    known = "; ".join(reader.name for reader in READERS)
    raise DataError(f"{path}: its format is not known by its name or its first bytes. Known are: {known}")


def _near(path: Path) -> str:
    try:
        return nearest(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        return ""


def _refuse_unused(options: Options, source: str, takes: tuple[str, ...]) -> None:
    if options.label is not None and "label" not in takes:
        raise UsageError(f"label is {options.label!r}, but {source} has no columns; leave it out")
    if options.image_size is not None and "image_size" not in takes:
        raise UsageError(f"image_size is given, but {source} holds no image files to resize; leave it out")

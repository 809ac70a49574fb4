"""Arrays: pairs in memory, .npz files, .npy files alone or in a folder (memory-mapped).

The names of arrays follow one grammar, in any case: a word for features (X, features, images, data) or labels (y,
label, labels, target, targets), alone or with a split before or after it: X_train, train_images, y_test, val_labels.
`classes` (or class_names, target_names, label_names) holds the class names, `feature_names` the features'.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from thalweg.data.checks import as_features, read_exactly, reading
from thalweg.data.class_folders import SPLIT_NAMES, split_of
from thalweg.data.containers import stem
from thalweg.data.dataset import Dataset, Split
from thalweg.data.labels import encode_labels
from thalweg.data.options import Options
from thalweg.errors import DataError

__all__ = ["from_arrays", "from_named", "is_npy_folder", "read_npy", "read_npy_folder", "read_npz", "read_pair"]

FEATURE_WORDS = ("x", "features", "images", "data")
LABEL_WORDS = ("y", "label", "labels", "target", "targets")
CLASS_WORDS = ("classes", "class_names", "target_names", "label_names")
_PICKLES = "it holds Python objects (a pickle), which can run code when read and are refused; save plain arrays"


@dataclass
class _Parts:
    """Arrays sorted by what their names say."""

    features: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    classes: str | None = None
    feature_names: str | None = None


def meaning(name: str) -> tuple[str, str] | None:
    """What an array's name says: ("features" or "labels", split), or None. No split in the name means train."""
    lower = name.lower()
    for words, kind in ((FEATURE_WORDS, "features"), (LABEL_WORDS, "labels")):
        if lower in words:
            return kind, "train"
        first, _, last = lower.partition("_")
        for word, split in ((first, last), (last, first)):
            if word in words and split_of(split) is not None:
                return kind, split_of(split) or ""
    return None


def _sort(names: Iterable[str], where: str) -> _Parts:
    parts = _Parts()
    for name in names:
        if name.lower() in CLASS_WORDS:
            parts.classes = name
        elif name.lower() == "feature_names":
            parts.feature_names = name
        elif (found := meaning(name)) is not None:
            kind, split = found
            target = parts.features if kind == "features" else parts.labels
            if split in target:
                raise DataError(f"{where}: {target[split]!r} and {name!r} both hold the {kind} of {split}; keep one")
            target[split] = name
    return parts


def from_named(
    names: Iterable[str], fetch: Callable[[str], Any], where: str, name: str, source: str, options: Options
) -> Dataset:
    """Build a Dataset from named arrays; `fetch` reads one."""
    names = sorted(names)
    parts = _sort(names, where)
    if "train" not in parts.features:
        held = ", ".join(map(repr, names[:12])) or "nothing"
        raise DataError(f"{where}: no features among {held}; name arrays X and y, or X_train, y_train, X_test, ...")
    order = [split for split in SPLIT_NAMES if split in parts.features]
    if parts.labels or options.labelled:
        _check_partners(parts, where)
    classes, feature_names = (
        None if key is None else _texts(np.asarray(fetch(key)), f"{where}: {key}")
        for key in (parts.classes, parts.feature_names)
    )
    return from_arrays(
        {
            split: (fetch(parts.features[split]), fetch(parts.labels[split]) if parts.labels else None)
            for split in order
        },
        {split: f"{where}: {parts.features[split]}" for split in order},
        name,
        source,
        classes,
        feature_names,
    )


def _check_partners(parts: _Parts, where: str) -> None:
    for split in SPLIT_NAMES:
        if split in parts.features and split not in parts.labels:
            raise DataError(f"{where}: {parts.features[split]!r} has no labels; add an array 'y_{split}', or 'y'")
        if split in parts.labels and split not in parts.features:
            raise DataError(f"{where}: {parts.labels[split]!r} has no features; add an array 'X_{split}', or 'X'")


def from_arrays(
    arrays: Mapping[str, tuple[Any, Any]],
    wheres: Mapping[str, str],
    name: str,
    source: str,
    classes: tuple[str, ...] | None = None,
    feature_names: tuple[str, ...] | None = None,
) -> Dataset:
    """Check and convert {split: (features, labels or None)} into a Dataset; `wheres` names each for messages."""
    features = {split: as_features(x, wheres[split], feature_names) for split, (x, _) in arrays.items()}
    labels: dict[str, np.ndarray] = {}
    names: tuple[str, ...] = classes or ()
    if all(y is not None for _, y in arrays.values()):
        raw = [y for _, y in arrays.values()]
        encoded, names = encode_labels(raw, [f"{where} (labels)" for where in wheres.values()], classes)
        labels = dict(zip(arrays, encoded, strict=True))
    for split, y in labels.items():
        if len(y) != len(features[split]):
            raise DataError(
                f"{wheres[split]}: {len(features[split])} examples but {len(y)} labels; give one label an example"
            )
    if len({x.dtype for x in features.values()}) > 1:
        # uint8 beside float32: one of them was scaled by hand, and a guess at the other's scale would be silent.
        kinds = ", ".join(f"{split} is {x.dtype}" for split, x in features.items())
        raise DataError(f"{next(iter(wheres.values()))}: {kinds}; save all splits with one dtype")
    splits = {split: Split(x, labels.get(split)) for split, x in features.items()}
    return Dataset(
        name,
        source,
        splits["train"],
        names,
        splits.get("validation"),
        splits.get("test"),
        feature_names=feature_names,
    )


def read_pair(features: Any, labels: Any) -> Dataset:
    """A pair (X, y) of arrays, or of paths to .npy files; y is None where there are no labels."""
    name = "arrays"
    if isinstance(features, (str, Path)):
        name = stem(Path(features))
        features = open_npy(Path(features))
    if isinstance(labels, (str, Path)):
        labels = open_npy(Path(labels))
    return from_arrays({"train": (features, labels)}, {"train": "X"}, name, "arrays")


def read_npz(path: Path, options: Options) -> Dataset:
    """An .npz file."""
    with reading(path):
        file = zipfile.ZipFile(path)
    with file:
        members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}

        def fetch(name: str) -> np.ndarray:
            info = members[name]
            where = f"{path}: {name}"
            with reading(where), file.open(info) as stream:
                header = _check_header(stream, info.file_size, where)
                return header.shaped(read_exactly(stream, header.bytes, where))

        return from_named(members, fetch, str(path), stem(path), ".npz", options)


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def shaped(self, data: np.ndarray) -> np.ndarray:
        """The array of which `data` are the bytes."""
        return data.view(self.dtype).reshape(self.shape, order="F" if self.fortran else "C")


def _check_header(stream: IO[bytes], size: int, where: str) -> _Header:
    """Read an .npy header; refuse objects, and a size that is not the file's."""
    major, _ = np.lib.format.read_magic(stream)
    if major not in (1, 2, 3):
        raise DataError(f"{where}: is of .npy version {major}; save it with versions 1 to 3")
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    header = _Header(*read(stream))
    if header.dtype.hasobject:
        raise DataError(f"{where}: {_PICKLES}")
    there = size - stream.tell()
    if any(n < 0 for n in header.shape) or there != header.bytes:
        state = "truncated" if there < header.bytes else "longer than it says"
        raise DataError(
            f"{where}: is {state}: its header tells of {header.bytes:,} bytes of data, {there:,} are there; make or "
            "fetch it again"
        )
    if header.bytes == 0:
        raise DataError(f"{where}: has shape {header.shape}: there is nothing in it")
    return header


def open_npy(path: Path) -> np.ndarray:
    """An .npy file, memory-mapped read-only."""
    with reading(path):
        with path.open("rb") as file:
            _check_header(file, path.stat().st_size, str(path))
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array


def read_npy(path: Path, options: Options) -> Dataset:
    """An .npy file of features, its labels in a file beside it.

    X.npy goes with y.npy, features.npy with labels.npy, X_test.npy with y_test.npy, NAME.npy with NAME_labels.npy;
    and any with labels.npy or y.npy.
    """
    found = meaning(path.stem)
    if found is not None and found[0] == "labels":
        raise DataError(f"{path}: holds labels by its name; give the path of the features, or of the folder of both")
    beside = {other.stem.lower(): other for other in path.parent.glob("*.npy")}
    candidates = [f"{path.stem}_labels".lower()]
    if found is not None:
        candidates += [name for name in beside if meaning(name) == ("labels", found[1])]
    candidates += ["labels", "y"]
    labels = next((beside[name] for name in candidates if name in beside and beside[name] != path), None)
    if labels is None and options.labelled:
        tried = ", ".join(f"{name}.npy" for name in dict.fromkeys(candidates))
        raise DataError(f"{path}: no labels beside it (tried {tried}); save them under one of these names")
    classes = next((beside[name] for name in CLASS_WORDS if name in beside), None)
    return from_arrays(
        {"train": (open_npy(path), None if labels is None else open_npy(labels))},
        {"train": str(path)},
        stem(path),
        ".npy, memory-mapped",
        None if classes is None else _texts(open_npy(classes), str(classes)),
    )


def is_npy_folder(path: Path) -> bool:
    """True for a folder that holds features as .npy files by our names."""
    return path.is_dir() and any((meaning(file.stem) or ("",))[0] == "features" for file in path.glob("*.npy"))


def read_npy_folder(path: Path, options: Options) -> Dataset:
    """A folder of .npy files: X_train.npy, y_train.npy, X_test.npy, ..., memory-mapped."""
    files = {file.stem: file for file in path.glob("*.npy")}
    source = "folder of .npy, memory-mapped"
    return from_named(files, lambda name: open_npy(files[name]), str(path), path.name, source, options)


def _texts(array: np.ndarray, where: str) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise DataError(f"{where}: is {array.dtype} of shape {array.shape}; give a list of names")
    if array.dtype.kind == "S":
        with reading(where, "give the names as text"):
            array = np.char.decode(array, "utf-8")
    return tuple(map(str, array.tolist()))

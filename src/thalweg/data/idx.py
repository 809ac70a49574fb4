"""IDX files, the format of MNIST: plain or gzip, images and labels in two files.

A file is: two zero bytes, a type code, the number of dimensions; each dimension as a big-endian uint32; the entries,
big-endian. Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
from pathlib import Path
from typing import IO, cast

import numpy as np

from thalweg.data.arrays import from_arrays
from thalweg.data.checks import read_exactly, reading
from thalweg.data.class_folders import SPLIT_NAMES, split_of
from thalweg.data.dataset import Dataset
from thalweg.data.options import Options
from thalweg.errors import DataError

__all__ = ["read", "read_idx", "recognises"]

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NAME = re.compile(r"(?P<prefix>.*?)(?P<kind>images|labels)[-._]?idx\d?([-._]?u?byte)?(?P<gz>\.gz)?", re.IGNORECASE)
_MAX_DIMENSIONS = 4


def recognises(path: Path) -> bool:
    """True for a file that is IDX by its name or its first bytes, and for a folder that holds one by name."""
    if path.is_dir():
        return any(_NAME.fullmatch(file.name) for file in path.iterdir())
    if _NAME.fullmatch(path.name):
        return True
    with path.open("rb") as file:
        start = file.read(4)
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in _TYPES and 1 <= start[3] <= _MAX_DIMENSIONS


def read(path: Path, options: Options) -> Dataset:
    """A folder of IDX files, or one images file with its labels beside it."""
    pairs = _pairs_in(path) if path.is_dir() else {"train": (path, _labels_beside(path))}
    if "train" not in pairs:
        raise DataError(f"{path}: has IDX files for {', '.join(pairs)} but none for train; give one images file's path")
    arrays = {}
    for split in (name for name in SPLIT_NAMES if name in pairs):
        images, labels = pairs[split]
        if labels is None and options.labelled:
            raise DataError(f"{images}: no labels file beside it; it is named alike, with 'labels' for 'images'")
        arrays[split] = (_images(images), None if labels is None else _labels(labels))
    if any(y is None for _, y in arrays.values()):
        arrays = {split: (x, None) for split, (x, _) in arrays.items()}
    first = pairs["train"][0]
    zipped = ", gzip" if _is_gzip(first) else ""
    name = path.name if path.is_dir() else path.name.partition(".")[0]
    return from_arrays(arrays, {split: str(pairs[split][0]) for split in arrays}, name, f"IDX{zipped}")


def _images(path: Path) -> np.ndarray:
    images = read_idx(path)
    if images.ndim < 2:
        raise DataError(f"{path}: holds {images.ndim} dimension, as labels do; images have three")
    return images


def _labels(path: Path) -> np.ndarray:
    labels = read_idx(path)
    if labels.ndim != 1:
        raise DataError(f"{path}: holds {labels.ndim} dimensions, as images do; labels have one")
    return labels


def read_idx(path: Path) -> np.ndarray:
    """Read one IDX file, and check that it is exactly as long as its header says."""
    with reading(path), path.open("rb") as file:
        if _is_gzip(path):
            with gzip.GzipFile(fileobj=file) as stream:
                return _parse(cast(IO[bytes], stream), path)
        return _parse(file, path)


def _parse(stream: IO[bytes], path: Path) -> np.ndarray:
    zeros, code, dimensions = struct.unpack(">HBB", read_exactly(stream, 4, path).tobytes())
    if zeros != 0 or code not in _TYPES or not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise DataError(
            f"{path}: is no IDX file: it starts with {zeros:04x} {code:02x} {dimensions:02x}; the first two bytes must "
            f"be 0, the third a type code (08 for uint8), the fourth 1 to {_MAX_DIMENSIONS} dimensions"
        )
    shape = struct.unpack(f">{dimensions}I", read_exactly(stream, 4 * dimensions, path).tobytes())
    dtype = np.dtype(_TYPES[code])
    data = read_exactly(stream, math.prod(shape) * dtype.itemsize, path)
    if stream.read(1):
        raise DataError(f"{path}: is longer than its header's {shape} entries; make or fetch it again")
    return data.view(dtype).reshape(shape)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _part(prefix: str) -> tuple[str, str]:
    """Split a file's prefix into (data set, split): "emnist-letters-train-" → ("emnist-letters", "train")."""
    words = [word for word in re.split(r"[-._]", prefix) if word]
    for i, word in enumerate(words):
        split = "test" if word.lower() in ("t10k", "t60k") else split_of(word)
        if split is not None:
            return "-".join(words[:i] + words[i + 1 :]), split
    return "-".join(words), "train"


def _pairs_in(folder: Path) -> dict[str, tuple[Path, Path | None]]:
    images: dict[tuple[str, str], Path] = {}
    labels: dict[tuple[str, str], Path] = {}
    for file in sorted(folder.iterdir()):
        match = _NAME.fullmatch(file.name)
        if match is None:
            continue
        found = images if match["kind"].lower() == "images" else labels
        part = _part(match["prefix"])
        # The same file plain and gzipped is common after unpacking: the plain one is read.
        if part in found and not (bool(match["gz"]) or found[part].name.lower().endswith(".gz")):
            raise DataError(f"{folder}: {found[part].name!r} and {file.name!r} hold the same part; keep one")
        if part not in found or not match["gz"]:
            found[part] = file
    sets = sorted({name for name, _ in (*images, *labels)})
    if len(sets) > 1:
        raise DataError(f"{folder}: holds several data sets ({', '.join(sets)}); move each to its own folder")
    lonely = sorted(file.name for part, file in labels.items() if part not in images)
    if lonely:
        raise DataError(f"{folder}: {lonely[0]!r} has no images file beside it; add it, or remove the labels")
    return {part[1]: (file, labels.get(part)) for part, file in images.items()}


def _labels_beside(path: Path) -> Path | None:
    """The labels file that belongs to an images file, found by its name."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return _renamed(path)
    if match["kind"].lower() == "labels":
        raise DataError(f"{path}: holds labels by its name; give the path of the images file, or of the folder of both")
    alike = [file for file in sorted(path.parent.iterdir()) if _belongs(file, match["prefix"])]
    same_end = [file for file in alike if file.suffix == path.suffix]
    return next(iter([*same_end, *alike]), None)


def _belongs(file: Path, prefix: str) -> bool:
    match = _NAME.fullmatch(file.name)
    return match is not None and match["kind"].lower() == "labels" and match["prefix"] == prefix


def _renamed(path: Path) -> Path | None:
    """For a name outside the custom: the same with "images" turned into "labels", where such a file is."""
    other = path.with_name(path.name.replace("images", "labels"))
    return other if other != path and other.exists() else None

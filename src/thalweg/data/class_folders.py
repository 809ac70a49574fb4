"""Images in class folders, in a folder or an archive: the layout, and the data set made of it.

    PATH/cat/1.png, PATH/dog/2.png                       one part
    PATH/train/cat/1.png, PATH/test/cat/2.png            train and test, and val, valid or validation where given

One folder around all of this is tolerated. Files in folders further down belong to the class folder above them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from thalweg.data.containers import Container, base, stem
from thalweg.data.dataset import Dataset, Split
from thalweg.data.images import IMAGE_SUFFIXES, Job, Pixels, decode_all
from thalweg.data.labels import label_order
from thalweg.data.options import Options
from thalweg.errors import DataError

__all__ = ["SPLIT_NAMES", "read_class_folders", "split_of", "take_rows"]

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
# Files that stand beside images by custom. Any other file without an image's ending is an error: a folder of HEIC
# photographs among JPEGs must not vanish without a word.
_ASIDE_SUFFIXES = tuple(".txt .md .rst .json .csv .tsv .xml .html .yaml .yml .toml .pdf .log .ini .db".split())  # noqa: SIM905
_ASIDE_STEMS = ("README", "LICENSE", "LICENCE", "NOTICE", "COPYING", "AUTHORS", "CITATION", "CHANGELOG", "VERSION")


def split_of(name: str) -> str | None:
    """The split that a folder or file stem stands for ("val" → "validation"), or None."""
    return next((split for split, names in SPLIT_NAMES.items() if name.lower() in names), None)


@dataclass
class _Part:
    """The images of one split: their names, each with its class."""

    files: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)


def read_class_folders(container: Container, options: Options, source: str) -> Dataset:
    """Read all images of the container into a Dataset, labelled by their folders."""
    images = [name for name in container.files() if not _aside(name)]
    if not any(name.lower().endswith(IMAGE_SUFFIXES) or "." not in base(name) for name in images):
        instead = f" (but {container.files()[0]!r})" if container.files() else ""
        raise DataError(
            f"{container.path}: holds no images{instead}; put images into class folders, PATH/CLASS/image.png, or give "
            "the path of the file that holds the data"
        )
    prefix = _wrapper(container)
    if not options.labelled and _loose(images, prefix):
        parts = {"train": _Part(files=images)}
    else:
        parts = _plan(container, images, prefix)
        for part in parts.values():
            _check_classes(container, part)
    order = [split for split in SPLIT_NAMES if split in parts]
    names = [name for split in order for name in parts[split].files]
    pixels = decode_all(_jobs(container, names), len(names), str(container.path), options)
    return _assemble(container, [(split, parts[split]) for split in order], pixels, source)


def _aside(name: str) -> bool:
    last = base(name)
    return last.lower().endswith(_ASIDE_SUFFIXES) or last.partition(".")[0].upper() in _ASIDE_STEMS


def _wrapper(container: Container) -> str:
    """The folder ("name/") around everything, or "". A lone folder that holds images itself is a class."""
    tops = {name.partition("/")[0] for name in container.folders()}
    if len(tops) != 1 or any("/" not in name and not _aside(name) for name in container.files()):
        return ""
    prefix = f"{tops.pop()}/"
    direct = any("/" not in name.removeprefix(prefix) and not _aside(name) for name in container.files())
    inner = any(name.startswith(prefix) for name in container.folders())
    return "" if direct or not inner or split_of(prefix[:-1]) else prefix


def _loose(images: Sequence[str], prefix: str) -> bool:
    return any("/" not in name.removeprefix(prefix) for name in images)


def _plan(container: Container, images: Sequence[str], prefix: str) -> dict[str, _Part]:
    """Give each image and each class folder its split."""
    inside = [name.removeprefix(prefix) for name in container.folders() if name.startswith(prefix)]
    tops = sorted({name.partition("/")[0] for name in inside if name})
    splits = _split_folders(container, tops)
    parts: dict[str, _Part] = {split: _Part() for split in splits.values()} or {"train": _Part()}
    depth = 1 if splits else 0
    for name in inside:
        pieces = name.split("/")
        if len(pieces) > depth and name:
            parts[splits.get(pieces[0], "train")].folders.add(pieces[depth])
    for name in images:
        pieces = name.removeprefix(prefix).split("/")
        if len(pieces) < depth + 2:
            raise DataError(
                f"{container.path}: image {name!r} stands outside of any class folder; put it into CLASS/ "
                "(or TRAIN/CLASS/), the folder's name being its label"
            )
        part = parts[splits.get(pieces[0], "train")]
        part.files.append(name)
        part.classes.append(pieces[depth])
    return parts


def _split_folders(container: Container, tops: Sequence[str]) -> dict[str, str]:
    """Map top folders to splits where they are train/, test/, ...; an empty map where they are classes."""
    splits = {top: split for top in tops if (split := split_of(top)) is not None}
    if "train" not in splits.values():
        if splits and len(splits) == len(tops):
            raise DataError(
                f"{container.path}: holds {', '.join(tops)} but no train; add train/, or give one of them as the path"
            )
        return {}
    others = [top for top in tops if top not in splits]
    if others:
        raise DataError(
            f"{container.path}: folder {others[0]!r} stands beside the splits {', '.join(splits)}; move it into one "
            "of them, or away"
        )
    if len(set(splits.values())) < len(splits):
        raise DataError(f"{container.path}: {', '.join(splits)} name the same split twice; keep one of each")
    return splits


def _check_classes(container: Container, part: _Part) -> None:
    empty = sorted(part.folders - set(part.classes))
    if empty:
        raise DataError(f"{container.path}: class folder {empty[0]!r} holds no images; fill or remove it")
    if not part.files:
        raise DataError(f"{container.path}: one of its splits holds no images; fill or remove it")


def _jobs(container: Container, names: Sequence[str]) -> Iterator[Job]:
    rows = {name: row for row, name in enumerate(names)}
    for entry in container.read(rows.keys()):
        yield Job(rows[entry.name], entry.name, entry.size, entry.read)


def _assemble(container: Container, parts: Sequence[tuple[str, _Part]], pixels: Pixels, source: str) -> Dataset:
    classes = tuple(sorted({name for _, part in parts for name in part.classes}, key=label_order))
    splits: dict[str, Split] = {}
    start = 0
    for split, part in parts:
        splits[split] = take_rows(pixels, start, part.files, str(container.path), _labels(part, classes))
        start += len(part.files)
    for split, part in parts:
        _check_left(container, part, splits[split], classes)
    return Dataset(
        stem(container.path),
        source,
        splits["train"],
        classes,
        splits.get("validation"),
        splits.get("test"),
        pixels.skipped,
    )


def _labels(part: _Part, classes: Sequence[str]) -> np.ndarray | None:
    if not part.classes:
        return None
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[name] for name in part.classes], np.int32)


def _check_left(container: Container, part: _Part, split: Split, classes: Sequence[str]) -> None:
    if split.labels is None:
        return
    left = {classes[i] for i in np.unique(split.labels)}
    for name in sorted(set(part.classes)):
        if name not in left:
            raise DataError(f"{container.path}: every image of class {name!r} is unreadable; replace them")


def take_rows(pixels: Pixels, start: int, names: Sequence[str], source: str, labels: np.ndarray | None) -> Split:
    """The split of the rows from `start` on, one a name, without those that could not be read."""
    rows = slice(start, start + len(names))
    good = pixels.good[rows]
    if good.all():
        return Split(pixels.array[rows], labels, tuple(names))
    if not good.any():
        raise DataError(f"{source}: every image of one split is unreadable; replace them")
    kept = tuple(name for name, there in zip(names, good, strict=True) if there)
    return Split(pixels.array[rows][good], None if labels is None else labels[good], kept)

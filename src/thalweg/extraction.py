"""From images to features: fitted on the training split, streamed, and kept on disk for the next run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.atomic import new_folder
from thalweg.data import Dataset, Split
from thalweg.data.preprocessing import Preprocessing, fit_preprocessing
from thalweg.errors import ThalwegError
from thalweg.recipe_files import encode

__all__ = ["View", "extract", "view"]

MARK = "features.json"
_VERSION = 1  # of what the features compute: a new number makes old files count no more

Tell = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class View:
    """A data set as one choice of features shows it.

    ``features`` is that choice (None: the data as it comes), ``state`` what it learned
    from the training images, ``dataset`` the data in its terms, ``preprocessing`` the
    map fitted to that, ``note`` where the features lie on disk, in words.
    """

    features: Any
    state: dict[str, np.ndarray]
    dataset: Dataset
    preprocessing: Preprocessing
    note: str = ""


def view(
    dataset: Dataset, features: Any, preprocessing: str | None, *, cache: Path | None = None, tell: Tell | None = None
) -> View:
    """Show a data set, already split, through features, and fit the preprocessing to what comes out."""
    state: dict[str, np.ndarray] = {}
    note = ""
    if features is not None:
        dataset, state, note = extract(dataset, features, cache=cache, tell=tell)
    return View(
        features, state, dataset, fit_preprocessing(dataset.train.features, preprocessing, dataset.train.weights), note
    )


def extract(
    dataset: Dataset, features: Any, *, cache: Path | None = None, tell: Tell | None = None
) -> tuple[Dataset, dict[str, np.ndarray], str]:
    """Return the data set with features (N, D) in the place of images, what was learned, and where they are kept.

    Only the training split is learned from. With ``cache``, a folder, the result is
    written there under a name made of the data's fingerprint and the features'
    description, and read back (memory-mapped) when both come again. ``tell`` hears
    where the work stands.

    Raises a UsageError where the features cannot be had from this data.
    """
    features.check(dataset.feature_shape, dataset.train.features.dtype)
    place = cache / _key(dataset, features) if cache is not None and _is_known(features) else None
    damage = ""
    if place is not None and (place / MARK).is_file():
        try:
            return *_read(place, dataset, features), f"the features {features.name} were read from {place}"
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            damage = f"what was kept in {place} is damaged ({error}), so it was computed again; "
    state = features.fit(dataset.train.features, progress=_counter(tell, f"learning {features.name}"))
    found = {
        name: features.transform(split.features, state, progress=_counter(tell, f"{features.name} of {name} images"))
        for name, split in dataset.splits()
    }
    note = "" if place is None else damage + _write(place, found, state, features)
    return _with_features(dataset, found), state, note


def _is_known(features: Any) -> bool:
    """True for what this library computes. Nothing here tells when the code of somebody's own part has changed."""
    parts = getattr(features, "parts", (features,))
    return all(type(part).__module__.startswith("thalweg.features.") for part in parts)


def _counter(tell: Tell | None, what: str) -> Callable[[int, int], None] | None:
    if tell is None:
        return None
    return lambda done, total: tell(f"{what}: {done:,} of {total:,}")


def _key(dataset: Dataset, features: Any) -> str:
    about = json.dumps([_VERSION, dataset.fingerprint(), encode(features)])
    return hashlib.sha256(about.encode()).hexdigest()[:16]


def _write(place: Path, found: dict[str, np.ndarray], state: dict[str, np.ndarray], features: Any) -> str:
    """Write the arrays, whole or not at all. They can be had again, so a full disk is told of and stops nothing."""
    try:
        with new_folder(place, overwrite=True, mark=MARK) as temporary:
            for name, array in found.items():
                np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            np.savez(temporary / "state.npz", allow_pickle=False, **state)
            sums = {file.name: _sum(file) for file in sorted(temporary.iterdir())}
            about = {"features": encode(features), "sums": sums}
            (temporary / MARK).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    except ThalwegError as error:
        why = error.__cause__ or f"{place.parent} is no folder"
        return f"the features {features.name} are not kept for the next run: {why}"
    size = sum(array.nbytes for array in found.values())
    return f"the features {features.name} are kept in {place} ({size / 1e6:,.0f} MB) for the next run on this data"


def _read(place: Path, dataset: Dataset, features: Any) -> tuple[Dataset, dict[str, np.ndarray]]:
    shape = dataset.feature_shape
    sums = json.loads((place / MARK).read_text(encoding="utf-8"))["sums"]
    for name, expected in sums.items():
        if _sum(place / name) != expected:
            raise ValueError(f"{name} has changed")
    found = {name: np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name, _ in dataset.splits()}
    with np.load(place / "state.npz", allow_pickle=False) as file:
        state = {name: file[name] for name in features.state_shapes(shape)}
    for name, split in dataset.splits():
        if found[name].shape != (len(split), features.size(shape)) or found[name].dtype != np.float32:
            raise ValueError(f"{name}.npy holds {found[name].dtype} {found[name].shape}")
    return _with_features(dataset, found), state


def _sum(path: Path) -> str:
    """Return a digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, hashlib.blake2b).hexdigest()


def _with_features(dataset: Dataset, found: dict[str, np.ndarray]) -> Dataset:
    def changed(name: str, split: Split | None) -> Split | None:
        return None if split is None else dataclasses.replace(split, features=found[name])

    train = changed("train", dataset.train)
    assert train is not None
    return dataclasses.replace(
        dataset, train=train, validation=changed("validation", dataset.validation), test=changed("test", dataset.test),
        feature_names=None,
    )  # fmt: skip

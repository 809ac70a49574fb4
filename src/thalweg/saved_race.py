"""Reading a race folder back: the same `Race`, its racers and its settings that were saved."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.artifacts.race_folder import ARRAYS, FORMAT, GRID, MARK, OWN_KEYS
from thalweg.errors import DataError
from thalweg.landscapes.base import Landscape
from thalweg.landscapes.known import BUILT_IN, Sampled
from thalweg.landscapes.records import STATUSES, Race
from thalweg.landscapes.wrapped import Noisy
from thalweg.recipe_files import Named, decode, kinds
from thalweg.schedules import Constant
from thalweg.solvers import BFGS, LBFGS, Newton

__all__ = ["NamedRacer", "load_race"]

_SOLVERS = {"newton": Newton, "bfgs": BFGS, "lbfgs": LBFGS}
_SCHEDULED = ("learning_rate", "then", "schedule")  # keys of an optimizer's record that hold a schedule
# RuntimeError: a flipped bit may say that an archive is encrypted, or packed in some way that zipfile does not know.
_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, OverflowError, MemoryError,
    RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class NamedRacer(Named):
    """A racer that was Python code: its name, what race.json says of it, and its rate. It cannot race again."""

    learning_rate: Any = None


def load_race(folder: str | Path) -> tuple[Race, list[Any], dict[str, Any]]:
    """Return the race, the racers and the settings that were saved in a folder.

    Saving these again writes the same files. A racer that was Python code (an Optax transformation, a class of one's
    own) comes back as a `NamedRacer`; a landscape that was, as a `landscapes.known.Sampled`, which has the values
    that the folder keeps: enough to draw the race, not to race again.

    Raises:
        DataError: the folder is no race folder, is damaged, or of another version.
    """
    folder = Path(folder)
    record = _record(folder)
    try:
        arrays = _arrays(folder, record)
        landscape = _landscape(record["landscape"], arrays)
        racers = [_racer(told) for told in record["racers"]]
        race = _race(record, landscape, arrays)
    except DataError:
        raise
    except _DAMAGE as error:  # also what a landscape or an optimizer refuses: UsageError is a ValueError
        raise DataError(f"{folder} is damaged ({type(error).__name__}: {error}); run the race again") from error
    return race, racers, {key: value for key, value in record.items() if key not in OWN_KEYS}


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        hint = "it is a run's: load_run reads it" if (folder / "run.json").is_file() else "give what --out named"
        raise DataError(f"{folder} is no race folder: there is no {MARK} in it; {hint}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{folder / MARK} is damaged ({type(error).__name__}: {error}); run the race again") from error
    found = record.get("format") if isinstance(record, dict) else record
    if isinstance(record, dict) and found is None:
        raise DataError(f"{folder} was written before race folders could be read back; run the race again")
    if found != FORMAT:
        raise DataError(f"{folder} has format {found!r}, this version reads {FORMAT}; use the version that wrote it")
    return dict(record)


def _arrays(folder: Path, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read race.npz, and hold the shapes in it to each other and to race.json."""
    # NumPy leaves a file that it opened itself open where it finds no archive.
    with open(folder / "race.npz", "rb") as handle, np.load(handle, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    racers, starts, steps = len(record["racers"]), len(record["starts"]), int(record["steps"])
    shapes = {"starts": (starts, 2), "positions": (racers, starts, steps + 1, 2)}
    for name in ARRAYS:
        ends = name in ("status", "ended", "evaluations")
        expected = shapes.get(name, (racers, starts) if ends else (racers, starts, steps + 1))
        array = arrays[name]
        if array.shape != expected or array.dtype.kind not in ("iu" if ends else "f") or not racers * starts * steps:
            raise ValueError(f"{name} in race.npz is {array.dtype}{list(array.shape)}, not {list(expected)}")
    for name, high in (("status", len(STATUSES) - 1), ("ended", steps)):
        if arrays[name].min() < 0 or arrays[name].max() > high:
            raise ValueError(f"{name} in race.npz is not from 0 to {high}")
    if not np.isfinite(arrays["positions"]).all() or not np.isfinite(arrays["starts"]).all():
        raise ValueError("a position in race.npz is not finite")
    return arrays


def _landscape(told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Landscape:
    record = dict(told)
    if "noise" in record:
        scale = record.pop("noise")
        return Noisy(_landscape(record, arrays), scale)
    if "bounds" in record:
        missing = [name for name in GRID if name not in arrays]
        if missing:
            raise DataError(
                f"the race was on {record['name']!r}, a function that no file can hold, and race.npz lacks its values "
                f"({', '.join(missing)}); run the race again in Python"
            )
        return Sampled(record, *(arrays[name] for name in GRID))
    numbers = {name: value for name, value in record.items() if name not in ("name", "kind")}
    return BUILT_IN[record["kind"]](**numbers)


def _racer(told: Mapping[str, Any]) -> Any:
    """Build a racer from its record; what was Python code becomes a name."""
    encoded = told["optimizer"]
    kind = encoded["kind"]
    if kind in _SOLVERS:
        return _SOLVERS[kind](**{name: value for name, value in encoded.items() if name != "kind"})
    if _is_foreign(encoded, "optimizer"):
        rate = told["rate"]
        return NamedRacer("optimizer", json.dumps(encoded), None if rate is None else Constant(float(rate)))
    return decode({"optimizer": encoded}).optimizer


def _is_foreign(part: Any, role: str) -> bool:
    """True where a part, or a schedule within it, is of no kind that a file can name."""
    if not isinstance(part, Mapping) or "kind" not in part:
        return False
    return part["kind"] not in kinds(role) or any(_is_foreign(part.get(key), key) for key in _SCHEDULED)


def _race(record: Mapping[str, Any], landscape: Landscape, arrays: Mapping[str, np.ndarray]) -> Race:
    names, messages = tuple(told["name"] for told in record["racers"]), tuple(record["messages"])
    if not all(isinstance(text, str) for text in (*names, *messages)):
        raise TypeError("a name or a message is no text")
    return Race(landscape=landscape, names=names, messages=messages, **{name: arrays[name] for name in ARRAYS})

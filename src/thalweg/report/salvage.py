"""What can still be read of a run folder that is half-written, damaged or of another version."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from thalweg.report.salvage_arrays import check_arrays, check_model
from thalweg.report.salvage_text import Rows, plain, read_rows, read_tree, reason

__all__ = ["Facts", "File", "Rows", "Salvage", "salvage"]

FORMAT = 1  # of run.json, that `saved_run` reads
# What `saved_run` needs of each file.
TRIAL_COLUMNS = ("trial", "status", "at", "reason", "cohort", "trained_epochs", "kept_epoch")
METRICS = ("data_loss", "validation_loss", "validation_accuracy")
SOLUTION_COLUMNS = ("number", "loss", "penalty", "strength", "status", "value", "bound")
SOLUTION_ARRAYS = ("strength", "weights", "bias", "value", "bound", "shift", "scale")
MOST_NAMES = 50  # of classes, messages and other files
_SETTLED = ("best", "settings", "data", "seconds", "messages", "versions")  # keys of every run.json


@dataclass(frozen=True)
class File:
    """One file of a run folder: whether it is there and whole, and what is in it or wrong with it."""

    name: str
    state: Literal["whole", "damaged", "missing", "not there"]  # "not there": as it should be, for this run has none
    size: int | None
    about: str


@dataclass(frozen=True)
class Facts:
    """The verdict as run.json tells it; whatever is not there, or is not what it should be, is None or empty.

    ``best`` is the number of the selected trial (a path's: solution), accuracies are shares, ``interval`` is the
    test accuracy's, ``statuses`` pairs words with numbers of trials, ``seconds`` is the whole run's time.
    """

    count: int | None = None
    best: int | None = None
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    interval: tuple[float, float] | None = None
    statuses: tuple[tuple[str, int], ...] = ()
    seconds: float | None = None
    interrupted: bool = False
    data: str = ""
    classes: tuple[str, ...] = ()
    class_count: int | None = None
    versions: tuple[tuple[str, str], ...] = ()
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Salvage:
    """What was found in a run folder. All texts are in one line and cut short, and none is trusted: escape them.

    ``lacking`` says what is missing or damaged, ``remedies`` what to do, ``others`` names further files.
    """

    folder: str
    kind: Literal["sweep", "path"]
    lacking: tuple[str, ...]
    remedies: tuple[str, ...]
    files: tuple[File, ...]
    facts: Facts = field(default_factory=Facts)
    table: Rows = field(default_factory=Rows)
    others: tuple[str, ...] = ()


def salvage(folder: str | Path, why: str = "") -> Salvage:
    """Return whatever can be read of a sweep's, a fit's or a path's folder. Never raises; runs and unpickles nothing.

    What is read is bounded: 32 MB of run.json, 4 MB and 200 rows of a table, 256 MB of each file of arrays. Links are
    not followed.

    Args:
        folder: a run folder, or what is left of one.
        why: the message of the error by which it could not be read as a run; it then stands first.
    """
    folder = Path(folder)
    record, main = _main(folder)
    kind = _kind(folder, record)
    facts = _facts(record, kind)
    stem = "trials" if kind == "sweep" else "solutions"
    columns = TRIAL_COLUMNS if kind == "sweep" else SOLUTION_COLUMNS
    table, listed = _table(folder / f"{stem}.csv", columns, facts.count)
    name, arrays = ("history.npz", METRICS) if kind == "sweep" else ("solutions.npz", SOLUTION_ARRAYS)
    numbers = _file(folder / name, lambda path: check_arrays(path, arrays))
    model = _file(folder / "model.safetensors", check_model)
    if model.state == "missing" and record and not isinstance(record.get("best"), dict):
        model = File(model.name, "not there", None, "the run chose no model")
    files = (main, listed, numbers, model)
    lacking = _lacking(folder, record, files, facts, why)
    return Salvage(
        folder=plain(str(folder)),
        kind=kind,
        lacking=lacking,
        remedies=_remedies(record, files, facts),
        files=files,
        facts=facts,
        table=table,
        others=_others(folder, {file.name for file in files}),
    )


def _main(folder: Path) -> tuple[dict[str, Any], File]:
    """Return run.json's object, empty where it cannot be read, and what became of the file."""
    found: dict[str, Any] = {}

    def read(path: Path) -> str:
        found.update(read_tree(path))
        missing = [key for key in ("format", *_SETTLED) if key not in found]
        if missing:
            raise KeyError(f"it says nothing of {', '.join(missing)}")
        return "settings and verdict"

    return found, _file(folder / "run.json", read)


def _kind(folder: Path, record: dict[str, Any]) -> Literal["sweep", "path"]:
    if record:
        return "path" if record.get("kind") == "path" else "sweep"
    return "path" if any((folder / name).exists() for name in ("solutions.csv", "solutions.npz")) else "sweep"


def _file(path: Path, check: Callable[[Path], str]) -> File:
    """Check a file. Whatever a check raises, of whatever class, is damage: the file may be anybody's."""
    name = plain(path.name)
    try:
        size = os.lstat(path).st_size
    except (OSError, ValueError) as error:
        gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
        return File(name, "missing" if gone else "damaged", None, "" if gone else reason(error))
    try:
        return File(name, "whole", size, plain(check(path)))
    except Exception as error:
        told = plain(error.args[0]) if isinstance(error, (ValueError, KeyError)) and error.args else reason(error)
        return File(name, "damaged", size, told)


def _table(path: Path, needed: tuple[str, ...], count: int | None) -> tuple[Rows, File]:
    """Read the table's rows, as far as they can be read, and hold their number to what run.json says."""
    found: list[Rows] = []

    def read(path: Path) -> str:
        found.append(read_rows(path, needed))
        faults, total = list(found[0].faults), found[0].total
        if count is not None and total is not None and total < count:
            faults.append(f"it holds {total:,} of {count:,} rows")
        if faults:
            raise ValueError("; ".join(faults))
        return "too large to be read whole" if total is None else f"{total:,} rows"

    file = _file(path, read)
    return (found[0] if found else Rows()), file


def _facts(record: dict[str, Any], kind: str) -> Facts:
    """Take the verdict out of run.json, each number and text only where it is one."""
    best, test, data, seconds = (_object(record.get(key)) for key in ("best", "test", "data", "seconds"))
    interval = test.get("interval", best.get("test_interval"))
    ends = [_share(end) for end in interval[:3]] if isinstance(interval, list) else []
    classes = data.get("classes")
    return Facts(
        count=_whole(record.get("trials" if kind == "sweep" else "solutions")),
        best=_whole(best.get("trial" if kind == "sweep" else "number")),
        validation_accuracy=_share(best.get("validation_accuracy")),
        test_accuracy=_share(test.get("accuracy", best.get("test_accuracy"))),
        interval=(ends[0], ends[1]) if len(ends) == 2 and ends[0] is not None and ends[1] is not None else None,
        statuses=tuple(
            (plain(word, 40), number)
            for word, count in islice(_object(record.get("statuses")).items(), 20)
            if (number := _whole(count)) is not None
        ),
        seconds=_number(seconds.get("total")),
        interrupted=record.get("interrupted") is True,
        data=plain(data["name"]) if isinstance(data.get("name"), str) else "",
        classes=_texts(classes),
        class_count=len(classes) if isinstance(classes, list) else None,
        versions=tuple(
            (plain(name, 40), plain(version, 40))
            for name, version in islice(_object(record.get("versions")).items(), 20)
            if isinstance(version, str)
        ),
        messages=_texts(record.get("messages")),
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> tuple[str, ...]:
    found = value[:MOST_NAMES] if isinstance(value, list) else []
    return tuple(plain(text) for text in found if isinstance(text, str))


def _number(value: Any) -> float | None:
    """Return a finite number of 0 or more."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < 1e15 and math.isfinite(value) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and _number(value) is not None else None


def _share(value: Any) -> float | None:
    found = _number(value)
    return found if found is not None and found <= 1 else None


def _lacking(folder: Path, record: dict[str, Any], files: tuple[File, ...], facts: Facts, why: str) -> tuple[str, ...]:
    told = [plain(why)] if why else []
    if not os.path.isdir(folder):
        return (*told, "There is no such folder.")
    if record and record.get("format") != FORMAT:
        told.append(
            f"run.json has format {plain(repr(record.get('format')), 40)}; this version reads {FORMAT}. What is shown "
            "below is as far as both agree."
        )
    for file in files:
        if file.state == "missing":
            told.append(f"{file.name} is missing.")
        elif file.state == "damaged":
            told.append(f"{file.name} is damaged: {file.about}.")
    if facts.interrupted:
        told.append("The run was stopped before its end.")
    return tuple(told) or ("Every file could be read, and none is found damaged here.",)


def _remedies(record: dict[str, Any], files: tuple[File, ...], facts: Facts) -> tuple[str, ...]:
    told = []
    if record and record.get("format") != FORMAT:
        version = dict(facts.versions).get("thalweg")
        told.append(f"Use the version of Thalweg that wrote it{f', {version}' if version else ''}.")
    if any(file.state in ("missing", "damaged") for file in files) or not told:
        told.append("Run it again with --overwrite and the same options: a folder is then written whole.")
    if files[-1].state == "whole":
        told.append("The model file is whole and can be used as it is: thalweg score MODEL DATA.")
    return tuple(told)


def _others(folder: Path, known: set[str]) -> tuple[str, ...]:
    """Return the names of further files and folders, sorted, of those that are listed first."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, 1000)]
    except (OSError, ValueError):
        return ()
    return tuple(plain(name) for name in sorted(set(names) - known)[:MOST_NAMES])

"""Reading a run folder back: the same `Run` or path that was saved, trials, histories and verdict included."""

from __future__ import annotations

import csv
import dataclasses
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.artifacts.model_file import load_model
from thalweg.artifacts.run_folder import MARK
from thalweg.data.preprocessing import Preprocessing
from thalweg.errors import DataError, UsageError
from thalweg.findings import Finding
from thalweg.fitted import FittedModel, Score
from thalweg.losses import Hinge, Softmax
from thalweg.paths.records import Choice, PathSolution
from thalweg.paths.records import Path as PathRun
from thalweg.penalties import L1, L2, ElasticNet, Penalty
from thalweg.recipe import Recipe
from thalweg.recipe_files import decode
from thalweg.run import DataSummary, Run, Trial
from thalweg.search import Coordinates, resolve
from thalweg.selection import Group, Selection, edges
from thalweg.training.status import Status

__all__ = ["load_run"]

_FORMAT = 1
# RuntimeError: a flipped bit may say that an archive is encrypted, or packed in some way that zipfile does not know.
_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError, OverflowError, MemoryError,
    RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def load_run(folder: str | Path) -> Run | PathRun:
    """Return what a sweep, a fit or a path saved in a folder.

    Trials have their recipes (the space at the trial's coordinates), statuses and
    histories; a path has its solutions. ``model`` is the model file's.

    Raises:
        DataError: the folder is no run folder, is damaged, or of another version.
        UsageError: the recipe was Python code (functions, a class of one's own), which no file can hold.
    """
    folder = Path(folder)
    record = _record(folder)
    try:
        return _path(folder, record) if record.get("kind") == "path" else _sweep(folder, record)
    except (DataError, UsageError):
        raise
    except _DAMAGE as error:
        raise DataError(f"{folder} is damaged ({type(error).__name__}: {error}); run it again") from error


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder} is no run folder: there is no {MARK} in it; give what --out named") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{folder / MARK} is damaged ({type(error).__name__}: {error}); run it again") from error
    found = record.get("format") if isinstance(record, dict) else record
    if found != _FORMAT:
        raise DataError(f"{folder} has format {found!r}, this version reads {_FORMAT}; use the version that wrote it")
    return dict(record)


def _sweep(folder: Path, record: dict[str, Any]) -> Run:
    if "coordinates" not in record:
        raise DataError(f"{folder} was written before run folders told each trial's place in the search; run it again")
    space = _space(folder, record["space"])
    places: list[Coordinates] = [
        {tuple(path.split("/")): u for path, u in one.items()} for one in record["coordinates"]
    ]
    trials = _trials(folder, space, places, int(record["settings"]["seeds"]))
    selection = _selection(record["selection"])
    best = None if selection is None else trials[selection.best]
    return Run(
        space=space,
        settings=record["settings"],
        data=_data(record["data"]),
        trials=trials,
        seconds=record["seconds"],
        messages=tuple(record["messages"]),
        interrupted=bool(record["interrupted"]),
        selection=selection,
        edges=() if best is None else tuple(edges(space, best.coordinates)),
        model=_model(folder, selection is not None),
        refitted=record["best"] is not None and bool(record["best"]["refitted"]),
        test=_score(record["test"]),
        versions=record["versions"],
        sanity=tuple(_finding(one) for one in record.get("sanity", ())),  # older runs have none
    )


def _finding(record: dict[str, Any]) -> Finding:
    return Finding(**{field.name: record[field.name] for field in dataclasses.fields(Finding)})


def _space(folder: Path, encoded: Any) -> Recipe:
    try:
        return decode(encoded)
    except UsageError as error:
        raise UsageError(
            f"the recipe of {folder} cannot be read back: {error} (a part that was Python code is a name only in a "
            "file: work on the Run in Python instead)"
        ) from error


def _trials(folder: Path, space: Recipe, places: list[Coordinates], seeds: int) -> tuple[Trial, ...]:
    with open(folder / "trials.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with np.load(folder / "history.npz", allow_pickle=False) as file:
        tables = {name: file[name] for name in file.files}
    return tuple(
        _trial(number, row, resolve(space, place), place, number % seeds, tables)
        for number, (row, place) in enumerate(zip(rows, places, strict=True))
    )


def _trial(
    number: int, row: Mapping[str, str], recipe: Recipe, place: Coordinates, seed: int, tables: dict[str, np.ndarray]
) -> Trial:
    epochs = int(row["trained_epochs"])
    return Trial(
        number=number,
        recipe=dataclasses.replace(recipe, seed=recipe.seed + seed) if seed else recipe,
        status=Status(row["status"], int(row["at"]) if row["at"] else None, row["reason"]),
        history={name: table[number, :epochs] for name, table in tables.items()},
        kept_epoch=int(row["kept_epoch"]),
        cohort=int(row["cohort"]),
        coordinates=place,
    )


def _selection(record: dict[str, Any] | None) -> Selection | None:
    if record is None:
        return None
    groups = tuple(Group(tuple(g["trials"]), tuple(g["accuracies"]), g["diverged"]) for g in record["groups"])
    (own,) = (group for group in groups if record["best"] in group.trials)
    p_values = {int(number): p for number, p in record["p_values"].items()}
    return Selection(
        record["best"], record["rule"], own, groups, tuple(record["tied"]), tuple(record["better"]), p_values
    )


def _path(folder: Path, record: dict[str, Any]) -> PathRun:
    with np.load(folder / "solutions.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if "shift" not in arrays:
        raise DataError(f"{folder} was written before path folders told the solutions' preprocessing; run it again")
    beta = record["settings"]["beta"]
    solutions = tuple(_solution(row, number, arrays, beta) for number, row in enumerate(record["path"]))
    return PathRun(
        solutions=solutions,
        tolerance=record["tolerance"],
        settings=record["settings"],
        data=_data(record["data"]),
        seconds=record["seconds"],
        messages=tuple(record["messages"]),
        interrupted=bool(record["interrupted"]),
        choice=_choice(record["choice"], record["edges"]),
        preprocessing=Preprocessing(record["data"]["preprocessing"], arrays["shift"], arrays["scale"]),
        model=_model(folder, record["choice"] is not None),
        test=_score(record["test"]),
        versions=record["versions"],
    )


def _solution(row: dict[str, Any], number: int, arrays: dict[str, np.ndarray], beta: float | None) -> PathSolution:
    return PathSolution(
        number=number,
        strength=float(arrays["strength"][number]),
        penalty=_penalty(row["penalty"], row["strength"], beta),
        loss={"softmax": Softmax, "hinge": Hinge}[row["loss"]](),
        class_weight=row["class_weight"],
        weights=arrays["weights"][number],
        bias=arrays["bias"][number],
        value=float(arrays["value"][number]),
        bound=float(arrays["bound"][number]),
        status=row["status"],
        iterations=row["iterations"],
        fold_accuracies=_numbers(row["fold_accuracies"]),
        fold_losses=_numbers(row["fold_losses"]),
        fold_bounds=_numbers(row["fold_relative_bounds"]),
        fold_statuses=tuple(row["fold_statuses"]),
    )


def _penalty(kind: str, strength: float, beta: float | None) -> Penalty:
    if kind == "elastic_net":
        return ElasticNet(strength, beta)
    return L1(strength) if kind == "l1" else L2(strength)


def _choice(record: dict[str, Any] | None, edge_sentences: list[str]) -> Choice | None:
    if record is None:
        return None
    given = {field.name: record[field.name] for field in dataclasses.fields(Choice) if field.name in record}
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    given["p_values"] = {int(number): p for number, p in record["p_values"].items()}
    return Choice(**given, edges=tuple(edge_sentences))


def _numbers(values: list[float | None]) -> tuple[float, ...]:
    """JSON has null for what is not finite."""
    return tuple(float("nan") if value is None else float(value) for value in values)


def _data(record: dict[str, Any]) -> DataSummary:
    shaped = {
        "classes": tuple(record["classes"]),
        "feature_shape": tuple(record["feature_shape"]),
        "skipped": tuple((name, reason) for name, reason in record["skipped"]),
    }
    return DataSummary(**{**record, **shaped})


def _score(record: dict[str, Any] | None) -> Score | None:
    return None if record is None else Score(record["correct"], record["count"], record["loss"])


def _model(folder: Path, chosen: bool) -> FittedModel | None:
    """Read the model; a run that chose nothing may have none."""
    if (folder / "model.safetensors").is_file():
        return load_model(folder)
    if chosen:
        raise DataError(f"{folder} lacks its model.safetensors, the weights of what was selected; run it again")
    return None

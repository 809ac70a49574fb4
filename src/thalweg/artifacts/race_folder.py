"""The folder of a race: its verdict, its tracks, its pictures.

- ``race.json``: landscape, settings, racers with their numbers, how each ended;
- ``race.npz``: the arrays of `landscapes.Race`: starts, positions, values, gradient norms, distances,
  status, ended, evaluations; of a landscape that is not built in also its values on the pictures' grid
  (``grid_x``, ``grid_y``, ``grid_values``) and at its minima (``minima_values``), for no file can hold the function;
- the pictures of `plot.race_pictures`, and ``report.html`` (`report.race_page`).

`saved_race.load_race` reads one back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.artifacts.run_folder import finite
from thalweg.atomic import check_free, new_folder
from thalweg.errors import UsageError
from thalweg.landscapes.base import Landscape
from thalweg.landscapes.known import Sampled, beneath, is_built_in, title_of
from thalweg.landscapes.records import Race
from thalweg.landscapes.verdict import RaceRow, race_rows
from thalweg.landscapes.wrapped import Noisy
from thalweg.optimizers import Optimizer
from thalweg.recipe_files import Named, encode
from thalweg.solvers.minimize import SmoothSolver

__all__ = ["ARRAYS", "FORMAT", "GRID", "MARK", "OWN_KEYS", "check_race_folder", "race_summary", "save_race"]

MARK = "race.json"
FORMAT = 1
ARRAYS = ("starts", "positions", "values", "gradient_norms", "distances", "status", "ended", "evaluations")
GRID = ("grid_x", "grid_y", "grid_values", "minima_values")
OWN_KEYS = ("format", "landscape", "steps", "starts", "racers", "messages")  # of race.json; all others are settings


def check_race_folder(folder: str | Path, *, overwrite: bool) -> None:
    """Raise a UsageError, before any work, if a race could not be saved in the folder."""
    check_free(folder, overwrite=overwrite, mark=MARK)


def save_race(
    race: Race, racers: Sequence[Any], settings: Mapping[str, Any], folder: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a race's folder, whole or not at all, and return its path.

    ``settings`` are plain values to be told beside the race, such as its seed. Raises UsageError where one has the
    name of something else that race.json tells, and whatever the pictures and `check_race_folder` refuse.
    """
    # Here, so that a race without pictures need not wait for Matplotlib.
    from thalweg.plot.race_panel import backdrop
    from thalweg.plot.race_pictures import race_pictures
    from thalweg.report.race_html import race_page

    with new_folder(folder, overwrite=overwrite, mark=MARK) as temporary:
        record = {"format": FORMAT, **race_summary(race, racers, settings)}
        (temporary / MARK).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        arrays = {name: getattr(race, name) for name in ARRAYS}
        ground = beneath(race.landscape)
        if not is_built_in(ground):
            field, minima = backdrop(race, 0), np.asarray(ground.minima, np.float64).reshape(-1, 2)
            arrays |= dict(zip(GRID, (field.xs, field.ys, field.values, np.asarray(ground.value(minima))), strict=True))
        np.savez_compressed(temporary / "race.npz", allow_pickle=False, **arrays)
        race_pictures(race, temporary)
        page = race_page(race, racers=racers, settings=settings)
        # A racer may have been given a name that is no text to UTF-8: half of a surrogate pair.
        (temporary / "report.html").write_bytes(page.encode("utf-8", "replace"))
    return Path(folder)


def race_summary(race: Race, racers: Sequence[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``race --json`` prints: medians over the starts, in plain values (None where there is none)."""
    taken = [name for name in settings if name in OWN_KEYS]
    if taken:
        raise UsageError(f"settings holds {taken[0]!r}, which race.json tells of the race itself; name it otherwise")
    summary = {
        "landscape": _landscape(race.landscape),
        "steps": race.steps,
        "starts": race.starts.tolist(),
        **settings,
        "racers": [_racer(race, place, row, racers[place]) for place, row in enumerate(race_rows(race, racers))],
        "messages": list(race.messages),
    }
    whole: dict[str, Any] = finite(summary)
    return whole


def _racer(race: Race, place: int, row: RaceRow, racer: Any) -> dict[str, Any]:
    held = isinstance(racer, (Optimizer, SmoothSolver, Named))
    told = {
        "name": race.names[place],
        "rate": row.rate,
        "statuses": dict(row.statuses),
        "steps": row.steps,
        "evaluations": row.evaluations,
        "value": row.value,
        "gradient_norm": float(np.median(race.gradient_norms[place, :, -1])),
        "distance": row.distance,
        "optimizer": encode(racer) if held else {"kind": type(racer).__name__.lower()},
    }
    if len(race.starts) == 1:
        told["end"] = race.positions[place, 0, -1].tolist()
    return told


def _landscape(landscape: Landscape) -> dict[str, Any]:
    if isinstance(landscape, Noisy):
        return {**_landscape(landscape.landscape), "noise": landscape.scale}
    if isinstance(landscape, Sampled):
        return dict(landscape.record)
    names: list[str] = [one.name for one in fields(landscape)] if is_dataclass(landscape) else []
    numbers = {name: getattr(landscape, name) for name in names}
    about: dict[str, Any] = {"name": landscape.name, "kind": type(landscape).__name__}
    if is_built_in(landscape):
        return {**about, **numbers}
    about |= {
        "title": title_of(landscape),
        "bounds": [[float(end) for end in ends] for ends in landscape.bounds],
        "minima": [[float(part) for part in minimum] for minimum in landscape.minima],
    }
    plain = {name: value for name, value in numbers.items() if isinstance(value, (bool, int, float, str))}
    return {**{name: value for name, value in plain.items() if name != "noise"}, **about}

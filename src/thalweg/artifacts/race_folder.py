"""The folder of a race: its verdict, its tracks, its pictures.

- ``race.json``: landscape, settings, racers with their numbers, how each ended;
- ``race.npz``: the arrays of `landscapes.Race`: starts, positions, values, gradient norms, distances,
  status, ended, evaluations;
- the pictures of `plot.race_pictures`, and ``race.html`` (`report.race_page`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.artifacts.run_folder import finite
from thalweg.atomic import check_free, new_folder
from thalweg.landscapes.base import Landscape
from thalweg.landscapes.records import STATUSES, Race
from thalweg.landscapes.wrapped import Noisy
from thalweg.optimizers import Optimizer
from thalweg.recipe_files import encode

__all__ = ["MARK", "check_race_folder", "race_summary", "save_race"]

MARK = "race.json"
_ARRAYS = ("starts", "positions", "values", "gradient_norms", "distances", "status", "ended", "evaluations")


def check_race_folder(folder: str | Path, *, overwrite: bool) -> None:
    """Raise a UsageError, before any work, if a race could not be saved in the folder."""
    check_free(folder, overwrite=overwrite, mark=MARK)


def save_race(
    race: Race, racers: Sequence[Any], settings: dict[str, Any], folder: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a race's folder, whole or not at all, and return its path."""
    # Here, so that a race without pictures need not wait for Matplotlib.
    from thalweg.plot.race_pictures import race_pictures
    from thalweg.report.race_page import race_page

    with new_folder(folder, overwrite=overwrite, mark=MARK) as temporary:
        record = race_summary(race, racers, settings)
        (temporary / MARK).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        arrays = {name: getattr(race, name) for name in _ARRAYS}
        np.savez_compressed(temporary / "race.npz", allow_pickle=False, **arrays)
        race_pictures(race, temporary)
        (temporary / "race.html").write_text(race_page(race, racers=racers), encoding="utf-8")
    return Path(folder)


def race_summary(race: Race, racers: Sequence[Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return what ``race --json`` prints: medians over the starts, in plain values (None where there is none)."""
    summary = {
        "landscape": _landscape(race.landscape),
        "steps": race.steps,
        "starts": race.starts.tolist(),
        **settings,
        "racers": [_racer(race, place, racer) for place, racer in enumerate(racers)],
        "messages": list(race.messages),
    }
    whole: dict[str, Any] = finite(summary)
    return whole


def _racer(race: Race, place: int, racer: Any) -> dict[str, Any]:
    status = race.status[place]
    rate = getattr(getattr(racer, "learning_rate", None), "base", None)
    told = {
        "name": race.names[place],
        "rate": None if rate is None else float(rate),
        "statuses": {word: int(np.sum(status == code)) for code, word in enumerate(STATUSES) if np.any(status == code)},
        "steps": float(np.median(race.ended[place])),
        "evaluations": float(np.median(race.evaluations[place])),
        "value": float(np.median(race.values[place, :, -1])),
        "gradient_norm": float(np.median(race.gradient_norms[place, :, -1])),
        "distance": float(np.median(race.distances[place, :, -1])),
        "optimizer": encode(racer) if isinstance(racer, Optimizer) else {"kind": type(racer).__name__.lower()},
    }
    if len(race.starts) == 1:
        told["end"] = race.positions[place, 0, -1].tolist()
    return told


def _landscape(landscape: Landscape) -> dict[str, Any]:
    if isinstance(landscape, Noisy):
        return {**_landscape(landscape.landscape), "noise": landscape.scale}
    numbers = {name: getattr(landscape, name) for name in getattr(landscape, "__dataclass_fields__", ())}
    return {"name": landscape.name, "kind": type(landscape).__name__, **numbers}

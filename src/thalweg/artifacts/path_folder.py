"""A path's run folder.

- ``run.json``: everything needed to repeat the path (its strengths, data
  fingerprint, versions, seed), the choice, and every solution's certificate;
- ``solutions.csv``: a row a solution;
- ``solutions.npz``: ``strength`` (n,), ``weights`` (n, classes, features), ``bias``
  (n, classes), ``value`` and ``bound`` (n,), for features (x − ``shift``) · ``scale``;
- ``model.safetensors``: the chosen model, absent where nothing was chosen;
- ``code/train_sklearn.py``: scikit-learn code with the same optimum (see `elsewhere`), present where the model is.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.artifacts.model_file import serialise_model
from thalweg.artifacts.run_folder import MARK, finite, test_record, write_code
from thalweg.atomic import new_folder
from thalweg.recipe_files import encode
from thalweg.solvers.solution import CONVERGED

if TYPE_CHECKING:
    from thalweg.paths import Path as PathRun
    from thalweg.paths import PathSolution

__all__ = ["path_record", "path_summary", "save_path", "solutions_table"]


def save_path(path: PathRun, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a path's run folder, whole or not at all, and return its path."""
    with new_folder(folder, overwrite=overwrite, mark=MARK) as temporary:
        record = finite(path_record(path))
        (temporary / MARK).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        (temporary / "solutions.csv").write_text(solutions_table(path), encoding="utf-8", newline="")
        np.savez_compressed(temporary / "solutions.npz", allow_pickle=False, **_arrays(path))
        if path.model is not None:
            (temporary / "model.safetensors").write_bytes(serialise_model(path.model))
            write_code(record, path.model, temporary)
    return Path(folder)


def path_summary(path: PathRun, folder: str | Path | None = None) -> dict[str, Any]:
    """Return what ``path --json`` prints: the verdict in plain values."""
    best = path.best
    summary = {
        "kind": "path",
        "run": None if folder is None else str(folder),
        "solutions": len(path.solutions),
        "statuses": path.statuses,
        "tolerance": path.tolerance,
        "largest_relative_bound": path.largest_relative_bound,
        "seconds": path.seconds["total"],
        "best": None
        if best is None
        else {
            **_row(path, best),
            "certified": best.status == CONVERGED,
            "test_accuracy": None if path.test is None else path.test.accuracy,
            "test_interval": None if path.test is None else list(path.test.interval),
        },
        "one_standard_error": None if path.choice is None else path.choice.one_standard_error,
        "tied": [] if path.choice is None else list(path.choice.tied),
        "edges": [] if path.choice is None else list(path.choice.edges),
        "left_out": [] if path.choice is None else list(path.choice.left_out),
        "caveats": [] if path.choice is None else list(path.choice.caveats),
        "interrupted": path.interrupted,
    }
    return finite(summary)


def path_record(path: PathRun) -> dict[str, Any]:
    """Return what ``run.json`` holds."""
    choice = path.choice
    return {
        "format": 1,
        **path_summary(path),
        "seconds": path.seconds,
        "settings": path.settings,
        "data": vars(path.data),
        "path": [
            {**_row(path, s), "fold_accuracies": s.fold_accuracies, "fold_losses": s.fold_losses,
             "fold_relative_bounds": s.fold_bounds, "fold_statuses": s.fold_statuses}
            for s in path.solutions
        ],
        "choice": None
        if choice is None
        else {
            "rule": choice.rule,
            "chosen": choice.chosen,
            "best": choice.best,
            "one_standard_error": choice.one_standard_error,
            "tied": list(choice.tied),
            "p_values": {str(number): p for number, p in choice.p_values.items()},
            "left_out": list(choice.left_out),
            "limit": choice.limit,
            "proven": choice.proven,
            "caveats": list(choice.caveats),
        },
        "test": test_record(path.test),
        "messages": list(path.messages),
        "versions": path.versions,
    }  # fmt: skip


def solutions_table(path: PathRun) -> str:
    """Return ``solutions.csv``."""
    text = io.StringIO()
    rows = [_row(path, solution) for solution in path.solutions]
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(path: PathRun, solution: PathSolution) -> dict[str, Any]:
    choice = path.choice
    row = {
        "number": solution.number,
        "loss": encode(solution.loss)["kind"],
        "class_weight": solution.class_weight,
        "penalty": encode(solution.penalty)["kind"],
        "strength": solution.strength,
        "status": solution.status,
        "iterations": solution.iterations,
        "value": solution.value,
        "bound": solution.bound,
        "relative_bound": solution.relative_bound,
        "nonzeros": solution.nonzeros,
    }
    if not solution.fold_accuracies:
        return row
    return row | {
        "validation_accuracy": solution.validation_accuracy,
        "standard_error": solution.standard_error,
        "validation_loss": solution.validation_loss,
        "chosen": choice is not None and solution.number == choice.chosen,
        "tied": choice is not None and solution.number in choice.tied,
    }


def _arrays(path: PathRun) -> dict[str, np.ndarray]:
    names = ("strength", "weights", "bias", "value", "bound")
    arrays = {name: np.asarray([getattr(solution, name) for solution in path.solutions]) for name in names}
    return arrays | {"shift": path.preprocessing.shift, "scale": path.preprocessing.scale}

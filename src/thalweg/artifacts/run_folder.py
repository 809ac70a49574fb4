"""The run folder: a run on disk.

- ``run.json``: all that is needed to repeat the run (resolved space, settings,
  data fingerprint, versions, seed) and the verdict;
- ``space.toml`` and ``recipe.toml``: the search space and the winner's recipe, for ``--recipe`` (absent where a
  part is Python code, which no file can hold, and ``space.toml`` where nothing was searched);
- ``trials.csv``: a row a trial;
- ``history.npz``: every metric as an array (trials, epochs), NaN where a trial
  did not train;
- ``model.safetensors``: the fitted model (see `artifacts.model_file`), absent
  where an interruption left none;
- ``code/train_torch.py``, ``code/train_optax.py``, ``code/train_keras.py``: scripts that
  train that model in other frameworks (see `elsewhere`), present where the model is.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.artifacts.model_file import serialise_model
from thalweg.atomic import check_free, new_folder
from thalweg.elsewhere import code_files
from thalweg.errors import UsageError
from thalweg.recipe_files import decode, encode, flatten, to_toml
from thalweg.search import dimensions
from thalweg.training import METRICS

if TYPE_CHECKING:
    from thalweg.fitted import FittedModel, Score
    from thalweg.run import Run, Trial

__all__ = ["MARK", "check_run_folder", "finite", "recipe_texts", "run_summary", "save_run", "test_record", "write_code"]

MARK = "run.json"


def check_run_folder(folder: str | Path, *, overwrite: bool) -> None:
    """Raise a UsageError, before any work, if a run could not be saved in the folder."""
    check_free(folder, overwrite=overwrite, mark=MARK)


def save_run(run: Run, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a run folder, whole or not at all, and return its path."""
    with new_folder(folder, overwrite=overwrite, mark=MARK) as temporary:
        record = finite(run_record(run))
        (temporary / MARK).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        (temporary / "trials.csv").write_text(trials_table(run), encoding="utf-8", newline="")
        np.savez_compressed(temporary / "history.npz", allow_pickle=False, **_history(run))
        for name, text in recipe_texts(run).items():
            (temporary / name).write_text(text, encoding="utf-8")
        if run.model is not None:
            (temporary / "model.safetensors").write_bytes(serialise_model(run.model))
            write_code(record, run.model, temporary)
    return Path(folder)


def recipe_texts(run: Run) -> dict[str, str]:
    """Return ``space.toml`` and ``recipe.toml``, those of them that a file can hold."""
    recipes = {"space.toml": run.space if dimensions(run.space) else None}
    recipes["recipe.toml"] = None if run.best is None else run.best.recipe
    texts = {}
    for name, recipe in recipes.items():
        with contextlib.suppress(UsageError):
            if recipe is not None:
                texts[name] = to_toml(decode(encode(recipe)))  # decoding refuses Python code
    return texts


def write_code(record: dict[str, Any], model: FittedModel, folder: Path) -> None:
    """Write a run folder's ``code``."""
    (folder / "code").mkdir()
    for name, text in code_files(record, model).items():
        (folder / "code" / name).write_text(text, encoding="utf-8")


def run_summary(run: Run, folder: str | Path | None = None) -> dict[str, Any]:
    """Return what ``sweep --json`` prints: the verdict in plain values."""
    best = run.best
    verdict = None
    if best is not None:
        verdict = {
            "trial": best.number,
            "recipe": encode(best.recipe),
            "validation_accuracy": best.validation_accuracy,
            "test_accuracy": None if run.test is None else run.test.accuracy,
            "test_interval": None if run.test is None else list(run.test.interval),
            "refitted": run.refitted,
            "kept_epoch": best.kept_epoch,
        }
    summary = {
        "run": None if folder is None else str(folder),
        "trials": len(run.trials),
        "statuses": run.statuses,
        "seconds": run.seconds["total"],
        "best": verdict,
        "tied": [trial.number for trial in run.tied],
        "better": [] if run.selection is None else list(run.selection.better),
        "edges": [edge.sentence() for edge in run.edges],
        "interrupted": run.interrupted,
    }
    return finite(summary)


def run_record(run: Run) -> dict[str, Any]:
    """Return what ``run.json`` holds."""
    selection = run.selection
    return {
        "format": 1,
        **run_summary(run),
        "seconds": run.seconds,
        "space": encode(run.space),
        "settings": run.settings,
        "data": vars(run.data),
        "selection": None
        if selection is None
        else {
            "rule": selection.rule,
            "best": selection.best,
            "tied": list(selection.tied),
            "better": list(selection.better),
            "p_values": {str(number): p for number, p in selection.p_values.items()},
            "groups": [
                {"trials": list(g.trials), "accuracies": list(g.accuracies), "mean": g.mean, "spread": g.spread,
                 "diverged": g.diverged}
                for g in selection.groups
            ],
        },
        "test": test_record(run.test),
        "coordinates": [{"/".join(path): u for path, u in trial.coordinates.items()} for trial in run.trials],
        "messages": list(run.messages),
        "sanity": [finding.record() for finding in run.sanity],
        "versions": run.versions,
    }  # fmt: skip


def test_record(test: Score | None) -> dict[str, Any] | None:
    """Return the only score on the test split in plain values."""
    if test is None:
        return None
    return {
        "correct": test.correct,
        "count": test.count,
        "loss": test.loss,
        "accuracy": test.accuracy,
        "interval": list(test.interval),
        "interval_method": "Wilson score, 95 %",
    }


def trials_table(run: Run) -> str:
    """Return ``trials.csv``: status and final metrics, then every number of the recipe."""
    rows = [_row(run, trial) for trial in run.trials]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(run: Run, trial: Trial) -> dict[str, Any]:
    selection = run.selection
    p = selection.p_values.get(trial.number) if selection else None
    return {
        "trial": trial.number,
        "status": trial.status.name,
        "at": "" if trial.status.at is None else trial.status.at,
        "reason": trial.status.reason,
        "best": selection is not None and trial.number == selection.best,
        "tied": selection is not None and trial.number in selection.tied,
        "p_value": "" if p is None else p,
        "cohort": trial.cohort,
        "trained_epochs": len(trial.history["data_loss"]),
        "kept_epoch": trial.kept_epoch,
        **{name: float(trial.history[name][trial.kept_epoch - 1]) if trial.kept_epoch else "" for name in METRICS},
        **flatten(trial.recipe),
    }


def _history(run: Run) -> dict[str, np.ndarray]:
    epochs = max((len(trial.history["data_loss"]) for trial in run.trials), default=0)
    tables = {name: np.full((len(run.trials), epochs), np.nan) for name in METRICS}
    for trial in run.trials:
        for name, values in trial.history.items():
            tables[name][trial.number, : len(values)] = values
    return tables


def finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

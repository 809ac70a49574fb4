"""`thalweg path`."""

from __future__ import annotations

import dataclasses
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from thalweg.artifacts import check_run_folder, path_summary
from thalweg.cli.options import Reading
from thalweg.cli.output import print_json, shown
from thalweg.cli.path_output import print_path
from thalweg.cli.progress import ProgressLine
from thalweg.cli.saving import save
from thalweg.errors import ThalwegError
from thalweg.losses import Hinge, Softmax
from thalweg.paths import Path as PathRun
from thalweg.paths import PathProgress
from thalweg.paths import path as fit_path
from thalweg.sweeps import Interrupted

_LOSSES = {"softmax": (Softmax(),), "hinge": (Hinge(),), "both": (Softmax(), Hinge())}
_CLASS_WEIGHTS: dict[str, Any] = {"none": None, "balanced": "balanced", "both": (None, "balanced")}


def path(
    data: str,
    *,
    strengths: str = "45",
    folds: int = 5,
    loss: Literal["softmax", "hinge", "both"] = "softmax",
    penalty: Literal["l2", "l1", "elastic_net"] = "l2",
    beta: float = 0.5,
    class_weight: Literal["none", "balanced", "both"] = "none",
    select: Literal["best", "one-standard-error"] = "best",
    tolerance: float | None = None,
    iterations: int = 5000,
    preprocessing: Literal["auto", "center", "standardize", "scale", "none"] = "auto",
    test: float | None = None,
    seed: int = 0,
    out: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    reading: Reading | None = None,
) -> int:
    """Fit certified optima for a range of penalty strengths, choose by cross-validation.

    Every solution carries a bound on how far above the minimum it lies. The chosen one, fitted on all training
    examples, is scored once on the test split.

    Parameters
    ----------
    data
        A folder, archive, .npz, .npy, .csv, .parquet, CIFAR binary or IDX file, or "digits".
    strengths
        How many, from where the weights vanish down; or LOW:HIGH:COUNT, such as 1e-6:1e2:45; or one strength, as 1e-3.
    folds
        Of the cross-validation; 0 fits all examples and chooses nothing.
    loss
        Which loss; "both" fits both and chooses among them.
    penalty
        Which penalty; "l1" and "elastic_net" leave real zeros.
    beta
        The elastic net's share of L2: strength × sum(beta × w² + |w|).
    class_weight
        "balanced" gives every class the same total weight; "both" tries with and without.
    select
        The most accurate strength, or the strongest penalty within a standard error of it.
    tolerance
        Relative gap to reach (default: 1e-6 for softmax with L2, 1e-4 with L1, 1e-3 for the hinge).
    iterations
        Limit for each optimum.
    preprocessing
        Fitted on the training examples. "auto" centres images and standardises tables.
    test
        Share to hold out for the final score, where the data brings no test split.
    seed
        Of the test split and the folds.
    out
        The run folder (default: runs/NAME-path-DATE-TIME).
    overwrite
        Replace the run folder if it exists.
    json
        Print one JSON object and nothing else on stdout.
    """
    options: dict[str, Any] = {
        "strengths": strengths,
        "folds": folds,
        "loss": _LOSSES[loss],
        "penalty": penalty,
        "beta": beta,
        "class_weight": _CLASS_WEIGHTS[class_weight],
        "selection": select,
        "tolerance": tolerance,
        "iterations": iterations,
        "preprocessing": preprocessing,
        "test": test,
        "seed": seed,
    }
    return _fit(data, reading or Reading(), out, overwrite, json, options)


def _fit(source: str, reading: Reading, out: Path | None, overwrite: bool, json: bool, options: dict[str, Any]) -> int:
    """Load, fit, save, print. Whatever can be refused is refused before the work."""
    if out is not None:
        check_run_folder(out, overwrite=overwrite)
    line = ProgressLine()
    line.say(shown(f"reading {source}"))
    began = time.perf_counter()
    dataset = reading.load(source)
    read = time.perf_counter() - began
    folder = out or Path("runs") / f"{dataset.name}-path-{datetime.now():%Y%m%d-%H%M%S}"
    check_run_folder(folder, overwrite=overwrite)
    for skipped in dataset.skipped:
        line.say(shown(f"skipped {skipped.name}: {skipped.reason}"))

    def progress(now: PathProgress) -> None:
        if now.message:
            line.say(shown(now.message))
        line.report(now.sentence())

    def finish(found: PathRun) -> None:
        seconds = {**found.seconds, "load": found.seconds["load"] + read, "total": found.seconds["total"] + read}
        settings = {**found.settings, "data": source, **dataclasses.asdict(reading)}
        found = dataclasses.replace(found, settings=settings, seconds=seconds)
        place = save(found, folder, overwrite)
        print_json(path_summary(found, place)) if json else print_path(found, place)

    try:
        found = fit_path(dataset, progress=progress, **options)
    except Interrupted as stopped:
        line.clear()
        print("interrupted; saving what is done", file=sys.stderr)
        finish(stopped.run)
        return 130
    except ThalwegError:
        line.clear()
        raise
    line.clear()
    finish(found)
    return 0

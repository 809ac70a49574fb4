"""`thalweg sweep` and `thalweg fit`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from thalweg.artifacts import run_summary
from thalweg.cli.options import Reading, Track, Whole, parse_bytes
from thalweg.cli.output import print_json, print_run
from thalweg.cli.progress import ProgressLine
from thalweg.cli.work import carry_out
from thalweg.data import Dataset
from thalweg.errors import UsageError
from thalweg.recipe_files import load_recipe
from thalweg.report.live import LiveReport
from thalweg.run import Run
from thalweg.search import dimensions
from thalweg.sweeps import sweep as run_sweep
from thalweg.tracking import parse_trackers
from thalweg.training import Halving

Preprocess = Literal["auto", "center", "standardize", "scale", "none"]


def sweep(
    data: str,
    *,
    recipe: Path | None = None,
    trials: Whole = 32,
    seed: Whole = 0,
    seeds: Whole = 1,
    search: Literal["sobol", "random", "grid"] = "sobol",
    points: Whole | None = None,
    halving: float | None = None,
    rungs: Whole | None = None,
    patience: Whole | None = None,
    tolerance: float | None = None,
    select: Literal["best", "one-standard-error"] = "best",
    refit: bool = True,
    preprocessing: Preprocess = "auto",
    validation: float | None = None,
    test: float | None = None,
    memory: str | None = None,
    features: str | None = None,
    features_cache: Path = Path("runs/features"),
    track: Track = None,
    live: Annotated[bool, Parameter(negative="")] = False,
    live_port: Whole | None = None,
    report: bool = True,
    out: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    reading: Reading | None = None,
) -> int:
    """Search recipes, select on validation, score the test split once, write the run folder.

    Parameters
    ----------
    data
        A folder, archive, .npz, .npy, .csv, .parquet, CIFAR binary or IDX file, or a name: digits, rings, xor, modes or
        polynomial.
    recipe
        A recipe file (.toml or .json) with ranges in it, or the folder of a run, whose winner it then is; without one,
        a space around AdamW sized to the data.
    trials
        How many recipes to draw.
    seed
        Of the splits, of the draw, and of the default recipe.
    seeds
        Train every recipe with this many seeds, and rank by the mean.
    search
        How recipes are drawn.
    points
        Values to try of each range, in a grid search.
    halving
        Keep the best 1/HALVING of the trials at each rung (successive halving).
    rungs
        How many rungs, with --halving (default: 2).
    patience
        Stop a trial after this many epochs without a lower validation loss, and keep its best epoch.
    tolerance
        Stop a trial once its data loss over an epoch falls under this.
    select
        The most accurate trial, or the most regularised one within a standard error of it.
    refit
        Train the winner once more on training + validation.
    preprocessing
        Fitted on the training examples. "auto" centres images and standardises tables.
    validation
        Share to hold out for selection, where the data brings no validation split.
    test
        Share to hold out for the final score, where the data brings no test split.
    memory
        What data and trials may take, such as 4GB (default: 70 % of what is free).
    features
        What images become: any of hog, color, patches, joined by commas; in the place of the recipe's.
    features_cache
        Folder in which features are kept, for the next run on the same data.
    track
        Write every epoch of every trial to tensorboard:FOLDER or mlflow[:URI] as well; may be given more than once.
    live
        Serve the report while it trains, on this machine alone; the address is printed at the beginning.
    live_port
        The port of the live report (default: one that is free).
    report
        Write report.html into the run folder.
    out
        The run folder (default: runs/NAME-DATE-TIME).
    overwrite
        Replace the run folder if it exists.
    json
        Print one JSON object and nothing else on stdout.
    """
    options: dict[str, Any] = {
        "trials": trials,
        "seed": seed,
        "seeds": seeds,
        "search": search,
        "points": points,
        "halving": _halving(halving, rungs),
        "patience": patience,
        "tolerance": tolerance,
        "selection": select,
        "refit": refit,
        "preprocessing": preprocessing,
        "validation": validation,
        "test": test,
        "memory": None if memory is None else parse_bytes(memory),
        "features": features,
        "cache": features_cache,
        "trackers": parse_trackers(track or (), None if out is None else out.name),
    }
    follows = _live(live, live_port)
    return _train(data, recipe, reading or Reading(), out, overwrite, json, report, follows, options)


def fit(
    data: str,
    *,
    recipe: Path,
    seed: Whole = 0,
    patience: Whole | None = None,
    tolerance: float | None = None,
    refit: bool = False,
    preprocessing: Preprocess = "auto",
    validation: float | None = None,
    test: float | None = None,
    memory: str | None = None,
    features: str | None = None,
    features_cache: Path = Path("runs/features"),
    track: Track = None,
    live: Annotated[bool, Parameter(negative="")] = False,
    live_port: Whole | None = None,
    report: bool = True,
    out: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    reading: Reading | None = None,
) -> int:
    """Train one recipe, score the test split once, write the run folder.

    Parameters
    ----------
    data
        A folder, archive, .npz, .npy, .csv, .parquet, CIFAR binary or IDX file, or a name: digits, rings, xor, modes or
        polynomial.
    recipe
        A recipe file (.toml or .json) without ranges, or the folder of a run, whose winner it then is.
    seed
        Of the splits.
    patience
        Stop after this many epochs without a lower validation loss, and keep the best epoch.
    tolerance
        Stop once the data loss over an epoch falls under this.
    refit
        Train once more on training + validation.
    preprocessing
        Fitted on the training examples. "auto" centres images and standardises tables.
    validation
        Share to hold out for validation, where the data brings no validation split.
    test
        Share to hold out for the final score, where the data brings no test split.
    memory
        What the data and the trial may take, such as 4GB (default: 70 % of what is free).
    features
        What images become: any of hog, color, patches, joined by commas; in the place of the recipe's.
    features_cache
        Folder in which features are kept, for the next run on the same data.
    track
        Write every epoch of every trial to tensorboard:FOLDER or mlflow[:URI] as well; may be given more than once.
    live
        Serve the report while it trains, on this machine alone; the address is printed at the beginning.
    live_port
        The port of the live report (default: one that is free).
    report
        Write report.html into the run folder.
    out
        The run folder (default: runs/NAME-DATE-TIME).
    overwrite
        Replace the run folder if it exists.
    json
        Print one JSON object and nothing else on stdout.
    """
    if found := dimensions(load_recipe(recipe)):
        names = ", ".join(dimension.name for dimension in found)
        raise UsageError(f"{recipe} leaves {names} open; give each one value, or use thalweg sweep")
    options = {
        "trials": 1,
        "seed": seed,
        "patience": patience,
        "tolerance": tolerance,
        "refit": refit,
        "preprocessing": preprocessing,
        "validation": validation,
        "test": test,
        "memory": None if memory is None else parse_bytes(memory),
        "features": features,
        "cache": features_cache,
        "trackers": parse_trackers(track or (), None if out is None else out.name),
    }
    follows = _live(live, live_port)
    return _train(data, recipe, reading or Reading(), out, overwrite, json, report, follows, options)


def _train(
    source: str,
    recipe: Path | None,
    reading: Reading,
    out: Path | None,
    overwrite: bool,
    json: bool,
    report: bool,
    live: LiveReport | None,
    options: dict[str, Any],
) -> int:
    """Sweep the space that ``recipe`` holds; ``live`` follows it, and shows the saved report at the end."""
    space = None if recipe is None else load_recipe(recipe)
    trackers = [*options.pop("trackers"), *([] if live is None else [live])]

    def work(dataset: Dataset, progress: ProgressLine) -> Run:
        return run_sweep(space, dataset, progress=progress, trackers=trackers, **options)

    def show(run: Run, folder: Path) -> None:
        print_json(run_summary(run, folder)) if json else print_run(run, folder)

    def last(page: Path | None) -> None:
        if live is not None:
            # Without a saved report it draws the result itself.
            live.finish() if page is None else live.finish(page.read_text(encoding="utf-8"), str(page))

    with live or contextlib.nullcontext():
        if live is not None:
            print(f"live report: {live.address}", file=sys.stderr, flush=True)
        return carry_out(work, show, source, reading, out, overwrite=overwrite, report=report, last=last)


def _live(live: bool, port: int | None) -> LiveReport | None:
    """Read ``--live`` and ``--live-port``: a report that is not open yet."""
    if not live:
        if port is not None:
            raise UsageError(f"live-port is {port}, which only a live report has: give --live too, or leave it out")
        return None
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"live-port is {port}; give a port from 1 to 65535, or leave it out and a free one is taken")
    return LiveReport(port=port or 0)


def _halving(factor: float | None, rungs: int | None) -> Halving | None:
    if factor is None:
        if rungs is not None:
            raise UsageError(f"rungs is {rungs}, which only successive halving has: give --halving 3 too")
        return None
    return Halving(factor) if rungs is None else Halving(factor, rungs)

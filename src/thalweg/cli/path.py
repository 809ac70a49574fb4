"""`thalweg path`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from thalweg.artifacts import path_summary
from thalweg.cli.options import Reading, Track, Whole
from thalweg.cli.output import print_json
from thalweg.cli.path_output import print_path
from thalweg.cli.progress import ProgressLine
from thalweg.cli.work import carry_out
from thalweg.data import Dataset
from thalweg.errors import UsageError
from thalweg.losses import Hinge, Softmax
from thalweg.paths import Path as PathRun
from thalweg.paths import PathProgress
from thalweg.paths import path as fit_path
from thalweg.paths.job import Job
from thalweg.tracking import parse_trackers

_LOSSES = {"softmax": (Softmax(),), "hinge": (Hinge(),), "both": (Softmax(), Hinge())}
_CLASS_WEIGHTS: dict[str, Any] = {"none": None, "balanced": "balanced", "both": (None, "balanced")}


def path(
    data: str,
    *,
    strengths: str = "45",
    folds: Whole = 5,
    loss: Literal["softmax", "hinge", "both"] = "softmax",
    penalty: Literal["l2", "l1", "elastic_net"] = "l2",
    beta: float | None = None,
    class_weight: Literal["none", "balanced", "both"] = "none",
    select: Literal["best", "one-standard-error"] = "best",
    tolerance: float | None = None,
    iterations: Whole = 5000,
    preprocessing: Literal["auto", "center", "standardize", "scale", "none"] = "auto",
    test: float | None = None,
    seed: Whole = 0,
    features: str | None = None,
    features_cache: Path = Path("runs/features"),
    track: Track = None,
    report: bool = True,
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
        A folder, archive, .npz, .npy, .csv, .parquet, CIFAR binary or IDX file, or a name: digits, rings, xor, modes or
        polynomial.
    strengths
        How many, from where the weights (all but) vanish down; or LOW:HIGH:COUNT, such as 1e-6:1e2:45; or one
        strength, with a point or an exponent: 1.0 is a strength, 1 a count.
    folds
        Of the cross-validation; 0 fits all examples and chooses nothing.
    loss
        Which loss; "both" fits both and chooses among them.
    penalty
        Which penalty; "l1" and "elastic_net" leave real zeros.
    beta
        The elastic net's share of L2, strength × sum(beta × w² + |w|); by default 0.5.
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
    features
        What images become: hog, color or patches, or several, as hog,color.
    features_cache
        Folder in which features are kept, for the next run on the same data.
    track
        Write every solution to tensorboard:FOLDER or mlflow[:URI] as well; may be given more than once.
    report
        Write report.html into the run folder.
    out
        The run folder (default: runs/NAME-path-DATE-TIME).
    overwrite
        Replace the run folder if it exists.
    json
        Print one JSON object and nothing else on stdout.
    """
    if beta is not None and penalty != "elastic_net":
        raise UsageError(
            f"--beta is {beta:g}, which only the elastic net has: give --penalty elastic_net, or leave it out"
        )
    options: dict[str, Any] = {
        "strengths": strengths,
        "folds": folds,
        "loss": _LOSSES[loss],
        "penalty": penalty,
        "beta": 0.5 if beta is None else beta,
        "class_weight": _CLASS_WEIGHTS[class_weight],
        "selection": select,
        "tolerance": tolerance,
        "iterations": iterations,
        "preprocessing": preprocessing,
        "test": test,
        "seed": seed,
        "features": features,
    }

    trackers = parse_trackers(track or (), None if out is None else out.name)
    Job.of(**options)  # refuses what cannot be meant, before minutes of reading

    def work(dataset: Dataset, line: ProgressLine) -> PathRun:
        def progress(now: PathProgress) -> None:
            if now.message:
                line.say(now.message)
            line.report(now.sentence())

        return fit_path(dataset, cache=features_cache, progress=progress, trackers=trackers, **options)

    def show(found: PathRun, place: Path) -> None:
        print_json(path_summary(found, place)) if json else print_path(found, place)

    return carry_out(work, show, data, reading or Reading(), out, overwrite=overwrite, label="-path", report=report)

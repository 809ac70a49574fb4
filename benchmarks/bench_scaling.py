"""Bar 2: what an epoch costs against trials, features, examples and classes.

One size varies at a time; the others stay at 32 trials, 1,024 features, 8,192
examples, 10 classes, batch 256. Synthetic float32 data: the time does not
depend on the numbers. The slope is that of log seconds against log size over
the last three points: 1 is linear.
"""

from __future__ import annotations

import argparse

import numpy as np

from common import RESULTS, seconds, table
from thalweg.data import Split, fit_preprocessing
from thalweg.optimizers import AdamW
from thalweg.penalties import L2
from thalweg.recipe import Recipe, bind
from thalweg.training.cohort import group
from thalweg.training.cohort_run import CohortRun
from thalweg.training.program import Inputs
from thalweg.training.records import TrialRecord
from thalweg.training.settings import Settings
from thalweg.training.train import examples_of

BASE = {"trials": 32, "features": 1024, "examples": 8192, "classes": 10}
SIZES = {
    "trials": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "features": (64, 256, 1024, 4096, 16384),
    "examples": (1024, 4096, 16384, 65536),
    "classes": (2, 10, 50, 250, 1000),
}


def epoch_seconds(trials: int, features: int, examples: int, classes: int, repeats: int) -> float:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((examples, features), dtype=np.float32)
    y = (np.arange(examples) % classes).astype(np.int32)
    prepared = fit_preprocessing(x[:1000], "none")
    training, held = examples_of(Split(x, y), prepared), examples_of(Split(x[:256], y[:256]), prepared)
    recipes = [
        bind(Recipe(penalty=L2(1e-4), optimizer=AdamW(float(rate)), epochs=repeats + 1), examples)
        for rate in np.geomspace(1e-4, 1e-3, trials)
    ]
    (cohort,) = group(recipes)
    run = CohortRun(cohort, [TrialRecord() for _ in recipes], Inputs(training, held), classes, 256, Settings())
    run.epoch()
    return float(np.median(seconds(lambda: run.epoch() or run.state.params, repeats)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    rows, curves = [], {}
    for name, sizes in SIZES.items():
        taken = []
        for size in sizes:
            shape = BASE | {name: size}
            taken.append(epoch_seconds(**shape, repeats=repeats))
            work = 4 * shape["examples"] * shape["features"] * shape["classes"] * shape["trials"]
            rate, per = work / taken[-1] / 1e9, taken[-1] / shape["trials"] * 1e3
            rows.append([name, size, f"{taken[-1]:.4f}", f"{per:.3f}", f"{rate:.0f}"])
            print(*rows[-1], flush=True)
        curves[name] = (sizes, taken)
        slope = np.polyfit(np.log(sizes[-3:]), np.log(taken[-3:]), 1)[0]
        rows.append([f"slope over the last three, {name}", "", f"{slope:.2f}", "", ""])
    table(
        "What an epoch costs (32 trials, 1,024 features, 8,192 examples, 10 classes; one varies)",
        ["varied", "size", "s an epoch", "ms per trial", "GFLOP/s"],
        rows,
        "scaling",
    )
    plot(curves)


def plot(curves: dict[str, tuple[tuple[int, ...], list[float]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(14, 3.4), sharey=True, layout="constrained")
    for axis, (name, (sizes, taken)) in zip(axes, curves.items(), strict=True):
        axis.loglog(sizes, taken, "o-", color="#1f5c99", label="measured")
        line = taken[-1] * np.asarray(sizes) / sizes[-1]
        axis.loglog(sizes, line, "--", color="#888888", label="linear")
        axis.set(xlabel=name, xticks=sizes, xticklabels=[f"{size:,}" for size in sizes])
        axis.tick_params(axis="x", rotation=45)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds an epoch")
    axes[0].legend(frameon=False)
    figure.suptitle("An epoch of a sweep: 32 trials, 1,024 features, 8,192 examples, 10 classes; one size varies")
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(RESULTS / "scaling.png", dpi=110)


if __name__ == "__main__":
    main()

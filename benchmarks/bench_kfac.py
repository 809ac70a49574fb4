"""K-FAC beside Adam and SGD with momentum: steps and seconds to a training loss, each tuned over its own grid.

A two-layer network (100 hidden units) on HOG + colour features of 45,000 CIFAR-10 images, batch
1,000. All trials of an optimiser train as one program; a trial's seconds are the program's
divided by its trials. The best trial of each is the one of lowest training loss at the end.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from common import cifar10, table
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.data.splits import split_dataset
from thalweg.extraction import extract
from thalweg.features import HOG, ColorHistogram
from thalweg.models import Dense
from thalweg.optimizers import KFAC, SGD, Adam
from thalweg.recipe import Recipe, bind
from thalweg.training.cohort import group
from thalweg.training.cohort_run import CohortRun
from thalweg.training.program import Inputs
from thalweg.training.records import TrialRecord
from thalweg.training.settings import Settings
from thalweg.training.train import examples_of

BATCH, EPOCHS = 1_000, 20
GRIDS: dict[str, list[Any]] = {
    "SGD, momentum 0.9": [SGD(rate, momentum=0.9) for rate in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)],
    "Adam": [Adam(rate) for rate in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)],
    "K-FAC": [KFAC(rate, damping=damping) for rate in (0.1, 0.3, 1.0) for damping in (0.01, 0.1)],
}
TARGETS = (0.8, 0.6, 0.5, 0.4)


def train(optimizers: list[Any], inputs: Inputs) -> tuple[np.ndarray, float]:
    """Return the mean training loss of each trial and epoch, and the seconds of an epoch of one trial."""
    count = len(inputs.training.labels)
    recipes = [bind(Recipe(model=Dense(100), optimizer=o, batch_size=BATCH, epochs=EPOCHS), count) for o in optimizers]
    (cohort,) = group(recipes)
    records = [TrialRecord() for _ in recipes]
    run = CohortRun(cohort, records, inputs, 10, 1_000, Settings())
    run.epoch()
    start = time.perf_counter()
    for _ in range(EPOCHS - 1):
        run.epoch()
    taken = (time.perf_counter() - start) / (EPOCHS - 1) / len(recipes)
    lengths = [len(record.history["data_loss"]) for record in records]
    losses = np.full((len(records), EPOCHS), np.inf)
    for row, length, record in zip(losses, lengths, records, strict=True):
        row[:length] = record.history["data_loss"]
    return np.where(np.isfinite(losses), losses, np.inf), taken


def main() -> None:
    data, _, _ = extract(split_dataset(cifar10(), seed=0), HOG() + ColorHistogram())
    assert data.validation is not None
    prepared = fit_preprocessing(data.train.features, "standardize")
    inputs = Inputs(examples_of(data.train, prepared), examples_of(data.validation, prepared))
    steps = -(-len(data.train) // BATCH)
    rows = []
    for name, optimizers in GRIDS.items():
        losses, taken = train(optimizers, inputs)
        best = int(np.argmin(losses[:, -1]))
        reached = [int(np.argmax(losses[best] <= t)) + 1 if (losses[best] <= t).any() else None for t in TARGETS]
        cells = ["–" if e is None else f"{e * steps:,} steps, {e * taken:.1f} s" for e in reached]
        tuned = f"rate {optimizers[best].learning_rate.value:g}"
        tuned += f", damping {optimizers[best].damping:g}" if name == "K-FAC" else ""
        rows.append([name, len(optimizers), tuned, *cells, f"{losses[best, -1]:.3f}", f"{1e3 * taken / steps:.1f}"])
        print(rows[-1], flush=True)
    head = ["optimiser", "trials", "best", *(f"loss {t:g}" for t in TARGETS)]
    head += [f"loss after {EPOCHS * steps} steps", "ms a step"]
    table("Two layers (100 hidden units), 45,000 × 688, batch 1,000: mean loss of an epoch", head, rows, "kfac")


if __name__ == "__main__":
    main()

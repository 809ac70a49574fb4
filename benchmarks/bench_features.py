"""Bar: what image features are worth to a linear classifier and to a two-layer network.

python benchmarks/bench_features.py full        all training images, scored on test; names of rows may follow
python benchmarks/bench_features.py variants    what changes of the patches do, judged on held-out training images

Every row is a sweep: the recipe is chosen on validation and the test split scored once.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Any

import numpy as np

import thalweg as tw
from common import cifar10, table
from thalweg.data import Dataset, Split
from thalweg.data.splits import split_dataset
from thalweg.extraction import extract
from thalweg.features import HOG, ColorHistogram, Features, Patches
from thalweg.models import Dense, Linear
from thalweg.optimizers import AdamW
from thalweg.schedules import Cosine


def space(model: Any, epochs: int) -> tw.Recipe:
    rates = tw.log_uniform(1e-4, 3e-3) if isinstance(model, Dense) else tw.log_uniform(1e-5, 3e-3)
    optimizer = AdamW(Cosine(rates), weight_decay=tw.log_uniform(1e-2, 3.0))
    return tw.Recipe(model=model, optimizer=optimizer, batch_size=256, epochs=epochs)


MODELS = {
    "linear": (space(Linear(), 15), 12),
    "two layers (300)": (space(Dense(300, dropout=tw.uniform(0.2, 0.6)), 25), 8),
}


def row(name: str, seen: Dataset, taken: float, model: str) -> list[Any]:
    recipe, trials = MODELS[model]
    run = tw.sweep(recipe, seen, trials=trials, halving=tw.Halving(3), preprocessing="standardize")
    assert run.best is not None and run.test is not None  # noqa: PT018
    low, high = run.test.interval
    return [name, seen.feature_shape[0], f"{taken:.0f}", model, trials, f"{run.seconds['total']:.0f}",
            f"{run.best.validation_accuracy:.1%}", f"{run.test.accuracy:.1%} ({low:.1%}–{high:.1%})"]  # fmt: skip


HEAD = ["features", "D", "extraction, s", "model", "trials", "sweep, s", "validation", "test (95 % interval)"]


def timed(data: Dataset, part: Features) -> tuple[Dataset, float]:
    start = time.perf_counter()
    seen, _, _ = extract(data, part)
    return seen, time.perf_counter() - start


FULL = {
    "HOG + colour": (HOG() + ColorHistogram(), tuple(MODELS)),
    "1,600 patches": (Patches(), ("linear",)),
    "1,600 patches, with mirror images": (Patches(mirror=True), ("linear",)),
    "1,600 patches, mirrored and pooled 3 × 3": (Patches(mirror=True, pooling=3), ("linear",)),
}


def full(*chosen: str) -> None:
    data = split_dataset(cifar10(), seed=0)
    rows = []
    for name in chosen or FULL:
        part, models = FULL[name]
        seen, taken = timed(data, part)
        for model in models:
            rows.append(row(name, seen, taken, model))
            print(rows[-1], flush=True)
        table("CIFAR-10 through image features: 45,000 + 5,000 + 10,000 images", HEAD, rows, "features")


def subset(data: Dataset, counts: tuple[int, int, int]) -> Dataset:
    """Parts of the training images alone: the test split is no place to compare variants."""
    order = np.random.default_rng(0).permutation(len(data.train))[: sum(counts)]
    parts = np.split(order, np.cumsum(counts)[:-1])
    splits = [Split(data.train.features[rows], data.train.labels[rows]) for rows in parts]
    return dataclasses.replace(data, train=splits[0], validation=splits[1], test=splits[2])


VARIANTS = {
    "800 centroids": Patches(800),
    "400": Patches(400),
    "1,600": Patches(1600),
    "whitening 0.01": Patches(800, whitening=0.01),
    "whitening 1": Patches(800, whitening=1.0),
    "patches of 5": Patches(800, patch=5),
    "patches of 8": Patches(800, patch=8),
    "pooled 3 × 3": Patches(800, pooling=3),
    "with mirror images": Patches(800, mirror=True),
}


def variants() -> None:
    data = subset(cifar10(), (10_000, 2_000, 5_000))
    rows = []
    for name, part in VARIANTS.items():
        seen, taken = timed(data, part)
        rows.append(row(name, seen, taken, "linear"))
        print(rows[-1], flush=True)
    head = [*HEAD[:-1], "held out (95 % interval)"]
    table("Patches, changed one thing at a time: 10,000 training images, judged on 5,000 others", head, rows,
          "features_variants")  # fmt: skip


if __name__ == "__main__":
    jobs = {"full": full, "variants": variants}
    if sys.argv[1:2] == ["full"]:
        full(*sys.argv[2:])
    else:
        for name in sys.argv[1:] or jobs:
            jobs[name]()

"""Bar: what each regulariser does for an over-sized network on 2,000 images of CIFAR-10.

Every regulariser is swept on 1,000 validation images, three seeds a recipe; the
winner is then trained with five further seeds, and scored on its training images
and on all 10,000 test images. Stochastic depth needs a residual network: it has its own
baseline, on images halved to 16 × 16.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import stats

import thalweg as tw
from common import cifar10, table
from thalweg.data import Dataset, Split
from thalweg.models import Convolutional, Dense
from thalweg.optimizers import AdamW
from thalweg.penalties import L2
from thalweg.schedules import Cosine

SEEDS = 5


def few(data: Dataset, halved: bool) -> Dataset:
    """2,000 images to train on, 1,000 to validate, all to test."""
    order = np.random.default_rng(0).permutation(len(data.train))

    def part(split: Split, rows: Any) -> Split:
        assert split.labels is not None
        return Split(halve(split.features[rows]) if halved else split.features[rows], split.labels[rows])

    assert data.test is not None
    train, held = part(data.train, order[:2_000]), part(data.train, order[2_000:3_000])
    return dataclasses.replace(data, train=train, validation=held, test=part(data.test, slice(None)))


def halve(images: np.ndarray) -> np.ndarray:
    """Return the mean of each 2 × 2 pixels."""
    count, height, width, channels = images.shape
    squares = images.reshape(count, height // 2, 2, width // 2, 2, channels).astype(np.float32)
    return np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)


def dense(**changes: Any) -> tw.Recipe:
    penalty = changes.pop("penalty", tw.penalties.NoPenalty())
    optimizer = AdamW(Cosine(tw.choice(3e-4, 1e-3)), weight_decay=0.0)
    return tw.Recipe(model=Dense(512, **changes), penalty=penalty, optimizer=optimizer, batch_size=100, epochs=40)


def residual(**changes: Any) -> tw.Recipe:
    model = Convolutional(8, (2, 2, 2), **changes)
    return tw.Recipe(model=model, optimizer=AdamW(Cosine(3e-3), weight_decay=0.0), batch_size=100, epochs=12)


CASES: dict[str, tuple[str, tw.Recipe]] = {
    "none": ("512 hidden units", dense()),
    "L2": ("512 hidden units", dense(penalty=L2(tw.choice(1e-4, 1e-3, 3e-3, 1e-2)))),
    "dropout": ("512 hidden units", dense(dropout=tw.choice(0.25, 0.5, 0.75))),
    "batch normalisation": ("512 hidden units", dense(batch_norm=True)),
    "none, residual": ("residual", residual(batch_norm=False)),
    "batch normalisation, residual": ("residual", residual()),
    "and stochastic depth": ("residual", residual(stochastic_depth=tw.choice(0.5, 0.8))),
}


def interval(values: list[float]) -> str:
    """Write the mean with its 95 % t-interval over the seeds."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.1%} ± {half:.1%}"


def main() -> None:
    images = cifar10()
    data = {"512 hidden units": few(images, halved=False), "residual": few(images, halved=True)}
    rows = []
    for name, (network, space) in CASES.items():
        found = tw.sweep(space, data[network], trials=12, search="grid", seeds=3, refit=False)
        assert found.best is not None
        training, test = [], []
        for seed in range(100, 100 + SEEDS):
            again = tw.fit(dataclasses.replace(found.best.recipe, seed=seed), data[network])
            assert again.model is not None
            assert again.test is not None
            training.append(again.model.score(data[network].train).accuracy)
            test.append(again.test.accuracy)
        values = {d.name: _at(found.best.recipe, d.path) for d in tw.search.dimensions(space)}
        rows.append([name, network, "; ".join(f"{k.split('.')[-1]} {v:g}" for k, v in values.items()) or "–",
                     len(found.trials), interval(training), interval(test)])  # fmt: skip
        print(rows[-1], flush=True)
        table("2,000 training images: training and test accuracy, mean and 95 % interval over 5 seeds",
              ["regulariser", "network", "chosen", "trials", "training", "test"], rows, "regularisers")  # fmt: skip


def _at(recipe: Any, path: tuple[str, ...]) -> float:
    for step in path:
        recipe = recipe if step.startswith("[") else getattr(recipe, step)
    return float(getattr(recipe, "value", recipe))


if __name__ == "__main__":
    main()

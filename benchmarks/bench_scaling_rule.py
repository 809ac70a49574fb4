"""The linear scaling rule on CIFAR-10's pixels: the best rate of a linear classifier at batches of 32 to 2,048.

python benchmarks/bench_scaling_rule.py --examples 10000 --epochs 5
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np

import thalweg as tw
from common import cifar10, table
from thalweg.data import Dataset, Split
from thalweg.diagnostics.noise import gradient_noise
from thalweg.diagnostics.scaling_rule import scaling_rule
from thalweg.plot import scaling_figure


def subset(data: Dataset, examples: int, seed: int = 0) -> Dataset:
    """Keep some training images, and 5,000 others to validate on."""
    order = np.random.default_rng(seed).permutation(len(data.train))
    labels = data.train.labels
    assert labels is not None

    def part(rows: np.ndarray) -> Split:
        return Split(data.train.features[rows], labels[rows])

    train, held = part(order[:examples]), part(order[examples : examples + 5_000])
    return dataclasses.replace(data, train=train, validation=held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()

    data = subset(cifar10(), arguments.examples)
    optimizer = tw.optimizers.SGD(1e-3, 0.9)
    recipe = tw.Recipe(optimizer=optimizer, batch_size=256, epochs=arguments.epochs)
    start = time.perf_counter()
    record = scaling_rule(recipe, data, seeds=arguments.seeds)
    taken = time.perf_counter() - start
    print(record)
    rows = [
        [one.batch, f"{one.rate:.2g}", f"{one.interval[0]:.2g} to {one.interval[1]:.2g}", f"{one.loss:.3f}", one.place,
         f"{one.diverged} of {one.trials}"]
        for one in record.best
    ]  # fmt: skip
    title = (
        f"Linear softmax, SGD with momentum 0.9, {arguments.examples:,} images, {arguments.epochs} epochs, "
        f"{arguments.seeds} seeds, {taken:.0f} s. {record.sentence()}"
    )
    table(title, ["batch", "best rate", "95 % interval", "validation loss", "where", "diverged"], rows, "scaling_rule")
    run = tw.fit(dataclasses.replace(recipe, epochs=1), data)
    print("after one epoch:", gradient_noise(run.model, data.train))
    if arguments.picture is not None:
        scaling_figure.scaling_rule(record).savefig(arguments.picture, dpi=80)


if __name__ == "__main__":
    main()

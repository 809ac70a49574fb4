"""Bar 3: test accuracy of a default sweep on CIFAR-10 raw pixels, and of random search."""

from __future__ import annotations

import argparse

from common import cifar10, table
from thalweg.optimizers import RandomSearch
from thalweg.recipe import Recipe
from thalweg.run import Run
from thalweg.sweeps import fit, sweep


def row(name: str, run: Run) -> list[str]:
    low, high = run.test.interval
    return [name, str(len(run.trials)), f"{run.best.validation_accuracy:.4f}", f"{run.test.accuracy:.4f}",
            f"{low:.4f}–{high:.4f}", f"{run.seconds['train']:.1f}", f"{run.seconds['total']:.1f}"]  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    data = cifar10()
    rows = [row("default sweep of softmax", sweep(None, data))]
    search = Recipe(optimizer=RandomSearch(), epochs=1)
    rows.append(row("random search, best of 1,000", fit(search, data, refit=False)))
    table(
        "CIFAR-10 raw pixels (JPEG files), 45,000 to train, 5,000 to select, 10,000 to test",
        ["what", "trials", "validation", "test", "95 % interval", "s to train", "s in all"],
        rows,
        "accuracy",
    )


if __name__ == "__main__":
    main()

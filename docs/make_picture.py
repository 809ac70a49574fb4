"""Draw the README's picture from a run folder: python docs/make_picture.py RUN

Left, validation accuracy against the learning rate, a dot a trial, coloured by
the weight decay; right, the trials' validation loss by epoch, the
selected trial on top.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

RATE, DECAY = "optimizer.learning_rate.then.peak", "optimizer.weight_decay"


def main(folder: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    with open(folder / "trials.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    history = np.load(folder / "history.npz", allow_pickle=False)
    best, tied = record["best"]["trial"], set(record["tied"])
    rate, decay, accuracy = (
        np.array([float(row[name]) for row in rows]) for name in (RATE, DECAY, "validation_accuracy")
    )
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    colours = left.scatter(rate, 100 * accuracy, c=np.log10(decay), cmap="viridis", s=55, zorder=3)
    ties = [i for i in range(len(rows)) if i in tied]
    left.scatter(rate[ties], 100 * accuracy[ties], s=120, facecolors="none", edgecolors="#888888", label="tied with it")
    left.scatter(
        rate[best], 100 * accuracy[best], s=170, facecolors="none", edgecolors="#c23b22", lw=2, label="selected"
    )
    left.set(xscale="log", xlabel="learning rate (peak)", ylabel="validation accuracy, %")
    left.legend(frameon=False, loc="lower left")
    left.grid(alpha=0.25)
    figure.colorbar(colours, ax=left, label="log10 of the weight decay")
    epochs = np.arange(1, history["validation_loss"].shape[1] + 1)
    for number, losses in enumerate(history["validation_loss"]):
        chosen = number == best
        right.plot(epochs, losses, color="#c23b22" if chosen else "#bbbbbb", lw=2 if chosen else 0.9, zorder=2 + chosen)
    floor = np.nanmin(history["validation_loss"])
    right.set(xlabel="epoch", ylabel="validation loss", ylim=(floor - 0.02, floor + 0.6))
    right.grid(alpha=0.25)
    test = record["test"]
    low, high = (100 * end for end in test["interval"])
    figure.suptitle(
        f"{len(rows)} trials of softmax regression on {record['data']['name']}, trained as one program: "
        f"test accuracy {100 * test['accuracy']:.1f} % ({low:.1f} to {high:.1f})"
    )
    figure.savefig(Path(__file__).parent / "sweep.png", dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

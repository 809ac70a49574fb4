"""Bar 1: epochs of AdamW on CIFAR-10 raw pixels, beside a matrix product, PyTorch and scikit-learn.

All in one process, warmed up, medians with range. Rates count the two matrix
products of a training step, 4 · examples · features · classes · trials
operations an epoch; what else a step does (gather, softmax, AdamW) counts as
time only. PyTorch's data lies in memory, standardised as float32 and shuffled
by index: its loop does no loading.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common import cifar10, installed, seconds, spread, table
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.data.splits import split_dataset
from thalweg.losses import Softmax
from thalweg.optimizers import AdamW
from thalweg.penalties import L2
from thalweg.recipe import Recipe, bind
from thalweg.schedules import Cosine, Warmup
from thalweg.training.cohort import group
from thalweg.training.cohort_run import CohortRun
from thalweg.training.program import Inputs
from thalweg.training.records import TrialRecord
from thalweg.training.settings import Settings
from thalweg.training.train import examples_of

BATCH, CLASSES = 256, 10


def recipes(trials: int, epochs: int) -> list[Recipe]:
    rates, strengths = np.geomspace(1e-4, 1e-2, trials), np.geomspace(1e-5, 1e-2, trials)
    return [
        Recipe(
            loss=Softmax(),
            penalty=L2(float(strength)),
            optimizer=AdamW(Warmup(0.05, Cosine(float(rate)), unit="run"), weight_decay=0.01),
            batch_size=BATCH,
            epochs=epochs,
        )
        for rate, strength in zip(rates, strengths, strict=True)
    ]


def bare_product(trials: int, features: int, repeats: int) -> float:
    """The rate of x @ W.T and G @ x at the step's shapes, float32, in operations a second.

    Taken two ways, of which the faster counts: calls one after another, and a
    scan over batches in one program, as the engine's step stands in one.
    """
    generator = np.random.default_rng(0)
    count = max(4, 640 // trials)
    shapes = (16, BATCH, features), (trials * CLASSES, features), (trials * CLASSES, BATCH)
    batches, w, g = (jnp.asarray(generator.normal(size=shape), jnp.float32) for shape in shapes)
    x = batches[0]
    forward, backward = jax.jit(lambda x, w: x @ w.T), jax.jit(lambda g, x: g @ x)
    scanned = jax.jit(lambda batches, w, g: jax.lax.map(lambda x: (x @ w.T, g @ x), batches))

    def called() -> Any:
        for _ in range(count):
            last = forward(x, w), backward(g, x)
        return last

    work = 4 * BATCH * features * trials * CLASSES
    jax.block_until_ready((called(), scanned(batches, w, g)))
    apart = work * count / float(np.median(seconds(called, repeats)))
    return max(apart, work * 16 / float(np.median(seconds(lambda: scanned(batches, w, g), repeats))))


def thalweg_epochs(trials: int, training: Any, held: Any, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of an epoch's training alone, and of the whole epoch with validation and records."""
    bound = [bind(recipe, len(training.labels)) for recipe in recipes(trials, 2 * repeats + 2)]
    (cohort,) = group(bound)
    run = CohortRun(cohort, [TrialRecord() for _ in bound], Inputs(training, held), CLASSES, 1024, Settings())
    run.epoch()
    whole = seconds(lambda: run.epoch() or run.state.params, repeats)
    alone = seconds(lambda: run._descend() and run.state.params, repeats)
    return alone, whole


def torch_epochs(x: np.ndarray, y: np.ndarray, repeats: int) -> list[float]:
    import torch

    torch.manual_seed(0)
    data, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    model = torch.nn.Linear(x.shape[1], CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def epoch() -> None:
        order = torch.randperm(len(data))
        for start in range(0, len(data), BATCH):
            rows = order[start : start + BATCH]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(data[rows]), labels[rows]).backward()
            optimizer.step()

    epoch()
    return seconds(epoch, repeats)


def sklearn_epochs(x: np.ndarray, y: np.ndarray, repeats: int) -> list[float]:
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=1e-4, n_jobs=os.cpu_count())
    model.partial_fit(x, y, classes=np.arange(CLASSES))
    return seconds(lambda: model.partial_fit(x, y) and None, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    data = split_dataset(cifar10())
    prepared = fit_preprocessing(data.train.features, "center")
    training, held = examples_of(data.train, prepared), examples_of(data.validation, prepared)
    x = prepared.transform(data.train.features).reshape(len(training.labels), -1)
    count, features = x.shape

    torch_taken = torch_epochs(x, data.train.labels, repeats) if installed("torch") else [float("nan")]
    sklearn_taken = sklearn_epochs(x, data.train.labels, 3)
    rows = []
    for trials in (1, 32):
        # The product is measured before and after, since a shared machine's rate drifts.
        before = bare_product(trials, features, repeats)
        alone, whole = thalweg_epochs(trials, training, held, repeats)
        bare = (before + bare_product(trials, features, repeats)) / 2
        work = 4 * count * features * CLASSES * trials
        per_trial = [t / trials for t in alone]
        rate = work / np.median(alone)
        rows.append(
            [
                f"thalweg, {trials} trial{'s' * (trials > 1)}",
                spread(per_trial),
                spread([t / trials for t in whole]),
                f"{rate / 1e9:.0f}",
                f"{bare / 1e9:.0f}",
                f"{rate / bare:.0%}",
                f"{np.median(torch_taken) / np.median(per_trial):.1f}",
                f"{np.median(sklearn_taken) / np.median(per_trial):.0f}",
            ]
        )
    rows.append(["PyTorch loop, AdamW(fused=True)", spread(torch_taken), "", "", "", "", "1", ""])
    rows.append(["scikit-learn SGDClassifier(log_loss)", spread(sklearn_taken), "", "", "", "", "", "1"])
    table(
        f"An epoch of {count} × {features}, batch {BATCH}, {CLASSES} classes",
        [
            "who",
            "s per trial and epoch",
            "with validation and records",
            "GFLOP/s in training",
            "bare product GFLOP/s",
            "share",
            "× PyTorch",
            "× scikit-learn",
        ],
        rows,
        "throughput",
    )


if __name__ == "__main__":
    main()

"""Bar: epochs of sweeps of networks on raw pixels, beside a PyTorch loop and the rate of a bare matrix product.

python benchmarks/bench_network_speed.py dense            16 two-layer networks, hidden 32, 128 and 512, batch 256, Adam
python benchmarks/bench_network_speed.py convolutional    8 small residual networks, batch 128, Adam

Ours and PyTorch take turns in one process, warmed up; medians with range. Rates
count the products of a step alone, 6 · weights · examples operations an epoch
without those of the gradient to the pixels, which nobody needs. PyTorch's data
lies in memory, preprocessed as float32; its loop does no loading.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common import cifar10, seconds, spread, table
from thalweg.data import Split
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.models import Convolutional, Dense
from thalweg.optimizers import Adam
from thalweg.recipe import Recipe, bind
from thalweg.training.cohort import group
from thalweg.training.cohort_run import CohortRun
from thalweg.training.program import Inputs
from thalweg.training.records import TrialRecord
from thalweg.training.settings import Settings
from thalweg.training.train import examples_of

CLASSES = 10


def pixels(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of a shuffled training split, and their labels."""
    train = cifar10().train
    order = np.random.default_rng(0).permutation(len(train))[:count]
    return train.features[order], train.labels[order]


class Ours:
    """Trials of one model in one program; `epoch` trains them all through the data."""

    def __init__(self, model: Any, trials: int, batch: int, x: np.ndarray, y: np.ndarray) -> None:
        prepared = fit_preprocessing(x, "center")
        inputs = Inputs(examples_of(Split(x, y), prepared), examples_of(Split(x[:500], y[:500]), prepared))
        rates = np.geomspace(1e-4, 1e-2, trials)
        recipes = [Recipe(model=model, optimizer=Adam(float(r)), batch_size=batch, epochs=100) for r in rates]
        (cohort,) = group([bind(recipe, len(x)) for recipe in recipes])
        self.run = CohortRun(cohort, [TrialRecord() for _ in recipes], inputs, CLASSES, 500, Settings())
        self.run.epoch()
        self.trials = trials

    def epoch(self) -> Any:
        self.run._descend()
        return self.run.state.params


def torch_loop(model: Any, batch: int, x: np.ndarray, y: np.ndarray) -> Callable[[], None]:
    """Return an epoch of a PyTorch loop, compiled by nobody, as most are."""
    import torch

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    data, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))

    def epoch() -> None:
        order = torch.randperm(len(data))
        for start in range(0, len(data), batch):
            rows = order[start : start + batch]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(data[rows]), labels[rows]).backward()
            optimizer.step()

    epoch()
    return epoch


def turns(ours: Ours, peer: Callable[[], None], repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of an epoch a trial, ours and the peer's, taken in turn: a shared machine's rate drifts."""
    mine, theirs = [], []
    for _ in range(repeats):
        mine += [t / ours.trials for t in seconds(ours.epoch, 1)]
        start = time.perf_counter()
        peer()
        theirs.append(time.perf_counter() - start)
    return mine, theirs


def bare_product(batch: int, features: int, rows: int) -> float:
    """The rate of x @ W.T and G @ x at the first layer's shapes, in operations a second: the best of several."""
    rng = np.random.default_rng(0)
    x, w, g = (
        jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((batch, features), (rows, features), (rows, batch))
    )
    both = jax.jit(lambda x, w, g: (x @ w.T, g @ x))
    jax.block_until_ready(both(x, w, g))
    return 4 * batch * features * rows / min(seconds(lambda: both(x, w, g), 20))


def dense() -> None:
    import torch

    images, labels = pixels(20_000)
    x = fit_preprocessing(images, "center").transform(images).reshape(len(images), -1)
    rows = []
    for hidden in (32, 128, 512):
        ours = Ours(Dense(hidden), 16, 256, images, labels)
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, CLASSES)
        )
        mine, theirs = turns(ours, torch_loop(model, 256, x, labels), 5)
        work = len(x) * hidden * (4 * x.shape[1] + 6 * CLASSES)
        peak = bare_product(256, x.shape[1], 16 * hidden)
        rate, other = (work / np.median(taken) for taken in (mine, theirs))
        ratio = f"{np.median(theirs) / np.median(mine):.2f}"
        rows.append([hidden, spread(mine), spread(theirs), ratio, f"{rate / 1e9:.0f}", f"{other / 1e9:.0f}",
                     f"{peak / 1e9:.0f}", f"{rate / peak:.0%}"])  # fmt: skip
        print(rows[-1], flush=True)
    table("16 two-layer networks, 20,000 raw images, batch 256, Adam: seconds a trial and epoch",
          ["hidden", "thalweg", "PyTorch", "ratio", "GFLOP/s, thalweg", "PyTorch", "bare product", "share"],
          rows, "network_speed_dense")  # fmt: skip


def torch_residual(width: int, blocks: tuple[int, ...]) -> Any:
    """The network of `models.Convolutional`, in PyTorch."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.f = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            return torch.relu(x + self.f(x))

    layers = [nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    for stage, count in enumerate(blocks):
        if stage:
            layers += [
                nn.MaxPool2d(2),
                nn.Conv2d(width, 2 * width, 1, bias=False),
                nn.BatchNorm2d(2 * width),
                nn.ReLU(),
            ]
            width *= 2
        layers += [Block(width) for _ in range(count)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


def convolutional() -> None:
    import torch

    images, labels = pixels(2_560)
    x = fit_preprocessing(images, "center").transform(images)
    rows = []
    for width in (8, 16):
        ours = Ours(Convolutional(width, (1, 1, 1)), 8, 128, images, labels)
        torch.manual_seed(0)
        best: dict[str, list[float]] = {}
        mine: list[float] = []
        for layout in (torch.contiguous_format, torch.channels_last):
            model = torch_residual(width, (1, 1, 1)).to(memory_format=layout)
            data = np.ascontiguousarray(np.moveaxis(x, -1, 1))
            given = torch.from_numpy(data).contiguous(memory_format=layout).numpy()
            taken, best[str(layout)] = turns(ours, torch_loop(model, 128, given, labels), 3)
            mine += taken
        name, theirs = min(best.items(), key=lambda one: np.median(one[1]))
        rows.append([width, spread(mine), spread(theirs), name.split(".")[-1],
                     f"{np.median(theirs) / np.median(mine):.2f}"])  # fmt: skip
        print(rows[-1], flush=True)
    table("8 residual networks (3 stages of 1 block), 2,560 raw images, batch 128, Adam: seconds a trial and epoch",
          ["channels", "thalweg", "PyTorch, the faster layout", "which", "ratio"],
          rows, "network_speed_convolutional")  # fmt: skip


if __name__ == "__main__":
    jobs = {"dense": dense, "convolutional": convolutional}
    for name in sys.argv[1:] or jobs:
        jobs[name]()

"""Bars 2 and 6, and the cost model: what a path costs as the problem grows, and where each spectrum pays.

python benchmarks/bench_path_scaling.py cost        seconds against examples, features, classes, strengths; a plot
python benchmarks/bench_path_scaling.py spectrum    the kinds of spectrum on several shapes: what `plan` rests on
python benchmarks/bench_path_scaling.py probe       45 strengths C = 1e-6 … 1e5 on 50,000 × 6,400 random features,
                                                     stopped after 7 minutes: the bound that each strength reached
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from bench_path import pixels, problem
from common import RESULTS, table
from thalweg.solvers import decompose
from thalweg.solvers.solve import solve

BASE = {"examples": 10_000, "features": 1024, "classes": 10, "strengths": 16}
GRIDS = {
    "examples": (2_500, 5_000, 10_000, 20_000, 40_000),
    "features": (256, 512, 1024, 2048, 4096),
    "classes": (2, 5, 10, 20, 50),
    "strengths": (4, 8, 16, 32, 64),
}
# Next to no penalty takes hundreds of iterations in float64: more than 40 minutes were not enough for 1e-6.
PROBE_TOLERANCE = 1e-2
PROBE_SECONDS = 420
SHAPES = ((20_000, 1024), (20_000, 3072), (2_000, 3072), (2_000, 8192), (8_000, 8192))


def made(examples: int, features: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features whose variances fall like 1/rank, as those of images and embeddings do, and labels from a noisy rule."""
    rng = np.random.default_rng(seed)
    scale = 1 / np.sqrt(np.arange(1, features + 1, dtype=np.float32))
    x = rng.standard_normal((examples, features), np.float32) * scale
    mixed = x[:, rng.permutation(features)]
    mixed[:, 1:] += 0.5 * mixed[:, :-1]  # so that no feature is a direction of its own
    mixed -= mixed.mean(axis=0)
    mixed /= np.float32(np.sqrt(np.mean(mixed**2)))
    rule = rng.standard_normal((features, classes), np.float32) / np.float32(np.sqrt(features))
    noise = rng.gumbel(size=(examples, classes)).astype(np.float32)
    labels = np.argmax(2 * mixed @ rule + noise, axis=1).astype(np.int32)
    labels[:classes] = np.arange(classes)
    return mixed, labels


class Progress:
    """Prints every 30 s how many optima are done, so that a long run can be followed; stops after ``seconds``."""

    def __init__(self, total: int, seconds: float = np.inf) -> None:
        self.total, self.seconds, self.began, self.told = total, seconds, time.perf_counter(), 0.0

    def __call__(self, done: int) -> bool:
        now = time.perf_counter() - self.began
        if now > self.told + 30:
            self.told = now
            print(f"  {done} of {self.total} after {now:.0f} s", flush=True)
        return now > self.seconds


def timed(
    features: np.ndarray, labels: np.ndarray, strengths: np.ndarray, kind: str = "auto", tolerance: float = 1e-6,
    seconds: float = np.inf,
) -> dict:  # fmt: skip
    one = problem(features, labels, strengths)
    start = time.perf_counter()
    spectrum = decompose(features, kind, rows=len(one) * one.classes)
    middle = time.perf_counter()
    optima = solve(one, tolerance=tolerance, spectrum=spectrum, watch=Progress(len(one), seconds))
    end = time.perf_counter()
    return {
        "kind": spectrum.kind, "setup": middle - start, "solve": end - middle, "total": end - start,
        "iterations": float(np.median(optima.iterations)), "bound": float(optima.certificate.relative.max()),
        "optima": optima,
    }  # fmt: skip


def bench_cost() -> None:
    rows, curves = [], {}
    for name, values in GRIDS.items():
        for value in values:
            size = {**BASE, name: value}
            x, y = made(size["examples"], size["features"], size["classes"])
            strengths = np.logspace(-2, -5, size["strengths"])
            timed(x, y, strengths)  # compiles
            found = timed(x, y, strengths)
            curves.setdefault(name, []).append(found["total"])
            rows.append([name, value, f"{found['setup']:.2f}", f"{found['solve']:.2f}", found["kind"],
                         f"{found['iterations']:.0f}", f"{found['bound']:.0e}"])  # fmt: skip
            print(rows[-1], flush=True)
    fit = {n: np.polyfit(np.log(GRIDS[n][-3:]), np.log(curves[n][-3:]), 1)[0] for n in GRIDS}
    rows += [[f"slope over the last three: {n}", f"{slope:.2f}", "", "", "", "", ""] for n, slope in fit.items()]
    table("Seconds of a path as one size grows; base " + str(BASE),
          ["grows", "to", "set-up", "solve", "spectrum", "median iterations", "bound"], rows, "path_cost")  # fmt: skip
    draw_cost(curves)


def draw_cost(curves: dict[str, list[float]]) -> None:
    """Draw seconds against each size, with a line of slope 1 through the last point to compare with."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, NullLocator

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    axes = figure.subplots(1, 4, sharey=True)
    for axis, (name, values) in zip(axes, GRIDS.items(), strict=True):
        axis.loglog(values, curves[name], "o-", label="measured")
        straight = [curves[name][-1] * value / values[-1] for value in values]
        axis.loglog(values, straight, ":", color="grey", label="in proportion")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticks(values, [f"{value:,}" for value in values])
        axis.set_yticks((0.5, 1, 2, 5, 10, 20), ("0.5", "1", "2", "5", "10", "20"))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
        axis.set_xlabel(name)
    axes[0].set_ylabel("seconds, set-up included")
    axes[0].legend(frameon=False)
    figure.savefig(RESULTS / "path_cost.png", dpi=120)


def bench_spectrum() -> None:
    rows = []
    for count, width in SHAPES:
        x, y = made(count, width, 10)
        for kind in ("full", "gram", "low-rank", "plain"):
            if kind == "gram" and count > width:
                continue
            strengths = np.logspace(-2, -5, 8)
            timed(x, y, strengths[:1], kind)
            found = timed(x, y, strengths, kind)
            rows.append([f"{count:,} × {width:,}", kind, f"{found['setup']:.2f}", f"{found['solve']:.2f}",
                         f"{found['iterations']:.0f}", f"{found['bound']:.0e}"])  # fmt: skip
            print(rows[-1], flush=True)
    table("Kinds of spectrum, 8 strengths 1e-2 to 1e-5, 10 classes",
          ["shape", "spectrum", "set-up", "solve", "median iterations", "bound"], rows, "path_spectrum")  # fmt: skip


def bench_probe() -> None:
    images, labels = pixels(50_000)
    rng = np.random.default_rng(1)
    projection = rng.standard_normal((images.shape[1], 6400), np.float32) / np.float32(np.sqrt(images.shape[1]))
    features = np.maximum(images @ projection, 0)
    del images
    features -= features.mean(axis=0)
    features /= np.float32(np.sqrt(np.mean(np.square(features), dtype=np.float64)))
    inverse = np.logspace(-6, 5, 45)
    strengths = 1 / (2 * inverse * len(labels))
    found = timed(features, labels, strengths, tolerance=PROBE_TOLERANCE, seconds=PROBE_SECONDS)
    optima = found["optima"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows = [[f"{c:.1e}", optima.statuses[i], int(optima.iterations[i]), f"{optima.certificate.value[i]:.4f}",
             f"{optima.certificate.relative[i]:.1e}"] for i, c in enumerate(inverse)]  # fmt: skip
    table(f"45 strengths on 50,000 × 6,400 random features, gap {PROBE_TOLERANCE:g} asked, stopped after "
          f"{PROBE_SECONDS} s: set-up {found['setup']:.0f} s, {found['total']:.0f} s in all with compiling, "
          f"peak memory {peak:.1f} GiB, {found['kind']} spectrum",
          ["C", "status", "iterations", "objective", "proved relative gap"], rows, "path_probe")  # fmt: skip


if __name__ == "__main__":
    jobs = {"cost": bench_cost, "spectrum": bench_spectrum, "probe": bench_probe}
    for name in sys.argv[1:] or jobs:
        jobs[name]()

"""A map of basins, 400 × 400 starts × 500 steps: Thalweg, a NumPy loop, and one start at a time.

    python benchmarks/bench_race.py [--points 400] [--few 20]

NumPy steps all starts at once, vectorised, with in-place sums. One start at a time is a PyTorch loop (for
the optimizers) and `scipy.optimize.minimize(method="Newton-CG")` with the exact gradient and Hessian (for
Newton), timed on a few starts drawn from the grid and multiplied. The first call, on 64 × 64 points and for
one step, compiles. Figures are wall seconds and, in brackets, processor seconds, which other work on the machine
changes less.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize

from common import machine
from thalweg.landscapes import Beale, Himmelblau, Landscape, basins
from thalweg.optimizers import SGD, Adam
from thalweg.solvers import Newton

STEPS = 500


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def numpy_loop(landscape: Landscape, kind: str, rate: float, points: np.ndarray) -> np.ndarray:
    x, first, second = points.copy(), np.zeros_like(points), np.zeros_like(points)
    with np.errstate(all="ignore"):
        for step in range(1, STEPS + 1):
            g = landscape.gradient(x)
            if kind == "momentum":
                first *= 0.9
                first += g
                g = first
            elif kind == "Adam":
                first += 0.1 * (g - first)
                second += 0.001 * (g * g - second)
                g = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
            x -= rate * g
    return x


def numpy_newton(landscape: Landscape, points: np.ndarray) -> np.ndarray:
    """The bare step w − H⁻¹g, without a line search: it also runs to saddles and maxima."""
    x = points.copy()
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            g, h = landscape.gradient(x), landscape.hessian(x)
            a, b, c = h[:, 0, 0], h[:, 0, 1], h[:, 1, 1]
            step = np.stack([c * g[:, 0] - b * g[:, 1], a * g[:, 1] - b * g[:, 0]], axis=-1)
            x -= step / (a * c - b * b)[:, None]
            if not np.any(np.abs(step) > 1e-12):
                break
    return x


def torch_loop(kind: str, rate: float, points: np.ndarray) -> None:
    import torch

    torch.set_num_threads(1)
    for start in points:
        p = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        momentum = 0.9 if kind == "momentum" else 0.0
        optimizer = torch.optim.Adam([p], rate) if kind == "Adam" else torch.optim.SGD([p], rate, momentum=momentum)
        for _ in range(STEPS):
            optimizer.zero_grad()
            x, y = p
            ((x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2).backward()
            optimizer.step()


def scipy_newton(landscape: Landscape, points: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for start in points:
            minimize(
                landscape, start, jac=landscape.gradient, hess=landscape.hessian, method="Newton-CG",
                options={"maxiter": STEPS},
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--few", type=int, default=20)
    options = parser.parse_args()
    print(machine())
    cases = {
        "SGD": (SGD(0.01), 0.01),
        "momentum": (SGD(0.001, momentum=0.9), 0.001),
        "Adam": (Adam(0.1), 0.1),
        "Newton": (Newton(), 0.0),
    }
    print("| racer | first call | map | Beale: map | NumPy | one at a time |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    land = Himmelblau()
    low, high = np.asarray(land.bounds).T
    few = np.random.default_rng(0).uniform(low, high, (options.few, 2))
    lines = [np.linspace(low[i], high[i], options.points) for i in (0, 1)]
    grid = np.stack(np.meshgrid(*lines), axis=-1).reshape(-1, 2)
    for kind, (racer, rate) in cases.items():
        row = [timed(lambda racer=racer: basins(land, racer, 64, 1))]
        row += [timed(lambda racer=racer: basins(land, racer, options.points, STEPS))]
        basins(Beale(), racer, 64, 1)
        row += [timed(lambda racer=racer: basins(Beale(), racer, options.points, STEPS))]
        if kind == "Newton":
            row += [timed(lambda: numpy_newton(land, grid))]
            solo = timed(lambda: scipy_newton(land, few))
        else:
            row += [timed(lambda kind=kind, rate=rate: numpy_loop(land, kind, rate, grid))]
            torch_loop(kind, rate, few[:1])  # its import
            solo = timed(lambda kind=kind, rate=rate: torch_loop(kind, rate, few))
        row += [(solo[0] / options.few * len(grid), solo[1] / options.few * len(grid))]
        print(f"| {kind} | " + " | ".join(f"{wall:,.1f} ({cpu:,.1f})" for wall, cpu in row) + " |", flush=True)


if __name__ == "__main__":
    main()

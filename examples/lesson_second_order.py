"""Second order: Newton, BFGS and L-BFGS beside gradient descent, by steps, by seconds, and what a step costs.

    python examples/lesson_second_order.py --out second_order.png

Left, softmax regression of small digits to its certified minimum, by steps: Newton's curve bends down, as each step
doubles the right digits. Middle, the same by seconds, where Newton's few steps have
their price. Right, why: the linear algebra of one step against the number of weights n, as n³, n² and n.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

import thalweg as tw
from thalweg.plot.theme import LINES, themed
from thalweg.precision import double

STRENGTH = 1e-3
SOLVERS = {
    "Newton": lambda steps: tw.solvers.Newton(tolerance=1e-14, iterations=steps, hessian="full"),
    "BFGS": lambda steps: tw.solvers.BFGS(tolerance=1e-14, iterations=steps),
    "L-BFGS": lambda steps: tw.solvers.LBFGS(tolerance=1e-14, iterations=steps),
}
DESCENT = "gradient descent"


def problem(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits as 4 × 4 pixels, centred, with a 1 for the bias (N, 17), and their labels as rows of 0 and 1."""
    digits = tw.load("digits").train
    chosen = np.flatnonzero(digits.labels < classes)[:600]
    x = digits.features[chosen].reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) / 16
    return np.c_[x - x.mean(axis=0), np.ones(len(x))].astype(float), np.eye(classes)[digits.labels[chosen]]


def objective(W, x, y):
    """Mean softmax loss + λ Σ W² of the scores x Wᵀ; W is (classes, 17), the bias its last column."""
    scores = x @ W.T
    loss = jax.nn.logsumexp(scores, axis=1) - jnp.sum(scores * y, axis=1)
    return jnp.mean(loss) + STRENGTH * jnp.sum(W * W)


def descend(x, y, start, steps: int) -> tuple[list[float], list[float]]:
    """Gradient descent at the rate 1/L, L = λmax(xᵀx/N)/2 + 2λ (Böhning's bound): its values and seconds."""
    rate = 1 / (np.linalg.eigvalsh(x.T @ x / len(x))[-1] / 2 + 2 * STRENGTH)
    with double():
        function = jax.jit(jax.value_and_grad(objective))
        values, seconds, W = [], [], jnp.asarray(start)
        jax.block_until_ready(function(W, x, y))  # compiles
        for _ in range(steps):
            began = time.perf_counter()
            value, gradient = function(W, x, y)
            W = W - rate * gradient
            values.append(float(value))
            seconds.append(time.perf_counter() - began)
    return values, list(np.median(seconds) * np.arange(steps))


def step_costs(sizes: list[int]) -> dict[str, np.ndarray]:
    """Seconds of the linear algebra of one step with n weights: a solve, an update of an n × n matrix, ten pairs."""
    jobs = {
        "Newton: solve H p = −g": lambda H, g, pairs: np.linalg.solve(H, g),
        "BFGS: update H⁻¹": lambda H, g, pairs: (H @ g, np.outer(g, g) + H),
        "L-BFGS: ten pairs": lambda H, g, pairs: pairs.T @ (pairs @ g),
        "gradient descent: w − α g": lambda H, g, pairs: g - 0.1 * g,
    }
    costs = {name: [] for name in jobs}
    for n in sizes:
        generator = np.random.default_rng(0)
        H, g, pairs = (
            generator.normal(size=(n, n)) + n * np.eye(n),
            generator.normal(size=n),
            generator.normal(size=(20, n)),
        )
        for name, job in jobs.items():
            took = []
            for _ in range(5):
                began = time.perf_counter()
                job(H, g, pairs)
                took.append(time.perf_counter() - began)
            costs[name].append(min(took))
    return {name: np.array(seconds) for name, seconds in costs.items()}


def learn(
    classes: int = 10, descent: int = 3000, sizes: tuple[int, ...] = (100, 200, 400, 800, 1600)
) -> SimpleNamespace:
    """Solve after 1, 2, 3, ... steps with each solver (one compiled program each), and time each solve."""
    x, y = problem(classes)
    start = np.zeros((classes, x.shape[1]))
    curves = {}
    for name, solver in SOLVERS.items():
        solver(1).solve(objective, start, x, y, strong_convexity=2 * STRENGTH)  # compiles; the number of steps is data
        curves[name] = steps, values, seconds = [], [], []
        for count in sorted({int(k) for k in np.geomspace(1, 300, 40)}):
            took = []
            for _ in range(3):  # the least of three: other work on the machine only adds
                began = time.perf_counter()
                solution = solver(count).solve(objective, start, x, y, strong_convexity=2 * STRENGTH)
                took.append(time.perf_counter() - began)
            seconds.append(min(took))
            steps.append(solution.iterations)
            values.append(solution.value)
            if solution.status == "converged":
                break
        seconds[:] = np.minimum.accumulate(seconds[::-1])[::-1]  # no solve takes longer than one of more steps
    values, seconds = descend(x, y, start, descent)
    curves[DESCENT] = list(range(descent)), values, seconds
    with threadpool_limits(1):  # several threads would wait for each other on a busy machine
        costs = step_costs(sizes)
    lowest = min(min(curve[1]) for curve in curves.values())
    return SimpleNamespace(weights=start.size, curves=curves, lowest=lowest, sizes=np.array(sizes), costs=costs)


def draw(found: SimpleNamespace, dark: bool = False) -> Figure:
    """Return the three panels."""
    theme = themed(dark)
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    by_steps, by_seconds, cost = figure.subplots(1, 3)
    for place, (name, (steps, values, seconds)) in enumerate(found.curves.items()):
        above = np.maximum(np.array(values) - found.lowest, 1e-15)
        marker = "" if name == DESCENT else LINES[place][1]
        look = {
            "color": theme.colour(place),
            "linestyle": LINES[place][0],
            "marker": marker,
            "markersize": 4,
            "label": name,
        }
        by_steps.plot(np.array(steps) + (name == DESCENT), above, **look)
        by_seconds.plot(seconds, above, **look)
    by_steps.set(xlabel="steps", ylabel="objective above its minimum", title=f"{found.weights} weights, by steps")
    by_seconds.set(xlabel="seconds", title="The same by seconds")
    by_seconds.legend(frameon=False, fontsize=9, loc="lower left")
    for place, (name, seconds) in enumerate(found.costs.items()):
        power = np.polyfit(np.log(found.sizes), np.log(seconds), 1)[0]
        cost.plot(found.sizes, seconds, color=theme.colour(place), linestyle=LINES[place][0], marker=LINES[place][1],
                  markersize=4, label=f"{name}  ~ n^{power:.1f}")  # fmt: skip
    cost.set(xlabel="weights n", ylabel="seconds", title="Linear algebra of one step")
    cost.legend(frameon=False, fontsize=9, loc="upper left")
    for axes in (by_steps, by_seconds, cost):
        axes.set(xscale="log", yscale="log")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    cost.set_ylim(top=1000 * max(seconds[-1] for seconds in found.costs.values()))  # room for the legend
    cost.set_xticks(found.sizes, [str(n) for n in found.sizes])
    cost.set_xticks([], minor=True)
    return theme.dress(figure)


def main(out: Path = Path("lesson_second_order.png"), **sizes) -> SimpleNamespace:
    """Learn, draw, and say what is to be seen."""
    found = learn(**sizes)
    draw(found).savefig(out, dpi=85)
    for name, (steps, values, seconds) in found.curves.items():
        near = np.flatnonzero(np.array(values) - found.lowest < 1e-6)
        at = near[0] if len(near) else -1
        print(f"{name:16} {values[at] - found.lowest:.0e} above the minimum after {steps[at]} steps, "
              f"{1e3 * seconds[at]:.1f} ms")  # fmt: skip
    first, last = found.sizes[[0, -1]]
    for name, seconds in found.costs.items():
        print(f"{name:26} {1e6 * seconds[0]:9.1f} µs at n = {first}, {1e6 * seconds[-1]:9.1f} µs at {last}")
    print(f"picture: {out}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lesson_second_order.png"), help="where to write the picture")
    main(parser.parse_args().out)

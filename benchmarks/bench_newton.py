"""What a step of Newton, BFGS and L-BFGS costs as the weights grow: O(n³), O(n²), O(n) (SPEC rows H1 to H3)."""

from __future__ import annotations

import argparse

import jax.numpy as jnp
import numpy as np

from common import seconds, table
from thalweg.solvers.bfgs import BFGS
from thalweg.solvers.lbfgs import LBFGS
from thalweg.solvers.minimize import SmoothSolver
from thalweg.solvers.newton import Newton

SOLVERS = {
    "Newton, full": lambda tolerance, steps: Newton(tolerance, steps, "full"),
    "Newton, products": lambda tolerance, steps: Newton(tolerance, steps, "products"),
    "BFGS": BFGS,
    "L-BFGS": lambda tolerance, steps: LBFGS(10, tolerance, steps),
}
MATRICES = {"Newton, full": 3, "BFGS": 1}  # H, its factor and the columns; the inverse


def chain(w):
    """A convex function of neighbours, O(n) to evaluate, so that the solver's own cost shows."""
    return jnp.sum(jnp.cosh(w[1:] - w[:-1])) + 0.5 * jnp.sum(jnp.square(w - 1))


def logistic(w, x):
    """Logistic regression with a penalty, O(N n) to evaluate."""
    return jnp.mean(jnp.logaddexp(0, -x @ w)) + 1e-3 * jnp.sum(jnp.square(w))


def per_step(make, n: int) -> float:
    """Time four steps in one call, and divide: below a millisecond it is the call that shows."""
    start = np.random.default_rng(0).normal(size=n).astype(np.float32)
    solver = make(0.0, 4)
    steps = solver.solve(chain, start).iterations
    return min(seconds(lambda: solver.solve(chain, start).value, 3)) / steps


def whole(solver: SmoothSolver, n: int) -> str:
    """Time a whole solve of logistic regression on 4 n examples."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4 * n, n)).astype(np.float32) * np.logspace(-1, 0, n, dtype=np.float32)
    x *= np.sign(x @ rng.normal(size=n) + 2 * rng.normal(size=4 * n)).astype(np.float32)[:, None]
    start = np.zeros(n, np.float32)

    def solve():
        return solver.solve(logistic, start, x, strong_convexity=2e-3)

    steps = solve()
    return f"{min(seconds(lambda: solve().value, 3)):.3g} ({steps.iterations}, {steps.evaluations})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200, 500, 1000, 2000])
    sizes = parser.parse_args().sizes
    rows, times = [], {}
    for n in sizes:
        for name, make in SOLVERS.items():
            times[name, n] = per_step(make, n)
        rows.append([n, *(f"{1e3 * times[name, n]:.3g}" for name in SOLVERS)])
    growth = [
        f"{np.log(times[name, sizes[-1]] / times[name, sizes[-2]]) / np.log(sizes[-1] / sizes[-2]):.1f}"
        for name in SOLVERS
    ]
    rows.append(["growth n^", *growth])
    rows.append(["numbers kept", *(f"{MATRICES[k]} n²" if k in MATRICES else "O(n)" for k in SOLVERS)])
    solves = [n for n in sizes if n <= 1000]
    rows += [[f"solve, n = {n}", *(whole(make(1e-6, 1000), n) for make in SOLVERS.values())] for n in solves]
    table(
        "Newton, BFGS, L-BFGS: ms a step on an O(n) function; s (steps, evaluations) of a logistic regression, N = 4 n",
        ["n", *SOLVERS],
        rows,
        "newton",
    )


if __name__ == "__main__":
    main()

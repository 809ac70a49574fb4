"""What a step of Newton, BFGS and L-BFGS costs as the weights grow: O(n³), O(n²), O(n) (SPEC rows H1 to H3).

python benchmarks/bench_newton.py [--sizes 50 ...] [--no-solves] [--note TEXT]
writes results/newton.md, results/newton.csv and docs/newton_cost.png
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from common import RESULTS, ROOT, machine, seconds, table
from thalweg.diagnostics.newton_cost import NewtonCost
from thalweg.plot.newton_cost_figure import newton_cost
from thalweg.solvers.bfgs import BFGS
from thalweg.solvers.lbfgs import LBFGS
from thalweg.solvers.minimize import Objective, SmoothSolver, minimize
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


def memory(make, n: int) -> int:
    """Return the bytes that the compiled solve of four steps keeps for its work."""
    solver = make(0.0, 4)
    nothing = jnp.zeros((), jnp.float32)

    def solve(start):
        return minimize(Objective(chain, start, nothing, nothing), solver.method(n), jnp.asarray(4)).weights

    compiled = jax.jit(solve).lower(jax.ShapeDtypeStruct((n,), jnp.float32)).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def keep(cost: NewtonCost) -> None:
    """Write the numbers as CSV, and draw them."""
    lines = ["solver,n,seconds,bytes"]
    for place, name in enumerate(cost.names):
        lines += [
            f'"{name}",{n},{s:.6g},{b:.0f}'
            for n, s, b in zip(cost.sizes, cost.seconds[place], cost.bytes[place], strict=True)
        ]
    (RESULTS / "newton.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    newton_cost(cost).savefig(ROOT / "docs" / "newton_cost.png", dpi=110)


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
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200, 500, 1000, 2000, 4000])
    parser.add_argument("--no-solves", action="store_true", help="leave the logistic regressions out")
    parser.add_argument("--note", default="", help="a sentence on how it was run, written under the picture")
    given = parser.parse_args()
    sizes = sorted(given.sizes)
    times, sizes_of = (np.full((len(SOLVERS), len(sizes)), np.nan) for _ in range(2))
    for column, n in enumerate(sizes):
        for row, make in enumerate(SOLVERS.values()):
            times[row, column], sizes_of[row, column] = per_step(make, n), memory(make, n)
    how = f"Four steps in one call on an O(n) function, the best of three calls. {given.note} {machine()}"
    cost = NewtonCost(tuple(SOLVERS), np.asarray(sizes), times, sizes_of, how)
    keep(cost)
    rows = [
        [n, *(f"{1e3 * t:.3g}; {b / 2**20:.3g}" for t, b in zip(times[:, i], sizes_of[:, i], strict=True))]
        for i, n in enumerate(sizes)
    ]
    both = zip(cost.slopes(times), cost.slopes(sizes_of), strict=True)
    rows.append(["growth over the last three", *(f"n^{t:.1f}; n^{b:.1f}" for t, b in both)])
    rows.append(["numbers kept", *(f"{MATRICES[k]} n²" if k in MATRICES else "O(n)" for k in SOLVERS)])
    solves = [] if given.no_solves else [n for n in sizes if n <= 1000]
    rows += [[f"solve, n = {n}", *(whole(make(1e-6, 1000), n) for make in SOLVERS.values())] for n in solves]
    table(
        "Newton, BFGS, L-BFGS: ms a step on an O(n) function, MiB of work; "
        f"s (steps, evaluations) of a logistic regression, N = 4 n. {given.note}".strip(),
        ["n", *SOLVERS],
        rows,
        "newton",
    )


if __name__ == "__main__":
    main()

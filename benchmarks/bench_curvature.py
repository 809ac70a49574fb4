"""Curvature against dense Hessians, and what it costs: python benchmarks/bench_curvature.py [accuracy] [cost]

accuracy    extreme eigenvalues of models of the digits, single and double precision, against dense float64 Hessians
cost        seconds of a product and of a spectrum beside those of a gradient, on made data of the width of CIFAR-10
"""

from __future__ import annotations

import dataclasses
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import thalweg as tw
from common import seconds, table
from thalweg.data import Split
from thalweg.diagnostics.curvature import curvature, curvatures
from thalweg.diagnostics.objective import chunk_rows, flat, products, slope, stack_models
from thalweg.diagnostics.subject import subject
from thalweg.fitted import FittedModel
from thalweg.precision import double
from thalweg.training.train import examples_of

ADAM = tw.optimizers.Adam(1e-2)
MODELS = {
    "linear, no penalty": tw.Recipe(optimizer=ADAM, epochs=30),
    "linear, L2 1e-3": tw.Recipe(optimizer=ADAM, epochs=30, penalty=tw.penalties.L2(1e-3)),
    "two layers of 16": tw.Recipe(optimizer=ADAM, epochs=30, model=tw.models.Dense(hidden=16)),
}


def exact(model: FittedModel, split: Split) -> np.ndarray:
    """All eigenvalues of the dense Hessian, formed of float64 products with unit vectors."""
    with double():
        point, examples = stack_models([model], np.float64), examples_of(split, model.preprocessing)
        unit = np.eye(len(flat(model.params)))
        rows = chunk_rows(len(split), 64, False)
        blocks = [products(point, examples, jnp.asarray(unit[None, i : i + 64]), rows) for i in range(0, len(unit), 64)]
        return np.linalg.eigvalsh(np.concatenate([np.asarray(block[0]) for block in blocks]))


def bench_accuracy() -> None:
    rows = []
    for name, recipe in MODELS.items():
        seen = subject(tw.fit(recipe, "digits"), "digits")
        values = exact(seen.model, seen.split)
        for precision, options in (("single", {}), ("double", {"tolerance": 1e-10, "iterations": 300})):
            start = time.perf_counter()
            found = curvature(seen.model, seen.split, precision=precision, **options)
            taken = time.perf_counter() - start
            ends = ((found.largest, values[-1]), (found.least, values[0]))
            errors = [abs(one.value - true) / values[-1] for one, true in ends]
            held = all(one.interval[0] <= true <= one.interval[1] for one, true in ends)
            rows.append([name, f"{len(values):,}", precision, found.products, f"{errors[0]:.1e}", f"{errors[1]:.1e}",
                         f"{found.least.bound / values[-1]:.1e}", "yes" if held else "NO", f"{taken:.1f}"])  # fmt: skip
    table("Extreme eigenvalues against dense float64 Hessians; errors relative to λmax",
          ["model of the digits", "weights", "precision", "products", "error of λmax", "error of λmin", "bound of λmin",
           "both within bounds", "s with compiling"], rows, "curvature")  # fmt: skip


def bench_cost(examples: int = 4_000, width: int = 3072) -> None:
    rng = np.random.default_rng(0)
    split = Split(rng.normal(size=(examples, width)).astype(np.float32), rng.integers(0, 10, examples).astype(np.int32))
    rows = []
    for name, model in {"linear": tw.models.Linear(), "two layers of 16": tw.models.Dense(hidden=16)}.items():
        recipe = tw.Recipe(model=model, penalty=tw.penalties.L2(1e-4))
        seen = subject(recipe, split, preprocessing=None)
        point, taken = stack_models([seen.model], np.float32), examples_of(split, seen.model.preprocessing)
        size = len(flat(seen.model.params))
        vectors = jnp.asarray(rng.normal(size=(1, 4, size)).astype(np.float32))
        cut = chunk_rows(examples, 4, False)
        jax.block_until_ready((slope(point, taken, cut), products(point, taken, vectors, cut)))
        gradient = min(seconds(lambda: slope(point, taken, cut), 3))  # noqa: B023
        four = min(seconds(lambda: products(point, taken, vectors, cut), 3))  # noqa: B023
        curvature(seen.model, split, iterations=40)
        start = time.perf_counter()
        found = curvature(seen.model, split, iterations=40)
        whole = time.perf_counter() - start
        params = [jax.tree.map(lambda leaf, f=f: f * leaf, seen.model.params) for f in range(8)]
        many = [dataclasses.replace(seen.model, params=one) for one in params]
        curvatures(many, split, probes=1, iterations=40)
        start = time.perf_counter()
        curvatures(many, split, probes=1, iterations=40)
        rows.append([name, f"{size:,}", f"{gradient:.3f}", f"{four:.3f}", found.products // 4, f"{whole:.1f}",
                     f"{time.perf_counter() - start:.1f}"])  # fmt: skip
    table(f"Seconds, {examples:,} examples of {width:,} features, compiled beforehand",
          ["model", "weights", "a gradient", "four products at once", "steps of four probes", "a spectrum",
           "spectra of eight models, a probe each"], rows, "curvature_cost")  # fmt: skip


if __name__ == "__main__":
    jobs = {"accuracy": bench_accuracy, "cost": bench_cost}
    for chosen in sys.argv[1:] or jobs:
        jobs[chosen]()

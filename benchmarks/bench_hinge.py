"""Hinge with L2: seconds to a certified gap of 1e-3, beside liblinear's Crammer-Singer at its own tolerance of 1e-3.

    python benchmarks/bench_hinge.py [--examples 5000] [--members 10] [--peer 0.1]

The two losses differ: Weston-Watkins sums max(0, 1 + s_j − s_y) over the wrong
classes, Crammer-Singer takes the largest of them, and liblinear leaves the bias
out unless it is penalised as a further weight. So neither objective says anything of the other; what is
compared is the time for a multiclass support vector machine on the same data at
the same ridge. liblinear's tolerance is of its dual's projected gradient, and
proves no gap.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from common import cifar10, table
from thalweg.losses import Hinge
from thalweg.solvers.hinge import solve_hinge
from thalweg.solvers.problem import Problem
from thalweg.solvers.spectrum import decompose


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--members", type=int, default=10, help="strengths of the path from 1e-1 to 1e-4")
    parser.add_argument("--peer", type=float, nargs="*", default=[1e-1], help="strengths that liblinear solves")
    options = parser.parse_args()
    features, labels = pixels(options.examples)
    rows = []
    spectrum, seconds = timed(lambda: decompose(features, "full"))
    rows.append(["spectrum, once", "", f"{seconds:.1f}", "", ""])
    path = np.logspace(-1, -4, options.members)
    for name, strengths in [("strength 1e-1", [1e-1]), ("strength 1e-3", [1e-3]), (f"path of {len(path)}", path)]:
        problem = problem_of(features, labels, np.asarray(strengths))
        for state in ("first", "compiled"):
            optima, seconds = timed(lambda problem=problem: solve_hinge(problem, spectrum))
            gap = f"{optima.certificate.relative.max():.1e}"
            rows.append([f"Thalweg, {name}", state, f"{seconds:.1f}", gap, str(int(optima.iterations.max()))])
    for ridge in options.peer:
        model = LinearSVC(multi_class="crammer_singer", C=1 / (2 * ridge * len(labels)), tol=1e-3)
        wide = features.astype(np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            _, seconds = timed(lambda model=model, wide=wide: model.fit(wide, labels))
        rows.append([f"liblinear, strength {ridge:g}", "", f"{seconds:.1f}", "not known", str(int(model.n_iter_))])
    head = ["what", "run", "seconds", "largest relative gap", "iterations"]
    table(f"Hinge with L2, {options.examples} × {features.shape[1]} pixels", head, rows, f"hinge-{options.examples}")


def pixels(examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return centred pixels of root mean square 1, and labels."""
    data = cifar10()
    chosen = np.random.default_rng(0).permutation(len(data.train.labels))[:examples]  # the archive is sorted by class
    images = data.train.features[chosen].reshape(examples, -1).astype(np.float32)
    images -= images.mean(axis=0)
    return images / np.float32(np.sqrt(np.mean(images**2))), data.train.labels[chosen].astype(np.int32)


def problem_of(features: np.ndarray, labels: np.ndarray, ridge: np.ndarray) -> Problem:
    count, members = len(labels), len(ridge)
    return Problem(
        features=features,
        labels=labels,
        classes=int(labels.max()) + 1,
        loss=Hinge(),
        weightings=np.full((1, count), 1 / count),
        rows=np.zeros(members, int),
        ridge=ridge,
        lasso=np.zeros(members),
    )


def timed(work: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


if __name__ == "__main__":
    main()

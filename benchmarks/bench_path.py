"""Bars 1 and 3: paths of softmax + L2 beside scikit-learn's solvers, at the same objective gap.

    python benchmarks/bench_path.py pixels     20,000 × 3,072, 32 strengths 1e-2 … 1e-5, and one strength alone
    python benchmarks/bench_path.py digits     45 strengths × 5 folds on the digits
    python benchmarks/bench_path.py features   45 strengths × 5 folds on 20,000 × 512

scikit-learn fits one strength at a time. Its total for a path is estimated openly: a few strengths are timed, each
started from the certified optimum of its neighbour, which is the best warm start there is, and the times are
interpolated in the logarithm of the strength. What a fit reached is judged by our certificate.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

from common import cifar10, spread, table
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.losses import Softmax
from thalweg.paths import path
from thalweg.paths.features import centre
from thalweg.solvers import Problem, decompose
from thalweg.solvers.solve import solve

TIMED = (0, 15, 31)  # of the 32 strengths
TOLERANCES = {"newton-cg": (1e-5, 1e-6, 1e-7), "lbfgs": (1e-6,)}
LIMIT = {"newton-cg": 200, "lbfgs": 400}  # iterations


def pixels(count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    data = cifar10().train
    rows = np.random.default_rng(0).permutation(len(data.features))[:count]
    features, labels = data.features[rows], data.labels[rows]
    return centre(features, fit_preprocessing(features, "center")).matrix, labels


def problem(features: np.ndarray, labels: np.ndarray, strengths: np.ndarray) -> Problem:
    count = len(strengths)
    return Problem(
        features, labels, int(labels.max()) + 1, Softmax(), np.full((1, len(labels)), 1 / len(labels)),
        np.zeros(count, int), np.asarray(strengths, float), np.zeros(count),
    )  # fmt: skip


def ours(features: np.ndarray, labels: np.ndarray, strengths: np.ndarray, repeats: int) -> tuple[list, list, object]:
    """Time set-up and solution, certificates included; the first run compiles and is reported apart."""
    one = problem(features, labels, strengths)
    setup, total = [], []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        spectrum = decompose(features, rows=len(one) * one.classes)
        middle = time.perf_counter()
        optima = solve(one, tolerance=1e-6, spectrum=spectrum)
        setup.append(middle - start)
        total.append(time.perf_counter() - start)
    return setup, total, optima


def fit(solver: str, tolerance: float, features, labels, strength: float, start, limit: int):
    model = LogisticRegression(
        C=1 / (2 * strength * len(labels)), solver=solver, tol=tolerance, max_iter=limit, warm_start=True
    )
    model.classes_ = np.arange(int(labels.max()) + 1)
    model.coef_, model.intercept_ = start
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return time.perf_counter() - begin, model


def gap(features, labels, strength: float, model, minimum: float) -> float:
    """Return the relative distance of a fitted model's objective, in float64, from the certified minimum."""
    loss = 0.0
    for start in range(0, len(labels), 4096):
        rows = slice(start, start + 4096)
        scores = features[rows].astype(np.float64) @ model.coef_.astype(np.float64).T + model.intercept_
        scores -= scores.max(axis=1, keepdims=True)
        loss += float(np.sum(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(scores)), labels[rows]]))
    value = loss / len(labels) + strength * float(np.sum(model.coef_.astype(np.float64) ** 2))
    return (value - minimum) / minimum


def bench_pixels() -> None:
    features, labels = pixels()
    strengths = np.logspace(-2, -5, 32)
    setup, total, optima = ours(features, labels, strengths, 2)
    single_setup, single, _ = ours(features, labels, strengths[15:16], 3)
    rows = [
        ["Thalweg, 32 strengths", f"{spread(total[1:])} ({total[0]:.3g} with compiling)", spread(setup[1:]),
         f"≤ {optima.certificate.relative.max():.1e} certified", f"{int(optima.iterations.sum())} in all"],
        ["Thalweg, one strength (3.5e-4)", f"{spread(single[1:])} ({single[0]:.3g} with compiling)",
         spread(single_setup[1:]), "≤ 1e-6 certified", ""],
    ]  # fmt: skip
    for row in rows:
        print(row, flush=True)
    best: dict[int, float] = {}
    cold = np.inf
    for index in TIMED:
        none = (np.zeros(optima.weights.shape[1:], np.float32), np.zeros(optima.weights.shape[1], np.float32))
        near = index - 1  # the first of the path has no neighbour to start from
        warm = none
        if index > 0:
            warm = (optima.weights[near].astype(np.float32), optima.certificate.bias[near].astype(np.float32))
        minimum = float(optima.certificate.value[index] - optima.certificate.bound[index])
        for solver, tolerances in TOLERANCES.items():
            for tolerance in tolerances:
                for kind, start in (("warm", warm), ("cold", none)):
                    if kind == "cold" and index != 15:
                        continue
                    seconds, model = fit(solver, tolerance, features, labels, strengths[index], start, LIMIT[solver])
                    reached = gap(features, labels, strengths[index], model, minimum)
                    rows.append([f"scikit-learn {solver}, tol {tolerance:g}, strength {strengths[index]:.1e}, {kind}",
                                 f"{seconds:.3g}", "", f"{reached:.1e}", int(np.max(model.n_iter_))])  # fmt: skip
                    print(rows[-1], flush=True)
                    if reached <= 2e-6 and kind == "warm":
                        best[index] = min(best.get(index, np.inf), seconds)
                    if reached <= 2e-6 and kind == "cold":
                        cold = min(cold, seconds)
                    if seconds > 200:
                        break
                if reached <= 2e-6:
                    break
    if len(best) == len(TIMED):
        every = np.interp(np.arange(32), TIMED, np.log([best[i] for i in TIMED]))
        estimate = float(np.exp(every).sum())
        rows.append(
            ["scikit-learn, best solver, 32 warm-started fits, interpolated", f"{estimate:.4g}", "", "≤ 2e-6", ""]
        )
        rows.append(["ratio, 32 strengths", f"{estimate / np.median(total[1:]):.0f}", "", "", ""])
    if np.isfinite(cold):
        rows.append(["ratio, one strength from nothing", f"{cold / np.median(single[1:]):.1f}", "", "", ""])
    table(
        "20,000 × 3,072 pixels, 10 classes, softmax + L2, 1e-2 to 1e-5",
        ["what", "seconds", "of it set-up", "relative gap", "iterations"],
        rows,
        "path_pixels",
    )


def ours_folds(features: np.ndarray, labels: np.ndarray, repeats: int, test: float | None) -> tuple[list, object]:
    """Time 45 strengths × (5 folds + all) through `thalweg.path`; the first run compiles."""
    times, found = [], None
    for _ in range(repeats + 1):
        start = time.perf_counter()
        found = path((features, labels), folds=5, strengths=45, test=test)
        times.append(time.perf_counter() - start)
    print(times, found.statuses, flush=True)
    worst = max(max((*s.fold_bounds, s.relative_bound)) for s in found.solutions)
    row = ["Thalweg: 45 strengths × (5 folds + all)", f"{spread(times[1:])} ({times[0]:.3g} with compiling)",
           f"≤ {worst:.1e} certified", 1]  # fmt: skip
    return [row, float(np.median(times[1:]))], found


def standardised(features: np.ndarray) -> np.ndarray:
    deviation = features.std(axis=0)
    return ((features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)).astype(np.float32)


def bench_digits() -> None:
    """The whole of `LogisticRegressionCV`: small enough to run."""
    from sklearn.datasets import load_digits

    features, labels = load_digits(return_X_y=True)
    features, labels = features.astype(np.float32), labels.astype(np.int32)
    (row, seconds), found = ours_folds(features, labels, 3, None)
    strengths, rows = np.asarray(found.settings["strengths"]), [row]
    for limit, tolerance in ((100, 1e-4), (3000, 1e-6)):
        model = LogisticRegressionCV(
            Cs=1 / (2 * strengths[::-1] * found.data.examples["train"]), cv=5, max_iter=limit, tol=tolerance,
            l1_ratios=(0,), use_legacy_attributes=False, scoring="accuracy",
        )  # fmt: skip
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(standardised(features), labels)
        used = time.perf_counter() - start
        rows.append([f"LogisticRegressionCV lbfgs, tol {tolerance:g}, max_iter {limit}", f"{used:.4g}", "none stated",
                     f"{used / seconds:.2g}"])  # fmt: skip
    table("45 strengths × 5 folds on the digits", ["what", "seconds", "relative gap", "times Thalweg's"], rows,
          "path_digits")  # fmt: skip


def bench_features() -> None:
    """Some of the fits that `LogisticRegressionCV` does, on one training fold, each warm-started, and scaled up."""
    images, labels = pixels()
    rng = np.random.default_rng(1)
    projection = rng.standard_normal((images.shape[1], 512), np.float32) / np.float32(np.sqrt(images.shape[1]))
    features = np.maximum(images @ projection, 0)  # random features, as an untrained network gives
    (row, seconds), found = ours_folds(features, labels, 1, 0.001)
    strengths, rows = np.asarray(found.settings["strengths"]), [row]
    fold = slice(0, len(labels) * 4 // 5)
    scaled, own = standardised(features[fold]), labels[fold]
    scaled -= scaled.mean(axis=0)
    timed = np.arange(0, len(strengths), 11)
    near = np.maximum(timed - 1, 0)
    best = solve(problem(scaled, own, strengths[np.concatenate([timed, near])]), tolerance=1e-6)
    minima = best.certificate.value - best.certificate.bound
    for limit, tolerance in ((100, 1e-4), (3000, 1e-6)):
        used, reached = [], []
        for place, index in enumerate(timed):
            other = len(timed) + place
            start = (best.weights[other].astype(np.float32), best.certificate.bias[other].astype(np.float32))
            one, model = fit("lbfgs", tolerance, scaled, own, strengths[index], start, limit)
            used.append(one)
            reached.append(gap(scaled, own, strengths[index], model, minima[place]))
        each = ", ".join(f"{a:.1f} s to {b:.0e}" for a, b in zip(used, reached, strict=True))
        whole = float(np.mean(used)) * len(strengths) * 5
        name = f"lbfgs, tol {tolerance:g}, max_iter {limit}, {len(timed)} strengths of one fold timed"
        rows.append([name, f"{whole:.4g}", each, f"{whole / seconds:.3g}"])
        print(rows[-1], flush=True)
    table("45 strengths × 5 folds on 20,000 × 512", ["what", "seconds", "relative gap", "times Thalweg's"], rows,
          "path_features")  # fmt: skip


if __name__ == "__main__":
    jobs = {"pixels": bench_pixels, "digits": bench_digits, "features": bench_features}
    for name in sys.argv[1:] or jobs:
        jobs[name]()

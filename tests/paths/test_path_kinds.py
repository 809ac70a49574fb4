"""`path` with penalties that leave zeros, and with the hinge: the same promises as for softmax with L2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.optimize
from path_cases import COUNT, WIDTH, fitted, split_data, uneven

import thalweg as tw
from thalweg.cli.app import run

CLASSES = 3
X, Y = uneven()
SPARSE = [("l1", 0.0), ("elastic_net", 0.5)]
GRID = [1e-1, 1e-2, 1e-3]


def sparse_minimum(strength: float, beta: float) -> float:
    """Return the least softmax + strength Σ (β W² + |W|): L-BFGS-B with W = U − V, U and V not negative."""
    centred = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    truth = np.eye(CLASSES)[Y]
    size = CLASSES * WIDTH

    def value(parts: np.ndarray) -> tuple[float, np.ndarray]:
        U, V = (parts[i * size : (i + 1) * size].reshape(CLASSES, WIDTH) for i in range(2))
        W, bias = U - V, parts[2 * size :]
        scores = centred @ W.T + bias
        top = scores.max(axis=1)
        e = np.exp(scores - top[:, None])
        total = e.sum(axis=1)
        loss = np.mean(np.log(total) + top - (scores * truth).sum(axis=1))
        slopes = (e / total[:, None] - truth) / COUNT
        gradient = slopes.T @ centred + 2 * strength * beta * W
        whole = loss + strength * (beta * np.sum(W**2) + np.sum(U) + np.sum(V))
        parts = [(gradient + strength).ravel(), (strength - gradient).ravel(), slopes.sum(axis=0)]
        return whole, np.concatenate(parts)

    bounds = [(0, None)] * (2 * size) + [(None, None)] * CLASSES
    options = {"maxiter": 100_000, "maxfun": 1_000_000, "ftol": 1e-16, "gtol": 1e-11, "maxcor": 30}
    found = scipy.optimize.minimize(value, np.zeros(2 * size + CLASSES), jac=True, bounds=bounds, options=options)
    return float(found.fun)


def hinge_minimum(strength: float) -> float:
    """Return the least hinge + strength Σ W², by the dual: a box, and one equation a class (SciPy's SLSQP in W, b, ξ
    would take minutes). Multipliers of the equations are found by the method of augmented Lagrangians."""
    centred = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    own = np.eye(CLASSES)[Y]
    wrong = 1 - own
    bias = np.zeros(CLASSES)
    alpha = np.zeros((COUNT, CLASSES))
    weight = 10.0

    def slopes(alpha: np.ndarray) -> np.ndarray:
        return (alpha * wrong - (alpha * wrong).sum(axis=1, keepdims=True) * own) / COUNT

    def lagrangian(flat: np.ndarray) -> tuple[float, np.ndarray]:
        """−dual, minus bias · miss, plus weight/2 · miss²."""
        alpha = flat.reshape(COUNT, CLASSES)
        G = slopes(alpha)
        W = -(G.T @ centred) / (2 * strength)
        miss = G.sum(axis=0)
        value = -np.sum(alpha * wrong) / COUNT + strength * np.sum(W**2) - bias @ miss + weight / 2 * miss @ miss
        scores = centred @ W.T + bias - weight * miss  # −∂/∂G
        margin = scores - (scores * own).sum(axis=1, keepdims=True) + 1
        return value, (-margin * wrong / COUNT).ravel()

    for _ in range(200):
        options = {"maxiter": 20_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-10}
        bounds = [(0, 1)] * alpha.size
        found = scipy.optimize.minimize(lagrangian, alpha.ravel(), jac=True, bounds=bounds, options=options)
        alpha = found.x.reshape(COUNT, CLASSES)
        miss = slopes(alpha).sum(axis=0)
        bias = bias - weight * miss
        if np.abs(miss).max() < 1e-9:
            break
    G = slopes(alpha)
    W = -(G.T @ centred) / (2 * strength)
    primal = hinge_value(W, bias, strength, centred)
    dual = np.sum(alpha * wrong) / COUNT - strength * np.sum(W**2)
    assert abs(primal - dual) <= 1e-5 * primal
    return dual


def hinge_value(W: np.ndarray, bias: np.ndarray, strength: float, features: np.ndarray) -> float:
    scores = features @ W.T + bias
    margin = np.maximum(scores - scores[np.arange(COUNT), Y][:, None] + 1, 0)
    return float((margin.sum() - COUNT) / COUNT + strength * np.sum(W**2))


@pytest.fixture(scope="module", params=SPARSE, ids=lambda pair: pair[0])
def sparse(request: pytest.FixtureRequest) -> tuple[tw.paths.Path, float]:
    penalty, beta = request.param
    return fitted((X, Y), penalty=penalty, beta=beta or 0.5, strengths=GRID), beta


def test_sparse_optima_are_certified(sparse: tuple[tw.paths.Path, float]) -> None:
    path, beta = sparse
    assert path.statuses == {"converged": 3}
    assert path.tolerance == 1e-4
    for solution in path.solutions:
        least = sparse_minimum(solution.strength, beta)
        assert -1e-9 * least <= solution.value - least <= solution.bound + 1e-9 * least
        assert solution.bound <= 1e-4 * solution.value


def test_sparse_values_are_the_objective(sparse: tuple[tw.paths.Path, float]) -> None:
    path, beta = sparse
    for solution in path.solutions:
        scores = X.astype(np.float64) @ solution.weights.T + solution.bias
        with jax.enable_x64(True):
            loss = float(tw.losses.Softmax()(scores, Y).mean())
        W = np.abs(solution.weights)
        assert solution.value == pytest.approx(loss + solution.strength * np.sum(beta * W**2 + W), rel=1e-9)


@pytest.mark.parametrize("penalty", ["l1", "elastic_net"])
def test_sparse_optima_meet_the_conditions_with_real_zeros(penalty: str) -> None:
    """Zero where |gradient| < strength; elsewhere the distance of −gradient to the subdifferential is small."""
    path = fitted((X, Y), penalty=penalty, strengths=GRID, tolerance=1e-6)
    for solution in path.solutions:
        scores = X.astype(np.float64) @ solution.weights.T + solution.bias
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        gradient = (p - np.eye(CLASSES)[Y]).T @ X.astype(np.float64) / COUNT
        with jax.enable_x64(True):
            residual = np.asarray(solution.penalty.residual(solution.weights, gradient))
        assert residual.max() <= 0.02 * solution.strength
        assert np.all(solution.weights[np.abs(gradient) < 0.9 * solution.strength] == 0)
        assert solution.nonzeros == np.count_nonzero(solution.weights)
    first, *_, last = path.solutions
    assert first.nonzeros < last.nonzeros <= CLASSES * WIDTH


@pytest.mark.parametrize("penalty", ["l1", "elastic_net"])
def test_a_count_starts_where_the_last_weight_vanishes(penalty: str) -> None:
    path = fitted((X, Y), penalty=penalty, strengths=3)
    top = path.solutions[0].strength
    assert path.solutions[0].nonzeros == 0
    around = fitted((X, Y), penalty=penalty, strengths=[1.01 * top, 0.97 * top, 0.5 * top], tolerance=1e-7)
    assert [s.nonzeros > 0 for s in around.solutions] == [False, True, True]
    # The bias alone is left: the classes' shares, and their entropy.
    shares = np.bincount(Y) / COUNT
    assert path.solutions[0].value == pytest.approx(-np.sum(shares * np.log(shares)), rel=1e-6)
    bias = path.solutions[0].bias
    np.testing.assert_allclose(np.exp(bias) / np.exp(bias).sum(), shares, rtol=1e-5)


@pytest.mark.slow
def test_hinge_optima_are_certified() -> None:
    path = fitted((X, Y), loss=tw.losses.Hinge(), strengths=GRID)
    assert path.statuses == {"converged": 3}
    assert path.tolerance == 1e-3
    for solution in path.solutions:
        value = hinge_value(solution.weights, solution.bias, solution.strength, X.astype(np.float64))
        assert solution.value == pytest.approx(value, rel=1e-9)
        assert solution.bound <= 1e-3 * solution.value
    for solution in path.solutions[:2]:  # the reference takes its time at the weakest
        least = hinge_minimum(solution.strength)
        assert -1e-9 * least <= solution.value - least <= solution.bound


@pytest.mark.parametrize(
    "options",
    [
        {"penalty": "l1"},
        {"penalty": "elastic_net", "class_weight": "balanced"},
        {"loss": [tw.losses.Softmax(), tw.losses.Hinge()]},
    ],
    ids="-".join,
)
def test_every_kind_is_cross_validated_and_scored(options: dict[str, Any], tmp_path: Path) -> None:
    path = tw.path(split_data(), strengths=GRID, folds=3, **options)
    assert set(path.statuses) == {"converged"}
    assert all(set(s.fold_statuses) == {"converged"} for s in path.solutions)
    assert path.best.validation_accuracy == max(s.validation_accuracy for s in path.solutions)
    assert path.test.accuracy > 0.5
    model = tw.load_model(path.save(tmp_path / "run"))
    assert model.score(tw.load(split_data()).test) == path.test
    assert model.recipe.penalty == path.best.penalty
    if "loss" in options:
        assert [s.loss.kind for s in path.solutions] == ["softmax"] * 3 + ["hinge"] * 3
        assert isinstance(model.recipe.loss, type(path.best.loss))
    if options.get("penalty") == "l1":
        assert path.solutions[0].nonzeros < CLASSES * WIDTH


def test_the_hinge_with_l1_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(tw.UsageError, match="no solver with a certificate"):
        fitted((X, Y), loss=tw.losses.Hinge(), penalty="l1")
    np.savez(tmp_path / "data.npz", **split_data())
    more = ["--loss", "hinge", "--penalty", "l1", "--out", str(tmp_path / "run")]
    assert run(["path", str(tmp_path / "data.npz"), *more]) == 2
    assert "no solver with a certificate" in capsys.readouterr().err


def test_the_command_line_shows_what_is_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "data.npz", **split_data())
    more = ["--penalty", "l1", "--strengths", "1e-3:1e-1:3", "--folds", "3", "--out", str(tmp_path / "run")]
    assert run(["path", str(tmp_path / "data.npz"), *more]) == 0
    assert "non-zero" in capsys.readouterr().out

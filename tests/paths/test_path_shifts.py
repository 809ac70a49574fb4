"""A shift of all classes' biases changes no loss: it must neither gather in the solver nor pass for a proof."""

from __future__ import annotations

import numpy as np
import pytest

import thalweg as tw
from thalweg.losses import Softmax
from thalweg.solvers.certificate import certify
from thalweg.solvers.problem import Problem


def table(seed: int, scale: float | list[float]) -> tuple[np.ndarray, np.ndarray]:
    x = (np.random.default_rng(seed).normal(size=(60, 4)) * scale).astype(np.float32)
    return x, np.digitize(x[:, 1], [-0.5, 0.7])


@pytest.mark.parametrize("seed", [2, 25])
def test_badly_scaled_features_are_no_proof_of_nothing(seed):
    """Once "converged" at W = 0 with biases of 1e20, where a value below 0.84 is easily had."""
    found = tw.path(table(seed, [1e-4, 1, 100, 1e4]), penalty="l1", strengths=[0.1], folds=0, preprocessing=None,
                    class_weight="balanced")  # fmt: skip
    assert found.solutions[0].value < 0.84
    assert np.abs(found.solutions[0].bias).max() < 10


@pytest.mark.parametrize("shift", [0.0, 1e15, 1e20, -1e20])
def test_a_certificate_knows_no_shift(shift):
    x, y = table(0, 1.0)
    problem = Problem(x - x.mean(axis=0), y.astype(np.int32), 3, Softmax(), np.full((1, 60), 1 / 60), np.zeros(1, int),
                      np.zeros(1), np.full(1, 0.1))  # fmt: skip
    found = certify(problem, np.zeros((1, 3, 4)), np.full((1, 3), shift))
    plain = certify(problem, np.zeros((1, 3, 4)), np.zeros((1, 3)))
    np.testing.assert_allclose(found.value, plain.value, rtol=1e-12)
    np.testing.assert_allclose(found.bound, plain.bound, rtol=1e-9)
    assert found.bound[0] > 0.01  # W = 0 is no optimum here

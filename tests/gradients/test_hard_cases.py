"""What reviewers of the checker broke it with: right gradients that failed, wrong ones that passed."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import thalweg as tw
from thalweg.errors import UsageError

rng = np.random.default_rng(0)
MATRIX = rng.normal(size=(64, 64)) / 8


def test_a_saturated_softmax_is_not_accused():
    """f is 0 to the last bit at every step, and its gradient 1e-25: nothing that f can show."""
    verdict = tw.gradcheck(lambda z: -jax.nn.log_softmax(z)[0], np.array([60.0, 0, 3]))
    assert verdict.status != "fail"


@pytest.mark.parametrize("digits", [3, 4, 6])
def test_rounded_values_accuse_nobody(digits):
    verdicts = [tw.gradcheck(lambda x: np.round(np.exp(x), digits), float(x), np.exp) for x in rng.uniform(0.3, 2, 20)]
    assert sum(verdict.status == "fail" for verdict in verdicts) == 0


@pytest.mark.parametrize("returned", [np.float32, np.float64])
def test_a_gradient_computed_in_float32_is_right_to_its_precision(returned):
    def gradient(x):
        W = MATRIX.astype(np.float32)
        t = np.tanh(W @ x.astype(np.float32))
        return (2 * W.T @ (t * (1 - t**2))).astype(returned)

    for _ in range(10):
        verdict = tw.gradcheck(lambda x: np.sum(np.tanh(MATRIX @ x) ** 2), rng.normal(size=64), gradient)
        assert verdict.status != "fail", str(verdict)


def test_small_outputs_count_among_many_large_ones():
    x = rng.normal(size=20)

    def f(x):
        return np.concatenate([1e9 * np.tile(x, 4), np.sin(x)])

    def jacobian(x, sign=1.0):
        return np.concatenate([1e9 * np.tile(np.eye(20), (4, 1)), np.diag(sign * np.cos(x))])

    assert tw.gradcheck(f, x, jacobian).status == "pass"
    assert tw.gradcheck(f, x, lambda x: jacobian(x, -1.0)).status == "fail"


def test_small_blocks_of_a_hessian_must_be_symmetric_too():
    shift = np.diag(np.ones(9), 1)
    large = 1e8 * np.diag(np.cos(np.arange(10)))
    H = np.block([[large, np.zeros((10, 10))], [np.zeros((10, 10)), np.eye(10) + 0.5 * shift]])
    verdict = tw.gradgradcheck(lambda x: 0.5 * x @ H @ x, rng.normal(size=20), lambda x: H @ x, lambda x: H)
    assert verdict.status == "fail"
    assert any("not symmetric" in reason for reason in verdict.reasons)


def test_dropped_imaginary_parts_confirm_no_gradient_of_0():
    x = rng.normal(size=4)
    assert tw.gradcheck(lambda x: 1e14 + np.vdot(x, x), x, np.zeros_like).status != "pass"


def test_a_term_that_f_itself_drowns_is_not_called_right():
    X, y = 300 * rng.normal(size=(30, 20)), rng.normal(size=30)
    x = {"w": rng.normal(size=20), "b": np.array(0.3)}

    def f(p):
        return np.sum((X @ p["w"] - y) ** 2) + 1e-4 * np.abs(p["b"] + 2)  # abs: no complex step

    for factor in (2.0, -1.0):
        wrong = {"w": 2 * X.T @ (X @ x["w"] - y), "b": np.array(factor * 1e-4)}
        verdict = tw.gradcheck(f, x, lambda p, wrong=wrong: wrong)
        assert verdict.status != "pass", str(verdict)


def test_a_gradient_that_changes_its_input_is_refused():
    def gradient(x):
        x *= 0.5
        return 4 * x

    with pytest.raises(UsageError, match="gradient changes its input x; let it work on a copy"):
        tw.gradcheck(lambda x: np.sum(x**2), np.ones(3), gradient)


def test_a_function_with_a_memory_is_random():
    state = [0.0]

    def f(x):
        state[0] += 1e-6
        return np.sum(x**2) + state[0]

    with pytest.raises(UsageError, match="f is random"):
        tw.gradcheck(f, np.ones(3), lambda x: 2 * x)


def test_several_outputs_with_different_errors_get_no_name():
    verdict = tw.gradcheck(np.sin, np.arange(1.0, 6), lambda x: np.diag(np.cos(x) * [2, 3, 0.5, -1, 7]))
    assert verdict.status == "fail"
    assert verdict.hints == ()


def test_an_infinite_slope_at_an_edge_is_not_judged():
    verdict = tw.gradcheck(lambda x: np.sum(np.sqrt(x)), np.array([0.0, 1.0]), lambda x: 0.5 / np.sqrt(x))
    assert verdict.status == "inconclusive"


def test_two_arguments_and_tuples_are_explained():
    with pytest.raises(UsageError, match="f takes one argument: put several arrays into a tuple or a dictionary"):
        tw.gradcheck(lambda x, y: x, np.ones(2), np.ones(2))
    with pytest.raises(UsageError, match="f returned a tuple of 2, whose 4 numbers"):
        tw.gradcheck(lambda x: (np.sum(x), x), np.ones(3), lambda x: x)

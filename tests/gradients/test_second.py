"""gradgradcheck: second derivatives by autodiff or given, and their symmetry."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from thalweg.errors import UsageError

A = np.random.default_rng(0).normal(size=(6, 6))
A = A + A.T
X = np.random.default_rng(1).normal(size=6)


def f(x):
    return 0.5 * x @ A @ x + np.sum(np.sin(x))


def gradient(x):
    return A @ x + np.cos(x)


def hessian(x):
    return A - np.diag(np.sin(x))


def test_given_hessians():
    assert tw.gradgradcheck(f, X, gradient, hessian).status == "pass"
    assert tw.gradgradcheck(f, X, gradient, hessian(X)).status == "pass"
    verdict = tw.gradgradcheck(f, X, gradient, lambda x: A + np.diag(np.sin(x)))
    assert verdict.status == "fail"
    assert "second derivatives (given)" in verdict.what
    off = hessian(X)
    off[2, 4] = off[4, 2] = off[2, 4] + 0.01
    verdict = tw.gradgradcheck(f, X, gradient, off)
    assert verdict.status == "fail"
    assert {(entry.output, *entry.index) for entry in verdict.wrong} == {(2, 4), (4, 2)}
    assert not any("not symmetric" in reason for reason in verdict.reasons)


def test_a_wrong_first_derivative_that_is_not_symmetric():
    """The Hessian is that of the gradient, and the gradient is of no function at all."""
    swirl = np.zeros((6, 6))
    swirl[0, 1], swirl[1, 0] = 1.0, -1.0
    verdict = tw.gradgradcheck(f, X, lambda x: gradient(x) + swirl @ x, lambda x: hessian(x) + swirl)
    assert verdict.status == "fail"
    assert any("not symmetric: ⟨u, Hv⟩" in reason for reason in verdict.reasons)
    assert "not symmetric" in str(verdict)
    assert not verdict


def test_an_asymmetry_of_one_part_in_a_million():
    wrong = hessian(X)
    wrong[0, 1] *= 1 + 1e-5
    # Too small for rtol=1e-4, but two products of the same matrix must agree to rounding.
    verdict = tw.gradgradcheck(f, X, gradient, wrong, rtol=1e-4)
    assert verdict.status == "fail"
    assert any("not symmetric" in reason for reason in verdict.reasons)


def smooth_jax(x):
    return jnp.sum(jnp.sin(x) * jnp.roll(x, 1) ** 2)


@pytest.mark.parametrize("size", [4, 150])
def test_jax(size):
    x = np.random.default_rng(0).normal(size=size)
    verdict = tw.gradgradcheck(smooth_jax, x)
    assert verdict.status == "pass", verdict
    assert "second derivatives (JAX autodiff)" in verdict.what


def test_jax_trees_and_several_outputs():
    point = {"w": np.ones((2, 3)), "b": np.array([0.3, -0.4])}
    assert tw.gradgradcheck(lambda p: jnp.sum(jnp.tanh(p["w"] @ jnp.ones(3) + p["b"])), point).status == "pass"
    assert tw.gradgradcheck(lambda p: jnp.tanh(p["w"] @ jnp.ones(3) + p["b"]), point).status == "pass"


@jax.custom_jvp
def slope(x):
    """cos x, with the rule of whoever wrote it wrong."""
    return jnp.cos(x)


@slope.defjvp
def _(primals, tangents):
    return jnp.cos(primals[0]), jnp.sin(primals[0]) * tangents[0]


@jax.custom_jvp
def sine(x):
    return jnp.sin(x)


@sine.defjvp
def _(primals, tangents):
    return jnp.sin(primals[0]), slope(primals[0]) * tangents[0]


def test_a_rule_right_in_first_order_and_wrong_in_second():
    x = np.array([0.3, 0.9, -1.4])
    assert tw.gradcheck(lambda x: jnp.sum(sine(x)), x).status == "pass"
    verdict = tw.gradgradcheck(lambda x: jnp.sum(sine(x)), x)
    assert verdict.status == "fail"
    assert "sign flipped" in verdict.hints


def test_a_stopped_gradient_is_not_symmetric():
    """x · stop(x): a symmetric function whose autodiff forgets half of the second derivatives."""

    def f(x):
        return x[0] ** 2 * jax.lax.stop_gradient(x[1]) ** 2 + x[1] ** 2

    verdict = tw.gradgradcheck(f, np.array([1.0, 2.0]))
    assert verdict.status == "fail"


def test_torch():
    torch = pytest.importorskip("torch")

    class Cube(torch.autograd.Function):
        factor = 1.0

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, cotangent):
            (x,) = ctx.saved_tensors
            slope = 3 * x**2
            kept = slope + (Cube.factor - 1) * (slope - slope.detach())  # the same value, another derivative
            return cotangent * kept

    x = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    assert tw.gradgradcheck(lambda x: Cube.apply(x).sum(), x).status == "pass"
    Cube.factor = 2.0
    assert tw.gradcheck(lambda x: Cube.apply(x).sum(), x).status == "pass"
    verdict = tw.gradgradcheck(lambda x: Cube.apply(x).sum(), x)
    assert verdict.status == "fail"
    assert "a factor of 2 too large" in verdict.hints


def test_a_kink_of_the_gradient_is_inconclusive():
    x = np.array([1.0, 0.0])
    verdict = tw.gradgradcheck(
        lambda x: np.sum(np.maximum(x, 0) ** 2), x, lambda x: 2 * np.maximum(x, 0), lambda x: np.diag(2.0 * (x > 0))
    )
    assert verdict.status == "inconclusive"
    assert "kink" in str(verdict)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((f, X, gradient(X), hessian), "gradient is a value; second derivatives need it as a function of x"),
        ((f, X, gradient, np.ones((6, 5))), r"has shape \(6, 5\); it must be \(6, 6\)"),
        ((f, X, gradient, lambda x: 1 / 0), "raised ZeroDivisionError"),
        ((f, X, lambda x: 1 / 0, hessian), "raised ZeroDivisionError"),
        ((f, X, gradient), "JAX cannot differentiate the gradient: it uses NumPy; give hessian="),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(UsageError, match=message):
        tw.gradgradcheck(*arguments)
    with pytest.raises(UsageError, match="rtol"):
        tw.gradgradcheck(f, X, gradient, hessian, rtol=-1)

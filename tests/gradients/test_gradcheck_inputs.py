"""gradcheck on trees, on functions of several outputs, on other precisions, and with JAX's and PyTorch's gradients."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_cases import spoiled

import thalweg as tw


def test_scalars():
    assert tw.gradcheck(math.sin, 0.5, math.cos).status == "pass"
    verdict = tw.gradcheck(math.sin, 0.5, lambda x: -math.cos(x))
    assert verdict.status == "fail"
    assert verdict.worst.index == ()
    assert verdict.worst.name == "x"
    assert "its only entry" in str(verdict)
    assert tw.gradcheck(np.sin, np.float64(0.5), np.cos(0.5)).status == "pass"
    assert tw.gradcheck(jnp.sin, 0.5).status == "pass"


def linear(point):
    return np.sum(np.tanh(point["w"] @ np.ones(3) + point["b"][0]))


def linear_gradient(point):
    slope = 1 - np.tanh(point["w"] @ np.ones(3) + point["b"][0]) ** 2
    return {"w": slope[:, None] * np.ones(3), "b": (slope.reshape(2),)}


TREE = {"w": np.array([[0.1, -0.4, 0.2], [0.3, 0.1, 0.5]]), "b": (np.array([0.3, -0.2]),)}


def test_trees_and_the_names_of_their_entries():
    assert tw.gradcheck(linear, TREE, linear_gradient).status == "pass"

    def wrong(point):
        slopes = linear_gradient(point)
        slopes["b"][0][1] *= 3
        return slopes

    verdict = tw.gradcheck(linear, TREE, wrong)
    assert verdict.status == "fail"
    assert (verdict.worst.name, verdict.worst.leaf, verdict.worst.index) == ("x['b'][0][1]", "['b'][0]", (1,))
    assert verdict.size == 8


def test_the_jacobian_of_an_array():
    matrix = np.random.default_rng(0).normal(size=(2, 3, 4))
    x = np.random.default_rng(1).normal(size=4)

    def f(x):
        return np.sin(matrix @ x)

    def jacobian(x):
        return np.cos(matrix @ x)[..., None] * matrix

    assert tw.gradcheck(f, x, jacobian).status == "pass"
    verdict = tw.gradcheck(f, x, spoiled(jacobian, 4 * 4 + 2, lambda g: 2 * g))  # of output (1, 1) by x[2]
    assert verdict.status == "fail"
    assert verdict.worst.index == (2,)
    assert verdict.worst.output == 4
    assert "x[2] of output 4" in str(verdict)
    assert tw.gradcheck(lambda x: np.array([np.sum(x**2)]), x, lambda x: 2 * x).status == "pass"  # one output
    assert tw.gradcheck(lambda x: np.array([np.sum(x**2)]), x, lambda x: 2 * x[None]).status == "pass"


def test_many_outputs_are_combined_at_random():
    x = np.random.default_rng(0).normal(size=300)
    assert tw.gradcheck(np.sin, x, lambda x: np.diag(np.cos(x))).status == "pass"
    verdict = tw.gradcheck(np.sin, x, lambda x: np.diag(np.where(np.arange(300) == 217, 2, 1) * np.cos(x)))
    assert verdict.status == "fail"
    assert verdict.worst.index == (217,)


def test_float32_input_is_checked_in_float64_or_what_f_takes():
    x = np.random.default_rng(0).normal(size=20).astype(np.float32)
    assert tw.gradcheck(lambda x: np.sum(np.sin(x)), x, np.cos).status == "pass"
    verdict = tw.gradcheck(lambda x: np.sum(np.sin(x), dtype=x.dtype), x, spoiled(np.cos, 3, lambda g: 1.001 * g))
    assert verdict.status == "fail"
    assert verdict.worst.index == (3,)

    def only_single(x):
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return np.sum(np.sin(x))

    verdict = tw.gradcheck(only_single, x, np.cos)
    assert verdict.status != "fail"
    assert "does not take float64 (TypeError), so it was checked in float32" in str(verdict)
    assert tw.gradcheck(only_single, x, lambda x: 2 * np.cos(x)).status == "fail"


# --- JAX


def test_both_modes_of_jax():
    verdict = tw.gradcheck(lambda x: jnp.sum(jnp.sin(x) * x), np.arange(1.0, 5))
    assert verdict.status == "pass"
    assert "reverse and forward mode" in str(verdict)


def with_rules(forward_factor, reverse_factor):
    """x³ whose linear rule goes by one factor forward and by another one back."""

    def rule(primals, tangents):
        moved = jax.lax.custom_linear_solve(
            lambda v: v,
            3 * primals[0] ** 2 * tangents[0],
            lambda _, v: forward_factor * v,
            lambda _, v: reverse_factor * v,
        )
        return primals[0] ** 3, moved

    f = jax.custom_jvp(lambda x: x**3)
    f.defjvp(rule)
    return lambda x: jnp.sum(f(x))


def test_a_rule_that_is_wrong_in_one_mode_alone():
    x = np.array([0.5, -1.2, 2.0])
    assert tw.gradcheck(with_rules(1, 1), x).status == "pass"
    for factors, mode in (((2, 1), "forward"), ((1, 2), "reverse")):
        verdict = tw.gradcheck(with_rules(*factors), x)
        other = {"forward": "reverse", "reverse": "forward"}[mode]
        assert verdict.status == "fail"
        assert f"{mode} mode alone: {other} mode is right" in verdict.what
    verdict = tw.gradcheck(with_rules(2, 2), x)
    assert verdict.status == "fail"
    assert "alone" not in verdict.what


def test_functions_that_vmap_does_not_know():
    def f(x):
        doubled = jax.custom_derivatives.linear_call(lambda _, v: 2 * v, lambda _, v: 2 * v, (), x)
        return jnp.sum(doubled**2)

    assert tw.gradcheck(f, np.array([0.5, -1.2, 2.0])).status == "pass"


@pytest.mark.parametrize("size", [3, 300])
def test_a_rule_for_reverse_mode_only(size):
    def of(factor):
        f = jax.custom_vjp(lambda x: jnp.sum(x**3))
        f.defvjp(lambda x: (jnp.sum(x**3), x), lambda x, cotangent: (factor * 3 * x**2 * cotangent,))
        return f

    x = np.random.default_rng(0).normal(size=size)
    verdict = tw.gradcheck(of(1), x)
    assert verdict.status == "pass"
    assert "mode" not in verdict.what
    assert tw.gradcheck(of(2), x).status == "fail"


def test_jax_works_in_double_precision_and_leaves_the_setting_alone():
    before = jax.config.jax_enable_x64
    verdict = tw.gradcheck(lambda x: jnp.sum(jnp.sin(x)), jnp.arange(3.0))
    assert verdict.status == "pass"
    assert verdict.resolution < 1e-5
    assert jax.config.jax_enable_x64 == before


# --- PyTorch


def test_torch():
    torch = pytest.importorskip("torch")

    class Cube(torch.autograd.Function):
        factor = 1

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, cotangent):
            return Cube.factor * 3 * ctx.saved_tensors[0] ** 2 * cotangent

    x = torch.tensor([0.5, -1.0, 2.0])
    assert tw.gradcheck(lambda x: Cube.apply(x).sum(), x).status == "pass"
    Cube.factor = 2
    verdict = tw.gradcheck(lambda x: Cube.apply(x).sum(), x)
    assert verdict.status == "fail"
    assert "PyTorch autograd" in verdict.what
    assert any("factor of 2" in hint for hint in verdict.hints)

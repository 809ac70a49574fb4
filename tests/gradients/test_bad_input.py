"""What gradcheck refuses, in words that say what to do."""

from __future__ import annotations

import re

import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from thalweg.errors import UsageError

X = np.array([0.5, -1.0, 2.0])


def f(x):
    return np.sum(x**2)


def gradient(x):
    return 2 * x


def refused(message, f=f, x=X, gradient=gradient, check=tw.gradcheck, **options):
    with pytest.raises(UsageError, match=message) as caught:
        check(f, x, gradient, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([1, 2]), r"x is of int64; a gradient needs floats: convert it with .astype\(float\)"),
        (jnp.arange(3), "x is of int32; a gradient needs floats"),
        ({"w": np.ones(2), "n": 3}, r"x\['n'\] is the integer 3; a gradient needs floats: write 3.0"),
        (3, "x is the integer 3"),
        (np.array([True]), "x is of bool"),
        (np.array([1j]), "x is complex; give its real and imaginary parts"),
        (np.array(["a"]), "x is of <U1"),
        ("text", "x is a str; its entries must be arrays or floats"),
        (1 + 2j, "x is a complex"),
        (np.array([1.0, np.nan, 2.0]), r"x\[1\] is nan; check the gradient at a point of finite numbers"),
        ({"w": np.array([[1.0, np.inf]])}, r"x\['w'\]\[0, 1\] is inf"),
        (float("nan"), "x is nan"),
        ([], "x holds no array"),
        (None, "x holds no array"),
        ({}, "x holds no array"),
        (np.zeros((0, 3)), r"x has no entries; its shapes are \[\(0, 3\)\]"),
    ],
)
def test_points(x, message):
    refused(message, x=x)
    refused(message, x=x, check=tw.gradgradcheck)


def test_one_empty_leaf_among_others_is_fine():
    point = {"none": np.zeros((0, 2)), "x": X}
    verdict = tw.gradcheck(lambda p: np.sum(p["x"] ** 2), point, lambda p: {"none": p["none"], "x": 2 * p["x"]})
    assert verdict.status == "pass"


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: None, "f returned None; it must return a number or an array"),
        (lambda x: "text", "f returned <U4"),
        (lambda x: np.sum(x) > 0, "f returned bool"),
        (lambda x: [], r"f returned \[\]"),
        (lambda x: x[:0], "f returned an empty array"),
        (lambda x: np.sum(x) * 1j, "f returned complex numbers; check its real and its imaginary part apart"),
        (lambda x: np.nan, r"f\(x\) is nan; check the gradient where f is finite"),
        (lambda x: np.array([1.0, np.inf]), r"entry 1 of f\(x\) is inf"),
        (lambda x: 1 / 0, "f raised ZeroDivisionError at x: division by zero"),
        (lambda x, y: 0.0, "f raised TypeError at x: .*missing 1 required positional argument"),
        (lambda x: x["w"], "f raised IndexError"),
    ],
)
def test_functions(f, message):
    refused(message, f=f)


def test_random_functions():
    rng = np.random.default_rng(0)
    text = refused("f is random: two calls at the same x gave", f=lambda x: f(x) + 0.01 * rng.normal())
    assert len(re.findall(r"\d\.\d{6,}", text)) == 2
    assert "fix its seed" in text
    refused("f is random", f=lambda x: x + 0.01 * rng.normal(size=3))
    refused("f is random", f=lambda x: np.ones(rng.integers(1, 10**6)))


def test_what_is_random_within_rounding_is_not():
    order = np.random.default_rng(0)
    verdict = tw.gradcheck(lambda x: float(np.sum(order.permutation(x**2))), X, gradient)
    assert verdict.status == "pass"


def test_functions_that_change_their_input():
    def moves(x):
        x += 1
        return np.sum(x)

    refused("f changes its input x; let it work on a copy", f=moves)

    def moves_a_leaf(point):
        point["b"][1] = 0
        return np.sum(point["a"])

    point = {"a": X, "b": X}
    refused(r"f changes its input x\['b'\]", f=moves_a_leaf, x=point, gradient=lambda p: p)
    assert point["b"][1] == -1  # and the caller's array is as it was


def test_tensors_that_f_changes():
    torch = pytest.importorskip("torch")

    def moves(x):
        with torch.no_grad():
            x.mul_(2)
        return (x**2).sum()

    x = torch.tensor([1.0, 2.0])
    refused("f changes its input x", f=moves, x=x, gradient=None)
    np.testing.assert_array_equal(x.numpy(), [1, 2])


def test_tensors_of_the_wrong_kind():
    torch = pytest.importorskip("torch")
    refused("x is of torch.int64; a gradient needs floats: convert it with .double", x=torch.tensor([1]), gradient=None)
    x = torch.ones(2)
    refused(r"does not depend on x as PyTorch sees it", f=lambda x: x.detach().sum(), x=x, gradient=None)
    refused("mixes PyTorch tensors with other arrays", f=lambda p: p["a"].sum(), x={"a": x, "b": X}, gradient=None)


@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        (lambda x: x[:2], r"gradient has shape \(2,\); it must be \(3,\)"),
        (lambda x: 1.0, r"gradient has shape \(\); it must be \(3,\)"),
        (lambda x: np.ones((10, 3)), r"it must be \(3,\): x is broadcast there, so sum the gradient over axis 0$"),
        (lambda x: np.ones((5, 10, 3)), r"sum the gradient over axis \(0, 1\)$"),
        (lambda x: [x], r"gradient is a list; it must be an array like x"),
        (lambda x: None, "gradient is None; it must be a tree like x"),
        (lambda x: x * 1j, "gradient is of complex128; it must be of real numbers"),
        (lambda x: 1 / 0, "gradient raised ZeroDivisionError at x: division by zero"),
        (lambda: 0, "gradient raised TypeError"),
        (X[:2], r"gradient has shape \(2,\)"),
    ],
)
def test_gradients(gradient, message):
    refused(message, gradient=gradient)


def test_gradients_of_trees():
    point = {"w": np.ones((2, 3)), "b": np.ones(3)}

    def f(p):
        return np.sum(p["w"]) + np.sum(p["b"])

    refused(r"gradient has no \['b'\]; it must be a tree like x", f, point, lambda p: {"w": p["w"]})
    transposed = {**point, "w": point["w"].T}
    refused(r"gradient\['w'\] has shape \(3, 2\); it must be \(2, 3\): transposed\?", f, point, transposed)
    refused(r"gradient\['b'\] .* sum the gradient over axis 0", f, point, lambda p: {**p, "b": np.ones((10, 3))})


def test_jacobians():
    refused(r"gradient has shape \(3,\); it must be \(2, 3\)", lambda x: x[:2], X, lambda x: x)
    refused(r"must be \(2, 3\): transposed\?", lambda x: x[:2], X, lambda x: np.ones((3, 2)))


def test_a_numpy_function_without_a_gradient():
    text = refused("JAX cannot differentiate f: it uses NumPy", f=lambda x: np.sum(np.sin(x)), gradient=None)
    assert "give gradient=, or write it with jax.numpy" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rtol": -1e-3}, "gradcheck: rtol"),
        ({"atol": -1}, "gradcheck: atol"),
        ({"rtol": float("nan")}, "gradcheck: rtol"),
        ({"rtol": "1e-3"}, "gradcheck: rtol"),
        ({"every": -1}, "gradcheck: every"),
        ({"every": 2.5}, "gradcheck: every"),
        ({"directions": 0}, "gradcheck: directions"),
    ],
)
def test_options(options, message):
    refused(message, **options)


def test_a_shape_that_depends_on_the_entries():
    refused("the shape of its result must not depend on the entries", lambda x: x[x >= 0.5], X, np.ones((2, 3)))


def test_functions_that_fail_beside_the_point_are_at_the_edge_of_their_domain():
    def f(x):
        if np.any(x > 2):
            raise ValueError("beyond")
        return np.sum(x**2)

    verdict = tw.gradcheck(f, X, gradient)
    assert verdict.status == "inconclusive"
    assert "edge of its domain" in str(verdict)


def test_the_callers_arrays_stay_as_they_are():
    x, claimed = X.copy(), 2 * X
    tw.gradcheck(f, x, claimed)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(claimed, 2 * X)

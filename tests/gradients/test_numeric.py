"""numeric_gradient beside closed forms and SciPy, with its orders of convergence; sample_check, the lecture's form."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from gradient_cases import smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

import thalweg as tw
from thalweg.errors import UsageError
from thalweg.gradients import numeric_gradient, sample_check

SCHEMES = ("central", "forward", "complex")
# What balances truncation and rounding leaves eps^(2/3), eps^(1/2), eps.
ACCURACY = {"central": 1e-9, "forward": 1e-7, "complex": 1e-14}


@settings(max_examples=20)
@given(st.integers(1, 20), st.integers(0, 10**6), st.sampled_from(SCHEMES))
def test_closed_forms(size, seed, scheme):
    f, gradient, x = smooth(size, seed)
    found = numeric_gradient(f, x, scheme)
    assert found.shape == (size,)
    assert found.dtype == np.float64
    # The values grow with the size, and their rounding with them.
    np.testing.assert_allclose(found, gradient(x), rtol=10 * ACCURACY[scheme] * size)


def test_beside_scipy():
    f, _, x = smooth(15, 3)
    forward = numeric_gradient(f, x, "forward", h=1e-7)
    np.testing.assert_allclose(forward, approx_fprime(x, f, 1e-7), rtol=1e-6)
    # Both divide by the rounded step or by that asked for; the difference is far below the truncation.
    np.testing.assert_allclose(numeric_gradient(f, x), approx_fprime(x, f), rtol=1e-5)


@pytest.mark.parametrize(("scheme", "order"), [("forward", 1), ("central", 2), ("complex", 2)])
def test_orders_of_convergence(scheme, order):
    x, steps = np.array([0.7]), np.array([1e-1, 1e-2, 1e-3])
    errors = [abs(numeric_gradient(lambda x: np.sum(np.exp(x)), x, scheme, h)[0] - np.exp(0.7)) for h in steps]
    slopes = np.diff(np.log(errors)) / np.diff(np.log(steps))
    np.testing.assert_allclose(slopes, order, atol=0.05)


def test_the_signs_of_the_leading_errors():
    """Forward: + h f''/2; central: + h² f'''/6; complex: − h² f'''/6."""
    x, h, e = np.array([0.7]), 1e-3, np.exp(0.7)
    for scheme, expected in (("forward", h / 2), ("central", h**2 / 6), ("complex", -(h**2) / 6)):
        found = numeric_gradient(lambda x: np.sum(np.exp(x)), x, scheme, h)[0]
        np.testing.assert_allclose(found / e - 1, expected, rtol=1e-2)


def test_the_specifications_numbers():
    """Row D1: the loss 1.25347 at W, and with one coordinate 0.0001 larger 1.25322, 1.25353, 1.25347."""
    start = np.array([0.34, -1.11, 0.78])
    moved = {0: 1.25322, 1: 1.25353, 2: 1.25347}

    def loss(weights):
        (changed,) = np.nonzero(weights != start)
        return moved[int(changed[0])] if len(changed) else 1.25347

    np.testing.assert_allclose(numeric_gradient(loss, start, "forward", h=1e-4), [-2.5, 0.6, 0.0], atol=1e-8)


def test_complex_steps_are_exact_where_differences_are_not():
    x = np.array([1e-8, 0.3, 2.0])
    found = numeric_gradient(lambda x: np.sum(np.exp(x) * np.sin(x)) + 1e10, x, "complex")
    np.testing.assert_allclose(found, np.exp(x) * (np.sin(x) + np.cos(x)), rtol=1e-15)
    central = numeric_gradient(lambda x: np.sum(np.exp(x) * np.sin(x)) + 1e10, x)
    assert np.max(np.abs(central / found - 1)) > 1e-3


def test_default_steps_grow_with_the_entry():
    for scheme, unit in (("central", 6.1e-6), ("forward", 1.5e-8)):
        for size in (0.0, 0.5, 1e4):
            seen = []

            def f(x, seen=seen):
                seen.append(float(x[0]))
                return 3 * x[0]

            numeric_gradient(f, np.array([size]), scheme)
            np.testing.assert_allclose(max(seen) - size, unit * max(size, 1), rtol=1e-2)
            assert (min(seen) < size) == (scheme == "central")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_trees_and_arrays(scheme):
    point = {"w": np.array([[1.0, 2.0]]), "b": (0.5, np.array([3.0]))}
    found = numeric_gradient(lambda p: np.sum(p["w"] ** 2) * p["b"][0] + p["b"][1][0] ** 3, point, scheme)
    np.testing.assert_allclose(found["w"], [[1, 2]], rtol=1e-6)
    np.testing.assert_allclose(found["b"][0], 5, rtol=1e-6)
    np.testing.assert_allclose(found["b"][1], [27], rtol=1e-6)
    assert found["b"][0].shape == ()
    matrix = np.arange(6.0).reshape(2, 3)
    jacobian = numeric_gradient(lambda x: matrix @ x, np.ones((3, 2)), scheme)
    assert jacobian.shape == (2, 2, 3, 2)
    np.testing.assert_allclose(jacobian, np.einsum("ij,kl->ikjl", matrix, np.eye(2)), atol=1e-6)
    assert numeric_gradient(np.sin, 0.5, scheme).shape == ()
    by_jax = numeric_gradient(lambda x: jnp.sum(jnp.sin(x)), jnp.ones(2), scheme)
    np.testing.assert_allclose(by_jax, np.cos(1), rtol=1e-6)


def test_numbers_in_float32_are_taken_in_float64():
    found = numeric_gradient(lambda x: np.sum(np.sin(x)), np.float32([0.3, 0.5]))
    np.testing.assert_allclose(found, np.cos(np.float32([0.3, 0.5]).astype(float)), rtol=1e-8)


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    x = torch.tensor([0.3, 0.5], dtype=torch.float64)
    np.testing.assert_allclose(numeric_gradient(lambda x: torch.sin(x).sum(), x), np.cos([0.3, 0.5]), rtol=1e-8)


@pytest.mark.parametrize(
    ("f", "options", "message"),
    [
        (np.sum, {"scheme": "centre"}, "scheme is 'centre'; it must be one of central, forward, complex.*central"),
        (np.sum, {"h": 0}, "numeric_gradient: h"),
        (np.sum, {"h": -1e-3}, "numeric_gradient: h"),
        (np.sum, {"h": float("nan")}, "numeric_gradient: h"),
        (np.sum, {"h": 1e-30}, r"h is 1e-30; it vanishes beside x\[0\] = .*take a larger one"),
        (lambda x: np.sum(np.abs(x)), {"scheme": "complex"}, "does not carry complex numbers through"),
        (lambda x: float(x[0]), {"scheme": "complex"}, "does not carry complex numbers through; take scheme='central'"),
        (lambda x: None, {}, "f returned None"),
    ],
)
def test_errors(f, options, message):
    with pytest.raises(UsageError, match=message):
        numeric_gradient(f, np.array([1.0, 2.0]), **options)


# --- sample_check


def test_a_sample_of_entries():
    f, gradient, x = smooth(50, 0)
    sample = sample_check(f, x, gradient)
    assert len(sample.entries) == 10
    assert len({entry.index for entry in sample.entries}) == 10
    assert max(sample.relative_errors) < 1e-8
    for entry in sample.entries:
        assert entry.analytic == gradient(x)[entry.index]
        np.testing.assert_allclose(entry.numeric, gradient(x)[entry.index], rtol=1e-8)
    lines = str(sample).splitlines()
    assert len(lines) == 10
    first = sample.entries[0]
    assert lines[0] == (
        f"{first.name}: numeric {first.numeric:.6f}, analytic {first.analytic:.6f}, "
        f"relative error {first.relative_error:.6e}"
    )


def test_relative_errors_are_the_lectures():
    f, gradient, x = smooth(5, 0)
    for factor, expected in ((2.0, 0.5), (0.5, 0.5), (-1.0, 2.0), (0.0, 1.0), (1.01, 0.01 / 1.01)):
        sample = sample_check(f, x, lambda x: factor * gradient(x))  # noqa: B023
        np.testing.assert_allclose(sample.relative_errors, expected, rtol=1e-6)


def test_how_many_are_drawn_and_how():
    f, gradient, x = smooth(30, 0)
    drawn = [tuple(e.name for e in sample_check(f, x, gradient, num_checks=7, seed=seed).entries) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 7
    small_f, small_gradient, small = smooth(3, 0)
    names = {entry.name for entry in sample_check(small_f, small, small_gradient).entries}
    assert names == {"x[0]", "x[1]", "x[2]"}
    coarse = sample_check(lambda x: np.sum(x**3), np.array([1.0]), lambda x: 3 * x**2, h=0.1)
    np.testing.assert_allclose(coarse.entries[0].numeric, 3.01, rtol=1e-9)  # 3 x² + h²


def test_samples_of_autodiff():
    sample = sample_check(lambda x: jnp.sum(jnp.sin(x)), np.arange(3.0))
    assert max(sample.relative_errors) < 1e-8


@pytest.mark.parametrize(
    ("f", "options", "message"),
    [
        (np.sin, {}, "f returned 2 numbers; sample_check takes an f that returns one"),
        (np.sum, {"num_checks": 0}, "sample_check: num_checks"),
        (np.sum, {"num_checks": 1.5}, "sample_check: num_checks"),
        (np.sum, {"h": 0}, "sample_check: h"),
    ],
)
def test_sample_errors(f, options, message):
    with pytest.raises(UsageError, match=message):
        sample_check(f, np.array([1.0, 2.0]), np.ones_like, **options)


def test_they_are_at_hand_from_the_top():
    assert tw.gradients.numeric_gradient is numeric_gradient
    assert callable(tw.gradcheck)
    assert callable(tw.gradgradcheck)

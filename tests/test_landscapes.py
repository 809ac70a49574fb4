"""Landscapes: derivatives against autodiff, known minima, shapes, errors."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from thalweg.errors import UsageError
from thalweg.landscapes import (
    Beale,
    Hill,
    Himmelblau,
    Landscape,
    MonkeySaddle,
    Quadratic,
    Rastrigin,
    Rosenbrock,
    Saddle,
)
from thalweg.ranges import log_uniform

LANDSCAPES: tuple[Landscape, ...] = (
    Quadratic(),
    Quadratic(condition=1e4, angle=0.7),
    Saddle(),
    MonkeySaddle(),
    Rosenbrock(),
    Rosenbrock(a=-2, b=3),
    Beale(),
    Himmelblau(),
    Rastrigin(),
    Rastrigin(amplitude=0.3),
    Hill(),
    Hill(height=2277, radius=1.5),
)
every = pytest.mark.parametrize("f", LANDSCAPES, ids=repr)
points = hnp.arrays(np.float64, (7, 2), elements=st.floats(-6, 6, allow_subnormal=False))


def close(actual: Any, desired: Any, scale: Any) -> None:
    """Equal up to the rounding of the largest number around."""
    np.testing.assert_allclose(actual, desired, rtol=1e-11, atol=1e-12 * float(np.max(np.abs(scale)) + 1))


@functools.partial(jax.jit, static_argnums=0)
def derivatives(f: Landscape, point: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradients and Hessians by JAX, compiled once for all examples."""
    return jax.vmap(jax.grad(f))(point), jax.vmap(jax.hessian(f))(point)


@every
@settings(max_examples=15)
@given(point=points)
def test_derivatives_are_those_of_the_value(f: Landscape, point: np.ndarray) -> None:
    with jax.enable_x64(True):
        gradient, hessian = map(np.asarray, derivatives(f, point))
        assert gradient.dtype == hessian.dtype == np.float64
    close(f.gradient(point), gradient, gradient)
    close(f.hessian(point), hessian, hessian)


@every
def test_complex_steps_give_the_derivatives_too(f: Landscape) -> None:
    """An oracle without JAX: Im f(p + ih e) / h has no cancellation, so h may be tiny."""
    point = np.random.default_rng(0).uniform(-3, 3, (50, 2))
    step = 1e-30
    for axis in range(2):
        shifted = point.astype(complex)
        shifted[:, axis] += 1j * step
        close(f(shifted).imag / step, f.gradient(point)[:, axis], f.gradient(point))
        close(f.gradient(shifted).imag / step, f.hessian(point)[:, axis], f.hessian(point))


@every
def test_jax_computes_the_same_as_numpy(f: Landscape, x64: None) -> None:
    point = np.random.default_rng(1).uniform(-3, 3, (4, 5, 2))
    for method in (f, f.value, f.gradient, f.hessian):
        under_jax = jax.jit(method)(jnp.asarray(point))
        assert isinstance(under_jax, jax.Array)
        assert under_jax.dtype == np.float64
        close(under_jax, method(point), method(point))


@every
def test_jax_keeps_its_precision(f: Landscape, x64: None) -> None:
    point = jnp.ones((3, 2), jnp.float32)
    assert f.value(point).dtype == f.gradient(point).dtype == f.hessian(point).dtype == jnp.float32
    assert f.value(jnp.ones(2, jnp.int32)).dtype == jnp.float64


@every
def test_batches_are_points_one_by_one(f: Landscape) -> None:
    batch = np.random.default_rng(2).uniform(-3, 3, (3, 4, 2))
    assert f(batch).shape == (3, 4)
    assert f.gradient(batch).shape == (3, 4, 2)
    assert f.hessian(batch).shape == (3, 4, 2, 2)
    one = batch[1, 2]
    assert np.shape(f(one)) == ()
    np.testing.assert_allclose(f(one), f(batch)[1, 2], rtol=1e-13)
    np.testing.assert_allclose(f.gradient(one), f.gradient(batch)[1, 2], rtol=1e-13)
    np.testing.assert_allclose(f.hessian(one), f.hessian(batch)[1, 2], rtol=1e-13)
    assert f(np.empty((0, 2))).shape == (0,)
    assert f.hessian(np.empty((0, 2))).shape == (0, 2, 2)


@every
def test_lists_and_float32_are_computed_in_float64(f: Landscape) -> None:
    for point in ([1, 2], np.array([1, 2], np.float32)):
        for method in (f.value, f.gradient, f.hessian):
            assert method(point).dtype == np.float64
            np.testing.assert_array_equal(method(point), method(np.array([1.0, 2.0])))


@every
def test_known_minima_are_minima(f: Landscape) -> None:
    (left, right), (bottom, top) = f.bounds
    around = np.random.default_rng(3).uniform((left, bottom), (right, top), (2000, 2))
    for x, y in f.minima:
        assert left < x < right
        assert bottom < y < top
        assert f((x, y)) == pytest.approx(0, abs=1e-27)
        np.testing.assert_allclose(f.gradient((x, y)), 0, atol=1e-12)
        assert np.linalg.eigvalsh(f.hessian((x, y))).min() > 0
        assert f(around).min() > f((x, y))


def test_the_other_stationary_points() -> None:
    np.testing.assert_array_equal(Saddle().gradient((0, 0)), 0)
    np.testing.assert_array_equal(np.linalg.eigvalsh(Saddle().hessian((0, 0))), [-2, 2])
    np.testing.assert_array_equal(MonkeySaddle().gradient((0, 0)), 0)
    np.testing.assert_array_equal(MonkeySaddle().hessian((0, 0)), 0)
    np.testing.assert_array_equal(Beale().gradient((0, 1)), 0)
    low, high = np.linalg.eigvalsh(Beale().hessian((0, 1)))
    assert low < 0 < high
    np.testing.assert_array_equal(Hill().gradient((0, 0)), 0)
    assert np.linalg.eigvalsh(Hill().hessian((0, 0))).max() < 0
    np.testing.assert_allclose(Himmelblau().gradient((-0.270845, -0.923039)), 0, atol=1e-4)
    assert np.linalg.eigvalsh(Himmelblau().hessian((-0.270845, -0.923039))).max() < 0


def test_saddles_have_no_minima() -> None:
    assert Saddle().minima == MonkeySaddle().minima == Hill().minima == ()


@given(point=points)
def test_curvature_of_the_monkey_saddle(point: np.ndarray) -> None:
    radius = np.hypot(point[:, 0], point[:, 1])
    eigenvalues = np.linalg.eigvalsh(MonkeySaddle().hessian(point))
    np.testing.assert_allclose(eigenvalues, np.stack([-6 * radius, 6 * radius], axis=-1), atol=1e-12)


@given(condition=st.floats(1, 1e8), angle=st.floats(-10, 10))
def test_the_quadratic_has_the_condition_asked_for(condition: float, angle: float) -> None:
    f = Quadratic(condition=condition, angle=angle)
    np.testing.assert_allclose(np.linalg.svd(f.hessian((1, 2)), compute_uv=False), [condition, 1], rtol=1e-7)
    along = np.array([math.cos(angle), math.sin(angle)])
    np.testing.assert_allclose(f.gradient(along), along, atol=1e-14 * condition)
    assert f(along) == pytest.approx(0.5, rel=1e-9)


def test_values_worked_by_hand() -> None:
    assert Quadratic(condition=10)((2, 1)) == 7
    assert Saddle()((3, 2)) == 5
    assert MonkeySaddle()((2, 1)) == 2
    assert Rosenbrock()((-1, 1)) == 4
    assert Rosenbrock()((-1.2, 1)) == pytest.approx(24.2)
    assert Beale()((0, 0)) == 1.5**2 + 2.25**2 + 2.625**2
    assert Himmelblau()((0, 0)) == 170
    assert Rastrigin()((0.5, 0)) == pytest.approx(20.25)
    assert Rastrigin()((1, 2)) == pytest.approx(5)


def test_rastrigin_keeps_its_digits_at_the_minimum() -> None:
    # 20 + x² − 10 cos 2πx would be 0 here: 20π²x² + x² is below the rounding of 20.
    assert Rastrigin()((1e-9, 0)) == pytest.approx((1 + 20 * math.pi**2) * 1e-18, rel=1e-9)


def test_the_hill_of_row_d4() -> None:
    f = Hill(height=3, radius=4)
    assert f.bounds == ((-10, 10), (-10, 10))
    assert f((0, 0)) == 3
    assert f((4, 0)) == f((0, -4)) == 1.5
    assert f((10, 10)) == pytest.approx(3 / 13.5)
    np.testing.assert_allclose(f.gradient((4, 0)), [-2 * 3 * 4 / 16 / 4, 0])
    # Steepest at R/√3, where the slope is 3√3/8 · h₀/R.
    radii = np.linspace(0, 10, 10_001)
    slopes = np.linalg.norm(f.gradient(np.stack([radii, 0 * radii], axis=-1)), axis=-1)
    assert radii[slopes.argmax()] == pytest.approx(4 / math.sqrt(3), abs=1e-3)
    assert slopes.max() == pytest.approx(3 * math.sqrt(3) / 8 * 3 / 4, rel=1e-6)


def test_far_out_the_numbers_overflow_without_a_warning() -> None:
    assert Beale()((1e100, 1e100)) == np.inf
    assert not np.isfinite(Beale().gradient((1e100, 1e100))).any()
    assert np.isnan(Rastrigin()((np.nan, 0)))


def test_landscapes_are_values() -> None:
    assert Quadratic(10) == Quadratic(condition=10.0)
    assert len({Quadratic(2), Quadratic(2), Quadratic(3), Saddle(), Saddle()}) == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        Quadratic().condition = 3  # type: ignore[misc]
    value = jax.jit(lambda f, p: f(p), static_argnums=0)
    assert value(Rosenbrock(), jnp.ones(2)) == 0


@every
def test_a_name_and_bounds_to_draw(f: Landscape) -> None:
    assert f.name
    for low, high in f.bounds:
        assert low < high


def test_rosenbrock_with_its_minimum_at_0() -> None:
    f = Rosenbrock(a=0)
    assert f.bounds == ((-2, 2), (-1, 3))
    assert np.linalg.eigvalsh(f.hessian(f.minima[0])).min() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quadratic(condition=0.5), "Quadratic: condition is 0.5; it must be finite and at least 1"),
        (lambda: Quadratic(angle=math.inf), "Quadratic: angle is inf; it must be finite"),
        (lambda: Quadratic(condition="10"), "Quadratic: condition is '10'; give one number"),
        (lambda: Quadratic(condition=True), "Quadratic: condition is True; give a number"),
        (lambda: Quadratic(condition=np.array([2.0, 3.0])), "give one number"),
        (lambda: Quadratic(condition=log_uniform(1, 10)), "give one number"),
        (lambda: Rosenbrock(b=0), "Rosenbrock: b is 0; it must be finite and above 0"),
        (lambda: Rosenbrock(a=math.nan), "Rosenbrock: a is nan; it must be finite"),
        (lambda: Rastrigin(amplitude=-1), "Rastrigin: amplitude is -1; it must be finite and above 0"),
        (lambda: Hill(height=0), "Hill: height is 0; it must be finite and above 0"),
        (lambda: Hill(radius=-2), "Hill: radius is -2; it must be finite and above 0"),
    ],
)
def test_bad_parameters_are_named(make: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize("point", [3.0, [1, 2, 3], np.zeros((2, 3)), np.zeros((2, 0)), jnp.zeros((2, 3))])
def test_a_point_of_another_shape_is_refused(point: Any) -> None:
    for method in (Saddle().value, Saddle().gradient, Saddle().hessian):
        with pytest.raises(UsageError, match=r"Saddle: point has shape .*; its last axis must be the pair"):
            method(point)


@pytest.mark.parametrize("point", ["here", None, [[1, 2], [3]]])
def test_a_point_that_is_no_numbers_is_refused(point: Any) -> None:
    with pytest.raises(UsageError, match="Saddle: point "):
        Saddle()(point)


def test_a_landscape_of_ones_own_needs_all_parts() -> None:
    class Bowl(Landscape):
        name, bounds, minima = "Bowl", ((-1.0, 1.0), (-1.0, 1.0)), ((0.0, 0.0),)

        def formula(self, x: Any, y: Any, xp: Any) -> Any:
            return xp.cosh(x) + y**2

        def slopes(self, x: Any, y: Any, xp: Any) -> Any:
            return xp.sinh(x), 2 * y

    with pytest.raises(TypeError, match="curvatures"):
        Bowl()  # type: ignore[abstract]

    class Whole(Bowl):
        def curvatures(self, x: Any, y: Any, xp: Any) -> Any:
            return xp.cosh(x), 0, 2

    np.testing.assert_array_equal(Whole().hessian(np.zeros((5, 2))), np.broadcast_to(np.diag([1.0, 2.0]), (5, 2, 2)))

"""Basins of attraction and maps of stability."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw
import thalweg.landscapes.basins
from thalweg.landscapes import Himmelblau, Quadratic, basins, spectral_radius, stability, stability_boundary


def basin_ends(landscape: Any, racer: Any, map_: Any, steps: int, tolerance: float) -> np.ndarray:
    """The map's verdict, from the tracks of a race."""
    starts = np.stack(np.meshgrid(map_.x, map_.y), axis=-1).reshape(-1, 2)
    race = tw.race(landscape, racer, starts, steps, tolerance=1e-8)
    away = np.linalg.norm(race.positions[0, :, -1][:, None] - map_.minima, axis=-1)
    reached = np.where(away.min(axis=1) <= tolerance, away.argmin(axis=1), -1)
    return np.where(race.status[0] == 2, -2, reached).reshape(len(map_.y), len(map_.x))


@pytest.mark.parametrize("racer", [tw.optimizers.SGD(0.014), tw.solvers.LBFGS()])
def test_basins_are_where_a_race_ends(racer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    # More chunks than one, the last not full: starts are packed anew after each round.
    monkeypatch.setattr(sys.modules["thalweg.landscapes.basins"], "CHUNK", 16)
    found = basins(Himmelblau(), racer, points=9, steps=120, tolerance=0.01)
    assert found.reached.shape == found.steps.shape == (9, 9)
    np.testing.assert_array_equal(found.reached, basin_ends(Himmelblau(), racer, found, 120, 0.01))
    assert len(np.unique(found.reached)) >= 4
    assert np.all(found.steps[found.reached < 0] == 120)


def test_basin_steps_count_until_within_the_tolerance_to_stay() -> None:
    rate, tolerance = 0.15, 0.01
    found = basins(Quadratic(10), tw.optimizers.SGD(rate), points=5, steps=60, tolerance=tolerance)
    x, y = np.meshgrid(found.x, found.y)
    step = np.arange(61)[:, None, None]
    away = np.hypot(x * (1 - rate) ** step, y * (1 - 10 * rate) ** step)
    # The distance falls at every step, so the first within the tolerance is the one.
    np.testing.assert_array_equal(found.steps, np.argmax(away <= tolerance, axis=0))
    assert np.all(found.reached == 0)


def test_basins_under_noise_repeat_and_differ_by_seed() -> None:
    noisy = tw.landscapes.Noisy(Himmelblau(), 20.0)
    maps = [basins(noisy, tw.optimizers.SGD(0.005), points=9, steps=30, tolerance=0.5, seed=s) for s in (0, 0, 1)]
    np.testing.assert_array_equal(maps[0].steps, maps[1].steps)
    assert np.any(maps[0].steps != maps[2].steps)


@given(rate=st.floats(0, 5), momentum=st.floats(0, 0.999), curvature=st.floats(0.01, 20), nesterov=st.booleans())
def test_the_spectral_radius_is_that_of_the_iterations_matrix(
    rate: float, momentum: float, curvature: float, nesterov: bool
) -> None:
    left = 1 - rate * curvature
    rows = [(1 + momentum) * left, -momentum * left] if nesterov else [left + momentum, -momentum]
    expected = np.abs(np.linalg.eigvals([rows, [1, 0]])).max()
    # A double root moves by the square root of a rounding.
    np.testing.assert_allclose(spectral_radius(rate, momentum, curvature, nesterov), expected, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("nesterov", [False, True])
def test_stability_as_measured_is_that_of_theory(nesterov: bool) -> None:
    rates = np.linspace(0.01, 0.44, 20)
    found = stability(10, rates, np.linspace(0, 0.95, 15), nesterov=nesterov)
    assert found.rate.shape == found.theory.shape == (15, 20)
    error = np.abs(found.rate - found.theory)
    # Where two roots (nearly) meet the distance falls like t rᵗ: ln 2 / 500 = 1.4e-3 a step; elsewhere the envelope of
    # a swing is met to within a share of a step, and a real root to rounding.
    assert error.max() < 5e-3
    assert np.quantile(error, 0.5) < 1e-6
    stable = found.theory < 1
    clear = np.abs(found.theory - 1) > 5e-3
    np.testing.assert_array_equal((found.rate < 1)[clear], stable[clear])
    np.testing.assert_array_equal(stable, rates < found.boundary[:, None])


@pytest.mark.parametrize("nesterov", [False, True])
def test_convergence_in_one_step_has_the_rate_0(nesterov: bool) -> None:
    found = stability(1.0, [1.0, 0.5], [0.0, 0.5], nesterov=nesterov)
    assert np.all(np.isfinite(found.rate))
    assert found.theory[0, 0] == found.rate[0, 0] == 0
    if nesterov:  # 1 − αλ = 0 wipes out the momentum's part too
        assert found.theory[1, 0] == found.rate[1, 0] == 0
    np.testing.assert_allclose(found.rate[0, 1], 0.5, rtol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_boundary_is_where_theory_is_one(nesterov: bool) -> None:
    momenta = np.linspace(0, 0.99, 34)
    edge = stability_boundary(momenta, 10.0, nesterov)
    np.testing.assert_allclose(spectral_radius(edge, momenta, 10.0, nesterov), 1, atol=1e-12)
    for curvature in (1.0, 10.0):
        assert np.all(spectral_radius(0.999 * edge, momenta, curvature, nesterov) < 1)
    assert np.all(spectral_radius(1.001 * edge, momenta, 10.0, nesterov) > 1)
    np.testing.assert_allclose(edge[0], 0.2)


def test_the_best_rate_and_momentum_are_polyaks() -> None:
    # α = 4/(√λ_max + √λ_min)², ρ = ((√κ − 1)/(√κ + 1))²: the radius is √ρ, and none is less.
    kappa = 10.0
    rate = 4 / (kappa**0.5 + 1) ** 2
    share = ((kappa**0.5 - 1) / (kappa**0.5 + 1)) ** 2
    best = max(spectral_radius(rate, share, c, False) for c in (1.0, kappa))
    # Both curvatures are at a double root, whose root of a rounding is 1e-8.
    np.testing.assert_allclose(best, share**0.5, atol=1e-7)
    assert stability(kappa).theory.min() >= best - 1e-7

"""Lanczos' method and the spectral density against dense eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigvalsh

from thalweg.diagnostics import lanczos as module
from thalweg.diagnostics.lanczos import ROUNDING, condition_of, density_of, lanczos
from thalweg.errors import DataError, UsageError

EPS = float(np.finfo(np.float64).eps)


def matrix(values: np.ndarray, seed: int) -> np.ndarray:
    """A symmetric matrix with the given eigenvalues and random eigenvectors."""
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))
    return (basis * values) @ basis.T


def run(matrices: np.ndarray, steps: int, seed: int = 0, **options: float):
    starts = np.random.default_rng(seed).normal(size=matrices.shape[:2])
    return lanczos(lambda v: np.einsum("bij,bj->bi", matrices, v), starts, steps, **{"eps": EPS, **options})


def test_all_steps_give_all_eigenvalues() -> None:
    values = np.stack([np.linspace(-1, 3, 40), np.geomspace(1e-6, 1e3, 40)])
    found = run(np.stack([matrix(v, i) for i, v in enumerate(values)]), 100)
    assert found.diagonal.shape == (2, 40)
    assert found.exhausted.all()
    for place, expected in enumerate(values):
        # Backward stable: errors of a few units of the largest eigenvalue.
        np.testing.assert_allclose(found.ritz(place).values, np.sort(expected), rtol=0, atol=1e-13 * expected.max())


def test_the_basis_stays_orthonormal_beyond_convergence() -> None:
    # Without reorthogonalisation the outlier is found again and again, and the basis loses all orthogonality.
    values = np.concatenate([np.linspace(0, 1, 119), [100.0]])
    found = run(matrix(values, 0)[None], 90)
    inner = found.basis[0] @ found.basis[0].T
    np.testing.assert_allclose(inner, np.eye(90), atol=1e-13)
    assert np.count_nonzero(found.ritz(0).values > 50) == 1


@settings(max_examples=25)
@given(
    values=st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=2, max_size=25),
    steps=st.integers(1, 25),
    seed=st.integers(0, 1000),
)
def test_an_eigenvalue_lies_within_every_bound(values: list[float], steps: int, seed: int) -> None:
    dense = matrix(np.asarray(values), seed)
    exact, scale = eigvalsh(dense), max(1e-300, np.abs(values).max())
    found = run(dense[None], steps, seed).ritz(0)
    nearest = np.abs(found.values[:, None] - exact[None]).min(axis=1)
    assert (nearest <= found.residuals + 1e-13 * scale).all()
    # A Ritz value is a Rayleigh quotient: never beyond the spectrum.
    assert found.values[0] >= exact[0] - 1e-13 * scale
    assert found.values[-1] <= exact[-1] + 1e-13 * scale
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)


def test_an_invariant_space_ends_one_member_and_not_the_other() -> None:
    # Three distinct eigenvalues: the Krylov space has three dimensions whatever the start.
    three = matrix(np.repeat([1.0, 2.0, 5.0], 10), 1)
    many = matrix(np.linspace(1, 5, 30), 2)
    found = run(np.stack([three, many]), 12)
    assert found.sizes.tolist() == [3, 12]
    assert found.exhausted.tolist() == [True, False]
    np.testing.assert_allclose(found.ritz(0).values, [1, 2, 5], rtol=1e-12)
    np.testing.assert_allclose(found.ritz(0).residuals, 0, atol=1e-12)


@pytest.mark.parametrize("null", [0, 40])
@pytest.mark.parametrize(("low", "exact"), [(3, False), (12, True), (1e4, True)])
def test_the_condition_of_a_cluster_next_to_rounding_is_true(low: float, exact: bool, null: int) -> None:
    # Products in float32. Below ten floors rounding blurs the values by more than a tenth: no exact number then.
    eps = float(np.finfo(np.float32).eps)
    floor = ROUNDING * eps
    values = np.concatenate([[1, 0.7, 0.5], np.geomspace(low, 3.3 * low, 37) * floor, np.zeros(null)])
    dense = matrix(values, 0).astype(np.float32)
    starts = np.random.default_rng(9).normal(size=(3, len(values)))
    krylov = lanczos(lambda v: (v.astype(np.float32) @ dense).astype(np.float64), starts, 90, eps=eps)
    found, resolved = condition_of([krylov.ritz(i) for i in range(3)], floor)
    assert krylov.exhausted.all()
    assert resolved == exact
    true = 1 / (low * floor)
    assert found == pytest.approx(true, rel=0.1) if exact else 0.5 * true < found <= true


def test_unresolved_values_make_no_condition_number_exact() -> None:
    # 12 steps of 30: the lower end is not resolved, and what is said of it is not too large.
    values = np.geomspace(1e-4, 1, 30)
    found, resolved = condition_of([run(matrix(values, 1)[None], 12).ritz(0)], 1e-15)
    assert not resolved
    assert 1 < found < 1e4
    assert condition_of([run(np.zeros((1, 4, 4)), 4).ritz(0)], 0.0)[1] is False


def test_a_member_does_not_change_the_others() -> None:
    first, second = matrix(np.linspace(-2, 2, 30), 3), matrix(np.repeat([1.0, 4.0], 15), 4)
    starts = np.random.default_rng(0).normal(size=(2, 30))
    together = lanczos(lambda v: np.stack([first @ v[0], second @ v[1]]), starts, 20, eps=EPS)
    alone = lanczos(lambda v: (first @ v[0])[None], starts[:1], 20, eps=EPS)
    np.testing.assert_allclose(together.ritz(0).values, alone.ritz(0).values, rtol=1e-12, atol=1e-13)


def test_quadrature_has_the_moments_of_the_matrix() -> None:
    # k nodes integrate polynomials up to degree 2k − 1: vᵀH^j v exactly, for j up to 9 with k = 5.
    dense = matrix(np.random.default_rng(5).uniform(-1, 1, 50), 5)
    start = np.random.default_rng(0).normal(size=(1, 50))
    found = lanczos(lambda v: v @ dense, start, 5, eps=EPS).ritz(0)
    unit = start[0] / np.linalg.norm(start)
    for power in range(10):
        expected = unit @ np.linalg.matrix_power(dense, power) @ unit
        assert found.weights @ found.values**power == pytest.approx(expected, abs=1e-13)


def test_the_density_is_that_of_the_eigenvalues() -> None:
    values = np.random.default_rng(6).normal(size=200)
    dense = matrix(values, 6)
    starts = np.random.default_rng(1).normal(size=(30, 200))
    found = lanczos(lambda v: v @ dense, starts, 40, eps=EPS)
    spaces = [found.ritz(i) for i in range(30)]
    nodes, weights = np.stack([s.values for s in spaces]), np.stack([s.weights for s in spaces]) / 30
    grid = np.linspace(-5, 5, 801)
    density = density_of(nodes, weights, grid, 0.3)
    exact = density_of(values, np.full(200, 1 / 200), grid, 0.3)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-9)
    # Thirty random vectors of length 200: a relative spread of about √(2/(30·200)) = 1.8 % of the peak 0.39.
    np.testing.assert_allclose(density, exact, atol=0.02)


def test_convergence_ends_the_work_early_and_is_told() -> None:
    dense = matrix(np.concatenate([np.linspace(0, 1, 198), [-20.0, 30.0]]), 7)[None]
    early = run(dense, 150, tolerance=1e-6)
    assert early.products == 32  # the first look
    assert run(dense, 150, tolerance=0.0).products == 150
    assert max(early.ritz(0).residuals[[0, -1]]) <= 1e-6 * 30


def test_bad_products_and_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="not finite"):
        lanczos(lambda v: v * np.nan, np.ones((1, 4)), 3, eps=EPS)
    monkeypatch.setattr(module, "available_bytes", lambda: 1000)
    with pytest.raises(UsageError, match="fewer models, probes or iterations"):
        lanczos(lambda v: v, np.ones((1, 100)), 100, eps=EPS)

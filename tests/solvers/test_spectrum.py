"""Spectra, the products in both precisions, and the order and starts of members."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from references import problem

from thalweg.errors import UsageError
from thalweg.solvers.products import pull_back, scores_of
from thalweg.solvers.spectrum import decompose, plan
from thalweg.solvers.warm_starts import WarmStarts


def features(count=200, width=30, seed=0):
    x = np.random.default_rng(seed).standard_normal((count, width)) / np.arange(1, width + 1)
    return (x - x.mean(axis=0)).astype(np.float32)


def test_full_is_the_covariance():
    x = features()
    found = decompose(x, "full")
    np.testing.assert_allclose(
        (found.vectors * found.values) @ found.vectors.T, x.T.astype(float) @ x / len(x), atol=3e-7
    )
    assert np.all(np.diff(found.values) <= 0)


def test_gram_spans_what_the_examples_span():
    x = features(count=20, width=50)
    found = decompose(x, "gram")
    assert found.rank <= 20
    np.testing.assert_allclose((found.vectors * found.values) @ found.vectors.T, x.T @ x / len(x), atol=1e-5)


def test_low_rank_finds_the_leading_vectors_and_the_mean_of_the_rest(monkeypatch):
    monkeypatch.setattr("thalweg.solvers.spectrum.RANK", 5)
    x = features()
    found, whole = decompose(x, "low-rank"), decompose(x, "full")
    np.testing.assert_allclose(found.values, whole.values[:5], rtol=1e-4)
    np.testing.assert_allclose(found.rest, whole.values[5:].mean(), rtol=1e-3)
    np.testing.assert_array_equal(decompose(x, "low-rank", seed=0).values, found.values)


def test_plain_is_the_mean_variance():
    x = features()
    found = decompose(x, "plain")
    assert found.rank == 0
    np.testing.assert_allclose(found.rest, np.mean(np.square(x, dtype=float)), rtol=1e-6)


def test_the_plan_follows_the_shape():
    assert plan(20_000, 512, 320) == "full"
    assert plan(500, 20_000, 320) == "gram"
    assert plan(200_000, 100_000, 1000) == "low-rank"
    with pytest.raises(UsageError, match=r"low-rank.*did you mean"):
        decompose(features(), "lowrank")


@pytest.mark.parametrize("count", [1, 5, 2047, 2048, 2049, 5000])
def test_products_in_float64_count_every_row_once(count):
    """The last block of rows overlaps the one before where the rows do not divide."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 3)).astype(np.float32)
    W, R = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 4, count))
    with jax.enable_x64(True):
        np.testing.assert_allclose(scores_of(jnp.asarray(x), jnp.asarray(W)), W @ x.T, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(pull_back(jnp.asarray(x), jnp.asarray(R)), R @ x, rtol=1e-12, atol=1e-12)
    small = W.astype(np.float32)
    np.testing.assert_allclose(scores_of(jnp.asarray(x), jnp.asarray(small)), small @ x.T, rtol=1e-5, atol=1e-5)


class TestWarmStarts:
    @staticmethod
    def folds(strengths, rows):
        x = features(count=12, width=2)
        y = np.arange(12) % 2
        weightings = np.stack([np.full(12, 1 / 12), (np.arange(12) > 1) / 10])
        return problem(x, y, ridge=strengths, rows=rows, weightings=weightings)

    def test_order_is_coarse_to_fine_and_complete(self):
        one = self.folds(np.tile(np.logspace(0, -8, 9), 2), np.repeat([0, 1], 9))
        order = WarmStarts(one, stride=4).order
        assert order[:3] == [0, 4, 8]
        assert order[3:5] == [2, 6]
        assert sorted(order) == list(range(18))
        assert set(order[:9]) == set(range(9))

    def test_between_two_solved_ones_is_the_line_in_the_logarithm(self):
        one = self.folds([1.0, 0.1, 0.01], [0, 0, 0])
        warm = WarmStarts(one, stride=2)
        assert not warm.start(1)[0].any()
        warm.record(0, np.full((2, 2), 1.0), np.full(2, 5.0))
        np.testing.assert_array_equal(warm.start(1)[0], 1.0)  # one neighbour: its own weights
        warm.record(2, np.full((2, 2), 3.0), np.full(2, 9.0))
        weights, bias = warm.start(1)
        np.testing.assert_allclose(weights, 2.0)
        np.testing.assert_allclose(bias, 7.0)

    def test_a_fold_starts_from_all_examples_plus_what_its_neighbours_differ_by(self):
        one = self.folds([1.0, 0.1, 0.01] * 2, [0, 0, 0, 1, 1, 1])
        warm = WarmStarts(one, stride=2)
        for member, value in ((0, 1.0), (1, 5.0), (2, 3.0)):
            warm.record(member, np.full((2, 2), value), np.zeros(2))
        np.testing.assert_allclose(warm.start(4)[0], 5.0)
        warm.record(3, np.full((2, 2), 1.5), np.zeros(2))
        warm.record(5, np.full((2, 2), 4.5), np.zeros(2))
        # The fold's line says 3, the others' line says 2, and they have 5.
        np.testing.assert_allclose(warm.start(4)[0], 3.0 + (5.0 - 2.0))

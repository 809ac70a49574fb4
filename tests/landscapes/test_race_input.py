"""What races refuse, in words."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from thalweg.landscapes import Beale, Function, Noisy, Quadratic, Saddle

SGD = tw.optimizers.SGD


def kinked(point: Any) -> Any:
    return jnp.maximum(0, 1 - point[0]) + jnp.abs(point[1])


@jax.custom_vjp
def reverse_only(point: Any) -> Any:
    return jnp.sum(point**2)


# The rule calls the function itself, as many do: JAX then has no forward pass over it, hence no Hessian.
reverse_only.defvjp(lambda p: (reverse_only(p), p), lambda p, g: (2 * p * g,))


def numpy_only(point: Any) -> Any:
    return float(np.sin(point)[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((Beale(), []), "there are no racers"),
        ((Beale(), SGD(0.1), (1.0, 2.0, 3.0)), r"start has shape \[3\]"),
        ((Beale(), SGD(0.1), np.zeros((2, 3))), r"start has shape \[2, 3\]"),
        ((Beale(), SGD(0.1), np.zeros((0, 2))), r"start has shape \[0, 2\]"),
        ((Beale(), SGD(0.1), (1.0, float("nan"))), r"start is \(1, nan\); it must be finite"),
        ((Beale(), SGD(0.1), [(1.0, 1.0), (np.inf, 0.0)]), r"start 1 is \(inf, 0\)"),
        ((Beale(), SGD(0.1), (1e6, 0.0)), "from the bounds' middle"),
        ((Beale(), SGD(0.1), "here"), "give a point"),
        ((Beale(), SGD(0.1), None, 0), "steps"),
        ((Beale(), SGD(0.1), None, 2.5), "steps"),
        ((Beale, SGD(0.1)), "landscape is"),
        (("beale", SGD(0.1)), "landscape is"),
        ((lambda p: p, SGD(0.1)), r"it returns float64\[2\] at a point; it must return one real number"),
        ((lambda p: (p[0], p[1]), SGD(0.1)), "returns a tuple"),
        ((numpy_only, SGD(0.1)), "write it in jax.numpy"),
        ((lambda p: jnp.log(p[0]), SGD(0.1), (-1.0, 0.0)), "no finite value"),
        ((Beale(), SGD), "is the class SGD; give an instance"),
        ((Beale(), 0.1), "optimizer is 0.1"),
        ((Beale(), SGD(tw.log_uniform(1e-3, 1e-1))), "holds a range"),
        ((Beale(), tw.optimizers.RandomSearch()), "takes no steps"),
        ((Beale(), tw.optimizers.Muon()), "its step is for matrices"),
        ((Beale(), tw.optimizers.KFAC()), "network's layers"),
        ((kinked, tw.solvers.Newton(), (0.0, 1.0)), "is straight there, as a hinge"),
        ((Function(kinked, smooth=False), tw.solvers.Newton(), (0.0, 1.0)), "has kinks"),
        ((reverse_only, tw.solvers.Newton(), (0.0, 1.0)), "reverse_only has none that JAX can compute"),
        ((Noisy(Beale(), 0.1), tw.solvers.BFGS()), "needs exact gradients"),
        ((Beale(), [SGD(0.1)] * 100, np.zeros((1000, 2)), 1000), "points to keep"),
    ],
)
def test_bad_races(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(tw.UsageError, match=words):
        tw.race(*arguments)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**63 + 5, 1.5, True, "1"])
def test_bad_seeds(seed: Any) -> None:
    for ask in (
        lambda: tw.race(Beale(), SGD(0.1), seed=seed),
        lambda: tw.landscapes.basins(Beale(), SGD(0.1), points=3, seed=seed),
        lambda: tw.landscapes.random_starts(Beale(), 3, seed=seed),
        lambda: tw.landscapes.race_tuned(Beale(), [SGD], seed=seed),
    ):
        with pytest.raises(tw.UsageError, match=r"seed is .*; give a whole number from 0 to 2\*\*63 - 1"):
            ask()


def test_the_highest_seed_is_taken() -> None:
    assert tw.landscapes.random_starts(Beale(), 3, seed=2**63 - 1).shape == (3, 2)
    found = tw.race(Noisy(Beale(), 0.1), SGD(0.01), steps=3, seed=2**63 - 1)
    assert np.isfinite(found.positions).all()


def test_a_function_without_a_hessian_races() -> None:
    race = tw.race(reverse_only, [SGD(0.1), tw.solvers.LBFGS()], (1.0, 2.0), 100)
    np.testing.assert_array_equal(race.status, 1)
    assert race.messages == ()
    np.testing.assert_allclose(race.positions[0, 0, 10], 0.8**10 * np.array([1, 2]), rtol=1e-14)


def test_names_must_fit() -> None:
    with pytest.raises(tw.UsageError, match="one name for each of the 1"):
        tw.race(Beale(), SGD(0.1), names=["a", "b"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Noisy(Noisy(Beale(), 0.1), 0.1), "noisy already"),
        (lambda: Noisy(Beale(), -1.0), "scale is -1"),
        (lambda: Noisy(Beale(), "much"), "scale is"),
        (lambda: Function(3), "function is 3"),
        (lambda: Function(kinked, bounds=((0, 1),)), "bounds is"),
        (lambda: Function(kinked, bounds=((1, 0), (0, 1))), "low end"),
        (lambda: Function(kinked, minima=[(0, 1, 2)]), "minima is"),
        (lambda: Function(kinked, minima=[(0, np.nan)]), "finite"),
        (lambda: Function(kinked, smooth="no"), "smooth"),
        (lambda: Function(kinked, smooth=False).hessian([1.0, 2.0]), "no Hessian"),
        (lambda: tw.landscapes.basins(Saddle(), SGD(0.1)), "no known minimum"),
        (lambda: tw.landscapes.basins(Beale(), SGD(0.1), points=1), "points"),
        (lambda: tw.landscapes.basins(Beale(), SGD(0.1), points=20_000), "would need more than 2 GB: take at most"),
        (lambda: tw.landscapes.basins(Beale(), SGD(0.1), points=10**9), "points is 1,000,000,000"),
        (lambda: tw.landscapes.random_starts(Beale(), 0), "count is 0"),
        (lambda: tw.landscapes.random_starts(Beale(), 2.5), "count is 2.5"),
        (lambda: tw.landscapes.random_starts(Beale(), 10**12), "keeps at most 50,000,000 points"),
        (lambda: tw.landscapes.basins(Beale(), SGD(0.1), bounds=((0, 0), (0, 1))), "low end"),
        (lambda: tw.landscapes.stability(0.5), "condition"),
        (lambda: tw.landscapes.stability(momenta=[1.0]), "below 1"),
        (lambda: tw.landscapes.stability(learning_rates=[-1.0]), "at least 0"),
        (lambda: tw.landscapes.stability(learning_rates="fast"), "give numbers"),
        (lambda: tw.landscapes.stability(nesterov="yes"), "nesterov"),
        (lambda: tw.landscapes.race_tuned(Beale(), [SGD], rates=[]), "rates is empty"),
    ],
)
def test_other_bad_arguments(make: Any, words: str) -> None:
    with pytest.raises(tw.UsageError, match=words):
        make()


def test_a_function_is_a_landscape_with_derivatives() -> None:
    mine = Function(lambda p: 0.5 * (p[0] ** 2 + 10 * p[1] ** 2), name="mine", minima=[(0, 0)])
    points = np.random.default_rng(0).normal(size=(3, 4, 2))
    for name in ("value", "gradient", "hessian"):
        # A sum of two products.
        np.testing.assert_allclose(getattr(mine, name)(points), getattr(Quadratic(10), name)(points), rtol=1e-14)
    assert mine.value([1.0, 2.0]).dtype == np.float64
    assert (mine.name, mine.minima) == ("mine", ((0.0, 0.0),))
    race = tw.race(mine, SGD(0.05), (1.0, 1.0), 20)
    np.testing.assert_allclose(race.positions[0, 0, -1], [0.95**20, 0.5**20], rtol=1e-13)


def test_a_landscape_that_cannot_be_hashed_is_told_so() -> None:
    class Listed(Quadratic):
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(tw.UsageError, match="frozen dataclass"):
        tw.race(Listed(), SGD(0.1))

"""Rates beside the limit 2(1 + ρ)/λmax of a problem whose minimum is known.

The label comes from how the run was made: its rate over the rate at which the linear recursion of the optimizer, at the
minimum that SciPy's BFGS finds in float64, begins to grow along an eigenvector of the dense Hessian. That rate
is found by bisection on the recursion's spectral radius, not by the formula.

Networks have no single minimum; trained on full batches a little above the limit of the one that BFGS finds they
go to a flatter one, and lose nothing. They are among those that must not be accused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

from thalweg import models, optimizers, penalties
from thalweg.data import Dataset
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.diagnostics import Case
from thalweg.penalties import penalty_value
from thalweg.precision import double
from thalweg.recipe import Recipe
from thalweg.training.status import DIVERGED

from .trained import blobs, train_cases

__all__ = ["LR03_cases"]

ABOVE = (1.2, 1.35, 1.5, 1.7, 2.0, 2.4, 2.8)
BELOW = (0.02, 0.1, 0.3, 0.5, 0.7, 0.85)
SHIFTED = (0.1, 0.5, 0.8, 1.1, 1.3, 1.5)  # of the limit of another minimum, for networks
FEW = (0, 2, 3, 4)  # of the setups: those without momentum share a program
Make = Callable[[float], optimizers.Optimizer]


def LR03_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    found: list[tuple[bool, Case]] = []
    for i, (recipe, make, epochs) in enumerate(_setups()):
        if not (whole or i in FEW):
            continue
        data = blobs((240, 120), 10, 4, apart=0.5 + 0.1 * i, noise=0.1, seed=100 * seed + i)
        linear = isinstance(recipe.model, models.Linear)
        ratios = (*BELOW, *ABOVE) if linear else SHIFTED
        limit = _limit(_largest_eigenvalue(recipe, data), make)
        planned = [dataclasses.replace(recipe, optimizer=make(r * limit), epochs=epochs, seed=seed) for r in ratios]
        for ratio, case in zip(ratios, train_cases(planned, data), strict=True):
            if case.trial.status.name != DIVERGED:
                found.append((linear and ratio > 1, case))
    return found


def _setups() -> Iterator[tuple[Recipe, Make, int]]:
    def nesterov(rate: float) -> optimizers.SGD:
        return optimizers.SGD(rate, momentum=0.8, nesterov=True)

    full = Recipe(penalty=penalties.L2(0.1), batch_size="full")
    yield full, optimizers.SGD, 60
    yield full, lambda rate: optimizers.SGD(rate, momentum=0.6), 80
    yield full, nesterov, 80
    yield dataclasses.replace(full, penalty=penalties.L2(0.02)), optimizers.SGD, 80
    yield dataclasses.replace(full, penalty=penalties.L2(0.05)), optimizers.SGD, 60
    yield dataclasses.replace(full, model=models.Dense(16), penalty=penalties.L2(0.01)), optimizers.SGD, 120


def _limit(eigenvalue: float, make: Make) -> float:
    """The least rate at which the recursion grows."""
    low, high = 0.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _radius(make(middle), eigenvalue) <= 1 else (low, middle)
    return low


def _largest_eigenvalue(recipe: Recipe, data: Dataset) -> float:
    """λmax of the dense Hessian at the minimum, in float64."""
    x = fit_preprocessing(data.train.features, "auto").transform(np.asarray(data.train.features))
    params, state = recipe.model.init(jax.random.key(0), x.shape[1:], len(data.classes))
    with double():
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        parts = jax.tree.map(jnp.asarray, (recipe.model, recipe.loss, recipe.penalty))
        args = (params, state, *parts, jnp.asarray(x, jnp.float64), jnp.asarray(data.train.labels))
        start = np.asarray(ravel_pytree(params)[0])
        found = minimize(
            lambda w: _slope(jnp.asarray(w), *args), start, jac=True, method="BFGS", options={"gtol": 1e-6}
        )
        return float(np.linalg.eigvalsh(_hessian(jnp.asarray(found.x), *args))[-1])


def _objective(flat, params, state, model, loss, penalty, x, labels):
    weights = ravel_pytree(params)[1](flat)
    scores, _ = model.apply(weights, state, x, key=None, training=False)
    return jnp.mean(loss(scores, labels)) + penalty_value(penalty, weights)


# Compiled once for all problems of a kind.
_slope = eqx.filter_jit(jax.value_and_grad(_objective))
_hessian = eqx.filter_jit(jax.hessian(_objective))


def _radius(optimizer: optimizers.SGD, eigenvalue: float) -> float:
    """The spectral radius of a step along one eigenvector, x' = x − αv', v' = ρv + g at x (Nesterov: looking ahead)."""
    rate, momentum = float(optimizer.learning_rate.value), float(optimizer.momentum or 0)
    h = rate * eigenvalue
    if optimizer.nesterov:  # y is where the gradient is taken: v' = ρv − hy, y' = y + v' + ρ(v' − v)
        step = np.array([[1 - h - momentum * h, momentum * momentum], [-h, momentum]])
    else:
        step = np.array([[1 - h, momentum], [-h, momentum]])
    return float(np.abs(np.linalg.eigvals(step)).max())

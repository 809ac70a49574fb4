"""Races beside PyTorch, Optax and the solvers themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optax
import pytest

import thalweg as tw
from thalweg.landscapes import Himmelblau, Rosenbrock

START = (-1.2, 1.0)
STEPS = 200


def torch_track(make: Callable[[Any, Any], Any]) -> np.ndarray:
    torch = pytest.importorskip("torch")
    point = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = make(torch.optim, [point])
    track = [np.array(START)]
    for _ in range(STEPS):
        optimizer.zero_grad()
        x, y = point
        ((1 - x) ** 2 + 100 * (y - x**2) ** 2).backward()
        optimizer.step()
        track.append(point.detach().numpy().copy())
    return np.stack(track)


def test_tracks_are_those_of_pytorch() -> None:
    cases: list[tuple[Any, Callable[[Any, Any], Any]]] = [
        (tw.optimizers.SGD(1e-3), lambda o, p: o.SGD(p, lr=1e-3)),
        (tw.optimizers.SGD(5e-4, momentum=0.9), lambda o, p: o.SGD(p, lr=5e-4, momentum=0.9)),
        (
            tw.optimizers.SGD(5e-4, momentum=0.9, nesterov=True),
            lambda o, p: o.SGD(p, lr=5e-4, momentum=0.9, nesterov=True),
        ),
        (tw.optimizers.Adam(0.02), lambda o, p: o.Adam(p, lr=0.02)),
    ]
    race = tw.race(Rosenbrock(), [racer for racer, _ in cases], START, STEPS)
    for place, (_, make) in enumerate(cases):
        np.testing.assert_allclose(race.positions[place, 0], torch_track(make), rtol=0, atol=1e-12)


def test_an_optax_pair_races_too() -> None:
    racers = [optax.adam(0.02), tw.optimizers.Optax(optax.adam, 0.02), tw.optimizers.Adam(0.02)]
    race = tw.race(Rosenbrock(), racers, START, STEPS)
    # Optax forms 1 − β from a β that is rounded: an error of 1e-14 in the step.
    np.testing.assert_allclose(race.positions[0], race.positions[2], atol=1e-11)
    np.testing.assert_allclose(race.positions[1], race.positions[2], atol=1e-11)


@pytest.mark.parametrize("solver", [tw.solvers.Newton(), tw.solvers.BFGS(), tw.solvers.LBFGS()])
def test_solvers_end_where_they_end_by_themselves(solver: Any) -> None:
    starts = np.array([[-1.0, -0.5], [4.0, 4.0], [-3.0, 1.0], [0.1, -4.0]])
    few = type(solver)(iterations=3)
    race = tw.race(Himmelblau(), [solver, few], starts, 60)
    alone = solver.solve(Himmelblau().value, starts, batched=True)
    assert np.all(race.status == [[1], [3]])  # converged, and stalled: its iterations used up
    # The one difference is Newton's: LAPACK's Cholesky there, the same written out here.
    np.testing.assert_allclose(race.positions[0, :, -1], alone.weights, atol=1e-11)
    np.testing.assert_array_equal(race.ended[0], alone.iterations)
    np.testing.assert_array_equal(race.evaluations[0], alone.evaluations)
    # Its own settings hold: three iterations, and no further.
    np.testing.assert_array_equal(race.positions[1, :, 3:], np.repeat(race.positions[0, :, 3:4], 58, axis=1))

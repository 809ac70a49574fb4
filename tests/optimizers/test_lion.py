"""Lion against Optax, and what is ours alone: spared biases, no proximal step."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimizer_cases import FLOOR, PEAK, SEEDS, STEPS, assert_same_path, follow

from thalweg.errors import UsageError
from thalweg.optimizers import KFAC, Lion, Muon, Optimizer, ScheduleFreeAdamW, ScheduleFreeSGD
from thalweg.ranges import uniform
from thalweg.schedules import Cosine

RATE = Cosine(PEAK, STEPS, FLOOR)
THEIR_RATE = optax.cosine_decay_schedule(PEAK, STEPS, alpha=FLOOR / PEAK)
WITHOUT_STEP_SIZE = [Lion(), Muon(), ScheduleFreeSGD(), ScheduleFreeAdamW(), KFAC()]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Lion(RATE, convention="optax"), optax.lion(THEIR_RATE)),
        (Lion(RATE, 0.8, 0.95, 0.3, convention="optax"), optax.lion(THEIR_RATE, 0.8, 0.95, weight_decay=0.3)),
        (Lion(RATE), optax.lion(THEIR_RATE, weight_decay=0.0)),
    ],
    ids=["defaults", "numbers", "ours without decay"],
)
def test_equals_optax(ours: Any, theirs: Any) -> None:
    for seed in SEEDS:
        assert_same_path(follow(ours, seed), follow(theirs, seed))


def test_biases_are_spared() -> None:
    plain, decayed = follow(Lion(0.01), steps=1)[0], follow(Lion(0.01, weight_decay=0.5), steps=1)[0]
    np.testing.assert_array_equal(plain["bias"], decayed["bias"])
    assert np.all(plain["weights"] != decayed["weights"])


def test_every_entry_moves_by_the_rate() -> None:
    gradient = jnp.array([1e-30, -5.0, 1e6, 0.0])
    updates, _ = Lion(0.25).update(gradient, Lion(0.25).init(gradient))
    np.testing.assert_array_equal(updates, [-0.25, 0.25, -0.25, 0.0])


@pytest.mark.parametrize("optimizer", WITHOUT_STEP_SIZE, ids=lambda o: o.name)
def test_without_a_step_of_each_entry_there_is_no_step_size(optimizer: Any) -> None:
    """`train.check_together` looks for the attribute, and refuses penalties with a proximal step."""
    assert isinstance(optimizer, Optimizer)
    assert not hasattr(optimizer, "step_size")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Lion(beta1=1.0), "beta1 is 1.0"),
        (lambda: Lion(-1.0), "value is -1.0"),
        (lambda: Lion(convention="torch"), "convention is 'torch'"),
        (lambda: Muon(steps=0), "steps is 0"),
        (lambda: Muon(steps=5.0), "steps is 5.0"),
        (lambda: Muon(nesterov=1), "nesterov is 1"),
        (lambda: Muon(others_rate=-0.1), "others_rate is -0.1"),
        (lambda: Muon(momentum=uniform(0.5, 1.5)), "momentum is 1.5"),
        (lambda: ScheduleFreeSGD(beta=0.0), "beta is 0.0"),
        (lambda: ScheduleFreeAdamW(beta2=1.0), "beta2 is 1.0"),
        (lambda: ScheduleFreeAdamW(epsilon=0.0), "epsilon is 0.0"),
        (lambda: KFAC(damping=0.0), "damping is 0.0"),
        (lambda: KFAC(decay=1.0), "decay is 1.0"),
        (lambda: KFAC(clip=0), "clip is 0"),
        (lambda: KFAC(interval=0), "interval is 0"),
        (lambda: KFAC(fisher="true"), "fisher is 'true'"),
    ],
)
def test_wrong_arguments_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wrong()

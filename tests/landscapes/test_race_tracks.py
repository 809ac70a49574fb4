"""Races: closed forms, statuses, noise, and what a batch may not change."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import thalweg as tw
from thalweg.landscapes import Noisy, Quadratic, Rosenbrock, Saddle
from thalweg.landscapes.records import STATUSES

SGD, Adam = tw.optimizers.SGD, tw.optimizers.Adam
RATES = (0.01, 0.05, 0.15)
STARTS = np.array([[1.0, 1.0], [-2.0, 0.5], [0.3, -1.7], [2.5, 2.0]])
STEPS = 60


def status(race: tw.landscapes.Race, racer: int = 0, start: int = 0) -> str:
    return STATUSES[race.status[racer, start]]


@settings(max_examples=8)
@given(
    rates=st.lists(st.floats(1e-3, 0.19), min_size=3, max_size=3),
    points=st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=4, max_size=4),
)
def test_gradient_descent_on_a_quadratic_is_its_closed_form(
    rates: list[float], points: list[tuple[float, float]]
) -> None:
    race = tw.race(Quadratic(10), [SGD(rate) for rate in rates], points, STEPS, tolerance=0.0)
    step, starts = np.arange(STEPS + 1)[:, None], np.array(points)
    for place, rate in enumerate(rates):
        shrink = np.stack([(1 - rate) ** step, (1 - 10 * rate) ** step], axis=-1)[:, 0]
        # 60 products, each rounded to 1e-16 twice.
        ended = np.flatnonzero(race.status[place] == 0)
        expected = starts[:, None] * shrink
        np.testing.assert_allclose(race.positions[place, ended], expected[ended], rtol=1e-13, atol=1e-300)


def test_records_are_those_of_the_positions() -> None:
    race = tw.race(Rosenbrock(), [SGD(1e-3), SGD(2e-3), SGD(5e-4)], STARTS, STEPS)
    assert race.positions.shape == (3, 4, STEPS + 1, 2)
    assert race.steps == STEPS
    np.testing.assert_array_equal(race.positions[:, :, 0], np.broadcast_to(STARTS, (3, 4, 2)))
    # The compiled program may fuse a product and a sum, at the floor of a valley with walls of 100.
    np.testing.assert_allclose(race.values, Rosenbrock().value(race.positions), rtol=1e-11)
    slopes = np.linalg.norm(Rosenbrock().gradient(race.positions), axis=-1)
    np.testing.assert_allclose(race.gradient_norms, slopes, rtol=1e-11)
    away = np.linalg.norm(race.positions - 1, axis=-1)
    np.testing.assert_allclose(race.distances, away, rtol=1e-14)
    running = race.status == 0
    assert np.all(race.ended[running] == STEPS)
    assert np.all(race.evaluations[running] == STEPS)


def test_a_batch_of_racers_and_starts_runs_as_each_alone() -> None:
    racers = [Adam(rate) for rate in RATES]
    together = tw.race(Rosenbrock(), racers, STARTS, STEPS)
    for racer in (0, 2):
        for start in (1, 3):
            alone = tw.race(Rosenbrock(), racers[racer], STARTS[start], STEPS)
            # Vector code and its remainder loop round apart by an ulp; 60 steps may grow that tenfold.
            np.testing.assert_allclose(alone.positions[0, 0], together.positions[racer, start], rtol=1e-13, atol=1e-15)
            assert alone.status[0, 0] == together.status[racer, start]


def test_other_numbers_do_not_compile_again(compiled: list[str]) -> None:
    tw.race(Rosenbrock(), [Adam(rate) for rate in RATES], STARTS, 17)
    assert "_tracks" in compiled
    del compiled[:]
    tw.race(Rosenbrock(), [Adam(2 * rate, beta1=0.8) for rate in RATES], STARTS + 0.1, 17)
    assert "_tracks" not in compiled


def test_kinds_may_be_mixed_in_any_order() -> None:
    mixed = [SGD(0.01), Adam(0.05), SGD(0.05), tw.solvers.BFGS(), Adam(0.01)]
    race = tw.race(Quadratic(10), mixed, (2.0, 1.0), 20)
    back = tw.race(Quadratic(10), mixed[::-1], (2.0, 1.0), 20)
    np.testing.assert_array_equal(race.positions, back.positions[::-1])
    assert race.names == ("SGD 0.01", "Adam 0.05", "SGD 0.05", "BFGS", "Adam 0.01")


def test_the_forms_of_momentum_agree() -> None:
    plain = [SGD(0.01, momentum=0.9, form=form) for form in ("outside", "inside")]
    ahead = [SGD(0.01, momentum=0.9, nesterov=True, form=form) for form in ("outside", "inside", "lookahead")]
    race = tw.race(Quadratic(10), [*plain, *ahead], (2.0, 1.0), STEPS, tolerance=0.0)
    for place in (1, 3, 4):
        # They add up in another order: rounding, of positions of size 1.
        np.testing.assert_allclose(race.positions[place], race.positions[0 if place == 1 else 2], atol=1e-13)
    assert np.abs(race.positions[2] - race.positions[0]).max() > 0.1
    assert len(set(race.names)) == 5


def test_schedules_span_the_race() -> None:
    race = tw.race(Quadratic(10), SGD(tw.schedules.Linear(0.1)), (1.0, 1.0), 40, tolerance=0.0)
    rates = 0.1 * (40 - np.arange(40)) / 40
    expected = np.concatenate([[1.0], np.cumprod(1 - rates)])
    np.testing.assert_allclose(race.positions[0, 0, :, 0], expected, rtol=1e-13)


def test_a_schedule_free_optimizer_is_shown_by_its_mean() -> None:
    race = tw.race(Quadratic(1), tw.optimizers.ScheduleFreeSGD(0.1, beta=0.9), (1.0, -1.0), 50, tolerance=0.0)
    z = x = y = np.array([1.0, -1.0])
    for step in range(50):
        z = z - 0.1 * y
        x = x + (z - x) / (step + 1)
        y = 0.1 * z + 0.9 * x
        # y is kept and x recovered from it, with a division by β.
        np.testing.assert_allclose(race.positions[0, 0, step + 1], x, atol=1e-14)


def test_newton_is_at_a_quadratics_minimum_in_one_step() -> None:
    race = tw.race(Quadratic(1000, angle=0.6), tw.solvers.Newton(), STARTS, 5)
    np.testing.assert_allclose(race.positions[0, :, 1], 0, atol=1e-12)
    np.testing.assert_array_equal(race.ended, 1)
    assert all(status(race, 0, s) == "converged" for s in range(4))


def test_who_converges_stays_put_and_is_marked() -> None:
    race = tw.race(Quadratic(10), [SGD(0.15)] * 3, STARTS, STEPS, tolerance=1e-3)
    for start in range(4):
        ended = race.ended[0, start]
        assert status(race, 0, start) == "converged"
        assert race.gradient_norms[0, start, ended] <= 1e-3 < race.gradient_norms[0, start, ended - 1]
        assert np.all(race.positions[0, start, ended:] == race.positions[0, start, ended])
    np.testing.assert_array_equal(race.evaluations, race.ended)
    assert race.ended.max() < STEPS


def test_who_diverges_is_cut_and_marked() -> None:
    # Along y the factor is 1 − 10 · 0.5 = −4 a step: from 1 over 100 diagonals of 6√2, 849, in step 5.
    race = tw.race(Quadratic(10), [SGD(rate) for rate in (0.5, 0.1, 0.05)], STARTS, STEPS)
    assert np.all(race.status[0] == STATUSES.index("diverged"))
    assert not np.any(race.status[1:] == STATUSES.index("diverged"))
    assert race.ended[0, 0] == 5
    np.testing.assert_allclose(race.positions[0, 0, 4], [0.0625, 256])
    np.testing.assert_allclose(np.linalg.norm(race.positions[0, 0, 5]), 600 * 2**0.5)
    assert np.all(race.positions[0, 0, 5:] == race.positions[0, 0, 5])
    assert race.messages == ("SGD 0.5 diverged from 4 of 4 starts, first in step 5",)
    for name in ("positions", "values", "gradient_norms", "distances"):
        assert np.all(np.isfinite(getattr(race, name)))


def test_a_step_that_is_not_finite_is_left_out() -> None:
    barrier = tw.landscapes.Function(lambda p: p[0] - jnp.log(p[0]) + p[1] ** 2, minima=[(1.0, 0.0)])
    race = tw.race(barrier, SGD(10.0), (3.0, 1.0), 5)
    assert status(race) == "diverged"
    assert np.all(race.positions == race.positions[0, 0, 0])


def test_on_a_saddles_ridge_one_stays_and_beside_it_one_leaves() -> None:
    starts = [(-1.5, 0.0), (-1.5, 1e-3), (0.0, 0.0)]
    race = tw.race(Saddle(), [SGD(0.05), tw.solvers.LBFGS(), tw.solvers.Newton()], starts, 500)
    for racer in (0, 1):
        np.testing.assert_allclose(race.positions[racer, 0, -1], 0, atol=1e-5)
        assert status(race, racer, 2) == "converged"
    assert np.all(race.ended[:2, 2] == 0)
    assert np.all(np.abs(race.positions[:, 1, -1, 1]) > 5)
    # Newton sees the negative curvature from the ridge itself, and from the very point.
    assert np.all(np.abs(race.positions[2, :, -1, 1]) > 5)
    assert any(message.startswith("SGD 0.05 stopped") for message in race.messages)
    assert not any(message.startswith("Newton stopped") for message in race.messages)
    assert np.all(np.isnan(race.distances))


def test_at_the_monkey_saddle_nobody_sees_a_way_down() -> None:
    race = tw.race(tw.landscapes.MonkeySaddle(), [SGD(0.05), tw.solvers.Newton()], [(0.0, 0.0), (1.0, 1e-3)], 500)
    assert status(race, 0, 0) == status(race, 1, 0) == "converged"
    assert np.all(race.positions[:, 0] == 0)
    assert status(race, 0, 1) == status(race, 1, 1) == "diverged"


def test_noise_is_the_same_for_all_and_recorded_values_are_exact() -> None:
    starts = np.tile([[2.0, 1.0]], (400, 1))
    noisy = Noisy(Quadratic(10), 0.3)
    racers = [SGD(0.1), SGD(0.1, momentum=0.9), SGD(0.1)]
    race = tw.race(noisy, racers, starts, 5, seed=3)
    np.testing.assert_array_equal(race.positions[0], race.positions[2])
    np.testing.assert_array_equal(race.positions[0, :, 1], race.positions[1, :, 1])
    np.testing.assert_allclose(race.values, Quadratic(10).value(race.positions), rtol=1e-13)
    clean = race.positions[0, :, :-1] * (1 - 0.1 * np.array([1.0, 10.0]))
    draws = (clean - race.positions[0, :, 1:]) / 0.1 / 0.3
    # 4,000 standard normal draws: mean and spread within 5 standard errors; no two alike.
    assert abs(draws.mean()) < 5 / np.sqrt(4000)
    assert abs(draws.std() - 1) < 5 / np.sqrt(8000)
    assert abs(np.corrcoef(draws[:, 0].ravel(), draws[:, 1].ravel())[0, 1]) < 5 / np.sqrt(800)
    assert len(np.unique(draws.round(9))) == draws.size
    other = tw.race(noisy, racers, starts, 5, seed=4)
    assert not np.any(other.positions[:, :, 1] == race.positions[:, :, 1])


def test_noise_frees_from_a_saddle_and_nothing_converges_under_it() -> None:
    race = tw.race(Noisy(Saddle(), 0.1), SGD(0.1), (0.0, 0.0), 200)
    assert abs(race.positions[0, 0, -1, 1]) > 1
    racers = [SGD(rate) for rate in RATES]
    still = tw.race(Noisy(Quadratic(10), 0.0), racers, STARTS, STEPS, tolerance=1e-3)
    plain = tw.race(Quadratic(10), racers, STARTS, STEPS, tolerance=0.0)
    np.testing.assert_allclose(still.positions, plain.positions, rtol=1e-12, atol=1e-300)


def test_the_best_of_many_rates_wins() -> None:
    rates = (1e-4, 1e-3, 3e-3, 1e3)
    race, racers = tw.landscapes.race_tuned(Rosenbrock(), [SGD, Adam(0.1)], None, STEPS, rates=rates)
    by_hand = tw.race(Rosenbrock(), [SGD(rate) for rate in rates], None, STEPS)
    assert by_hand.status[3, 0] == STATUSES.index("diverged")
    best = int(np.argmin(np.where(by_hand.status[:, 0] == 2, np.inf, by_hand.values[:, 0, -1])))
    assert float(racers[0].learning_rate.base) == rates[best]
    np.testing.assert_array_equal(race.positions[0], by_hand.positions[best])
    assert race.names == (f"SGD {rates[best]:g}", "Adam 0.1")


def test_rates_are_chosen_on_the_first_starts_and_raced_on_all() -> None:
    starts = tw.landscapes.random_starts(Quadratic(10), 20, seed=1)
    race, racers = tw.landscapes.race_tuned(Quadratic(10), [SGD], starts, STEPS, rates=(0.01, 0.18, 0.3))
    assert float(racers[0].learning_rate.base) == 0.18
    assert race.positions.shape == (1, 20, STEPS + 1, 2)


def test_the_best_under_noise_are_shown_under_draws_that_did_not_choose_them() -> None:
    noisy, rates = Noisy(Quadratic(10), 3.0), tuple(np.logspace(-4, -0.75, 25))
    race, racers = tw.landscapes.race_tuned(noisy, [SGD, SGD(0.05)], STARTS[0], STEPS, rates=rates, seed=2)
    (told,) = [int(seed) for message in race.messages for seed in re.findall(r"\(seed (\d+)\)", message)]
    anew = tw.race(noisy, racers, STARTS[0], STEPS, seed=told)
    np.testing.assert_array_equal(race.positions, anew.positions)
    # On the draws that chose it the rate looks better: of 25 final values it was the least.
    by_choice = tw.race(noisy, racers, STARTS[0], STEPS, seed=2)
    assert np.all(race.values[:, 0, -1] != by_choice.values[:, 0, -1])
    # Many starts, of which 16 decide, are no exception; where nothing is chosen the seed stays.
    starts = np.tile(STARTS, (5, 1))
    race, racers = tw.landscapes.race_tuned(noisy, [SGD], starts, 5, rates=rates[::12], seed=2)
    assert not np.any(race.positions[:, :, 1] == tw.race(noisy, racers, starts, 5, seed=2).positions[:, :, 1])
    fixed, _ = tw.landscapes.race_tuned(noisy, [SGD(0.05)], starts, 5, seed=2)
    plain = tw.race(noisy, SGD(0.05), starts, 5, seed=2)
    np.testing.assert_array_equal(fixed.positions, plain.positions)
    assert fixed.messages == plain.messages


class Counted(Quadratic):
    """Counts how often NumPy asks for its gradient."""

    asked: ClassVar[list[int]] = []

    def gradient(self, point: Any) -> Any:
        if isinstance(point, np.ndarray):
            self.asked.append(point.size // 2)
        return super().gradient(point)


def test_all_lost_steps_are_computed_in_one_call() -> None:
    starts = tw.landscapes.random_starts(Quadratic(10), 40, seed=1)
    Counted.asked.clear()
    race = tw.race(Counted(10), [SGD(0.5), SGD(0.1), SGD(1e200)], starts, 30)
    assert np.all(race.status[[0, 2]] == STATUSES.index("diverged"))
    assert Counted.asked == [40, 80]  # the starts, and all the ends
    np.testing.assert_allclose(race.values, Quadratic(10).value(race.positions), rtol=1e-11)
    for place in (0, 2):
        # 1e-9: a step of 1e200 is scaled before its square is taken, which rounds.
        np.testing.assert_allclose(np.linalg.norm(race.positions[place, :, -1], axis=1), 600 * 2**0.5, rtol=1e-9)
        kept = np.arange(31) >= race.ended[place][:, None]
        still = np.all(race.positions[place] == race.positions[place, :, -1:], axis=-1)
        np.testing.assert_array_equal(still, kept)


@pytest.mark.parametrize("rate", [0.14, 0.5, 1e150])
def test_a_lost_step_ends_where_it_crosses_the_reach(rate: float) -> None:
    landscape = Quadratic(15.0, 0.4)
    found = tw.race(landscape, [SGD(rate)], start=(-2.0, 1.0), steps=200)
    low, high = np.asarray(landscape.bounds).T
    end = found.positions[0, 0, -1]
    # 1e-9: a step of 1e150 is scaled before its square is taken, which rounds.
    assert np.linalg.norm(end - (low + high) / 2) == pytest.approx(100 * np.linalg.norm(high - low), rel=1e-9)
    assert np.isfinite(found.values).all()


def test_a_solver_that_has_used_up_its_iterations_has_stalled() -> None:
    found = tw.race(Rosenbrock(), [tw.solvers.BFGS(iterations=3)], start=(-1.2, 1.0), steps=20)
    assert status(found) == "stalled"
    assert found.ended[0, 0] == 3
    assert found.gradient_norms[0, 0, -1] > 1
    assert np.unique(found.positions[0, 0, 3:], axis=0).shape == (1, 2)

"""Halving, early stopping, packing, chunks, random search and interruption."""

from __future__ import annotations

import os
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from thalweg.losses import Hinge, Softmax
from thalweg.optimizers import SGD, RandomSearch
from thalweg.penalties import L2
from thalweg.recipe import Recipe
from thalweg.training import Halving, Settings, Snapshot, cohort_run

RATES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4)
# Packing changes the width of the products, so rounding differs; see test_engine.
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def recipes(epochs: int = 9, **changes: Any) -> list[Recipe]:
    return [Recipe(optimizer=SGD(rate), batch_size=32, epochs=epochs, **changes) for rate in RATES]


@pytest.fixture(params=["masked", "packed"])
def packing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of leaving out trials that are done."""
    monkeypatch.setattr(cohort_run, "_PACK_PAYS", 0.0 if request.param == "packed" else np.inf)
    return request.param


def test_halving_keeps_the_leaders_and_trains_them_as_if_alone(problem: Any, packing: str) -> None:
    plain = problem.train(recipes())
    halved = problem.train(recipes(), Settings(halving=Halving(factor=2.0, rungs=2)))
    rungs = {name: [] for name in ("completed", "pruned")}
    for number, (record, full) in enumerate(zip(halved.records, plain.records, strict=True)):
        rungs[record.status.name].append((record.status.at, number))
        epochs = record.epochs
        assert epochs == {None: 9, 1: 2, 2: 4}[record.status.at]  # 9/4 and 9/2, rounded
        for name, values in record.history.items():
            np.testing.assert_allclose(values, full.history[name][:epochs], rtol=1e-4, atol=1e-5, err_msg=name)
    assert [at for at, _ in sorted(rungs["pruned"])] == [1, 1, 1, 1, 2, 2]
    assert len(rungs["completed"]) == 2
    # Those dropped at the first rung were no better there than any that went on.
    at_rung = {n: plain.records[n].history["validation_accuracy"][1] for n in range(8)}
    dropped = [n for at, n in rungs["pruned"] if at == 1]
    assert max(at_rung[n] for n in dropped) <= min(at_rung[n] for n in set(range(8)) - set(dropped))
    assert any("rung 1: 4 of 8" in message for message in halved.messages)


def test_halving_ranks_over_all_cohorts(problem: Any) -> None:
    both = recipes() + recipes(loss=Hinge())
    outcome = problem.train(both, Settings(halving=Halving(factor=4.0, rungs=1)))
    statuses = [record.status.name for record in outcome.records]
    assert statuses.count("completed") == 4
    assert statuses.count("pruned") == 12


def test_halving_ranks_recipes_by_the_mean_over_their_seeds(problem: Any) -> None:
    seeded = [Recipe(optimizer=SGD(rate), batch_size=32, epochs=4, seed=s) for rate in RATES[:4] for s in (0, 1, 2)]
    outcome = problem.train(seeded, Settings(halving=Halving(factor=2.0, rungs=1)))
    names = np.array([record.status.name for record in outcome.records]).reshape(4, 3)
    assert all(len(set(row)) == 1 for row in names)  # the seeds of a recipe go on or go together
    plain = problem.train(seeded)
    at_rung = [record.history["validation_accuracy"][1] for record in plain.records]
    means = np.reshape(at_rung, (4, 3)).mean(axis=1)
    went_on = names[:, 0] == "completed"
    assert went_on.sum() == 2
    assert means[went_on].min() >= means[~went_on].max()


def test_rungs_that_fall_on_one_epoch_prune_once(problem: Any) -> None:
    outcome = problem.train(recipes(epochs=3), Settings(halving=Halving(factor=3.0, rungs=2)))
    assert [record.status.name for record in outcome.records].count("completed") == 3  # of 8, not 1
    assert len(outcome.messages) == 1


def test_patience_stops_a_trial_and_keeps_its_best_epoch(problem: Any, packing: str) -> None:
    # With a rate this high the validation loss rises and falls; the lowest rate improves to the end.
    mixed = [Recipe(optimizer=SGD(r), batch_size=16, epochs=40) for r in (2.0, 1.0, 1e-3)]
    outcome = problem.train(mixed, Settings(patience=3))
    plain = problem.train(mixed)
    names = [record.status.name for record in outcome.records]
    assert names == ["stopped early", "stopped early", "completed"]
    for record, full in zip(outcome.records, plain.records, strict=True):
        losses = record.history["validation_loss"]
        best = int(np.argmin(losses)) + 1
        assert record.kept_epoch == best
        assert record.epochs == (best + 3 if record.status.name == "stopped early" else 40)
        np.testing.assert_allclose(losses, full.history["validation_loss"][: record.epochs], rtol=1e-4)
        assert np.mean(record.correct) == record.last("validation_accuracy")
    stopped = outcome.records[0]
    shorter = Settings(epochs=stopped.kept_epoch)
    (again,) = problem.train([mixed[0]], shorter).records  # the weights of that epoch, trained for themselves
    np.testing.assert_allclose(stopped.params["weight"], again.params["weight"], rtol=1e-3, atol=1e-4)
    assert f"after epoch {stopped.kept_epoch}" in stopped.status.reason


def test_a_tolerance_stops_batch_gradient_descent_once_the_error_is_under_it(problem: Any) -> None:
    descent = [Recipe(optimizer=SGD(rate), batch_size="full", epochs=50) for rate in (0.5, 1e-4)]
    plain = problem.train(descent)
    fast, slow = problem.train(descent, Settings(tolerance=0.6)).records
    losses = plain.records[0].history["data_loss"]
    stop = next(i for i, loss in enumerate(losses) if loss < 0.6) + 1
    assert 2 < stop < 50
    assert (fast.status.name, fast.status.at, fast.epochs, fast.kept_epoch) == ("stopped early", stop, stop, stop)
    assert "under the tolerance 0.6" in fast.status.reason
    assert slow.status.name == "completed"
    np.testing.assert_allclose(slow.params["weight"], plain.records[1].params["weight"], **CLOSE)


def test_packing_waits_until_it_pays(problem: Any) -> None:
    """Trials that are done stay as masked rows where a new program would cost more than it saves."""
    widths = []
    original = cohort_run.CohortRun.epoch

    def counted(self: Any) -> None:
        original(self)
        widths.append(len(self.cohort))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cohort_run.CohortRun, "epoch", counted)
        problem.train(recipes(), Settings(halving=Halving(2.0, 1)))
        assert set(widths) == {8}
        widths.clear()
        patch.setattr(cohort_run, "_PACK_PAYS", 0.0)
        problem.train(recipes(), Settings(halving=Halving(2.0, 1)))
        assert widths == [8] * 4 + [4] * 5


def test_random_search_keeps_the_best_of_its_candidates(problem: Any) -> None:
    optimizer = RandomSearch(candidates=50, scale=0.3)
    mixed = [Recipe(optimizer=optimizer, penalty=L2(s), epochs=2, seed=3) for s in (0.0, 0.5)]
    outcome = problem.train(mixed)
    assert outcome.cohorts == [(0, 1)]
    for recipe, record in zip(mixed, outcome.records, strict=True):
        best = (np.inf, None)
        for epoch in range(2):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 2), epoch)
            bias_key, weight_key = jax.random.split(key, 2)  # leaves in the order of their names
            weights = 0.3 * jax.random.normal(weight_key, (50, 3, 6))
            biases = 0.3 * jax.random.normal(bias_key, (50, 3))
            for w, b in zip(weights, biases, strict=True):
                loss = jnp.mean(Softmax()(problem.x @ w.T + b[None], problem.y)) + recipe.penalty.value(w)
                best = min(best, (float(loss), w), key=lambda pair: pair[0])
        # The normal draws differ in the last bit, compiled with what surrounds them or alone.
        np.testing.assert_allclose(record.params["weight"], best[1], rtol=1e-6)
        np.testing.assert_allclose(record.last("data_loss") + record.last("penalty"), best[0], rtol=1e-5)
        assert record.status.name == "completed"


def test_interruption_saves_what_was_done(problem: Any) -> None:
    """The first cohort is through when Ctrl-C comes, the second is in its fourth epoch."""
    seen = []

    def interrupt(snapshot: Snapshot) -> None:
        seen.append(snapshot)
        if len(seen) == 10 + 4:  # nine epochs and the end of the first cohort, then four epochs
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    outcome = problem.train(recipes() + recipes(loss=Hinge()), progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert outcome.interrupted
    assert {record.status.name for record in outcome.records[:8]} == {"completed"}
    assert {record.status.name for record in outcome.records[8:]} == {"interrupted"}
    assert {record.epochs for record in outcome.records[8:]} == {4}
    whole = problem.train(recipes(loss=Hinge()))
    for part, full in zip(outcome.records[8:], whole.records, strict=True):
        assert part.params["weight"].shape == (3, 6)
        np.testing.assert_allclose(part.history["data_loss"], full.history["data_loss"][:4], rtol=1e-5)


def test_progress_tells_where_the_sweep_stands(problem: Any) -> None:
    seen: list[Snapshot] = []
    diverging = [*recipes(), Recipe(optimizer=SGD(1e30), penalty=L2(0.1), batch_size=32, epochs=9)]
    outcome = problem.train(diverging, Settings(halving=Halving(2.0, 1)), progress=seen.append)
    last = seen[-1]
    assert (last.trials, last.live, last.diverged) == (9, 0, 1)
    assert last.finished + last.pruned == 8
    assert last.work_done == 1.0
    assert [s.work_done for s in seen] == sorted(s.work_done for s in seen)
    assert last.best == max(r.last("validation_accuracy") for r in outcome.records[:8])

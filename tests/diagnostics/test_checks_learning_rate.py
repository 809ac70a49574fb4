"""What the checks of rate, convergence and schedule say at the edges, and that their numbers are what they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw
from thalweg.diagnostics import Case
from thalweg.diagnostics.convergence import NotConverged, ScheduleUnfit, planned_rates
from thalweg.diagnostics.curve import Curve, chance_loss, read_curve, training_time
from thalweg.diagnostics.learning_rate import RateTooHigh, RateTooLow
from thalweg.diagnostics.rate_limit import RateAboveLimit
from thalweg.optimizers import SGD, Adam, RandomSearch
from thalweg.run import DataSummary, Run, Trial
from thalweg.schedules import Constant, Cosine, Linear, Step, Warmup
from thalweg.training.records import METRICS
from thalweg.training.status import Status

CURVE_CHECKS = (RateTooHigh(), RateTooLow(), NotConverged())


def made(
    loss, optimizer=None, *, held=None, status=None, ratio=0.01, norm=1.0, batch=10, examples=200, rates=None, **recipe
) -> Case:
    """A trial with a history that is made up: 20 steps an epoch of a linear model on 4 classes."""
    loss = np.asarray(loss, float)
    held = loss if held is None else np.asarray(held, float)
    history = {name: np.full(len(loss), np.nan) for name in METRICS}
    history |= {"data_loss": loss, "validation_loss": held}
    history |= {"update_ratio": np.full(len(loss), ratio), "gradient_norm": np.full(len(loss), norm)}
    history["learning_rate"] = np.full(len(loss), 0.1) if rates is None else np.asarray(rates, float)
    chosen = tw.Recipe(
        optimizer=SGD(0.1) if optimizer is None else optimizer, batch_size=batch, epochs=max(1, len(loss)), **recipe
    )
    trial = Trial(0, chosen, status or Status.completed(len(loss)), history, len(loss), 0, {})
    data = DataSummary("made", "made", "0", tuple("abcd"), (3,), {"train": examples}, (), "", "float32")
    return Case(Run(chosen, {}, data, (trial,), {}), trial, None)


def falling(epochs: int, rate: float, floor: float = 0.2) -> np.ndarray:
    """A loss that falls from ln 4 to a floor as e^(−rate · epoch)."""
    return floor + (np.log(4) - floor) * np.exp(-rate * (np.arange(epochs) + 0.5))


def verdicts(case: Case) -> list[str]:
    return [check.examine(case).verdict for check in CURVE_CHECKS]


def test_a_good_curve_passes_everywhere():
    case = made(falling(20, 1.0))
    assert verdicts(case) == ["passed"] * 3
    assert "rose in 0 of 19 epochs" in RateTooHigh().examine(case).evidence


def test_a_slow_line_is_a_rate_too_low_and_not_converged_with_one_remedy():
    case = made(falling(20, 0.01))
    assert verdicts(case) == ["passed", "found", "found"]
    # The curve ends at the mean of its last two values, at the epochs 18.5 and 19.5.
    fall = 1 - np.mean(np.exp([-0.185, -0.195]))
    assert RateTooLow().examine(case).value == pytest.approx(-20 * np.log(1 - fall / 4) / 0.01, rel=0.01)
    assert NotConverged().examine(case).value == pytest.approx(0.5, abs=0.05)
    assert "learning rate first" in NotConverged().examine(case).remedy


@pytest.mark.parametrize(
    ("rate", "accuracy", "verdict"),
    [(0.31, 0.6, "passed"), (0.31, 0.61, "found"), (0.29, 0.5, "found"), (3.0, 0.1, "passed")],
)
def test_a_search_that_tried_higher_rates_knows_better(rate, accuracy, verdict):
    """The slow line's own rate is 0.1 and its accuracy 0.6; a rival at three times that and more decides."""
    case = made(falling(20, 0.01))
    own, history = case.trial, dict(case.trial.history)
    own = dataclasses.replace(own, history=history | {"validation_accuracy": np.full(20, 0.6)})
    recipe = dataclasses.replace(own.recipe, optimizer=SGD(rate))
    rival = dataclasses.replace(
        own, number=1, recipe=recipe, history=history | {"validation_accuracy": np.full(20, accuracy)}
    )
    searched = Case(dataclasses.replace(case.run, trials=(own, rival)), own, None)
    assert RateTooLow().examine(searched).verdict == verdict


def test_too_few_epochs_are_not_a_rate_too_low():
    """A quick beginning and a long tail."""
    case = made(np.log(4) * (1 + 20 * (np.arange(6) + 0.5)) ** -0.2)
    assert verdicts(case) == ["passed", "passed", "found"]
    assert "more" in NotConverged().examine(case).remedy
    assert "learning rate" not in NotConverged().examine(case).remedy


def test_a_power_law_adds_in_the_next_doubling_what_the_last_two_say():
    times = np.arange(1, 4001) - 0.5
    curve = Curve(2 * (1 + times) ** -0.5, times, 2.0, 1)
    truth = (2 * (1 + curve.last) ** -0.5 - 2 * (1 + 2 * curve.last) ** -0.5) / curve.fall
    assert curve.to_come == pytest.approx(truth, rel=0.1)  # the tail's mean stands for the last value


def test_a_loss_that_explodes():
    case = made([1.2, 9.0, 30.0, 12.0, 25.0, 40.0])
    found = RateTooHigh().examine(case)
    assert (found.verdict, found.severity) == ("found", "warning")
    assert found.value == pytest.approx((40 - 1.2) / np.log(4))
    assert "rose in 4 of 5 epochs" in found.evidence
    assert RateTooLow().examine(case).verdict == "passed"
    assert NotConverged().examine(case).verdict == "not applicable"


def test_an_explosion_that_training_recovered_from_passes_and_is_told():
    case = made([9.0, 3.0, 0.6, 0.3, 0.2, 0.1, 0.05])
    assert RateTooHigh().examine(case).verdict == "passed"
    assert "recovered" in RateTooHigh().examine(case).evidence
    worse = made([9.0, 3.0, 0.6, 0.3, 0.2, 0.1, 0.05], held=[9.0] * 7)
    assert RateTooHigh().examine(worse).verdict == "found"


def test_a_trial_that_diverged_is_an_error():
    case = made([1.2, np.inf], status=Status.diverged(33, 2))
    found = RateTooHigh().examine(case)
    assert (found.verdict, found.severity) == ("found", "error")
    assert "step 33" in found.evidence
    assert [check.examine(case).verdict for check in CURVE_CHECKS[1:]] == ["not applicable"] * 2
    at_once = made([np.nan], status=Status.diverged(0, 1))
    assert RateTooHigh().examine(at_once).verdict == "found"


def test_oscillation_without_a_rise_is_found_by_its_steps():
    flat = np.full(20, 0.6)
    assert RateTooHigh().examine(made(flat, ratio=0.5)).verdict == "found"
    assert RateTooHigh().examine(made(flat, ratio=0.01)).verdict == "passed"
    # A weight that grows by equal steps from 0 changes by 1/t: one step an epoch, five epochs.
    few = made(falling(5, 0.5), ratio=0.2, batch="full")
    assert RateTooHigh().examine(few).verdict == "passed"


def test_weights_that_hardly_moved_need_no_curve():
    noise = np.log(4) + 1e-3 * np.random.default_rng(0).normal(size=12)
    assert RateTooLow().examine(made(noise, ratio=1e-6)).verdict == "found"
    assert NotConverged().examine(made(noise, ratio=1e-6)).verdict == "found"
    assert RateTooLow().examine(made(noise, ratio=1e-2)).verdict == "passed"
    assert NotConverged().examine(made(noise, ratio=1e-2)).verdict == "passed"
    assert RateTooLow().examine(made(noise, ratio=0, norm=0)).verdict == "passed"  # no gradient: no rate would move it


def test_the_validation_loss_decides_whether_more_epochs_help():
    falls = falling(20, 0.05)
    assert NotConverged().examine(made(falls, held=np.linspace(1, 2, 20))).verdict == "passed"
    assert NotConverged().examine(made(falls, held=np.full(20, np.nan))).verdict == "found"  # no validation split


@pytest.mark.parametrize("epochs", [0, 1, 2, 3])
def test_few_epochs_show_little(epochs):
    case = made(falling(epochs, 0.5))
    assert [check.examine(case).verdict for check in CURVE_CHECKS[1:]] == ["not applicable"] * 2
    assert RateTooHigh().examine(case).verdict == ("not applicable" if epochs < 2 else "passed")


def test_few_steps_show_no_rate_too_low():
    finding = RateTooLow().examine(made(falling(20, 0.01), batch="full"))
    assert finding.verdict == "not applicable"
    assert "20 steps" in finding.evidence


def test_random_search_has_no_rate():
    case = made(falling(8, 0.5), RandomSearch(), rates=[np.nan] * 8)
    assert verdicts(case) == ["not applicable"] * 3
    assert ScheduleUnfit().examine(case).verdict == "not applicable"


def test_a_pruned_trial_was_meant_to_stop():
    case = made(falling(8, 0.05), status=Status.pruned(1, 8, 0.5, 1, 4))
    assert NotConverged().examine(case).verdict == "not applicable"


@given(st.integers(4, 40), st.floats(0.001, 2.0), st.floats(1e-3, 1e3))
def test_findings_do_not_depend_on_the_unit_of_the_rate(epochs, speed, unit):
    one, other = (made(falling(epochs, speed), rates=np.full(epochs, 0.1 * scale)) for scale in (1.0, unit))
    assert verdicts(one) == verdicts(other)


@given(st.integers(2, 30))
def test_time_of_a_constant_rate_is_epochs(epochs):
    time = training_time({"learning_rate": np.full(epochs, 0.3)})
    np.testing.assert_allclose(time, np.arange(1, epochs + 1), rtol=1e-12)


def test_the_loss_of_chance():
    case = made(falling(4, 0.5))
    assert chance_loss(case.trial.recipe, case.run.data) == pytest.approx(np.log(4))
    hinge = dataclasses.replace(case.trial.recipe, loss=tw.losses.Hinge())
    assert chance_loss(hinge, case.run.data) == 3
    wild = dataclasses.replace(case.trial.recipe, model=tw.models.Dense(8, output_scale=5.0))
    assert np.isnan(chance_loss(wild, case.run.data))


def test_a_curve_stops_before_what_is_not_finite():
    curve = read_curve(made([1.0, 0.9, np.nan, 0.8]).trial, made([1.0]).run.data)
    assert curve.loss.tolist() == [1.0, 0.9]


def scheduled(schedule, loss=None) -> Case:
    return made(falling(20, 0.05) if loss is None else loss, SGD(schedule))


def test_planned_rates_are_those_of_training():
    data = tw.Dataset("made", "made", tw.Split(*_points(60)), ("a", "b"))
    schedule = Warmup(2, Cosine(0.1, 3, unit="epochs"), unit="epochs")
    run = tw.fit(tw.Recipe(optimizer=SGD(schedule), batch_size=16, epochs=6), data, test=0)
    case = tw.diagnostics.make_case(run, data)
    steps = -(-run.data.examples["train"] // 16)
    # An epoch's rate is that of its last step, stored in float32.
    np.testing.assert_allclose(
        planned_rates(case.trial, case)[0][steps - 1 :: steps],
        case.trial.history["learning_rate"],
        rtol=1e-5,
        atol=1e-8,
    )
    finding = ScheduleUnfit().examine(case)
    assert finding.verdict in ("found", "passed")


def _points(count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    labels = np.arange(count) % 2
    return (labels[:, None] + generator.normal(size=(count, 3))).astype(np.float32), labels.astype(np.int32)


@pytest.mark.parametrize(
    ("schedule", "verdict", "words"),
    [
        (Constant(0.1), "not applicable", "constant"),
        (Cosine(0.1), "passed", "the last 2%"),
        (Linear(0.1, 0.9, unit="run"), "passed", "10%"),
        (Cosine(0.1, 5, unit="epochs"), "found", "would have added"),
        (Cosine(0.1, 80, unit="epochs"), "found", "ended before it did"),
        (Step(0.1), "found", "ended before it did"),
        (Step(0.1, (0.5, 0.75), unit="run"), "passed", ""),
        (Warmup(0.7, Cosine(0.1), unit="run"), "found", "70%"),
        (Warmup(0.1, 0.1, unit="run"), "passed", "10%"),
        (Warmup(3.0, 0.1, unit="run"), "found", "never reached"),
        (Constant(0.0), "not applicable", ""),
    ],
)
def test_schedules(schedule, verdict, words):
    finding = ScheduleUnfit().examine(scheduled(schedule))
    assert finding.verdict == verdict, finding
    assert words in finding.evidence


def test_an_early_end_is_no_harm_once_the_loss_is_flat():
    assert ScheduleUnfit().examine(scheduled(Cosine(0.1, 10, unit="epochs"), falling(20, 3.0))).verdict == "passed"


def test_the_limit_and_who_has_none():
    data = tw.Dataset("made", "made", tw.Split(*_points(80)), ("a", "b"))
    recipe = tw.Recipe(optimizer=SGD(0.5), penalty=tw.penalties.L2(0.05), batch_size="full", epochs=60)
    run = tw.fit(recipe, data, test=0)
    case = tw.diagnostics.make_case(run, data)
    finding = RateAboveLimit().examine(case)
    x = run.model.preprocessing.transform(case.data.train.features)
    assert finding.value == pytest.approx(0.5 / (2 / _largest(run.model.params, x)), rel=2e-3)  # Lanczos stops at 1e-3
    assert finding.verdict == "passed"
    for other in (SGD(0.5, momentum=0.5), SGD(0.5, momentum=0.5, nesterov=True), SGD(0.5, weight_decay=0.3)):
        trial = dataclasses.replace(case.trial, recipe=dataclasses.replace(recipe, optimizer=other))
        value = RateAboveLimit().examine(_with(case, trial)).value
        lam = _largest(run.model.params, x) + (other.weight_decay or 0)
        rho = other.momentum or 0
        limit = 2 * (1 + rho) / ((1 + 2 * rho * other.nesterov) * lam)
        assert value == pytest.approx(0.5 / limit, rel=2e-3)
    for change in ({"optimizer": Adam(0.1)}, {"optimizer": SGD(0.1, momentum=0.9, dampening=0.5)}):
        trial = dataclasses.replace(case.trial, recipe=dataclasses.replace(recipe, **change))
        assert RateAboveLimit().examine(_with(case, trial)).verdict == "not applicable"
    hinge = dataclasses.replace(case.trial, recipe=dataclasses.replace(recipe, loss=tw.losses.Hinge()))
    assert "straight" in RateAboveLimit().examine(_with(case, hinge)).evidence
    bare = tw.diagnostics.make_case(dataclasses.replace(run, dataset=None))
    assert RateAboveLimit().examine(bare).verdict == "not applicable"


def _with(case: Case, trial: Trial) -> Case:
    """The case with another trial as its winner."""
    return dataclasses.replace(case, run=dataclasses.replace(case.run, trials=(trial,)), trial=trial)


def _largest(params, x) -> float:
    """λmax of the softmax objective with penalty 0.05 ‖W‖², from the dense Hessian in closed form."""
    x = np.concatenate([np.asarray(x, np.float64), np.ones((len(x), 1))], axis=1)
    scores = x @ np.concatenate([params["weight"], params["bias"][:, None]], axis=1).astype(np.float64).T
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    middle = np.einsum("ni,ij->nij", p, np.eye(2)) - np.einsum("ni,nj->nij", p, p)
    hessian = np.einsum("nij,na,nb->iajb", middle, x, x).reshape(2 * x.shape[1], -1) / len(x)
    penalised = np.tile([1.0] * (x.shape[1] - 1) + [0.0], 2)
    return float(np.linalg.eigvalsh(hessian + np.diag(2 * 0.05 * penalised))[-1])


def test_a_path_and_a_trial_that_did_not_win():
    data = tw.Dataset("made", "made", tw.Split(*_points(80)), ("a", "b"))
    path = tw.path(data, strengths=[0.1], folds=0)
    case = tw.diagnostics.make_case(path, data)
    checks = (*CURVE_CHECKS, ScheduleUnfit(), RateAboveLimit())
    assert [check.examine(case).verdict for check in checks] == ["not applicable"] * 5

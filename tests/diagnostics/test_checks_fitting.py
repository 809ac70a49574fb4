"""The checks of fit and of networks where they do not apply, at their edges, and against oracles."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import thalweg as tw
from thalweg.diagnostics import Case, make_case
from thalweg.diagnostics.activations import back_signals, rectified_peaks
from thalweg.diagnostics.continued import continue_at
from thalweg.diagnostics.fitting import Overfitting, PenaltyTooStrong, Underfitting
from thalweg.diagnostics.further import further, sample
from thalweg.diagnostics.measures import chance_loss, constant_loss, jitter, smooth
from thalweg.diagnostics.networks import DeadUnits, NoiseDominated, VanishingGradients
from thalweg.diagnostics.reference import kernel_classifier
from thalweg.findings import Finding
from thalweg.training import Status

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from diagnostic_corpus.trained import blobs, train_cases

DATA = blobs((60, 60), features=6, classes=3, apart=0.7, seed=3)
ALL = (Overfitting(), Underfitting(), PenaltyTooStrong(), DeadUnits(), VanishingGradients(), NoiseDominated())


def recipe(**parts: Any) -> tw.Recipe:
    parts = {"optimizer": tw.optimizers.SGD(0.1), "batch_size": 20, "epochs": 8, **parts}
    return tw.Recipe(**parts)


@pytest.fixture(scope="module")
def linear() -> Case:
    return train_cases([recipe(penalty=tw.penalties.L2(0.01))], DATA)[0]


@pytest.fixture(scope="module")
def dense() -> Case:
    return train_cases([recipe(model=tw.models.Dense((5, 4)))], DATA)[0]


def with_history(case: Case, **changed: Any) -> Case:
    """The same case with other curves, and no weights."""
    trial = case.trial
    assert trial is not None
    history = {name: np.asarray(changed.get(name, values), float) for name, values in trial.history.items()}
    trial = dataclasses.replace(trial, history=history, kept_epoch=changed.get("kept", trial.kept_epoch))
    trial = dataclasses.replace(trial, status=changed.get("status", trial.status))
    run = dataclasses.replace(case.run, trials=(trial,), selection=None, model=None)
    return Case(run, trial, None)


def test_a_corpus_case_is_what_fit_gives() -> None:
    asked = recipe(penalty=tw.penalties.L2(0.01))
    (case,) = train_cases([asked], DATA)
    run = tw.fit(asked, DATA, test=0)
    assert case.model is not None
    assert run.model is not None
    np.testing.assert_array_equal(case.model.params["weight"], run.model.params["weight"])
    for name, values in run.trials[0].history.items():
        np.testing.assert_array_equal(case.run.trials[0].history[name], values)


RISE = [1.0, 0.6, 0.5, 0.5, 0.55, 0.62, 0.7, 0.8]
FALL = [1.0, 0.5, 0.3, 0.2, 0.15, 0.1, 0.08, 0.05]


def test_over_fitting_is_read_from_the_curves_alone(linear: Case) -> None:
    found = Overfitting().examine(with_history(linear, validation_loss=RISE, data_loss=FALL))
    assert found.verdict == "found"
    assert "lowest at epoch 3" in found.evidence
    assert "minibatches" in found.evidence
    # The running median of three leaves 0.8 at the end and 0.5 at its lowest; f is 1 % of ln 3.
    floor = 0.01 * np.log(3)
    assert found.value == pytest.approx((0.8 + floor) / (0.5 + floor), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data_loss": RISE}, "lowest at epoch 3"),  # the training loss rises too: no over-fitting
        ({"kept": 3}, "those weights are not kept"),
        ({"data_loss": [2.0, 1.2, 0.9, 0.8, 0.75, 0.72, 0.7, 0.69]}, "training loss"),  # next to no gap
    ],
)
def test_no_over_fitting(linear: Case, change: dict, why: str) -> None:
    passed = Overfitting().examine(with_history(linear, **{"validation_loss": RISE, "data_loss": FALL, **change}))
    assert passed.verdict == "passed"
    assert why in passed.evidence


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"validation_loss": [np.nan] * 8}, "no validation loss"),
        ({"status": Status.diverged(3, 1)}, "diverged"),
        (
            {name: [0.5] for name in ("validation_loss", "data_loss", "validation_accuracy")} | {"kept": 1},
            "five epochs",
        ),
    ],
)
def test_over_fitting_cannot_be_told(linear: Case, change: dict, why: str) -> None:
    found = Overfitting().examine(with_history(linear, **change))
    assert found.verdict == "not applicable"
    assert why in found.evidence


def verdicts(case: Case) -> dict[str, Finding]:
    return {check.code: check.examine(case) for check in ALL}


def test_without_data_only_the_curves_speak(linear: Case) -> None:
    found = verdicts(Case(linear.run, linear.trial, None))
    assert {code for code, one in found.items() if one.verdict != "not applicable"} == {"FT01", "NN02"}


def test_a_diverged_trial_has_exploded_and_nothing_else_is_said() -> None:
    wild = recipe(penalty=tw.penalties.L2(1.0), optimizer=tw.optimizers.SGD(1e4))  # each step multiplies by −2e4
    (case,) = train_cases([wild], DATA)
    assert case.model is None
    found = verdicts(case)
    assert found["NN02"].verdict == "found"
    assert "gradient norm of epoch 2 is inf" in found["NN02"].evidence
    assert {one.verdict for code, one in found.items() if code != "NN02"} == {"not applicable"}


def test_a_path_has_no_trials() -> None:
    path = tw.path(DATA, strengths=2, folds=0)
    assert {one.verdict for one in verdicts(make_case(path)).values()} == {"not applicable"}


def test_a_jump_of_the_gradient_norm_is_an_explosion(linear: Case) -> None:
    norms = [1.0, 1.1, 0.9, 5e3, 1.0, 1.0, 1.0, 1.0]
    losses = [1.0, 0.9, 0.8, 0.9, 2.0, 1.5, 1.0, 0.9]
    jumped = with_history(linear, gradient_norm=norms, data_loss=losses)
    assert VanishingGradients().examine(jumped).verdict == "found"
    fell = with_history(linear, gradient_norm=norms, data_loss=sorted(losses, reverse=True))
    assert VanishingGradients().examine(fell).verdict == "passed"
    assert VanishingGradients().examine(linear).verdict == "passed"


def test_linear_models_have_no_units_and_no_penalty_is_not_too_strong(linear: Case, dense: Case) -> None:
    assert "no hidden unit" in DeadUnits().examine(linear).evidence
    assert "no penalty" in PenaltyTooStrong().examine(dense).evidence
    assert DeadUnits().examine(dense).verdict == "passed"


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"batch_size": "full"}, "no noise"),
        ({"averaging": tw.averaging.ExponentialAverage(0.9)}, "average"),
        ({"optimizer": tw.optimizers.RandomSearch()}, "random search"),
    ],
)
def test_noise_cannot_dominate(parts: dict, why: str) -> None:
    (case,) = train_cases([recipe(**parts)], DATA)
    found = NoiseDominated().examine(case)
    assert found.verdict == "not applicable"
    assert why in found.evidence


def test_too_few_examples_tell_nothing() -> None:
    (case,) = train_cases([recipe(batch_size=4)], blobs((12, 12), features=6, classes=3, apart=0.7, seed=3))
    assert Underfitting().examine(case).verdict == "not applicable"
    assert NoiseDominated().examine(case).verdict == "not applicable"


def test_peaks_are_those_of_a_forward_pass_in_numpy(dense: Case) -> None:
    assert dense.model is not None
    x = np.concatenate([DATA.train.features] * 5)  # 300 rows: more than one block
    x = np.asarray(dense.model.preprocessing.transform(x))
    peaks = rectified_peaks(dense.model.recipe.model, dense.model.params, (), x)
    for name, peak in zip(("layer_1", "layer_2"), peaks, strict=True):
        layer = dense.model.params[name]
        x = np.maximum(x @ layer["weight"].T + layer["bias"], 0)
        np.testing.assert_allclose(peak, x.max(axis=0), rtol=1e-5)  # float32 sums of six terms


def test_dead_units_can_be_left_out(dense: Case) -> None:
    """Three units are killed by their biases; the check names them, and the scores do not change without them."""
    assert dense.model is not None
    params = jax.tree.map(np.array, dense.model.params)
    params["layer_1"]["bias"][:3] = -1e3
    killed = dataclasses.replace(dense.run, model=dataclasses.replace(dense.model, params=params))
    found = DeadUnits().examine(Case(killed, dense.trial, DATA))
    assert found.verdict == "found"
    assert found.value == pytest.approx(3 / 5)
    assert "layer_1: 3 of 5" in found.evidence
    assert "0 of them were so before training" in found.evidence
    without = jax.tree.map(np.array, params)
    without["layer_2"]["weight"][:, :3] = 0
    scores = [dataclasses.replace(dense.model, params=p).scores(DATA.train.features) for p in (params, without)]
    np.testing.assert_array_equal(*scores)


def test_channels_of_a_convolutional_network_are_units() -> None:
    model = tw.models.Convolutional(width=3, blocks=(1, 1), batch_norm=False)
    params, state = model.init(jax.random.key(0), (4, 4, 1), 2)
    params["stem"]["bias"] = params["stem"]["bias"].at[1].set(-1e3)
    peaks = rectified_peaks(model, params, state, np.random.default_rng(0).normal(size=(5, 4, 4, 1)).astype(np.float32))
    assert [len(peak) for peak in peaks] == [3, 3, 3, 6, 6, 6]
    assert peaks[0][1] == 0
    assert (np.delete(peaks[0], 1) > 0).all()


def test_signals_are_those_of_the_chain_rule(dense: Case) -> None:
    assert dense.model is not None
    x, labels = dense.inputs["train"]
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), dense.model.params)
    first = x @ params["layer_1"]["weight"].T + params["layer_1"]["bias"]
    second = np.maximum(first, 0) @ params["layer_2"]["weight"].T + params["layer_2"]["bias"]
    scores = np.maximum(second, 0) @ params["output"]["weight"].T + params["output"]["bias"]
    slope = np.asarray(jax.nn.softmax(jnp.asarray(scores))) - np.eye(3)[labels]
    last = slope / len(x) @ params["output"]["weight"] * (second > 0)
    before = last @ params["layer_2"]["weight"] * (first > 0)
    found = back_signals(dense.model.recipe.model, tw.losses.Softmax(), dense.model.params, (), x, labels)
    expected = {"layer_1": np.linalg.norm(before), "layer_2": np.linalg.norm(last)}
    assert found == pytest.approx(expected, rel=1e-5)  # float32


def test_training_on_finds_the_optimum_of_the_objective(linear: Case) -> None:
    """Against SciPy's BFGS on the objective written in NumPy."""
    assert linear.model is not None
    seen = sample(linear, "train")
    penalty = linear.model.recipe.penalty
    params = further(linear, linear.model.params, penalty, seen, steps=500)
    x, own = seen.x.astype(np.float64), np.eye(3)[seen.labels]

    def value(flat: np.ndarray) -> float:
        weight, bias = flat[:18].reshape(3, 6), flat[18:]
        scores = x @ weight.T + bias
        return float(
            np.mean(np.log(np.exp(scores).sum(axis=1)) - (scores * own).sum(axis=1)) + 0.01 * np.sum(weight**2)
        )

    best = minimize(value, np.zeros(21), method="BFGS", options={"gtol": 1e-8})
    reached = value(np.concatenate([params["weight"].ravel(), params["bias"]]).astype(np.float64))
    assert reached == pytest.approx(best.fun, abs=1e-6)  # the weights come back in float32


def test_a_falling_rate_ends_lower_than_a_steady_one_hovers() -> None:
    (case,) = train_cases([recipe(optimizer=tw.optimizers.SGD(2.0), batch_size=3, epochs=20)], DATA)
    found = continue_at(case, 2.0)
    assert found.steps % 4 == 0
    assert found.settled < found.hovering.min()
    assert case.model is not None
    assert found.hovering[0] == pytest.approx(case.model.score(DATA.train).loss, rel=1e-5)


def test_the_kernel_classifier_follows_rings() -> None:
    data = tw.load("rings").train
    assert data.labels is not None
    x, labels = data.features[:300], data.labels[:300]
    predicted, rating = kernel_classifier(x[:200], labels[:200], x[200:], 2)
    assert np.mean(predicted == labels[200:]) > 0.97
    assert rating > 0.97


def test_its_rating_is_the_leave_one_out_accuracy() -> None:
    """Leaving each example out in turn and solving again, for the one width and ridge that are tried."""
    import thalweg.diagnostics.reference as reference

    generator = np.random.default_rng(5)
    x, labels = generator.normal(size=(24, 3)), generator.integers(3, size=24)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    squares = np.sum((x[:, None] - x[None]) ** 2, axis=2)
    kernel = np.exp(-squares / (2 * np.median(squares[np.triu_indices(24, 1)])))
    targets = np.eye(3)[labels]
    mean, right = targets.mean(axis=0), 0
    for i in range(24):
        rest = np.delete(np.arange(24), i)
        alpha = np.linalg.solve(kernel[np.ix_(rest, rest)] + 0.1 * np.eye(23), targets[rest] - mean)
        right += int((kernel[i, rest] @ alpha + mean).argmax() == labels[i])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_WIDTHS", (1.0,))
        patch.setattr(reference, "_RIDGES", np.array([0.1]))
        assert kernel_classifier(x, labels, x, 3)[1] == pytest.approx(right / 24)


def test_measures() -> None:
    assert chance_loss(tw.losses.Softmax(), 5) == pytest.approx(np.log(5), rel=1e-6)
    assert chance_loss(tw.losses.Hinge(), 5) == pytest.approx(4)
    labels = np.array([0, 0, 0, 2])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert constant_loss(tw.losses.Softmax(), labels) == pytest.approx(entropy, rel=1e-6)
    np.testing.assert_array_equal(smooth(np.array([1.0, 9, 2, 3])), [1, 2, 3, 3])
    assert jitter(np.arange(9.0)) == 0
    noise = np.random.default_rng(0).normal(size=4000)
    assert jitter(0.1 * noise) == pytest.approx(0.1, rel=0.1)  # a median of 4,000: 3 % of error

"""The checks of fit and of networks accuse nobody for a loss of 0, weighted examples, a refit, or a model too large."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from thalweg.diagnostics import Case, further
from thalweg.diagnostics.activations import rectified_peaks
from thalweg.diagnostics.continued import continue_at
from thalweg.diagnostics.fitting import Overfitting, PenaltyTooStrong, Underfitting
from thalweg.diagnostics.networks import DeadUnits, NoiseDominated, VanishingGradients

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from diagnostic_corpus.trained import blobs, train_cases

DATA = blobs((60, 60, 30), features=6, classes=3, apart=3.0, seed=3)


def trained(data: Any = DATA, **parts: Any) -> Case:
    parts = {"optimizer": tw.optimizers.SGD(0.1), "batch_size": 20, "epochs": 8, **parts}
    return train_cases([tw.Recipe(**parts)], data)[0]


def weighted(*names: str) -> Any:
    """The data with weights in these splits."""
    rows = np.random.default_rng(0).uniform(0.1, 3, 60)
    return dataclasses.replace(DATA, **{name: dataclasses.replace(getattr(DATA, name), weights=rows) for name in names})


def refitted(case: Case, data: Any = DATA) -> Case:
    """The same case, as a run that was refitted on training and validation."""
    run = dataclasses.replace(case.run, refitted=True)
    return Case(run, case.trial, data)


def with_params(case: Case, params: Any) -> Case:
    assert case.model is not None
    run = dataclasses.replace(case.run, model=dataclasses.replace(case.model, params=params))
    return Case(run, case.trial, case.data)


def with_history(case: Case, **changed: Any) -> Case:
    assert case.trial is not None
    history = {**case.trial.history, **{name: np.asarray(values) for name, values in changed.items()}}
    trial = dataclasses.replace(case.trial, history=history)
    return Case(dataclasses.replace(case.run, trials=(trial,), selection=None, model=None), trial, None)


@pytest.fixture(scope="module")
def linear() -> Case:
    return trained(penalty=tw.penalties.L2(0.01))


@pytest.fixture(scope="module")
def hinge() -> Case:
    model, optimizer = tw.models.Dense((8, 8)), tw.optimizers.Adam(0.01)
    return trained(model=model, loss=tw.losses.Hinge(), optimizer=optimizer, epochs=60)


def test_a_network_that_converges_has_not_exploded() -> None:
    case = trained(model=tw.models.Dense((8, 8)), optimizer=tw.optimizers.Adam(0.1), epochs=150)
    assert case.trial is not None
    norms = case.trial.history["gradient_norm"]
    assert norms.max() > 1000 * np.median(norms)
    found = VanishingGradients().examine(case)
    assert found.verdict == "passed"
    assert "next to no gradient is left" in found.evidence


def test_a_burst_counts_above_what_came_before_and_where_it_costs(linear: Case) -> None:
    norms, losses = [1.0, 1e-4, 1e-4, 1e-4, 2.0, 1e-4, 1e-4, 1e-4], [1.0, 0.5, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1]
    check = VanishingGradients()
    assert check.examine(with_history(linear, gradient_norm=norms, data_loss=losses)).verdict == "passed"
    # A tenth of ln 3 is 0.11; the loss of the epoch after the burst has its cost.
    cost = [*losses[:5], 0.5, 0.2, 0.1]
    found = check.examine(with_history(linear, gradient_norm=norms, data_loss=cost))
    assert found.verdict == "found"
    assert "in epoch 5, its median before is 0.0001, and the training loss rose from 0.2 to 0.5" in found.evidence


def test_where_every_margin_is_met_no_gradient_vanished(hinge: Case) -> None:
    assert hinge.model is not None
    assert hinge.model.score(DATA.train).loss == 0
    found = VanishingGradients().examine(hinge)
    assert found.verdict == "passed"
    assert "the loss is 0" in found.evidence
    params = jax.tree.map(np.array, hinge.model.params)
    params["layer_2"]["bias"][:] = -1e3  # all units of the last layer dead: the gradient is 0 too, the loss is not
    assert VanishingGradients().examine(with_params(hinge, params)).verdict == "found"


def test_the_hinge_is_not_refitted_for_its_penalty(hinge: Case) -> None:
    assert hinge.model is not None
    recipe = dataclasses.replace(hinge.model.recipe, penalty=tw.penalties.L2(0.1))
    run = dataclasses.replace(hinge.run, model=dataclasses.replace(hinge.model, recipe=recipe))
    found = PenaltyTooStrong().examine(Case(run, hinge.trial, DATA))
    assert found.verdict == "not applicable"
    assert "kinks" in found.evidence


def test_weighted_examples_are_judged_by_their_weights_or_not_at_all(linear: Case) -> None:
    both = Case(linear.run, linear.trial, weighted("train", "validation"))
    assert both.data is not None
    assert "weighted" in Underfitting().examine(both).evidence
    assert Overfitting().examine(both).verdict == "passed"
    losses, _ = further.losses_and_hits(both, both.model.params, further.sample(both, "train"))
    weights = both.data.train.weights
    expected = f"the training loss is {np.average(losses, weights=weights):.3g}, accuracy"
    assert expected in Overfitting().examine(both).evidence
    found = continue_at(both, 1e-12)  # the weights stay where they are, and the measure does
    assert found.hovering[0] == pytest.approx(np.average(losses, weights=weights), rel=1e-6)  # sums in float64
    assert abs(found.hovering[0] / losses.mean() - 1) > 1e-3
    np.testing.assert_allclose(found.hovering[1:], found.hovering[0], rtol=1e-5)  # sums in float32
    for name in ("train", "validation"):
        one = Case(linear.run, linear.trial, weighted(name))
        for check in (Overfitting(), PenaltyTooStrong()):
            assert check.examine(one).verdict == "not applicable"
            assert "do not compare" in check.examine(one).evidence


def test_weights_count_for_a_penalty_too(linear: Case) -> None:
    """Validation examples of weight 0 have no say: the same losses as without them."""
    assert DATA.validation is not None
    rows = np.repeat([2.0, 0.0], 30)
    halved = dataclasses.replace(DATA.validation, weights=rows)
    train = dataclasses.replace(DATA.train, weights=np.ones(60))
    some = Case(linear.run, linear.trial, dataclasses.replace(DATA, train=train, validation=halved))
    half = dataclasses.replace(DATA.validation, features=halved.features[:30], labels=halved.labels[:30], weights=None)
    few = Case(linear.run, linear.trial, dataclasses.replace(DATA, validation=half))
    told = [PenaltyTooStrong().examine(case).evidence.split(" (the trial's")[0] for case in (some, few)]
    assert told[0] == told[1]


def test_what_a_model_was_refitted_on_is_not_held_out(linear: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = dataclasses.replace(DATA, test=None)
    assert further.judging(refitted(linear, bare)) == ("validation", "")  # its training examples all fit in
    monkeypatch.setattr(further, "_REFITTED", 40)
    assert further.judging(linear) == ("validation", "")
    assert further.judging(refitted(linear)) == ("test", "")
    assert "no others" in further.judging(refitted(linear, bare))[1]
    found = NoiseDominated().examine(refitted(linear, bare))
    assert found.verdict == "not applicable"
    assert "refitted on the validation examples" in found.evidence


def test_noise_is_judged_on_the_test_split_after_a_refit(linear: Case) -> None:
    case = refitted(linear)
    found = continue_at(case, 0.1, "test")
    losses, _ = further.losses_and_hits(case, case.model.params, further.sample(case, "test"))
    assert found.held_hovering[0] == pytest.approx(losses.mean(), rel=1e-9)


def test_running_statistics_belong_to_the_trained_weights(linear: Case) -> None:
    assert linear.model is not None
    assert linear.trial is not None
    recipe = dataclasses.replace(linear.model.recipe, model=tw.models.Dense((8, 8), batch_norm=True))
    params, state = jax.tree.map(np.array, recipe.model.init(jax.random.key(0), (6,), 3))
    params["layer_1"]["norm_offset"][0] = -1e3
    trial = dataclasses.replace(linear.trial, recipe=recipe)
    model = dataclasses.replace(linear.model, recipe=recipe, params=params, model_state=state)
    case = Case(dataclasses.replace(linear.run, trials=(trial,), model=model), trial, DATA)
    assert "is not compared with that at the last before training" in VanishingGradients().examine(case).evidence
    found = DeadUnits().examine(case)
    assert "layer_1: 1 of 8" in found.evidence
    assert "before training" not in found.evidence


def test_what_would_take_minutes_is_not_tried(linear: Case) -> None:
    huge = with_params(linear, {"weight": np.broadcast_to(np.float32(0), (10**7, 1000))})  # takes no memory
    assert "too long" in further.cannot(huge)
    assert further.cannot(linear) == ""
    assert "too long" in NoiseDominated().examine(huge).evidence
    assert linear.model is not None
    recipe = dataclasses.replace(linear.model.recipe, model=tw.models.Convolutional())
    run = dataclasses.replace(linear.run, model=dataclasses.replace(linear.model, recipe=recipe))
    assert "convolutions take too long" in NoiseDominated().examine(Case(run, linear.trial, DATA)).evidence


def test_scoring_in_blocks_is_scoring(linear: Case) -> None:
    x, labels = linear.inputs["train"]
    many = further.Sample(np.tile(x, (20, 1)), np.tile(labels, 20), np.ones(1200))
    losses, hits = further.losses_and_hits(linear, linear.model.params, many)
    once = further.losses_and_hits(linear, linear.model.params, further.Sample(x, labels, np.ones(60)))
    np.testing.assert_allclose(losses, np.tile(once[0], 20), rtol=1e-5)  # float32 sums, in another order
    np.testing.assert_array_equal(hits, np.tile(once[1], 20))


class _Wrapped:
    """A model whose rectifier lies within a call, or a loop."""

    def __init__(self, wrap: Any) -> None:
        self.wrap = wrap

    def apply(self, params: Any, state: Any, x: Any, *, key: Any, training: bool) -> tuple[jax.Array, Any]:
        hidden = self.wrap(lambda x: jax.nn.relu(x @ params["w"]) * 2)(x)
        return jax.nn.relu(hidden - 1) @ params["w"].T, state


def _looped(function: Any) -> Any:
    return lambda x: jax.lax.scan(lambda carry, _: (carry, function(x)), 0.0, None, length=2)[1][0]


@pytest.mark.parametrize(
    ("wrap", "count"), [(jax.jit, 2), (jax.checkpoint, 2), (lambda f: jax.jit(jax.checkpoint(f)), 2), (_looped, 1)]
)
def test_rectifiers_within_calls_are_found(wrap: Any, count: int) -> None:
    generator = np.random.default_rng(0)
    weights, x = generator.normal(size=(3, 4)).astype(np.float32), generator.normal(size=(20, 3)).astype(np.float32)
    peaks = rectified_peaks(_Wrapped(wrap), {"w": jnp.asarray(weights)}, (), x)
    first = np.maximum(x @ weights, 0)
    expected = [first.max(axis=0), np.maximum(2 * first - 1, 0).max(axis=0)]
    assert len(peaks) == count
    for found, peak in zip(peaks, expected[-count:], strict=True):
        np.testing.assert_allclose(found, peak, rtol=1e-5)  # float32 sums of three terms

"""Sanity before training: sound parts pass whatever the data, planted bugs are found, and training is not touched."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_wine

import thalweg as tw
import thalweg.sweeps
from thalweg.cli.output import print_run
from thalweg.data import Dataset, Split
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.diagnostics.before import sanity
from thalweg.saved_run import load_run
from thalweg.training import sanity as module
from thalweg.training.few import FEW, Few, choose_few, independent, standardised
from thalweg.training.penalty_sanity import check_penalty

RNG = np.random.default_rng(3)
# One shape for nearly all tests, since each further one is compiled anew.
CLASSES, FEATURES = 4, 24
LABELS = (np.arange(120) % CLASSES).astype(np.int32)
DATA = (RNG.normal(size=(120, FEATURES)).astype(np.float32), LABELS)
SUBJECT = tw.Recipe(model=tw.models.Linear(), epochs=1, batch_size=32)


def verdicts(findings: tuple[Any, ...]) -> dict[str, list[str]]:
    codes = sorted({finding.code for finding in findings})
    return {code: [finding.verdict for finding in findings if finding.code == code] for code in codes}


class Blind(eqx.Module):
    """Softmax that does not see the labels."""

    kind: ClassVar[str] = "softmax"
    smooth: ClassVar[bool] = True

    def __call__(self, scores: jax.Array, labels: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(scores, axis=-1) - jnp.mean(scores, axis=-1)


class Bits(tw.losses.Softmax):
    """Softmax with the logarithm to base 2."""

    def __call__(self, scores: jax.Array, labels: jax.Array) -> jax.Array:
        return super().__call__(scores, labels) / math.log(2)


class OwnCounted(tw.losses.Hinge):
    """Hinge that sums over the true class too: 1 too much."""

    def __call__(self, scores: jax.Array, labels: jax.Array) -> jax.Array:
        return super().__call__(scores, labels) + 1


class Rewarding(tw.penalties.L2):
    """L2 of the wrong sign."""

    def value(self, weights: jax.Array) -> jax.Array:
        return -super().value(weights)


class Uphill(tw.penalties.L2):
    """L2 whose gradient has the wrong sign, and its value the right one."""

    def gradient(self, weights: jax.Array) -> jax.Array:
        return -super().gradient(weights)


class Swelling(tw.penalties.L1):
    """L1 whose proximal step goes outwards."""

    def prox(self, weights: jax.Array, step: Any) -> jax.Array:
        return weights + step * self.strength * jnp.sign(weights)


class Deaf(tw.penalties.L2):
    """L2 that forgets its strength."""

    def value(self, weights: jax.Array) -> jax.Array:
        return jnp.sum(weights**2)


class Constant(tw.models.Linear):
    """Scores that do not depend on the input."""

    def apply(self, params: Any, state: Any, x: jax.Array, *, key: Any, training: bool) -> tuple[jax.Array, Any]:
        return super().apply(params, state, jnp.zeros_like(x), key=key, training=training)


class Stopped(tw.models.Dense):
    """A network none of whose weights gets a gradient."""

    def apply(self, params: Any, state: Any, x: jax.Array, *, key: Any, training: bool) -> tuple[jax.Array, Any]:
        return super().apply(jax.lax.stop_gradient(params), state, x, key=key, training=training)


SOUND = [
    tw.Recipe(model=tw.models.Linear(bias=False), loss=tw.losses.Hinge(), penalty=tw.penalties.L1(1e-3)),
    tw.Recipe(model=tw.models.Linear(scale=0.0), loss=tw.losses.Softmax(0.1), penalty=tw.penalties.ElasticNet(2.0, 1)),
    tw.Recipe(model=tw.models.Dense((30,), dropout=0.5, batch_norm=True), penalty=tw.penalties.L2(0.0)),
    tw.Recipe(model=tw.models.Dense((30, 30), activation="sigmoid"), loss=tw.losses.Hinge()),
]


@pytest.mark.parametrize("recipe", SOUND, ids=range(len(SOUND)))
def test_sound_recipes_pass(recipe: tw.Recipe) -> None:
    """None is accused, and only a penalty that is not there cannot be asked."""
    found = verdicts(sanity(recipe, DATA))
    penalised = not isinstance(recipe.penalty, tw.penalties.NoPenalty)
    assert found == {"SA01": ["passed"], "SA02": ["passed" if penalised else "not applicable"], "SA03": ["passed"]}


BUGS = [
    ("SA01", {"loss": Bits()}),
    ("SA01", {"loss": OwnCounted()}),
    ("SA02", {"penalty": Rewarding(1e-3)}),
    ("SA02", {"penalty": Uphill(1e-3)}),
    ("SA02", {"penalty": Swelling(1e-3)}),
    ("SA02", {"penalty": Deaf(1e-3)}),
    ("SA03", {"loss": Blind()}),
    ("SA03", {"model": Constant()}),
    ("SA03", {"model": Stopped((30,))}),
]


@pytest.mark.parametrize(("code", "parts"), BUGS, ids=[type(next(iter(p.values()))).__name__ for _, p in BUGS])
def test_planted_bugs_are_found(code: str, parts: dict[str, Any]) -> None:
    """Each by its own question, and by no other."""
    findings = sanity(tw.Recipe(**{"model": tw.models.Linear(), "penalty": tw.penalties.L2(1e-3), **parts}), DATA)
    assert [finding.code for finding in findings if finding.verdict == "found"] == [code]
    (found,) = (finding for finding in findings if finding.verdict == "found")
    assert found.remedy
    assert found.severity == "error"


def test_the_first_losses_are_those_of_the_textbook() -> None:
    """ln C and C − 1 within 1e-5: what weights of 1e-7 leave of the scores, and float32's rounding."""
    space = tw.Recipe(model=tw.models.Linear(), loss=tw.choice(tw.losses.Softmax(), tw.losses.Hinge()))
    findings = sanity(space, DATA)
    assert verdicts(findings) == {
        "SA01": ["passed"] * 2,
        "SA02": ["not applicable"],
        "SA03": ["passed"] * 2,
    }
    for finding in findings[:2]:
        assert finding.value == pytest.approx(0, abs=1e-5)
    assert f"{math.log(CLASSES):.4f}" in findings[0].evidence
    assert f"{CLASSES - 1:.4f}" in findings[1].evidence


def test_features_too_large_are_told_from_a_wrong_loss() -> None:
    """At weights of 0 the loss is right: then it is the data that must be scaled."""
    huge = (DATA[0] * np.float32(1e9), DATA[1])
    first = sanity(SUBJECT, huge, preprocessing=None)[0]
    assert first.verdict == "found"
    assert "standardize" in first.remedy
    assert sanity(SUBJECT, huge)[0].verdict == "passed"


@pytest.mark.parametrize("loss", [tw.losses.Softmax(), tw.losses.Hinge()], ids=["softmax", "hinge"])
def test_features_of_different_scales_are_no_fault_of_the_model(loss: Any) -> None:
    """Wine as it is: from 0.1 to 1,680. A small network gets stuck; with scaled features it does not."""
    table = load_wine()
    data = (table.data.astype(np.float32), table.target.astype(np.int32))
    finding = sanity(tw.Recipe(model=tw.models.Dense((8,)), loss=loss), data, preprocessing="none")[-1]
    assert (finding.code, finding.verdict) == ("SA03", "passed")
    assert "with the features standardised 20 of 20" in finding.evidence
    assert "need scaling" in finding.evidence


@pytest.mark.parametrize(
    "parts", [parts for code, parts in BUGS if code == "SA03"], ids=["Blind", "Constant", "Stopped"]
)
def test_features_of_different_scales_hide_no_bug(parts: dict[str, Any]) -> None:
    uneven = (DATA[0] * np.logspace(-1, 3, FEATURES, dtype=np.float32), DATA[1])
    finding = sanity(tw.Recipe(**{"model": tw.models.Linear(), **parts}), uneven, preprocessing="none")[-1]
    assert (finding.code, finding.verdict) == ("SA03", "found")
    assert "with the features standardised" in finding.evidence


def test_standardised_examples() -> None:
    """Mean 0 and deviation 1 over those of weight above 0, by float32's rounding; what is alike becomes 0."""
    x = (RNG.normal(size=(FEW, 3)) * [1e-3, 1, 1e3] + [1, 0, 5]).astype(np.float32)
    x[:, 1] = 7
    weights = (np.arange(FEW) < 12).astype(np.float32) / 12
    found = standardised(Few(x, np.zeros(FEW, np.int32), weights)).x
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:12].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found[:12].std(axis=0), [1, 0, 1], atol=1e-6)


def test_few_features_leave_few_examples_to_fit() -> None:
    """A linear model can fit D + 1 examples to any labels, not twenty; with one feature alike, none."""
    narrow = (DATA[0][:, :3], DATA[1])
    passed = sanity(SUBJECT, narrow)[-1]
    assert passed.verdict == "passed"
    assert passed.evidence.startswith("linear, softmax: 4 of 4 examples right")
    assert "affinely independent" in passed.evidence
    alike = (np.ones((120, 3), np.float32), DATA[1])
    assert sanity(SUBJECT, alike)[-1].verdict == "not applicable"
    labels_too = sanity(tw.Recipe(model=Constant()), narrow)[-1]
    assert labels_too.verdict == "found"


def test_what_cannot_be_asked_is_not_applicable() -> None:
    """Random search has no gradient, a layer may be too narrow, a loss of one's own has no known first value."""

    class Own(tw.losses.Softmax):
        kind: ClassVar[str] = "own"

    searched = tw.Recipe(model=tw.models.Linear(), optimizer=tw.optimizers.RandomSearch())
    assert verdicts(sanity(searched, DATA))["SA03"] == ["not applicable"]
    assert verdicts(sanity(tw.Recipe(model=tw.models.Linear(), loss=Own()), DATA))["SA01"] == ["not applicable"]
    crowded = ((RNG.normal(size=(120, 2)) * 1e-3 + 1).astype(np.float32), (np.arange(120) % 20).astype(np.int32))
    narrow = sanity(tw.Recipe(model=tw.models.Dense((1,))), crowded, preprocessing=None)[-1]
    assert narrow.verdict == "not applicable"
    assert "too narrow" in narrow.evidence


def test_a_penalty_that_reaches_no_weight_is_found() -> None:
    """A model whose only parameter is named as a bias is exempt from every penalty."""

    def init(key: Any, shape: tuple[int, ...], classes: int) -> Any:
        return {"bias": jax.random.normal(key, (classes, shape[0]))}, ()

    def apply(params: Any, state: Any, x: jax.Array, *, key: Any, training: bool) -> Any:
        return x @ params["bias"].T, state

    finding = sanity(tw.Recipe(model=(init, apply), penalty=tw.penalties.L2(1e-3)), DATA)[1]
    assert (finding.code, finding.verdict) == ("SA02", "found")
    assert "counts as a weight" in finding.evidence


def test_strengths_outside_of_float32_are_no_wrong_sign() -> None:
    weights = {"weight": np.ones((2, 3), np.float32)}
    for penalty in (tw.penalties.L2(1e-40), tw.penalties.L2(1e38), tw.penalties.L1(1e-42), tw.penalties.L1(1e39)):
        finding = check_penalty(penalty, weights, "linear")
        assert finding.verdict == "not applicable"
        assert f"the strength {penalty.strength:g}" in finding.evidence
        assert "outside what float32 holds" in finding.evidence
    for kind in (tw.penalties.L2, tw.penalties.L1, lambda s: tw.penalties.ElasticNet(s, 0.5)):
        for strength in (1e-36, 1e35):  # the ends of what is looked at
            assert check_penalty(kind(strength), weights, "linear").verdict == "passed"
    for broken in (Rewarding(1e-36), Uphill(1e35)):
        assert check_penalty(broken, weights, "linear").verdict == "found"


def test_the_few_examples() -> None:
    """All classes in turn, no two alike, filled up with examples of weight 0; independent ones by their rank."""
    features = np.repeat(RNG.normal(size=(6, 5)).astype(np.float32), 20, axis=0)  # six different examples
    split = Split(features, np.arange(120, dtype=np.int32) % 3)
    few = choose_few(split, fit_preprocessing(features, None))
    assert few.x.shape == (FEW, 5)
    assert np.count_nonzero(few.weights) == 6
    assert few.weights.sum() == pytest.approx(1, abs=1e-6)
    assert set(few.labels.tolist()) == {0, 1, 2}
    kept = independent(few, bias=True)
    chosen = kept.x[kept.weights > 0]
    # The oracle: the rank of [X 1] counts the affinely independent, the rank of X the linearly independent.
    with_ones = np.concatenate([few.x[:6], np.ones((6, 1))], axis=1)
    assert len(chosen) == np.linalg.matrix_rank(with_ones) == 6
    assert np.count_nonzero(independent(few, bias=False).weights) == np.linalg.matrix_rank(few.x[:6]) == 5
    # Two classes where there are two, though all the farthest are of one.
    line = np.asarray([[0.0], [1.0], [9.0], [8.0]], np.float32)
    few = choose_few(Split(line, np.asarray([0, 1, 0, 0], np.int32)), fit_preprocessing(line, None))
    assert set(independent(few, bias=True).labels[independent(few, bias=True).weights > 0].tolist()) == {0, 1}


def test_large_models_are_not_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WEIGHTS", 50)
    last = sanity(SUBJECT, DATA)[-1]
    assert last.verdict == "not applicable"
    assert "more than the 50" in last.evidence


def test_sweep_keeps_the_findings_and_changes_no_number(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same run to the last bit with and without; said, saved, read back, printed."""
    space = tw.Recipe(model=tw.models.Linear(), penalty=Uphill(tw.log_uniform(1e-4, 1e-2)), epochs=2, batch_size=32)
    told: list[str] = []
    run = tw.sweep(space, DATA, trials=3, progress=lambda now: told.append(now.message or ""))
    assert verdicts(run.sanity) == {"SA01": ["passed"], "SA02": ["found"], "SA03": ["passed"]}
    assert sum("SA02 error" in message for message in run.messages) == 1
    assert any("SA02 error" in message for message in told)
    print_run(run, None)
    assert "error before training: SA02" in capsys.readouterr().out
    monkeypatch.setattr(thalweg.sweeps, "check_recipes", lambda *_: ())
    without = tw.sweep(space, DATA, trials=3)
    for one, other in zip(run.trials, without.trials, strict=True):
        for name, values in one.history.items():
            np.testing.assert_array_equal(values, other.history[name])
    assert run.test == without.test

    monkeypatch.undo()
    sound = tw.fit(tw.Recipe(model=tw.models.Linear(), penalty=tw.penalties.L2(1e-3), epochs=1), DATA)
    assert not any(finding.verdict == "found" for finding in sound.sanity)
    assert not any("SA0" in message for message in sound.messages)
    sound.save(tmp_path / "run")
    assert load_run(tmp_path / "run").sanity == sound.sanity


def test_an_interruption_ends_the_checks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before the training: nothing is checked, nothing trained, and the run says so."""

    class Requested(thalweg.sweeps.InterruptRequest):
        def __init__(self) -> None:
            super().__init__()
            self.requested = True

    monkeypatch.setattr(thalweg.sweeps, "InterruptRequest", Requested)
    with pytest.raises(thalweg.sweeps.Interrupted) as stopped:
        tw.fit(SUBJECT, DATA)
    assert stopped.value.run.sanity == ()
    assert stopped.value.run.statuses == {"interrupted": 1}


def test_data_that_cannot_be_trained_is_refused() -> None:
    split = Split(DATA[0], np.zeros(120, np.int32))
    with pytest.raises(tw.DataError, match="at least two"):
        sanity(SUBJECT, Dataset("one", "here", split, ("only",)))

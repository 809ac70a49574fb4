"""`sweep` and `fit` from Python: the whole way, on small data and on the digits."""

from __future__ import annotations

import dataclasses
import os
import signal
from typing import Any

import numpy as np
import pytest

import thalweg as tw
from thalweg.data import split_dataset
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.statistics import wilson


def blobs(count: int = 240, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centres = 1.2 * generator.normal(size=(classes, 5))
    y = generator.integers(0, classes, count)
    return (centres[y] + generator.normal(size=(count, 5))).astype(np.float32), y


SPACE = tw.Recipe(
    penalty=tw.penalties.L2(tw.log_uniform(1e-5, 1e-1)),
    optimizer=tw.optimizers.Adam(tw.schedules.Cosine(tw.log_uniform(1e-3, 1e-1))),
    batch_size=64,
    epochs=5,
)


def test_a_sweep_selects_on_validation_and_scores_the_refitted_winner_on_test() -> None:
    data = tw.load(blobs())
    run = tw.sweep(SPACE, data, trials=8, seed=1)
    assert len(run.trials) == 8
    assert run.statuses == {"completed": 8}
    assert run.best is run.trials[run.selection.best]
    assert run.best.validation_accuracy == max(trial.validation_accuracy for trial in run.trials)
    assert run.ranked()[0] is run.best
    assert all(len(values) == 5 for trial in run.trials for values in trial.history.values())

    # The test score is that of the model that is returned, on the held examples, by hand.
    parts = split_dataset(data, seed=1)
    assert sum(run.data.examples.values()) == 240
    assert 46 <= run.data.examples["test"] <= 50
    joined = np.concatenate([parts.train.features, parts.validation.features])
    prepared = fit_preprocessing(joined, "standardize")
    scores = prepared.transform(parts.test.features) @ run.model.params["weight"].T + run.model.params["bias"]
    correct = int(np.sum(scores.argmax(axis=1) == parts.test.labels))
    assert run.refitted
    assert run.test.correct == correct
    assert run.test.interval == wilson(correct, len(parts.test.labels))


def test_preprocessing_is_fitted_on_training_examples_only() -> None:
    data = tw.load(blobs())
    parts = split_dataset(data, seed=0)
    spoilt = dataclasses.replace(
        parts,
        validation=dataclasses.replace(parts.validation, features=parts.validation.features * 100),
        test=dataclasses.replace(parts.test, features=parts.test.features - 1000),
    )
    run = tw.sweep(SPACE, spoilt, trials=2, refit=False)
    np.testing.assert_allclose(run.model.preprocessing.shift, parts.train.features.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.model.preprocessing.scale, 1 / parts.train.features.std(axis=0), rtol=1e-5)


def test_the_test_split_changes_nothing_but_its_own_score() -> None:
    data = split_dataset(tw.load(blobs()), seed=0)
    labels = np.roll(data.test.labels, 1)
    other = dataclasses.replace(data, test=dataclasses.replace(data.test, labels=labels))
    first, second = (tw.sweep(SPACE, d, trials=4) for d in (data, other))
    assert first.best.number == second.best.number
    assert first.model.params["weight"].tobytes() == second.model.params["weight"].tobytes()
    assert first.test.correct != second.test.correct


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second, other = (tw.sweep(SPACE, blobs(), trials=3, seed=seed) for seed in (4, 4, 5))
    for one, two in zip(first.trials, second.trials, strict=True):
        assert one.history["data_loss"].tobytes() == two.history["data_loss"].tobytes()
    assert first.model.params["weight"].tobytes() == second.model.params["weight"].tobytes()
    assert first.trials[0].history["data_loss"].tobytes() != other.trials[0].history["data_loss"].tobytes()


def test_seeds_are_repeats_of_each_recipe_and_rank_as_groups() -> None:
    run = tw.sweep(SPACE, blobs(), trials=3, seeds=4)
    assert len(run.trials) == 12
    assert len(run.selection.groups) == 3
    group = run.selection.group
    assert len(group.trials) == 4
    assert group.mean == max(g.mean for g in run.selection.groups)
    assert run.best.number in group.trials
    assert {trial.recipe.seed for trial in run.trials} == {0, 1, 2, 3}


def test_a_recipe_file_and_the_default_space_serve(tmp_path: Any) -> None:
    tw.save_recipe(SPACE, tmp_path / "space.toml")
    first = tw.sweep(tmp_path / "space.toml", blobs(), trials=2)
    second = tw.sweep(SPACE, blobs(), trials=2)
    assert first.model.params["weight"].tobytes() == second.model.params["weight"].tobytes()
    default = tw.sweep(None, blobs(), trials=2)
    assert default.space == tw.default_space(default.data.examples["train"], 5)


def test_fit_trains_one_recipe_and_refuses_a_space() -> None:
    run = tw.fit(tw.Recipe(optimizer=tw.optimizers.SGD(0.1), epochs=3), blobs(), refit=False)
    assert len(run.trials) == 1
    assert run.test is not None
    with pytest.raises(tw.UsageError, match=r"penalty\.strength, optimizer\.learning_rate\.peak open.*sweep"):
        tw.fit(SPACE, blobs())


def test_an_edge_is_flagged() -> None:
    space = dataclasses.replace(SPACE, optimizer=tw.optimizers.SGD(tw.log_uniform(1e-6, 1e-4)))
    run = tw.sweep(space, blobs(), trials=8, search="grid", points=4)
    assert [edge.side for edge in run.edges if edge.name == "optimizer.learning_rate.value"] == ["high"]
    assert "wider range" in run.edges[-1].sentence()


def test_patience_and_refit_train_for_the_winners_epochs() -> None:
    space = tw.Recipe(optimizer=tw.optimizers.SGD(1.5), batch_size=8, epochs=60)
    run = tw.sweep(space, blobs(), trials=1, patience=2)
    assert run.statuses == {"stopped early": 1}
    assert run.refitted
    assert run.best.kept_epoch < 58


def test_every_trial_diverged_is_an_error_of_its_own() -> None:
    space = tw.Recipe(optimizer=tw.optimizers.SGD(tw.log_uniform(1e30, 1e35)), penalty=tw.penalties.L2(1.0), epochs=5)
    with pytest.raises(tw.DivergedError, match=r"all 4 trials diverged.*learning rates") as caught:
        tw.sweep(space, blobs(), trials=4)
    assert caught.value.exit_code == 4


def test_a_pruned_trial_never_wins() -> None:
    """The leader at the rung diverges after it: what was dropped for it does not come back."""
    rise = tw.schedules.Step(0.05, at=(3,), factor=1e36)
    slow = tw.optimizers.SGD(1e-9)
    space = tw.Recipe(
        penalty=tw.penalties.L2(0.1), optimizer=tw.choice(tw.optimizers.SGD(rise), slow), batch_size=16, epochs=5
    )
    with pytest.raises(tw.DivergedError, match="1 trials diverged and 1 were pruned"):
        tw.sweep(space, blobs(), trials=2, halving=tw.Halving(2.0, 1))


def test_images_of_another_type_are_refused() -> None:
    x, y = blobs()
    images = np.clip(40 * x + 128, 0, 255).astype(np.uint8)
    model = tw.sweep(SPACE, (images, y), trials=2).model
    assert model.feature_dtype == "uint8"
    model.predict(images)
    with pytest.raises(tw.DataError, match="uint8"):
        model.predict(images / np.float32(255))


def test_a_refit_that_diverges_keeps_the_first_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg import sweeps
    from thalweg.training.status import Status

    original = sweeps.train

    def train(recipes: Any, *arguments: Any, **options: Any) -> Any:
        outcome = original(recipes, *arguments, **options)
        if len(recipes) == 1:
            outcome.records[0].status = Status.diverged(3, 1)
        return outcome

    monkeypatch.setattr(sweeps, "train", train)
    run = tw.sweep(SPACE, blobs(), trials=2)
    assert not run.refitted
    assert any("diverged" in message for message in run.messages)
    assert run.test is not None


def test_an_interrupted_sweep_raises_with_what_it_has_and_leaves_the_test_split_alone() -> None:
    def interrupt(snapshot: Any) -> None:
        if snapshot.work_done > 0.3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(tw.Interrupted) as caught:
        tw.sweep(SPACE, blobs(), trials=4, progress=interrupt)
    run = caught.value.run
    assert run.interrupted
    assert run.statuses == {"interrupted": 4}
    assert run.best is not None
    assert run.model is not None
    assert run.test is None


@pytest.mark.parametrize("moment", ["between training and refit", "in the refit"])
def test_ctrl_c_after_training_still_hands_over_the_run(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg import sweeps

    if moment == "in the refit":
        original = sweeps.examples_of  # called for training and validation, then for the refit's two

        calls = []

        def examples(*arguments: Any) -> Any:
            calls.append(None)
            if len(calls) == 4:
                os.kill(os.getpid(), signal.SIGINT)
            return original(*arguments)

        monkeypatch.setattr(sweeps, "examples_of", examples)
    else:
        chosen = sweeps.select

        def select(*arguments: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return chosen(*arguments)

        monkeypatch.setattr(sweeps, "select", select)
    with pytest.raises(tw.Interrupted) as caught:
        tw.sweep(SPACE, blobs(), trials=2)
    run = caught.value.run
    assert run.statuses == {"completed": 2}
    assert run.model is not None
    assert run.test is None


def test_a_refit_that_does_not_fit_into_memory_keeps_the_first_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg import sweeps

    original = sweeps.train

    def train(recipes: Any, *arguments: Any, **options: Any) -> Any:
        if len(recipes) == 1:
            raise tw.UsageError("one trial needs more than there is")
        return original(recipes, *arguments, **options)

    monkeypatch.setattr(sweeps, "train", train)
    run = tw.sweep(SPACE, blobs(), trials=2)
    assert not run.refitted
    assert "needs more than there is" in run.messages[-1]
    assert run.test is not None


def test_an_error_after_training_carries_the_run() -> None:
    space = tw.Recipe(optimizer=tw.optimizers.SGD(1e30), penalty=tw.penalties.L2(1.0), epochs=5)
    with pytest.raises(tw.DivergedError) as caught:
        tw.fit(space, blobs())
    assert caught.value.run.statuses == {"diverged": 1}
    assert caught.value.run.model is None


def test_one_standard_error_takes_a_more_regularised_trial() -> None:
    best = tw.sweep(SPACE, blobs(120), trials=16)
    simple = tw.sweep(SPACE, blobs(120), trials=16, selection="one-standard-error")

    def norm(run: Any) -> float:
        return run.best.history["weight_norm"][-1]

    assert norm(simple) < norm(best)
    n = simple.data.examples["validation"]
    p = best.best.validation_accuracy
    assert simple.best.validation_accuracy >= p - np.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"trials": 0}, "trials"),
        ({"trials": 2.0}, "trials"),
        ({"seed": -1}, "seed"),
        ({"seeds": 0}, "seeds"),
        ({"search": "sobel"}, "did you mean 'sobol'"),
        ({"search": "grid"}, "points"),
        ({"points": 3}, "grid"),
        ({"selection": "worst"}, "selection"),
        ({"patience": 0}, "patience"),
        ({"preprocessing": "whiten"}, "preprocessing"),
        ({"validation": 1.5}, "validation"),
        ({"test": 1}, "test"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], match: str) -> None:
    with pytest.raises(tw.UsageError, match=match):
        tw.sweep(SPACE, blobs(), **options)


def test_wrong_data_is_named() -> None:
    x, y = blobs()
    with pytest.raises(tw.DataError, match="class"):
        tw.sweep(SPACE, (x, np.zeros(len(x), int)))
    rare = y.copy()
    rare[0] = 3
    with pytest.raises(tw.DataError, match="'3' has 1 example"):
        tw.sweep(SPACE, (x, rare))
    broken = x.copy()
    broken[7, 2] = np.nan
    with pytest.raises(tw.DataError, match="7"):
        tw.sweep(SPACE, (broken, y))


def test_raw_features_are_left_as_they_are() -> None:
    run = tw.sweep(SPACE, blobs(), trials=2, preprocessing=None)
    x = blobs()[0]
    scores = x @ run.model.params["weight"].T + run.model.params["bias"]
    np.testing.assert_allclose(run.model.scores(x), scores, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_default_sweep_of_digits_reaches_95_percent() -> None:
    run = tw.sweep(None, "digits")
    assert run.test.accuracy >= 0.95
    low, high = run.test.interval
    assert low < run.test.accuracy < high


@pytest.mark.slow
@pytest.mark.cifar10
def test_a_short_sweep_of_the_real_images(cifar10_path: Any) -> None:
    """Three epochs instead of fifteen, to save time: far above what one class in ten gives."""
    space = dataclasses.replace(tw.default_space(45_000, 3072), epochs=3)
    run = tw.sweep(space, cifar10_path, trials=4, refit=False)
    assert run.data.examples == {"train": 45_000, "validation": 5_000, "test": 10_000}
    assert run.test.accuracy > 0.36

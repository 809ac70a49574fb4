"""Gradient noise: single examples' gradients against closed forms, the estimates against known moments."""

from __future__ import annotations

import dataclasses
import importlib
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

import thalweg as tw
from thalweg.data import Preprocessing, Split
from thalweg.diagnostics.gradient_sums import GroupSums, Point, batch_squares, group_sums, penalty_slope
from thalweg.diagnostics.noise import NoiseRecord, estimate_noise, gradient_noise
from thalweg.diagnostics.noise_history import noise_history
from thalweg.diagnostics.objective import flat
from thalweg.plot.noise_figure import noise
from thalweg.training.train import examples_of

CLASSES, FEATURES, EXAMPLES = 3, 4, 40
PLAIN = Preprocessing("none", np.float32(0), np.float32(1))


def split_of(seed: int = 0, weights: np.ndarray | None = None) -> Split:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
    return Split(x, (np.arange(EXAMPLES) % CLASSES).astype(np.int32), weights=weights)


def fitted(recipe: tw.Recipe, seed: int = 1) -> tw.FittedModel:
    params, state = recipe.model.init(jax.random.key(seed), (FEATURES,), CLASSES)
    params = jax.tree.map(np.asarray, params)
    return tw.FittedModel(recipe, params, state, PLAIN, ("a", "b", "c"), (FEATURES,))


def point_of(model: tw.FittedModel, split: Split) -> Point:
    return Point(model.recipe, model.params, model.model_state, examples_of(split, model.preprocessing))


def softmax_gradients(model: tw.FittedModel, split: Split) -> np.ndarray:
    """(N, parameters) float64 by the textbook's formula, bias first as trees are ordered."""
    x, w, b = (np.asarray(a, np.float64) for a in (split.features, model.params["weight"], model.params["bias"]))
    scores = x @ w.T + b[None]
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    delta = p / p.sum(axis=1, keepdims=True) - np.eye(CLASSES)[split.labels]
    rows = [np.concatenate([d, np.outer(d, one).ravel()]) for d, one in zip(delta, x, strict=True)]
    return np.stack(rows)


LINEAR = tw.Recipe(model=tw.models.Linear(scale=1.0), batch_size=8)
DENSE = tw.Recipe(model=tw.models.Dense(hidden=5, dropout=0.5), batch_size=8)


def test_linear_sums_are_those_of_the_closed_form() -> None:
    model, split = fitted(LINEAR), split_of()
    gradients = softmax_gradients(model, split)
    groups = [np.arange(13), np.arange(13, 40)]
    found = group_sums(point_of(model, split), groups)
    expected = np.stack([gradients[rows].sum(axis=0) for rows in groups])
    np.testing.assert_allclose(found.sums, expected, rtol=1e-5, atol=1e-5)  # float32 products of numbers about 1
    np.testing.assert_allclose(found.squares, [np.square(gradients[rows]).sum() for rows in groups], rtol=1e-5)
    assert found.counts.tolist() == [13, 27]


@pytest.mark.parametrize("loss", [tw.losses.Softmax(), tw.losses.Hinge()])
@pytest.mark.parametrize("model", [LINEAR.model, tw.models.Linear(scale=1.0, bias=False), DENSE.model])
def test_sums_agree_with_a_loop_over_single_examples(model: Any, loss: Any) -> None:
    """Weighted examples, dropout off; the linear shortcut beside plain differentiation."""
    weights = np.linspace(0, 2, EXAMPLES)
    one, split = fitted(dataclasses.replace(LINEAR, model=model, loss=loss)), split_of(2, weights)
    found = group_sums(point_of(one, split), [np.arange(EXAMPLES)])

    @jax.jit
    def gradient(x: jax.Array, label: jax.Array, weight: jax.Array) -> Any:
        def value(params: Any) -> jax.Array:
            scores, _ = model.apply(params, one.model_state, x, key=None, training=False)
            return weight * loss(scores, label)[0]

        return jax.grad(value)(one.params)

    scaled = (weights / weights.mean()).astype(np.float32)
    assert split.labels is not None
    rows = [
        flat(gradient(split.features[i : i + 1], jnp.asarray(split.labels[i : i + 1]), scaled[i]))
        for i in range(EXAMPLES)
    ]
    np.testing.assert_allclose(found.sums[0], np.sum(rows, axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.squares[0], np.square(rows).sum(), rtol=1e-5)


def sums_of(gradients: np.ndarray, groups: int = 20) -> GroupSums:
    parts = np.array_split(gradients, groups)
    return GroupSums(
        np.stack([part.sum(axis=0) for part in parts]),
        np.array([np.square(part).sum() for part in parts]),
        np.array([len(part) for part in parts]),
    )


@given(st.integers(0, 2**32 - 1), st.integers(4, 60), st.integers(1, 6))
def test_the_estimates_are_those_of_all_pairs(seed: int, count: int, size: int) -> None:
    """|G|² is the mean of g_i·g_j over i ≠ j, and tr Σ the trace of NumPy's covariance."""
    gradients = np.random.default_rng(seed).normal(0.5, 1, size=(count, size))
    slope = np.random.default_rng(seed + 1).normal(size=size)
    found = estimate_noise(sums_of(gradients, 2), slope)
    pairs = gradients @ gradients.T
    mean = (pairs.sum() - np.trace(pairs)) / (count * (count - 1))
    # float64 sums of at most 60 × 60 numbers of size 10
    expected = mean + 2 * gradients.mean(axis=0) @ slope + slope @ slope
    assert found.gradient_square == pytest.approx(expected, rel=1e-10, abs=1e-10)
    assert found.noise == pytest.approx(np.atleast_2d(np.cov(gradients.T)).trace(), rel=1e-10)


def test_unbiased_and_covered_where_the_moments_are_known() -> None:
    """Over 300 samples with known |G|² and tr Σ: the means fit, and the intervals hold the ratio as often as said."""
    generator = np.random.default_rng(0)
    gradient, root = np.full(30, 0.1), generator.normal(size=(30, 30)) / 5
    square, trace = gradient @ gradient, np.trace(root @ root.T)
    found = [estimate_noise(sums_of(gradient + generator.normal(size=(400, 30)) @ root.T)) for _ in range(300)]
    for values, truth in (([f.gradient_square for f in found], square), ([f.noise for f in found], trace)):
        assert abs(np.mean(values) - truth) < 4 * np.std(values) / math.sqrt(300)
    inside = sum(low <= trace / square <= high for low, high in (f.interval for f in found))
    assert 0.92 <= inside / 300 <= 1  # 95 %, less 2.4 standard deviations; the jackknife errs on the wide side
    spread = np.std([f.gradient_square for f in found])
    assert np.mean([f.gradient_square_error for f in found]) == pytest.approx(spread, rel=0.25)


def test_gradients_without_a_mean_have_no_upper_limit() -> None:
    generator = np.random.default_rng(3)
    found = estimate_noise(sums_of(generator.normal(size=(400, 30))))
    assert found.interval[1] == math.inf
    opposite = generator.normal(size=(200, 30))
    # Summing to 0 in every group, as at the optimum of these very examples.
    found = estimate_noise(sums_of(np.stack([opposite, -opposite], axis=1).reshape(400, 30)))
    assert found.gradient_square < 0
    assert found.scale == math.inf
    assert found.interval == (0, math.inf)


def test_weights_fitted_to_the_examples_leave_nothing_to_tell() -> None:
    """y = x·w + noise at the least squares fit: ḡ is 0 whatever |G|² of fresh examples is, so no interval may say."""
    generator, features = np.random.default_rng(4), 5
    covered = 0
    for _ in range(60):
        x = generator.normal(size=(100, features))
        y = generator.normal(size=100)  # the true weights are 0
        w = np.linalg.lstsq(x, y, rcond=None)[0]
        found = estimate_noise(sums_of(x * (x @ w - y)[:, None]))
        assert found.interval == (0, math.inf)
        # Over fresh x: G = w and E‖g‖² = E (x·w − y)²‖x‖² = (p + 2)|w|² + p.
        square = w @ w
        covered += found.interval[0] <= ((features + 2) * square + features - square) / square <= found.interval[1]
    assert covered == 60
    model, split = fitted(LINEAR), split_of()
    twice = Split(np.repeat(split.features[:1], 20, axis=0), (np.arange(20) % 2).astype(np.int32))
    middle = {"weight": np.zeros((CLASSES, FEATURES), np.float32), "bias": np.array([0, 0, -50], np.float32)}
    words = str(gradient_noise(dataclasses.replace(model, params=middle), twice, batch_sizes=()))
    assert "cannot be told" in words
    assert "held-out" in words


def test_gradients_that_are_all_alike_have_no_noise() -> None:
    split = split_of()
    one = Split(np.repeat(split.features[:1], 20, axis=0), np.zeros(20, np.int32))
    found = gradient_noise(fitted(LINEAR), one, batch_sizes=())
    assert (found.estimate.noise, found.scale) == (0, 0)
    assert 0 < found.estimate.floor < 1e-4 * found.estimate.gradient_square
    assert found.interval == (0, found.estimate.floor / found.estimate.gradient_square)
    assert "gradient noise 0 to rounding" in str(found)
    assert found.step_efficiency(1) == 1
    # Beyond rounding it is told: one example a little off.
    one.features[0, 0] += 0.1
    assert gradient_noise(fitted(LINEAR), one, batch_sizes=()).scale > 0


@pytest.mark.parametrize("recipe", [LINEAR, dataclasses.replace(LINEAR, penalty=tw.penalties.L2(0.1)), DENSE])
def test_drawn_minibatches_see_what_is_predicted(recipe: tw.Recipe) -> None:
    model, split = fitted(recipe), split_of()
    record = gradient_noise(model, split, batch_sizes=(2, 8, EXAMPLES, 64), draws=400)
    assert record.batches.tolist() == [2, 8, EXAMPLES]
    assert record.messages == ("batches of 64 were not drawn from 40 examples",)
    predicted = record.predicted(record.batches)
    # The mean over draws has this predicted value exactly; the last batch is all examples, so it is no draw at all.
    assert (np.abs(record.squares - predicted)[:2] < 4 * record.errors[:2]).all()
    assert record.squares[2] == pytest.approx(predicted[2], rel=1e-5)
    # The two-point estimate from batches of two sizes (McCandlish et al., appendix A.1).
    small, large = record.squares[[0, 2]]
    noise_scale = (small - large) / (1 / 2 - 1 / EXAMPLES)
    assert noise_scale == pytest.approx(record.estimate.noise, abs=4 * record.errors[0] / (1 / 2 - 1 / EXAMPLES))


def test_a_batch_is_the_mean_of_its_examples_and_the_penalty() -> None:
    model = fitted(dataclasses.replace(LINEAR, penalty=tw.penalties.L2(0.3)))
    split = split_of()
    point = point_of(model, split)
    slope = np.concatenate([np.zeros(CLASSES), 0.6 * model.params["weight"].ravel()])
    np.testing.assert_allclose(flat(penalty_slope(point)), slope, rtol=1e-6)
    mean = softmax_gradients(model, split)[[3, 5]].mean(axis=0) + slope
    found = batch_squares(point, np.array([[3, 5, 7]]), np.array([[0.5, 0.5, 0.0]]))
    assert found[0] == pytest.approx(mean @ mean, rel=1e-5)  # float32
    # Training takes a proximal step for L1: no gradient.
    assert not flat(
        penalty_slope(point._replace(recipe=dataclasses.replace(LINEAR, penalty=tw.penalties.L1(1.0))))
    ).any()


def test_efficiencies_and_words() -> None:
    record = gradient_noise(fitted(LINEAR), split_of(), batch_sizes=())
    scale = record.scale
    assert record.step_efficiency(scale) == pytest.approx(0.5)
    assert record.example_efficiency(scale) == pytest.approx(0.5)
    assert record.step_efficiency(3.0) + record.example_efficiency(3.0) == pytest.approx(1)
    assert f"gradient noise scale {scale:,.3g} (95 % interval" in str(record)
    assert record.batch_size == 8
    lost = dataclasses.replace(
        record, estimate=dataclasses.replace(record.estimate, scale=math.inf, interval=(5.0, math.inf))
    )
    assert "cannot be told" in str(lost)
    assert lost.step_efficiency(8) == 0
    assert lost.example_efficiency(8) == 1
    open_end = dataclasses.replace(record, estimate=dataclasses.replace(record.estimate, interval=(5.0, math.inf)))
    assert "not known" in str(open_end)
    assert "far above" in str(record)
    assert "far above" not in str(open_end)


def test_the_history_ends_where_the_training_does() -> None:
    x, y = split_of().features, split_of().labels
    recipe = dataclasses.replace(LINEAR, optimizer=tw.optimizers.SGD(0.1), epochs=3)
    history = noise_history(recipe, (x, y), batch_sizes=(2,), draws=4)
    assert history.epochs == (0, 1, 2, 3)
    run = tw.fit(recipe, (x, y))
    assert run.model is not None
    data = tw.data.splits.split_dataset(tw.load((x, y)))
    at_end = gradient_noise(run.model, data.train, batch_sizes=())
    if not run.refitted:
        assert gradient_noise(run, (x, y), batch_sizes=()).estimate == at_end.estimate
        assert gradient_noise(run.model, (x, y), batch_sizes=()).estimate == at_end.estimate
    # The groups of the jackknife are other ones; the estimates are of the same numbers.
    assert history.records[-1].estimate.noise == pytest.approx(at_end.estimate.noise, rel=1e-6)
    assert history.scales.shape == (4,)
    assert history.intervals.shape == (4, 2)
    assert str(history).count("\n") == 3
    for dark in (False, True):
        for record in (history, history.records[0]):
            FigureCanvasAgg(noise(record, dark=dark)).draw()


def test_interruption_and_divergence_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (split_of().features, split_of().labels)
    recipe = dataclasses.replace(LINEAR, optimizer=tw.optimizers.SGD(0.1), epochs=3)
    module = importlib.import_module("thalweg.diagnostics.noise_history")
    train = module.train

    def interrupted(recipes: Any, inputs: Any, classes: int, settings: tw.training.Settings) -> Any:
        outcome = train(recipes, inputs, classes, settings)
        return dataclasses.replace(outcome, interrupted=settings.epochs == 2)

    monkeypatch.setattr(module, "train", interrupted)
    with pytest.raises(tw.Interrupted) as caught:
        noise_history(recipe, data)
    assert caught.value.run.epochs == (0, 1)
    assert len(caught.value.run.records) == 2
    with pytest.raises(tw.DivergedError, match="left the finite numbers"):
        noise_history(dataclasses.replace(recipe, optimizer=tw.optimizers.SGD(1e30)), data, epochs=(3,))


def test_features_stand_in_the_place_of_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(60, 8, 8, 1), dtype=np.uint8)
    labels = (np.arange(60) % CLASSES).astype(np.int32)
    hog = tw.features.HOG(cell=2)
    seen = hog.transform(images, {})
    weight = np.random.default_rng(1).normal(size=(CLASSES, seen.shape[1])).astype(np.float32)
    params, names = {"weight": weight, "bias": np.zeros(CLASSES, np.float32)}, ("a", "b", "c")
    recipe = dataclasses.replace(LINEAR, features=hog)
    model = tw.FittedModel(recipe, params, (), PLAIN, names, (8, 8, 1), feature_dtype="uint8")
    plain = tw.FittedModel(LINEAR, params, (), PLAIN, names, seen.shape[1:])
    found = gradient_noise(model, Split(images, labels), batch_sizes=(), examples=50)
    again = gradient_noise(plain, Split(seen, labels), batch_sizes=(), examples=50)
    assert found.estimate == again.estimate


def test_bad_input_is_named() -> None:
    model, split = fitted(LINEAR), split_of()
    few = Split(split.features[:7], split.labels[:7])  # type: ignore[index]
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: gradient_noise(model, few), tw.DataError, "7 examples are too few"),
        (lambda: gradient_noise(model, Split(split.features, None)), tw.DataError, "no labels"),
        (lambda: gradient_noise("x", split), tw.UsageError, "model is a str"),
        (lambda: gradient_noise(model, split, draws=1), tw.UsageError, "draws is 1"),
        (lambda: gradient_noise(model, split, examples=3), tw.UsageError, "examples is 3"),
        (lambda: gradient_noise(model, split, batch_sizes=(0,)), tw.UsageError, "batch_sizes is 0"),
        (lambda: noise_history(LINEAR, split, epochs=(21,)), tw.UsageError, "epochs holds 21"),
        (lambda: noise_history(LINEAR, split, epochs=()), tw.UsageError, "epochs is empty"),
        (lambda: noise_history("x", split), tw.UsageError, "recipe is 'x'"),  # type: ignore[arg-type]
        (lambda: noise(3), tw.UsageError, "record is a int"),  # type: ignore[arg-type]
    ]
    for call, kind, text in cases:
        with pytest.raises(kind, match=text):
            call()
    wild = dataclasses.replace(model, params={**model.params, "weight": np.full((CLASSES, FEATURES), 3e38, np.float32)})
    with pytest.raises(tw.DataError, match=r"NaN|not finite"):
        gradient_noise(wild, split)


def test_more_examples_than_asked_for_are_not_used() -> None:
    record = gradient_noise(fitted(LINEAR), split_of(), examples=20, batch_sizes=())
    assert isinstance(record, NoiseRecord)
    assert record.examples == 20
    assert record.parameters == CLASSES * (FEATURES + 1)

"""The compiled program against plain loops, and each trial against itself trained alone."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax

from thalweg.augmentation import FlipCrop
from thalweg.averaging import ExponentialAverage
from thalweg.errors import UsageError
from thalweg.losses import Hinge, Softmax
from thalweg.models import Dense, Linear
from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, Optax, RandomSearch, RMSProp, ScheduleFreeSGD
from thalweg.penalties import L1, L2, ElasticNet, NoPenalty, penalty_residual
from thalweg.recipe import Recipe, bind
from thalweg.schedules import Constant, Cosine, CosineRestarts, InverseSqrt, Step, Warmup
from thalweg.schedules import Linear as LinearDecay
from thalweg.training import Settings, cohort_run, program, train
from thalweg.training.batches import epoch_batches
from thalweg.training.cohort import group

# Weights after a few dozen float32 steps on numbers of order one: rounding (6e-8 a step) may
# differ between products of different width, and grows along the way.
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def assert_same_records(first: Any, second: Any) -> None:
    np.testing.assert_allclose(first.params["weight"], second.params["weight"], **CLOSE)
    np.testing.assert_allclose(first.params["bias"], second.params["bias"], **CLOSE)
    assert first.status == second.status
    for name, values in first.history.items():
        np.testing.assert_allclose(values, second.history[name], rtol=1e-4, atol=1e-5, err_msg=name)


def numpy_sgd(problem: Any, recipe: Recipe, rate: float, strength: float) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Softmax with L2, plain SGD, in float64, from weights 0."""
    x, y = problem.x.astype(np.float64), problem.y
    w, b, losses = np.zeros((3, x.shape[1])), np.zeros(3), []
    for epoch in range(recipe.epochs):
        batches = epoch_batches(len(x), recipe.batch_size, seed=recipe.seed, epoch=epoch)
        total = 0.0
        for rows, weight in zip(batches.rows, batches.weight, strict=True):
            rows = rows[weight > 0]
            log_p = log_softmax(x[rows] @ w.T + b, axis=1)
            total -= log_p[np.arange(len(rows)), y[rows]].sum()
            g = (np.exp(log_p) - np.eye(3)[y[rows]]) / len(rows)
            w, b = w - rate * (g.T @ x[rows] + 2 * strength * w), b - rate * g.sum(axis=0)
        losses.append(total / len(x))
    return w, b, losses


def test_softmax_sgd_equals_a_numpy_loop(problem: Any) -> None:
    recipe = Recipe(model=Linear(scale=0.0), penalty=L2(0.01), optimizer=SGD(0.1), batch_size=32, epochs=4, seed=5)
    (record,) = problem.train([recipe]).records
    w, b, losses = numpy_sgd(problem, recipe, 0.1, 0.01)
    np.testing.assert_allclose(record.params["weight"], w, **CLOSE)
    np.testing.assert_allclose(record.params["bias"], b, **CLOSE)
    np.testing.assert_allclose(record.history["data_loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(record.history["penalty"][-1], 0.01 * np.sum(w**2), rtol=1e-5)
    np.testing.assert_allclose(record.history["weight_norm"][-1], np.linalg.norm(w), rtol=1e-5)
    log_p = log_softmax(problem.x_held @ w.T + b, axis=1)
    held = -log_p[np.arange(len(log_p)), problem.y_held]
    np.testing.assert_allclose(record.history["validation_loss"][-1], held.mean(), rtol=1e-5)
    assert record.history["validation_accuracy"][-1] == np.mean(log_p.argmax(axis=1) == problem.y_held)
    np.testing.assert_array_equal(record.correct, log_p.argmax(axis=1) == problem.y_held)


def test_last_steps_norms_equal_their_definitions(problem: Any) -> None:
    """With one full batch an epoch, the norms can be formed from two runs' weights."""
    recipe = Recipe(model=Linear(scale=0.0), penalty=L2(0.05), optimizer=SGD(0.1), batch_size="full", epochs=3)
    (two,) = problem.train([dataclasses.replace(recipe, epochs=2)]).records
    (three,) = problem.train([recipe]).records
    moved = np.linalg.norm(three.params["weight"] - two.params["weight"])
    ratio = moved / np.linalg.norm(two.params["weight"])
    np.testing.assert_allclose(three.history["update_ratio"][-1], ratio, rtol=1e-4)
    step = [three.params[name] - two.params[name] for name in ("weight", "bias")]
    gradient = np.sqrt(sum(np.sum(s.astype(np.float64) ** 2) for s in step)) / 0.1
    np.testing.assert_allclose(three.history["gradient_norm"][-1], gradient, rtol=1e-4)


def test_an_optax_transformation_trains_as_it_would_alone(problem: Any) -> None:
    transformation = optax.chain(optax.clip_by_global_norm(0.3), optax.adam(0.03))
    recipe = Recipe(model=Linear(scale=0.0), optimizer=transformation, batch_size=25, epochs=3)
    (record,) = problem.train([recipe]).records

    params = {"weight": jnp.zeros((3, 6)), "bias": jnp.zeros(3)}
    state = transformation.init(params)

    def loss(params: Any, x: Any, y: Any) -> Any:
        return jnp.mean(Softmax()(x @ params["weight"].T + params["bias"][None], y))

    for epoch in range(3):
        batches = epoch_batches(len(problem.x), 25, seed=0, epoch=epoch)
        for rows, weight in zip(batches.rows, batches.weight, strict=True):
            rows = rows[weight > 0]
            updates, state = transformation.update(jax.grad(loss)(params, problem.x[rows], problem.y[rows]), state)
            params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(record.params["weight"], params["weight"], **CLOSE)


def test_sixteen_trials_of_one_cohort_equal_sixteen_alone_over_hundreds_of_steps(problem: Any) -> None:
    """Rates stay where the optimizer is stable: there rounding is not amplified, as it is at very high ones."""
    recipes = [
        Recipe(penalty=L2(strength), optimizer=Adam(Cosine(rate)), batch_size=16, epochs=60)
        for strength in (1e-4, 1e-3, 1e-2, 1e-1)
        for rate in (1e-3, 3e-3, 1e-2, 3e-2)
    ]
    together = problem.train(recipes)
    assert len(together.cohorts) == 1
    for recipe, record in zip(recipes, together.records, strict=True):
        alone = problem.train([recipe]).records[0]
        assert record.epochs * -(-110 // 16) == 420
        np.testing.assert_allclose(record.params["weight"], alone.params["weight"], rtol=1e-4, atol=1e-5)
        assert record.last("validation_accuracy") == alone.last("validation_accuracy")


SIXTEEN = [
    Recipe(loss=loss, penalty=penalty, optimizer=AdamW(rate, weight_decay=0.01), batch_size=32, epochs=3)
    for loss in (Softmax(), Hinge())
    for penalty in (L2(1e-3), L1(1e-3))
    for rate in (Constant(0.01), Cosine(0.03), Warmup(4, InverseSqrt(0.05)), Step(0.1, at=(1, 2)))
]


def test_sixteen_trials_together_equal_sixteen_alone(problem: Any) -> None:
    together = problem.train(SIXTEEN)
    assert [len(members) for members in together.cohorts] == [4, 4, 4, 4]
    for recipe, record in zip(SIXTEEN, together.records, strict=True):
        assert_same_records(record, problem.train([recipe]).records[0])


PAIRS: dict[str, tuple[Any, Any]] = {
    "sgd rate": (SGD(0.1), SGD(0.01)),
    "momentum": (SGD(0.03, momentum=0.9), SGD(0.03, momentum=0.5)),
    "nesterov momentum": (SGD(0.03, momentum=0.9, nesterov=True), SGD(0.03, momentum=0.5, nesterov=True)),
    "adagrad epsilon": (AdaGrad(0.1, epsilon=1e-7), AdaGrad(0.1, epsilon=1.0)),
    "adagrad accumulator": (AdaGrad(0.1, initial_accumulator=0.0), AdaGrad(0.1, initial_accumulator=0.5)),
    "rmsprop decay": (RMSProp(0.01, decay=0.9), RMSProp(0.01, decay=0.99)),
    "rmsprop epsilon": (RMSProp(0.01, epsilon=1e-7), RMSProp(0.01, epsilon=0.1)),
    "beta1": (Adam(0.01, beta1=0.9), Adam(0.01, beta1=0.5)),
    "beta2": (Adam(0.01, beta2=0.999), Adam(0.01, beta2=0.9)),
    "adam epsilon": (Adam(0.01, epsilon=1e-8), Adam(0.01, epsilon=0.1)),
    "weight decay": (AdamW(0.01, weight_decay=0.0), AdamW(0.01, weight_decay=1.0)),
    "optax rate": (Optax(optax.adam, learning_rate=0.01), Optax(optax.adam, learning_rate=0.1)),
    "cosine peak": (SGD(Cosine(0.1)), SGD(Cosine(0.01))),
    "cosine length": (SGD(Cosine(0.1, length=5)), SGD(Cosine(0.1, length=10))),
    "cosine floor": (SGD(Cosine(0.1, length=5, floor=0.0)), SGD(Cosine(0.1, length=5, floor=0.05))),
    "linear length": (SGD(LinearDecay(0.1, length=5)), SGD(LinearDecay(0.1, length=9))),
    "warm-up": (SGD(Warmup(2, Constant(0.1))), SGD(Warmup(8, Constant(0.1)))),
    "step factor": (SGD(Step(0.1, at=(1,), factor=0.1)), SGD(Step(0.1, at=(1,), factor=0.5))),
    "step time": (SGD(Step(0.1, at=(1,))), SGD(Step(0.1, at=(2,)))),
    "inverse root": (SGD(InverseSqrt(0.1)), SGD(InverseSqrt(0.5))),
    "restart period": (SGD(CosineRestarts(0.1, 3)), SGD(CosineRestarts(0.1, 5))),
    "restart growth": (SGD(CosineRestarts(0.1, 2, growth=1.0)), SGD(CosineRestarts(0.1, 2, growth=2.0))),
    "schedule's kind": (SGD(Cosine(0.1)), SGD(InverseSqrt(0.1))),
}


@pytest.mark.parametrize("name", PAIRS)
def test_two_trials_that_differ_in_one_number_share_a_cohort_and_equal_their_solo_runs(name: str, problem: Any) -> None:
    recipes = [Recipe(penalty=L2(1e-3), optimizer=o, batch_size=40, epochs=3) for o in PAIRS[name]]
    outcome = problem.train(recipes)
    assert outcome.cohorts == [(0, 1)]
    assert not np.allclose(outcome.records[0].params["weight"], outcome.records[1].params["weight"], rtol=1e-3)
    for recipe, record in zip(recipes, outcome.records, strict=True):
        assert_same_records(record, problem.train([recipe]).records[0])


@pytest.mark.parametrize(
    "penalties",
    [(L2(1e-3), L2(0.1)), (L1(1e-3), L1(0.1)), (ElasticNet(0.01, 0.1), ElasticNet(0.01, 10.0))],
    ids=["l2 strength", "l1 strength", "elastic net beta"],
)
def test_penalties_differ_between_the_trials_of_a_cohort(penalties: Any, problem: Any) -> None:
    recipes = [Recipe(penalty=p, optimizer=SGD(0.1), batch_size=40, epochs=3) for p in penalties]
    outcome = problem.train(recipes)
    assert outcome.cohorts == [(0, 1)]
    for recipe, record in zip(recipes, outcome.records, strict=True):
        assert_same_records(record, problem.train([recipe]).records[0])


def test_a_diverging_trial_changes_no_bit_of_the_others(problem: Any) -> None:
    def recipes(rate: float) -> list[Recipe]:
        return [
            Recipe(penalty=L2(s), optimizer=SGD(r), batch_size=32, epochs=4)
            for s, r in ((1e-3, 0.1), (0.1, rate), (1e-2, 0.05))
        ]

    sound, broken = problem.train(recipes(0.1)), problem.train(recipes(1e30))
    for number in (0, 2):
        for leaf in ("weight", "bias"):
            first, second = (o.records[number].params[leaf] for o in (sound, broken))
            assert first.tobytes() == second.tobytes()
        assert sound.records[number].history == broken.records[number].history
    status = broken.records[1].status
    assert status.name == "diverged"
    # The first step makes the weights huge, the second's gradient of the penalty overflows them, the third sees it.
    assert 1 <= status.at <= 3
    assert "learning rate" in status.reason
    assert len(broken.records[1].history["data_loss"]) == 1


def test_no_bit_changes_at_the_size_of_images_where_packing_would_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of this size round differently at another width, so rows of diverged trials must stay."""
    monkeypatch.setattr(cohort_run, "_PACK_PAYS", 0.0)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(64, 3072)).astype(np.float32), generator.integers(0, 10, 64).astype(np.int32)
    examples = program.Examples(x, y, np.float32(0), np.float32(1))

    def trained(rate: float) -> list[Any]:
        rates = (1e-3, rate, 1e-2, rate, rate, rate)
        recipes = [Recipe(penalty=L2(1e-2), optimizer=AdamW(r), batch_size=32, epochs=4) for r in rates]
        return train(recipes, {None: program.Inputs(examples, examples)}, 10, Settings()).records

    sound, broken = trained(1e-3), trained(1e30)
    assert [record.status.name for record in broken].count("diverged") == 4
    for number in (0, 2):
        assert sound[number].params["weight"].tobytes() == broken[number].params["weight"].tobytes()


def test_a_rate_that_nobody_tells_is_not_a_number(problem: Any) -> None:
    (record,) = problem.train([Recipe(optimizer=optax.adam(0.01), batch_size=32, epochs=1)]).records
    assert np.isnan(record.history["learning_rate"]).all()


class Ridge(eqx.Module):
    """A penalty with no more than the design's protocol: it takes proximal steps."""

    strength: Any

    def value(self, weights: Any) -> Any:
        return self.strength * jnp.sum(weights**2)

    def prox(self, weights: Any, step: Any) -> Any:
        return weights / (1 + 2 * step * self.strength)


def test_a_penalty_of_ones_own_trains(problem: Any) -> None:
    own, ours = problem.train(
        [Recipe(penalty=p, optimizer=SGD(0.1), batch_size="full", epochs=500) for p in (Ridge(0.05), L2(0.05))],
        judged=False,
    ).records
    np.testing.assert_allclose(own.params["weight"], ours.params["weight"], atol=1e-4)  # both at the optimum


def test_a_trial_that_diverges_in_its_last_step_is_marked(problem: Any) -> None:
    recipe = Recipe(optimizer=SGD(3e38), penalty=L2(10.0), batch_size="full", epochs=1)
    (record,) = problem.train([dataclasses.replace(recipe, model=Linear(scale=1.0))]).records
    assert record.status.name == "diverged"
    assert record.status.at == 0


def test_nothing_recompiles_between_epochs_seeds_and_schedules(problem: Any, compiled: list[str]) -> None:
    def recipe(seed: int, rate: Any) -> Recipe:
        # A size that no other test uses, so that nothing of it is compiled yet.
        return Recipe(optimizer=Adam(rate), batch_size=17, epochs=5, seed=seed)

    problem.train([recipe(0, 0.01), recipe(0, 0.02)])
    assert compiled.count("train_block") == 1  # five epochs, one program
    compiled.clear()
    problem.train([recipe(1, Cosine(0.01)), recipe(1, InverseSqrt(0.3)), recipe(2, 0.1), recipe(2, 0.2)])
    assert not {"train_block", "evaluate"} & set(compiled)


def test_the_data_is_an_argument_of_the_program(problem: Any) -> None:
    """A captured array would stand in the program's text as a constant, and take seconds to compile."""
    (cohort,) = group([bind(Recipe(batch_size=32), 110)])
    state = program.initialise(cohort.recipe, jax.random.key(0), (6,), 3)
    one = np.float32(1)
    examples = program.Examples(problem.x, problem.y, one, one)
    block = program.Block(np.zeros((3, 32), np.int32), np.ones((3, 32), np.float32), np.ones((3, 1)), np.int32(0))
    text = program.train_block.lower(cohort.recipe, state, examples, block, jax.random.key(0)).as_text()
    constants = [line for line in text.splitlines() if "dense<" in line and "tensor<110" in line.split("dense<")[1]]
    assert constants == []
    assert "tensor<110x6xf32>" in text


def test_recipes_of_different_structure_fall_into_different_cohorts() -> None:
    base = Recipe(batch_size=32)
    others = [
        dataclasses.replace(base, **change)
        for change in (
            {"batch_size": 64}, {"epochs": 3}, {"seed": 1}, {"loss": Hinge()}, {"penalty": L1(1e-3)},
            {"optimizer": SGD(0.1)}, {"optimizer": SGD(0.1, momentum=0.9)}, {"model": Linear(bias=False)},
        )
    ]  # fmt: skip
    assert len(group([bind(r, 100) for r in (base, *others)])) == 1 + len(others)


def test_each_seed_draws_other_weights_and_another_order(problem: Any) -> None:
    outcome = problem.train([Recipe(optimizer=SGD(0.1), batch_size=32, epochs=1, seed=s) for s in (0, 0, 1)])
    first, again, other = (record.params["weight"] for record in outcome.records)
    assert first.tobytes() == again.tobytes()
    assert not np.allclose(first, other, rtol=1e-3)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.2),
        SGD(0.02, momentum=0.9),
        SGD(0.02, momentum=0.9, nesterov=True),
        AdaGrad(0.3),
        RMSProp(Cosine(0.02)),
        Adam(Cosine(0.05)),
        AdamW(Cosine(0.05), weight_decay=0.0),
    ],
    ids=lambda o: f"{o.name}-{getattr(o, 'nesterov', '')}",
)
@pytest.mark.parametrize("penalty", [L1(0.05), ElasticNet(0.03, 0.5)], ids=lambda p: p.kind)
def test_proximal_steps_reach_the_optimum_of_the_stated_objective(optimizer: Any, penalty: Any, problem: Any) -> None:
    """Full batch, so the fixed point is exact: −gradient lies in the subdifferential, with real zeros."""
    recipe = Recipe(penalty=penalty, optimizer=optimizer, batch_size="full", epochs=800)
    (record,) = problem.train([recipe], judged=False).records
    weight, bias = (jnp.asarray(record.params[name]) for name in ("weight", "bias"))

    def loss(params: Any) -> Any:
        return jnp.mean(Softmax()(problem.x @ params["weight"].T + params["bias"][None], problem.y))

    gradient = jax.grad(loss)({"weight": weight, "bias": bias})
    assert penalty_residual(penalty, record.params, gradient) < 2e-3
    zeros = int(np.count_nonzero(record.params["weight"] == 0))
    assert 3 <= zeros < 18  # exact zeros, and not the empty model


def test_a_proximal_penalty_needs_an_optimizer_with_a_step(problem: Any) -> None:
    with pytest.raises(UsageError, match=r"step_size.*Optax\(factory.*L2"):
        problem.train([Recipe(penalty=L1(0.1), optimizer=optax.adam(0.1), epochs=1)])


class Centred(eqx.Module):
    """A model with state and randomness: centres by a running mean, drops inputs in training."""

    rate: Any = 0.5

    def init(self, key: Any, input_shape: Any, classes: int) -> Any:
        return {"weight": jnp.zeros((classes, *input_shape))}, jnp.zeros(input_shape)

    def apply(self, params: Any, state: Any, x: Any, *, key: Any, training: bool) -> Any:
        if training:
            state = 0.9 * state + 0.1 * x.mean(axis=0)
            x = jnp.where(jax.random.bernoulli(key, 1 - self.rate, x.shape), x, 0.0)
        return (x - state[None]) @ params["weight"].T, state


def test_any_model_trains_with_its_state_and_its_numbers_batched(problem: Any) -> None:
    recipes = [Recipe(model=Centred(rate), optimizer=SGD(0.1), batch_size=32, epochs=3) for rate in (0.0, 0.5)]
    outcome = problem.train(recipes)
    assert outcome.cohorts == [(0, 1)]
    plain, dropped = outcome.records
    assert not np.allclose(plain.params["weight"], dropped.params["weight"], rtol=1e-2)
    np.testing.assert_array_equal(plain.model_state, dropped.model_state)  # the mean sees no dropout
    mean = np.zeros(6)
    for epoch in range(3):
        for rows in epoch_batches(110, 32, seed=0, epoch=epoch).rows:
            mean = 0.9 * mean + 0.1 * problem.x[rows].mean(axis=0)
    np.testing.assert_allclose(plain.model_state, mean, rtol=1e-5)
    for recipe, record in zip(recipes, outcome.records, strict=True):
        alone = problem.train([recipe]).records[0]
        np.testing.assert_allclose(record.params["weight"], alone.params["weight"], **CLOSE)


def test_a_pair_of_functions_trains(problem: Any) -> None:
    def init(key: Any, input_shape: Any, classes: int) -> Any:
        return {"weight": jnp.zeros((*input_shape, classes))}, ()

    def apply(params: Any, state: Any, x: Any, *, key: Any, training: bool) -> Any:
        return x @ params["weight"], state

    pair = Recipe(model=(init, apply), optimizer=SGD(0.1), batch_size=32, epochs=2)
    linear = Recipe(model=Linear(scale=0.0, bias=False), optimizer=SGD(0.1), batch_size=32, epochs=2)
    first, second = problem.train([pair, linear]).records
    np.testing.assert_allclose(first.params["weight"].T, second.params["weight"], **CLOSE)


def test_no_penalty_is_strength_zero(problem: Any) -> None:
    first, second = problem.train(
        [Recipe(penalty=p, optimizer=SGD(0.1), batch_size=32, epochs=2) for p in (NoPenalty(), L2(0.0))]
    ).records
    np.testing.assert_array_equal(first.params["weight"], second.params["weight"])


def test_trials_in_turn_equal_trials_side_by_side(problem: Any) -> None:
    """A model may ask for its trials to take turns; what is drawn, masked and judged is the same."""

    class InTurn(Dense):
        one_by_one: ClassVar[bool] = True

    def recipes(model: Any) -> list[Recipe]:
        rates = (0.01, 0.1, 1e30)
        return [Recipe(model=model(5, dropout=0.3), optimizer=SGD(r), batch_size=32, epochs=3) for r in rates]

    beside, in_turn = problem.train(recipes(Dense)).records, problem.train(recipes(InTurn)).records
    for one, other in zip(beside, in_turn, strict=True):
        assert one.status.name == other.status.name
    for one, other in zip(beside[:2], in_turn[:2], strict=True):
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_clipped_gradient_is_no_longer_than_its_limit(problem: Any) -> None:
    """One step of gradient descent at rate 1 moves by the gradient itself, or by the limit where it is shorter."""

    def moved(clip: float | None) -> float:
        recipe = Recipe(model=Linear(scale=0.0), optimizer=SGD(1.0), batch_size="full", epochs=1, clip=clip)
        (record,) = problem.train([recipe]).records
        return float(np.sqrt(sum(np.sum(leaf**2) for leaf in record.params.values())))

    free = moved(None)
    np.testing.assert_allclose(moved(free / 3), free / 3, rtol=1e-5)
    np.testing.assert_allclose(moved(3 * free), free, rtol=1e-6)


def test_an_average_is_judged_and_kept_and_training_goes_on_from_the_weights(problem: Any) -> None:
    """m / (1 − dᵗ) over the steps, beside the same steps without an average."""
    decay, epochs = 0.9, 7
    recipe = Recipe(model=Linear(scale=0.0), optimizer=SGD(0.1), batch_size="full", epochs=epochs)
    plain = [problem.train([dataclasses.replace(recipe, epochs=n + 1)]).records[0].params for n in range(epochs)]
    shares = np.array([(1 - decay) * decay ** (epochs - 1 - n) for n in range(epochs)]) / (1 - decay**epochs)
    expected = sum(share * params["weight"] for share, params in zip(shares, plain, strict=True))
    averaged = dataclasses.replace(recipe, averaging=ExponentialAverage(decay))
    slower = dataclasses.replace(recipe, averaging=ExponentialAverage(0.0))
    first, second = problem.train([averaged, slower]).records
    np.testing.assert_allclose(first.params["weight"], expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(second.params["weight"], plain[-1]["weight"], rtol=1e-5)
    scores = problem.x_held @ first.params["weight"].T + first.params["bias"]
    assert first.history["validation_accuracy"][-1] == pytest.approx(np.mean(scores.argmax(1) == problem.y_held))


@pytest.mark.parametrize("part", [{"averaging": ExponentialAverage()}, {"clip": 1.0}], ids=str)
def test_random_search_takes_no_steps_to_average_or_clip(problem: Any, part: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"no use for {next(iter(part))}: leave it out"):
        problem.train([Recipe(optimizer=RandomSearch(10), **part)])


def test_trials_that_differ_in_dropout_and_clip_share_a_program(problem: Any, compiled: list[str]) -> None:
    def recipe(rate: float, clip: float) -> Recipe:
        return Recipe(model=Dense(7, dropout=rate), optimizer=SGD(0.1), batch_size=19, epochs=2, clip=clip)

    together = problem.train([recipe(0.0, 1.0), recipe(0.5, 0.1)]).records
    assert compiled.count("train_block") == 1
    for record, one in zip(together, (recipe(0.0, 1.0), recipe(0.5, 0.1)), strict=True):
        alone = problem.train([one]).records[0]
        np.testing.assert_allclose(
            record.params["output"]["weight"], alone.params["output"]["weight"], rtol=1e-4, atol=1e-6
        )


def test_augmented_batches_are_the_same_for_all_trials_and_images_alone_serve(problem: Any) -> None:
    with pytest.raises(UsageError, match="only images"):
        problem.train([Recipe(augmentation=FlipCrop(), epochs=1)])


def test_a_clip_holds_the_penaltys_gradient_too_and_the_norm_is_told_before_it(problem: Any) -> None:
    recipe = Recipe(model=Linear(scale=1.0), penalty=L2(3.0), optimizer=SGD(1.0), batch_size="full", epochs=1)
    clipped, free = problem.train([dataclasses.replace(recipe, clip=c) for c in (0.5, 1e6)]).records
    norms = [record.history["gradient_norm"][0] for record in (clipped, free)]
    assert norms[0] == norms[1] > 0.5
    start, _ = recipe.model.init(jax.random.fold_in(jax.random.key(0), 0), (6,), 3)
    moved = jax.tree.map(np.subtract, clipped.params, start)
    np.testing.assert_allclose(np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(moved))), 0.5, rtol=1e-5)


def test_a_clip_shortens_what_overflows_when_squared() -> None:
    (found,) = jax.tree.leaves(program._clipped([jnp.asarray([3e20, 4e20], jnp.float32)], jnp.asarray(1.0)))
    np.testing.assert_allclose(found, [0.6, 0.8], rtol=1e-6)


def test_what_a_schedule_free_optimizer_judges_is_kept(problem: Any) -> None:
    """Beside a loop by hand, on the full batch."""
    optimizer = ScheduleFreeSGD(0.3)
    recipe = Recipe(model=Linear(scale=0.0), optimizer=optimizer, batch_size="full", epochs=4)
    (record,) = problem.train([recipe]).records
    params = {"weight": jnp.zeros((3, 6)), "bias": jnp.zeros(3)}
    state = optimizer.init(params)

    def loss(params: Any) -> Any:
        return jnp.mean(Softmax()(problem.x @ params["weight"].T + params["bias"][None], jnp.asarray(problem.y)))

    for _ in range(4):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    expected = optimizer.judged(state, params)
    assert np.abs(expected["weight"] - params["weight"]).max() > 0.01
    np.testing.assert_allclose(record.params["weight"], expected["weight"], rtol=1e-4, atol=1e-6)
    with pytest.raises(UsageError, match="averages its weights itself"):
        problem.train([dataclasses.replace(recipe, averaging=ExponentialAverage())])


def test_patience_keeps_the_average_of_its_best_epoch(problem: Any) -> None:
    recipe = Recipe(optimizer=SGD(0.5), batch_size=16, epochs=40, averaging=ExponentialAverage(0.8))
    (record,) = problem.train([recipe], Settings(patience=2)).records
    assert 1 <= record.kept_epoch < record.epochs
    (again,) = problem.train([dataclasses.replace(recipe, epochs=record.kept_epoch)]).records
    np.testing.assert_allclose(record.params["weight"], again.params["weight"], rtol=1e-5)


def test_running_statistics_are_averaged_with_the_weights(problem: Any) -> None:
    decay, epochs = 0.5, 4
    recipe = Recipe(model=Dense(4, batch_norm=True), optimizer=SGD(0.1), batch_size="full", epochs=epochs)
    plain = [problem.train([dataclasses.replace(recipe, epochs=n + 1)]).records[0].model_state for n in range(epochs)]
    shares = np.array([(1 - decay) * decay ** (epochs - 1 - n) for n in range(epochs)]) / (1 - decay**epochs)
    expected = sum(share * state["layer_1"]["mean"] for share, state in zip(shares, plain, strict=True))
    (record,) = problem.train([dataclasses.replace(recipe, averaging=ExponentialAverage(decay))]).records
    np.testing.assert_allclose(record.model_state["layer_1"]["mean"], expected, rtol=1e-4, atol=1e-6)


def test_augmented_training_beside_a_loop_of_its_draws() -> None:
    """Two full-batch steps of gradient descent on images flipped and cropped anew in each."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4, 4, 1)).astype(np.float32), (np.arange(20) % 2).astype(np.int32)
    examples = program.Examples(x, y, np.float32(0), np.float32(1))
    change = FlipCrop(crop=1)
    recipe = Recipe(model=Linear(scale=0.0, bias=False), optimizer=SGD(0.5), batch_size="full", epochs=2,
                    augmentation=change)  # fmt: skip
    (record,) = train([recipe], {None: program.Inputs(examples, examples)}, 2, Settings()).records
    weight, seen = jnp.zeros((2, 16)), []
    for step in range(2):
        rows = epoch_batches(20, 20, seed=0, epoch=step).rows[0]
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 1), step)
        images = change(jnp.asarray(x[rows]), jax.random.split(key)[1])
        seen.append(np.asarray(images)[np.argsort(rows)])

        def loss(weight: Any, images: Any = images, rows: Any = rows) -> Any:
            return jnp.mean(Softmax()(images.reshape(20, 16) @ weight.T, jnp.asarray(y[rows])))

        weight = weight - 0.5 * jax.grad(loss)(weight)
    np.testing.assert_allclose(record.params["weight"], weight, rtol=1e-4, atol=1e-6)
    assert not np.array_equal(*seen)

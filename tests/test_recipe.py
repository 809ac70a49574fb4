"""The recipe: its checks, its equality, and how it meets a training set."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recipe_spaces import recipes
from thalweg import losses, models, optimizers, penalties, schedules
from thalweg.defaults import default_space
from thalweg.errors import UsageError
from thalweg.ranges import choice, integers, log_uniform, uniform
from thalweg.recipe import FULL_BATCH, Recipe, bind
from thalweg.search import dimensions


def test_the_default_is_row_e12():
    recipe = Recipe()
    assert isinstance(recipe.model, models.Linear)
    assert isinstance(recipe.loss, losses.Softmax)
    assert isinstance(recipe.penalty, penalties.NoPenalty)
    optimizer = recipe.optimizer
    assert isinstance(optimizer, optimizers.AdamW)
    assert (optimizer.beta1, optimizer.beta2) == (0.9, 0.999)
    assert isinstance(optimizer.learning_rate, schedules.Warmup)
    assert isinstance(optimizer.learning_rate.then, schedules.Cosine)
    assert optimizer.learning_rate.base == 1e-3


@given(recipes())
@settings(max_examples=60)
def test_equal_recipes_are_equal_and_hash_alike(recipe):
    again = dataclasses.replace(recipe)
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert dataclasses.replace(recipe, seed=2**32 - 1) != recipe
    assert {recipe: 1}[again] == 1


@given(recipes(spaces=False))
@settings(max_examples=60)
def test_numbers_are_leaves_and_the_rest_is_static(recipe):
    leaves, structure = jax.tree.flatten(recipe)
    assert all(isinstance(leaf, (int, float)) and not isinstance(leaf, bool) for leaf in leaves)
    assert jax.tree.unflatten(structure, leaves) == recipe
    hash(structure)


def test_a_change_goes_through_the_constructor():
    with pytest.raises(UsageError, match="recipe: epochs is 0"):
        dataclasses.replace(Recipe(), epochs=0)
    with pytest.raises(AttributeError):
        Recipe().epochs = 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "softmax"}, r"recipe: loss is 'softmax'; give one like thalweg\.losses\.Softmax\(\)"),
        ({"loss": losses.Softmax}, r"recipe: loss is <class .*Softmax"),
        ({"loss": lambda scores, labels: scores}, r"recipe: loss is <function .*equinox\.Module"),
        ({"loss": uniform(0, 1)}, r"recipe: loss is Uniform"),
        ({"loss": choice(losses.Hinge(), 3)}, r"recipe: loss is 3"),
        ({"loss": choice(losses.Hinge(), choice(losses.Hinge(), "x"))}, r"recipe: loss is 'x'"),
        ({"penalty": 1e-3}, r"recipe: penalty is 0\.001; give one like thalweg\.penalties\.L2\(1e-3\)"),
        ({"penalty": losses.Softmax()}, r"recipe: penalty is Softmax\(\)"),
        ({"penalty": None}, r"recipe: penalty is None"),
        ({"model": "linear"}, r"model is 'linear'; give a model"),
        ({"model": choice(models.Linear(), 3)}, r"model is 3; give a model"),
        ({"optimizer": "adam"}, r"optimizer is 'adam'; give one of thalweg\.optimizers"),
        ({"optimizer": choice(optimizers.Adam(), optimizers.Adam)}, r"optimizer is <class"),
        ({"batch_size": 0}, r"recipe: batch_size is 0; it must be finite and at least 1"),
        ({"batch_size": 1.0}, r"recipe: batch_size is 1\.0; it must be a whole number"),
        ({"batch_size": True}, r"recipe: batch_size is True; give a number"),
        ({"batch_size": None}, r"recipe: batch_size is None"),
        ({"batch_size": "half"}, r"recipe: batch_size is 'half'; give a whole number, or 'full' for all examples"),
        ({"batch_size": choice(1, "half")}, r"recipe: batch_size is 'half'"),
        ({"batch_size": choice(1, choice(0))}, r"recipe: batch_size is 0"),
        ({"batch_size": log_uniform(1, 64)}, r"recipe: batch_size is .* give integers\(1, 64\)"),
        ({"batch_size": integers(0, 64)}, r"recipe: batch_size is 0"),
        ({"epochs": choice(5, 0)}, r"recipe: epochs is 0"),
        ({"epochs": 2.5}, r"recipe: epochs is 2\.5"),
        ({"epochs": "ten"}, r"recipe: epochs is 'ten'"),
        ({"seed": -1}, r"recipe: seed is -1; it must be finite and at least 0"),
        ({"seed": 2**32}, r"recipe: seed is 4294967296; it must be finite and at most"),
        ({"seed": integers(0, 2**32)}, r"recipe: seed is 4294967296"),
        ({"seed": 0.5}, r"recipe: seed is 0\.5"),
    ],
)
def test_faults(arguments, message):
    with pytest.raises(UsageError, match="^" + message):
        Recipe(**arguments)


def test_seeds_in_the_allowed_range_give_different_keys():
    """The largest seed is bounded because JAX drops what is above 32 bits: the bound must be the first that repeats."""
    keys = [jax.random.key_data(jax.random.key(seed)).tolist() for seed in (0, 2**32 - 1, 2**32)]
    assert keys[0] != keys[1]
    assert keys[2] == keys[0]


def test_what_may_be_open():
    Recipe(
        model=choice(models.Linear(), models.Linear(bias=choice(True, False))),
        loss=choice(losses.Softmax(), choice(losses.Hinge())),
        penalty=choice(penalties.L1(log_uniform(1e-3, 1)), penalties.NoPenalty()),
        optimizer=choice(optimizers.Adam(), optax.sgd(0.1)),
        batch_size=choice(FULL_BATCH, 32, integers(1, 5)),
        epochs=integers(1, 3),
        seed=choice(0, 1),
    )


def test_own_modules_and_pairs_of_functions_are_parts():
    class Squared(eqx.Module):
        def __call__(self, scores, labels):
            return jnp.sum(scores**2, axis=-1)

    def init(key, input_shape, classes):
        return jnp.zeros((classes, *input_shape)), ()

    def apply(params, state, x, *, key, training):
        return x @ params.T, state

    recipe = Recipe(model=(init, apply), loss=Squared(), optimizer=choice(optax.sgd(0.1), optimizers.Adam()))
    assert isinstance(recipe.model, models.Functions)
    assert isinstance(recipe.optimizer.options[0], optimizers.Transformation)
    assert dataclasses.replace(recipe) == recipe  # converting a second time changes nothing


@pytest.mark.parametrize(
    ("batch_size", "examples", "bound", "per_epoch"),
    [
        (32, 100, 32, 4), (32, 96, 32, 3), (32, 33, 32, 2), (32, 32, 32, 1), (256, 100, 100, 1), ("full", 100, 100, 1),
        (1, 7, 1, 7), (7, 1, 1, 1),
    ],
)  # fmt: skip
def test_binding_fills_in_sizes_and_lengths(batch_size, examples, bound, per_epoch):
    peak = 0.5
    optimizer = optimizers.SGD(schedules.Warmup(1, schedules.Cosine(peak), unit="epochs"))
    recipe = bind(Recipe(optimizer=optimizer, batch_size=batch_size, epochs=10, seed=3), examples)
    assert recipe.batch_size == bound
    assert (recipe.epochs, recipe.seed) == (10, 3)
    rate = recipe.optimizer.learning_rate
    assert rate.steps == per_epoch
    assert rate.then.length == 9 * per_epoch
    assert float(rate(per_epoch)) == peak
    assert float(rate(10 * per_epoch)) == 0


@given(recipes(spaces=False), st.integers(1, 1000))
@settings(max_examples=100)
def test_binding_twice_is_binding_once(recipe, examples):
    once = bind(recipe, examples)
    assert once.batch_size == (examples if recipe.batch_size == "full" else min(recipe.batch_size, examples))
    assert bind(once, examples) == once
    for leaf in jax.tree.leaves(once):
        assert np.isfinite(leaf)


@given(recipes(spaces=False), st.integers(1, 1000))
@settings(max_examples=25)
def test_a_bound_schedule_can_be_called_throughout(recipe, examples):
    assume(not isinstance(recipe.optimizer, optimizers.RandomSearch))
    bound = bind(recipe, examples)
    steps = bound.epochs * -(-examples // bound.batch_size)
    rates = np.asarray(jax.vmap(bound.optimizer.learning_rate)(jnp.asarray([0, steps // 2, steps - 1])))
    assert np.isfinite(rates).all()
    assert (rates >= 0).all()


@pytest.mark.parametrize("arguments", [{"batch_size": choice(16, 32)}, {"epochs": integers(1, 3)}])
def test_a_space_cannot_be_bound(arguments):
    with pytest.raises(UsageError, match="a search space cannot be trained: draw a trial"):
        bind(Recipe(**arguments), 100)
    with pytest.raises(UsageError, match="a search space has no values"):
        bind(Recipe(optimizer=optimizers.SGD(schedules.Cosine(log_uniform(1e-3, 1)))), 100)


@pytest.mark.parametrize("examples", [1, 100, 1_999, 2_000, 19_999, 20_000, 50_000, 10**7])
def test_the_default_space_is_sized_to_the_data(examples):
    space = default_space(examples, 784, seed=5)
    assert [d.name for d in dimensions(space)] == ["optimizer.learning_rate.then.peak", "optimizer.weight_decay"]
    assert space.seed == 5
    assert space.batch_size == (32 if examples < 2_000 else 128 if examples < 20_000 else 256)
    assert 10 <= space.epochs <= 100
    steps = space.epochs * max(1, examples // space.batch_size)
    if 10 < space.epochs < 100:
        assert 0.9 * 2_500 <= steps <= 1.25 * 2_500 or space.epochs == 15
    assert isinstance(space.penalty, penalties.NoPenalty)  # the decay stands in its place


@pytest.mark.parametrize("features", [1, 4, 64, 784, 3072, 200_000, 10**8])
def test_the_default_rates_fall_with_the_features_and_hold_row_e12s(features):
    rates, _ = (d.range for d in dimensions(default_space(5_000, features)))
    assert 1e-6 <= rates.low <= 1e-3 < rates.high <= 0.3
    if 64 <= features <= 3072:  # three decades about 1/features, to the one digit that is kept
        assert rates.low * features == pytest.approx(0.03, rel=0.1)
        assert rates.high * features == pytest.approx(30, rel=0.1) or rates.high == 0.3

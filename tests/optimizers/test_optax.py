"""The optax convention against Optax, our optimizers inside its chains, and its transformations as ours."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimizer_cases import FLOOR, PEAK, SEEDS, STEPS, assert_same_path, follow, rebuilt, run_fixed, stacked

from thalweg.errors import UsageError
from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, Optax, RandomSearch, RMSProp, Transformation, as_optimizer
from thalweg.ranges import choice, integers, log_uniform
from thalweg.schedules import Constant, Cosine, Given, Warmup

RATE = Cosine(PEAK, STEPS, FLOOR)
THEIR_RATE = optax.cosine_decay_schedule(PEAK, STEPS, alpha=FLOOR / PEAK)
DECAYED = optax.add_decayed_weights(0.1)
CASES: list[tuple[Any, dict[str, Any], Any]] = [
    (SGD, {}, optax.sgd(THEIR_RATE)),
    (SGD, {"momentum": 0.9}, optax.sgd(THEIR_RATE, 0.9)),
    (SGD, {"momentum": 0.7, "nesterov": True}, optax.sgd(THEIR_RATE, 0.7, nesterov=True)),
    (SGD, {"momentum": 0.7, "weight_decay": 0.1}, optax.chain(DECAYED, optax.sgd(THEIR_RATE, 0.7))),
    (AdaGrad, {}, optax.adagrad(THEIR_RATE)),
    (AdaGrad, {"epsilon": 1e-2, "initial_accumulator": 0.3}, optax.adagrad(THEIR_RATE, 0.3, 1e-2)),
    (AdaGrad, {"weight_decay": 0.1}, optax.chain(DECAYED, optax.adagrad(THEIR_RATE))),
    (RMSProp, {}, optax.rmsprop(THEIR_RATE)),
    (RMSProp, {"decay": 0.8, "epsilon": 1e-3}, optax.rmsprop(THEIR_RATE, 0.8, 1e-3)),
    (RMSProp, {"momentum": 0.6}, optax.rmsprop(THEIR_RATE, momentum=0.6)),
    (RMSProp, {"centered": True, "epsilon": 1e-2}, optax.rmsprop(THEIR_RATE, eps=1e-2, centered=True)),
    (RMSProp, {"centered": True, "momentum": 0.5}, optax.rmsprop(THEIR_RATE, centered=True, momentum=0.5)),
    (Adam, {}, optax.adam(THEIR_RATE)),
    (Adam, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-2}, optax.adam(THEIR_RATE, 0.5, 0.9, 1e-2)),
    (Adam, {"weight_decay": 0.1}, optax.chain(DECAYED, optax.adam(THEIR_RATE))),
    (AdamW, {}, optax.adamw(THEIR_RATE)),
    (AdamW, {"weight_decay": 0.3, "epsilon": 1e-3}, optax.adamw(THEIR_RATE, weight_decay=0.3, eps=1e-3)),
]


@pytest.mark.parametrize(("kind", "numbers", "theirs"), CASES, ids=[f"{c[0].__name__}-{c[1]}" for c in CASES])
def test_equals_optax(kind: Any, numbers: dict[str, Any], theirs: Any) -> None:
    optimizer = kind(RATE, convention="optax", **numbers)
    for seed in SEEDS:
        assert_same_path(follow(optimizer, seed), follow(theirs, seed))


@pytest.mark.parametrize(
    ("kind", "theirs", "names"),
    [
        (AdaGrad, optax.adagrad, {"epsilon": "eps", "initial_accumulator": "initial_accumulator_value"}),
        (RMSProp, optax.rmsprop, {"decay": "decay", "epsilon": "eps"}),
        (Adam, optax.adam, {"epsilon": "eps", "beta1": "b1", "beta2": "b2"}),
        (AdamW, optax.adamw, {"epsilon": "eps", "beta1": "b1", "beta2": "b2", "weight_decay": "weight_decay"}),
    ],
)
def test_defaults_equal_optax(kind: Any, theirs: Any, names: dict[str, str]) -> None:
    ours = kind(0.1, convention="optax")
    defaults = {key: p.default for key, p in inspect.signature(theirs).parameters.items()}
    assert {name: getattr(ours, name) for name in names} == {name: defaults[its] for name, its in names.items()}
    with pytest.raises(UsageError, match="learning_rate is not given"):
        kind(convention="optax")


@pytest.mark.parametrize("ours", [SGD(RATE, 0.9), AdaGrad(RATE), RMSProp(RATE), Adam(RATE), AdamW(RATE)])
def test_works_inside_chain(ours: Any) -> None:
    """Clipping before ours is the same as ours on clipped gradients."""
    clip = optax.clip_by_global_norm(0.05)

    class Clipped:
        init = staticmethod(ours.init)

        @staticmethod
        def update(gradients: Any, state: Any, params: Any) -> Any:
            return ours.update(clip.update(gradients, optax.EmptyState())[0], state, params)

    chained = follow(optax.chain(clip, ours), steps=20)
    assert_same_path(chained, follow(Clipped, steps=20))
    with pytest.raises(AssertionError):
        assert_same_path(chained, follow(ours, steps=20))


# --- Optax's own, as optimizers of ours


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Optax(optax.lion, RATE, b1=0.8, weight_decay=0.1), optax.lion(THEIR_RATE, b1=0.8, weight_decay=0.1)),
        (Optax(optax.sgd, RATE, momentum=0.9, nesterov=True), optax.sgd(THEIR_RATE, 0.9, nesterov=True)),
        (Optax(optax.rmsprop, RATE, momentum=0.9), optax.rmsprop(THEIR_RATE, momentum=0.9)),
        (Optax(optax.adamw, RATE, weight_decay=RATE), optax.adamw(THEIR_RATE, weight_decay=THEIR_RATE)),
        (Optax(optax.scale, numbers={"step_size": -0.01}), optax.sgd(0.01)),
        (as_optimizer(optax.nadam(THEIR_RATE)), optax.nadam(THEIR_RATE)),
    ],
    ids=["lion", "sgd", "rmsprop", "adamw", "scale", "nadam"],
)
def test_follows_optax(ours: Any, theirs: Any) -> None:
    assert_same_path(follow(ours), follow(theirs))


def test_arguments_are_leaves_or_static() -> None:
    ours = Optax(optax.sgd, 0.1, momentum=0.9, nesterov=True, accumulator_dtype=None)
    assert sorted(jax.tree.leaves(ours)) == [0.1, 0.9]
    assert ours.options == (("nesterov", True), ("accumulator_dtype", None))
    assert rebuilt(ours) == ours


@pytest.mark.parametrize("name", ["learning_rate", "b1", "b2", "weight_decay"])
def test_each_number_of_an_optax_factory_may_differ_between_trials(name: str, x64: None) -> None:
    numbers = {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "weight_decay": 0.1}
    trials = [Optax(optax.lion, **{**numbers, name: numbers[name] * factor}) for factor in (1.0, 0.9, 0.5)]
    random = np.random.default_rng(0)
    gradients, params = random.normal(size=(6, 4)), random.normal(size=4)
    batched = jax.vmap(lambda trial: run_fixed(trial, gradients, params))(stacked(trials))
    alone = np.stack([run_fixed(trial, gradients, params) for trial in trials])
    np.testing.assert_allclose(batched, alone, rtol=1e-14)
    assert not np.allclose(alone[0], alone[2])


def test_a_given_rate_takes_the_schedules_place() -> None:
    """The training program puts each step's rate in place of the schedule; the state must keep its structure."""
    scheduled = Optax(optax.rmsprop, Warmup(2, Cosine(0.1, 9)), momentum=0.9)
    state = scheduled.init(jnp.ones(3))
    given = rebuilt(scheduled, learning_rate=Given(0.05, 0.1))
    updates, after = given.update(jnp.ones(3), state, jnp.ones(3))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    constant = rebuilt(scheduled, learning_rate=0.05)
    np.testing.assert_array_equal(updates, constant.update(jnp.ones(3), state, jnp.ones(3))[0])


def test_numbers_may_be_ranges() -> None:
    space = Optax(optax.adam, log_uniform(1e-3, 1e-1), b1=choice(0.8, 0.9), nesterov=choice(True, False))
    assert space.learning_rate == Constant(log_uniform(1e-3, 1e-1))
    assert set(space.numbers) == {"b1"}
    assert dict(space.options)["nesterov"] == choice(True, False)
    assert rebuilt(space) == space
    # A whole number is often a size, so it is static: each value has its own program.
    assert dict(Optax(optax.adam, 1e-3, size=integers(1, 4)).options)["size"] == integers(1, 4)


def test_the_step_of_a_proximal_penalty() -> None:
    ours, params = Optax(optax.sgd, Cosine(0.1, 10)), {"w": jnp.ones((2, 3))}
    _, state = ours.update(params, ours.init(params), params)
    np.testing.assert_allclose(ours.step_size(state, params)["w"], np.full((2, 3), 0.1), rtol=1e-7)
    without = Optax(optax.scale, step_size=0.1)
    _, state = without.update(params, without.init(params), params)
    with pytest.raises(UsageError, match="learning"):
        without.step_size(state, params)
    assert not hasattr(as_optimizer(optax.sgd(0.1)), "step_size")


def test_as_optimizer() -> None:
    for module in (SGD(0.1), RandomSearch(), Optax(optax.sgd, 0.1)):
        assert as_optimizer(module) is module
    wrapped = as_optimizer(optax.adam(1e-3))
    assert isinstance(wrapped, Transformation)
    assert jax.tree.leaves(wrapped) == []
    assert rebuilt(wrapped) == wrapped
    for wrong in ("adam", 1e-3, Adam, optax.adam, None):
        with pytest.raises(UsageError, match="optimizer is"):
            as_optimizer(wrong)


def test_a_factory_must_be_a_function() -> None:
    with pytest.raises(UsageError, match=r"optax\.lion, not its result"):
        Optax(optax.adam(1e-3))
    with pytest.raises(UsageError, match="b1"):
        Optax(optax.adam, 1e-3, b1=float("nan"))


PLATEAU = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau())


@pytest.mark.parametrize(
    ("optimizer", "missing"),
    [
        (as_optimizer(optax.lbfgs()), "'value', 'grad', and 'value_fn'"),
        (as_optimizer(PLATEAU), "'value'"),
        (as_optimizer(optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.1), opaque_mode=True)), "'grad_fn'"),
        (Optax(optax.lbfgs, 0.1), r"Optax\(lbfgs\): .* 'value', 'grad', and 'value_fn'"),
        (Optax(optax.polyak_sgd), r"Optax\(polyak_sgd\): .* 'value'"),
    ],
    ids=["lbfgs", "plateau", "sam", "Optax-lbfgs", "Optax-polyak"],
)
def test_an_update_that_needs_the_loss_is_refused(optimizer: Any, missing: str) -> None:
    point = jnp.ones(3)
    state = optimizer.init(point)
    with pytest.raises(UsageError, match=missing) as raised:
        eqx.filter_jit(optimizer.update)(point, state, point)
    assert "gradients, state and parameters only" in str(raised.value)
    assert raised.value.__cause__ is not None


def test_other_errors_of_an_update_are_left_alone() -> None:
    def update(gradients: Any, state: Any, params: Any) -> Any:
        raise TypeError("a fault of its own")

    with pytest.raises(TypeError, match="a fault of its own"):
        Transformation(optax.GradientTransformation(lambda params: None, update)).update(1.0, None, 1.0)


# --- the precision of a factory's numbers


def test_concrete_numbers_reach_the_factory_as_python_numbers() -> None:
    seen = []

    def factory(learning_rate: Any, b1: Any, b2: Any) -> Any:
        seen.append((type(b1), type(b2)))
        return optax.adam(learning_rate, b1, b2)

    optimizer, params = Optax(factory, 1e-3, b1=0.9, b2=np.float64(0.999)), jnp.ones(3)
    _, state = optimizer.update(params, optimizer.init(params), params)
    jax.jit(lambda state: optimizer.update(params, state, params))(state)
    assert set(seen) == {(float, float)}


def test_what_optax_makes_of_a_traced_beta() -> None:
    """The second moment after one step of g = 1 is 1 − β2: exact where β2 is a Python number, 1.3e-5 off if traced."""

    def moment(optimizer: Any, traced: bool) -> float:
        optimizer = stacked([optimizer]) if traced else optimizer

        def first(optimizer: Any) -> Any:
            return optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)), jnp.ones(1))[1]

        state = jax.vmap(first)(optimizer) if traced else first(optimizer)
        inner = state.second if isinstance(optimizer, Adam) else state.inner[0].nu
        return float(inner.ravel()[0])

    exact = pytest.approx(1e-3, rel=1e-7)  # one rounding, 6e-8
    assert moment(Optax(optax.adam, 1e-3, b2=0.999), traced=False) == exact
    assert moment(Optax(functools.partial(optax.adam, b2=0.999), 1e-3), traced=True) == exact
    assert moment(Adam(1e-3, beta2=0.999), traced=True) == exact
    assert moment(Optax(optax.adam, 1e-3, b2=0.999), traced=True) == pytest.approx(0.999987e-3, rel=1e-6)

"""What holds for all optimizers: construction, errors, steps, fixed points."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optimizer_cases import KINDS, VARIANTS, rebuilt, run_fixed

from thalweg.errors import UsageError
from thalweg.optimizers import CONVENTIONS, SGD, AdaGrad, Adam, AdamW, Optimizer, RandomSearch, RMSProp, traits
from thalweg.ranges import Choice, choice, integers, log_uniform, uniform
from thalweg.schedules import Constant, Cosine, Warmup

IDS = [f"{i}-{o.name}" for i, o in enumerate(VARIANTS)]
SPACES = [
    SGD(log_uniform(1e-3, 1)), SGD(0.1, uniform(0.5, 0.9)), SGD(0.1, choice(None, 0.9)), SGD(choice(0.1, Cosine(0.2))),
    SGD(0.1, 0.9, choice(True, False)), AdaGrad(0.1, log_uniform(1e-9, 1e-5)), RMSProp(0.1, uniform(0.9, 0.99)),
    RMSProp(0.1, centered=choice(True, False)), Adam(0.1, beta2=uniform(0.9, 0.99)),
    Adam(convention=choice("torch", "keras")),
    AdamW(0.1, weight_decay=log_uniform(1e-4, 1)), AdamW(0.1, decay_scaling=choice("rate", "multiplier")),
    AdamW(Warmup(0.1, Cosine(log_uniform(1e-4, 1)), unit="run")), SGD(0.1, 0.9, form=choice("outside", "inside")),
]  # fmt: skip


# --- construction


@pytest.mark.parametrize("optimizer", [*VARIANTS, *SPACES], ids=repr)
def test_rebuilt_through_the_constructor(optimizer: Any) -> None:
    again = rebuilt(optimizer)
    assert again == optimizer
    assert repr(again) == repr(optimizer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_defaults_are_filled_in(kind: Any, convention: str) -> None:
    optimizer = kind(0.1, convention=convention)
    for name in ("epsilon", "decay", "beta1", "beta2", "initial_accumulator", "form"):
        assert getattr(optimizer, name, 0) is not None
    assert rebuilt(optimizer) == optimizer


def test_an_open_convention_waits_for_its_trial() -> None:
    space = Adam(convention=choice("torch", "keras"))
    assert space.epsilon is None
    assert space.learning_rate is None
    assert rebuilt(space, convention="keras").epsilon == 1e-7
    assert rebuilt(space, convention="torch").epsilon == 1e-8
    with pytest.raises(UsageError, match="give a number"):
        space.rate(0)


def test_an_open_rate_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="draw a trial"):
        SGD(log_uniform(1e-3, 1)).rate(0)
    with pytest.raises(UsageError, match="draw a trial"):
        SGD(choice(0.1, Cosine(0.1, 5))).rate(0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (SGD, "learning_rate is not given"),
        (lambda: SGD(-0.1), "value is -0.1"),
        (lambda: SGD(0.1, 1.0), "momentum is 1.0"),
        (lambda: SGD(0.1, uniform(0.5, 1.5)), "momentum is 1.5"),
        (lambda: SGD(0.1, choice(None, -0.5)), "momentum is -0.5"),
        (lambda: SGD(0.1, nesterov=True), "nesterov needs momentum"),
        (lambda: SGD(0.1, choice(None, 0.9), nesterov=choice(True, False)), "nesterov needs momentum"),
        (lambda: SGD(0.1, 0.9, nesterov=True, dampening=0.1), "exclude each other"),
        (lambda: SGD(0.1, 0.9, nesterov="yes"), "nesterov is 'yes'"),
        (lambda: SGD(0.1, dampening=0.1), "dampening acts on momentum"),
        (lambda: SGD(0.1, 0.9, form="sideways"), "form is 'sideways'"),
        (lambda: SGD(0.1, 0.9, form="lookahead"), "Nesterov"),
        (lambda: SGD(0.1, weight_decay=-1.0), "weight_decay is -1.0"),
        (lambda: SGD(0.1, convention="jax"), "convention is 'jax'"),
        (lambda: AdaGrad(0.1, 0.0), "epsilon is 0.0"),
        (lambda: AdaGrad(0.1, initial_accumulator=-1.0), "initial_accumulator is -1.0"),
        (lambda: RMSProp(0.1, 1.0), "decay is 1.0"),
        (lambda: RMSProp(0.1, centered=1), "centered is 1"),
        (lambda: Adam(beta1=1.0), "beta1 is 1.0"),
        (lambda: Adam(beta2=-0.1), "beta2 is -0.1"),
        (lambda: Adam(epsilon="small"), "epsilon is 'small'"),
        (lambda: Adam(bias_correction=None), "bias_correction is None"),
        (lambda: AdamW(decay_scaling="paper"), "decay_scaling is 'paper'"),
        (lambda: RandomSearch(0), "candidates is 0"),
        (lambda: RandomSearch(10.0), "candidates is 10.0"),
        (lambda: RandomSearch(scale=0.0), "scale is 0.0"),
    ],
)
def test_wrong_arguments_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wrong()


def test_random_search_is_a_description() -> None:
    assert (RandomSearch().candidates, RandomSearch().scale) == (1000, 1e-4)
    space = RandomSearch(integers(10, 100), log_uniform(1e-5, 1e-3))
    assert rebuilt(space) == space


@pytest.mark.parametrize("optimizer", [AdamW(), SGD(0.1, weight_decay=0.1), SGD(0.1, 0.9, True, form="lookahead")])
def test_parameters_are_asked_for_where_needed(optimizer: Any) -> None:
    g = jnp.ones(2)
    with pytest.raises(UsageError, match="needs the parameters"):
        optimizer.update(g, optimizer.init(g))


def test_a_new_optimizer_is_a_small_act() -> None:
    class SignDescent(Optimizer):
        name = "SignDescent"
        learning_rate: Any

        def init(self, params: Any) -> Any:
            return jnp.zeros((), jnp.int32)

        def update(self, gradients: Any, state: Any, params: Any = None) -> Any:
            return jax.tree.map(lambda g: -self.rate(state) * jnp.sign(g), gradients), state + 1

        def step_size(self, state: Any, params: Any) -> Any:
            raise NotImplementedError

    updates, _ = SignDescent(Constant(0.5)).update(jnp.array([2.0, -3.0]), jnp.int32(0))
    np.testing.assert_array_equal(updates, [-0.5, 0.5])
    assert not any(traits(SignDescent(Constant(0.5))).values())


# --- behaviour


@pytest.mark.parametrize("optimizer", VARIANTS, ids=IDS)
def test_any_tree_will_do(optimizer: Any) -> None:
    leaf = jnp.array([1.0, -2.0])
    trees = [leaf, {"a": leaf, "b": leaf}, (leaf, [leaf]), {"a": None, "b": leaf}, {}]
    for params in trees:
        updates, state = optimizer.update(params, optimizer.init(params), params)
        again, _ = optimizer.update(params, state, params)
        assert jax.tree.structure(updates) == jax.tree.structure(again) == jax.tree.structure(params)


FINITE = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize("optimizer", VARIANTS, ids=IDS)
@given(gradients=arrays(np.float32, (5, 3), elements=FINITE | st.sampled_from([0.0, 1e-30, -1e-30])))
@settings(max_examples=15)
def test_updates_are_finite(optimizer: Any, gradients: Any) -> None:
    updates = np.asarray(compiled_run(optimizer, gradients, jnp.ones(3)))
    assert np.all(np.isfinite(updates))
    # Where there never was a gradient nothing but the decay moves.
    if not isinstance(optimizer, AdamW):
        assert np.all(updates[:, np.all(gradients == 0, axis=0)] == 0)


compiled_run = eqx.filter_jit(run_fixed)


@eqx.filter_jit
def losses_on_a_quadratic(optimizer: Any, scales: Any, point: Any) -> Any:
    def step(carry: Any, _: Any) -> Any:
        state, x = carry
        updates, state = optimizer.update(scales * x, state, x)
        return (state, x + updates), 0.5 * jnp.sum(scales * x**2)

    _, losses = jax.lax.scan(step, (optimizer.init(point), point), length=11)
    return losses[0], losses[-1]


@pytest.mark.parametrize("optimizer", VARIANTS, ids=IDS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=5)
def test_a_small_rate_descends_on_a_quadratic(optimizer: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    scales = jnp.asarray(random.uniform(0.2, 2.0, size=4), jnp.float32)
    small = rebuilt(optimizer, learning_rate=1e-3)
    point = jnp.asarray(random.normal(size=4) + np.sign(random.normal(size=4)), jnp.float32)

    # Ten steps: few enough that no adaptive step overshoots an entry that starts near its minimum.
    first, last = losses_on_a_quadratic(small, scales, point)
    assert last < first


# The centered form has no long run: the spread of a constant gradient is 0.
STEADY = [o for o in VARIANTS if hasattr(o, "step_size") and not getattr(o, "centered", False)]


@pytest.mark.parametrize("optimizer", STEADY, ids=[f"{i}-{o.name}" for i, o in enumerate(STEADY)])
def test_step_size_is_the_long_run_step(optimizer: Any, x64: None) -> None:
    """Fed a constant gradient g, the optimizer comes to move by −step ⊙ g."""
    optimizer = rebuilt(optimizer, weight_decay=None if optimizer.name != "AdamW" else 0.0)
    g = jnp.array([0.5, -2.0, 3.0])

    def step(carry: Any, _: Any) -> Any:
        updates, state = optimizer.update(g, carry[0], carry[1])
        return (state, carry[1] + updates), updates

    (state, x), updates = jax.lax.scan(step, (optimizer.init(g), g), length=20_000)
    # 20,000 steps forget the start by 0.999^20000 = 2e-9; AdaGrad has no buffer to forget.
    np.testing.assert_allclose(updates[-1], -optimizer.step_size(state, x) * g, rtol=1e-7)


PROXIMAL = [
    SGD(0.05), SGD(0.02, 0.5), SGD(0.02, 0.5, dampening=0.3), SGD(0.02, 0.5, nesterov=True), AdaGrad(0.5),
    AdaGrad(0.5, convention="optax"), Adam(Cosine(0.05, 4000, 1e-3)),
    Adam(Cosine(0.05, 4000, 1e-3), convention="keras"), RMSProp(Cosine(0.05, 4000, 1e-3), 0.9),
    RMSProp(Cosine(0.05, 4000, 1e-3), 0.9, momentum=0.5, convention="optax"),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", PROXIMAL, ids=[f"{i}-{o.name}" for i, o in enumerate(PROXIMAL)])
def test_proximal_steps_settle_at_the_stated_minimum(optimizer: Any, x64: None) -> None:
    """½‖x − a‖²_D + λ‖x‖₁ with a diagonal D has a closed minimiser; every optimizer's metric leads there."""
    scales, target, strength = jnp.array([0.5, 1.0, 2.0, 1.0]), jnp.array([2.0, -1.0, 0.1, 0.3]), 0.4
    minimum = jnp.sign(target) * jnp.maximum(jnp.abs(target) - strength / scales, 0)

    def step(carry: Any, _: Any) -> Any:
        state, x = carry
        updates, state = optimizer.update(scales * (x - target), state, x)
        size, moved = optimizer.step_size(state, x), x + updates
        return (state, jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - size * strength, 0)), None

    (_, x), _ = jax.lax.scan(step, (optimizer.init(target), jnp.ones(4)), length=8000)
    # Real zeros; the others to what 4,000 steps of the smallest rate leave.
    assert np.array_equal(np.asarray(x == 0), np.asarray(minimum == 0))
    np.testing.assert_allclose(x, minimum, atol=1e-4)


def test_the_choice_of_schedules_is_kept() -> None:
    assert SGD(choice(0.1, Cosine(0.2))).learning_rate == Choice((Constant(0.1), Cosine(0.2)))

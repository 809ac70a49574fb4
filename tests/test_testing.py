"""The conformance checks: every implementation passes, and each check fails on a part broken in one way."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from thalweg import losses, models, optimizers, penalties, schedules
from thalweg.data.dataset import Dataset, Split
from thalweg.fields import check_number
from thalweg.testing import (
    check_dataset,
    check_loss,
    check_model,
    check_optimizer,
    check_penalty,
    check_schedule,
    common,
)

LOSSES = [losses.Softmax(), losses.Softmax(0.1), losses.Hinge()]
PENALTIES = [penalties.NoPenalty(), penalties.L2(0.3), penalties.L1(0.3), penalties.ElasticNet(0.3, 0.7)]
SCHEDULES = [
    schedules.Constant(0.1),
    schedules.Step(0.1),
    schedules.Cosine(0.1, 0.5, 0.01, unit="run"),
    schedules.Linear(0.1),
    schedules.InverseSqrt(0.1),
    schedules.Warmup(50, schedules.Cosine(0.1)),
    schedules.CosineRestarts(0.1, 100.0, 2.0),
    schedules.BatchScaled(schedules.Cosine(0.1)),
    schedules.Scaled(schedules.Cosine(0.1), 2.0),
]
OPTIMIZERS = [
    optimizers.SGD(0.01),
    optimizers.SGD(0.01, momentum=0.9),
    optimizers.SGD(schedules.Cosine(0.01), momentum=0.9, nesterov=True, weight_decay=0.01),
    optimizers.AdaGrad(0.1),
    optimizers.RMSProp(0.01),
    optimizers.Adam(0.01),
    optimizers.Adam(0.01, convention="keras"),
    optimizers.AdamW(schedules.Warmup(0.05, schedules.Cosine(0.01), unit="run")),
    optimizers.Lion(0.01),
    optimizers.Muon(0.02),
    optimizers.ScheduleFreeSGD(0.1),
    optimizers.ScheduleFreeAdamW(0.01),
    optimizers.KFAC(0.1),
    optimizers.Optax(optax.lion, 1e-3, b1=0.9),
    optimizers.Transformation(optax.adam(1e-3)),
    optax.sgd(1e-2),
]


def doubled(key, input_shape, classes):
    return {"W": jax.random.normal(key, (int(np.prod(input_shape)), classes))}, {"seen": jnp.zeros(())}


def twice(params, state, x, *, key, training):
    return 2 * jnp.tanh(x.reshape(x.shape[0], -1) @ params["W"]), {"seen": state["seen"] + training}


MODELS = [
    models.Linear(),
    models.Linear(0.5, bias=False),
    models.Dense((6, 5), dropout=0.3, batch_norm=True, activation="gelu", initialisation="xavier"),
    models.Convolutional(2, (1, 1), "fractional", 1.5, "random", stochastic_depth=0.5, dropout=0.2),
    models.Functions(doubled, twice),
    (doubled, twice),
]


def test_every_loss_penalty_schedule_and_optimizer_is_checked():
    def concrete(module, base):
        found = {getattr(module, name) for name in module.__all__}
        return {c for c in found if isinstance(c, type) and issubclass(c, base) and c is not base}

    assert {type(one) for one in LOSSES} == concrete(losses, eqx.Module)
    assert {type(one) for one in PENALTIES} == concrete(penalties, eqx.Module)
    # Given only carries a rate that another schedule has computed, inside the training program.
    assert {type(one) for one in SCHEDULES} == concrete(schedules, schedules.Schedule) - {schedules.Given}
    assert concrete(optimizers, optimizers.Optimizer) <= {type(one) for one in OPTIMIZERS}
    assert concrete(models, eqx.Module) <= {type(one) for one in MODELS}


@pytest.mark.parametrize("loss", LOSSES, ids=common.name_of)
def test_losses(loss):
    check_loss(loss)


@pytest.mark.parametrize("penalty", PENALTIES, ids=common.name_of)
def test_penalties(penalty):
    check_penalty(penalty)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=common.name_of)
def test_schedules(schedule):
    check_schedule(schedule)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=common.name_of)
def test_optimizers(optimizer):
    check_optimizer(optimizer)


@pytest.mark.parametrize("model", MODELS, ids=common.name_of)
def test_models(model):
    check_model(model)


def refuses(check, part, message):
    with pytest.raises(AssertionError, match=message):
        check(part)


def part(base: type, /, **members: Any) -> type:
    """A part like base, broken by other members."""
    return type("Broken", (base,), members)


# --- what every part must be


class Scale(eqx.Module):
    """A loss with a number in it, right as it stands."""

    factor: Any = 2.0
    kind = "scaled"
    smooth = True

    def __check_init__(self):
        check_number("Scale", "factor", self.factor, above=0)

    def __call__(self, scores, labels):
        return jnp.asarray(self.factor, scores.dtype) * losses.Softmax()(scores, labels)


class StaticNumber(Scale):
    factor: Any = eqx.field(default=2.0, static=True)


class Unchecked(eqx.Module):
    factor: Any = 2.0
    kind = "scaled"
    smooth = True
    __call__ = Scale.__call__


class OtherError(Unchecked):
    def __check_init__(self):
        if not self.factor > 0:
            raise TypeError("no")


class Forgets(Scale):
    def __init__(self, factor=3.0):
        self.factor = 2.0


class TakesNothing(Scale):
    def __init__(self):
        self.factor = 2.0


class LooksAtItsNumber(Scale):
    def __call__(self, scores, labels):
        return Scale.__call__(self, scores, labels) if self.factor > 1 else losses.Softmax()(scores, labels)


def test_a_loss_with_a_number_passes():
    check_loss(Scale(2.0))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (StaticNumber(), "its structure changes with its numbers; make every number a leaf"),
        (Unchecked(), "factor=nan is accepted; check it in __check_init__"),
        (OtherError(), "factor=nan raises TypeError; raise a UsageError"),
        (Forgets(3.0), r"factor='much' is accepted|factor=nan is accepted"),
        (TakesNothing(), "building it anew from its own fields raised TypeError"),
        (LooksAtItsNumber(), "compiling it with its numbers as arguments .* raised TracerBoolConversionError"),
        (lambda scores, labels: scores, r"function: is no equinox\.Module"),
    ],
)
def test_parts_in_general(loss, message):
    refuses(check_loss, loss, message)


def test_a_constructor_that_changes_what_it_is_given():
    class Halves(Scale):
        def __init__(self, factor=2.0):
            self.factor = factor / 2

    refuses(check_loss, Halves(), "built anew from its own fields it is another")


def test_batching_tells_trials_that_mix():
    @jax.custom_batching.custom_vmap
    def factor(x):
        return 1.0 * x

    @factor.def_vmap
    def _(size, mapped, x):
        return x[::-1], True

    with pytest.raises(AssertionError, match=r"number 0 of 3 under vmap, and alone: they differ"):
        common.check_batching(Scale(), lambda one: factor(jnp.float32(one.factor)))


def test_batching_tells_a_compiled_program_that_differs():
    with pytest.raises(AssertionError, match=r"compiled and not compiled: they differ"):
        common.check_batching(Scale(), lambda one: jnp.float32(one.factor) + isinstance(one.factor, jax.core.Tracer))


def test_two_calls_that_differ():
    calls = itertools.count()
    with pytest.raises(AssertionError, match=r"two equal calls: they differ, at worst 0\.0 beside 1\.0"):
        common.check_deterministic(Scale(), lambda: jnp.float32(next(calls)))


def test_variants_change_every_number_and_nothing_else():
    for one in [*PENALTIES, *SCHEDULES, *OPTIMIZERS[:-1], models.Linear()]:
        other = common.variant(one)
        assert jax.tree.structure(one) == jax.tree.structure(other)
        same = [a == b for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True) if a != 0]
        assert not any(same), one


def test_kinks_are_told_from_curvature(x64):
    ends = jnp.array(-1.0), jnp.array(1.3)
    assert common.kink(lambda t: jnp.tanh(1e4 * t), *ends) < 1e-6
    assert common.kink(jnp.sign, *ends) == 2


# --- losses


def wrap(function):
    """A loss that passes softmax through a function (loss, scores, labels) -> loss."""
    return part(
        losses.Softmax, __call__=lambda self, s, labels: function(losses.Softmax.__call__(self, s, labels), s, labels)
    )()


def naive(self, scores, labels):
    own = labels[:, None] == jnp.arange(scores.shape[1])[None]
    return -jnp.log(jnp.sum(jnp.where(own, jnp.exp(scores), 0), 1) / jnp.sum(jnp.exp(scores), 1))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (wrap(lambda loss, s, y: jnp.sum(loss)), "return one number per example"),
        (wrap(lambda loss, s, y: loss.astype(jnp.float32)), "in the scores' precision"),
        (wrap(lambda loss, s, y: loss - jnp.mean(loss)), "examples one by one, and together"),
        (wrap(lambda loss, s, y: jnp.nan_to_num(loss)), "would hide a trial that diverged"),
        (wrap(lambda loss, s, y: 2 * jax.lax.stop_gradient(loss) - loss), "finite differences of its value"),
        (wrap(lambda loss, s, y: loss / jnp.float32(0)), "not finite at ordinary scores"),
        (wrap(lambda loss, s, y: 1 / 0), "raised ZeroDivisionError"),
        (part(losses.Softmax, __call__=naive)(), "NaN at scores of 1e30"),
        (part(losses.Hinge, smooth=True)(), "it says smooth, but its gradient jumps by"),
        (part(losses.Hinge, smooth=None)(), "smooth is None; give it a class attribute of type bool"),
        (part(losses.Hinge, kind=None)(), "kind is None"),
    ],
)
def test_broken_losses(loss, message):
    refuses(check_loss, loss, message)


# --- penalties


def broken(base, **methods):
    """A penalty like base with methods (original, self, *arguments) in place of its own."""

    def bind(name, function):
        return lambda self, *arguments: function(getattr(base, name).__get__(self), self, *arguments)

    members = {name: bind(name, function) for name, function in methods.items()}
    made = part(base, **members)
    return made(0.3, 0.7) if base is penalties.ElasticNet else made(0.3)


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (broken(penalties.L2, value=lambda f, self, w: f(w) / 2), "its gradient, and finite differences"),
        (broken(penalties.L2, value=lambda f, self, w: f(w) + 1), "0 and >= 0"),
        (broken(penalties.L2, value=lambda f, self, w: self.strength * f(w)), "its value at twice the strength"),
        (broken(penalties.L2, value=lambda f, self, w: jnp.square(w)), "value returned .* return shape \\(\\)"),
        (broken(penalties.L2, prox=lambda f, self, w, t: w / (1 + t * self.strength)), "prox does not minimise"),
        (broken(penalties.L1, prox=lambda f, self, w, t: f(w, 1.01 * t)), "prox does not minimise|prox and residual"),
        (
            broken(penalties.L1, prox=lambda f, self, w, t: f(w, float(t))),
            "prox with one step per entry raised TypeError",
        ),
        (
            broken(penalties.L1, prox=lambda f, self, w, t: f(w.astype("f4"), t)),
            "prox returned float32.*weights' precision",
        ),
        (broken(penalties.L1, residual=lambda f, self, w, g: jnp.abs(g)), "prox and residual disagree"),
        (broken(penalties.L1, residual=lambda f, self, w, g: 0 * g), "the subgradient nearest to 0"),
        (broken(penalties.L1, residual=lambda f, self, w, g: f(w, g) ** 2 / 0.3), "residual, and the distance"),
        (
            broken(penalties.ElasticNet, gradient=lambda f, self, w: f(w) + 0.01 * (w == 0)),
            "the subgradient nearest to 0",
        ),
        (broken(penalties.ElasticNet, strength_max=lambda f, self, g: 2 * f(g)), "which is not the smallest"),
        (broken(penalties.L1, strength_max=lambda f, self, g: f(g) / 2), "which is not the smallest"),
        (broken(penalties.L1, strength_max=lambda f, self, g: jnp.inf + 0 * f(g)), "infinite, yet a strength of 1e12"),
        (broken(penalties.L1, strength_max=lambda f, self, g: -f(g)), "strength_max is -"),
        (part(penalties.L1, smooth=True)(0.3), "it says smooth, but its gradient jumps"),
    ],
)
def test_broken_penalties(penalty, message):
    refuses(check_penalty, penalty, message)


# --- schedules


def odd_schedule(**members):
    return part(schedules.Constant, **members)(0.1)


class BindsInPlace(schedules.Constant):
    def bind(self, **run):
        object.__setattr__(self, "value", 2 * self.value)
        return self


class BindsAgain(schedules.Constant):
    def bind(self, **run):
        return type(self)(2 * self.value)


class Unfilled(schedules.Constant):
    def bind(self, *, steps):
        return self


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            odd_schedule(__call__=lambda self, t: -self.value + 0.0 * t),
            "its rate is -0.1.* at step 0; rates are finite",
        ),
        (odd_schedule(__call__=lambda self, t: self.value / jnp.sqrt(t)), "its rate is inf at step 0"),
        (odd_schedule(__call__=lambda self, t: self.value if t < 5 else 0.0), "an array of steps raised"),
        (odd_schedule(__call__=lambda self, t: jnp.float32(self.value)), "one float32 rate each"),
        (
            odd_schedule(__call__=lambda self, t: self.value / (1 + 0.0 * jnp.float32(t) + jnp.max(t) * 1e-3)),
            "steps one by one, and together",
        ),
        (
            odd_schedule(__call__=lambda self, t: (self.value + 0.0 * t).astype(jnp.float32)),
            "where float64 is in force",
        ),
        (odd_schedule(base=property(lambda self: self.peak)), "reading base raised AttributeError"),
        (odd_schedule(base=property(lambda self: -self.value)), "base is -0.1"),
        (BindsInPlace(0.1), "bind changed the schedule itself"),
        (BindsAgain(0.1), "bound once and bound twice"),
        (Unfilled(0.1), "bind.* raised TypeError"),
    ],
)
def test_broken_schedules(schedule, message):
    refuses(check_schedule, schedule, message)


# --- optimizers


def odd_optimizer(function, step_size=None):
    """Momentum descent whose updates and state pass through a function."""

    def update(self, gradients, state, params=None):
        return function(*optimizers.SGD.update(self, gradients, state, params), gradients)

    members = {"update": update}
    if step_size:
        members["step_size"] = lambda self, state, params: step_size(optimizers.SGD.step_size(self, state, params))
    return part(optimizers.SGD, **members)(0.01, 0.9)


def to_all(function):
    return lambda *trees: jax.tree.map(function, *trees)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (odd_optimizer(lambda u, s, g: (to_all(jnp.negative)(u), s)), "they must point downhill"),
        (odd_optimizer(lambda u, s, g: (to_all(lambda x: x.astype("f4"))(u), s)), "shape and precision must agree"),
        (odd_optimizer(lambda u, s, g: (to_all(jnp.sum)(u), s)), "shape and precision must agree"),
        (odd_optimizer(lambda u, s, g: (u, s._replace(count=s.count + 0.5))), "update changed the state"),
        (odd_optimizer(lambda u, s, g: (u, s._replace(velocity=None))), "update changed the state"),
        (odd_optimizer(lambda u, s, g: (to_all(lambda x: 0.01 * x / abs(x))(u), s)), "guard the division"),
        (odd_optimizer(lambda u, s, g: (u, s), to_all(lambda x: x / 10)), "and −step_size · g"),
        (odd_optimizer(lambda u, s, g: (u, s), to_all(jnp.sum)), "one step per entry"),
        (odd_optimizer(lambda u, s, g: 1 / 0), "raised ZeroDivisionError"),
        (
            odd_optimizer(lambda u, s, g: (u if jnp.any(g["bias"] > 1) else to_all(jnp.abs)(u), s)),
            "raised TracerBoolConversionError",
        ),
    ],
)
def test_broken_optimizers(optimizer, message):
    refuses(check_optimizer, optimizer, message)


# --- models


def pair(function=None, start=None):
    """Functions like `doubled` and `twice`, each followed by a change."""

    def init(key, input_shape, classes):
        made = doubled(key, input_shape, classes)
        return start(*made) if start else made

    def apply(params, state, x, *, key, training):
        scores, after = twice(params, state, x, key=key, training=training)
        return function(scores, after, params=params, key=key, training=training) if function else (scores, after)

    return init, apply


unsteady = itertools.count()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (pair(lambda s, a, **_: (s - jnp.mean(s, 0)[None], a)), "examples one by one, and together"),
        (pair(lambda s, a, **_: (s, {"seen": a["seen"] + 1})), "the state after and before an evaluation"),
        (pair(lambda s, a, key, **_: (s + jax.random.uniform(key), a)), "raised|init"),
        (pair(lambda s, a, **_: (s / 0, a)), "scores of fresh params are not finite"),
        (pair(lambda s, a, **_: (2 * jax.lax.stop_gradient(s) - s, a)), "its slope along a direction"),
        (pair(lambda s, a, **_: (s.T, a)), r"return \(batch, classes\)"),
        (pair(start=lambda p, s: ({**p, "count": jnp.zeros((), int)}, s)), "the rest belongs in the state"),
        (pair(start=lambda p, s: ({"W": p["W"] + next(unsteady)}, s)), "two equal calls"),
        (pair(start=lambda p, s: p), "return the pair"),
        (3, "taking it as a model raised UsageError"),
    ],
)
def test_broken_models(model, message):
    refuses(check_model, model, message)


@jax.custom_batching.custom_vmap
def mixed(weight):
    return 1.0 * weight


@mixed.def_vmap
def _(size, mapped, weight):
    return weight[::-1], True


def test_a_model_that_mixes_its_trials():
    def init(key, input_shape, classes):
        return {"W": jax.random.normal(key, (48, classes))}, ()

    def apply(params, state, x, *, key, training):
        return x.reshape(x.shape[0], -1) @ mixed(params["W"]), state

    refuses(check_model, (init, apply), "trials side by side, and alone")


# --- data


def dataset(**changes):
    """A good data set, then changed behind the back of its own checks."""
    train = Split(np.arange(24, dtype=np.uint8).reshape(8, 3), np.arange(8, dtype=np.int32) % 2, tuple("abcdefgh"))
    good = Dataset("small", "in memory", train, ("cat", "dog"), test=dataclasses.replace(train))
    for path, value in changes.items():
        target = good
        *parents, name = path.split("__")
        for parent in parents:
            target = getattr(target, parent)
        object.__setattr__(target, name, value)
    return good


def test_a_good_dataset():
    check_dataset(dataset())


class BackwardsChunks(Split):
    def chunks(self):
        yield from reversed([(row, self.features[row : row + 4]) for row in (0, 4)])


class ShortChunks(Split):
    def chunks(self):
        yield 0, self.features[:4]


def chunked(cls):
    good = dataset().train
    return dataset(train=cls(good.features, good.labels))


def counting_fingerprint():
    class Unsteady(Dataset):
        calls = itertools.count()

        def fingerprint(self):
            return f"{next(self.calls):064x}"

    good = dataset()
    return Unsteady(good.name, good.source, good.train, good.classes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataset(classes=()), "give each a name, as text"),
        (dataset(classes=(0, 1)), "give each a name, as text"),
        (dataset(classes=("cat", "cat")), "stand twice"),
        (dataset(classes=("cat", "dog", "frog")), "class 'frog' is named but has no example"),
        (dataset(train__features=np.zeros((8, 3))), "train features are float64"),
        (dataset(test__features=np.zeros((8, 4), np.uint8)), "test features are uint8 .8, 4."),
        (dataset(test__features=np.zeros((8, 3), np.float32)), "test features are float32, train's uint8"),
        (dataset(train__features=np.full((8, 3), np.nan, np.float32)), "are not finite; refuse NaN"),
        (dataset(train__features=np.zeros((8, 3, 3), np.uint8)), "an example has shape .3, 3."),
        (dataset(test__labels=None), "one of train and test has labels"),
        (dataset(test__labels=np.zeros(8)), "test labels are float64"),
        (dataset(test__labels=np.zeros(7, np.int32)), "test labels are int32 .7,."),
        (dataset(test__labels=np.full(8, 2, np.int32)), "test labels go from 2 to 2"),
        (dataset(train__names=("a",)), "train has 1 names for 8 examples"),
        (chunked(BackwardsChunks), "the chunk at row 4 is not the features from row 0 on"),
        (chunked(ShortChunks), "the chunks end at row 4 of 8"),
        (counting_fingerprint(), "the same each time"),
    ],
)
def test_broken_datasets(data, message):
    refuses(check_dataset, data, message)

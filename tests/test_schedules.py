"""Schedules: closed forms, Optax, batching of every number, binding, precision."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg import schedules
from thalweg.errors import UsageError
from thalweg.ranges import Choice, choice, integers, log_uniform, uniform
from thalweg.schedules import (
    BatchScaled,
    Constant,
    Cosine,
    CosineRestarts,
    Given,
    InverseSqrt,
    Linear,
    Scaled,
    Schedule,
    Step,
    Warmup,
    as_schedule,
    bind_all,
)

STEPS = np.arange(200)
# One of each, bound, with every number given.
EXAMPLES: list[Schedule] = [
    Constant(0.1),
    Given(0.05, 0.1),
    Step(0.1, (30, 60, 90), 0.5, "steps"),
    Cosine(0.1, 120.0, 0.01),
    Linear(0.1, 120.0, 0.01),
    InverseSqrt(0.1),
    Warmup(20.0, Cosine(0.1, 120.0, 0.01)),
    CosineRestarts(0.1, 17.0, 1.5, 0.01),
    Scaled(Cosine(0.1, 120.0, 0.01), 2.0),
]


def rebuilt(module: Any) -> Any:
    return type(module)(**{f.name: getattr(module, f.name) for f in dataclasses.fields(module) if f.init})


def test_every_class_has_an_example() -> None:
    named = {getattr(schedules, name) for name in schedules.__all__}
    classes = {c for c in named if isinstance(c, type) and issubclass(c, Schedule)} - {Schedule, BatchScaled}
    assert classes == {type(example) for example in EXAMPLES}  # BatchScaled becomes Scaled when bound


# --- values


def test_step_drops_at_its_epochs() -> None:
    schedule = Step(0.1).bind(steps=1000, steps_per_epoch=10, batch_size=256)
    values = np.asarray(schedule(np.array([0, 299, 300, 599, 600, 899, 900, 999])))
    np.testing.assert_allclose(values, [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4], rtol=1e-6)


def test_cosine_formula() -> None:
    with jax.enable_x64(True):
        values = Cosine(0.3, 100, 0.1)(np.arange(150))
    t = np.minimum(np.arange(150), 100)
    np.testing.assert_allclose(values, 0.1 + 0.5 * 0.2 * (1 + np.cos(np.pi * t / 100)), rtol=1e-14)
    assert float(values[100]) == float(values[149]) == 0.1


def test_linear_formula() -> None:
    with jax.enable_x64(True):
        values = Linear(0.3, 100)(np.arange(150))
    np.testing.assert_allclose(values, 0.3 * (1 - np.minimum(np.arange(150), 100) / 100), rtol=1e-14, atol=1e-16)


def test_inverse_sqrt_formula() -> None:
    with jax.enable_x64(True):
        values = InverseSqrt(0.3)(STEPS)
    np.testing.assert_allclose(values, 0.3 / np.sqrt(STEPS + 1), rtol=1e-15)


def test_scaling_rule() -> None:
    """SPEC row G6: from batch 256 to 512, 0.1 becomes 0.2."""
    bound = BatchScaled(0.1).bind(steps=10, steps_per_epoch=10, batch_size=512)
    assert bound.base == pytest.approx(0.2, rel=1e-15)
    assert float(bound(3)) == pytest.approx(0.2, rel=1e-7)


def test_given_ignores_the_step() -> None:
    schedule = Given(0.05, 0.1)
    assert float(schedule(7)) == np.float32(0.05)
    assert schedule.base == 0.1


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Cosine(0.3, 100, 0.06), optax.cosine_decay_schedule(0.3, 100, alpha=0.2)),
        (Linear(0.3, 100, 0.06), optax.linear_schedule(0.3, 0.06, 100)),
        (Step(0.3, (5, 50), 0.2, "steps"), optax.piecewise_constant_schedule(0.3, {5: 0.2, 50: 0.2})),
        (Warmup(20, Cosine(0.3, 80, 0.06)), optax.warmup_cosine_decay_schedule(0.0, 0.3, 20, 100, 0.06)),
        (
            Warmup(20, Step(0.3, (7,), 0.5, "steps")),
            optax.join_schedules(
                [optax.linear_schedule(0.0, 0.3, 20), optax.piecewise_constant_schedule(0.3, {7: 0.5})], [20]
            ),
        ),
        (
            CosineRestarts(0.3, 20, 2.0, 0.03),
            optax.join_schedules(
                [optax.cosine_decay_schedule(0.3, n, alpha=0.1) for n in (20, 40, 80, 160)], [20, 60, 140]
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_equals_optax(ours: Schedule, theirs: Any) -> None:
    with jax.enable_x64(True):
        expected = [float(theirs(jnp.asarray(step))) for step in STEPS]
        np.testing.assert_allclose(ours(STEPS), expected, rtol=1e-12, atol=1e-15)


def restarts_by_loop(period: float, growth: float, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (start, length) of the cycle of each step, by walking the cycles."""
    starts, lengths = np.empty(end), np.empty(end)
    start, length = 0.0, float(period)
    for step in range(end):
        if step >= start + length:
            start, length = start + length, length * growth
        starts[step], lengths[step] = start, length
    return starts, lengths


@pytest.mark.parametrize(
    ("period", "growth"), [(1, 1.0), (7, 1.0), (10, 2.0), (1, 2.0), (3, 3.0), (10, 1.5), (50, 1.01)]
)
def test_restarts_equal_the_walked_cycles(period: float, growth: float) -> None:
    end = 20_000
    starts, lengths = restarts_by_loop(period, growth, end)
    with jax.enable_x64(True):
        values = np.asarray(CosineRestarts(1.0, period, growth)(np.arange(end)))
    expected = 0.5 * (1 + np.cos(np.pi * (np.arange(end) - starts) / lengths))
    # A fractional boundary of the two sums may differ in its last bit, but no step lies within that bit of one here.
    np.testing.assert_allclose(values, expected, atol=1e-12)


@pytest.mark.parametrize(("period", "growth"), [(1, 1.0), (3, 1.0), (1, 2.0), (7, 2.0), (5, 3.0)])
def test_restarts_are_exact_in_float32(period: int, growth: float) -> None:
    start, length, starts = 0, period, []
    while start < 1_000_000:
        starts.append(start)
        start, length = start + length, length * int(growth)
    values = np.asarray(jax.jit(CosineRestarts(0.3, period, growth))(np.asarray(starts)))
    assert np.all(values == np.float32(0.3))
    before = np.asarray(jax.jit(CosineRestarts(0.3, period, growth))(np.asarray(starts[1:]) - 1))
    assert period == 1 or np.all(before < np.float32(0.25))


def test_float32_stays_accurate_to_a_million_steps() -> None:
    steps = np.unique(np.r_[np.arange(0, 1_000_000, 997), np.arange(999_900, 1_000_000)])
    left = (1_000_000 - steps) / 1_000_000
    # Some roundings of 2^-24 = 6e-8 each; sin² doubles that of its argument. Relative, up to the last step.
    for schedule, exact in [
        (Cosine(0.1, 1_000_000), 0.1 * np.sin(np.pi / 2 * left) ** 2),
        (Linear(0.1, 1_000_000), 0.1 * left),
        (InverseSqrt(0.1), 0.1 / np.sqrt(steps + 1.0)),
        (Warmup(1_000_000, 0.1), 0.1 * steps / 1e6),
    ]:
        values = np.asarray(schedule(steps))
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, exact, rtol=8e-7)


@given(
    peak=st.floats(0.02, 10),
    floor=st.floats(0, 0.02, allow_subnormal=False),  # XLA rounds subnormal numbers to 0
    length=st.integers(1, 200),
    kind=st.sampled_from([Cosine, Linear]),
)
@settings(max_examples=30)
def test_decays_fall_from_peak_to_floor(peak: float, floor: float, length: int, kind: Any) -> None:
    with jax.enable_x64(True):
        values = np.asarray(kind(peak, length, floor)(np.arange(203)))
    assert values[0] == pytest.approx(peak, rel=1e-15)
    assert np.all(values[length:] == floor)
    assert np.all(np.diff(values) <= 0)


@given(period=st.floats(0.5, 50), growth=st.floats(1, 4))
@settings(max_examples=30)
def test_restarts_stay_between_floor_and_peak(period: float, growth: float) -> None:
    values = np.asarray(CosineRestarts(1.0, period, growth, 0.25)(np.arange(300)))
    assert np.all((values >= 0.25) & (values <= 1.0))
    assert values[0] == 1.0


# --- every number differs between trials


def numbers_of(module: Any) -> list[str]:
    """The paths of the numbers in a schedule, found in its tree."""
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(module)]


CASES = [(example, i) for example in EXAMPLES for i in range(len(numbers_of(example)))]


@pytest.mark.parametrize(("example", "index"), CASES, ids=[f"{type(e).__name__}{numbers_of(e)[i]}" for e, i in CASES])
def test_each_number_may_differ_between_trials(example: Schedule, index: int) -> None:
    leaves, tree = jax.tree.flatten(example)
    trials = []
    for factor in (1.0, 1.1, 1.7):
        numbers = [leaf * factor if i == index else leaf for i, leaf in enumerate(leaves)]
        trials.append(rebuilt(jax.tree.unflatten(tree, numbers)))
    with jax.enable_x64(True):
        stacked = jax.tree.map(lambda *values: jnp.stack([jnp.asarray(v, float) for v in values]), *trials)
        batched = jax.vmap(lambda schedule: schedule(STEPS))(stacked)
        alone = np.stack([trial(STEPS) for trial in trials])
        bases = jax.vmap(lambda schedule: schedule.base)(stacked)
    # The same operations, but XLA may fuse a batch otherwise: a last bit or two.
    np.testing.assert_allclose(batched, alone, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(bases, [trial.base for trial in trials], rtol=1e-15)
    assert not np.array_equal(alone[0], alone[1]) or not np.array_equal(bases[0], bases[1])
    assert not np.array_equal(alone[0], alone[2]) or not np.array_equal(bases[0], bases[2])


def test_growth_of_one_and_more_in_one_batch() -> None:
    trials = [CosineRestarts(1.0, 10.0, growth) for growth in (1.0, 1.0 + 1e-6, 2.0)]
    stacked = jax.tree.map(lambda *values: jnp.stack([jnp.asarray(v) for v in values]), *trials)
    batched = jax.vmap(lambda schedule: schedule(STEPS))(stacked)
    np.testing.assert_allclose(batched, np.stack([trial(STEPS) for trial in trials]), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: type(e).__name__)
def test_steps_may_be_traced_or_an_array(example: Schedule) -> None:
    at_once = np.asarray(example(STEPS))
    assert at_once.shape == STEPS.shape
    traced = jax.jit(example)
    for step in (0, 1, 30, 199):
        assert np.shape(example(step)) == ()
        # A jitted program may contract a multiply and add: two last bits of float32, of numbers up to the peak.
        np.testing.assert_allclose(traced(step), at_once[step], rtol=3e-7, atol=1e-8)


# --- meeting the run


def test_an_absent_length_is_the_whole_run() -> None:
    assert Cosine(0.1).bind(steps=100, steps_per_epoch=10, batch_size=1) == Cosine(0.1, 100)
    assert Linear(0.1).bind(steps=100, steps_per_epoch=10, batch_size=1) == Linear(0.1, 100)


def test_units_become_steps() -> None:
    run = {"steps": 100, "steps_per_epoch": 20, "batch_size": 1}
    assert Cosine(0.1, 2, unit="epochs").bind(**run) == Cosine(0.1, 40)
    assert Cosine(0.1, 0.5, unit="run").bind(**run) == Cosine(0.1, 50.0)
    assert Step(0.1, (1, 2)).bind(**run) == Step(0.1, (20, 40), unit="steps")
    assert CosineRestarts(0.1, 1, 2.0, unit="epochs").bind(**run) == CosineRestarts(0.1, 20, 2.0)
    assert Warmup(1, 0.1, unit="epochs").bind(**run) == Warmup(20, 0.1)


def test_after_a_warmup_the_rest_of_the_run_is_left() -> None:
    run = {"steps": 100, "steps_per_epoch": 20, "batch_size": 1}
    bound = Warmup(0.1, Cosine(0.1), unit="run").bind(**run)
    assert bound == Warmup(10.0, Cosine(0.1, 90.0))
    assert float(bound(10)) == np.float32(0.1)
    assert float(bound(100)) == 0
    # A share of the run is one of the whole run, also behind a warm-up.
    assert Warmup(10, Cosine(0.1, 0.5, unit="run")).bind(**run) == Warmup(10, Cosine(0.1, 50.0))


def test_a_warmup_longer_than_the_run_only_rises() -> None:
    bound = Warmup(200, Cosine(0.1)).bind(steps=100, steps_per_epoch=20, batch_size=1)
    np.testing.assert_allclose(bound(np.arange(100)), 0.1 * np.arange(100) / 200, rtol=1e-6)


def test_no_warmup_at_all() -> None:
    np.testing.assert_array_equal(Warmup(0, Cosine(0.1, 50))(STEPS), Cosine(0.1, 50)(STEPS))


UNBOUND = [
    Cosine(0.1), Linear(0.1), Step(0.1), CosineRestarts(0.1, 2, unit="epochs"), BatchScaled(Cosine(0.1)),
    Warmup(0.1, Cosine(0.1), unit="run"), Warmup(5, BatchScaled(Cosine(0.1))), Scaled(Cosine(0.1), 2.0),
]  # fmt: skip


@pytest.mark.parametrize("schedule", UNBOUND, ids=repr)
def test_binding_twice_is_harmless(schedule: Schedule) -> None:
    once = schedule.bind(steps=100, steps_per_epoch=10, batch_size=512)
    assert once.bind(steps=33, steps_per_epoch=7, batch_size=2) == once


@pytest.mark.parametrize("schedule", UNBOUND, ids=repr)
def test_an_unbound_schedule_says_what_to_do(schedule: Schedule) -> None:
    with pytest.raises(UsageError, match=r"bind\("):
        schedule(STEPS)


def test_bind_all_finds_every_schedule() -> None:
    class Part(eqx.Module):
        rate: Schedule
        other: Any

    part = Part(Cosine(0.1), {"a": [Warmup(1, Linear(0.2), unit="epochs")], "b": 3.0})
    bound = bind_all(part, steps=100, steps_per_epoch=10, batch_size=1)
    assert bound == Part(Cosine(0.1, 100), {"a": [Warmup(10, Linear(0.2, 90))], "b": 3.0})


@pytest.mark.parametrize("field", ["steps", "steps_per_epoch", "batch_size"])
def test_bind_refuses_empty_runs(field: str) -> None:
    run = {"steps": 10, "steps_per_epoch": 10, "batch_size": 1, field: 0}
    with pytest.raises(UsageError, match=f"{field} is 0"):
        Cosine(0.1).bind(**run)


# --- search spaces and errors


def test_as_schedule() -> None:
    assert as_schedule(0.1) == Constant(0.1)
    assert as_schedule(log_uniform(1e-3, 1)) == Constant(log_uniform(1e-3, 1))
    assert as_schedule(choice(0.1, 0.2)) == Constant(choice(0.1, 0.2))
    mixed = as_schedule(choice(Cosine(0.1), log_uniform(1e-3, 1)))
    assert mixed == Choice((Cosine(0.1), Constant(log_uniform(1e-3, 1))))
    schedule = Cosine(0.1)
    assert as_schedule(schedule) is schedule
    for wrong in (lambda step: 0.1, Cosine, "cosine", None, True):
        with pytest.raises(UsageError, match="give a number"):
            as_schedule(wrong)


@pytest.mark.parametrize("example", [*EXAMPLES, *UNBOUND], ids=repr)
def test_rebuilt_through_the_constructor(example: Schedule) -> None:
    assert rebuilt(example) == example


SPACES = [
    Constant(uniform(0, 1)), Step(uniform(0, 1)), Step(0.1, (10, integers(20, 30)), unit="steps"),
    Step(0.1, choice((10, 20), (30,)), unit="steps"), Cosine(0.1, uniform(10, 20)), Linear(0.1, 10, uniform(0, 1)),
    InverseSqrt(choice(0.1, 1.0)), Warmup(integers(0, 9), 0.1), Warmup(3, choice(Cosine(0.1, 9), Linear(0.1, 9))),
    CosineRestarts(0.1, 5, uniform(1, 2)), Scaled(0.1, uniform(1, 2)), Warmup(3, log_uniform(0.1, 1)),
]  # fmt: skip


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_a_search_space_cannot_be_called(space: Schedule) -> None:
    assert rebuilt(space) == space
    with pytest.raises(UsageError, match="draw a trial"):
        space(0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Constant(-0.1),
        lambda: Constant(math.nan),
        lambda: Cosine(0.1, 0),
        lambda: Cosine(0.1, 5, -1.0),
        lambda: Cosine(0.1, 5, unit="days"),
        lambda: Linear(uniform(-1, 1)),
        lambda: Step(0.1, 30),
        lambda: Step(0.1, (30, -1)),
        lambda: Step(0.1, (30,), -0.5),
        lambda: InverseSqrt("fast"),
        lambda: Warmup(-1, 0.1),
        lambda: Warmup(1, None),
        lambda: CosineRestarts(0.1, 0),
        lambda: CosineRestarts(0.1, 5, 0.5),
        lambda: BatchScaled(0.1, 0),
        lambda: Scaled(0.1, -1.0),
    ],
)
def test_wrong_numbers_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong()

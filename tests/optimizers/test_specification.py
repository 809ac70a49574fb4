"""The thalweg convention: the specification's formulas E4 to E12, transcribed to NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from optimizer_cases import FLOOR, PEAK, RATES, STEPS, Point, assert_same_path, follow, make_gradient, start

from thalweg.optimizers import CONVENTIONS, SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp, traits
from thalweg.schedules import Constant, Cosine, Given, Warmup

RATE = Cosine(PEAK, STEPS, FLOOR)
Rule = Callable[..., np.ndarray]


def follow_rule(make: Callable[[], Rule], decay: float = 0.0, rates: Any = RATES) -> list[Point]:
    """Follow ``rule(x, g, rate, t) -> x``, one of its own for each array; decay joins g, but not for biases."""
    gradient, point, points = make_gradient(), start(), []
    rules = {name: make() for name in point}
    for t, rate in enumerate(rates, start=1):
        g = gradient(point)
        for name in ("weights", "quadratic"):
            g[name] = g[name] + decay * point[name]
        point = {name: rules[name](x, g[name], rate, t) for name, x in point.items()}
        points.append(point)
    return points


def plain() -> Rule:
    return lambda x, g, rate, t: x - rate * g


def momentum_outside(rho: float) -> Rule:
    v: Any = 0.0

    def rule(x: Any, g: Any, rate: float, t: int) -> Any:
        nonlocal v
        v = rho * v + g
        return x - rate * v

    return rule


def momentum_inside(rho: float) -> Rule:
    v: Any = 0.0

    def rule(x: Any, g: Any, rate: float, t: int) -> Any:
        nonlocal v
        v = rho * v - rate * g
        return x + v

    return rule


def nesterov_rewritten(rho: float) -> Rule:
    v: Any = 0.0

    def rule(x: Any, g: Any, rate: float, t: int) -> Any:
        nonlocal v
        old, v = v, rho * v - rate * g
        return x + v + rho * (v - old)

    return rule


def adagrad() -> Rule:
    s: Any = 0.0

    def rule(x: Any, g: Any, rate: float, t: int) -> Any:
        nonlocal s
        s = s + g**2
        return x - rate * g / (np.sqrt(s) + 1e-7)

    return rule


def rmsprop(d: float) -> Rule:
    s: Any = 0.0

    def rule(x: Any, g: Any, rate: float, t: int) -> Any:
        nonlocal s
        s = d * s + (1 - d) * g**2
        return x - rate * g / (np.sqrt(s) + 1e-7)

    return rule


def adam(corrected: bool, decay: float = 0.0) -> Rule:
    m: Any = 0.0
    s: Any = 0.0

    def rule(x: Any, g: Any, rate: float, t: int) -> Any:
        nonlocal m, s
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
        c1, c2 = (1 - 0.9**t, 1 - 0.999**t) if corrected else (1.0, 1.0)
        return x - rate * (m / c1) / (np.sqrt(s / c2) + 1e-8) - rate * decay * x

    return rule


@pytest.mark.parametrize(
    ("ours", "make", "decay"),
    [
        (SGD(RATE), plain, 0.0),
        (SGD(RATE, weight_decay=0.2), plain, 0.2),
        (SGD(RATE, 0.9), lambda: momentum_outside(0.9), 0.0),
        (SGD(RATE, 0.9, form="inside"), lambda: momentum_inside(0.9), 0.0),
        (SGD(RATE, 0.9, nesterov=True), lambda: nesterov_rewritten(0.9), 0.0),
        (SGD(RATE, 0.9, nesterov=True, form="lookahead"), lambda: nesterov_rewritten(0.9), 0.0),
        (AdaGrad(RATE), adagrad, 0.0),
        (AdaGrad(RATE, weight_decay=0.2), adagrad, 0.2),
        (RMSProp(RATE), lambda: rmsprop(0.99), 0.0),
        (RMSProp(RATE, 0.9, weight_decay=0.2), lambda: rmsprop(0.9), 0.2),
        (Adam(RATE), lambda: adam(True), 0.0),
        (Adam(RATE, bias_correction=False), lambda: adam(False), 0.0),
        (Adam(RATE, weight_decay=0.2), lambda: adam(True), 0.2),
    ],
)
def test_follows_the_formula(ours: Any, make: Callable[[], Rule], decay: float) -> None:
    assert_same_path(follow(ours), follow_rule(make, decay))


@pytest.mark.parametrize("scaling", ["rate", "multiplier"])
def test_adamw_decays_beside_the_step(scaling: str) -> None:
    """E10: decay after the moments; "multiplier" scales it by α(t)/α_base, the paper's η_t. Biases are spared."""
    decay = 0.3 if scaling == "rate" else 0.3 / PEAK
    weight_decay = 0.3
    theirs = follow_rule(lambda: adam(True, decay))
    spared = follow_rule(lambda: adam(True))
    ours = follow(AdamW(RATE, weight_decay=weight_decay, decay_scaling=scaling))
    # The softmax gradient couples weights and bias, so the bias is compared where it alone is followed: at step 0.
    np.testing.assert_allclose(ours[0]["bias"], spared[0]["bias"], rtol=1e-13)
    assert not np.allclose(theirs[0]["bias"], spared[0]["bias"], rtol=1e-3)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a["quadratic"], b["quadratic"], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours[0]["weights"], theirs[0]["weights"], rtol=1e-13)


@pytest.mark.parametrize("rho", [0.9, 0.99])
def test_the_two_forms_of_momentum_give_the_same_x(rho: float) -> None:
    """E4, and only while the rate is constant."""
    assert_same_path(follow(SGD(0.01, rho)), follow(SGD(0.01, rho, form="inside")))
    with pytest.raises(AssertionError):
        assert_same_path(follow(SGD(RATE, rho)), follow(SGD(RATE, rho, form="inside")))


@pytest.mark.parametrize("form", ["inside", "lookahead", "outside"])
def test_nesterov_is_the_textbook_recursion(form: str, x64: None) -> None:
    """E5: v' = ρv − α∇f(x + ρv), x += v'; the parameters held are x + ρv, and ``position`` gives x."""
    optimizer = SGD(0.02, 0.9, nesterov=True, form=form)
    gradient, again = make_gradient(), make_gradient()
    x, v = start(), {name: 0.0 * value for name, value in start().items()}
    held, state = {k: jnp.asarray(p) for k, p in start().items()}, optimizer.init(start())
    for _ in range(100):
        g = gradient({name: x[name] + 0.9 * v[name] for name in x})
        v = {name: 0.9 * v[name] - 0.02 * g[name] for name in x}
        x = {name: x[name] + v[name] for name in x}
        updates, state = optimizer.update(again({k: np.asarray(p) for k, p in held.items()}), state, held)
        held = {name: held[name] + updates[name] for name in held}
        position = optimizer.position(held, state)
        for name in x:
            np.testing.assert_allclose(position[name], x[name], rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(held[name], x[name] + 0.9 * v[name], rtol=1e-12, atol=1e-12)


def test_without_nesterov_the_parameters_are_the_position() -> None:
    optimizer, point = SGD(0.1, 0.9), {"w": jnp.ones(2)}
    assert optimizer.position(point, optimizer.init(point)) is point


def test_adams_first_steps() -> None:
    """E8: without bias correction the first step is (1 − β1)/√(1 − β2) = 3.16 times α; with it, α (E9)."""
    g, x = jnp.array([3.0, -0.02]), jnp.zeros(2)
    for corrected, length in ((True, 1e-3), (False, 1e-3 * 0.1 / np.sqrt(0.001))):
        optimizer = Adam(1e-3, bias_correction=corrected)
        updates, _ = optimizer.update(g, optimizer.init(x), x)
        # ε/√s is up to 1e-8/(0.02 · 0.03): 2e-5.
        np.testing.assert_allclose(updates, [-length, length], rtol=3e-5)


def test_adagrads_step_decays_to_zero() -> None:
    """E6: under a constant gradient the t-th step is α/√t."""
    optimizer, g = AdaGrad(0.1), jnp.array([5.0])
    state = optimizer.init(g)
    for t in range(1, 50):
        updates, state = optimizer.update(g, state, g)
        np.testing.assert_allclose(updates, [-0.1 / np.sqrt(t)], rtol=1e-6)


def test_defaults_are_the_specifications() -> None:
    """E6, E7, E9, E12, in fields that hold the numbers, so that a recipe prints in full."""
    assert (AdaGrad(0.1).epsilon, AdaGrad(0.1).initial_accumulator) == (1e-7, 0.0)
    assert (RMSProp(0.1).decay, RMSProp(0.1).epsilon) == (0.99, 1e-7)
    for optimizer in (Adam(), AdamW()):
        assert optimizer.learning_rate == Constant(1e-3)
        assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.999, 1e-8)
    assert AdamW().weight_decay == 0.01
    assert (SGD(0.1).form, SGD(0.1, 0.9, nesterov=True).form) == ("outside", "inside")


def test_a_schedule_may_begin_at_zero() -> None:
    """The multiplier is α(t)/base, and a rate of 0 throughout decays nothing instead of dividing 0 by 0."""
    x = {"w": jnp.ones(2)}
    for rate in (Warmup(10, 0.1), 0.0, Given(0.0, 0.0)):
        optimizer = AdamW(rate, decay_scaling="multiplier")
        updates, _ = optimizer.update(x, optimizer.init(x), x)
        np.testing.assert_array_equal(updates["w"], [0, 0])


TRAITS = ("first_moment", "second_moment", "leaky_second_moment", "bias_correction")


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    ("make", "row"),
    [
        (lambda c: SGD(0.1, convention=c), "----"),
        (lambda c: SGD(0.1, 0.9, convention=c), "x---"),
        (lambda c: SGD(0.1, 0.9, nesterov=True, convention=c), "x---"),
        (lambda c: AdaGrad(0.1, convention=c), "-x--"),
        (lambda c: RMSProp(Warmup(5, Cosine(0.1)), convention=c), "-xx-"),
        (lambda c: Adam(0.1, convention=c), "xxxx"),
        (lambda c: Adam(0.1, bias_correction=False, convention=c), "xxx-"),
        (lambda c: AdamW(0.1, convention=c), "xxxx"),
    ],
)
def test_which_tracks_what(make: Callable[[str], Optimizer], row: str, convention: str) -> None:
    """E11, derived from what the optimizers do."""
    assert traits(make(convention)) == {name: mark == "x" for name, mark in zip(TRAITS, row, strict=True)}

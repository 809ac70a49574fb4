"""The keras convention against a transcription of Keras 3's documented updates, and against Keras where installed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
from optimizer_cases import FLOOR, PEAK, RATES, STEPS, Point, assert_same_path, follow, make_gradient, start

from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, RMSProp
from thalweg.schedules import Cosine

RATE = Cosine(PEAK, STEPS, FLOOR)
Array = np.ndarray
CASES: list[tuple[Any, dict[str, Any]]] = [
    (SGD, {}),
    (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.7, "nesterov": True}),
    (SGD, {"momentum": 0.7, "weight_decay": 0.1}),
    (AdaGrad, {}),
    (AdaGrad, {"epsilon": 1e-2, "initial_accumulator": 0.3, "weight_decay": 0.1}),
    (RMSProp, {}),
    (RMSProp, {"decay": 0.8, "epsilon": 1e-3, "weight_decay": 0.1}),
    (RMSProp, {"momentum": 0.6}),
    (RMSProp, {"centered": True, "momentum": 0.5, "epsilon": 1e-3}),
    (Adam, {}),
    (Adam, {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-2, "weight_decay": 0.1}),
    (AdamW, {}),
    (AdamW, {"weight_decay": 0.3, "epsilon": 1e-3}),
]
IDS = [f"{kind.__name__}-{numbers}" for kind, numbers in CASES]
NAMES = {
    "beta1": "beta_1",
    "beta2": "beta_2",
    "decay": "rho",
    "initial_accumulator": "initial_accumulator_value",
}


# --- the transcription: each function makes `step(x, g, rate, t) -> x`, t = 1, 2, ...


def sgd(momentum: float = 0.0, nesterov: bool = False) -> Callable[..., Array]:
    v: Any = 0.0

    def step(x: Array, g: Array, rate: float, t: int) -> Array:
        nonlocal v
        v = momentum * v - rate * g
        return x + (momentum * v - rate * g if nesterov else v)

    return step


def adagrad(epsilon: float = 1e-7, initial_accumulator: float = 0.1) -> Callable[..., Array]:
    s: Any = initial_accumulator

    def step(x: Array, g: Array, rate: float, t: int) -> Array:
        nonlocal s
        s = s + g**2
        return x - rate * g / np.sqrt(s + epsilon)

    return step


def rmsprop(decay: float = 0.9, epsilon: float = 1e-7, momentum: float = 0.0, centered: bool = False) -> Any:
    s: Any = 0.0
    m: Any = 0.0
    v: Any = 0.0

    def step(x: Array, g: Array, rate: float, t: int) -> Array:
        nonlocal s, m, v
        s, m = decay * s + (1 - decay) * g**2, decay * m + (1 - decay) * g
        v = momentum * v + rate * g / np.sqrt(s - (m**2 if centered else 0) + epsilon)
        return x - v

    return step


def adam(beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-7) -> Callable[..., Array]:
    m: Any = 0.0
    s: Any = 0.0

    def step(x: Array, g: Array, rate: float, t: int) -> Array:
        nonlocal m, s
        m, s = m + (g - m) * (1 - beta1), s + (g**2 - s) * (1 - beta2)
        return x - rate * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(s) + epsilon)

    return step


RULES = {SGD: sgd, AdaGrad: adagrad, RMSProp: rmsprop, Adam: adam, AdamW: adam}


def follow_transcription(kind: Any, numbers: dict[str, Any]) -> list[Point]:
    gradient, point = make_gradient(), start()
    decay = numbers.get("weight_decay", 0.004 if kind is AdamW else 0.0)
    rest = {name: value for name, value in numbers.items() if name != "weight_decay"}
    steps = {name: RULES[kind](**rest) for name in point}
    points = []
    for t, rate in enumerate(RATES, start=1):
        g = gradient(point)
        point = {name: steps[name](x - x * decay * rate, g[name], rate, t) for name, x in point.items()}
        points.append(point)
    return points


@pytest.mark.parametrize(("kind", "numbers"), CASES, ids=IDS)
def test_equals_the_transcription(kind: Any, numbers: dict[str, Any]) -> None:
    ours = follow(kind(RATE, convention="keras", **numbers))
    assert_same_path(ours, follow_transcription(kind, numbers))


# --- Keras itself, where it is installed (CI)


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    before = keras.config.floatx()
    keras.config.set_floatx("float64")  # else Keras rounds the learning rate to float32
    with jax.enable_x64(True):
        yield keras
    keras.config.set_floatx(before)


def follow_keras(keras: Any, kind: Any, numbers: dict[str, Any]) -> list[Point]:
    gradient, point = make_gradient(), start()
    named = {NAMES.get(name, name): value for name, value in numbers.items()}
    optimizer = getattr(keras.optimizers, KERAS_NAMES[kind])(learning_rate=float(RATES[0]), **named)
    variables = {name: keras.Variable(value, dtype="float64") for name, value in point.items()}
    optimizer.build(list(variables.values()))
    points = []
    for rate in RATES:
        optimizer.learning_rate = float(rate)
        g = gradient({name: np.asarray(variable.value) for name, variable in variables.items()})
        optimizer.apply([jax.numpy.asarray(g[name]) for name in variables])
        points.append({name: np.asarray(variable.value) for name, variable in variables.items()})
    return points


KERAS_NAMES = {SGD: "SGD", AdaGrad: "Adagrad", RMSProp: "RMSprop", Adam: "Adam", AdamW: "AdamW"}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "numbers"), CASES, ids=IDS)
def test_equals_keras(keras: Any, kind: Any, numbers: dict[str, Any]) -> None:
    ours = follow(kind(RATE, convention="keras", **numbers))
    assert_same_path(ours, follow_keras(keras, kind, numbers))


@pytest.mark.parametrize("kind", KERAS_NAMES, ids=lambda kind: kind.__name__)
def test_defaults_equal_keras(keras: Any, kind: Any) -> None:
    ours = kind(convention="keras")
    parameters = inspect.signature(getattr(keras.optimizers, KERAS_NAMES[kind]).__init__).parameters
    assert ours.learning_rate.value == parameters["learning_rate"].default
    for name in ("epsilon", "beta1", "beta2", "decay", "initial_accumulator", "weight_decay"):
        if hasattr(ours, name):
            assert getattr(ours, name) == parameters[NAMES.get(name, name)].default

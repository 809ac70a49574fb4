"""The torch convention against torch.optim: 200 float64 steps, every argument, equal to 1e-12."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from optimizer_cases import FLOOR, PEAK, RATES, SEEDS, STEPS, Point, assert_same_path, follow, make_gradient, start

from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, RMSProp
from thalweg.schedules import Cosine

torch = pytest.importorskip("torch")

RATE = Cosine(PEAK, STEPS, FLOOR)
CASES: list[tuple[Any, str, dict[str, Any], dict[str, Any]]] = [
    (SGD, "SGD", {}, {}),
    (SGD, "SGD", {"weight_decay": 0.1}, {"weight_decay": 0.1}),
    (SGD, "SGD", {"momentum": 0.9}, {"momentum": 0.9}),
    (SGD, "SGD", {"momentum": 0.0}, {"momentum": 0.0}),
    (SGD, "SGD", {"momentum": 0.8, "dampening": 0.3}, {"momentum": 0.8, "dampening": 0.3}),
    (SGD, "SGD", {"momentum": 0.7, "nesterov": True}, {"momentum": 0.7, "nesterov": True}),
    (SGD, "SGD", *[{"momentum": 0.5, "dampening": 0.1, "weight_decay": 0.05}] * 2),
    (AdaGrad, "Adagrad", {}, {}),
    (AdaGrad, "Adagrad", {"epsilon": 1e-2}, {"eps": 1e-2}),
    (AdaGrad, "Adagrad", {"initial_accumulator": 0.3}, {"initial_accumulator_value": 0.3}),
    (AdaGrad, "Adagrad", {"weight_decay": 0.1}, {"weight_decay": 0.1}),
    (RMSProp, "RMSprop", {}, {}),
    (RMSProp, "RMSprop", {"decay": 0.8, "epsilon": 1e-3}, {"alpha": 0.8, "eps": 1e-3}),
    (RMSProp, "RMSprop", {"momentum": 0.6}, {"momentum": 0.6}),
    (RMSProp, "RMSprop", {"centered": True, "epsilon": 1e-2}, {"centered": True, "eps": 1e-2}),
    (RMSProp, "RMSprop", *[{"centered": True, "momentum": 0.5, "weight_decay": 0.1}] * 2),
    (Adam, "Adam", {}, {}),
    (Adam, "Adam", {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-2}, {"betas": (0.5, 0.9), "eps": 1e-2}),
    (Adam, "Adam", {"weight_decay": 0.1}, {"weight_decay": 0.1}),
    (AdamW, "AdamW", {}, {}),
    (AdamW, "AdamW", {"weight_decay": 0.3, "epsilon": 1e-3}, {"weight_decay": 0.3, "eps": 1e-3}),
    (AdamW, "AdamW", {"beta1": 0.0, "beta2": 0.99}, {"betas": (0.0, 0.99)}),
]


def follow_torch(name: str, arguments: dict[str, Any], seed: int) -> list[Point]:
    gradient, point = make_gradient(seed), start(seed)
    tensors = {key: torch.tensor(value, requires_grad=True) for key, value in point.items()}
    optimizer = getattr(torch.optim, name)(list(tensors.values()), lr=float(RATES[0]), **arguments)
    points = []
    for rate in RATES:
        optimizer.param_groups[0]["lr"] = float(rate)
        for key, value in gradient({k: t.detach().numpy() for k, t in tensors.items()}).items():
            tensors[key].grad = torch.tensor(value)
        optimizer.step()
        points.append({key: tensor.detach().numpy().copy() for key, tensor in tensors.items()})
    return points


@pytest.mark.parametrize(("kind", "name", "ours", "theirs"), CASES, ids=[f"{c[1]}-{c[2]}" for c in CASES])
def test_equals_torch(kind: Any, name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    optimizer = kind(RATE, convention="torch", **ours)
    for seed in SEEDS:
        assert_same_path(follow(optimizer, seed), follow_torch(name, theirs, seed))


@pytest.mark.parametrize(
    ("kind", "name", "names"),
    [
        (SGD, "SGD", {}),
        (AdaGrad, "Adagrad", {"epsilon": "eps", "initial_accumulator": "initial_accumulator_value"}),
        (RMSProp, "RMSprop", {"decay": "alpha", "epsilon": "eps"}),
        (Adam, "Adam", {"epsilon": "eps"}),
        (AdamW, "AdamW", {"epsilon": "eps", "weight_decay": "weight_decay"}),
    ],
)
def test_defaults_equal_torch(kind: Any, name: str, names: dict[str, str]) -> None:
    ours = kind(convention="torch")
    theirs = {key: p.default for key, p in inspect.signature(getattr(torch.optim, name)).parameters.items()}
    assert ours.learning_rate.value == theirs["lr"]
    for mine, its in names.items():
        assert getattr(ours, mine) == theirs[its]
    if hasattr(ours, "beta1"):
        assert (ours.beta1, ours.beta2) == theirs["betas"]

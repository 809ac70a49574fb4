"""Derivative rules written by hand for PyTorch: ``torch.autograd.Function`` and ``detach``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .case import Case, Function, Tree


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def ruled(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """Make a torch.autograd.Function whose inputs are saved and handed to ``backward(cotangent, *inputs)``."""

    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx: Any, cotangent: torch.Tensor) -> Any:
            return backward(cotangent, *ctx.saved_tensors)

    return Rule.apply


def pair(
    name: str, make: Callable[[str], Function], plain: Function, x: Tree, bugs: tuple[str, ...], order: int = 1
) -> list[Case]:
    """Make the correct case of ``make("")`` and one for each bug."""
    named = [("", name, False), *((bug, f"{name}: {bug}", True) for bug in bugs)]
    return [Case(title, make(bug), x, None, "torch", wrong, plain, order=order) for bug, title, wrong in named]


def linear(bug: str) -> Function:
    """A dense layer of three leaves."""

    def backward(cotangent: Any, inputs: Any, weights: Any, bias: Any) -> Any:
        to_weights = cotangent.T @ inputs
        if bug == "weights transposed":
            to_weights = to_weights.T
        to_bias: Any = cotangent.sum(0)
        if bug == "no gradient for the bias":
            to_bias = None
        if bug == "bias averaged over the batch":
            to_bias = cotangent.mean(0)
        return cotangent @ weights, to_weights, to_bias

    layer = ruled(lambda inputs, weights, bias: inputs @ weights.T + bias, backward)
    return lambda x: torch.tanh(layer(x["inputs"], x["weights"], x["bias"])).sum()


def linear_plain(x: Tree) -> Any:
    return torch.tanh(x["inputs"] @ x["weights"].T + x["bias"]).sum()


def swish(bug: str) -> Function:
    def backward(cotangent: Any, x: Any) -> Any:
        gate = torch.sigmoid(x)
        slope = gate if bug == "second term forgotten" else gate * (1 + x * (1 - gate))
        return slope if bug == "upstream gradient ignored" else cotangent * slope

    layer = ruled(lambda x: x * torch.sigmoid(x), backward)
    return lambda x: (3 * layer(x) + layer(x) ** 2).sum()


def swish_plain(x: Any) -> Any:
    y = x * torch.sigmoid(x)
    return (3 * y + y**2).sum()


def clamp(bug: str) -> Function:
    def backward(cotangent: Any, x: Any) -> Any:
        inside = x < 1 if bug == "mask of one side only" else (x > -1) & (x < 1)
        return cotangent * inside

    layer = ruled(lambda x: x.clamp(-1, 1), backward)
    return lambda x: (layer(x) ** 3 + x).mean()


def unit(bug: str) -> Function:
    def loss(x: Any) -> Any:
        length = x.norm()
        length = length.detach() if bug == "norm detached" else length
        return (x / length * torch.arange(len(x))).sum()

    return loss


def exponential(bug: str) -> Function:
    """exp by a rule; a wrong entry, or a small error, among many."""

    def backward(cotangent: Any, x: Any) -> Any:
        gradient = cotangent * torch.exp(x)
        if bug == "one entry doubled":
            gradient[len(x) // 3] *= 2
        if bug == "off by 1e-4 relative":
            gradient = gradient * (1 + 1e-4)
        return gradient

    layer = ruled(torch.exp, backward)
    return lambda x: layer(x).sum()


def exponential_plain(x: Any) -> Any:
    return torch.exp(x).sum()


def cube_twice(bug: str) -> Function:
    """x³, whose backward may lose what a second derivative needs."""

    def backward(cotangent: Any, x: Any) -> Any:
        return cotangent * 3 * (x.detach() * x if bug == "one factor detached" else x * x)

    layer = ruled(lambda x: x**3, backward)
    return lambda x: layer(x).sum()


def sigmoid_twice(bug: str) -> Function:
    """A sigmoid whose backward calls a second rule, as double backwards are written by hand."""

    def second(cotangent: Any, x: Any) -> Any:
        gate = torch.sigmoid(x)
        inner = 1 - gate if bug == "factor 2 forgotten in the double backward" else 1 - 2 * gate
        return cotangent * gate * (1 - gate) * inner

    slope = ruled(lambda x: torch.sigmoid(x) * (1 - torch.sigmoid(x)), second)
    layer = ruled(torch.sigmoid, lambda cotangent, x: cotangent * slope(x))
    return lambda x: layer(x).sum()


def cases() -> list[Case]:
    dense = {"inputs": normal(1, 6, 4), "weights": normal(2, 4, 4), "bias": normal(3, 4)}
    dense = dense | {"inputs": dense["inputs"][:4] / 2}
    single = normal(5, 40, dtype=torch.float32)
    return [
        *pair(
            "torch linear",
            linear,
            linear_plain,
            dense,
            ("weights transposed", "no gradient for the bias", "bias averaged over the batch"),
        ),
        *pair("torch swish", swish, swish_plain, normal(4, 25), ("second term forgotten", "upstream gradient ignored")),
        *pair("torch swish, float32", swish, swish_plain, single, ("second term forgotten",)),
        *pair(
            "torch clamp",
            clamp,
            lambda x: (x.clamp(-1, 1) ** 3 + x).mean(),
            2 * normal(6, 30),
            ("mask of one side only",),
        ),
        *pair(
            "torch norm", unit, lambda x: (x / x.norm() * torch.arange(len(x))).sum(), normal(7, 9), ("norm detached",)
        ),
        *pair(
            "torch exponential",
            exponential,
            exponential_plain,
            normal(8, 300),
            ("one entry doubled", "off by 1e-4 relative"),
        ),
        *pair("torch exponential, 50,000", exponential, exponential_plain, normal(9, 50_000), ("one entry doubled",)),
        *pair(
            "torch cube, second order", cube_twice, lambda x: (x**3).sum(), normal(10, 8), ("one factor detached",), 2
        ),
        *pair(
            "torch sigmoid, second order",
            sigmoid_twice,
            lambda x: torch.sigmoid(x).sum(),
            normal(11, 8),
            ("factor 2 forgotten in the double backward",),
            2,
        ),
    ]

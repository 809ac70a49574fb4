"""Derivative rules written by hand for JAX (custom_vjp, custom_jvp, stop_gradient), and plain JAX functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .case import Case, Function, Tree


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def reverse(f: Function, forward: Function, backward: Callable[[Any, Any], Any]) -> Function:
    """Attach a rule: ``forward`` gives the residuals, ``backward(residuals, cotangent)`` the gradient."""
    ruled = jax.custom_vjp(f)
    ruled.defvjp(lambda x: (f(x), forward(x)), lambda kept, cotangent: (backward(kept, cotangent),))
    return ruled


def directional(f: Function, tangent: Callable[[Any, Any], Any]) -> Function:
    """Attach a rule: ``tangent(x, direction)`` is the directional derivative."""
    ruled = jax.custom_jvp(f)
    ruled.defjvp(lambda primals, tangents: (f(*primals), tangent(primals[0], tangents[0])))
    return ruled


def case(name: str, f: Function, plain: Function, x: Tree, wrong: bool, **more: Any) -> Case:
    return Case(name, f, x, None, "jax", wrong, plain, **more)


def pair(
    name: str, make: Callable[..., Function], plain: Function, x: Tree, bugs: tuple[str, ...], order: int = 1
) -> list[Case]:
    """Make the correct case of ``make("")`` and one for each bug."""
    cases = [case(name, make(""), plain, x, wrong=False, order=order)]
    return cases + [case(f"{name}: {bug}", make(bug), plain, x, wrong=True, order=order) for bug in bugs]


# First derivatives


def softplus_sum(bug: str) -> Function:
    """Softplus in its stable form with its own reverse rule, inside a mean."""

    def backward(kept: Any, cotangent: Any) -> Any:
        slope = jax.nn.sigmoid(kept)
        return slope if bug == "cotangent ignored" else cotangent * slope

    def forward(x: Any) -> Any:
        return jnp.logaddexp(x, 0.0) if bug == "output kept as residual" else x

    softplus = reverse(lambda x: jnp.logaddexp(x, 0.0), forward, backward)
    return lambda x: (softplus(x) ** 2).mean()


def product_sum(bug: str) -> Function:
    """A square matrix product with a reverse rule of two leaves."""

    def backward(kept: Any, cotangent: Any) -> Any:
        left, right = kept
        to_left = cotangent @ (right if bug == "right factor not transposed" else right.T)
        to_right = (left if bug == "left factor not transposed" else left.T) @ cotangent
        return (to_left, jnp.zeros_like(to_right) if bug == "second leaf forgotten" else to_right)

    product = reverse(lambda x: x[0] @ x[1], lambda x: x, backward)
    return lambda x: jnp.sin(product(x)).sum()


def bias_sum(bug: str) -> Function:
    """Rows plus a bias with a reverse rule."""

    def backward(kept: Any, cotangent: Any) -> Any:
        bias = cotangent[0] if bug == "bias of the first row" else cotangent.sum(axis=0)
        return {"rows": cotangent, "bias": bias}

    added = reverse(lambda x: x["rows"] + x["bias"], lambda x: None, backward)
    return lambda x: (added(x) ** 3).mean()


def scores_loss(bug: str) -> Function:
    """Logarithm of a sum of exponentials with stop_gradient where it belongs, or where it does not."""

    def loss(scores: Any) -> Any:
        peak = lax.stop_gradient(scores.max())  # cancels: its gradient may be dropped
        total = jnp.exp(scores - peak).sum()
        if bug == "stop_gradient around the normaliser":
            total = lax.stop_gradient(total) + 0 * total
        return jnp.log(total) + peak - scores[2] + 0.01 * (total * jnp.exp(peak))

    return loss


def scores_plain(scores: Any) -> Any:
    return jax.nn.logsumexp(scores) - scores[2] + 0.01 * jnp.exp(scores).sum()


def squash(bug: str) -> Function:
    """An elementwise tanh with a forward rule; an array comes back."""

    def tangent(x: Any, direction: Any) -> Any:
        slope = 1 - jnp.tanh(x) ** 2
        return (1.5 if bug == "forward derivative 50 % too large" else 1.0) * slope * direction

    return directional(jnp.tanh, tangent)


def safe_root(x: Any) -> Any:
    """The root where x is positive, else 0: the untaken branch's NaN reaches the gradient."""
    return jnp.where(x > 0, jnp.sqrt(x), 0.0).sum()


def safe_root_plain(x: Any) -> Any:
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0).sum()


def clipped(bug: str) -> Function:
    """The identity with a reverse rule that clips what comes back."""
    limit = 0.5 if bug == "gradient clipped inside the layer" else 1e9
    layer = reverse(lambda x: x, lambda x: None, lambda kept, cotangent: jnp.clip(cotangent, -limit, limit))
    return lambda x: (layer(x) ** 2).sum()


def gathered(bug: str) -> Function:
    """A cumulative sum with a reverse rule."""

    def backward(kept: Any, cotangent: Any) -> Any:
        if bug == "cumulated from the wrong end":
            return jnp.cumsum(cotangent)
        return jnp.cumsum(cotangent[::-1])[::-1]

    cumulated = reverse(lambda x: jnp.cumsum(x, axis=0), lambda x: None, backward)
    return lambda x: jnp.sin(cumulated(x)).sum()


def norm_layer(bug: str) -> Function:
    """Division by the norm, as a plain JAX function."""

    def loss(x: Any) -> Any:
        length = jnp.sqrt((x**2).sum())
        if bug == "stop_gradient on the norm":
            length = lax.stop_gradient(length)
        return (jnp.arange(x.shape[0]) * x / length).sum()

    return loss


def first_order() -> list[Case]:
    square = (normal(1, 4, 4), normal(2, 4, 4))
    rows = {"rows": normal(3, 6, 3), "bias": normal(4, 3)}
    single = normal(5, 300).astype(np.float32)
    wider = normal(6, 1_000).astype(np.float32)
    half = ("forward derivative 50 % too large",)
    return [
        *pair(
            "custom_vjp softplus",
            softplus_sum,
            lambda x: (jnp.logaddexp(x, 0.0) ** 2).mean(),
            normal(7, 30),
            ("output kept as residual", "cotangent ignored"),
        ),
        *pair(
            "custom_vjp product",
            product_sum,
            lambda x: jnp.sin(x[0] @ x[1]).sum(),
            square,
            ("right factor not transposed", "left factor not transposed", "second leaf forgotten"),
        ),
        *pair(
            "custom_vjp bias",
            bias_sum,
            lambda x: ((x["rows"] + x["bias"]) ** 3).mean(),
            rows,
            ("bias of the first row",),
        ),
        *pair("scores", scores_loss, scores_plain, normal(8, 6), ("stop_gradient around the normaliser",)),
        *pair("custom_jvp tanh, float32, 300 outputs", squash, jnp.tanh, single, half),
        *pair("custom_jvp tanh, float32, 1,000 outputs", squash, jnp.tanh, wider, half),
        *pair("custom_jvp tanh, 100,000 outputs", squash, jnp.tanh, normal(9, 100_000), half),
        *pair(
            "custom_vjp identity",
            clipped,
            lambda x: (x**2).sum(),
            normal(10, 12),
            ("gradient clipped inside the layer",),
        ),
        *pair(
            "custom_vjp cumulative sum",
            gathered,
            lambda x: jnp.sin(jnp.cumsum(x)).sum(),
            normal(11, 25) / 3,
            ("cumulated from the wrong end",),
        ),
        *pair("JAX norm", norm_layer, norm_plain, normal(12, 10), ("stop_gradient on the norm",)),
        case("root of positive entries", safe_root_plain, safe_root_plain, np.array([2.0, -1.0, 0.5]), wrong=False),
        case("NaN from the untaken branch", safe_root, safe_root_plain, np.array([2.0, -1.0, 0.5]), wrong=True),
    ]


def norm_plain(x: Any) -> Any:
    return (jnp.arange(x.shape[0]) * x).sum() / jnp.linalg.norm(x)


# Second derivatives


def softplus_twice(bug: str) -> Function:
    """Softplus whose reverse rule is right, and may not be differentiable itself."""

    def backward(kept: Any, cotangent: Any) -> Any:
        slope = jax.nn.sigmoid(kept)
        return cotangent * (lax.stop_gradient(slope) if bug == "slope taken as constant" else slope)

    softplus = reverse(lambda x: jnp.logaddexp(x, 0.0), lambda x: x, backward)
    return lambda x: softplus(x).sum()


def sine_twice(bug: str) -> Function:
    """Sine whose rule calls a cosine with a rule of its own."""
    sign = 1 if bug == "second derivative of the wrong sign" else -1
    factor = 2 if bug == "second derivative twice too large" else 1
    cosine = directional(jnp.cos, lambda x, direction: factor * sign * jnp.sin(x) * direction)
    sine = directional(jnp.sin, lambda x, direction: cosine(x) * direction)
    return lambda x: (sine(x) * jnp.arange(1, x.shape[0] + 1)).sum()


def scores_twice(bug: str) -> Function:
    """logsumexp with softmax in its forward rule, its normaliser perhaps taken as constant."""

    def tangent(scores: Any, direction: Any) -> Any:
        exponentials = jnp.exp(scores - lax.stop_gradient(scores.max()))
        total = exponentials.sum()
        if bug == "normaliser taken as constant":
            total = lax.stop_gradient(total)
        return (exponentials / total * direction).sum()

    return directional(jax.nn.logsumexp, tangent)


def coupling_twice(bug: str) -> Function:
    """x'Ax/2 with a gradient whose own derivative, with the bug, is a matrix that is not symmetric."""
    matrix = normal(21, 8, 8)
    symmetric = (matrix + matrix.T) / 2

    def slope(x: Any) -> Any:
        # The same values twice: the bug only changes which factor the second derivative sees.
        skew = (matrix - matrix.T) / 2
        return symmetric @ x + (skew @ (x - lax.stop_gradient(x)) if bug == "Hessian not symmetric" else 0)

    return directional(lambda x: 0.5 * x @ symmetric @ x, lambda x, direction: slope(x) @ direction)


def coupling_plain(x: Any) -> Any:
    return 0.5 * x @ normal(21, 8, 8) @ x


def entry_twice(bug: str) -> Function:
    """Sum of x⁴ over many entries, with one wrong entry in the diagonal of the Hessian."""

    def tangent(x: Any, direction: Any) -> Any:
        slope = 4 * x**3
        if bug == "one entry of 500":
            slope = slope.at[321].set(4 * lax.stop_gradient(x[321]) ** 3)
        return (slope * direction).sum()

    return directional(lambda x: (x**4).sum(), tangent)


def second_order() -> list[Case]:
    return [
        *pair(
            "softplus, second order",
            softplus_twice,
            lambda x: jnp.logaddexp(x, 0.0).sum(),
            normal(22, 10),
            ("slope taken as constant",),
            order=2,
        ),
        *pair(
            "sine, second order",
            sine_twice,
            lambda x: (jnp.sin(x) * jnp.arange(1, x.shape[0] + 1)).sum(),
            normal(23, 6),
            ("second derivative of the wrong sign", "second derivative twice too large"),
            order=2,
        ),
        *pair(
            "logsumexp, second order",
            scores_twice,
            jax.nn.logsumexp,
            normal(24, 7),
            ("normaliser taken as constant",),
            order=2,
        ),
        *pair(
            "quadratic form, second order",
            coupling_twice,
            coupling_plain,
            normal(25, 8),
            ("Hessian not symmetric",),
            order=2,
        ),
        *pair(
            "fourth powers, second order",
            entry_twice,
            lambda x: (x**4).sum(),
            np.sign(normal(26, 500)) * (0.5 + np.abs(normal(26, 500))),
            ("one entry of 500",),
            order=2,
        ),
    ]


# Plain functions


def convolve(x: Tree) -> Any:
    """A small convolutional network with batch norm, relu, pooling and softmax loss, in float32."""
    images = normal(31, 4, 8, 8, 2).astype(x["kernel"].dtype)
    maps = lax.conv_general_dilated(images, x["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    maps = (maps - maps.mean(axis=(0, 1, 2))) / jnp.sqrt(maps.var(axis=(0, 1, 2)) + 1e-5)
    pooled = jax.nn.relu(maps * x["scale"]).reshape(4, 4, 2, 4, 2, 3).mean(axis=(2, 4)).reshape(4, -1)
    logs = jax.nn.log_softmax(pooled @ x["dense"])
    return -logs[np.arange(4), np.array([0, 1, 2, 1])].mean()


def attend(x: Tree) -> Any:
    """Two heads of attention with layer normalisation."""
    tokens = (x["tokens"] - x["tokens"].mean(-1, keepdims=True)) / (x["tokens"].std(-1, keepdims=True) + 1e-3)
    queries, keys, values = (tokens @ x[name] for name in ("q", "k", "v"))
    weights = jax.nn.softmax(jnp.einsum("ihd,jhd->hij", *(a.reshape(5, 2, 3) for a in (queries, keys))), axis=-1)
    return jnp.sin(jnp.einsum("hij,jhd->ihd", weights, values.reshape(5, 2, 3))).sum()


def layers() -> list[Case]:
    """Return plain JAX functions, which JAX differentiates rightly."""
    network = {"kernel": normal(32, 3, 3, 2, 3) / 3, "scale": 1 + normal(33, 3) / 5, "dense": normal(34, 48, 3) / 4}
    single = {name: leaf.astype(np.float32) for name, leaf in network.items()}
    heads = {name: normal(35 + i, 6, 6) / 2 for i, name in enumerate("qkv")} | {"tokens": normal(39, 5, 6)}
    vectors = normal(40, 200)
    return [
        case("convolutional network", convolve, convolve, network, wrong=False),
        case("convolutional network, float32", convolve, convolve, single, wrong=False),
        case("attention heads", attend, attend, heads, wrong=False),
        case("eigenvalues' product", determinant, determinant, normal(41, 5, 5), wrong=False),
        case("loop of 50 steps", logistic_map, logistic_map, 0.1 + vectors[:3] ** 2 / 20, wrong=False),
    ]


def determinant(x: Any) -> Any:
    return jnp.prod(jnp.linalg.eigvalsh(x @ x.T + jnp.eye(5)))


def logistic_map(x: Any) -> Any:
    """Fifty damped steps of a recurrence in ``scan``."""
    return lax.scan(lambda state, _: (jnp.sin(2.2 * state) * 0.8 + 0.1 * x, None), x, length=50)[0].sum()


def cases() -> list[Case]:
    return [*first_order(), *second_order(), *layers()]

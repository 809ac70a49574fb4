"""Correct gradients that are hard to confirm: scales, kinks, edges, precision, arithmetic that misleads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .case import Case, Tree, right

SCALES = np.logspace(-8, 8, 17)
HILBERT = 1 / (np.arange(10)[:, None] + np.arange(10) + 1)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def scaled() -> list[Case]:
    """Return entries and curvatures over many powers of ten."""
    return [
        right("squares of entries over 1e-8…1e8", lambda xp, x: (x**2).sum(), lambda x: 2 * x, SCALES),
        right(
            "sines with weights over 1e-8…1e8",
            lambda xp, x: (SCALES * xp.sin(x)).sum(),
            lambda x: SCALES * np.cos(x),
            normal(1, 17),
        ),
        right(
            "each entry on its own scale",
            lambda xp, x: ((x / SCALES) ** 2).sum(),
            lambda x: 2 * x / SCALES**2,
            SCALES * (1 + normal(2, 17) / 4),
        ),
        right(
            "each entry on its own scale, not analytic",
            lambda xp, x: (xp.abs(x / SCALES) ** 1.5).sum(),
            lambda x: 1.5 * np.sqrt(x / SCALES) / SCALES,
            SCALES * (1 + np.abs(normal(3, 17)) / 4),
        ),
        right("Hilbert quadratic", lambda xp, x: 0.5 * x @ HILBERT @ x, lambda x: HILBERT @ x, normal(4, 10)),
        right(
            "curvatures 1 and 1e12",
            lambda xp, x: 0.5 * (x[0] ** 2 + 1e12 * x[1] ** 2),
            lambda x: np.array([x[0], 1e12 * x[1]]),
            np.array([1.0, 1e-6]),
        ),
        right("huge offset", lambda xp, x: 1e12 + xp.sin(x).sum(), np.cos, normal(5, 4)),
        right(
            "huge offset, not analytic",
            lambda xp, x: 1e12 + (xp.abs(x) ** 1.5).sum(),
            lambda x: 1.5 * np.sign(x) * np.sqrt(np.abs(x)),
            normal(6, 4),
        ),
        right("1e150 times a square", lambda xp, x: 1e150 * (x**2).sum(), lambda x: 2e150 * x, normal(7, 3)),
        right("a square of 1e150", lambda xp, x: (x**2).sum(), lambda x: 2 * x, 1e150 * normal(8, 3)),
        right(
            "1e-150 times a sine", lambda xp, x: 1e-150 * xp.sin(x).sum(), lambda x: 1e-150 * np.cos(x), normal(9, 3)
        ),
        right(
            "inputs of 1e-150",
            lambda xp, x: xp.sin(1e150 * x).sum(),
            lambda x: 1e150 * np.cos(1e150 * x),
            1e-150 * normal(10, 3),
        ),
    ]


def flat() -> list[Case]:
    """Return gradients that are zero, or as good as."""
    return [
        right("constant", lambda xp, x: 3.0 + 0 * x.sum(), np.zeros_like, normal(11, 6)),
        right("fourth power at 0", lambda xp, x: (x**4).sum(), lambda x: 4 * x**3, np.zeros(5)),
        right("square at 0", lambda xp, x: (x**2).sum(), lambda x: 2 * x, np.zeros(5)),
        right("cosine at 0", lambda xp, x: xp.cos(x).sum(), lambda x: -np.sin(x), np.zeros(3)),
        right(
            "some entries do not matter",
            lambda xp, x: xp.sin(x[::2]).sum(),
            lambda x: np.cos(x) * (np.arange(len(x)) % 2 == 0),
            normal(12, 9),
        ),
        right(
            "bell far from its centre",
            lambda xp, x: xp.exp(-(x**2)).sum(),
            lambda x: -2 * x * np.exp(-(x**2)),
            np.array([20.0, 6.0, 0.5]),
        ),
        right(
            "saturated logistic loss",
            lambda xp, x: xp.log1p(xp.exp(-x)).sum(),
            lambda x: -1 / (1 + np.exp(x)),
            np.array([40.0, 25.0, 1.0]),
        ),
        right(
            "a minimum with the value 0",
            lambda xp, x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2,
            lambda x: np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)]),
            np.array([1.0, 1.0]),
        ),
        right("value 0, gradient not", lambda xp, x: (x**2).sum() - 25.0, lambda x: 2 * x, np.array([3.0, 4.0])),
        right("linear", lambda xp, x: (SCALES[4:12] * x).sum(), lambda x: SCALES[4:12], normal(13, 8)),
    ]


def relu(xp: Any, x: Any) -> Any:
    """relu; in JAX the framework's own, whose slope at 0 is 0."""
    return (jax.nn.relu(x) if xp is jnp else np.maximum(x, 0)).sum()


def relu_slope(x: np.ndarray) -> np.ndarray:
    return (x > 0).astype(float)


def hinge(xp: Any, x: Any) -> Any:
    return relu(xp, 1 - x * np.array([1, -1, 1, -1]))


def hinge_slope(x: np.ndarray) -> np.ndarray:
    sides = np.array([1, -1, 1, -1])
    return -sides * (1 - x * sides > 0)


def modulus(xp: Any, x: Any) -> Any:
    return xp.abs(x).sum()


def kinks() -> list[Case]:
    """Return points close to a kink and exactly on one."""
    cases = []
    for distance in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
        near = np.array([1.0, distance, -2.0, -distance, 0.7])
        cases.append(right(f"relu, kink {distance:.0e} away", relu, relu_slope, near))
    for distance in (1e-3, 1e-6):
        near = np.array([1 + distance, -1 + distance, 1 - distance, 0.3])
        cases.append(right(f"hinge, kink {distance:.0e} away", hinge, hinge_slope, near))
        cases.append(
            right(f"modulus, kink {distance:.0e} away", modulus, np.sign, np.array([distance, -distance, 2.0]))
        )
    cases.append(
        right(
            "one kink 1e-6 away among 5,000",
            lambda xp, x: (xp.abs(x) + 0.5 * x**2).sum(),
            lambda x: np.sign(x) + x,
            np.where(np.arange(5_000) == 3_210, 1e-6, np.sign(normal(14, 5_000)) * (0.2 + np.abs(normal(14, 5_000)))),
        )
    )
    cases += [
        right("relu at 0", relu, relu_slope, np.array([0.0, 1.0, -1.0]), at_kink=True),
        right("modulus at 0", modulus, np.sign, np.array([0.0, 2.0]), at_kink=True),
        right("hinge on the margin", hinge, hinge_slope, np.array([1.0, -1.0, 0.2, 0.3]), at_kink=True),
        right(
            "maximum of a tie",
            lambda xp, x: xp.max(x),
            lambda x: (x == x.max()) / (x == x.max()).sum(),
            np.array([1.0, 3.0, 3.0]),
            at_kink=True,
        ),
        right(
            "norm at 0",
            lambda xp, x: xp.sqrt((x**2).sum()),
            np.zeros_like,
            np.zeros(4),
            at_kink=True,
        ),
    ]
    return cases


def curved() -> list[Case]:
    """Return high curvature, poles and several scales of length in one function."""
    return [
        right("sin(1e4 x)", lambda xp, x: xp.sin(1e4 * x).sum(), lambda x: 1e4 * np.cos(1e4 * x), normal(15, 3)),
        right("cos(1e6 x)", lambda xp, x: xp.cos(1e6 * x).sum(), lambda x: -1e6 * np.sin(1e6 * x), normal(16, 2)),
        right(
            "a ripple of 1e-6 on a wave",
            lambda xp, x: (xp.sin(x) + 1e-6 * xp.sin(1e6 * x)).sum(),
            lambda x: np.cos(x) + np.cos(1e6 * x),
            normal(17, 3),
        ),
        right("exp(50 x)", lambda xp, x: xp.exp(50 * x).sum(), lambda x: 50 * np.exp(50 * x), normal(18, 4)),
        right("pole 1e-3 away", lambda xp, x: (1 / (x - 1)).sum(), lambda x: -1 / (x - 1) ** 2, np.array([1.001, 0.5])),
        right("pole 1e-6 away", lambda xp, x: (1 / x).sum(), lambda x: -1 / x**2, np.array([1e-6, -2.0])),
        right(
            "tangent near its pole", lambda xp, x: xp.tan(x).sum(), lambda x: 1 / np.cos(x) ** 2, np.array([1.57, 0.2])
        ),
        right(
            "Runge's function",
            lambda xp, x: (1 / (1 + 25 * x**2)).sum(),
            lambda x: -50 * x / (1 + 25 * x**2) ** 2,
            normal(19, 8),
        ),
        right(
            "a difference that cancels",
            lambda xp, x: ((1 - xp.cos(x)) / x**2).sum(),
            lambda x: np.sin(x / 2) / x * (np.cos(x / 2) - np.sin(x / 2) * 2 / x) * 2 / x,
            np.array([0.01, 0.02, 0.7]),
            plain=lambda x: ((jnp.sin(x / 2) * 2 / x) ** 2).sum() / 2,
        ),
        right(
            "polynomial",
            lambda xp, x: (((x - 3) * x + 2) * x - 7) @ x,
            lambda x: 4 * x**3 - 9 * x**2 + 4 * x - 7,
            normal(20, 6),
        ),
    ]


def edges() -> list[Case]:
    """Return points so near the edge of the domain that a large step leaves it."""
    return [
        right("log at 1e-300", lambda xp, x: xp.log(x).sum(), lambda x: 1 / x, np.array([1e-300, 1e-5, 2.0])),
        right("root at 1e-12", lambda xp, x: xp.sqrt(x).sum(), lambda x: 0.5 / np.sqrt(x), np.array([1e-12, 1.0])),
        right(
            "x log x at 1e-15",
            lambda xp, x: (x * xp.log(x)).sum(),
            lambda x: 1 + np.log(x),
            np.array([1e-15, 0.3, 0.7]),
        ),
        right(
            "half circle near its end",
            lambda xp, x: xp.sqrt(1 - x**2).sum(),
            lambda x: -x / np.sqrt(1 - x**2),
            np.array([1 - 2.0**-30, 0.1]),
        ),
        right(
            "arcsine near 1",
            lambda xp, x: xp.arcsin(x).sum(),
            lambda x: 1 / np.sqrt((1 - x) * (1 + x)),
            np.array([1 - 2.0**-26, -0.4]),
        ),
        right(
            "logit near 1",
            lambda xp, x: (xp.log(x) - xp.log1p(-x)).sum(),
            lambda x: 1 / x + 1 / (1 - x),
            np.array([1 - 2.0**-34, 2.0**-34, 0.5]),
        ),
        right(
            "entropy of small probabilities",
            lambda xp, x: -(x * xp.log(x)).sum(),
            lambda x: -1 - np.log(x),
            np.array([1e-9, 1e-6, 0.4, 0.6]),
        ),
    ]


def exact(x: np.ndarray) -> Any:
    """Sum exp entry by entry with the standard library, which refuses complex numbers."""
    return sum(math.exp(float(entry)) for entry in x)


def misleading() -> list[Case]:
    """Return functions for which a complex step fails, or gives something else without a word."""
    return [
        right("modulus squared", lambda xp, x: (xp.abs(x) ** 2).sum(), lambda x: 2 * x, normal(21, 5)),
        right("x times its conjugate", lambda xp, x: xp.real(x * xp.conj(x)).sum(), lambda x: 2 * x, normal(22, 5)),
        right("real part of sin", lambda xp, x: xp.sin(xp.real(x)).sum(), np.cos, normal(23, 5)),
        right(
            "conjugate inside a product",
            lambda xp, x: xp.real(xp.exp(x) * xp.conj(x) ** 2).sum(),
            lambda x: np.exp(x) * (x**2 + 2 * x),
            normal(24, 4),
        ),
        right(
            "soft maximum over a maximum",
            lambda xp, x: xp.log(xp.exp(x - xp.max(x)).sum()) + xp.max(x),
            lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(),
            normal(25, 6),
        ),
        right("library norm", lambda xp, x: xp.linalg.norm(x), lambda x: x / np.linalg.norm(x), normal(26, 6)),
        right(
            "sorted and weighted",
            lambda xp, x: (xp.sort(x) * np.arange(1.0, 9.0)).sum(),
            lambda x: 1.0 + np.argsort(np.argsort(x)),
            normal(27, 8),
        ),
        right(
            "clipped", lambda xp, x: (xp.clip(x, -1, 1) ** 2).sum(), lambda x: 2 * x * (np.abs(x) < 1), normal(28, 12)
        ),
        Case("standard library only", exact, normal(29, 4), np.exp, "numpy", False, lambda x: jnp.exp(x).sum()),
        right(
            "largest eigenvalue",
            lambda xp, x: xp.linalg.eigvalsh((x + x.T) / 2)[-1],
            lambda x: np.outer(*[np.linalg.eigh((x + x.T) / 2)[1][:, -1]] * 2),
            normal(30, 5, 5),
        ),
        right("largest singular value", lambda xp, x: xp.linalg.svd(x, compute_uv=False)[0], leading, normal(31, 5, 4)),
        right("nuclear norm", lambda xp, x: xp.linalg.svd(x, compute_uv=False).sum(), polar, normal(32, 5, 4)),
    ]


def leading(x: np.ndarray) -> np.ndarray:
    left, _, rows = np.linalg.svd(x)
    return np.outer(left[:, 0], rows[0])


def polar(x: np.ndarray) -> np.ndarray:
    left, _, rows = np.linalg.svd(x, full_matrices=False)
    return left @ rows


def analytic() -> list[Case]:
    """Return functions that NumPy takes to complex arguments as they should be."""
    return [
        right(
            "exp of sin over a polynomial",
            lambda xp, x: (xp.exp(xp.sin(x)) / (1 + x**2)).sum(),
            lambda x: np.exp(np.sin(x)) * (np.cos(x) / (1 + x**2) - 2 * x / (1 + x**2) ** 2),
            normal(33, 7),
        ),
        right("product", lambda xp, x: xp.prod(x), lambda x: np.prod(x) / x, np.array([1.0, 2.0, 3.0, 4.0])),
        right("cubes of whole numbers", lambda xp, x: (x**3).sum(), lambda x: 3 * x**2, np.arange(-4.0, 5.0)),
        right("a number without axes", lambda xp, x: xp.sin(x) * x, lambda x: np.cos(x) * x + np.sin(x), np.array(0.7)),
        right(
            "logarithm of a sum, big scores",
            lambda xp, x: x[0] + xp.log(xp.exp(x - x[0]).sum()),
            lambda x: np.exp(x - x[0]) / np.exp(x - x[0]).sum(),
            1e4 + normal(34, 6),
        ),
        right(
            "mean of 100,000 exponentials",
            lambda xp, x: xp.exp(x).mean(),
            lambda x: np.exp(x) / x.size,
            normal(35, 100_000),
        ),
        right("sum of 100,000", lambda xp, x: x.sum(), np.ones_like, normal(36, 100_000)),
        right("coupled 50,000", lambda xp, x: (x[1:] * x[:-1]).sum() + xp.cos(x).sum(), neighbours, normal(37, 50_000)),
        right("nested tree", nested, nested_gradient, TREE),
    ]


def neighbours(x: np.ndarray) -> np.ndarray:
    gradient = -np.sin(x)
    gradient[1:] += x[:-1]
    gradient[:-1] += x[1:]
    return gradient


def nested(xp: Any, x: Tree) -> Any:
    """A tree of dicts and tuples with a leaf without axes and one of a single entry."""
    (a, b), c = x["pair"], x["deep"]["leaf"]
    return (a**2).sum() * b + xp.exp(c).sum() * xp.sin(b)


TREE = {"pair": (normal(38, 2, 3), np.array(0.4)), "deep": {"leaf": normal(39, 1)}}


def nested_gradient(x: Tree) -> Tree:
    (a, b), c = x["pair"], x["deep"]["leaf"]
    second = (a**2).sum() + np.exp(c).sum() * np.cos(b)
    return {"pair": (2 * a * b, second), "deep": {"leaf": np.exp(c) * np.sin(b)}}


def within(f: Callable[..., Any]) -> Callable[..., Any]:
    """Make f cast to float32 inside where NumPy runs it; JAX's truth keeps float64."""

    def rounded(xp: Any, x: Any) -> Any:
        return f(xp, x) if xp is jnp else f(xp, x.astype(np.float32))

    return rounded


def imprecise() -> list[Case]:
    """Return float32 at the point, or hidden inside the function."""
    single = normal(40, 20).astype(np.float32)
    matrix = normal(41, 12, 6)
    scores = normal(42, 6)

    def fit(xp: Any, x: Any) -> Any:
        return ((matrix.astype(x.dtype) @ x) ** 2).sum() / 2

    def fit_gradient(x: np.ndarray) -> np.ndarray:
        return (matrix.T @ (matrix @ x)).astype(x.dtype)

    return [
        right(
            "float32 inside",
            within(lambda xp, x: (xp.sin(x) + x**2).sum()),
            lambda x: np.cos(x) + 2 * x,
            normal(43, 12),
        ),
        right("float32 inside, least squares", within(fit), fit_gradient, scores),
        right(
            "float32 inside, 20,000", within(lambda xp, x: (x**2).mean()), lambda x: 2 * x / x.size, normal(44, 20_000)
        ),
        right("float32 point, exponentials", lambda xp, x: xp.exp(x).sum(), np.exp, single),
        right("float32 point, least squares", fit, fit_gradient, scores.astype(np.float32)),
        right("float32 point, square over 100", lambda xp, x: ((100 + x) ** 2).sum(), lambda x: 2 * (100 + x), single),
        right(
            "float32 point, kink 1e-3 away",
            lambda xp, x: xp.abs(x).sum(),
            np.sign,
            np.array([1e-3, -2, 0.5], np.float32),
        ),
    ]


def cases() -> list[Case]:
    return [
        *scaled(),
        *flat(),
        *kinks(),
        *curved(),
        *edges(),
        *misleading(),
        *analytic(),
        *imprecise(),
    ]

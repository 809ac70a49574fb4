"""One wrong entry among many, wrong factors, wrong signs, small errors, stale caches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from .case import Case, Tree, planted, right

Damage = Callable[[np.ndarray], np.ndarray]


def waves(xp: Any, x: Any) -> Any:
    """A smooth sum in which every entry matters: analytic, so that complex steps work."""
    return (xp.sin(x) + 0.1 * x**2).sum()


def waves_gradient(x: np.ndarray) -> np.ndarray:
    return np.cos(x) + 0.2 * x


def ridges(xp: Any, x: Any) -> Any:
    """The like with an absolute value in it: real everywhere here, and not analytic."""
    return (xp.abs(x) ** 1.5 + xp.sin(x)).mean()


def ridges_gradient(x: np.ndarray) -> np.ndarray:
    return (1.5 * np.sign(x) * np.sqrt(np.abs(x)) + np.cos(x)) / x.size


def point(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=count)


def large(gradient: np.ndarray, rank: int) -> int:
    """Return an index, at a fixed but arbitrary place, whose entry is not among the small ones."""
    order = np.random.default_rng(rank).permutation(gradient.size)
    return int(next(i for i in order if abs(gradient[i]) > 0.7 * np.abs(gradient).mean()))


def doubled(gradient: np.ndarray) -> np.ndarray:
    gradient[large(gradient, 1)] *= 2
    return gradient


def flipped(gradient: np.ndarray) -> np.ndarray:
    gradient[large(gradient, 2)] *= -1
    return gradient


def zeroed(gradient: np.ndarray) -> np.ndarray:
    gradient[large(gradient, 3)] = 0
    return gradient


def swapped(gradient: np.ndarray) -> np.ndarray:
    """Exchange two entries: the sum stays what it was."""
    first = large(gradient, 4)
    others = np.abs(gradient - gradient[first]) > 0.3 * np.abs(gradient).mean()
    second = int(np.random.default_rng(5).choice(np.flatnonzero(others)))
    gradient[[first, second]] = gradient[[second, first]]
    return gradient


def damaged(gradient: Callable[[Tree], Any], damage: Damage, x: Any) -> np.ndarray:
    return damage(np.array(gradient(x)))


def single_entries() -> list[Case]:
    """Return one wrong entry, or one pair, among 10 to 100,000."""
    kinds = {"factor 2": doubled, "sign": flipped, "zeroed": zeroed, "pair swapped": swapped}
    cases = []
    for count in (10, 100, 1_000, 10_000, 100_000):
        cases.append(right(f"waves, {count:,} entries", waves, waves_gradient, point(count)))
        for kind, damage in kinds.items():
            name = f"one entry of {count:,}: {kind}"
            cases.append(planted(name, waves, partial(damaged, waves_gradient, damage), point(count)))
    cases.append(right("not analytic mean, 100,000 entries", ridges, ridges_gradient, point(100_000)))
    for count in (50, 300, 100_000):
        name = f"one entry of {count:,}, not analytic mean: factor 2"
        cases.append(planted(name, ridges, partial(damaged, ridges_gradient, doubled), point(count)))
    return cases


def sparse(xp: Any, x: Any) -> Any:
    """Three entries matter, the others do not."""
    return xp.sin(x[7]) * x[5_000] + x[20_001] ** 2


def sparse_gradient(x: np.ndarray, extra: bool = False) -> np.ndarray:
    gradient = np.zeros_like(x)
    gradient[7], gradient[5_000] = np.cos(x[7]) * x[5_000], np.sin(x[7])
    gradient[20_001] = 2 * x[20_001]
    if extra:
        gradient[20_000] = 1.0
    return gradient


def logistic(xp: Any, x: Any) -> Any:
    """Mean logistic loss of a linear classifier plus a ridge on all but the last weight."""
    margins = SIDES * (DESIGN @ x[:-1] + x[-1])
    return xp.logaddexp(0.0, -margins).mean() + 0.05 * (x[:-1] ** 2).sum()


DESIGN = np.random.default_rng(11).normal(size=(40, 8))
SIDES = np.sign(np.random.default_rng(12).normal(size=40))


def logistic_gradient(x: np.ndarray) -> np.ndarray:
    margins = SIDES * (DESIGN @ x[:-1] + x[-1])
    delta = -SIDES / (1 + np.exp(margins)) / len(SIDES)
    return np.append(DESIGN.T @ delta + 0.1 * x[:-1], delta.sum())


def rosenbrock(xp: Any, x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def rosenbrock_gradient(x: np.ndarray, complete: bool = True) -> np.ndarray:
    valley = x[1:] - x[:-1] ** 2
    gradient = np.zeros_like(x)
    gradient[1:] = 200 * valley
    gradient[:-1] -= 400 * x[:-1] * valley
    if complete:
        gradient[:-1] -= 2 * (1 - x[:-1])
    return gradient


def block_off(gradient: np.ndarray) -> np.ndarray:
    gradient[2:5] *= 1 + 1e-4
    return gradient


def factors() -> list[Case]:
    """Return a whole gradient wrong by a factor, a term or a little."""
    scales: dict[str, Damage] = {
        "wrong sign": lambda g: -g,
        "factor 2": lambda g: 2 * g,
        "factor ½": lambda g: g / 2,
        "times N": lambda g: g * 40,
        "divided by N": lambda g: g / 40,
        "off by 1e-4 relative": lambda g: g * (1 + 1e-4),
        "three entries off by 1e-4 relative": block_off,
    }
    x, start = np.random.default_rng(13).normal(size=9), np.array([-1.2, 1.0, 0.4, -0.7])
    cases = [right("logistic", logistic, logistic_gradient, x)]
    cases.append(right("Rosenbrock", rosenbrock, rosenbrock_gradient, start))
    for name, damage in scales.items():
        cases.append(planted(f"logistic: {name}", logistic, partial(damaged, logistic_gradient, damage), x))
    cases.append(planted("Rosenbrock: missing term", rosenbrock, partial(rosenbrock_gradient, complete=False), start))
    for name in ("factor ½", "off by 1e-4 relative"):
        wrong = partial(damaged, rosenbrock_gradient, scales[name])
        cases.append(planted(f"Rosenbrock: {name}", rosenbrock, wrong, start))
    for name in ("wrong sign", "off by 1e-4 relative"):
        wrong = partial(damaged, waves_gradient, scales[name])
        cases.append(planted(f"waves, 100,000 entries: {name}", waves, wrong, point(100_000)))
    wide = point(30_000)
    cases.append(right("three entries of 30,000 matter", sparse, sparse_gradient, wide))
    name = "three entries of 30,000 matter: a fourth in the gradient"
    cases.append(planted(name, sparse, partial(sparse_gradient, extra=True), wide))
    return cases


def leaky(xp: Any, x: Any) -> Any:
    return xp.where(x > 0, x**2, 0.1 * x**2).sum()


def leaky_gradient(x: np.ndarray, negative: float = 0.2) -> np.ndarray:
    return np.where(x > 0, 2 * x, negative * x)


def cube(xp: Any, x: Any) -> Any:
    """|x|³, whose gradient 3x|x| is easily written as 3x²."""
    return (xp.abs(x) ** 3).sum()


def cube_gradient(x: np.ndarray, signed: bool = True) -> np.ndarray:
    return 3 * x * np.abs(x) if signed else 3 * x**2


def branches() -> list[Case]:
    """Return gradients that are wrong for negative inputs only."""
    mixed = np.random.default_rng(21).normal(size=20)
    lone = np.abs(np.random.default_rng(22).normal(size=2_000)) + 0.1
    lone[1_234] = -0.8
    return [
        right("leaky square", leaky, leaky_gradient, mixed),
        right("cubed modulus", cube, cube_gradient, mixed),
        planted("leaky square: wrong slope for negative inputs", leaky, partial(leaky_gradient, negative=0.1), mixed),
        planted("cubed modulus: sign lost for negative inputs", cube, partial(cube_gradient, signed=False), mixed),
        planted("cubed modulus: one negative input of 2,000", cube, partial(cube_gradient, signed=False), lone),
    ]


class StaleCache:
    """A tanh layer that keeps the activations of the first x it ever sees."""

    def __init__(self, seen: np.ndarray) -> None:
        self.activations: np.ndarray | None = None
        self.value(seen)

    def value(self, x: np.ndarray) -> Any:
        activations = np.tanh(x)
        if self.activations is None:
            self.activations = activations
        return (activations**2).sum()

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return 2 * self.activations * (1 - self.activations**2)


class StaleNormalizer:
    """Divides by a norm that the gradient remembers from an earlier, longer x."""

    def __init__(self, seen: np.ndarray) -> None:
        self.length = np.sqrt(seen @ seen)

    def value(self, x: np.ndarray) -> Any:
        return (x**3).sum() / np.sqrt(x @ x)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return 3 * x**2 / self.length - (x**3).sum() * x / self.length**3


def caches() -> list[Case]:
    """Return objects whose state was filled by an earlier x, as by the minibatch before."""
    seen, x = np.random.default_rng(31).normal(size=(2, 15))
    layer, normalizer = StaleCache(seen), StaleNormalizer(1.3 * x)

    def squared(x: Any) -> Any:
        return (jnp.tanh(x) ** 2).sum()

    def cubes(x: Any) -> Any:
        return (x**3).sum() / jnp.sqrt(x @ x)

    return [
        Case("stale cache of activations", layer.value, x, layer.gradient, "numpy", True, squared),
        Case("stale cache of a norm", normalizer.value, x, normalizer.gradient, "numpy", True, cubes),
    ]


def scaled_leaves(xp: Any, x: Tree) -> Any:
    """A leaf around 1e-6 beside one around 1e6."""
    return xp.sin(1e6 * x["tiny"]).sum() + ((x["huge"] / 1e6) ** 2).sum()


def scaled_leaves_gradient(x: Tree, bug: str = "") -> Tree:
    tiny, huge = 1e6 * np.cos(1e6 * x["tiny"]), 2 * x["huge"] / 1e12
    if bug == "tiny leaf":
        tiny = tiny * np.array([1, 2, 1, 1])
    return {"tiny": tiny, "huge": 1.5 * huge if bug == "huge leaf" else huge}


def coupled(xp: Any, x: Tree) -> Any:
    """Two leaves whose gradients differ by a factor of 1e6."""
    return (x[0] ** 2).sum() * 1e3 + (xp.sin(x[1]) * 1e-3).sum()


def coupled_gradient(x: Tree, bug: bool = False) -> Tree:
    return (2e3 * x[0], 1e-3 * (np.sin(x[1]) if bug else np.cos(x[1])))


def scales() -> list[Case]:
    """Return trees whose leaves live on different scales, one of them wrong."""
    rng = np.random.default_rng(41)
    x = {"tiny": rng.normal(size=4) * 1e-6, "huge": rng.normal(size=6) * 1e6}
    pair = (rng.normal(size=5), rng.normal(size=3))
    return [
        right("tiny leaf beside a huge one", scaled_leaves, scaled_leaves_gradient, x),
        right("strong leaf beside a weak one", coupled, coupled_gradient, pair),
        planted("tiny leaf wrong", scaled_leaves, partial(scaled_leaves_gradient, bug="tiny leaf"), x),
        planted(
            "huge leaf with a tiny gradient wrong", scaled_leaves, partial(scaled_leaves_gradient, bug="huge leaf"), x
        ),
        planted("weak leaf wrong beside a strong one", coupled, partial(coupled_gradient, bug=True), pair),
    ]


def outputs(xp: Any, x: Any) -> Any:
    """Six readings of ten numbers."""
    return xp.tanh(READINGS @ x) * xp.exp(x[:6])


READINGS = np.random.default_rng(51).normal(size=(6, 10)) / 3


def outputs_gradient(x: np.ndarray, bug: str = "") -> np.ndarray:
    squashed, scale = np.tanh(READINGS @ x), np.exp(x[:6])
    jacobian = ((1 - squashed**2) * scale)[:, None] * READINGS
    jacobian[:, :6] += np.diag(squashed * scale)
    if bug == "row":
        jacobian[3] *= 1.5
    if bug == "diagonal":
        jacobian[:, :6] -= np.diag(squashed * scale)
    return jacobian


def softmax_outputs(xp: Any, x: Any) -> Any:
    exponentials = xp.exp(x)
    return exponentials / exponentials.sum()


def softmax_jacobian(x: np.ndarray, complete: bool = True) -> np.ndarray:
    p = np.exp(x) / np.exp(x).sum()
    return np.diag(p) - np.outer(p, p) if complete else np.diag(p * (1 - p))


def arrays() -> list[Case]:
    """Return functions with several outputs, their gradient the Jacobian of shape (outputs, inputs)."""
    rng = np.random.default_rng(52)
    x, scores = rng.normal(size=10), rng.normal(size=7)
    return [
        right("six outputs", outputs, outputs_gradient, x),
        right("softmax Jacobian", softmax_outputs, softmax_jacobian, scores),
        planted("six outputs: one row of the Jacobian wrong", outputs, partial(outputs_gradient, bug="row"), x),
        planted("six outputs: diagonal term missing", outputs, partial(outputs_gradient, bug="diagonal"), x),
        planted("softmax Jacobian: diagonal only", softmax_outputs, partial(softmax_jacobian, complete=False), scores),
    ]


def single_precision() -> list[Case]:
    """Return float32 versions: the point, the arithmetic and the gradient."""
    x = np.random.default_rng(61).normal(size=60).astype(np.float32)
    wide = np.random.default_rng(62).normal(size=20_000).astype(np.float32)

    def gradient(x: np.ndarray, damage: Damage = lambda g: g) -> np.ndarray:
        return damage(waves_gradient(x.astype(np.float64))).astype(np.float32)  # the sum cancels in places

    return [
        right("waves in float32", waves, gradient, x),
        right("waves in float32, 20,000 entries", waves, gradient, wide),
        planted("waves in float32: wrong sign", waves, partial(gradient, damage=lambda g: -g), x),
        planted("waves in float32: factor 2", waves, partial(gradient, damage=lambda g: 2 * g), x),
        planted("waves in float32: one entry zeroed", waves, partial(gradient, damage=zeroed), x),
        planted("waves in float32: one entry of 20,000 flipped", waves, partial(gradient, damage=flipped), wide),
    ]


def cases() -> list[Case]:
    return [
        *single_entries(),
        *factors(),
        *branches(),
        *caches(),
        *scales(),
        *arrays(),
        *single_precision(),
    ]

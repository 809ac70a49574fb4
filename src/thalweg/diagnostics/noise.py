"""How noisy a minibatch's gradient is, and the batch size beyond which a larger one stops paying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thalweg.data import Split
from thalweg.diagnostics.gradient_sums import GroupSums, Point, batch_squares, flat, group_sums, penalty_slope
from thalweg.errors import DataError, UsageError
from thalweg.fields import check_integer
from thalweg.recipe import FULL_BATCH
from thalweg.training.train import examples_of
from thalweg.views.linear import as_fitted

__all__ = ["NoiseEstimate", "NoiseRecord", "estimate_noise", "gradient_noise", "measure"]

GROUPS = 20  # of examples, whose disagreement gives the errors


@dataclass(frozen=True)
class NoiseEstimate:
    """|G|², tr Σ and their ratio, from N gradients.

    ``gradient_square`` is the unbiased estimate of |G|², below 0 where G is lost in the noise;
    ``noise`` that of tr Σ; the two ``_error`` are standard errors. ``scale`` is B = tr Σ / |G|²
    (infinite where |G|² is not above 0) and ``interval`` its 95 % interval, whose upper end is
    infinite where the examples cannot tell |G|² from 0. Where |G|² comes out clearly below 0, as with
    weights at the optimum of these very examples, the lower end is their number.
    """

    gradient_square: float
    gradient_square_error: float
    noise: float
    noise_error: float
    scale: float
    interval: tuple[float, float]


@dataclass(frozen=True, eq=False)
class NoiseRecord:
    """The gradient noise of a model on some examples.

    ``batches`` (K,) are the sizes of minibatches that were drawn, ``squares`` (K,) the means of
    |G_B|² over them, ``errors`` (K,) the standard errors of those means: `predicted` is what
    |G|² + tr Σ / B says they are. ``batch_size`` is the recipe's.
    """

    examples: int
    parameters: int
    batch_size: int
    estimate: NoiseEstimate
    batches: np.ndarray = field(repr=False)
    squares: np.ndarray = field(repr=False)
    errors: np.ndarray = field(repr=False)
    messages: tuple[str, ...] = ()

    @property
    def scale(self) -> float:
        """B_simple = tr Σ / |G|², the batch size at which noise and gradient weigh the same."""
        return self.estimate.scale

    @property
    def interval(self) -> tuple[float, float]:
        return self.estimate.interval

    def predicted(self, batch: Any) -> np.ndarray:
        """Return E|G_B|² = |G|² + tr Σ / B."""
        return self.estimate.gradient_square + self.estimate.noise / np.asarray(batch, float)

    def step_efficiency(self, batch: float) -> float:
        """Progress of a step with that batch, as a share of a noise-free step's: 1 / (1 + B_simple / B)."""
        return 1 / (1 + self.scale / batch)

    def example_efficiency(self, batch: float) -> float:
        """Progress for an example, as a share of that of the smallest batches: 1 / (1 + B / B_simple)."""
        return 1 / (1 + batch / self.scale) if self.scale > 0 else 0.0

    def __str__(self) -> str:
        low, high = (f"{end:,.3g}" if math.isfinite(end) else "no limit" for end in self.interval)
        if not math.isfinite(self.scale):
            return (
                f"gradient noise scale at least {low}: with {self.examples:,} examples the gradient cannot be told "
                f"from noise, as near an optimum; larger batches pay up to {low} at least"
            )
        batch = self.batch_size
        return (
            f"gradient noise scale {self.scale:,.3g} (95 % interval {low} to {high}, {self.examples:,} examples): "
            f"a step of {batch:,} examples makes {self.step_efficiency(batch):.0%} of a noise-free step's progress, "
            f"each example {self.example_efficiency(batch):.0%} of what it would in the smallest batches; "
            f"batches far above {self.scale:,.3g} stop paying"
        )


def gradient_noise(
    model: Any,
    split: Split,
    *,
    batch_sizes: Sequence[int] = (8, 32, 128, 512),
    draws: int = 32,
    examples: int = 10_000,
    seed: int = 0,
) -> NoiseRecord:
    """Measure the simple gradient noise scale of a fitted model at its weights.

    B_simple = tr Σ / |G|², with G the mean and Σ the covariance of single examples' gradients. To first
    order a step with batch B makes 1 / (1 + B_simple / B) of a noise-free step's progress: below
    B_simple twice the batch nearly halves the steps, above it the examples are wasted. With N gradients
    g_i and their mean ḡ the unbiased estimates are tr Σ = Σ ‖g_i − ḡ‖² / (N − 1) and
    |G|² = |ḡ|² − tr Σ / N. The interval is Fieller's (1954), for a ratio whose denominator may be near 0,
    with covariances from a jackknife over 20 groups of examples. It takes for granted that step and
    curvature are alike in all directions: a guide to the order of magnitude.

    G holds a smooth penalty's gradient too, as in training. Dropout, augmentation and batch statistics
    are off; weighted examples count with their weights.

    Arguments:
        model: a `FittedModel` or an estimator that holds one, linear or not.
        split: labelled examples; training examples tell of the noise in training.
        batch_sizes: of minibatches to draw as a check: their mean |G_B|² should be |G|² + tr Σ / B.
            Sizes above the number of examples are left out; ``()`` draws none.
        draws: minibatches of each size.
        examples: at most so many are used, drawn at random.
        seed: of all draws.

    Raises:
        UsageError: an argument out of its bounds.
        DataError: fewer than 8 labelled examples, features that the model does not take, or a
            gradient that is not finite.

    McCandlish, Kaplan & Amodei 2018, "An empirical model of large-batch training".
    """
    fitted = as_fitted(model)
    if not isinstance(split, Split):
        raise UsageError(f"split is a {type(split).__name__}; give a Split, such as dataset.train")
    if split.labels is None or split.labels.min() < 0 or split.labels.max() >= len(fitted.classes):
        raise DataError("the examples need labels among the model's classes: match them with data.match_classes")
    fitted.scores(split.features[:1])  # refuses features that the model cannot take
    check_integer("gradient_noise", "examples", examples, least=8)
    check_integer("gradient_noise", "seed", seed, least=0)
    generator = np.random.default_rng(np.random.SeedSequence([seed, 11]))
    rows = np.sort(generator.permutation(len(split))[:examples])
    features = split.features[rows]
    if fitted.recipe.features is not None:
        features = fitted.recipe.features.transform(features, fitted.feature_state)
    weights = None if split.weights is None else split.weights[rows]
    seen = examples_of(Split(features, split.labels[rows], weights=weights), fitted.preprocessing)
    batch = len(split) if fitted.recipe.batch_size == FULL_BATCH else min(int(fitted.recipe.batch_size), len(split))
    point = Point(fitted.recipe, fitted.params, fitted.model_state, seen)
    return measure(point, batch, batch_sizes=batch_sizes, draws=draws, generator=generator)


def measure(
    point: Point, batch: int, *, batch_sizes: Sequence[int], draws: int, generator: np.random.Generator
) -> NoiseRecord:
    """Do as `gradient_noise` at any point: all its examples are used; ``batch`` is the recipe's size."""
    check_integer("gradient_noise", "draws", draws, least=2)
    for size in batch_sizes:
        check_integer("gradient_noise", "batch_sizes", size, least=1)
    count = len(point.examples.labels)
    if count < 8:
        raise DataError(f"{count} examples are too few to measure noise by; give at least 8")
    groups = np.array_split(generator.permutation(count), min(GROUPS, count // 2))
    estimate = estimate_noise(group_sums(point, groups), flat(penalty_slope(point)))
    sizes = [size for size in batch_sizes if size <= count]
    out = [size for size in batch_sizes if size > count]
    messages = (f"batches of {', '.join(map(str, out))} were not drawn from {count} examples",) if out else ()
    squares = _drawn(point, sizes, draws, generator)  # (sizes, draws)
    return NoiseRecord(
        examples=count,
        parameters=point.parameters,
        batch_size=batch,
        estimate=estimate,
        batches=np.array(sizes, int),
        squares=squares.mean(axis=1),
        errors=squares.std(axis=1, ddof=1) / math.sqrt(draws),
        messages=messages,
    )


def _drawn(point: Point, sizes: Sequence[int], draws: int, generator: np.random.Generator) -> np.ndarray:
    """|G_B|² (sizes, draws) of minibatches drawn without replacement, all sizes by one program."""
    if not sizes:
        return np.zeros((0, draws))
    count, longest = len(point.examples.labels), max(sizes)
    rows = np.stack([generator.permutation(count)[:longest] for _ in range(len(sizes) * draws)])
    taken = np.repeat(np.asarray(sizes), draws)[:, None]  # (sizes · draws, 1)
    weights = np.where(np.arange(longest)[None, :] < taken, 1 / taken, 0)
    return batch_squares(point, rows, weights).reshape(len(sizes), draws)


def estimate_noise(found: GroupSums, slope: np.ndarray | None = None) -> NoiseEstimate:
    """Return the unbiased estimates of |G|² and tr Σ, and their ratio, from sums over groups of examples.

    ``slope`` (parameters,) is what all gradients have in common beside the sums, such as a penalty's gradient.
    """
    slope = np.zeros(found.sums.shape[1]) if slope is None else slope
    total = found.sums.sum(axis=0)
    own = np.einsum("kp,kp->k", found.sums, found.sums)
    whole = _moments(total @ total, found.squares.sum(), found.counts.sum(), total @ slope, slope @ slope)
    # Without a group: |S − S_k|² = |S|² − 2 S·S_k + |S_k|².
    without = _moments(
        total @ total - 2 * (found.sums @ total) + own,
        found.squares.sum() - found.squares,
        found.counts.sum() - found.counts,
        total @ slope - found.sums @ slope,
        slope @ slope,
    )  # (2, K)
    groups = len(found.counts)
    spread = without - without.mean(axis=1, keepdims=True)
    covariance = (groups - 1) / groups * spread @ spread.T
    gradient, noise = whole.tolist()
    errors = np.sqrt(np.diag(covariance)).tolist()
    scale = noise / gradient if gradient > 0 else math.inf
    interval = _fieller(noise, gradient, covariance, groups, int(found.counts.sum()))
    return NoiseEstimate(gradient, errors[0], noise, errors[1], scale, interval)


def _moments(square: Any, squares: Any, count: Any, along: Any, slope: Any) -> np.ndarray:
    """|G|² and tr Σ from |Σ g_i|², Σ ‖g_i‖², N, Σ g_i·s and |s|², where s is common to all gradients."""
    noise = (squares - square / count) / (count - 1)
    return np.array([square / count**2 - noise / count + 2 * along / count + slope, noise])


def _fieller(above: float, below: float, covariance: np.ndarray, groups: int, examples: int) -> tuple[float, float]:
    """95 % interval within [0, ∞] of above / below: all B with (above − B below)² ≤ t² var(above − B below)."""
    from scipy.stats import t  # a second to import

    square = float(t.ppf(0.975, groups - 1)) ** 2
    (var_below, both), (_, var_above) = covariance.tolist()
    a = below**2 - square * var_below
    b = above * below - square * both
    c = above**2 - square * var_above
    root = math.sqrt(max(b * b - a * c, 0.0))
    if a > 0 and below > 0:
        return max((b - root) / a, 0.0), max((b + root) / a, 0.0)
    # The denominator cannot be told from 0: the ratio has no upper limit.
    if a > 0:  # clearly negative: |ḡ|² is less than even N examples' noise, tr Σ / N, so the ratio exceeds N
        return float(examples), math.inf
    return (max((b - root) / a, 0.0) if a < 0 and c > 0 else 0.0), math.inf

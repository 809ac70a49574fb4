"""How noisy a minibatch's gradient is, and the batch size beyond which a larger one stops paying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thalweg.data import Split
from thalweg.diagnostics.gradient_sums import GroupSums, Point, batch_squares, group_sums, penalty_slope
from thalweg.diagnostics.objective import flat
from thalweg.diagnostics.subject import subject
from thalweg.errors import DataError
from thalweg.fields import check_integer
from thalweg.fitted import FittedModel
from thalweg.recipe import FULL_BATCH
from thalweg.run import Run
from thalweg.training.train import examples_of
from thalweg.views.linear import as_fitted

__all__ = ["NoiseEstimate", "NoiseRecord", "estimate_noise", "gradient_noise", "measure"]

GROUPS = 20  # of examples, whose disagreement gives the errors
_ROUNDING = 16  # units of float32, times the mean ‖g‖²: what tr Σ may be off by


@dataclass(frozen=True)
class NoiseEstimate:
    """|G|², tr Σ and their ratio, from N gradients.

    ``gradient_square`` is the unbiased estimate of |G|², below 0 where G is lost in the noise;
    ``noise`` that of tr Σ; the two ``_error`` are standard errors. ``scale`` is B = tr Σ / |G|²
    (infinite where |G|² is not above 0) and ``interval`` its 95 % interval, whose upper end is
    infinite where the examples cannot tell |G|² from 0. Where |G|² comes out at or below 0, as with
    weights that were fitted to these very examples, nothing is told: it is (0, ∞). ``floor`` is
    the rounding of tr Σ: a noise below it is given as 0, with the floor as its error.
    """

    gradient_square: float
    gradient_square_error: float
    noise: float
    noise_error: float
    scale: float
    interval: tuple[float, float]
    floor: float = 0.0


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
        if self.estimate.noise == 0 and self.scale == 0:
            return (
                f"gradient noise 0 to rounding (tr Σ at most {self.estimate.floor:.1g}): the {self.examples:,} "
                "examples' gradients are all alike, and a batch of one serves as well as any"
            )
        if not math.isfinite(self.scale):
            return (
                f"the gradient noise scale cannot be told from these {self.examples:,} examples: their mean gradient "
                "is no larger than their noise alone makes it, as at an optimum, and wherever the weights were fitted "
                "to the examples themselves; give held-out ones"
            )
        low, high = (f"{end:,.3g}" if math.isfinite(end) else "no limit" for end in self.interval)
        batch, known = self.batch_size, math.isfinite(self.interval[1])
        end = f"batches far above {self.scale:,.3g} stop paying" if known else "where batches stop paying is not known"
        return (
            f"gradient noise scale {self.scale:,.3g} (95 % interval {low} to {high}, {self.examples:,} examples): "
            f"a step of {batch:,} examples makes {self.step_efficiency(batch):.0%} of a noise-free step's progress, "
            f"each example {self.example_efficiency(batch):.0%} of what it would in the smallest batches; {end}"
        )


def gradient_noise(
    model: Any,
    data: Any,
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

    All this is for examples that the weights have not seen. Fitted to these very examples, weights make ḡ
    small, so that |G|² comes out too low and the scale too high, beyond what the interval says; at their
    optimum nothing can be told, and the interval is (0, ∞). Held-out examples have no such bias.

    G holds a smooth penalty's gradient too, as in training. Dropout, augmentation and batch statistics
    are off; weighted examples count with their weights.

    Arguments:
        model: a `FittedModel` or an estimator that holds one, linear or not; or a `Run` (its winner).
        data: a `Split` as it stands, or whatever `load` reads, whose training examples are then those that
            `sweep` cuts with this seed; of a run, those that it was trained on. Held-out examples are
            unbiased; training examples serve early in training, while they fit hardly better than others.
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
    source = model if isinstance(model, Run) else as_fitted(model)
    check_integer("gradient_noise", "examples", examples, least=8)
    check_integer("gradient_noise", "seed", seed, least=0)
    generator = np.random.default_rng(np.random.SeedSequence([seed, 11]))
    if isinstance(source, FittedModel) and isinstance(data, Split):  # drawn first: features of all may be dear
        count, seen = len(data), subject(source, _some(data, examples, generator))
        split = seen.split
    else:
        seen = subject(source, data, seed=seed)
        count, split = len(seen.split), _some(seen.split, examples, generator)
    fitted, size = seen.model, seen.model.recipe.batch_size
    point = Point(fitted.recipe, fitted.params, fitted.model_state, examples_of(split, fitted.preprocessing))
    batch = count if size == FULL_BATCH else min(int(size), count)
    return measure(point, batch, batch_sizes=batch_sizes, draws=draws, generator=generator)


def _some(split: Split, examples: int, generator: np.random.Generator) -> Split:
    rows = np.sort(generator.permutation(len(split))[:examples])
    labels, weights = (None if part is None else part[rows] for part in (split.labels, split.weights))
    return Split(split.features[rows], labels, weights=weights)


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
    floor = _ROUNDING * float(np.finfo(np.float32).eps * found.squares.sum() / (found.counts.sum() - 1))
    if noise <= floor < gradient:
        return NoiseEstimate(gradient, errors[0], 0.0, floor, 0.0, (0.0, floor / gradient), floor)
    scale = noise / gradient if gradient > 0 else math.inf
    interval = _fieller(noise, gradient, covariance, groups)
    return NoiseEstimate(gradient, errors[0], noise, errors[1], scale, interval, floor)


def _moments(square: Any, squares: Any, count: Any, along: Any, slope: Any) -> np.ndarray:
    """|G|² and tr Σ from |Σ g_i|², Σ ‖g_i‖², N, Σ g_i·s and |s|², where s is common to all gradients."""
    noise = (squares - square / count) / (count - 1)
    return np.array([square / count**2 - noise / count + 2 * along / count + slope, noise])


def _fieller(above: float, below: float, covariance: np.ndarray, groups: int) -> tuple[float, float]:
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
    # The denominator cannot be told from 0: the ratio has no upper limit. And no lower one where |ḡ|² is less than
    # what the noise of N fresh examples leaves: most likely these are not fresh, and |G|² may be anything.
    return (max((b - root) / a, 0.0) if below > 0 and a < 0 and c > 0 else 0.0), math.inf

"""Toy data: what a linear classifier cannot separate, the cure by features, and why one regularises.

In `rings`, `xor` and `modes` all classes have the mean 0. Then W = 0 minimises softmax and hinge already: both are
convex, and at 0 their gradient is made of differences of class means. So a linear classifier stays near chance, however
it is trained, until it is given other features: `polar` for the rings, the product xy for XOR, a bump at each mode.

`polynomial` and `polynomial_fit` are the opposite case: features enough to fit any training points, and what a penalty
is good for.

A set has equally many examples of each class (to within one, where they do not divide evenly), in random order. The
same arguments give the same numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from thalweg.data.dataset import Dataset, Split
from thalweg.errors import DataError, UsageError
from thalweg.fields import check_integer, check_number

__all__ = ["modes", "polar", "polynomial", "polynomial_fit", "rings", "to_polar", "xor"]

HELD = 1000  # examples in the test split of `polynomial`
MODES, MODE_DISTANCE, MODE_RADIUS = 3, 0.6, 0.25


def rings(examples: int = 1000, classes: int = 2, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Concentric rings, a class each: class k = 0, 1, ... lies on the circle of radius k + 1 about the origin.

    (x, y) = (k + 1)(cos θ, sin θ) + noise · N(0, I), with θ uniform on [0, 2π). By default the circle midway between
    two rings is five standard deviations from either, so that the radius r tells them apart; of two rings without
    noise the best straight line gets 2/3 right, by cutting off a piece of the outer one.

    Arguments:
        examples: how many, at least one a class.
        classes: how many rings, at least 2.
        noise: the standard deviation of what is added to both coordinates.
        seed: of the random numbers.

    Raises:
        UsageError: an argument out of these bounds.
    """
    generator = _generator("rings", examples, noise, seed, classes)
    labels = _labels(generator, examples, classes)
    points = (labels + 1)[:, None] * _circle(generator.uniform(0, 2 * np.pi, examples))
    names = tuple(f"ring {k + 1}" for k in range(classes))
    return _dataset("rings", f"{classes} concentric rings", points, labels, names, noise, generator)


def xor(examples: int = 1000, noise: float = 0.0, seed: int = 0) -> Dataset:
    """XOR: the first and third quadrants of the plane against the second and fourth.

    (x, y) is uniform on those quadrants of [−1, 1]² that belong to its class; then noise · N(0, I) is added. Without
    noise, the default, the sign of xy is the class; noise carries about 0.8 · noise of the examples over an axis. The
    best straight line gets 2/3 right: x + y = 2/3 cuts off most of a quadrant.

    Arguments and errors: as of `rings`.
    """
    generator = _generator("xor", examples, noise, seed)
    labels = _labels(generator, examples, 2)
    size = 1 - generator.random((examples, 2))  # in (0, 1]: no example lies on an axis
    first = generator.choice((-1.0, 1.0), examples)
    signs = np.stack([first, np.where(labels == 0, first, -first)], axis=1)  # (N, 2)
    names = ("quadrants 1 and 3", "quadrants 2 and 4")
    return _dataset("xor", "XOR, opposite quadrants", signs * size, labels, names, noise, generator)


def modes(examples: int = 1000, noise: float = 0.0, seed: int = 0) -> Dataset:
    """Three modes: a class made of three separate discs, against everything else.

    Class 0 is uniform on three discs of radius 0.25, equally often each, whose centres have the distance 0.6 from the
    origin at 90°, 210° and 330°. Class 1 is uniform on what they leave of [−1, 1]². Then noise · N(0, I) is added. The
    best straight line gets 0.63 right.

    Arguments and errors: as of `rings`.
    """
    generator = _generator("modes", examples, noise, seed)
    labels = _labels(generator, examples, 2)
    centres = MODE_DISTANCE * _circle(np.pi / 2 + 2 * np.pi / MODES * np.arange(MODES))
    radius = MODE_RADIUS * np.sqrt(generator.random(examples))  # the root makes it uniform over the area
    inside = centres[generator.integers(MODES, size=examples)]
    inside = inside + radius[:, None] * _circle(generator.uniform(0, 2 * np.pi, examples))
    outside = generator.uniform(-1, 1, (examples, 2))
    while len(again := np.flatnonzero(_in_a_mode(outside, centres))):
        outside[again] = generator.uniform(-1, 1, (len(again), 2))
    points = np.where((labels == 0)[:, None], inside, outside)
    names = ("three modes", "everything else")
    return _dataset("modes", "three modes against the rest", points, labels, names, noise, generator)


def to_polar(xy: Any) -> np.ndarray:
    """Return f(x, y) = (r, θ) = (√(x² + y²), atan2(y, x)) of points (N, 2), as (N, 2).

    θ is in radians on [−π, π], and 0 at the origin. float32 stays float32.

    Raises:
        DataError: the points are not (N, 2) numbers.
    """
    xy = np.asarray(xy)
    if xy.ndim != 2 or xy.shape[1] != 2 or xy.dtype.kind not in "uif":
        raise DataError(
            f"to_polar: the points are {xy.dtype} {xy.shape}; give numbers of shape (N, 2): x and y in each row"
        )
    xy = xy if xy.dtype.kind == "f" else xy.astype(np.float64)  # uint8 would become float16
    return np.stack([np.hypot(xy[:, 0], xy[:, 1]), np.arctan2(xy[:, 1], xy[:, 0])], axis=1)


def polar(dataset: Dataset) -> Dataset:
    """Return a data set of points (x, y) with the features (r, θ) instead, in all its splits: see `to_polar`.

    Raises:
        DataError: an example is not two numbers.
    """
    if not isinstance(dataset, Dataset):
        raise UsageError(f"polar: the data set is {dataset!r}; give a Dataset, such as thalweg.load('rings')")
    if dataset.feature_shape != (2,):
        raise DataError(
            f"polar: an example of {dataset.name} has shape {dataset.feature_shape}; it must be two numbers, x and y"
        )

    def turned(split: Split | None) -> Split | None:
        return None if split is None else replace(split, features=to_polar(split.features).astype(np.float32))

    train = turned(dataset.train)
    assert train is not None
    return replace(
        dataset, name=f"{dataset.name}-polar", source=f"{dataset.source}, in polar coordinates", train=train,
        validation=turned(dataset.validation), test=turned(dataset.test), feature_names=("r", "theta"),
    )  # fmt: skip


def polynomial(examples: int = 40, degree: int = 15, noise: float = 0.1, seed: int = 0) -> Dataset:
    """A simple rule, noisy labels, and powers enough to learn the noise too: features x, x², ..., x^degree of one x.

    Class 1 is |x| > ½ and class 0 the rest of [−1, 1], x uniform within its class, and then round(noise · N/2)
    examples of each class change labels. The quadratic x² − ¼ follows the rule; 15 powers can follow many of the wrong
    labels too, but only with large weights. So as the penalty falls, so does the training loss, while the loss on other
    examples falls and then rises. With as many examples as powers, nearly every label can be followed.

    The powers are no further scaled: on [−1, 1] each is at most 1. Unlike the other sets this one brings a test split,
    1,000 examples with wrong labels of the same share: the few that one learns from are too few to judge by.

    Arguments:
        examples: training examples, at least 2.
        degree: the highest power, at least 1.
        noise: the share of wrong labels, from 0 to ½.
        seed: of the random numbers.

    Raises:
        UsageError: an argument out of these bounds.
    """
    check_integer("polynomial", "degree", degree, least=1)
    check_number("polynomial", "noise", noise, least=0, most=0.5)
    generator = _generator("polynomial", examples, noise, seed)
    train, test = (_powers(generator, count, degree, noise) for count in (examples, HELD))
    names = tuple("x" if k == 1 else f"x^{k}" for k in range(1, degree + 1))
    source = f"built in: powers of x up to {degree}, labels |x| > 1/2 with {noise:.0%} wrong"
    return Dataset("polynomial", source, train, ("inner", "outer"), test=test, feature_names=names)


def polynomial_fit(x: Any, y: Any, degree: int, strength: float = 0.0) -> np.ndarray:
    """Return the coefficients (degree + 1,), c_0 first, of the polynomial p(x) = Σ_k c_k xᵏ that minimises

        (1/N) Σ_i (p(x_i) − y_i)² + strength · Σ_{k≥1} c_k²

    in float64; ``numpy.polynomial.polynomial.polyval(x, c)`` evaluates it. c_0 is the bias and not penalised, as
    everywhere here; scikit-learn's Ridge calls strength · N alpha. With strength 0 and degree ≥ N − 1 the polynomial
    passes through all points with different x; of the many that do for degree ≥ N, it is the one of least Σ_{k≥1} c_k².

    Scale x to about [−1, 1] first, since powers of larger numbers drown each other. What rounding leaves between the
    curve and the points is a few 1e-16 of the largest coefficient: 1e-10 for 15 evenly spaced points, 1e-8 for 20,
    more where two points nearly share an x. Beyond 30 points float64 cannot tell the powers apart.

    Arguments:
        x: the points' places (N,).
        y: the values there (N,).
        degree: the highest power, at least 0.
        strength: of the penalty, at least 0; 0, the default, is least squares.

    Raises:
        UsageError: a degree or strength out of these bounds.
        DataError: x and y are not finite numbers of one length, or x is too large for its powers.
    """
    check_integer("polynomial_fit", "degree", degree, least=0)
    check_number("polynomial_fit", "strength", strength, least=0)
    x, y = _points(x, y)
    with np.errstate(over="ignore"):
        powers = _vandermonde(x, degree)
    if not (np.abs(powers) < 1e150).all():  # their squares are needed
        raise DataError(f"polynomial_fit: x reaches {np.abs(x).max():g}, too large for the power {degree}; rescale x")
    # Without the means there is no bias left to fit, so that the penalty cannot reach it.
    mean = powers.mean(axis=0)
    left, singular, right = np.linalg.svd(powers - mean[None, :], full_matrices=False)
    penalised = singular**2 + len(x) * strength
    # A direction of nothing but rounding is no direction; taking the means away always makes one, where degree ≥ N.
    kept = singular > max(powers.shape) * np.finfo(np.float64).eps * singular.max(initial=0.0)
    shrunk = np.where(kept, singular, 0) / np.where(kept, penalised, 1)
    coefficients = right.T @ (shrunk * (left.T @ (y - y.mean())))
    return np.concatenate([[y.mean() - mean @ coefficients], coefficients])


def _generator(name: str, examples: int, noise: float, seed: int, classes: int = 2) -> np.random.Generator:
    """Check the arguments that all sets share; return their source of random numbers."""
    check_integer(name, "classes", classes, least=2)
    check_integer(name, "examples", examples, least=classes)  # one of each class
    check_number(name, "noise", noise, least=0, most=1e6)  # what float32 holds with room
    check_integer(name, "seed", seed, least=0)
    return np.random.default_rng(seed)


def _labels(generator: np.random.Generator, examples: int, classes: int) -> np.ndarray:
    """Balanced labels (N,) in random order."""
    return generator.permutation(np.arange(examples) % classes)


def _circle(angles: np.ndarray) -> np.ndarray:
    """The points (N, 2) of the unit circle at these angles."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _in_a_mode(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Which of the points (N, 2) lie in a disc of `modes`, as (N,) bools."""
    distance = np.linalg.norm(points[:, None] - centres[None], axis=2)  # (N, modes)
    return (distance <= MODE_RADIUS).any(axis=1)


def _dataset(
    name: str,
    what: str,
    points: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    noise: float,
    generator: np.random.Generator,
) -> Dataset:
    """Points of the plane with noise · N(0, I) added, as training split."""
    points = points + noise * generator.normal(size=points.shape)
    train = Split(points.astype(np.float32), labels.astype(np.int32))
    return Dataset(name, f"built in: {what}", train, classes, feature_names=("x", "y"))


def _powers(generator: np.random.Generator, examples: int, degree: int, noise: float) -> Split:
    """One split of `polynomial`."""
    labels = _labels(generator, examples, 2)
    size = (1 - generator.random(examples) + labels) / 2  # (0, ½] inside, (½, 1] outside
    x = size * generator.choice((-1.0, 1.0), examples)
    wrong = round(noise * examples / 2)
    swapped = np.concatenate([generator.permutation(np.flatnonzero(labels == k))[:wrong] for k in (0, 1)])
    labels[swapped] = 1 - labels[swapped]
    return Split(_vandermonde(x, degree).astype(np.float32), labels.astype(np.int32))


def _vandermonde(x: np.ndarray, degree: int) -> np.ndarray:
    """The powers x, x², ..., x^degree of (N,) numbers, as (N, degree)."""
    return x[:, None] ** np.arange(1, degree + 1)[None, :]


def _points(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """x and y in float64, checked."""
    x, y = np.asarray(x), np.asarray(y)
    numbers = x.dtype.kind in "uif" and y.dtype.kind in "uif"
    if x.ndim != 1 or x.shape != y.shape or not len(x) or not numbers:
        raise DataError(
            f"polynomial_fit: x is {x.dtype} {x.shape} and y {y.dtype} {y.shape}; give as many numbers in x as in y, "
            "at least one"
        )
    for name, values in (("x", x), ("y", y)):
        if len(wrong := np.flatnonzero(~np.isfinite(values))):
            raise DataError(f"polynomial_fit: {name}[{wrong[0]}] is {values[wrong[0]]}; leave that point out")
    return x.astype(np.float64), y.astype(np.float64)

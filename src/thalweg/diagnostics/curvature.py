"""Curvature of the full objective: extreme eigenvalues and spectral density of its Hessian, for any model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from thalweg.diagnostics.curvature_record import FLAT, Curvature, Eigenpair
from thalweg.diagnostics.lanczos import ROUNDING, Krylov, Ritz, condition_of, density_of, lanczos, padded
from thalweg.diagnostics.objective import Point, chunk_rows, flat, products, slope, stack_models
from thalweg.diagnostics.subject import Subject, check_smooth, subject
from thalweg.errors import UsageError
from thalweg.fields import check_integer, check_number, check_option
from thalweg.fitted import FittedModel
from thalweg.penalties import is_smooth
from thalweg.precision import double
from thalweg.training.program import Examples
from thalweg.training.train import examples_of

__all__ = ["Curvature", "Eigenpair", "curvature", "curvatures", "measured"]

Precision: TypeAlias = Literal["single", "double"]

_GRID = 512


@dataclass(frozen=True)
class _Options:
    probes: int
    iterations: int
    tolerance: float
    broadening: float
    seed: int
    precision: Precision

    def __post_init__(self) -> None:
        check_integer("curvature", "probes", self.probes, least=1)
        check_integer("curvature", "iterations", self.iterations, least=2)
        check_integer("curvature", "seed", self.seed, least=0)
        check_number("curvature", "tolerance", self.tolerance, above=0, below=1)
        check_number("curvature", "broadening", self.broadening, above=0, below=1)
        check_option("curvature", "precision", self.precision, ("single", "double"))

    @property
    def dtype(self) -> Any:
        return np.float64 if self.precision == "double" else np.float32

    @property
    def eps(self) -> float:
        return float(np.finfo(self.dtype).eps)


def curvature(model: Any, data: Any, point: Any = None, **options: Any) -> Curvature:
    """Return what Hessian products tell of the full objective at a model's weights.

    H = ∂²L/∂W², L = Σ ω_i loss_i / N + strength × R(W) over all training examples, n weights and biases as one
    vector. Products H v are exact (the gradient is differentiated along v), take about three times a gradient's
    work, and n² numbers are never stored. Lanczos' method (every vector orthogonalised against all before it) makes
    of them the extreme eigenvalues, with error bounds, and the spectral density. The model is in evaluation mode:
    dropout, stochastic depth and the like are off, batch normalisation uses its stored statistics.

    Args:
        model: a `FittedModel`; a `Run` (its winner, on the examples that it was trained on); a `Case` (its model, on
            its splits); or a `Recipe` without ranges, at the weights that its seed draws.
        data: a `Split` as it stands, or whatever `load` reads; its training examples as `sweep` cuts them. None for
            a case, which holds its own.
        point: a tree of weights to take the place of the model's; None (default): its own.
        options: those of `curvatures`, and ``preprocessing`` of a recipe's data, by default ``"auto"``.

    Raises:
        UsageError: a hinge loss (its Hessian is 0 almost everywhere), a point of other shapes, a recipe with ranges.
        DataError: examples without labels or of another shape, a product that is not finite.

    Golub & Meurant 2010; Ghorbani, Krishnan & Xiao 2019.

    >>> import thalweg as tw
    >>> run = tw.fit(tw.Recipe(penalty=tw.penalties.L2(1e-3)), "digits")  # doctest: +SKIP
    >>> print(curvature(run, "digits"))  # doctest: +SKIP
    """
    return curvatures([model], data, points=None if point is None else [point], **options)[0]


def curvatures(
    models: Sequence[Any],
    data: Any,
    *,
    points: Sequence[Any] | None = None,
    probes: int = 4,
    iterations: int = 100,
    tolerance: float = 1e-3,
    broadening: float = 0.01,
    examples: int | None = None,
    precision: Precision = "single",
    preprocessing: str | None = "auto",
    seed: int = 0,
) -> list[Curvature]:
    """Return the curvature at several models, or several points, in one compiled program.

    Args:
        models: of one structure and one preprocessing (their numbers may differ); each as `curvature` takes it.
        data: as `curvature` takes it.
        points: one tree of weights a model, in place of its own; None (default): their own. A single
            model may have many points.
        probes: random starting vectors, each a Krylov space of its own; the spread of the trace is taken over them.
        iterations: the most products a space; fewer where all extreme eigenvalues meet the tolerance (after 32).
        tolerance: of an extreme eigenvalue's residual ‖Hv − λv‖, relative to the largest |λ|. The eigenvalue's own
            error is mostly of the order of the square.
        broadening: width of the density's Gaussians, relative to the span of the spectrum.
        examples: how many examples to draw; None (default): all.
        precision: of the products: "single" (default) as in training, or "double".
        preprocessing: of a recipe's data.
        seed: of the splits, of the draw of examples and of the probes.

    Raises:
        UsageError: as `curvature`, and where models differ in structure or preprocessing.
    """
    options = _Options(probes, iterations, tolerance, broadening, seed, precision)
    if not models:
        raise UsageError("curvatures: models is empty; give at least one")
    if points is not None and len(models) not in (1, len(points)):
        raise UsageError(f"curvatures: there are {len(points)} points for {len(models)} models; give one each")
    count = len(models) if points is None else len(points)
    found = [
        subject(
            models[i if len(models) > 1 else 0], data, point=None if points is None else points[i],
            preprocessing=preprocessing, seed=seed, examples=examples,
        )
        for i in range(count)
    ]  # fmt: skip
    for one in found:
        check_smooth(one.model.recipe)
    _check_alike(found)
    return _measured([one.model for one in found], found[0], options)


def measured(models: Sequence[FittedModel], seen: Subject, *, probes: int, iterations: int) -> list[Curvature]:
    """Return the curvatures of models on examples that are already as the models take them."""
    return _measured(models, seen, _Options(probes, iterations, 1e-3, 0.01, 0, "single"))


def _measured(models: Sequence[FittedModel], seen: Subject, options: _Options) -> list[Curvature]:
    with double() if options.precision == "double" else nullcontext():
        examples = examples_of(seen.split, seen.model.preprocessing)
        if seen.split.weights is not None:
            exact = seen.split.weights / seen.split.weights.mean()  # training rounds them to float32
            examples = examples._replace(weights=jnp.asarray(exact, options.dtype))
        return _Measurement(models, examples, options).records()


def _check_alike(found: Sequence[Subject]) -> None:
    def structure(one: Subject) -> Any:
        recipe = one.model.recipe
        return jax.tree.structure((recipe.model, recipe.loss, recipe.penalty)), jax.tree.map(np.shape, one.model.params)

    first = found[0].model
    for place, one in enumerate(found):
        if structure(one) != structure(found[0]):
            raise UsageError(f"curvatures: model {place} has another structure than the first: take them in turn")
        given, wanted = one.model.preprocessing, first.preprocessing
        same = np.array_equal(given.shift, wanted.shift) and np.array_equal(given.scale, wanted.scale)
        if not same or one.model.recipe.features != first.recipe.features:
            raise UsageError(f"curvatures: model {place} sees its data otherwise than the first: take them in turn")


class _Measurement:
    """T models at once: their Krylov spaces, P each, and what comes of them."""

    def __init__(self, models: Sequence[FittedModel], examples: Examples, options: _Options) -> None:
        self.models, self.examples, self.options = models, examples, options
        self.point: Point = stack_models(models, options.dtype)
        self.size = len(flat(models[0].params))
        in_turn = bool(getattr(models[0].recipe.model, "one_by_one", False))
        self.rows = chunk_rows(len(examples.labels), len(models) * options.probes, in_turn)

    def records(self) -> list[Curvature]:
        count, probes = len(self.models), self.options.probes
        generator = np.random.default_rng(np.random.SeedSequence([self.options.seed, 11]))
        # The same probes for every model, so that two of them differ by their Hessians alone. Gaussian, as no
        # eigenvector is orthogonal to all: signs ±1 in two dimensions can be.
        starts = np.tile(generator.standard_normal((probes, self.size)), (count, 1))
        krylov = lanczos(
            self._products, starts, self.options.iterations, tolerance=self.options.tolerance, eps=self.options.eps
        )
        here = slope(self.point, self.examples, self.rows)
        data = np.asarray(here.data, np.float64).sum(axis=1)
        values = data + np.asarray(here.penalty, np.float64)
        norms = np.sqrt(np.asarray(here.squares, np.float64))
        ritz = [[krylov.ritz(t * probes + p) for p in range(probes)] for t in range(count)]
        pairs = self._extremes(krylov, ritz)
        whole = [bool(krylov.exhausted[t * probes : (t + 1) * probes].all()) for t in range(count)]
        return [
            self._record(t, ritz[t], pairs[t], whole[t], krylov.products, float(values[t]), float(norms[t]))
            for t in range(count)
        ]

    def _products(self, vectors: np.ndarray) -> np.ndarray:
        """H v of vectors (T·P, n), one model after the other."""
        given = vectors.reshape(len(self.models), -1, self.size).astype(self.options.dtype)
        found = products(self.point, self.examples, jnp.asarray(given), self.rows)
        return np.asarray(found, np.float64).reshape(vectors.shape)

    def _extremes(self, krylov: Krylov, ritz: list[list[Ritz]]) -> list[tuple[Eigenpair, Eigenpair]]:
        """Take each model's best Ritz vectors of both ends, and measure them with one more product."""
        probes, ends = self.options.probes, []
        for t, spaces in enumerate(ritz):
            top = int(np.argmax([one.values[-1] for one in spaces]))
            low = int(np.argmin([one.values[0] for one in spaces]))
            ends.append(krylov.vector(t * probes + top, spaces[top].vectors[:, -1]))
            ends.append(krylov.vector(t * probes + low, spaces[low].vectors[:, 0]))
        vectors = np.asarray(ends).reshape(len(ritz), 2, self.size).astype(self.options.dtype).astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        images = self._in_probes(vectors)
        values = np.einsum("tkn,tkn->tk", vectors, images)
        residuals = np.linalg.norm(images - values[:, :, None] * vectors, axis=2)
        return [self._pairs(values[t], residuals[t], vectors[t]) for t in range(len(ritz))]

    def _in_probes(self, vectors: np.ndarray) -> np.ndarray:
        """Products of vectors (T, 2, n), P at a time like all others: another width would be another program."""
        images = np.empty_like(vectors)
        probes = self.options.probes
        for first in range(0, 2, probes):
            block = vectors[:, first : first + probes]
            full = np.zeros((len(vectors), probes, self.size))
            full[:, : block.shape[1]] = block
            found = self._products(full.reshape(-1, self.size)).reshape(full.shape)
            images[:, first : first + probes] = found[:, : block.shape[1]]
        return images

    def _pairs(self, values: np.ndarray, residuals: np.ndarray, vectors: np.ndarray) -> tuple[Eigenpair, Eigenpair]:
        scale = float(np.abs(values).max())
        _, back = ravel_pytree(self.models[0].params)
        rounding = ROUNDING * self.options.eps
        met = residuals <= max(self.options.tolerance, rounding) * scale
        largest, least = (
            Eigenpair(
                float(values[i]), float(residuals[i] + rounding * scale), bool(met[i]),
                jax.tree.map(np.asarray, back(jnp.asarray(vectors[i], self.options.dtype))),
            )
            for i in range(2)
        )  # fmt: skip
        return largest, least

    def _record(
        self, place: int, spaces: list[Ritz], pair: tuple[Eigenpair, Eigenpair], whole: bool, count: int,
        value: float, norm: float,
    ) -> Curvature:  # fmt: skip
        largest, least = pair
        floor = ROUNDING * self.options.eps * max(abs(largest.value), abs(least.value))
        condition, resolved = condition_of(spaces, floor)
        nodes, weights = padded(spaces)
        width = self.options.broadening * (largest.value - least.value) or max(abs(largest.value), 1.0) * 1e-3
        count_shown = max(_GRID, int(3 / self.options.broadening))
        grid = np.linspace(least.value - 5 * width, largest.value + 5 * width, count_shown)
        traces = self.size * np.einsum("pk,pk->p", nodes, weights)
        error = traces.std(ddof=1) / np.sqrt(len(traces)) if len(traces) > 1 else np.nan
        return Curvature(
            parameters=self.size,
            examples=len(self.examples.labels),
            value=value,
            gradient_norm=norm,
            largest=largest,
            least=least,
            floor=floor,
            trace=float(traces.mean()),
            trace_error=float(error),
            condition=condition,
            condition_exact=whole and resolved,
            flat_share=float((weights * (np.abs(nodes) < FLAT * np.abs(nodes).max())).sum() / len(spaces)),
            products=count * len(spaces),
            broadening=width,
            grid=grid,
            density=density_of(nodes, weights / len(spaces), grid, width),
            nodes=nodes,
            node_weights=weights,
            notes=self._notes(place),
        )

    def _notes(self, place: int) -> tuple[str, ...]:
        penalty = self.models[place].recipe.penalty
        if is_smooth(penalty):
            return ()
        return (f"the kinks of {type(penalty).__name__} have no curvature: of the penalty only its smooth part counts",)

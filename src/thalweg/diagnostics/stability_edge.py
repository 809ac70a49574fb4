"""The edge of stability: the learning rates at which gradient descent really fails, beside 2/λmax."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import numpy as np

from thalweg.diagnostics.curvature import measured
from thalweg.diagnostics.curvature_record import Curvature
from thalweg.diagnostics.edge_record import EdgeRecord, Outcome
from thalweg.diagnostics.lanczos import fitting
from thalweg.diagnostics.subject import Subject, check_smooth, subject
from thalweg.errors import DivergedError, UsageError
from thalweg.fields import check_integer, check_number
from thalweg.fitted import FittedModel
from thalweg.optimizers import SGD
from thalweg.penalties import is_smooth
from thalweg.recipe import FULL_BATCH, Recipe
from thalweg.schedules import Constant
from thalweg.training import Settings, TrialRecord, train
from thalweg.training.program import Inputs
from thalweg.training.status import DIVERGED
from thalweg.training.train import examples_of

__all__ = ["EdgeRecord", "edge"]

Rates: TypeAlias = int | Sequence[float] | np.ndarray
_SPAN = (1 / 16, 8.0)  # of the default grid, times the limit at the start
_TAIL = 0.25  # of the steps, over which a rate must still descend
_SHARE = 0.02  # of what the slope promises that descent must deliver there
_ROUNDING = 1e-6  # of the objective: about what float32 can tell of it


def edge(
    source: Any,
    data: Any,
    *,
    rates: Rates = 24,
    steps: int = 500,
    point: Any = None,
    examples: int | None = None,
    preprocessing: str | None = "auto",
    iterations: int = 60,
    seed: int = 0,
) -> EdgeRecord:
    """Train one recipe by full-batch gradient descent at many learning rates at once, and compare with 2/λmax.

    On a quadratic of largest curvature λmax, gradient descent with momentum ρ shrinks every error where the
    learning rate is below 2(1 + ρ)/λmax, and grows some error above it (with Nesterov's momentum, below
    2(1 + ρ)/((1 + 2ρ) λmax)). Convex models behave so near their optimum. A network moves instead to where
    its sharpness λmax comes near 2(1 + ρ)/rate and hovers there: the edge of stability (Cohen et al. 2021).

    Args:
        source: a `Recipe` whose optimizer is SGD (its momentum is taken, its learning rate is not), or a
            `FittedModel` or `Run` of one, whose weights are then the start.
        data: as `curvature` takes it.
        rates: a count (default 24), even on a logarithmic scale from 1/16 to 8 times the limit at the start; or
            the rates themselves.
        steps: of gradient descent, at a constant rate; default 500.
        point: a tree of weights to begin at, in place of the recipe's draw.
        examples: how many examples to draw; None (default): all.
        preprocessing: of a recipe's data.
        iterations: the most Hessian products for each λmax.
        seed: of the splits, and of the draw of examples.

    Raises:
        UsageError: another optimizer, decay in it (give the penalty instead), clipping, averaging or augmentation,
            a hinge loss, or rates that do not serve.
        DivergedError: no rate came to an end.

    Cohen et al. 2021, Gradient descent on neural networks typically occurs at the edge of stability.
    """
    seen = subject(source, data, point=point, preprocessing=preprocessing, seed=seed, examples=examples)
    recipe = seen.model.recipe
    optimizer = _checked(recipe)
    check_integer("edge", "steps", steps, least=8)
    check_integer("edge", "iterations", iterations, least=2)
    momentum = float(optimizer.momentum or 0.0)
    (start,) = measured([seen.model], seen, probes=2, iterations=iterations)
    grid = _grid(rates, start.stable_rate(momentum, nesterov=optimizer.nesterov))
    records = _trained(seen, optimizer, grid, steps)
    return _assembled(seen, start, grid, records, optimizer, steps, iterations)


def _assembled(
    seen: Subject, start: Curvature, grid: np.ndarray, records: list[TrialRecord], optimizer: SGD, steps: int,
    iterations: int,
) -> EdgeRecord:  # fmt: skip
    """Judge the rates, and measure the curvature where they ended."""
    momentum = float(optimizer.momentum or 0.0)
    finite = [i for i, one in enumerate(records) if one.status is not None and one.status.name != DIVERGED]
    if not finite:
        raise DivergedError(_all_diverged(grid))
    ends = [dataclasses.replace(seen.model, params=one.params, model_state=one.model_state) for one in records]
    found = _curvatures([ends[i] for i in finite], seen, start.parameters, iterations)
    curves = dict(zip(finite, found, strict=True))
    lines = [_objective(one, start, curves.get(i), steps) for i, one in enumerate(records)]
    slopes = [one.history["gradient_norm"] for one in records]
    losses = np.stack(lines)
    outcomes = tuple(_outcome(*one) for one in zip(lines, slopes, grid / (1 - momentum), strict=True))
    curves = {i: one for i, one in curves.items() if outcomes[i] != "diverged"}
    if not curves:
        raise DivergedError(_all_diverged(grid))
    settled = [i for i in curves if outcomes[i] == "settled"]
    best = min(settled or curves, key=lambda i: float(losses[i, -1]))
    return EdgeRecord(
        rates=grid,
        outcomes=outcomes,
        losses=losses,
        sharpness=np.array([curves[i].largest.value if i in curves else np.nan for i in range(len(grid))]),
        sharpness_error=np.array([curves[i].largest.bound if i in curves else np.nan for i in range(len(grid))]),
        start=start,
        solution=curves[best],
        best=best,
        momentum=momentum,
        nesterov=bool(optimizer.nesterov),
        notes=_notes(seen),
    )


def _curvatures(ends: list[FittedModel], seen: Subject, size: int, iterations: int) -> list[Curvature]:
    """Measure the ends, so many at a time as memory holds: refused now, the training would be lost."""
    # The start had two spaces in memory, so that one is no risk. Groups of equal size, as each size is a program.
    groups = -(-len(ends) // max(1, fitting(iterations, size)))
    width = -(-len(ends) // groups)
    found: list[Curvature] = []
    for first in range(0, len(ends), width):
        part = ends[first : first + width]
        full = part + part[-1:] * (width - len(part))
        found += measured(full, seen, probes=1, iterations=iterations)[: len(part)]
    return found


def _all_diverged(grid: np.ndarray) -> str:
    return f"edge: all rates from {grid[0]:.3g} to {grid[-1]:.3g} diverged; give smaller ones"


def _checked(recipe: Recipe) -> SGD:
    """Return the recipe's optimizer, where 2/λmax is what limits it."""
    check_smooth(recipe)
    optimizer = recipe.optimizer
    if not isinstance(optimizer, SGD):
        raise UsageError(
            f"edge: the optimizer is {type(optimizer).__name__}; 2/λmax is the limit of gradient descent, with or "
            "without momentum: give optimizers.SGD"
        )
    for name in ("weight_decay", "dampening"):
        if getattr(optimizer, name) is not None:
            raise UsageError(f"edge: SGD's {name} changes what is minimised or the step; leave it out (penalties.L2)")
    for name in ("clip", "averaging", "augmentation"):
        if getattr(recipe, name) is not None:
            raise UsageError(f"edge: the recipe has {name}, with which the limit is another one: leave it out")
    if not is_smooth(recipe.penalty):
        raise UsageError(
            f"edge: the penalty {type(recipe.penalty).__name__} takes proximal steps; give penalties.L2, or none"
        )
    return optimizer


def _notes(seen: Subject) -> tuple[str, ...]:
    model = seen.model.recipe.model
    noisy = any(getattr(model, name, None) is not None for name in ("dropout", "stochastic_depth"))
    if not (noisy or jax.tree.leaves(seen.model.model_state)):
        return ()
    return (
        "the model trains with dropout, batch normalisation or the like, and its curvature is taken without: steps and "
        "sharpness belong to two objectives",
    )


def _grid(rates: Rates, limit: float) -> np.ndarray:
    if isinstance(rates, int) and not isinstance(rates, bool):
        check_integer("edge", "rates", rates, least=2)
        if not np.isfinite(limit):
            raise UsageError(
                "edge: nothing curves upwards at the start, so there is no limit to lay rates around; give them"
            )
        return np.geomspace(_SPAN[0] * limit, _SPAN[1] * limit, rates)
    try:
        grid = np.asarray(rates, np.float64)
    except (TypeError, ValueError):
        grid = np.empty(0)
    if grid.ndim != 1 or len(grid) < 2:
        raise UsageError(f"edge: rates is {rates!r}; give a count of at least 2, or a list of learning rates")
    for rate in grid.tolist():
        check_number("edge", "rates", rate, above=0)
    if (np.diff(grid) <= 0).any():
        raise UsageError(f"edge: rates is {rates!r}; give them in ascending order, each once")
    return grid


class _Beginning(eqx.Module):
    """A model that begins at given weights instead of a draw."""

    model: Any
    params: Any
    state: Any

    @property
    def one_by_one(self) -> bool:
        return bool(getattr(self.model, "one_by_one", False))

    def init(self, key: jax.Array, input_shape: tuple[int, ...], classes: int) -> tuple[Any, Any]:
        return self.params, self.state

    def apply(self, params: Any, state: Any, x: jax.Array, *, key: Any, training: bool) -> tuple[jax.Array, Any]:
        found: tuple[jax.Array, Any] = self.model.apply(params, state, x, key=key, training=training)
        return found


def _trained(seen: Subject, optimizer: SGD, grid: np.ndarray, steps: int) -> list[TrialRecord]:
    """Train from the model's weights at every rate, one step an epoch, all in one program."""
    model: FittedModel = seen.model
    recipe = dataclasses.replace(model.recipe, batch_size=FULL_BATCH, epochs=steps, features=None)
    recipes = [
        dataclasses.replace(
            recipe,
            model=_Beginning(recipe.model, model.params, model.model_state),
            optimizer=SGD(
                Constant(float(rate)), optimizer.momentum, optimizer.nesterov, form=optimizer.form,
                convention=optimizer.convention,
            ),
        )
        for rate in grid
    ]  # fmt: skip
    inputs = Inputs(examples_of(seen.split, model.preprocessing), None)
    return train(recipes, {None: inputs}, len(model.classes), Settings()).records


def _objective(record: TrialRecord, start: Curvature, end: Curvature | None, steps: int) -> np.ndarray:
    """The full objective (steps + 1,) before each step and at the end; NaN once it diverged."""
    line = np.full(steps + 1, np.nan)
    data, penalty = (np.asarray(record.history[name]) for name in ("data_loss", "penalty"))
    # The history has the data loss before a step and the penalty after it.
    line[1 : len(data)] = data[1:] + penalty[:-1]
    line[0], line[-1] = start.value, np.nan if end is None else end.value
    return line


def _outcome(line: np.ndarray, slopes: Sequence[float], rate: float) -> Outcome:
    """Judge one rate by the tail of its steps; ``rate`` is α/(1 − ρ), what a step comes to with momentum."""
    if not np.isfinite(line[-1]) or line[-1] > line[0] + _ROUNDING * abs(line[0]):
        return "diverged"
    first = int((1 - _TAIL) * (len(line) - 1))
    early, late = np.array_split(line[first:], 2)
    # From the middle of one half to that of the other: means, as the two ends of an orbit compare by chance.
    drop, promised = early.mean() - late.mean(), 0.5 * rate * float(np.square(slopes[first:]).sum())
    if promised <= _ROUNDING * abs(line[first]):
        return "settled"
    return "settled" if drop >= _SHARE * promised else "unsettled"

"""The way of the weights through training, and the loss on the plane that holds most of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from thalweg.data import Split
from thalweg.diagnostics.case import Case
from thalweg.diagnostics.objective import chunk_rows, flat, stack_models, values
from thalweg.diagnostics.subject import Subject, drawn, subject
from thalweg.errors import DivergedError, UsageError
from thalweg.fields import check_integer, check_number
from thalweg.fitted import FittedModel
from thalweg.optimizers import RandomSearch
from thalweg.recipe import bind
from thalweg.training import Settings, TrialRecord
from thalweg.training.cohort import group
from thalweg.training.cohort_run import CohortRun
from thalweg.training.program import Inputs, has_judged, initialise, judged
from thalweg.training.train import check_together, examples_of

__all__ = ["PlaneRecord", "Trajectory", "plane", "trajectory"]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The weights of one training, epoch by epoch.

    ``points`` (epochs + 1, n) float32 are all weights and biases as one vector, from the draw on; ``model`` is
    the model after the last of them, ``split`` the examples that it was trained on.
    """

    points: np.ndarray = field(repr=False)
    model: FittedModel
    split: Split = field(repr=False)

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return len(self.points) - 1

    def params(self, epoch: int) -> Any:
        """Return the weights after an epoch (0: before the first) as the model's tree."""
        _, back = ravel_pytree(self.model.params)
        return jax.tree.map(np.asarray, back(jnp.asarray(self.points[epoch])))


@dataclass(frozen=True, eq=False)
class PlaneRecord:
    """The full objective on the plane through the last weights along the trajectory's two principal components.

    ``directions`` (2, n) are orthonormal, ``variances`` (2,) the shares of Σ ‖θ_t − θ_last‖² that they hold.
    ``path`` (epochs + 1, 2) is the trajectory projected onto the plane, ending at (0, 0); ``path_values`` the
    objective at the real points, ``projected_values`` at their projections, ``errors`` the distance between the two
    relative to ‖θ_t − θ_last‖ (0 at the last). ``xs`` (P,), ``ys`` (P,) and ``values`` (P, P), a row a y, are the grid.
    """

    xs: np.ndarray = field(repr=False)
    ys: np.ndarray = field(repr=False)
    values: np.ndarray = field(repr=False)
    path: np.ndarray = field(repr=False)
    path_values: np.ndarray = field(repr=False)
    projected_values: np.ndarray = field(repr=False)
    errors: np.ndarray
    variances: np.ndarray
    directions: np.ndarray = field(repr=False)
    examples: int
    notes: tuple[str, ...] = ()


def trajectory(source: Any, data: Any, *, preprocessing: str | None = "auto", seed: int = 0) -> Trajectory:
    """Train a recipe again and keep the weights after every epoch: the same seed gives the same numbers.

    Args:
        source: a `Recipe` without ranges, or a `Run`, whose selected recipe is trained again on the same examples
            for as many epochs as it kept. A `Case` of such a run serves too.
        data: as `curvature` takes it; for a run, the data that it was made on; for a case, None.
        preprocessing: of a recipe's data.
        seed: of the splits.

    Raises:
        UsageError: ranges in the recipe, random search (it has no path), a `FittedModel` or a path (nor have those).
        DivergedError: the training diverged.
    """
    if isinstance(source, FittedModel):
        raise UsageError("trajectory: a fitted model does not hold its way there; give its recipe, or the run")
    if isinstance(source, Case) and source.path is not None:
        raise UsageError("trajectory: a path's solver jumps to its optima, it takes no way; give a sweep's run")
    seen = subject(source, data, preprocessing=preprocessing, seed=seed)
    recipe = seen.model.recipe
    if isinstance(recipe.optimizer, RandomSearch):
        raise UsageError("trajectory: random search jumps, it takes no way; give another optimizer")
    check_together(recipe, seen.split.features.shape[1:])
    return _trained(seen, recipe.epochs if seen.epochs is None else seen.epochs)


def _trained(seen: Subject, epochs: int) -> Trajectory:
    record = TrialRecord()
    (cohort,) = group([bind(seen.model.recipe, len(seen.split))])
    inputs = Inputs(examples_of(seen.split, seen.model.preprocessing), None)
    run = CohortRun(cohort, [record], inputs, len(seen.model.classes), 1024, Settings())
    key = jax.random.fold_in(jax.random.key(cohort.seed), 0)
    state = initialise(cohort.recipe, key, seen.split.features.shape[1:], len(seen.model.classes))
    points = [_first(state.params)]
    while run.done_epochs < epochs:
        run.epoch()
        if not run.live.all():
            assert record.status is not None
            raise DivergedError(f"trajectory: {record.status.reason}")
        assert run.state is not None
        now = (run.state.params, run.state.model_state)
        params, model_state = judged(cohort.recipe, run.state) if has_judged(cohort.recipe) else now
        points.append(_first(params))
    last = jax.tree.map(lambda leaf: np.asarray(leaf[0]), (params, model_state))
    model = dataclasses.replace(seen.model, params=last[0], model_state=last[1])
    return Trajectory(np.stack(points), model, seen.split)


def _first(params: Any) -> np.ndarray:
    """The weights of the only trial, as a vector."""
    return flat(jax.tree.map(lambda leaf: leaf[0], params), np.float32)


def plane(
    way: Trajectory,
    data: Any = None,
    *,
    points: int = 41,
    margin: float = 0.25,
    examples: int | None = None,
    seed: int = 0,
) -> PlaneRecord:
    """Evaluate the full objective on the plane of a trajectory's two principal components.

    The components are the right singular vectors of the rows θ_t − θ_last, so the plane goes through the last
    weights. How much of the way it holds is told: the components' shares of the sum of squares, and each point's
    distance from the plane. Weights are in evaluation mode with the last model state (batch normalisation's
    statistics), at every point of the plane and of the way.

    Args:
        way: what `trajectory` returned.
        data: as `curvature` takes it; None (default): the examples it was trained on.
        points: of the grid along each axis, default 41.
        margin: how far the grid reaches beyond the way on each side, in parts of its extent; default 0.25.
        examples: how many examples to draw; None (default): all.
        seed: of the draw.

    Raises:
        UsageError: arguments that do not serve, or a way of a single point.

    Li et al. 2018, Visualizing the loss landscape of neural nets, section 7.
    """
    check_integer("plane", "points", points, least=3)
    check_number("plane", "margin", margin, least=0)
    if data is None:
        split = drawn(way.split, examples, seed)
    else:
        split = subject(way.model, data, examples=examples, seed=seed).split
    last = way.points[-1].astype(np.float64)
    offsets = way.points.astype(np.float64) - last
    directions, variances = _components(offsets)
    path = offsets @ directions.T  # (epochs + 1, 2)
    distances = np.linalg.norm(offsets, axis=1)
    apart = np.linalg.norm(offsets - path @ directions, axis=1)
    xs, ys = _axes(path, points, margin)
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    objective = _objective(way.model, split)
    return PlaneRecord(
        xs=xs,
        ys=ys,
        values=_on_plane(objective, last, directions, grid).reshape(points, points),
        path=path,
        path_values=objective(way.points),
        projected_values=_on_plane(objective, last, directions, path),
        errors=np.where(distances > 0, apart / np.where(distances > 0, distances, 1), 0.0),
        variances=variances,
        directions=directions,
        examples=len(split),
        notes=_notes(way.model),
    )


def _objective(model: FittedModel, split: Split) -> Callable[[np.ndarray], np.ndarray]:
    """The full objective (G,) of weights (G, n)."""
    point, taken = stack_models([model], np.float32), examples_of(split, model.preprocessing)
    rows = chunk_rows(len(split), 32, bool(getattr(model.recipe.model, "one_by_one", False)))
    return lambda weights: values(point, taken, weights, rows)


def _components(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two leading right singular vectors (2, n) of the rows, each towards the first point, and their shares."""
    if not np.any(offsets):
        raise UsageError("plane: the weights never moved, so there is no plane: train for an epoch or more")
    _, sizes, rows = np.linalg.svd(offsets, full_matrices=False)
    if rows.shape[0] < 2 or rows.shape[1] < 2:
        raise UsageError(f"plane: {rows.shape[1]} weights and {len(offsets)} points span no plane: train for longer")
    directions = rows[:2] * np.where(offsets[0] @ rows[:2].T < 0, -1.0, 1.0)[:, None]
    return directions, sizes[:2] ** 2 / np.sum(sizes**2)


def _axes(path: np.ndarray, points: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Grid lines that reach beyond the path by a margin; an axis with next to no extent is widened."""
    low, high = path.min(axis=0), path.max(axis=0)
    extent = high - low
    least = 0.05 * extent.max()  # a straight way has none across it: a strip beside it is shown all the same
    widen = np.maximum(0.0, least - extent) / 2 + margin * np.maximum(extent, least)
    return tuple(np.linspace(low[i] - widen[i], high[i] + widen[i], points) for i in range(2))  # type: ignore[return-value]


def _on_plane(objective: Any, last: np.ndarray, directions: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The objective at places (G, 2) of the plane, its weights formed a few hundred at a time."""
    blocks = [places[i : i + 256] for i in range(0, len(places), 256)]
    return np.concatenate([objective(last[None] + block @ directions) for block in blocks])


def _notes(model: FittedModel) -> tuple[str, ...]:
    if not jax.tree.leaves(model.model_state):
        return ()
    return ("every point is evaluated with the last statistics of batch normalisation, not with its own",)

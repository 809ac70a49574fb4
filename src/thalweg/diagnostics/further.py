"""A fitted model trained on, full batch: what the same recipe, or one with a weaker penalty, would still reach."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.diagnostics.case import Case
from thalweg.diagnostics.data_checks import held_out
from thalweg.models import Convolutional, Dense
from thalweg.penalties import L1, L2, ElasticNet, NoPenalty, weight_mask
from thalweg.precision import double

__all__ = [
    "EXAMPLES",
    "MOST",
    "Sample",
    "cannot",
    "fits",
    "fresh",
    "further",
    "judging",
    "losses_and_hits",
    "refitted_rows",
    "sample",
    "uneven",
    "weakened",
    "weight_count",
]

EXAMPLES = 1_000  # of training and of validation at most: a second or two on thousands of features
MOST = 1e8  # weights times examples of one evaluation: the hundreds that a check takes last half a minute in float64
_REFITTED = 5_000  # training examples at most on which a model is trained on
_BLOCK = 1_000  # examples scored at a time: convolutions need much memory for each
_ROUND = 1e-4  # |w| is smoothed to √(w² + ε²) − ε, far below weights that count


class Sample(NamedTuple):
    """Examples as the model takes them: x (N, ...), labels (N,), and weights (N,) of mean 1."""

    x: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def cannot(case: Case, examples: int = EXAMPLES) -> str:
    """Say why a case's model cannot be trained on here, on so many training examples, or nothing."""
    assert case.model is not None
    model, penalty = case.model.recipe.model, case.model.recipe.penalty
    if isinstance(model, Convolutional) or getattr(model, "batch_norm", False):
        return (
            "batch normalisation takes the scale of the weights out again, and convolutions take too long to refit: "
            "compare two trainings instead"
        )
    if jax.tree.leaves(case.model.model_state):
        return f"{type(model).__name__} has a state that training moves along with the weights: compare two trainings"
    if not isinstance(penalty, (NoPenalty, L1, L2, ElasticNet)):
        return f"the penalty {type(penalty).__name__} is none of thalweg's own"
    examples, weights = min(examples, len(case.inputs["train"][1])), weight_count(case)
    if weights * examples > MOST:
        return f"refitting {weights:,} weights to {examples:,} examples would take too long: compare two trainings"
    return ""


def weight_count(case: Case) -> int:
    """Return how many numbers the model's params hold."""
    assert case.model is not None
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(case.model.params))


def uneven(case: Case) -> str:
    """Say why training and validation losses are not on the same footing, or nothing: both are weighted, or neither."""
    if case.data is None:
        return (
            "training examples are weighted, and without the data it is not known whether those of validation are"
            if case.run.data.weighted
            else ""
        )
    weighted = {name: split.weights is not None for name, split in case.data.splits()}
    if weighted.get("validation", weighted["train"]) == weighted["train"]:
        return ""
    one, other = ("training", "validation") if weighted["train"] else ("validation", "training")
    return f"{one} examples are weighted and {other} examples are not: their losses do not compare"


def refitted_rows(case: Case) -> int:
    """How many training examples a model is trained on, at most."""
    return min(_REFITTED, int(MOST / max(1, weight_count(case))))


def fits(case: Case) -> bool:
    """Whether a model is trained on with all training examples."""
    return len(case.inputs["train"][1]) <= refitted_rows(case)


def judging(case: Case) -> tuple[str, str]:
    """The split on which a model is compared, and why one that is trained on cannot be judged there, or nothing.

    Where all training examples fit in, these judge; a model that was refitted on validation has learned that.
    """
    name, split = held_out(case)
    if name == "validation" or fits(case):
        return "validation", ""
    if split is None or split.labels is None:
        return "validation", "it was refitted on the validation examples, and there are no others"
    return name, ""


def sample(case: Case, name: str, most: int = EXAMPLES) -> Sample:
    """Return up to ``most`` examples of a split, always the same ones."""
    x, labels = case.inputs[name]
    weights = dict(case.data.splits())[name].weights if case.data is not None else None
    rows = np.sort(np.random.default_rng(7).permutation(len(labels))[:most])
    chosen = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)[rows]
    return Sample(x[rows], labels[rows], chosen / (chosen.mean() or 1.0))


def fresh(case: Case) -> Any:
    """Return the weights that the trial began with: those of its seed."""
    assert case.model is not None
    recipe, model = case.model.recipe, case.model
    key = jax.random.fold_in(jax.random.key(recipe.seed), 0)
    return recipe.model.init(key, model_input(case).shape[1:], len(model.classes))[0]


def model_input(case: Case) -> np.ndarray:
    """Return the training examples as the model takes them."""
    return case.inputs["train"][0]


def weakened(penalty: Any, factor: float) -> Any:
    """Return the penalty with its strength times ``factor``."""
    if isinstance(penalty, NoPenalty):
        return penalty
    return dataclasses.replace(penalty, strength=float(penalty.strength) * factor)


def further(case: Case, start: Any, penalty: Any, examples: Sample, *, steps: int) -> Any:
    """Minimise the recipe's objective from ``start`` by L-BFGS (SciPy's), in float64; return the params reached.

    Dropout and the like are off. A penalty with a kink is smoothed by 1e-4.
    """
    from scipy.optimize import minimize  # half a second to import

    assert case.model is not None
    fitted = case.model
    model = _plain(fitted.recipe.model)
    leaves, structure = jax.tree.flatten(start)
    shapes = [np.shape(leaf) for leaf in leaves]
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]

    def tree(point: np.ndarray) -> Any:
        parts = np.split(point, cuts)
        return jax.tree.unflatten(structure, [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])

    with double():
        inputs = [jnp.asarray(one) for one in (examples.x.astype(np.float64), examples.labels, examples.weights)]

        def value(point: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient = _value(tree(point), model, fitted.recipe.loss, penalty, fitted.model_state, *inputs)
            return float(loss), np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])

        flat = np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in leaves])
        found = minimize(value, flat, jac=True, method="L-BFGS-B", options={"maxiter": steps})
    reached = found.x if np.isfinite(found.fun) else flat
    return tree(reached.astype(np.float32))


def losses_and_hits(case: Case, params: Any, examples: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return each example's data loss (N,) and whether it is predicted right (N,), at any params."""
    assert case.model is not None
    recipe, count = case.model.recipe, len(examples.labels)
    size = min(_BLOCK, count)
    found = []
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)  # the last one fills the last block up
        x, labels = examples.x[rows], examples.labels[rows].astype(np.int32)
        found.append(_scored(recipe.model, recipe.loss, params, case.model.model_state, x, labels))
    scores, losses = (np.concatenate([np.asarray(one) for one in part])[:count] for part in zip(*found, strict=True))
    return losses.astype(np.float64), scores.argmax(axis=1) == examples.labels


def _plain(model: Any) -> Any:
    return dataclasses.replace(model, dropout=None) if isinstance(model, Dense) else model


@jax.jit
@jax.value_and_grad
def _value(params: Any, model: Any, loss: Any, penalty: Any, state: Any, x: Any, labels: Any, weights: Any) -> Any:
    scores, _ = model.apply(params, state, x, key=None, training=False)
    mask = weight_mask(params)
    costs = jax.tree.map(lambda leaf, counts: _cost(penalty, leaf) if counts else 0.0, params, mask)
    return jnp.mean(weights * loss(scores, labels)) + sum(jax.tree.leaves(costs))


def _cost(penalty: Any, leaf: jax.Array) -> jax.Array:
    if isinstance(penalty, NoPenalty):
        return jnp.zeros((), leaf.dtype)
    square = jnp.sum(jnp.square(leaf))
    if isinstance(penalty, L2):
        return penalty.strength * square
    modulus = jnp.sum(jnp.sqrt(jnp.square(leaf) + _ROUND**2) - _ROUND)
    return penalty.strength * (modulus + (penalty.beta * square if isinstance(penalty, ElasticNet) else 0.0))


@jax.jit
def _scored(model: Any, loss: Any, params: Any, state: Any, x: Any, labels: Any) -> Any:
    scores, _ = model.apply(params, state, x, key=None, training=False)
    return scores, loss(scores, labels)

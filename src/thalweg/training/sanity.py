"""Sanity before training: three quick questions that a broken loss, penalty or model answers wrongly.

They are the checks of Karpathy's course notes (CS231n, "Before learning: sanity checks"): the loss at small
weights is known beforehand, a stronger penalty costs more, and twenty examples can be learnt by heart. They look at
twenty examples, so they take the same time whatever the size of the data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.data import Dataset
from thalweg.extraction import View
from thalweg.findings import Finding
from thalweg.optimizers import RandomSearch
from thalweg.recipe import Recipe, bind
from thalweg.training.cohort import group
from thalweg.training.few import Few, choose_few
from thalweg.training.interrupt import InterruptRequest
from thalweg.training.overfit import over_fit
from thalweg.training.penalty_sanity import check_penalty
from thalweg.training.program import initialise

__all__ = ["SMALL", "check_recipes"]

SMALL = 1e-3  # the model's own first weights times this are "small random weights", whatever its initialisation
_AGREES = 0.01  # relative: float32 and what small weights leave of the scores stay far below it, a wrong base far above
_MOST_WEIGHTS = 4_000_000  # L-BFGS keeps 20 copies in float64: more would cost seconds, and hundreds of megabytes
_MOST_BYTES = 256 * 2**20  # of a whole cohort's first state; above it, one trial's is made instead


def check_recipes(
    recipes: Sequence[Recipe], views: Mapping[Any, View], stop: InterruptRequest | None = None
) -> tuple[Finding, ...]:
    """Check the first recipe of each structure; ``stop`` ends the work between two of them, and within a fit."""
    few: dict[Any, Few] = {}
    found: list[Finding] = []
    structures: set[Any] = set()
    penalties: set[Any] = set()
    widths: dict[Any, list[Recipe]] = {}
    for recipe in recipes:
        widths.setdefault(jax.tree.structure(recipe), []).append(recipe)
    for first, *others in widths.values():
        structure = (first.features, jax.tree.structure((first.model, first.loss)))
        penalty = (first.features, jax.tree.structure((first.model, first.penalty)))
        if stop is not None and stop.requested:
            break
        if structure in structures and penalty in penalties:
            continue
        seen = views[first.features].dataset
        if first.features not in few:
            few[first.features] = choose_few(seen.train, views[first.features].preprocessing)
        draws = _Draws(first, 1 + len(others), seen)
        name = _name(first)
        if structure not in structures:
            found += _check_scores(first, name, draws, few[first.features], len(seen.classes), stop)
        if penalty not in penalties:
            found.append(check_penalty(first.penalty, draws.params(0), name))
        structures.add(structure)
        penalties.add(penalty)
    return tuple(sorted(found, key=lambda finding: finding.code))


class _Draws:
    """First weights of a recipe, by the very program that its training will start with."""

    def __init__(self, recipe: Recipe, trials: int, dataset: Dataset) -> None:
        (cohort,) = group([bind(recipe, len(dataset.train))])
        self.model, self.loss = jax.tree.map(lambda leaf: leaf[0], (cohort.recipe.model, cohort.recipe.loss))
        self._key = jax.random.key(cohort.seed)
        self._arguments = (dataset.feature_shape, len(dataset.classes))
        # Compiled for as many trials as will train side by side it serves the training too, and costs nothing on top.
        wide = jax.tree.map(lambda leaf: np.repeat(leaf, trials, axis=0), cohort.recipe)
        start = partial(initialise, input_shape=self._arguments[0], classes=self._arguments[1])
        state = jax.eval_shape(start, wide, self._key)
        size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        self._recipe = wide if size <= _MOST_BYTES else cohort.recipe
        self._made: dict[int, Any] = {}

    def state(self, number: int) -> tuple[Any, Any]:
        """Return (params, model state) of draw ``number``; 0 is the one that is trained."""
        if number not in self._made:
            made = initialise(self._recipe, jax.random.fold_in(self._key, number), *self._arguments)
            self._made[number] = jax.tree.map(lambda leaf: np.asarray(leaf)[0], (made.params, made.model_state))
        return self._made[number]

    def params(self, number: int) -> Any:
        return self.state(number)[0]


def _name(recipe: Recipe) -> str:
    """The structure in words: what each of its parts calls itself."""
    parts = (recipe.model, recipe.loss, *(() if recipe.features is None else (recipe.features,)))
    names = [str(getattr(part, "name", None) or getattr(part, "kind", None) or type(part).__name__) for part in parts]
    hidden = getattr(recipe.model, "hidden", None)
    return ", ".join([f"{names[0]} {hidden}" if hidden else names[0], *names[1:]])


def _check_scores(
    recipe: Recipe, name: str, draws: _Draws, few: Few, classes: int, stop: InterruptRequest | None
) -> list[Finding]:
    """The two questions that need the model's scores."""
    params, _ = draws.state(0)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    learns = not isinstance(recipe.optimizer, RandomSearch)  # which may serve what has no gradient
    measure = partial(_measure if learns and size <= _MOST_WEIGHTS else _judge, draws.model, draws.loss)
    found = [_first_loss(recipe, name, draws, few, classes, measure)]
    if not learns:
        why = "random search takes no gradient, so nothing is fitted step by step"
        return [*found, _overfit_finding("not applicable", f"{name}: {why}")]
    if size > _MOST_WEIGHTS:
        why = f"{size:,} weights are more than the {_MOST_WEIGHTS:,} that can be fitted in passing"
        return [*found, _overfit_finding("not applicable", f"{name}: {why}")]
    verdict, evidence, value = over_fit(recipe.model, draws.state, few, classes, measure, stop)
    return [*found, _overfit_finding(verdict, f"{name}: {evidence}", value)]


def _first_loss(recipe: Recipe, name: str, draws: _Draws, few: Few, classes: int, measure: Any) -> Finding:
    """SA01."""
    params, state = draws.state(0)
    expected, formula = {"softmax": (math.log(classes), "ln C"), "hinge": (classes - 1.0, "C − 1")}.get(
        getattr(recipe.loss, "kind", ""), (None, "")
    )
    own, small, none = (
        float(measure(jax.tree.map(lambda leaf, f=factor: np.asarray(leaf * f, leaf.dtype), params), state, *few)[0])
        for factor in (1.0, SMALL, 0.0)
    )
    if expected is None:
        return _loss_finding("not applicable", f"{name}: no value is known of this loss at small weights", None)
    evidence = (
        f"{name}: the mean loss at weights of {SMALL:g} times the first is {small:.4f}, and {formula} is "
        f"{expected:.4f} for {classes} classes; at the first weights themselves it is {own:.4f}"
    )
    off = abs(small - expected) / expected
    if not off > _AGREES and math.isfinite(small):
        return _loss_finding("passed", evidence, off)
    remedy = "Mend the loss: at scores that are all alike it must not depend on them, nor on the label."
    if abs(none - expected) <= _AGREES * expected:
        evidence += f"; at weights of 0 it is {none:.4f}, as it must be"
        remedy = "The features are so large that small weights give large scores: standardize them, or scale them."
    return _loss_finding("found", evidence, off, remedy)


def _loss_finding(verdict: Any, evidence: str, value: float | None, remedy: str = "") -> Finding:
    title = "the loss at small weights is not what it must be"
    return Finding("SA01", title, verdict, "error", evidence, remedy, value, _AGREES, "relative difference")


def _overfit_finding(verdict: Any, evidence: str, value: float | None = None) -> Finding:
    remedy = (
        "Look for a loss that does not see the labels, a model whose scores do not depend on its input or weights, "
        "or weights that get no gradient (`thalweg gradcheck`)."
    )
    title = "the model cannot over-fit twenty examples"
    shown = remedy if verdict == "found" else ""
    return Finding("SA03", title, verdict, "error", evidence, shown, value, 1.0, "share predicted right")


def _loss_of(model: Any, loss: Any, params: Any, state: Any, x: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    scores, _ = model.apply(params, state, x, key=None, training=False)
    return jnp.sum(weights * loss(scores, labels)), jnp.argmax(scores, axis=-1) == labels


@jax.jit
def _judge(model: Any, loss: Any, params: Any, state: Any, x: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    """Return the weighted mean loss, and which examples are right."""
    return _loss_of(model, loss, params, state, x, labels, weights)


@jax.jit
def _measure(model: Any, loss: Any, params: Any, state: Any, x: Any, labels: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Do as `_judge`, and return the gradient with respect to the params as well."""

    def value(params: Any) -> tuple[Any, Any]:
        return _loss_of(model, loss, params, state, x, labels, weights)

    (mean, right), gradient = jax.value_and_grad(value, has_aux=True)(params)
    return mean, right, gradient

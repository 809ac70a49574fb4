"""Check of the learning rate against the limit that curvature sets: 2(1 + ρ)/λmax."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.data import Split
from thalweg.diagnostics.base import Check, Need
from thalweg.diagnostics.case import Case
from thalweg.diagnostics.curvature import curvature
from thalweg.diagnostics.curve import read_curve
from thalweg.diagnostics.learning_rate import restless, trained
from thalweg.findings import Finding, Severity
from thalweg.fitted import FittedModel
from thalweg.optimizers import SGD
from thalweg.penalties import is_smooth, penalty_value
from thalweg.run import Trial
from thalweg.solvers import LBFGS

__all__ = ["RateAboveLimit"]

_EXAMPLES = 2048  # that λmax is measured on: its sampling error is a few per cent then
_FEWEST = 512  # of them, however large the model
_WORK = 2_000_000_000  # examples times weights: a product with the Hessian takes a tenth of a second


class RateAboveLimit(Check):
    """Whether gradient descent could stay where it ended, at the rate it ended with.

    Near a minimum whose Hessian has the largest eigenvalue λmax, gradient descent with momentum ρ is stable up to
    the rate 2(1 + ρ)/λmax, with Nesterov's up to 2(1 + ρ)/((1 + 2ρ)λmax). ``value`` is the kept epoch's rate over that
    limit, λmax being of the training objective at the kept weights, in evaluation mode. Where training still threw the
    weights about (LR01's second sign) these are no solution, and softmax is flatter beside it: then L-BFGS goes down to
    the minimum first, and the limit there counts.

    Networks that are trained on full batches at a fixed rate drive λmax up to the limit by themselves and hover
    about it, without harm (Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of
    stability"): so trouble begins at 1.25, or at 1 where the weights did not settle. Below, it says how much of the
    limit is used. Minibatch noise calls for less than all of it, a half or a fifth; a hundredth leaves speed unused.
    λmax is of 2,048 training examples, of a model of over a million weights fewer (2·10⁹ over their number, at least
    512): the evidence says how many. After a refit the weights are those of training + validation, and the rates and
    epochs those of the trial: the evidence says so.
    """

    code: ClassVar[str] = "LR03"
    title: ClassVar[str] = "learning rate above the stability limit"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = "lower the learning rate below the limit, or let a schedule end below it"
    threshold: ClassVar[float | None] = 1.25
    unit: ClassVar[str] = "of 2(1+ρ)/λmax"
    needs: ClassVar[tuple[Need, ...]] = ("epochs", "data", "model")

    def look(self, case: Case) -> Finding:
        trial, model, data = trained(case), case.model, case.data
        assert model is not None
        assert data is not None
        if why := _no_limit(trial):
            return self.not_applicable(why)
        weights = sum(np.size(leaf) for leaf in jax.tree.leaves(model.params))
        split = _part(data.train, int(np.clip(_WORK // max(weights, 1), _FEWEST, _EXAMPLES)))
        unsettled = restless(trial, read_curve(trial, case.run.data))
        if unsettled and is_smooth(trial.recipe.penalty):
            model = _settled(model, split)
        largest = curvature(model, split, probes=1).largest.value
        limit = _limit(largest, trial.recipe.optimizer)
        if not math.isfinite(limit):
            return self.passed("the objective does not bend upwards here: there is no limit")
        rates = np.asarray(trial.history["learning_rate"], np.float64)
        last = float(rates[max(trial.kept_epoch, 1) - 1])
        value = last / limit
        refitted = case.sweep is not None and case.sweep.refitted
        evidence = _told(last, limit, largest, len(split), unsettled, refitted)
        if (peak := float(rates.max())) > 1.01 * last:
            evidence += f"; the highest rate, {peak:.3g}, was {peak / limit:.2g} of it"
        assert self.threshold is not None
        return self.judged(value > (1 if unsettled else self.threshold), evidence, value)


def _told(rate: float, limit: float, largest: float, examples: int, unsettled: bool, refitted: bool) -> str:
    where = "at the minimum below the kept weights, which had not settled" if unsettled else "at the kept weights"
    where += " (weights refitted on training + validation)" if refitted else ""
    return (
        f"the kept epoch's rate {rate:.3g} is {rate / limit:.2g} of the limit {limit:.3g} {where} (λmax {largest:.3g} "
        f"on {examples:,} training examples)"
    )


def _no_limit(trial: Trial) -> str:
    """Say why the theory has no limit for a trial, or nothing."""
    optimizer = trial.recipe.optimizer
    if not isinstance(optimizer, SGD):
        return f"the limit is for SGD; {type(optimizer).__name__} scales each entry's step, or turns it"
    if optimizer.dampening is not None:
        return "the limit is for momentum without dampening"
    if not getattr(trial.recipe.loss, "smooth", True):
        return f"{type(trial.recipe.loss).__name__} is made of straight pieces: its Hessian is 0 almost everywhere"
    return ""


def _limit(largest: float, optimizer: SGD) -> float:
    """Return 2(1 + ρ)/λmax, with Nesterov's momentum 2(1 + ρ)/((1 + 2ρ)λmax); weight decay adds to λmax."""
    momentum = 0.0 if optimizer.momentum is None else float(optimizer.momentum)
    largest += 0.0 if optimizer.weight_decay is None else float(optimizer.weight_decay)
    factor = 1 + 2 * momentum if optimizer.nesterov else 1.0
    return 2 * (1 + momentum) / (factor * largest) if largest > 0 else math.inf


def _part(split: Split, most: int = _EXAMPLES) -> Split:
    """The first examples of a shuffle with a fixed seed, where there are many."""
    if len(split) <= most:
        return split
    places = np.sort(np.random.default_rng(0).permutation(len(split))[:most])
    labels = None if split.labels is None else split.labels[places]
    return Split(split.features[places], labels, weights=None if split.weights is None else split.weights[places])


def _settled(model: FittedModel, split: Split) -> FittedModel:
    """Return the model at the minimum that L-BFGS finds from its weights; its own where that is lower or not finite."""
    part = model.recipe.features
    shown = split.features if part is None else part.transform(split.features, model.feature_state)
    x = np.asarray(model.preprocessing.transform(np.asarray(shown)), np.float32)
    weights = np.ones(len(x), np.float32) if split.weights is None else split.weights / split.weights.mean()
    numbers = (model.recipe.model, model.recipe.loss, model.recipe.penalty)
    args = (*jax.tree.map(np.float32, numbers), model.model_state, x, split.labels, np.asarray(weights, np.float32))
    found = LBFGS(tolerance=1e-4, iterations=200).solve(_objective, model.params, *args)
    return dataclasses.replace(model, params=found.weights) if np.isfinite(found.value) else model


def _objective(params: Any, model: Any, loss: Any, penalty: Any, state: Any, x: Any, labels: Any, weights: Any) -> Any:
    scores, _ = model.apply(params, state, x, key=None, training=False)
    return jnp.mean(weights * loss(scores, labels)) + penalty_value(penalty, params)

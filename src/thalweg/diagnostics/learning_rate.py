"""Checks of the learning rate: read from the loss curve."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np

from thalweg.diagnostics.base import Check, Need
from thalweg.diagnostics.case import Case
from thalweg.diagnostics.curve import Curve, read_curve
from thalweg.findings import Finding, Severity
from thalweg.optimizers import RandomSearch
from thalweg.run import Trial
from thalweg.training.status import DIVERGED

__all__ = ["LEARNING_RATE_CHECKS", "RateTooHigh", "RateTooLow"]

RISE = 0.3  # of the starting loss: LR01's threshold, beyond which the other checks read no curve
FEWEST = 4  # epochs: a late and an early part, of more than one value each


class RateTooHigh(Check):
    """Whether the loss rose where it should fall (SPEC G7).

    ``value`` is the largest rise of the data loss above what was lowest before, the loss of chance (ln C for softmax,
    C − 1 for the hinge) among that, over the loss it started from. A rate that suits lets the loss of an epoch rise by
    its noise alone; one above the limit 2/λmax throws the weights further off at each step, until smaller gradients or
    Adam's denominators catch them. Where the data loss and the validation loss end below 0.65 of the start all
    the same, the check passes and says so: in the corpus a lower rate mostly did no better then.

    The second sign needs no rise: a loss that no longer falls while each step still changes the weights by more than a
    fifth of their norm (the median of the last three epochs), as it does in an oscillation between two walls of a
    valley. It counts where something was learned or the loss rose, and above three over the number of steps: weights
    that begin at 0 change by about 1/t of their norm in step t at any rate.

    The threshold lies between the largest rise of runs of the corpus that nothing was wrong with (0.2) and the usual
    ones of those whose rate is at fault (0.47 and more).
    Bengio 2012, "Practical recommendations for gradient-based training", section 3.1.
    """

    code: ClassVar[str] = "LR01"
    title: ClassVar[str] = "learning rate too high"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = (
        "divide the learning rate by 3 to 10; or warm it up over the first steps, or clip the gradient, "
        "where only the beginning is at fault"
    )
    threshold: ClassVar[float | None] = RISE
    unit: ClassVar[str] = "of the starting loss"
    needs: ClassVar[tuple[Need, ...]] = ("trial",)
    # Of the weights' norm: five such steps in one direction are as long as the weights themselves.
    restless: ClassVar[float] = 0.2
    recovered: ClassVar[float] = 0.65  # of the starting loss

    def look(self, case: Case) -> Finding:
        trial = trained(case)
        if isinstance(trial.recipe.optimizer, RandomSearch):
            return self.not_applicable("random search has no learning rate")
        curve = read_curve(trial, case.run.data)
        if trial.status.name == DIVERGED:
            rose = f"; before, it had been {curve.loss.max():.4g} at most" if len(curve.loss) else ""
            return dataclasses.replace(self.found(f"the trial diverged: {trial.status.reason}{rose}"), severity="error")
        if len(curve.loss) < 2:
            return self.not_applicable("one epoch shows no rise; train for 2 or more")
        value = curve.rise() / curve.start
        if value > RISE:
            if recovered(case):
                return self.passed(f"{_rises(curve)}: too high at first, but training recovered", value)
            return self.found(_rises(curve), value)
        moved = _last_ratio(trial)
        if restless(trial, curve):
            unmoved = f"the data loss stays near {curve.end:.4g}, and a step still changed the weights by {moved:.0%}"
            return self.found(unmoved, value)
        return self.passed(f"{_rises(curve)}; the last step changed the weights by {moved:.2g} of their norm", value)


def trained(case: Case) -> Trial:
    """The trial of a case that has one."""
    assert case.trial is not None
    return case.trial


def recovered(case: Case) -> bool:
    """Return whether the data loss, and the validation loss where there is one, ended well below the start."""
    curves = [read_curve(trained(case), case.run.data, name) for name in ("data_loss", "validation_loss")]
    return all(curve.end < RateTooHigh.recovered * curves[0].start for curve in curves if len(curve.loss))


def restless(trial: Trial, curve: Curve) -> bool:
    """Return whether the last steps still changed the weights much, and the loss no longer fell: LR01's second sign."""
    # Weights that start at 0 grow by the share 1/t in step t at any rate: three times that is more than growth. Where
    # nothing was learned they stay near 0, and noise alone is a large share of them.
    usual = 3 / (curve.steps * max(1, len(curve.loss)))
    learned = curve.fall > RateTooLow.nothing * curve.start or curve.rise() > RISE * curve.start
    return bool(learned and _last_ratio(trial) > max(RateTooHigh.restless, usual) and not curve.falls)


def _rises(curve: Curve) -> str:
    rises = int((np.diff(curve.loss) > 0).sum())
    lowest = curve.loss.min()
    times = f", {curve.loss[-1] / lowest:.3g} times the lowest" if lowest > 0 else ""
    return (
        f"the data loss started near {curve.start:.4g}, was {curve.loss.max():.4g} at most and {curve.loss[-1]:.4g} "
        f"at last{times}; it rose in {rises} of {len(curve.loss) - 1} epochs, by {curve.rise():.3g} at most"
    )


def _last_ratio(trial: Trial) -> float:
    ratios = np.asarray(trial.history["update_ratio"], np.float64)
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios[-3:])) if len(ratios) else math.nan


class RateTooLow(Check):
    """Whether the loss falls slowly and steadily, and is still far from done (SPEC G7).

    Three observables. The second half of the training (by the sum of the rates) made at least 18 % of the fall: ½
    is a straight line. The loss is still above a fifth of where it started. And the *first* quarter of the fall took
    ``value`` steps at the highest rate: gradient descent at the share q of the limit 2/λmax multiplies the loss along
    the steepest direction by (1 − 2q)² a step, so that a quarter is gone in one or two steps for q from ½ to 1/20,
    and in ten at a hundredth. Curvatures that differ widely, and too few epochs, also leave a loss that falls at the
    end, but after a quick beginning: FT03 tells of these. Where noise (dropout, say) hides the data loss's fall, the
    validation loss is read. And where all steps together moved the weights by less than 2 % of their norm, no curve is
    needed; where they moved them by many times their norm and the loss fell by less than a twentieth, there is
    nothing to learn, and the check passes.

    That a higher rate would have done better *in as many epochs* is all that a curve shows: with enough
    epochs the low rate gets there too. Very noisy gradients (batches of one or two) call for rates below the limit, and
    a network may wait on a plateau at any rate: there a hit is worth one trial with ten times the rate, no more. Below
    40 steps the two cannot be told apart. Thresholds from the corpus (seed 0). Where the search has tried rates three
    times as high and more, with the same optimizer, and none of them did better on validation, the check passes.
    """

    code: ClassVar[str] = "LR02"
    title: ClassVar[str] = "learning rate too low for this many epochs"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = "try 10 times the learning rate before more epochs"
    threshold: ClassVar[float | None] = 6.0
    unit: ClassVar[str] = "steps"
    needs: ClassVar[tuple[Need, ...]] = ("epochs",)
    late: ClassVar[float] = 0.18  # of the fall
    left: ClassVar[float] = 0.2  # of the starting loss
    moved: ClassVar[float] = 0.02  # of the weights' norm
    nothing: ClassVar[float] = 0.05  # of the starting loss: a fall of less has learned next to nothing
    wandered: ClassVar[float] = 8.0  # of the weights' norm
    fewest: ClassVar[int] = (
        40  # steps at the highest rate: a quarter of a straight line of fewer is below 10, too near to 6
    )

    def look(self, case: Case) -> Finding:
        trial = trained(case)
        if isinstance(trial.recipe.optimizer, RandomSearch):
            return self.not_applicable("random search has no learning rate")
        if trial.status.name == DIVERGED:
            return self.not_applicable("the trial diverged (LR01)")
        curve = shown(case)
        if len(curve.loss) < FEWEST or curve.rates < self.fewest:
            return self.not_applicable(
                f"{len(curve.loss)} epochs, {curve.rates:.0f} steps at the highest rate, show no shape of a curve; "
                f"{FEWEST} epochs and {self.fewest} steps do"
            )
        if curve.fall <= 0:
            return self.passed(f"the loss did not fall: {curve.start:.4g} at first, {curve.end:.4g} at last")
        if curve.rise() > RISE * curve.start:
            return self.passed("the loss rose (LR01)")
        steps = curve.steps_to(0.25)
        evidence = (
            f"the loss fell from {curve.start:.4g} to {curve.end:.4g}, {max(0.0, curve.late_share):.0%} of that "
            f"in the second half of the training, and the first quarter of it took {steps:.0f} steps"
        )
        if stays(trial, curve):
            moved = f"all steps together moved the weights by {_moved(trial, curve.steps):.2g} of their norm at most"
            return self.found(f"{evidence}; {moved}", steps)
        if curve.fall < self.nothing * curve.start and _wandered(trial, curve.steps) > self.wandered:
            return self.passed(f"{evidence}; the weights moved freely, so there is little to gain by any rate", steps)
        if is_slow(curve) and (others := _higher_and_no_better(case, trial)):
            return self.passed(f"{evidence}; but {others}", steps)
        return self.judged(is_slow(curve), evidence, steps)


def _higher_and_no_better(case: Case, trial: Trial) -> str:
    """Say what the search's own trials at higher rates came to, where they were no better; nothing otherwise."""
    own = _peak(trial)
    if case.sweep is None or own is None:
        return ""
    kind = type(trial.recipe.optimizer)
    rivals = [
        other
        for other in case.sweep.trials
        if other.status.finished and isinstance(other.recipe.optimizer, kind) and (_peak(other) or 0) >= 3 * own
    ]
    if not rivals or max(rival.validation_accuracy for rival in rivals) > trial.validation_accuracy:
        return ""
    return f"none of the {len(rivals)} trials at three times this rate and more did better on validation"


def _peak(trial: Trial) -> float | None:
    base = getattr(getattr(trial.recipe.optimizer, "learning_rate", None), "base", None)
    return None if base is None else float(base)


def shown(case: Case) -> Curve:
    """The data loss's curve, or the validation loss's where that one's late fall alone stands out from noise."""
    curve, held = (read_curve(trained(case), case.run.data, name) for name in ("data_loss", "validation_loss"))
    hidden = len(held.loss) and held.falls and not curve.falls and curve.rise() <= RISE * curve.start
    return held if hidden else curve


def is_slow(curve: Curve) -> bool:
    """Return LR02's judgement of a curve."""
    assert RateTooLow.threshold is not None
    unfinished = curve.falls and curve.late_share >= RateTooLow.late and curve.end > RateTooLow.left * curve.start
    return bool(unfinished and curve.steps_to(0.25) >= RateTooLow.threshold and curve.rates >= RateTooLow.fewest)


def _wandered(trial: Trial, steps: int) -> float:
    """Return how far steps like the median one go in all, over the weights' norm.

    Weights that a low rate takes straight from 0 to where they are make it 2 to 4, a random walk that has forgotten
    its beginning many times that.
    """
    ratios = np.asarray(trial.history["update_ratio"], np.float64)
    return float(steps * len(ratios) * np.median(ratios))


def stays(trial: Trial, curve: Curve) -> bool:
    """Return whether the weights have hardly moved, and the loss with them."""
    return _moved(trial, curve.steps) < RateTooLow.moved and curve.end > 0.5 * curve.start


def _moved(trial: Trial, steps: int) -> float:
    """Return at most how far all steps together moved the weights, over their norm; NaN where gradients are 0."""
    ratios = np.asarray(trial.history["update_ratio"], np.float64)
    return float(steps * ratios.sum()) if trial.history["gradient_norm"][-1] > 0 else math.nan


LEARNING_RATE_CHECKS: tuple[Check, ...] = (RateTooHigh(), RateTooLow())

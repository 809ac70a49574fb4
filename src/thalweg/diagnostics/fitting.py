"""Does the model fit the training examples too well, too badly, or under too strong a penalty?"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np

from thalweg.diagnostics.base import Check, Need
from thalweg.diagnostics.case import Case
from thalweg.diagnostics.further import (
    EXAMPLES,
    Sample,
    cannot,
    fits,
    fresh,
    further,
    judging,
    losses_and_hits,
    refitted_rows,
    sample,
    uneven,
    weakened,
)
from thalweg.diagnostics.measures import chance_loss, handicaps, in_errors, jitter, share_variance, smooth
from thalweg.diagnostics.reference import kernel_classifier
from thalweg.findings import Finding, Severity
from thalweg.losses import Hinge
from thalweg.penalties import L1, L2, ElasticNet, NoPenalty
from thalweg.run import Trial

__all__ = ["CHECKS", "Overfitting", "PenaltyTooStrong", "Underfitting"]

_SURE = 2.33  # standard errors: one-sided 1 %
_FLOOR = 0.01  # of the loss at chance is added to losses that are compared: 0.002 against 0.001 is no trouble
_STEPS = 100  # of L-BFGS: a linear model is at its optimum, a small network where it will stay


class Overfitting(Check):
    """The validation loss has risen since its lowest point, while the training loss went on falling.

    ``value`` is (L_kept + f) / (L_low + f) with L the validation loss as a running median of three epochs,
    at the epoch whose weights are kept and at its lowest before that, and f 1 % of the loss at chance.
    To count, the rise must also be more than three times the jitter of the curve (from its second
    differences), the training loss must have fallen meanwhile, and the gap between validation and training
    loss must be above a third of the validation loss and above two standard errors. A gap alone is no
    trouble: of few examples it is the price, and regularised or stopped early a model can have one and
    still be the best there is. Losses are weighted where examples are; where only those of one split are, no verdict.

    Threshold: in trainings of which fresh examples tell what stronger regularisation or an earlier
    stop would have gained, a rise of 1.15 parts gains above 25 % from those below 5 % (the corpus with
    seeds 0 and 2). Prechelt 1998, "Early stopping: but when?"; Hastie et al. 2009, section 7.2.
    """

    code: ClassVar[str] = "FT01"
    title: ClassVar[str] = "over-fitting"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = (
        "keep the epoch of lowest validation loss (patience), strengthen the penalty, take dropout or augmentation, "
        "or more examples"
    )
    threshold: ClassVar[float] = 1.15
    unit: ClassVar[str] = "times the lowest validation loss"
    needs: ClassVar[tuple[Need, ...]] = ("epochs",)

    def look(self, case: Case) -> Finding:
        trial = case.trial
        assert trial is not None
        if why := _no_curve(trial) or uneven(case):
            return self.not_applicable(why)
        history = trial.history
        held, learned = (smooth(history[name]) for name in ("validation_loss", "data_loss"))
        kept = trial.kept_epoch - 1
        low = int(np.argmin(held[: kept + 1]))
        floor = _FLOOR * chance_loss(trial.recipe.loss, len(case.classes))
        rise = (held[kept] + floor) / (held[low] + floor)
        steady = held[kept] - held[low] > 3 * jitter(history["validation_loss"])
        gap = _gap(case, trial)
        apart = gap.share > 1 / 3 and gap.errors > 2
        trouble = rise >= self.threshold and steady and learned[kept] < learned[low] and apart
        return self.judged(bool(trouble), f"{_course(trial, held, low)}; {gap.sentence}", rise)


class Underfitting(Check):
    """The model predicts its own training examples worse than a flexible classifier predicts unseen ones.

    ``value`` is a_ref − a_train: the validation accuracy of an RBF kernel classifier made from up to
    1,000 training examples (`kernel_classifier`), less the model's accuracy on its training examples.
    Above 0 by more than 2.33 standard errors (one-sided 1 %) the model is not short of information but of
    means: too simple, too strongly penalised, or fed with features in which the rule is not simple. Since a
    model that has not been trained enough looks alike, it is trained on (100 steps of L-BFGS from its
    weights, and from its first ones): where that brings it within the threshold, it has the means.

    Where the classifier does no better the check passes, and the loss that is left may be noise in the
    labels: the curve alone cannot tell that from under-fitting, so without the data there is no verdict. Nor
    where examples are weighted: the classifier counts all alike. Of more than 5,000 training examples (fewer for
    large models) that many are trained on, and held-out ones judge: validation, or where the model was refitted on
    it the test split.

    Threshold: 5 points of accuracy, below which another kind of model is a matter of taste. Hastie et al.
    2009, section 7.3 (model bias).
    """

    code: ClassVar[str] = "FT02"
    title: ClassVar[str] = "under-fitting"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = (
        "take a more flexible model (models.Dense), other features, a weaker penalty or less dropout"
    )
    threshold: ClassVar[float] = 0.05
    unit: ClassVar[str] = "of accuracy"
    needs: ClassVar[tuple[Need, ...]] = ("epochs", "validation", "model")

    def look(self, case: Case) -> Finding:
        assert case.data is not None
        if any(split.weights is not None for _, split in case.data.splits()):
            return self.not_applicable("examples are weighted, and the classifier to compare with counts all alike")
        name, unseen = judging(case)
        whole, seen, held = sample(case, "train", 10 * EXAMPLES), sample(case, "train"), sample(case, name)
        if len(seen.labels) < 20 or len(held.labels) < 20:
            return self.not_applicable("fewer than 20 training or held-out examples tell accuracies too coarsely")
        assert case.model is not None
        own = float(losses_and_hits(case, case.model.params, whole)[1].mean())
        reference, _ = kernel_classifier(seen.x, seen.labels, held.x, len(case.classes))
        other = float(np.mean(reference == held.labels))
        more = other - own
        error = math.sqrt(share_variance(other, len(held.labels)) + share_variance(own, len(whole.labels)))
        compared = (
            f"the model predicts {own:.3f} of its training examples, an RBF kernel classifier made from "
            f"{len(seen.labels):,} of them {other:.3f} of {len(held.labels):,} {name} examples"
        )
        if more < self.threshold or more <= _SURE * error:
            left = "" if own > 0.95 else "; what is left may be noise in the labels, or need other features"
            return self.passed(compared + left, more)
        if why := cannot(case) or unseen:
            return self.not_applicable(f"{compared}, but whether it was trained enough cannot be tried: {why}")
        reached = self._reached(case, held, other - self.threshold)
        if reached > other - self.threshold:
            return self.passed(
                f"{compared}; trained on, without dropout, it gets {reached:.3f}: it is held back by its training, "
                "not by its means",
                more,
            )
        return self.found(f"{compared}; trained on, the same recipe gets {reached:.3f}", more)

    def _reached(self, case: Case, held: Sample, enough: float) -> float:
        """The accuracy to which more training of the same recipe leads: on the training examples where all of them
        fit in, else on held-out ones, since a few of many are learned by heart."""
        assert case.model is not None
        seen = sample(case, "train", refitted_rows(case))
        judged = seen if fits(case) else held
        best = 0.0
        for start in (case.model.params, fresh(case)):
            params = further(case, start, case.model.recipe.penalty, seen, steps=_STEPS)
            best = max(best, float(losses_and_hits(case, params, judged)[1].mean()))
            if best > enough:
                break
        return best


class PenaltyTooStrong(Check):
    """With a weaker penalty the same model would have a far lower validation loss.

    ``value`` is (L_same + f) / (L_weak + f), f 1 % of the loss at chance: L_weak the validation loss of the
    optimum for a tenth of the strength (less, where a tenth changes too little; 0.3 where it does harm), L_same
    the lower of the trial's own and of the optimum for its strength, so that training longer is no part of
    the gain. Optima are sought by 100 steps of L-BFGS on up to 1,000 training examples, each from the trial's
    first weights. To count, the paired difference over the validation examples must be above 2.33 standard
    errors. On fewer examples a weaker penalty pays less, so sampling makes the check cautious. Losses are weighted
    where examples are. No verdict for the hinge: at its kinks L-BFGS stops short of the optimum.

    Threshold: 1.1. Near the best strength the loss is flat; 1.1 parts trainings whose siblings say that
    weakening gains above 25 % from those where it gains below 5 % (the corpus with seeds 0 and 2).
    Hastie et al. 2009, section 7.10.
    """

    code: ClassVar[str] = "FT05"
    title: ClassVar[str] = "penalty too strong"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = "search smaller strengths"
    threshold: ClassVar[float] = 1.1
    unit: ClassVar[str] = "times the validation loss under a weaker penalty"
    needs: ClassVar[tuple[Need, ...]] = ("epochs", "validation", "model")
    factors: ClassVar[tuple[float, ...]] = (0.1, 0.01, 0.001)

    def look(self, case: Case) -> Finding:
        assert case.model is not None
        assert case.trial is not None
        penalty = case.model.recipe.penalty
        if isinstance(penalty, NoPenalty) or _strength(penalty) == 0:
            return self.not_applicable("the recipe has no penalty (weight decay within an optimizer is none)")
        if isinstance(case.model.recipe.loss, Hinge):
            return self.not_applicable("the hinge has kinks, at which a refit by L-BFGS stops short of the optimum")
        if why := cannot(case) or uneven(case):
            return self.not_applicable(why)
        seen, held = sample(case, "train"), sample(case, "validation")
        same, hits = self._optimum(case, 1.0, seen, held)
        own = case.trial.validation_loss
        floor = _FLOOR * chance_loss(case.model.recipe.loss, len(case.classes))
        base = min(own, float(same.mean())) + floor
        tried: list[tuple[float, np.ndarray, np.ndarray]] = []
        for factor in self.factors:
            tried.append((factor, *self._optimum(case, factor, seen, held)))
            mean = float(tried[-1][1].mean())
            # Where a weaker one does harm the next does more; where all weights are 0 still, nothing moves yet.
            if base / (mean + floor) >= self.threshold or mean > same.mean() * (1 + 1e-3):
                break
        if len(tried) == 1 and tried[0][1].mean() > same.mean():  # a tenth is too weak: halfway, by logarithms
            tried.append((0.3, *self._optimum(case, 0.3, seen, held)))
        factor, losses, better = min(tried, key=lambda one: float(one[1].mean()))
        value, errors = base / (float(losses.mean()) + floor), in_errors(same - losses)
        evidence = (
            f"the penalty is {_share(case.trial)} of the objective; with {factor:g} times the strength the same "
            f"model, refitted, has a validation loss of {losses.mean():.3g} and accuracy {better.mean():.3f}, "
            f"with its own {same.mean():.3g} and {hits.mean():.3f} (the trial's is {own:.3g}), {errors:.1f} standard "
            "errors apart"
        )
        if value >= self.threshold and errors > _SURE:
            return self.found(evidence, value, f"search smaller strengths, around {_strength(penalty) * factor:.2g}")
        return self.passed(evidence, value)

    def _optimum(self, case: Case, factor: float, seen: Sample, held: Sample) -> tuple[np.ndarray, np.ndarray]:
        """The losses and hits on validation, times weights, of the optimum for the strength times ``factor``."""
        assert case.model is not None
        # From the first weights each time: from those of a larger strength a network whose weights it had shrunk to
        # 0 would not get away again.
        penalty = weakened(case.model.recipe.penalty, factor)
        losses, hits = losses_and_hits(case, further(case, fresh(case), penalty, seen, steps=_STEPS), held)
        return held.weights * losses, held.weights * hits


def _share(trial: Trial) -> str:
    at = trial.kept_epoch - 1
    penalty, data = (float(trial.history[name][at]) for name in ("penalty", "data_loss"))
    return f"{penalty / (penalty + data):.0%}" if penalty + data > 0 else "none"


CHECKS: tuple[Check, ...] = (Overfitting(), Underfitting(), PenaltyTooStrong())


class _Gap(NamedTuple):
    share: float  # of the validation loss
    errors: float  # in standard errors
    sentence: str


def _gap(case: Case, trial: Trial) -> _Gap:
    """Compare training and validation loss at the kept weights, on the same footing where they are at hand."""
    at = trial.kept_epoch - 1
    held = float(trial.history["validation_loss"][at])
    right = float(trial.history["validation_accuracy"][at])
    count = max(1, case.run.data.examples.get("validation", 1))
    spread = 1.5 * held  # losses are skewed: their spread is one to two times their mean
    learned = float(trial.history["data_loss"][at])
    note = f"the training loss is {learned:.3g} (the mean over the epoch's minibatches{handicaps(trial)})"
    if case.model is not None and case.inputs and not (case.sweep is not None and case.sweep.refitted):
        seen = sample(case, "train", 10 * EXAMPLES)
        losses, hits = losses_and_hits(case, case.model.params, seen)
        learned = float(np.mean(seen.weights * losses))
        unseen = sample(case, "validation", 10 * EXAMPLES)
        spread = float((unseen.weights * losses_and_hits(case, case.model.params, unseen)[0]).std())
        note = f"the training loss is {learned:.3g}, accuracy {np.mean(seen.weights * hits):.3f}"
    errors = (held - learned) / max(spread / math.sqrt(count), 1e-12)
    share = (held - learned) / held if held > 0 else 0.0
    return _Gap(share, errors, f"{note}, on {count:,} validation examples {held:.3g}, accuracy {right:.3f}")


def _no_curve(trial: Trial) -> str:
    """Say why a trial's curves cannot be read, or nothing."""
    if not trial.status.finished:
        return f"the trial did not train to an end ({trial.status.name})"
    if not np.isfinite(trial.history["validation_loss"]).all():
        return "there is no validation loss, or not in every epoch"
    if len(trial.history["validation_loss"]) < 5:
        return "a rise after a lowest point takes five epochs to be told from chance"
    return ""


def _course(trial: Trial, held: np.ndarray, low: int) -> str:
    """Tell how the validation loss went."""
    kept = trial.kept_epoch
    if low + 1 >= kept:
        after = held[kept - 1 :].max() if kept < len(held) else None
        stopped = f" and was {after:.3g} at most after it: those weights are not kept" if after is not None else ""
        return f"the validation loss was lowest at the kept epoch {kept}, at {held[kept - 1]:.3g}{stopped}"
    return f"the validation loss was lowest at epoch {low + 1}, at {held[low]:.3g}, and is {held[kept - 1]:.3g} as kept"


def _strength(penalty: Any) -> float:
    return float(penalty.strength) if isinstance(penalty, (L1, L2, ElasticNet)) else math.nan

"""Do a network's units live, do gradients reach them, and is the noise of the steps in the way?"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import numpy as np

from thalweg.diagnostics.activations import back_signals, rectified_peaks, rectifier_names
from thalweg.diagnostics.base import Check, Need
from thalweg.diagnostics.case import Case
from thalweg.diagnostics.continued import continue_at, step_count
from thalweg.diagnostics.data_checks import held_out
from thalweg.diagnostics.further import MOST, Sample, fresh, losses_and_hits, sample, weight_count
from thalweg.diagnostics.measures import chance_loss, constant_loss
from thalweg.diagnostics.noise import gradient_noise
from thalweg.findings import Finding, Severity
from thalweg.models import Convolutional, Dense
from thalweg.optimizers import RandomSearch
from thalweg.recipe import FULL_BATCH
from thalweg.training.status import INTERRUPTED

__all__ = ["CHECKS", "DeadUnits", "NoiseDominated", "VanishingGradients"]

_FLOOR = 0.01  # of the loss at chance is added to losses that are compared
_RISE = 0.1  # of the loss at chance: what a gradient that bursts must cost
_FITTED = 1e-3  # of the loss at chance: below it no example has much of a gradient left
_LOST = 1e-30  # a gradient below it is none: on its way back float32 would make it 0


class DeadUnits(Check):
    """Hidden ReLU units give 0 for every example: no gradient reaches their weights, and they never come back.

    ``value`` is the largest share of dead units in a layer, a unit being dead where its largest output over
    up to 10,000 training and 10,000 validation examples is 0 (a channel: over all places of the image
    too). Units that are dead at the trial's first weights are told apart from those that died; not under batch
    normalisation, whose running statistics belong to the trained weights.

    Threshold: 0.4 of a layer. In deep narrow networks that learn well a third of a layer may be dead;
    where the rate is too high two fifths and more are (Stanford CS231n, notes on neural networks, part
    1). Lu et al. 2020, "Dying ReLU and initialization".
    """

    code: ClassVar[str] = "NN01"
    title: ClassVar[str] = "dead units"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = (
        "lower the learning rate or warm it up, centre the features, or take activation 'gelu' or batch normalisation"
    )
    threshold: ClassVar[float] = 0.4
    unit: ClassVar[str] = "of a layer's units"
    needs: ClassVar[tuple[Need, ...]] = ("epochs", "data", "model")

    def look(self, case: Case) -> Finding:
        assert case.model is not None
        model = case.model.recipe.model
        x = np.concatenate([sample(case, name, 10_000).x for name in ("train", "validation") if name in case.inputs])
        peaks = rectified_peaks(model, case.model.params, case.model.model_state, x)
        if not peaks:
            return self.not_applicable(
                f"{type(model).__name__} has no hidden unit that is rectified by ReLU (jax.nn.relu, outside of loops)"
            )
        names = rectifier_names(model, len(peaks))
        dead = [peak <= 0 for peak in peaks]
        shares = [float(one.mean()) for one in dead]
        worst = int(np.argmax(shares))
        total, count = sum(int(one.sum()) for one in dead), sum(len(one) for one in dead)
        if total == 0:
            return self.passed(f"none of {count} hidden units is 0 for all of {len(x):,} examples", 0.0)
        listed = ", ".join(f"{name}: {one.sum()} of {len(one)}" for name, one in zip(names, dead, strict=True))
        evidence = f"{total} of {count} hidden units are 0 for all of {len(x):,} examples ({listed})"
        if not _has_state(case):
            first = rectified_peaks(model, fresh(case), case.model.model_state, x)
            born = sum(int((now & (peak <= 0)).sum()) for now, peak in zip(dead, first, strict=True))
            evidence += f"; {born} of them were so before training"
        return self.judged(shares[worst] >= self.threshold, evidence, shares[worst])


class VanishingGradients(Check):
    """Gradients shrink or grow by orders of magnitude on their way back through the layers, or are not finite.

    For a `Dense` network with two or more hidden layers, R = ‖δ_1‖ / ‖δ_L‖, δ_l = ∂loss/∂z_l being the
    gradient that reaches layer l's units (up to 1,000 training examples), at the first weights of the
    trial and at those it kept. Gradients explode where R > 10 at the first weights. They vanish where R < 1/10
    at the kept ones, or at the first where it did harm: the training loss stayed at chance for half of the
    epochs, or with R < 1/100 for a tenth, or then ended above half of that. (Adam may get out of such a start
    unharmed.) The kept weights are not asked where the training loss is below a thousandth of that at chance: then
    no gradient is left to compare. Where none reaches the last hidden layer and the loss is higher, units are dead or
    saturated. Under batch normalisation the first weights are not asked: its running statistics belong to the trained.
    ``value`` is R, or 1/R where it is below 1, at those weights. Any model: a gradient norm in the history that
    is not finite; or one 1,000 times the median of the epochs before, after which the training loss rises by a tenth
    of that at chance (a network that converges has ever smaller gradients, and one that is large beside them may
    do no harm).

    Threshold: 10. He's and Xavier's draws give 0.2 to 1.5 at the first weights; networks that learn end
    anywhere between 0.3 and 20, for gradients of well-fitted examples are alike in no layer. Glorot &
    Bengio 2010; Pascanu et al. 2013.
    """

    code: ClassVar[str] = "NN02"
    title: ClassVar[str] = "exploding or vanishing gradients"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = (
        "start hidden weights with scale 1 and initialisation 'he' for ReLU ('xavier' for tanh), take fewer layers, "
        "another activation than sigmoid, or batch normalisation"
    )
    threshold: ClassVar[float] = 10.0
    unit: ClassVar[str] = "times between the first and the last hidden layer"
    needs: ClassVar[tuple[Need, ...]] = ("epochs",)
    jump: ClassVar[float] = 1000.0

    def look(self, case: Case) -> Finding:
        assert case.trial is not None
        recipe = case.trial.recipe
        model = recipe.model
        if isinstance(recipe.optimizer, RandomSearch):
            return self.not_applicable("random search takes no gradient")
        if trouble := self._burst(case):
            return self.found(trouble, remedy="lower the learning rate, clip the gradient (clip), or rescale features")
        steady = "the gradient norm is finite in every epoch, without a jump by 1,000 that cost loss"
        if not isinstance(model, Dense) or len(model.hidden) < 2:
            return self.passed(f"{steady}; {type(model).__name__} has no two hidden layers in a row to compare")
        if case.model is None or not case.inputs:
            return self.not_applicable(f"{steady}; for the layers the data and the weights are needed")
        return self._layers(case, model)

    def _burst(self, case: Case) -> str:
        assert case.trial is not None
        norms, losses = (case.trial.history[name] for name in ("gradient_norm", "data_loss"))
        if len(bad := np.flatnonzero(~np.isfinite(norms))):
            return f"the gradient norm of epoch {bad[0] + 1} is {norms[bad[0]]}"
        harm = _RISE * chance_loss(case.trial.recipe.loss, len(case.classes))
        for epoch in range(1, len(norms)):
            before = float(np.median(norms[:epoch]))
            # The norm is that of the epoch's last step: the next epoch's loss has its cost.
            risen = float(losses[epoch : epoch + 2].max())
            if norms[epoch] > self.jump * before > 0 and not risen - losses[epoch - 1] < harm:
                return (
                    f"the gradient norm reached {norms[epoch]:.3g} in epoch {epoch + 1}, its median before is "
                    f"{before:.3g}, and the training loss rose from {losses[epoch - 1]:.3g} to {risen:.3g}"
                )
        return ""

    def _layers(self, case: Case, model: Dense) -> Finding:
        assert case.model is not None
        seen = sample(case, "train")
        first = None if _has_state(case) else self._ratio(case, model, fresh(case), seen)
        kept = self._ratio(case, model, case.model.params, seen)
        lost, left = self._progress(case)
        evidence = (
            f"the gradient at the first of {len(model.hidden)} hidden layers is {_times(first)} that at the last "
            f"before training, {_times(kept)} with the kept weights; the training loss stayed at chance for the "
            f"first {lost:.0%} of the epochs and ended at {left:.0%} of it"
        )
        if first is not None:
            if first > self.threshold:
                return self.found(evidence, first)
            # Some optimizers get out of such a start unharmed; a late or a small fall of the loss tells the others.
            if (first < 0.01 and (lost >= 0.1 or left > 0.5)) or (first < 0.1 and lost >= 0.5):
                return self._vanished(evidence, min(first, first if kept is None else kept))
        loss = float(losses_and_hits(case, case.model.params, seen)[0].mean())
        if loss <= _FITTED * chance_loss(case.model.recipe.loss, len(case.classes)):
            return self.passed(f"next to no gradient is left: the loss is {loss:.3g}; {evidence}")
        if kept is None or kept < 1 / self.threshold:
            return self._vanished(evidence, kept)
        return self.passed(evidence, max(kept, 1 / kept))

    def _vanished(self, evidence: str, ratio: float | None) -> Finding:
        return self.found(evidence, 1 / ratio if ratio else None)

    def _ratio(self, case: Case, model: Dense, params: Any, seen: Sample) -> float | None:
        """‖δ_1‖ / ‖δ_L‖; None where no gradient reaches the last hidden layer either."""
        assert case.model is not None
        loss, state = case.model.recipe.loss, case.model.model_state
        sizes = list(back_signals(model, loss, params, state, seen.x, seen.labels).values())
        return sizes[0] / sizes[-1] if sizes[-1] > _LOST else None

    def _progress(self, case: Case) -> tuple[float, float]:
        """The share of the epochs until the training loss was 5 % below chance, and the kept one as a share of that.

        At chance is the lowest loss that the same scores for all examples reach.
        """
        assert case.trial is not None
        assert case.model is not None
        chance = constant_loss(case.model.recipe.loss, case.inputs["train"][1])
        losses = case.trial.history["data_loss"]
        below = np.flatnonzero(losses < 0.95 * chance)
        lost = float(below[0] / len(losses)) if len(below) else 1.0
        return lost, float(losses[case.trial.kept_epoch - 1] / chance)


class NoiseDominated(Check):
    """At the end of training steps are mostly noise, and it costs: at a falling rate the loss would be lower.

    At an optimum every minibatch's gradient is noise, and no harm done: so it is tried. From the kept weights two
    copies are trained on over the same batches, one at the rate of the kept epoch, one at a rate that
    falls linearly to 0 (`continue_at`). ``value`` is (L_hover + f) / (L_settled + f), f 1 % of the loss at chance:
    L_hover the mean training loss of the first copy over five looks, L_settled that of the second at
    its end. To count, L_settled must also be below all five, and the loss on held-out examples lower than its mean
    too: validation, or where the model was refitted on it the test split. Losses are weighted where examples are.
    The gradient noise scale tr Σ / |G|² (`gradient_noise`) must be above the batch size: a step whose gradient
    outweighs its noise is no matter of noise. Not tried for convolutional models, nor where it would take minutes.

    Threshold: 1.1. McCandlish et al. 2018; Bottou, Curtis & Nocedal 2018, section 4.2 (SGD at a
    constant rate hovers above the optimum, by an amount proportional to the rate).
    """

    code: ClassVar[str] = "NN03"
    title: ClassVar[str] = "noise-dominated steps"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = (
        "let the rate fall to 0 (schedules.Cosine), average the weights (averaging.ExponentialAverage), or take larger "
        "batches"
    )
    threshold: ClassVar[float] = 1.1
    unit: ClassVar[str] = "times the training loss at a falling rate"
    needs: ClassVar[tuple[Need, ...]] = ("epochs", "data", "model")

    def look(self, case: Case) -> Finding:
        assert case.model is not None
        assert case.trial is not None
        recipe = case.model.recipe
        rates = case.trial.history["learning_rate"][: case.trial.kept_epoch]
        count = len(case.inputs["train"][1])
        batch = count if recipe.batch_size == FULL_BATCH else min(int(recipe.batch_size), count)
        if case.trial.status.name == INTERRUPTED:
            return self.not_applicable("the trial was interrupted, so its schedule did not come to its end")
        if recipe.averaging is not None or hasattr(recipe.optimizer, "judged"):
            return self.not_applicable("the kept weights are an average over steps, which takes the noise out")
        if not len(rates) or not np.isfinite(rates).all():
            return self.not_applicable("the learning rate is not known: random search, or an optimizer without one")
        if batch == count:
            return self.not_applicable("a step sees all training examples: there is no noise")
        if count < 20:
            return self.not_applicable(f"{count} training examples are too few to measure noise by")
        if why := _untried(case, batch):
            return self.not_applicable(why)
        rate, peak = float(rates[-1]), float(rates.max())
        if rate <= 0.01 * peak:
            return self.passed(f"the rate has fallen to {rate:.2g}, {rate / peak:.2g} of its peak")
        assert case.data is not None
        noise = gradient_noise(case.model, case.data.train, batch_sizes=(), examples=2_000)
        measured = f"the gradient noise scale is {noise.scale:.3g} at batches of {batch:,}"
        if math.isfinite(noise.scale) and noise.scale < batch:
            return self.passed(f"{measured}: a step is more gradient than noise")
        return self._tried(case, rate, measured)

    def _tried(self, case: Case, rate: float, measured: str) -> Finding:
        assert case.model is not None
        name, held = held_out(case)
        found = continue_at(case, rate, None if held is None or held.labels is None else name)
        floor = _FLOOR * chance_loss(case.model.recipe.loss, len(case.classes))
        value = float(found.hovering.mean() + floor) / (found.settled + floor)
        helps = not found.held_settled > found.held_hovering.mean()  # NaN without validation: nothing speaks against
        evidence = (
            f"{measured}; trained on for {found.steps} steps at the rate {rate:.2g}, the training loss hovers around "
            f"{found.hovering.mean():.3g} ({name} {found.held_hovering.mean():.3g}), at a rate that falls to 0 it "
            f"gets to {found.settled:.3g} ({name} {found.held_settled:.3g})"
        )
        return self.judged(value >= self.threshold and found.settled < found.hovering.min() and helps, evidence, value)


def _has_state(case: Case) -> bool:
    """Whether the model has a state, such as running statistics, that fits the trained weights and no others."""
    assert case.model is not None
    return bool(jax.tree.leaves(case.model.model_state))


def _times(ratio: float | None) -> str:
    return "not compared with" if ratio is None else f"{ratio:.3g} times"


def _untried(case: Case, batch: int) -> str:
    """Say why a model is not trained on, or nothing."""
    assert case.model is not None
    if isinstance(case.model.recipe.model, Convolutional):
        return "convolutions take too long to train on: compare two trainings instead"
    weights, steps = weight_count(case), step_count(len(case.inputs["train"][1]), batch)
    if weights * batch * steps > 100 * MOST:
        return (
            f"{steps} steps with {weights:,} weights and batches of {batch:,} would take too long: compare two "
            "trainings instead"
        )
    if case.sweep is not None and case.sweep.refitted and held_out(case)[1] is None:
        return "the model was refitted on the validation examples, and there are no others to try it on"
    return ""


CHECKS: tuple[Check, ...] = (DeadUnits(), VanishingGradients(), NoiseDominated())

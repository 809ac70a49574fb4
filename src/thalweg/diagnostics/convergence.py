"""Checks of the length of training: was the loss still falling, and did the schedule fit the run."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from thalweg.diagnostics.base import Check, Need
from thalweg.diagnostics.case import Case
from thalweg.diagnostics.curve import Curve, epoch_steps, read_curve
from thalweg.diagnostics.learning_rate import FEWEST, RISE, is_slow, shown, stays, trained
from thalweg.findings import Finding, Severity
from thalweg.optimizers import RandomSearch
from thalweg.recipe import bind
from thalweg.run import Trial
from thalweg.schedules import BatchScaled, Constant, InverseSqrt, Scaled, Schedule, Warmup
from thalweg.training.status import DIVERGED, PRUNED

__all__ = ["CONVERGENCE_CHECKS", "NotConverged", "ScheduleUnfit"]


class NotConverged(Check):
    """Whether the losses were still falling when training ended.

    ``value`` is what as much training again would add, as a share of the fall so far: the fall of the last doubling
    of the training time, times its ratio to the one before (at most 1). That is what the next doubling brings on a
    power law, and ½ on a straight line. Time is the sum of the rates, so that a schedule that decays does not pass for
    convergence. Of the data loss and the validation loss the smaller value counts: where the validation loss no longer
    falls along, more training would overfit. A fall counts where it stands out from the noise.

    Softmax on separable data never converges, its loss goes on like 1/t (Soudry et al. 2018); by the share of the fall
    such a run is done once halving the loss is no longer much. The threshold lies between the trials of the corpus
    (seed 0) that four times the epochs made better and those that they did not. Bengio 2012, "Practical recommendations
    for gradient-based training", section 3.1.
    """

    code: ClassVar[str] = "FT03"
    title: ClassVar[str] = "not converged"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = "train for twice as many epochs or more, with the schedule stretched along"
    slow_remedy: ClassVar[str] = "raise the learning rate first (LR02): try 10 times; then see whether more epochs help"
    threshold: ClassVar[float | None] = 0.06
    unit: ClassVar[str] = "of the fall so far"
    needs: ClassVar[tuple[Need, ...]] = ("epochs",)

    def look(self, case: Case) -> Finding:
        trial = trained(case)
        if trial.status.name in (DIVERGED, PRUNED):
            return self.not_applicable(f"the trial was {trial.status.name}: {trial.status.reason}")
        if isinstance(trial.recipe.optimizer, RandomSearch):
            return self.not_applicable("random search converges nowhere: it only stops")
        curve, held = (read_curve(trial, case.run.data, name) for name in ("data_loss", "validation_loss"))
        if len(curve.loss) < FEWEST:
            return self.not_applicable(f"{len(curve.loss)} epochs show no trend; train for {FEWEST} or more")
        if curve.rise() > RISE * curve.start:
            return self.not_applicable(f"the data loss rose by {curve.rise():.3g} (LR01): it tells of no convergence")
        assert self.threshold is not None
        read = shown(case)
        value = min(one.to_come if one.falls else 0.0 for one in (read, held) if len(one.loss))
        evidence = "; ".join(_told(name, one) for name, one in (("data", curve), ("validation", held)) if len(one.loss))
        if stays(trial, read):
            return self.found(f"{evidence}; the weights have hardly moved", value, self.slow_remedy)
        if value > self.threshold:
            return self.found(evidence, value, self.slow_remedy if is_slow(read) else "")
        return self.passed(evidence, value)


def _told(name: str, curve: Curve) -> str:
    if curve.fall <= 0:
        return f"the {name} loss rose from {curve.start:.4g} to {curve.end:.4g}"
    told = f"the {name} loss fell from {curve.start:.4g} to {curve.end:.4g}, {curve.late_share:.1%} of it in the second"
    return f"{told} half" + (
        f"; as much again would add {curve.to_come:.1%}" if curve.falls else ", no more than its noise"
    )


class ScheduleUnfit(Check):
    """Whether the schedule's length is that of the run (SPEC E, schedules).

    Of the rates of all steps as planned, it looks for three misfits: the rate was at most a thousandth of its peak for
    more than a fifth of the steps at the end, and the loss had not flattened when it fell so low (FT03's
    value up to there above a twentieth); the rate reached its peak only after half of the steps; or a schedule that is
    meant to fall (cosine, linear, steps) ended with more than half of its peak. A cosine over the whole run spends the
    last 2 % of the steps under a thousandth, three drops by 10 in the usual places a tenth; usual warm-ups take 1 to
    10 %.

    ``value`` is the share of the steps, or of the peak, that is at fault. Each schedule of our own without a length
    fills the run, so a misfit comes from a length in steps or epochs that was made for another run.
    Goyal et al. 2017 (warm-up); Loshchilov & Hutter 2017 (cosine).
    """

    code: ClassVar[str] = "FT04"
    title: ClassVar[str] = "schedule does not fit the run"
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = "leave the schedule's length out (it is the whole run then), or give it with unit='run'"
    unit: ClassVar[str] = "share"
    needs: ClassVar[tuple[Need, ...]] = ("trial",)
    dead: ClassVar[float] = 1e-3  # of the peak: what is left moves the weights by less than a step at the peak
    idle: ClassVar[float] = 0.2  # of the steps
    unflat: ClassVar[float] = 0.05  # of the fall before the rate died: what as much training again would have added
    rising: ClassVar[float] = 0.5  # of the steps
    high: ClassVar[float] = 0.5  # of the peak

    def look(self, case: Case) -> Finding:
        trial = trained(case)
        schedule = getattr(trial.recipe.optimizer, "learning_rate", None)
        if not isinstance(schedule, Schedule):
            return self.not_applicable(f"{type(trial.recipe.optimizer).__name__} has no schedule that is known here")
        if _endless(schedule) and not _warms(schedule):
            return self.not_applicable("a constant rate has no length" if _plain(schedule) else "it has no length")
        rates, peak = planned_rates(trial, case)
        if not rates.max() > 0:
            return self.found("the rate is 0 throughout", 0.0, "give a learning rate above 0")
        return self._judge(rates / peak, schedule, trial, case)

    def _judge(self, shares: np.ndarray, schedule: Schedule, trial: Trial, case: Case) -> Finding:
        # Of the highest rate met: a warm-up that ends between two steps may miss the peak by a little.
        reached = np.flatnonzero(shares >= 0.99 * shares.max()) if shares.max() > self.high else np.zeros(0, int)
        alive = np.flatnonzero(shares > self.dead)
        top = float(reached[0] / len(shares)) if len(reached) else 1.0
        end = int(alive[-1]) + 1 if len(alive) else 0
        idle, last = 1 - end / len(shares), float(shares[-1])
        when = (
            f"reached its peak after {top:.0%} of {len(shares):,} steps" if len(reached) else "never reached its peak"
        )
        evidence = (
            f"the rate {when}, was under a thousandth of it for the last {idle:.0%}, and {last:.2g} of it at the end"
        )
        if top > self.rising:
            return self.found(evidence, top, "shorten the warm-up, to a tenth of the run or less")
        if not _endless(schedule) and last > self.high:
            return self.found(f"{evidence}: it was made to fall, and the run ended before it did", last)
        if idle <= self.idle:
            return self.passed(evidence, idle)
        more = _to_come_at(trial, case, end)
        if more is None:
            return self.passed(f"{evidence}; the trial ended before that", idle)
        told = f"{evidence}; as much training again as it had before would have added {more:.1%} to the fall"
        return self.judged(more > self.unflat, told, idle)


def planned_rates(trial: Trial, case: Case) -> tuple[np.ndarray, float]:
    """Return the rates (steps,) of the whole run as its recipe planned it, and the schedule's peak."""
    bound = bind(trial.recipe, case.run.data.examples["train"])
    steps = epoch_steps(trial, case.run.data) * trial.recipe.epochs
    schedule = bound.optimizer.learning_rate
    return np.asarray(schedule(np.arange(steps, dtype=np.float32)), np.float64), float(schedule.base)


def _to_come_at(trial: Trial, case: Case, step: int) -> float | None:
    """What as much training again would have added at a step; None where the trial never went beyond it."""
    curve = read_curve(trial, case.run.data)
    epochs = max(2, -(-step // curve.steps))
    if len(curve.loss) <= epochs:
        return None
    until = Curve(curve.loss[:epochs], curve.time[:epochs], curve.start, curve.steps)
    return until.to_come if until.falls else 0.0


def _inner(schedule: Any) -> Any:
    """The schedule within warm-ups and scalings."""
    while isinstance(schedule, (Warmup, Scaled, BatchScaled)):
        schedule = schedule.then if isinstance(schedule, Warmup) else schedule.schedule
    return schedule


def _endless(schedule: Any) -> bool:
    return isinstance(_inner(schedule), (Constant, InverseSqrt))


def _plain(schedule: Any) -> bool:
    return isinstance(_inner(schedule), Constant)


def _warms(schedule: Any) -> bool:
    while isinstance(schedule, (Warmup, Scaled, BatchScaled)):
        if isinstance(schedule, Warmup):
            return True
        schedule = schedule.schedule
    return False


CONVERGENCE_CHECKS: tuple[Check, ...] = (NotConverged(), ScheduleUnfit())

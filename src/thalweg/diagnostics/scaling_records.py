"""What an experiment on the linear scaling rule found, and what it says in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from thalweg.diagnostics.scaling_fit import INSIDE, LIMIT, Minimum, Slope, fit_slope, lowest, mean_interval
from thalweg.recipe import Recipe

__all__ = ["RULES", "BestRate", "ScalingRecord"]

RULES = {"linear": 1.0, "square root": 0.5}  # name → exponent of the batch size


@dataclass(frozen=True)
class BestRate:
    """The best rate of one batch size.

    ``rate`` is the geometric mean over seeds and ``interval`` its 95 % interval (Student's t on logarithms;
    unbounded for one seed). ``place`` says where it lies among the rates tried, of several seeds the worst;
    ``diverged`` of ``trials`` trials diverged.
    """

    batch: int
    rate: float
    interval: tuple[float, float]
    loss: float
    place: str
    diverged: int
    trials: int

    @property
    def inside(self) -> bool:
        """True where the rate is a minimum, and not only the end of what was tried."""
        return self.place in (INSIDE, LIMIT)


@dataclass(frozen=True, eq=False)
class ScalingRecord:
    """The losses at every batch size, rate and seed, at equal numbers of examples.

    ``batches`` (K,), ``log_rates`` (R,) as log₂ of the schedule's base, ``losses`` (K, R, S): ∞ for a trial that
    diverged, NaN for one that was not tried. ``own`` is the recipe's batch size and base rate.
    """

    recipe: Recipe = field(repr=False)
    data: str
    examples: int
    epochs: int
    metric: str
    batches: np.ndarray
    log_rates: np.ndarray = field(repr=False)
    losses: np.ndarray = field(repr=False)
    own: tuple[int, float]
    messages: tuple[str, ...] = ()

    @property
    def rates(self) -> np.ndarray:
        """(R,) bases of the schedule that were tried with some batch."""
        return 2.0**self.log_rates

    @cached_property
    def best(self) -> tuple[BestRate, ...]:
        """The best rate of each batch size."""
        return tuple(self._best(k) for k in range(len(self.batches)))

    def _minima(self, k: int) -> list[Minimum]:
        found = [lowest(self.log_rates, self.losses[k, :, s]) for s in range(self.losses.shape[2])]
        return [one for one in found if one is not None]

    def _best(self, k: int) -> BestRate:
        minima, losses = self._minima(k), self.losses[k]
        diverged, trials = int(np.isinf(losses).sum()), int((~np.isnan(losses)).sum())
        if not minima:
            nothing = float("nan")
            place = "every rate diverged" if diverged else "not trained"
            return BestRate(int(self.batches[k]), nothing, (nothing, nothing), nothing, place, diverged, trials)
        mean, low, high = (2.0**value for value in mean_interval(np.array([one.log_rate for one in minima])))
        places = [one.place for one in minima]
        place = next((p for p in places if p not in (INSIDE, LIMIT)), LIMIT if LIMIT in places else INSIDE)
        finite = np.where(np.isfinite(losses), losses, np.inf).min(axis=0)  # (S,)
        loss = float(finite[np.isfinite(finite)].mean())
        return BestRate(int(self.batches[k]), mean, (low, high), loss, place, diverged, trials)

    def slope(self, count: int | None = None) -> Slope | None:
        """Fit rate ∝ batch^a to the ``count`` smallest batches (None: all); None for fewer than three.

        A batch whose best rate lies at the end of what was tried, in any seed, bounds the rate only, and is left out.
        """
        used = [k for k in range(len(self.batches))[:count] if self._known(k)]
        if len(used) < 3:
            return None
        logs = np.array([[one.log_rate for one in self._minima(k)] for k in used])
        return fit_slope(np.log2(self.batches[used]), logs)

    def _known(self, k: int) -> bool:
        """Whether every seed has its best rate inside of what was tried."""
        return self.best[k].inside and len(self._minima(k)) == self.losses.shape[2]

    def verdict(self, rule: str = "linear", count: int | None = None) -> str:
        """Judge a rule of `RULES` over the ``count`` smallest batches: ``held``, ``did not hold``, ``undecided``."""
        slope = self.slope(count)
        return "undecided" if slope is None else slope.verdict(RULES[rule])

    def held_up_to(self, rule: str = "linear") -> int | None:
        """Return the largest batch up to which the rule held, with no failure before; None where there is none.

        Looked through are the smallest three batches whose best rate is known, the smallest four, and so on up to the
        first number of them over which the rule did not hold. Numbers of them that leave it undecided, as few batches
        often do, are passed over.
        """
        found = None
        for k in range(2, len(self.batches)):
            verdict = self.verdict(rule, k + 1) if self._known(k) else "undecided"
            if verdict == "did not hold":
                break
            if verdict == "held":
                found = int(self.batches[k])
        return found

    def __str__(self) -> str:
        name = self.metric.replace("_", " ")
        lines = [
            f"{self.data}: {self.examples:,} training examples, {self.epochs} epochs at every batch size, "
            f"{self.losses.shape[2]} seeds",
            f"{'batch':>6}  {'best rate':>10}  {'95 % interval':>22}  {name:>16}  diverged",
        ]
        for one in self.best:
            interval = f"{one.interval[0]:.3g} to {one.interval[1]:.3g}" if np.isfinite(one.interval[1]) else "–"
            note = "" if one.place == INSIDE else f"  ({one.place})"
            lines.append(
                f"{one.batch:>6}  {one.rate:>10.3g}  {interval:>22}  {one.loss:>16.4f}  "
                f"{one.diverged} of {one.trials}{note}"
            )
        return "\n".join([*lines, self.sentence(), *self.messages])

    def sentence(self) -> str:
        """The verdict in words."""
        slope = self.slope()
        if slope is None:
            return "undecided: fewer than three batch sizes have their best rate within the rates tried"
        low, high = slope.interval
        used = [one.batch for one in self.best if one.inside]
        text = f"best rate ∝ batch^{slope.exponent:.2f} (95 % interval {low:.2f} to {high:.2f})"
        text += f" over batches of {used[0]} to {used[-1]}: "
        parts = []
        for rule in RULES:
            verdict, upto = self.verdict(rule), self.held_up_to(rule)
            part = f"the {rule} rule {verdict}" if verdict != "undecided" else f"the {rule} rule is undecided"
            if verdict != "held" and upto is not None:
                part += f" (it held up to {upto})"
            parts.append(part)
        return text + ", ".join(parts)

"""How the figures of accuracy draw trials: marks by outcome, and a strip below the scale for those that diverged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from thalweg.report.sections.naming import shortened
from thalweg.report.svg import Categories, Linear, Plot, scale_for

__all__ = [
    "DIVERGED_HERE", "MANY", "Columns", "WithStrip", "accuracy_scale", "draw_trials", "multiples", "trial_legend",
]  # fmt: skip

DIVERGED_HERE = -np.inf  # what stands for "diverged" on a scale with a strip
MANY = 150  # marks of a panel, above which they are small
_LETTERS = 27  # that fit side by side below a narrow panel


@dataclass(frozen=True)
class WithStrip:
    """A scale whose lowest ``share`` is a strip for what has no value: −∞ stands in its middle, ``word`` beside it."""

    inner: Linear
    share: float = 0.14
    word: str = "diverged"

    def __call__(self, values: object) -> np.ndarray:
        given = np.asarray(values, np.float64)
        with np.errstate(invalid="ignore"):
            placed = self.share + (1 - self.share) * self.inner(given)
        return np.where(given == DIVERGED_HERE, self.share / 2, placed)

    def ticks(self) -> list[tuple[float, str]]:
        return [(DIVERGED_HERE, self.word), *self.inner.ticks()]


def accuracy_scale(accuracy: np.ndarray, *, diverged: bool) -> Linear | WithStrip:
    """Return a scale of accuracies within [0, 1], with a strip below it where any trial diverged."""
    free = scale_for(accuracy)
    inner = Linear(max(0.0, free.low), min(1.0, free.high)) if np.isfinite(accuracy).any() else Linear(0.0, 1.0)
    # An accuracy of exactly 0 or 1 is half cut where the scale ends there.
    room = 0.02 * (inner.high - inner.low)
    inner = Linear(inner.low - room, inner.high + room)
    return WithStrip(inner) if diverged else inner


def draw_trials(
    plot: Plot, xs: Sequence[Any], accuracy: np.ndarray, outcomes: Sequence[str], trials: np.ndarray,
    winner: int | None, words: Sequence[str],
) -> None:  # fmt: skip
    """Draw n trials at xs: the finished, small dots for those cut short, crosses on the strip, the winner ringed.

    ``words`` (n,) say where each one stands along x, for its tip.
    """
    marker = "circle" if len(xs) <= MANY else "dot"
    looks = {"cut short": ("grey", "dot"), "finished": ("s0", marker), "diverged": ("alarm", "cross")}
    for outcome, (series, shape) in looks.items():
        for i in np.flatnonzero(np.array(outcomes) == outcome).tolist():
            lost = outcome == "diverged"
            y = DIVERGED_HERE if lost else float(accuracy[i])
            result = f"{y:.3f}" if outcome == "finished" else "diverged" if lost else f"{y:.3f} when cut short"
            tip = f"trial {trials[i]}: {result} at {words[i]}"
            plot.mark(xs[i], y, series, marker=shape, tip=tip, trial=int(trials[i]))
    for i in np.flatnonzero(trials == winner).tolist() if winner is not None else ():
        plot.mark(xs[i], float(accuracy[i]), "ink", marker="ring")


def trial_legend(plot: Plot, outcomes: Sequence[str], *, winner: bool, many: bool = False) -> None:
    """Name the marks of `draw_trials` that occur."""
    if "finished" in outcomes:
        plot.legend("finished", "s0", marker="dot" if many else "circle")
    if "cut short" in outcomes:
        plot.legend("not trained to the end", "grey", marker="dot")
    if "diverged" in outcomes:
        plot.legend("diverged", "alarm", marker="cross")
    if winner:
        plot.legend("selected", "ink", marker="ring")


def multiples(panels: Sequence[tuple[str, Plot]], key: Plot) -> Markup:
    """Return named plots side by side below one legend, that of ``key``."""
    small = Markup('<figure class="small"><figcaption>{}</figcaption>{}</figure>')
    drawn = Markup("").join(small.format(name, plot.svg()) for name, plot in panels)
    return Markup('{}<div class="multiples">{}</div>').format(key.legend_list(), drawn)


@dataclass(frozen=True)
class Columns(Categories):
    """Words side by side, word i over [i, i + 1]: values are numbers, so that marks of one word need not coincide."""

    def __call__(self, values: object) -> np.ndarray:
        return np.asarray(values, np.float64) / len(self.words)

    def ticks(self) -> list[tuple[float, str]]:  # type: ignore[override]
        most = max(3, _LETTERS // len(self.words))
        return [(place + 0.5, shortened(word, most)) for place, word in enumerate(self.words)]

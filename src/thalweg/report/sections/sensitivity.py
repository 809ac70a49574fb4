"""The section on the learning rate: a panel for each optimizer, on the same axes."""

from __future__ import annotations

import math

import numpy as np

from thalweg.report.block import Cell, Lacking, Note, Part, Picture, Section, Table
from thalweg.report.records.sensitivity import OptimizerRates, SensitivityRecord
from thalweg.report.sections.trial_marks import (
    WithStrip,
    accuracy_scale,
    draw_trials,
    multiples,
    trial_legend,
)
from thalweg.report.svg import Linear, Plot, Scale, scale_for

__all__ = ["sensitivity_section"]

_PANELS = 12
_ROWS = 60
_ENOUGH = 12  # trials of each optimizer, for the widths of their ranges to be compared
_ALIKE = 1.5  # the most trials of one over the fewest of another, likewise
_APART = 1 / 3  # decades: what the ends of a range are read to


def sensitivity_section(record: SensitivityRecord | Lacking) -> Section:
    """Return the section that shows `records.sensitivity`."""
    heading = {"key": "sensitivity", "title": "Sensitivity to the learning rate", "short": "Learning rate"}
    if isinstance(record, Lacking):
        return Section(parts=(record,), **heading)
    picture = Picture(
        title="Validation accuracy against the peak learning rate, by optimiser",
        drawing=multiples(_panels(record), _legend(record)),
        summary=_summary(record),
        table=_table(record),
        wide=True,
    )
    lead = (
        "A forgiving optimiser does well over a wide range of rates. Shaded are the rates around the best trial where, "
        "in each third of a decade, more than half of the trials come within one standard error of its accuracy (one "
        "that diverged does not); the others there do worse. The line joins the best trials of each third of a decade."
    )
    return Section(parts=(picture, *_notes(record)), lead=lead, **heading)


def _panels(record: SensitivityRecord) -> list[tuple[str, Plot]]:
    shown = record.optimizers[:_PANELS]
    x = scale_for(record.rates, log=True)
    y = accuracy_scale(np.concatenate([o.accuracy for o in shown]), diverged=any(o.diverged for o in shown))
    return [(one.name, _panel(one, x, y, record.winner, alone=len(shown) == 1)) for one in shown]


def _panel(one: OptimizerRates, x: Scale, y: Linear | WithStrip, winner: int | None, *, alone: bool) -> Plot:
    plot = Plot(
        x, y, height=260 if alone else 170, left=66, x_title="peak learning rate", y_title=_best(one),
        label=f"{one.name}, {len(one.rates)} trials, {one.diverged} diverged; {_best(one)}",
    )  # fmt: skip
    if one.forgiving is not None:
        inner = y.inner if isinstance(y, WithStrip) else y
        low, high = one.forgiving
        plot.area([low, high], [inner.low] * 2, [inner.high] * 2, "s0")
    for end in one.searched or ():
        plot.rule(x=end, series="faint", dash=3)
    plot.line(one.rates[one.envelope], one.accuracy[one.envelope], "s0")
    words = [f"{rate:.3g}" for rate in one.rates.tolist()]
    draw_trials(plot, one.rates.tolist(), one.accuracy, one.outcomes, one.trials, winner, words)
    return plot


def _legend(record: SensitivityRecord) -> Plot:
    key = Plot(scale_for([]), scale_for([]))
    outcomes = [outcome for one in record.optimizers for outcome in one.outcomes]
    trial_legend(key, outcomes, winner=record.winner is not None)
    key.legend("best within a third of a decade", "s0", dash=0)
    if any(one.searched for one in record.optimizers):
        key.legend("end of the searched range", "faint", dash=3)
    return key


def _best(one: OptimizerRates) -> str:
    if one.best is None or one.forgiving is None:
        return "no trial finished"
    low, high = one.forgiving
    best = f"best {one.accuracy[one.best]:.3f} at {one.rates[one.best]:.3g}"
    if low == high:
        return f"{best}; no range around it within 1 s.e."
    return f"{best}; {low:.2g} to {high:.2g}: {one.within} of {one.among} within 1 s.e."


def _summary(record: SensitivityRecord) -> str:
    trials, diverged = sum(len(o.rates) for o in record.optimizers), sum(o.diverged for o in record.optimizers)
    parts = [f"{trials:,} trials, of which {diverged:,} diverged."]
    done = [one for one in record.optimizers if one.best is not None and one.forgiving is not None]
    if not done:
        smaller = ": search smaller rates" if diverged == trials else ""
        return f"{parts[0]} None finished, so no rate can be called a good one{smaller}."
    best = max(done, key=lambda one: float(one.accuracy[one.best]))
    assert best.forgiving is not None
    low, high = best.forgiving
    found = f"{best.name} does best, {best.accuracy[best.best]:.3f} at a rate of {best.rates[best.best]:.3g}"
    within = f"within one standard error, {best.error:.3f}, of that"
    if low == high:
        parts.append(f"{found}; in no range of rates around it do most trials come {within}.")
    else:
        parts.append(
            f"{found}; from {low:.2g} to {high:.2g} ({best.decades:.1f} decades) {best.within} of {best.among} trials "
            f"come {within}."
        )
    if _comparable(record):
        widest, narrowest = max(done, key=lambda one: one.decades), min(done, key=lambda one: one.decades)
        if widest.decades - narrowest.decades >= _APART:
            parts.append(
                f"By these trials the most forgiving is {widest.name} ({widest.decades:.1f} decades), the least "
                f"{narrowest.name} ({narrowest.decades:.1f})."
            )
    return " ".join(parts)


def _comparable(record: SensitivityRecord) -> bool:
    """Whether the widths of the ranges compare: few trials show a narrow range, whatever the optimizer."""
    counts = [one.judged for one in record.optimizers]
    return min(counts) >= _ENOUGH and max(counts) <= _ALIKE * min(counts)


def _table(record: SensitivityRecord) -> Table:
    rows = tuple(_row(one) for one in record.optimizers[:_ROWS])
    columns = (
        "optimiser", "trials", "diverged", "best accuracy", "rate of the best", "standard error", "forgiving from",
        "forgiving to", "decades", "trials there", "of them within 1 s.e.", "smallest diverged rate",
        "searched from", "searched to",
    )  # fmt: skip
    return Table(columns, rows, caption="A row an optimiser", total=len(record.optimizers))


def _row(one: OptimizerRates) -> tuple[Cell, ...]:
    best: tuple[Cell, ...] = (None,) * 3
    if one.best is not None:
        best = (float(one.accuracy[one.best]), float(one.rates[one.best]), one.error)
    decades = None if math.isnan(one.decades) else one.decades
    there = (None, None) if one.forgiving is None else (one.among, one.within)
    return (
        one.name, len(one.rates), one.diverged, *best, *(one.forgiving or (None, None)), decades, *there,
        one.smallest_diverged, *(one.searched or (None, None)),
    )  # fmt: skip


def _notes(record: SensitivityRecord) -> list[Part]:
    notes: list[Part] = []
    for one in record.optimizers:
        if one.edge:
            won = record.winner is not None and record.winner in one.trials.tolist()
            notes.append(Note(f"{one.edge}.", tone="warning" if won else "plain", title=f"{one.name}:"))
    if record.without:
        counts = ", ".join(f"{count} of {name}" for name, count in record.without.items())
        notes.append(Note(f"Trials without a learning rate are not shown: {counts}."))
    if len(record.optimizers) > _PANELS:
        rest = ", ".join(one.name for one in record.optimizers[_PANELS:])
        notes.append(Note(f"Drawn are the first {_PANELS} of {len(record.optimizers)} optimisers; not drawn: {rest}."))
    return notes

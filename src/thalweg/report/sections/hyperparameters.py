"""The section on what was searched: a panel for each hyperparameter, on one axis of accuracy."""

from __future__ import annotations

import math

import numpy as np

from thalweg.report.block import Cell, Lacking, Note, Part, Picture, Section, Table
from thalweg.report.records.hyperparameters import Hyperparameter, HyperparametersRecord, spread
from thalweg.report.records.rank_shares import FEWEST, LEVEL, PERMUTATIONS
from thalweg.report.sections.naming import shortened
from thalweg.report.sections.trial_marks import (
    MANY,
    Columns,
    accuracy_scale,
    draw_trials,
    multiples,
    trial_legend,
)
from thalweg.report.svg import Plot, Scale, scale_for

__all__ = ["hyperparameters_section", "panel_count"]

_PANELS = 12
_MARKS = 6_000  # of all panels: what a browser lays out within a fraction of a second
_CHOICES = 8  # side by side in one panel
_ROWS = 60


def hyperparameters_section(record: HyperparametersRecord | Lacking) -> Section:
    """Return the section that shows `records.hyperparameters`."""
    heading = {"key": "hyperparameters", "title": "Accuracy against each hyperparameter", "short": "Hyperparameters"}
    if isinstance(record, Lacking):
        return Section(parts=(record,), **heading)
    shown = record.hyperparameters[: panel_count(record)]
    y = accuracy_scale(record.accuracy, diverged="diverged" in record.outcomes)
    key = Plot(scale_for([]), scale_for([]))
    many = any(one.there.sum() > MANY for one in shown)
    trial_legend(key, record.outcomes, winner=record.winner is not None, many=many)
    picture = Picture(
        title="Validation accuracy against what was searched",
        drawing=multiples([(shortened(one.short), _panel(record, one, y)) for one in shown], key),
        summary=_summary(record),
        table=_table(record),
        wide=True,
    )
    lead = (
        "How much of the differences in accuracy each hyperparameter accounts for, the others being what they happened "
        "to be: trials are parted into groups (of equal size for a number, by choice for words), and the share is that "
        "of the variance of the accuracies' ranks between the groups, adjusted for their number (epsilon squared). "
        "With few trials a share may be large by luck alone: where groups drawn by lot reach as much with a "
        f"probability of {LEVEL:g} or more ({PERMUTATIONS} permutations of the ranks, p-values adjusted by Holm for "
        "the number of hyperparameters), the share cannot be told from chance. Shares overlap: they need not add up to "
        "100 %."
    )
    return Section(parts=(picture, *_notes(record, len(shown))), lead=lead, **heading)


def panel_count(record: HyperparametersRecord) -> int:
    """Return how many panels are drawn: at most 12, fewer where trials are so many that a page would be slow."""
    most = min(_PANELS, max(4, _MARKS // max(1, len(record.trials))))
    return min(most, len(record.hyperparameters))


def _panel(record: HyperparametersRecord, one: Hyperparameter, y: Scale) -> Plot:
    there = np.flatnonzero(one.there)
    outcomes = [record.outcomes[i] for i in there]
    x: Scale
    if one.values is not None:
        x = scale_for(one.values, log=one.log, include=one.searched or ())
        xs = one.values[there]
        words = [f"{value:.3g}" for value in xs.tolist()]
    else:
        columns, places = one.side_by_side(_CHOICES)
        x = Columns(columns)
        xs = spread(places[there], record.trials[there])
        words = [shortened(columns[place]) for place in places[there].tolist()]
    plot = Plot(
        x, y, height=160, left=66, y_title=_told(one),
        label=f"{one.name}, {len(there)} trials: {_told(one)}",
    )  # fmt: skip
    draw_trials(plot, xs.tolist(), record.accuracy[there], outcomes, record.trials[there], record.winner, words)
    return plot


def _told(one: Hyperparameter) -> str:
    if one.explained is None:
        return "too few trials to tell" if one.there.sum() < FEWEST else "nothing to tell apart"
    if not one.told:
        return f"{_percent(one.explained)}: cannot be told from chance"
    parts = [f"accounts for {_percent(one.explained)}"]
    if one.correlation is not None:
        parts.append(f"Spearman {one.correlation:+.2f}".replace("-", "−"))
    return "; ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _summary(record: HyperparametersRecord) -> str:
    count = len(record.hyperparameters)
    below = "a diverged one ranks last"
    if record.pruned:
        below = f"{record.pruned:,} pruned ones rank below those that outlived them, diverged ones last"
    basis = f"{record.judged:,} trials ({below})"
    known = [one for one in record.hyperparameters if one.explained is not None]
    if not known:
        return (
            f"{count} hyperparameter{'s' * (count > 1)}, {basis}: too few trials to tell which of them matter, "
            f"{FEWEST} at least are needed."
        )
    told, first = [one for one in known if one.told], known[0]
    if not told:
        most = f"not even that of {shortened(first.short)}, {_percent(first.explained or 0.0)}"
        if len(known) == 1:
            return f"Over {basis}, the share of {shortened(first.short)} cannot be told from chance."
        return f"Over {basis}, none of the {len(known)} shares can be told from chance, {most}."
    named = ", ".join(f"{shortened(one.short)} for {_percent(one.explained or 0.0)}" for one in told[:4])
    rest = f", {len(told) - 4} more for less" if len(told) > 4 else ""
    others = len(known) - len(told)
    by_chance = f" The shares of the other {others} cannot" if others > 1 else " The share of the other one cannot"
    text = f"Of the variance of the accuracies' ranks, over {basis}, accounts: {named}{rest}."
    return f"{text}{by_chance} be told from chance." if others else text


def _table(record: HyperparametersRecord) -> Table:
    columns = (
        "hyperparameter",
        "choice",
        "trials",
        "diverged",
        "best",
        "median",
        "accounts for",
        "p-value",
        "Spearman",
    )
    rows = [row for one in record.hyperparameters for row in _rows(record, one)]
    caption = (
        "A row a hyperparameter that is a number, or a choice; best and median accuracy of finished trials; p-values "
        "are adjusted for the number of hyperparameters"
    )
    return Table(columns, tuple(rows[:_ROWS]), caption=caption, total=len(rows))


def _rows(record: HyperparametersRecord, one: Hyperparameter) -> list[tuple[Cell, ...]]:
    name = shortened(" and ".join((one.name, *one.also)), 120)
    end: tuple[Cell, ...] = (one.explained, one.chance, one.correlation)
    if one.values is None:
        return [
            (name, shortened(c.word, 120), c.trials, c.diverged, _known(c.best), _known(c.median), *end)
            for c in one.choices
        ]
    told, there = np.array(record.outcomes), one.there
    done = record.accuracy[there & (told == "finished") & np.isfinite(record.accuracy)]
    best, median = (float(done.max()), float(np.median(done))) if len(done) else (None, None)
    return [(name, None, int(there.sum()), int((there & (told == "diverged")).sum()), best, median, *end)]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _notes(record: HyperparametersRecord, shown: int) -> list[Part]:
    notes: list[Part] = []
    if cut := len(record.trials) - record.judged:
        text = f"Not ranked: {cut:,} trials that were interrupted or still train. Shares hold among the others only."
        notes.append(Note(text))
    if record.pruned:
        notes.append(
            Note(
                f"Pruned: {record.pruned:,} trials, small dots at the accuracy that they had when they were dropped. "
                "They rank below all that outlived them: by the rung at which they were dropped, then by that accuracy."
            )
        )
    for one in record.hyperparameters:
        if one.also:
            names = ", ".join(shortened(name) for name in one.also)
            notes.append(Note(f"{shortened(one.name)} always went with {names}: nothing tells them apart."))
    if left := record.hyperparameters[shown:]:
        names = ", ".join(shortened(one.short) for one in left[:20]) + (" and others" if len(left) > 20 else "")
        notes.append(Note(f"Drawn are the first {shown} of {shown + len(left)} hyperparameters; not drawn: {names}."))
    return notes

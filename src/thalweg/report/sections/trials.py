"""The trial table: sortable, filterable, the seeds of a recipe in one row."""

from __future__ import annotations

import math
from typing import Any

from thalweg.report.block import Lacking, Section, Table
from thalweg.report.records.trials import TrialRow, TrialTable
from thalweg.report.words import many, value_text

__all__ = ["trials_section"]

_MOST = 2000  # rows: beyond, a page is slow to sort; trials.csv has them all


def trials_section(record: TrialTable | Lacking) -> Section:
    """Show one row a recipe, the best first."""
    if isinstance(record, Lacking):
        return Section("trials", "Trials", (record,))
    several = record.seeds > 1
    shown = record.rows[:_MOST]
    # What was searched stands before the numbers that only some readers want.
    columns = ["rank", "trial", "verdict", "validation accuracy", *(["± over seeds", "seeds"] if several else [])]
    columns += ["validation loss", *record.short, "training loss", "p", "kept epoch", "status", "why"]
    rows = tuple(_cells(i, row, several) for i, row in enumerate(shown, 1))
    if not any(row.p_value is not None for row in shown):
        rows, columns = _without(rows, columns, "p")
    if not any(row.reason for row in shown):
        rows, columns = _without(rows, columns, "why")
    table = Table(
        tuple(columns), rows, caption="A row a recipe" + (", the mean over its seeds" if several else ""),
        sortable=True, marks=tuple(row.trials[0] for row in shown), states=tuple(row.status for row in shown),
        strong=record.selected if record.selected is not None and record.selected < len(shown) else None,
        total=len(record.rows),
    )  # fmt: skip
    return Section("trials", "Trials", (table,), lead=_lead(record))


def _lead(record: TrialTable) -> str:
    ranked = [row.accuracy for row in record.rows if math.isfinite(row.accuracy)]
    text = f"{many(len(record.rows), 'recipe')}, by validation accuracy"
    text += f", {record.seeds} seeds each" if record.seeds > 1 else ""
    if ranked:
        text += f": from {min(ranked):.4f} to {max(ranked):.4f}"
    text += ". Point at a row to find it in every picture, click to keep it lit."
    if any(row.p_value is not None for row in record.rows):
        text += " p is the paired test against the winner (McNemar, Holm): at 0.05 and above it is a tie."
    return text


def _cells(rank: int, row: TrialRow, several: bool) -> tuple[Any, ...]:
    seeds = f"{len(row.trials)}" + (f" ({row.diverged} diverged)" if row.diverged else "")
    return (
        rank if math.isfinite(row.accuracy) else None,
        row.trials[0],
        row.verdict,
        _fixed(row.accuracy),
        *((None if row.spread is None else _fixed(row.spread), seeds) if several else ()),
        _fixed(row.loss),
        *(value if isinstance(value, int) else value_text("" if value is None else value) for value in row.values),
        _fixed(row.training_loss),
        row.p_value,
        row.kept_epoch or None,
        row.status,
        row.reason,
    )


def _fixed(value: float) -> str | None:
    """Four decimals, so that a column's numbers stand under each other."""
    return f"{value:.4f}" if math.isfinite(value) else None


def _without(rows: tuple[tuple[Any, ...], ...], columns: list[str], name: str) -> tuple[tuple[Any, ...], list[str]]:
    place = len(columns) - 1 - columns[::-1].index(name)  # the last: what was searched may be called so too
    return tuple((*row[:place], *row[place + 1 :]) for row in rows), [*columns[:place], *columns[place + 1 :]]

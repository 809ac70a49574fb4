"""What the commands print. Text from data and files is shown with its control characters made visible."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from thalweg.recipe_files import flatten, to_toml
from thalweg.run import Run, Trial
from thalweg.search import dimensions
from thalweg.training.status import PRUNED

__all__ = ["print_json", "print_run", "shown"]

_ROWS = 10


def shown(text: object) -> str:
    """Make control characters visible, so that a class name cannot move the cursor or colour the screen."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def print_run(run: Run, folder: Path | None) -> None:
    """Print the verdict: best trials, selected recipe, test accuracy, ties, warnings, place."""
    console = Console(highlight=False, soft_wrap=True)
    if len(run.trials) > 1:
        console.print(_table(run, console.width - 2))
    best = run.best
    if best is None:
        console.print("interrupted before any trial had an epoch: nothing to select")
    else:
        console.print(f"\nselected: trial {best.number}, validation accuracy {best.validation_accuracy:.4f}")
        console.print(Text(_indent(to_toml(best.recipe, brief=True))))
        _print_verdict(console, run)
    if folder is not None:
        console.print(Text(f"run folder: {shown(folder)} (why it went so: thalweg diagnose {shown(folder)})"))


def _print_verdict(console: Console, run: Run) -> None:
    if run.test is not None:
        low, high = run.test.interval
        how = "refitted on training + validation" if run.refitted else "trained on the training split"
        console.print(
            f"test accuracy {run.test.accuracy:.4f}, 95 % interval {low:.4f} to {high:.4f} "
            f"({run.test.correct} of {run.test.count} right; {how}; scored once)"
        )
    elif not run.interrupted:
        console.print("no test split was held out: nothing says how well it does on examples it has not met")
    if run.interrupted:
        console.print("interrupted: the test split was not scored; what was done until then is saved")
    if len(run.trials) > 1:
        console.print(_comparison(run))
    group = run.selection.group if run.selection else None
    if group and group.spread is not None:
        console.print(f"over {len(group.trials)} seeds: validation accuracy {group.mean:.4f} ± {group.spread:.4f}")
    for edge in run.edges:
        console.print(Text(f"note: {edge.sentence()}"))
    for finding in run.sanity:
        if finding.verdict == "found":
            console.print(Text(f"{finding.severity} before training: {shown(finding)}"))
    counts = ", ".join(f"{count} {name}" for name, count in run.statuses.items())
    console.print(f"trials: {counts}; {run.seconds['train']:.1f} s to train, {run.seconds['total']:.1f} s in all")


def _comparison(run: Run) -> str:
    """How many trials the evidence cannot tell from the selected one, or puts above it."""
    assert run.selection is not None
    compared, tied = len(run.selection.p_values), len(run.tied)
    text = f"a paired test on validation (McNemar, Holm) cannot tell it from {tied} of {compared} others"
    if pruned := sum(trial.status.name == PRUNED for trial in run.trials):
        text += f"; {pruned} pruned trials were not compared"
    if better := len(run.selection.better):
        text += f", and finds {better} more accurate: the rule preferred more regularisation"
    return text


def _table(run: Run, width: int) -> Table:
    """The best trials; of the searched numbers as many columns as the screen is wide, never a squeezed one."""
    searched = list(dict.fromkeys(d.name for d in dimensions(run.space)))
    if run.settings["seeds"] > 1:
        searched.append("seed")
    trials = _shown_trials(run)
    rows = [flatten(trial.recipe) for trial in trials]
    columns = {
        "trial": [str(trial.number) for trial in trials],
        "val. accuracy": [f"{trial.validation_accuracy:.4f}" for trial in trials],
        "val. loss": [f"{trial.validation_loss:.4f}" for trial in trials],
        "": [_note(run, trial) for trial in trials],
    }
    left, out = width - _width(columns), 0
    for name in searched:
        column = {_short(name, searched): [_cell(row, name) for row in rows]}
        if _width(column) > left:
            out += 1
            continue
        left -= _width(column)
        columns |= column
    note = f" ({out} more column{'s' * (out > 1)} in trials.csv)" if out else ""
    title = f"best of {len(run.trials)} trials{note}"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    names = [*(name for name in columns if name), ""]
    for name in names:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for cells in zip(*(columns[name] for name in names), strict=True):
        table.add_row(*(shown(cell) for cell in cells))
    return table


def _width(columns: dict[str, list[str]]) -> int:
    return sum(2 + max(map(len, (name, *cells))) for name, cells in columns.items())


def _shown_trials(run: Run) -> list[Trial]:
    """The first trials of the ranking, and the selected one where it is not among them."""
    trials = run.ranked()[:_ROWS]
    return trials if run.best is None or run.best in trials else [*trials, run.best]


def _short(name: str, names: list[str]) -> str:
    """Shorten a dotted name from the front while it stays unique."""
    parts = name.split(".")
    for start in range(len(parts) - 1, 0, -1):
        short = ".".join(parts[start:])
        if sum(other == short or other.endswith("." + short) for other in names) == 1:
            return short
    return name


def _cell(row: dict[str, Any], name: str) -> str:
    value = row.get(name, row.get(f"{name}.kind", row.get(f"{name}.value", "")))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _note(run: Run, trial: Trial) -> str:
    if run.best is not None and trial.number == run.best.number:
        return "selected"
    if run.selection and _recipe_mates(run, trial.number) & set(run.selection.tied):
        return "tied"
    if run.selection and trial.number in run.selection.group.trials:
        return "same recipe"
    return "" if trial.status.name == "completed" else trial.status.name


def _recipe_mates(run: Run, number: int) -> set[int]:
    """The trials of the same recipe, the seed apart: a verdict on one is a verdict on all."""
    groups = run.selection.groups if run.selection else ()
    return next((set(group.trials) for group in groups if number in group.trials), {number})


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.rstrip("\n").split("\n"))

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
        console.print(_table(run))
    best = run.best
    if best is None:
        console.print("interrupted before any trial had an epoch: nothing to select")
    else:
        console.print(f"\nselected: trial {best.number}, validation accuracy {best.validation_accuracy:.4f}")
        console.print(Text(_indent(to_toml(best.recipe, brief=True))))
        _print_verdict(console, run)
    if folder is not None:
        console.print(Text(f"run folder: {shown(folder)}"))


def _print_verdict(console: Console, run: Run) -> None:
    if run.test is not None:
        low, high = run.test.interval
        how = "refitted on training + validation" if run.refitted else "trained on the training split"
        console.print(
            f"test accuracy {run.test.accuracy:.4f}, 95 % interval {low:.4f} to {high:.4f} "
            f"({run.test.correct} of {run.test.count} right; {how}; scored once)"
        )
    if run.interrupted:
        console.print("interrupted: the test split was not scored; what was done until then is saved")
    if len(run.trials) > 1:
        console.print(
            f"{len(run.tied)} other trials are tied with it: a paired test (McNemar, Holm) tells no difference"
        )
    group = run.selection.group if run.selection else None
    if group and group.spread is not None:
        console.print(f"over {len(group.trials)} seeds: validation accuracy {group.mean:.4f} ± {group.spread:.4f}")
    for edge in run.edges:
        console.print(Text(f"note: {edge.sentence()}"))
    counts = ", ".join(f"{count} {name}" for name, count in run.statuses.items())
    console.print(f"trials: {counts}; {run.seconds['train']:.1f} s to train, {run.seconds['total']:.1f} s in all")
    for message in run.messages:
        console.print(Text(f"note: {shown(message)}"))


def _table(run: Run) -> Table:
    searched = list(dict.fromkeys(d.name for d in dimensions(run.space)))
    table = Table(box=box.SIMPLE_HEAD, title=f"best of {len(run.trials)} trials", title_justify="left")
    for name in ("trial", "validation accuracy", "validation loss"):
        table.add_column(name, justify="right")
    for name in searched:
        table.add_column(_short(name, searched), justify="right")
    table.add_column("")
    for trial in run.ranked()[:_ROWS]:
        row = flatten(trial.recipe)
        values = [_cell(row, name) for name in searched]
        numbers = f"{trial.validation_accuracy:.4f}", f"{trial.validation_loss:.4f}"
        table.add_row(str(trial.number), *numbers, *values, _note(run, trial))
    return table


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
    if run.selection and trial.number in run.selection.tied:
        return "tied"
    return "" if trial.status.name == "completed" else trial.status.name


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.rstrip("\n").split("\n"))

"""What `thalweg path` prints."""

from __future__ import annotations

import math
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from thalweg.cli.output import shown
from thalweg.paths import Path as PathRun
from thalweg.paths import PathSolution
from thalweg.solvers.solution import CONVERGED

__all__ = ["print_path"]

_ROWS = 12


def print_path(path: PathRun, folder: Path | None) -> None:
    """Print the path, the chosen strength, test accuracy, ties, certificates, place."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(_table(path, console.width - 2))
    if path.best is not None:
        _print_choice(console, path, path.best)
    elif path.interrupted:
        console.print("stopped early: nothing was chosen, and the test split was not scored; what was done is saved")
    else:
        what = "the model is the one solution" if path.model is not None else "nothing is chosen"
        console.print(f"without folds {what}, and no test split is held out")
    console.print(_certificates(path))
    for message in path.messages:
        console.print(Text(f"note: {message}"))
    if folder is not None:
        console.print(Text(f"run folder: {shown(folder)} (what stands out in it: thalweg diagnose {shown(folder)})"))


def _print_choice(console: Console, path: PathRun, best: PathSolution) -> None:
    assert path.choice is not None
    count = len(best.fold_accuracies)
    console.print(
        f"\nchosen ({path.choice.rule}): {_name(path, best)}; accuracy over {count} folds "
        f"{best.validation_accuracy:.4f} ± {best.standard_error:.4f}"
    )
    other = path.solutions[
        path.choice.best if path.choice.rule == "one-standard-error" else path.choice.one_standard_error
    ]
    if other is not best:
        which = "best" if path.choice.rule == "one-standard-error" else "one-standard-error"
        console.print(f"{which} would take {_name(path, other)}: {other.validation_accuracy:.4f}")
    if path.test is not None:
        low, high = path.test.interval
        console.print(
            f"test accuracy {path.test.accuracy:.4f}, 95 % interval {low:.4f} to {high:.4f} "
            f"({path.test.correct} of {path.test.count} right; fitted on all training examples; scored once)"
        )
    else:
        console.print("no test split was held out: nothing says how well it does on examples it has not met")
    if others := len(path.choice.p_values):
        console.print(
            f"a paired test on the held-out examples (McNemar, Holm) cannot tell it from {len(path.tied)} of "
            f"{others} other{'s' * (others > 1)}"
        )
    for caveat in path.choice.caveats:
        console.print(Text(f"warning: {caveat}", style="bold"))
    for edge in path.choice.edges:
        console.print(Text(f"note: {edge}"))


def _certificates(path: PathRun) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in path.statuses.items())
    worst = path.largest_relative_bound
    bound = f"certified in float64: none lies further above its minimum than {worst:.1e} of its value"
    if set(path.statuses) != {CONVERGED}:
        bound = f"only those converged are certified: a gap of {worst:.1e} of the value is not ruled out for all"
    return (
        f"solutions: {counts}; {bound if math.isfinite(worst) else 'not all have a bound'}; "
        f"{path.seconds['solve']:.1f} s to solve, {path.seconds['total']:.1f} s in all"
    )


def _name(path: PathRun, solution: PathSolution) -> str:
    """The strength, and whatever else was chosen among."""
    parts = [f"strength {solution.strength:.4g}"]
    if len({s.loss.kind for s in path.solutions}) > 1:
        parts.append(solution.loss.kind)
    if len({s.class_weight for s in path.solutions}) > 1:
        parts.append(f"class weight {shown(solution.class_weight)}")
    return ", ".join(parts)


def _table(path: PathRun, width: int) -> Table:
    """Some solutions along the path, the chosen ones among them; no column is squeezed to fit, some are left out."""
    solutions = _some(path)
    columns = {"strength": [f"{solution.strength:.3g}" for solution in solutions]}
    kinds = _varying(path)
    if len(kinds["class weight"]) > 1:
        columns["class weight"] = [solution.class_weight for solution in solutions]
    if len(kinds["kind"]) > 1:
        columns["kind"] = [solution.loss.kind for solution in solutions]
    if path.choice is not None:
        columns["accuracy"] = [f"{solution.validation_accuracy:.4f}" for solution in solutions]
        columns["loss"] = [f"{solution.validation_loss:.4f}" for solution in solutions]
    if path.settings["penalty"] != "l2":  # which leaves no weight at 0
        columns["non-zero"] = [str(solution.nonzeros) for solution in solutions]
    columns["gap ≤"] = [f"{solution.relative_bound:.0e}" for solution in solutions]
    columns[""] = [_note(path, solution) for solution in solutions]
    for name in ("loss", "non-zero", "gap ≤"):
        if _width(columns) > width:
            columns.pop(name, None)
    table = Table(box=box.SIMPLE_HEAD, title=f"{_optima(len(path.solutions))}{_omitted(path)}", title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(Text(shown(cell)) for cell in row))
    return table


def _optima(count: int) -> str:
    return "1 optimum" if count == 1 else f"{count} optima"


def _width(columns: dict[str, list[str]]) -> int:
    return sum(2 + max(map(len, (name, *cells))) for name, cells in columns.items())


def _varying(path: PathRun) -> dict[str, set[str]]:
    return {
        "class weight": {solution.class_weight for solution in path.solutions},
        "kind": {solution.loss.kind for solution in path.solutions},
    }


def _omitted(path: PathRun) -> str:
    return "" if len(_some(path)) == len(path.solutions) else " (some of them; all are in solutions.csv)"


def _some(path: PathRun) -> list[PathSolution]:
    """About a dozen solutions, evenly along the path."""
    count = len(path.solutions)
    if count <= _ROWS:
        return list(path.solutions)
    wanted = {round(i * (count - 1) / (_ROWS - 1)) for i in range(_ROWS)}
    if path.choice is not None:
        wanted |= {path.choice.chosen, path.choice.best, path.choice.one_standard_error}
    return [path.solutions[number] for number in sorted(wanted)]


def _note(path: PathRun, solution: PathSolution) -> str:
    notes = [] if solution.status == "converged" else [solution.status]
    if path.choice is not None:
        if solution.number == path.choice.chosen:
            notes.append("chosen")
        elif solution.number in path.choice.tied:
            notes.append("tied")
        elif solution.number in path.choice.left_out:
            notes.append("left out")
        if solution.number == path.choice.one_standard_error != path.choice.chosen:
            notes.append("1 s.e.")
    return ", ".join(notes)

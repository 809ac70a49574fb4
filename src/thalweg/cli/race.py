"""`thalweg race`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich import box
from rich.console import Console
from rich.table import Table

from thalweg.artifacts.race_folder import check_race_folder, race_summary, save_race
from thalweg.cli.options import Whole
from thalweg.cli.output import print_json, shown
from thalweg.cli.race_parse import USUAL, Entry, entries, landscape_of, point_of
from thalweg.errors import UsageError
from thalweg.landscapes import RATES, Landscape, Noisy, Race, race_tuned, random_starts, usual_start
from thalweg.landscapes.known import title_of
from thalweg.landscapes.verdict import RaceRow, race_rows
from thalweg.optimizers.traits_table import traits_table

__all__ = ["race"]

_PLAIN_RATE = 0.01  # where nothing can be tuned: the landscape has no least value


def race(
    landscape: str | None = None,
    /,
    *,
    optimizers: str | None = None,
    start: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    starts: Whole | None = None,
    steps: Whole = 500,
    rate: float | None = None,
    condition: float | None = None,
    noise: float | None = None,
    tolerance: float = 1e-6,
    seed: Whole = 0,
    traits: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Race optimizers and solvers side by side on a landscape, each at the best of 25 learning rates.

    Parameters
    ----------
    landscape
        quadratic, saddle, monkey-saddle, rosenbrock, beale, himmelblau, rastrigin or hill.
    optimizers
        KIND[:RATE][:KEY=VALUE]..., separated by commas, such as sgd:1e-3,momentum:0.01:momentum=0.95,adam,newton.
        By default sgd, momentum, nesterov, adagrad, rmsprop, adam, newton, bfgs, l-bfgs.
    start
        The point X,Y to start from; by default the landscape's usual one.
    starts
        Start from this many random points instead.
    steps
        Most steps taken.
    rate
        The learning rate of every optimizer that has none of its own, instead of the best of 25.
    condition
        The quadratic's condition number.
    noise
        Standard deviation of the noise added to every gradient, as minibatches do. Solvers cannot race then.
    tolerance
        Of the gradient's norm, at which an optimizer has converged.
    seed
        Of the noise and of the random starts.
    traits
        Print which moments of the gradient each optimizer tracks, and nothing else.
    out
        Write race.json, race.npz, the pictures and an interactive page (report.html) into this folder.
    overwrite
        Replace that folder.
    json
        Print one JSON object and nothing else on stdout.
    """
    if traits:
        print(traits_table())
        return 0
    if landscape is None:
        raise UsageError("LANDSCAPE is missing; name one, as in thalweg race beale")
    if overwrite and out is None:
        raise UsageError("--overwrite replaces a folder, and none is named: give --out, or leave it out")
    if out is not None:
        check_race_folder(out, overwrite=overwrite)
    ground = landscape_of(landscape, condition, noise)
    racing, how = _racers(ground, optimizers, rate)
    points = _starts(ground, start, starts, seed)
    result, racers = race_tuned(ground, racing, points, steps, seed=seed, tolerance=tolerance)
    settings = {"seed": seed, "tolerance": tolerance, "rates": how}
    if out is not None:
        save_race(result, racers, settings, out, overwrite=overwrite)
    if json:
        print_json({"folder": None if out is None else str(out), **race_summary(result, racers, settings)})
    else:
        _print(result, racers, how, out)
    return 0


def _racers(landscape: Landscape, optimizers: str | None, rate: float | None) -> tuple[list[Any], str]:
    """Return the racers, functions of the rate where it is to be chosen, and in words how it is."""
    named = entries(USUAL if optimizers is None else optimizers)
    if optimizers is None and isinstance(landscape, Noisy):
        named = [entry for entry in named if not entry.solver]  # they need exact gradients
    fixed = rate if landscape.minima else _PLAIN_RATE if rate is None else rate
    racers = [_racer(entry, fixed) for entry in named]
    open_ones = any(not entry.solver and entry.rate is None for entry in named)
    if not open_ones:
        return racers, "as given"
    if rate is not None:
        return racers, f"{rate:g} where not given"
    if fixed is not None:
        return racers, f"{fixed:g} where not given: without a minimum there is no best one"
    return racers, f"best of {len(RATES)} by final value, where not given ({RATES[0]:g} to {RATES[-1]:g})"


def _racer(entry: Entry, fixed: float | None) -> Any:
    if entry.solver:
        return entry.make()
    rate = fixed if entry.rate is None else entry.rate
    return entry.make if rate is None else entry.make(rate)


def _starts(landscape: Landscape, start: str | None, starts: int | None, seed: int) -> Any:
    if starts is None:
        return usual_start(landscape) if start is None else point_of(start)
    if start is not None:
        raise UsageError("--start and --starts exclude each other: one point, or that many random ones")
    if starts < 1:
        raise UsageError(f"--starts is {starts}; give at least 1")
    return random_starts(landscape, starts, seed)


def _print(race: Race, racers: list[Any], how: str, out: Path | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    several = len(race.starts) > 1
    x, y = race.starts[0]
    where = f"{len(race.starts)} starts; medians" if several else f"start ({x:g}, {y:g})"
    table = Table(
        box=box.SIMPLE_HEAD, title=f"{title_of(race.landscape)}, {where}, {race.steps} steps", title_justify="left"
    )
    for heading in ("optimizer", "rate", "steps", "gradients", "final value", "distance", "status"):
        words = heading in ("optimizer", "status")
        # Where a terminal is narrow the words of the status wrap; digits of a rate must not be lost.
        table.add_column(heading, justify="left" if words else "right", no_wrap=heading != "status")
    for row in race_rows(race, racers):
        table.add_row(*map(shown, _cells(row)))
    console.print(table)
    console.print(f"rates: {how}; gradients are computed in float64")
    for message in race.messages:
        console.print(shown(message))
    if out is not None:
        console.print(f"race folder: {shown(out)}")


def _cells(row: RaceRow) -> list[str]:
    return [
        row.name,
        "" if row.rate is None else f"{row.rate:.3g}",
        f"{row.steps:g}",
        f"{row.evaluations:g}",
        f"{row.value:.3g}",
        "" if row.distance is None else f"{row.distance:.2g}",
        row.status,
    ]

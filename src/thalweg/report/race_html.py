"""The interactive page of a race: one HTML file in which one moves the start and the rates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from thalweg.errors import DataError
from thalweg.landscapes import Landscape, Noisy, Quadratic, usual_start
from thalweg.landscapes.known import BUILT_IN, Sampled, beneath, is_built_in, title_of
from thalweg.landscapes.records import STATUSES, Race
from thalweg.landscapes.starts import REACH, frame_of
from thalweg.landscapes.verdict import RaceRow, race_rows, race_sentence
from thalweg.plot.race_panel import backdrop, checked_start, last_step
from thalweg.plot.theme import themed
from thalweg.report.filling import filled, text_of
from thalweg.report.race_racers import live_racers

__all__ = ["race_page"]

_MOST = 1000  # points of a recorded way: more are not told apart on a screen
_GRID = 61  # lines of the grid that stands for a landscape whose formula the page does not know
_SCRIPTS = ("race_math.js", "race_draw.js", "race_views.js", "race_app.js")

# Rates at which each rule shows what it does on each built-in landscape, within some hundred steps.
_RULES = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "newton")
_RATES: dict[str, tuple[float, ...]] = {
    "Quadratic": (0.15, 0.02, 0.02, 0.5, 0.05, 0.1, 0.5),
    "Saddle": (0.05, 0.01, 0.01, 0.1, 0.03, 0.05, 0.2),
    "MonkeySaddle": (0.02, 0.005, 0.005, 0.1, 0.02, 0.03, 0.2),
    "Rosenbrock": (0.001, 0.0005, 0.001, 0.5, 0.02, 0.1, 0.5),
    "Beale": (0.01, 0.005, 0.005, 0.5, 0.02, 0.1, 0.5),
    "Himmelblau": (0.01, 0.003, 0.003, 0.5, 0.05, 0.2, 0.5),
    "Rastrigin": (0.002, 0.001, 0.001, 0.5, 0.05, 0.2, 0.5),
    "Hill": (5.0, 1.0, 1.0, 0.5, 0.1, 0.2, 0.2),
}


def race_page(
    record: Race, *, start: int = 0, racers: Sequence[Any] | None = None, settings: Mapping[str, Any] | None = None
) -> str:
    """Return an interactive page of a race, as the text of one HTML file.

    It opens with the recorded race. Once one drags the start, or changes a rate, it runs SGD, momentum, Nesterov,
    AdaGrad, RMSProp and Adam itself, by the formulas of `thalweg.optimizers` in double precision, on any of the
    built-in landscapes; and "Newton, plain", x ← x − αH⁻¹g, which unlike `solvers.Newton` has no line search and is
    drawn to saddles. Noise there is drawn in the page: other draws than the recorded race's. The file asks no
    host for anything, and its Content-Security-Policy forbids it to: it can be mailed, and opened from a disk. What
    the race found stands in it as a sentence and a table too, over all starts, which need no script.

    Args:
        record: a race; one of its starts is shown. On a landscape that is not built in the page shows the
            recorded ways alone.
        start: which start, 0 for the first.
        racers: the optimizers of the race, in order. Those that the page can run (SGD, AdaGrad, RMSProp, Adam, at
            a constant rate) then begin with their own numbers. By default the page brings its own seven.
        settings: those that `artifacts.race_folder.save_race` keeps: the page tells ``rates``, how these were chosen.

    Raises:
        UsageError: no such start, or a landscape whose values are not finite within its bounds.
        DataError: the start lies outside the values that a race folder keeps of a function.
    """
    start = checked_start(record, start)
    _check_known(record, start)
    content = json.dumps(_content(record, start, racers), separators=(",", ":"), allow_nan=False)
    script, css = "\n".join(text_of(name) for name in _SCRIPTS), text_of("race.css")
    return filled(
        "race.html",
        css=css,
        script=script,
        title=title_of(record.landscape),
        sentence=race_sentence(record, racers),
        messages=record.messages,
        rates=str((settings or {}).get("rates", "")),
        several=len(record.starts) > 1,
        table=_table(race_rows(record, racers)),
        reach=REACH,
        # Within a script element only "<" could end it, or begin a comment.
        data=Markup(content.replace("<", "\\u003c")),
    )


def _check_known(record: Race, start: int) -> None:
    """Raise a DataError where the page's map would reach beyond the values that are known."""
    ground = beneath(record.landscape)
    if not isinstance(ground, Sampled):
        return
    x, y = record.positions[0, start, 0]
    if not (ground.xs[0] <= x <= ground.xs[-1] and ground.ys[0] <= y <= ground.ys[-1]):
        raise DataError(
            f"start {start}, ({x:g}, {y:g}), lies outside the values that the race folder keeps of {ground.name}, "
            "a function that no file can hold; show another start, or run the race again in Python"
        )


_COLUMNS = ("Optimizer", "Rate", "Steps", "Gradients", "Final value", "Distance", "Status")


def _table(rows: Sequence[RaceRow]) -> dict[str, Any]:
    """Return headings and cells, without the columns that are empty throughout."""
    cells = [
        (
            row.name, _number(row.rate), _number(row.steps), _number(row.evaluations), _number(row.value),
            _number(row.distance), row.status,
        )
        for row in rows
    ]  # fmt: skip
    kept = [place for place in range(len(_COLUMNS)) if any(line[place] for line in cells)]
    return {
        "columns": [_COLUMNS[place] for place in kept],
        "rows": [[line[place] for place in kept] for line in cells],
    }


def _number(value: float | None) -> str:
    """Return a number with three digits, or whole as it is: 4.95e−8, 500."""
    if value is None:
        return ""
    text = f"{value:,.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.3g}"
    return re.sub(r"e\+?(-?)0*", r"e\1", text).replace("-", "−")


def _content(record: Race, start: int, racers: Sequence[Any] | None) -> dict[str, Any]:
    noise = record.landscape.scale if isinstance(record.landscape, Noisy) else 0.0
    return {
        "landscapes": _landscapes(record, start),
        "recorded": [_way(record, racer, start) for racer in range(len(record.names))],
        "racers": live_racers(racers, record.names),
        "start": [float(part) for part in record.positions[0, start, 0]],
        "steps": min(record.steps, 5000),
        "noise": noise,
        "palette": {"light": themed(False).palette, "dark": themed(True).palette},
    }


def _landscapes(record: Race, start: int) -> list[dict[str, Any]]:
    """Return the race's own landscape, then the other built-in ones with their defaults."""
    ground, field = beneath(record.landscape), backdrop(record, start)
    own = _landscape(ground, title_of(ground))
    own |= {"own": True, "view": [[field.xs[0], field.xs[-1]], [field.ys[0], field.ys[-1]]]}
    if own["kind"] is None:
        places = [np.linspace(0, len(lines) - 1, _GRID).round().astype(int) for lines in (field.ys, field.xs)]
        own["grid"] = {"values": _short(field.values[np.ix_(*places)])}
    others = [BUILT_IN[kind]() for kind in _RATES if kind != own["kind"]]
    return [own, *(_landscape(one, one.name) for one in others)]


def _landscape(one: Landscape, title: str) -> dict[str, Any]:
    kind, known = type(one).__name__, is_built_in(one)
    minima = [list(map(float, minimum)) for minimum in one.minima]
    bounds = [list(map(float, ends)) for ends in one.bounds]
    return {
        "kind": kind if known else None,
        "title": title,
        "parameters": {f.name: getattr(one, f.name) for f in fields(one)} if known and is_dataclass(one) else {},
        "bounds": bounds,
        "view": bounds,
        "reach": frame_of(one)[1],
        "minima": minima,
        "lowest": float(np.min(one.value(np.array(minima)))) if minima else None,
        "start": list(map(float, usual_start(one))),
        "rates": _rates(one) if known else {},
        "own": False,
    }


def _rates(one: Landscape) -> dict[str, float]:
    """Return the rates to begin with: those of a built-in landscape's defaults, scaled to a quadratic's steepness."""
    rates = dict(zip(_RULES, _RATES[type(one).__name__], strict=True))
    if isinstance(one, Quadratic):
        for rule in ("sgd", "momentum", "nesterov"):  # unstable above 2/κ; the others set their length themselves
            rates[rule] = float(f"{10 * rates[rule] / one.condition:.2g}")
    return rates


def _way(record: Race, racer: int, start: int) -> dict[str, Any]:
    """Return a racer's recorded way until it ended, thinned to what a screen shows."""
    ended = int(record.ended[racer, start])
    last = last_step(record, racer, start)
    steps = np.unique(np.linspace(0, last, min(last + 1, _MOST)).round().astype(int))
    return {
        "name": record.names[racer],
        "points": _short(record.positions[racer, start, steps]),
        "values": _short(record.values[racer, start, steps]),
        "steps": steps.tolist(),
        "status": STATUSES[int(record.status[racer, start])],
        "ended": ended,
    }


def _short(numbers: np.ndarray) -> Any:
    """Return numbers as lists, with the eight digits that are more than a screen shows."""
    flat = [float(f"{number:.8g}") for number in np.nan_to_num(np.asarray(numbers, np.float64)).ravel().tolist()]
    return np.reshape(flat, np.shape(numbers)).tolist()

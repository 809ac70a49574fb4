"""What a race found, a row a racer, and in sentences: the same on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.landscapes.known import title_of
from thalweg.landscapes.records import STATUSES, Race

__all__ = ["RaceRow", "race_rows", "race_sentence", "racer_rate"]

_MOST_NAMED = 3  # of those that end equally low


@dataclass(frozen=True)
class RaceRow:
    """How one racer fared: medians over the starts.

    ``name`` is without the rate, which has a place of its own; ``rate`` is None for solvers and unknown ones.
    ``steps`` it took until it ended, ``evaluations`` are gradients asked for, ``value`` is the last noise-free f,
    ``distance`` that to the nearest known minimum (None where there is none), ``statuses`` pairs each way in which
    it ended (`STATUSES`) with the number of starts.
    """

    name: str
    rate: float | None
    steps: float
    evaluations: float
    value: float
    distance: float | None
    statuses: tuple[tuple[str, int], ...]

    @property
    def status(self) -> str:
        """In words, with counts where there are several starts: ``3 running, 1 diverged``."""
        several = sum(count for _, count in self.statuses) > 1
        return ", ".join(f"{count} {word}" if several else word for word, count in self.statuses)

    def lost(self) -> int:
        """From how many starts it diverged."""
        return dict(self.statuses).get("diverged", 0)


def racer_rate(racer: Any) -> float | None:
    """Return an optimizer's (highest or first) learning rate; None where it has none, or none is known."""
    rate = getattr(getattr(racer, "learning_rate", None), "base", None)
    return None if rate is None else float(rate)


def race_rows(race: Race, racers: Sequence[Any] | None) -> tuple[RaceRow, ...]:
    """Return a row a racer; without the racers themselves the rates stay in the names."""
    found = [None] * len(race.names) if racers is None else list(racers)
    return tuple(_row(race, place, racer) for place, racer in enumerate(found))


def _row(race: Race, place: int, racer: Any) -> RaceRow:
    rate, status = racer_rate(racer), race.status[place]
    counts = [(word, int(np.sum(status == code))) for code, word in enumerate(STATUSES)]
    distance = float(np.median(race.distances[place, :, -1]))
    return RaceRow(
        name=race.names[place] if rate is None else race.names[place].replace(f" {rate:.3g}", "", 1),
        rate=rate,
        steps=float(np.median(race.ended[place])),
        evaluations=float(np.median(race.evaluations[place])),
        value=float(np.median(race.values[place, :, -1])),
        distance=None if np.isnan(distance) else distance,
        statuses=tuple((word, count) for word, count in counts if count),
    )


def race_sentence(race: Race, racers: Sequence[Any] | None = None) -> str:
    """Say in a few sentences what was raced, who ended lowest, and how many ended how."""
    rows, several = race_rows(race, racers), len(race.starts) > 1
    x, y = race.starts[0]
    where = f"{len(race.starts)} starts" if several else f"({_told(x)}, {_told(y)})"
    count = f"{len(rows)} racers" if len(rows) > 1 else "1 racer"
    steps = f"{race.steps:,} step" + ("s" if race.steps > 1 else "")
    parts = [f"{title_of(race.landscape)}: {count} from {where}, at most {steps} each.", _lowest(race, rows, several)]
    ends = [(word, int(np.sum(race.status == code))) for code, word in enumerate(STATUSES)]
    whole = "runs" if several else "racers"
    told = ", ".join(f"{number} {_ENDS[word]}" for word, number in ends if number)
    return " ".join([*parts, f"Of {race.status.size} {whole}, {told}."])


_ENDS = {
    "running": "still moved at the end",
    "converged": "converged",
    "diverged": "diverged",
    "stalled": "stalled above the tolerance",
}


def _lowest(race: Race, rows: Sequence[RaceRow], several: bool) -> str:
    """Say who ended lowest, of those that diverged from the fewest starts."""
    fewest = min(row.lost() for row in rows)
    if fewest == len(race.starts):
        return "Every racer diverged." if not several else "Every racer diverged from every start."
    sound = [(row, name) for row, name in zip(rows, race.names, strict=True) if row.lost() == fewest]
    least = min(row.value for row, _ in sound)
    names = [name for row, name in sound if row.value == least]
    rest = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    who = ", ".join(names[:_MOST_NAMED]) + rest
    median = "a median of " if several else ""
    quantity, above = "f", least
    if race.landscape.minima:
        quantity = "f − min f"
        above = least - float(np.min(race.landscape.value(np.asarray(race.landscape.minima))))
    # Where others diverged more often, they were left out of the comparison.
    often = f"from only {fewest} of the starts" if fewest else "from no start" if several else ""
    of_these = f", of those that diverged {often}" if often and len(sound) < len(rows) else ""
    return f"{who} {'end' if len(names) > 1 else 'ends'} lowest, at {median}{quantity} = {_told(above)}{of_these}."


def _told(number: float) -> str:
    return f"{number:.3g}".replace("-", "−")

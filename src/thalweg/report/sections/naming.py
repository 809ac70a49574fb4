"""What sections on classes say alike: names from data, and what a split cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.report.block import Note
from thalweg.report.records.held import TRAINED_ON

__all__ = ["brief", "full", "notes", "shortened"]


def full(name: str) -> str:
    """Return the name on one line, its control characters written out (a lone surrogate cannot even be encoded)."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
    return shown if shown.strip() else repr(name)


def shortened(name: str, most: int = 40) -> str:
    """Return the name as `full` does; where it is longer than ``most`` letters, with an ellipsis in its middle.

    Names of one kind often begin alike and end differently: "class number 12".
    """
    name = full(name)
    if len(name) <= most:
        return name
    tail = 2 * (most - 1) // 5
    return name[: most - 1 - tail].rstrip() + "…" + name[len(name) - tail :].lstrip()


def brief(names: Sequence[str], most: int) -> list[str]:
    """Return names shortened for an axis: where one is too long, what all begin and end with is left out first.

    "class 06, long name" and "class 12, long name" differ in "06" and "12", which an ellipsis would hide.
    """
    known = [full(name) for name in names]
    if len(known) > 1 and max(map(len, known)) > most:
        start = _alike(known)
        end = _alike([name[start:][::-1] for name in known])
        apart = [name[start : len(name) - end] for name in known]
        known = apart if all(part.strip() for part in apart) else known
    return [shortened(name, most) for name in known]


def _alike(names: Sequence[str]) -> int:
    """With how many letters all names begin alike."""
    return next(
        (i for i, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), min(map(len, names))
    )


def notes(trained_on: bool, caveats: tuple[str, ...]) -> tuple[Note, ...]:
    """Return what stands above a split's figures: a warning where the model was trained on it, then its caveats."""
    warning = (Note(TRAINED_ON, "warning"),) if trained_on else ()
    return (*warning, *(Note(text) for text in caveats))

"""What sections on classes say alike: names from data, and what a split cannot tell."""

from __future__ import annotations

from thalweg.report.block import Note
from thalweg.report.records.held import TRAINED_ON

__all__ = ["full", "notes", "shortened"]


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


def notes(trained_on: bool, caveats: tuple[str, ...]) -> tuple[Note, ...]:
    """Return what stands above a split's figures: a warning where the model was trained on it, then its caveats."""
    warning = (Note(TRAINED_ON, "warning"),) if trained_on else ()
    return (*warning, *(Note(text) for text in caveats))

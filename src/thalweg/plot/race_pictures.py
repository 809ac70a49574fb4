"""All pictures of one race, written into a folder."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from thalweg.atomic import write_bytes
from thalweg.errors import UsageError
from thalweg.landscapes.records import Race
from thalweg.plot.race_animation import race_animation
from thalweg.plot.race_curves import race_curves
from thalweg.plot.race_figure import race

__all__ = ["race_pictures"]

_DOTS = 150


def race_pictures(record: Race, folder: str | Path, *, start: int = 0, dark: bool = False) -> list[Path]:
    """Write a race's pictures into a folder, and return their paths.

    ``trajectories.png`` and ``.svg`` (`race`), ``curves.png`` and ``.svg`` (`race_curves`), and ``race.gif``
    (`race_animation`). The same race gives the same bytes.

    Args:
        record: a race.
        folder: an existing folder; files of these names are replaced.
        start: which start is drawn, 0 for the first.
        dark: dark paper.

    Raises:
        UsageError: no such folder or start, or a place that cannot be written.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"folder is {str(folder)!r}, which is no folder; make it first")
    written = []
    figures = {
        "trajectories": race(record, start=start, dark=dark),
        "curves": race_curves(record, start=start, dark=dark),
    }
    for name, figure in figures.items():
        for suffix in ("png", "svg"):
            path = folder / f"{name}.{suffix}"
            write_bytes(path, _content(figure, suffix))
            written.append(path)
    written.append(race_animation(record, folder / "race.gif", start=start, dark=dark))
    return written


def _content(figure: Figure, suffix: str) -> bytes:
    out = io.BytesIO()
    # An SVG otherwise holds the date, and names drawn at random.
    with matplotlib.rc_context({"svg.hashsalt": "thalweg"}):
        figure.savefig(out, format=suffix, dpi=_DOTS, metadata={"Date": None} if suffix == "svg" else None)
    return out.getvalue()

"""What a page is made of: sections of pictures, each with a summary in words and a table of its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from markupsafe import Markup

__all__ = ["Code", "Fold", "Lacking", "Note", "Part", "Picture", "Section", "Table", "Tile"]

Cell: TypeAlias = str | int | float | None
Tone: TypeAlias = Literal["plain", "good", "warning", "error"]


@dataclass(frozen=True)
class Lacking:
    """Why a record could not be made, and what to do about it, in a sentence or two."""

    why: str


@dataclass(frozen=True)
class Table:
    """Numbers and words in rows.

    ``columns`` are the headings; numbers are shown with four significant digits (whole ones as they are), None as an
    empty cell. ``caption`` says what a row is. ``sortable`` puts buttons into the headings. ``marks`` is, by row, the
    trial that it tells of (None: none), so that pointing at it shows the trial in every picture. ``states`` gives a row
    a word that the filter knows ("completed", "diverged", ...). ``strong`` is the row to stand out, ``total`` says how
    many rows there would be, where some are left out.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    sortable: bool = False
    marks: tuple[int | None, ...] = ()
    states: tuple[str, ...] = ()
    strong: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Picture:
    """A figure: its drawing (from `report.svg`, or images), its title, what it says in words, and its table.

    ``wide`` takes the page's whole width; others stand side by side where there is room.
    """

    title: str
    drawing: Markup
    summary: str
    table: Table | None = None
    wide: bool = False


@dataclass(frozen=True)
class Note:
    """A short paragraph with a tone; a warning or an error has the word in front, so that colour is never alone."""

    text: str
    tone: Tone = "plain"
    title: str = ""
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tile:
    """One number of the verdict: its name, the number as text, and what to know about it."""

    name: str
    value: str
    about: str = ""


@dataclass(frozen=True)
class Code:
    """A command or a script to copy; ``folded`` where it is long."""

    title: str
    text: str
    language: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Fold:
    """Parts behind a summary that opens."""

    title: str
    parts: tuple[Part, ...]


Part: TypeAlias = Picture | Table | Note | Code | Fold | Sequence[Tile] | Lacking


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it. ``key`` is its address within the page, ``short`` its name in the list."""

    key: str
    title: str
    parts: tuple[Part, ...]
    lead: str = ""
    short: str = field(default="")

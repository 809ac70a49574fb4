"""The page of what could be salvaged of a run folder."""

from __future__ import annotations

from thalweg.report.block import Note, Section, Table, Tile
from thalweg.report.page import Page, render
from thalweg.report.salvage import Facts, Salvage
from thalweg.report.words import many, percent, seconds

__all__ = ["salvage_page"]

_NAMES = {"sweep": "trial", "path": "solution"}


def salvage_page(found: Salvage) -> str:
    """Return a page in the look of the report, as the text of one HTML file: what is lacking, what to do, what is left.

    It asks no host for anything, and its Content-Security-Policy forbids it to. Every text of the folder is escaped.
    """
    one = _NAMES[found.kind]
    sections = [_trouble(found), _files(found), _verdict(found.facts, one)]
    if found.table.columns:
        sections.append(_rows(found, one))
    if found.facts.messages:
        note = Note("Told while it ran:", more=found.facts.messages)
        sections.append(Section("messages", "Messages", (note,)))
    title = found.facts.data or f"A {found.kind}'s folder"
    return render(Page(f"{title}: what could be read", found.folder, tuple(sections), "Written by thalweg report."))


def _trouble(found: Salvage) -> Section:
    first, *rest = found.lacking
    notes = (
        Note(first, "error", more=tuple(rest)),
        Note("What to do:", more=found.remedies),
    )
    lead = "The whole report could not be made of this folder; below is what it still holds."
    return Section("lacking", "What is lacking", notes, lead)


def _files(found: Salvage) -> Section:
    rows = tuple(
        (file.name, file.state, "" if file.size is None else f"{file.size:,}", file.about) for file in found.files
    )
    parts: tuple[Table | Note, ...] = (Table(("file", "state", "bytes", "about"), rows),)
    if found.others:
        parts += (Note(f"Also there: {', '.join(found.others)}."),)
    return Section("files", "Files", parts)


def _verdict(facts: Facts, one: str) -> Section:
    """The verdict as plain numbers: nothing is recomputed."""
    tiles = []
    if facts.best is not None:
        tiles.append(Tile(f"chosen {one}", str(facts.best)))
    if facts.test_accuracy is not None:
        about = (
            ""
            if facts.interval is None
            else f"95 % interval {percent(facts.interval[0])} to {percent(facts.interval[1])}"
        )
        tiles.append(Tile("test accuracy", percent(facts.test_accuracy), about))
    if facts.validation_accuracy is not None:
        tiles.append(Tile("validation accuracy", percent(facts.validation_accuracy)))
    if facts.count is not None:
        told = ", ".join(f"{number:,} {word}" for word, number in facts.statuses)
        tiles.append(Tile(f"{one}s", f"{facts.count:,}", told))
    if facts.seconds is not None:
        tiles.append(Tile("time", seconds(facts.seconds)))
    parts: list[Note | list[Tile]] = [tiles] if tiles else []
    if facts.classes:
        more = (facts.class_count or 0) - len(facts.classes)
        rest = f" and {more:,} more" if more > 0 else ""
        count = many(facts.class_count or len(facts.classes), "class", "classes")
        parts.append(Note(f"{', '.join(facts.classes)}{rest}.", title=f"{count}:"))
    if facts.versions:
        parts.append(Note(f"{', '.join(' '.join(pair) for pair in facts.versions)}.", title="Versions:"))
    lead = "As run.json has it; nothing was computed again." if parts else "run.json tells nothing of it."
    return Section("verdict", "Verdict", tuple(parts), lead)


def _rows(found: Salvage, one: str) -> Section:
    table, file = found.table, found.files[1].name
    if table.total is None:
        lead = f"The first {many(len(table.rows), one)} of {file}, which is too large to be read whole."
    elif table.total > len(table.rows):
        lead = f"The first {len(table.rows):,} of {table.total:,} rows of {file}."
    else:
        lead = f"All rows of {file} that could be read, as text."
    return Section(
        "rows", f"{one.capitalize()}s", (Table(table.columns, table.rows, caption=f"{file}, a row a {one}"),), lead
    )

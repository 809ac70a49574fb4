"""Sections to one HTML file that asks no host for anything."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jinja2
from markupsafe import Markup

from thalweg.palette import DARK, LIGHT, Palette
from thalweg.report.block import Section
from thalweg.report.filling import filled, text_of

__all__ = ["Page", "render", "style"]


@dataclass(frozen=True)
class Page:
    """A page before it is written: its heading, a line below it, the sections in order, and the last line."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    footer: str = ""


def render(page: Page, *, live: bool = False) -> str:
    """Return a page as the text of one HTML file.

    Its content policy allows its own style and script alone, by their hashes, and pictures inside it: it
    can be mailed, and opened from a disk. ``live`` lets it ask the server that it came from whether there is news.
    """
    script = "\n".join(text_of(name) for name in ("report.js", "live.js")[: 2 if live else 1])
    return filled(
        "report.html", css=style(), script=script, live=live, title=page.title, subtitle=page.subtitle,
        sections=page.sections, footer=page.footer, symbols=Markup(text_of("symbols.svg")),
    )  # fmt: skip


@functools.cache
def style() -> str:
    """Return the page's style sheet, with the colours that Matplotlib's figures have too."""
    source = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(text_of("report.css"))
    return source.render(light=_variables(LIGHT), dark=_variables(DARK))


def _variables(palette: Palette) -> str:
    named = {name: getattr(palette, name) for name in ("paper", "ink", "faint", "alarm")}
    series = {f"s{i}": colour for i, colour in enumerate(palette.palette)}
    return ";".join(f"--{name}:{colour}" for name, colour in (named | series).items())

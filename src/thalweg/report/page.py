"""Sections to one HTML file that asks no host for anything."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
from dataclasses import dataclass
from importlib import resources

import jinja2
from markupsafe import Markup

from thalweg.palette import DARK, LIGHT, Palette
from thalweg.report import block
from thalweg.report.block import Section

__all__ = ["Page", "digest", "environment", "render", "style", "text_of"]


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
    css = style()
    script = "\n".join(text_of(name) for name in ("report.js", "live.js")[: 2 if live else 1])
    policy = (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(css)}'; img-src data:; "
        f"{'connect-src ' + repr('self') + '; ' if live else ''}base-uri 'none'; form-action 'none'"
    )
    template = environment().get_template("report.html")
    text: str = template.render(
        title=page.title, subtitle=page.subtitle, sections=page.sections, footer=page.footer, policy=policy,
        css=Markup(css), script=Markup(script), symbols=Markup(text_of("symbols.svg")),
    )  # fmt: skip
    # A file's name may hold bytes that are no text, as lone surrogates, which no page can hold.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@functools.cache
def environment() -> jinja2.Environment:
    """Return the templates' environment: whatever comes from data is escaped, a name that is missing is an error."""
    found = jinja2.Environment(loader=jinja2.FunctionLoader(text_of), autoescape=True, undefined=jinja2.StrictUndefined)
    found.filters["figure"] = figure
    found.tests["a"] = lambda value, name: isinstance(value, getattr(block, name))
    return found


def figure(value: float) -> str:
    """Write a number for a table: whole ones as they are, others with four significant digits; nothing for NaN."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return ""
    return f"{value:.4g}".replace("inf", "∞")


@functools.cache
def style() -> str:
    """Return the page's style sheet, with the colours that Matplotlib's figures have too."""
    source = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(text_of("report.css"))
    return source.render(light=_variables(LIGHT), dark=_variables(DARK))


def _variables(palette: Palette) -> str:
    named = {name: getattr(palette, name) for name in ("paper", "ink", "faint", "alarm")}
    series = {f"s{i}": colour for i, colour in enumerate(palette.palette)}
    return ";".join(f"--{name}:{colour}" for name, colour in (named | series).items())


def text_of(name: str) -> str:
    """Return a file of ``templates``."""
    return (resources.files("thalweg.report") / "templates" / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """Return the hash by which a content policy allows a script or a style sheet."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

"""Templates filled in: pages that hold their own style and script, and a policy that allows nothing else."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from thalweg.report import block

__all__ = ["digest", "environment", "filled", "text_of"]


def filled(template: str, *, css: str, script: str, live: bool = False, **content: Any) -> str:
    """Return a page as the text of one HTML file: a template with its style, its script, and a content policy.

    The policy allows this style and this script, by their hashes, and pictures inside the page; with ``live`` it
    allows the page to ask the server that it came from, too. What is in ``content`` is escaped, but for `Markup`.
    """
    policy = (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(css)}'; img-src data:; "
        f"{'connect-src ' + repr('self') + '; ' if live else ''}base-uri 'none'; form-action 'none'"
    )
    found = environment().get_template(template)
    text: str = found.render(policy=policy, css=Markup(css), script=Markup(script), **content)
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


def text_of(name: str) -> str:
    """Return a file of ``templates``."""
    return (resources.files("thalweg.report") / "templates" / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """Return the hash by which a content policy allows a script or a style sheet."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

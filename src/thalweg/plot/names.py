"""Names and colours of classes in figures: any text is shown as it is, and made to fit."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from matplotlib import colormaps
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

__all__ = ["AGAINST", "FOR", "colours", "fitting", "inches", "literal", "markers", "visible"]

AnyText = TypeVar("AnyText", bound=Text)

# Okabe & Ito 2008, safe for colour-blind readers; their yellow is left out, as it vanishes on white.
_OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#555555")
_MARKERS = "os^DvPX<>*hp"
FOR, AGAINST = "#2166ac", "#b2182b"  # the ends of Matplotlib's RdBu, also where only the sign is shown


def colours(count: int) -> list[tuple[float, float, float]]:
    """Return a colour for each class: told apart with ease up to 7, tolerably up to 27, beyond that by their names."""
    from matplotlib.colors import to_rgb

    wide = [tuple(rgb) for rgb in np.concatenate([colormaps["tab20"].colors, colormaps["Dark2"].colors])]  # type: ignore[attr-defined]
    if count <= len(_OKABE_ITO):
        return [to_rgb(colour) for colour in _OKABE_ITO[:count]]
    if count <= 10:
        return [to_rgb(colour) for colour in colormaps["tab10"].colors[:count]]  # type: ignore[attr-defined]
    if count <= len(wide):
        return [to_rgb(colour) for colour in wide[:count]]
    return [to_rgb(colour) for colour in colormaps["gist_rainbow"](np.linspace(0, 1, count))]


def markers(count: int) -> list[str]:
    """Return a marker for each class: colour alone does not reach all readers."""
    return [_MARKERS[place % len(_MARKERS)] for place in range(count)]


def literal(text: AnyText) -> AnyText:
    """Let no part of a text be read as mathematics or TeX: a class may be called ``$100_000``."""
    text.set_parse_math(False)
    text.set_usetex(False)
    return text


def visible(name: str) -> str:
    """Return the name on one line, its control characters written out."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
    return shown if shown.strip() else repr(name)


def fitting(name: str, width: float, size: float) -> str:
    """Return the name; where at ``size`` points it is wider than ``width`` inches, with an ellipsis in its middle.

    Names of one kind often begin alike and end differently: "class number 12".
    """
    name = visible(name)
    # A name of thousands of letters need not be measured whole: each is at least a fifth of the size wide.
    most = int(width * 72 / (0.2 * size))
    if len(name) <= most and inches(name, size) <= width:
        return name
    kept = min(len(name) - 1, most)
    while kept > 0:
        tail = 2 * kept // 5
        shown = name[: kept - tail].rstrip() + "…" + name[len(name) - tail :].lstrip()
        wide = inches(shown, size)
        if wide <= width:
            return shown
        kept = min(kept - 1, int(kept * width / wide))
    return "…"


def inches(text: str, size: float) -> float:
    """Return how wide a line of text is, in the font in force."""
    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]) / 72

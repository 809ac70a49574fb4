"""Features by name, for the command line."""

from __future__ import annotations

from collections.abc import Callable

from thalweg.errors import UsageError, nearest
from thalweg.features.base import Chain, Features
from thalweg.features.colour import ColorHistogram
from thalweg.features.hog import HOG
from thalweg.features.patches import Patches

__all__ = ["parse_features"]

_KNOWN: dict[str, Callable[[], Features]] = {"hog": HOG, "color": ColorHistogram, "patches": Patches}
_ALIASES = {"colour": "color", "color_histogram": "color", "colour_histogram": "color"}


def parse_features(text: str) -> Features:
    """Return the part that a text such as "hog,color" names, each with its defaults.

    Names are hog, color (also colour, color_histogram) and patches, joined by commas
    in the order of their columns; case and spaces do not matter.
    """
    names = [name.strip().lower() for name in text.split(",")]
    parts = [_part(text, _ALIASES.get(name, name)) for name in names]
    if len(set(parts)) < len(parts):
        raise UsageError(f"features are {text!r}, which names a part twice; name each once")
    return parts[0] if len(parts) == 1 else Chain(tuple(parts))


def _part(text: str, name: str) -> Features:
    if name not in _KNOWN:
        raise UsageError(
            f"features are {text!r}: {name!r} is none of {', '.join(_KNOWN)}{nearest(name, (*_KNOWN, *_ALIASES))}; "
            f"give one of these, or several joined by commas"
        )
    return _KNOWN[name]()

"""The list of challenges: which changes at which strengths. Each is a function of images with the numbers it needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from thalweg.diagnostics.challenge_images import (
    Limits,
    brighten,
    clutter,
    contrast,
    corner,
    occlude,
    patch,
    rotate,
    shear,
    shift,
    stretch,
)

__all__ = ["IMAGE_KINDS", "KINDS", "SPREAD", "Change", "Chunk", "changes", "distinct"]

SPREAD = "within-class spread"
IMAGE_KINDS = ("illumination", "shift", "rotation", "stretching", "occlusion", "clutter")
KINDS = (*IMAGE_KINDS, SPREAD)

_DARKER, _BRIGHTER, _FLATTER = (0.75, 0.5, 0.25), (1.25, 1.5, 2.0), (0.75, 0.5, 0.25)
_DEGREES = (5, 15, 30)
_LARGER, _SMALLER, _WIDER, _SLANT = (1.1, 1.25, 1.5), (0.9, 0.8, 0.65), (1.1, 1.25, 1.5), (0.1, 0.2, 0.4)
_COVERED = (0.05, 0.15, 0.3)
_CLUTTERED = (0.1, 0.25, 0.5)
_ROOM = 16  # pixels a side that keep all strengths apart


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some images, and for each the place of its patch and an image of another class."""

    images: np.ndarray
    corners: np.ndarray  # (N, 2) in [0, 1)
    others: np.ndarray
    limits: Limits


@dataclass(frozen=True)
class Change:
    """One row: what is changed, how, how much (in words, and as level 1 to 3), and the function that does it."""

    kind: str
    condition: str
    strength: str
    level: int
    apply: Callable[[Chunk], np.ndarray]


def changes(height: int, width: int) -> list[Change]:
    """List all changes for images of that size, from mild to strong in each condition.

    Three for each condition, also where an image has too few pixels for three: see `distinct`.
    """
    area = height * width
    covered = [math.prod(patch(height, width, share)) / area for share in _COVERED]
    cluttered = [4 * math.prod(corner(height, width, share)) / area for share in _CLUTTERED]
    step = max(1, round(min(height, width) / 16))
    pixels = [level * step for level in (1, 2, 3)]
    times = [f"× {factor:g}" for factor in _DARKER]
    listed = [
        _three("illumination", "darker", times, [_by(brighten, f) for f in _DARKER]),
        _three("illumination", "brighter", [f"× {f:g}" for f in _BRIGHTER], [_by(brighten, f) for f in _BRIGHTER]),
        _three("illumination", "less contrast", [f"× {f:g}" for f in _FLATTER], [_by(contrast, f) for f in _FLATTER]),
    ]
    for name, (down, right) in {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}.items():
        listed.append(_three("shift", name, [f"{p} px" for p in pixels], [_moved(p * down, p * right) for p in pixels]))
    for name, sign in (("anticlockwise", 1), ("clockwise", -1)):
        listed.append(_three("rotation", name, [f"{d}°" for d in _DEGREES], [_by(rotate, sign * d) for d in _DEGREES]))
    listed += [
        _three("stretching", "larger", [f"× {f:g}" for f in _LARGER], [_by(stretch, f, f) for f in _LARGER]),
        _three("stretching", "smaller", [f"× {f:g}" for f in _SMALLER], [_by(stretch, f, f) for f in _SMALLER]),
        _three("stretching", "wider", [f"× {f:g}" for f in _WIDER], [_by(stretch, 1.0, f) for f in _WIDER]),
        _three("stretching", "slanted", [f"{f:g} px/px" for f in _SLANT], [_by(shear, f) for f in _SLANT]),
        _three("occlusion", "grey patch", [_percent(s) for s in covered], [_covered(s) for s in _COVERED]),
        _three("clutter", "other corners", [_percent(s) for s in cluttered], [_cluttered(s) for s in _CLUTTERED]),
    ]  # fmt: skip
    return [change for three in listed for change in three]


def distinct(height: int, width: int) -> list[Change]:
    """List the changes less those that change nothing, or the same as the milder one before, on images so small.

    Told by trying: what leaves an image of noise as it was leaves any.
    """
    listed = changes(height, width)
    if min(height, width) >= _ROOM:
        return listed
    images, others = np.random.default_rng(0).random((2, 1, height, width, 3), np.float32)
    chunk = Chunk(images, np.full((1, 2), 0.5), others, (0.0, 1.0))
    found: list[Change] = []
    before, after = "", images
    for change in listed:
        reference, now = after if change.condition == before else images, change.apply(chunk)
        if (now != reference).any():
            found.append(change)
        before, after = change.condition, now
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _three(kind: str, condition: str, words: list[str], applied: list[Callable[[Chunk], np.ndarray]]) -> list[Change]:
    rows = enumerate(zip(words, applied, strict=True), start=1)
    return [Change(kind, condition, word, level, apply) for level, (word, apply) in rows]


def _by(function: Callable[..., np.ndarray], *amounts: float) -> Callable[[Chunk], np.ndarray]:
    return lambda chunk: function(chunk.images, *amounts, chunk.limits)


def _moved(down: int, right: int) -> Callable[[Chunk], np.ndarray]:
    return lambda chunk: shift(chunk.images, down, right)


def _covered(share: float) -> Callable[[Chunk], np.ndarray]:
    return lambda chunk: occlude(chunk.images, share, chunk.corners, chunk.limits)


def _cluttered(share: float) -> Callable[[Chunk], np.ndarray]:
    return lambda chunk: clutter(chunk.images, chunk.others, share)

"""The challenges of recognition, measured: what accuracy is left when images change as the world changes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from thalweg.data import Split
from thalweg.diagnostics.challenge_list import IMAGE_KINDS, KINDS, SPREAD, Chunk, changes, distinct
from thalweg.diagnostics.class_spread import TERCILES, terciles
from thalweg.errors import UsageError, nearest
from thalweg.fields import check_integer
from thalweg.fitted import FittedModel
from thalweg.statistics import Accuracy, holm, mcnemar
from thalweg.views.linear import as_fitted

__all__ = ["Challenge", "ChallengeTable", "applicable", "challenges", "chunks"]

_ROWS = 1024  # images changed at once


@dataclass(frozen=True)
class Challenge:
    """One row: the accuracy under one change.

    ``lost`` examples are right on the clean image and wrong on the changed one, ``gained`` the reverse;
    ``p_value`` is McNemar's for their difference. Of within-class spread, which changes no image, lost and gained
    are 0 and the p-value is Fisher's, of these examples against all others. ``adjusted`` is by Holm's method over
    the table.
    """

    kind: str
    condition: str
    strength: str
    level: int
    result: Accuracy
    drop: float
    lost: int
    gained: int
    p_value: float
    adjusted: float

    @property
    def accuracy(self) -> float:
        return self.result.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return self.result.interval


@dataclass(frozen=True)
class ChallengeTable:
    """The accuracy under every change, beside that on the clean examples."""

    clean: Accuracy
    rows: tuple[Challenge, ...] = field(repr=False)
    seed: int
    notes: tuple[str, ...] = ()

    def worst(self) -> Challenge:
        """The change that costs the most."""
        return max(self.rows, key=lambda row: row.drop)

    def as_dict(self) -> dict[str, Any]:
        """The table as plain numbers and text, for JSON."""
        rows = [
            {
                "kind": row.kind, "condition": row.condition, "strength": row.strength, "level": row.level,
                "accuracy": row.accuracy, "interval": list(row.interval), "correct": row.result.correct,
                "count": row.result.count, "drop": row.drop, "p_value": row.p_value, "adjusted": row.adjusted,
            }
            for row in self.rows
        ]  # fmt: skip
        clean = {"accuracy": self.clean.accuracy, "interval": list(self.clean.interval), "count": self.clean.count}
        return {"clean": clean, "seed": self.seed, "rows": rows, "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [
            f"{'challenge':<20} {'condition':<16} {'strength':>10} {'accuracy':>9} {'95 % interval':>17} {'drop':>8}"
        ]
        before = ("", "")
        for row in self.rows:
            kind, condition = row.kind if row.kind != before[0] else "", row.condition
            if (row.kind, condition) == before:
                condition = ""
            before = (row.kind, row.condition)
            interval = f"{row.interval[0]:.4f} to {row.interval[1]:.4f}"
            mark = " *" if row.adjusted < 0.05 else ""
            numbers = f"{row.accuracy:>9.4f} {interval:>17} {row.drop:>+8.4f}{mark}"
            lines.append(f"{kind:<20} {condition:<16} {row.strength:>10} {numbers}")
        lines.append(
            "drop: clean accuracy less this one; * differs by more than chance (McNemar, for spread Fisher; Holm, 5 %)"
        )
        return "\n".join([*lines, *self.notes])


def challenges(
    model: Any,
    split: Split,
    *,
    kinds: Sequence[str] | None = None,
    seed: int = 0,
    tell: Callable[[str], None] | None = None,
) -> ChallengeTable:
    """Measure a fitted model's accuracy under the challenges of recognition, each at three strengths.

    - illumination: the light multiplied (clipped at white), the contrast about each image's mean reduced;
    - shift: by 1, 2 and 3 sixteenths of the shorter side, up, down, left and right;
    - rotation: by 5°, 15°, 30° either way (viewpoint);
    - stretching: larger, smaller, wider, slanted (deformation);
    - occlusion: a grey patch over about 5, 15, 30 % of the area, anywhere;
    - clutter: patches in all four corners, in all about 10, 25, 50 % of the area, from an image of another class;
    - within-class spread: no change of images, but the accuracy on the third of each class that is nearest
      to its class mean (Euclidean, in raw features), the middle third, and the furthest.

    Warps are bilinear, and what comes in from outside repeats the nearest pixel of the edge. uint8 images stay uint8;
    others stay within the least and largest value of the split. ``strength`` tells the share of whole pixels that is
    really covered; of strengths that are the same on small images one stays, with a note. Each row has Wilson's 95 %
    interval and a paired test against the clean images (McNemar 1947), adjusted for the number of rows (Holm 1979).

    Arguments:
        model: a `FittedModel` or an estimator that holds one.
        split: labelled examples, best such that the model was not trained on.
        kinds: which challenges, of `KINDS`; None: all.
        seed: of the patches' places and the other images.
        tell: hears where the work stands, in words.

    Raises:
        UsageError: an unknown kind, or one that needs images where the examples are none.
        DataError: no labels, or labels or features that the model does not take.
    """
    fitted = as_fitted(model)
    if not isinstance(split, Split):
        raise UsageError(f"split is a {type(split).__name__}; give a Split, such as dataset.test")
    check_integer("challenges", "seed", seed, least=0)
    chosen = _kinds(kinds, split)
    clean = fitted.score(split)
    assert split.labels is not None
    right = _right(fitted, split.features, split.labels)
    rows: list[Challenge] = []
    if set(chosen) & set(IMAGE_KINDS):
        rows += _changed(fitted, split, chosen, right, seed, tell)
    if SPREAD in chosen:
        rows += _spread(split, right)
    if not rows:
        shape = " × ".join(map(str, split.features.shape[1:3]))
        raise UsageError(f"kinds is {chosen!r}: of these nothing changes images of {shape} pixels; choose others")
    adjusted = holm([row.p_value for row in rows])
    rows = [replace(row, adjusted=p) for row, p in zip(rows, adjusted, strict=True)]
    return ChallengeTable(Accuracy(clean.correct, clean.count), tuple(rows), seed, _notes(split, chosen))


def applicable(split: Split) -> tuple[str, ...]:
    """Return the kinds of challenge that these examples allow: all for images, within-class spread for the rest."""
    return KINDS if split.features.ndim == 4 else (SPREAD,)


def _kinds(kinds: Sequence[str] | None, split: Split) -> tuple[str, ...]:
    chosen = KINDS if kinds is None else (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in chosen:
        if kind not in KINDS:
            raise UsageError(f"kinds holds {kind!r}{nearest(str(kind), KINDS)}; choose from {', '.join(KINDS)}")
    if not chosen:
        raise UsageError(f"kinds is empty; choose from {', '.join(KINDS)}")
    if out := [kind for kind in chosen if kind not in applicable(split)]:
        raise UsageError(
            f"{', '.join(out)}: not applicable, since the examples have shape {split.features.shape[1:]} and are no "
            f"images (height, width, channels); give kinds=({SPREAD!r},)"
        )
    return tuple(kind for kind in KINDS if kind in chosen)


def _right(model: FittedModel, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return model.scores(features).argmax(axis=1) == labels


def chunks(split: Split, seed: int, rows: np.ndarray | None = None) -> Iterator[tuple[slice, Chunk]]:
    """Yield images with all that changes need, some at a time; ``rows`` chooses among the split's (None: all)."""
    assert split.labels is not None
    generator = np.random.default_rng(np.random.SeedSequence([seed, 13]))
    corners = generator.random((len(split), 2))
    others = _others(split.labels, generator)
    limits = _limits(split)
    rows = np.arange(len(split)) if rows is None else rows
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        yield (
            slice(start, start + len(part)),
            Chunk(np.asarray(split.features[part]), corners[part], np.asarray(split.features[others[part]]), limits),
        )


def _limits(split: Split) -> tuple[float, float]:
    """The least and largest pixel values that a change may reach."""
    if split.features.dtype == np.uint8:
        return 0.0, 255.0
    ends = [(float(part.min()), float(part.max())) for _, part in split.chunks()]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _others(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """For each example the place of another one: each of another class alike, or any where there is one class only."""
    count = len(labels)
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(sizes) == 1:
        return generator.integers(count, size=count)
    own, begin = sizes[classes], (np.cumsum(sizes) - sizes)[classes]
    drawn = generator.integers(count - own)
    # Sorted by class, each class is one block: what is drawn at or behind the own one lies its length further on.
    return np.argsort(labels, kind="stable")[drawn + np.where(drawn >= begin, own, 0)]


def _changed(
    model: FittedModel,
    split: Split,
    kinds: Sequence[str],
    right: np.ndarray,
    seed: int,
    tell: Callable[[str], None] | None,
) -> list[Challenge]:
    assert split.labels is not None
    listed = [change for change in distinct(*split.features.shape[1:3]) if change.kind in kinds]
    after = np.zeros((len(listed), len(split)), bool)
    for place, chunk in chunks(split, seed):
        for row, change in enumerate(listed):
            after[row, place] = _right(model, change.apply(chunk), split.labels[place])
            if tell is not None:
                share = (place.start + (row + 1) / len(listed) * (place.stop - place.start)) / len(split)
                tell(f"changed images scored: {share:.0%}")
    found = []
    for change, now in zip(listed, after, strict=True):
        result, p = Accuracy(int(now.sum()), len(split)), mcnemar(right, now)
        lost, gained = int((right & ~now).sum()), int((now & ~right).sum())
        drop = float(right.mean()) - result.accuracy
        found.append(
            Challenge(change.kind, change.condition, change.strength, change.level, result, drop, lost, gained, p, p)
        )
    return found


def _spread(split: Split, right: np.ndarray) -> list[Challenge]:
    from scipy.stats import fisher_exact  # a second to import

    third, found = terciles(split), []
    for level, name in enumerate(TERCILES, start=1):
        own = third == level - 1
        if not own.any():  # fewer than three examples of each class
            continue
        a, b = int((right & own).sum()), int((right & ~own).sum())
        p = float(fisher_exact([[a, int(own.sum()) - a], [b, int((~own).sum()) - b]]).pvalue)
        result = Accuracy(a, int(own.sum()))
        drop = float(right.mean()) - result.accuracy
        found.append(Challenge(SPREAD, "from class mean", name, level, result, drop, 0, 0, p, p))
    return found


def _notes(split: Split, kinds: Sequence[str]) -> tuple[str, ...]:
    assert split.labels is not None
    notes = []
    if "clutter" in kinds and (split.labels == split.labels[0]).all():
        notes.append("clutter: all examples are of one class, so the corners are from that class")
    if set(kinds) & set(IMAGE_KINDS) and min(split.features.shape[1:3]) < 16:
        height, width = split.features.shape[1:3]
        left = Counter((change.kind, change.condition) for change in distinct(height, width))
        for kind, condition in dict.fromkeys((change.kind, change.condition) for change in changes(height, width)):
            if kind in kinds and (number := left[kind, condition]) < 3:
                notes.append(
                    f"{kind}, {condition}: {number} of 3 strengths shown; on {height} × {width} pixels the others are "
                    "the same or change nothing"
                )
        notes.append(f"the images are {height} × {width} pixels: a shift of one is a large part of them")
    return tuple(notes)

"""Are examples of the training split in the validation or test split too?"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np

from thalweg.data import Dataset, Split
from thalweg.diagnostics.base import Check, Need
from thalweg.diagnostics.case import Case
from thalweg.diagnostics.rows import named, raw_rows, subsample
from thalweg.findings import Finding, Severity
from thalweg.neighbors import NearestNeighbors
from thalweg.statistics import wilson

__all__ = ["Leakage", "Training", "Twins", "find_twins"]

_MOST_TRAIN, _MOST_HELD = 10_000, 500
_SHOWN = 200  # training examples whose neighbours are compared feature by feature
_FEWEST = 40  # training examples, below which ten neighbours are no neighbourhood
_NEIGHBOURS = 10
_CHANCE = 1e-3  # of so many examples the nearest may be so near by chance
_DOUBT = 3.0  # times as many, since d is not the same everywhere
_LARGEST = 0.4  # of the distance to the tenth neighbour; beyond that nobody would call it the same example
_SHARED = 3  # times in training: a value so frequent is shared, and its next copy is one more of many
_HANDFUL = 5  # shared values: fewer are blank images, imputed rows and the like
_COARSE = 4  # neighbours that differ in so few features are neighbours on a grid


class Leakage(Check):
    """Held-out examples that are in the training split too: the same, nearly the same, or mirrored.

    A held-out example is a twin where its nearest training example is at most r times as far as its tenth nearest.
    For points spread evenly in d dimensions (d1 / d10)^d is Beta(1, 9), so r = (10⁻³ / 9)^(1/d) makes one in a
    thousand a twin by chance; it is 0.4 at most. d is estimated from the training examples' own neighbours, by the
    median of d3 / d10 (Levina and Bickel 2005; the nearest two may be twins themselves). Images are also mirrored.
    ``value`` is the share of twins less that among the training examples themselves (Wilson's bounds at 95 %, the
    lower less the upper), since small classes have near neighbours too; at least the share of exact copies, unless
    neighbours differ in at most four features of few values: in such tables equal examples are natural. A value that
    three training examples or more have (a blank image, a row of imputed means) counts as one copy, however often
    it is held out, and as none where there are fewer than five such values. Distances are
    Euclidean, in pixels, or in columns each divided by its spread. All exact copies are counted; of near ones those
    among 10,000 training and 500 held-out examples of each split. Near twins must also be more than three times what
    chance explains (binomial, one-sided 1 %). Near copies made before the data were split are not told from
    neighbours that are near by nature.

    Threshold: 0.01: one example in a hundred shifts an accuracy by as much, at most. In clean data of the corpus with
    seed 0 the share stays below it. Barz and Denzler 2020 found 3 and 10 % in CIFAR-10's and CIFAR-100's test splits.
    """

    code: ClassVar[str] = "DA03"
    title: ClassVar[str] = "training examples in a held-out split"
    severity: ClassVar[Severity] = "error"
    remedy: ClassVar[str] = (
        "leave the twins out of one split, or split by what they share (the person, the scene, the day)"
    )
    threshold: ClassVar[float] = 0.01
    unit: ClassVar[str] = "share of held-out examples"
    needs: ClassVar[tuple[Need, ...]] = ("data",)

    def look(self, case: Case) -> Finding:
        data = case.data
        assert data is not None
        splits = [name for name, _ in data.splits()[1:]]
        if not splits:
            return self.not_applicable("there is no held-out split")
        if len(data.train) < _FEWEST:
            return self.not_applicable(f"{len(data.train)} training examples are too few to say what is near")
        training = Training.of(data)
        found = [find_twins(data, name, training) for name in splits]
        worst = max(found, key=lambda twins: twins.excess)
        evidence = "; ".join(twins.sentence(data) for twins in found)
        return self.judged(any(t.excess > self.threshold and t.certain for t in found), evidence, worst.excess)


class Twins(NamedTuple):
    """What is found of one held-out split."""

    split: str
    twins: int
    looked_at: int
    expected: float  # the share that is to be expected without leakage
    sampled: int  # training examples that say so
    coarse: bool  # whether equal examples are natural
    examples: int  # of the split
    exact: int  # copies to the last bit, among all of these
    repeats: int  # of values that training has many times: no copies
    pair: tuple[int, int] | None  # held-out row, training row

    @property
    def excess(self) -> float:
        """The share of twins beyond what is to be expected, the doubt about that subtracted; at least the copies'."""
        share = self.twins / self.looked_at
        if self.expected:
            most = wilson(round(self.expected * self.sampled), self.sampled)[1]
            share = max(0.0, wilson(self.twins, self.looked_at)[0] - most)
        return max(share, 0.0 if self.coarse else self.exact / self.examples)

    @property
    def certain(self) -> bool:
        """Whether so many twins are no chance: two copies to the last bit, or more near ones than chance would make."""
        from scipy.stats import binom  # a second to import, and only needed here

        if self.coarse or self.exact >= 2:
            return True
        return bool(binom.sf(self.twins - 1, self.looked_at, max(self.expected, _DOUBT * _CHANCE)) < 0.01)

    def sentence(self, data: Dataset) -> str:
        text = f"of {self.looked_at:,} {self.split} examples {self.twins} have a twin in training, {self.exact} exact"
        if self.expected:
            text += f" ({self.expected:.1%} of the training examples have one among themselves, by the same measure)"
        if self.repeats:
            text += f", and {self.repeats} more repeat values that training has {_SHARED} times or more"
        if self.pair is not None:
            text += f", first {named(data, self.split, self.pair[0])} and {named(data, 'train', self.pair[1])}"
        return text


class Training(NamedTuple):
    """The training examples that others are compared with, and what is near among them."""

    places: np.ndarray  # of the rows in the training split
    neighbors: NearestNeighbors
    radius: float
    expected: float
    sampled: int
    coarse: bool

    @classmethod
    def of(cls, data: Dataset) -> Training:
        places = subsample(len(data.train), _MOST_TRAIN)
        rows = raw_rows(data, "train", places)
        index = NearestNeighbors("l2", "float32").fit(rows)
        asked = subsample(len(rows), _MOST_HELD)
        far, near = _others(*index.search(rows[asked], _NEIGHBOURS + 1), asked)
        radius = _radius(far)
        coarse = _coarse(rows, asked[:_SHOWN], near[:_SHOWN], far[:_SHOWN])
        # Small classes far from others make near neighbours that are no copies; equal examples are another matter.
        expected = float(np.mean(_twins(far, radius) & (coarse | (far[:, 0] > 0))))
        return cls(places, index, radius, expected, len(asked), coarse)


def find_twins(data: Dataset, split: str, training: Training) -> Twins:
    """Look for training examples in one held-out split."""
    exact, repeats = _exact(data, split)
    count = len(dict(data.splits())[split])
    asked = subsample(count, _MOST_HELD)
    queries = raw_rows(data, split, asked)
    far, near = training.neighbors.search(queries, _NEIGHBOURS)
    varied = far[:, -1] > 0  # ten equal neighbours are no twins but a value that many share
    twin, first = _twins(far, training.radius), near[:, 0]
    if data.is_image:
        images = queries.reshape(len(queries), *data.feature_shape)
        mirrored = np.ascontiguousarray(images[:, :, ::-1]).reshape(len(queries), -1)
        other_far, other_near = training.neighbors.search(mirrored, 1)
        flipped = (other_far[:, 0] <= training.radius * far[:, -1]) & varied & ~twin
        first = np.where(flipped, other_near[:, 0], first)
        twin |= flipped
    twin |= np.isin(asked, list(exact)) & varied
    twin &= ~np.isin(asked, list(repeats))
    pair = None
    if twin.any():
        place = int(np.argmax(twin))
        row = int(asked[place])
        pair = (row, exact[row] if row in exact else int(training.places[first[place]]))
    known = training.expected, training.sampled, training.coarse
    return Twins(split, int(twin.sum()), len(asked), *known, count, len(exact), len(repeats), pair)


def _exact(data: Dataset, split: str) -> tuple[dict[int, int], set[int]]:
    """Held-out row → a training row that is the same to the last bit; and the held-out rows that only repeat a value.

    Of a value that many training examples share, one held-out row counts, and none where such values are a handful.
    """
    known: dict[bytes, int] = {}
    often: Counter[bytes] = Counter()
    for number, digest in _digests(data.train):
        known.setdefault(digest, number)
        often[digest] += 1
    equal = {n: digest for n, digest in _digests(dict(data.splits())[split]) if digest in known}
    first = {digest: n for n, digest in reversed(equal.items()) if often[digest] >= _SHARED}
    counted = set(first.values()) if len(first) >= _HANDFUL else set()
    repeats = {n for n, digest in equal.items() if often[digest] >= _SHARED} - counted
    return {n: known[digest] for n, digest in equal.items() if n not in repeats}, repeats


def _digests(split: Split) -> Iterator[tuple[int, bytes]]:
    for start, rows in split.chunks():
        for place, row in enumerate(rows):
            yield start + place, hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest()


def _others(far: np.ndarray, near: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances and rows (n, 10) of the neighbours of training examples: each example itself left out."""
    itself = near == own[:, None]
    itself[~itself.any(axis=1), -1] = True
    return far[~itself].reshape(len(far), -1), near[~itself].reshape(len(far), -1)


def _radius(far: np.ndarray) -> float:
    """The largest ratio d1 / d10 that is unlikely by chance."""
    sound = far[far[:, 2] > 0]
    if not len(sound):
        return 0.0
    ratio = float(np.median(sound[:, 2] / sound[:, -1]))
    # (d3 / d10)^d is Beta(3, 7) with the median 0.286.
    dimensions = np.log(0.286) / np.log(min(ratio, 0.99))
    return float(min(_LARGEST, (_CHANCE / (_NEIGHBOURS - 1)) ** (1 / dimensions)))


def _twins(far: np.ndarray, radius: float) -> np.ndarray:
    return (far[:, 0] <= radius * far[:, -1]) & (far[:, -1] > 0)


def _coarse(train: np.ndarray, asked: np.ndarray, near: np.ndarray, far: np.ndarray) -> bool:
    """Whether neighbours lie on a grid: they differ in few features, and these take few values."""
    values = np.median([len(np.unique(column)) for column in train[asked].T])
    differ = (train[near] != train[asked][:, None]).sum(axis=2)  # (n, 10)
    nearest = np.where(far > 0, differ, train.shape[1]).min(axis=1)
    return bool(np.median(nearest) <= _COARSE and values <= len(asked) / 4)

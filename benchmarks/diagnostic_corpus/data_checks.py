"""Data that mislead, and data that only look as if: rare classes, wrong labels, the same example in two splits."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import LogisticRegression

import thalweg as tw
from thalweg.data import Dataset, Split, toy
from thalweg.data.splits import split_dataset
from thalweg.diagnostics import Case

from .search_checks import FRESH, TRAIN, TRIALS, VALIDATION, clusters, dataset, gaussians, log, space, sweep

__all__ = ["DA01_cases", "DA02_cases", "DA03_cases"]

Arrays = tuple[np.ndarray, np.ndarray]


def DA01_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    """Positive: two of four classes are rare, and balanced weights raise their recall on fresh examples by 15 points
    (scikit-learn's logistic regression with and without). Negative: they raise it by at most 5, since the classes lie
    far apart, or no class is rare, though one is hard.
    """
    found = []
    one = space(log(1e-2, 0.3))
    kinds = [("rare", 0.2 + 0.02 * i) for i in range(30)] + [("rare", 1.2 + 0.2 * i) for i in range(12)]
    for number, (kind, apart) in enumerate([*kinds, *[("hard", 0.6 + 0.1 * i) for i in range(12)]]):
        features, labels = _uneven(100 * seed + number, kind, apart)
        gain = _gain_by_weights(features, labels)
        trouble = kind == "rare" and gain >= 0.15
        if not whole and sum(label == trouble for label, _ in found) >= 20:
            continue
        if trouble or kind == "hard" or gain <= 0.05:
            data = dataset(features, labels, (VALIDATION, FRESH)[number % 2])
            run = sweep(one, data, seed=number, trials=TRIALS if whole else 4)
            found.append((trouble, Case(run, run.best, data)))
    return found


def _uneven(seed: int, kind: str, apart: float) -> Arrays:
    """Gaussian classes of which two have a tenth of the others' examples, or all are even and two lie close."""
    features, labels = gaussians(seed, apart=apart, count=6 * (TRAIN + VALIDATION + FRESH))
    if kind == "hard":
        features, labels = gaussians(seed, classes=5, apart=1.5, count=6 * (TRAIN + VALIDATION + FRESH))
        labels = np.where(labels == 4, np.random.default_rng(seed).integers(2, 4, len(labels)), labels)
        keep = np.random.default_rng(seed).random(len(labels)) < np.asarray([1, 1, 0.67, 0.67])[labels]
    else:
        keep = np.random.default_rng(seed).random(len(labels)) < np.asarray([1, 1, 0.1, 0.1])[labels]
    features, labels = features[keep], labels[keep].astype(np.int32)
    count = TRAIN + FRESH + VALIDATION
    ends = np.concatenate([np.flatnonzero(labels == k)[-2:] for k in range(4)])
    middle = np.concatenate([np.flatnonzero(labels == k)[:4] for k in range(4)])
    rest = np.setdiff1d(np.arange(len(labels)), np.r_[ends, middle])
    order = np.r_[middle, rest[: TRAIN - 8], middle[:0], rest[TRAIN - 8 : count - 16], ends]
    # Every split has every class: the first examples of each stand in training, the last in the test split.
    order = np.r_[order[:TRAIN], rest[count : count + 400][_one_each(labels[rest[count : count + 400]])], order[TRAIN:]]
    return features[order][:count], labels[order][:count].astype(np.int32)


def _one_each(labels: np.ndarray) -> np.ndarray:
    return np.asarray([int(np.flatnonzero(labels == k)[0]) for k in range(4)])


def _gain_by_weights(features: np.ndarray, labels: np.ndarray) -> float:
    """What balanced weights add to the mean recall of the two rare classes."""
    centre, spread = features[:TRAIN].mean(axis=0), features[:TRAIN].std(axis=0)
    x = (features - centre) / spread
    recalls = []
    for weights in (None, "balanced"):
        model = LogisticRegression(C=10, class_weight=weights, max_iter=500).fit(x[:TRAIN], labels[:TRAIN])
        right = model.predict(x[TRAIN:]) == labels[TRAIN:]
        recalls.append(np.mean([right[labels[TRAIN:] == k].mean() for k in (2, 3)]))
    return float(recalls[1] - recalls[0])


def DA02_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    """Positive: 5 to 10 % of the labels are changed to another class. Negative: the same data as they are, with
    classes that overlap and digits that are hard to tell apart.
    """
    found = []
    for number, (features, labels) in enumerate(_labelled(seed)):
        if not whole:
            features, labels = features[:800], labels[:800]
        generator = np.random.default_rng([seed, number])
        share = (0.05, 0.07, 0.1)[number % 3]
        wrong = generator.permutation(len(labels))[: round(share * len(labels))]
        changed = labels.copy()
        changed[wrong] = (changed[wrong] + generator.integers(1, labels.max() + 1, len(wrong))) % (labels.max() + 1)
        found += [(True, _case(features, changed, number)), (False, _case(features, labels, number))]
    return found


def _labelled(seed: int) -> list[Arrays]:
    digits = load_digits()
    images, names = digits.data.astype(np.float32), digits.target
    found = [_take(images, names, range(10), 1500, seed)]
    for kept in ((3, 5, 8, 9), (1, 8, 9), (4, 7, 9), (2, 3, 5, 8), (1, 2, 7), (0, 6, 8), (3, 8), (5, 9)):
        found.append(_take(images, names, kept, 1000, seed))
    cancer = load_breast_cancer()
    found.append(_take(cancer.data.astype(np.float32), cancer.target, (0, 1), 569, seed))
    for number, apart in enumerate((0.7, 0.9, 1.1, 1.3, 1.6, 2.0)):
        found.append(tuple(part[:1200] for part in gaussians(700 * seed + number, apart=apart)))
    for number in range(2):
        found.append(tuple(part[:1200] for part in clusters(800 * seed + number)))
        rings = toy.rings(1200, 3, 0.15 + 0.1 * number, 10 * seed + number).train
        xor = toy.xor(1200, 0.05 + 0.1 * number, 10 * seed + number).train
        found += [(rings.features, rings.labels), (xor.features, xor.labels)]
    return found


def _take(features: np.ndarray, labels: np.ndarray, kept: object, most: int, seed: int) -> Arrays:
    kept = list(kept)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(np.isin(labels, kept)))[:most]
    return features[rows], np.searchsorted(kept, labels[rows]).astype(np.int32)


def _case(features: np.ndarray, labels: np.ndarray, seed: int) -> Case:
    names = tuple(str(k) for k in range(int(labels.max()) + 1))
    whole = Dataset("made", "here", Split(features, labels.astype(np.int32)), names)
    return Case(_some_run(), None, split_dataset(whole, seed=seed))


@functools.cache
def _some_run() -> tw.Run:
    """These checks look at the data alone; a run there must be."""
    return sweep(space(log(1e-2, 0.3)), dataset(*gaussians(0)))


def DA03_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    """Positive: 3 to 10 % of the test examples are training examples too, as they are or changed a little. Negative:
    none is, though there are examples that repeat by nature, in tables of few values.
    """
    found = []
    for number, (features, changes) in enumerate(_tables(seed)):
        if not whole:
            features = features[:400]
        labels = (np.arange(len(features)) % 3).astype(np.int32)
        clean = _case(features, labels, number)
        found.append((False, clean))
        for place, change in enumerate(changes if whole else changes[:4]):
            found.append((True, _leaky(clean, change, 0.03 + 0.035 * (place % 3), seed)))
    return found


def _leaky(clean: Case, change: str, share: float, seed: int) -> Case:
    data = clean.data
    generator = np.random.default_rng([seed, 7])
    test, train = np.array(data.test.features), data.train.features
    count = max(3, round(share * len(test)))
    rows, sources = generator.permutation(len(test))[:count], generator.permutation(len(train))[:count]
    taken = train[sources].astype(np.float32)
    if change == "mirrored":
        taken = taken[:, :, ::-1]
    elif change == "noise":
        taken = taken + 0.1 * train.std(axis=0)[None] * generator.normal(size=taken.shape)
    elif change == "coded":  # as a lossy format would: coarser steps of brightness, and a shift of all
        taken = np.round((taken + 2) / 8) * 8
    elif change == "brighter":
        taken = taken * 1.05 + 2
    if test.dtype == np.uint8:
        taken = np.clip(np.round(taken), 0, 255)
    test[rows] = taken.astype(test.dtype)
    return dataclasses.replace(clean, data=dataclasses.replace(data, test=Split(test, data.test.labels)))


def _tables(seed: int) -> list[tuple[np.ndarray, tuple[str, ...]]]:
    generator = np.random.default_rng([seed, 11])
    digits = np.random.default_rng(seed).permutation(load_digits().images)[:1000]
    pictures = (digits[..., None] * 15).astype(np.uint8)
    found = [(pictures, ("exact", "mirrored", "noise", "coded", "brighter"))]
    found += [(_scenes(generator), ("exact", "mirrored", "noise", "coded", "brighter")) for _ in range(2)]
    for source in (load_breast_cancer(), load_wine()):
        found.append((generator.permutation(source.data).astype(np.float32), ("exact", "noise")))
    for number in range(2):
        found.append((gaussians(900 * seed + number)[0][:900], ("exact", "noise")))
    for name in ("rings", "xor", "modes"):
        found.append((getattr(toy, name)(900, seed=seed).train.features, ("exact",)))
    for columns, values in ((4, 4), (6, 3), (5, 6), (8, 2), (3, 20)):  # coarse tables: equal rows are natural
        found.append((generator.integers(0, values, (900, columns)).astype(np.float32), ()))
    skewed = np.minimum(generator.geometric(0.4, (900, 7)), 6).astype(np.float32)
    found.append((skewed, ()))
    codes = np.eye(4, dtype=np.float32)[generator.integers(0, 4, (900, 5))].reshape(900, 20)  # categories, one-hot
    found.append((codes, ()))
    measured = np.round(gaussians(950 * seed, apart=2.0)[0][:900, :4], 1)  # one decimal, as of irises
    found.append((measured, ()))
    mixed = np.concatenate([generator.integers(0, 3, (900, 6)), np.round(generator.normal(size=(900, 2)))], 1)
    found.append((mixed.astype(np.float32), ()))
    for number in range(3):
        found.append((toy.polynomial(900, 3 + number, seed=seed).train.features, ()))
        found.append((clusters(990 * seed + number)[0][:900], ()))
    return found


def _scenes(generator: np.random.Generator) -> np.ndarray:
    """Smooth colour images (600, 12, 12, 3): a few waves each, with their own light."""
    grid = np.stack(np.meshgrid(np.arange(12), np.arange(12), indexing="ij"), axis=-1) / 12
    waves, phases = generator.normal(0, 6, (600, 6, 2)), generator.uniform(0, 6.3, (600, 6, 1, 1))
    colours = generator.normal(0, 1, (600, 6, 3))
    shapes = np.sin(np.einsum("nkd,hwd->nkhw", waves, grid) + phases)
    light = 128 + 20 * generator.normal(size=(600, 1, 1, 3))
    return np.clip(light + 22 * np.einsum("nkhw,nkc->nhwc", shapes, colours), 0, 255).astype(np.uint8)

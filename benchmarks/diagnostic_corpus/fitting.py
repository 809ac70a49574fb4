"""Runs that over-fit, under-fit or are penalised too strongly, and runs that are not.

Who is in trouble is told by fresh examples, thousands of which every set has in its test split, and by
siblings: the same training with stronger or weaker regularisation, or with a more flexible model. What lies
between the bounds below is left out.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

import thalweg as tw
from thalweg.data import Dataset, Split, toy
from thalweg.diagnostics import Case

from .trained import blobs, digits, embedded, train_cases

__all__ = ["FT01_cases", "FT02_cases", "FT05_cases"]

STRENGTHS = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 2.0)
GAIN = 1.25  # siblings have so much less loss on fresh examples: trouble
NO_GAIN = 1.05  # and so much: none
FLOOR = 0.01  # nats, added to both


class Family(NamedTuple):
    """Trainings that differ in strength, each also stopped early, and their loss on fresh examples."""

    cases: list[Case]
    strengths: tuple[float, ...]
    stopped: tuple[bool, ...]
    losses: np.ndarray  # (cases, fresh examples)
    learned: np.ndarray  # (cases,) their mean loss on the training examples


def FT01_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    """Over-fitted: with a stronger penalty or an earlier stop, a higher training loss goes with a quarter less on fresh
    examples. Stopped early, a trial has the best there is to its curve, whatever another recipe would do."""
    found: list[tuple[bool, Case]] = []
    for family in families(seed, whole):
        members = list(zip(family.strengths, family.stopped, family.learned, strict=True))
        for place, (own, stopped, learned) in enumerate(members):
            rivals = [
                i
                for i, (strength, early, loss) in enumerate(members)
                if (strength > own or (early and strength == own)) and loss > learned
            ]
            found += [(False, family.cases[place])] if stopped else _labelled(family, place, rivals)
    return found


def FT05_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    """Penalised too strongly: with a smaller strength the same training would have gained a quarter."""
    found: list[tuple[bool, Case]] = []
    for family in families(seed, whole):
        members = list(zip(family.strengths, family.stopped, strict=True))
        for place, (own, stopped) in enumerate(members):
            if own > 0 and not stopped:
                rivals = [i for i, (strength, early) in enumerate(members) if not early and strength < own]
                found += _labelled(family, place, rivals)
    return found


def FT02_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    """Under-fitted: too simple or too strongly penalised, and flexible models predict 8 points more of fresh examples
    than these do of those they were trained on.

    Not so: noise in the labels, a rate too low where a sound one does as well, over-fitting.
    """
    found: list[tuple[bool, Case]] = []
    free = None if whole else tw.penalties.L1(0.0)  # a penalty of nothing, so that all linear models share a program
    for data in _rule_data(seed):
        planned = [_linear(rate, 30, seed, free) for rate in (1e-2, 3e-2, 1e-1)]
        planned += [_linear(0.03, 30, seed, tw.penalties.L1(s)) for s in (1e-3, 0.05, 0.2)]
        linears = train_cases(planned, data)
        sound, strict = linears[:3], linears[3:]
        slow = train_cases([_linear(rate, 5, seed, free) for rate in (1e-6, 1e-5, 1e-4)], data)
        narrow = train_cases([_dense(1, rate, 30, seed) for rate in (0.01, 0.03, 0.1)], data)
        wide, stopped = (train_cases([_dense(32, 0.01, 30, seed)], data, patience=p)[0] for p in (None, 5))
        slow += train_cases([_dense(32, 1e-5, 5, seed)], data)
        best = max(_fresh(wide).accuracy, _fresh(stopped).accuracy, _neighbours(data))
        linear = max(_fresh(case).accuracy for case in sound)
        short = [(best - case.model.score(data.train).accuracy, case) for case in (*sound, *strict, *narrow)]
        found += [(less >= 0.08, case) for less, case in short if less >= 0.08 or less <= 0]
        # Slow where a linear model is too simple anyway has both troubles, which no label can tell.
        found += [(False, case) for case in (wide, stopped, *(slow if linear >= best - 0.02 else slow[-1:]))]
    return found


def _neighbours(data: Dataset) -> float:
    """The accuracy on fresh examples of nearest neighbours, which follow any rule."""
    assert data.test is not None
    return max(
        KNeighborsClassifier(count)
        .fit(data.train.features, data.train.labels)
        .score(data.test.features, data.test.labels)
        for count in (1, 5, 15)
    )


@functools.cache
def families(seed: int, whole: bool = True) -> list[Family]:
    """Every family of one seed: linear models and small networks, on few examples and on more."""
    few, more = (60, 300, 2000), (300, 300, 2000)
    sets = [
        blobs(few, apart=0.4, seed=10 * seed),
        blobs(few, apart=0.8, seed=10 * seed + 1),
        blobs(few, apart=0.4, noise=0.3, seed=10 * seed + 2),
        blobs(few, apart=1.2, noise=0.1, seed=10 * seed + 3),
        digits((60, 300, 340), 4, pooled=True, seed=seed),
        digits((60, 300, 340), 4, pooled=True, noise=0.2, seed=seed),
    ]
    large = [
        blobs(more, apart=0.4, seed=10 * seed + 4),
        blobs(more, apart=0.7, noise=0.2, seed=10 * seed + 5),
    ]
    linear, dense = tw.models.Linear(), tw.models.Dense((32,))
    if not whole:
        sets += [blobs(few, apart=0.6, noise=0.1 * i, seed=10 * seed + 4 + i) for i in (1, 2)]
        found = [_family(data, linear, tw.penalties.L2, 60, seed) for data in sets]
        return found + [_family(data, dense, tw.penalties.L2, 40, seed) for data in (sets[0], *sets[3:5])]
    found = [_family(data, linear, tw.penalties.L2, 60, seed) for data in (*sets, *large)]
    found += [_family(data, linear, tw.penalties.L1, 60, seed) for data in sets[1:4:2]]
    return found + [_family(data, dense, tw.penalties.L2, 40, seed) for data in (sets[0], *sets[3:5])]


def _family(data: Dataset, model: Any, penalty: Any, epochs: int, seed: int) -> Family:
    def recipe(strength: float) -> tw.Recipe:
        return tw.Recipe(
            model=model, penalty=penalty(strength), optimizer=tw.optimizers.Adam(0.03), batch_size=20, epochs=epochs,
            seed=seed,
        )  # fmt: skip

    recipes = [recipe(strength) for strength in STRENGTHS]
    cases = [*train_cases(recipes, data), *train_cases(recipes, data, patience=4)]
    losses = np.stack([_fresh_losses(case) for case in cases])
    learned = np.array([case.model.score(data.train).loss for case in cases])
    count = len(STRENGTHS)
    return Family(cases, STRENGTHS * 2, (False,) * count + (True,) * count, losses, learned)


def _fresh(case: Case) -> Any:
    assert case.model is not None
    assert case.data is not None
    assert case.data.test is not None
    return case.model.score(case.data.test)


def _fresh_losses(case: Case) -> np.ndarray:
    assert case.model is not None
    assert case.data is not None
    assert case.data.test is not None
    scores = jnp.asarray(case.model.scores(case.data.test.features))
    return np.asarray(case.model.recipe.loss(scores, jnp.asarray(case.data.test.labels)), np.float64)


def _labelled(family: Family, place: int, rivals: Sequence[int]) -> list[tuple[bool, Case]]:
    """Label a case by the best of its rivals, or leave it out where the fresh examples do not tell."""
    own = family.losses[place]
    best = min((family.losses[i] for i in (*rivals, place)), key=np.mean)
    ratio = (own.mean() + FLOOR) / (best.mean() + FLOOR)
    if ratio <= NO_GAIN:
        return [(False, family.cases[place])]
    error = (own - best).std(ddof=1) / np.sqrt(len(own))
    return [(True, family.cases[place])] if ratio >= GAIN and own.mean() - best.mean() > 3 * error else []


def _rule_data(seed: int) -> list[Dataset]:
    """Sets of 200 examples, 16 features, four classes: a rule that no line follows, or one that lines do, with noise
    and without."""
    sizes, total = (200, 200, 1000), 1400
    more = {"beside": 0.05, "seed": seed}
    return [
        embedded(toy.rings(total, classes=4, seed=seed), sizes, **more),
        embedded(_two_xor(total, seed), sizes, **more),
        digits((200, 200, 300), 4, pooled=True, seed=seed),
        blobs(sizes, apart=0.4, noise=0.3, seed=10 * seed + 7),
        blobs(sizes, apart=1.0, noise=0.2, seed=10 * seed + 8),
    ]


def _two_xor(count: int, seed: int) -> Dataset:
    """Two pairs of coordinates, uniform on [−1, 1]: the signs of the two products are the class."""
    points = np.random.default_rng([seed, 4]).uniform(-1, 1, (count, 4))
    labels = 2 * (points[:, 0] * points[:, 1] > 0) + (points[:, 2] * points[:, 3] > 0)
    return Dataset("two XORs", "", Split(points.astype(np.float32), labels.astype(np.int32)), ("a", "b", "c", "d"))


def _linear(rate: float, epochs: int, seed: int, penalty: Any = None) -> tw.Recipe:
    return tw.Recipe(
        penalty=tw.penalties.NoPenalty() if penalty is None else penalty,
        optimizer=tw.optimizers.Adam(rate),
        batch_size=20,
        epochs=epochs,
        seed=seed,
    )


def _dense(hidden: int, rate: float, epochs: int, seed: int) -> tw.Recipe:
    return tw.Recipe(
        model=tw.models.Dense((hidden,), activation="tanh"),
        optimizer=tw.optimizers.Adam(rate),
        batch_size=20,
        epochs=epochs,
        seed=seed,
    )

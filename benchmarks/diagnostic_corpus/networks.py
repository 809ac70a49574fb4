"""Networks with dead units, gradients that do not come through, steps that are mostly noise; and sound ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

import thalweg as tw
from thalweg.data import Dataset
from thalweg.diagnostics import Case

from .trained import blobs, digits, train_cases

__all__ = ["NN01_cases", "NN02_cases", "NN03_cases", "dead_share"]

SIZES = (200, 200, 300)


def NN01_cases(seed: int = 1) -> list[tuple[bool, Case]]:
    """Dead: trained at rates far too high, or on features far off centre, and half of a layer or more gives 0 always.

    Not so: sound rates, wide and deep, with noise in the labels, and at most three tenths of a layer do. The share is
    worked out in NumPy.
    """
    found: list[tuple[bool, Case]] = []
    sgd, adam = tw.optimizers.SGD, tw.optimizers.Adam
    for data in _sets(seed):
        for hidden, optimizers, dead in (
            ((32,), [sgd(rate, 0.9) for rate in (0.5, 1.0, 2.0, 4.0)], True),
            ((24, 24), [adam(rate) for rate in (0.3, 0.6, 1.0, 2.0)], True),
            ((32,), [sgd(rate, 0.9) for rate in (1e-3, 3e-3, 0.01, 0.03)], False),
            ((24, 24), [adam(rate) for rate in (1e-4, 1e-3, 3e-3, 0.01)], False),
        ):
            cases = train_cases([_recipe(hidden, optimizer, seed) for optimizer in optimizers], data)
            found += [(dead, case) for case in cases if (_share(case) >= 0.5 if dead else _share(case) <= 0.3)]
        off = dataclasses.replace(data, train=_shifted(data.train), validation=_shifted(data.validation))
        rates = (1e-3, 3e-3, 0.01, 0.03)
        cases = train_cases([_recipe((32,), sgd(rate, 0.9), seed) for rate in rates], off, preprocessing=None)
        found += [(True, case) for case in cases if _share(case) >= 0.5]
    return found


def NN02_cases(seed: int = 1) -> list[tuple[bool, Case]]:
    """Hidden weights drawn far too small or too large, or sigmoids in a row: fresh examples fare 15 points worse.

    Worse than with the best start of the same depth, that is. Not so: ordinary draws, within 6 points of it; and too
    low a rate, which learns as little.
    """
    found: list[tuple[bool, Case]] = []
    sgd, adam = tw.optimizers.SGD, tw.optimizers.Adam
    for data in _sets(seed)[:3]:
        cases: list[tuple[bool, Case]] = []
        wild = [_recipe((16,) * 6, adam(rate), seed, scale=4.0) for rate in (0.01, 0.03, 0.1, 0.1, 0.1)]
        for activation, depth, optimizer, scales in (
            ("relu", 6, adam(3e-3), (0.05, 0.8, 1.0, 1.2, 4.0)),
            ("tanh", 6, adam(3e-3), (0.05, 0.1, 0.8, 1.0, 1.3)),
            ("sigmoid", 5, sgd(0.1), (0.3, 0.7, 1.0, 1.5, 1.8)),
        ):
            draw = {"activation": activation, "initialisation": "he" if activation == "relu" else "xavier"}
            recipes = [_recipe((16,) * depth, optimizer, seed, scale=scale, **draw) for scale in scales]
            strange = [activation == "sigmoid" or not 0.5 < scale < 1.5 for scale in scales]
            cases += zip(strange, train_cases(recipes, data), strict=True)
        cases += [(True, case) for case in train_cases(wild, data)[:2]]
        best = max(_fresh_accuracy(case) for _, case in cases)
        for strange, case in cases:
            worse = best - _fresh_accuracy(case)
            if (strange and worse >= 0.15) or (not strange and worse <= 0.06):
                found.append((strange, case))
        slow = [_recipe((16,) * 6, adam(1e-5), seed, scale=scale) for scale in (0.8, 0.9, 1.0, 1.1, 1.2)]
        found += [(False, case) for case in train_cases(slow, data)[1:4]]
    return found


def NN03_cases(seed: int = 1) -> list[tuple[bool, Case]]:
    """Small batches at a high constant rate: the same training with a rate that falls to 0 has less loss by a sixth,
    on training and on fresh examples.

    Not so: no more than 3 % less. Among them rates that fall, batches of a fifth of the examples at the high rate, and
    rates too low to have arrived.
    """
    found: list[tuple[bool, Case]] = []
    linear, sgd, adam = tw.models.Linear(), tw.optimizers.SGD, tw.optimizers.Adam
    for data in _noisy_sets(seed):
        for model, optimizer, rates in (
            (linear, sgd, (0.1, 1.0, 1.5, 2.5)),
            (linear, adam, (0.01, 0.2, 0.3, 0.5)),
            (tw.models.Dense((8,)), sgd, (1e-3, 0.01, 0.4, 0.8)),
        ):
            steady = train_cases([_constant(model, optimizer(rate), seed) for rate in rates], data)
            falling = train_cases(
                [_constant(model, optimizer(tw.schedules.Cosine(rate)), seed) for rate in rates], data
            )
            for one, other in zip(steady, falling, strict=True):
                gains = [_loss(one, name) / _loss(other, name) for name in ("train", "test")]
                if min(gains) >= 1.2 or max(gains) <= 1.03:
                    found.append((min(gains) >= 1.2, one))
            found.append((False, falling[2]))
        large = [_constant(linear, sgd(rate), seed, batch=40) for rate in (0.1, 0.3, 0.6, 1.0)]
        found += [(False, case) for case in train_cases(large, data)[2:]]
    return found


def dead_share(case: Case) -> float:
    """Return the largest share of a layer's units that are 0 for all training and validation examples, in NumPy."""
    assert case.model is not None
    x = np.concatenate([case.inputs[name][0].reshape(-1, 16) for name in ("train", "validation")]).astype(np.float64)
    worst = 0.0
    for place in range(1, len(case.model.recipe.model.hidden) + 1):
        layer = case.model.params[f"layer_{place}"]
        x = np.maximum(x @ np.asarray(layer["weight"], np.float64).T + layer["bias"], 0)
        worst = max(worst, float((x == 0).all(axis=0).mean()))
    return worst


def _share(case: Case) -> float:
    return dead_share(case) if case.model is not None else 0.4  # diverged: neither


def _sets(seed: int) -> list[Dataset]:
    return [
        digits(SIZES, 4, pooled=True, seed=seed),
        blobs(SIZES, apart=0.8, seed=10 * seed),
        blobs(SIZES, apart=1.0, noise=0.2, seed=10 * seed + 1),
        blobs(SIZES, apart=1.2, seed=10 * seed + 5),
    ]


def _noisy_sets(seed: int) -> list[Dataset]:
    sizes = (200, 200, 1000)
    return [
        blobs(sizes, features=8, apart=0.5, noise=0.1, seed=10 * seed + 2),
        blobs(sizes, features=8, apart=0.8, noise=0.2, seed=10 * seed + 3),
        blobs(sizes, features=8, apart=0.4, seed=10 * seed + 4),
        blobs(sizes, features=8, apart=0.6, noise=0.3, seed=10 * seed + 6),
    ]


def _shifted(split: Any) -> Any:
    """The same examples, far from the origin."""
    return dataclasses.replace(split, features=split.features + np.float32(6))


def _recipe(hidden: Sequence[int], optimizer: Any, seed: int, **model: Any) -> tw.Recipe:
    return tw.Recipe(
        model=tw.models.Dense(tuple(hidden), **model), optimizer=optimizer, batch_size=20, epochs=30, seed=seed
    )


def _constant(model: Any, optimizer: Any, seed: int, batch: int = 4) -> tw.Recipe:
    return tw.Recipe(model=model, optimizer=optimizer, batch_size=batch, epochs=15, seed=seed)


def _fresh_accuracy(case: Case) -> float:
    assert case.data is not None
    assert case.data.test is not None
    return case.model.score(case.data.test).accuracy if case.model is not None else 0.0


def _loss(case: Case, name: str) -> float:
    assert case.data is not None
    split = dict(case.data.splits())[name]
    return case.model.score(split).loss if case.model is not None else np.inf

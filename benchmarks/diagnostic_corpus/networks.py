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


def NN01_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    """Dead: trained at rates far too high, or on features far off centre, and half of a layer or more gives 0 always.

    Not so: sound rates, wide and deep, with noise in the labels, and at most three tenths of a layer do. The share is
    worked out in NumPy.
    """
    found: list[tuple[bool, Case]] = []
    sgd, adam = tw.optimizers.SGD, tw.optimizers.Adam
    epochs = 30 if whole else 12
    for data in _sets(seed):
        for hidden, optimizers in (
            ((32,), [sgd(rate, 0.9) for rate in (0.5, 1.0, 2.0, 4.0, 1e-3, 3e-3, 0.01, 0.03)]),
            ((24, 24), [adam(rate) for rate in (0.3, 0.6, 1.0, 2.0, 1e-4, 1e-3, 3e-3, 0.01)]),
        ):
            cases = train_cases([_recipe(hidden, one, seed, epochs) for one in optimizers], data)
            found += [(True, case) for case in cases[:4] if _share(case) >= 0.5]
            found += [(False, case) for case in cases[4:] if _share(case) <= 0.3]
        off = dataclasses.replace(data, train=_shifted(data.train), validation=_shifted(data.validation))
        rates = (1e-3, 3e-3, 0.01, 0.03)
        cases = train_cases([_recipe((32,), sgd(rate, 0.9), seed, epochs) for rate in rates], off, preprocessing=None)
        found += [(True, case) for case in cases if _share(case) >= 0.5]
    return found


def NN02_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    """Hidden weights drawn far too small or too large, or sigmoids in a row: fresh examples fare 15 points worse.

    Worse than with the best start of the same depth, that is. Not so: ordinary draws, within 6 points of it; and too
    low a rate, which learns as little.
    """
    found: list[tuple[bool, Case]] = []
    sgd, adam = tw.optimizers.SGD, tw.optimizers.Adam
    wild = [_recipe((16,) * 6, adam(rate), seed, scale=4.0) for rate in (0.01, 0.03)]
    slow = [_recipe((16,) * 6, adam(1e-5), seed, scale=scale) for scale in (0.9, 1.0, 1.1)]
    kinds = (
        ("relu", 6, adam(3e-3), (0.05, 0.8, 1.0, 1.2, 4.0)),
        ("sigmoid", 5, sgd(0.1), (0.3, 0.7, 1.0, 1.5, 1.8)),
        ("tanh", 6, adam(3e-3), (0.05, 0.1, 0.8, 1.0, 1.3)),
    )
    for data in _sets(seed)[:3] if whole else _sets(seed):
        cases: list[tuple[bool, Case]] = []
        patient: list[Case] = []
        for activation, depth, optimizer, scales in kinds if whole else kinds[:2]:
            draw = {"activation": activation, "initialisation": "he" if activation == "relu" else "xavier"}
            recipes = [_recipe((16,) * depth, optimizer, seed, scale=scale, **draw) for scale in scales]
            strange = [activation == "sigmoid" or not 0.5 < scale < 1.5 for scale in scales]
            more = [*wild, *slow] if activation == "relu" else []  # of the same structure: one program
            trained = train_cases([*recipes, *more], data)
            cases += zip([*strange, *(True for _ in more[:2])], trained[:7], strict=True)
            patient += trained[7:]
        best = max(_fresh_accuracy(case) for _, case in cases)
        for strange, case in cases:
            worse = best - _fresh_accuracy(case)
            if (strange and worse >= 0.15) or (not strange and worse <= 0.06):
                found.append((strange, case))
        found += [(False, case) for case in patient]
    return found


def NN03_cases(seed: int = 1, whole: bool = True) -> list[tuple[bool, Case]]:
    """Small batches at a high constant rate: the same training with a rate that falls to 0 has less loss by a sixth,
    on training and on fresh examples.

    Not so: no more than 3 % less. Among them rates that fall, batches of a fifth of the examples at the high rate, and
    rates too low to have arrived.
    """
    found: list[tuple[bool, Case]] = []
    linear, sgd, adam = tw.models.Linear(), tw.optimizers.SGD, tw.optimizers.Adam
    kinds = (
        (linear, sgd, (0.1, 1.0, 1.5, 2.5)),
        (linear, adam, (0.01, 0.2, 0.3, 0.5)),
        (tw.models.Dense((8,)), sgd, (1e-3, 0.01, 0.4, 0.8)),
    )
    for data in _noisy_sets(seed):
        for model, optimizer, rates in kinds if whole else kinds[:2]:
            planned = [optimizer(rate) for rate in (*rates, *map(tw.schedules.Cosine, rates))]
            cases = train_cases([_constant(model, one, seed) for one in planned], data)
            steady, falling = cases[: len(rates)], cases[len(rates) :]
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


def _recipe(hidden: Sequence[int], optimizer: Any, seed: int, epochs: int = 30, **model: Any) -> tw.Recipe:
    return tw.Recipe(
        model=tw.models.Dense(tuple(hidden), **model), optimizer=optimizer, batch_size=20, epochs=epochs, seed=seed
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

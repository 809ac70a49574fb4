"""A case with real data and weights but no training: digits, and a linear model by least squares."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from report_cases import made_run

import thalweg as tw
from thalweg.data import Preprocessing, Split
from thalweg.data.splits import split_dataset
from thalweg.diagnostics import Case

HOSTILE = ("</script><img src=x onerror=alert(1)>", "x" * 200, "$a_b$", "\udc80\n", " ", "a & b", '"', "<b>", "8", "9")


def least_squares(data: tw.Dataset, recipe: tw.Recipe) -> tw.FittedModel:
    """Weights by least squares on the classes' indicators: a model that errs now and then."""
    x = data.train.features.reshape(len(data.train), -1).astype(np.float64)
    x = np.hstack([x, np.ones((len(x), 1))])
    found = np.linalg.lstsq(x, 20 * np.eye(len(data.classes))[data.train.labels], rcond=None)[0].T
    params = {"weight": found[:, :-1].astype(np.float32), "bias": found[:, -1].astype(np.float32)}
    plain = Preprocessing("none", np.float32(0), np.float32(1))
    return tw.FittedModel(
        recipe, params, {}, plain, data.classes, data.feature_shape, data.train.features.dtype.name, data.feature_names
    )


def made_case(data: tw.Dataset, recipe: tw.Recipe | None = None, **changed: Any) -> Case:
    """Return a case of a run that selected the least squares model and scored it once; ``changed`` are the run's."""
    cut = split_dataset(data, seed=0)
    run = made_run(1, diverged=0, classes=data.classes)
    assert run.best is not None
    model = least_squares(cut, run.best.recipe if recipe is None else recipe)
    run = dataclasses.replace(run, **{"model": model, "test": model.score(cut.test), **changed})
    return Case(run, run.best, cut)


def digits(classes: tuple[str, ...] | None = None) -> tw.Dataset:
    data = tw.load("digits")
    return data if classes is None else dataclasses.replace(data, classes=classes)


def table(seed: int = 0) -> tw.Dataset:
    """240 examples of four features, the last constant, and three classes that overlap; one value far out."""
    generator = np.random.default_rng(seed)
    labels = np.arange(240, dtype=np.int32) % 3
    features = generator.normal(size=(240, 4)) + 1.5 * np.eye(3, 4)[labels]
    features[:, 3] = 7.0
    split = Split(features.astype(np.float32), labels)
    return tw.Dataset("table", "made", split, ("ant", "bee", "cat"), feature_names=("long", "wide", "heavy", "same"))

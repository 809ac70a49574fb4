"""A small problem that the engine's tests share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from thalweg.data.dataset import Split
from thalweg.data.preprocessing import fit_preprocessing
from thalweg.recipe import Recipe
from thalweg.training import Outcome, Settings, train
from thalweg.training.program import Inputs
from thalweg.training.train import examples_of


class Problem(NamedTuple):
    """Three overlapping classes in six dimensions, uneven in number and scale."""

    x: np.ndarray
    y: np.ndarray
    x_held: np.ndarray
    y_held: np.ndarray

    def train(
        self, recipes: list[Recipe], settings: Settings | None = None, *, judged: bool = True, **options: object
    ) -> Outcome:
        """Train without preprocessing; ``judged=False`` leaves the held examples out, which cost half of an epoch."""
        prepared = fit_preprocessing(self.x, "none")
        training = examples_of(Split(self.x, self.y), prepared)
        held = examples_of(Split(self.x_held, self.y_held), prepared) if judged else None
        return train(recipes, {None: Inputs(training, held)}, 3, settings or Settings(), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def problem() -> Problem:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 6))
    labels = generator.integers(0, 3, 150).astype(np.int32)
    x = (centres[labels] + generator.normal(size=(150, 6))) * np.linspace(0.5, 2, 6)
    x = x.astype(np.float32)
    return Problem(x[:110], labels[:110], x[110:], labels[110:])

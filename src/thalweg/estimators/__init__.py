"""scikit-learn estimators: Thalweg behind `fit`, `predict` and `score`.

They take arrays, data frames and (where said) sparse matrices, keep labels of
any kind, and work wherever scikit-learn's own classifiers do: pipelines, `clone`,
`cross_val_score`, `GridSearchCV`, `CalibratedClassifierCV`, metadata routing.
Each holds a `FittedModel` in ``model_`` after `fit`, so that
`artifacts.save_model(estimator.model_, path)` writes a model file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.estimators.neighbors import NearestNeighborsClassifier
    from thalweg.estimators.path import PathClassifier
    from thalweg.estimators.recipes import DenseClassifier, LinearClassifier, RecipeClassifier, of_recipe
    from thalweg.estimators.sweep import SweepClassifier

_HOMES = {
    "DenseClassifier": "recipes",
    "LinearClassifier": "recipes",
    "NearestNeighborsClassifier": "neighbors",
    "PathClassifier": "path",
    "RecipeClassifier": "recipes",
    "SweepClassifier": "sweep",
    "of_recipe": "recipes",
}

__all__ = [
    "DenseClassifier",
    "LinearClassifier",
    "NearestNeighborsClassifier",
    "PathClassifier",
    "RecipeClassifier",
    "SweepClassifier",
    "of_recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'thalweg.estimators' has no attribute {name!r}")
    return getattr(import_module(f"thalweg.estimators.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

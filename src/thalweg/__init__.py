"""Thalweg: every candidate linear classifier in one compiled program, the best chosen honestly.

>>> import thalweg as tw
>>> run = tw.sweep(None, "digits", trials=32)  # doctest: +SKIP
>>> run.best.recipe, run.test.accuracy, run.test.interval  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg import (
        artifacts,
        augmentation,
        averaging,
        data,
        diagnostics,
        elsewhere,
        features,
        gradients,
        landscapes,
        losses,
        models,
        neighbors,
        optimizers,
        paths,
        penalties,
        plot,
        report,
        schedules,
        search,
        selection,
        solvers,
        testing,
        tracking,
        training,
        views,
    )
    from thalweg.artifacts import load_model
    from thalweg.data import Dataset, Split, load
    from thalweg.defaults import default_space
    from thalweg.errors import DataError, DivergedError, ThalwegError, UsageError
    from thalweg.fitted import FittedModel
    from thalweg.gradients import gradcheck, gradgradcheck
    from thalweg.landscapes import race
    from thalweg.paths import PathSolution, path
    from thalweg.ranges import choice, integers, log_uniform, uniform
    from thalweg.recipe import Recipe
    from thalweg.recipe_files import load_recipe, save_recipe
    from thalweg.run import Run, Trial
    from thalweg.saved_run import load_run
    from thalweg.search import grid, sample
    from thalweg.sweeps import Interrupted, fit, sweep
    from thalweg.training import Halving

__version__ = "0.1.0"

# Where each public name lives. Names are fetched when first used: JAX alone takes longer to
# import than a command such as `thalweg --help` should take to run.
_HOMES = {
    "DataError": "errors",
    "Dataset": "data",
    "DivergedError": "errors",
    "FittedModel": "fitted",
    "Halving": "training",
    "Interrupted": "sweeps",
    "PathSolution": "paths",
    "Recipe": "recipe",
    "Run": "run",
    "Split": "data",
    "ThalwegError": "errors",
    "Trial": "run",
    "UsageError": "errors",
    "choice": "ranges",
    "default_space": "defaults",
    "fit": "sweeps",
    "gradcheck": "gradients",
    "gradgradcheck": "gradients",
    "grid": "search",
    "integers": "ranges",
    "load": "data",
    "load_model": "artifacts",
    "load_recipe": "recipe_files",
    "load_run": "saved_run",
    "log_uniform": "ranges",
    "path": "paths",
    "race": "landscapes",
    "sample": "search",
    "save_recipe": "recipe_files",
    "sweep": "sweeps",
    "uniform": "ranges",
}
_ROOMS = (
    "artifacts",
    "augmentation",
    "averaging",
    "data",
    "diagnostics",
    "elsewhere",
    "features",
    "gradients",
    "landscapes",
    "losses",
    "models",
    "neighbors",
    "optimizers",
    "paths",
    "penalties",
    "plot",
    "report",
    "schedules",
    "search",
    "selection",
    "solvers",
    "testing",
    "tracking",
    "training",
    "views",
)

__all__ = [
    "DataError",
    "Dataset",
    "DivergedError",
    "FittedModel",
    "Halving",
    "Interrupted",
    "PathSolution",
    "Recipe",
    "Run",
    "Split",
    "ThalwegError",
    "Trial",
    "UsageError",
    "artifacts",
    "augmentation",
    "averaging",
    "choice",
    "data",
    "default_space",
    "diagnostics",
    "elsewhere",
    "features",
    "fit",
    "gradcheck",
    "gradgradcheck",
    "gradients",
    "grid",
    "integers",
    "landscapes",
    "load",
    "load_model",
    "load_recipe",
    "load_run",
    "log_uniform",
    "losses",
    "models",
    "neighbors",
    "optimizers",
    "path",
    "paths",
    "penalties",
    "plot",
    "race",
    "report",
    "sample",
    "save_recipe",
    "schedules",
    "search",
    "selection",
    "solvers",
    "sweep",
    "testing",
    "tracking",
    "training",
    "uniform",
    "views",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"thalweg.{name}")
    if name in _HOMES:
        value = getattr(import_module(f"thalweg.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'thalweg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

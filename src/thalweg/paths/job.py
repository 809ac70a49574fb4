"""What is asked of a path, checked before any data is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.errors import UsageError, nearest
from thalweg.fields import check_integer, check_number
from thalweg.losses import Hinge, Softmax
from thalweg.paths.strengths import PENALTIES, read_strengths
from thalweg.paths.weightings import ClassWeight
from thalweg.penalties import L1, L2, ElasticNet, Penalty
from thalweg.recipe import FEATURES, as_features, check_part
from thalweg.recipe_files import encode
from thalweg.selection import check_rule
from thalweg.solvers.solve import check_solvable

__all__ = ["Job", "Loss"]

Loss = Softmax | Hinge

_BETA = 0.5  # the default, which says nothing about what was meant


@dataclass(frozen=True)
class Job:
    """The arguments of `path`, except data, example weights and progress."""

    losses: tuple[Loss, ...]
    penalty: str
    beta: float
    strengths: int | np.ndarray
    folds: int
    class_weights: tuple[ClassWeight, ...]
    selection: str
    tolerance: float | None
    iterations: int
    preprocessing: str | None
    test: float | None
    seed: int
    features: Any = None

    @classmethod
    def of(
        cls,
        *,
        loss: Any,
        penalty: Any,
        beta: Any,
        strengths: Any,
        folds: Any,
        class_weight: Any,
        selection: Any,
        tolerance: Any,
        iterations: Any,
        preprocessing: Any,
        test: Any,
        seed: Any,
        features: Any = None,
    ) -> Job:
        """Check what `path` was given, as far as that can be done without the data."""
        check_number("path", "beta", beta, above=0)
        if beta != _BETA and penalty in PENALTIES and penalty != "elastic_net":
            raise UsageError(
                f"beta is {beta!r}, which only the elastic net has: the penalty is {penalty}; leave it out"
            )
        if tolerance is not None:
            check_number("path", "tolerance", tolerance, above=0, below=1)
        check_integer("path", "iterations", iterations, least=1)
        check_integer("path", "seed", seed, least=0)
        check_rule(selection)
        job = cls(
            losses=_several(loss if loss is not None else Softmax(), _check_loss),
            penalty=_check_penalty(penalty),
            beta=beta,
            strengths=read_strengths(strengths),
            folds=_check_folds(folds),
            class_weights=_several(_named(class_weight), None),
            selection=selection,
            tolerance=tolerance,
            iterations=iterations,
            preprocessing=preprocessing,
            test=test,
            seed=seed,
            features=as_features(features),
        )
        check_part("features", job.features, FEATURES, "features.HOG()", optional=True)
        for one in job.losses:
            check_solvable(one, sparse=job.penalty != "l2")
        if job.folds == 0 and test:
            raise UsageError(
                f"test is {test!r}, but without folds nothing is chosen, so nothing is held out: leave it out"
            )
        return job

    @property
    def count(self) -> int:
        """How many strengths."""
        return self.strengths if isinstance(self.strengths, int) else len(self.strengths)

    @property
    def weightings(self) -> int:
        """How many weightings of the examples: all of them, and each fold left out, for every class weighting."""
        return len(self.class_weights) * (self.folds + 1)

    def penalty_of(self, strength: float) -> Penalty:
        if self.penalty == "l2":
            return L2(strength)
        return L1(strength) if self.penalty == "l1" else ElasticNet(strength, self.beta)

    def parts_of(self, strength: float) -> tuple[float, float]:
        """Return a strength's factors (ridge, lasso) of Σ W² and Σ |W|."""
        if self.penalty == "l2":
            return strength, 0.0
        return (0.0, strength) if self.penalty == "l1" else (strength * self.beta, strength)

    def settings(self) -> dict[str, Any]:
        """Return the job as it stands in a run folder, without what the data decides."""
        return {
            "losses": [loss.kind for loss in self.losses],
            "penalty": self.penalty,
            "beta": self.beta if self.penalty == "elastic_net" else None,
            "folds": self.folds,
            "class_weights": [
                {name: float(weight) for name, weight in value.items()} if isinstance(value, Mapping) else value
                for value in self.class_weights
            ],
            "selection": self.selection,
            "iterations": self.iterations,
            "preprocessing": self.preprocessing,
            "test": self.test,
            "seed": self.seed,
            "features": None if self.features is None else encode(self.features),
        }


def _several(value: Any, check: Callable[[Any], None] | None) -> tuple[Any, ...]:
    """Return a value, or each of several, as a tuple without repeats."""
    given = value if isinstance(value, (list, tuple)) else (value,)
    if not given:
        raise UsageError("path: an empty list leaves nothing to fit; give at least one")
    if check is not None:
        for one in given:
            check(one)
    return tuple(one for place, one in enumerate(given) if one not in given[:place])


def _named(value: Any) -> Any:
    """Name classes by text throughout: labels that are numbers are named so too."""
    if isinstance(value, Mapping):
        return {str(name): weight for name, weight in value.items()}
    return [_named(one) for one in value] if isinstance(value, (list, tuple)) else value


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, (Softmax, Hinge)) or getattr(loss, "smoothing", None):
        raise UsageError(
            f"loss is {loss!r}; a certified optimum needs losses.Softmax() without smoothing, or losses.Hinge(); "
            "sweep takes others"
        )


def _check_penalty(penalty: Any) -> str:
    if penalty not in PENALTIES:
        raise UsageError(
            f"penalty is {penalty!r}; it must be one of {', '.join(PENALTIES)}{nearest(str(penalty), PENALTIES)}"
        )
    return str(penalty)


def _check_folds(folds: Any) -> int:
    check_integer("path", "folds", folds, least=0)
    if folds == 1:
        raise UsageError("folds is 1, which would hold all examples out; give 2 or more, or 0 for no cross-validation")
    return int(folds)

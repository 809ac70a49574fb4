"""What a script is written for: a recipe, and what it needs to know of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import numpy as np

from thalweg.augmentation import FlipCrop
from thalweg.averaging import ExponentialAverage
from thalweg.data.preprocessing import KINDS
from thalweg.errors import UsageError
from thalweg.fields import check_integer, check_option, is_open
from thalweg.losses import Hinge, Softmax
from thalweg.models import Convolutional, Dense, Linear
from thalweg.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, RMSProp
from thalweg.penalties import L1, L2, ElasticNet, NoPenalty
from thalweg.recipe import FULL_BATCH, Recipe
from thalweg.search import dimensions
from thalweg.training.train import check_together

__all__ = ["Setting", "number", "refuse"]

# Subclasses are not among them: they are free to compute something else.
_KNOWN: dict[str, tuple[type, ...]] = {
    "model": (Linear, Dense, Convolutional),
    "loss": (Softmax, Hinge),
    "penalty": (NoPenalty, L2, L1, ElasticNet),
    "optimizer": (SGD, AdaGrad, RMSProp, Adam, AdamW, Lion),
    "features": (type(None),),
    "augmentation": (type(None), FlipCrop),
    "averaging": (type(None), ExponentialAverage),
}
_WHY = {
    "features": "features are computed by this package, before training: save what they make of the images "
    "(features.transform) and train on that without them",
    "optimizer": "known are SGD, AdaGrad, RMSProp, Adam, AdamW and Lion",
}


@dataclass(frozen=True)
class Setting:
    """A recipe with the data that it met.

    Arguments:
        recipe: with a value for every number.
        examples: how many it is trained on; the schedule's length follows from it.
        shape: of one example's features.
        classes: their names, in the order of the labels.
        preprocessing: a kind of `data.preprocessing`.
        uint8: whether features are images of bytes, which the kind "scale" divides by 255.
        epochs: how many are trained, where that is fewer than the recipe's (its
            schedule is unchanged), as after patience; None: all.
    """

    recipe: Recipe
    examples: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    preprocessing: str = "none"
    uint8: bool = False
    epochs: int | None = None

    def __post_init__(self) -> None:
        check_integer("code", "examples", self.examples, least=1)
        check_option("code", "preprocessing", self.preprocessing, KINDS)
        if found := dimensions(self.recipe):
            raise UsageError(f"the recipe leaves {found[0].name} open; code is written for one value of each")
        for role, known in _KNOWN.items():
            part = getattr(self.recipe, role)
            if type(part) not in known:
                reason = _WHY.get(role, f"known are {', '.join(cls.__name__ for cls in known)}")
                raise refuse(f"the recipe's {role} {_name(part)}", reason)
        model = self.recipe.model
        if isinstance(model, Convolutional) and model.pooling == "fractional" and len(model.blocks) > 1:
            raise refuse("fractional pooling", "take pooling 'max' or 'average'")
        check_together(self.recipe, self.shape)

    @property
    def batch(self) -> int:
        """Examples a step."""
        size = self.recipe.batch_size
        return self.examples if size == FULL_BATCH else min(size, self.examples)

    @property
    def normalises(self) -> bool:
        """Whether the model normalises over the batch."""
        model = self.recipe.model
        return bool(getattr(model, "batch_norm", False)) and bool(getattr(model, "hidden", True))

    @property
    def fills(self) -> bool:
        """Whether a short last batch is filled up, which what is normalised over the batch can see."""
        return self.normalises and self.examples % self.batch != 0

    @property
    def decays(self) -> Any:
        """The optimizer's own weight decay, or None."""
        decay = self.recipe.optimizer.weight_decay
        return None if decay is None or float(decay) == 0 else decay

    @property
    def proximal(self) -> bool:
        """Whether the penalty takes a proximal step."""
        return isinstance(self.recipe.penalty, (L1, ElasticNet))


def number(value: Any) -> str:
    """A number as Python text that reads back to the same double."""
    if is_open(value) or np.ndim(value) != 0:
        raise UsageError(f"{value!r} is no single number; code is written for one value of each")
    plain = value.item() if hasattr(value, "item") else value
    return repr(plain)


def refuse(part: str, reason: str) -> UsageError:
    """What cannot be said in another framework's code."""
    return UsageError(f"{part} cannot be written as code for another framework: {reason}")


def _name(part: Any) -> str:
    if isinstance(part, eqx.Module):
        return getattr(part, "name", None) or type(part).__name__
    return repr(part)

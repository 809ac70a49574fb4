"""The recipe: everything that a person chooses about one training, as one tree.

Numbers are leaves, so the recipes of many trials stack along a leading axis and
train in one program; kinds, sizes and the seed are static. Any number or part
may be a range or a choice (`thalweg.ranges`): then the recipe is a search space.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax

from thalweg.errors import UsageError
from thalweg.features import parse_features
from thalweg.fields import Number, check_integer, check_number, check_optional, is_open
from thalweg.losses import Softmax
from thalweg.models import Linear, as_model
from thalweg.optimizers import AdamW, as_optimizer
from thalweg.penalties import NoPenalty
from thalweg.ranges import Choice
from thalweg.schedules import Cosine, Warmup, bind_all

__all__ = ["FULL_BATCH", "Recipe", "bind"]

FULL_BATCH = "full"
AVERAGING = ("init", "update", "value")  # the methods of an average
FEATURES = ("fit", "transform", "check", "size", "state_shapes", "name")  # the methods of a features part
_LARGEST_SEED = 2**32 - 1  # JAX's keys take 32 bits of a seed: larger ones would repeat the smaller


class Recipe(eqx.Module):
    """One training: model, loss, penalty, optimizer with its schedule, sizes, seed.

    The loss that is minimised is the mean over examples of ``loss`` plus
    ``penalty`` of the weights (biases are never penalised).

    Arguments:
        model: a model of `thalweg.models`, or any pair ``(init, apply)`` of JAX functions.
        loss: `losses.Softmax` or `losses.Hinge`.
        penalty: one of `thalweg.penalties`; none by default.
        optimizer: one of `thalweg.optimizers`, or any Optax
            transformation of gradients (a line search needs the loss, which no step hands over). By
            default AdamW, learning rate 1e-3, warmed up over a twentieth of the
            run and then following a cosine to 0.
        features: what images become before the model meets them, such as
            ``features.HOG() + features.ColorHistogram()``; fitted on training
            images. None (default): the pixels.
        augmentation: what is done to a batch's images in training, such as
            ``augmentation.FlipCrop()``; None (default): nothing.
        clip: the largest norm of the whole gradient (smooth penalty included); a longer
            one is shortened to it. None (default): no such limit.
        averaging: an `averaging.ExponentialAverage` of the weights, which is then what
            is judged and kept; None (default): the last weights.
        batch_size: examples a step; ``"full"`` takes all of them (batch gradient
            descent); a number above the training set's size means the same.
        epochs: passes over the training examples.
        seed: fixes the initial weights and the order of the batches. Trials of
            one seed share both, which pairs their comparison.
    """

    model: Any = eqx.field(default_factory=Linear, converter=lambda value: _each(as_model, value))
    loss: Any = eqx.field(default_factory=Softmax)
    penalty: Any = eqx.field(default_factory=NoPenalty)
    optimizer: Any = eqx.field(
        default_factory=lambda: AdamW(Warmup(0.05, Cosine(1e-3), unit="run")),
        converter=lambda value: _each(as_optimizer, value),
    )
    features: Any = eqx.field(default=None, converter=lambda value: _each(as_features, value))
    augmentation: Any = None
    clip: Number | None = None
    averaging: Any = None
    batch_size: Any = eqx.field(static=True, default=256)
    epochs: Any = eqx.field(static=True, default=20)
    seed: Any = eqx.field(static=True, default=0)

    def __check_init__(self) -> None:
        check_part("loss", self.loss, ("__call__",), "losses.Softmax()")
        check_part("penalty", self.penalty, ("value", "prox"), "penalties.L2(1e-3)")
        check_part("features", self.features, FEATURES, "features.HOG()", optional=True)
        check_part("augmentation", self.augmentation, ("__call__", "check"), "augmentation.FlipCrop()", optional=True)
        check_part("averaging", self.averaging, AVERAGING, "averaging.ExponentialAverage()", optional=True)
        check_optional("recipe", "clip", self.clip, above=0)
        _check_batch_size(self.batch_size)
        check_integer("recipe", "epochs", self.epochs, least=1)
        check_integer("recipe", "seed", self.seed, least=0)
        check_number("recipe", "seed", self.seed, most=_LARGEST_SEED)


def as_features(value: Any) -> Any:
    """Return image features; text names them, as on the command line: ``"hog,color"``, or ``"none"``."""
    if isinstance(value, str):
        return None if value == "none" else parse_features(value)
    return value


def check_part(name: str, value: Any, methods: tuple[str, ...], example: str, *, optional: bool = False) -> None:
    """Raise a UsageError unless value (or each option) is a module with the methods of its protocol.

    A plain function will not do: a recipe's parts are trees, so that trials stack.
    """
    if isinstance(value, Choice):
        for option in value.options:
            check_part(name, option, methods, example, optional=optional)
    elif optional and value is None:
        return
    elif not isinstance(value, eqx.Module) or not all(hasattr(value, method) for method in methods):
        raise UsageError(f"recipe: {name} is {value!r}; give one like thalweg.{example}, or an equinox.Module like it")


def _check_batch_size(value: Any) -> None:
    if isinstance(value, Choice):
        for option in value.options:
            _check_batch_size(option)
    elif isinstance(value, str):
        if value != FULL_BATCH:
            raise UsageError(
                f"recipe: batch_size is {value!r}; give a whole number, or {FULL_BATCH!r} for all examples"
            )
    else:
        check_integer("recipe", "batch_size", value, least=1)


def bind(recipe: Recipe, examples: int) -> Recipe:
    """Return the recipe as it meets a training set of the given number of examples.

    The batch size becomes a number of at most ``examples``; every schedule's
    "whole run" becomes a number of steps, and its units become steps. Binding a
    second time, to as many examples, changes nothing.
    """
    for name in ("batch_size", "epochs"):
        if is_open(value := getattr(recipe, name)):
            raise UsageError(f"recipe: {name} is {value!r}; a search space cannot be trained: draw a trial from it")
    batch = examples if recipe.batch_size == FULL_BATCH else min(recipe.batch_size, examples)
    per_epoch = -(-examples // batch)
    parts = bind_all(recipe, steps=per_epoch * recipe.epochs, steps_per_epoch=per_epoch, batch_size=batch)
    return dataclasses.replace(parts, batch_size=batch)


def seed_groups(recipes: Sequence[Recipe]) -> list[list[int]]:
    """Return the places of the recipes that differ in their seed alone, group by group.

    Compared are leaves and structure, not names: two Python functions may share
    a name, as those of all Optax chains do.
    """
    groups: dict[Any, list[int]] = {}
    for place, recipe in enumerate(recipes):
        leaves, structure = jax.tree.flatten(dataclasses.replace(recipe, seed=0))
        groups.setdefault((structure, *map(_hashable, leaves)), []).append(place)
    return list(groups.values())


def _hashable(leaf: Any) -> Any:
    return (leaf.shape, leaf.tobytes()) if hasattr(leaf, "tobytes") else leaf


def _each(convert: Callable[[Any], Any], value: Any) -> Any:
    """Apply a converter to a part, or to every option of a choice of parts."""
    if isinstance(value, Choice):
        return Choice(tuple(_each(convert, option) for option in value.options))
    return convert(value)

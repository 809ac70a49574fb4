"""A recipe as code: the one function behind the command line and the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from thalweg.elsewhere.keras import keras_script
from thalweg.elsewhere.optax import optax_script
from thalweg.elsewhere.setting import Setting
from thalweg.elsewhere.torch import torch_script
from thalweg.fields import check_option
from thalweg.recipe import Recipe

__all__ = ["FRAMEWORKS", "code"]

FRAMEWORKS: Mapping[str, Callable[[Setting], str]] = {
    "torch": torch_script,
    "optax": optax_script,
    "keras": keras_script,
}
"""The frameworks for which a recipe can be written as a script, and what writes it."""


def code(
    recipe: Recipe,
    to: str = "torch",
    *,
    examples: int,
    shape: Sequence[int],
    classes: Sequence[str],
    preprocessing: str = "none",
    uint8: bool = False,
    epochs: int | None = None,
) -> str:
    """Return a script that trains a recipe in another framework, with the same numbers at every step.

    The script is complete: preprocessing, model and its initialisation, loss, penalty,
    optimizer, schedule, clipping, averaging, augmentation, and the batches in the order
    of our own training. Where a framework's class gives other numbers than ours by that name
    (ε within the root, the rate within the momentum, decay that does not spare biases), the
    update is written out. Its ``train(x, y)`` returns the model and what prepares its
    input, ``predict(model, features)`` the labels.

    Arguments:
        recipe: with a value for every number.
        to: "torch", "optax" or "keras".
        examples: how many it is trained on.
        shape: of one example's features.
        classes: their names, in the order of the labels.
        preprocessing: a kind of `data.preprocessing`; the script fits it anew.
        uint8: whether features are bytes, which the kind "scale" divides by 255.
        epochs: how many of the recipe's are trained; None: all.

    Raises a UsageError that names the part which cannot be said in such code: features,
    random search, K-FAC, Muon, schedule-free optimizers, fractional pooling, Optax
    transformations, and Python parts of your own.
    """
    check_option("code", "to", to, tuple(FRAMEWORKS))
    names = tuple(str(name) for name in classes)
    return FRAMEWORKS[to](Setting(recipe, examples, tuple(shape), names, preprocessing, uint8, epochs))

"""What is trained when nobody says: AdamW with warm-up and cosine, sized to the data; and the space around it."""

from __future__ import annotations

from thalweg.losses import Softmax
from thalweg.models import Linear
from thalweg.optimizers import AdamW
from thalweg.ranges import log_uniform
from thalweg.recipe import Recipe
from thalweg.schedules import Cosine, Warmup

__all__ = ["default_epochs", "default_optimizer", "default_space", "steady_optimizer"]

_STEPS = 2_500  # about as many steps as a linear classifier needs to settle under a cosine schedule


def default_space(examples: int, features: int, *, seed: int = 0) -> Recipe:
    """Return the space that `sweep` searches without a recipe.

    Softmax under AdamW, warmed up and then following a cosine (row E12).
    Searched are the learning rate's peak and the decoupled weight decay, which
    stands in the place of a penalty: the two numbers that matter most for a
    linear classifier.

    Arguments:
        examples: in training. The batch size grows with them (32 to 256), and the
            epochs are as many as give about 2,500 steps, at least 15, at most 100.
        features: of an example. Adam moves each weight by about the rate, so a
            score by about rate × features: the useful rates fall as 1/features.
            Three decades around that are searched, with 1e-3 always among them.
        seed: of the recipe.
    """
    batch, epochs = default_epochs(examples)
    return Recipe(
        model=Linear(),
        loss=Softmax(),
        optimizer=AdamW(Warmup(0.05, Cosine(_rates(features)), unit="run"), weight_decay=log_uniform(1e-3, 10.0)),
        batch_size=batch,
        epochs=epochs,
        seed=seed,
    )


def default_epochs(examples: int) -> tuple[int, int]:
    """Return the batch size (32 to 256), and as many epochs as give about 2,500 steps, at least 15, at most 100."""
    batch = 32 if examples < 2_000 else 128 if examples < 20_000 else 256
    return batch, min(100, max(15, round(_STEPS / max(1, examples // batch))))


def default_optimizer(features: int, *, linear: bool) -> AdamW:
    """Return AdamW at one sound rate, where nothing is searched: warmed up, then following a cosine to 0.

    A linear model takes the middle of `default_space`'s range, 1/features; a network 1e-3, as Adam is
    mostly run with.
    """
    return AdamW(Warmup(0.05, Cosine(_middle(features) if linear else 1e-3), unit="run"))


def steady_optimizer(features: int, *, linear: bool) -> AdamW:
    """Return the same at a constant rate, for training whose end is not known beforehand."""
    return AdamW(_middle(features) if linear else 1e-3)


def _middle(features: int) -> float:
    low, high = _span(features)
    return float(f"{(low * high) ** 0.5:.0e}")


def _rates(features: int) -> object:
    """Three decades around 1/features, kept where Adam is of use, the ends rounded to one digit."""
    return log_uniform(*_span(features))


def _span(features: int) -> tuple[float, float]:
    low, high = (float(f"{end / features:.0e}") for end in (0.03, 30))
    return min(max(low, 1e-6), 1e-3), max(min(high, 0.3), 2e-3)

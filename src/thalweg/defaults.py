"""What a sweep searches when nobody says: a space around SPEC row E12, sized to the data."""

from __future__ import annotations

from thalweg.losses import Softmax
from thalweg.models import Linear
from thalweg.optimizers import AdamW
from thalweg.penalties import L2
from thalweg.ranges import log_uniform
from thalweg.recipe import Recipe
from thalweg.schedules import Cosine, Warmup

__all__ = ["default_space"]

_STEPS = 2_500  # about as many steps as a linear classifier needs to settle under a cosine schedule


def default_space(examples: int, *, seed: int = 0) -> Recipe:
    """Return the space that `sweep` searches without a recipe.

    Softmax with an L2 penalty, AdamW warmed up and then following a cosine
    (row E12). Searched are the learning rate's peak and the penalty's strength,
    the two numbers that matter most for a linear classifier; the decoupled decay
    is left at 0, since it would do the penalty's work a second time. The batch
    size grows with the data (32 to 256) and the epochs are as many as give about
    2,500 steps, at least 10 and at most 100.
    """
    batch = 32 if examples < 2_000 else 128 if examples < 20_000 else 256
    steps = max(1, examples // batch)
    epochs = min(100, max(15, round(_STEPS / steps)))
    return Recipe(
        model=Linear(),
        loss=Softmax(),
        penalty=L2(log_uniform(1e-6, 1e-1)),
        optimizer=AdamW(Warmup(0.05, Cosine(log_uniform(1e-4, 1e-1)), unit="run"), weight_decay=0.0),
        batch_size=batch,
        epochs=epochs,
        seed=seed,
    )

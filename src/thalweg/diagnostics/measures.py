"""Small measures that several checks share: losses at chance, smoothed curves, paired differences."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from thalweg.run import Trial

__all__ = ["chance_loss", "constant_loss", "handicaps", "in_errors", "jitter", "share_variance", "smooth"]


def chance_loss(loss: Any, classes: int) -> float:
    """Return the loss where all scores are equal: ln C for softmax, C − 1 for the hinge."""
    return float(jnp.mean(loss(jnp.zeros((classes, classes)), jnp.arange(classes))))


def constant_loss(loss: Any, labels: np.ndarray) -> float:
    """Return the loss of the same scores for all examples: all equal, or the logarithms of the classes' shares.

    The lower of the two; for softmax that is the lowest there is, the entropy of the shares.
    """
    present, own = np.unique(labels, return_inverse=True)
    shares = np.bincount(own) / len(own)
    rows = np.broadcast_to(np.log(shares), (len(present), len(present)))
    each = np.asarray(loss(jnp.asarray(rows), jnp.arange(len(present))), np.float64)
    return min(float(shares @ each), chance_loss(loss, len(present)))


def smooth(values: np.ndarray) -> np.ndarray:
    """The running median of three."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)


def jitter(values: np.ndarray) -> float:
    """The standard deviation of a curve around its smooth course: of independent errors, that of second differences
    is √6 times theirs."""
    second = np.diff(values, 2)
    return float(1.4826 * np.median(np.abs(second)) / math.sqrt(6))


def share_variance(share: float, count: int) -> float:
    # One success and one failure more, so that a share of 1 out of few is not taken for certain.
    share = (share * count + 1) / (count + 2)
    return share * (1 - share) / count


def in_errors(differences: np.ndarray) -> float:
    """The mean in standard errors."""
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    return float(differences.mean()) / error if error > 0 else 0.0


def handicaps(trial: Trial) -> str:
    """What makes a training loss higher than it would be on validation's footing."""
    recipe = trial.recipe
    found = [
        name
        for name, there in (
            ("dropout", getattr(recipe.model, "dropout", None)),
            ("augmentation", recipe.augmentation),
            ("stochastic depth", getattr(recipe.model, "stochastic_depth", None)),
        )
        if there is not None
    ]
    return f", raised by {' and '.join(found)}" if found else ""

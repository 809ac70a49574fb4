"""What an optimizer keeps track of, found out by feeding it gradients."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from thalweg.optimizers.base import Optimizer
from thalweg.schedules import Given

__all__ = ["traits"]


def traits(optimizer: Any) -> dict[str, bool]:
    """Return which moments of the gradient an optimizer tracks: as users compare them.

    Nothing is typed in: the optimizer is fed test gradients, and its state and
    steps are looked at.

    - ``first_moment``: some part of the state is odd in the gradient (g and −g
      leave opposite traces);
    - ``second_moment``: some part is even in it (g and −g leave the same trace);
    - ``leaky_second_moment``: that part fades while the gradient is 0;
    - ``bias_correction``: a moment is kept, yet under a constant gradient the
      first step is as long as the second. (A step that looks at signs alone is
      steady too: it is told by not growing with the gradient while it has no
      second moment to divide by.)

    Arguments:
        optimizer: one of `thalweg.optimizers`, or any pair of init and update.
            Its learning rate is replaced by 1, except within an Optax
            transformation.
    """
    if isinstance(optimizer, Optimizer) and optimizer.learning_rate is not None:
        optimizer = eqx.tree_at(lambda o: o.learning_rate, optimizer, Given(1.0, 1.0))
    point = {"weights": jnp.zeros(3)}
    gradient = {"weights": jnp.array([0.5, 1.0, 2.0])}
    opposite = jax.tree.map(jnp.negative, gradient)
    nothing = jax.tree.map(jnp.zeros_like, gradient)

    start = optimizer.init(point)
    once, after = optimizer.update(gradient, start, point)
    twice, _ = optimizer.update(gradient, after, point)
    double, _ = optimizer.update(jax.tree.map(lambda g: 2 * g, gradient), start, point)
    _, mirrored = optimizer.update(opposite, start, point)
    _, faded = optimizer.update(nothing, after, point)

    before, there, mirror, later = map(_moments, (start, after, mirrored, faded))
    changed = [not np.allclose(a, b) for a, b in zip(before, there, strict=True)]
    odd = [c and np.allclose(a, -b) for c, a, b in zip(changed, there, mirror, strict=True)]
    even = [c and np.allclose(a, b) for c, a, b in zip(changed, there, mirror, strict=True)]
    leaky = [e and bool(np.all(np.abs(b) < np.abs(a))) for e, a, b in zip(even, there, later, strict=True)]
    steady = np.allclose(once["weights"], twice["weights"], rtol=1e-4, atol=0)
    linear = np.allclose(2 * once["weights"], double["weights"], rtol=1e-4, atol=0)
    return {
        "first_moment": any(odd),
        "second_moment": any(even),
        "leaky_second_moment": any(leaky),
        "bias_correction": bool(steady and (any(leaky) or (any(odd) and linear))),
    }


def _moments(state: Any) -> list[np.ndarray]:
    """The arrays of a state that are shaped like the gradient: counters are not."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state) if np.shape(leaf) == (3,)]

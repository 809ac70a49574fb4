"""The proximal map of the Weston-Watkins hinge, for every example of every slot at once.

For scores v of one example with true class y, and a bound κ,

    prox(v) = argmin_z  κ/ρ Σ_{j≠y} max(0, 1 + z_j − z_y) + ½ |z − v|²,      a = ρ (v − prox(v)).

Its optimality conditions say a_j = ρ clip(v_j + 1 − z_y, 0, κ/ρ) for the wrong classes and
a_y = −Σ a_j: one unknown is left, z_y, the root of the increasing, piecewise
linear function t − v_y − Σ_j clip(v_j + 1 − t, 0, κ/ρ).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ["hinge_dual_step"]

_STEPS = 6  # of Newton's method, safeguarded by bisection, from the last root


def hinge_dual_step(
    v: jax.Array, own: jax.Array, kappa: jax.Array, rho: jax.Array, guess: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return a (T, C, N) and the roots z_y (T, N) for scores v (T, C, N).

    ``own`` (1, C, N) marks the true classes; ``kappa`` (T, N) is each example's
    bound, ``rho`` (T,) each slot's step, ``guess`` (T, N) where the search begins.
    A root cut short leaves a within its bounds and summing to 0 over the classes:
    an inexact step, never an infeasible one.
    """
    bound = (kappa / rho[:, None])[:, None, :]
    raised = jnp.where(own, -jnp.inf, v + 1)
    low = jnp.max(jnp.where(own, v, -jnp.inf), axis=1)  # v_y
    high = low + (v.shape[1] - 1) * bound[:, 0]

    def newton(_: int, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        t, below, above = carry
        excess = raised - t[:, None, :]
        clipped = jnp.clip(excess, 0, bound)
        inside = (excess > 0) & (excess < bound)
        # Both sums in one pass over the classes, which XLA would not join by itself.
        total, slope = jax.lax.reduce(
            (clipped, inside.astype(v.dtype)),
            (jnp.zeros((), v.dtype),) * 2,
            lambda x, y: (x[0] + y[0], x[1] + y[1]),
            (1,),
        )
        miss = t - low - total
        below, above = jnp.where(miss < 0, t, below), jnp.where(miss > 0, t, above)
        step = t - miss / (1 + slope)
        # A step onto the far end of the bracket would go back and forth between two kinks for ever.
        inward = ((miss >= 0) | (step < above)) & ((miss <= 0) | (step > below))
        return jnp.where(inward, step, (below + above) / 2), below, above

    # The bracket begins wider than the root's range [low, high], whose ends are the commonest roots.
    bracket = (low - bound[:, 0], high + bound[:, 0])
    root, _, _ = jax.lax.fori_loop(0, _STEPS, newton, (jnp.clip(guess, low, high), *bracket))
    wrong = jnp.clip(rho[:, None, None] * (raised - root[:, None, :]), 0, kappa[:, None, :])
    return jnp.where(own, -jnp.sum(wrong, axis=1, keepdims=True), wrong), root

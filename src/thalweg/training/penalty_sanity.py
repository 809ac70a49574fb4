"""Does a penalty cost more where it is stronger, and does a step on it alone lower it?"""

from __future__ import annotations

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from thalweg.findings import Finding
from thalweg.penalties import NoPenalty, is_smooth, penalty_gradient, penalty_prox, penalty_value, weight_mask

__all__ = ["check_penalty"]

# Penalties act entry by entry or leaf by leaf, so weights of one small shape do for models of any.
_WEIGHTS = {"weight": np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)}
_FACTORS = (0.5, 1.0, 2.0)
_LEAST, _MOST = 1e-36, 1e35  # strengths for which the strength, the step and P stay within float32 at these weights
_STEP = 0.01  # strength × step: weights move by about a hundredth of themselves


def check_penalty(penalty: Any, params: Any, name: str) -> Finding:
    """SA02: P(W) of a penalty is above 0 and rises with its strength, and a step on P alone lowers it.

    At weights drawn from N(0, 1), for half the strength, the strength and twice it. The step is −step × gradient
    for a smooth penalty and the proximal one otherwise, as in training. A penalty that finds no weights among the
    model's ``params`` (by `penalties.weight_mask`) costs nothing, and is found too. A strength below 1e-36 or above
    1e35 says nothing of the penalty's sign, as float32 makes 0 or ∞ of P or of the step there: not applicable.
    """
    kind = str(getattr(penalty, "kind", type(penalty).__name__))
    if isinstance(penalty, NoPenalty):
        return _finding("not applicable", f"{name}: there is no penalty")
    if not any(jax.tree.leaves(weight_mask(params))):
        return _finding("found", f"{name}, {kind}: none of the model's parameters counts as a weight", 0.0)
    strengths = [penalty]
    if hasattr(penalty, "strength"):
        base = float(penalty.strength) or 1.0
        if not _LEAST <= base <= _MOST:
            why = f"the strength {base:g}, or what it costs, is outside what float32 holds"
            return _finding("not applicable", f"{name}, {kind}: {why}")
        strengths = [eqx.tree_at(lambda p: p.strength, penalty, np.float32(base * f)) for f in _FACTORS]
    measured = [tuple(float(value) for value in _measure(one, _WEIGHTS)) for one in strengths]
    values, after = [value for value, _ in measured], [value for _, value in measured]
    evidence = f"{name}, {kind}: " + (
        f"{_list(values)} at {', '.join(f'{f:g}' for f in _FACTORS)} times its strength"
        if len(values) > 1
        else f"{values[0]:.3g}, and it has no strength to raise"
    )
    rises = values[0] > 0 and all(low < high for low, high in itertools.pairwise(values))
    lowers = all(end < begin for end, begin in zip(after, values, strict=True))
    evidence += f"; a step on it alone makes {after[-1]:.3g} of {values[-1]:.3g}"
    return _finding("passed" if rises and lowers else "found", evidence, values[-1] / values[0] if values[0] else None)


@jax.jit
def _measure(penalty: Any, params: Any) -> tuple[jax.Array, jax.Array]:
    """Return P before and after a step on P alone."""
    step = _STEP / jnp.asarray(getattr(penalty, "strength", 1.0), jnp.float32)
    if is_smooth(penalty):
        moved = jax.tree.map(lambda leaf, slope: leaf - step * slope, params, penalty_gradient(penalty, params))
    else:
        moved = penalty_prox(penalty, params, step)
    return penalty_value(penalty, params), penalty_value(penalty, moved)


def _finding(verdict: Any, evidence: str, value: float | None = None) -> Finding:
    remedy = "Look for a wrong sign in the penalty's value, gradient or prox, or a strength that is not used."
    title = "the penalty does not rise with its strength"
    shown = remedy if verdict == "found" else ""
    return Finding(
        "SA02", title, verdict, "error", evidence, shown, value, None, "times as much at 4 times the strength"
    )


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)

"""Can a model learn a handful of examples by heart?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from thalweg.training.few import FEW, Few, independent, standardised
from thalweg.training.interrupt import InterruptRequest

__all__ = ["over_fit"]

_EVALUATIONS = 150  # a sound model needs 5 to 40; more would make a broken one slow to find
_DRAWS = 2  # a network may start badly once


def over_fit(
    model: Any,
    state: Callable[[int], tuple[Any, Any]],
    few: Few,
    classes: int,
    measure: Callable[..., tuple[Any, Any, Any]],
    stop: InterruptRequest | None,
) -> tuple[str, str, float | None]:
    """Fit with L-BFGS until all examples are right; return the verdict, the evidence and the share that is right.

    Where that fails it is tried again with the examples' features standardised: features of very different scales
    can stop a sound model, and a broken one fails whatever they are.

    Arguments:
        model: the model.
        state: draw number → (params, model state).
        few: the examples.
        classes: how many classes there are.
        measure: (params, state, x, labels, weights) → loss, which are right, gradient.
        stop: ends the fit early, with the verdict "not applicable".
    """
    linear = getattr(model, "kind", "") == "linear"
    wanted = _wanted(model, few)
    kept = wanted.weights > 0
    count, kinds = int(kept.sum()), len(set(wanted.labels[kept].tolist()))
    if kinds < 2:
        return "not applicable", f"only {_examples(count)} of one class differ in their features", None
    draws = 1 if linear else _DRAWS
    best, evaluations = _best(draws, state, wanted, measure, stop)
    if stop is not None and stop.requested:
        return "not applicable", "interrupted", None
    evidence = f"{best} of {_examples(count)} right after {evaluations} evaluations of the loss"
    if count < FEW:
        evidence += " (" + ("all that are affinely independent" if linear else "all that differ") + ")"
    if best == count:
        return "passed", evidence, 1.0
    if (narrow := _narrowest(model)) is not None and narrow < min(count, classes) - 1:
        return "not applicable", f"{evidence}; a hidden layer of {narrow} can be too narrow to tell them apart", None
    again = _wanted(model, standardised(few))
    scaled, further = _best(draws, state, again, measure, stop)
    if stop is not None and stop.requested:
        return "not applicable", "interrupted", None
    total = int(np.count_nonzero(again.weights))
    evidence += f"; with the features standardised {scaled} of {total} after {further}"
    if scaled == total and len(set(again.labels[again.weights > 0].tolist())) > 1:
        return "passed", f"{evidence}: it is the features that need scaling", 1.0
    return "found", evidence, best / count


def _wanted(model: Any, few: Few) -> Few:
    """What the model must be able to fit."""
    linear = getattr(model, "kind", "") == "linear"
    return independent(few, bias=bool(getattr(model, "bias", True))) if linear else few


def _best(
    draws: int,
    state: Callable[[int], tuple[Any, Any]],
    few: Few,
    measure: Callable[..., tuple[Any, Any, Any]],
    stop: InterruptRequest | None,
) -> tuple[int, int]:
    """Fit from that many draws of first weights, or until all are right; return the most right and the evaluations."""
    best, evaluations = 0, 0
    for number in range(draws):
        right, used = _fit(*state(number), few, measure, stop)
        best, evaluations = max(best, right), evaluations + used
        if best == np.count_nonzero(few.weights) or (stop is not None and stop.requested):
            break
    return best, evaluations


def _fit(
    params: Any, state: Any, few: Few, measure: Callable[..., tuple[Any, Any, Any]], stop: InterruptRequest | None
) -> tuple[int, int]:
    """Return how many examples were right at best, and the evaluations that it took."""
    from scipy.optimize import minimize  # a quarter of a second to import, and only needed here

    leaves, structure = jax.tree.flatten(params)
    ends = np.cumsum([leaf.size for leaf in leaves])
    kept = few.weights > 0
    best = used = 0

    def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best, used
        pieces = np.split(flat, ends[:-1])
        shaped = [np.asarray(p.reshape(leaf.shape), leaf.dtype) for p, leaf in zip(pieces, leaves, strict=True)]
        loss, right, gradient = measure(jax.tree.unflatten(structure, shaped), state, *few)
        used += 1
        best = max(best, int(np.asarray(right)[kept].sum()))
        found = np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(gradient)])
        # What is not finite ends the search at once: L-BFGS would step into it again and again.
        return (
            (float(loss), found) if np.isfinite(loss) and np.isfinite(found).all() else (np.inf, np.zeros_like(found))
        )

    def enough(intermediate_result: Any) -> None:
        if best == kept.sum() or (stop is not None and stop.requested):
            raise StopIteration

    start = np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in leaves])
    options = {"maxiter": _EVALUATIONS, "maxfun": _EVALUATIONS, "ftol": 0.0, "gtol": 1e-9}
    minimize(function, start, jac=True, method="L-BFGS-B", callback=enough, options=options)
    return best, used


def _narrowest(model: Any) -> int | None:
    hidden = getattr(model, "hidden", None)
    return min(hidden) if isinstance(hidden, tuple) and hidden else None


def _examples(count: int) -> str:
    return f"{count} example{'s' * (count != 1)}"

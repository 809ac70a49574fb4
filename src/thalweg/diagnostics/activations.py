"""What leaves the hidden units of a network, and the gradients that reach them."""

from __future__ import annotations

from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from thalweg.models import Dense

__all__ = ["back_signals", "rectified_peaks", "rectifier_names"]

_ROWS = 256  # examples at a time


def rectifier_names(model: Any, count: int) -> tuple[str, ...]:
    """Name the rectifiers in their order; those of an unknown model by number."""
    if isinstance(model, Dense):
        return tuple(f"layer_{place}" for place in range(1, count + 1))
    return tuple(f"rectifier {place}" for place in range(1, count + 1))


def rectified_peaks(model: Any, params: Any, state: Any, x: np.ndarray) -> list[np.ndarray]:
    """Return the largest output of every rectified unit (units,) over the examples x, by rectifier in their order.

    The rectifiers are found in the program that JAX traces of the model, by the name of `jax.nn.relu`:
    so it serves any model. A unit is a place of the last axis: a neuron, or a channel whose outputs over
    the image count together. Empty where the model has no rectifier.
    """

    def scores(params: Any, state: Any, x: Any) -> Any:
        return model.apply(params, state, x, key=None, training=False)[0]

    count = min(_ROWS, len(x))
    params, state = jax.tree.map(jnp.asarray, (params, state))
    traced = jax.make_jaxpr(scores)(params, state, jnp.asarray(x[:count]))
    places = [one.outvars[0] for one in traced.jaxpr.eqns if _is_relu(one)]
    if not places:
        return []
    program = jex.jaxpr_as_fun(traced.replace(jaxpr=_returning(traced.jaxpr, places)))
    leaves = jax.tree.leaves((params, state))
    peaks: list[np.ndarray] | None = None
    for start in range(0, len(x), count):
        rows = np.minimum(np.arange(start, start + count), len(x) - 1)  # the last one fills the last block up
        found = [np.asarray(one).max(axis=tuple(range(one.ndim - 1))) for one in program(*leaves, jnp.asarray(x[rows]))]
        peaks = found if peaks is None else [np.maximum(a, b) for a, b in zip(peaks, found, strict=True)]
    assert peaks is not None
    return peaks


def _is_relu(equation: Any) -> bool:
    inner = equation.params.get("call_jaxpr")
    return equation.primitive.name == "custom_jvp_call" and any(
        one.params.get("name") == "relu" for one in getattr(inner, "eqns", ())
    )


def _returning(jaxpr: Any, places: list[Any]) -> Any:
    """The program that returns what lies at these places instead."""
    replaced = {"outvars": places}
    if getattr(jaxpr, "debug_info", None) is not None:
        replaced["debug_info"] = jaxpr.debug_info.with_unknown_names()
    return jaxpr.replace(**replaced)


def back_signals(model: Dense, loss: Any, params: Any, state: Any, x: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return for each hidden layer of a `Dense` network the size of the gradient that reaches its units.

    δ_l = ∂(mean loss)/∂z_l with z_l (N, units) what the layer gives before its activation; the size is its
    Frobenius norm. By the layer's name, in their order.
    """
    widths = {f"layer_{place}": size for place, size in enumerate(model.hidden, start=1)}
    taps = {name: jnp.zeros((len(x), size)) for name, size in widths.items()}
    taps["output"] = jnp.zeros((len(x), np.shape(params["output"]["weight"])[0]))
    found = _tapped(model, loss, params, state, jnp.asarray(x), jnp.asarray(labels), taps)
    return {name: float(found[name]) for name in widths}


@jax.jit
def _tapped(model: Any, loss: Any, params: Any, state: Any, x: Any, labels: Any, taps: Any) -> Any:
    def value(taps: Any) -> jax.Array:
        scores, _, _ = model.trace(params, state, x, taps, key=None, training=False)
        return jnp.mean(loss(scores, labels))

    gradient = jax.grad(value)(taps)
    # By the largest entry first: the square of 1e-25 is no float32.
    return {name: _size(one) for name, one in gradient.items()}


def _size(x: jax.Array) -> jax.Array:
    largest = jnp.max(jnp.abs(x))
    safe = jnp.where(largest > 0, largest, 1)
    return largest * jnp.sqrt(jnp.sum(jnp.square(x / safe)))

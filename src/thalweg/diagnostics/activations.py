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
_CALLS = ("jit", "pjit", "remat", "remat2", "checkpoint")  # as JAX's versions name calls of a program


def rectifier_names(model: Any, count: int) -> tuple[str, ...]:
    """Name the rectifiers in their order; those of an unknown model by number."""
    if isinstance(model, Dense):
        return tuple(f"layer_{place}" for place in range(1, count + 1))
    return tuple(f"rectifier {place}" for place in range(1, count + 1))


def rectified_peaks(model: Any, params: Any, state: Any, x: np.ndarray) -> list[np.ndarray]:
    """Return the largest output of every rectified unit (units,) over the examples x, by rectifier in their order.

    The rectifiers are found in the program that JAX traces of the model, by the name of `jax.nn.relu`:
    so it serves any model. Those within `jax.jit` and `jax.checkpoint` count, those within loops
    (`jax.lax.scan` and the like) do not. A unit is a place of the last axis: a neuron, or a channel whose
    outputs over the image count together. Empty where there is no such rectifier.
    """

    def scores(params: Any, state: Any, x: Any) -> Any:
        return model.apply(params, state, x, key=None, training=False)[0]

    count = min(_ROWS, len(x))
    params, state = jax.tree.map(jnp.asarray, (params, state))
    traced = jax.make_jaxpr(scores)(params, state, jnp.asarray(x[:count]))
    if not _holds_relu(traced.jaxpr):
        return []
    leaves = jax.tree.leaves((params, state))
    peaks: list[np.ndarray] | None = None
    for start in range(0, len(x), count):
        rows = np.minimum(np.arange(start, start + count), len(x) - 1)  # the last one fills the last block up
        outputs: list[Any] = []
        _run(traced.jaxpr, traced.consts, [*leaves, jnp.asarray(x[rows])], outputs)
        found = [np.asarray(one).max(axis=tuple(range(one.ndim - 1))) for one in outputs]
        peaks = found if peaks is None else [np.maximum(a, b) for a, b in zip(peaks, found, strict=True)]
    assert peaks is not None
    return peaks


def _is_relu(equation: Any) -> bool:
    inner = equation.params.get("call_jaxpr")
    return equation.primitive.name == "custom_jvp_call" and any(
        one.params.get("name") == "relu" for one in getattr(inner, "eqns", ())
    )


def _inner(equation: Any) -> tuple[Any, Any] | None:
    """The program that an equation calls once, and its constants; None for other equations, loops among them."""
    if equation.primitive.name not in _CALLS:
        return None
    inner = equation.params["jaxpr"]
    return (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())


def _holds_relu(jaxpr: Any) -> bool:
    called = [inner[0] for one in jaxpr.eqns if (inner := _inner(one)) is not None]
    return any(map(_is_relu, jaxpr.eqns)) or any(map(_holds_relu, called))


def _run(jaxpr: Any, consts: Any, arguments: list[Any], outputs: list[Any]) -> list[Any]:
    """Run a program equation by equation, calls too, and append what its rectifiers give to ``outputs``."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))

    def read(one: Any) -> Any:
        return one.val if isinstance(one, jex.Literal) else values[one]

    for equation in jaxpr.eqns:
        given, inner = [read(one) for one in equation.invars], _inner(equation)
        results = _result(jaxpr, equation, given) if inner is None else _run(*inner, given, outputs)
        if _is_relu(equation):
            outputs.append(results[0])
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(one) for one in jaxpr.outvars]


def _result(jaxpr: Any, equation: Any, given: list[Any]) -> list[Any]:
    """What one equation of a program gives: it is made a program of its own."""
    taken = {one: value for one, value in zip(equation.invars, given, strict=True) if not isinstance(one, jex.Literal)}
    parts = {"constvars": [], "invars": list(taken), "outvars": equation.outvars, "eqns": [equation]}
    if getattr(jaxpr, "debug_info", None) is not None:
        parts["debug_info"] = jaxpr.debug_info.with_unknown_names()
    alone = jex.ClosedJaxpr(jaxpr.replace(**parts, effects=equation.effects), ())
    return list(jex.jaxpr_as_fun(alone)(*taken.values()))


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

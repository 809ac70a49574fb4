"""The stability of gradient descent with momentum on a quadratic: measured beside theory."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from thalweg.errors import UsageError
from thalweg.fields import check_flag, check_integer
from thalweg.landscapes.functions import Quadratic
from thalweg.landscapes.records import StabilityMap
from thalweg.optimizers import SGD
from thalweg.precision import double

__all__ = ["spectral_radius", "stability", "stability_boundary"]


def stability(
    condition: float = 10.0,
    learning_rates: Any = None,
    momenta: Any = None,
    *,
    nesterov: bool = False,
    steps: int = 1000,
) -> StabilityMap:
    """Measure how fast `optimizers.SGD` with momentum converges on a quadratic, by rate and momentum.

    On f = ½(x² + κy²) each coordinate, of curvature λ, follows its own linear recursion

        heavy ball  x_{t+1} = (1 + ρ − αλ) x_t − ρ x_{t−1},
        Nesterov    x_{t+1} = (1 − αλ)((1 + ρ) x_t − ρ x_{t−1}),

    whose larger root in absolute value, the worse of the two curvatures, is ``theory``. It is below 1 where
    α < 2(1 + ρ)/λ_max, or with Nesterov's momentum α < 2(1 + ρ)/((1 + 2ρ) λ_max): ``boundary``.

    ``rate`` is measured on the optimizer itself, all rates and momenta in one program: the geometric mean of
    the factor by which the distance to the minimum changes a step, over the last half of the steps. Since
    the distance swings where the roots are complex, its largest values in two windows of a quarter of the
    steps are compared: the envelope. The point and the buffer are scaled back to length 1 after each step
    (the recursion is linear), lest they leave the numbers' range. Where the two roots meet, the distance
    falls like t·rᵗ, and the measured factor is above theory by about ln 2 / (steps / 2).

    Arguments:
        condition: κ ≥ 1, the condition number; the curvatures are 1 and κ.
        learning_rates: α ``(L,)``; by default 120 up to 4.4/κ, beyond the widest boundary.
        momenta: ρ ``(M,)`` in [0, 1); by default 100 from 0 to 0.99.
        nesterov: whether the momentum is Nesterov's.
        steps: T, at least 40.

    Raises:
        UsageError: rates or momenta that are no such numbers.

    Polyak 1964; Lessard, Recht & Packard 2016, section 4.
    """
    landscape = Quadratic(condition)
    check_flag("stability", "nesterov", nesterov)
    check_integer("stability", "steps", steps, least=40)
    curvatures = (1.0, landscape.condition)
    rates = np.linspace(0, 4.4 / curvatures[1], 121)[1:] if learning_rates is None else learning_rates
    rates = _numbers("learning_rates", rates, np.inf)
    shares = _numbers("momenta", np.linspace(0, 0.99, 100) if momenta is None else momenta, 1.0)
    with double():
        measured = np.asarray(_measure(landscape, jnp.asarray(rates), jnp.asarray(shares), nesterov, steps))
    theory = np.max([spectral_radius(rates, shares[:, None], c, nesterov) for c in curvatures], axis=0)
    boundary = stability_boundary(shares, max(curvatures), nesterov)
    name = "Nesterov's momentum" if nesterov else "Momentum"
    return StabilityMap(name, nesterov, curvatures, rates, shares, measured, theory, boundary, steps)


def spectral_radius(rate: Any, momentum: Any, curvature: float, nesterov: bool) -> np.ndarray:
    """Return the larger root, in absolute value, of z² − s z + d: the factor per step along one curvature.

    Heavy ball: s = 1 + ρ − αλ, d = ρ. Nesterov: s = (1 + ρ)(1 − αλ), d = ρ(1 − αλ).
    """
    rate, momentum = np.broadcast_arrays(np.asarray(rate, np.float64), np.asarray(momentum, np.float64))
    left = 1 - rate * curvature
    total = (1 + momentum) * left if nesterov else left + momentum
    product = momentum * left if nesterov else momentum
    square = total**2 - 4 * product
    real = 0.5 * (np.abs(total) + np.sqrt(np.maximum(square, 0)))
    return np.where(square >= 0, real, np.sqrt(np.maximum(product, 0)))


def stability_boundary(momentum: Any, curvature: float, nesterov: bool) -> np.ndarray:
    """Return the learning rate at which the spectral radius crosses 1, for the largest curvature.

    There z = −1 is a root: 1 + s + d = 0.
    """
    momentum = np.asarray(momentum, np.float64)
    plain = 2 * (1 + momentum) / curvature
    return plain / (1 + 2 * momentum) if nesterov else plain


@eqx.filter_jit
def _measure(landscape: Quadratic, rates: jax.Array, momenta: jax.Array, nesterov: bool, steps: int) -> jax.Array:
    """Return the measured factors, (momenta, rates)."""
    quarter = steps // 4

    def one(momentum: jax.Array, rate: jax.Array) -> jax.Array:
        optimizer = SGD(rate, momentum=momentum, nesterov=nesterov)
        point = jnp.ones(2)

        def turn(carry: Any, step: jax.Array) -> tuple[Any, None]:
            point, state, scale, early, late = carry
            updates, state = optimizer.update(landscape.gradient(point), state, point)
            point = point + updates
            size = jnp.sqrt(jnp.sum(point**2) + jnp.sum(state.velocity**2))
            size = jnp.where(size > 0, size, 1)
            distance = scale + jnp.log(jnp.sqrt(jnp.sum(point**2)))
            early = jnp.where((step >= quarter) & (step < 2 * quarter), jnp.maximum(early, distance), early)
            late = jnp.where(step >= steps - quarter, jnp.maximum(late, distance), late)
            state = state._replace(velocity=state.velocity / size)
            return (point / size, state, scale + jnp.log(size), early, late), None

        none = jnp.asarray(-jnp.inf)
        start = (point, optimizer.init(point), jnp.zeros(()), none, none)
        (_, _, _, early, late), _ = lax.scan(turn, start, jnp.arange(steps))
        # The windows lie this many steps apart. At the minimum itself log 0 − log 0 is no number: nothing is left.
        return jnp.where(late == -jnp.inf, 0.0, jnp.exp((late - early) / (steps - 2 * quarter)))

    return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(momenta, rates)


def _numbers(name: str, values: Any, below: float) -> np.ndarray:
    try:
        array = np.atleast_1d(np.asarray(values, np.float64))
    except (TypeError, ValueError):
        raise UsageError(f"stability: {name} is {values!r}; give numbers") from None
    if array.ndim != 1 or not array.size or not np.all(np.isfinite(array) & (array >= 0) & (array < below)):
        limit = f" and below {below:g}" if np.isfinite(below) else ""
        raise UsageError(f"stability: {name} is {values!r}; give finite numbers of at least 0{limit}")
    return array

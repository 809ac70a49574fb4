"""Penalties: what large weights cost, ``strength × R(W)`` (without ½).

A penalty P(W) = strength × R(W) acts on one array of weights of any shape. With
g the gradient of the data loss, W is optimal exactly where −g lies in the
subdifferential ∂P(W); `residual` is the distance to it, entry by entry, and so
serves as stop rule and as test. A smooth penalty joins the gradient; the others
take a proximal step after the update, which leaves real zeros.

Biases are never penalised: `weight_mask` says which leaves of a model's
parameters count, and the ``penalty_*`` functions act on those only. For trials
side by side, stack the numbers and use `jax.vmap`.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import Number, check_number, is_open

__all__ = [
    "L1",
    "L2",
    "ElasticNet",
    "NoPenalty",
    "Penalty",
    "is_smooth",
    "penalty_gradient",
    "penalty_prox",
    "penalty_residual",
    "penalty_value",
    "weight_mask",
]


@runtime_checkable
class Penalty(Protocol):
    """What a penalty is. P = strength × R; weights and gradient have one shape."""

    kind: ClassVar[str]
    smooth: ClassVar[bool]

    def value(self, weights: jax.Array) -> jax.Array:
        """Return P(weights), a scalar."""
        ...

    def gradient(self, weights: jax.Array) -> jax.Array:
        """Return ∂P/∂W; where P has a kink, the subgradient nearest to 0."""
        ...

    def prox(self, weights: jax.Array, step: Number) -> jax.Array:
        """Return argmin_u ½‖u − weights‖² + step P(u); step is a scalar, or one number per entry."""
        ...

    def residual(self, weights: jax.Array, gradient: jax.Array) -> jax.Array:
        """Return the distance of −gradient to ∂P(weights), entry by entry."""
        ...

    def strength_max(self, gradient: jax.Array) -> jax.Array:
        """Return the smallest strength at which W = 0 is optimal, given the data loss's gradient there."""
        ...


class NoPenalty(eqx.Module):
    """P(W) = 0."""

    kind: ClassVar[str] = "none"
    smooth: ClassVar[bool] = True

    def value(self, weights: jax.Array) -> jax.Array:
        return jnp.zeros((), weights.dtype)

    def gradient(self, weights: jax.Array) -> jax.Array:
        return jnp.zeros_like(weights)

    def prox(self, weights: jax.Array, step: Number) -> jax.Array:
        return weights

    def residual(self, weights: jax.Array, gradient: jax.Array) -> jax.Array:
        return jnp.abs(gradient)

    def strength_max(self, gradient: jax.Array) -> jax.Array:
        return _unreachable(gradient)


class L2(eqx.Module):
    """P(W) = strength × Σ W², gradient 2 strength W (ridge). strength ≥ 0."""

    strength: Number
    kind: ClassVar[str] = "l2"
    smooth: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_number("L2", "strength", self.strength, least=0)

    def value(self, weights: jax.Array) -> jax.Array:
        return _like(self.strength, weights) * jnp.sum(jnp.square(weights))

    def gradient(self, weights: jax.Array) -> jax.Array:
        return 2 * _like(self.strength, weights) * weights

    def prox(self, weights: jax.Array, step: Number) -> jax.Array:
        return weights / (1 + 2 * _times(step, self.strength, weights))

    def residual(self, weights: jax.Array, gradient: jax.Array) -> jax.Array:
        return jnp.abs(gradient + self.gradient(weights))

    def strength_max(self, gradient: jax.Array) -> jax.Array:
        return _unreachable(gradient)

    @classmethod
    def from_C(cls, C: Number, examples: int) -> Self:
        """Return the penalty of scikit-learn's ½‖w‖² + C Σ L_i over that many examples: 1 / (2 C N)."""
        _check_scale(cls.__name__, C, examples)
        return cls(1 / (2 * C * examples))

    def to_C(self, examples: int) -> Any:
        """Return scikit-learn's C = 1 / (2 strength N); infinite for strength 0."""
        return _inverse("L2", 2 * examples, self.strength)


class L1(eqx.Module):
    """P(W) = strength × Σ |W| (lasso). strength ≥ 0; solutions hold real zeros."""

    strength: Number
    kind: ClassVar[str] = "l1"
    smooth: ClassVar[bool] = False

    def __check_init__(self) -> None:
        check_number("L1", "strength", self.strength, least=0)

    def value(self, weights: jax.Array) -> jax.Array:
        return _like(self.strength, weights) * jnp.sum(_magnitude(weights))

    def gradient(self, weights: jax.Array) -> jax.Array:
        return _like(self.strength, weights) * jnp.sign(weights)

    def prox(self, weights: jax.Array, step: Number) -> jax.Array:
        return _soft_threshold(weights, _times(step, self.strength, weights))

    def residual(self, weights: jax.Array, gradient: jax.Array) -> jax.Array:
        return _kinked_residual(weights, gradient, _like(self.strength, weights), 0)

    def strength_max(self, gradient: jax.Array) -> jax.Array:
        return jnp.max(jnp.abs(gradient))

    @classmethod
    def from_C(cls, C: Number, examples: int) -> Self:
        """Return the penalty of scikit-learn's ‖w‖₁ + C Σ L_i over that many examples: 1 / (C N)."""
        _check_scale(cls.__name__, C, examples)
        return cls(1 / (C * examples))

    def to_C(self, examples: int) -> Any:
        """Return scikit-learn's C = 1 / (strength N); infinite for strength 0."""
        return _inverse("L1", examples, self.strength)


class ElasticNet(eqx.Module):
    """P(W) = strength × Σ (β W² + |W|) (Zou and Hastie 2005). strength, β ≥ 0."""

    strength: Number
    beta: Number
    kind: ClassVar[str] = "elastic_net"
    smooth: ClassVar[bool] = False

    def __check_init__(self) -> None:
        check_number("ElasticNet", "strength", self.strength, least=0)
        check_number("ElasticNet", "beta", self.beta, least=0)

    def value(self, weights: jax.Array) -> jax.Array:
        entries = _like(self.beta, weights) * jnp.square(weights) + _magnitude(weights)
        return _like(self.strength, weights) * jnp.sum(entries)

    def gradient(self, weights: jax.Array) -> jax.Array:
        return _like(self.strength, weights) * (2 * _like(self.beta, weights) * weights + jnp.sign(weights))

    def prox(self, weights: jax.Array, step: Number) -> jax.Array:
        threshold = _times(step, self.strength, weights)
        return _soft_threshold(weights, threshold) / (1 + 2 * threshold * _like(self.beta, weights))

    def residual(self, weights: jax.Array, gradient: jax.Array) -> jax.Array:
        return _kinked_residual(weights, gradient, _like(self.strength, weights), _like(self.beta, weights))

    def strength_max(self, gradient: jax.Array) -> jax.Array:
        return jnp.max(jnp.abs(gradient))

    @classmethod
    def from_C(cls, C: Number, l1_ratio: Number, examples: int) -> Self:
        """Return the penalty of scikit-learn's ½(1 − ρ)‖w‖² + ρ‖w‖₁ + C Σ L_i, ρ = l1_ratio in (0, 1]:
        strength ρ / (C N), β (1 − ρ) / (2 ρ)."""
        _check_scale(cls.__name__, C, examples)
        check_number(cls.__name__, "l1_ratio", l1_ratio, above=0, most=1)
        _refuse_range(cls.__name__, "l1_ratio", l1_ratio)
        return cls(l1_ratio / (C * examples), (1 - l1_ratio) / (2 * l1_ratio))

    def to_C(self, examples: int) -> tuple[Any, Any]:
        """Return scikit-learn's (C, l1_ratio): ρ = 1 / (1 + 2β), C = ρ / (strength N)."""
        _refuse_range("ElasticNet", "beta", self.beta)
        ratio = 1 / (1 + 2 * self.beta)
        return ratio * _inverse("ElasticNet", examples, self.strength), ratio


def is_smooth(penalty: Penalty) -> bool:
    """True where a penalty says that it may join the gradient; one that says nothing takes proximal steps."""
    return bool(getattr(penalty, "smooth", False))


def weight_mask(params: Any) -> Any:
    """Return a tree of bools: True for each leaf that penalties and decay act on.

    Exempt are leaves whose last name (a dict's key or an attribute; positions have
    none) is that of a bias or of a normalisation's numbers: ``b``, ``bias``,
    ``scale``, ``offset``, ``shift``, also numbered (``b1``, ``bias_2``) or as the end of
    a longer name (``hidden_bias``). Everything else counts, a bare array too.
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: not _EXEMPT.fullmatch(_last_name(path)), params)


_EXEMPT = re.compile(r"b(_?\d+)?|(.*_)?(bias|biases|scale|offset|shift)(_?\d+)?")


def penalty_value(penalty: Penalty, params: Any) -> jax.Array:
    """Return the sum of P over the leaves that `weight_mask` marks, a scalar."""
    values = jax.tree.map(lambda leaf, counts: penalty.value(leaf) if counts else None, params, weight_mask(params))
    return sum(jax.tree.leaves(values), start=jnp.zeros(()))


def penalty_gradient(penalty: Penalty, params: Any) -> Any:
    """Return the tree of ∂P/∂leaf, zero for the leaves that do not count."""
    mask = weight_mask(params)
    return jax.tree.map(lambda leaf, counts: penalty.gradient(leaf) if counts else jnp.zeros_like(leaf), params, mask)


def penalty_prox(penalty: Penalty, params: Any, step: Any) -> Any:
    """Return params after the proximal step; leaves that do not count stay as they are.

    step is a scalar, or a tree like params with a scalar or one number per entry in each leaf.
    """
    structure: Any = jax.tree.structure(params)
    if structure != jax.tree.structure(step):
        if not jax.tree_util.all_leaves([step]):
            raise UsageError(f"penalty_prox: step is a tree {jax.tree.structure(step)}; give a number or {structure}")
        step = jax.tree.unflatten(structure, [step] * structure.num_leaves)
    return jax.tree.map(
        lambda leaf, counts, one: penalty.prox(leaf, one) if counts else leaf, params, weight_mask(params), step
    )


def penalty_residual(penalty: Penalty, params: Any, gradients: Any) -> jax.Array:
    """Return the largest entry of the residual over all leaves: 0 exactly at an optimum.

    gradients are those of the data loss, a tree like params; for leaves that do not count it is |gradient|.
    """
    entries = jax.tree.map(
        lambda leaf, counts, gradient: jnp.max(penalty.residual(leaf, gradient) if counts else jnp.abs(gradient)),
        params,
        weight_mask(params),
        gradients,
    )
    return jnp.max(jnp.stack(jax.tree.leaves(entries)))


def _last_name(path: tuple[Any, ...]) -> str:
    """Return the last named key of a tree path, or nothing where all are positions."""
    for entry in reversed(path):
        name = getattr(entry, "key", getattr(entry, "name", None))
        if isinstance(name, str):
            return name
    return ""


def _like(number: Number, weights: jax.Array) -> jax.Array:
    """Return a penalty's number in the weights' precision, so that it cannot change theirs."""
    return jnp.asarray(number, weights.dtype)


def _times(step: Number, strength: Number, weights: jax.Array) -> jax.Array:
    step = jnp.asarray(step, weights.dtype)
    return (jnp.broadcast_to(step, weights.shape) if step.ndim else step) * _like(strength, weights)


def _magnitude(weights: jax.Array) -> jax.Array:
    """Return |w|, written so that its derivative at 0 is 0: that of jnp.abs is 1 there."""
    return weights * jnp.sign(weights)


def _soft_threshold(weights: jax.Array, threshold: jax.Array) -> jax.Array:
    return jnp.sign(weights) * jnp.maximum(jnp.abs(weights) - threshold, 0)


def _kinked_residual(weights: jax.Array, gradient: jax.Array, strength: jax.Array, beta: Number) -> jax.Array:
    """∂|w| is sign(w) off 0 and [−1, 1] at 0."""
    away = jnp.abs(gradient + strength * (2 * beta * weights + jnp.sign(weights)))
    return jnp.where(weights == 0, jnp.maximum(jnp.abs(gradient) - strength, 0), away)


def _unreachable(gradient: jax.Array) -> jax.Array:
    """No finite strength holds W at 0, unless it is optimal without any."""
    return jnp.where(jnp.any(gradient != 0), jnp.inf, 0).astype(gradient.dtype)


def _check_scale(owner: str, C: Number, examples: int) -> None:
    check_number(owner, "C", C, above=0)
    _refuse_range(owner, "C", C)
    check_number(owner, "examples", examples, least=1, whole=True)


def _refuse_range(owner: str, name: str, value: Number) -> None:
    if is_open(value):
        raise UsageError(f"{owner}: {name} is the range {value!r}; convert its ends one by one")


def _inverse(owner: str, factor: float, strength: Number) -> Any:
    _refuse_range(owner, "strength", strength)
    if isinstance(strength, (int, float)) and strength == 0:
        return math.inf
    return 1 / (factor * strength)

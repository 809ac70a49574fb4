"""What all optimizers share: the protocol, weight decay, and the arithmetic of moments.

An optimizer is a pair ``init(params) -> state`` and ``update(gradients, state,
params) -> (updates, state)``, as in Optax; ``params + updates`` is the next
point. Params are any tree of arrays; numbers are rounded to each array's type.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from thalweg.errors import UsageError
from thalweg.fields import Number, check_optional, is_open
from thalweg.optimizers.conventions import Convention, with_defaults
from thalweg.penalties import weight_mask
from thalweg.schedules import as_schedule

__all__ = [
    "Conventional",
    "Optimizer",
    "average",
    "complement",
    "corrections",
    "map_leaves",
    "settle",
    "zeros_like",
]

Tree: TypeAlias = Any

_SHARE = {"least": 0.0, "below": 1.0}


class Optimizer(eqx.Module):
    """Base of the optimizers.

    Every number is a leaf and may differ between the trials of a program; flags
    are static. Build a changed optimizer through its constructor, which checks
    the numbers and forms what must be formed in double precision, such as 1 − β.

    Three further methods are optional:

    - ``step_size(state, params)`` returns the step of each entry, shaped like params,
      after an update. Fed a constant gradient g, the optimizer moves by −step ⊙ g in the
      long run. A proximal step of this size after the update, prox(x, step · λ), has the
      minimisers of the stated objective as its fixed points: at one, x = prox(x − step ⊙
      ∇f(x)) entry by entry, whatever the steps. Decoupled weight decay is no part of an
      objective: with it the fixed points are shifted, as if ½ (scale · λ / step) x² were
      added entry by entry. Without this method penalties with a proximal step are refused.
    - ``judged(state, params)`` returns the parameters that validation judges and the model
      keeps, where these are not the ones at which gradients are taken.
    - ``observe(recipe, params, model_state, x, labels, weight, step, key)``, in a class with
      ``observes = True``, looks at a minibatch before each update, and `update` receives
      what it returns as a fourth argument.
    """

    name: ClassVar[str]
    learning_rate: Any

    @abc.abstractmethod
    def init(self, params: Tree) -> Any:
        """Return the state before the first step."""

    @abc.abstractmethod
    def update(self, gradients: Tree, state: Any, params: Tree = None) -> tuple[Tree, Any]:
        """Return (updates, state); params + updates is the next point."""

    def rate(self, count: Any) -> jax.Array:
        """The learning rate of step ``count`` (0, 1, 2, ...)."""
        if not callable(self.learning_rate):
            raise UsageError(
                f"{self.name}: learning_rate is {self.learning_rate!r}; give a number or a schedule "
                "(a search space cannot be trained: draw a trial from it)"
            )
        return self.learning_rate(count)


class Conventional(Optimizer):
    """Base of the optimizers that follow one of the conventions, and may decay weights.

    A subclass may state, as attributes of the class:

    - ``ROWS``: its `Convention` by name, with its defaults; by default it has
      the convention "thalweg" alone, and no defaults.
    - ``BOUNDS``: what `check_number` shall hold its numbers to, by their names;
      one that is not there must be finite.
    - ``COMPLEMENTS``: the names of the numbers β of which it needs 1 − β, formed
      in float64: it declares a field ``one_minus_β`` for each, as `Adam` does.
    """

    ROWS: ClassVar[Mapping[str, Convention]] = {"thalweg": Convention(decays_biases=False)}
    BOUNDS: ClassVar[Mapping[str, Mapping[str, float]]] = {
        "momentum": _SHARE,
        "dampening": _SHARE,
        "weight_decay": {"least": 0.0},
        "decay": _SHARE,
        "beta1": _SHARE,
        "beta2": _SHARE,
        # Not 0: an entry whose gradients have all been 0 would be moved by 0/0.
        "epsilon": {"above": 0.0},
        "initial_accumulator": {"least": 0.0},
    }
    COMPLEMENTS: ClassVar[tuple[str, ...]] = ()
    weight_decay: Number
    convention: Any = eqx.field(static=True)

    def __check_init__(self) -> None:
        # For each name in COMPLEMENTS a leaf one_minus_name: in float32, 1 - 0.9999 would be off by 2e-4. It is set
        # here, after Equinox's look at the fields, because Equinox warns of derived fields: differentiating by the
        # original would miss them. Nothing here differentiates by a hyperparameter.
        fields = {field.name for field in dataclasses.fields(self)}
        for name in self.COMPLEMENTS:
            if f"one_minus_{name}" not in fields:
                raise UsageError(
                    f"{self.name}: COMPLEMENTS names {name!r}, and there is no field for it; declare "
                    f"one_minus_{name}: Number = eqx.field(init=False, default=None, repr=False)"
                )
            object.__setattr__(self, f"one_minus_{name}", complement(getattr(self, name)))

    @property
    def rules(self) -> Convention:
        """How this optimizer's convention carries it out."""
        return self.ROWS[self.convention]

    def decay_scale(self, count: Any) -> jax.Array:
        """What decoupled decay is multiplied by at step ``count``: the learning rate."""
        return self.rate(count)

    def fill(self, convention: Any, learning_rate: Any, **numbers: Number | None) -> None:
        """Set the fields of the given names: absent numbers by the convention, all of them checked."""
        filled = with_defaults(self.name, self.ROWS, convention, {"learning_rate": learning_rate, **numbers})
        rate = filled.pop("learning_rate")
        self.convention = convention
        self.learning_rate = None if rate is None else as_schedule(rate)
        for name, value in filled.items():
            check_optional(self.name, name, value, **self.BOUNDS.get(name, {}))
            setattr(self, name, value)

    def root(self, square: Any, epsilon: Any) -> jax.Array:
        """Return √s + ε, or √(s + ε) where the convention has ε inside."""
        if self.rules.epsilon == "inside":
            return jnp.sqrt(square + epsilon)
        return jnp.sqrt(square) + epsilon

    def with_coupled_decay(self, gradients: Tree, params: Tree) -> Tree:
        """Return gradients + weight_decay · params where decay is coupled, else gradients."""
        if self.weight_decay is None or self.rules.decay != "coupled":
            return gradients
        return self._add_decay(gradients, params, self.weight_decay)

    def with_decoupled_decay(self, updates: Tree, params: Tree, count: Any) -> Tree:
        """Return updates − scale · weight_decay · params where decay is decoupled, else updates."""
        if self.weight_decay is None or self.rules.decay != "decoupled":
            return updates
        return self._add_decay(updates, params, -self.decay_scale(count) * self.weight_decay)

    def _add_decay(self, tree: Tree, params: Tree, factor: Any) -> Tree:
        if params is None:
            raise UsageError(f"{self.name}: weight decay needs the parameters: update(gradients, state, params)")
        if self.rules.decays_biases:
            return map_leaves(lambda f, t, x: t + f * x, factor, tree, params)
        mask = weight_mask(params)
        return map_leaves(lambda f, t, x, decays: t + f * x if decays else t, factor, tree, params, mask)


def map_leaves(function: Callable[..., Any], numbers: Any, tree: Tree, *trees: Tree) -> Tree:
    """Map ``function(numbers, leaf, *leaves)`` over trees, the numbers rounded to each leaf's type.

    Without that rounding a float64 number would make a float64 state of float32 params.
    """

    def apply(leaf: Any, *leaves: Any) -> Any:
        rounded = jax.tree.map(lambda number: jnp.asarray(number, leaf.dtype), numbers)
        return function(rounded, leaf, *leaves)

    return jax.tree.map(apply, tree, *trees)


def zeros_like(params: Tree) -> Tree:
    return jax.tree.map(jnp.zeros_like, params)


def average(weight: Any, means: Tree, values: Tree) -> Tree:
    """Return the leaky means moved by ``weight`` = 1 − β towards the values.

    The form m + (1 − β)(g − m) holds a constant g exactly; in βm + (1 − β)g the
    rounded β and 1 − β do not add up to 1, an error of 3e-4 in float32 at β = 0.9999.
    """
    return map_leaves(lambda w, m, g: m + w * (g - m), weight, means, values)


def settle(*moments: Tree) -> tuple[Tree, ...]:
    """Return the moments as they are, computed before anything that reads them.

    Left to itself, XLA forms the new moments once for the state and again within
    the parameters' update, which then reads the old ones; so these cannot be
    overwritten in place, and each costs a copy at every step.
    """
    return jax.lax.optimization_barrier(moments)


def complement(value: Number | None) -> Number | None:
    """Return 1 − value, formed in float64 unless the value is a JAX array; None for a range or None."""
    if value is None or is_open(value):
        return None
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.astype(np.float64)
    return 1 - value


def corrections(weight: Any, count: Any) -> jax.Array:
    """Return 1 − βᵗ from weight = 1 − β, accurate in float32 also where β is near 1."""
    return -jnp.expm1(count * jnp.log1p(-jnp.asarray(weight)))

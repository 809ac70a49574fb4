"""Gradient descent: plain, with momentum, with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import Number, check_flag, check_option, is_open
from thalweg.optimizers.base import Conventional, Tree, map_leaves, settle, zeros_like
from thalweg.optimizers.conventions import Convention, rows_of
from thalweg.ranges import Choice

__all__ = ["SGD", "SGDState"]

FORMS = ("outside", "inside", "lookahead")


class SGDState(NamedTuple):
    """Steps taken, and the momentum's buffer (None without momentum)."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as Optax's states do
    velocity: Tree


class SGD(Conventional):
    """Gradient descent, on minibatches or on all examples.

    Without momentum x −= α g. With momentum ρ (Polyak 1964), by ``form``:

    - "outside": v = ρv + g, x −= αv: the learning rate is outside the buffer;
    - "inside": v = ρv − αg, x += v. The same x while α is constant; when α
      changes, steps already in the buffer keep the rate they were taken with.

    With Nesterov's momentum (Nesterov 1983, Sutskever et al. 2013),
    v' = ρv − α∇f(x + ρv), x' = x + v', the parameters that the caller holds are
    x̃ = x + ρv, the point where the gradient is wanted:

    - "inside": x̃ += v' + ρ(v' − v), the rewritten form;
    - "lookahead": the recursion itself: x is recovered from x̃, moved, and looks ahead;
    - "outside": v' = ρv + g, x̃ −= α(g + ρv'), as in PyTorch and Optax.

    The three agree while α is constant; ``position`` gives x.

    Arguments:
        learning_rate: α, a number or a schedule.
        momentum: ρ in [0, 1), often 0.9 or 0.99; None keeps no buffer.
        nesterov: whether the momentum is Nesterov's.
        dampening: d; the buffer receives (1 − d) g, in PyTorch's convention from the
            second step on. None is none.
        weight_decay: λ; None is none. Its gradient λx joins g (in Keras'
            convention x −= αλx beside the step). Biases are spared in the
            "thalweg" convention.
        form: see above; None is the convention's: "outside" in "thalweg" for
            momentum (row E4), "inside" for Nesterov's (row E5).
        convention: "thalweg", "torch", "optax" or "keras".
    """

    name: ClassVar[str] = "SGD"
    ROWS: ClassVar[Mapping[str, Convention]] = rows_of("SGD")
    COMPLEMENTS: ClassVar[tuple[str, ...]] = ("momentum", "dampening")
    momentum: Number
    nesterov: Any = eqx.field(static=True)
    dampening: Number
    form: Any = eqx.field(static=True)
    one_minus_momentum: Number = eqx.field(init=False, default=None, repr=False)
    one_minus_dampening: Number = eqx.field(init=False, default=None, repr=False)

    def __init__(
        self,
        learning_rate: Any = None,
        momentum: Number | None = None,
        nesterov: Any = False,
        dampening: Number | None = None,
        weight_decay: Number | None = None,
        form: Any = None,
        convention: Any = "thalweg",
    ) -> None:
        check_flag(self.name, "nesterov", nesterov)
        self.fill(convention, learning_rate, momentum=momentum, dampening=dampening, weight_decay=weight_decay)
        self.nesterov = nesterov
        self.form = self._form(form)
        self._check_together()

    def _form(self, form: Any) -> Any:
        if form is not None:
            check_option(self.name, "form", form, FORMS)
            return form
        if is_open(self.nesterov) or is_open(self.convention):
            return None
        return self.rules.nesterov_rate if self.nesterov else self.rules.rate

    def _check_together(self) -> None:
        if True in _options(self.nesterov):
            if None in _options(self.momentum):
                raise UsageError("SGD: nesterov needs momentum; give one, such as 0.9")
            if self.dampening is not None:
                raise UsageError("SGD: nesterov and dampening exclude each other; leave one out")
        elif "lookahead" in _options(self.form):
            raise UsageError("SGD: form 'lookahead' is Nesterov's; give nesterov=True")
        if self.dampening is not None and self.momentum is None:
            raise UsageError("SGD: dampening acts on momentum; give momentum, or leave dampening out")

    def init(self, params: Tree) -> SGDState:
        return SGDState(jnp.zeros((), jnp.int32), None if self.momentum is None else zeros_like(params))

    def update(self, gradients: Tree, state: SGDState, params: Tree = None) -> tuple[Tree, SGDState]:
        gradients = self.with_coupled_decay(gradients, params)
        rate = self.rate(state.count)
        if self.momentum is None:
            updates, velocity = map_leaves(lambda a, g: -a * g, rate, gradients), None
        else:
            (velocity,) = settle(self._velocity(gradients, state, rate))
            updates = self._step(gradients, state.velocity, velocity, rate, params)
        updates = self.with_decoupled_decay(updates, params, state.count)
        return updates, SGDState(state.count + 1, velocity)

    def _velocity(self, gradients: Tree, state: SGDState, rate: Any) -> Tree:
        scale = 1.0 if self.form == "outside" else -rate
        if self.dampening is not None:
            kept = self.one_minus_dampening
            scale = scale * (kept if self.rules.dampens_first else jnp.where(state.count == 0, 1.0, kept))
        return map_leaves(lambda n, g, v: n[0] * v + n[1] * g, (self.momentum, scale), gradients, state.velocity)

    def _step(self, gradients: Tree, old: Tree, new: Tree, rate: Any, params: Tree) -> Tree:
        numbers = (rate, self.momentum)
        if self.form == "outside":
            if self.nesterov:
                return map_leaves(lambda n, g, v: -n[0] * (g + n[1] * v), numbers, gradients, new)
            return map_leaves(lambda n, v: -n[0] * v, numbers, new)
        if not self.nesterov:
            return new
        if self.form == "inside":
            return map_leaves(lambda n, v, u: u + n[1] * (u - v), numbers, old, new)
        if params is None:
            raise UsageError("SGD: form 'lookahead' needs the parameters: update(gradients, state, params)")
        return map_leaves(lambda n, v, u, x: (x - n[1] * v + u) + n[1] * u - x, numbers, old, new, params)

    def position(self, params: Tree, state: SGDState) -> Tree:
        """Return x: the parameters themselves, but with Nesterov's momentum x = x̃ − ρv."""
        if not self.nesterov:
            return params
        scale = self.rate(state.count - 1) * self.momentum if self.form == "outside" else -self.momentum
        return map_leaves(lambda n, x, v: x + n * v, scale, params, state.velocity)

    def step_size(self, state: SGDState, params: Tree) -> Tree:
        size = self.rate(state.count - 1)
        if self.momentum is not None:
            size = size / self.one_minus_momentum
        if self.dampening is not None:
            size = size * self.one_minus_dampening
        return map_leaves(lambda a, x: jnp.full_like(x, a), size, params)


def _options(value: Any) -> list[Any]:
    """The words, flags and None that a field may take; its numbers are left out."""
    options = value.options if isinstance(value, Choice) else (value,)
    return [option for option in options if option is None or isinstance(option, (bool, str))]

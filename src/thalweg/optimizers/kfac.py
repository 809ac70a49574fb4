"""K-FAC: natural gradient steps for dense networks, by Kronecker-factored curvature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.errors import UsageError
from thalweg.fields import Number, check_integer, check_option
from thalweg.losses import Softmax
from thalweg.optimizers.base import Conventional, Tree, average, corrections, map_leaves, settle, zeros_like
from thalweg.optimizers.conventions import Convention
from thalweg.optimizers.kronecker import Factors, damped_inverses, fill, layers_of, observe, precondition

__all__ = ["KFAC", "KFACState", "Observations"]


class Observations(NamedTuple):
    """What `KFAC.observe` found in a batch, and the step's number."""

    step: jax.Array
    factors: Factors


class KFACState(NamedTuple):
    """Steps taken, batches observed, the momentum, the factors' leaky means, and their inverses in use."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as Optax's states do
    seen: jax.Array
    velocity: Tree
    factors: Factors
    inverses: Factors


class KFAC(Conventional):
    """K-FAC (Martens & Grosse 2015; Ba, Grosse & Martens 2017), for networks of affine layers.

    For a layer with inputs a (ending in 1 for the bias) and back-propagated
    gradients g, with V = [∂W ∂b] and leaky means A of a aᵀ and G of g gᵀ,

        U = (G + √λ/π I)⁻¹ V (A + π√λ I)⁻¹,  v = ρv + νU,  [W b] −= α (v + μ[W 0]),

    where λ is the damping, π² the ratio of the mean eigenvalues of A and G, and
    ν = min(1, √(κ / q)) with q = ½α² Σ ⟨U, V⟩, which is (to second order) how
    far the step would move the predictions, as a Kullback-Leibler divergence:
    it may be κ at most. That bound lets one learning rate serve widely.
    Parameters outside of such layers (normalisation's) take the momentum step
    with U = their gradient.

    The model must have ``trace``, as `models.Dense` has; a training step calls
    ``observe`` and hands its result to ``update``. Without it, update goes on
    with the curvature that the state holds (before the first, the identity).

    A layer of n inputs and m outputs costs 2 (n + 1)² + 2 m² numbers of state a
    trial (76 MB for 3,072 inputs in float32), 2m (n + 1)² operations a step
    beside the gradient, another pass through the network, and every
    ``interval`` steps about (n + 1)³ for the inverse. The first layer's a aᵀ
    are formed once for all trials.

    No entry moves by itself, so there is no ``step_size``.

    Arguments:
        learning_rate: α, a number or a schedule; 0.3 by default. Without momentum 1 is
            the whole step of the quadratic model; with it, κ bounds the step long before.
        momentum: ρ, by default 0.9.
        damping: λ, by default 0.03. The larger, the nearer to gradient descent.
        decay: of the leaky means A and G, by default 0.95; corrected as Adam's are.
        clip: κ, by default 1e-3; a large number such as 1e9 is no bound.
        weight_decay: μ, beside the step; None is none. Biases are spared.
        interval: steps from one inversion to the next, by default 10; static,
            so that the steps between do not compute it.
        fisher: "sampled" draws the labels of G from the model's softmax, as the
            Fisher matrix demands; "empirical" takes the data's labels, and is
            the only one for a loss that is no likelihood, such as the hinge.
    """

    name: ClassVar[str] = "KFAC"
    observes: ClassVar[bool] = True
    ROWS: ClassVar[Mapping[str, Convention]] = {
        "thalweg": Convention(
            {"learning_rate": 0.3, "momentum": 0.9, "damping": 0.03, "decay": 0.95, "clip": 1e-3},
            decay="decoupled",
            decays_biases=False,
        )
    }
    BOUNDS: ClassVar[Mapping[str, Mapping[str, float]]] = {
        **Conventional.BOUNDS,
        "damping": {"above": 0.0},  # at 0 a batch smaller than a layer leaves A singular
        "clip": {"above": 0.0},
    }
    COMPLEMENTS: ClassVar[tuple[str, ...]] = ("decay",)
    momentum: Number
    damping: Number
    decay: Number
    clip: Number
    interval: Any = eqx.field(static=True)
    fisher: Any = eqx.field(static=True)
    one_minus_decay: Number = eqx.field(init=False, default=None, repr=False)

    def __init__(
        self,
        learning_rate: Any = None,
        momentum: Number | None = None,
        damping: Number | None = None,
        decay: Number | None = None,
        clip: Number | None = None,
        weight_decay: Number | None = None,
        interval: Any = 10,
        fisher: Any = "sampled",
        convention: Any = "thalweg",
    ) -> None:
        check_integer(self.name, "interval", interval, least=1)
        check_option(self.name, "fisher", fisher, ("sampled", "empirical"))
        self.fill(
            convention, learning_rate, momentum=momentum, damping=damping, decay=decay, clip=clip,
            weight_decay=weight_decay,
        )  # fmt: skip
        self.interval = interval
        self.fisher = fisher

    def init(self, params: Tree) -> KFACState:
        layers = layers_of(params)
        count, seen = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        return KFACState(count, seen, zeros_like(params), fill(layers, 0.0), fill(layers, 1.0))

    def observe(
        self, recipe: Any, params: Tree, model_state: Any, x: Any, labels: Any, weight: Any, step: Any, key: Any
    ) -> Observations:
        """Return a batch's factors for `update`.

        Arguments:
            recipe: has the model, with its ``trace(params, state, x, taps, *, key,
                training) -> (scores, state, inputs)``, and the loss.
            x, labels, weight: the batch (B, ...), (B,), (B,); weight 0 counts for nothing.
            step: the step's number; one for all trials, so that what is done
                every ``interval`` steps stays a branch of the program.
            key: the step's, from which the model draws its dropout.

        Raises a UsageError for a model without trace, and for sampled labels
        where the loss has no softmax to draw them from.
        """
        if not hasattr(recipe.model, "trace"):
            raise UsageError(
                f"KFAC: the model {type(recipe.model).__name__} has no trace, which gives the inputs of its layers; "
                "take models.Dense, or another optimizer"
            )
        sampled = self.fisher == "sampled"
        if sampled and not isinstance(recipe.loss, Softmax):
            raise UsageError(
                f"KFAC: labels can be sampled from a softmax only, and the loss is {type(recipe.loss).__name__}; "
                "give KFAC(fisher='empirical'), or losses.Softmax()"
            )
        targets = None if sampled else labels
        return Observations(step, observe(recipe.model, recipe.loss, params, model_state, x, targets, weight, key))

    def update(
        self, gradients: Tree, state: KFACState, params: Tree = None, observations: Observations | None = None
    ) -> tuple[Tree, KFACState]:
        if observations is not None:
            state = self._learn(state, observations)
        rate = self.rate(state.count)
        natural = precondition(gradients, state.inverses)
        natural = self._clipped(natural, gradients, rate)
        (velocity,) = settle(map_leaves(lambda rho, v, u: rho * v + u, self.momentum, state.velocity, natural))
        updates = map_leaves(lambda a, v: -a * v, rate, velocity)
        updates = self.with_decoupled_decay(updates, params, state.count)
        return updates, state._replace(count=state.count + 1, velocity=velocity)

    def _learn(self, state: KFACState, observations: Observations) -> KFACState:
        """Move the means towards a batch's factors, and invert them where the interval is over."""
        seen = state.seen + 1
        factors = average(self.one_minus_decay, state.factors, observations.factors)

        def invert() -> Factors:
            correction = corrections(self.one_minus_decay, seen)
            return damped_inverses(map_leaves(lambda c, m: m / c, correction, factors), self.damping)

        inverses = jax.lax.cond(observations.step % self.interval == 0, invert, lambda: state.inverses)
        return state._replace(seen=seen, factors=factors, inverses=inverses)

    def _clipped(self, natural: Tree, gradients: Tree, rate: Any) -> Tree:
        """Return νU of the layers."""
        layers = layers_of(natural)
        pairs = [(layers[n][k], gradients[n][k]) for n in layers for k in ("weight", "bias") if k in layers[n]]
        if not pairs:
            return natural
        moved = jnp.square(rate) / 2 * sum(jnp.sum(u * v) for u, v in pairs)
        factor = jnp.sqrt(self.clip / jnp.maximum(moved, self.clip))
        scaled = {
            n: {k: factor.astype(u.dtype) * u if k in ("weight", "bias") else u for k, u in layer.items()}
            for n, layer in layers.items()
        }
        return {**natural, **scaled}

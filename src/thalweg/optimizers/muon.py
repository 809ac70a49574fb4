"""Muon: momentum whose matrices are made orthogonal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from thalweg.fields import Number, check_flag, check_integer
from thalweg.optimizers.base import Conventional, Tree, average, corrections, map_leaves, settle, zeros_like
from thalweg.optimizers.conventions import Convention
from thalweg.penalties import weight_mask

__all__ = ["Muon", "MuonState", "orthogonalise"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class MuonState(NamedTuple):
    """Steps taken, the matrices' momentum, and Adam's two means of all else (None in the others' places)."""

    count: jax.Array  # type: ignore[assignment]  # hides tuple.count, as Optax's states do
    momentum: Tree
    first: Tree
    second: Tree


class Muon(Conventional):
    """Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks").

    For a weight matrix W (out, in) with gradient g,

        m += (1 − μ)(g − m),   u = g + μ(m − g) (without Nesterov u = m),
        W −= α √max(1, out/in) · orthogonal(u) + αλW,

    where orthogonal(USVᵀ) ≈ UVᵀ: all directions of the step get one length,
    the rare ones too. The factor makes the step of a tall matrix as long, by the
    root mean square of its outputs, as that of a square one.

    Matrices are all leaves of two or more axes that penalties count
    (`penalties.weight_mask`), the scores' layer among them; a convolution's
    kernel (height, width, in, out) is taken as the matrix (out, height · width · in).
    Biases, normalisation's numbers and vectors are stepped by Adam at the rate
    ``others_rate`` · α.

    No entry of a matrix moves by itself, so there is no ``step_size``.

    Arguments:
        learning_rate: α, a number or a schedule; 0.02 by default, the author's.
        momentum: μ, by default 0.95.
        nesterov: whether the step looks ahead, as by default.
        steps: of the Newton-Schulz iteration, by default 5; each costs three
            products of a matrix of W's smaller side with itself or with W.
        weight_decay: λ, beside the step; None is none. Biases are spared.
        others_rate: by default 0.015, which makes 3e-4 of the rate 0.02.
        beta1, beta2, epsilon: of Adam, by default 0.9, 0.999 and 1e-8.
    """

    name: ClassVar[str] = "Muon"
    ROWS: ClassVar[Mapping[str, Convention]] = {
        "thalweg": Convention(
            {"learning_rate": 0.02, "momentum": 0.95, "others_rate": 0.015}
            | {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
            decay="decoupled",
            decays_biases=False,
        )
    }
    BOUNDS: ClassVar[Mapping[str, Mapping[str, float]]] = {**Conventional.BOUNDS, "others_rate": {"least": 0.0}}
    COMPLEMENTS: ClassVar[tuple[str, ...]] = ("momentum", "beta1", "beta2")
    momentum: Number
    nesterov: Any = eqx.field(static=True)
    steps: Any = eqx.field(static=True)
    others_rate: Number
    beta1: Number
    beta2: Number
    epsilon: Number
    one_minus_momentum: Number = eqx.field(init=False, default=None, repr=False)
    one_minus_beta1: Number = eqx.field(init=False, default=None, repr=False)
    one_minus_beta2: Number = eqx.field(init=False, default=None, repr=False)

    def __init__(
        self,
        learning_rate: Any = None,
        momentum: Number | None = None,
        nesterov: Any = True,
        steps: Any = 5,
        weight_decay: Number | None = None,
        others_rate: Number | None = None,
        beta1: Number | None = None,
        beta2: Number | None = None,
        epsilon: Number | None = None,
        convention: Any = "thalweg",
    ) -> None:
        check_flag(self.name, "nesterov", nesterov)
        check_integer(self.name, "steps", steps, least=1)
        self.fill(
            convention, learning_rate, momentum=momentum, weight_decay=weight_decay, others_rate=others_rate,
            beta1=beta1, beta2=beta2, epsilon=epsilon,
        )  # fmt: skip
        self.nesterov = nesterov
        self.steps = steps

    def init(self, params: Tree) -> MuonState:
        matrices, others = _split(params)
        count = jnp.zeros((), jnp.int32)
        return MuonState(count, zeros_like(matrices), zeros_like(others), zeros_like(others))

    def update(self, gradients: Tree, state: MuonState, params: Tree = None) -> tuple[Tree, MuonState]:
        matrices, others = _split(gradients)
        momentum = average(self.one_minus_momentum, state.momentum, matrices)
        first = average(self.one_minus_beta1, state.first, others)
        second = average(self.one_minus_beta2, state.second, jax.tree.map(jnp.square, others))
        after = MuonState(state.count + 1, *settle(momentum, first, second))
        rate = self.rate(state.count)
        updates = eqx.combine(self._turned(rate, matrices, after), self._others(rate * self.others_rate, after))
        return self.with_decoupled_decay(updates, params, state.count), after

    def _turned(self, rate: Any, gradients: Tree, after: MuonState) -> Tree:
        directions = after.momentum
        if self.nesterov:
            directions = map_leaves(lambda mu, g, m: g + mu * (m - g), self.momentum, gradients, directions)
        return map_leaves(lambda a, u: -a * _scaled(u, self.steps), rate, directions)

    def _others(self, rate: Any, after: MuonState) -> Tree:
        counted = (corrections(weight, after.count) for weight in (self.one_minus_beta1, self.one_minus_beta2))
        return map_leaves(
            lambda n, m, s: -n[0] * (m / n[1]) / (jnp.sqrt(s / n[2]) + n[3]),
            (rate, *counted, self.epsilon),
            after.first,
            after.second,
        )


def orthogonalise(matrix: jax.Array, steps: int = 5) -> jax.Array:
    """Return nearly UVᵀ of a matrix USVᵀ by Newton-Schulz iteration; of 0, 0.

    From X = M / ‖M‖_F, ``steps`` times X ← aX + (bG + cG²)X with G = XXᵀ and
    (a, b, c) = (3.4445, −4.7750, 2.0315). These coefficients, Jordan's, bring
    small singular values up fastest at the price of never settling: after 5 steps
    those above 1/500 of the norm lie in 0.68 ... 1.21. What follows needs no more.
    """
    a, b, c = _COEFFICIENTS
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T  # G of the smaller side
    # By the largest entry first: squares of gradients of 1e-25 would vanish.
    largest = jnp.max(jnp.abs(x), initial=0)
    x = x / jnp.where(largest > 0, largest, 1)
    x = x / jnp.maximum(jnp.linalg.norm(x), 1)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def _scaled(direction: jax.Array, steps: int) -> jax.Array:
    # A kernel's outputs are its last axis, a matrix's its first.
    matrix = direction if direction.ndim == 2 else direction.reshape(-1, direction.shape[-1]).T
    rows, columns = matrix.shape
    step = max(1.0, rows / max(columns, 1)) ** 0.5 * orthogonalise(matrix, steps)
    return step if direction.ndim == 2 else step.T.reshape(direction.shape)


def _split(tree: Tree) -> tuple[Tree, Tree]:
    """Return the tree's matrices and its other leaves, None in the places of the rest."""
    mask = jax.tree.map(lambda leaf, counts: counts and jnp.ndim(leaf) >= 2, tree, weight_mask(tree))
    matrices, others = eqx.partition(tree, mask)
    return matrices, others

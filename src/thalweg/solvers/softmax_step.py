"""One iteration of the softmax solver, for all its slots in one compiled program.

A slot holds one member of a `Problem` while it is solved. An iteration is

1. a quasi-Newton direction: L-BFGS's two loops (Nocedal and Wright 2006,
   algorithm 7.4) around the inverse of h Σ + 2 ridge I, which the `Spectrum` gives;
2. a line search on stored scores: they are linear along a direction,
   S(W + aP) = S + a S_P, so trying another a costs no product with the features;
3. a correction in the leading eigenvectors: a few conjugate-gradient steps on
   features (N, r) with r of some tens, at a small share of a full product's cost.
   The bound |∇|²/(4 ridge) weighs all directions alike, and nearly all of the
   gradient that the full step leaves lies where the features vary most: there the
   true curvature, weighted by p(1 − p) of each example, differs from h Σ. This
   halves the number of iterations;
4. the gradient at the new point.

So an iteration costs two products with the features, whatever happens in it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from thalweg.solvers.products import pull_back, scores_of

__all__ = ["Control", "Data", "State", "begin", "step"]

_MEMORY = 8  # pairs of L-BFGS; 5 to 30 took the same number of iterations
_INNER = 3  # steps of the correction: 1 saves a third of the iterations, 3 half, 6 no more
_SEARCH = 16  # evaluations of a line search, at most; nearly always 1
_SHRINK = 8  # of a step that went too far, while none is known that did not
_FLAT = 0.25  # a line search is done when the slope has fallen to this share


class Data(NamedTuple):
    """What all slots share; arguments of the compiled program, since captured constants take seconds to compile."""

    features: jax.Array  # (N, D) float32
    labels: jax.Array  # (N,) int32
    vectors: jax.Array  # (D, R), as are the values in float64 where they were found so: float32 rounds small
    values: jax.Array  # (R,)  directions into large ones, which slows badly scaled problems down
    rest: jax.Array  # ()
    leading: jax.Array  # (N, r): features times the first r vectors


class Control(NamedTuple):
    """What the host sets between iterations."""

    ridge: jax.Array  # (T,)
    omega: jax.Array  # (T, N): the weight of each example
    fresh: jax.Array  # (T,) bool: the slot takes up a new member, starting from:
    weights: jax.Array  # (T, C, D)
    bias: jax.Array  # (T, C)


class Coefficients(NamedTuple):
    """Weights and bias, or a direction or gradient in them."""

    weights: jax.Array  # (T, C, D)
    bias: jax.Array  # (T, C)


class State(NamedTuple):
    """T slots."""

    point: Coefficients
    scores: jax.Array  # (T, C, N)
    gradient: Coefficients
    curvature: jax.Array  # (T,): h, the mean eigenvalue of diag(p) − ppᵀ
    value: jax.Array  # (T,) float64
    moves: Coefficients  # (M, T, ...): the last M steps, newest first
    turns: Coefficients  # (M, T, ...): the change of the gradient over each
    strength: jax.Array  # (M, T): 1/⟨move, turn⟩, 0 where there is no pair


def begin(slots: int, classes: int, data: Data, dtype: Any) -> State:
    """Return empty slots."""
    count, width = data.features.shape

    def zeros(*shape: int) -> jax.Array:
        return jnp.zeros(shape, dtype)

    def point(*lead: int) -> Coefficients:
        return Coefficients(zeros(*lead, slots, classes, width), zeros(*lead, slots, classes))

    return State(
        point(), zeros(slots, classes, count), point(), jnp.full((slots,), 0.25, dtype),
        jnp.zeros((slots,), jnp.float64), point(_MEMORY), point(_MEMORY), zeros(_MEMORY, slots),
    )  # fmt: skip


@partial(jax.jit, donate_argnums=1)
def step(data: Data, state: State, control: Control) -> tuple[State, jax.Array]:
    """Advance all slots by one iteration; return also |∇_W|² (T,)."""
    fresh = control.fresh
    old = _where(fresh, Coefficients(*(jnp.zeros_like(x) for x in state.point)), state.point)
    scores = jnp.where(_like(fresh, state.scores), 0, state.scores)
    direction = _direction(data, state, control.ridge)
    direction = _where(fresh, Coefficients(control.weights, control.bias), direction)
    along = scores_of(data.features, direction.weights) + direction.bias[:, :, None]
    ridge = control.ridge.astype(scores.dtype)
    start = _inner(state.gradient, direction)
    length = _line_search(scores, along, data.labels, control.omega, start, _Quadratic.of(ridge, old, direction))
    length = jnp.where(fresh, 1, length)
    point = _add(old, length, direction)
    scores = scores + _like(length, scores) * along
    point, scores = _correct(data, control, point, scores, state.curvature)
    gradient, curvature, value = _gradient(data.features, data.labels, control, point, scores)

    keep = ~fresh
    move = Coefficients(*(new - before for new, before in zip(point, old, strict=True)))
    turn = Coefficients(*(new - before for new, before in zip(gradient, state.gradient, strict=True)))
    product = _inner(move, turn)
    sound = keep & (product > _limits(product.dtype).eps * jnp.sqrt(_inner(move, move) * _inner(turn, turn)))
    strength = jnp.where(sound, 1 / jnp.where(sound, product, 1), 0)
    kept = keep & (length > 0)  # a direction that led nowhere: begin again with the preconditioned gradient
    new = State(
        point, scores, gradient, curvature, value,
        moves=_push(state.moves, move), turns=_push(state.turns, turn),
        strength=jnp.concatenate([strength[None], jnp.where(kept[None, :], state.strength[:-1], 0)]),
    )  # fmt: skip
    return new, jnp.sum(jnp.square(gradient.weights.astype(jnp.float64)), axis=(1, 2))


def _direction(data: Data, state: State, ridge: jax.Array) -> Coefficients:
    """Return −H g by the two loops; a pair of strength 0 leaves everything as it is."""
    q = state.gradient
    shares = []
    for i in range(_MEMORY):
        move, turn = _pair(state, i)
        share = state.strength[i] * _inner(move, q)
        shares.append(share)
        q = _add(q, -share, turn)
    z = _precondition(data, q, state.curvature, ridge.astype(q.bias.dtype))
    for i in reversed(range(_MEMORY)):
        move, turn = _pair(state, i)
        z = _add(z, shares[i] - state.strength[i] * _inner(turn, z), move)
    return Coefficients(-z.weights, -z.bias)


def _precondition(data: Data, gradient: Coefficients, curvature: jax.Array, ridge: jax.Array) -> Coefficients:
    """Apply the inverse of h Σ + 2 ridge I to the weights, and 1/h to the bias: centred features decouple them."""
    g = gradient.weights
    members, classes, width = g.shape
    h, two = curvature[:, None, None], 2 * ridge[:, None, None]
    outside = 1 / (h * data.rest.astype(g.dtype) + two)
    inside = 1 / (h * data.values.astype(g.dtype)[None, None, :] + two) - outside
    vectors = data.vectors.astype(g.dtype)
    flat = g.reshape(members * classes, width)
    leading = jnp.matmul(flat, vectors, precision="highest").reshape(members, classes, -1) * inside
    back = jnp.matmul(leading.reshape(members * classes, -1), vectors.T, precision="highest").reshape(g.shape)
    return Coefficients(outside * g + back, gradient.bias / curvature[:, None])


class _Quadratic(NamedTuple):
    """ridge |W + aP|² as a function of a, less its constant."""

    linear: jax.Array
    square: jax.Array

    @classmethod
    def of(cls, ridge: jax.Array, point: Coefficients, direction: Coefficients) -> _Quadratic:
        linear = 2 * ridge * jnp.sum(point.weights * direction.weights, axis=(1, 2))
        return cls(linear, ridge * jnp.sum(direction.weights**2, axis=(1, 2)))


def _line_search(
    scores: jax.Array, along: jax.Array, labels: jax.Array, omega: jax.Array, start: jax.Array, penalty: _Quadratic
) -> jax.Array:
    """Return for each slot the a ≥ 0 at which φ(a), convex, is nearly least, given φ'(0): Newton on φ' in a bracket.

    What is returned never lies above φ(0), and is 0 where the direction does not descend.
    """

    def slopes(a: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, second = _slopes(scores + _like(a, scores) * along, along, labels, omega)
        return first + penalty.linear + 2 * a * penalty.square, second + 2 * penalty.square

    enough = _FLAT * jnp.abs(start)

    def unfinished(carry: tuple) -> jax.Array:
        done, count = carry[-2:]
        return (count < _SEARCH) & ~jnp.all(done)

    def improve(carry: tuple) -> tuple:
        a, low, high, done, count = carry
        first, second = slopes(a)
        flat = jnp.abs(first) <= enough
        low, high = jnp.where(first < 0, a, low), jnp.where(first < 0, high, a)
        newton = a - first / jnp.maximum(second, _limits(second.dtype).tiny)
        # Where nearly all examples are fitted, directions can be too long by orders of magnitude.
        inside = jnp.where(low > 0, (low + high) / 2, high / _SHRINK)
        fallback = jnp.where(jnp.isfinite(high), inside, 4 * a)
        good = (newton > low) & (newton < high) & (newton < 8 * a)
        # The last Newton step is taken on trust: φ' is flat already.
        return jnp.where(done, a, jnp.where(good, newton, fallback)), low, high, done | flat, count + 1

    one = jnp.ones_like(start)
    carry = (one, 0 * one, jnp.inf * one, ~(start < 0), jnp.zeros((), jnp.int32))
    a, low, _, done, _ = jax.lax.while_loop(unfinished, improve, carry)
    return jnp.where(start < 0, jnp.where(done, a, low), 0)


def _slopes(scores: jax.Array, along: jax.Array, labels: jax.Array, omega: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return Σ ω dℓ/da and Σ ω d²ℓ/da² (T,) of the softmax loss along a direction of scores."""
    e, _ = _exponentials(scores)
    first = e * along
    total, mean, square, true = _class_sums(e, first, first * along, jnp.where(_own(labels, scores), along, 0))
    mean = mean / total
    return jnp.sum(omega * (mean - true), axis=1), jnp.sum(omega * (square / total - mean**2), axis=1)


def _gradient(
    features: jax.Array, labels: jax.Array, control: Control, point: Coefficients, scores: jax.Array
) -> tuple[Coefficients, jax.Array, jax.Array]:
    """Return the gradient of the objective, h, and the value (float64)."""
    slopes, value, curvature = _loss(scores, labels, control.omega)
    ridge = control.ridge.astype(scores.dtype)[:, None, None]
    weights = pull_back(features, slopes) + 2 * ridge * point.weights
    penalty = control.ridge * jnp.sum(jnp.square(point.weights.astype(jnp.float64)), axis=(1, 2))
    return Coefficients(weights, jnp.sum(slopes, axis=2)), curvature, value + penalty


def _loss(scores: jax.Array, labels: jax.Array, omega: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return ω (p − y) (T, C, N), Σ ω ℓ (T,) in float64, and the mean over classes but one of Σ ω p(1 − p) (T,)."""
    own = _own(labels, scores)
    e, shifted = _exponentials(scores)
    others = jnp.where(own, 0, e)
    total, square, rest, true = _class_sums(e, e * e, others, jnp.where(own, shifted, 0))
    # p − 1 for the true class would cancel where the example is well fitted.
    slopes = jnp.where(own, -rest[:, None, :], others) * (omega / total)[:, None, :]
    value = jnp.sum((omega * (jnp.log(total) - true)).astype(jnp.float64), axis=1)
    spread = jnp.sum(omega * (1 - square / total**2), axis=1) / (scores.shape[1] - 1)
    return jax.lax.optimization_barrier(slopes), value, jnp.maximum(spread, 1e-6)


def _exponentials(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return exp(s − max s) and s − max s. The barrier keeps XLA from forming the exponentials once for every use."""
    shifted = scores - jnp.max(scores, axis=1, keepdims=True)
    return jax.lax.optimization_barrier((jnp.exp(shifted), shifted))


def _class_sums(*terms: jax.Array) -> tuple[jax.Array, ...]:
    """Sum several arrays (T, C, N) over the classes in one pass: a quarter of the time of separate sums."""
    zeros = tuple(jnp.zeros((), term.dtype) for term in terms)
    sums = jax.lax.reduce(terms, zeros, lambda x, y: tuple(a + b for a, b in zip(x, y, strict=True)), (1,))
    return tuple(jax.lax.optimization_barrier(sums))


def _correct(
    data: Data, control: Control, point: Coefficients, scores: jax.Array, curvature: jax.Array
) -> tuple[Coefficients, jax.Array]:
    """Take a few preconditioned conjugate-gradient steps within the leading eigenvectors and the bias."""
    rank = data.leading.shape[1]
    if rank == 0:
        return point, scores
    dtype = scores.dtype
    vectors = data.vectors[:, :rank].astype(dtype)
    members, classes, width = point.weights.shape
    start = jnp.matmul(point.weights.reshape(-1, width), vectors, precision="highest").reshape(members, classes, rank)
    h = curvature[:, None, None]
    metric = h * data.values[:rank].astype(dtype)[None, None, :] + 2 * control.ridge.astype(dtype)[:, None, None]

    def advance(_: Any, carry: tuple) -> tuple:
        here, scores, direction, last = carry
        gradient, _, _ = _gradient(data.leading, data.labels, control, here, scores)
        z = Coefficients(gradient.weights / metric, gradient.bias / curvature[:, None])
        size = _inner(gradient, z)
        ratio = jnp.where(last > 0, size / jnp.where(last > 0, last, 1), 0)  # Fletcher-Reeves
        direction = _add(Coefficients(-z.weights, -z.bias), ratio, direction)
        direction = _where(_inner(direction, gradient) < 0, direction, Coefficients(-z.weights, -z.bias))
        along = scores_of(data.leading, direction.weights) + direction.bias[:, :, None]
        penalty = _Quadratic.of(control.ridge.astype(dtype), here, direction)
        a = _line_search(scores, along, data.labels, control.omega, _inner(direction, gradient), penalty)
        return _add(here, a, direction), scores + _like(a, scores) * along, direction, size

    zero = Coefficients(jnp.zeros_like(start), jnp.zeros_like(point.bias))
    carry = (Coefficients(start, point.bias), scores, zero, jnp.zeros((members,), dtype))
    here, scores, _, _ = jax.lax.fori_loop(0, _INNER, advance, carry)
    moved = (here.weights - start).reshape(members * classes, rank)
    back = jnp.matmul(moved, vectors.T, precision="highest").reshape(point.weights.shape)
    return Coefficients(point.weights + back, here.bias), scores


def _limits(dtype: Any) -> np.finfo:
    return np.finfo(np.dtype(dtype))


def _own(labels: jax.Array, scores: jax.Array) -> jax.Array:
    """Return the mask (1, C, N) of the true classes."""
    classes = jax.lax.broadcasted_iota(labels.dtype, (1, *scores.shape[1:]), 1)
    return jnp.broadcast_to(labels[None, None, :] == classes, scores.shape)


def _like(number: jax.Array, array: jax.Array) -> jax.Array:
    """Give one number a slot (T,) the rank of an array (T, ...)."""
    return number.reshape(number.shape + (1,) * (array.ndim - 1))


def _where(condition: jax.Array, yes: Coefficients, no: Coefficients) -> Coefficients:
    return Coefficients(*(jnp.where(_like(condition, a), a, b) for a, b in zip(yes, no, strict=True)))


def _add(point: Coefficients, a: jax.Array, direction: Coefficients) -> Coefficients:
    return Coefficients(*(x + _like(a, x) * d for x, d in zip(point, direction, strict=True)))


def _inner(a: Coefficients, b: Coefficients) -> jax.Array:
    return jnp.sum(a.weights * b.weights, axis=(1, 2)) + jnp.sum(a.bias * b.bias, axis=1)


def _pair(state: State, i: int) -> tuple[Coefficients, Coefficients]:
    return Coefficients(*(x[i] for x in state.moves)), Coefficients(*(x[i] for x in state.turns))


def _push(stack: Coefficients, newest: Coefficients) -> Coefficients:
    return Coefficients(*(jnp.concatenate([new[None], old[:-1]]) for old, new in zip(stack, newest, strict=True)))

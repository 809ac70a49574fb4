"""Common mistakes, planted in real gradients, are recognised; random errors are not given a name."""

from __future__ import annotations

import numpy as np
import pytest
from gradient_cases import smooth
from hypothesis import given, settings
from hypothesis import strategies as st

import thalweg as tw
from thalweg.errors import UsageError

RNG = np.random.default_rng(0)
COUNT, WIDTH, CLASSES = 40, 7, 5
X = RNG.normal(size=(COUNT, WIDTH))
Y = RNG.integers(CLASSES, size=COUNT)
POINT = {"W": RNG.normal(size=(WIDTH, CLASSES)), "b": RNG.normal(size=CLASSES)}
SQUARE = {"W": RNG.normal(size=(WIDTH, WIDTH)), "b": RNG.normal(size=WIDTH)}


def loss(point, ridge=0.0, lasso=0.0):
    """Mean softmax cross-entropy of a linear classifier and penalties on W."""
    scores = X @ point["W"] + point["b"]
    total = np.log(np.sum(np.exp(scores), axis=1))
    penalty = ridge * np.sum(point["W"] ** 2) + lasso * np.sum(np.abs(point["W"]))
    return np.mean(total - scores[np.arange(COUNT), Y]) + penalty


def gradient(point, ridge=0.0, lasso=0.0):
    scores = X @ point["W"] + point["b"]
    delta = np.exp(scores) / np.sum(np.exp(scores), axis=1, keepdims=True)
    delta[np.arange(COUNT), Y] -= 1
    delta /= COUNT
    return {"W": X.T @ delta + 2 * ridge * point["W"] + lasso * np.sign(point["W"]), "b": delta.sum(0)}


def scaled(factor):
    return lambda point: {name: factor * slope for name, slope in gradient(point).items()}


def hints(f, x, wrong, **options):
    verdict = tw.gradcheck(f, x, wrong, **options)
    assert verdict.status == "fail", verdict
    for hint in verdict.hints:
        assert f"looks like: {hint}" in str(verdict)
    return verdict.hints


@pytest.mark.parametrize("every", [100, 0])  # entry by entry; by directions, then some entries around the wrong one
@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (-1, "sign flipped"),
        (2, "a factor of 2 too large"),
        (0.5, "a factor of 1/2: the 2 of a square forgotten?"),
        (COUNT, f"a factor of {COUNT} too large"),
        (1 / COUNT, f"a factor of 1/{COUNT}"),
        (CLASSES, f"a factor of {CLASSES} too large: a sum over {CLASSES} where f takes the mean"),
        (1 / WIDTH, f"a factor of 1/{WIDTH}: a mean over {WIDTH} where f takes the sum"),
        (-2, "sign flipped, and a factor of 2 too large"),
        (1.37, "a constant factor of 1.37"),
    ],
)
def test_a_constant_factor(factor, words, every):
    assert hints(loss, POINT, scaled(factor), every=every) == (words,)


@pytest.mark.parametrize("leaf", ["W", "b"])
def test_a_forgotten_leaf(leaf):
    found = hints(loss, POINT, lambda point: {**gradient(point), leaf: np.zeros_like(point[leaf])})
    assert found == (f"the gradient of x['{leaf}'] is 0 throughout: forgotten?",)


def test_some_entries_masked_out():
    def wrong(point):
        slopes = gradient(point)
        slopes["W"][2] = 0
        return slopes

    assert hints(loss, POINT, wrong) == ("a gradient of 0 where f changes: masked out, or forgotten",)


@pytest.mark.parametrize("every", [100, 0])
def test_a_transposed_gradient(every):
    def f(point):
        return np.sum(np.sin(X @ point["W"] + point["b"]))

    def wrong(point):
        delta = np.cos(X @ point["W"] + point["b"])
        return {"W": (X.T @ delta).T, "b": delta.sum(0)}

    assert hints(f, SQUARE, wrong, every=every) == ("the gradient of x['W'] is transposed",)


@pytest.mark.parametrize("kind", ["ridge", "lasso"])
@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("every", [100, 0])
def test_a_penalty_forgotten_or_there_by_mistake(kind, missing, every):
    inside, outside = ({kind: 0.3}, {}) if missing else ({}, {kind: 0.3})
    (found,) = hints(lambda p: loss(p, **inside), POINT, lambda p: gradient(p, **outside), every=every)
    what = "is missing, all or in part" if missing else "is in it twice, or by mistake"
    term = {"ridge": "0.6 × x: the gradient of an L2", "lasso": "0.3 × sign(x): the gradient of an L1"}[kind]
    assert found == f"off by {term} penalty {what}"


@pytest.mark.parametrize(("sign", "word"), [(-1, "negative"), (1, "positive")])
def test_wrong_on_one_side_of_zero_alone(sign, word):
    """A leaky ReLU of which one slope is wrong, in a way that has no other name."""
    x = np.random.default_rng(1).normal(size=30)
    weights = np.random.default_rng(2).uniform(1, 2, 30)
    off = np.random.default_rng(3).uniform(1.2, 1.9, 30)

    def f(x):
        return np.sum(weights * np.where(x > 0, x, 0.1 * x))

    def wrong(x):
        return weights * np.where(x > 0, 1, 0.1) * np.where(np.sign(x) == sign, off, 1)

    assert hints(f, x, wrong) == (f"wrong only where x is {word}",)


def test_one_leaf_is_wrong_and_the_other_is_not_accused():
    (found,) = hints(loss, POINT, lambda point: {**gradient(point), "b": -gradient(point)["b"]})
    assert found == "sign flipped"
    verdict = tw.gradcheck(loss, POINT, lambda point: {**gradient(point), "b": -gradient(point)["b"]})
    assert {entry.leaf for entry in verdict.wrong} == {"['b']"}


@pytest.mark.parametrize(
    ("slope", "axes"),
    [
        (lambda delta: delta, "axis 0"),
        (lambda delta: delta[:, None, :] * np.ones((1, 2, 1)) / 2, r"axis \(0, 1\)"),
    ],
)
def test_a_broadcast_bias_that_was_not_summed(slope, axes):
    def wrong(point):
        delta = np.ones((COUNT, CLASSES)) / COUNT
        return {**gradient(point), "b": slope(delta)}

    with pytest.raises(UsageError, match=rf"gradient\['b'\] has shape .* so sum the gradient over {axes}"):
        tw.gradcheck(loss, POINT, wrong)


def test_a_kept_axis_that_was_not_summed_and_a_transposed_shape():
    x = np.ones((1, 4))
    with pytest.raises(UsageError, match=r"must be \(1, 4\): x is broadcast there, so sum .* over axis 0, kept"):
        tw.gradcheck(lambda x: np.sum(np.ones((3, 4)) * x), x, lambda x: np.ones((3, 4)))
    with pytest.raises(UsageError, match=r"must be \(2, 3\): transposed\?"):
        tw.gradcheck(np.sum, np.ones((2, 3)), lambda x: np.ones((3, 2)))


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(8, 300), st.sampled_from(["shift", "factor"]))
def test_random_errors_have_no_name(seed, size, kind):
    f, right, x = smooth(size, seed)
    noise = np.random.default_rng(seed + 1).normal(size=size)

    def wrong(x):
        return right(x) + noise if kind == "shift" else right(x) * (1 + noise)

    assert hints(f, x, wrong) == ()


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_random_errors_in_a_square_matrix_are_no_transposition(seed):
    f, right, x = smooth(36, seed)
    noise = np.random.default_rng(seed + 1).normal(size=(6, 6))
    found = hints(lambda x: f(x.reshape(-1)), x.reshape(6, 6), lambda x: right(x.reshape(-1)).reshape(6, 6) + noise)
    assert found == ()

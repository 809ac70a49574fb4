"""Losses beside exact decimal arithmetic, the specification's numbers, and the edges of the floating-point range."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.errors import UsageError
from thalweg.losses import Hinge, Loss, Softmax

BOTH = [Softmax(), Hinge()]


def exact_softmax(scores: np.ndarray, label: int) -> tuple[float, np.ndarray]:
    """Loss and gradient of one example in 400 decimal digits, rounded once.

    So many, because 1 + 1e-300 must keep the digits of 1e-300.
    """
    with decimal.localcontext() as context:
        context.prec = 400
        exact = [decimal.Decimal(float(s)) for s in scores]
        powers = [(s - max(exact)).exp() for s in exact]
        total = sum(powers)
        loss = total.ln() - (exact[label] - max(exact))
        others = sum(p for j, p in enumerate(powers) if j != label)
        slopes = [-others / total if j == label else p / total for j, p in enumerate(powers)]
        return float(loss), np.array([float(s) for s in slopes])


def exact_hinge(scores: np.ndarray, label: int) -> tuple[float, np.ndarray]:
    exact = [Fraction(float(s)) for s in scores]
    excess = [0 if j == label else max(Fraction(0), s - exact[label] + 1) for j, s in enumerate(exact)]
    slopes = np.array([float(e > 0) for e in excess])
    slopes[label] = -slopes.sum()
    return float(sum(excess)), slopes


@jax.jit
def compiled_loss_and_gradient(loss: Loss, scores: jax.Array, label: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.value_and_grad(lambda s: loss(s[None], label[None])[0])(scores)


def loss_and_gradient(loss: Loss, scores: np.ndarray, label: int) -> tuple[float, np.ndarray]:
    value, slopes = compiled_loss_and_gradient(loss, jnp.asarray(scores), jnp.asarray(label))
    assert value.dtype == slopes.dtype == scores.dtype
    return float(value), np.asarray(slopes, np.float64)


# The specification's numbers (rows B1 to B3), worked by hand there and exact in decimals here.
@pytest.mark.parametrize(
    ("loss", "scores", "label", "expected"),
    [
        (Softmax(), (3.2, 5.1, -1.7), 0, 2.040355),
        (Hinge(), (3.2, 5.1, -1.7), 0, 2.9),
        (Hinge(), (1.3, 4.9, 2.0), 1, 0.0),
        (Hinge(), (2.2, 2.5, -3.1), 2, 12.9),
        (Hinge(), (-2.85, 0.86, 0.28), 2, 1.58),
        (Softmax(), (-2.85, 0.86, 0.28), 2, 1.040190),
    ],
)
def test_specification_numbers(loss, scores, label, expected):
    value = loss(jnp.array([scores]), jnp.array([label]))
    assert value.shape == (1,)
    np.testing.assert_allclose(value[0], expected, atol=2e-6)  # float32, and six decimals in the table


def test_specification_probabilities():
    slopes = jax.grad(lambda s: Softmax()(s[None], jnp.array([0]))[0])(jnp.array([3.2, 5.1, -1.7]))
    np.testing.assert_array_equal(np.round(slopes + jnp.array([1.0, 0, 0]), 2), np.float32([0.13, 0.87, 0.0]))


def test_hinge_mean_of_the_three_images():
    scores = jnp.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    assert round(float(jnp.mean(Hinge()(scores, jnp.arange(3)))), 2) == 5.27


def test_doubling_the_weights_keeps_a_zero_hinge_at_zero():
    assert Hinge()(2 * jnp.array([[1.3, 4.9, 2.0]]), jnp.array([1]))[0] == 0


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_loss_before_training(classes):
    scores, labels = jnp.zeros((1, classes)), jnp.array([classes - 1])
    np.testing.assert_allclose(Softmax()(scores, labels), [math.log(classes)], rtol=2e-7)  # row D5
    np.testing.assert_array_equal(Hinge()(scores, labels), [classes - 1])


EXTREMES = [
    ([1e30, 1e30], 0),  # ln 2 at any height
    ([1e30, -1e30], 1),
    ([1e30, -1e30], 0),
    ([1e5, 0.0, -1e5], 0),
    ([1e5, 0.0, -1e5], 1),
    ([1e5, 0.0, -1e5], 2),
    ([0.0, -30.0], 0),  # a loss of 9.4e-14: log(1 + x) would give 0
    ([0.0, -80.0, -81.0], 0),
    ([0.0, -1e-6], 0),
    ([-1e-6, 0.0], 0),
    ([17.0, 17.0, 17.0, -50.0], 2),
    ([1e-40, 0.0], 1),
]


@pytest.mark.parametrize(("scores", "label"), EXTREMES)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 5e-7), (np.float64, 1e-15)])
def test_softmax_at_extremes(scores, label, dtype, rtol):
    # Relative even where the loss is 1e-14: 4 units in the last place, for two sums, a logarithm and a quotient.
    with jax.enable_x64(dtype == np.float64):
        scores = np.array(scores, dtype)
        loss, slopes = loss_and_gradient(Softmax(), scores, label)
    expected, expected_slopes = exact_softmax(scores, label)
    np.testing.assert_allclose(loss, expected, rtol=rtol)
    tiny = np.finfo(dtype).tiny  # the processor may flush what is smaller to 0
    np.testing.assert_allclose(slopes, expected_slopes, rtol=rtol, atol=tiny)


# Few sizes: each compiles anew.
examples = st.sampled_from([2, 3, 10]).flatmap(
    lambda classes: st.tuples(
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=classes, max_size=classes), st.integers(0, classes - 1)
    )
)


@given(examples)
def test_softmax_agrees_with_decimals(example):
    scores, label = np.array(example[0]), example[1]
    with jax.enable_x64(True):
        loss, slopes = loss_and_gradient(Softmax(), scores, label)
    expected, expected_slopes = exact_softmax(scores, label)
    # The difference s_j − m is rounded once: at 1e4 that is 1e-12 in the exponent.
    np.testing.assert_allclose(loss, expected, rtol=3e-12, atol=1e-300)
    np.testing.assert_allclose(slopes, expected_slopes, rtol=1e-11, atol=1e-300)


eighths = st.sampled_from([2, 3, 10]).flatmap(
    lambda classes: st.tuples(
        st.lists(st.integers(-800, 800), min_size=classes, max_size=classes), st.integers(0, classes - 1)
    )
)


@given(eighths, st.sampled_from([np.float32, np.float64]))
def test_hinge_is_exact_where_arithmetic_is(example, dtype):
    scores, label = np.array(example[0], dtype) / 8, example[1]  # multiples of 1/8: no rounding, and many kinks
    with jax.enable_x64(dtype == np.float64):
        loss, slopes = loss_and_gradient(Hinge(), scores, label)
    expected, expected_slopes = exact_hinge(scores, label)
    assert loss == expected
    np.testing.assert_array_equal(slopes, expected_slopes)


def test_hinge_gradient_at_the_kink_is_that_of_the_flat_side():
    _, slopes = loss_and_gradient(Hinge(), np.float32([1, 2, 2]), 1)
    np.testing.assert_array_equal(slopes, [0, -1, 1])  # 1 − 2 + 1 = 0 is the kink, 2 − 2 + 1 = 1 is past it


def test_softmax_second_derivative(x64):
    scores = jnp.array([0.3, 0.3, -1.2, 0.3])  # ties for the maximum, where a derivative of max would be split
    hessian = jax.hessian(lambda s: Softmax()(s[None], jnp.array([1]))[0])(scores)
    p = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=1e-15)


@pytest.mark.parametrize("loss", BOTH)
def test_impossible_class_and_bad_numbers(loss):
    low = jnp.array([[2.0, -jnp.inf]])
    assert loss(low, jnp.array([0]))[0] == 0
    assert not jnp.isfinite(loss(low, jnp.array([1])))[0]
    assert jnp.isnan(loss(jnp.array([[jnp.nan, 1.0], [1.0, jnp.nan]]), jnp.array([1, 1]))).all()
    assert jnp.isnan(loss(jnp.array([[jnp.inf, 1.0]]), jnp.array([0])))[0]  # a trial that overflowed must be seen


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize("label", [-1, 3, 2**31 - 1])
def test_label_that_is_no_class_is_infinitely_wrong(loss, label):
    value = loss(jnp.zeros((2, 3)), jnp.array([label, 0]))
    assert value[0] == jnp.inf
    assert jnp.isfinite(value[1])


@pytest.mark.parametrize("loss", BOTH)
def test_no_gather_in_either_direction(loss):
    labels = jnp.zeros(4, jnp.int32)
    program = str(jax.make_jaxpr(jax.value_and_grad(lambda s: jnp.sum(loss(s, labels))))(jnp.zeros((4, 3))))
    assert "gather" not in program
    assert "scatter" not in program


@pytest.mark.parametrize("loss", BOTH)
def test_labels_that_do_not_fit_are_refused(loss):
    for labels in (jnp.zeros((4, 1), int), jnp.zeros(3, int), jnp.zeros(4)):
        with pytest.raises(UsageError, match="one whole number per row"):
            loss(jnp.zeros((4, 3)), labels)


def test_whole_number_scores_and_small_label_types():
    for dtype in (np.uint8, np.int8, np.int64):
        assert Hinge()(np.array([[1, 2]]), np.array([0], dtype))[0] == 2


def test_smoothness_and_names():
    assert (Softmax.smooth, Hinge.smooth) == (True, False)
    assert (Softmax.kind, Hinge.kind) == ("softmax", "hinge")
    assert all(isinstance(loss, Loss) for loss in BOTH)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing_beside_pytorch(smoothing, x64):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    scores, labels = 5 * rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    given = torch.tensor(scores, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(given, torch.tensor(labels), label_smoothing=smoothing)
    expected.backward()
    ours, slope = jax.value_and_grad(lambda s: jnp.mean(Softmax(smoothing)(s, jnp.asarray(labels))))(
        jnp.asarray(scores)
    )
    np.testing.assert_allclose(ours, expected.item(), rtol=1e-13)
    np.testing.assert_allclose(slope, given.grad, atol=1e-14)


def test_label_smoothing_of_nothing_is_the_plain_loss_at_extremes_too():
    scores = jnp.asarray([[0, 1, -jnp.inf], [3e38, 3e38, 0]], jnp.float32)
    labels = jnp.asarray([0, 1])
    np.testing.assert_array_equal(Softmax(0.0)(scores, labels), Softmax()(scores, labels))
    assert np.isfinite(Softmax(0.1)(scores, labels)[1])


def test_label_smoothing_outside_its_range_is_refused():
    with pytest.raises(UsageError, match=r"smoothing is 1\.5"):
        Softmax(1.5)

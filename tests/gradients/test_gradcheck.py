"""gradcheck: planted errors are found and named, right gradients pass, and what hides the answer is said."""

from __future__ import annotations

import json
import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_cases import smooth, spoiled
from hypothesis import example, given, settings
from hypothesis import strategies as st

import thalweg as tw

CHANGES = {
    "factor 2": lambda g: 2 * g,
    "factor 0.5": lambda g: g / 2,
    "off by 1e-4": lambda g: g * (1 + 1e-4),
    "sign": lambda g: -g,
    "zero": lambda g: 0.0,
    "offset": lambda g: g + 0.3,
    "huge": lambda g: 1e9,
}
# A line takes up to 31 evaluations, a step of the bisection up to 12, and 8 + 8 entries are compared beside it.
PER_UNIT = 20


def bound(size: int) -> float:
    """The evaluations allowed for one wrong entry: 64 + 2 log2 n, times a constant."""
    return PER_UNIT * (64 + 2 * math.log2(max(size, 2)))


def planted_error_is_named(size: int, seed: int, change: str, **options: object) -> tw.Verdict:
    f, gradient, x = smooth(size, seed)
    index = int(np.random.default_rng(seed).integers(size))
    verdict = tw.gradcheck(f, x, spoiled(gradient, index, CHANGES[change]), seed=seed, **options)
    assert verdict.status == "fail", verdict
    assert verdict.worst is not None
    assert verdict.worst.index == (index,), verdict
    assert verdict.worst.name == f"x[{index}]"
    right = float(gradient(x)[index])
    assert abs(verdict.worst.numeric - right) <= verdict.worst.error + 1e-12 * abs(right)
    np.testing.assert_allclose(verdict.worst.analytic, CHANGES[change](right), rtol=1e-12)
    assert len(verdict.wrong) == 1
    return verdict


@settings(max_examples=60)
@given(st.integers(1, 3000), st.integers(0, 10**6), st.sampled_from(list(CHANGES)))
@example(1, 0, "sign")
@example(100, 1, "off by 1e-4")
@example(101, 2, "off by 1e-4")
@example(3000, 3, "zero")
def test_one_wrong_entry_is_always_found_and_named(size, seed, change):
    verdict = planted_error_is_named(size, seed, change)
    assert verdict.evaluations <= max(bound(size), 40 * min(size, 100))


@settings(max_examples=15)
@given(st.integers(2, 100), st.integers(0, 10**6), st.sampled_from(list(CHANGES)))
def test_directions_find_the_same_in_small_points(size, seed, change):
    """``every=0`` leaves nothing to be checked one by one but what the bisection names."""
    planted_error_is_named(size, seed, change, every=0)


@settings(max_examples=60)
@given(st.integers(1, 3000), st.integers(0, 10**6))
@example(3000, 0)
def test_right_gradients_pass(size, seed):
    f, gradient, x = smooth(size, seed)
    verdict = tw.gradcheck(f, x, gradient, seed=seed)
    assert verdict.status == "pass", verdict
    assert verdict.worst is None
    assert verdict.wrong == ()


@pytest.mark.parametrize("seed", range(8))
def test_one_of_100_000_entries_wrong_by_a_factor_of_2(seed):
    size = 100_000
    verdict = planted_error_is_named(size, seed, "factor 2")
    assert verdict.evaluations <= bound(size)
    assert verdict.directions <= 24


@pytest.mark.parametrize("size", [5, 500])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_entry_that_is_not_finite_is_named_alone(size, bad):
    f, gradient, x = smooth(size, 0)
    verdict = tw.gradcheck(f, x, spoiled(gradient, 3, lambda g: bad))
    assert verdict.status == "fail"
    assert [entry.name for entry in verdict.wrong] == ["x[3]"]


@pytest.mark.parametrize("size", [5, 500])
@pytest.mark.parametrize(
    "bad",
    [
        math.nan,
        math.inf,
    ],
)
def test_a_gradient_that_is_not_finite_fails(size, bad):
    f, gradient, x = smooth(size, 0)
    verdict = tw.gradcheck(f, x, spoiled(gradient, 3, lambda g: bad))
    assert verdict.status == "fail"
    assert "the gradient is not finite" in str(verdict)


def test_entries_of_very_different_sizes():
    """One of the smallest entries is as well checked as the largest, 1e9 times its size."""
    sizes = np.repeat([1e6, 1.0, 1e-3], 100)
    x = np.random.default_rng(0).normal(size=300)

    def f(x):
        return np.sum(sizes * (2 * x + np.sin(x)))

    def gradient(x):
        return sizes * (2 + np.cos(x))

    assert tw.gradcheck(f, x, gradient).status == "pass"
    for index in (5, 150, 250):
        verdict = tw.gradcheck(f, x, spoiled(gradient, index, CHANGES["factor 2"]))
        assert verdict.status == "fail"
        assert verdict.worst.index == (index,)


@settings(max_examples=15)
@given(st.integers(101, 1000), st.integers(0, 1000))
def test_errors_that_cancel_along_one_direction_do_not_along_others(size, seed):
    """Two errors that cancel in the sum of all entries, which a checker with positive vectors sees."""
    f, gradient, x = smooth(size, seed)
    one, two = np.random.default_rng(seed).permutation(size)[:2]
    shift = np.zeros(size)
    shift[one], shift[two] = 1.0, -1.0
    verdict = tw.gradcheck(f, x, lambda x: gradient(x) + shift, seed=seed)
    assert verdict.status == "fail"
    assert verdict.worst.index[0] in (one, two)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_a_given_value_that_is_wrong_in_many_entries(seed):
    f, gradient, x = smooth(500, seed)
    noise = np.random.default_rng(seed).normal(size=500)
    verdict = tw.gradcheck(f, x, gradient(x) + 0.1 * noise)
    assert verdict.status == "fail"
    assert 1 <= len(verdict.wrong) <= 4
    assert "entries checked one by one are wrong" in str(verdict)


def test_many_errors_too_small_to_be_seen_one_by_one():
    """Each is within rtol + bars, and all together are not: said as such, with no entry accused."""
    f, gradient, x = smooth(2000, 0)
    verdict = tw.gradcheck(f, x, lambda x: gradient(x) * (1 + 3e-6), rtol=4e-6)
    assert verdict.status == "pass"
    verdict = tw.gradcheck(f, x, lambda x: gradient(x) * (1 + 3e-4))
    assert verdict.status == "fail"


# --- trees, shapes, outputs


def test_scalars():
    assert tw.gradcheck(math.sin, 0.5, math.cos).status == "pass"
    verdict = tw.gradcheck(math.sin, 0.5, lambda x: -math.cos(x))
    assert verdict.status == "fail"
    assert verdict.worst.index == ()
    assert verdict.worst.name == "x"
    assert "its only entry" in str(verdict)
    assert tw.gradcheck(np.sin, np.float64(0.5), np.cos(0.5)).status == "pass"
    assert tw.gradcheck(jnp.sin, 0.5).status == "pass"


def linear(point):
    return np.sum(np.tanh(point["w"] @ np.ones(3) + point["b"][0]))


def linear_gradient(point):
    slope = 1 - np.tanh(point["w"] @ np.ones(3) + point["b"][0]) ** 2
    return {"w": slope[:, None] * np.ones(3), "b": (slope.reshape(2),)}


TREE = {"w": np.array([[0.1, -0.4, 0.2], [0.3, 0.1, 0.5]]), "b": (np.array([0.3, -0.2]),)}


def test_trees_and_the_names_of_their_entries():
    assert tw.gradcheck(linear, TREE, linear_gradient).status == "pass"

    def wrong(point):
        slopes = linear_gradient(point)
        slopes["b"][0][1] *= 3
        return slopes

    verdict = tw.gradcheck(linear, TREE, wrong)
    assert verdict.status == "fail"
    assert (verdict.worst.name, verdict.worst.leaf, verdict.worst.index) == ("x['b'][0][1]", "['b'][0]", (1,))
    assert verdict.size == 8


def test_the_jacobian_of_an_array():
    matrix = np.random.default_rng(0).normal(size=(2, 3, 4))
    x = np.random.default_rng(1).normal(size=4)

    def f(x):
        return np.sin(matrix @ x)

    def jacobian(x):
        return np.cos(matrix @ x)[..., None] * matrix

    assert tw.gradcheck(f, x, jacobian).status == "pass"
    verdict = tw.gradcheck(f, x, spoiled(jacobian, 4 * 4 + 2, CHANGES["factor 2"]))  # of output (1, 1) by x[2]
    assert verdict.status == "fail"
    assert verdict.worst.index == (2,)
    assert verdict.worst.output == 4
    assert "x[2] of output 4" in str(verdict)
    assert tw.gradcheck(lambda x: np.array([np.sum(x**2)]), x, lambda x: 2 * x).status == "pass"  # one output
    assert tw.gradcheck(lambda x: np.array([np.sum(x**2)]), x, lambda x: 2 * x[None]).status == "pass"


def test_many_outputs_are_combined_at_random():
    x = np.random.default_rng(0).normal(size=300)
    assert tw.gradcheck(np.sin, x, lambda x: np.diag(np.cos(x))).status == "pass"
    verdict = tw.gradcheck(np.sin, x, lambda x: np.diag(np.where(np.arange(300) == 217, 2, 1) * np.cos(x)))
    assert verdict.status == "fail"
    assert verdict.worst.index == (217,)


def test_float32_input_is_checked_in_float64_or_what_f_takes():
    x = np.random.default_rng(0).normal(size=20).astype(np.float32)
    assert tw.gradcheck(lambda x: np.sum(np.sin(x)), x, np.cos).status == "pass"
    verdict = tw.gradcheck(lambda x: np.sum(np.sin(x), dtype=x.dtype), x, spoiled(np.cos, 3, lambda g: 1.001 * g))
    assert verdict.status == "fail"
    assert verdict.worst.index == (3,)

    def only_single(x):
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return np.sum(np.sin(x))

    verdict = tw.gradcheck(only_single, x, np.cos)
    assert verdict.status != "fail"
    assert "does not take float64 (TypeError), so it was checked in float32" in str(verdict)
    assert tw.gradcheck(only_single, x, lambda x: 2 * np.cos(x)).status == "fail"


# --- JAX


def test_both_modes_of_jax():
    verdict = tw.gradcheck(lambda x: jnp.sum(jnp.sin(x) * x), np.arange(1.0, 5))
    assert verdict.status == "pass"
    assert "reverse and forward mode" in str(verdict)


def with_rules(forward_factor, reverse_factor):
    """x³ whose linear rule goes by one factor forward and by another one back."""

    def rule(primals, tangents):
        moved = jax.lax.custom_linear_solve(
            lambda v: v,
            3 * primals[0] ** 2 * tangents[0],
            lambda _, v: forward_factor * v,
            lambda _, v: reverse_factor * v,
        )
        return primals[0] ** 3, moved

    f = jax.custom_jvp(lambda x: x**3)
    f.defjvp(rule)
    return lambda x: jnp.sum(f(x))


def test_a_rule_that_is_wrong_in_one_mode_alone():
    x = np.array([0.5, -1.2, 2.0])
    assert tw.gradcheck(with_rules(1, 1), x).status == "pass"
    for factors, mode in (((2, 1), "forward"), ((1, 2), "reverse")):
        verdict = tw.gradcheck(with_rules(*factors), x)
        other = {"forward": "reverse", "reverse": "forward"}[mode]
        assert verdict.status == "fail"
        assert f"{mode} mode alone: {other} mode is right" in verdict.what
    verdict = tw.gradcheck(with_rules(2, 2), x)
    assert verdict.status == "fail"
    assert "alone" not in verdict.what


def test_functions_that_vmap_does_not_know():
    def f(x):
        doubled = jax.custom_derivatives.linear_call(lambda _, v: 2 * v, lambda _, v: 2 * v, (), x)
        return jnp.sum(doubled**2)

    assert tw.gradcheck(f, np.array([0.5, -1.2, 2.0])).status == "pass"


@pytest.mark.parametrize("size", [3, 300])
def test_a_rule_for_reverse_mode_only(size):
    def of(factor):
        f = jax.custom_vjp(lambda x: jnp.sum(x**3))
        f.defvjp(lambda x: (jnp.sum(x**3), x), lambda x, cotangent: (factor * 3 * x**2 * cotangent,))
        return f

    x = np.random.default_rng(0).normal(size=size)
    verdict = tw.gradcheck(of(1), x)
    assert verdict.status == "pass"
    assert "mode" not in verdict.what
    assert tw.gradcheck(of(2), x).status == "fail"


def test_jax_works_in_double_precision_and_leaves_the_setting_alone():
    before = jax.config.jax_enable_x64
    verdict = tw.gradcheck(lambda x: jnp.sum(jnp.sin(x)), jnp.arange(3.0))
    assert verdict.status == "pass"
    assert verdict.resolution < 1e-5
    assert jax.config.jax_enable_x64 == before


# --- PyTorch


def test_torch():
    torch = pytest.importorskip("torch")

    class Cube(torch.autograd.Function):
        factor = 1

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, cotangent):
            return Cube.factor * 3 * ctx.saved_tensors[0] ** 2 * cotangent

    x = torch.tensor([0.5, -1.0, 2.0])
    assert tw.gradcheck(lambda x: Cube.apply(x).sum(), x).status == "pass"
    Cube.factor = 2
    verdict = tw.gradcheck(lambda x: Cube.apply(x).sum(), x)
    assert verdict.status == "fail"
    assert "PyTorch autograd" in verdict.what
    assert any("factor of 2" in hint for hint in verdict.hints)


# --- kinks


def test_a_kink_is_named_with_its_slopes():
    x = np.array([1.0, 0.0, -2.0])
    verdict = tw.gradcheck(lambda x: np.sum(np.abs(x)), x, np.sign)
    assert verdict.status == "inconclusive"
    assert verdict.worst.name == "x[1]"
    np.testing.assert_allclose(verdict.worst.sides, (-1, 1), atol=1e-4)
    assert "a kink: slope -1 on the left, 1 on the right" in str(verdict)


def test_a_claim_far_from_both_slopes_of_a_kink_is_wrong():
    x = np.array([1.0, 0.0, -2.0])
    verdict = tw.gradcheck(lambda x: np.sum(np.abs(x)), x, lambda x: np.where(x == 0, 50.0, np.sign(x)))
    assert verdict.status == "fail"
    assert verdict.worst.name == "x[1]"


def test_a_fast_sine_is_not_accused():
    verdict = tw.gradcheck(lambda x: np.sum(np.sin(1e4 * (x - 1) + 6e-8)), np.ones(1), np.array([1e4]))
    assert verdict.status == "pass"


@pytest.mark.parametrize("distance", [1e-3, 1e-4])
def test_half_a_slope_on_the_flat_side_of_a_kink_is_wrong(distance):
    verdict = tw.gradcheck(lambda x: np.sum(np.maximum(x - 1 - distance, 0)), np.ones(1), np.array([0.5]))
    assert verdict.status != "pass"


def test_a_kink_hides_no_other_error():
    x = np.array([1.0, 0.0, -2.0])
    verdict = tw.gradcheck(lambda x: np.sum(np.abs(x)), x, lambda x: [1, 1, 2] * np.sign(x))
    assert verdict.status == "fail"
    assert verdict.worst.name == "x[2]"


@pytest.mark.parametrize("wrong", [False, True])
def test_a_kink_among_many_entries(wrong):
    """It is found by bisection, named and left out; a wrong entry elsewhere is still found."""
    x = np.random.default_rng(0).normal(size=1000)
    x[123] = 0

    def f(x):
        return np.sum(np.abs(x) + np.sin(x))

    def gradient(x):
        return np.sign(x) + np.cos(x) + 1.0 * wrong * (np.arange(1000) == 456)

    verdict = tw.gradcheck(f, x, gradient)
    assert verdict.status == ("fail" if wrong else "inconclusive"), verdict
    assert verdict.worst.name == ("x[456]" if wrong else "x[123]")


@settings(max_examples=12)
@given(st.floats(-7, -1), st.integers(1, 200), st.integers(0, 1000))
def test_kinks_beside_the_point_do_not_disturb(exponent, size, seed):
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 2, size)
    near = x - 10.0**exponent * rng.choice([-1.0, 1.0], size)

    def f(x):
        return np.sum(np.abs(x - near) + np.sin(x))

    def gradient(x):
        return np.sign(x - near) + np.cos(x)

    assert tw.gradcheck(f, x, gradient, seed=seed).status != "fail"
    if size <= 100 and exponent > -6:
        assert tw.gradcheck(f, x, gradient, seed=seed).status == "pass"
        wrong = spoiled(gradient, size // 2, lambda g: g + 1)
        assert tw.gradcheck(f, x, wrong, seed=seed).status == "fail"


# --- what hides the answer


def noisy(size: float, seed: int):
    """A sum of sines with noise that depends on x alone, so that it is not random."""

    def f(x):
        return float(np.sum(np.sin(x))) + size * zlib.crc32(x.tobytes() + bytes([seed])) / 2**32

    return f, np.random.default_rng(seed).normal(size=3)


@pytest.mark.parametrize("size", [1e-9, 1e-6])
def test_small_noise_accuses_nobody(size):
    for seed in range(25):
        f, x = noisy(size, seed)
        assert tw.gradcheck(f, x, np.cos).status != "fail"
        assert tw.gradcheck(f, x, lambda x: 3 * np.cos(x)).status == "fail"


@pytest.mark.parametrize("size", [1e-3, 1e-2, 1e-1, 1.0])
def test_large_noise_accuses_nobody(size):
    for seed in range(40):
        f, x = noisy(size, seed)
        assert tw.gradcheck(f, x, np.cos).status != "fail"


def test_noise_is_said():
    f, x = noisy(1e-2, 0)
    verdict = tw.gradcheck(f, x, np.cos)
    assert verdict.status == "inconclusive"
    assert "rounding, noise or a jump of f hides errors" in str(verdict)


def test_a_huge_offset_hides_small_entries():
    verdict = tw.gradcheck(lambda x: 1e15 + np.sum(np.abs(x)), np.array([1.0, 2.0]), np.sign)
    assert verdict.status == "inconclusive"
    assert tw.gradcheck(lambda x: 1e15 + np.sum(np.abs(x)), np.array([1.0, 2.0]), lambda x: 1e3 * x).status == "fail"


def test_complex_steps_see_through_an_offset():
    """sin is analytic, so that its exact derivative is at hand where all differences round to nothing."""
    x = np.array([0.4, 1.0, 2.0])
    assert tw.gradcheck(lambda x: 1e10 + np.sum(np.sin(x)), x, np.cos).status == "pass"
    assert tw.gradcheck(lambda x: 1e10 + np.sum(np.sin(x)), x, lambda x: 1.01 * np.cos(x)).status != "pass"


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_gradient_of_zero_where_f_moves_in_steps(dtype):
    """The smallest steps see nothing move: neither is a gradient of 0 then right, nor the true one wrong."""
    x = np.array([0.3, 0.7, 1.1])

    def f(x):
        return float(np.sum(np.sin(x.astype(dtype))))

    assert tw.gradcheck(f, x, np.zeros_like).status != "pass"
    assert tw.gradcheck(f, x, np.cos).status != "fail"


def test_the_edge_of_a_domain():
    x = np.array([0.0, 1.0])
    verdict = tw.gradcheck(lambda x: np.sum(np.where(x >= 0, x, np.nan) ** 1.5), x, lambda x: 1.5 * np.sqrt(x))
    assert verdict.status == "inconclusive"
    assert "edge of its domain" in str(verdict)


# --- tolerances and options


def test_rtol_and_atol():
    x = np.array([1.0, 2.0, 3.0])

    def f(x):
        return np.sum(x**2)

    def off(relative=0.0, absolute=0.0):
        return lambda x: 2 * x * (1 + relative) + absolute

    assert tw.gradcheck(f, x, off(1e-3)).status == "fail"
    assert tw.gradcheck(f, x, off(1e-3), rtol=2e-3).status == "pass"
    assert tw.gradcheck(f, x, off(1e-3), rtol=5e-4).status == "fail"
    assert tw.gradcheck(f, x, off(1e-5), rtol=0).status == "fail"
    assert tw.gradcheck(f, x, off(), rtol=0).status == "pass"
    assert tw.gradcheck(f, x, off(1e-8), atol=1e-30).status == "fail"  # atol alone leaves no relative tolerance
    assert tw.gradcheck(f, x, off(1e-8)).status == "pass"


@pytest.mark.parametrize("size", [
    1e-6,
    1.0,
    30.0,
])  # fmt: skip
def test_atol_is_that_of_the_derivative_whatever_the_size_of_x(size):
    x = size * np.array([1.0, 1.2, 1.4])
    for offset, status in ((1e-2, "pass"), (4e-2, "fail")):
        verdict = tw.gradcheck(lambda x: np.sum(np.sin(x)), x, lambda x: np.cos(x) + offset, atol=2e-2)  # noqa: B023
        assert verdict.status == status


@pytest.mark.parametrize("size", [5, 500])
def test_a_stale_cache(size):
    f, gradient, x = smooth(size, 0)
    kept = {}

    def stale(x):
        return kept.setdefault("gradient", gradient(x))

    x = x + 1.0
    verdict = tw.gradcheck(f, x, stale)
    assert verdict.status == "fail"
    assert "second point" in str(verdict)
    assert tw.gradcheck(f, x, gradient(x)).status == "pass"  # a value is not asked for twice


def test_the_planted_error():
    f, gradient, x = smooth(50, 0)
    planted, plain = (tw.gradcheck(f, x, gradient, plant=plant) for plant in (True, False))
    assert planted.status == plain.status == "pass"
    assert planted.evaluations == plain.evaluations  # it costs none
    assert planted.planted.startswith("caught (x[")
    assert "planted error: caught" in str(planted)
    assert plain.planted == "not tried"
    nothing = tw.gradcheck(lambda x: 1.0 + 0 * np.sum(x), x, np.zeros_like)
    assert nothing.status == "pass"
    assert "where the gradient is 0" in nothing.planted


def test_a_planted_error_that_goes_unseen_takes_the_pass_away():
    """With a tolerance of 300 % a doubled entry would pass, so nothing was shown."""
    f, gradient, x = smooth(5, 0)
    verdict = tw.gradcheck(f, x, gradient, rtol=3.0)
    assert verdict.status == "inconclusive"
    assert "a planted error would have gone unseen" in str(verdict)
    assert tw.gradcheck(f, x, gradient, rtol=3.0, plant=False).status == "pass"


def test_directions_seed_and_miss():
    f, gradient, x = smooth(300, 0)
    assert tw.gradcheck(f, x, gradient, every=300).directions == 0
    assert tw.gradcheck(f, x, gradient, every=300).entries == 300
    one, again, other = (tw.gradcheck(f, x, gradient, directions=4, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.miss == 2.0**-4
    assert one.directions == other.directions == 4
    assert tw.gradcheck(f, x, gradient).miss == 2.0**-12


# --- the verdict


def verdicts():
    x = np.array([1.0, 0.0])
    yield tw.gradcheck(lambda x: np.sum(x**2), x, lambda x: 2 * x)
    yield tw.gradcheck(lambda x: np.sum(x**2), x, lambda x: 2 * x + 1)
    yield tw.gradcheck(lambda x: np.sum(np.abs(x)), x, np.sign)


def test_verdicts_in_words_and_as_data():
    for verdict, status in zip(verdicts(), ("pass", "fail", "inconclusive"), strict=True):
        assert bool(verdict) == (status == "pass")
        text = str(verdict)
        assert text.startswith(f"{status}: gradient (given), all 2 entries, {verdict.evaluations} evaluations")
        assert len(text.splitlines()) <= 8
        data = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        assert data["status"] == status
        assert (data["worst"] is None) == (status == "pass")
        assert (data["wrong"] != []) == (status == "fail")
        if data["worst"]:
            assert data["worst"]["index"] == list(verdict.worst.index)


def test_entries_in_words():
    _, wrong, kink = verdicts()
    assert {entry.name for entry in wrong.wrong} == {"x[0]", "x[1]"}
    entry = next(entry for entry in wrong.wrong if entry.name == "x[0]")
    assert str(entry).startswith("x[0]: analytic 3, numeric 2")
    np.testing.assert_allclose(entry.relative_error, 1 / 3, rtol=1e-6)
    assert "kink" in str(kink.worst)
    assert tw.gradients.Entry("x", (), "", 0.0, 0.0, 0.0).relative_error == 0


def test_evaluations_are_all_counted():
    calls = []

    def f(x):
        calls.append(1)
        return float(np.sum(np.sin(x)))

    assert tw.gradcheck(f, np.arange(1.0, 6), np.cos).evaluations == len(calls)

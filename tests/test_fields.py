"""Field checks: what each lets through, and the message for what it does not."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.errors import UsageError
from thalweg.fields import check_flag, check_integer, check_number, check_option, is_open
from thalweg.ranges import choice, integers, log_uniform, uniform


@pytest.mark.parametrize(
    "value",
    [
        0, 1, 0.5, np.float32(0.5), np.int8(1), np.array([0.0, 1.0]), jnp.array([5.0]), jnp.asarray(0.5, jnp.bfloat16),
        uniform(0, 1), log_uniform(1e-3, 1), integers(0, 1), choice(0.0, log_uniform(1e-3, 1.0)),
    ],
)  # fmt: skip
def test_numbers_within_bounds(value):
    check_number("Part", "field", value, least=0, most=1)  # JAX arrays pass: their values are not known yet


@pytest.mark.parametrize(
    "value",
    [
        -0.1, 1.1, math.nan, math.inf, -math.inf, np.float32(2), True, np.True_, None, "0.5", b"1", [0.5], 1j, 10**400,
        np.complex64(0), np.array(["a"]), np.array([0.5, math.nan]), np.array([0.5, 2.0]), jnp.array([True]),
        uniform(-1, 1), log_uniform(0.5, 2), choice(0.5, 2.0), choice(0.5, None), choice(0.5, choice(2.0)),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_number_within_bounds(value):
    with pytest.raises(UsageError, match=r"^Part: field is "):
        check_number("Part", "field", value, least=0, most=1)


@given(st.floats(), st.floats(-10, 10), st.floats(-10, 10))
def test_bounds_mean_what_they_say(value, low, high):
    def passes(**bounds):
        try:
            check_number("Part", "field", value, **bounds)
        except UsageError:
            return False
        return True

    assert passes(above=low, below=high) == (math.isfinite(value) and low < value < high)
    assert passes(least=low, most=high) == (math.isfinite(value) and low <= value <= high)
    assert passes() == math.isfinite(value)


def test_message_names_the_bounds():
    with pytest.raises(UsageError, match=r"^Adam: beta1 is 1\.0; it must be finite and at least 0 and below 1$"):
        check_number("Adam", "beta1", 1.0, least=0, below=1)
    with pytest.raises(UsageError, match=r"^L2: strength is nan; it must be finite$"):
        check_number("L2", "strength", math.nan)


def test_tracers_pass():
    def checked(value):
        check_number("Part", "field", value, above=0)
        return value

    assert jax.jit(checked)(-1.0) == -1.0


@pytest.mark.parametrize("value", [1, np.int64(3), 10**30, integers(1, 9), choice(1, integers(2, 3)), jnp.array(2)])
def test_whole_numbers(value):
    check_integer("Part", "size", value, least=1)


@pytest.mark.parametrize("value", [0, 1.0, np.float32(2), "3", True, integers(0, 9), choice(1, 2.0), choice(1, 0)])
def test_what_is_no_whole_number(value):
    with pytest.raises(UsageError, match=r"^Part: size is "):
        check_integer("Part", "size", value, least=1)


@pytest.mark.parametrize("value", [uniform(1.0, 9.0), log_uniform(1, 8), choice(1, uniform(2, 3))])
def test_a_continuous_range_is_not_whole_though_its_ends_are(value):
    with pytest.raises(UsageError, match=r"it must be whole: give integers\("):
        check_integer("Part", "size", value, least=1)


def test_flags():
    for value in (True, False, np.True_, choice(True, False)):
        check_flag("Part", "flag", value)
    for value in (1, "true", None, choice(True, 1)):
        with pytest.raises(UsageError, match=r"^Part: flag is .*; give true or false"):
            check_flag("Part", "flag", value)


def test_options():
    check_option("Part", "unit", choice("steps", "epochs"), ("steps", "epochs"))
    for value in ("step", 3, None, choice("steps", "step")):
        with pytest.raises(UsageError, match=r"^Part: unit is .*; it must be one of 'steps', 'epochs'"):
            check_option("Part", "unit", value, ("steps", "epochs"))


def test_open_places():
    assert all(is_open(value) for value in (uniform(0, 1), choice(1)))
    assert not any(is_open(value) for value in (1.0, None, jnp.ones(2), "choice"))

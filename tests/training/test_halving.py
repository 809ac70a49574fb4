"""Successive halving: where the rungs lie, and who goes on."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.errors import UsageError
from thalweg.ranges import choice, integers, uniform
from thalweg.training.halving import Halving


@given(st.integers(2, 5), st.integers(1, 6))
def test_rungs_are_powers_of_the_factor(factor, rungs):
    shares = Halving(factor, rungs).shares
    assert len(shares) == rungs
    for rung, share in enumerate(shares, start=1):
        assert share == pytest.approx(float(Fraction(1, factor ** (rungs - rung + 1))), rel=1e-15)
    assert all(0 < share < 1 for share in shares)
    assert list(shares) == sorted(shares)


def test_the_documented_example():
    assert Halving().shares == pytest.approx((1 / 9, 1 / 3))


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.0, 1.0, math.inf])), max_size=40),
    st.floats(1.01, 10),
)
def test_the_best_share_goes_on(trials, factor):
    accuracies, losses = [a for a, _ in trials], [b for _, b in trials]
    kept, count = Halving(factor).keep(accuracies, losses)
    assert count == math.ceil(len(trials) / factor)
    assert kept.shape == (len(trials),)
    assert kept.sum() == count
    ranked = sorted(range(len(trials)), key=lambda i: (-accuracies[i], losses[i], i))
    assert sorted(ranked[:count]) == np.flatnonzero(kept).tolist()


def test_at_least_one_goes_on_and_nan_is_last():
    assert Halving(100).keep([0.1], [1.0])[1] == 1
    kept, count = Halving(2).keep([math.nan, 0.1, 0.2, math.nan], [0.0, math.nan, 1.0, 0.0])
    assert (kept.tolist(), count) == ([False, True, True, False], 2)
    assert Halving().keep([], [])[1] == 0


def test_what_halving_saves():
    """27 trials of 9 epochs under the default: 27 epochs to the first rung, 9·2 to the second, 3·6 to the end."""
    halving, live, spent, before = Halving(3, 2), 27, 0.0, 0.0
    for share in (*halving.shares, 1.0):
        spent += live * (share - before) * 9
        before = share
        live = halving.keep(np.zeros(live), np.zeros(live))[1]
    assert spent == pytest.approx(27 * 1 + 9 * 2 + 3 * 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor": 1}, "halving: factor is 1; it must be finite and above 1"),
        ({"factor": math.inf}, "halving: factor is inf"),
        ({"factor": "3"}, "halving: factor is '3'; give a number"),
        ({"factor": True}, "halving: factor is True"),
        ({"factor": uniform(2, 3)}, "halving: factor is Uniform.*give one number"),
        ({"rungs": 0}, "halving: rungs is 0; it must be finite and at least 1"),
        ({"rungs": 2.0}, "halving: rungs is 2.0; it must be a whole number"),
        ({"rungs": True}, "halving: rungs is True"),
        ({"rungs": integers(1, 2)}, "halving: rungs is Integers.*give one number"),
        ({"rungs": choice(1, 2)}, "halving: rungs is Choice"),
    ],
)
def test_faults(arguments, message):
    with pytest.raises(UsageError, match=message):
        Halving(**arguments)


def test_numpy_numbers_serve():
    assert Halving(np.float32(2), np.int64(3)).shares == (0.125, 0.25, 0.5)

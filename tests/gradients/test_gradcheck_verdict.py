"""gradcheck's options, and the verdict in words and as data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gradient_cases import smooth

import thalweg as tw


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

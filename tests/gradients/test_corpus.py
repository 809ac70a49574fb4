"""The corpus of planted bugs and right gradients of benchmarks/, case by case: no bug passes, nothing right fails."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import pytest

import thalweg as tw

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from gradient_corpus import BUGS, CORRECT, Case

# Right, and yet nobody can tell from values of f: rounding hides it, or there is no derivative.
UNSURE = {
    "huge offset, not analytic",
    "relu at 0",
    "modulus at 0",
    "hinge on the margin",
    "maximum of a tie",
    "norm at 0",
    "float32 inside, 20,000",
    "not analytic mean, 100,000 entries",
}
# Seconds each, and the same among 10,000 entries are here; benchmarks/bench_gradcheck.py has these too.
LARGEST = {f"one entry of 100,000: {kind}" for kind in ("sign", "zeroed", "pair swapped")}
pytestmark = pytest.mark.slow


def checked(case: Case) -> str:
    """Return the status of a case."""
    # The corpus is written as its users write: JAX's own setting allows (6, 3) + (3,).
    with jax.numpy_rank_promotion("allow"):
        if case.order == 2:
            return tw.gradgradcheck(case.f, case.x).status
        return tw.gradcheck(case.f, case.x, case.gradient).status


def named(cases: list[Case]) -> list:
    return [pytest.param(case, id=case.name) for case in cases if case.name not in LARGEST]


def test_the_corpus_is_as_large_as_it_should_be():
    assert len(BUGS) >= 60
    assert len(CORRECT) >= 40
    names = [case.name for case in BUGS + CORRECT]
    assert len(set(names)) == len(names)
    assert set(names) >= UNSURE | LARGEST
    assert "one entry of 100,000: factor 2" in names


@pytest.mark.parametrize("case", named(BUGS))
def test_no_bug_passes(case):
    """Every one is caught; the bar of the project is 99 %."""
    assert checked(case) == "fail"


@pytest.mark.parametrize("case", named(CORRECT))
def test_nothing_right_is_accused(case):
    status = checked(case)
    assert status != "fail"
    assert status == "pass" or case.name in UNSURE  # rounding, which a machine's BLAS decides, settles some of these

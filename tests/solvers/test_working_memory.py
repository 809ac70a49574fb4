"""What solving takes is estimated before it is taken."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from thalweg.losses import Hinge, Softmax
from thalweg.solvers.memory import Sizes, working_memory

BASE = Sizes(examples=2000, features=300, classes=10, members=32, weightings=1)


@pytest.mark.parametrize("name", ["examples", "features"])
@pytest.mark.parametrize(("loss", "is_sparse"), [(Softmax(), False), (Softmax(), True), (Hinge(), False)])
def test_larger_problems_take_more(name, loss, is_sparse):
    larger = dataclasses.replace(BASE, **{name: 40 * getattr(BASE, name)})
    assert working_memory(larger, loss, is_sparse=is_sparse) > 2 * working_memory(BASE, loss, is_sparse=is_sparse)


def test_all_eigenvectors_count_where_they_are_computed():
    sizes = Sizes(examples=50_000, features=6400, classes=10, members=45, weightings=1)
    assert working_memory(sizes, Softmax(), is_sparse=False) > 4 * 4 * 6400**2


def test_features_beyond_what_eigenvectors_allow_do_not_pay_for_them():
    sizes = Sizes(examples=50_000, features=100_000, classes=10, members=4, weightings=1)
    assert working_memory(sizes, Softmax(), is_sparse=False) < 100_000**2


SCRIPT = """
import resource
import numpy as np
from thalweg.losses import Softmax
from thalweg.solvers.problem import Problem
from thalweg.solvers.solve import solve

rng = np.random.default_rng(0)
x = rng.standard_normal(({examples}, {features})).astype(np.float32)
x -= x.mean(axis=0)
y = rng.integers(0, 10, {examples}).astype(np.int32)
y[:10] = np.arange(10)
count = 4
one = np.ones(1)
small = Problem(x[:200, :20], y[:200], 10, Softmax(), np.full((1, 200), 1 / 200), np.zeros(1, int), one, {lasso} * one)
solve(small)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
omega = np.full((1, len(y)), 1 / len(y))
lasso = {lasso} * np.geomspace(2, 1, count)
ridge = np.geomspace(10, 1, count) if {lasso} == 0 else np.zeros(count)
solve(Problem(x, y, 10, Softmax(), omega, np.zeros(count, int), ridge, lasso))
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux alone")
@pytest.mark.parametrize("lasso", [0.0, 0.02])
def test_the_estimate_covers_what_a_process_takes(lasso):
    sizes = Sizes(examples=8_000, features=1500, classes=10, members=4, weightings=1)
    text = SCRIPT.format(examples=sizes.examples, features=sizes.features, lasso=lasso)
    taken = int(subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout)
    estimate = working_memory(sizes, Softmax(), is_sparse=lasso > 0)
    # A few hundred MiB are compiled programs and BLAS's buffers, whatever the size.
    assert taken < estimate + 400 * 2**20
    assert estimate < 4 * (taken + 400 * 2**20)

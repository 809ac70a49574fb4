"""The documentation's optimizer works as it is printed, and what an author may forget is said plainly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from optimizer_cases import assert_same_path, follow

from thalweg.errors import UsageError
from thalweg.optimizers import SGD, Adam
from thalweg.optimizers.base import Conventional
from thalweg.ranges import uniform

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending" / "optimizer.md"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """What the page's first block of Python defines; its last line runs `check_optimizer`."""
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert "check_optimizer(QHM(" in block
    names: dict[str, Any] = {"__name__": "contributed"}
    exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)  # not with this file's __future__
    return names


def test_the_example_keeps_the_protocol_and_its_paper(example: dict[str, Any]) -> None:
    qhm = example["QHM"]
    assert_same_path(follow(qhm(0.01, beta=0.9, nu=0.0)), follow(SGD(0.01)))
    # With ν = 1 it is momentum whose buffer is a mean: (1 − β) times the rate.
    assert_same_path(follow(qhm(0.01, beta=0.9, nu=1.0)), follow(SGD(0.01 * (1 - 0.9), 0.9)))
    with pytest.raises(AssertionError):
        assert_same_path(follow(qhm(0.01, beta=0.9)), follow(SGD(0.01)))


def test_the_example_is_checked_like_ours(example: dict[str, Any]) -> None:
    qhm = example["QHM"]
    assert (qhm(0.1).beta, qhm(0.1).nu) == (0.999, 0.7)
    assert qhm(0.1, beta=0.9999).one_minus_beta == 1 - 0.9999
    for wrong, message in (
        (lambda: qhm(0.1, nu=1.5), "nu is 1.5"),
        (lambda: qhm(0.1, beta=uniform(0.5, 1.5)), "beta is 1.5"),
        (qhm, "learning_rate is not given"),
        (lambda: qhm(0.1, convention="torch"), "convention is 'torch'; it must be one of 'thalweg'"),
    ):
        with pytest.raises(UsageError, match=message):
            wrong()


class Bare(Conventional):
    """Neither rows nor bounds: the convention is ours, there are no defaults, numbers must be finite."""

    name: ClassVar[str] = "Bare"
    power: Any

    def __init__(self, learning_rate: Any = None, power: Any = None, convention: Any = "thalweg") -> None:
        self.fill(convention, learning_rate, power=power, weight_decay=None)

    def init(self, params: Any) -> Any:
        raise NotImplementedError

    update = step_size = init


def test_rows_and_bounds_may_be_left_out() -> None:
    assert Bare(0.1, power=-3.0).power == -3.0
    with pytest.raises(UsageError, match="power is nan; it must be finite"):
        Bare(0.1, power=np.nan)
    with pytest.raises(UsageError, match="power is not given, and convention 'thalweg' has no default"):
        Bare(0.1)


def test_a_complement_needs_its_field() -> None:
    class Careless(Bare):
        COMPLEMENTS: ClassVar[tuple[str, ...]] = ("power",)

        def __init__(self, learning_rate: Any) -> None:
            self.fill("thalweg", learning_rate, power=0.5, weight_decay=None)

    with pytest.raises(UsageError, match="declare one_minus_power"):
        Careless(0.1)


def test_a_kin_of_ours_inherits_its_rows() -> None:
    class Ours(Adam):
        name: ClassVar[str] = "Ours"

    assert Ours(convention="keras").epsilon == 1e-7

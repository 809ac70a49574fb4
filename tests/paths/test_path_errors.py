"""An error while solving hands over what was found before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from path_cases import STRENGTHS, fitted, uneven

import thalweg as tw

KINDS = {"softmax": {}, "hinge": {"loss": tw.losses.Hinge()}, "l1": {"penalty": "l1"}}


def broken_at(count: int) -> Any:
    def progress(now: tw.paths.PathProgress) -> None:
        if now.done >= count:
            raise RuntimeError("the device was lost")

    return progress


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_was_found_before_an_error_comes_with_it(kind: str) -> None:
    with pytest.raises(RuntimeError, match="the device was lost") as caught:
        fitted(uneven(), progress=broken_at(1), **KINDS[kind])
    run = caught.value.run
    whole = fitted(uneven(), **KINDS[kind])
    assert run.interrupted
    assert (run.choice, run.model) == (None, None)
    assert "converged" in run.statuses
    assert set(run.statuses) <= {"converged", "interrupted"}
    assert any("an error ended the work early (RuntimeError: the device was lost)" in text for text in run.messages)
    assert len(run.solutions) == len(whole.solutions)
    for one, other in zip(run.solutions, whole.solutions, strict=True):
        if one.status == "converged":
            assert abs(one.value - other.value) <= max(one.bound, other.bound)
        assert one.bound <= one.value


def test_losses_that_were_done_are_kept_whole() -> None:
    both = [tw.losses.Softmax(), tw.losses.Hinge()]
    with pytest.raises(RuntimeError, match="the device") as caught:
        fitted(uneven(), loss=both, progress=broken_at(len(STRENGTHS) + 1))
    solutions = caught.value.run.solutions
    assert [s.status for s in solutions[:3]] == ["converged"] * 3
    assert {s.loss.kind for s in solutions[3:]} == {"hinge"}
    assert caught.value.run.settings["strengths"] == STRENGTHS


def test_an_error_before_the_first_step_has_nothing_to_hand_over() -> None:
    with pytest.raises(RuntimeError, match="the device") as caught:
        fitted(uneven(), progress=broken_at(0))
    assert not hasattr(caught.value, "run")


def test_an_error_after_solving_keeps_the_solutions(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> Any:
        raise MemoryError("no room for the model")

    monkeypatch.setattr("thalweg.paths.fit.FittedModel", full)
    with pytest.raises(MemoryError, match="no room") as caught:
        tw.path(uneven(), strengths=STRENGTHS, folds=3, test=0, preprocessing=None)
    assert caught.value.run.statuses == {"converged": 3}
    assert np.isfinite(caught.value.run.solutions[0].validation_accuracy)

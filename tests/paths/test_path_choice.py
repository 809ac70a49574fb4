"""What takes part in the choice of a strength: solutions that are known well enough, and what is said of the others."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_cases import fitted, split_data

import thalweg as tw
from thalweg.paths.caveats import caveats
from thalweg.paths.choose import KNOWN, choose

CORRECT = np.ones((4, 20), bool)


def solution(number: int, accuracy: float, *, bound: float = 1e-9, folds: Any = 1e-9, **changes: Any) -> Any:
    made: dict[str, Any] = {
        "number": number, "strength": 10.0**-number, "penalty": tw.penalties.L2(10.0**-number),
        "loss": tw.losses.Softmax(), "class_weight": "none", "weights": np.zeros((2, 1)), "bias": np.zeros(2),
        "value": 2.0, "bound": 2 * bound, "status": "converged", "iterations": 1, "fold_accuracies": (accuracy,) * 3,
        "fold_losses": (1 - accuracy,) * 3, "fold_bounds": (1e-9, folds, 1e-9), "fold_statuses": ("converged",) * 3,
    }  # fmt: skip
    return tw.PathSolution(**(made | changes))


@pytest.mark.parametrize("missed", [{"bound": 0.02}, {"folds": 0.02}, {"folds": np.inf}, {"folds": np.nan}])
@pytest.mark.parametrize("rule", ["best", "one-standard-error"])
def test_a_solution_that_is_not_known_cannot_win(missed: dict[str, float], rule: str) -> None:
    """Neither as the most accurate nor, being the strongest, within a standard error of it."""
    solutions = [solution(0, 0.95, **missed), solution(1, 0.8), solution(2, 0.9), solution(3, 0.7)]
    found = choose(solutions, CORRECT, rule)
    assert (found.best, found.one_standard_error, found.chosen) == (2, 2, 2)
    assert found.left_out == (0,)
    assert set(found.p_values) == {1, 3}
    assert (found.limit, found.proven) == (KNOWN, True)
    known = choose([solution(0, 0.95, bound=0.009, folds=0.009), *solutions[1:]], CORRECT, rule)
    assert (known.chosen, known.left_out) == (0, ())


def test_where_nothing_is_known_all_take_part_and_that_is_said() -> None:
    solutions = [solution(i, 0.7 + i / 10, folds=0.5, status="stalled") for i in range(3)]
    solutions.append(solution(3, 0.99, bound=np.inf, status="not finite"))
    found = choose(solutions, CORRECT, "best")
    assert (found.chosen, found.left_out, found.proven) == (2, (3,), False)
    text = "; ".join(caveats(found, solutions, 1e-6))
    assert "no solution is known to within 0.01 of its value" in text
    assert "do not rely on it" in text
    assert choose(solutions, CORRECT, "best", limit=0.5).proven


def test_the_weakest_that_took_part_is_no_edge_of_the_range() -> None:
    solutions = [solution(0, 0.7), solution(1, 0.8), solution(2, 0.9), solution(3, 0.9, folds=1.0)]
    (edge,) = choose(solutions, CORRECT, "best").edges
    assert "the lowest that took part" in edge
    assert "one of the 1 weaker ones that were left out" in edge
    assert "low edge of its range" in choose(solutions[:3], CORRECT, "best").edges[0]


def test_caveats_single_out_the_chosen_solution() -> None:
    missed = {"bound": 3e-5, "status": "stalled", "fold_statuses": ("converged", "stalled", "converged")}
    chosen = solution(2, 0.9, folds=4e-3, **missed)
    solutions = [solution(0, 0.7), solution(1, 0.8), chosen, solution(3, 0.99, folds=0.3)]
    found = choose(solutions, CORRECT, "best")
    own, folds, left = caveats(found, solutions, 1e-6)
    assert own.startswith("the chosen solution is not certified: it ended as 'stalled'")
    assert "3.0e-05 of itself above the minimum, where 1e-06 was asked for" in own
    assert "1 of the chosen solution's 3 folds is not certified (stalled)" in folds
    assert "4.0e-03" in folds
    assert "1 of 4 solutions was left out of the choice (strength 0.001)" in left
    assert "3.0e-01" in left
    certified = [solution(0, 0.7), solution(1, 0.8)]
    assert caveats(choose(certified, CORRECT, "best"), certified, 1e-6) == ()


@pytest.fixture(scope="module")
def cut_short() -> tw.paths.Path:
    """A few iterations reach the strong penalties' optima, not the weak one's."""
    return fitted(split_data(), strengths=[1e1, 1e-1, 1e-7], folds=3, iterations=6)


def test_what_was_left_out_is_kept_in_the_path_and_its_folder(cut_short: tw.paths.Path, tmp_path: Path) -> None:
    choice = cut_short.choice
    assert choice.left_out == (2,)
    assert cut_short.solutions[2].worst_bound > KNOWN
    assert max(s.worst_bound for s in cut_short.solutions[:2]) <= KNOWN
    assert choice.caveats == caveats(choice, cut_short.solutions, 1e-6)
    record = json.loads((cut_short.save(tmp_path / "run") / "run.json").read_text())
    assert record["choice"]["left_out"] == record["left_out"] == [2]
    assert record["choice"]["limit"] == KNOWN
    assert record["choice"]["proven"] is True
    assert record["choice"]["caveats"] == record["caveats"] == list(choice.caveats)
    assert record["best"]["certified"] is (cut_short.best.status == "converged")


def test_a_looser_tolerance_is_the_limit(cut_short: tw.paths.Path) -> None:
    loose = fitted(split_data(), strengths=[1e1, 1e-1, 1e-7], folds=3, iterations=6, tolerance=0.9)
    assert (cut_short.choice.limit, loose.choice.limit) == (KNOWN, 0.9)


def test_the_worst_bound_is_over_folds_and_all_examples() -> None:
    one = solution(0, 0.9, bound=0.25, folds=0.125)
    assert one.worst_bound == 0.25
    assert dataclasses.replace(one, fold_bounds=(0.5, 0.1)).worst_bound == 0.5
    assert dataclasses.replace(one, fold_bounds=()).worst_bound == 0.25

"""A penalty path in a report: solutions by strength, what was chosen and proved, and the weights that matter."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from thalweg.data import Preprocessing
from thalweg.losses import Hinge, Softmax
from thalweg.paths.records import Choice, Path, PathSolution
from thalweg.penalties import L1, L2, ElasticNet
from thalweg.report.block import Lacking, Note, Picture
from thalweg.report.records.strengths import StrengthsRecord, path_record, shown_rows
from thalweg.report.sections.path import path_section
from thalweg.run import DataSummary
from thalweg.solvers.solution import CONVERGED, ITERATION_LIMIT

HOSTILE = "</script><img src=x onerror=alert(1)>" + "x" * 200
CLASSES = ("ant", HOSTILE, "cat")
PENALTIES = {"l1": L1, "l2": L2, "elastic_net": lambda strength: ElasticNet(strength, 0.5)}


def made_path(
    penalty: str = "l1", count: int = 8, losses: tuple[Any, ...] = (Softmax(),), weights: tuple[str, ...] = ("none",),
    folds: int = 5, features: int = 20, chosen: int | None = 4, left_out: tuple[int, ...] = (), **more: Any,
) -> Path:  # fmt: skip
    """Solutions as a path would hold them: accuracies rise to the middle, weights enter one after the other."""
    strengths = np.geomspace(10, 1e-3, count)
    solutions = []
    for loss in losses:
        for class_weight in weights:
            for place, strength in enumerate(strengths.tolist()):
                entered = np.clip(place + 1 - np.arange(3 * features), 0, None).reshape(3, features) * 0.1
                accuracy = 0.9 - 0.05 * abs(place - count // 2)
                bad = len(solutions) in left_out
                solutions.append(PathSolution(
                    number=len(solutions), strength=strength, penalty=PENALTIES[penalty](strength), loss=loss,
                    class_weight=class_weight, weights=entered, bias=np.zeros(3), value=1.0 / (place + 1),
                    bound=0.5 if bad else 1e-6 / (place + 1), iterations=9,
                    status=ITERATION_LIMIT if bad else CONVERGED,
                    fold_accuracies=tuple(accuracy + 0.01 * k for k in range(folds)),
                    fold_losses=(0.5 + 0.01 * place,) * folds, fold_bounds=(2e-6,) * folds,
                    fold_statuses=(CONVERGED,) * folds,
                ))  # fmt: skip
    choice = None
    if folds and chosen is not None:
        choice = Choice(chosen, max(0, chosen - 1), chosen, "best", (), {}, ("at the edge",), left_out)
    data = DataSummary("made", "made", "0" * 64, CLASSES, (features,), {"train": 150}, (), "none", "float32")
    plain = Preprocessing("none", np.float32(0), np.float32(1))
    settings = {"penalty": penalty, "folds": folds, "features": None}
    return Path(tuple(solutions), 1e-4, settings, data, {"total": 1.0}, plain, choice=choice, **more)


def known(path: Path) -> StrengthsRecord:
    record = path_record(path)
    assert isinstance(record, StrengthsRecord)
    return record


def pictures(record: StrengthsRecord) -> list[Picture]:
    found = [part for part in path_section(record).parts if isinstance(part, Picture)]
    for one in found:
        ElementTree.fromstring(f"<div>{one.drawing}</div>")  # well-formed
        assert one.summary
    return found


def uses(picture: Picture, marker: str) -> list[ElementTree.Element]:
    tree = ElementTree.fromstring(f"<div>{picture.drawing}</div>")
    return [use for use in tree.iter("use") if use.get("href") == f"#m-{marker}" and (use.get("x") or "").endswith("%")]


def test_series_are_told_apart_by_loss_and_class_weight() -> None:
    path = made_path(losses=(Softmax(), Hinge()), weights=("none", "balanced"), penalty="l2")
    record = known(path)
    names = [series.name for series in record.series]
    assert names == [
        "softmax, no class weights", "softmax, balanced class weights",
        "hinge, no class weights", "hinge, balanced class weights",
    ]  # fmt: skip
    assert [number for series in record.series for number in series.numbers] == list(range(32))
    for series in record.series:
        for place, number in enumerate(series.numbers):
            one = path.solutions[number]
            assert series.strengths[place] == one.strength
            assert series.accuracies[place] == one.validation_accuracy
            assert series.errors[place] == one.standard_error
            assert series.losses[place] == one.validation_loss
            assert series.bounds[place] == one.relative_bound
            assert series.worst_bounds[place] == one.worst_bound
            assert series.norms[place] == pytest.approx(math.sqrt(np.sum(one.weights**2)))
    assert record.place(10) == (1, 2)
    with pytest.raises(KeyError):
        record.place(99)
    assert pictures(record)[0].drawing.count('class="legend"') == 2


@pytest.mark.parametrize("penalty", PENALTIES)
def test_strengths_on_scikit_learns_scale(penalty: str) -> None:
    path = made_path(penalty)
    record = known(path)
    assert record.c_times is not None
    for solution in path.solutions[::3]:
        want = solution.penalty.to_C(150)  # type: ignore[attr-defined]
        assert record.c_times / solution.strength == pytest.approx(want[0] if isinstance(want, tuple) else want)
    table = pictures(record)[0].table
    assert table is not None
    assert table.rows[0][:2] == (pytest.approx(10), pytest.approx(record.c_times / 10))


def test_the_strongest_penalty_stands_at_the_left() -> None:
    circles = uses(pictures(known(made_path()))[0], "circle")
    assert len(circles) == 8 * 3  # accuracy, loss, size
    across = [float((one.get("x") or "").rstrip("%")) for one in circles[:8]]
    assert across == sorted(across)
    np.testing.assert_allclose(np.diff(across), np.diff(across)[0], atol=0.02)  # even in the logarithm
    assert "strength 10," in (circles[0].get("data-tip") or "")


def test_best_and_one_standard_error_are_ringed_and_named() -> None:
    record = known(made_path())
    accuracy = pictures(record)[0]
    assert len(uses(accuracy, "ring")) == 2
    assert "best (chosen)" in accuracy.drawing
    assert ">one standard error<" in accuracy.drawing
    same = known(made_path(chosen=0))
    assert len(uses(pictures(same)[0], "ring")) == 1
    assert "best, and strongest within one standard error (chosen)" in pictures(same)[0].drawing
    assert f"{record.series[0].accuracies[4]:.4f}" in record.summary
    table = accuracy.table
    assert table is not None
    assert table.strong == 4
    assert table.rows[4][-1] == "best, chosen"


def test_what_was_left_out_is_crossed_and_counted() -> None:
    record = known(made_path(left_out=(6, 7)))
    accuracy, proof, _ = pictures(record)
    assert len(uses(proof, "cross")) == 2
    assert len(uses(accuracy, "cross")) == 2 * 3
    assert "6 of 8 solutions are certified" in proof.summary
    assert proof.table is not None
    assert proof.table.rows[0][1:4] == (8, 6, 2)
    assert "2 were left out of the choice" in proof.summary
    assert record.series[0].certified.tolist() == [True] * 6 + [False] * 2
    (note,) = [part for part in path_section(record).parts if isinstance(part, Note)]
    assert note.text == "at the edge"


def test_only_certified_points_are_called_optima() -> None:
    assert path_section(known(made_path())).lead.startswith("Each point is an optimum")
    lead = path_section(known(made_path(left_out=(6, 7)))).lead
    assert "6 of 8 are certified to lie within 1e-4 of the minimum" in lead
    assert "crosses are not certified and left out of the choice." in lead
    assert "optimum" not in lead
    # Without folds nothing is chosen, so nothing is left out: crosses say what is not certified.
    record = known(made_path(folds=0, left_out=(6, 7)))
    assert "crosses are not certified." in path_section(record).lead
    first, proof, _ = pictures(record)
    assert (len(uses(first, "cross")), len(uses(proof, "cross"))) == (2 * 2, 2)
    assert ">not certified (2)<" in first.drawing
    # A fold's bound leaves out what is itself certified.
    certified = dataclasses.replace(known(made_path()), left_out=(3,))
    assert "8 of 8 are certified" in path_section(certified).lead
    assert "crosses are left out of the choice." in path_section(certified).lead
    both = dataclasses.replace(known(made_path(left_out=(6,))), left_out=(3,))
    assert "7 of 8" in path_section(both).lead
    assert "crosses are not certified or left out of the choice." in path_section(both).lead


def test_bounds_of_nothing_and_unknown_ones_stay_within_the_axis() -> None:
    path = made_path()
    odd = list(path.solutions)
    odd[0] = dataclasses.replace(odd[0], bound=0.0)
    odd[1] = dataclasses.replace(odd[1], bound=math.nan, status="not finite")
    odd[2] = dataclasses.replace(odd[2], value=0.0, bound=0.0)
    record = known(dataclasses.replace(path, solutions=tuple(odd)))
    assert math.isinf(record.series[0].worst_bounds[1])
    proof = pictures(record)[1]
    heights = [float(use.get("y") or "nan") for kind in ("circle", "cross") for use in uses(proof, kind)]
    assert len(heights) == 8
    assert all(0 <= height <= 230 for height in heights)


def test_the_largest_weights_of_the_chosen_solution_are_followed() -> None:
    path = made_path(count=30, features=20, chosen=25)
    record = known(path)
    assert len(record.lines) == 12
    chosen = path.solutions[25].weights
    assert [line.weights[25] for line in record.lines] == pytest.approx(np.sort(chosen.ravel())[::-1][:12])
    for line in record.lines:
        place = (CLASSES.index(line.class_name), int(line.feature.removeprefix("feature ")))
        np.testing.assert_array_equal(line.weights, [s.weights[place] for s in path.solutions])
    *_, weights = pictures(record)
    assert weights.table is not None
    assert weights.table.rows[25] == pytest.approx(
        (path.solutions[25].strength, *(line.weights[25] for line in record.lines))
    )
    assert len(known(made_path(chosen=1)).lines) == 2  # no more than are not 0
    assert known(made_path("l2")).lines == ()
    assert len(pictures(known(made_path("l2")))) == 2


def test_names_from_the_data_are_escaped() -> None:
    record = known(made_path(count=30, features=8, chosen=29))
    assert any(line.class_name == HOSTILE for line in record.lines)
    section = path_section(record)
    for one in section.parts:
        assert isinstance(one, (Picture, Note))
        if isinstance(one, Picture):
            assert "<img" not in one.drawing
            assert not re.search("x{60}", one.drawing)


def test_without_folds_there_is_no_accuracy_to_draw() -> None:
    record = known(made_path(folds=0))
    assert record.best is record.chosen is record.limit is None
    assert "None was chosen" in record.summary
    first, proof, _ = pictures(record)
    assert "accuracy" not in first.drawing
    assert "validation loss" not in first.drawing
    assert first.table is not None
    assert "accuracy" not in first.table.columns
    assert "limit for the choice" not in proof.drawing
    assert proof.summary.endswith("certified to the tolerance 1e-4.")


def test_long_tables_keep_what_was_chosen() -> None:
    record = known(made_path(count=200, chosen=77))
    rows = shown_rows(record)
    assert len(rows) <= 60
    assert {(0, 0), (0, 76), (0, 77), (0, 199)} <= set(rows)
    table = pictures(record)[0].table
    assert table is not None
    assert table.total == 200
    assert table.rows[table.strong or 0][-1] == "best, chosen"


def test_one_solution_and_none() -> None:
    assert pictures(known(made_path(count=1, chosen=0)))
    lacking = path_record(dataclasses.replace(made_path(), solutions=(), choice=None))
    assert isinstance(lacking, Lacking)
    assert path_section(lacking).parts == (lacking,)

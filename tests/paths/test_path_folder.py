"""A path's run folder: complete, finite, without pickle, and a model file that gives the same scores."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from path_cases import fitted, split_data

import thalweg as tw
from thalweg.artifacts import path_summary

GRID = [1.0, 1e-1, 1e-2, 1e-3]


@pytest.fixture(scope="module")
def path() -> tw.paths.Path:
    return tw.path(split_data(), strengths=GRID, folds=3, seed=4)


@pytest.fixture(scope="module")
def folder(path: tw.paths.Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return path.save(tmp_path_factory.mktemp("folder") / "run")


def strict(text: str) -> Any:
    """Read JSON as the standard has it: NaN and Infinity are not."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_run_json_tells_all_that_repeats_the_path(path: tw.paths.Path, folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == [
        "code", "model.safetensors", "run.json", "solutions.csv", "solutions.npz",
    ]  # fmt: skip
    record = strict((folder / "run.json").read_text())
    assert (record["format"], record["kind"]) == (1, "path")
    assert record["data"]["fingerprint"] == tw.load(split_data()).fingerprint()
    assert record["versions"]["thalweg"] == tw.__version__
    settings = record["settings"]
    again = tw.path(
        split_data(), strengths=settings["strengths"], folds=settings["folds"], penalty=settings["penalty"],
        class_weight=settings["class_weights"], selection=settings["selection"], tolerance=settings["tolerance"],
        iterations=settings["iterations"], preprocessing=settings["preprocessing"], seed=settings["seed"],
    )  # fmt: skip
    assert [s.value for s in again.solutions] == [row["value"] for row in record["path"]]
    assert again.choice.chosen == record["choice"]["chosen"] == record["best"]["number"]
    assert again.test.correct == record["test"]["correct"]
    for row, solution in zip(record["path"], path.solutions, strict=True):
        assert tuple(row["fold_accuracies"]) == solution.fold_accuracies
        assert tuple(row["fold_relative_bounds"]) == solution.fold_bounds
        assert (row["bound"], row["status"], row["strength"]) == (solution.bound, solution.status, solution.strength)


def test_solutions_csv_has_a_row_a_solution(path: tw.paths.Path, folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((folder / "solutions.csv").read_text())))
    assert [int(row["number"]) for row in rows] == [0, 1, 2, 3]
    for row, solution in zip(rows, path.solutions, strict=True):
        for name in ("strength", "value", "bound", "relative_bound", "validation_accuracy", "standard_error"):
            assert float(row[name]) == getattr(solution, name)
        assert row["chosen"] == str(solution is path.best)
        assert row["tied"] == str(solution in path.tied)


def test_solutions_npz_holds_the_weights_without_pickle(path: tw.paths.Path, folder: Path) -> None:
    with np.load(folder / "solutions.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["bias", "bound", "scale", "shift", "strength", "value", "weights"]
        assert arrays["weights"].shape == (4, 3, 6)
        for name in ("shift", "scale"):
            np.testing.assert_array_equal(arrays[name], getattr(path.preprocessing, name))
        for i, solution in enumerate(path.solutions):
            for name in ("bias", "bound", "strength", "value", "weights"):
                np.testing.assert_array_equal(arrays[name][i], getattr(solution, name))


def test_the_model_file_scores_as_the_chosen_weights(path: tw.paths.Path, folder: Path) -> None:
    data = tw.load(split_data())
    for model in (path.model, tw.load_model(folder)):
        prepared = model.preprocessing.transform(data.test.features).astype(np.float64)
        scores = prepared @ path.best.weights.T + path.best.bias
        np.testing.assert_allclose(model.scores(data.test.features), scores, rtol=1e-5, atol=1e-5)
        assert model.score(data.test) == path.test
        assert model.recipe.penalty == tw.penalties.L2(path.best.strength)
        assert model.trained_on == data.fingerprint()


def test_an_existing_folder_is_refused_unless_it_may_be_replaced(path: tw.paths.Path, tmp_path: Path) -> None:
    place = path.save(tmp_path / "run")
    with pytest.raises(tw.UsageError, match="exists"):
        path.save(place)
    assert path.save(place, overwrite=True) == place
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(tw.UsageError, match="something other than a run"):
        path.save(tmp_path / "other", overwrite=True)


def test_what_is_not_finite_is_null_and_never_hidden(path: tw.paths.Path, tmp_path: Path) -> None:
    """One solution without a bound: the largest bound is unknown, not that of the others."""
    for place in range(4):
        solutions = list(path.solutions)
        solutions[place] = dataclasses.replace(solutions[place], value=np.nan, bound=np.nan, status="not finite")
        broken = dataclasses.replace(path, solutions=tuple(solutions), choice=None, model=None, test=None)
        assert path_summary(broken)["largest_relative_bound"] is None
    record = strict((broken.save(tmp_path / "run") / "run.json").read_text())
    assert record["statuses"] == {"converged": 3, "not finite": 1}
    assert record["path"][3]["bound"] is None
    assert record["best"] is None


def test_without_folds_the_columns_of_validation_are_absent(tmp_path: Path) -> None:
    data = split_data()
    path = fitted((data["X_train"], data["y_train"]))
    folder = path.save(tmp_path / "run")
    (first, *_) = csv.DictReader(io.StringIO((folder / "solutions.csv").read_text()))
    assert "validation_accuracy" not in first
    record = strict((folder / "run.json").read_text())
    assert (record["choice"], record["best"], record["test"], record["edges"]) == (None, None, None, [])


def test_weights_of_classes_are_kept_in_plain_numbers(tmp_path: Path) -> None:
    data = split_data()
    weights = {"ant": np.float32(1), "bee": np.int64(2), "cat": 3}
    path = fitted((data["X_train"], data["y_train"]), class_weight=weights, example_weights=np.ones(128))
    record = strict((path.save(tmp_path / "run") / "run.json").read_text())
    assert record["settings"]["class_weights"] == [{"ant": 1.0, "bee": 2.0, "cat": 3.0}]
    assert record["settings"]["example_weights"] is True

"""MLflow: a parent run and a nested run a trial, in a folder, without network."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from tracker_cases import SPACE

import thalweg as tw
from thalweg.testing import check_tracker
from thalweg.tracking import MLflow

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # importing MLflow reports its use, unless told otherwise
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's imports and their deprecations are its own
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'thalweg[mlflow]'")


def client(folder: Path) -> Any:
    from thalweg.tracking.mlflow import _folders_allowed

    with _folders_allowed(str(folder)):
        found = mlflow.MlflowClient(str(folder))
        found.search_experiments()
    return found


@pytest.fixture(scope="module")
def flow(small: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[tw.Run, Any, list[Any]]:
    folder = tmp_path_factory.mktemp("flow") / "store"
    tracker = MLflow(str(folder), experiment="probes", name="demo")
    run = tw.sweep(SPACE, small, halving=tw.Halving(2, 1), trackers=[tracker])
    found = client(folder)
    experiment = found.get_experiment_by_name("probes")
    return run, found, found.search_runs([experiment.experiment_id], max_results=100)


def parent_of(runs: list[Any]) -> Any:
    (parent,) = [one for one in runs if "mlflow.parentRunId" not in one.data.tags]
    return parent


def test_trials_are_nested_under_their_run(flow: Any) -> None:
    run, _, runs = flow
    parent = parent_of(runs)
    assert parent.info.run_name == "demo"
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["test_accuracy"] == run.test.accuracy
    assert parent.data.params["selection"] == "best"
    assert parent.data.tags["thalweg.best_trial"] == str(run.best.number)
    children = [one for one in runs if one is not parent]
    assert {one.data.tags["mlflow.parentRunId"] for one in children} == {parent.info.run_id}
    assert {one.info.run_name for one in children} == {f"trial-00{number}" for number in range(4)}


def test_every_finite_metric_of_every_trial_is_there(flow: Any) -> None:
    run, found, runs = flow
    statuses = {"completed": "FINISHED", "pruned": "KILLED", "diverged": "FAILED"}
    for child in runs:
        if child is parent_of(runs):
            continue
        trial = run.trials[int(child.data.tags["thalweg.trial"])]
        assert child.info.status == statuses[trial.status.name]
        assert child.data.tags["thalweg.reason"] == trial.status.reason
        rate = trial.recipe.optimizer.learning_rate.base
        assert float(child.data.params["optimizer.learning_rate.value"]) == float(rate)
        assert child.data.params["optimizer.kind"] == "sgd"
        for name, values in trial.history.items():
            told = {one.step: one.value for one in found.get_metric_history(child.info.run_id, name)}
            assert told == {step: value for step, value in enumerate(values, start=1) if math.isfinite(value)}


def test_it_conforms_and_leaves_no_run_open(tmp_path: Path) -> None:
    check_tracker(MLflow(str(tmp_path / "store")))
    assert "MLFLOW_ALLOW_FILE_STORE" not in os.environ
    assert mlflow.active_run() is None
    found = client(tmp_path / "store")
    runs = found.search_runs([found.get_experiment_by_name("thalweg").experiment_id])
    # Two of the first run's trials trained, one of the second's.
    assert sorted(one.info.status for one in runs) == sorted(
        ["FINISHED", "FINISHED", "FAILED", "KILLED", "KILLED", "FAILED"]
    )


def test_long_and_strange_values_are_made_to_fit(tmp_path: Path) -> None:
    from thalweg.tracking import RunEnd, RunStart

    tracker = MLflow(str(tmp_path / "store"), experiment="strange")
    settings = {f"key ∇{i}": "x" * 2000 for i in range(120)}  # more than a request may hold
    tracker.begin(RunStart("name", "data", settings, ()))
    tracker.end(RunEnd(messages=("y" * 9000,)))
    found = client(tmp_path / "store")
    (run,) = found.search_runs([found.get_experiment_by_name("strange").experiment_id])
    assert run.data.params == {f"key _{i}": "x" * 499 + "…" for i in range(120)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"uri": ""}, "uri is ''"), ({"uri": 3}, "uri is 3"), ({"experiment": ""}, "experiment is ''; give its name")],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(tw.UsageError, match=message):
        MLflow(**arguments)


def test_without_mlflow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(tw.UsageError, match=r"pip install 'thalweg\[mlflow\]'"):
        MLflow()

"""Checks in general: what they need, how findings are told apart and ranked, and the command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import thalweg as tw
from test_sweep import SPACE, blobs
from thalweg.cli.app import run as command
from thalweg.diagnostics import Case, Check, diagnose, make_case
from thalweg.findings import Finding


class Accurate(Check):
    """Finds validation accuracy under a half."""

    code, title, severity = "XX01", "accuracy low", "warning"
    remedy, threshold, unit = "try something else", 0.5, "share"
    needs = ("trial",)

    def look(self, case: Case) -> Finding:
        accuracy = case.trial.validation_accuracy
        return self.judged(accuracy < self.threshold, f"accuracy {accuracy:.2f}", accuracy)


class Grave(Check):
    """Finds trouble always."""

    code, title, severity, remedy = "XX02", "always", "error", "none"

    def look(self, case: Case) -> Finding:
        return self.found("as ever")


def needing(*needs: str) -> Check:
    class Needing(Check):
        code, title, severity, remedy = "XX03", "needs", "note", ""

        def look(self, case: Case) -> Finding:
            return self.passed("it is there")

    Needing.needs = needs
    return Needing()


@pytest.fixture(scope="module")
def data() -> tw.Dataset:
    return tw.load(blobs())


@pytest.fixture(scope="module")
def run(data: tw.Dataset) -> tw.Run:
    return tw.sweep(SPACE, data, trials=3)


@pytest.fixture(scope="module")
def path(data: tw.Dataset) -> tw.paths.Path:
    return tw.path(data, strengths=[1e-1, 1e-2], folds=3)


def test_troubles_come_first_and_the_gravest_before(run: tw.Run) -> None:
    low = dataclasses.replace(run.best, history={**run.best.history, "validation_accuracy": np.full(9, 0.25)})
    diagnosis = diagnose(Case(run, low, None), checks=[needing("data"), Accurate(), Grave(), needing("trial")])
    assert [finding.verdict for finding in diagnosis.findings] == ["found", "found", "passed", "not applicable"]
    assert [finding.code for finding in diagnosis.found] == ["XX02", "XX01"]
    assert diagnosis.counts == {"found": 2, "passed": 1, "not applicable": 1}
    finding = diagnosis["XX01"]
    assert (finding.value, finding.threshold, finding.unit) == (0.25, 0.5, "share")
    assert finding.remedy == "try something else"
    assert finding.page == "docs/diagnostics.md#xx01"
    assert "0.25" in str(diagnosis)
    with pytest.raises(KeyError):
        diagnosis["ZZ99"]


def test_a_passed_check_has_no_remedy(run: tw.Run) -> None:
    finding = diagnose(run, checks=[Accurate()])["XX01"]
    assert finding.verdict == "passed"
    assert finding.remedy == ""


def test_what_is_missing_is_not_applicable_and_says_why(run: tw.Run, data: tw.Dataset, path: tw.paths.Path) -> None:
    other = next(trial.number for trial in run.trials if trial is not run.best)
    bare = dataclasses.replace(run, selection=None, model=None)
    for case, need, why in (
        (make_case(dataclasses.replace(run, dataset=None)), "data", "not given"),
        (make_case(dataclasses.replace(run, dataset=None)), "validation", "not given"),
        (make_case(path, data), "validation", "no validation"),
        (make_case(run, data, other), "model", "only the winner's"),
        (make_case(bare), "model", "nothing was selected, so no weights"),
        (make_case(dataclasses.replace(bare, trials=())), "trial", "no trial"),
        (make_case(bare), "selection", "nothing was selected"),
        (make_case(path), "sweep", "optima, not trials"),
        (make_case(path), "epochs", "optima, not epochs"),
    ):
        finding = needing(need).examine(case)
        assert finding.verdict == "not applicable"
        assert why in finding.evidence
    whole = make_case(run, data)
    for need in ("sweep", "trial", "epochs", "data", "model", "validation", "selection"):
        assert needing(need).examine(whole).verdict == "passed"
    assert needing("selection", "model").examine(make_case(path, data)).verdict == "passed"


def test_a_case_has_the_splits_of_the_run(run: tw.Run, path: tw.paths.Path, data: tw.Dataset) -> None:
    case = make_case(run, data)
    assert {name: len(split) for name, split in case.data.splits()} == run.data.examples
    # The test split scored anew gives the run's own figure: it is the same examples.
    assert run.model.score(case.data.test) == run.test
    x, labels = case.inputs["train"]
    np.testing.assert_array_equal(labels, case.data.train.labels)
    np.testing.assert_allclose(
        x @ case.model.params["weight"].T + case.model.params["bias"], case.scores["train"], rtol=1e-4, atol=1e-5
    )  # the same product in another order, in float32
    case = make_case(path, data)
    assert path.model.score(case.data.test) == path.test
    assert len(case.data.train) == path.data.examples["train"]


def test_other_data_a_missing_trial_and_an_unknown_check_are_refused(run: tw.Run, path: tw.paths.Path) -> None:
    with pytest.raises(tw.UsageError, match="the fingerprints differ"):
        diagnose(run, blobs(seed=9))
    with pytest.raises(tw.UsageError, match="trials 0 to 2"):
        diagnose(run, trial=3)
    with pytest.raises(tw.UsageError, match="no trials"):
        diagnose(path, trial=0)
    with pytest.raises(tw.UsageError, match="no check 'ZZ99'"):
        diagnose(run, checks=["ZZ99"])
    with pytest.raises(tw.UsageError, match="settled in a Case"):
        diagnose(make_case(run), trial=0)


def test_codes_are_unique_and_told_in_full() -> None:
    codes = [check.code for check in tw.diagnostics.CHECKS]
    assert len(set(codes)) == len(codes)
    for check in tw.diagnostics.CHECKS:
        assert check.title
        assert check.remedy
        assert check.__doc__


def test_the_command_reads_the_data_as_the_run_did(
    run: tw.Run, data: tw.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "blobs.csv"
    columns = ",".join(f"x{i}" for i in range(data.train.features.shape[1]))
    rows = [
        ",".join(map(repr, x.tolist())) + f",c{y}" for x, y in zip(data.train.features, data.train.labels, strict=True)
    ]
    file.write_text("\n".join([f"{columns},kind", *rows]))
    folder = tmp_path / "run"
    assert command(["sweep", str(file), "--label", "kind", "--trials", "2", "--out", str(folder)]) == 0
    capsys.readouterr()
    assert command(["diagnose", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["counts"]) == {"found", "passed", "not applicable"}
    assert not any("not to be had" in finding["evidence"] for finding in told["findings"])
    assert command(["diagnose", str(folder)]) == 0
    assert "passed" in capsys.readouterr().out
    file.unlink()
    assert command(["diagnose", str(folder)]) == 0
    assert "without the data" in capsys.readouterr().err
    assert command(["diagnose", str(folder), "--trial", "7"]) == 2
    assert command(["diagnose", str(tmp_path)]) == 3

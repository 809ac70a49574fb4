"""`thalweg path` at the command line: arguments that would be misread, what is not certified, errors half-way."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import thalweg as tw
from thalweg.cli.app import run
from thalweg.cli.progress import ProgressLine

COUNT, WIDTH = 128, 6  # as in tests/paths: one shape, compiled once


def table(place: Path, names: tuple[str, ...] = ("ant", "bee", "cat"), label: str = "label") -> Path:
    generator = np.random.default_rng(0)
    y = np.arange(COUNT) % len(names)
    X = generator.normal(size=(len(names), WIDTH))[y] + 1.5 * generator.normal(size=(COUNT, WIDTH))
    with place.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"f{i}" for i in range(WIDTH)), label])
        writer.writerows([*map(float, row), names[k]] for row, k in zip(X, y, strict=True))
    return place


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("table") / "animals.csv")


def path(data: Path, *more: str) -> int:
    return run(["path", str(data), *(() if "--folds" in more else ("--folds", "3")), *more])


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--folds", "2.5"], "--folds: '2.5' is no whole number"),
        (["--iterations", "10.5"], "--iterations: '10.5' is no whole number"),
        (["--seed", "1.5"], "--seed: '1.5' is no whole number"),
        (["--beta", "0.3"], "--beta is 0.3, which only the elastic net has"),
        (["--beta", "0.5", "--penalty", "l1"], "give --penalty elastic_net, or leave it out"),
        (["--beta", "0.3", "--loss", "hinge"], "--beta is 0.3, which only the elastic net has"),
        (["--loss", "hinge", "--penalty", "l1"], "take the softmax with L1"),
    ],
)
def test_arguments_that_would_be_misread_are_refused(
    more: list[str], part: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert path(data, *more) == 2
    assert part in capsys.readouterr().err


def test_beta_in_python_is_refused_beside_other_penalties(data: Path) -> None:
    with pytest.raises(tw.UsageError, match=r"beta is 0\.3, which only the elastic net has"):
        tw.path(str(data), beta=0.3)


def test_a_count_of_one_says_what_was_taken(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert path(data, "--strengths", "1", "--folds", "0", "--out", str(tmp_path / "run")) == 0
    out = capsys.readouterr().out
    assert "1 optimum\n" in out
    assert "one strength was asked for, and the largest of the default range taken" in out
    assert "as in 1.0 or 1e-3" in out
    assert "the model is the one solution" in out
    largest = json.loads((tmp_path / "run" / "run.json").read_text())["path"][0]["strength"]
    assert path(data, "--strengths", "1.0", "--folds", "0", "--out", str(tmp_path / "one")) == 0
    assert "the largest taken" not in capsys.readouterr().out
    assert json.loads((tmp_path / "one" / "run.json").read_text())["path"][0]["strength"] == 1 != largest


def test_python_words_become_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert path(table(tmp_path / "kind.csv", label="kind"), "--out", str(tmp_path / "run")) == 3
    assert "say which is the label with --label. Its columns are" in capsys.readouterr().err
    y = np.where(np.arange(COUNT) == 5, 2, np.arange(COUNT) % 2)
    X = np.zeros((COUNT, WIDTH), np.float32)
    np.savez(tmp_path / "rare.npz", X_train=X, y_train=y, X_test=X[:9], y_test=np.arange(9) % 3)
    assert path(tmp_path / "rare.npz", "--out", str(tmp_path / "run")) == 3
    assert "without cross-validation (--folds 0)" in capsys.readouterr().err


def test_a_chosen_solution_that_is_not_certified_is_singled_out(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No rounding allows a tolerance of 1e-15; in 6 steps the strong penalty is known to 1e-2, the weak one is not."""
    out = tmp_path / "run"
    more = ["--strengths", "1e-7:10:2", "--iterations", "6", "--tolerance", "1e-15", "--out", str(out)]
    assert path(data, *more) == 0
    printed = capsys.readouterr().out
    own = "warning: the chosen solution is not certified: it ended as 'iteration limit'"
    assert own in printed
    assert "of the chosen solution's 3 folds are not certified" in printed
    assert "1 of 2 solutions was left out of the choice (strength 1e-07)" in printed
    (line,) = (line for line in printed.splitlines() if line.strip().startswith("1e-07"))
    assert "left out" in line
    assert path(data, *more, "--overwrite", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["best"]["certified"] is False
    assert result["left_out"] == [1]
    assert f"warning: {result['caveats'][0]}".startswith(own)
    assert run(["info", str(out)]) == 0
    shown = capsys.readouterr().out
    assert all(f"note: {caveat}" in shown for caveat in result["caveats"])


def test_an_error_half_way_saves_what_is_done(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(self: ProgressLine, text: str, **options: Any) -> None:
        if " 0 of" not in text:
            raise RuntimeError("the device was lost")

    monkeypatch.setattr(ProgressLine, "report", report)
    out = tmp_path / "run"
    assert path(data, "--strengths", "1e-1:10:3", "--out", str(out)) == 1
    err = capsys.readouterr().err
    assert f"what was done before the error is saved in {out}" in err
    assert "a fault of ours" in err
    record = json.loads((out / "run.json").read_text())
    assert record["interrupted"]
    assert record["statuses"].get("converged", 0) >= 1
    assert any("RuntimeError: the device was lost" in message for message in record["messages"])
    monkeypatch.undo()
    assert run(["score", str(out), str(data)]) == 3
    assert "either it was stopped (run it to its end)" in capsys.readouterr().err


def test_the_hinge_is_certified_in_its_own_range(data: Path, tmp_path: Path) -> None:
    """Softmax goes down to 1e-8 of the largest strength, the hinge to 1e-5: below, its folds' gaps are near 1."""
    found = tw.path(str(data), loss=[tw.losses.Softmax(), tw.losses.Hinge()], strengths=3, folds=0)
    softmax, hinge = found.solutions[:3], found.solutions[3:]
    assert hinge[0].strength == softmax[0].strength
    assert softmax[-1].strength == pytest.approx(1e-8 * softmax[0].strength)
    assert hinge[-1].strength == pytest.approx(1e-5 * hinge[0].strength)
    assert found.statuses == {"converged": 6}
    assert len(found.settings["strengths"]) == 5

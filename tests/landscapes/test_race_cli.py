"""`thalweg race`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from thalweg.cli.app import run
from thalweg.cli.race import _racers as usual_racers
from thalweg.landscapes import Noisy, Saddle
from thalweg.optimizers.traits_table import traits_table
from thalweg.saved_race import load_race

QUICK = ["--steps", "30", "--optimizers", "sgd:1e-3,momentum:0.001:momentum=0.95,adam"]


def test_a_race_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["race", "rosenbrock", *QUICK]) == 0
    out = capsys.readouterr().out
    for word in ("SGD", "Momentum", "Adam", "0.001", "running", "final value", "best of 25 by final value"):
        assert word in out


def test_a_race_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["race", "rosenbrock", "--start", "-1,1.5", "--json", *QUICK]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["landscape"] == {"name": "Rosenbrock", "kind": "Rosenbrock", "a": 1.0, "b": 100.0}
    assert told["starts"] == [[-1.0, 1.5]]
    assert [racer["name"] for racer in told["racers"]][:2] == ["SGD 0.001", "Momentum 0.001"]
    assert told["racers"][1]["optimizer"]["momentum"] == 0.95
    assert told["racers"][0]["statuses"] == {"running": 1}
    assert told["steps"] == 30


def test_a_saddle_has_no_best_rate_and_noise_no_solvers(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--steps", "30", "--starts", "3", "--noise", "0.1", "--optimizers", "sgd", "--json"]
    assert run(["race", "saddle", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "without a minimum" in told["rates"]
    assert [r["rate"] for r in told["racers"]] == [0.01]
    assert told["landscape"]["noise"] == 0.1
    assert told["racers"][0]["distance"] is None
    # By default all nine race, under noise the six that can.
    assert len(usual_racers(Saddle(), None, None)[0]) == 9
    assert len(usual_racers(Noisy(Saddle(), 0.1), None, 0.1)[0]) == 6


def test_a_race_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    brief = ["--steps", "5", "--optimizers", "sgd:1e-3"]
    folder = tmp_path / "race"
    assert run(["race", "rosenbrock", "--out", str(folder), *brief]) == 0
    told = json.loads((folder / "race.json").read_text())
    with np.load(folder / "race.npz", allow_pickle=False) as arrays:
        assert arrays["positions"].shape == (1, 1, 6, 2)
        assert arrays["values"][0, 0, -1] == told["racers"][0]["value"]
    assert "<html" in (folder / "report.html").read_text()[:500]
    assert not (folder / "race.html").exists()
    loaded, racers, settings = load_race(folder)
    np.testing.assert_array_equal(loaded.starts, told["starts"])
    assert ([r.learning_rate.base for r in racers], settings["rates"]) == ([1e-3], "as given")
    assert any(path.suffix == ".png" for path in folder.iterdir())
    assert run(["race", "rosenbrock", "--out", str(folder), *brief]) == 2
    assert "exists" in capsys.readouterr().err


def test_a_narrow_terminal_cuts_no_number_and_titles_name_the_condition(capsys: pytest.CaptureFixture[str]) -> None:
    brief = ["--steps", "5", "--starts", "3", "--optimizers", "sgd:0.00178"]
    assert run(["race", "quadratic", "--condition", "100", *brief]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Quadratic, condition = 100, angle = 0, 3 starts; medians, 5 steps")
    assert "0.00178" in out
    assert "…" not in out


def test_traits_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["race", "--traits"]) == 0
    assert capsys.readouterr().out.strip() == traits_table().strip()


def test_the_table_of_traits_is_row_e11() -> None:
    marks = {}
    for line in traits_table().splitlines()[2:]:
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        marks[name] = "".join(cells)
    expected = {"SGD": "✗✗✗✗", "momentum": "✓✗✗✗", "AdaGrad": "✗✓✗✗", "RMSProp": "✗✓✓✗", "Adam": "✓✓✓✓"}
    assert {name: marks[name] for name in expected} == expected
    assert marks["Adam, uncorrected"] == "✓✓✓✗"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "LANDSCAPE is missing"),
        (["bale"], "did you mean 'beale'"),
        (["beale", "--condition", "3"], "--condition is the quadratic's"),
        (["quadratic", "--condition", "0.5"], "condition is 0.5"),
        (["beale", "--start", "1"], "give two numbers"),
        (["beale", "--start", "1,b"], "give a number"),
        (["beale", "--start", "1,2", "--starts", "3"], "exclude each other"),
        (["beale", "--starts", "0"], "give at least 1"),
        (["beale", "--starts", "2.5"], "no whole number"),
        (["beale", "--optimizers", "adm"], "did you mean 'adam'"),
        (["beale", "--optimizers", "adam:0.1:beta3=1"], "did you mean 'beta2'"),
        (["beale", "--optimizers", "adam:fast"], "give a number"),
        (["beale", "--optimizers", "adam:1:2"], "give one rate"),
        (["beale", "--optimizers", "newton:0.1"], "has no learning rate"),
        (["beale", "--optimizers", "adam:0.1:beta1=2"], "beta1 is 2"),
        (["beale", "--optimizers", "newton", "--noise", "1"], "needs exact gradients"),
        (["beale", "--noise", "-1"], "scale is -1"),
        (["quadratic", "--starts", "3", "--seed", "-1"], "seed is -1"),
        (["quadratic", "--seed", "99999999999999999999"], "seed is 99999999999999999999"),
        (["beale", "--overwrite"], "--overwrite replaces a folder"),
    ],
)
def test_mistakes(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["race", *arguments]) == 2
    assert words in capsys.readouterr().err

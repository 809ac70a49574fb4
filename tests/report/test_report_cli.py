"""`thalweg report` at the command line: of every kind of folder, whole, damaged or not there at all."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from report_cases import made_run
from test_page import check
from test_repeat import a_path

import thalweg as tw
from thalweg.artifacts.path_folder import save_path
from thalweg.cli.app import run
from thalweg.cli.progress import ProgressLine
from thalweg.cli.saving import add_report

pytestmark = pytest.mark.report

RECIPE = """
batch_size = 16
epochs = 3
[optimizer]
kind = "sgd"
learning_rate = {log_uniform = [0.001, 1.0]}
"""


def table(place: Path, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    y = np.arange(90) % 3
    X = generator.normal(size=(3, 4))[y] + 0.7 * generator.normal(size=(90, 4))
    with place.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "d", "kind"])
        writer.writerows([*map(float, row), ("ant", "bee", "cat")[k]] for row, k in zip(X, y, strict=True))
    return place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of a sweep and its data, and of a fit, a path and a race; only the race has a report yet."""
    place = tmp_path_factory.mktemp("runs")
    data = str(table(place / "animals.csv"))
    (place / "space.toml").write_text(RECIPE)
    options = ["--trials", "3", "--no-report", "--label", "kind"]
    assert run(["sweep", data, "--recipe", str(place / "space.toml"), *options, "--out", str(place / "sweep")]) == 0
    save_path(dataclasses.replace(a_path(), choice=None), place / "path")  # without folds nothing is chosen
    fixed = tw.Recipe(optimizer=tw.optimizers.SGD(0.1), batch_size=32, epochs=4)
    made_run(1, diverged=0, space=fixed).save(place / "fit", report=False)  # its data is nowhere
    racers = ["--optimizers", "sgd:0.01", "--steps", "5"]
    assert run(["race", "quadratic", *racers, "--out", str(place / "race")]) == 0
    return place


@pytest.fixture
def folder(place: Path, tmp_path: Path) -> Path:
    """A sweep's folder to be damaged; its data is where it was."""
    return Path(shutil.copytree(place / "sweep", tmp_path / "sweep"))


def page(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    check(text)
    return text


def test_a_sweep_with_its_data(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not (place / "sweep" / "report.html").exists()
    capsys.readouterr()
    assert run(["report", str(place / "sweep"), "--no-curvature"]) == 0
    out, err = capsys.readouterr()
    assert out == f"report: {place / 'sweep' / 'report.html'}\n"
    assert "fault" not in err
    text = page(place / "sweep" / "report.html")
    for section in ("verdict", "trials", "diagnoses", "curves", "confusion", "mistakes", "templates", "repeat"):
        assert f'<section id="{section}"' in text
    assert (
        f"thalweg sweep {place / 'animals.csv'} --recipe {place / 'sweep' / 'space.toml'} --trials 3 --label kind"
        in text
    )
    assert "It could not be made" not in text


def test_a_path_to_another_file_as_json(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    file = tmp_path / "elsewhere.html"
    assert run(["report", str(place / "path"), "--no-curvature", "--out", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"run": str(place / "path"), "report": str(file), "damage": None}
    text = page(file)
    assert '<section id="path"' in text
    assert '<section id="trials"' not in text
    assert not (place / "path" / "report.html").exists()


def test_a_fit_whose_data_is_gone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(place / "fit")]) == 0
    assert "thalweg: without the data: " in capsys.readouterr().err
    text = page(place / "fit" / "report.html")
    assert "The recipe is right on" in text
    assert "is not to be had from made by hand" in text
    assert "give --data" in text


def test_a_race(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = (place / "race" / "report.html").read_text(encoding="utf-8")
    (place / "race" / "report.html").unlink()
    assert run(["report", str(place / "race")]) == 0
    assert (place / "race" / "report.html").read_text(encoding="utf-8") == written
    assert run(["report", str(place / "race"), "--out", str(tmp_path / "race.html")]) == 0
    assert (tmp_path / "race.html").read_text(encoding="utf-8") == written
    capsys.readouterr()
    assert run(["report", str(place / "race"), "--data", "digits"]) == 2
    assert "a race has no data: leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "another version", "no mark", "lost history"])
def test_a_damaged_folder_has_a_page_and_exit_code_3(
    damage: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = folder / "run.json"
    if damage == "cut":
        mark.write_text(mark.read_text()[:300])
    elif damage == "another version":
        mark.write_text(json.dumps({**json.loads(mark.read_text()), "format": 99}))
    elif damage == "no mark":
        mark.unlink()
    else:
        (folder / "history.npz").unlink()
    (folder / "report.html").write_text("of when it was whole")
    assert run(["report", str(folder), "--json"]) == 3
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["report"] == str(folder / "report-damaged.html")
    assert (folder / "report.html").read_text() == "of when it was whole"
    assert told["damage"]
    assert told["damage"] in err
    page(folder / "report-damaged.html")


@pytest.mark.parametrize("kind", ["sweep", "path", "race"])
def test_a_place_that_cannot_be_written_is_told_first(
    kind: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("load_run", "load_race"):
        monkeypatch.setattr(f"thalweg.cli.report.{name}", Mock(side_effect=AssertionError("work was begun")))
    for out, why in (
        (tmp_path / "none" / "x.html", f"there is no folder {tmp_path / 'none'}"),
        (tmp_path, "it is a folder; give the name of a file"),
    ):
        assert run(["report", str(place / kind), "--out", str(out)]) == 2
        told = capsys.readouterr().err
        assert f"{out} cannot be written: " in told
        assert why in told


def test_no_folder_and_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(tmp_path / "none")]) == 3
    assert "none is no folder; give a run folder" in capsys.readouterr().err
    assert run(["report", str(tmp_path)]) == 3
    assert "is no run folder: there is no run.json in it" in capsys.readouterr().err
    file = tmp_path / "file"
    file.write_text("x")
    assert run(["report", str(file)]) == 3
    assert run(["report"]) == 2
    assert list(tmp_path.iterdir()) == [file]


def test_data_that_moved_changed_or_is_gone(
    folder: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = folder / "run.json"
    gone = str(tmp_path / "gone.csv")
    mark.write_text(mark.read_text().replace(str(place / "animals.csv"), gone))
    file = folder / "report.html"
    assert run(["report", str(folder)]) == 0
    assert f"without the data: {gone}" in capsys.readouterr().err
    without = page(file)
    assert f"data is not to be had from {gone}" in without
    assert '<section id="confusion"' in without
    assert run(["report", str(folder), "--data", str(table(tmp_path / "other.csv", seed=1))]) == 2
    assert "is not the data that the run was made on" in capsys.readouterr().err
    assert run(["report", str(folder), "--data", str(tmp_path / "nowhere.csv")]) == 3
    assert file.read_text(encoding="utf-8") == without
    assert run(["report", str(folder), "--data", str(place / "animals.csv"), "--no-curvature"]) == 0
    assert "not to be had" not in page(file)


def test_an_unwritable_place_is_an_error_that_names_it(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file" / "report.html", tmp_path):
        assert run(["report", str(place / "fit"), "--out", str(out)]) == 2
        assert str(out) in capsys.readouterr().err


# -- after a sweep ----------------------------------------------------------------------------------------------------


def test_a_saved_run_has_its_report(tmp_path: Path) -> None:
    fixed = tw.Recipe(optimizer=tw.optimizers.SGD(0.1), batch_size=32, epochs=4)
    made_run(1, diverged=0, space=fixed).save(tmp_path / "run")
    page(tmp_path / "run" / "report.html")
    made_run(1, diverged=0, space=fixed).save(tmp_path / "bare", report=False)
    assert not (tmp_path / "bare" / "report.html").exists()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("odd"), "thalweg: this is a fault of ours"),
        (tw.UsageError("no room"), "thalweg: no room"),
        (KeyboardInterrupt(), "interrupted: "),
    ],
)
def test_a_report_that_fails_loses_nothing_else(
    error: BaseException, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("thalweg.report.write.write_report", fail)
    assert add_report(made_run(1, diverged=0), tmp_path / "a run", ProgressLine()) is None
    err = capsys.readouterr().err
    assert told in err
    assert f"the run is saved, its report is not; thalweg report '{tmp_path / 'a run'}' writes it" in err

"""How to repeat a run: the command in the report, run as it is written there, gives the same run again."""

from __future__ import annotations

import csv
import dataclasses
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_cases import made_run
from test_path_section import made_path

import thalweg as tw
from thalweg.cli.app import app, run
from thalweg.cli.path import path as path_command
from thalweg.cli.train import fit, sweep
from thalweg.features import HOG
from thalweg.losses import Hinge, Softmax
from thalweg.paths.strengths import grid
from thalweg.recipe_files import load_recipe, read_toml
from thalweg.report.block import Code, Note, Table
from thalweg.report.records.repeat import RepeatRecord, repeat_record
from thalweg.report.sections.repeat import repeat_section
from thalweg.saved_run import load_run

SPACE = """
batch_size = 16
epochs = 4
seed = 5
[optimizer]
kind = "sgd"
learning_rate = {log_uniform = [0.001, 1.0]}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, a folder of images and recipe files, in a folder whose name a shell would take apart."""
    place = tmp_path_factory.mktemp("data") / "it's $HOME; here"
    place.mkdir()
    generator = np.random.default_rng(0)
    y = np.arange(96) % 3
    X = generator.normal(size=(3, 4))[y] + 0.7 * generator.normal(size=(96, 4))
    with (place / "animals.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "d", "kind"])
        writer.writerows([*map(float, row), ("ant", "bee", "cat")[k]] for row, k in zip(X, y, strict=True))
    for name, base in (("dark", 0), ("light", 120)):
        (place / "images" / name).mkdir(parents=True)
        for i in range(10):
            pixels = base + generator.integers(0, 120, (6, 5, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(place / "images" / name / f"{i}.png")
    (place / "images" / "dark" / "bad.png").write_bytes(b"no image")
    (place / "space.toml").write_text(SPACE)
    (place / "one.toml").write_text(SPACE.replace("{log_uniform = [0.001, 1.0]}", "0.1"))
    return place


def repeated(arguments: list[str], place: Path, out: Path) -> tuple[str, str, str]:
    """Run a command, then the one that its report gives; return both tables and that command."""
    table = "solutions.csv" if arguments[0] == "path" else "trials.csv"
    assert run([*arguments, "--no-report", "--out", str(out / "first")]) == 0
    command = repeat_record(load_run(out / "first"), str(out / "first")).command
    name, *words = shlex.split(command)
    assert name == "thalweg"
    assert run([*words, "--no-report", "--out", str(out / "again")]) == 0
    return (out / "first" / table).read_text(), (out / "again" / table).read_text(), command


def test_a_sweep_with_every_option_is_repeated(place: Path, tmp_path: Path) -> None:
    options = shlex.split(
        "--trials 4 --seed 3 --seeds 2 --search random --halving 2.5 --rungs 1 --patience 3 --tolerance 1e-09 "
        "--select one-standard-error --no-refit --preprocessing scale --validation 0.3 --test 0.25 --label kind"
    )
    data, recipe = str(place / "animals.csv"), str(place / "space.toml")
    first, again, command = repeated(["sweep", data, "--recipe", recipe, *options], place, tmp_path)
    assert first == again
    assert "pruned" in first
    for option in options:
        assert option in shlex.split(command)
    assert shlex.quote(data) in command


def test_a_fit_on_images_is_repeated(place: Path, tmp_path: Path) -> None:
    options = shlex.split("--refit --image-size 4x5 --skip-bad --seed 2 --features color")
    data, recipe = str(place / "images"), str(place / "one.toml")
    first, again, command = repeated(["fit", data, "--recipe", recipe, *options], place, tmp_path)
    assert first == again
    assert {"--refit", "--image-size", "4x5", "--skip-bad", "--seed"} <= set(shlex.split(command))
    assert load_recipe(tmp_path / "first" / "recipe.toml").features == tw.features.ColorHistogram()


def test_a_path_is_repeated(place: Path, tmp_path: Path) -> None:
    options = shlex.split(
        "--class-weight balanced --strengths 3 --folds 2 --seed 1 --select one-standard-error "
        "--iterations 4000 --preprocessing center --test 0.25 --label kind"
    )
    first, again, command = repeated(["path", str(place / "animals.csv"), *options], place, tmp_path)
    assert first == again
    assert set(options) <= set(shlex.split(command))


# -- the words, without a training ------------------------------------------------------------------------------------


def asked(command: str) -> tuple[Any, dict[str, Any]]:
    """Read a command line as the program does: which command, and its arguments."""
    found, bound, _ = app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
    return found, dict(bound.arguments)


def from_file(made: Any, source: str = "animals.csv", **settings: Any) -> Any:
    data = dataclasses.replace(made.data, source=source)
    return dataclasses.replace(made, data=data, settings={**made.settings, **settings})


def a_path(**settings: Any) -> Any:
    usual = {
        "losses": ["softmax"], "penalty": "l2", "beta": None, "folds": 5, "class_weights": [None], "selection": "best",
        "iterations": 5000, "preprocessing": "auto", "test": None, "seed": 0, "features": None,
        "strengths": np.geomspace(1e-3, 10, 8)[::-1].tolist(), "example_weights": False, "tolerance": 1e-6,
    }  # fmt: skip
    made = from_file(made_path(**{"penalty": settings.get("penalty", "l2")}), **{**usual, **settings})
    return dataclasses.replace(made, tolerance=made.settings["tolerance"])


def test_usual_settings_are_not_named() -> None:
    run = from_file(made_run(32, diverged=0), refit=True, trials=32, search="sobol")
    assert repeat_record(run, "out").command == "thalweg sweep animals.csv --recipe out/space.toml"
    assert repeat_record(run).command == "thalweg sweep animals.csv --recipe ./space.toml"
    path = a_path(strengths=grid(45, 3.7, "l2").tolist())
    assert repeat_record(path).command == "thalweg path animals.csv"


@pytest.mark.parametrize(
    ("settings", "argument", "value"),
    [
        ({"seeds": 3}, "seeds", 3),
        ({"points": 5, "search": "grid"}, "points", 5),
        ({"halving": {"factor": 3, "rungs": 2}}, "halving", 3.0),
        ({"preprocessing": None}, "preprocessing", "none"),
        ({"test": 0.0}, "test", 0.0),
        ({"test": 0}, "test", 0.0),
        ({"tolerance": 1.2345678901234567e-7}, "tolerance", 1.2345678901234567e-7),
        ({"refit": False}, "refit", False),
    ],
)
def test_settings_of_a_sweep_are_read_back(settings: dict[str, Any], argument: str, value: Any) -> None:
    usual = {"refit": True, "data": "-odd name.csv", **settings}
    command, arguments = asked(repeat_record(from_file(made_run(4, diverged=0), **usual), "a folder").command)
    assert command is sweep
    assert arguments["data"] == "./-odd name.csv"
    assert arguments["recipe"] == Path("a folder/space.toml")
    assert arguments[argument] == value


@pytest.mark.parametrize(
    ("settings", "argument", "value"),
    [
        ({"losses": ["hinge"]}, "loss", "hinge"),
        ({"class_weights": ["balanced"]}, "class_weight", "balanced"),
        ({"class_weights": [None, "balanced"]}, "class_weight", "both"),
        ({"penalty": "elastic_net", "beta": 0.25}, "beta", 0.25),
        ({"penalty": "l1"}, "penalty", "l1"),
        ({"folds": 0}, "folds", 0),
        ({"preprocessing": None}, "preprocessing", "none"),
        ({"tolerance": 3e-5}, "tolerance", 3e-5),
        ({"features": {"kind": "hog"}}, "features", "hog"),
        ({"strengths": [0.1]}, "strengths", "0.1"),
        ({"strengths": [1.0]}, "strengths", "1.0"),
        ({"strengths": grid(7, 3.7, "l2").tolist()}, "strengths", "7"),
        ({"strengths": np.geomspace(1e-6, 100.0, 9)[::-1].tolist()}, "strengths", "1e-06:100.0:9"),
    ],
)
def test_settings_of_a_path_are_read_back(settings: dict[str, Any], argument: str, value: Any) -> None:
    if "features" in settings:
        settings = {"features": tw.recipe_files.encode(tw.recipe.as_features("hog"))}
    command, arguments = asked(repeat_record(a_path(**settings)).command)
    assert command is path_command
    assert arguments[argument] == value
    assert ("tolerance" in arguments) == (argument == "tolerance" or settings.get("losses") == ["hinge"] or
                                          settings.get("penalty") in ("l1", "elastic_net"))  # fmt: skip


def test_losses_with_ranges_of_their_own_are_a_count() -> None:
    softmax, hinge = grid(6, 3.7, "l2"), grid(6, 2.9, "l2", hinge=True)
    made = made_path("l2", count=6, losses=(Softmax(), Hinge()), weights=("none", "balanced"))
    given = [*softmax, *softmax, *hinge, *hinge]
    solutions = tuple(dataclasses.replace(one, strength=float(s)) for one, s in zip(made.solutions, given, strict=True))
    path = dataclasses.replace(
        a_path(losses=["softmax", "hinge"], class_weights=[None, "balanced"], tolerance=1e-3,
               strengths=np.unique(given)[::-1].tolist()),
        solutions=solutions,
    )  # fmt: skip
    command, arguments = asked(repeat_record(path).command)
    assert (arguments["loss"], arguments["strengths"], arguments["class_weight"]) == ("both", "6", "both")
    assert "tolerance" not in arguments
    assert command is path_command


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"strengths": [3.0, 2.0, 0.1]}, "No command line names these strengths"),
        ({"losses": ["hinge", "softmax"]}, "No command line names these losses"),
        ({"class_weights": [{"ant": 2.0}]}, "No command line names these class weights"),
        ({"features": "odd"}, "No command line names these features"),
    ],
)
def test_what_no_command_line_says_has_no_command(settings: dict[str, Any], why: str) -> None:
    if "features" in settings:
        settings = {"features": tw.recipe_files.encode(HOG(cell=4))}
    record = repeat_record(a_path(**settings))
    assert record.command == ""
    assert record.note.startswith(why)


def test_arrays_weights_and_lost_recipes_have_no_command() -> None:
    made = made_run(4, diverged=0)
    assert "given as arrays" in repeat_record(from_file(made, "arrays")).note
    weighted = dataclasses.replace(from_file(made), data=dataclasses.replace(made.data, weighted=True))
    assert "were weighted" in repeat_record(weighted).note
    fixed = tw.Recipe(optimizer=tw.optimizers.SGD(0.1), batch_size=32, epochs=4)
    assert "Nothing won" in repeat_record(from_file(made_run(1, diverged=1, space=fixed))).note
    assert "several seeds" in repeat_record(from_file(made_run(1, diverged=0, seeds=2, space=fixed))).note
    one = from_file(made_run(1, diverged=0, space=fixed), patience=7)
    command, arguments = asked(repeat_record(one, "out").command)
    assert (command, arguments["recipe"], arguments["patience"]) == (fit, Path("out/recipe.toml"), 7)
    for each in (weighted, from_file(made, "arrays")):
        record = repeat_record(each)
        assert record.command == ""
        assert "tw.load_run" in repeat_record(each, "out").python


def test_the_recipes_are_whole() -> None:
    made = made_run(4, diverged=0)
    record = repeat_record(from_file(made))
    assert made.best is not None
    assert read_toml(record.space) == made.space
    assert read_toml(record.recipe) == made.best.recipe
    assert [name for name, _ in record.elsewhere] == ["torch", "optax", "keras"]
    for _, text in record.elsewhere:
        compile(text, "code", "exec")
    assert "made in Python" in record.note
    assert "made in Python" not in repeat_record(from_file(made, data="animals.csv")).note
    assert dict(record.facts)["jax"] == "0.7.0"
    assert dict(record.seconds) == {"load": 0.5, "features": 0.1, "sanity": 0.2, "train": 12.0}


def test_the_section_shows_what_there_is() -> None:
    record = repeat_record(from_file(made_run(4, diverged=0)), "out")
    codes = [part for part in repeat_section(record).parts if isinstance(part, Code)]
    assert [code.title for code in codes] == [
        "The same run again", "The winner's recipe, for thalweg fit --recipe",
        "The search space, for thalweg sweep --recipe", "From Python", "The training in PyTorch",
        "The training in JAX and Optax", "The training in Keras",
    ]  # fmt: skip
    assert codes[0].text == record.command
    (table,) = [part for part in repeat_section(record).parts if isinstance(part, Table)]
    assert any("train" in name and value == "12 s" for name, value in table.rows)
    bare = RepeatRecord("", "", "", "", (), (), (), "why")
    assert [type(part) for part in repeat_section(bare).parts] == [Table, Note]

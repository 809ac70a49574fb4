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
    known = {} if source == "arrays" else {"data": source}
    return dataclasses.replace(made, data=data, settings={**made.settings, **known, **settings})


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
    first, second = repeat_record(run).command.splitlines()  # nothing is saved: the page has the space
    assert first == "# save the recipe that is shown here as space.toml first"
    assert second == "thalweg sweep animals.csv --recipe space.toml"
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
        assert "tw.load_run" in repeat_record(each, "out").loading
    assert "# data: the run's Dataset" in repeat_record(weighted, "out").python
    assert "(X, y)" in repeat_record(from_file(made, "arrays")).python


# -- the code in Python, run ------------------------------------------------------------------------------------------


def ran(code: str, **names: Any) -> dict[str, Any]:
    space = dict(names)
    exec(compile(code, "the report's code", "exec"), space)
    return space


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    y = np.arange(90) % 3
    return generator.normal(size=(3, 4))[y] + 0.7 * generator.normal(size=(90, 4)), y


def alike(run: tw.Run, again: tw.Run) -> None:
    assert (again.settings, again.space) == (run.settings, run.space)
    for one, other in zip(run.trials, again.trials, strict=True):
        for name, values in one.history.items():
            np.testing.assert_array_equal(values, other.history[name])
    assert again.test == run.test


def test_the_code_repeats_a_sweep_of_arrays(arrays: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    X, y = arrays
    space = tw.Recipe(optimizer=tw.optimizers.SGD(tw.log_uniform(1e-3, 1.0)), batch_size=30, epochs=2, seed=5)
    run = tw.sweep(
        space, (X, y), trials=2, seed=3, seeds=2, search="random", patience=2, preprocessing=None, refit=False,
        halving=tw.Halving(2.0, 1), selection="one-standard-error", test=0.25,
    )  # fmt: skip
    place = run.save(tmp_path / "it's a run", report=False)
    code = repeat_record(run, str(place)).python
    alike(run, ran(code, X=X, y=y)["run"])
    assert repeat_record(load_run(place), str(place)).python == code
    bare = repeat_record(run).python
    assert "# save the recipe that is shown here as space.toml first\nspace = tw.load_recipe('space.toml')" in bare
    found = ran(repeat_record(run, str(place)).loading.replace("print(", "asked = ("), X=X, y=y)
    assert found["model"].predict(X[:3]).shape == (3,)
    assert found["asked"].counts


def test_the_code_repeats_a_fit_with_the_first_of_its_seeds(place: Path, tmp_path: Path) -> None:
    data = tw.load(str(place / "animals.csv"), label="kind")
    recipe = tw.Recipe(optimizer=tw.optimizers.SGD(0.1), batch_size=16, epochs=2, seed=7)
    run = tw.fit(recipe, data, seeds=2, refit=True, validation=0.3)
    known = {"data": str(place / "animals.csv"), "label": "kind"}  # as the command line has it
    run = dataclasses.replace(run, settings={**run.settings, **known})
    code = repeat_record(run, str(run.save(tmp_path / "fit", report=False))).python
    again = ran(code)["run"]
    alike(run, dataclasses.replace(again, settings={**again.settings, **known}))


def test_the_code_repeats_a_path(arrays: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    X, y = arrays
    path = tw.path(
        (X, y), strengths=[0.3, 0.01], folds=0, seed=1, class_weight={"0": 2.0, "1": 1.0, "2": 1.0},
        preprocessing=None, tolerance=1e-3,
    )  # fmt: skip
    again = ran(repeat_record(path, str(tmp_path)).python, X=X, y=y)["run"]
    assert again.settings == path.settings
    for one, other in zip(path.solutions, again.solutions, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)


def test_the_code_names_readings_and_features() -> None:
    encoded = tw.recipe_files.encode(tw.features.HOG(cell=4) + tw.features.ColorHistogram())
    several = {"losses": ["softmax", "hinge"], "class_weights": [None, "balanced"], "strengths": [0.3, 0.1, 0.01]}
    path = a_path(features=encoded, label=None, image_size="4x5", skip_bad=True, data="images", **several)
    code = repeat_record(path).python
    assert "tw.load('images', image_size=(4, 5), skip_bad=True)" in code
    asked: dict[str, Any] = {}
    fake = type("tw", (), {"features": tw.features, "losses": tw.losses, "load": staticmethod(lambda *a, **k: None),
                           "path": staticmethod(lambda data, **given: asked.update(given))})  # fmt: skip
    ran(code.replace("import thalweg as tw", ""), tw=fake)
    assert tw.recipe_files.encode(asked["features"]) == encoded
    assert [type(loss) for loss in asked["loss"]] == [Softmax, Hinge]
    assert (asked["strengths"], asked["class_weight"]) == ([0.3, 0.1, 0.01], [None, "balanced"])
    own = repeat_record(a_path(features={"kind": "mine"})).python
    assert "features=features" in own
    assert "# features: the part of your own" in own


def test_the_recipes_are_whole() -> None:
    made = made_run(4, diverged=0)
    record = repeat_record(from_file(made))
    assert made.best is not None
    assert read_toml(record.space) == made.space
    assert read_toml(record.recipe) == made.best.recipe
    assert [name for name, _ in record.elsewhere] == ["torch", "optax", "keras"]
    for _, text in record.elsewhere:
        compile(text, "code", "exec")
    assert "made in Python" not in record.note
    lost = repeat_record(dataclasses.replace(made, data=dataclasses.replace(made.data, source="CSV")))
    assert (lost.command, "made in Python" in lost.note) == ("", True)
    assert "# data: what the run was given, here CSV\nrun = tw.sweep(space, data, " in lost.python
    assert dict(record.facts)["jax"] == "0.7.0"
    assert dict(record.seconds) == {"load": 0.5, "features": 0.1, "sanity": 0.2, "train": 12.0}


def test_the_section_shows_what_there_is() -> None:
    record = repeat_record(from_file(made_run(4, diverged=0)), "out")
    codes = [part for part in repeat_section(record).parts if isinstance(part, Code)]
    assert [code.title for code in codes] == [
        "The same run again", "The winner's recipe (thalweg fit DATA --refit --recipe FILE trains it as the sweep did)",
        "The search space, for thalweg sweep --recipe", "The same in Python", "Load it", "The training in PyTorch",
        "The training in JAX and Optax", "The training in Keras",
    ]  # fmt: skip
    assert codes[0].text == record.command
    (table,) = [part for part in repeat_section(record).parts if isinstance(part, Table)]
    assert any("train" in name and value == "12 s" for name, value in table.rows)
    bare = RepeatRecord("", "", "", "", (), (), (), "why")
    assert [type(part) for part in repeat_section(bare).parts] == [Table, Note]

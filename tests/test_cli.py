"""The command line: output, exit codes, and that nothing is lost on the way."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import thalweg as tw
from test_sweep import SPACE, blobs
from thalweg.cli.app import app, run
from thalweg.cli.options import parse_size
from thalweg.cli.progress import ProgressLine
from thalweg.training import Snapshot


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x, y = blobs()
    x_test, y_test = blobs(60, seed=0)
    names = np.array(["ant", "bee", "cat"])
    np.savez(tmp_path / "blobs.npz", X_train=x, y_train=names[y], X_test=x_test, y_test=names[y_test])
    return tmp_path / "blobs.npz"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    tw.save_recipe(SPACE, tmp_path / "space.toml")
    return tmp_path / "space.toml"


def swept(data: Path, recipe: Path, out: Path, *more: str) -> int:
    return run(["sweep", str(data), "--recipe", str(recipe), "--trials", "4", "--out", str(out), *more])


def test_sweep_prints_the_verdict_and_writes_the_run_folder(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert swept(data, recipe, tmp_path / "run") == 0
    out, err = capsys.readouterr()
    for part in ("best of 4 trials", "selected: trial", "test accuracy", "95 % interval", "cannot tell", "run folder:"):
        assert part in out
    assert "searching 4 trials on blobs" in err
    assert "penalty.strength: log_uniform from 1e-05 to 0.1" in err
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == [
        "code", "history.npz", "model.safetensors", "recipe.toml", "run.json", "space.toml", "trials.csv"
    ]  # fmt: skip


def test_the_table_keeps_its_columns_apart_and_within_the_screen(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A searched part named like a metric does not take its column, and no column is squeezed to fit."""
    space = dataclasses.replace(
        SPACE, loss=tw.choice(tw.losses.Softmax(), tw.losses.Hinge()), batch_size=tw.choice(32, 64)
    )
    tw.save_recipe(space, tmp_path / "kinds.toml")
    monkeypatch.setenv("COLUMNS", "70")
    assert swept(data, tmp_path / "kinds.toml", tmp_path / "run") == 0
    out = capsys.readouterr().out
    lines = out[: out.index("selected: trial")].splitlines()
    head = next(line for line in lines if "val. accuracy" in line)
    assert "val. loss" in head
    assert " loss " in head.replace("val. loss", "")
    assert "…" not in out
    assert all(len(line.rstrip()) <= 70 for line in lines)
    assert "in trials.csv)" in out


def test_json_is_one_object_and_nothing_else(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert swept(data, recipe, tmp_path / "run", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert {"run", "trials", "statuses", "seconds", "best", "tied"} <= set(result)
    assert {"recipe", "validation_accuracy", "test_accuracy", "test_interval"} <= set(result["best"])
    assert result["run"] == str(tmp_path / "run")
    assert result["trials"] == 4
    low, high = result["best"]["test_interval"]
    assert low <= result["best"]["test_accuracy"] <= high


def test_fit_predict_score_and_info_use_the_model(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tw.save_recipe(tw.Recipe(optimizer=tw.optimizers.Adam(0.05), epochs=10), tmp_path / "one.json")
    out = tmp_path / "run"
    assert run(["fit", str(data), "--recipe", str(tmp_path / "one.json"), "--out", str(out), "--json"]) == 0
    fitted = json.loads(capsys.readouterr().out)

    assert run(["score", str(out), str(data), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["accuracy"] == fitted["best"]["test_accuracy"]
    assert scored["split"] == "test"

    # New data without labels: the same predictions, as a table.
    x, y = blobs(60, seed=0)
    np.savez(tmp_path / "new.npz", X=x)
    assert run(["predict", str(out / "model.safetensors"), str(tmp_path / "new.npz")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    names = np.array(["ant", "bee", "cat"])
    assert np.mean([row["class"] == names[label] for row, label in zip(rows, y, strict=True)]) == scored["accuracy"]
    assert run(["predict", str(out), str(tmp_path / "new.npz"), "--out", str(tmp_path / "p.csv")]) == 0
    assert list(csv.DictReader(io.StringIO((tmp_path / "p.csv").read_text()))) == rows
    capsys.readouterr()

    for path, part in (
        (out, "test accuracy"),
        (out, 'kind = "adam'),
        (out / "model.safetensors", "ant, bee, cat"),
        (data, "ant"),
    ):
        assert run(["info", str(path)]) == 0
        assert part in capsys.readouterr().out
        assert run(["info", str(path), "--json"]) == 0
        assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_classes_are_matched_by_name(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer classes in another order score the same; a class that the model does not know is an error."""
    assert swept(data, recipe, tmp_path / "run") == 0
    x, y = blobs(60, seed=0)
    names = np.array(["ant", "bee", "cat"])
    only = y != 0
    np.savez(tmp_path / "two.npz", X=x[only], y=names[y[only]])
    capsys.readouterr()
    assert run(["score", str(tmp_path / "run"), str(tmp_path / "two.npz"), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    model = tw.load_model(tmp_path / "run")
    assert scored["accuracy"] == np.mean(model.predict(x[only]) == names[y[only]])
    np.savez(tmp_path / "other.npz", X=x, y=np.array(["ant", "bee", "dog"])[y])
    assert run(["score", str(tmp_path / "run"), str(tmp_path / "other.npz")]) == 3
    assert "dog" in capsys.readouterr().err


def test_a_tables_columns_are_matched_by_name(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = blobs()
    x = x * np.array([1, 10, 100, 1000, 0.1], np.float32)

    def write(name: str, columns: list[int]) -> str:
        rows = [[f"f{c}" for c in columns] + ["label"]]
        rows += [[str(float(value)) for value in row[columns]] + [str(label)] for row, label in zip(x, y, strict=True)]
        (tmp_path / name).write_text("\n".join(",".join(row) for row in rows))
        return str(tmp_path / name)

    assert run(["sweep", write("a.csv", [0, 1, 2, 3, 4]), "--recipe", str(recipe), "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert run(["predict", str(tmp_path / "run"), str(tmp_path / "a.csv")]) == 0
    expected = capsys.readouterr().out
    assert run(["predict", str(tmp_path / "run"), write("b.csv", [3, 0, 4, 2, 1])]) == 0
    assert capsys.readouterr().out == expected
    assert run(["predict", str(tmp_path / "run"), write("c.csv", [0, 1, 2, 3])]) == 3
    assert "needs the column 'f4'" in capsys.readouterr().err


def test_a_folder_that_appears_while_training_costs_nothing(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from thalweg.cli import train

    original = train.run_sweep

    def slow(*arguments: Any, **options: Any) -> tw.Run:
        (tmp_path / "run").mkdir()
        return original(*arguments, **options)

    monkeypatch.setattr(train, "run_sweep", slow)
    assert swept(data, recipe, tmp_path / "run") == 0
    assert "saved the run as" in capsys.readouterr().err
    assert list((tmp_path / "run").iterdir()) == []
    (beside,) = tmp_path.glob("run-*")
    assert (beside / "model.safetensors").is_file()


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["sweep", "{data}", "--trials", "0"], 2, "trials"),
        (["sweep", "{data}", "--trails", "3"], 2, "trails"),
        (["sweep", "{data}", "--trials", "many"], 2, "trials"),
        (["sweep", "{data}", "--out", "{tmp}"], 2, "--overwrite"),
        (["sweep", "{data}", "--out", "{tmp}", "--overwrite"], 2, "something other than a run"),
        (["sweep", "{data}", "--memory", "much"], 2, "memory"),
        (["sweep", "{data}", "--memory", "1kB"], 2, "may be used"),
        (["sweep", "{data}", "--recipe", "{tmp}/none.toml"], 2, "none.toml"),
        (["sweep", "{data}", "--recipe", "{tmp}/bad.toml"], 2, "did you mean 'strength'"),
        (["sweep", "{data}", "--halving", "1"], 2, "factor"),
        (["sweep", "{tmp}/none.npz"], 3, "none.npz"),
        (["sweep", "{tmp}/blobs.npy"], 3, "did you mean 'blobs.npz'"),
        (["sweep", "{tmp}/one.npz"], 3, "class"),
        (["fit", "{data}"], 2, "recipe"),
        (["fit", "{data}", "--recipe", "{space}"], 2, "penalty.strength"),
        (["score", "{tmp}/none", "{data}"], 3, "no model file"),
        (["predict", "{data}", "{data}"], 3, "no model file"),
        (["info", "{tmp}/none"], 3, "none"),
        (["swep", "digits"], 2, "swep"),
        ([], 0, ""),
    ],
)
def test_what_is_wrong_gets_its_exit_code_and_leaves_nothing_behind(
    arguments: list[str], code: int, part: str, data: Path, recipe: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text('[penalty]\nkind = "l2"\nstrenght = 1.0\n')
    np.savez(tmp_path / "one.npz", X=np.zeros((9, 2), np.float32), y=np.zeros(9, int))
    before = files(tmp_path)
    filled = [a.format(data=data, tmp=tmp_path, space=recipe) for a in arguments]
    assert run(filled) == code
    out, err = capsys.readouterr()
    assert part in err
    assert "Traceback" not in err
    if code:
        assert out == ""
    assert files(tmp_path) == before


def test_all_diverged_exits_4(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'epochs = 4\n[penalty]\nkind = "l2"\nstrength = 1.0\n[optimizer]\nkind = "sgd"\nlearning_rate = 1e30\n'
    (tmp_path / "wild.toml").write_text(text)
    assert swept(data, tmp_path / "wild.toml", tmp_path / "run") == 4
    assert "diverged" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["history.npz", "run.json", "trials.csv"]
    assert "learning rate" in (tmp_path / "run" / "trials.csv").read_text()


def test_a_fault_of_ours_exits_1_and_says_so(
    data: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from thalweg.cli import train

    monkeypatch.setattr(train, "run_sweep", lambda *_, **__: 1 / 0)
    assert swept(data, recipe, tmp_path / "run") == 1
    assert "fault of ours" in capsys.readouterr().err


def test_ctrl_c_saves_what_is_done_and_exits_130(data: Path, tmp_path: Path) -> None:
    tw.save_recipe(tw.Recipe(optimizer=tw.optimizers.SGD(1e-3), epochs=1_000_000), tmp_path / "long.toml")
    often = "from thalweg.cli import main, progress; progress.PLAIN_SECONDS = 0.1; main()"
    command = [sys.executable, "-c", often, "fit", str(data), "--out"]
    command += [str(tmp_path / "run"), "--recipe", str(tmp_path / "long.toml"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = ""
    while "training" not in line:  # an epoch is done: what may be interrupted is there, however slow the machine
        line = process.stderr.readline()
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    result = json.loads(out)
    assert result["interrupted"]
    assert result["best"]["test_accuracy"] is None
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["statuses"] == {"interrupted": 1}
    assert tw.load_model(tmp_path / "run").classes == ("ant", "bee", "cat")


def test_text_from_data_cannot_steer_the_terminal(
    tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = blobs()
    np.savez(tmp_path / "evil.npz", X=x, y=np.array(["\x1b[31mred", "[bold]b", "c\rd"])[y])
    assert swept(tmp_path / "evil.npz", recipe, tmp_path / "run") == 0
    assert run(["info", str(tmp_path / "evil.npz")]) == 0
    assert run(["info", str(tmp_path / "run" / "model.safetensors")]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "c\rd" not in out + err
    assert "[bold]b" in out


def test_every_command_has_help_and_a_line_in_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    names = [name for name in app if not name.startswith("-")]
    assert set(names) == {
        "sweep",
        "fit",
        "path",
        "gradcheck",
        "predict",
        "score",
        "export",
        "info",
        "diagnose",
        "race",
        "report",
    }
    assert run(["--help"]) == 0
    overview = capsys.readouterr().out
    for name in names:
        assert f"thalweg {name}" in readme
        line = next(line for line in overview.splitlines() if f"│ {name} " in line)
        assert len(line.strip("│ ").removeprefix(name).strip()) > 10
        assert run([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert any(argument in text for argument in ("DATA", "PATH", "RUN", "LANDSCAPE"))


def test_progress_is_one_line_in_a_terminal_and_plain_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    snapshot = Snapshot(8, 5, 1, 1, 1, 0.9137, 0.62)
    terminal = Terminal()
    line = ProgressLine(terminal)
    line(snapshot)
    line.clear()
    assert terminal.getvalue().startswith("\rtraining  62%: 5 live, 1 done, 1 pruned, 1 diverged, best 0.9137")
    assert terminal.getvalue().endswith("\r")
    plain = io.StringIO()
    line = ProgressLine(plain)
    line(snapshot)
    assert plain.getvalue() == ""  # the first plain line comes after ten seconds
    line.shown_at -= 11
    line(snapshot)
    assert plain.getvalue() == "training  62%: 5 live, 1 done, 1 pruned, 1 diverged, best 0.9137\n"


@pytest.mark.parametrize(("text", "size"), [("32", (32, 32)), ("24x32", (24, 32)), ("24X32", (24, 32))])
def test_image_sizes_are_read(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-3", "3x", "axb", "1x2x3"])
def test_wrong_image_sizes_are_refused(text: str) -> None:
    with pytest.raises(tw.UsageError, match="image-size"):
        parse_size(text)


def test_it_runs_as_a_module() -> None:
    found = subprocess.run([sys.executable, "-m", "thalweg", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == tw.__version__


def test_import_is_light() -> None:
    """`import thalweg` brings neither JAX nor NumPy; every public name can be fetched."""
    code = "import sys, thalweg; assert not {'jax', 'numpy', 'sklearn'} & set(sys.modules); "
    code += "[getattr(thalweg, name) for name in thalweg.__all__]; assert 'jax' in sys.modules; "
    code += "import jax; assert not jax.config.jax_enable_x64"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_features_by_name_and_the_model_predicts_raw_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 255, (90, 16, 16, 3)).astype(np.uint8)
    labels = np.arange(90) % 3
    images[labels == 1, :, :, 0] = 250
    images[labels == 2, :, :, 2] = 250
    np.savez("images.npz", X=images, y=labels)
    sweep = ["sweep", "images.npz", "--features", "color,hog", "--trials", "2", "--out", "run"]
    assert run(sweep) == 0
    _, err = capsys.readouterr()
    assert "the features ColorHistogram + HOG are kept in runs/features/" in err
    record = json.loads(Path("run/run.json").read_text())
    assert [part["kind"] for part in record["best"]["recipe"]["features"]["parts"]] == ["color_histogram", "hog"]
    assert run(["score", "run", "images.npz"]) == 0
    assert "accuracy 1.0000" in capsys.readouterr().out
    assert run([*sweep, "--overwrite"]) == 0
    assert "were read from runs/features/" in capsys.readouterr().err
    assert run([*sweep[:3], "hogs", "--out", "other"]) == 2
    assert "hog" in capsys.readouterr().err


def test_a_message_of_several_lines_is_several_lines() -> None:
    stream = io.StringIO()
    ProgressLine(stream).say("searching\n  rate\x1b[2J")
    assert stream.getvalue() == "searching\n  rate\\x1b[2J\n"
